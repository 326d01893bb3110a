# shellcheck shell=bash
# What the launchers share: how they complain, and how a dry run prints what it would do. Sourced.

DRY_RUN=false

complain() { printf '\nError: %s\n' "$*" | fold -s -w 100 >&2; }

# A setting, a file or a machine is at fault (exit status 1); the command line is (2).
fail() { complain "$@" && exit 1; }
misused() { complain "$@" && exit 2; }

# A command line that can be pasted into a shell: only the words that need quotes have them.
quoted() {
    local word line=''
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_@%+=:,./~-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
        line+="$word "
    done
    printf '%s\n' "${line% }"
}

# Run a command; in a dry run print it.
execute() {
    if [[ $DRY_RUN == true ]]; then quoted "$@"; else "$@"; fi
}

# needed VALUE FLAG VARIABLE WHAT: one paragraph with the fix where a setting is missing.
needed() {
    [[ -n $1 ]] && return
    misused "$2 is missing: $4. Give $2=…, or set the environment variable $3 once: export $3=…"
}

# is_number VALUE FLAG [LEAST]
is_number() {
    [[ $1 =~ ^[0-9]+$ && $1 -ge ${3:-0} ]] && return
    misused "$2=$1 is no whole number of at least ${3:-0}."
}

# installed PROGRAM FIX
installed() {
    [[ $DRY_RUN == true ]] || command -v "$1" >/dev/null && return
    fail "$1 is not in PATH. $2"
}
