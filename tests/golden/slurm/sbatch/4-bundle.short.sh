#!/bin/bash
#SBATCH --job-name=bundle.short
#SBATCH --comment=repx:20260101-000000-abcdef:4-bundle.short
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
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue

# 3 jobs, one after another and side by side, in one allocation.
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
limit_s=3600 warning_s=60 retries=0 grace_s=30

runner='/scratch/o'"'"'brien/my store/RUNNER/repx/runner/start.py'
repx_bundle 0 4 '' # its plan is bundles/0/plan.json
repx_leave $?
