# The few functions of nixpkgs' lib that stages in our tests and examples use.
let
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatStringsSep
    genList
    isAttrs
    listToAttrs
    mapAttrs
    stringLength
    substring
    ;
in
rec {
  inherit (builtins)
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    genList
    hasAttr
    head
    isAttrs
    isFunction
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    replaceStrings
    tail
    toJSON
    ;
  version = "25.11.mini";
  trivial.revisionWithDefault = default: "mini";
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  optionalString = condition: text: if condition then text else "";
  optionalAttrs = condition: attrs: if condition then attrs else { };
  concatMapStringsSep = separator: f: list: concatStringsSep separator (map f list);
  range = first: last: if first > last then [ ] else genList (n: first + n) (last - first + 1);
  unique = builtins.foldl' (found: each: if builtins.elem each found then found else found ++ [ each ]) [ ];
  flatten = x: if builtins.isList x then builtins.concatMap flatten x else [ x ];
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      rest = stringLength text - stringLength suffix;
    in
    rest >= 0 && substring rest (-1) text == suffix;
  removePrefix =
    prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (-1) text else text;
  nameValuePair = name: value: { inherit name value; };
  mapAttrsToList = f: attrs: map (name: f name attrs.${name}) (attrNames attrs);
  filterAttrs =
    f: attrs:
    listToAttrs (
      concatLists (
        mapAttrsToList (name: value: if f name value then [ (nameValuePair name value) ] else [ ]) attrs
      )
    );
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  isDerivation = value: isAttrs value && (value.type or null) == "derivation";
  getBin = package: package.bin or package.out or package;
  makeBinPath = packages: concatMapStringsSep ":" (package: "${getBin package}/bin") packages;
  escapeShellArg = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString text)}'";
}
