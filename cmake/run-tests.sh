#!/bin/bash
# Builds Heddle in build/ (Release, warnings are errors) and runs every test. Options go to CMake: -DHEDDLE_ONEDNN=OFF
set -euo pipefail
cd "$(dirname "$0")/.."
cmake/install-dependencies.sh
cmake -G Ninja -B build -S . -DCMAKE_BUILD_TYPE=Release -DHEDDLE_WERROR=ON "$@"
cmake --build build
ctest --test-dir build --output-on-failure --no-tests=error --parallel "$(nproc)"
