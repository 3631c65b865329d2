{ pkgs }:
{
  pname = "count";
  inputs = {
    metadata__prepare-data = "";
    metadata__sweep = "";
    store__base = "";
  };
  outputs = {
    counts = "$out/counts.json";
  };
  run = { inputs, outputs, ... }: ''
    jq -n --slurpfile a "${inputs.metadata__prepare-data}" --slurpfile b "${inputs.metadata__sweep}" \
      '[$a, $b | .[0].jobs | length]' > "${outputs.counts}"
  '';
}
