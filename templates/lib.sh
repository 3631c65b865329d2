# shellcheck shell=bash
# shellcheck disable=SC2154  # the job script that sources this file sets what is read here
#
# What every job script does, whatever the job: lock, run, check, mark. Needs bash 4.2 and
# coreutils. A job that succeeds at once costs one process, the job's own; so builtins do here
# what programs do elsewhere, and programs start only where something is out of the ordinary.
#
# A job script sets
#   job store scheduler forced   who it is, where, and whether an older success counts
#   folder                       the submission folder
#   input_wait_s                 how long a network file system may take to show an input
#   executable command           the program, and the words that start it
#   inputs parameters            JSON for the program
#   needs outputs                (NAME PATH ...) that must exist before and after
#   environment                  a function called in the job's own process before the program
# and calls `repx_simple`, or `repx_scatter_gather` of scatter-gather.sh.

shopt -s nullglob dotglob

grace_s=${REPX_GRACE_S:-10} # between TERM and KILL
output_wait_s=$((input_wait_s < 3 ? input_wait_s : 3))
attempt=${REPX_ATTEMPT:-$((${SLURM_RESTART_COUNT:-0} + 1))}
lock_mode=${REPX_LOCK-} lock_fd=${REPX_LOCK_FD-}
unset REPX_GRACE_S REPX_ATTEMPT REPX_LOCK REPX_LOCK_FD # not the job's business

home=$store/outputs/$job
stopped= # why a signal ends the job
child=   # the process group of the job's program while it runs
ticks=0  # cpu time of earlier phases, in clock ticks
start=   # of the current phase

trap 'repx_stop cancelled' TERM INT HUP
trap 'repx_stop timeout' USR1

# --- what a job is -------------------------------------------------------------------------

repx_simple() {
  (($# == 0)) || repx_usage "$*" "takes no argument"
  repx_lock "$home/repx"
  repx_done "$home/repx" && exit 0
  repx_attempt "$home/repx" "$home/out" "$home/repx/inputs.json" "$home/repx/parameters.json" &&
    repx_succeed "" && repx_complete ok
}

# RECORD OUT INPUTS [PARAMETERS]: run the command once, with its logs in RECORD and its JSON in
# the files INPUTS and PARAMETERS. Leaves RECORD/FAIL and returns 1 when it did not do its work.
repx_attempt() {
  record=$1 out=$2
  repx_now && start=$now
  [[ -d $record && -d $out ]] || mkdir -p -- "$record" "$out" || repx_broken "cannot make $out"
  repx_drop "$record/SUCCESS" "$record/FAIL"
  repx_check "$input_wait_s" input "${needs[@]}" || return
  repx_clear "$out"
  repx_put "$3" "$inputs"
  [[ -z ${4-} ]] || repx_put "$4" "$parameters"
  repx_log "$record/stdout.log"
  repx_log "$record/stderr.log"
  if [[ ! -x $executable || -d $executable ]]; then
    [[ -e $executable ]] || repx_fail 127 "script missing: $executable" || return
    repx_fail 126 "script not executable: $executable" || return
  fi
  cd -- "$out" || repx_broken "cannot enter $out"
  repx_run
  [[ -z $stopped ]] || repx_fail "$status" "$stopped" || return
  ((status == 0)) || repx_fail "$status" "$(repx_reason)" || return
  repx_check "$output_wait_s" output "${outputs[@]}"
}

# Run the program in a process group of its own; set status. What is left of the group when the
# program has ended is ended too.
repx_run() {
  [[ -z $stopped ]] || { status=143 && return; }
  set -m
  (
    environment
    exec "${command[@]}"
  ) </dev/null >>"$record/stdout.log" 2>>"$record/stderr.log" &
  child=$!
  set +m
  [[ -z $stopped ]] || repx_end_group # the signal came while the child was not known
  wait "$child" 2>/dev/null
  status=$?
  ! kill -0 -- "-$child" 2>/dev/null || repx_end_group
  child=
}

# --- how it ends ---------------------------------------------------------------------------

# REASON: a signal asks to end. Only the first counts, and none once the program has ended.
repx_stop() {
  trap '' TERM INT HUP USR1
  stopped=$1
  [[ -z $child ]] || repx_end_group
}

# TERM to the whole group, KILL after the grace. Gives up on what even KILL does not end.
repx_end_group() {
  local tenths=0
  kill -TERM -- "-$child" 2>/dev/null
  while kill -0 -- "-$child" 2>/dev/null && ((tenths < grace_s * 10 + 20)); do
    ((tenths != grace_s * 10)) || kill -KILL -- "-$child" 2>/dev/null
    sleep 0.1
    ((tenths += 1))
  done
}

# Say why the program ended as it did, from its exit status.
repx_reason() {
  if ((status == 137)) && repx_out_of_memory; then
    printf 'out of memory'
  elif ((status > 128 && status < 128 + 65)); then
    printf 'killed by signal %d' $((status - 128))
  else
    printf 'exit %d' "$status"
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

# EXIT REASON: leave FAIL; returns 1.
repx_fail() {
  repx_marker fail "$1" "$2"
  local part=$record/FAIL.${HOSTNAME//\//}.$$.part # steps may fail side by side
  { printf '%s\n' "$marker" >"$part" && mv -f -- "$part" "$record/FAIL"; } ||
    repx_broken "cannot write $record/FAIL"
  printf 'repx: %s: %s (see %s)\n' "$job" "$2" "$record/stderr.log" >&2
  [[ $record != "$home/repx" ]] || repx_complete fail
  return 1
}

# MEMBERS: leave SUCCESS, with further members of its JSON. Its existence is the message, and it is made last, so it needs no rename: a
# crash between making and filling it leaves an empty marker of a job that did succeed.
repx_succeed() {
  repx_marker success 0 "" "$1"
  printf '%s\n' "$marker" >"$record/SUCCESS" && return
  rm -f -- "$record/SUCCESS"
  repx_broken "cannot write $record/SUCCESS"
}

# OUTCOME EXIT REASON [MEMBERS]: set marker to one line of JSON.
repx_marker() {
  local reason cpu by=$scheduler
  repx_quote "$3" && reason=$REPLY
  repx_now
  : "${start:=$now}"
  repx_cpu
  printf -v cpu '%d.%02d' $((ticks_used / 100)) $((ticks_used % 100))
  [[ $scheduler != slurm ]] || by=slurm:${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-none}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
  marker="{\"outcome\":\"$1\",\"exit\":$2,\"reason\":$reason,\"start\":$start,\"end\":$now"
  marker+=",\"host\":\"${HOSTNAME//[^A-Za-z0-9._-]/}\",\"attempt\":$attempt"
  marker+=",\"scheduler\":\"$by\",\"cpu_s\":$cpu${4:+,$4}}"
}

# Set ticks_used: cpu time of the ended children since the last call, user and system
# (proc(5), fields 16 and 17 of stat; a tick is 1/100 s).
repx_cpu() {
  local stat='' fields
  { read -r stat </proc/self/stat; } 2>/dev/null
  # shellcheck disable=SC2206  # split at blanks on purpose; the name in brackets is cut off
  fields=(${stat##*) })
  ticks_used=$((${fields[13]:-0} + ${fields[14]:-0} - ticks))
  ((ticks += ticks_used))
}

# ok|fail: the line RepX 0.5 reads. A hint only, so a failure to write it fails nothing.
repx_complete() {
  repx_quote "$job"
  printf '{"id":%s,"s":"%s"}\n' "$REPLY" "$1" >>"$store/outputs/completions.jsonl" ||
    repx_say "cannot append to $store/outputs/completions.jsonl"
  [[ $1 == ok ]]
}

# --- who may run it ------------------------------------------------------------------------

# RECORD [-s]: hold RECORD/lock, shared with `-s`, else alone, or leave. The job's processes
# inherit the descriptor, so it is free when nothing of the job runs any more.
repx_lock() {
  [[ -z $lock_fd ]] || return 0 # who started us holds it already
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

# RECORD: has it succeeded, after this plan was made if the plan wants it again?
repx_done() {
  [[ -e $1/SUCCESS && (-z $forced || $1/SUCCESS -nt $folder/plan.json) ]]
}

# --- files ---------------------------------------------------------------------------------

# SECONDS KIND NAME PATH...: wait until each path exists, else FAIL.
repx_check() {
  local kind=$2 deadline=$((SECONDS + $1))
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

# FOLDER: empty it, also of files its owner may not write.
repx_clear() {
  local content=("$1"/*)
  ((${#content[@]})) || return 0
  rm -rf -- "$1" 2>/dev/null || { chmod -R u+rwX -- "$1" && rm -rf -- "$1"; }
  mkdir -p -- "$1" || repx_broken "cannot empty $1"
}

# FILE TEXT
repx_put() {
  printf '%s\n' "$2" >"$1" || repx_broken "cannot write $1"
}

# FILE: begin a log; that of the attempt before is kept as FILE.1.
repx_log() {
  [[ ! -s $1 ]] || mv -f -- "$1" "$1.1"
  : >"$1" || repx_broken "cannot write $1"
}

# FILE...: remove those that exist.
repx_drop() {
  local file
  for file; do
    [[ ! -e $file ]] || rm -f -- "$file" || repx_broken "cannot remove $file"
  done
}

# FILE TEXT: does the file hold just this?
repx_same() {
  local text
  [[ -e $1 ]] || return
  IFS= read -r -d '' text <"$1"
  [[ ${text%$'\n'} == "$2" ]]
}

# TEXT: set REPLY to it as JSON.
repx_quote() {
  REPLY=${1//\\/\\\\}
  REPLY=${REPLY//\"/\\\"}
  if [[ $REPLY == *[[:cntrl:]]* ]]; then
    REPLY=${REPLY//$'\n'/\\n}
    REPLY=${REPLY//$'\t'/\\t}
    REPLY=${REPLY//[[:cntrl:]]/\?}
  fi
  REPLY=\"$REPLY\"
}

# Set now: seconds since the epoch, to the microsecond from bash 5 on.
repx_now() {
  now=${EPOCHREALTIME-}
  now=${now/,/.} # some locales
  [[ -n $now ]] || printf -v now '%(%s)T' -1
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
  printf 'usage: bash %s%s\n' "$0" "${2:+ ($2, got: $1)}" >&2
  exit 2
}
