{ repx }:
repx.mkPipe {
  look = repx.callStage (
    { pkgs }:
    {
      pname = "look";
      inputs = {
        store__base = "";
        metadata__simulation-run = "";
      };
      outputs = {
        jobs = "$out/jobs.txt";
      };
      run =
        { inputs, outputs, ... }:
        ''
          jq -r '.jobs | length' "${inputs.metadata__simulation-run}" > "${outputs.jobs}"
        '';
    }
  ) [ ];
}
