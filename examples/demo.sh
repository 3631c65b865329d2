#!/bin/sh
# Shows repx at work on examples/compression: define, build, draw, run, analyse, change.
# Usage: demo.sh [FOLDER]. Works in a fresh copy of the example in FOLDER (./.demo); wants
# repx and its python3 on PATH, which `make demo` sees to.
set -eu

examples=$(cd "$(dirname "$0")" && pwd)
folder=${1:-.demo}

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
  bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# Show the command as one would type it, then run it.
run() {
  printf '%s$ %s%s\n' "$bold" "$1" "$plain"
  eval "$1"
}

mkdir -p "$folder"
printf '*\n' >"$folder/.gitignore"
rm -rf "$folder/compression"
mkdir "$folder/compression"
cd "$folder/compression"
for part in lab.yaml targets.yaml analyse.py stages; do
  cp -RL "$examples/compression/$part" .
done

say "Which compressor at which level? lab.yaml defines the experiment; its end:"
run "sed -n '/^pipelines:/,\$p' lab.yaml"

say "Build: each combination of parameters becomes a job."
run "repx build"

say "Draw it."
if command -v dot >/dev/null; then
  run "repx viz -o lab.svg"
else
  run "repx viz -o lab.mmd" # Mermaid, since Graphviz is not installed
fi

say "Run it on every core."
run "repx run"

say "Analyse: analyse.py reads the results through repx_py."
run "python3 analyse.py"

say "Change one parameter: measure level 5, too."
run "sed -i 's/1, 3, 6, 9/1, 3, 5, 6, 9/' lab.yaml"
run "repx build"
run "repx run"

say "Only the new level and the report ran; the rest was kept. Look around:"
printf "  cd '%s'\n" "$(pwd)"
for words in "status" "list jobs report --output-paths"; do
  printf "  '%s' %s\n" "$(command -v repx)" "$words"
done
