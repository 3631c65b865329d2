#!/usr/bin/env bash
# Job sg of first.
# Also runs by itself: bash <this file>. What happens is in ../lib.sh.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034,SC2154 # lib.sh reads the variables; $ in quotes is meant
case $0 in /*) folder=${0%/*}/.. ;; */*) folder=$PWD/${0%/*}/.. ;; *) folder=$PWD/.. ;; esac
job=sg
store='/store it'"'"'s a "b" $HOME `x` #c
;é\'
scheduler=local
forced=
input_wait_s=30
parameters='{}'

environment() { # runs in the program's own process, right before it
  export A='it'"'"'s a "b" $HOME `x` #c
;é\'
  export PATH='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/host-tools/tools/bin':"$PATH"
  :
}

steps=(a 'b b')
sink='b b'
scatter() {
  executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/s'
  command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/s' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/scatter/out' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/inputs.json' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/parameters.json')
  inputs='{}'
  needs=()
  outputs=(work__items '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/scatter/out/work_items.json')
}
step_1() { # a
  later=('b b')
  executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/a'
  command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/a' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"/step-a/out '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"/step-a/repx/inputs.json '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/parameters.json')
  inputs='{
  "worker__item": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/branch-'"$branch"'/repx/work_item.json"
}'
  needs=(worker__item '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"/repx/work_item.json)
  outputs=(o '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"'/step-a/out/it'"'"'s a "b" $HOME `x` #c
;é\')
}
step_2() { # b b
  later=()
  executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/b b'
  command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/b b' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"'/step-b b/out' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"'/step-b b/repx/inputs.json' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/parameters.json')
  inputs='{
  "it'"'"'s a \"b\" $HOME `x` #c\n;é\\": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/branch-'"$branch"'/step-a/out/it'"'"'s a \"b\" $HOME `x` #c\n;é\\"
}'
  needs=('it'"'"'s a "b" $HOME `x` #c
;é\' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"'/step-a/out/it'"'"'s a "b" $HOME `x` #c
;é\')
  outputs=(o '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$branch"'/step-b b/out/it'"'"'s a "b" $HOME `x` #c
;é\')
}
step() { # NAME
  case $1 in
    a) step_1 ;;
    'b b') step_2 ;;
    *) return 1 ;;
  esac
}
worker_outs() {
  printf '%s' '{
  "o": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/branch-'"$branch"'/step-b b/out/it'"'"'s a \"b\" $HOME `x` #c\n;é\\"
}'
}
gather() {
  executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/g'
  command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/g' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/out' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/gather_inputs.json' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/parameters.json')
  inputs='{
  "worker__outs": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/repx/worker_outs_manifest.json"
}'
  needs=(worker__outs '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/worker_outs_manifest.json')
  outputs=(o '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/out/it'"'"'s a "b" $HOME `x` #c
;é\')
}

. "$folder/lib.sh"
. "$folder/scatter-gather.sh"
repx_scatter_gather "$@"
