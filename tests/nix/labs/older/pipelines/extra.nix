{ repx, ... }:
repx.mkPipe rec {
  count = repx.callStage ../stages/count.nix [ ];
  report = repx.callStage ../stages/report.nix [ count ];
}
