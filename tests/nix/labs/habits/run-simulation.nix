{ pkgs, repx-lib, ... }:
let
  utils = repx-lib.mkUtils { inherit pkgs; };
in
{
  name = "simulation-run";
  hashMode = "params-only";
  pipelines = [ ./pipe-simulation.nix ];
  parameters = {
    seed = utils.range 1 2;
    table = utils.files ./data;
    folder = utils.dirs ./data;
    tool = [ pkgs.hello ];
    paired = utils.zip {
      rate = utils.list [
        0.1
        1.0e-7
      ];
      label = [
        "low"
        "it's \"high\" $x"
      ];
    };
    mode = [ null ];
  };
}
