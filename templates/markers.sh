# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # whoever sources this file sets and reads the variables
#
# What markers tell, for all that is written in bash. `repx_forced` and `repx_submission` are those
# of a job file.

# RECORD: has it succeeded? Sets repx_marker to what its marker says. Ours is one whole line; less, as
# a power cut leaves it, is no success beside our lock. That of RepX 0.5 is empty.
repx_succeeded() {
  repx_marker=''
  [[ -e $1/SUCCESS ]] || return
  [[ -r $1/SUCCESS ]] || return 0 # another user's
  read -r repx_marker 2>/dev/null <"$1/SUCCESS" && [[ $repx_marker == '{'*'}' ]] && return
  [[ ! -e $1/lock || ${1%/*}/.repx.repx-cache.json -nt $1/lock ]]
}

# RECORD: has it succeeded, and if the plan wants it again, for this submission?
repx_done() {
  repx_succeeded "$1" && [[ -z $repx_forced || $repx_marker == *"\"submission\":\"$repx_submission\""* ]]
}

# HOME: set repx_count to the number of branches that a job's scatter has made.
repx_count() {
  repx_succeeded "$1/scatter/repx" && [[ $repx_marker =~ \"branches\":([0-9]{1,7})[,}] ]] && repx_count=${BASH_REMATCH[1]}
}
