{ pkgs }:
{
  pname = "consumer";
  inputs = {
    "data.csv" = "";
    notes = "";
  };
  outputs = {
    total = "$out/total.txt";
  };
  run =
    { inputs, outputs, ... }:
    ''
      cat "${inputs."data.csv"}" "${inputs.notes}" | wc -l > "${outputs.total}"
    '';
}
