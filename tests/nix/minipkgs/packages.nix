# Packages that link to the machine's programs, or, with settings.copy, copy them with all their
# libraries, so that the closure is whole and runs where this machine's files are not seen.
{ system, settings }:
self:
let
  lib = import ./lib.nix;
  copy = settings.copy or false;
  machine = "/usr/bin:/bin:/usr/sbin:/sbin";

  # One derivation from bash lines; attributes become variables, as in stdenv.
  run =
    name: attributes: lines:
    derivation (
      {
        inherit name system lines;
        builder = "/bin/bash";
        args = [
          "-ec"
          ''. "$linesPath"''
        ];
        PATH = machine;
      }
      // attributes
      // {
        passAsFile = [ "lines" ] ++ (attributes.passAsFile or [ ]);
      }
    );

  package = name: programs: if copy then copied name programs else linked name programs;

  linked =
    name: programs:
    run name { inherit programs; } ''
      mkdir -p "$out/bin"
      for program in $programs; do
        ln -s "$(type -P "$program")" "$out/bin/$program"
      done
    '';

  # The loader and every library that a program of `copied` needs.
  libraries = run "mini-libraries" { } ''
    mkdir -p "$out/lib"
    cp -L /lib64/ld-linux-x86-64.so.2 "$out/lib/"
    for program in ${lib.concatStringsSep " " everything}; do
      path=$(readlink -f "$(type -P "$program")")
      ldd "$path" 2>/dev/null | grep -o '/[^ ]*' || true
    done | sort -u >list
    find /usr/lib/python3.11/lib-dynload -name '*.so' -exec ldd {} + | grep -o '=> /[^ ]*' | cut -c4- | sort -u >>list
    while read -r library; do cp -L -n "$library" "$out/lib/"; done <list
    chmod u+w "$out"/lib/*
    for library in "$out"/lib/*.so*; do
      case $library in */ld-linux*) ;; *) patchelf --set-rpath "$out/lib" "$library" ;; esac
    done
  '';

  copied =
    name: programs:
    run name { inherit programs libraries; } ''
      mkdir -p "$out/bin"
      for program in $programs; do
        cp -L "$(readlink -f "$(type -P "$program")")" "$out/bin/$program"
        chmod u+w "$out/bin/$program"
        if [ "$(head -c 4 "$out/bin/$program" | tail -c 3)" = ELF ]; then
          patchelf --set-interpreter "$libraries/lib/ld-linux-x86-64.so.2" \
            --set-rpath "$libraries/lib" "$out/bin/$program"
        fi
      done
    '';

  coreutils = [
    "basename" "cat" "chmod" "cp" "cut" "date" "dirname" "echo" "env" "false" "head" "ln" "ls"
    "mkdir" "mktemp" "mv" "od" "paste" "printf" "pwd" "readlink" "realpath" "rm" "rmdir" "seq"
    "sha256sum" "sleep" "sort" "stat" "tail" "tee" "test" "touch" "tr" "true" "uname" "uniq" "wc"
  ];
  everything = coreutils ++ [
    "bash" "find" "xargs" "sed" "awk" "grep" "jq" "tar" "gzip" "python3"
  ];

  static =
    name: programs:
    run "${name}-static" { inherit programs; } ''
      mkdir -p "$out/bin"
      for program in $programs; do
        cp -L "$(type -P "''${program%=*}")" "$out/bin/''${program#*=}"
      done
    '';

  interpreter =
    modules:
    let
      folders = lib.concatMapStringsSep ":" (module: "${module}") modules;
    in
    if copy then
      run "python3" { inherit libraries; } ''
        mkdir -p "$out/bin" "$out/lib"
        cp -rL /usr/lib/python3.11 "$out/lib/python3.11"
        chmod -R u+w "$out/lib"
        rm -rf "$out"/lib/python3.11/{test,idlelib,tkinter,turtledemo,dist-packages,ensurepip,lib2to3,config-*}
        find "$out/lib" -name __pycache__ -prune -exec rm -rf {} +
        find "$out/lib" -name '*.so' -exec patchelf --set-rpath "$libraries/lib" {} \;
        cp -L "$(readlink -f /usr/bin/python3)" "$out/bin/python3"
        chmod u+w "$out/bin/python3"
        patchelf --set-interpreter "$libraries/lib/ld-linux-x86-64.so.2" \
          --set-rpath "$libraries/lib" "$out/bin/python3"
        ${lib.optionalString (modules != [ ]) ''
          mkdir -p "$out/lib/python3.11/site"
          for module in ${lib.concatMapStringsSep " " (module: "${module}") modules}; do
            cp -r "$module/." "$out/lib/python3.11/"
          done
        ''}
      ''
    else
      run "python3" { inherit folders; } ''
        mkdir -p "$out/bin"
        printf '#!/bin/sh\nexport PYTHONPATH=%s${"$"}{PYTHONPATH:+:$PYTHONPATH}\nexec /usr/bin/python3 "$@"\n' \
          "$folders" >"$out/bin/python3"
        chmod +x "$out/bin/python3"
      '';

  pythonPackages = {
    # A program that finds its libraries where the tests do.
    buildPythonApplication =
      { pname, src, ... }:
      run pname { inherit src; } ''
        mkdir -p "$out/bin"
        printf '#!/bin/sh\nPYTHONPATH=%s:%s exec %s -m repx "$@"\n' "$src" \
          "${settings.sitePackages or ""}" "${settings.python or "python3"}" >"$out/bin/repx"
        chmod +x "$out/bin/repx"
      '';
    hatchling = null;
    click = null;
    fsspec = null;
    jinja2 = null;
    jsonschema = null;
    networkx = null;
    pip = pythonPackages.bashlex;
    pyyaml = null;
    rich = null;
    sh = null;
    # Tests copy the modules that no Debian package has to ./python.
    bashlex = builtins.path {
      path = ./python;
      name = "python-bashlex";
    };
  };

  makeOverridable =
    f: arguments:
    let
      result = f arguments;
    in
    if builtins.isAttrs result then
      result
      // {
        override = changes: makeOverridable f (arguments // changes);
        overrideDerivation = changes: derivation (result.drvAttrs // changes result);
      }
    else
      result;
  # The phases that packages of our tests use.
  mkDerivation =
    given:
    let
      attributes = if builtins.isFunction given then given (attributes // { outPath = "${package}"; }) else given;
      name = attributes.name or "${attributes.pname}-${attributes.version}";
      plain = builtins.removeAttrs attributes [ "meta" "passthru" "name" ];
      package = run name plain ''
        runHook() { eval "''${!1-}"; }
        cd "$(mktemp -d)"
        [ -z "''${src-}" ] || [ -n "''${dontUnpack-}" ] || { cp -r "$src" source; chmod -R u+w source; [ ! -d source ] || cd source; }
        for phase in build install; do
          lines="''${phase}Phase"
          eval "''${!lines-}"
        done
      '';
    in
    package // (attributes.passthru or { }) // { meta = attributes.meta or { }; };

  writeTextFile =
    {
      name,
      text,
      executable ? false,
      destination ? "",
      ...
    }:
    run name
      {
        inherit text executable destination;
        passAsFile = [ "text" ];
      }
      ''
        mkdir -p "$(dirname "$out$destination")"
        cp "$textPath" "$out$destination"
        [ -z "$executable" ] || chmod +x "$out$destination"
      '';
in
{
  inherit lib writeTextFile;
  pkgs = self;
  path = ./.;
  # As nixpkgs of 2026 has it: whoever still asks for it fails.
  system = throw "'system' has been renamed to/replaced by 'stdenv.hostPlatform.system'";
  stdenv = {
    inherit mkDerivation;
    hostPlatform = {
      inherit system;
      isLinux = true;
    };
  };
  callPackage =
    what: arguments:
    let
      f = if builtins.isFunction what then what else import what;
    in
    makeOverridable f (builtins.intersectAttrs (builtins.functionArgs f) self // arguments);

  runCommand = run;
  runCommandLocal = run;
  writeText = name: text: writeTextFile { inherit name text; };
  writeTextDir =
    path: text:
    writeTextFile {
      inherit text;
      name = builtins.baseNameOf path;
      destination = "/${path}";
    };
  writeScript =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
    };
  writeScriptBin =
    name: text:
    writeTextFile {
      inherit name text;
      executable = true;
      destination = "/bin/${name}";
    };
  writeShellScriptBin = name: text: self.writeScriptBin name "#!${self.bash}/bin/bash\n${text}\n";
  symlinkJoin =
    { name, paths, ... }:
    run name { inherit paths; } ''
      mkdir -p "$out"
      for path in $paths; do cp -rs --no-preserve=mode "$path/." "$out/"; done
    '';
  mkShell = { packages ? [ ], ... }: run "shell" { inherit packages; } "mkdir $out";

  bash = package "bash" [ "bash" "sh" ];
  coreutils = package "coreutils" coreutils;
  findutils = package "findutils" [ "find" "xargs" ];
  gnused = package "gnused" [ "sed" ];
  gawk = package "gawk" [ "awk" ];
  gnugrep = package "gnugrep" [ "grep" ];
  gnutar = package "gnutar" [ "tar" ];
  gzip = package "gzip" [ "gzip" ];
  jq = package "jq" [ "jq" ];
  shellcheck = linked "shellcheck" [ "shellcheck" ];
  python3 = interpreter [ ] // {
    withPackages = choose: interpreter (choose pythonPackages);
  };
  hello = self.writeShellScriptBin "hello" "echo 'Hello, world!'";

  python3Packages = pythonPackages;
  graphviz = linked "graphviz" [ "dot" ];
  bubblewrap = linked "bubblewrap" [ "bwrap" ];

  # Not static, but enough on the machine that has them.
  pkgsStatic = {
    bash = static "bash" [ "bash" ];
    coreutils = static "coreutils" coreutils;
    findutils = static "findutils" [ "find" "xargs" ];
    gnused = static "gnused" [ "sed" ];
    gnugrep = static "gnugrep" [ "grep" ];
    gnutar = static "gnutar" [ "tar" ];
    pigz = static "pigz" [ "gzip=pigz" ];
    jq = static "jq" [ "jq" ];
    rsync = static "rsync" [ "cp" ];
    openssh = static "openssh" [ "ssh" ];
    bubblewrap = static "bubblewrap" [ "bwrap" ];
  };
}
