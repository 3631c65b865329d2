{ gawk }:
{
  pname = "sum";
  inputs = {
    left = "";
    right = "";
  };
  outputs = {
    sum = "$out/sum.txt";
  };
  runDependencies = [ gawk ];
  run = { inputs, outputs, ... }: ''
    cat "${inputs.left}" "${inputs.right}" | awk '{ s += $1 } END { print s }' > "${outputs.sum}"
  '';
}
