# The programs that a Lab carries for targets, which may lack them: static, so that they run anywhere.
{ text }:
let
  inherit (builtins)
    concatMap
    tryEval
    ;

  every = null; # every program of a package
  wanted = [
    {
      name = "coreutils";
      programs = every;
    }
    {
      name = "openssh";
      programs = every;
    }
    {
      name = "findutils";
      programs = {
        find = "find";
        xargs = "xargs";
      };
    }
    (one "jq" "jq")
    (one "gnused" "sed")
    (one "gnugrep" "grep")
    (one "bash" "bash")
    (one "gnutar" "tar")
    {
      name = "pigz";
      programs.gzip = "pigz";
    }
    (one "bubblewrap" "bwrap")
    (one "rsync" "rsync")
  ];
  one = name: program: {
    inherit name;
    programs.${program} = program;
  };

  warn = what: result: builtins.trace "repx: warning: host tools: ${what}" result;

  # A package may be absent, or may not build statically.
  found =
    set: each:
    let
      package = set.${each.name};
      attempt = tryEval "${package.bin or package}";
    in
    if set ? ${each.name} && attempt.success then
      [
        (
          {
            path = "${attempt.value}/bin";
          }
          // (if each.programs == every then { } else { inherit (each) programs; })
        )
      ]
    else
      warn "the package set has no ${each.name}, so targets need their own" [ ];
in
# hostTools: null takes what there is, true insists, false is for none; else a package set.
{ pkgs, hostTools }:
let
  none = "the package set has no pkgsStatic";
in
if hostTools == false then
  [ ]
else if builtins.isAttrs hostTools then
  concatMap (found hostTools) wanted
else if hostTools != null && hostTools != true then
  text.fail "hostTools" "it must be true, false or a package set with static programs, not ${text.typeName hostTools}"
else if pkgs ? pkgsStatic then
  concatMap (found pkgs.pkgsStatic) wanted
else if hostTools == true then
  text.fail "hostTools" "${none}: write hostTools = false, or give a package set that has static programs"
else
  warn "${none}, so targets need their own tools" [ ]
