#!/bin/bash
#SBATCH --job-name='run'"'"'s.sum.it'"'"'s #2'
#SBATCH --comment=repx:20260101-000000-abcdef:3-run_s.sum.scatter.1
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
#SBATCH --cpus-per-task=2
#SBATCH --signal=B:USR1@60
#SBATCH --requeue

# Step it's #2 of the jobs of 3-run_s.sum.scatter; element i is branch i.
# submit.sh submits this file; Slurm runs it in the folder it was submitted from.

export SLURM_EXPORT_ENV=ALL # so that an srun inside a job passes the job's environment on
ulimit -c 0
export SITE="here"
type module >/dev/null 2>&1 || . /etc/profile
module load gcc/12 'my module'

cd -- "$SLURM_SUBMIT_DIR" || exit 3
. ./slurm.sh
. ./slurm-job.sh

job=$1 offset=$2 # the branch of element 0
shift 2
store='/scratch/o'"'"'brien/my store'
limit_s=0 warning_s=60 retries=0 grace_s=30

repx_run "$job" step 'it'"'"'s #2' $((offset + SLURM_ARRAY_TASK_ID))
repx_leave $?
