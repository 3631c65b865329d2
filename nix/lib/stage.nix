# One stage as data: what it reads, writes and runs, for given parameters.
{
  text,
  call,
  shape,
}:
let
  inherit (builtins)
    any
    attrNames
    attrValues
    concatMap
    elem
    filter
    hasAttr
    isAttrs
    isFunction
    isList
    isString
    listToAttrs
    map
    match
    ;
  inherit (text) fail onlyKeys quoted;

  ignored = [
    "meta"
    "override"
    "overrideDerivation"
    "passthru"
  ];
  programKeys = [
    "files"
    "inputs"
    "outputs"
    "resources"
    "run"
    "runDependencies"
    "script"
  ];
  stageKeys = ignored ++ [
    "description"
    "inputs"
    "parameters"
    "params"
    "pname"
    "resources"
    "runDependencies"
    "version"
  ];
  phaseKeys = [
    "gather"
    "scatter"
    "steps"
  ];
  resourceKeys = [
    "cpus"
    "mem"
    "partition"
    "sbatch_opts"
    "time"
  ];

  # Inputs or parameters: a list of names, or the names of a set.
  names =
    where: what: value:
    if isAttrs value then
      attrNames value
    else if isList value then
      shape.strings where what value
    else
      fail where "${what} must be a list of names or an attribute set, not ${text.typeName value}";

  checkNames =
    where: what: found:
    let
      bad = filter (name: !(isString name) || match "[A-Za-z_][A-Za-z0-9_.-]*" name == null) found;
    in
    if bad == [ ] then
      found
    else
      fail where "${what} must be names of letters, digits, _ and -, not ${builtins.toJSON (builtins.head bad)}";

  checkOutputs =
    where: outputs:
    let
      wrong = filter (
        name:
        name != "worker__arg" && (!(isString outputs.${name}) || match "[$]out(/.*)?" outputs.${name} == null)
      ) (checkNames where "outputs" (attrNames outputs));
      name = builtins.head wrong;
      files = filter (output: isString outputs.${output}) (attrNames outputs);
      shared = filter (
        output: any (other: other != output && outputs.${other} == outputs.${output}) files
      ) files;
    in
    if shared != [ ] then
      fail where "outputs ${quoted (builtins.head shared)} and ${quoted (builtins.elemAt shared 1)} are the same file"
    else if wrong == [ ] then
      outputs
    else
      fail where "output ${quoted name} must be a text that begins with '$out/', such as \"$out/${name}.csv\"";

  checkResources =
    where: given:
    let
      hints = shape.set where "resources" given;
      ruleAt = "${where}, resources.when";
      rule =
        each:
        if (shape.set where "each of resources.when" each) ? "if" then
          shape.resources ruleAt (onlyKeys ruleAt (resourceKeys ++ [ "if" ]) each)
        else
          fail ruleAt "each needs 'if', the values that must match: { \"if\" = { n = 1; }; mem = \"4G\"; }";
      rules = map rule (shape.list where "resources.when" (hints.when or [ ]));
    in
    shape.resources where (onlyKeys "${where}, resources" (resourceKeys ++ [ "when" ]) hints)
    // (if hints ? when then { when = rules; } else { });

  # Which parameters a stage has, with their defaults; null is none.
  parametersOf =
    where: raw:
    let
      given = raw.parameters or (raw.params or { });
      defaults =
        if isList given then
          listToAttrs (
            map (name: {
              inherit name;
              value = null;
            }) given
          )
        else
          given;
    in
    if raw ? parameters && raw ? params then
      fail where "'params' is another name for 'parameters': write one of them"
    else if !(isList given || isAttrs given) then
      fail where "parameters must be names with defaults, not ${text.typeName given}"
    else
      builtins.seq (checkNames where "parameters" (names where "parameters" given)) defaults;

  # `${inputs[x]}`: how bash reads the value when the job runs.
  references =
    array: found:
    listToAttrs (
      map (name: {
        inherit name;
        value = "\${${array}[${name}]}";
      }) found
    );

  # The lines of bash of a program. `run` may also be their text.
  linesOf =
    {
      where,
      pkgs,
      raw,
      inputs,
      outputs,
      parameters,
    }:
    let
      references' = {
        inputs = references "inputs" inputs;
        parameters = references "parameters" parameters;
      };
      lines = call.apply raw.run (
        references'
        // {
          inherit outputs pkgs;
          params = references'.parameters;
        }
      );
      result = if isFunction raw.run then lines else raw.run;
    in
    if isString result then result else fail where "run must give the lines of a bash script, not ${text.typeName result}";

  # One program: the stage's only one, or a phase.
  program =
    {
      where,
      pkgs,
      raw,
      name,
      inputs,
      parameters,
      values,
      dependencies,
      fixedOutputs ? { },
    }:
    let
      given = shape.set where "outputs" (call.resolve (raw.outputs or { }) values);
      outputs = checkOutputs where (given // fixedOutputs);
      ways = filter (way: raw ? ${way}) [ "run" "script" ];
      wanted = if ways == [ ] then "neither 'run' nor 'script' is" else "both 'run' and 'script' are";
    in
    {
      inherit name inputs outputs where;
      at = builtins.unsafeGetAttrPos "run" raw;
      resources = checkResources where (call.resolve (raw.resources or { }) values);
      lines =
        if builtins.length ways != 1 then
          fail where "${wanted} given, one of them is needed"
        else if raw ? run then
          linesOf {
            inherit where pkgs raw inputs outputs;
            parameters = attrNames parameters;
          }
        else
          null;
      script = raw.script or null;
      files = shape.list where "files" (raw.files or [ ]);
      dependencies = dependencies ++ shape.list where "runDependencies" (raw.runDependencies or [ ]);
      deps = raw.deps or [ ];
    };

  simple =
    common@{ where, raw, ... }:
    let
      inputs = names where "inputs" (call.resolve (raw.inputs or { }) common.values);
      main = program (
        common
        // {
          name = "main";
          inputs = checkNames where "inputs" inputs;
          dependencies = [ ];
          raw = removeResources raw;
        }
      );
    in
    {
      inherit inputs;
      inherit (main) outputs;
      programs = { inherit main; };
    };

  # A simple stage's resources are the job's, not its only program's.
  removeResources = raw: builtins.removeAttrs raw [ "resources" ];

  scattered =
    common@{ where, raw, values, ... }:
    let
      dependencies = shape.list where "runDependencies" (raw.runDependencies or [ ]);
      phase =
        name: keys: given:
        onlyKeys "${where}, ${name}" (programKeys ++ ignored ++ [ "pname" "version" ] ++ keys) (
          shape.set where name given
        );
      scatter = phase "scatter" [ ] raw.scatter;
      gather = phase "gather" [ ] raw.gather;
      namesOf = given: names where "inputs" (call.resolve (given.inputs or { }) values);
      own = namesOf raw;
      inputs = checkNames where "inputs" (
        own ++ filter (name: !(elem name own)) (namesOf scatter)
      );
      made =
        name: given: extra:
        program (
          common
          // {
            inherit name dependencies;
            where = "${where}, ${name}";
            raw = given;
            inputs = inputs;
          }
          // extra
        );
      scatterOutputs = shape.set "${where}, scatter" "outputs" (
        call.resolve (scatter.outputs or { }) values
      );
      missing = filter (name: !(hasAttr name scatterOutputs)) [ "work__items" ];
      last = made "gather" gather {
        inputs = inputs ++ filter (name: !(elem name inputs)) ([ "worker__outs" ] ++ namesOf gather);
      };
      steps = listToAttrs (
        map (name: {
          name = "step-${name}";
          value = made "step-${name}" (phase "step '${name}'" [ "deps" ] raw.steps.${name}) {
            inputs = checkNames "${where}, step '${name}'" "inputs" (namesOf raw.steps.${name});
          } // {
            raw = raw.steps.${name};
          };
        }) (attrNames raw.steps)
      );
    in
    if missing != [ ] then
      fail "${where}, scatter" "outputs must have 'work__items', the list of work items"
    else if !(elem "worker__outs" (namesOf gather)) then
      fail "${where}, gather" "inputs must have 'worker__outs', the outputs of all branches"
    else
      {
        inherit inputs;
        inherit (last) outputs;
        programs = steps // {
          # The format fixes the file's name whatever is declared.
          scatter = made "scatter" scatter {
            fixedOutputs = {
              work__items = "$out/work_items.json";
            }
            // (if scatterOutputs ? worker__arg then { } else { worker__arg = { }; });
          };
          gather = last;
        };
      };
in
{

  # key: the stage's name in its pipeline; raw: what its file says.
  make =
    {
      key,
      file,
      raw,
      pkgs,
    }:
    let
      where = "stage ${quoted key}${if file == "inline" then "" else " (${file})"}";
      given = filter (name: raw ? ${name}) phaseKeys;
      isScattered = given != [ ];
      keys = stageKeys ++ (if isScattered then phaseKeys else programKeys);
      missing = filter (name: !(raw ? ${name})) phaseKeys;
      checked =
        if !(isAttrs raw) then
          fail where "it must be an attribute set, not ${text.typeName raw}"
        else if isScattered && missing != [ ] then
          fail where "${quoted (builtins.head missing)} is missing: a scatter-gather stage has scatter, steps and gather"
        else if isScattered && (!(isAttrs raw.steps) || raw.steps == { }) then
          fail where "steps must be an attribute set with at least one step"
        else
          onlyKeys where keys raw;
      parameters = parametersOf where checked;
      resolvable = concatMap (
        part: map (name: part.${name} or null) [ "inputs" "outputs" "pname" "resources" ]
      ) ([ checked ] ++ (if isScattered then [ checked.scatter checked.gather ] ++ attrValues checked.steps else [ ]));
    in
    {
      inherit key where parameters;
      type = builtins.seq checked (if isScattered then "scatter-gather" else "simple");
      version = shape.version where "version" (checked.version or "1.1");
      # Whether anything depends on the values of parameters.
      dynamic = any isFunction resolvable;
      # The stage for given values of its parameters.
      at =
        values:
        (if isScattered then scattered else simple) {
          inherit where pkgs parameters values;
          raw = checked;
        }
        // {
          pname = shape.string where "pname" (
            call.resolve (checked.pname or (checked.scatter.pname or key)) values
          );
          resources = checkResources where (call.resolve (checked.resources or { }) values);
        };
    };
}
