#!/bin/bash
#SBATCH --job-name='run'"'"'s.sum.gather'
#SBATCH --comment=repx:20260101-000000-abcdef:5-run_s.sum.gather
#SBATCH --output=logs/%j.out
#SBATCH --hold
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --open-mode=append
#SBATCH --export=NONE
#SBATCH --account='a#b c'
#SBATCH --qos=long
#SBATCH --constraint='a|b&c'
#SBATCH --gres=gpu:a100:2
#SBATCH --mail-type=END,FAIL
#SBATCH --exclusive
#SBATCH --nice=0
#SBATCH --cpus-per-task=1
#SBATCH --time=00:01:00
#SBATCH --signal=B:USR1@6
#SBATCH --requeue

# One job.
# submit.sh submits this file; Slurm runs it in the folder it was submitted from.

export SLURM_EXPORT_ENV=ALL # so that an srun inside a job passes the job's environment on
ulimit -c 0
export SITE="here"
type module >/dev/null 2>&1 || . /etc/profile
module load gcc/12 'my module'

cd -- "$SLURM_SUBMIT_DIR" || exit 3
. ./slurm.sh
. ./slurm-job.sh

store='/scratch/o'"'"'brien/my store'
limit_s=60 warning_s=6 retries=0 grace_s=30

jobs=(
  [0]=m0-sum-1.0
)
job=${jobs[${SLURM_ARRAY_TASK_ID:-0}]}
repx_gather_ready "$job" 'it'"'"'s #2' || repx_leave 1
repx_run "$job" gather
repx_leave $?
