"""The tutorial's methods: ours print the known numbers, and the peers' where they are installed."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import need

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"

KNOWN = {
    "method1_circles": [],
    "method2_hinge_embedding": ["loss 1.0428, gradient at [0, 0] 0.0667, at [2, 3] 0.0667"],
    "method3_binary_hinge": ["0.9000"],
    "method4_multiclass_hinge": ["0.9125", "1.1131", "0.8750, 1.1250, 1.1000"],
    "method5_streaming": [],
}


@pytest.mark.parametrize("name", list(KNOWN))
def test_an_example_prints_its_numbers(name):
    if name == "method1_circles":
        need("sklearn")
    arguments = ["640"] if name == "method2_hinge_embedding" else []
    result = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    original, ours = result.stdout.split("maxmargin\n", 1)
    theirs = [line.strip() for line in original.splitlines()[1:]]
    lines = [line.strip() for line in ours.splitlines()]
    for number in KNOWN[name]:
        assert number in lines
    if theirs and theirs[0].startswith("not run"):
        need("torch", "torchmetrics", "keras")
        pytest.skip(theirs[0])
    pairs = list(zip(theirs, lines, strict=False))
    assert pairs
    for their_line, line in pairs:
        numbers = [[float(number) for number in re.findall(r"\d+\.\d+", text)] for text in (their_line, line)]
        # The last digit that is printed may be rounded either way.
        np.testing.assert_allclose(*numbers, atol=1.1e-3 if name.startswith(("method1", "method2")) else 1e-9)


def test_the_history_of_method_1_is_kerass():
    need("keras")
    need("torch")
    need("sklearn")
    script = """
import numpy as np, method1_circles as example
theirs, ours = example.original(), example.ours()
assert theirs.keys() == ours.keys()
print(max(np.abs(np.array(theirs[name]) - np.array(ours[name])).max() for name in ("loss", "val_loss")))
print(max(np.abs(np.array(theirs[name]) - np.array(ours[name])).max() for name in ("accuracy", "val_accuracy")))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=EXAMPLES, timeout=300)
    assert result.returncode == 0, result.stderr
    loss, accuracy = (float(line) for line in result.stdout.split()[-2:])
    assert loss <= 2e-5 and accuracy <= 0.002 + 1e-9, (loss, accuracy)


def test_the_examples_are_all_here():
    assert {path.stem for path in EXAMPLES.glob("method*.py")} == set(KNOWN)
    assert importlib.util.find_spec("maxmargin") is not None
