# A starter experiment: does the mean of many throws of a die come closer to what it should be?
#
#   nix build       turn these files into a Lab, ./result
#   repx run        run every job that is not done yet
#   repx status     what is done, and why something is not
#
# Change a value and build and run again: only what changed runs.
let
  throwing = # a stage: a program with inputs, parameters and outputs
    { pkgs }:
    {
      parameters = {
        sides = 6; # defaults
        throws = 10;
        seed = 1;
      };
      outputs = {
        numbers = "$out/numbers.txt"; # $out is the job's own folder
      };
      # Bash, started in $out, with nothing on PATH but basic tools and runDependencies.
      run =
        { parameters, outputs, ... }:
        ''
          RANDOM=${parameters.seed}
          for ((i = 0; i < ${parameters.throws}; i++)); do
            echo $((RANDOM % ${parameters.sides} + 1))
          done > "${outputs.numbers}"
        '';
    };

  summarising =
    { pkgs }:
    {
      parameters = {
        sides = { }; # the defaults of `throw`
        throws = { };
        seed = { };
      };
      inputs = [ "numbers" ];
      outputs = {
        summary = "$out/summary.json";
      };
      script = ./summarise.py; # any language: the first line (#!) says which
      runDependencies = [ pkgs.python3 ];
      resources = {
        mem = "100M";
        cpus = 1;
        time = "1m";
      };
    };

  tabulating = # reads a whole run: its list of jobs, and the folder that holds their outputs
    { pkgs }:
    {
      inputs = [
        "metadata__throws"
        "store__base"
      ];
      outputs = {
        table = "$out/table.csv";
      };
      script = ./table.py;
      runDependencies = [ pkgs.python3 ];
    };
in
[
  # What is executed: pipelines with values for their parameters, in all combinations.
  {
    name = "throws";
    pipelines = [
      (
        { repx, ... }:
        repx.mkPipe rec {
          throw = repx.callStage throwing [ ];
          summarise = repx.callStage summarising [ throw ]; # outputs feed inputs of their name
        }
      )
    ];
    parameters = {
      sides = [
        6
        20
      ];
      throws = [
        10
        100
        1000
      ];
      seed = [
        1
        2
        3
      ];
    };
  }
  {
    name = "report";
    pipelines = [ ({ repx, ... }: repx.mkPipe { table = repx.callStage tabulating [ ]; }) ];
    dependencies = {
      throws = "soft"; # starts when all throws have ended, also if some failed
    };
  }
]
