# One pipeline of a run: its stages wired, as the expander wants them.
{
  text,
  shape,
  json,
  call,
  cases,
  defaults,
  order,
  stage,
  steps,
  wiring,
  script,
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
    isList
    length
    listToAttrs
    map
    mapAttrs
    match
    ;
  inherit (text) fail quoted suggestion;

  isStage = value: isAttrs value && (value._repx_type or null) == "stage";
  runOf = name: match "metadata__(.*)" name;

  # The parameters of a stage as axes: a run's values for `stage.name`, else for `name`.
  axesOf =
    definition: axes:
    let
      wanted =
        name: axis: each:
        elem "${definition.key}.${name}" axis.names && each == "${definition.key}.${name}"
        || each == name && !(elem "${definition.key}.${name}" (concatMap (other: other.names) axes));
      own =
        axis:
        concatMap (
          name:
          map (member: { inherit name member; }) (filter (wanted name axis) axis.names)
        ) (attrNames definition.parameters);
      withDefault = name: value: if value == null then definition.parameters.${name} else value;
      narrowed =
        axis:
        let
          members = own axis;
        in
        {
          names = map (each: each.name) members;
          rows = map (
            row:
            listToAttrs (
              map (each: {
                inherit (each) name;
                value = withDefault each.name row.${each.member};
              }) members
            )
          ) axis.rows;
        };
    in
    filter (axis: axis.names != [ ]) (map narrowed axes);
in
{
  # file: what `pipelines` lists; run: { name; axes; dependencies; where; }
  make =
    {
      pkgs,
      file,
      run,
      helpers,
    }:
    let
      label = call.label file;
      where = "run ${quoted run.name}, pipeline ${if label == "inline" then "written inline" else label}";
      described = call.describe {
        inherit pkgs;
        where = "run ${quoted run.name}, pipelines";
        extra = {
          repx = helpers;
          repx-lib = helpers;
        };
      } file;
      placeholders =
        if !(isAttrs described) || described == { } then
          fail where "it must be an attribute set of stages, made with mkPipe and callStage"
        else
          mapAttrs (
            key: value:
            if !(isStage value) then
              fail where "${quoted key} is not a stage: make it with callStage"
            else if match "[A-Za-z0-9_+-][A-Za-z0-9_.+-]*" key == null then
              fail where "a stage cannot be called ${quoted key}: use letters, digits and . _ + -"
            else
              value
          ) described;
      keys = attrNames placeholders;
      written = mapAttrs (
        key: placeholder:
        stage.make {
          inherit key pkgs;
          file = call.label placeholder.file;
          raw = call.describe {
            inherit pkgs;
            where = "${where}, stage ${quoted key}";
            extra = {
              repx-lib = helpers;
              repx = helpers;
            };
          } placeholder.file;
        }
      ) placeholders;
      definitions = defaults.resolve {
        inherit needs;
        inherit (run) axes;
        definitions = written;
      };

      # The stage that a value in a list of dependencies is.
      keyOf =
        at: value:
        let
          found = filter (key: placeholders.${key}.token == value.token) keys;
          # Another call of callStage with the same arguments makes the same jobs.
          alike = filter (
            key: isStage value && call.isFile value.file && placeholders.${key}.file == value.file
              && length placeholders.${key}.deps == length value.deps
          ) keys;
        in
        if !(isStage value) then
          fail at "a dependency must be a stage made with callStage, not ${text.typeName value}"
        else if found != [ ] then
          head found
        else if length alike == 1 then
          head alike
        else
          fail at "it depends on a stage (${call.label value.file}) that is not in its pipeline: add it to mkPipe";
      depsOf =
        key: shape.list written.${key}.where "what callStage is given behind the stage" placeholders.${key}.deps;
      producersOf =
        key: map (dep: keyOf written.${key}.where (if isList dep then head dep else dep)) (depsOf key);
      needs = mapAttrs (key: _: producersOf key) placeholders;
      ordered = order.ordered needs (
        cycle: fail where "its stages depend on each other: ${cycle}"
      );

      # A stage with the first of all values: enough to know the names of its outputs.
      firsts = mapAttrs (
        _: definition:
        definition.at (
          foldl' (all: axis: all // head axis.rows) definition.parameters (axesOf definition run.axes)
        )
      ) definitions;
      outputs = mapAttrs (_: first: attrNames first.outputs) firsts;

      mappingsOf =
        key: found:
        let
          definition = definitions.${key};
          fed = filter (name: runOf name == null && name != "store__base") found.inputs;
          metadataOf = concatMap (name: if runOf name == null then [ ] else runOf name) found.inputs;
          unknown = filter (name: !(elem name (attrNames run.dependencies))) metadataOf;
          feeds = wiring.feeds {
            inherit (definition) where;
            inputs = fed;
            outputs = builtins.removeAttrs outputs [ key ];
            deps = depsOf key;
            keyOf = keyOf definition.where;
            mayFeedNothing = false;
          };
        in
        if unknown != [ ] then
          fail definition.where (
            "it reads the metadata of run ${quoted (head unknown)}, on which run ${quoted run.name} "
            + "does not depend${suggestion (head unknown) (attrNames run.dependencies)}"
          )
        else
          map (feed: {
            type = "intra-pipeline";
            stage = feed.producer;
            source_output = feed.output;
            target_input = feed.input;
          }) feeds
          ++ map (other: {
            type = "inter-run";
            source_run = other;
            dependency_type = run.dependencies.${other};
            target_input = "metadata__${other}";
          }) (filter (other: depsOf key == [ ] || elem other metadataOf) (attrNames run.dependencies))
          ++ (
            if elem "store__base" found.inputs then
              [
                {
                  type = "global";
                  source_value = "store_base";
                  target_input = "store__base";
                }
              ]
            else
              [ ]
          );

      # What one stage is for some values of its parameters, and what of it is to check.
      entry =
        key: values:
        let
          definition = definitions.${key};
          found = definition.at values;
          mappings = mappingsOf key found;
          wired =
            if definition.type == "simple" then
              {
                main = found.programs.main // {
                  inputMappings = mappings;
                };
              }
            else
              steps.wire {
                inherit (definition) where;
                inherit mappings;
                stage = found;
              };
          names = attrNames found.outputs;
        in
        if names != outputs.${key} then
          fail definition.where (
            "its outputs must have the same names for all values of its parameters, "
            + "not ${text.listed outputs.${key}} and ${text.listed names}"
          )
        else
          {
            checks = map (program: script.described { inherit pkgs program; }) (attrValues found.programs);
            title = found.pname;
            inherit (found) pname resources;
            input_mappings = mappings;
            executables = mapAttrs (
              _: program: {
                inherit (program) outputs resources;
                inputs = program.inputMappings;
                deps = if definition.type == "simple" then [ ] else program.deps or [ ];
                script = script.make {
                  inherit pkgs program;
                  name = found.pname;
                };
              }
            ) wired;
          };
      # A stage for all values of its parameters.
      trees = mapAttrs (
        key: definition:
        let
          axes = axesOf definition run.axes;
          fixed = removeAttrs definition.parameters (concatMap (axis: axis.names) axes);
        in
        if definition.dynamic then
          cases.tree {
            inherit axes fixed;
            f = entry key;
          }
        else
          { leaf = entry key definition.parameters; }
      ) definitions;
      blueprintOf =
        key:
        let
          definition = definitions.${key};
          tree = encoded definition.where trees.${key};
        in
        {
          inherit key;
          inherit (definition) version;
          stage_type = definition.type;
          parameters = json.encode definition.where definition.parameters;
        }
        // (if definition.dynamic then { variants = tree; } else tree.leaf);
      encoded =
        at: node:
        if node ? leaf then
          { leaf = json.encode at (removeAttrs node.leaf [ "checks" ]); }
        else
          {
            inherit (node) on;
            cases = map (each: [
              (json.encode at (head each))
              (encoded at (builtins.elemAt each 1))
            ]) node.cases;
          };
      programs = mapAttrs (_: tree: concatMap (leaf: leaf.checks) (cases.leaves tree)) trees;
    in
    builtins.seq (builtins.deepSeq ordered ordered) {
      inherit where needs;
      stages = attrValues definitions;
      checks = map (key: script.check { inherit pkgs key; programs = programs.${key}; }) keys;
      definitions = script.definitionsOf (concatMap (key: programs.${key}) keys);
      blueprint = {
        source = if call.isFile file then baseNameOf (toString file) else "inline";
        stages = map blueprintOf keys;
      };
    };
}
