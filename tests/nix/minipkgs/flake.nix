{
  description = "A stand-in for nixpkgs made of this machine's programs, for tests without a network";

  outputs =
    { self }:
    {
      lib = import ./lib.nix;
      legacyPackages.x86_64-linux = import ./. { system = "x86_64-linux"; };
    };
}
