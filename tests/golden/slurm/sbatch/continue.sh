#!/bin/bash
#SBATCH --job-name=continue
#SBATCH --comment=repx:20260101-000000-abcdef:continue
#SBATCH --output=logs/continue.out
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --open-mode=append
#SBATCH --export=NONE
#SBATCH --account='a#b c'
#SBATCH --qos=long
#SBATCH --time=01:00:00
#SBATCH --requeue

# Submits what a limit left over.
# submit.sh submits this file; Slurm runs it in the folder it was submitted from.

export SLURM_EXPORT_ENV=ALL # so that an srun inside a job passes the job's environment on
ulimit -c 0
export SITE="here"
type module >/dev/null 2>&1 || . /etc/profile
module load gcc/12 'my module'

cd -- "$SLURM_SUBMIT_DIR" || exit 3
. ./slurm.sh
. ./slurm-job.sh

# Ended jobs count too: the controller's own limit is on all that it still remembers.
known=$(repx_squeue --states=all --format=%A)
submitted=$(<submitted.tsv)
REPX_CONTINUATION=1 bash submit.sh
code=$?
((code == 75 || code == 69)) || exit "$code"
if [[ $code == 75 && $known == "$SLURM_JOB_ID" && $submitted == "$(<submitted.tsv)" ]]; then
  printf 'error: Slurm takes no more although nothing else of yours was queued; set max_submit\n' >&2
  exit 3
fi
# Still no room, or no answer. Requeued, this job keeps its place in the queue and holds no node meanwhile;
# Slurm starts a requeued job again after a while (two minutes, if the site changed nothing).
repx_come_back
exit 3
