#!/bin/bash
# Installs the Debian packages (12 or 13) that Heddle is built from, and only those that are missing.
#   cmake/install-dependencies.sh        what building, testing and measuring needs
#   cmake/install-dependencies.sh --ci   also what .ci/run checks the source with
set -euo pipefail

packages=(g++ cmake ninja-build pkg-config ccache
  libdnnl-dev              # oneDNN
  libopenblas0-openmp      # opened at run time, so no headers; the pthread build is refused
  libhwy-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev
  catch2 libbenchmark-dev)
if [[ ${1:-} == --ci ]]; then
  # Format and analysis depend on the version of the tool: .ci/check-format says 14, which only Debian 12 has, and
  # .ci/check-tidy says 19, which both have; its OpenMP header comes apart.
  packages+=(git clang-tidy-19 libomp-19-dev)
  [[ $(. /etc/os-release && echo "$VERSION_ID") != 12 ]] || packages+=(clang-format-14)
fi

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "install as root: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
