# The experiment of lab.yaml in Nix. Build it from the top folder: nix build .#compression
{ pkgs, repx }:
let
  program = {
    version = "1.0";
    runDependencies = [ pkgs.python3 ];
  };

  corpus = program // {
    pname = "corpus";
    parameters = {
      kind = "text";
      kilobytes = 1024;
    };
    outputs = { parameters }: { corpus = "$out/${parameters.kind}.bin"; };
    script = ./stages/corpus.py;
  };

  compress = program // {
    pname = "compress";
    parameters = {
      tool = "zlib";
      level = 6;
      budget_s = 0.1;
    };
    inputs = [ "corpus" ];
    outputs = {
      packed = "$out/packed.{tool}"; # as in lab.yaml: a parameter's value
      pack_seconds = "$out/seconds.txt";
    };
    script = ./stages/compress.py;
    files = [ ./stages/tools.py ];
    resources = {
      mem = "256M";
      time = "2m";
    };
  };

  verify = program // {
    pname = "verify";
    parameters = {
      tool = "zlib";
      budget_s = 0.1;
    };
    inputs = [
      "corpus"
      "packed"
    ];
    outputs.unpack_seconds = "$out/seconds.txt";
    script = ./stages/verify.py;
    files = [ ./stages/tools.py ];
  };

  measure = program // {
    pname = "measure";
    parameters = {
      kind = "text";
      tool = "zlib";
      level = 6;
    };
    inputs = [
      "corpus"
      "packed"
      "pack_seconds"
      "unpack_seconds"
    ];
    outputs.row = "$out/row.json";
    script = ./stages/measure.py;
  };

  collect = program // {
    pname = "collect";
    inputs = [
      "metadata__measure"
      "store__base"
    ];
    outputs.results = "$out/results.csv";
    script = ./stages/collect.py;
  };

  table = program // {
    pname = "table";
    inputs = [ "results" ];
    outputs.table = "$out/report.md";
    script = ./stages/table.py;
  };

  plot = program // {
    pname = "plot";
    inputs = [ "results" ];
    outputs.plot = "$out/plot.svg";
    script = ./stages/plot.py;
    files = [ ./stages/chart.py ];
  };

  measuring = rec {
    corpus_ = repx.callStage corpus [ ];
    compress_ = repx.callStage compress [ corpus_ ];
    verify_ = repx.callStage verify [
      corpus_
      compress_
    ];
    measure_ = repx.callStage measure [
      corpus_
      compress_
      verify_
    ];
  };
  reporting = rec {
    collect_ = repx.callStage collect [ ];
    table_ = repx.callStage table [ collect_ ];
    plot_ = repx.callStage plot [ collect_ ];
  };
in
repx.runs2Lab {
  inherit pkgs;
  runs = [
    {
      name = "measure";
      pipelines = [ measuring ];
      parameters = {
        kind = [
          "text"
          "binary"
          "table"
        ];
        tool = [
          "zlib"
          "bz2"
          "lzma"
        ];
        level = [
          1
          3
          6
          9
        ];
      };
    }
    {
      name = "report";
      pipelines = [ reporting ];
      dependencies.measure = "soft"; # waits for its end, not for success
    }
  ];
}
