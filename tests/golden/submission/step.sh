#!/usr/bin/env bash
# Job sg of first: step-b b.
# Runs by itself: bash <this file> BRANCH. First data, one assignment a line; what happens is in lib.sh.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034 # lib.sh reads the variables; $ in quotes is meant
repx_format=1
repx_job=sg
repx_store='/store it'"'"'s a "b" $HOME `x` #c
;é\'
repx_scheduler=local
repx_submission=s1
repx_forced=
repx_input_wait_s=30
repx_above=../..
repx_unit='step-b b'
repx_folder='/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$1"'/step-b b'
repx_executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/b b'
repx_command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/b b' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$1"'/step-b b/out' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$1"'/step-b b/repx/inputs.json' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/repx/parameters.json')
repx_room=
repx_asks=(2 1073741824 60)
repx_asked_gpus=
repx_needs=('it'"'"'s a "b" $HOME `x` #c
;é\' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$1"'/step-a/out/it'"'"'s a "b" $HOME `x` #c
;é\')
repx_outputs=(o '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$1"'/step-b b/out/it'"'"'s a "b" $HOME `x` #c
;é\')
repx_inputs='{
  "it'"'"'s a \"b\" $HOME `x` #c\n;é\\": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/branch-'"$1"'/step-a/out/it'"'"'s a \"b\" $HOME `x` #c\n;é\\"
}'
repx_inputs_file='/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/branch-'"$1"'/step-b b/repx/inputs.json'
repx_parameters=
repx_parameters_file=
repx_environment=(A 'it'"'"'s a "b" $HOME `x` #c
;é\')
repx_secrets=()
repx_path='/store it'"'"'s a "b" $HOME `x` #c
;é\/labs/lab1/host-tools/tools/bin'
repx_missing_outputs=fail
repx_durability=full
repx_later=()

case $0 in /*) repx_here=${0%/*} ;; */*) repx_here=$PWD/${0%/*} ;; *) repx_here=$PWD ;; esac
repx_here=$repx_here/$repx_above
. "$repx_here/lib.sh" && repx_main "$@"
