# The steps of a scatter-gather stage: how they feed each other, and which one comes last.
{
  text,
  order,
  wiring,
}:
let
  inherit (builtins)
    attrNames
    concatLists
    elem
    filter
    head
    intersectAttrs
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    substring
    ;
  inherit (text) fail listed quoted;

  body = step: intersectAttrs { run = null; script = null; } step;

  # The name of the step that a value in `deps` is: the very binding, a changed copy of it
  # (`step // { ... }`, known by its `run`), or its name.
  nameOf =
    where: steps: value:
    let
      same = filter (name: steps.${name} == value) (attrNames steps);
      alike = filter (name: body steps.${name} == body value) (attrNames steps);
      found = if same != [ ] then same else alike;
    in
    if isString value then
      if steps ? ${value} then value else fail where "there is no step ${quoted value}${text.suggestion value (attrNames steps)}"
    else if length found == 1 then
      head found
    else
      fail where (
        if found == [ ] then
          "it depends on a step that is not among the stage's steps (${listed (attrNames steps)})"
        else
          "it depends on a step that could be each of ${listed found}: write its name, such as \"${head found}\""
      );
in
{
  # The programs of a stage with the inputs of its steps and gather filled in.
  #   stage: what stage.nix made for some parameters; mappings: those of the stage's inputs
  wire =
    { where, stage, mappings }:
    let
      isStep = name: substring 0 5 name == "step-";
      steps = listToAttrs (
        map (name: {
          name = substring 5 (-1) name;
          value = stage.programs.${name};
        }) (filter isStep (attrNames stage.programs))
      );
      raw = mapAttrs (_: step: step.raw) steps;
      outputs = mapAttrs (_: step: attrNames step.outputs) steps;
      depsOf =
        step:
        map (dep: nameOf step.where raw (if isList dep then head dep else dep)) step.deps;
      unique = builtins.foldl' (found: each: if elem each found then found else found ++ [ each ]) [ ];
      needs = mapAttrs (_: step: unique (depsOf step)) steps;
      ordered = order.ordered needs (
        cycle: fail where "its steps depend on each other: ${cycle}"
      );
      needed = concatLists (builtins.attrValues needs);
      ends = filter (name: !(elem name needed)) (attrNames steps);
      last = steps.${head ends};
      roots = filter (
        name: needs.${name} == [ ] && elem "worker__item" steps.${name}.inputs
      ) (attrNames steps);
      shared = name: elem name stage.inputs;
      feeds =
        name: step:
        wiring.feeds {
          inherit (step) where deps;
          inputs = filter (each: each != "worker__item" && !(shared each)) step.inputs;
          outputs = builtins.removeAttrs outputs [ name ];
          keyOf = value: nameOf step.where raw value;
          mayFeedNothing = true;
        };
      ofStep =
        name: step:
        let
          fed = feeds name step;
        in
        step
        // {
          deps = needs.${name};
          notes = map (feed: "${feed.input} is ${feed.output} of step ${feed.producer}.") fed;
          inputMappings =
            (
              if elem "worker__item" step.inputs then
                [
                  {
                    source = "scatter:work_item";
                    target_input = "worker__item";
                  }
                ]
              else
                [ ]
            )
            ++ map (feed: {
              source = "step:${feed.producer}";
              source_output = feed.output;
              target_input = feed.input;
            }) fed
            ++ filter (mapping: elem mapping.target_input step.inputs) mappings;
        };
      scatter = stage.programs.scatter;
      ofScatter = filter (name: scatter.outputs ? ${name} && !(shared name)) stage.programs.gather.inputs;
    in
    if ordered == [ ] || roots == [ ] then
      fail where "no step without 'deps' has the input 'worker__item'"
    else if length ends != 1 then
      fail where "one step must come last, but nothing needs any of: ${listed ends}"
    else if length (attrNames last.outputs) != 1 then
      fail where (
        "step ${quoted (head ends)} comes last, so it must have exactly one output for "
        + "'worker__outs', not ${toString (length (attrNames last.outputs))}"
      )
    else
      {
        scatter = scatter // {
          inputMappings = mappings;
        };
        gather = stage.programs.gather // {
          inputMappings = [
            {
              source = "runner:worker_outputs";
              source_key = head (attrNames last.outputs);
              target_input = "worker__outs";
            }
          ]
          ++ map (name: {
            job_id = "self";
            source_output = name;
            target_input = name;
          }) ofScatter;
        };
      }
      // listToAttrs (
        map (name: {
          name = "step-${name}";
          value = ofStep name steps.${name};
        }) (attrNames steps)
      );
}
