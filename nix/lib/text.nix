# Errors in the user's own words, and names that people may have meant.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    genList
    head
    length
    stringLength
    substring
    ;
  min = a: b: if a < b then a else b;
in
rec {
  fail = where: what: throw "repx: ${where}: ${what}";

  quoted = name: "'${name}'";
  listed = names: concatStringsSep ", " names;

  # How many letters must change to make one word of the other.
  distance =
    left: right:
    let
      width = stringLength right;
      letter = word: n: substring n 1 word;
      row =
        above: n:
        foldl' (
          cells: m:
          let
            swap = elemAt above m + (if letter left n == letter right m then 0 else 1);
          in
          cells ++ [ (min swap (1 + min (elemAt cells m) (elemAt above (m + 1)))) ]
        ) [ (n + 1) ] (genList (m: m) width);
      last = foldl' row (genList (m: m) (width + 1)) (genList (n: n) (stringLength left));
    in
    elemAt last width;

  # ", did you mean 'x'?", or what there is to choose from.
  suggestion =
    word: known:
    let
      scored = map (name: {
        inherit name;
        score = distance word name;
      }) known;
      close = filter (each: each.score <= 1 + stringLength word / 3) scored;
      best = foldl' (found: each: if each.score < found.score then each else found) (head close) close;
    in
    if close != [ ] then
      ", did you mean ${quoted best.name}?"
    else if known == [ ] then
      ", there is none"
    else
      ", there is ${listed known}";

  # Check the names of an attribute set; returns the set.
  onlyKeys =
    where: allowed: attrs:
    let
      unknown = filter (name: !(elem name allowed)) (attrNames attrs);
      first = head unknown;
    in
    if unknown == [ ] then
      attrs
    else
      fail where "unknown attribute ${quoted first}${suggestion first allowed}";

  # Check that each element of a list has its own name.
  noneTwice =
    where: what: names:
    let
      twice = filter (name: length (filter (other: other == name) names) > 1) names;
    in
    if twice == [ ] then names else fail where "two ${what} are called ${quoted (head twice)}";

  typeName =
    value:
    {
      bool = "a boolean";
      float = "a number";
      int = "a number";
      lambda = "a function";
      list = "a list";
      null = "null";
      path = "a path";
      set = "an attribute set";
      string = "a string";
    }
    .${builtins.typeOf value};
}
