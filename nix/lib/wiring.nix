# Which output feeds which input: between stages of a pipeline, and between steps of a stage.
{ text }:
let
  inherit (builtins)
    attrNames
    concatMap
    elem
    elemAt
    filter
    head
    isList
    isString
    length
    map
    ;
  inherit (text)
    fail
    listed
    quoted
    suggestion
    ;

  # One dependency: a producer, or [ producer "output" "input" ], as what it feeds.
  feedsOf =
    {
      where,
      inputs,
      outputs,
      keyOf,
      mayFeedNothing,
    }:
    dep:
    let
      explicit = isList dep;
      producer = keyOf (if explicit then head dep else dep);
      theirs = outputs.${producer};
      output = elemAt dep 1;
      input = if length dep > 2 then elemAt dep 2 else output;
      shared = filter (name: elem name theirs) inputs;
    in
    if explicit && (length dep < 2 || length dep > 3 || !(isString output && isString input)) then
      fail where "a dependency is a stage, or [ stage \"output\" ], or [ stage \"output\" \"input\" ]"
    else if explicit && !(elem output theirs) then
      fail where "${quoted producer} has no output ${quoted output}${suggestion output theirs}"
    else if explicit && !(elem input inputs) then
      fail where "it has no input ${quoted input}${suggestion input inputs}"
    else if explicit then
      [ { inherit producer output input; } ]
    else if shared == [ ] && !mayFeedNothing then
      fail where (
        "no output of ${quoted producer} (${listed theirs}) is one of its inputs "
        + "(${if inputs == [ ] then "none" else listed inputs}), write [ ${producer} \"OUTPUT\" \"INPUT\" ]"
      )
    else
      map (name: {
        inherit producer;
        output = name;
        input = name;
      }) shared;
in
{
  # What feeds the inputs, in the order of the inputs. Every input must be fed, and once.
  #   outputs: the names of the outputs of every possible producer, by its key
  #   keyOf: from an element of `deps` to a key of `outputs`
  feeds =
    arguments@{
      where,
      inputs,
      outputs,
      deps,
      ...
    }:
    let
      all = concatMap (feedsOf (removeAttrs arguments [ "deps" ])) deps;
      of = name: filter (feed: feed.input == name) all;
      # Naming the same output twice is no contradiction.
      different = found: filter (feed: feed != head found) found;
      owners = name: filter (key: elem name outputs.${key}) (attrNames outputs);
      chosen =
        name:
        let
          found = of name;
          other = different found;
        in
        if found == [ ] then
          fail where (
            "nothing provides its input ${quoted name}"
            + (
              if owners name == [ ] then
                suggestion name (concatMap (key: outputs.${key}) (attrNames outputs))
              else
                ", ${quoted (head (owners name))} has it: add it to the dependencies"
            )
          )
        else if other != [ ] then
          fail where (
            "input ${quoted name} is fed twice, by ${quoted (head found).producer} "
            + "and by ${quoted (head other).producer}"
          )
        else
          head found;
    in
    map chosen inputs;
}
