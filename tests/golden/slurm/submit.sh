#!/bin/bash
# Submits the jobs of this folder to Slurm. Jobs: 12, calls of sbatch: 7.
#
#   bash submit.sh       submit what is not submitted yet; can be stopped and started again
#
# Each line at the end of this file is one call: NAME is a script in sbatch/ and, with the id that
# Slurm gave it, a line in submitted.tsv. See README for how to watch and cancel.

cd -- "${BASH_SOURCE[0]%"${BASH_SOURCE[0]##*/}"}." || exit 3
. ./slurm.sh

submission=20260101-000000-abcdef
store='/scratch/o'"'"'brien/my store'
declare -A ids=()

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

# NAME ID JOBS
record() {
  ids[$1]=$2
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>submitted.tsv || {
    printf 'error: cannot write %s/submitted.tsv; submitted but not recorded: %s %s\n' "$PWD" "$1" "$2" >&2
    exit 3
  }
}

# NAME [HINT]: say why and stop.
refused() {
  local again
  [[ -n ${REPX_CONTINUATION-} ]] || give_back
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
  scancel "${ids[continue]%%;*}"
  forget continue
}

# Was a place missing although nothing else of ours takes one? (Places that others share are Grp.)
alone() {
  local id queued
  [[ $said == *SubmitJob* && $said != *Grp* ]] || return
  queued=$(squeue --noheader --all --user="$(id -un)" --format=%A 2>/dev/null) || return
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

# NAME JOBS
would_fit() (
  repx_unset_defaults "sbatch/$1.sh"
  sbatch --test-only --array="1-$2" "sbatch/$1.sh" </dev/null &>/dev/null
)

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
  done < <(squeue --noheader --all --states=all --format=%T --jobs="$id")
  scancel "$id" && forget "$1" && sleep 1
}

# NAME
forget() {
  unset "ids[$1]"
  printf '%s\t-\tcancelled\n' "$1" >>submitted.tsv
}

# Set room to how many jobs the target's max_submit still allows, one of them for continue.sh.
count_room() {
  local line
  while read -r line; do
    [[ $line == "${ids[continue]-}" ]] || ((room -= 1))
  done < <(squeue --noheader --all --array --user="$(id -un)" --format=%i)
}

# One at a time, where the machine can tell; a second one would find the first one's lines anyway.
exec 9>>submitted.tsv
if type -P flock >/dev/null && ! flock -n -E 75 9; then
  printf 'error: another submit.sh works in %s\n' "$PWD" >&2
  exit 3
fi
mkdir -p logs children
if [[ ! -e $store/submissions/$submission ]]; then
  mkdir -p -- "$store/submissions" && ln -sfn -- "$PWD" "$store/submissions/$submission" || exit 3
fi
repx_read_ids submitted.tsv
room=''
[[ -z $room ]] || count_room

submit 1-run_s.it_s_a_stage_HOME_x_ 3
submit 2-run_s.calc 3 aftercorr=1-run_s.it_s_a_stage_HOME_x_
submit 3-run_s.sum.scatter 1 'afterok=2-run_s.calc[0]'
submit 4-bundle.short 1 afterany=2-run_s.calc
submit 5-run_s.sum.gather 1 afterok=3-run_s.sum.scatter
release 3-run_s.sum.scatter
submit 6-run_s.after 1 'afterok=2-run_s.calc[2],4711_3' afterany=4-bundle.short
submit 7-run_s.report 1 afterok=5-run_s.sum.gather,4711_3 afterany=4-bundle.short

[[ -n ${REPX_CONTINUATION-} ]] || give_back
