# An order in which each comes after what it needs; a cycle is named.
let
  inherit (builtins)
    attrNames
    elem
    filter
    foldl'
    head
    ;
in
{
  # needs: { name = [ names ]; }; fail is given the cycle as text.
  ordered =
    needs: fail:
    let
      visit =
        trail: done: name:
        if elem name done then
          done
        else if elem name trail then
          fail (builtins.concatStringsSep " -> " (from name trail ++ [ name ]))
        else
          foldl' (visit (trail ++ [ name ])) done needs.${name} ++ [ name ];
      from =
        name: trail: if head trail == name then trail else from name (builtins.tail trail);
    in
    foldl' (visit [ ]) [ ] (attrNames needs);

  # Every name that one needs, directly or not.
  reached =
    needs: name:
    let
      grow =
        found: open:
        let
          fresh = filter (each: !(elem each found)) open;
        in
        if fresh == [ ] then found else grow (found ++ [ (head fresh) ]) (builtins.tail fresh ++ needs.${head fresh});
    in
    grow [ ] needs.${name};
}
