# Values as JSON that every version of Nix writes alike.
#
# Nix 2.8 writes six digits of a float and drops `.0`: a float is sent as two integers instead
# ({ "$float" = [ mantissa exponent ]; }), from which the builder makes the same float again.
{ text }:
let
  inherit (builtins)
    floor
    isAttrs
    isFloat
    isFunction
    isList
    isPath
    mapAttrs
    toString
    ;

  limit = 9007199254740992.0; # 2^53: whole numbers below are exact

  whole =
    value: exponent:
    if value >= limit || value <= (0.0 - limit) then
      whole (value / 2) (exponent + 1)
    else if floor value != value then
      whole (value * 2) (exponent - 1)
    else
      [
        (floor value)
        exponent
      ];

  float =
    where: value:
    if value == 0.0 then
      [
        0
        (if toString value == "0.000000" then 0 else 1) # an exponent of 1: minus zero
      ]
    else if value != value || value == value / 2 then
      text.fail where "a value is infinite or not a number"
    else
      whole value 0;

  encode =
    where: value:
    if isFloat value then
      { "$float" = float where value; }
    else if isList value then
      map (encode where) value
    else if isAttrs value then
      if value ? outPath then
        "${value}"
      else if value ? "$float" then
        text.fail where "a value cannot have the attribute '$float'"
      else
        mapAttrs (_: encode where) value
    else if isPath value then
      "${value}"
    else if isFunction value then
      text.fail where "a value cannot be a function"
    else
      value;
in
{
  inherit encode;
}
