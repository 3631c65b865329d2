{ pkgs }:
{
  pname = "report";
  inputs = {
    counts = "";
  };
  outputs = {
    report = "$out/report.txt";
  };
  run = { inputs, outputs, ... }: ''
    # shellcheck disable=SC2086
    printf '%s runs\n' "$(jq length "${inputs.counts}")" > "${outputs.report}"
  '';
}
