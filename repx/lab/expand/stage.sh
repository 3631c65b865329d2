# shellcheck shell=bash disable=SC2034,SC2004
set -euo pipefail
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || { echo "repx: bash is older than 4.4" >&2 && exit 3; }

# FILE ARRAY: fill an associative array from one flat JSON object. Text comes as it is, numbers,
# true, false and null as words, lists and objects as JSON.
repx_json() {
  local LC_ALL=C repx_at=1 repx_rest
  local -n repx_into=$2
  local -a repx_parts # what the quotation marks separate: outside, key, outside, ...
  mapfile -t -d '"' repx_parts <"$1"
  if [[ "${repx_parts[*]:1}" == *[\\[\{]* ]]; then
    repx_load
    repx_any_json "$1"
    return
  fi
  while ((repx_at < ${#repx_parts[@]})); do
    repx_rest=${repx_parts[repx_at + 1]//[[:space:]:,\}]/}
    if [[ $repx_rest ]]; then
      [[ $repx_rest != *[0-9][eE]* ]] || { repx_load && repx_number; }
      repx_into[${repx_parts[repx_at]}]=$repx_rest
      ((repx_at += 2))
    else
      repx_into[${repx_parts[repx_at]}]=${repx_parts[repx_at + 2]}
      ((repx_at += 4))
    fi
  done
}

# Define what is rarely needed: it stands behind the last `exit`, so bash need not read it.
repx_load() {
  local line text
  local -a lines
  [[ ! -v repx_loaded ]] || return 0
  repx_loaded=1
  mapfile -t lines <"$0"
  for ((line = ${#lines[@]} - 1; line > 0; line--)); do
    [[ ${lines[line]} != exit ]] || break
  done
  printf -v text '%s\n' "${lines[@]:line+1}"
  eval "$text"
}

export out=$1 inputs_json=$2 parameters_json=$3
export REPX_OUT=$1 REPX_INPUTS_JSON=$2 REPX_PARAMETERS_JSON=$3 REPX_LAB=${0%/*}
[[ $REPX_LAB == /* ]] || REPX_LAB=$PWD/$REPX_LAB
# This file is LAB/jobs/ID/bin/NAME or LAB/store/NAME, also in a target's copy of the Lab.
if [[ $REPX_LAB == */jobs/*/bin ]]; then REPX_LAB=${REPX_LAB%/*/*/*}; else REPX_LAB=${REPX_LAB%/*}; fi
declare -A inputs=() parameters=() outputs=()
