{ pkgs }:
{
  pname = "scale";
  params = {
    factor = 3;
  };
  inputs = {
    list = "";
  };
  outputs = {
    scaled = "$out/scaled.txt";
  };
  passthru.note = "nobody reads it";
  run =
    {
      inputs,
      outputs,
      parameters,
      ...
    }:
    ''
      awk -v f="${parameters.factor}" '{ print $1 * f }' "${inputs.list}" > "${outputs.scaled}"
    '';
}
