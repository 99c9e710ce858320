"""Examples in the documentation, and types."""

from __future__ import annotations

import doctest
import importlib
import pathlib
import subprocess
import sys

import pytest
from conftest import need

PYTHON = pathlib.Path(__file__).parent.parent


def test_the_readmes_examples():
    result = doctest.testfile(str(PYTHON / "README.md"), module_relative=False)
    assert result.attempted > 15 and result.failed == 0


@pytest.mark.parametrize("name", ["_evaluate", "_losses", "_networks", "_linear", "torch", "torchmetrics", "sklearn", "jax", "keras"])
def test_the_examples_of_a_module(name):
    if not name.startswith("_"):
        need(name)
    result = doctest.testmod(importlib.import_module(f"maxmargin.{name}"))
    assert result.failed == 0 and (result.attempted > 0 or name == "_losses")


def test_the_package_has_its_example_and_its_version():
    import maxmargin

    assert doctest.testmod(maxmargin) == (0, 3)
    assert maxmargin.__version__.count(".") == 2


def test_the_stub_is_what_the_native_part_has():
    need("mypy")
    command = ["-m", "mypy.stubtest", "maxmargin._maxmargin", "--mypy-config-file", "pyproject.toml"]
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=PYTHON)
    assert result.returncode == 0, result.stdout + result.stderr


def test_types():
    need("mypy")
    result = subprocess.run([sys.executable, "-m", "mypy", "-p", "maxmargin"], capture_output=True, text=True, cwd=PYTHON)
    assert result.returncode == 0, result.stdout + result.stderr
