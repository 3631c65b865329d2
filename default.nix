# For people without flakes: (import /path/to/repx { inherit pkgs; }).lib.runs2Lab [ ... ]
{
  pkgs ? import <nixpkgs> { },
}:
{
  lib = import ./nix/lib { packages = pkgs; };
}
