#!/bin/bash
#SBATCH --job-name='run'"'"'s.it'"'"'s a #stage $HOME `x`'
#SBATCH --comment=repx:20260101-000000-abcdef:1-run_s.it_s_a_stage_HOME_x_
#SBATCH --array=0-2%50
#SBATCH --output=logs/%A_%a.out
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
#SBATCH --partition=main
#SBATCH --cpus-per-task=2
#SBATCH --mem=3073M
#SBATCH --time=01:30:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue

# 3 jobs; element i runs jobs[i].
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
limit_s=5400 warning_s=60 retries=0 grace_s=30

jobs=(
  [0]='h0-it'"'"'s a #stage $HOME `x`-1.0'
  [1]='h1-it'"'"'s a #stage $HOME `x`-1.0'
  [2]='h2-it'"'"'s a #stage $HOME `x`-1.0'
)
repx_run "${jobs[${SLURM_ARRAY_TASK_ID:-0}]}"
repx_leave $?
