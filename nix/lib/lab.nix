# Runs become a Lab: one blueprint, evaluated in constant time, and one derivation that expands it.
{
  text,
  shape,
  json,
  call,
  order,
  run,
  source,
  version,
  tools,
  utilsFor,
  helpers,
}:
let
  inherit (builtins)
    attrNames
    attrValues
    concatMap
    elem
    elemAt
    filter
    head
    isAttrs
    isList
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
    noneTwice
    quoted
    suggestion
    ;

  modes = [
    "none"
    "unified"
    "per-run"
  ];
  isPlaceholder = value: isAttrs value && (value._repx_type or null) == "run_placeholder";

  callRun = runPath: dependencies: {
    _repx_type = "run_placeholder";
    inherit runPath dependencies;
    token = {
      same = x: x; # equal to itself only
    };
  };

  # Every run by its attribute: what its file says, and which runs it depends on, by name.
  instantiate =
    { pkgs, runs }:
    let
      placeholders = mapAttrs (
        name: value:
        if isPlaceholder value then
          value
        else
          fail "run ${quoted name}" "it must be made with callRun, not be ${text.typeName value}"
      ) runs;
      lib = helpers // {
        utils = utilsFor pkgs;
      };
      given = mapAttrs (
        name: value:
        run.check "run ${quoted name} (${call.label value.runPath})" (
          call.describe {
            inherit pkgs;
            where = "run ${quoted name}";
            extra = {
              repx-lib = lib;
              repx = lib;
            };
          } value.runPath
        )
      ) placeholders;
      realName = name: given.${name}.name;
      nameOf =
        where: value:
        let
          found = filter (name: placeholders.${name}.token == value.token) (attrNames placeholders);
        in
        if !(isPlaceholder value) then
          fail where "a dependency must be a run made with callRun, or [ run \"hard\" ], not ${text.typeName value}"
        else if found == [ ] then
          fail where "it depends on a run (${call.label value.runPath}) that is not among the Lab's runs: add it"
        else
          realName (head found);
      kindOf =
        where: kind:
        if elem kind run.kinds then
          kind
        else
          fail where "a dependency is \"hard\" or \"soft\", not ${toJSON kind}${
            if isString kind then suggestion kind run.kinds else ""
          }";
      ofPlaceholder =
        name: value:
        let
          where = "run ${quoted (realName name)}";
          one =
            dep:
            if isList dep && length dep != 2 then
              fail where "a dependency is a run, or [ run \"hard\" ], not a list of ${toString (length dep)}"
            else if isList dep then
              {
                name = nameOf where (head dep);
                value = kindOf where (elemAt dep 1);
              }
            else
              {
                name = nameOf where dep;
                value = "hard";
              };
          # By name, as a run written inline may say it.
          named = given.${name}.dependencies or { };
          hard = each: { name = each; value = "hard"; };
          byName =
            if isList named then
              listToAttrs (map hard (shape.strings where "dependencies" named))
            else
              shape.set where "dependencies" named;
          known = map realName (attrNames placeholders);
          unknown = filter (each: !(elem each known)) (attrNames byName);
        in
        if unknown != [ ] then
          fail where "there is no run ${quoted (head unknown)}${suggestion (head unknown) known}"
        else
          mapAttrs (_: kindOf where) byName
          // listToAttrs (map one (shape.list where "what callRun is given behind the run" value.dependencies));
      dependencies = mapAttrs ofPlaceholder placeholders;
      names = noneTwice "the Lab" "runs" (map realName (attrNames placeholders));
      byName = listToAttrs (map (attribute: { name = realName attribute; value = attribute; }) (attrNames placeholders));
      needs = listToAttrs (
        map (attribute: { name = realName attribute; value = attrNames dependencies.${attribute}; }) (attrNames placeholders)
      );
      ordered = order.ordered needs (cycle: fail "the Lab" "runs depend on each other: ${cycle}");
    in
    builtins.seq names {
      inherit byName needs ordered realName;
      made = mapAttrs (
        attribute: _:
        run.make {
          inherit pkgs;
          given = given.${attribute};
          dependencies = dependencies.${attribute};
          helpers = lib;
        }
      ) placeholders;
    };

  groupsOf =
    { placeholders, realName, groups }:
    let
      names = map realName (attrNames placeholders);
      member =
        group: value:
        let
          found = filter (name: placeholders.${name}.token == value.token) (attrNames placeholders);
          where = "group ${quoted group}";
        in
        if isString value then
          if elem value names then
            value
          else if placeholders ? ${value} then
            realName value
          else
            fail where "there is no run ${quoted value}${suggestion value names}"
        else if !(isPlaceholder value) then
          fail where "its members must be runs made with callRun, not ${text.typeName value}"
        else if found == [ ] then
          fail where "a member (${call.label value.runPath}) is not among the Lab's runs: add it"
        else
          realName (head found);
    in
    mapAttrs (
      group: members:
      if elem group names then
        fail "group ${quoted group}" "a run has the same name"
      else if !(isList members) then
        fail "group ${quoted group}" "it must be a list of runs, not ${text.typeName members}"
      else
        map (member group) members
    ) (shape.set "mkLab" "groups" groups);

  checkMode =
    option: mode:
    if elem mode modes then
      mode
    else
      fail "mkLab" "${option} must be one of ${listed modes}, not ${toJSON mode}";

  # The Lab, one Lab for each run, and the attribute of each run by its name.
  labsOf =
    where: given:
    let
      arguments = shape.set where "what it is given" given;
      missing = filter (name: !(arguments ? ${name})) [
        "runs"
        "pkgs"
      ];
    in
    if missing != [ ] then
      fail where "${quoted (head missing)} is missing"
    else
      made (text.onlyKeys where (attrNames (builtins.functionArgs made)) arguments);
  made =
    {
      pkgs,
      runs,
      repx-lib ? null,
      flake ? null,
      gitHash ? flake.rev or (flake.dirtyRev or "unknown"),
      lab_version ? "1.0",
      groups ? { },
      containerMode ? "unified",
      runContainerMode ? "per-run",
      flakeLock ?
        if flake == null then null else "${shape.set "mkLab" "flake" flake}/flake.lock",
      nixpkgsRevision ? revisionOf flake pkgs,
      hostTools ? null,
    }:
    let
      all = instantiate {
        inherit pkgs;
        runs = shape.set "mkLab" "runs" runs;
      };
      provenance = {
        nixpkgs = nixpkgsRevision;
      }
      // (
        if flakeLock != null && builtins.pathExists flakeLock then
          { flake_lock = builtins.hashFile "sha256" flakeLock; }
        else
          { }
      );
      checkedGroups = groupsOf {
        inherit groups;
        inherit (all) realName;
        placeholders = runs;
      };
      lab =
        attributes: groups: mode:
        build {
          inherit pkgs mode hostTools;
          made = map (attribute: all.made.${attribute}) attributes;
          blueprint = {
            version = 1;
            repx_version = version;
            inherit provenance groups;
            lab_version = shape.version "mkLab" "lab_version" lab_version;
            git_hash = if gitHash == null then "unknown" else shape.string "mkLab" "gitHash" gitHash;
          };
        };
      ofRun =
        attribute: _:
        let
          wanted = order.reached all.needs (all.realName attribute) ++ [ (all.realName attribute) ];
        in
        lab (map (name: all.byName.${name}) (filter (name: elem name wanted) all.ordered)) { } (
          checkMode "runContainerMode" runContainerMode
        );
    in
    if runs == { } then
      fail "mkLab" "there are no runs"
    else
      {
        lab = lab (map (name: all.byName.${name}) all.ordered) checkedGroups (
          checkMode "containerMode" containerMode
        );
        runs = mapAttrs ofRun runs;
        inherit (all) byName;
      };

  # `import nixpkgs { }` does not know its revision, but the flake's input that it lies in does.
  revisionOf =
    flake: pkgs:
    let
      lib = pkgs.lib or { };
      isSource = input: (input.outPath or null) == toString (pkgs.path or "");
      found = filter isSource (attrValues (if flake == null then { } else flake.inputs or { }));
      input = head found;
      own = (lib.trivial.revisionWithDefault or (default: default)) (lib.version or "unknown");
    in
    if found == [ ] then own else input.rev or (input.narHash or own);

  build =
    {
      pkgs,
      mode,
      hostTools,
      made,
      blueprint,
    }:
    let
      whole = blueprint // {
        runs = map (each: each.blueprint) made;
        container_mode = mode;
        own_names = concatMap (each: each.ownNames) made;
        definitions = builtins.foldl' (all: each: all // each.definitions) { } made;
        host_tools = tools { inherit pkgs hostTools; };
      };
      # The closure of this text is what the scripts and parameters refer to.
      textOf = name: runs: pkgs.writeText name (toJSON runs);
      graphs =
        if mode == "none" then
          [ ]
        else if mode == "unified" then
          [
            "closure"
            (textOf "repx-runs.json" whole.runs)
          ]
        else
          concatMap (each: [
            "closure-${each.name}"
            (textOf "repx-run.json" each)
          ]) whole.runs;
      result = derivation {
        name = "hpc-experiment-lab";
        inherit (pkgs.stdenv.hostPlatform) system;
        # Nix calls a builder by its last name alone, from which Python cannot tell where it is.
        builder = "${pkgs.bash}/bin/bash";
        args = [
          "-c"
          "exec ${pkgs.python3}/bin/python3 ${source}/nix/builder/lab.py"
        ];
        PYTHONPATH = "${source}";
        blueprint = toJSON whole;
        passAsFile = [ "blueprint" ];
        checks = concatMap (each: each.checks) made;
        bash = "${pkgs.bash}";
        coreutils = "${pkgs.coreutils}";
        exportReferencesGraph = graphs;
      };
    in
    result // { blueprint = whole; };

  # The shortest way: a list of runs, or an attribute set of mkLab's arguments with such a list.
  runs2Lab =
    defaultPackages: given:
    let
      where = "runs2Lab";
      arguments =
        if isList given then
          { runs = given; }
        else if isAttrs given then
          given
        else
          fail where "it needs a list of runs, or an attribute set with runs, not ${text.typeName given}";
      wanted = arguments.runs or (fail where "'runs' is missing");
      listed = if isList wanted then wanted else attrValues (shape.set where "runs" wanted);
      packages = concatMap (each: if isAttrs each && each ? pkgs then [ each.pkgs ] else [ ]) listed;
      runs = listToAttrs (
        builtins.genList (n: {
          name = "number ${toString (n + 1)}";
          value = let each = elemAt listed n; in if isPlaceholder each then each else callRun each [ ];
        }) (length listed)
      );
      found = labsOf where (
        {
          pkgs = if packages == [ ] then defaultPackages else head packages;
        }
        // arguments
        // {
          inherit runs;
        }
      );
    in
    if listed == [ ] then
      fail "runs2Lab" "there are no runs"
    else
      found.lab
      // {
        runs = mapAttrs (_: attribute: found.runs.${attribute}) found.byName;
      };
in
{
  inherit callRun runs2Lab;
  mkLab = arguments: { inherit (labsOf "mkLab" arguments) lab runs; };
}
