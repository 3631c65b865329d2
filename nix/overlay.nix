# pkgs.repx: the program, and in pkgs.repx.lib the library on the user's own packages.
final: _: {
  repx = final.callPackage ./package.nix { } // {
    lib = import ./lib { packages = final; };
  };
}
