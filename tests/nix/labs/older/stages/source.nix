{ pkgs }:
{
  pname = { parameters }: "source-${if parameters.verbose then "loud" else "quiet"}";
  parameters = {
    n = 1;
    tool = "";
    label = "";
    verbose = false;
    nothing = "the default";
  };
  inputs = {
    metadata__prepare-data = "";
    store__base = "";
  };
  outputs =
    { parameters }:
    {
      list = "$out/list-${toString parameters.n}.txt";
      label = "$out/label.json";
    };
  resources =
    { parameters }:
    if parameters.n > 1 then
      {
        mem = "1G";
        cpus = 1;
      }
    else
      { mem = "64M"; };
  run =
    {
      inputs,
      outputs,
      parameters,
      ...
    }:
    ''
      [ -f "${inputs.metadata__prepare-data}" ] && [ -d "${inputs.store__base}" ]
      [ "${parameters.nothing}" = "the default" ]
      ls "${parameters.tool}/bin" > /dev/null
      seq "${parameters.n}" > "${outputs.list}"
      jq -n --arg text "${parameters.label}" '$text' > "${outputs.label}"
    '';
}
