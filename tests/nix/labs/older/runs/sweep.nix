{
  pkgs,
  lib,
  repx-lib,
  ...
}:
let
  utils = repx-lib.mkUtils { inherit pkgs; };
in
{
  name = "sweep";
  hashMode = "pure";
  pipelines = [
    ../pipelines/sweep.nix
    ({ repx }: repx.mkPipe { plain = repx.callStage ../stages/plain.nix [ ]; })
  ];
  params = {
    n = utils.range 1 2;
    combined = utils.zip {
      tool = [
        pkgs.hello
        pkgs.jq
      ];
      label = utils.list [
        "two\nlines"
        "a 'quoted' $value"
      ];
    };
    "double.factor" = [
      2
      3
    ];
    verbose = [ true ];
    nothing = [ null ];
    unused = lib.optionals false [ 1 ] ++ [ 0.1 ];
  };
}
