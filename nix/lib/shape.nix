# Whether a value of the user's has the shape that its place wants; returns the value.
{ text }:
let
  inherit (builtins)
    all
    filter
    head
    isAttrs
    isFloat
    isInt
    isList
    isPath
    isString
    pathExists
    toString
    ;
  inherit (text) fail quoted typeName;

  shape =
    is: a: where: what: value:
    if is value then value else fail where "${what} must be ${a}, not ${typeName value}";
in
rec {
  set = shape isAttrs "an attribute set";
  list = shape isList "a list";
  string = shape isString "a text";
  # A version may be written as a number.
  version =
    where: what: value:
    let
      checked = shape (value: isString value || isInt value || isFloat value) "a text or a number";
    in
    # toString 1.5 is 1.500000
    if isFloat value then builtins.toJSON value else toString (checked where what value);

  strings =
    where: what: value:
    let
      wrong = filter (each: !(isString each)) (list where what value);
    in
    if wrong == [ ] then value else fail where "${what} must be texts, not ${typeName (head wrong)}";

  # A path that is there. A text must be one of a path, as `"${./x}"` gives it.
  file =
    where: what: value:
    if isString value && builtins.substring 0 1 value != "/" then
      fail where "${what} must be a path, such as ./${value}, not the text ${quoted value}"
    else if !(isPath value || isString value) then
      fail where "${what} must be a path, not ${typeName value}"
    # What is built from a package is there only later.
    else if !(isString value && builtins.hasContext value) && !(pathExists value) then
      fail where "${what}: there is no ${toString value}${hint}"
    else
      value;
  # A flake is what git knows of it.
  hint = " (in a git repository, `git add` it first)";

  resources =
    where: hints:
    let
      bad = name: what: fail where "resources.${name} must be ${what}";
      isText = name: isString (hints.${name} or "");
      texts = filter (name: !(isText name)) [
        "mem"
        "time"
        "partition"
      ];
      cpus = hints.cpus or 1;
      options = hints.sbatch_opts or [ ];
    in
    if texts != [ ] then
      bad (head texts) "a text, such as \"${
        {
          mem = "4G";
          time = "30m";
          partition = "debug";
        }
        .${head texts}
      }\", not ${typeName hints.${head texts}}"
    else if !(isInt cpus && cpus > 0 || isString cpus && builtins.match ".*[{].*" cpus != null) then
      bad "cpus" "a whole number from 1 up, not ${if isInt cpus then toString cpus else typeName cpus}"
    else if !(isList options && all isString options) then
      bad "sbatch_opts" "a list of texts, such as [ \"--gres=gpu:1\" ]"
    else
      hints;
}
