# shellcheck shell=bash
# shellcheck disable=SC2154  # the job script that sources this file sets what is read here
#
# What every job script does, whatever the job: lock, run, check, mark. Needs bash 4.2 and
# coreutils. A job for which nothing is out of the ordinary costs one process, the job's own, and
# little of bash: what happens seldom is in rare.sh, read when it is needed.
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

home=$store/outputs/$job
by=$scheduler
[[ $by != slurm ]] || by=slurm:${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-none}}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
attempt=${REPX_ATTEMPT:-$((${SLURM_RESTART_COUNT:-0} + 1))}
grace_s=${REPX_GRACE_S:-10} lock_mode=${REPX_LOCK-} lock_fd=${REPX_LOCK_FD-}
our_locale=${REPX_LOCALE-} # LC_ALL is for us alone: bash starts faster when it loads no locale
unset REPX_ATTEMPT REPX_GRACE_S REPX_LOCALE REPX_LOCK REPX_LOCK_FD REPX_REAPER # not the job's business

stopped='' # why a signal ends the job
child=''   # the process group of the job's program while it runs
ticks=0    # cpu time of earlier phases, in clock ticks
trap 'repx_rare stop cancelled' TERM INT HUP
trap 'repx_rare stop timeout' USR1

# NAME ARGUMENT...: call a function of rare.sh.
repx_rare() {
  # shellcheck source=templates/rare.sh
  [[ -n ${rare-} ]] || . "$folder/rare.sh"
  "repx_$1" "${@:2}"
}

repx_simple() {
  (($# == 0)) || { repx_rare ended "$@"; return; }
  [[ -n $lock_fd ]] || repx_rare lock "$home/repx"
  repx_done "$home/repx" && return
  record=$home/repx out=$home/out
  repx_attempt "$record/inputs.json" "$record/parameters.json" && repx_succeed "" && repx_complete ok
}

# RECORD: has it succeeded, and if the plan wants it again, after the plan was made?
repx_done() {
  [[ -e $1/SUCCESS && (-z $forced || $1/SUCCESS -nt $folder/plan.json) ]]
}

# INPUTS [PARAMETERS]: run the command once in `out`, with its logs in `record` and its JSON in
# the files named. Leaves FAIL in `record` and returns 1 when it did not do its work.
repx_attempt() {
  local content
  repx_now
  start=$now
  [[ -d $record && -d $out ]] || repx_rare make "$record" "$out"
  [[ ! -e $record/SUCCESS && ! -e $record/FAIL ]] || repx_rare drop "$record/SUCCESS" "$record/FAIL"
  repx_present "${needs[@]}" || repx_rare await "$input_wait_s" input "${needs[@]}" || return
  content=("$out"/*)
  ((${#content[@]} == 0)) || repx_rare clear "$out"
  printf '%s\n' "$inputs" >"$1" || repx_rare broken "cannot write $1"
  [[ -z ${2-} ]] || printf '%s\n' "$parameters" >"$2" || repx_rare broken "cannot write $2"
  [[ ! -s $record/stdout.log && ! -s $record/stderr.log ]] || repx_rare keep_logs
  [[ -x $executable && ! -d $executable ]] || repx_rare no_program || return
  cd -- "$out" || repx_rare broken "cannot enter $out"
  [[ -z ${repx_room-} ]] || repx_rare isolate || return
  repx_run
  [[ -z ${repx_room-} ]] || repx_rare leave
  { ((status == 0)) && [[ -z $stopped ]] && repx_present "${outputs[@]}"; } || repx_rare judge
}

# Run the program in a process group of its own; set status. What is left of the group when the
# program has ended is ended too.
repx_run() {
  local first
  [[ -z $stopped ]] || { status=143 && return; }
  if [[ ${command[0]} == "$executable" && -r $executable ]] && read -rN 20 first <"$executable" &&
    [[ $first == '#!/usr/bin/env bash'$'\n' ]]; then
    command=(bash "${command[@]}") # as env would do, which is one more program to start
  fi
  set -m
  (
    [[ -z $our_locale ]] || export -n LC_ALL
    export REPX_UNIT="${record%/repx}#$attempt" # tells whose what is left running is
    environment
    exec "${command[@]}"
  ) </dev/null >"$record/stdout.log" 2>"$record/stderr.log" &
  child=$!
  set +m
  [[ -z $stopped ]] || repx_rare end_group # the signal came while the child was not known
  {
    wait "$child"
    status=$?
    kill -0 -- "-$child"
  } 2>/dev/null && repx_rare end_group
  child=''
}

# NAME PATH...: does each path exist?
repx_present() {
  while (($#)); do
    [[ -e $2 ]] || return
    shift 2
  done
}

# MEMBERS: leave SUCCESS, with further members of its JSON. Its existence is the message, and it
# is made last, so it needs no rename: a crash between making and filling it leaves an empty
# marker of a job that did succeed.
repx_succeed() {
  repx_mark "$record/SUCCESS" success 0 '""' "$1" || repx_rare succeed_again "$1"
}

# FILE OUTCOME EXIT REASON MEMBERS: write a marker, one line of JSON.
repx_mark() {
  local stat='' fields used
  # Ended children's cpu time, user and system: proc(5), fields 16 and 17; a tick is 1/100 s.
  [[ ! -r /proc/self/stat ]] || read -r stat </proc/self/stat
  # shellcheck disable=SC2206  # split at blanks on purpose; the name in brackets is cut off
  fields=(${stat##*) })
  ((used = ${fields[13]:-0} + ${fields[14]:-0} - ticks, ticks += used))
  repx_now
  printf '{"outcome":"%s","exit":%d,"reason":%s,"start":%s,"end":%s,"host":"%s","attempt":%d,"scheduler":"%s","cpu_s":%d.%02d%s}\n' \
    "$2" "$3" "$4" "${start:-$now}" "$now" "${HOSTNAME//[^A-Za-z0-9._-]/}" "$attempt" "$by" \
    $((used / 100)) $((used % 100)) "${5:+,$5}" >"$1"
}

# ok|fail: the line RepX 0.5 reads. A hint only, so a failure to write it fails nothing.
repx_complete() {
  local id=${job//\\/\\\\}
  [[ ! -L $store/outputs/completions.jsonl ]] || return 0 # a neighbour's, who leads us elsewhere
  printf '{"id":"%s","s":"%s"}\n' "${id//\"/\\\"}" "$1" >>"$store/outputs/completions.jsonl" || true
}

# Set now: seconds since the epoch, to the microsecond from bash 5 on.
repx_now() {
  now=${EPOCHREALTIME-}
  now=${now/,/.} # some locales
  [[ -n $now ]] || printf -v now '%(%s)T' -1
}
