#!/usr/bin/env bash
# Runs every test on a fresh machine: installs a software Vulkan driver where no adapter is found, and makes a missing
# adapter a failure. Needs a Rust toolchain; the driver is installed on Debian and Ubuntu only.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1 && command -v apt-get >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq mesa-vulkan-drivers
fi
# Every combination of the library's features builds.
for features in "" gpu nn plot gpu,nn gpu,plot nn,plot gpu,nn,plot; do
    cargo check --quiet -p maxmargin --no-default-features --features "$features" --locked
done
export MAXMARGIN_GPU=require
cargo test --workspace --all-features --locked "$@"
