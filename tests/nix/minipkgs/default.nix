# The way users call nixpkgs: import <nixpkgs> { inherit system; overlays = [ ... ]; }
{
  system ? "x86_64-linux",
  overlays ? [ ],
  config ? { },
}:
let
  # Tests may lay settings beside this file: { "copy": true } and Python modules in ./python.
  settings =
    (
      if builtins.pathExists ./settings.json then
        builtins.fromJSON (builtins.readFile ./settings.json)
      else
        { }
    )
    // config;
  base = import ./packages.nix { inherit system settings; };
  self = builtins.foldl' (prev: overlay: prev // overlay self prev) (base self) overlays;
in
self
