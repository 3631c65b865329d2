{ repx-lib, ... }:
repx-lib.mkRun {
  name = "extra";
  hashMode = "params-only";
  pipelines = [ ../pipelines/extra.nix ];
  parameters = { };
}
