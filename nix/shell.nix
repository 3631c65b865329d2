# What developing repx needs: `nix develop`, then `make check`.
{
  mkShell,
  python3,
  shellcheck,
  jq,
  graphviz,
  bubblewrap,
}:
mkShell {
  packages = [
    (python3.withPackages (packages: [ packages.pip ]))
    shellcheck
    jq
    graphviz
    bubblewrap
  ];
}
