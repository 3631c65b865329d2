# repx.lib: experiments written in Nix. docs/nix.md is the tutorial.
#   packages: the package set of runs2Lab when no run brings one
{
  packages ? throw "repx: runs2Lab needs a package set: give each run, or runs2Lab itself, `pkgs`",
}:
let
  # Only what a Lab is made of, so that nothing else of repx changes a Lab's path.
  source = builtins.path {
    name = "repx-expand";
    path = ../..;
    filter =
      path: type:
      let
        name = builtins.substring (builtins.stringLength (toString ../..) + 1) (-1) path;
        isIn = folder: builtins.match "${folder}/[^/]*[.](py|sh)" name != null;
      in
      builtins.elem name [
        "nix"
        "nix/builder"
        "repx"
        "repx/lab"
        "repx/lab/expand"
        "repx_py"
        "repx_py/stage_script.py"
        "templates"
        "templates/stage_repx_py.py"
      ]
      || isIn "nix/builder"
      || isIn "repx/lab/expand";
  };
  version = builtins.head (
    builtins.match ''.*__version__ = "([^"]*)".*'' (builtins.readFile ../version)
  );
  text = import ./text.nix;
  order = import ./order.nix;
  json = import ./json.nix { inherit text; };
  shape = import ./shape.nix { inherit text; };
  call = import ./call.nix { inherit shape; };
  cases = import ./cases.nix { inherit text; };
  defaults = import ./defaults.nix { inherit text call order; };
  stage = import ./stage.nix { inherit text call shape; };
  wiring = import ./wiring.nix { inherit text; };
  steps = import ./steps.nix { inherit text order wiring; };
  script = import ./script.nix {
    inherit
      text
      call
      shape
      source
      ;
  };
  pipeline = import ./pipeline.nix {
    inherit
      text
      shape
      json
      call
      cases
      defaults
      order
      stage
      steps
      wiring
      script
      ;
  };
  run = import ./run.nix {
    inherit
      text
      shape
      json
      call
      order
      pipeline
      ;
  };
  utils = import ./utils.nix { inherit text shape; };
  tools = import ./tools.nix { inherit text; };
  lab = import ./lab.nix {
    inherit
      text
      shape
      json
      call
      order
      run
      source
      version
      tools
      helpers
      ;
    utilsFor = _: utils;
  };

  helpers = {
    inherit utils;
    inherit (lab) callRun mkLab;
    mkUtils = _: utils;
    mkRun = attributes: run.check "mkRun" attributes;
    mkPipe = stages: stages;
    callStage = file: deps: {
      _repx_type = "stage";
      inherit file deps;
      token = {
        same = x: x; # equal to itself only
      };
    };
    mkPipelineHelpers = _: { inherit (helpers) callStage mkPipe; };
    runs2Lab = lab.runs2Lab packages;
  };
in
helpers
