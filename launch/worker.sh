#!/usr/bin/env bash
# One machine of a TPU pod: installs, starts, watches and stops its process. tpu_pod.sh calls it.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "${BASH_SOURCE[0]}")/shared.sh"

CODE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$HOME/eqssl_jax_venv
STATE=$HOME/.eqssl_jax # pid, status and log of the process; boot: since when

usage() {
    cat <<'END'
launch/worker.sh ACTION, on a machine of a TPU pod (launch/tpu_pod.sh calls it there):

  install EXTRAS         this checkout with its extras (tpu,cloud) into ~/eqssl_jax_venv
  start COMMAND…         detached, with ~/eqssl_jax_venv first in PATH; output to ~/.eqssl_jax/log
  status                 "eqssl_jax: running", "ended STATUS", "lost" (killed, or the machine was
                         started again) or "absent" (never started here)
  idle                   exit status 1 if it runs
  stop SECONDS           SIGTERM, so that it saves; SIGKILL after SECONDS
  log LINES [--follow]   the end of the log
  --dry_run ACTION…      print what install or start would run
END
}

boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || true; }

# After the machine was started again, another process may have the number.
alive() {
    [[ -s $STATE/pid && $(<"$STATE/boot") == "$(boot)" ]] && kill -0 "$(<"$STATE/pid")" 2>/dev/null
}

status() {
    if [[ -s $STATE/status ]]; then
        echo "eqssl_jax: ended $(<"$STATE/status")"
    elif alive; then
        echo "eqssl_jax: running"
    elif [[ -e $STATE/pid ]]; then
        echo "eqssl_jax: lost"
    else
        echo "eqssl_jax: absent"
    fi
}

idle() {
    ! alive || fail "A run is in progress on $(hostname): stop it first (launch/tpu_pod.sh stop)."
}

# The Python of TPU images (Ubuntu 22.04: 3.10) is too old for jax; uv brings one that is not.
install() {
    export PATH=$HOME/.local/bin:$PATH
    if ! command -v uv >/dev/null; then
        execute env PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet uv
    fi
    execute rm -rf "$VENV"
    execute uv venv --quiet --python 3.12 "$VENV"
    execute uv pip install --quiet --python "$VENV/bin/python" -e "${CODE}[$1]"
}

start() {
    idle
    local begin=(setsid nohup bash "$CODE/launch/worker.sh" supervise "$@")
    [[ $DRY_RUN == false ]] || { quoted "${begin[@]}" && return; }
    mkdir -p "$STATE"
    boot >"$STATE/boot"
    rm -f "$STATE/status" "$STATE/pid"
    cd "$CODE"
    PATH=$VENV/bin:$PATH "${begin[@]}" >>"$STATE/log" 2>&1 </dev/null &
    for _ in {1..50}; do [[ -s $STATE/pid ]] || sleep 0.1; done
    [[ -s $STATE/pid ]] || fail "The process did not start on $(hostname): see $STATE/log there."
    echo "eqssl_jax: started on $(hostname), pid $(<"$STATE/pid")"
}

# Outlives the connection that started it, and SIGTERM of a machine that is taken away, so as to
# write down how the process ended.
supervise() {
    trap ':' TERM HUP
    local child ended=0
    printf '\n%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(quoted "$@")"
    "$@" &
    child=$!
    echo "$child" >"$STATE/pid"
    while alive; do wait "$child" || true; done # wait returns on every signal
    wait "$child" || ended=$?
    echo "$ended" >"$STATE/status"
}

stop() {
    local deadline=$((SECONDS + $1))
    alive || return 0
    kill -TERM "$(<"$STATE/pid")"
    while alive && ((SECONDS < deadline)); do sleep 0.2; done
    ! alive || kill -KILL "$(<"$STATE/pid")"
    for _ in {1..50}; do [[ -s $STATE/status ]] || sleep 0.1; done
    status
}

log() {
    [[ -e $STATE/log ]] || fail "There is no log on $(hostname): nothing was started there."
    tail -n "$1" ${2:+-F} "$STATE/log"
}

if [[ ${1:-} == --dry_run ]]; then DRY_RUN=true && shift; fi
action=${1:-}
case $action in
    install | start | supervise | status | idle | stop | log) shift && "$action" "$@" ;;
    -h | --help) usage ;;
    *) usage >&2 && misused "$action is no action of launch/worker.sh." ;;
esac
