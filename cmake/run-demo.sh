#!/bin/bash
# Builds the `heddle` command and trains a small network with it. Options go to the command: --device trn1
set -euo pipefail
cd "$(dirname "$0")/.."
cmake/install-dependencies.sh
cmake -G Ninja -B build -S . -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build build --target heddle_cli
exec build/bin/heddle train "$@"
