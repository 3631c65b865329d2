# Files of the user's: calling them as callPackage does, and naming them in messages.
{ shape }:
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

  # A path as messages say it, the same in every checkout: of a flake's file all below the
  # flake, of others the last two parts, which are enough to find the file.
  label =
    what:
    let
      path = unsafeDiscardStringContext (toString what);
      name = "[0-9a-z]{32}-";
      stored = match "${builtins.storeDir}/(${name}[^/]*/(.*)|${name}([^/]*))" path;
      parts = match ".*/([^/]+/[^/]+)" path;
      below = builtins.elemAt stored 1;
    in
    if !(isFile what) then
      "inline"
    else if stored != null then
      (if below == null then builtins.elemAt stored 2 else below)
    else if parts != null then
      builtins.head parts
    else
      path;

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
    { pkgs, extra, where }:
    what:
    let
      value = if isFile what then import (shape.file where "the file" what) else what;
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
