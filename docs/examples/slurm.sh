#!/usr/bin/env bash
# A job that survives its nodes, inside one Slurm allocation: sbatch docs/examples/slurm.sh
#
# --no-kill keeps the allocation when a node fails; tessera-run goes on with the others. Slurm sends SIGTERM to this
# script two minutes before the time limit and on preemption: tessera-run saves and ends, and the job is put back
# into the queue, where the same command goes on.
#SBATCH --job-name=tessera
#SBATCH --nodes=4
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

state=${TESSERA_STATE:-$PWD/runs/job}      # on a file system that every node sees
tessera-run --launch slurm --cluster cluster.json --model config.json --train train.json --state "$state" \
  -- --recovery-memory /dev/shm/tessera --recovery-disk "${TMPDIR:-/tmp}/tessera" \
     --recovery-cloud "${TESSERA_CLOUD:-$PWD/runs/cloud}" &
supervisor=$!
trap 'kill -TERM $supervisor' TERM
code=0
while :; do  # a trapped signal ends a wait early
  if wait "$supervisor"; then code=0; else code=$?; fi
  kill -0 "$supervisor" 2>/dev/null || break
done
if [ "$(tessera-run status --state "$state" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["job"]["state"])')" = stopped ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
