# shellcheck shell=bash
# shellcheck disable=SC2154  # the scripts that source this file, and slurm.sh, set what is read here
#
# What runs on a node within one Slurm job: it starts job scripts, passes Slurm's signals on to them,
# and submits the steps of scatter-gather jobs. Sourced by the scripts of sbatch/ after slurm.sh.

# shellcheck source=/dev/null
. ./markers.sh

# What a script of sbatch/ sets before it calls one of these:
#   store                 the target's base_path
#   limit_s warning_s     its time limit, and how long before it the job is ended; or nothing
#   retries               how often a job that failed is tried again within its Slurm job
#   tries given_attempt rung   how often at all; which attempt this is, with how much more
#   grace_s               how long a network file system may take to show a marker
limit_s=0 warning_s=0 retries=0 grace_s=0 tries='' given_attempt=1 rung=0
stopped='' child='' sleeper='' due=0

# Tell job files and the runner in their markers' words who runs them.
repx_by() {
  export REPX_BY=slurm:${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
}

# JOB [PHASE]...: run the job's script; exit with its code.
repx_run() {
  local attempt=$((given_attempt + ${SLURM_RESTART_COUNT:-0})) code
  if [[ -n $tries ]] && ((attempt > tries + 1)); then
    printf 'repx: given up after %d attempts: Slurm started it again each time\n' "$((attempt - 1))" >&2
    repx_leave 1
  fi
  repx_by
  trap 'repx_warned' USR1
  trap 'repx_pass_on TERM' TERM INT
  for (( ; ; attempt++)); do
    REPX_ATTEMPT=$attempt REPX_RUNG=$rung repx_wait_for bash "jobs/$1.sh" "${@:2}"
    code=$?
    ((code == 1 && attempt <= retries)) || break
    [[ -z $stopped ]] || break
    ! repx_lacked_memory "$@" || break
  done
  return "$code"
}

# JOB [PHASE]...: where it would meet the same limit again, a new Slurm job is better.
repx_lacked_memory() {
  local line='' record=$store/outputs/$1
  [[ ${2-} != step ]] || record+=/branch-$4/step-$3
  [[ -n $tries ]] && read -r line 2>/dev/null <"$record/repx/FAIL" &&
    [[ $line == *'"reason":"out of memory"'* ]]
}

# COMMAND...: start it and wait for its end, however many signals come in between.
repx_wait_for() {
  local code
  repx_as_given "$@" &
  child=$!
  wait "$child"
  code=$?
  while ((code > 128)) && kill -0 "$child" 2>/dev/null; do
    wait "$child"
    code=$?
  done
  child=''
  [[ -z $sleeper ]] || kill "$sleeper" 2>/dev/null
  return "$code"
}

# SIGNAL
repx_pass_on() {
  stopped=$1
  [[ -z $child ]] || kill -s "$1" "$child" 2>/dev/null
}

# Slurm's warning comes up to a minute early; the job may use its time up to the agreed moment.
repx_warned() {
  local left REPLY all
  if [[ -z $sleeper ]]; then
    left=$((limit_s - warning_s - SECONDS))
    if ((limit_s == 0)) && repx_time_left; then # nobody asked for a limit: the partition has one
      ((all = REPLY + SECONDS, left = REPLY - (all / 10 < warning_s ? all / 10 : warning_s)))
    fi
    if ((left > 0)); then
      due=$((SECONDS + left))
      { sleep "$left" && kill -s USR1 $$; } &
      sleeper=$!
      return
    fi
  elif ((SECONDS < due)); then
    return
  fi
  repx_pass_on USR1
}

# Set REPLY to the seconds until Slurm ends this job.
repx_time_left() {
  local part
  REPLY=${SLURM_JOB_END_TIME-}
  if [[ -n $REPLY ]]; then
    printf -v part '%(%s)T' -1
    ((REPLY -= part))
    return 0
  fi
  read -r part < <(repx_squeue --jobs="$SLURM_JOB_ID" --format=%L 2>/dev/null)
  [[ $part =~ ^(([0-9]+)-)?(([0-9]+):)?([0-9]+):([0-9]+)$ ]] || return
  REPLY=$((((10#0${BASH_REMATCH[2]} * 24 + 10#0${BASH_REMATCH[4]}) * 60 + 10#${BASH_REMATCH[5]}) * 60 + 10#${BASH_REMATCH[6]}))
}

# Remove the log of a Slurm job that had nothing to say.
repx_leave() {
  local log=logs/$SLURM_JOB_ID.out
  [[ -z ${SLURM_ARRAY_TASK_ID-} ]] || log=logs/${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID.out
  [[ -s $log ]] || rm -f -- "$log"
  exit "$1"
}

# JOBS: leave when a job among these lines, or in the file a line @FILE names, has not succeeded.
# Slurm's own dependency has waited for its end, but cannot tell: it ran inside a bundle, or
# ended before this one was submitted.
repx_require() {
  local line deadline=$((SECONDS + grace_s))
  while IFS= read -r line; do
    case $line in
      '') ;;
      @*) repx_require "$(<"${line#@}")" ;;
      *)
        until repx_succeeded "$store/outputs/$line/repx"; do
          if [[ -e $store/outputs/$line/repx/FAIL ]] || ((SECONDS >= deadline)); then
            printf 'repx: skipped, since this job did not succeed: %s\n' "$line" >&2
            repx_leave 1
          fi
          sleep 0.2
          : "$store/outputs/$line/repx"/* # listing makes a network file system look again
        done
        ;;
    esac
  done <<<"$1"
}

# NUMBER CPUS MEMORY: run the bundle's jobs with the local scheduler, which the script names as
# `runner`, in this allocation. Where
# the time was too short, this job goes back to the queue and continues: who waits for it waits on.
repx_bundle() {
  local folder=bundles/$1 before code
  [[ -e $folder/jobs ]] || ln -s ../../jobs "$folder/jobs"
  before=$(repx_successes "$folder/events.jsonl")
  repx_by
  trap 'repx_warned' USR1
  trap 'repx_pass_on HUP' HUP
  trap 'stopped=TERM' TERM INT # Slurm tells every process; a second time would mean: at once
  [[ -v LC_ALL ]] || export LC_ALL=C REPX_LOCALE=ours # as in run.sh
  repx_wait_for python3 -I -S "$runner" "$folder" --keep-going --quiet --cpus="$2" ${3:+--mem="$3"}
  code=$?
  if [[ $stopped == USR1 ]] && (($(repx_successes "$folder/events.jsonl") > before)); then
    repx_come_back
  fi
  return "$code"
}

# FILE: print how many jobs have succeeded by its events.
repx_successes() {
  local line count=0
  if [[ -e $1 ]]; then
    while IFS= read -r line; do
      [[ $line != *'"e":"end"'*'"ok":true'* ]] || ((count += 1))
    done <"$1"
  fi
  printf '%d' "$count"
}

# --- scatter-gather ------------------------------------------------------------------------

# JOB GATHER: submit what is left of the job's steps, one array per step and block of branches,
# and let its gather wait for the last ones. GATHER is a name in submitted.tsv. The script sets
#   submission array_size forced throttle
#   step_names step_scripts step_needs      per step; needs are numbers of earlier steps
#   step_again                              what submits a step again, where that may be (again.sh)
repx_fan_out() {
  local job=$1 home=$store/outputs/$1 gather count step id said REPLY
  local -A runs_in=()
  local watched=() watchers=''
  # shellcheck disable=SC2034 # markers.sh reads them
  repx_forced=$forced repx_submission=$submission
  repx_find_gather "$2"
  children=children/$job.tsv
  repx_forget_children
  repx_count "$home" && count=$repx_count
  for step in "${!step_names[@]}"; do
    [[ -z $stopped ]] || repx_give_up "$job"
    repx_submit_step "$step" || repx_give_up "$job"
  done
  repx_watch_steps || repx_give_up "$job"
  repx_release_gather || repx_give_up "$job"
}

# NAME: set gather to the id of the gather that belongs to this scatter.
repx_find_gather() {
  local -A ids=()
  repx_read_ids submitted.tsv
  gather=${ids[$1]%%;*}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
}

# EXIT GATHER: scatter failed. Slurm would cancel gather by itself, but a held job only once a
# minute. A scatter that was stopped may be started again, so its gather stays.
repx_drop_gather() {
  local gather
  repx_find_gather "$2"
  [[ -n $stopped ]] || repx_scancel "$gather"
  repx_leave "$1"
}

# STEP: submit the branches in which it, or a step before it, is still to be done.
repx_submit_step() {
  local branch waits missing need block number=0
  local -A members=()
  for ((branch = 0; branch < count; branch++)); do
    waits='' missing=
    for need in ${step_needs[$1]-}; do
      id=${runs_in[$need,$branch]-}
      [[ -z $id ]] || waits+=,aftercorr:$id
    done
    repx_done "$home/branch-$branch/step-${step_names[$1]}/repx" || missing=1
    [[ -z $waits$missing ]] || members[$((branch / array_size))$waits]+=" $branch"
  done
  for block in "${!members[@]}"; do
    repx_submit_branches "$1" "${block%%,*}" "${block#"${block%%,*}"}" "$((number++))" "${members[$block]}" || return
  done
}

# Put a job behind each array that submits again what failed of it. It looks only when this job has
# ended, for gather waits for it from then on.
repx_watch_steps() {
  local words after=$SLURM_JOB_ID last=$((${#step_names[@]} - 1)) entry
  [[ -z ${SLURM_ARRAY_TASK_ID-} ]] || after=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  for entry in "${watched[@]}"; do
    read -ra words <<<"$entry" # comment step offset id index...
    repx_sbatch "${words[0]}.again" --dependency="afternotok:${words[3]},afterany:$after" \
      "${step_again[${words[1]}]}" "$job" "${words[2]}" "${words[3]}" 1 0 "${words[@]:4}" || return
    ((words[1] < last)) || watchers+=" ${id%%;*}"
  done
}

# STEP BLOCK CONDITIONS NUMBER BRANCHES
repx_submit_branches() {
  local offset=$(($2 * array_size)) branch indices=() comment
  for branch in $5; do indices+=($((branch - offset))); done
  repx_ranges "${indices[@]}"
  comment=repx:$submission:${SLURM_JOB_ID}:${SLURM_RESTART_COUNT:-0}:$1.$2.$4
  repx_sbatch "$comment" --array="$REPLY$throttle" ${3:+--dependency="${3#,}"} \
    "${step_scripts[$1]}" "$job" "$offset" || return
  printf '%s\t%s\t%s\n' "$1" "$id" "$REPLY" >>"$children"
  [[ -z ${step_again[$1]-} ]] || watched+=("$comment $1 $offset ${id%%;*} ${indices[*]}")
  for branch in $5; do runs_in[$1,$branch]=${id%%;*}; done
}

# A requeued scatter starts clean.
repx_forget_children() {
  local step id rest old=()
  mkdir -p children
  if [[ -e $children ]]; then
    while read -r step id rest; do old+=("${id%%;*}"); done <"$children"
    ((${#old[@]} == 0)) || repx_scancel "${old[@]}"
    rm -f -- "$children"
  fi
}

repx_release_gather() {
  local branch last=$((${#step_names[@]} - 1)) arrays=' '
  for ((branch = 0; branch < count; branch++)); do
    id=${runs_in[$last,$branch]-}
    [[ -z $id || $arrays == *" $id "* ]] || arrays+="$id "
  done
  arrays=${arrays# } arrays=${arrays% }$watchers
  # Any end will do: gather itself looks at every branch, and says which one failed.
  [[ -z $arrays ]] || repx_scontrol update "JobId=$gather" "Dependency=afterany:${arrays// /:}" || return
  repx_scontrol release "$gather"
}

# JOB SINK: may gather start? Not when a step failed and has not succeeded since: it said so.
repx_gather_ready() {
  local branch count REPLY home=$store/outputs/$1
  [[ -e $home/repx/FAIL ]] || return 0
  repx_count "$home" && count=$repx_count
  for ((branch = 0; branch < count; branch++)); do
    repx_succeeded "$home/branch-$branch/step-$2/repx" || return
  done
}

# JOB: the steps could not be submitted; what was is cancelled, and gather with it.
repx_give_up() {
  printf 'repx: %s: cannot submit its steps: %s\n' "$1" "${stopped:+cancelled}$said" >&2
  repx_forget_children
  [[ -n $stopped ]] || repx_scancel "$gather"
  repx_leave 3
}
