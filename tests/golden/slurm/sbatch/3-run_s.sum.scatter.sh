#!/bin/bash
#SBATCH --job-name='run'"'"'s.sum.scatter'
#SBATCH --comment=repx:20260101-000000-abcdef:3-run_s.sum.scatter
#SBATCH --output=logs/%j.out
#SBATCH --hold
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
#SBATCH --cpus-per-task=1
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
limit_s=0 warning_s=60 retries=0 grace_s=30

jobs=(
  [0]=m0-sum-1.0
)
submission=20260101-000000-abcdef array_size=1000 forced=
throttle=%50
step_names[0]=fit step_scripts[0]=sbatch/3-run_s.sum.scatter.0.sh step_needs[0]=''
step_names[1]='it'"'"'s #2' step_scripts[1]=sbatch/3-run_s.sum.scatter.1.sh step_needs[1]=0
job=${jobs[${SLURM_ARRAY_TASK_ID:-0}]}
repx_run "$job" scatter || repx_drop_gather $? 5-run_s.sum.gather
repx_fan_out "$job" 5-run_s.sum.gather
repx_leave 0
