# repx itself: the program that runs Labs.
{ python3Packages }:
python3Packages.buildPythonApplication {
  pname = "repx-hpc";
  version = builtins.head (
    builtins.match ''.*__version__ = "([^"]*)".*'' (builtins.readFile ../repx/__init__.py)
  );
  pyproject = true;
  src = builtins.path {
    name = "repx";
    path = ../.;
    filter =
      path: _:
      let
        name = builtins.substring (builtins.stringLength (toString ../.) + 1) (-1) path;
      in
      builtins.match "(LICENSE|README.md|pyproject.toml|targets.example.yaml)" name != null
      || builtins.match "(nix|repx|repx_py|schemas|templates)(/.*)?" name != null
      || builtins.elem name [
        "default.nix"
        "flake.nix"
      ];
  };
  build-system = [ python3Packages.hatchling ];
  dependencies = with python3Packages; [
    click
    fsspec
    jinja2
    jsonschema
    networkx
    pyyaml
    rich
    sh
  ];
  pythonImportsCheck = [ "repx" ];
  meta.mainProgram = "repx";
}
