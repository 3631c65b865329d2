#!/bin/bash
#SBATCH --job-name='run'"'"'s.report'
#SBATCH --comment=repx:20260101-000000-abcdef:7-run_s.report
#SBATCH --output=logs/%j.out
#SBATCH --kill-on-invalid-dep=no
#SBATCH --open-mode=append
#SBATCH --export=NONE
#SBATCH --account='a#b c'
#SBATCH --qos=long
#SBATCH --constraint='a|b&c'
#SBATCH --gres=gpu:a100:2
#SBATCH --mail-type=END,FAIL
#SBATCH --exclusive
#SBATCH --nice=0
#SBATCH --signal=B:USR1@60
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
limit_s=0 warning_s=60 retries=2 grace_s=30
tries=2 given_attempt=${1:-1} rung=${2:-0} # arguments: of one that is tried again

jobs=(
  [0]=z0-report-1.0
)
required=( # jobs whose success Slurm cannot tell; @ names a list of them
  [0]='s0-short-1.0
e0-old-1.0'
)
repx_require "${required[${SLURM_ARRAY_TASK_ID:-0}]-}"
repx_run "${jobs[${SLURM_ARRAY_TASK_ID:-0}]}"
repx_leave $?
