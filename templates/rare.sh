# shellcheck shell=bash
# shellcheck disable=SC2154  # the job script and lib.sh set what is read here
#
# What a job script does when something is out of the ordinary: waiting, retrying, failing, being
# stopped, being started by hand. lib.sh calls these functions through `repx_rare`.

# shellcheck disable=SC2034  # lib.sh asks whether this file has been read
rare='read'

# --- how a job ends ------------------------------------------------------------------------

# REASON: a signal asks to end. Only the first counts.
repx_stop() {
  trap '' TERM INT HUP USR1
  stopped=$1
  [[ -z $child ]] || repx_end_group
}

# TERM to the whole group, KILL after the grace. Gives up on what even KILL does not end.
repx_end_group() {
  local tenths=0
  if [[ -n ${repx_runtime-} ]] && repx_has end; then
    "repx_end_$repx_runtime"
  else
    kill -TERM -- "-$child" 2>/dev/null
  fi
  while repx_group_lives && ((tenths < grace_s * 10 + 20)); do
    ((tenths != grace_s * 10)) || kill -KILL -- "-$child" 2>/dev/null
    sleep 0.1
    ((tenths += 1))
  done
}

# Does anything of the group run? What has ended stays a zombie where process 1 of a container
# reaps nothing.
repx_group_lives() {
  local process stat
  kill -0 -- "-$child" 2>/dev/null || return
  [[ -r /proc/self/stat ]] || return 0
  for process in /proc/[0-9]*; do
    stat=''
    read -r -d '' stat <"$process/stat" # a name in it may hold a newline
    [[ ${stat##*) } != [!ZX]" "*([0-9])" $child "* ]] || return 0
  done 2>/dev/null
  return 1
}

# The program has ended, but not as it should: FAIL, unless its outputs only show late.
repx_judge() {
  if [[ -n $stopped ]]; then
    repx_fail "$status" "$stopped"
  elif [[ -d $record && (! -e $record/stdout.log || ! -e $record/stderr.log) ]]; then
    repx_broken "cannot write to $record"
  elif ((status == 137)) && { [[ -n ${out_of_memory-} ]] || repx_out_of_memory; }; then
    repx_fail "$status" "out of memory"
  elif ((status > 128 && status <= 128 + 64)); then
    repx_fail "$status" "killed by signal $((status - 128))"
  elif ((status != 0)); then
    repx_fail "$status" "exit $status"
  else
    repx_await $((input_wait_s < 3 ? input_wait_s : 3)) output "${outputs[@]}"
  fi
}

# A Slurm job's own control group tells whether the kernel killed for memory (cgroup v2, v1).
repx_out_of_memory() {
  local group file word count
  [[ -n ${SLURM_JOB_ID-} && -r /proc/self/cgroup ]] || return
  while IFS= read -r group; do
    case $group in
      0::*) file=/sys/fs/cgroup${group#0::}/memory.events ;;
      *:memory:*) file=/sys/fs/cgroup/memory${group#*:memory:}/memory.oom_control ;;
      *) continue ;;
    esac
    [[ -r $file ]] || continue
    while read -r word count; do
      [[ $word != oom_kill ]] || ((count == 0)) || return 0
    done <"$file"
  done </proc/self/cgroup
  return 1
}

repx_no_program() {
  [[ -e $executable ]] || repx_fail 127 "script missing: $executable" || return
  repx_fail 126 "script not executable: $executable"
}

# EXIT REASON: leave FAIL; returns 1.
repx_fail() {
  local part=$record/FAIL.${HOSTNAME//\//}.$$.part # steps of a job may fail side by side
  repx_quote "$2"
  [[ -d $record ]] || repx_make "$record" # the job may have removed it,
  repx_drop "$record/SUCCESS"             # or written to it
  if ! { repx_mark "$part" fail "$1" "$REPLY" "" && mv -f -- "$part" "$record/FAIL"; }; then
    rm -f -- "$part"
    repx_broken "cannot write $record/FAIL"
  fi
  repx_say "$2 (see $record/stderr.log)"
  [[ $record != "$home/repx" ]] || repx_complete fail
  return 1
}

# MEMBERS: SUCCESS could not be written, because the job has removed its folder, or for good.
repx_succeed_again() {
  [[ -d $record ]] || repx_make "$record"
  repx_mark "$record/SUCCESS" success 0 '""' "$1" && return
  rm -f -- "$record/SUCCESS"
  repx_broken "cannot write $record/SUCCESS"
}

# ended STATUS STOPPED START TICKS: what the runner has seen of the program, of which nothing is
# left: its exit status, why it was stopped if it was, when it began, its cpu time.
repx_ended() {
  [[ $1 == ended && $# == 5 && -n $lock_fd ]] || repx_usage "takes no argument, got: $*"
  status=$2 stopped=$3 start=$4 ticks=-$5
  record=$home/repx out=$home/out
  { ((status == 0)) && [[ -z $stopped ]] && repx_present "${outputs[@]}"; } || repx_judge || return
  repx_succeed "" && repx_complete ok
}

# --- jobs that are isolated ----------------------------------------------------------------

# Choose what the program runs in, and make `command` the words for it.
repx_isolate() {
  # shellcheck source=/dev/null
  [[ -n ${repx_runtime+read} ]] || . "$folder/isolation.sh"
  repx_enter
}

# The program has ended: so has all that its runtime started.
repx_leave() {
  ! repx_has after || "repx_after_$repx_runtime"
}

# --- who may run it ------------------------------------------------------------------------

# RECORD [-s]: hold RECORD/lock, shared with `-s`, else alone, or leave. The job's processes
# inherit the descriptor, so it is free when nothing of the job runs any more.
repx_lock() {
  local how=${2:--x} lock
  [[ -d $1 ]] || mkdir -p -- "$1" || repx_broken "cannot make $1"
  exec {lock}<>"$1/lock" || repx_broken "cannot open $1/lock"
  if ! type -P flock >/dev/null; then
    repx_say "no flock on this machine: nothing stops a second run of this job at once"
    return 0
  fi
  flock -n -E 75 "$how" "$lock"
  case $? in
    0) ;;
    75) repx_wait_for_lock "$how" "$lock" ;;
    *) repx_say "$1/lock cannot be locked: nothing stops a second run of this job at once" ;;
  esac
  printf '%s %s\n' "$HOSTNAME" "$$" >"$1/lock"
}

repx_wait_for_lock() {
  [[ $lock_mode != try ]] || exit 75
  repx_say "another runner has this job; waiting for it"
  flock "$1" "$2" &
  wait $!
  [[ -z $stopped ]] || { kill $! && exit 75; }
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
    [[ ! -e $file ]] || found+=("$file")
  done
  ((${#found[@]} == 0)) || rm -f -- "${found[@]}" || repx_broken "cannot remove ${found[*]}"
}

# FOLDER: empty it, also of files its owner may not write.
repx_clear() {
  rm -rf -- "$1" 2>/dev/null || { chmod -R u+rwX -- "$1" && rm -rf -- "$1"; }
  mkdir -p -- "$1" || repx_broken "cannot empty $1"
}

# The logs of the attempt before, kept once.
repx_keep_logs() {
  local log
  for log in "$record/stdout.log" "$record/stderr.log"; do
    [[ ! -s $log ]] || mv -f -- "$log" "$log.1" || repx_broken "cannot move $log"
  done
}

# SECONDS KIND NAME PATH...: wait until each path exists, else FAIL. Bash counts whole seconds, so
# the wait is up to one longer.
repx_await() {
  local kind=$2 deadline=$((SECONDS + $1 + ($1 > 0)))
  shift 2
  while (($#)); do
    repx_appears "$deadline" "$2" || repx_fail 1 "${stopped:-missing $kind: $1 ($2)}" || return
    shift 2
  done
}

# DEADLINE PATH: wait until PATH exists. Listing its folder makes a network file system look again.
repx_appears() {
  while [[ ! -e $2 ]]; do
    ((SECONDS < $1)) && [[ -z $stopped ]] || return
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
  printf 'repx: %s: %s\n' "$job" "$1" >&2
}

# MESSAGE: the wrapper itself cannot work; no marker says anything then.
repx_broken() {
  repx_say "$1"
  exit 3
}

repx_usage() {
  printf 'usage: bash %s: %s\n' "$0" "$1" >&2
  exit 2
}
