# One run: the values of its parameters as axes, its pipelines, and what it depends on.
{
  text,
  shape,
  json,
  call,
  order,
  pipeline,
}:
let
  inherit (builtins)
    attrNames
    attrValues
    concatMap
    elem
    filter
    foldl'
    head
    isAttrs
    isFloat
    isInt
    isBool
    isList
    isPath
    isString
    length
    listToAttrs
    map
    mapAttrs
    toJSON
    ;
  inherit (text)
    fail
    listed
    onlyKeys
    quoted
    suggestion
    ;

  keys = [
    "_repx_type"
    "dependencies"
    "dependencyJobs"
    "description"
    "hashMode"
    "interRunDepTypes"
    "name"
    "override"
    "overrideDerivation"
    "parameters"
    "parametersDependencies"
    "params"
    "pipelines"
    "pkgs"
    "repx-lib"
  ];
  hashModes = [
    "pure"
    "params-only"
  ];
  kinds = [
    "hard"
    "soft"
  ];
  isScalar =
    value:
    value == null || isString value || isInt value || isFloat value || isBool value || isPath value
    || (isAttrs value && value ? outPath);

  valuesOf =
    where: name: given:
    let
      values =
        if isList given then
          given
        else if isAttrs given && given ? _repx_param then
          given.values
        else if isScalar given then
          [ given ]
        else
          fail where "parameter ${quoted name} must be a list of values or made with repx-lib.utils, not ${text.typeName given}";
    in
    if values == [ ] then fail where "the sweep over ${quoted name} is empty" else values;

  # Values and groups of values as axes: parameters by name, then groups by their attribute.
  axesOf =
    where: parameters:
    let
      isGroup = name: isAttrs parameters.${name} && parameters.${name} ? _repx_zip;
      single = filter (name: !(isGroup name)) (attrNames parameters);
      groups = filter isGroup (attrNames parameters);
      scanned = name: isAttrs parameters.${name} && parameters.${name} ? _repx_scan;
      ofGroup =
        anchor:
        let
          members = parameters.${anchor}.groups;
          names = attrNames members;
          clash = filter (name: elem name single || elem name (filter (each: each != anchor) groups)) names;
          again = filter (
            name: builtins.any (other: other != anchor && parameters.${other}.groups ? ${name}) groups
          ) names;
          columns = mapAttrs (name: values: valuesOf where name values) members;
          size = length columns.${head names};
        in
        if elem anchor names then
          fail where "the group ${quoted anchor} has a member of its own name: call the group something else"
        else if clash != [ ] then
          fail where "parameter ${quoted (head clash)} is in the group ${quoted anchor} and also one of the parameters"
        else if again != [ ] then
          fail where "parameter ${quoted (head again)} is in two groups"
        else
          {
            inherit names;
            group = true;
            rows = builtins.genList (n: mapAttrs (_: values: builtins.elemAt values n) columns) size;
          };
    in
    map (
      name:
      if scanned name then
        {
          names = [ name ];
          group = false;
          scan = parameters.${name}._repx_scan;
          rows = fail where (
            "the values of ${quoted name} are known only when the Lab is built, "
            + "so no function of a stage can depend on it"
          );
        }
      else
        {
          names = [ name ];
          group = false;
          rows = map (value: { ${name} = value; }) (valuesOf where name parameters.${name});
        }
    ) single
    ++ map ofGroup groups;

  # What no stage declares, what a stage misses, and defaults that contradict each other.
  checkParameters =
    where: axes: pipelines:
    let
      given = concatMap (axis: axis.names) axes;
      stages = concatMap (each: each.stages) pipelines;
      declared = concatMap (
        stage: attrNames stage.parameters ++ map (name: "${stage.key}.${name}") (attrNames stage.parameters)
      ) stages;
      unused = filter (name: !(elem name declared)) given;
      isGiven = stage: name: elem name given || elem "${stage.key}.${name}" given;
      missing = concatMap (
        stage:
        map (name: "stage ${quoted stage.key} needs the parameter ${quoted name}, which has no value and no default") (
          filter (name: stage.parameters.${name} == null && !(isGiven stage name)) (attrNames stage.parameters)
        )
      ) stages;
      warn = name: result: builtins.trace "repx: warning: ${where}: no stage declares the parameter ${quoted name}${suggestion name declared}" result;
    in
    if missing != [ ] then fail where (head missing) else foldl' (result: name: warn name result) true unused;

  # What values that are stored paths are called in the project: [ value name ] each.
  ownNamesOf =
    parameter:
    if isAttrs parameter && parameter ? ownNames then
      builtins.genList (n: [
        (builtins.unsafeDiscardStringContext "${builtins.elemAt parameter.values n}")
        (builtins.elemAt parameter.ownNames n)
      ]) (length parameter.ownNames)
    else if isAttrs parameter && parameter ? _repx_zip then
      concatMap ownNamesOf (attrValues parameter.parameters)
    else
      [ ];

  encodedAxis =
    where: axis:
    if axis ? scan then
      { "$scan" = axis.scan; }
    else
      map (row: json.encode "${where}, parameter ${quoted (head axis.names)}" row.${head axis.names}) axis.rows;
in
{
  inherit keys;

  # What is wrong with a definition by itself; returns it.
  check =
    where: given:
    if !(isAttrs given) then
      fail where "a run must be an attribute set with name and pipelines, not ${text.typeName given}"
    else if !(given ? name) then
      fail where "the run has no 'name'"
    else if !(isString given.name) then
      fail where "name must be a text, not ${text.typeName given.name}"
    else if !(given ? pipelines) then
      fail "run ${quoted given.name}" "'pipelines' is missing: list the files of its pipelines"
    else if !(elem (given.hashMode or "pure") hashModes) then
      fail "run ${quoted given.name}" "hashMode must be one of ${listed hashModes}, not ${toJSON given.hashMode}"
    else if given ? parameters && given ? params then
      fail "run ${quoted given.name}" "'params' is another name for 'parameters': write one of them"
    else
      onlyKeys "run ${quoted given.name}" keys given;

  inherit kinds;

  # The run as the expander wants it.
  make =
    {
      pkgs,
      given,
      dependencies,
      helpers,
    }:
    let
      where = "run ${quoted given.name}";
      axes = axesOf where (
        shape.set where "parameters" (given.parameters or (given.params or { }))
      );
      pipelines = map (
        file:
        pipeline.make {
          inherit pkgs file helpers;
          run = {
            inherit (given) name;
            inherit axes dependencies;
          };
        }
      ) (if isList given.pipelines then given.pipelines else [ given.pipelines ]);
      groups = filter (axis: axis.group) axes;
    in
    # Mistakes in values come before warnings.
    builtins.seq (builtins.all (axis: axis ? scan || axis.rows != [ ]) axes) (
      builtins.seq (checkParameters where axes pipelines) {
        inherit pipelines;
        ownNames = concatMap ownNamesOf (attrValues (given.parameters or (given.params or { })));
        checks = concatMap (each: each.checks) pipelines;
        definitions = foldl' (all: each: all // each.definitions) { } pipelines;
        blueprint = {
          inherit (given) name;
          hash_mode = given.hashMode or "pure";
          inter_run_dep_types = dependencies;
          parameter_axes = listToAttrs (
            map (axis: {
              name = head axis.names;
              value = encodedAxis where axis;
            }) (filter (axis: !axis.group) axes)
          );
          zip_groups = map (axis: {
            members = axis.names;
            values = map (json.encode where) axis.rows;
          }) groups;
          pipelines = map (each: each.blueprint) pipelines;
        };
      }
    );
}
