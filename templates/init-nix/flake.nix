{
  description = "A starter experiment for repx: nix build makes the Lab, repx run executes it";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";
    repx.url = "path:/path/to/repx"; # where repx is: also github:OWNER/REPX or git+https://...
    repx.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs =
    {
      self,
      nixpkgs,
      repx,
    }:
    let
      system = "x86_64-linux";
      pkgs = import nixpkgs { inherit system; };
    in
    {
      packages.${system}.default = repx.lib.runs2Lab {
        inherit pkgs;
        flake = self; # the Lab tells which commit and which lock file it is made from
        runs = import ./lab.nix;
      };
    };
}
