{ repx }:
with repx;
mkPipe { prepare = callStage ../stages/prepare.nix [ ]; }
