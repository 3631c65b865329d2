{ pkgs }:
{
  pname = "plain";
  inputs = {
    metadata__prepare-data = "";
    store__base = "";
  };
  outputs = {
    ok = "$out/ok";
  };
  runDependencies = with pkgs; [ hello ];
  run = { outputs, ... }: ''hello > "${outputs.ok}"'';
}
