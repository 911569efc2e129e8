#!/bin/sh
# Makes .venv and installs one of the hash-locked sets into it: pod, controlplane or dev. Does nothing when it is there already.
set -eu
cd "$(dirname "$0")/.."
set_name=${1:?usage: deploy/setup.sh pod|controlplane|dev}
lock=deploy/locks/$set_name.txt

say() { printf '%s\n' "$*" >&2; }

usable() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; }

# Distributions build Python with profile and link-time optimisation, version managers mostly without: 1.6 times as slow,
# and nothing that an interpreter says of itself tells the two apart.
milliseconds() {
    "$1" -S -c '
import time
def spin():
    began = time.process_time()
    for number in range(150_000):
        {number: str(number)}
    return time.process_time() - began
print(max(1, round(min(spin() for _ in range(5)) * 1000)))'
}

faster() { [ $(($(milliseconds "$1") * 5)) -lt $(($(milliseconds "$2") * 4)) ]; }

if [ ! -x .venv/bin/python ] || ! usable .venv/bin/python; then
    python=
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && usable "$candidate"; then python=$candidate; break; fi
    done
    system=/usr/bin/python3
    if [ -z "${PYTHON:-}" ] && [ -n "$python" ] && [ -x $system ] && usable $system && $system -c 'import ensurepip' 2>/dev/null && faster $system "$python"; then
        say "using $system: it is much faster than the $python on PATH (PYTHON=… chooses another)"
        python=$system
    fi
    [ -n "$python" ] || { say "Python 3.11 or newer is needed and none was found on PATH. Install it, or name one: make PYTHON=/path/to/python3 ..."; exit 1; }
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            say "installing python3-venv"
            apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q python3-venv >/dev/null
        else
            say "Python's venv module is not complete. As root: apt-get install python3-venv"; exit 1
        fi
    fi
    rm -rf .venv
    "$python" -m venv .venv
fi

fingerprint() { cat "$lock" | .venv/bin/python -c 'import hashlib,sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }
stamp=.venv/.installed-$set_name
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$(fingerprint)" ]; then
    say "installing $lock into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock"
    fingerprint > "$stamp"
fi
.venv/bin/python -m compileall -q dataplane protos || true  # or the first start compiles, which takes as long again
