# shellcheck shell=bash
# shellcheck disable=SC2154 # the script that sources this file sets what is read here
#
# Retries by reason, without a process that waits: what a job of sbatch/<call>.again.sh does. Slurm
# starts it when a call has ended and not all of it succeeded, and drops it when all did. It submits
# once more what may be tried again, with more memory or time where that was lacking, lets whoever
# waits for that wait for the new jobs, and cancels what can never start. Each new job has such a
# job behind it, too. Killed at any moment and started again, it submits nothing twice.
#
# The script sets
#   call submission store forced array   which call; whether it is an array
#   throttle                             how many elements may run at once, as --array has it
#   tries on                             how often a job is tried again, and for which reasons
#   more[RUNG]                           what sbatch is asked for instead at a higher rung
#   jobs[INDEX]                          the jobs of the call
#   step job offset                      of a scatter-gather job's step: which, and the branch of
#                                        element 0; nothing for calls of submit.sh
#
# What it submits it notes in again/<its id>.tsv: call, id, elements, attempt, rung, the job behind;
# for a step in children/<job>.tsv, as the scatter does.
step='' job='' offset=0

# [ID ATTEMPT RUNG INDEX...]: look at what ended under this id.
repx_again() {
  local -A ids=() state=() fate=() groups=()
  # shellcheck disable=SC2034 # markers.sh reads them
  repx_forced=$forced repx_submission=$submission
  local old=${1-} attempt=${2:-1} rung=${3:-0} index key
  repx_read_ids submitted.tsv
  [[ -n $old ]] || old=${ids[$call]%%;*}
  if (($# > 3)); then set -- "${@:4}"; else set -- "${!jobs[@]}"; fi
  (($#)) || set -- 0 # one that stands for many others
  repx_read_states
  for index; do
    repx_fate "$index"
  done
  for key in "${!groups[@]}"; do
    # shellcheck disable=SC2086 # numbers
    repx_submit_again ${key//./ } ${groups[$key]}
  done
  repx_settle
}

# Set state[INDEX] to Slurm's word for how it ended, as far as Slurm still knows.
repx_read_states() {
  local index word
  while read -r index word; do
    state[${index/#N\/A/0}]=$word
  done < <(repx_squeue --states=all --array --jobs="$old" --format='%K %T')
}

# INDEX: set its fate: `done`, as Slurm knows, `ok`, as only its marker tells, or `failed`. What may
# be tried again is put into groups, by attempt and rung.
repx_fate() {
  local record=$store/outputs/${jobs[$1]-}/repx reason used next=$rung
  fate[$1]=failed
  if [[ -n $step ]]; then
    record=$store/outputs/$job/branch-$((offset + $1))/step-$step/repx
  elif [[ -z ${jobs[$1]-} ]]; then
    record=''
  fi
  if [[ ${state[$1]-} == COMPLETED ]]; then
    fate[$1]='done'
  elif [[ -n $record ]] && repx_done "$record"; then
    fate[$1]=ok
  elif [[ -n $record ]]; then
    repx_reason "$1" "$record"
    [[ " $on " == *" ${reason:-none} "* ]] && ((used <= tries)) || return 0
    [[ $reason != oom && $reason != timeout ]] || ((rung >= ${#more[@]})) || next=$((rung + 1))
    groups[$used.$next]+=" $1"
  fi
}

# INDEX RECORD: set reason to why it failed, in the words of `on`, or to nothing; used to the attempts.
repx_reason() {
  local line='' log=logs/$old${array:+_$1}.out
  reason='' used=$attempt
  : "$2"/* # listing makes a network file system look again
  if [[ -e $2/FAIL ]]; then
    read -r line <"$2/FAIL"
    repx_marked_reason "$line"
  elif [[ ${state[$1]-} == FAILED ]]; then
    reason='exit' # before its script began
  elif [[ ${state[$1]-} != CANCELLED && $2/lock -nt arrays.tsv ]]; then
    reason=node_fail
  fi
  case ${state[$1]-} in
    OUT_OF_MEMORY) reason=oom ;;
    TIMEOUT) reason=timeout ;;
    NODE_FAIL | BOOT_FAIL) reason=node_fail ;;
    PREEMPTED) reason=preempted ;;
  esac
  [[ ! -s $log ]] || repx_logged_reason "$(<"$log")"
}

# LINE: of a FAIL. One of an attempt before says nothing of this one, which never began.
repx_marked_reason() {
  [[ $1 == *"\"submission\":\"$submission\""* && $1 =~ \"attempt\":([0-9]+) ]] || return 0
  ((BASH_REMATCH[1] >= attempt)) || return 0
  used=${BASH_REMATCH[1]}
  case $1 in
    *'"reason":"out of memory"'*) reason=oom ;;
    *'"reason":"timeout"'*) reason=timeout ;;
    *'"reason":"preempted"'*) reason=preempted ;;
    *'"reason":"cancelled"'*) ;;
    *) reason='exit' ;;
  esac
}

# TEXT: what slurmstepd and our own scripts say of an end.
repx_logged_reason() {
  case $1 in
    *"repx: given up after"* | *"repx: skipped, since"*) reason='' ;;
    *"DUE TO TIME LIMIT"*) reason=timeout ;;
    *"DUE TO PREEMPTION"*) reason=preempted ;;
    *"memory limit"* | *oom_kill* | *oom-kill*) reason=oom ;;
  esac
}

# --- submitting ----------------------------------------------------------------------------

# ATTEMPT RUNG INDEX...: submit what that attempt did not do, and a job behind it.
repx_submit_again() {
  local attempt=$(($1 + 1)) rung=$2 id said REPLY new behind='' name index first=()
  shift 2
  name=repx:$submission:$SLURM_JOB_ID.$attempt.$rung:$call
  repx_ranges "$@"
  [[ -z $step ]] || first=("$job" "$offset")
  # shellcheck disable=SC2086 # options without blanks
  repx_once "$name" ${array:+--array="$REPLY$throttle"} ${more[$rung]-} "sbatch/$call.sh" "${first[@]}" "$attempt" "$rung" ||
    return 0
  new=${id%%;*}
  ! repx_once "$name.again" --dependency="afternotok:$new" "sbatch/$call.again.sh" "${first[@]}" "$new" "$attempt" "$rung" "$@" ||
    behind=${id%%;*}
  if [[ -n $step ]]; then
    printf 'again\t%s\t%s\n' "$new" "$REPLY" >>"children/$job.tsv"
  else
    mkdir -p again
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$call" "$new" "${array:+$REPLY}" "$attempt" "$rung" "$behind" \
      >>"again/$SLURM_JOB_ID.tsv"
  fi
  for index; do
    fate[$index]="$new $behind"
  done
}

# COMMENT ARGUMENT...: submit, unless that was done before; set id. What Slurm refuses has failed.
# Where it takes no more for now, or does not answer, this job goes back to the queue and tries again.
repx_once() {
  if ((${SLURM_RESTART_COUNT:-0} > 0)); then
    repx_find "$1" && return
    (($? == 1)) || repx_come_back
  fi
  repx_sbatch "$@" && return
  { (($? != 2)) && ! repx_no_answer "$said"; } || repx_come_back
  printf '%s\nrepx: cannot submit again: %s\n' "${said%$'\n'}" "$1" >&2
  return 1
}

# --- who waits -----------------------------------------------------------------------------

# Let whatever waits in the queue for what ended wait for what was submitted instead. One call of
# scontrol for all that wait for the same.
repx_settle() {
  local array index depends text said start REPLY queue never=() found=()
  local -A changed=()
  queue=$(repx_squeue --states=PENDING --array --format='%F|%K|%E') || repx_come_back
  while IFS='|' read -r array index depends; do
    [[ $depends == *":$old"[_\(,]* || $depends == *":$SLURM_JOB_ID"[_\(,]* ]] || continue
    [[ $index == N/A ]] || array+=_$index
    repx_rewrite "$index" "$depends"
    case $REPLY in
      same) ;;
      never) never+=("$array") ;;
      *) changed[$REPLY]+=" $array" ;;
    esac
  done <<<"$queue"
  for text in "${!changed[@]}"; do
    read -ra found <<<"${changed[$text]}"
    for ((start = 0; start < ${#found[@]}; start += 200)); do
      printf -v array ',%s' "${found[@]:start:200}"
      repx_scontrol update "JobId=${array#,}" "Dependency=${text#,}" || repx_not_moved
    done
  done
  ((${#never[@]} == 0)) || repx_scancel "${never[@]}"
}

# Where Slurm did not answer, this job looks again.
repx_not_moved() {
  printf '%s\n' "$said" >&2
  ! repx_no_answer "$said" || repx_come_back
}

# INDEX DEPENDS: set REPLY to what it is to wait for, `,` for nothing, `same`, or `never`.
repx_rewrite() {
  local part parts kind on of element new='' same=1
  IFS=, read -ra parts <<<"$2"
  for part in "${parts[@]}"; do
    part=${part%%\(*}
    kind=${part%%:*} on=${part#*:} element=''
    [[ $on != *_* ]] || element=${on#*_} on=${on%%_*}
    [[ $element != '*' ]] || element=''
    case $kind:$on in
      aftercorr:"$old") repx_follow "$part" "$kind" "$1" || return 0 ;;
      afterok:"$old")
        of=("$element")
        [[ -n $element ]] || of=("${!fate[@]}")
        repx_follow "$part" "$kind" "${of[@]}" || return 0
        ;;
      afterany:"$SLURM_JOB_ID")
        new+=,$part
        repx_follow_ends
        ;;
      *) new+=,$part ;;
    esac
  done
  REPLY=${new:-,}
  [[ -z $same ]] || REPLY=same
}

# PART KIND INDEX...: add to new what stands for a part now; REPLY is `never` when nothing can.
repx_follow() {
  local index id behind
  for index in "${@:3}"; do
    case ${fate[$index]-done} in
      failed)
        REPLY=never
        return 1
        ;;
      'done') [[ $2 != aftercorr ]] || new+=,$1 ;;
      ok) same='' ;;
      *)
        same=''
        read -r id behind <<<"${fate[$index]}"
        [[ $2 == aftercorr || -z $element ]] || id+=_$element
        [[ $new, == *",$2:$id,"* ]] || new+=,$2:$id
        ;;
    esac
  done
}

# Whoever waits for any end waits for that of the new jobs, and of those behind them.
repx_follow_ends() {
  local index id
  for index in "${!fate[@]}"; do
    for id in ${fate[$index]}; do
      [[ $id != *[!0-9]* && $new, != *",afterany:$id,"* ]] || continue
      new+=,afterany:$id
      same=''
    done
  done
}
