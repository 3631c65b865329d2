# For people without flakes: (import /path/to/repx { inherit pkgs; }).lib.runs2Lab [ ... ]
{
  pkgs ? import <nixpkgs> { },
}:
let
  lib = import ./nix/lib { packages = pkgs; };
  examples = {
    compression = ./examples/compression/lab.nix;
    image = ./examples/image/lab.nix;
    monte-carlo = ./examples/monte-carlo/lab.nix;
  };
  package = pkgs.callPackage ./nix/package.nix { };
in
{
  inherit lib package;
  shell = pkgs.callPackage ./nix/shell.nix { };
  evaluation = import ./nix/evaluation.nix {
    inherit pkgs;
    repx = lib;
  };
  # An installed repx comes without its sources and examples.
  packages = if builtins.pathExists ./pyproject.toml then { default = package; } else { };
  examples = builtins.mapAttrs (
    _: path:
    import path {
      inherit pkgs;
      repx = lib;
    }
  ) (if builtins.pathExists ./examples then examples else { });
}
