#!/usr/bin/env bash
# Job it's a "b" $HOME `x` #c?;é\ of it's a "b" $HOME `x` #c?;é\.
# Runs by itself: bash <this file>. First data, one assignment a line; what happens is in lib.sh.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034 # lib.sh reads the variables; $ in quotes is meant
repx_format=1
repx_job='it'"'"'s a "b" $HOME `x` #c
;é\'
repx_store='/store it'"'"'s a "b" $HOME `x` #c
;é\'
repx_scheduler=local
repx_submission=s1
repx_forced=1
repx_input_wait_s=30
repx_above=..
repx_unit=main
repx_folder='/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\'
repx_executable='/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/jobs/it'"'"'s a "b" $HOME `x` #c
;é\/bin/x'
repx_command=('/store it'"'"'s a "b" $HOME `x` #c
;é\/artifacts/jobs/it'"'"'s a "b" $HOME `x` #c
;é\/bin/x' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/out' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/repx/inputs.json' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/repx/parameters.json')
repx_room=
repx_asks=(1 null null)
repx_asked_gpus=
repx_needs=('it'"'"'s a "b" $HOME `x` #c
;é\' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg/out/it'"'"'s a "b" $HOME `x` #c
;é\' store__base '/store it'"'"'s a "b" $HOME `x` #c
;é\')
repx_outputs=('it'"'"'s a "b" $HOME `x` #c
;é\' '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/out/it'"'"'s a "b" $HOME `x` #c
;é\' also '/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/out/also')
repx_inputs='{
  "it'"'"'s a \"b\" $HOME `x` #c\n;é\\": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\/outputs/sg/out/it'"'"'s a \"b\" $HOME `x` #c\n;é\\",
  "store__base": "/store it'"'"'s a \"b\" $HOME `x` #c\n;é\\"
}'
repx_inputs_file='/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/repx/inputs.json'
repx_parameters='{
  "it'"'"'s a \"b\" $HOME `x` #c\n;é\\": "it'"'"'s a \"b\" $HOME `x` #c\n;é\\",
  "none": null,
  "list": [
    1,
    2.5,
    true
  ]
}'
repx_parameters_file='/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/it'"'"'s a "b" $HOME `x` #c
;é\/repx/parameters.json'
repx_environment=(A 'it'"'"'s a "b" $HOME `x` #c
;é\')
repx_secrets=()
repx_path='/store it'"'"'s a "b" $HOME `x` #c
;é\/labs/lab1/host-tools/tools/bin'
repx_missing_outputs=fail
repx_durability=full

case $0 in /*) repx_here=${0%/*} ;; */*) repx_here=$PWD/${0%/*} ;; *) repx_here=$PWD ;; esac
repx_here=$repx_here/$repx_above
. "$repx_here/lib.sh" && repx_main "$@"
