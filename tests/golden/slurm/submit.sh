#!/bin/bash
# Submits the jobs of this folder to Slurm. Jobs: 12, calls of sbatch: 11.
#
#   bash submit.sh       submit what is not submitted yet; can be stopped and started again
#
# Each line at the end of this file is one call: NAME is a script in sbatch/ and, with the id that
# Slurm gave it, a line in submitted.tsv. See README for how to watch and cancel.

unset -f cd
unset CDPATH
SECONDS=0 # also where the environment has it
cd -- "${0%"${0##*/}"}." || exit 3 # not BASH_SOURCE, which an environment may set
. ./slurm.sh
repx_own_words SLURM # also from inside an allocation, jobs are those of a login node

submission=20260101-000000-abcdef
store='/scratch/o'"'"'brien/my store'
[[ -z '' ]] || cluster=''
declare -A ids=()
own_cluster='' # where this script runs

# NAME JOBS [CONDITION=NAME,NAME[INDEX],...]...: submit one script, unless that was done before.
submit() {
  local name=$1 jobs=$2 condition part index on id said call dependency=''
  [[ -z ${ids[$name]-} ]] || return 0
  for condition in "${@:3}"; do
    on=''
    IFS=, read -ra parts <<<"${condition#*=}"
    for part in "${parts[@]}"; do
      index=${part#"${part%%\[*}"} part=${part%%\[*}
      part=${ids[$part]-$part} index=${index//[\[\]]/}
      on+=:${part%%;*}${index:+_$index}
    done
    dependency+=,${condition%%=*}$on
  done
  [[ -z $room ]] || ((room > jobs)) || { said="max_submit is reached" && continue_later "$name"; }
  call=("repx:$submission:$name" ${dependency:+--dependency="${dependency#,}"} "sbatch/$name.sh")
  repx_sbatch "${call[@]}" || case $? in
    2) if alone; then repx_sbatch "${call[@]}" || too_large "$name" "$jobs"; else continue_later "$name"; fi ;;
    *) refused "$name" ;;
  esac
  record "$name" "$id" "$jobs"
  [[ -z $room ]] || ((room -= jobs))
  printf '%-40s %-12s %s\n' "$name" "$id" "$jobs job$([[ $jobs == 1 ]] || echo s)"
}

# NAME: let a job start that was held until what it steers was there.
release() {
  local said
  repx_scontrol release "${ids[$1]%%;*}" || case $said in
    *"already completing or completed"* | *"Invalid job id"* | *"is not held"*) ;;
    *) refused "$1" ;;
  esac
}

# ID: what depends on it must be on its cluster, too. Our own needs no name unless one was asked for.
found_on() {
  [[ $1 != *\;* || -z $cluster && ${1#*;} == "$own_cluster" ]] || cluster=${1#*;}
}

# NAME ID JOBS
record() {
  ids[$1]=$2
  found_on "$2"
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>submitted.tsv || {
    printf 'error: cannot write %s/submitted.tsv; submitted but not recorded: %s %s\n' "$PWD" "$1" "$2" >&2
    exit 3
  }
}

# NAME [HINT]: say why and stop.
refused() {
  local again
  if [[ -z ${REPX_CONTINUATION-} ]]; then
    give_back
  elif repx_no_answer "$said"; then
    exit 69
  fi
  printf -v again 'correct the target, then: repx run; or %s/sbatch/%s.sh, then: bash %q/submit.sh' "$PWD" "$1" "$PWD"
  printf '%s\nerror: Slurm refused %s\n\n' "${said%$'\n'}" "sbatch/$1.sh" >&2
  printf 'hint: %s\n' "${2-$again}" >&2
  exit 3
}

# --- limits --------------------------------------------------------------------------------
#
# Slurm may take only so many jobs of a user at once. What is left then is submitted by a small
# job in Slurm itself (sbatch/continue.sh), so that nothing waits here. That job needs a place in
# the queue too: a submission that may reach a limit takes it early, held, and gives it back when
# all is submitted; for others the last one submitted makes room. The first call goes before it,
# since Slurm looks at once at what it gets first, and at what follows seconds later.

take_place() {
  local id said
  [[ -z ${ids[continue]-}${REPX_CONTINUATION-} ]] || return 0
  repx_sbatch "repx:$submission:continue" --hold sbatch/continue.sh || case $? in
    2) return 0 ;; # the next call meets the same limit, and deals with it
    *) refused continue ;;
  esac
  record continue "$id" 0
}

give_back() {
  [[ -n ${ids[continue]-} ]] || return 0
  repx_scancel "${ids[continue]}"
  forget continue
}

# Was a place missing although nothing else of ours takes one? (Places that others share are Grp.)
alone() {
  local id queued
  [[ $said == *SubmitJob* && $said != *Grp* ]] || return
  queued=$(repx_squeue --format=%A) || return
  for id in $queued; do
    [[ $id == "${ids[continue]%%;*}" ]] || return
  done
}

# NAME JOBS: no place will ever be free for so many at once; find out for how many.
too_large() {
  local low=0 high=$2 middle
  while ((high - low > 1)); do
    middle=$(((low + high) / 2))
    if would_fit "$1" "$middle"; then low=$middle; else high=$middle; fi
  done
  ((low > 0)) || refused "$1"
  [[ -z ${ids[continue]-} ]] || ((low += 1))
  refused "$1" "it has $2 jobs; say slurm: { max_submit: $low } in targets.yaml, and arrays are cut to fit; then: repx run"
}

# NAME JOBS: within the limit? What else may be said of them, such as that no node is up, is no matter here.
would_fit() {
  local said
  repx_patiently sbatch ${cluster:+--clusters="$cluster"} --test-only --array="1-$2" "sbatch/$1.sh" ||
    [[ $said != *SubmitJob* ]]
}

# NAME: leave it, and what follows, to the job in Slurm.
continue_later() {
  local id reason=${said%$'\n'} last
  [[ -z ${REPX_CONTINUATION-} ]] || exit 75
  if [[ -n ${ids[continue]-} ]]; then
    release continue
  else
    until repx_sbatch "repx:$submission:continue" sbatch/continue.sh; do
      { (($? == 2)) && last=$(last_submitted) && withdraw "$last"; } || refused continue
    done
    record continue "$id" 0
  fi
  printf '%s\nSlurm takes no more for now; job %s submits the rest, from %s on\n' "$reason" "${ids[continue]}" "$1"
  exit 0
}

last_submitted() {
  local name id jobs last=''
  while IFS=$'\t' read -r name id jobs; do
    [[ $id == "${ids[$name]-}" ]] && last=$name
  done <submitted.tsv
  printf '%s' "$last"
  [[ -n $last ]]
}

# NAME: take back what waits in the queue; it is submitted again later.
withdraw() {
  local id=${ids[$1]%%;*} state
  while read -r state; do
    [[ $state == PENDING ]] || return
  done < <(repx_squeue --states=all --format=%T --jobs="$id")
  repx_scancel "$id" && forget "$1" && sleep 1
}

# NAME
forget() {
  unset 'ids[$1]'
  printf '%s\t-\tcancelled\n' "$1" >>submitted.tsv
}

# Set room to how many jobs the target's max_submit still allows, one of them for continue.sh.
count_room() {
  local line
  while read -r line; do
    [[ $line == "${ids[continue]-}" ]] || ((room -= 1))
  done < <(repx_squeue --array --format=%i)
}

# --- exactly once --------------------------------------------------------------------------

# FILE SECONDS: lock it until this script and every sbatch that it started have ended: what is on
# its way to Slurm when the script is killed is found in the queue by the next one.
hold() {
  local descriptor
  if ! { : >>"$1"; } 2>/dev/null; then
    printf 'error: cannot write %s\n' "$1" >&2
    exit 3
  fi
  exec {descriptor}>>"$1"
  type -P flock >/dev/null || return 0
  flock -n "$descriptor" && return
  printf 'another submit.sh holds %s; waiting for it\n' "$1" >&2
  flock -w "$2" "$descriptor" && return
  printf 'error: another submit.sh holds %s\n' "$1" >&2
  exit 3
}

# Write down what Slurm took although its id never came back: the comment tells the call.
adopt() {
  local found state comment name queue
  queue=$(repx_squeue --states=all --format='%F %T %k') || unanswered
  while read -r found state comment; do
    name=${comment#"repx:$submission:"}
    [[ $name != "$comment" && -z ${ids[$name]-} && -e sbatch/$name.sh ]] || continue
    case $name:$state in
      *:CANCELLED | continue:[!PR]*) ;;
      *) record "$name" "$found${cluster:+;$cluster}" found ;;
    esac
  done <<<"$queue"
}

# What Slurm has is not known, so nothing can be submitted without doing it twice.
unanswered() {
  [[ -z ${REPX_CONTINUATION-} ]] || exit 69
  printf 'error: Slurm does not answer; nothing was submitted\n\nhint: bash %q/submit.sh\n' "$PWD" >&2
  exit 3
}

# Does another submission, made since this one was planned, have one of its jobs in the queue?
claimed() {
  local index reason comment other name call kind job queue
  local -A mine=() alive=() others=()
  queue=$(repx_squeue --array --format='%K|%r|%k') || unanswered
  while IFS='|' read -r index reason comment; do
    [[ $comment == repx:*:* && $reason != DependencyNeverSatisfied ]] || continue
    other=${comment#repx:} name=${comment##*:} other=${other%%:*}
    [[ $other == "$submission" ]] || others[$other]=1 alive[$other $name ${index/#N\/A/-}]=1
  done <<<"$queue"
  [[ -n ${!others[*]} ]] || return
  while IFS=$'\t' read -r call index kind job; do mine[$job]=1; done <arrays.tsv
  for other in "${!others[@]}"; do
    [[ -e $store/submissions/$other/arrays.tsv ]] || continue
    while IFS=$'\t' read -r call index kind job; do
      [[ -n ${mine[$job]-} && -n ${alive[$other $call $index]-} ]] || continue
      # A bundle goes on when one of its jobs has ended.
      [[ $kind != bundle:* || ! -e $store/outputs/$job/repx/SUCCESS && ! -e $store/outputs/$job/repx/FAIL ]] || continue
      printf 'error: job %s is in the queue already, for submission %s\n\n' "$job" "$other" >&2
      printf 'hint: repx run plans again what is left\n' >&2
      return 0
    done <"$store/submissions/$other/arrays.tsv"
  done
  return 1
}

# Tell later looks which cluster we are on, whose jobs these are and which cluster was asked for.
remember_cluster() {
  local said rest id
  if [[ -s cluster ]]; then
    IFS=$'\t' read -r own_cluster rest <cluster
  elif repx_scontrol show config && [[ $said =~ ClusterName[[:blank:]]*=[[:blank:]]*([^[:space:]]+) ]]; then
    own_cluster=${BASH_REMATCH[1]}
    printf '%s\t%s\t%s\n' "$own_cluster" "$(id -un)" "$cluster" >cluster.part && mv -f cluster.part cluster
  fi
  for id in "${ids[@]}"; do found_on "$id"; done
}

mkdir -p -- "$store/submissions"
[[ -n ${REPX_CONTINUATION-} ]] || hold "$store/submit.lock" 3600
[[ -e submitted.tsv ]] && again=1 || again=
hold "$PWD/submitted.tsv" 20
mkdir -p logs children
if [[ ! -e $store/submissions/$submission ]]; then
  ln -sfn -- "$PWD" "$store/submissions/$submission" || exit 3
fi
repx_read_ids submitted.tsv
remember_cluster
[[ -z $again ]] || adopt
[[ -n ${REPX_CONTINUATION-} || -s submitted.tsv ]] || ! claimed || exit 76
room=''
[[ -z $room ]] || count_room

submit 1-run_s.it_s_a_stage_HOME_x_ 3
submit 1-run_s.it_s_a_stage_HOME_x_.again 1 afternotok=1-run_s.it_s_a_stage_HOME_x_
submit 2-run_s.calc 3 aftercorr=1-run_s.it_s_a_stage_HOME_x_
submit 2-run_s.calc.again 1 afternotok=2-run_s.calc
submit 3-run_s.sum.scatter 1 'afterok=2-run_s.calc[0]'
submit 4-bundle.short 1 afterany=2-run_s.calc,2-run_s.calc.again
submit 5-run_s.sum.gather 1 afterok=3-run_s.sum.scatter
release 3-run_s.sum.scatter
submit 5-run_s.sum.gather.again 1 afternotok=5-run_s.sum.gather
submit 6-run_s.after 1 'afterok=2-run_s.calc[2]' afterany=4-bundle.short,4711_3
submit 7-run_s.report 1 afterok=5-run_s.sum.gather afterany=4-bundle.short,4711_3
submit 7-run_s.report.again 1 afternotok=7-run_s.report

[[ -n ${REPX_CONTINUATION-} ]] || give_back
