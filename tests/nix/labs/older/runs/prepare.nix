{ pkgs, ... }@args:
let
  inherit (args.repx-lib) utils;
in
{
  name = "prepare-data";
  pipelines = [ ../pipelines/prepare.nix ];
  parameters = {
    file = utils.scan {
      src = ../data;
      match = ".*[.]txt";
      type = "file";
    };
    case = utils.dirs ../data/cases;
    anything = utils.scan { src = ../data; };
  };
}
