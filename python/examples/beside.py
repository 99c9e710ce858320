"""Runs an example's two versions: the tutorial's own lines, where the libraries that they need are installed, and ours."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "torch")


def beside(original: Callable[[], object], ours: Callable[[], object]) -> None:
    """Prints what both print, and says where the original cannot run."""
    print("original")
    try:
        original()
    except ImportError as error:
        print(f"  not run: {error}")
    print("maxmargin")
    ours()
