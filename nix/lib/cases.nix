# What depends on parameters, for all their values: a tree that the expander walks for each job.
#
# A function of `parameters` is called with parameters that raise when they are read. What it
# then reads is what it depends on, so a stage with one such parameter of three values is
# evaluated three times, however many jobs the other parameters make.
{ text }:
let
  inherit (builtins)
    deepSeq
    filter
    foldl'
    head
    listToAttrs
    map
    tryEval
    ;
  merged = foldl' (all: each: all // each) { };
in
rec {
  # What is at the ends of a tree.
  leaves =
    node:
    if node ? leaf then
      [ node.leaf ]
    else
      builtins.concatMap (each: leaves (builtins.elemAt each 1)) node.cases;

  # axes: [ { names; rows; } ], each row an attribute set with the names; fixed: the other
  # parameters; f: from parameters to data.
  tree =
    {
      fixed,
      axes,
      f,
    }:
    let
      closed =
        axis:
        listToAttrs (
          map (name: {
            inherit name;
            value = throw "repx: this parameter was read";
          }) axis.names
        );
      try =
        parameters:
        let
          result = f parameters;
        in
        tryEval (deepSeq result result);
      grow =
        assigned: open:
        let
          attempt = try (merged (map closed open) // assigned);
          reads =
            axis: !(try (merged (map (each: head each.rows) open) // closed axis // assigned)).success;
          needed = filter reads open;
          axis = head needed;
          rest = filter (each: each.names != axis.names) open;
        in
        if attempt.success then
          { leaf = attempt.value; }
        else if needed == [ ] then
          { leaf = f (merged (map (each: head each.rows) open) // assigned); } # its own error
        else
          {
            on = axis.names;
            cases = map (row: [
              (map (name: row.${name}) axis.names)
              (grow (assigned // row) rest)
            ]) axis.rows;
          };
    in
    grow fixed axes;
}
