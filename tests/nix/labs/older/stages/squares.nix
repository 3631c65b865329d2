{ pkgs }:
let
  square = {
    pname = "square";
    inputs = {
      worker__item = "";
    };
    outputs = {
      value = "$out/value";
    };
    resources = {
      mem = "32M";
    };
    runDependencies = [ pkgs.jq ];
    run = { inputs, outputs, ... }: ''jq '.n * .n' "${inputs.worker__item}" > "${outputs.value}"'';
  };
  negate = {
    pname = "negate";
    inputs = {
      given = "";
    };
    outputs = {
      value = "$out/value";
    };
    deps = [
      [
        square
        "value"
        "given"
      ]
    ];
    run = { inputs, outputs, ... }: ''
      read -r value < "${inputs.given}"
      echo "$((-value))" > "${outputs.value}"
    '';
  };
  join = {
    pname = "join";
    inputs = {
      plus = "";
      minus = "";
      list = "";
    };
    outputs = {
      pair = "$out/pair";
    };
    deps = [
      [
        square
        "value"
        "plus"
      ]
      [
        negate
        "value"
        "minus"
      ]
    ];
    run = { inputs, outputs, ... }: ''
      [ -s "${inputs.list}" ]
      paste -d ' ' "${inputs.plus}" "${inputs.minus}" > "${outputs.pair}"
    '';
  };
in
{
  pname = "squares";
  inputs = {
    list = "";
  };
  parameters = {
    n = 1;
  };
  scatter = {
    pname = "scatter";
    inputs = {
      list = "";
    };
    outputs = {
      worker__arg = {
        n = 1;
      };
      work__items = "$out/work_items.json";
    };
    run = { inputs, outputs, ... }: ''jq -c -s 'map({ n: . })' "${inputs.list}" > "${outputs.work__items}"'';
  };
  steps = {
    inherit square negate join;
  };
  gather = {
    pname = "gather";
    inputs = {
      worker__outs = "";
    };
    outputs = {
      pairs = "$out/pairs.txt";
    };
    run = { inputs, outputs, ... }: ''
      jq -r '.[].pair' "${inputs.worker__outs}" | xargs cat > "${outputs.pairs}"
    '';
  };
  runDependencies = [ pkgs.jq ];
}
