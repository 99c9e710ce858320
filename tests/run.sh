#!/usr/bin/env bash
# Runs every test on a fresh machine: installs a software Vulkan driver where no adapter is found, and a C++ compiler
# where there is none, and makes a missing adapter a failure. Needs a Rust toolchain; installs on Debian and Ubuntu only.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=()
if ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1; then packages+=(mesa-vulkan-drivers); fi
# The fuzz targets' engine is written in C++.
if ! command -v c++ >/dev/null; then packages+=(g++); fi
if [ ${#packages[@]} != 0 ] && command -v apt-get >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq "${packages[@]}"
fi
# Every combination of the library's features builds.
for features in "" gpu nn plot linear gpu,nn gpu,plot nn,plot nn,linear gpu,linear gpu,nn,plot; do
    cargo check --quiet -p maxmargin --no-default-features --features "$features" --locked
done
# So do the fuzz targets.
cargo build --workspace --all-features --bins --locked
export MAXMARGIN_GPU=require
cargo test --workspace --all-features --locked "$@"
tests/python.sh
