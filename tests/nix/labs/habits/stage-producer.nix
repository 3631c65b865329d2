{ pkgs, jq, ... }:
{
  pname = "producer";
  version = "0.3";
  parameters = {
    seed = 0;
    table = "";
    folder = "";
    tool = "";
    rate = 0.5;
    label = "";
    mode = "fast";
  };
  inputs = { };
  outputs = {
    "data.csv" = "$out/data.csv";
    log = "$out/log.txt";
  };
  resources = {
    mem = "64M";
    cpus = 1;
    time = "00:05:00";
    partition = "debug";
    sbatch_opts = [ "--nice=1" ];
  };
  passthru = {
    note = "not looked at";
  };
  runDependencies = [
    jq
    pkgs.hello
  ];
  run =
    {
      inputs,
      outputs,
      parameters,
      pkgs,
    }:
    ''
      ${pkgs.hello}/bin/hello > "${outputs.log}"
      "${parameters.tool}/bin/hello" >> "${outputs.log}"
      { cat "${parameters.table}"; ls "${parameters.folder}"; } > "${outputs."data.csv"}"
      printf '%s|%s|%s|%s\n' "${parameters.seed}" "${parameters.rate}" "${parameters.label}" \
        "${parameters.mode}" >> "${outputs."data.csv"}"
    '';
}
