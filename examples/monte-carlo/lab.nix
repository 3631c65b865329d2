# The experiment of lab.yaml in Nix. Build it from the top folder: nix build .#monte-carlo
{ pkgs, repx }:
let
  program = {
    version = "1.0";
    runDependencies = [ pkgs.python3 ];
  };

  estimate = program // {
    parameters = {
      method = "plain";
      samples = 1000;
      chunks = 4;
      seed = 1;
    };
    scatter = {
      script = ./stages/scatter.py;
      outputs = {
        worker__arg = {
          seed = "text";
          samples = "number";
        };
        work__items = "$out/work_items.json";
      };
    };
    steps = rec {
      sample = {
        inputs = [ "worker__item" ];
        outputs.payoffs = "$out/payoffs.bin";
        script = ./stages/sample.py;
        files = [ ./stages/option.py ];
      };
      stats = {
        deps = [ sample ];
        inputs = [ "payoffs" ];
        outputs.moments = "$out/moments.json";
        script = ./stages/stats.py;
      };
    };
    gather = {
      inputs = [ "worker__outs" ];
      outputs.estimate = "$out/estimate.json";
      script = ./stages/gather.py;
    };
  };

  collect = program // {
    inputs = [
      "metadata__estimate"
      "store__base"
    ];
    outputs.estimates = "$out/estimates.json";
    script = ./stages/collect.py;
  };

  convergence = program // {
    inputs = [ "estimates" ];
    outputs = {
      table = "$out/report.md";
      plot = "$out/plot.svg";
    };
    script = ./stages/convergence.py;
    files = [
      ./stages/chart.py
      ./stages/option.py
    ];
  };
in
repx.runs2Lab {
  inherit pkgs;
  runs = [
    {
      name = "estimate";
      pipelines = [ { estimate = repx.callStage estimate [ ]; } ];
      parameters = {
        method = [
          "plain"
          "antithetic"
          "control"
        ];
        samples = [
          1000
          4000
          16000
          64000
          256000
        ];
      };
    }
    {
      name = "report";
      pipelines = [
        rec {
          collect_ = repx.callStage (collect // { pname = "collect"; }) [ ];
          convergence_ = repx.callStage (convergence // { pname = "convergence"; }) [ collect_ ];
        }
      ];
      dependencies.estimate = "hard"; # every estimate has to be there
    }
  ];
}
