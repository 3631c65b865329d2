{
  description = "Reproducible experiments on HPC: define once, run on a laptop, over SSH or on Slurm";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      # Systems that the package set does not have are left out.
      known = builtins.filter (system: nixpkgs.legacyPackages ? ${system}) systems;
      each =
        f:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = f (import ./. { pkgs = nixpkgs.legacyPackages.${system}; });
          }) known
        );
    in
    {
      lib = import ./nix/lib { packages = nixpkgs.legacyPackages.${builtins.head known}; };
      overlays.default = import ./nix/overlay.nix;
      packages = each (repx: repx.packages // repx.examples);
      devShells = each (repx: {
        default = repx.shell;
      });
      checks = each (repx: {
        evaluation = repx.evaluation;
      });
    };
}
