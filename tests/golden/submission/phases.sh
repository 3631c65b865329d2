#!/usr/bin/env bash
# Job sg of first.
# Runs by itself: bash <this file>. First data, one assignment a line; what happens is in lib.sh.
# shellcheck disable=SC1003,SC1091,SC2016,SC2034 # lib.sh reads the variables; $ in quotes is meant
repx_format=1
repx_job=sg
repx_store='/store it'"'"'s a "b" $HOME `x` #c
;é\'
repx_scheduler=local
repx_submission=s1
repx_forced=
repx_input_wait_s=30
repx_above=..
repx_unit=all
repx_folder='/store it'"'"'s a "b" $HOME `x` #c
;é\/outputs/sg'
repx_units=(scatter step-a 'step-b b' gather)

case $0 in /*) repx_here=${0%/*} ;; */*) repx_here=$PWD/${0%/*} ;; *) repx_here=$PWD ;; esac
repx_here=$repx_here/$repx_above
. "$repx_here/lib.sh" && repx_main "$@"
