{ pkgs, repx-lib, ... }:
let
  utils = repx-lib.mkUtils { inherit pkgs; };
in
{
  pname = "prepare";
  version = "0.1";
  parameters = {
    file = "";
    case = "";
  };
  inputs = { };
  outputs = {
    "prepared.txt" = "$out/${utils.sanitize "prepared data.txt"}";
  };
  run =
    {
      inputs,
      outputs,
      parameters,
      pkgs,
    }:
    ''
      ${utils.env { GREETING = "it's me"; }}
      { echo "$GREETING"; cat "${parameters.file}"; ls "${parameters.case}"; } > "${outputs."prepared.txt"}"
    '';
}
