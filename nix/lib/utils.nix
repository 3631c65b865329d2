# repx-lib.utils: the values of parameters.
{ text, shape }:
let
  inherit (builtins)
    attrNames
    baseNameOf
    concatStringsSep
    filter
    head
    isAttrs
    isList
    length
    map
    match
    readDir
    replaceStrings
    toString
    ;
  inherit (text) fail quoted;

  parameter = values: {
    _repx_param = true;
    inherit values;
    context = [ ];
  };
  types = {
    any = [
      "regular"
      "directory"
      "symlink"
    ];
    file = [
      "regular"
      "symlink"
    ];
    directory = [ "directory" ];
  };

  # A name that may stand in the Nix store.
  sanitize =
    path:
    let
      name = baseNameOf (toString path);
      letters = filter builtins.isString (builtins.split "[^A-Za-z0-9+._?=-]" name);
      plain = concatStringsSep "_" letters;
    in
    if match "[.].*" plain != null then "_${plain}" else if plain == "" then "_" else plain;

  # Names that differ stay different in the store, or files of equal content became one value.
  storedName =
    name:
    let
      plain = sanitize name;
    in
    if plain == name then
      name
    else
      "${builtins.substring 0 8 (builtins.hashString "sha256" name)}-${plain}";

  # A built package, of which nothing can be read before it is built.
  isBuilt = src: isAttrs src && src ? drvPath;

  scan =
    given:
    let
      arguments = shape.set "utils.scan" "what it is given" given;
    in
    if arguments ? src then
      scanned (
        text.onlyKeys "utils.scan" [
          "src"
          "type"
          "match"
        ] arguments
      )
    else
      fail "utils.scan" "it needs a folder: { src = ./data; }";
  scanned =
    {
      src,
      type ? "any",
      match ? null,
    }:
    let
      matching = name: match == null || builtins.match match name != null;
      found = readDir (shape.file "utils.scan" "the folder" src);
      names = filter (
        name: builtins.elem found.${name} types.${type} && matching name
      ) (attrNames found);
      what = if type == "directory" then "folder" else if type == "file" then "file" else "entry";
    in
    if !(types ? ${type}) then
      fail "utils.scan" "type must be one of any, file, directory, not ${quoted (toString type)}"
    else if isBuilt src then
      {
        _repx_param = true;
        _repx_scan = {
          path = "${src}";
          inherit type match;
        };
        values = fail "utils.scan" "the entries of ${src.name or "a package"} are known only when it is built";
      }
    else if names == [ ] then
      fail "utils.scan" "no ${what} in ${builtins.unsafeDiscardStringContext (toString src)}${
        if match == null then "" else " matches '${match}'"
      }"
    else
      parameter (
        map (
          name:
          builtins.path {
            path = src + "/${name}";
            name = storedName name;
          }
        ) names
      )
      // {
        ownNames = names;
      };
in
{
  inherit sanitize scan;
  list =
    values:
    if isList values then parameter values else fail "utils.list" "it needs a list, not ${text.typeName values}";
  range = import ./range.nix { inherit text; };
  files =
    src:
    scan {
      inherit src;
      type = "file";
    };
  dirs =
    src:
    scan {
      inherit src;
      type = "directory";
    };
  zip =
    groups:
    let
      columns = builtins.mapAttrs (
        name: given:
        if isList given then
          given
        else if isAttrs given && given ? _repx_param then
          given.values
        else
          fail "utils.zip" "${quoted name} must be a list, not ${text.typeName given}"
      ) groups;
      names = attrNames columns;
      size = length columns.${head names};
      unequal = filter (name: length columns.${name} != size) names;
    in
    if !(isAttrs groups) || names == [ ] then
      fail "utils.zip" "it needs an attribute set of lists"
    else if unequal != [ ] then
      fail "utils.zip" "zipped parameters need equally many values: ${
        concatStringsSep ", " (map (name: "${name} has ${toString (length columns.${name})}") names)
      }"
    else
      {
        _repx_zip = true;
        groups = columns;
        parameters = groups;
        length = size;
      };
  env =
    variables:
    concatStringsSep " " (
      [ "export" ]
      ++ map (
        name:
        if match "[A-Za-z_][A-Za-z0-9_]*" name == null then
          fail "utils.env" "${quoted name} cannot be the name of a variable"
        else
          "${name}='${replaceStrings [ "'" ] [ "'\\''" ] (toString variables.${name})}'"
      ) (attrNames variables)
    );
}
