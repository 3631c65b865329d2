# The script of a program as the expander renders it, and the check of its lines at build time.
{
  text,
  call,
  shape,
  source,
}:
let
  inherit (builtins)
    any
    concatStringsSep
    elem
    filter
    foldl'
    head
    isAttrs
    length
    listToAttrs
    map
    match
    substring
    toString
    ;
  inherit (text) fail;

  # What every script finds on its PATH behind its own runDependencies.
  base = pkgs: [
    pkgs.bash
    pkgs.coreutils
    pkgs.findutils
    pkgs.gnused
    pkgs.gawk
    pkgs.gnugrep
    pkgs.jq
  ];
  bin = package: "${package.bin or package}/bin";
  unique = foldl' (found: each: if elem each found then found else found ++ [ each ]) [ ];
  pathOf =
    pkgs: program:
    let
      wrong = filter (each: !(isAttrs each && each ? outPath)) program.dependencies;
    in
    if wrong != [ ] then
      fail program.where "runDependencies must be packages, such as pkgs.python3, not ${text.typeName (head wrong)}"
    else
      unique (map bin (program.dependencies ++ base pkgs));

  parts = path: filter (part: builtins.isString part && part != "") (builtins.split "/" (toString path));
  common =
    left: right:
    if left == [ ] || right == [ ] || head left != head right then
      [ ]
    else
      [ (head left) ] ++ common (builtins.tail left) (builtins.tail right);
  folderOf = path: let all = parts path; in builtins.genList (builtins.elemAt all) (length all - 1);

  # A program with the files it needs, under their paths below the folder that holds them all.
  files =
    name: program:
    let
      scripts = if program.script == null then [ ] else [ program.script ];
      all = scripts ++ program.files;
      # A link is copied as what it leads to. What a package has is looked at by its build only.
      stored =
        path:
        let
          name = baseNameOf (toString path);
        in
        if builtins.hasContext (toString path) then
          path
        else if (builtins.readDir (dirOf path)).${name} or null == "symlink" then
          builtins.toFile name (builtins.readFile path)
        else
          "${path}";
      wrong = filter (path: !(call.isFile path)) all;
      missing = filter (path: shape.file program.where "script and files" path != path) all;
      top = foldl' common (folderOf (head all)) (map folderOf all);
      below =
        path:
        concatStringsSep "/" (
          map (builtins.elemAt (parts path)) (builtins.genList (n: n + length top) (length (parts path) - length top))
        );
    in
    if wrong != [ ] then
      fail program.where "script and files must be paths, such as ./stages/fit.py, not ${text.typeName (head wrong)}"
    else
      builtins.seq (length missing) {
        program = if program.script == null then null else below program.script;
        files = {
          label = substring 0 11 name;
          tree = listToAttrs (
            map (path: {
              name = builtins.unsafeDiscardStringContext (below path);
              value = {
                path = stored path;
                executable = path == program.script;
                origin = call.label path;
              };
            }) all
          );
        };
        python =
          if any (path: match ".*[.]py" (toString path) != null) all then
            {
              label = "repx_py";
              tree = {
                "repx_py/__init__.py".path = "${source}/templates/stage_repx_py.py";
                "repx_py/stage_script.py".path = "${source}/repx_py/stage_script.py";
              };
            }
          else
            null;
      };

  # Where a program is written: a file, and of lines in a file of Nix also where they begin. An
  # expression on the command line has no file.
  written =
    program:
    let
      isLines = program.script == null;
      hasFile = isLines && program.at != null && match "/.*" (toString program.at.file) != null;
    in
    {
      file =
        if !isLines then
          call.label program.script
        else if hasFile then
          call.label program.at.file
        else
          "inline";
      line = if hasFile then program.at.line else 0;
      definition = if hasFile then builtins.hashFile "sha256" program.at.file else "";
      text =
        if hasFile then
          builtins.unsafeDiscardStringContext (builtins.readFile program.at.file)
        else
          "";
    };
  withoutText = program: removeAttrs program [ "text" ];
in
rec {
  # Described programs name their files of Nix by the content: here are the texts.
  definitionsOf =
    programs:
    listToAttrs (
      map (program: {
        name = program.definition;
        value = program.text;
      }) programs
    );

  make =
    {
      pkgs,
      name,
      program,
    }:
    {
      written = withoutText (written program);
      # 11 letters: longer targets of links cost a block each on ext4.
      label = substring 0 11 name;
      notes =
        (if program.inputs == [ ] then [ ] else [ "Reads ${concatStringsSep ", " program.inputs}." ])
        ++ program.notes or [ ];
      body = {
        bash = "${pkgs.bash}/bin/bash";
        path = pathOf pkgs program;
      }
      // (if program.script == null then { inherit (program) lines; } else { })
      // (if program.script == null && program.files == [ ] then { } else files name program);
    };

  # What is checked of a program when the Lab is built.
  described =
    { pkgs, program }:
    written program
    // {
      phase = program.name;
      inherit (program) lines;
      path = pathOf pkgs program;
      script = if program.script == null then null else "${program.script}";
    };

  # One derivation for each stage: it fails where one of the described scripts has a mistake.
  check =
    {
      pkgs,
      key,
      programs,
    }:
    let
      python = pkgs.python3.withPackages (packages: [ packages.bashlex ]);
    in
    derivation {
      name = "check-${key}";
      inherit (pkgs.stdenv.hostPlatform) system;
      builder = "${pkgs.bash}/bin/bash"; # as for a Lab
      args = [
        "-c"
        "exec ${python}/bin/python3 ${source}/nix/builder/check.py"
      ];
      PYTHONPATH = "${source}";
      bash = "${pkgs.bash}/bin/bash";
      shellcheck = "${pkgs.shellcheck.bin or pkgs.shellcheck}/bin/shellcheck";
      description = builtins.toJSON {
        stage = key;
        programs = map withoutText programs;
        definitions = definitionsOf programs;
      };
      passAsFile = [ "description" ];
    };
}
