# Everything that RepX 0.5 documents, as a project of several people would have it.
{
  pkgs,
  repx-lib,
  gitHash ? "unknown",
}:
repx-lib.mkLab rec {
  inherit pkgs repx-lib gitHash;
  lab_version = "2.1.0";
  containerMode = "per-run";
  runContainerMode = "none";
  runs = rec {
    prepare = repx-lib.callRun ./runs/prepare.nix [ ];
    sweep = repx-lib.callRun ./runs/sweep.nix [ prepare ];
    extra = repx-lib.callRun ./runs/extra.nix [
      prepare
      [
        sweep
        "soft"
      ]
    ];
  };
  groups = {
    all = [
      runs.prepare
      runs.sweep
      runs.extra
    ];
    work = [
      runs.sweep
      "extra"
    ];
  };
}
