#!/bin/sh
# Generates the Python stubs and their types from protos/*.proto, into the directory given (default: this checkout).
set -eu
cd "$(dirname "$0")/.."
out=${1:-.}
.venv/bin/python -m grpc_tools.protoc -I. --python_out="$out" --grpc_python_out="$out" \
    --plugin=protoc-gen-mypy=.venv/bin/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=.venv/bin/protoc-gen-mypy_grpc \
    --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" protos/fleet.proto
