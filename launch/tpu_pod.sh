#!/usr/bin/env bash
# A Cloud TPU slice: create, set up, run, watch, resume, delete; spot capacity is started again.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/shared.sh
source "$ROOT/launch/shared.sh"
# shellcheck source=launch/tpu_recovery.sh
source "$ROOT/launch/tpu_recovery.sh"

usage() {
    cat <<'END'
launch/tpu_pod.sh ACTION [FLAGS] [-- FLAGS OF eqssl_jax.main]

  create   the slice, and wait until it is ready
  setup    send a commit of this repository to every worker and install it
  run      start python -m eqssl_jax.main on every worker, detached
  status   of every worker's process
  logs     the end of a worker's log
  stop     SIGTERM on every worker: save and stop
  resume   bring the run back from whatever state it is in: create, set up and run as needed
  watch    resume, again and again until the run has finished; for spot capacity
  delete   the slice, with all that is on its disks

    launch/tpu_pod.sh watch --queued --spot --bucket=my-runs -- --config=configs/care.py:imagenet100

  --name=, --zone=, --type=, --version=   of the slice; or TPU_NAME, TPU_ZONE, TPU_TYPE (v5litepod-64)
                       and TPU_VERSION (v2-alpha-tpuv5-lite) in the environment
  --bucket=            or TPU_BUCKET: the run lies in gs://BUCKET/NAME, where no --workdir is given
  --project=           or TPU_PROJECT; without it, the project of gcloud's configuration
  --queued             through queued resources: wait in the queue for capacity
  --spot               capacity that may be taken away
  --create_flag=FLAG   one more flag of gcloud's create, e.g. --service-account=…; may be repeated
  --commit=COMMIT      what setup sends (HEAD)
  --worker=I|all       whose logs (0)    --lines=N  how many (50)    --follow  and what comes
  --grace=S            seconds until SIGKILL in stop; in watch, that the other workers have once one
                       has failed (300)
  --poll=S             seconds between two looks (30)
  --retries=N          starts in a row that watch tries, and looks without an answer (20)
  --settled=S          seconds after which a start has gone well, and counting begins anew (3600)
  --backoff=S          pause before a further start, doubled each time up to 32 times (30)
  --dry_run            print what would run; of several ways, the one from nothing

Exit status of watch: 0 when the run has finished, else the status it failed with (1, 2), or 75 when
it gave up. Killing watch leaves the run alone.
END
}

parse() {
    ACTION=${1:-} NAME=${TPU_NAME:-} ZONE=${TPU_ZONE:-} TYPE=${TPU_TYPE:-} VERSION=${TPU_VERSION:-}
    PROJECT=${TPU_PROJECT:-} QUEUED=false SPOT=false CREATE=() COMMIT=HEAD WORKER=0 LINES_SHOWN=50
    BUCKET=${TPU_BUCKET:-} FOLLOW='' GRACE=300 POLL=30 RETRIES=20 BACKOFF=30 SETTLED=3600 MAIN=()
    (($#)) && shift
    while (($#)); do
        case $1 in
            --name=*) NAME=${1#*=} ;;
            --zone=*) ZONE=${1#*=} ;;
            --type=*) TYPE=${1#*=} ;;
            --version=*) VERSION=${1#*=} ;;
            --bucket=*) BUCKET=${1#*=} ;;
            --project=*) PROJECT=${1#*=} ;;
            --queued) QUEUED=true ;;
            --spot) SPOT=true ;;
            --create_flag=*) CREATE+=("${1#*=}") ;;
            --commit=*) COMMIT=${1#*=} ;;
            --worker=*) WORKER=${1#*=} ;;
            --lines=*) LINES_SHOWN=${1#*=} ;;
            --follow) FOLLOW=--follow ;;
            --grace=*) GRACE=${1#*=} ;;
            --poll=*) POLL=${1#*=} ;;
            --retries=*) RETRIES=${1#*=} ;;
            --backoff=*) BACKOFF=${1#*=} ;;
            --settled=*) SETTLED=${1#*=} ;;
            --dry_run) DRY_RUN=true ;;
            -h | --help) usage && exit 0 ;;
            --) shift && MAIN=("$@") && break ;;
            *) misused "$1 is no flag of launch/tpu_pod.sh; flags of eqssl_jax.main come after --." ;;
        esac
        shift
    done
}

check() {
    needed "$NAME" --name TPU_NAME "the name of the slice"
    needed "$ZONE" --zone TPU_ZONE "the zone of the slice, e.g. us-west4-a"
    case $ACTION in
        create | resume | watch)
            needed "$TYPE" --type TPU_TYPE "the accelerator type, e.g. v5litepod-64"
            needed "$VERSION" --version TPU_VERSION "the software version, e.g. v2-alpha-tpuv5-lite"
            ;;
    esac
    local flag number commit
    for flag in lines:LINES_SHOWN grace:GRACE poll:POLL retries:RETRIES backoff:BACKOFF \
        settled:SETTLED; do
        number=${flag#*:}
        is_number "${!number}" "--${flag%:*}"
    done
    case $ACTION in run | resume | watch) check_main ;; esac
    # Found once, so that a slice that is made again weeks later gets the same code.
    case $ACTION in setup | resume | watch)
        commit=$(git -C "$ROOT" rev-parse --verify --quiet "$COMMIT^{commit}") ||
            misused "--commit=$COMMIT is no commit of $ROOT."
        COMMIT=$commit
        ;;
    esac
    installed gcloud "Install the Google Cloud CLI and log in: gcloud auth login."
}

# Every worker must reach the folder of the run; the disk of a worker is not shared, and goes with it.
check_main() {
    local flag given=false
    for flag in ${MAIN[@]+"${MAIN[@]}"}; do
        case $flag in --workdir=/* | --workdir=gs://?*) return ;; --workdir*) given=true ;; esac
    done
    BUCKET=${BUCKET#gs://}
    if ! $given && ((${#MAIN[@]})) && [[ -n $BUCKET ]]; then
        MAIN+=("--workdir=gs://${BUCKET%/}/$NAME") && return
    fi
    misused "$ACTION needs the flags of eqssl_jax.main after --, and a place for the run that all workers" \
        "reach: --bucket=BUCKET (or TPU_BUCKET; the run is gs://BUCKET/NAME), or among those flags" \
        "--workdir=gs://BUCKET/RUN, or the absolute path of a disk that each of them has mounted" \
        "(--workdir=/mnt/runs/RUN). Found: ${MAIN[*]:-none}"
}

# --quiet: no question waits for an answer.
tpu() { execute gcloud compute tpus "$@" "--zone=$ZONE" ${PROJECT:+"--project=$PROJECT"} --quiet; }
remote() { tpu tpu-vm ssh "$NAME" "--worker=${2:-all}" "--command=$1"; }
worker() { remote "bash eqssl_jax/launch/worker.sh $(quoted "$@")"; }

create() {
    local flags=("--accelerator-type=$TYPE" ${CREATE[@]+"${CREATE[@]}"})
    if $SPOT; then flags+=(--spot); fi
    if $QUEUED; then
        tpu queued-resources create "$NAME" "--node-id=$NAME" "--runtime-version=$VERSION" "${flags[@]}"
    else
        tpu tpu-vm create "$NAME" "--version=$VERSION" "${flags[@]}"
    fi || return
    wait_until_ready
}

delete() {
    if $QUEUED; then
        tpu queued-resources delete "$NAME" --force # --force: with its TPU VMs
    else
        tpu tpu-vm delete "$NAME"
    fi
}

# A checkout with one commit, so that the run records which; secrets and what is not committed stay.
setup() {
    local folder
    folder=$(mktemp -d)
    if send "$folder"; then
        rm -rf "$folder"
    else
        rm -rf "$folder"
        return 1
    fi
}

send() {
    execute git -c init.defaultBranch=main init --quiet "$1/eqssl_jax" &&
        execute git -C "$1/eqssl_jax" fetch --quiet --depth=1 "file://$ROOT" "$COMMIT" &&
        execute git -C "$1/eqssl_jax" checkout --quiet FETCH_HEAD &&
        execute tar -czf "$1/eqssl_jax.tar.gz" -C "$1" eqssl_jax &&
        tpu tpu-vm scp "$1/eqssl_jax.tar.gz" "$NAME:" --worker=all &&
        remote "set -e; if [ -e eqssl_jax ]; then bash eqssl_jax/launch/worker.sh idle; fi
rm -rf eqssl_jax; tar -xzf eqssl_jax.tar.gz; bash eqssl_jax/launch/worker.sh install tpu,cloud"
}

run() { worker start python -m eqssl_jax.main "${MAIN[@]}"; }
stop() { worker stop "$GRACE"; }
logs() { remote "bash eqssl_jax/launch/worker.sh log $LINES_SHOWN $FOLLOW" "${1:-$WORKER}"; }
status() { remote "if [ -e eqssl_jax ]; then bash eqssl_jax/launch/worker.sh status
else echo 'eqssl_jax: absent'; fi"; }

parse "$@"
case $ACTION in
    create | setup | run | status | logs | stop | resume | watch | delete) check && "$ACTION" ;;
    -h | --help) usage ;;
    *) usage >&2 && misused "${ACTION:-No action} is no action of launch/tpu_pod.sh." ;;
esac
