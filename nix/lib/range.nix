# repx-lib.utils.range: first to last in equal steps, as lab.yaml counts them.
#
# In decimals: 0.1 times 3 is 0.3. A float is a whole number over a power of ten, and dividing
# the two gives the float again, so whole numbers are counted and then divided.
{ text }:
let
  inherit (builtins)
    floor
    genList
    isAttrs
    isFloat
    isInt
    toJSON
    ;
  inherit (text) fail;

  where = "utils.range";
  most = 10000000;
  exact = 1.0e15; # whole numbers below have room for every digit of a float
  isNumber = value: isInt value || isFloat value;
  power = places: if places == 0 then 1 else 10 * power (places - 1);
  magnitude = value: if value < 0 then 0 - value else value;

  # A number as a whole one over 10^places, with as few places as there can be.
  placesOf =
    value: places:
    if isInt value || value == floorOf (value * (power places)) / (power places * 1.0) then
      places
    else if places > 14 then
      tooLong value
    else
      placesOf value (places + 1);
  floorOf = value: if magnitude value > exact then tooLong value else floor (value + 0.5);
  tooLong = value: fail where "${toJSON value} has too many digits to count with";
  max = left: right: if left > right then left else right;

  # Division that rounds down, of whole numbers.
  over =
    number: by:
    let
      rest = number - number / by * by;
    in
    if rest != 0 && (rest < 0) != (by < 0) then number / by - 1 else number / by;

  counted =
    {
      from,
      to,
      step ? 1,
    }:
    let
      all = [
        from
        to
        step
      ];
      whole = builtins.all isInt all;
      places = builtins.foldl' (found: value: max found (placesOf value 0)) 0 all;
      scale = power places;
      scaled = value: floorOf (value * (scale * 1.0));
      first = scaled from;
      by = scaled step;
      count = over (scaled to - first) by + 1;
      shown = "from ${toJSON from} to ${toJSON to}${if step == 1 then "" else " in steps of ${toJSON step}"}";
      turned = "range { from = ${toJSON from}; to = ${toJSON to}; step = ${toJSON (0 - step)}; }";
      wrong = builtins.filter (value: !(isNumber value)) all;
    in
    if wrong != [ ] then
      fail where "it needs numbers, not ${text.typeName (builtins.head wrong)}"
    else if step == 0 then
      fail where "the step of the range ${shown} is 0: it never reaches its end"
    else if count <= 0 then
      fail where "the range ${shown} is empty: write ${turned} to count ${if to < from then "down" else "up"}"
    else if count > most then
      fail where "the range ${shown} has ${toString count} values, more than ${toString most}"
    else
      genList (
        n:
        let
          value = first + n * by;
        in
        if whole then value else value / (scale * 1.0)
      ) count;
in
first:
if isAttrs first then
  counted (
    if first ? from && first ? to then
      text.onlyKeys where [
        "from"
        "to"
        "step"
      ] first
    else
      fail where "it needs two numbers, or { from = 0; to = 1; step = 0.25; }"
  )
else
  last:
  counted {
    from = first;
    to = last;
  }
