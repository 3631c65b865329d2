# One Lab with all that the library has: steps, groups, dependencies, zips, functions.
{ pkgs, repx }:
let
  numbers = { pkgs }: {
    pname = "numbers";
    parameters = { n = 3; };
    outputs = { list = "$out/list.txt"; };
    run = { outputs, parameters, ... }: ''
      seq "${parameters.n}" > "${outputs.list}"
    '';
  };
  squares = { pkgs }:
    let
      extract = {
        pname = "extract";
        inputs = { worker__item = ""; };
        outputs = { number = "$out/number"; };
        run = { inputs, outputs, ... }: ''jq .n "${inputs.worker__item}" > "${outputs.number}"'';
      };
      square = {
        pname = "square";
        inputs = { number = ""; };
        outputs = { result = "$out/result"; };
        deps = [ extract ];
        resources = { mem = "32M"; };
        run = { inputs, outputs, parameters, ... }: ''
          read -r number < "${inputs.number}"
          echo $((number * number + ${parameters.add})) > "${outputs.result}"
        '';
      };
    in {
      pname = "squares";
      version = "2.0";
      parameters = { add = 0; };
      inputs = { list = ""; };
      scatter = {
        pname = "scatter";
        inputs = { list = ""; };
        outputs = { worker__arg = { n = 1; }; work__items = "$out/work_items.json"; };
        run = { inputs, outputs, ... }: ''jq -c -s 'map({n: .})' "${inputs.list}" > "${outputs.work__items}"'';
      };
      steps = { inherit extract square; };
      gather = {
        pname = "gather";
        inputs = { worker__outs = ""; work__items = ""; };
        outputs = { sum = "$out/sum.txt"; };
        run = { inputs, outputs, ... }: ''
          [ -f "${inputs.work__items}" ]
          total=0
          for file in $(jq -r '.[].result' "${inputs.worker__outs}"); do
            read -r one < "$file"
            total=$((total + one))
          done
          echo "$total" > "${outputs.sum}"
        '';
      };
    };
  report = { pkgs }: {
    pname = { parameters }: "report-${parameters.kind}";
    parameters = { kind = "short"; size = 1; };
    inputs = { total = ""; };
    outputs = { parameters }: { text = "$out/${parameters.kind}.txt"; };
    resources = { parameters }: if parameters.kind == "long" then { mem = "${toString (parameters.size * 64)}M"; } else { mem = "16M"; };
    run = { inputs, outputs, parameters, ... }: ''
      { cat "${inputs.total}"; echo "${parameters.kind}"; } > "${outputs.text}"
    '';
  };
  pipe = { repx, ... }: repx.mkPipe rec {
    a_report = repx.callStage report [ [ squares_ "sum" "total" ] ];
    squares_ = repx.callStage squares [ numbers_ ];
    numbers_ = repx.callStage numbers [ ];
  };
  sweep = repx.callRun ({ pkgs, repx-lib, ... }: { name = "sweep"; pipelines = [ pipe ];
    parameters = { n = repx-lib.utils.range 2 3; both = repx-lib.utils.zip { kind = [ "short" "long" ]; size = [ 1 2 ]; }; "squares_.add" = [ 10 ]; }; }) [ ];
  analysis = repx.callRun ({ pkgs, repx-lib, ... }: { name = "analysis"; pipelines = [ ({ repx, ... }: repx.mkPipe { look = repx.callStage ({ pkgs }: {
    pname = "look"; inputs = { metadata__sweep = ""; store__base = ""; }; outputs = { n = "$out/n"; };
    run = { inputs, outputs, ... }: ''
      [ -d "${inputs.store__base}" ]
      jq '.jobs | length' "${inputs.metadata__sweep}" > "${outputs.n}"'';
  }) [ ]; }) ]; }) [ [ sweep "soft" ] ];
  all = repx.mkLab { inherit pkgs; repx-lib = repx; gitHash = "abc"; lab_version = "1"; runs = { inherit sweep analysis; }; groups = { both = [ sweep analysis ]; }; containerMode = "per-run"; runContainerMode = "none"; hostTools = false; };
in all
