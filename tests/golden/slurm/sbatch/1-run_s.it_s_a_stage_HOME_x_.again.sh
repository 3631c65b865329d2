#!/bin/bash
#SBATCH --job-name='run'"'"'s.it'"'"'s a #stage $HOME `x`.again'
#SBATCH --comment=repx:20260101-000000-abcdef:1-run_s.it_s_a_stage_HOME_x_.again
#SBATCH --output=logs/%j.out
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --open-mode=append
#SBATCH --export=NONE
#SBATCH --account='a#b c'
#SBATCH --qos=long
#SBATCH --time=00:15:00
#SBATCH --requeue

# Submits again what failed of 1-run_s.it_s_a_stage_HOME_x_; who waits for that waits on.
# submit.sh submits this file; Slurm runs it in the folder it was submitted from.

export SLURM_EXPORT_ENV=ALL # so that an srun inside a job passes the job's environment on
ulimit -c 0
export SITE="here"
type module >/dev/null 2>&1 || . /etc/profile
module load gcc/12 'my module'

cd -- "$SLURM_SUBMIT_DIR" || exit 3
. ./slurm.sh
. ./slurm-job.sh

. ./again.sh
store='/scratch/o'"'"'brien/my store'
call=1-run_s.it_s_a_stage_HOME_x_ submission=20260101-000000-abcdef
tries=0 on='oom timeout node_fail preempted exit'
array=1
throttle=%50
forced=
jobs=(
  [0]='h0-it'"'"'s a #stage $HOME `x`-1.0'
  [1]='h1-it'"'"'s a #stage $HOME `x`-1.0'
  [2]='h2-it'"'"'s a #stage $HOME `x`-1.0'
)
repx_again "$@" # an id, its attempt and rung, and elements; else the first one of the call
repx_leave 0
