{ repx, pkgs, ... }:
let
  # The same stage twice; a consumer whose name sorts before its producer's.
  double = repx.callStage ../stages/scale.nix [ z_source ];
  triple = repx.callStage ../stages/scale.nix [ z_source ];
  z_source = repx.callStage ../stages/source.nix [ ];
in
repx.mkPipe {
  inherit double triple z_source;
  a_sum = repx.callStage ../stages/sum.nix [
    [
      double
      "scaled"
      "left"
    ]
    [
      triple
      "scaled"
      "right"
    ]
  ];
  squares = repx.callStage ../stages/squares.nix [
    [
      z_source
      "list"
    ]
  ];
}
