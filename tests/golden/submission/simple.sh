#!/usr/bin/env bash
# Job it's a "b" $HOME `x` #c?;é\ of it's a "b" $HOME `x` #c?;é\.
# Also runs by itself: bash <this file>. What happens is in ../lib.sh.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034,SC2154 # lib.sh reads the variables; $ in quotes is meant
case $0 in /*) folder=${0%/*}/.. ;; */*) folder=$PWD/${0%/*}/.. ;; *) folder=$PWD/.. ;; esac
job='it'"'"'s a "b" $HOME `x` #c
;é\'
store='/store it'"'"'s a "b" $HOME `x` #c
;é\'
scheduler=local
forced=1
input_wait_s=30
parameters='{
  "it'"'"'s a \"b\" $HOME `x` #c\n;é\\": "it'"'"'s a \"b\" $HOME `x` #c\n;é\\",
  "none": null,
  "list": [
    1,
    2.5,
    true
  ]
}'

environment() { # runs in the program's own process, right before it
  export A='it'"'"'s a "b" $HOME `x` #c
;é\'
  export PATH='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/host-tools/tools/bin':"$PATH"
  :
}

main() {
  executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/jobs/it'"'"'s a "b" $HOME `x` #c
;é\/bin/x'
  command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/jobs/it'"'"'s a "b" $HOME `x` #c
;é\/bin/x' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/out' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/repx/inputs.json' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/repx/parameters.json')
  inputs='{
  "it'"'"'s a \"b\" $HOME `x` #c\n;é\\": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/out/it'"'"'s a \"b\" $HOME `x` #c\n;é\\",
  "store__base": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\"
}'
  needs=('it'"'"'s a "b" $HOME `x` #c
;é\' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/out/it'"'"'s a "b" $HOME `x` #c
;é\' store__base '/store it'"'"'s a "b" $HOME `x` #c
;é\')
  outputs=('it'"'"'s a "b" $HOME `x` #c
;é\' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/out/it'"'"'s a "b" $HOME `x` #c
;é\' also '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/out/also')
}

. "$folder/lib.sh"
main
repx_simple "$@"
