# shellcheck shell=bash
# The state of a slice and of its run, and how the run comes back. Sourced by tpu_pod.sh, whose
# settings and actions it uses.

# describe GROUP FORMAT: the state there, or MISSING; fails if gcloud cannot tell.
describe() {
    local found errors
    errors=$(mktemp)
    if found=$(tpu "$1" describe "$NAME" "--format=$2" 2>"$errors"); then
        echo "$found"
    elif grep -qi 'not.\?found' "$errors"; then
        echo MISSING
    else
        cat "$errors" >&2
        rm "$errors"
        return 1
    fi
    rm "$errors"
}

# missing, waiting, ready, or lost: taken away or failed, and to be deleted before it is made anew.
state() {
    local queue=ACTIVE node
    if $QUEUED; then queue=$(describe queued-resources 'value(state.state)') || return; fi
    case $queue in
        MISSING) echo missing && return ;;
        FAILED | SUSPENDING | SUSPENDED) echo lost && return ;;
        ACTIVE) ;;
        *) echo waiting && return ;;
    esac
    node=$(describe tpu-vm 'value(state)') || return
    case $node in
        READY) echo ready ;;
        MISSING) if $QUEUED; then echo lost; else echo missing; fi ;;
        PREEMPTED | TERMINATED | STOPPED | UNKNOWN) echo lost ;;
        *) echo waiting ;;
    esac
}

wait_until_ready() {
    [[ $DRY_RUN == false ]] || { echo "# wait until it is ready" && return; }
    local found
    while found=$(state) && [[ $found == waiting ]]; do sleep "$POLL"; done
    [[ $found == ready ]] || { complain "$NAME is ${found:-in no known state}, not ready." && return 1; }
}

# What the workers' processes say together: running, failing (some run on), finished, again, or the
# status of an error that would only repeat itself. Again is what saved and stopped (75), is lost, or
# was killed by a signal (more than 128). Beside an error 75 and 134 say nothing: so end the processes
# that lose another by it.
verdict() {
    local line said=false running=false again=false lost=false aborted=false error=''
    while read -r line; do
        [[ $line == "eqssl_jax: "* ]] || continue
        said=true
        case ${line##* } in
            running) running=true ;;
            0) ;;
            134) aborted=true ;;
            75) again=true ;;
            lost | absent | 129 | 13? | 1[4-9]? | 2??) lost=true ;;
            *) error=${error:-${line##* }} ;;
        esac
    done
    if $running; then
        if $again || $lost || $aborted || [[ -n $error ]]; then echo failing; else echo running; fi
    elif $lost; then
        echo again
    elif [[ -n $error ]]; then # the others end with 75 or 134 because of it
        echo "$error"
    elif $again || $aborted; then
        echo again
    elif $said; then
        echo finished
    else
        return 1
    fi
}

resume() {
    if [[ $DRY_RUN == true ]]; then create && setup && run && return; fi
    local found processes
    found=$(state) || return
    case $found in
        lost) delete && create || return ;;
        missing) create || return ;;
        *) wait_until_ready || return ;;
    esac
    processes=$(status) || return
    found=$(verdict <<<"$processes") || return
    case $found in running | finished) return ;; esac
    if [[ $processes == *absent* ]]; then
        stop 2>/dev/null || true # where it does run
        setup || return
    else
        stop || return
    fi
    run
}

# What to do about the run: what `verdict` says, lost, or unknown if nobody answers.
look() {
    local found processes
    if ! found=$(state); then
        echo unknown
    elif [[ $found != ready ]]; then
        echo lost
    elif ! processes=$(status) || ! verdict <<<"$processes"; then
        echo unknown
    fi
}

watch() {
    if [[ $DRY_RUN == true ]]; then resume && echo "# look every $POLL s; resume when lost" && return; fi
    local found starts=0 since=$SECONDS failing='' silent=0
    while :; do
        found=$(look)
        if [[ $found != failing ]]; then failing=''; fi
        if [[ $found != unknown ]]; then silent=0; fi
        case $found in
            running) ;;
            finished) echo "$NAME: finished." && return ;;
            failing)
                failing=${failing:-$SECONDS}
                if ((SECONDS - failing >= GRACE)); then stop || true; fi
                ;;
            unknown)
                silent=$((silent + 1))
                ((silent <= RETRIES)) || give_up "it does not answer" || return
                ;;
            lost | again)
                if ((SECONDS - since >= SETTLED)); then starts=0; fi
                starts=$((starts + 1))
                ((starts <= RETRIES)) || give_up "$RETRIES starts in a row did not last" || return
                pause "$found" "$starts"
                resume || true
                since=$SECONDS
                ;;
            *)
                logs all || true
                complain "The run on $NAME failed with status $found; started again, it would again."
                return "$found"
                ;;
        esac
        sleep "$POLL"
    done
}

give_up() { complain "$NAME: given up, since $1. The same command goes on." && return 75; }

# Before the second start in a row, and each further one.
pause() {
    local seconds=0
    if (($2 > 1)); then seconds=$((BACKOFF << ($2 < 7 ? $2 - 2 : 5))); fi
    echo "$NAME: $1; start $2 in $seconds s."
    sleep "$seconds"
}
