# `nix flake check`: what the library makes of small definitions, compared while it is evaluated.
{ pkgs, repx }:
let
  inherit (builtins)
    attrNames
    filter
    head
    map
    mapAttrs
    toJSON
    ;

  stage = attributes: {
    outputs = {
      o = "$out/o";
    };
    run = { ... }: "true";
  } // attributes;
  runsOf =
    attributes:
    (repx.runs2Lab {
      inherit pkgs;
      hostTools = false;
      runs = [
        (
          {
            name = "r";
            pipelines = [
              (
                { repx, ... }:
                repx.mkPipe rec {
                  a = repx.callStage (stage {
                    parameters = {
                      x = 0.5;
                    };
                  }) [ ];
                  b = repx.callStage (stage { inputs = [ "data" ]; }) [
                    [
                      a
                      "o"
                      "data"
                    ]
                  ];
                }
              )
            ];
          }
          // attributes
        )
      ];
    }).blueprint.runs;
  run = attributes: head (runsOf attributes);
  stagesOf = attributes: (head (run attributes).pipelines).stages;

  cases = {
    "a float is sent as two whole numbers" = {
      actual = (run { parameters.x = [ 0.1 ]; }).parameter_axes.x;
      expected = [
        {
          "$float" = [
            3602879701896397
            (-55)
          ];
        }
      ];
    };
    "an output feeds the input that is named" = {
      actual = map (mapping: mapping.target_input) (builtins.elemAt (stagesOf { }) 1).input_mappings;
      expected = [ "data" ];
    };
    "params is another name for parameters" = {
      actual = (run { params.x = [ 1 ]; }).parameter_axes;
      expected.x = [ 1 ];
    };
    "a range has both ends" = {
      actual = repx.utils.range 2 4;
      expected = [
        2
        3
        4
      ];
    };
    "variables are quoted" = {
      actual = repx.utils.env { A = "it's"; };
      expected = "export A='it'\\''s'";
    };
    "names fit into the store" = {
      actual = map repx.utils.sanitize [
        "a b.csv"
        ".x"
        "é"
      ];
      expected = [
        "a_b.csv"
        "_.x"
        "__"
      ];
    };
  };
  wrong = filter (name: cases.${name}.actual != cases.${name}.expected) (attrNames cases);
  message =
    name: "${name}: expected ${toJSON cases.${name}.expected}, not ${toJSON cases.${name}.actual}";
in
if wrong == [ ] then
  pkgs.writeText "repx-evaluation" (toJSON (attrNames cases))
else
  throw "repx: ${builtins.concatStringsSep "; " (map message wrong)}"
