"""What all tests share."""

from __future__ import annotations

import importlib
import os
import types

import numpy as np
import pytest

# Keras imports TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "jax")

#: The switch that makes a missing library a failure: MAXMARGIN_PEERS=require.
REQUIRES_PEERS = os.environ.get("MAXMARGIN_PEERS") == "require"


def need(*names: str) -> types.ModuleType:
    """The first module; where one of them is not installed its tests are skipped, or fail by the switch."""
    if REQUIRES_PEERS:
        return [importlib.import_module(name) for name in names][0]
    return [pytest.importorskip(name) for name in names][0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)
