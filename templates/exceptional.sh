# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # the job file and lib.sh set what is read here
#
# What a job file does when something is out of the ordinary: waiting, retrying, failing, being
# stopped, being started by hand. lib.sh calls these functions through `repx_exceptional`.

# shellcheck source=templates/batch.sh
[[ -z $repx_by ]] || . "$repx_here/batch.sh"

# --- how a unit ends -----------------------------------------------------------------------

# REASON: a signal asks to end. Only the first counts.
repx_stopped() {
  trap '' TERM INT HUP USR1
  repx_stopped=$1
  [[ -z $repx_unit_child ]] || kill -s "${2:-TERM}" "$repx_unit_child" 2>/dev/null
  [[ -z $repx_waiter ]] || kill -KILL "$repx_waiter" # before exec, bash would forget a TERM
  [[ -z $repx_child ]] || repx_end_group
  [[ $1 != cancelled || -z $repx_by ]] || repx_slurm_said
}

# TERM to the whole group, KILL after the grace. Gives up on what even KILL does not end.
repx_end_group() {
  local tenths=0
  if [[ -n $repx_runtime ]] && repx_has end; then
    "repx_end_$repx_runtime"
  else
    kill -TERM -- "-$repx_child" 2>/dev/null
  fi
  while repx_group_lives && ((tenths < repx_grace_s * 10 + 20)); do
    ((tenths != repx_grace_s * 10)) || kill -KILL -- "-$repx_child" 2>/dev/null
    sleep 0.1
    ((tenths += 1))
  done
}

# Does anything of the group run? What has ended stays a zombie where process 1 of a container
# reaps nothing.
repx_group_lives() {
  local process stat
  kill -0 -- "-$repx_child" 2>/dev/null || return
  [[ -r /proc/self/stat ]] || return 0
  for process in /proc/[0-9]*; do
    stat=''
    read -r -d '' stat <"$process/stat" # a name in it may hold a newline
    [[ ${stat##*) } != [!ZX]" "*([0-9])" $repx_child "* ]] || return 0
  done 2>/dev/null
  return 1
}

# End what the program has left running outside of its group: TERM, KILL after the grace.
repx_end_remains() {
  local tenths=0 told=' ' pid
  while repx_find_remains && ((tenths < repx_grace_s * 10 + 20)); do
    for pid in "${repx_found[@]}"; do
      if ((tenths >= repx_grace_s * 10)); then
        kill -KILL "$pid"
      elif [[ $told != *" $pid "* ]]; then
        kill -TERM "$pid"
        told+="$pid "
      fi
    done 2>/dev/null
    sleep 0.1
    ((tenths += 1))
  done
  ((${#repx_found[@]} == 0)) || { repx_names && repx_stopped="processes cannot be ended: $REPLY"; }
}

# Set repx_found to what the unit has left; is there anything? What lost its parent has become a
# child of the runner, if there is one.
repx_find_remains() {
  local children='' pid
  repx_find_marked "$repx_folder#$repx_attempt#"
  [[ -n $repx_reaper ]] || { ((${#repx_found[@]})); return; }
  read -r children 2>/dev/null <"/proc/$repx_reaper/task/$repx_reaper/children"
  for pid in $children; do
    [[ $pid == "$$" ]] || repx_is_zombie "$pid" || repx_found+=("$pid")
  done
  ((${#repx_found[@]}))
}

repx_is_zombie() {
  local stat=''
  read -r -d '' stat 2>/dev/null <"/proc/$1/stat"
  [[ -z $stat || ${stat##*) } == [ZX]* ]]
}

# MARK: set repx_found to the processes of this user whose REPX_UNIT begins with it; are there any?
repx_find_marked() {
  local process text
  repx_found=()
  for process in /proc/[0-9]*; do
    [[ -O $process ]] || continue
    text=''
    IFS= read -rN 2000000 text <"$process/environ"
    [[ $text != *"REPX_UNIT=$1"* ]] || repx_found+=("${process#/proc/}")
  done 2>/dev/null
  ((${#repx_found[@]}))
}

# Set REPLY to the processes found, as people read them: `4711 (sleep 600), 4712 (x)`.
repx_names() {
  local pid word words line
  REPLY=
  for pid in "${repx_found[@]}"; do
    words=()
    while IFS= read -r -d '' word; do words+=("$word"); done 2>/dev/null <"/proc/$pid/cmdline"
    line=${words[*]}
    REPLY+="${REPLY:+, }$pid (${line:0:100})"
  done
}

# Set what the marker says of GPUs: how many were asked for, and which ones were given, by the local
# scheduler or by Slurm.
repx_say_gpus() {
  local given=${REPX_GPUS:-${SLURM_JOB_GPUS:-${CUDA_VISIBLE_DEVICES:-${ROCR_VISIBLE_DEVICES-}}}}
  [[ $given && $given != *[!A-Za-z0-9,:/._-]* ]] && given=\"$given\" || given=null
  repx_gpus_said=",\"gpus\":$repx_asked_gpus,\"devices\":$given"
}

# The program has ended, but not as it should: FAIL, unless its outputs only show late.
repx_judge() {
  if [[ -n $repx_stopped ]]; then
    repx_fail "$repx_status" "$repx_stopped"
  elif [[ -d $repx_record && (! -e $repx_record/stdout.log || ! -e $repx_record/stderr.log) ]]; then
    repx_broken "cannot write to $repx_record"
  elif ((repx_status == 137)) && { [[ -n $repx_oom ]] || { [[ -n $repx_by ]] && repx_out_of_memory; }; }; then
    repx_fail "$repx_status" "out of memory"
  elif ((repx_status > 128 && repx_status <= 128 + 64)); then
    repx_fail "$repx_status" "killed by signal $((repx_status - 128))"
  elif ((repx_status != 0)); then
    repx_fail "$repx_status" "exit $repx_status"
  elif [[ $repx_missing_outputs == warn ]]; then
    repx_note_missing
  else
    repx_await $((repx_input_wait_s < 3 ? repx_input_wait_s : 3)) output "${repx_outputs[@]}"
  fi
}

# Where the target lets outputs be missing, say which are.
repx_note_missing() {
  local index names=''
  for ((index = 0; index < ${#repx_outputs[@]}; index += 2)); do
    [[ ! -e ${repx_outputs[index + 1]} ]] || continue
    repx_say "missing output: ${repx_outputs[index]} (${repx_outputs[index + 1]}); the target lets it pass"
    repx_quote "${repx_outputs[index]}"
    names+="${names:+,}$REPLY"
  done
  repx_missing="\"missing\":[$names]"
}

repx_no_program() {
  [[ -e $repx_executable ]] || repx_fail 127 "script missing: $repx_executable" || return
  repx_fail 126 "script not executable: $repx_executable"
}

# EXIT REASON: leave FAIL; returns 1.
repx_fail() {
  local part=$repx_record/FAIL.$$.part # steps of a job may fail side by side
  repx_quote "$2"
  [[ -d $repx_record ]] || repx_make "$repx_record" # the job may have removed it,
  repx_drop "$repx_record/SUCCESS" "$part"          # or written to it
  if ! { repx_mark "$part" fail "$1" "$REPLY" "" && mv -fT -- "$part" "$repx_record/FAIL"; }; then
    rm -f -- "$part"
    repx_broken "cannot write $repx_record/FAIL"
  fi
  repx_say "$2 (see $repx_record/stderr.log)"
  [[ $repx_record != "$repx_home/repx" ]] || repx_complete fail
  return 1
}

# FILE: `sync` could not bring the outputs and this marker to the disk; REPLY is what it said. What
# the disk did not take is told only once. An old or another `sync` knows no files: all goes there.
repx_lost() {
  case $REPLY in
    *"Input/output error"* | *"No space left"* | *"uota exceeded"* | *"Stale file"* | *"Read-only file"* | \
      *"needs cleaning"* | *"Transport endpoint"*) ;;
    *) sync || true; return 0 ;;
  esac
  rm -f -- "$1"
  repx_fail "$repx_status" "the disk did not take the outputs: ${REPLY##*: }"
}

# ended STATUS STOPPED START TICKS RSS: what the runner has seen of the program, of which
# nothing is left: its exit status, why it was stopped if it was, when it began, what it used.
# Judges as `repx_try` does.
repx_ended() {
  [[ ${1-} == ended && $# == 6 && -n $repx_lock_fd ]] || repx_usage "takes no argument, got: $*"
  repx_status=$2 repx_stopped=$3 repx_start=$4 repx_ticks=-$5 repx_rss=$6
  [[ -z $repx_room ]] || { repx_isolate entered && repx_leave; }
  { ((repx_status == 0)) && [[ -z $repx_stopped ]] && repx_present "${repx_outputs[@]}"; } || repx_judge
}

# --- who may run it ------------------------------------------------------------------------

# RECORD FOLDER [-s]: hold RECORD/lock, shared with `-s`, else alone, or leave. The unit's
# processes inherit the descriptor, so it is free when nothing of the unit runs any more; what has
# closed it is found by its mark, which begins with FOLDER.
repx_lock() {
  local how=${3:--x} lock flock=flock
  [[ -d $1 ]] || mkdir -p -- "$1" || repx_broken "cannot make $1"
  repx_no_links "$1/lock"
  exec {lock}<>"$1/lock" || repx_broken "cannot open $1/lock"
  repx_no_links "$1/lock" # which somebody could have put there meanwhile
  if type -P flock >/dev/null || flock=$repx_path/flock && type -P "$flock" >/dev/null; then
    "$flock" -n -E 75 "$how" "$lock"
    case $? in
      0) ;;
      75) repx_wait_for_lock "$how" "$lock" "$1" "$flock" ;;
      *) repx_say "$1/lock cannot be locked: nothing stops a second run of this job at once" ;;
    esac
  else
    repx_say "no flock on this machine: nothing stops a second run of this job at once"
  fi
  [[ -e $1/SUCCESS || -e $1/FAIL || $how == -s ]] || repx_wait_for_remains "$2"
  printf '%s %s\n' "$HOSTNAME" "$$" >|"/dev/fd/$lock"
  repx_lock_fd=$lock
}

repx_wait_for_lock() {
  local REPLY=''
  [[ $repx_lock_mode != try ]] || exit 75
  read -r REPLY <"$3/lock"
  repx_say "another runner has this job; waiting for it${REPLY:+ ($REPLY)}"
  "$4" "$1" "$2" &
  repx_waiter=$! # a signal ends it: one that comes before `wait` does not end that
  [[ -z $repx_stopped ]] || kill -KILL "$repx_waiter"
  wait "$repx_waiter" 2>/dev/null
  repx_waiter=''
  [[ -z $repx_stopped ]] || exit 75
}

# FOLDER: wait for what an attempt before has left running: it was begun, and nothing marked it.
repx_wait_for_remains() {
  local said='' REPLY
  while repx_find_marked "$1#" || repx_find_marked "$1/"; do
    [[ $repx_lock_mode != try && -z $repx_stopped ]] || exit 75
    repx_names
    [[ $said == "$REPLY" ]] || repx_say "an attempt before still runs; waiting for it: $REPLY"
    said=$REPLY
    sleep 1 &
    wait $!
  done
}

# --- before the program --------------------------------------------------------------------

repx_check_secrets() {
  # shellcheck source=templates/secrets.sh
  . "$repx_here/secrets.sh"
  repx_check_all_secrets
}

repx_become_otherwise() {
  # shellcheck source=templates/secrets.sh
  . "$repx_here/secrets.sh"
  repx_become_with_secrets "$@"
}

# What is ours of the environment is not the program's business.
repx_unset_ours() {
  unset REPX_ATTEMPT REPX_BY REPX_ENVIRON REPX_GPUS REPX_GRACE_S REPX_LOCALE REPX_LOCK REPX_LOCK_FD REPX_REAPER REPX_RUNG
  [[ -z $repx_our_locale ]] || unset LC_ALL
}

# [entered]: choose what the program runs in, or find what it has run in; `repx_command` then.
repx_isolate() {
  # shellcheck source=/dev/null
  declare -F repx_enter >/dev/null || . "$repx_here/isolation.sh"
  "repx_${1:-enter}"
}

# The program has ended: so has all that its runtime started.
repx_leave() {
  ! repx_has after || "repx_after_$repx_runtime"
}

# Give this process, a copy of the shell, the environment that the target adds.
repx_export_environment() {
  local index
  repx_unset_ours
  for ((index = 0; index < ${#repx_environment[@]}; index += 2)); do
    export "${repx_environment[index]}=${repx_environment[index + 1]}"
  done 2>/dev/null # bash keeps some names for itself
  [[ -z $repx_path ]] || export PATH="$repx_path:$PATH"
}

# --- files ---------------------------------------------------------------------------------

# FOLDER...
repx_make() {
  mkdir -p -- "$@" || repx_broken "cannot make $*"
}

# FILE...: remove those that exist.
repx_drop() {
  local file found=()
  for file; do
    [[ ! -e $file && ! -L $file ]] || found+=("$file")
  done
  ((${#found[@]})) || return 0
  rm -f -- "${found[@]}" || repx_broken "cannot remove ${found[*]}"
  # After a power cut, a marker must not be there again beside what is written from now on.
  [[ $repx_durability != full || ${found[0]} != */SUCCESS ]] || sync -- "${found[0]%/*}" 2>/dev/null || true
}

# FOLDER: empty it, also of files its owner may not write.
repx_clear() {
  rm -rf -- "$1" 2>/dev/null || { chmod -R u+rwX -- "$1" && rm -rf -- "$1"; }
  mkdir -p -- "$1" || repx_broken "cannot empty $1"
}

# Keep one previous log.
repx_keep_logs() {
  local log
  for log in "$repx_record/stdout.log" "$repx_record/stderr.log"; do
    [[ ! -s $log ]] || mv -fT -- "$log" "$log.1" || repx_broken "cannot move $log"
  done
}

# SECONDS KIND NAME PATH...: wait until each path exists, else FAIL. Bash counts whole seconds, so
# the wait is up to one longer.
repx_await() {
  local kind=$2 deadline=$((SECONDS + $1 + ($1 > 0)))
  shift 2
  while (($#)); do
    repx_appears "$deadline" "$2" || repx_fail 1 "${repx_stopped:-missing $kind: $1 ($2)}" || return
    shift 2
  done
}

# DEADLINE PATH: wait until PATH exists. Listing its folder makes a network file system look again.
repx_appears() {
  while [[ ! -e $2 ]]; do
    ((SECONDS < $1)) && [[ -z $repx_stopped ]] || return
    sleep 0.2
    : "${2%/*/*}"/* "${2%/*}"/*
  done
}

# FILE TEXT: does the file hold just this?
repx_same() {
  local text
  [[ -e $1 ]] || return
  IFS= read -r -d '' text <"$1"
  [[ ${text%$'\n'} == "$2" ]]
}

# --- what people read ----------------------------------------------------------------------

# TEXT: set REPLY to it as JSON.
repx_quote() {
  REPLY=${1//\\/\\\\}
  REPLY=${REPLY//\"/\\\"}
  REPLY=${REPLY//$'\n'/\\n}
  REPLY=${REPLY//$'\t'/\\t}
  REPLY=\"${REPLY//[[:cntrl:]]/\?}\"
}

repx_say() {
  printf 'repx: %s: %s\n' "$repx_job" "$1" >&2
}

# MESSAGE: the job file itself cannot work; no marker says anything then.
repx_broken() {
  repx_say "$1"
  exit 3
}

repx_usage() {
  printf 'usage: bash %s: %s\n' "$0" "$1" >&2
  exit 2
}
