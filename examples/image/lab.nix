# The experiment of lab.yaml in Nix: the image comes by itself, with what the stages name. Build
# it from the top folder: nix build .#image
{ pkgs, repx }:
let
  text = {
    version = "1.0";
    parameters = [ "seed" ];
    outputs.text = "$out/text.txt";
    run =
      { outputs, parameters, ... }:
      ''
        awk -v seed="${parameters.seed}" 'BEGIN {
          srand(seed)
          for (i = 0; i < 2000; i++) print int(6 * rand()) < 2 ? "to be" : "or not"
        }' > "${outputs.text}"
      '';
  };

  count = {
    version = "1.0";
    parameters = [ "word" ];
    inputs = [ "text" ];
    outputs.count = "$out/count.csv";
    run =
      { inputs, outputs, parameters, ... }:
      ''
        n=$(grep -c -w -- "${parameters.word}" "${inputs.text}" || true)
        echo "${parameters.word},$n" > "${outputs.count}"
      '';
  };

  words = rec {
    text_ = repx.callStage (text // { pname = "text"; }) [ ];
    count_ = repx.callStage (count // { pname = "count"; }) [ text_ ];
  };
in
repx.runs2Lab {
  inherit pkgs;
  runs = [
    {
      name = "words";
      pipelines = [ words ];
      parameters = {
        seed = [
          1
          2
          3
        ];
        word = [
          "be"
          "not"
        ];
      };
    }
  ];
}
