#!/usr/bin/env bash
# Builds the Python package and tests it in a virtual environment of its own, target/python. torch, torchmetrics and Keras take
# 6 GB: they are installed, and their absence is a failure, only with MAXMARGIN_PEERS=require.
set -euo pipefail
cd "$(dirname "$0")/.."
# It compiles for an interpreter without a lock as well; there is none here to run it.
PYO3_CONFIG_FILE=$PWD/python/tests/free_threaded.config CARGO_TARGET_DIR=target/free-threaded \
    cargo check --quiet -p maxmargin-python --locked
environment=target/python
python=python3
if ! "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v apt-get >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq python3 python3-venv
    python=/usr/bin/python3
fi
[ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
packages=(pytest 'mypy>=1.15' ml_dtypes 'scikit-learn>=1.6' pandas 'jax>=0.6' optax 'dask[dataframe,distributed]' 'ray[data]' safetensors)
if [ "${MAXMARGIN_PEERS:-}" = require ]; then
    packages+=(torch torchmetrics expecttest matplotlib 'keras>=3.5')
fi
"$environment/bin/pip" install --quiet --upgrade pip
"$environment/bin/pip" install --quiet "${packages[@]}"
"$environment/bin/pip" install --quiet --force-reinstall --no-deps ./python
# Outside python/, so that the installed package is tested and not its folder.
"$environment/bin/python" -m pytest python/tests --config-file python/pyproject.toml --rootdir python -p no:cacheprovider "$@"
