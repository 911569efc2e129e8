#!/bin/sh
# `make check`: everything that can be judged without running the product. Runs all, then says what failed.
set -u
cd "$(dirname "$0")/.."
failed=""
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

step() {
    name=$1; shift
    printf '== %s\n' "$name"
    "$@" || failed="$failed $name"
}

stubs_unchanged() {
    mkdir -p "$scratch/protos" && deploy/protos.sh "$scratch" || return 1
    for file in "$scratch"/protos/*_pb2*; do diff -u "protos/$(basename "$file")" "$file" || return 1; done
}

step ruff .venv/bin/ruff check .
step format .venv/bin/ruff format --check .
step mypy .venv/bin/mypy
step imports .venv/bin/lint-imports --no-cache
step protos stubs_unchanged
step generated .venv/bin/python -m deploy.generate --check
step migrations .venv/bin/python -m deploy.generate migrations
step deployment .venv/bin/python -m deploy.generate deployment

[ -z "$failed" ] && { echo "all checks passed"; exit 0; }
echo "failed:$failed"
exit 1
