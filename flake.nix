{
  description = "Reproducible experiments on HPC: define once, run on a laptop, over SSH or on Slurm";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs =
    { self, nixpkgs }:
    {
      lib = import ./nix/lib { packages = nixpkgs.legacyPackages.x86_64-linux; };
    };
}
