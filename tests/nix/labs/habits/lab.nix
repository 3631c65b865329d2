# A Lab as people write it for RepX 0.5: a file for each run, pipeline and stage.
{
  pkgs,
  repx-lib,
  gitHash,
}:
repx-lib.mkLab {
  inherit pkgs repx-lib gitHash;
  lab_version = "1.0.0";
  runs = rec {
    simulation = repx-lib.callRun ./run-simulation.nix [ ];
    analysis = repx-lib.callRun ./run-analysis.nix [
      [
        simulation
        "hard"
      ]
    ];
  };
  groups = {
    everything = [ "simulation-run" ];
  };
  containerMode = "none";
}
