# Files of the user's: calling them as callPackage does, and naming them in messages.
let
  inherit (builtins)
    functionArgs
    intersectAttrs
    isAttrs
    isFunction
    isPath
    isString
    match
    removeAttrs
    toString
    unsafeDiscardStringContext
    ;
in
rec {
  isFile = what: isPath what || isString what;

  # The last two parts of a path: enough to find the file, and the same in every checkout.
  label =
    what:
    let
      parts = match ".*/([^/]+/[^/]+)" (unsafeDiscardStringContext (toString what));
      stored = match "[0-9a-z]{32}-[^/]*/(.*)" (builtins.head parts);
    in
    if !(isFile what) then
      "inline"
    else if parts == null then
      toString what
    else if stored != null then
      builtins.head stored
    else
      builtins.head parts;

  # Of some arguments those that a function names, or all where it takes any (`x:`, `{ ... }:`).
  # Only XML tells of the dots.
  asked =
    f: arguments:
    if match ".*(<varpat|<unevaluated|ellipsis=\"1\").*" (builtins.toXML f) != null then
      arguments
    else
      intersectAttrs (functionArgs f) arguments;

  # What a file, a function or a plain attribute set describes. Functions get packages by name,
  # and of `extra` what they ask for.
  describe =
    { pkgs, extra }:
    what:
    let
      value = if isFile what then import what else what;
      result = pkgs.callPackage value (asked value (extra // { inherit pkgs; }));
    in
    if isFunction value then
      (if isAttrs result then removeAttrs result [ "override" "overrideDerivation" ] else result)
    else
      value;

  # Call a function with the arguments it asks for.
  apply = f: arguments: f (asked f arguments);

  # Attributes by themselves, or what a function of `parameters` makes of them.
  resolve =
    value: parameters:
    if isFunction value then
      apply value {
        inherit parameters;
        params = parameters;
      }
    else
      value;
}
