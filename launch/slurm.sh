#!/usr/bin/env bash
# Submit a run to SLURM: one task for each GPU, requeued when preempted or out of time.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/shared.sh
source "$ROOT/launch/shared.sh"

usage() {
    cat <<'END'
launch/slurm.sh [--nodes=N] [--gpus=K] [FLAGS OF sbatch] -- COMMAND…

    launch/slurm.sh --nodes=2 --gpus=8 --partition=gpu --time=24:00:00 --cpus-per-task=12 -- \
        python -m eqssl_jax.main --config=configs/care.py:imagenet100 --workdir=/shared/runs/care

  --nodes=N       nodes (1)
  --gpus=K        GPUs, and so processes, of each node; 0: one process a node on its CPUs (1)
  --dry_run       print what would run
  any other       goes to sbatch: --partition=, --account=, --time=, --mem=, --dependency=, …

The Python environment is the one of the shell that submits. The workdir is on a disk all nodes
share. What happens then: launch/slurm.sbatch --help.
Resume: the same command. Watch: squeue --me; tail -f eqssl_jax-JOB.log. Stop: scancel JOB.
END
}

nodes=1 gpus=1 passed=() command=()
while (($#)); do
    case $1 in
        --nodes=*) nodes=${1#*=} ;;
        --gpus=*) gpus=${1#*=} ;;
        --dry_run) DRY_RUN=true ;;
        -h | --help) usage && exit 0 ;;
        --gpus-per-task*) misused "$1 hides the other GPUs of its node from a task, and jax would" \
            "not find its own: give --gpus=K, the number for each node." ;;
        --) shift && command=("$@") && break ;;
        --*=* | --exclusive | --parsable | --hold | --wait) passed+=("$1") ;;
        *) misused "$1 is not known here; flags of sbatch look like --partition=gpu, the command" \
            "comes after --." ;;
    esac
    shift
done
((${#command[@]})) || misused "The command is missing: launch/slurm.sh … -- COMMAND…"
is_number "$nodes" --nodes 1
is_number "$gpus" --gpus
installed sbatch "Run this on a login node of the cluster."

flags=("--nodes=$nodes" "--ntasks-per-node=$((gpus > 0 ? gpus : 1))")
if ((gpus > 0)); then flags+=("--gpus-per-node=$gpus"); fi
execute sbatch "${flags[@]}" ${passed[@]+"${passed[@]}"} "$ROOT/launch/slurm.sbatch" "${command[@]}"
