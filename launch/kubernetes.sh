#!/usr/bin/env bash
# A run on Kubernetes, as a JobSet: GPUs, TPU slices of GKE, or CPUs.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/shared.sh
source "$ROOT/launch/shared.sh"

usage() {
    cat <<'END'
launch/kubernetes.sh ACTION --name=NAME [FLAGS] [-- COMMAND…]

  render   print the JobSet          run      apply it: kubectl apply -f -
  status   of the JobSet and pods    logs     of its pods
  resume   apply it again after it failed; nothing if it runs or has finished
  delete   the JobSet with its pods; what is on the volume stays

    launch/kubernetes.sh run --name=care --image=$IMAGE --processes=2 --gpus=8 --volume=runs -- \
        python -m eqssl_jax.main --config=configs/care.py:imagenet100 --workdir=/runs/care
    launch/kubernetes.sh run --name=care --image=$IMAGE --processes=4 --tpus=4 \
        --select=cloud.google.com/gke-tpu-accelerator=tpu-v5-lite-podslice \
        --select=cloud.google.com/gke-tpu-topology=4x4 --volume=runs -- \
        python -m eqssl_jax.main --config=configs/care.py:imagenet100 --workdir=/runs/care

  --image=              with eqssl_jax installed, run in its checkout; or EQSSL_JAX_IMAGE
  --processes=N         pods, one process each (1)
  --gpus=K | --tpus=K   accelerators of each pod (none: its CPUs)
  --select=LABEL=VALUE  nodes with this label; may be repeated: the kind of GPU, the TPU's topology, spot
  --volume=CLAIM        a persistent volume claim (ReadWriteMany), at /runs
  --service_account=    whose rights the pods have, e.g. to read a bucket (default)
  --namespace=          without it, the one of kubectl's context
  --retries=N           times that all pods are started again (20)
  --grace=S             seconds between SIGTERM and SIGKILL (120)
  --coordinator_timeout=S  seconds that the first pods wait for nodes for the last (1800)
  --process=I           whose logs (all)    --lines=N how many (50)    --follow and what comes
  --dry_run             print what would run

Needs JobSet 0.6 or newer in the cluster. Names and rights come from your kubectl context.
END
}

parse() {
    ACTION=${1:-} NAME='' IMAGE=${EQSSL_JAX_IMAGE:-} PROCESSES=1 RESOURCE='' CHIPS=0 SELECT=() VOLUME=''
    SERVICE_ACCOUNT=default RETRIES=20 GRACE=120 PORT=55527 TIMEOUT=1800 PROCESS='' LINES_SHOWN=50 FOLLOW=()
    KUBECTL=(kubectl) COMMAND=()
    (($#)) && shift
    while (($#)); do
        case $1 in
            --name=*) NAME=${1#*=} ;;
            --image=*) IMAGE=${1#*=} ;;
            --processes=*) PROCESSES=${1#*=} ;;
            --gpus=*) RESOURCE=nvidia.com/gpu CHIPS=${1#*=} ;;
            --tpus=*) RESOURCE=google.com/tpu CHIPS=${1#*=} ;;
            --select=*=*) SELECT+=("${1#*=}") ;;
            --volume=*) VOLUME=${1#*=} ;;
            --service_account=*) SERVICE_ACCOUNT=${1#*=} ;;
            --namespace=*) KUBECTL+=("--namespace=${1#*=}") ;;
            --retries=*) RETRIES=${1#*=} ;;
            --grace=*) GRACE=${1#*=} ;;
            --coordinator_timeout=*) TIMEOUT=${1#*=} ;;
            --process=*) PROCESS=${1#*=} ;;
            --lines=*) LINES_SHOWN=${1#*=} ;;
            --follow) FOLLOW=(--follow) ;;
            --dry_run) DRY_RUN=true ;;
            -h | --help) usage && exit 0 ;;
            --) shift && COMMAND=("$@") && break ;;
            *) misused "$1 is no flag of launch/kubernetes.sh; the command to run comes after --." ;;
        esac
        shift
    done
}

check() {
    # Pods are named NAME-process-0-0, a DNS label of at most 63 characters.
    [[ $NAME =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
        misused "--name=$NAME is no name: lower case letters, digits and dashes, at most 40."
    is_number "$PROCESSES" --processes 1
    is_number "$CHIPS" "--gpus or --tpus"
    is_number "$RETRIES" --retries
    is_number "$GRACE" --grace
    is_number "$TIMEOUT" --coordinator_timeout 1
    is_number "$LINES_SHOWN" --lines
    case $ACTION in render | run | resume) check_command ;; esac
    [[ $ACTION == render ]] || installed kubectl "Install it, and choose a cluster: kubectl config use-context."
}

check_command() {
    needed "$IMAGE" --image EQSSL_JAX_IMAGE "the image that has eqssl_jax installed"
    ((${#COMMAND[@]})) || misused "The command is missing: launch/kubernetes.sh $ACTION … -- COMMAND…"
    local word
    for word in "${COMMAND[@]}"; do
        case $word in
            --workdir=gs://?*) return ;;
            --workdir=/runs/?*) [[ -n $VOLUME ]] && return ;;&
            --workdir=*) misused "$word is lost with its pod: give a folder on a volume that all pods" \
                "share (--volume=CLAIM --workdir=/runs/RUN), or a bucket (--workdir=gs://BUCKET/RUN)." ;;
        esac
    done
}

# A string of JSON, and so of YAML.
string() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    printf '"%s"' "${text//$'\n'/\\n}"
}

# list [WORD…]
list() {
    local word out=''
    for word in "$@"; do out+=", $(string "$word")"; done
    echo "[${out#, }]"
}

# What a pod runs. On TPU slices of GKE jax finds the other processes by itself; elsewhere by flags.
# exec: SIGTERM then reaches the process, and its exit status is the pod's.
command_in_pod() {
    local opening="\$(" words # which Kubernetes would take for the begin of a variable's name
    words=("${COMMAND[@]//"$opening"/"\$$opening"}")
    if [[ $RESOURCE == google.com/tpu ]]; then list "${words[@]}" && return; fi
    # shellcheck disable=SC2016
    list bash -c 'exec "$@" --process="$JOB_COMPLETION_INDEX"' process "${words[@]}" \
        "--coordinator=$NAME-process-0-0.$NAME:$PORT" "--processes=$PROCESSES" "--coordinator_timeout=$TIMEOUT"
}

render() {
    local text command selector='' limits='{}' tolerations='[]' mounts='' volumes='' pair
    for pair in ${SELECT[@]+"${SELECT[@]}"}; do
        selector+=", $(string "${pair%%=*}"): $(string "${pair#*=}")"
    done
    if ((CHIPS > 0)); then
        limits="{$RESOURCE: $CHIPS}"
        tolerations="[{key: $RESOURCE, operator: Exists, effect: NoSchedule}]"
    fi
    if [[ $RESOURCE == nvidia.com/gpu ]]; then # NCCL talks between GPUs of a pod through it
        volumes+=', {name: shm, emptyDir: {medium: Memory}}' mounts+=', {name: shm, mountPath: /dev/shm}'
    fi
    if [[ -n $VOLUME ]]; then
        volumes+=", {name: runs, persistentVolumeClaim: {claimName: $(string "$VOLUME")}}"
        mounts+=', {name: runs, mountPath: /runs}'
    fi
    command=$(command_in_pod)
    text=$(<"$ROOT/launch/jobset.yaml.template")
    for pair in "NAME=$NAME" "RETRIES=$RETRIES" "PROCESSES=$PROCESSES" "GRACE=$GRACE" "PORT=$PORT" \
        "SERVICE_ACCOUNT=$(string "$SERVICE_ACCOUNT")" "NODE_SELECTOR={${selector#, }}" \
        "TOLERATIONS=$tolerations" "IMAGE=$(string "$IMAGE")" "LIMITS=$limits" \
        "MOUNTS=[${mounts#, }]" "VOLUMES=[${volumes#, }]" "COMMAND=$command"; do
        text=${text//"@${pair%%=*}@"/"${pair#*=}"}
    done
    printf '%s\n' "$text"
}

run() {
    if [[ $DRY_RUN == true ]]; then quoted "${KUBECTL[@]}" apply -f - && render && return; fi
    render | "${KUBECTL[@]}" apply -f -
}

resume() {
    if [[ $DRY_RUN == true ]]; then delete && run && return; fi
    local state
    # Empty while it runs; none where there is no such JobSet.
    state=$("${KUBECTL[@]}" get jobset "$NAME" --ignore-not-found \
        '--output=jsonpath={.metadata.name}={.status.terminalState}')
    case $state in
        "$NAME=") echo "$NAME runs." ;;
        "$NAME=Completed") echo "$NAME has finished." ;;
        *) delete && run ;;
    esac
}

status() {
    execute "${KUBECTL[@]}" get jobset "$NAME"
    execute "${KUBECTL[@]}" get pods "--selector=jobset.sigs.k8s.io/jobset-name=$NAME" --output=wide
}

logs() {
    local selector=jobset.sigs.k8s.io/jobset-name=$NAME
    if [[ -n $PROCESS ]]; then selector+=,batch.kubernetes.io/job-completion-index=$PROCESS; fi
    execute "${KUBECTL[@]}" logs "--selector=$selector" --prefix "--tail=$LINES_SHOWN" \
        "--max-log-requests=$PROCESSES" ${FOLLOW[@]+"${FOLLOW[@]}"}
}

delete() { execute "${KUBECTL[@]}" delete jobset "$NAME" --ignore-not-found --wait; }

parse "$@"
case $ACTION in
    render | run | status | logs | resume | delete) check && "$ACTION" ;;
    -h | --help) usage ;;
    *) usage >&2 && misused "${ACTION:-No action} is no action of launch/kubernetes.sh." ;;
esac
