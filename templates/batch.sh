# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # lib.sh sets and reads the variables
#
# What the batch job that a unit runs in tells of it: why it ends, how much memory it used. Read by
# exceptional.sh where there is one: its system and id are in `repx_by`.

# Set repx_stopped to why Slurm ends the job: before it signals, it writes that into the job's log.
repx_slurm_said() {
  local log=$repx_here/logs/${repx_by#*:}.out said
  [[ $repx_by == slurm:* && -s $log ]] || return 0
  said=$(<"$log")
  case ${said##*CANCELLED AT} in
    *"DUE TO TIME LIMIT"*) repx_stopped=timeout ;;
    *"DUE TO PREEMPTION"*) repx_stopped=preempted ;;
  esac
}

# A batch job's own control group tells whether the kernel killed for memory (cgroup v2, v1).
repx_out_of_memory() {
  local word count
  repx_memory_file memory.events memory.oom_control || return
  while read -r word count; do
    [[ $word != oom_kill ]] || ((count == 0)) || return 0
  done <"$REPLY"
  return 1
}

# NAME NAME: set REPLY to the file of that name in this process's control group, of v2 or v1.
repx_memory_file() {
  local group
  [[ -r /proc/self/cgroup ]] || return
  while IFS= read -r group; do
    case $group in
      0::*) REPLY=/sys/fs/cgroup${group#0::}/$1 ;;
      *:memory:*) REPLY=/sys/fs/cgroup/memory${group#*:memory:}/$2 ;;
      *) continue ;;
    esac
    [[ ! -r $REPLY ]] || return 0
  done </proc/self/cgroup
  return 1
}

# Set repx_rss to the peak memory of the batch job that runs the unit, where it is known.
repx_peak_memory() {
  repx_memory_file memory.peak memory.max_usage_in_bytes || return
  read -r repx_rss <"$REPLY"
  [[ -n $repx_rss && $repx_rss != *[!0-9]* ]] || repx_rss=null
}
