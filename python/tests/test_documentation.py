"""Examples in the documentation, and types."""

from __future__ import annotations

import doctest
import importlib
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import need

PYTHON = pathlib.Path(__file__).parent.parent


def test_the_readmes_examples():
    result = doctest.testfile(str(PYTHON / "README.md"), module_relative=False)
    assert result.attempted > 15 and result.failed == 0


@pytest.mark.parametrize("name", ["_evaluate", "_losses", "_networks", "_linear", "torch", "torchmetrics", "sklearn", "jax", "keras", "dask"])
def test_the_examples_of_a_module(name):
    if not name.startswith("_"):
        need(name)
    result = doctest.testmod(importlib.import_module(f"maxmargin.{name}"))
    assert result.failed == 0 and (result.attempted > 0 or name == "_losses")


def test_the_package_has_its_example_and_its_version():
    import maxmargin

    assert doctest.testmod(maxmargin) == (0, 3)
    assert maxmargin.__version__.count(".") == 2


def mypy(tmp_path, *arguments):
    """Runs a module of mypy on the package that is imported here, installed or not."""
    import maxmargin

    need("mypy")
    parent = pathlib.Path(maxmargin.__file__).parents[1]
    environment = dict(os.environ)
    if parent.name != "site-packages":
        environment["MYPYPATH"] = str(parent)
    command = [sys.executable, "-m", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_stub_is_what_the_native_part_has(tmp_path):
    mypy(tmp_path, "mypy.stubtest", "maxmargin._maxmargin", "--mypy-config-file", str(PYTHON / "pyproject.toml"))


def test_types(tmp_path):
    mypy(tmp_path, "mypy", "--config-file", str(PYTHON / "pyproject.toml"), "-p", "maxmargin")
