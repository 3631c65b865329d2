{ repx, pkgs, ... }:
repx.mkPipe rec {
  producer = repx.callStage ./stage-producer.nix [ ];
  consumer = repx.callStage ./stage-consumer.nix [
    producer
    [
      producer
      "log"
      "notes"
    ]
  ];
}
