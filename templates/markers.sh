# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # whoever sources this file sets and reads the variables
#
# What markers tell, for all that is written in bash. `repx_forced` and `repx_submission` are those
# of a job file.

# RECORD: has it succeeded, and if the plan wants it again, for this submission?
repx_done() {
  local line=''
  [[ -e $1/SUCCESS ]] || return
  [[ -n $repx_forced ]] || return 0
  read -r line <"$1/SUCCESS"
  [[ $line == *"\"submission\":\"$repx_submission\""* ]]
}

# HOME: set repx_count to the number of branches that a job's scatter has made.
repx_count() {
  local line=''
  [[ -e $1/scatter/repx/SUCCESS ]] && read -r line <"$1/scatter/repx/SUCCESS"
  [[ $line =~ \"branches\":([0-9]+) ]] && repx_count=${BASH_REMATCH[1]}
}
