#!/usr/bin/env bash
# A whole table as independent jobs: on this machine, or a SLURM job for each run.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/shared.sh
source "$ROOT/launch/shared.sh"

usage() {
    cat <<'END'
launch/table.sh --table=NAME --runs=DIR [FLAGS] [-- FLAGS OF launch/slurm.sh]
launch/table.sh --config=FILE --over=NAME=V,V --workdir=DIR [FLAGS] [-- FLAGS OF launch/slurm.sh]

    launch/table.sh --table=lambda_sweep --scale=small --runs=runs/studies --jobs=local:4
    launch/table.sh --table=care_table1 --scale=paper --runs=/shared/studies --jobs=slurm -- \
        --partition=gpu --time=24:00:00
    launch/table.sh --config=configs/care.py:cifar10 --over=seed=0,1,2 --workdir=runs/sweep --jobs=slurm

  --table=, --scale=, --runs=, --data=, --seeds=, --only=, --settings=
                                                            as python -m eqssl_jax.tables takes them
  --config=, --config.NAME=, --over=, --workdir=, --by=     as python -m eqssl_jax.sweep takes them
  --jobs=local:N   N processes on this machine; each takes the next run that nobody works on (local:1)
  --jobs=slurm     one SLURM job for each missing run, on one GPU unless launch/slurm.sh is told
                   otherwise; and one after them that makes the table. DIR is on a shared disk
  --one_gpu_each   of the local processes, I sees GPU I alone
  --logs=DIR       of the local processes (DIR of --runs, logs/; logs/ here where that is a bucket)
  --dry_run        print what would run (with slurm, the plan is read, which trains nothing)

Started again, it goes on where it was. Exit status with local: 0 with the table; 75 if stopped by
SIGTERM or SIGINT, which go to all processes; else that of python -m eqssl_jax.tables.
END
}

parse() {
    one_gpu_each=false jobs=local:1 logs='' runs='' table='' sweep='' arguments=() slurm=()
    while (($#)); do
        case $1 in
            --table=*) table=${1#*=} && arguments+=("$1") ;;
            --runs=*) runs=${1#*=} && arguments+=("$1") ;;
            --config=*) sweep=${1#*=} && arguments+=("$1") ;;
            --workdir=*) runs=${1#*=} && arguments+=("$1") ;;
            --config.* | --over=* | --by=*) arguments+=("$1") ;;
            --over) (($# > 1)) || misused "--over needs NAME=VALUE,VALUE." && arguments+=("$1=$2") && shift ;;
            --scale=* | --data=* | --seeds=* | --only=* | --settings=*) arguments+=("$1") ;;
            --jobs=*) jobs=${1#*=} ;;
            --one_gpu_each) one_gpu_each=true ;;
            --logs=*) logs=${1#*=} ;;
            --dry_run) DRY_RUN=true ;;
            -h | --help) usage && exit 0 ;;
            --) shift && slurm=("$@") && break ;;
            *) misused "$1 is no flag of launch/table.sh; those of launch/slurm.sh come after --." ;;
        esac
        shift
    done
    [[ -z $table || -z $sweep ]] || misused "--table=$table is a study and --config=$sweep a sweep: give one of them."
    [[ -n $table || -n $sweep ]] ||
        misused "--table=NAME is missing (python -m eqssl_jax.tables lists them), or --config=FILE of a sweep."
    [[ -n $runs ]] || misused "--runs=DIR is missing (of a sweep, --workdir=DIR): the folder that holds the runs."
    [[ $runs != *://* ]] || logs=${logs:-logs} # in a bucket: here
    logs=${logs:-$runs/logs}
    command=(python -m "eqssl_jax.$([[ -n $sweep ]] && echo sweep || echo tables)" "${arguments[@]}")
}

# All processes share the runs of DIR by locks. What is left when they have ended (a run whose
# process was killed) is made by the last call, which makes the table too.
locally() {
    local count=$1 i pids=() ended=0 stopped=false
    is_number "$count" --jobs=local: 1
    if [[ $DRY_RUN == true ]]; then
        for ((i = 0; i < count; i++)); do
            if $one_gpu_each; then printf 'CUDA_VISIBLE_DEVICES=%s ' "$i"; fi
            echo "$(quoted "${command[@]}") >$logs/$i.log &"
        done
        echo wait && quoted "${command[@]}" && return
    fi
    mkdir -p "$logs"
    trap 'stopped=true; kill "${pids[@]}" 2>/dev/null || true' TERM INT HUP
    for ((i = 0; i < count; i++)); do
        if $one_gpu_each; then export CUDA_VISIBLE_DEVICES=$i; fi
        "${command[@]}" >"$logs/$i.log" 2>&1 </dev/null &
        pids+=($!)
    done
    echo "$count processes work on $runs; their output is in $logs."
    for i in "${!pids[@]}"; do
        while kill -0 "${pids[i]}" 2>/dev/null; do wait "${pids[i]}" || true; done # a signal ends wait
        ended=0
        wait "${pids[i]}" || ended=$?
        ((ended == 0)) || echo "Process $i ended with status $ended: $logs/$i.log" >&2
        ((ended != 75)) || stopped=true
    done
    if $stopped; then return 75; fi
    exec "${command[@]}"
}

on_slurm() {
    local plan line words ids='' found
    plan=$("${command[@]}" --plan) || return
    while read -r line; do
        # A line of the plan that is a command, quoted for a shell by the program that prints it.
        [[ $line == "${command[*]:0:3} "* ]] || continue
        eval "words=($line)"
        found=$(submit "${words[@]}") || return
        echo "$found"
        ids+=:${found%%;*}
    done <<<"$plan"
    if [[ $DRY_RUN == true ]]; then ids=${ids:+:ID…}; fi
    # afterany: a run that failed is tried once more there, and says why.
    if [[ -n $ids ]]; then slurm+=("--dependency=afterany$ids"); fi
    submit "${command[@]}"
}

submit() {
    local flags=(--parsable ${slurm[@]+"${slurm[@]}"})
    if [[ $DRY_RUN == true ]]; then flags+=(--dry_run); fi
    "$ROOT/launch/slurm.sh" "${flags[@]}" -- "$@"
}

parse "$@"
installed python "Activate the environment that has eqssl_jax."
case $jobs in
    local:*) locally "${jobs#local:}" ;;
    slurm) on_slurm ;;
    *) misused "--jobs=$jobs is neither local:N nor slurm." ;;
esac
