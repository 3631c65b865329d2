# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # the scripts that source this file set and read what is shared
#
# How submit.sh and the scripts of sbatch/ talk to Slurm: they submit each thing once, and ask again
# while the controller does not answer.
#
# Needs bash 4.2, coreutils and Slurm's commands. Works in the submission folder.

# shellcheck source=/dev/null
. ./plain.sh

# Variables of the environment that may have the name of one of ours: programs get them as given.
declare -A repx_given=()
while read -r _ _ repx_name; do
  repx_name=${repx_name%%=*}
  case $repx_name in
    repx_* | *[![:lower:][:digit:]_]*) ;;
    *) [[ ! -v $repx_name ]] || repx_given[$repx_name]=${!repx_name} ;;
  esac
done < <(export -p)
((${#repx_given[@]} == 0)) || unset "${!repx_given[@]}"

# COMMAND...: run it, instead of this process, in the environment that was given.
repx_as_given() {
  for repx_name in "${!repx_given[@]}"; do
    unset "$repx_name" # an array cannot be exported
    export "$repx_name=${repx_given[$repx_name]}"
  done
  exec "$@"
}

# Forget what the environment would add to what we ask: the defaults that a user has for Slurm's
# commands and, with SLURM as an argument, what an allocation around us says of itself. How to
# reach the controller stays, and the cluster that is meant is in `cluster`.
repx_own_words() {
  local name
  for name in "${!SBATCH_@}" "${!SQUEUE_@}" "${!SCANCEL_@}" "${!SCONTROL_@}" "${!SACCT_@}" ${1:+"${!SLURM_@}"}; do
    case $name in
      SLURM_CONF* | SLURM_JWT) ;;
      *) unset "$name" ;;
    esac
  done
}
cluster=${SBATCH_CLUSTERS:-${SLURM_CLUSTERS-}} # another one than this machine's own
unset SLURM_CLUSTERS
repx_own_words

# COMMENT ARGUMENT...: sbatch. Sets id (`4711`, or `4711;cluster`); else said is what Slurm said,
# and the exit code 1 for a refusal, 2 for a limit on how much may be submitted. No answer, or
# none for now, is asked for again, once the queue has told that the comment is not there.
repx_sbatch() {
  local comment=$1 wait code
  shift
  for wait in 1 2 4 8 16 0; do
    repx_sbatch_once --comment="$comment" "$@" && return
    code=$?
    ((code == 3)) || return "$code"
    ((wait == 0)) || sleep "$wait"
    repx_find "$comment" && return
    (($? == 1)) || break
  done
  return 1
}

# Returns 3 where trying again may help.
repx_sbatch_once() {
  local line pid='' code=1
  id='' said=''
  while IFS= read -r line; do
    case $line in
      "sbatch pid "*) pid=${line##* } ;;
      "sbatch exit "*) code=${line##* } ;;
      *"sleeping and retrying"*) # it would for two minutes; we have better means
        kill "$pid" 2>/dev/null
        said+=$line$'\n'
        ;;
      *)
        said+=$line$'\n'
        # Sites print banners round the answer, so the last line of its form counts.
        [[ ! $line =~ ^[0-9]+(;[^[:space:]]+)?$ ]] || id=$line
        ;;
    esac
  done < <({
    repx_own_words SLURM
    repx_as_given sbatch ${cluster:+--clusters="$cluster"} --parsable "$@" </dev/null &
    printf 'sbatch pid %s\n' $!
    wait $!
    printf 'sbatch exit %s\n' $?
  } 2>&1)
  ((code != 0)) || [[ -z $id ]] || return 0
  id=''
  case $said in
    *"sleeping and retrying"* | *SubmitJob*) return 2 ;; # as every such limit is called
  esac
  ! repx_no_answer "$said" || return 3
  case $said in
    # Slurm has one message for all limits; which one it was, a word of its own says before.
    *"job submit limit"*) [[ $said =~ error:\ [[:alnum:]]+$'\n' ]] || return 2 ;;
  esac
  return 1
}

# TEXT: was the controller not reached, or its answer lost? It may have done what was asked.
# (slurm_errno.c: what is said of the protocol, the network and the configuration's source.)
repx_no_answer() {
  case $1 in
    *"timed out"* | *"Unable to contact"* | *"Connection re"* | *"onnection failure"* | *"Zero Bytes"* | \
      *"nexpected message"* | *"end failure"* | *"eceive failure"* | *"hutdown failure"* | *"standby mode"* | \
      *"temporarily unavailable"* | *"Transport endpoint"* | *"I/O error writing"* | *"roken pipe"* | \
      *"to process configuration"* | *"configuration source"* | *"No route to host"* | *"is unreachable"* | \
      *"Host is down"* | *"etwork is down"* | *"onnection abort"* | *"assign requested address"* | \
      *"Interrupted system call"* | *"DNS SRV"* | *"name resolution"* | *"an't find an address"* | \
      *"nable to resolve"* | *"auth/munge"* | *"Munge"* | *"rotocol authentication"* | *"uthentication agent"* | \
      *"uthentication credential"* | *"nsane message"* | *"message length"* | *"zero length message"* | \
      *"entire message"* | *"Header lengths"* | *"missing socket"* | *" to database"* | *"atabase connection"* | \
      *"try again"*) ;;
    *) return 1 ;;
  esac
}

# COMMENT: set id to the job that has it, if Slurm knows one that was not cancelled; 1 where it knows
# none, 2 where it does not answer.
repx_find() {
  local found state rest queue
  queue=$(repx_squeue --states=all --format='%F %T %k') || return 2
  while read -r found state rest; do
    if [[ $rest == "$1" && $state != CANCELLED ]]; then
      id=$found${cluster:+;$cluster}
      return
    fi
  done <<<"$queue"
  return 1
}

# ARGUMENT...: print what squeue says of the jobs of this user, on the cluster that gets the
# submission. Fails where Slurm does not answer.
repx_squeue() {
  local said queue words
  words=(squeue ${cluster:+--clusters="$cluster"} --noheader --all --user="$(id -un)" "$@")
  until queue=$("${words[@]}" 2>/dev/null); do
    repx_patiently "${words[@]}" && continue
    [[ $said != *"Invalid job id"* ]] || break # it has forgotten that one
    printf '%s\n' "$said" >&2
    return 1
  done
  [[ $queue != *"CLUSTER: "* ]] || queue=$(grep -v '^CLUSTER: ' <<<"$queue")
  [[ -z $queue ]] || printf '%s\n' "$queue"
}

# ID...: cancel them.
repx_scancel() {
  repx_patiently scancel ${cluster:+--clusters="$cluster"} "${@%%;*}"
}

# ARGUMENT...
repx_scontrol() {
  repx_patiently scontrol ${cluster:+--clusters="$cluster"} "$@"
}

# Go back into the queue, to try again from there; asks for some minutes.
repx_come_back() {
  local said
  until repx_scontrol requeue "$SLURM_JOB_ID"; do
    if ! repx_no_answer "$said" || ((SECONDS > 600)); then
      printf '%s\n' "$said" >&2
      return 1
    fi
  done
  sleep 600
}

# COMMAND...: run it, and again while the controller does not answer. Sets said.
repx_patiently() {
  local wait
  for wait in 1 2 4 8 16 0; do
    said=$("$@" </dev/null 2>&1) && return
    repx_no_answer "$said" || return 1
    ((wait == 0)) || sleep "$wait"
  done
  return 1
}

# FILE: set ids[NAME] from it (submitted.tsv); what was withdrawn has no id.
repx_read_ids() {
  local name id rest
  ids=()
  [[ -e $1 ]] || return 0
  while IFS=$'\t' read -r name id rest; do
    if [[ $id == - ]]; then unset 'ids[$name]'; else ids["$name"]=$id; fi
  done <"$1"
}

# INDEX...: set REPLY to them as --array writes them, runs put together.
repx_ranges() {
  local index first='' last=''
  REPLY=
  for index in "$@" ''; do
    if [[ -n $last && -n $index ]] && ((index == last + 1)); then
      last=$index
      continue
    fi
    [[ -z $first ]] || REPLY+=,$first
    [[ $first == "$last" ]] || REPLY+=-$last
    first=$index last=$index
  done
  REPLY=${REPLY#,}
}
