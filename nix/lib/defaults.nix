# Defaults of a pipeline: connected stages agree on each parameter, or inherit it from another.
#
# A job is labelled by its own parameters and by those of its upstream jobs, so where the run
# leaves a parameter to the defaults, two of them would mislabel results.
{
  text,
  call,
  order,
}:
let
  inherit (builtins)
    any
    attrNames
    concatMap
    elem
    filter
    head
    mapAttrs
    toJSON
    ;
  inherit (text) fail quoted;

  inherited = value: value == { };
in
{
  # definitions: of stages, by key; needs: their producers; axes: those of the run.
  resolve =
    {
      definitions,
      needs,
      axes,
    }:
    let
      keys = attrNames definitions;
      complete = axis: name: axis ? scan || !(any (row: row.${name} == null) axis.rows);
      given = concatMap (axis: filter (complete axis) axis.names) axes;
      isOpen = key: name: !(elem name given || elem "${key}.${name}" given);
      reach = mapAttrs (key: _: [ key ] ++ order.reached needs key) definitions;
      together = one: other: any (key: elem one reach.${key} && elem other reach.${key}) keys;
      related =
        key: name:
        filter (
          other:
          other != key && definitions.${other}.parameters ? ${name} && isOpen other name && together key other
        ) keys;
      place =
        key: name:
        let
          found = builtins.unsafeGetAttrPos name definitions.${key}.parameters;
        in
        if found == null then "" else " (${call.label found.file}:${toString found.line})";
      # The default of an open parameter; raises where a connected stage has another.
      of =
        key: name: own:
        let
          others = related key name;
          values = filter (other: !(inherited definitions.${other}.parameters.${name})) others;
          real = filter (other: definitions.${other}.parameters.${name} != null) values;
          different = filter (other: definitions.${other}.parameters.${name} != own) real;
          other = head different;
          source = if real != [ ] then real else values;
        in
        if !(isOpen key name) then
          (if inherited own then null else own)
        else if inherited own then
          if values == [ ] then
            fail definitions.${key}.where (
              "it inherits the default of parameter ${quoted name}, "
              + "but no stage that it is connected with has one: write a default"
            )
          else
            definitions.${head source}.parameters.${name}
        else if own != null && different != [ ] then
          fail definitions.${key}.where (
            "parameter ${quoted name} has the default ${toJSON own} here${place key name} and "
            + "${toJSON definitions.${other}.parameters.${name}} in stage ${quoted other}${place other name}, "
            + "which are connected: write `${name} = { };` in one of them to inherit the other's, "
            + "or give the run a value"
          )
        else
          own;
    in
    mapAttrs (
      key: definition: definition // { parameters = mapAttrs (of key) definition.parameters; }
    ) definitions;
}
