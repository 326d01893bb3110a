#!/usr/bin/env bash
# A pod on one machine: N processes with K virtual CPU devices each, connected over loopback.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

usage() {
    cat <<'END'
launch/local_processes.sh N [FLAGS] -- COMMAND…

Starts COMMAND N times on this machine, as the processes of one distributed run on CPU. To each are
appended --coordinator=127.0.0.1:PORT --processes=N --process=I --coordinator_timeout=SECONDS.

    launch/local_processes.sh 2 --devices=2 -- python -m eqssl_jax.main \
        --config=configs/care.py:shapes --workdir=runs/care

  --devices=K             virtual CPU devices of each process (1)
  --logs=DIR              output in DIR/process-I.log (a new folder in TMPDIR); also shown, with [I]
  --port=PORT             of the coordinator (a free one)
  --coordinator_timeout=S seconds that processes wait for each other at the start (60)
  --grace=S               seconds between a failure and SIGTERM to the others, and between SIGTERM
                          and SIGKILL (120)
  --dry_run               print what would run

SIGTERM, or Ctrl-C, is SIGTERM for all processes: they save and stop. A second one kills them.
Nothing is left behind.
Exit status: 0 if all finished; 75 if all that did not were saved and stopped, so that the same
command goes on; else that of the first process to fail otherwise.
END
}

# Below the ports that the system gives to outgoing connections, so that none takes it meanwhile.
free_port() {
    local port
    for _ in {1..200}; do
        port=$((20000 + RANDOM % 10000))
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port" && return; }
    done
    fail "No free port was found between 20000 and 29999: give one with --port=PORT."
}

parse() {
    count='' devices=1 logs='' port='' coordinator_timeout=60 grace=120 command=()
    while (($#)); do
        case $1 in
            --devices=*) devices=${1#*=} ;;
            --logs=*) logs=${1#*=} ;;
            --port=*) port=${1#*=} ;;
            --coordinator_timeout=*) coordinator_timeout=${1#*=} ;;
            --grace=*) grace=${1#*=} ;;
            --dry_run) DRY_RUN=true ;;
            -h | --help) usage && exit 0 ;;
            --) shift && command=("$@") && break ;;
            [0-9]*) count=$1 ;;
            *) usage >&2 && misused "$1 is not known here; the command to run comes after --." ;;
        esac
        shift
    done
    [[ -n $count ]] || misused "The number of processes is missing: launch/local_processes.sh N -- COMMAND…"
    ((${#command[@]})) || misused "The command is missing: launch/local_processes.sh $count -- COMMAND…"
    is_number "$count" N 1
    is_number "$devices" --devices 1
    is_number "$coordinator_timeout" --coordinator_timeout 1
    is_number "$grace" --grace
    [[ -z $port ]] || is_number "$port" --port 1
}

# The command line of process I. Where setpriv is there (Linux), the end of this script, however it
# comes, is a SIGTERM for the processes.
command_of() {
    words=(env JAX_PLATFORMS=cpu PYTHONUNBUFFERED=1
        "XLA_FLAGS=${XLA_FLAGS:+$XLA_FLAGS }--xla_force_host_platform_device_count=$devices"
        "${command[@]}" "--coordinator=127.0.0.1:$port" "--processes=$count" "--process=$1"
        "--coordinator_timeout=$coordinator_timeout")
    if command -v setpriv >/dev/null; then words=(setpriv --pdeathsig TERM "${words[@]}"); fi
}

start() {
    local i
    for ((i = 0; i < count; i++)); do
        command_of "$i"
        : >"$logs/process-$i.log"
        "${words[@]}" >>"$logs/process-$i.log" 2>&1 </dev/null &
        pids[i]=$!
        running[i]=true
        # The file is the record; what is shown only follows it, and ends with the process.
        tail --pid="${pids[i]}" -s 0.2 -n +1 -f "$logs/process-$i.log" | sed -u "s/^/[$i] /" &
        shown[i]=$!
    done
}

# signal NAME: to the groups of the processes that run, and so to their children too.
signal() {
    local i
    for i in "${!running[@]}"; do kill "-$1" -- "-${pids[i]}" 2>/dev/null || true; done
}

# Forget the processes that ended; keep the status of the first that failed, other than with 75:
# the others save and stop with 75 because of it.
reap() {
    local i ended
    for i in "${!running[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null && continue
        ended=0
        wait "${pids[i]}" || ended=$?
        unset "running[i]"
        kill -KILL -- "-${pids[i]}" 2>/dev/null || true # children that outlived it
        ((ended == 0)) && continue
        failed+=("process $i ended with status $ended (log: $logs/process-$i.log)")
        if ((status == 0 || status == 75)); then status=$ended; fi
    done
}

# Wait for all. A request to stop comes by signal, or when the grace after a failure is over: the
# first one is SIGTERM for the processes, the next one, or the end of the grace, kills.
supervise() {
    local deadline='' stopping=0
    while ((${#running[@]})); do
        sleep 0.1
        reap
        if [[ -z $deadline && $status != 0 ]]; then deadline=$((SECONDS + grace)); fi
        if [[ -n $deadline ]] && ((SECONDS >= deadline)); then asked=$((asked + 1)); fi
        ((asked > stopping)) || continue
        if ((stopping == 0)); then signal TERM; else signal KILL; fi
        stopping=$((stopping + 1)) deadline=$((SECONDS + grace))
    done
}

parse "$@"
port=${port:-$(free_port)}
if [[ $DRY_RUN == true ]]; then
    for ((i = 0; i < count; i++)); do command_of "$i" && quoted "${words[@]}"; done
    exit 0
fi
logs=${logs:-$(mktemp -d "${TMPDIR:-/tmp}/eqssl_jax.XXXXXX")}
mkdir -p "$logs"
echo "Logs of the processes: $logs" >&2
pids=() running=() shown=() failed=() status=0 asked=0
trap 'asked=$((asked + 1))' TERM HUP INT # Ctrl-C too: a process of several saves on SIGTERM alone
set -m # each process leads a group of its own, which can be signalled as a whole
start
supervise
wait "${shown[@]}" || true
((${#failed[@]})) && printf '%s\n' "${failed[@]}" >&2
exit "$status"
