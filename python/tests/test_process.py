"""Threads, forks, interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import maxmargin as mm


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def large():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40_000, 16)).astype(np.float32), rng.integers(0, 16, 40_000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_evaluates_fits_and_trains():
    result = run("""
        import os, sys, numpy as np, maxmargin as mm
        rng = np.random.default_rng(0)
        scores, classes = rng.normal(size=(40_000, 16)).astype(np.float32), rng.integers(0, 16, 40_000)

        def everything():
            value = mm.evaluate(mm.WestonWatkins(), scores, classes, score_kind="logit").value
            fit = mm.LinearClassifier(C=0.01).fit(scores[:2000], classes[:2000] % 2)
            network = mm.Sequential(16, [mm.Dense(4, "relu"), mm.Dense(16)])
            history = mm.Trainer(network, mm.WestonWatkins(), mm.SGD(0.01)).fit(scores[:500], classes[:500])
            return value, fit.model.relative_gap, history.history["loss"]

        expected = everything()
        assert mm.evaluate(mm.WestonWatkins(), scores, classes).value > 0
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if everything() == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
        print("done", mm.get_num_threads())
    """)
    assert result.stdout.startswith("done"), result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_gpu_from_before_a_fork_is_refused_with_words():
    if len(mm.devices()) < 2:
        pytest.skip("no adapter here")
    result = run("""
        import os, maxmargin as mm
        device = mm.Device("gpu:0")
        assert mm.evaluate(mm.BinaryHinge(), [0.5], [1], device=device).value == 0.5
        child = os.fork()
        if child == 0:
            refused = 0
            for wanted in (device, "gpu:0"):
                try:
                    mm.evaluate(mm.BinaryHinge(), [0.5], [1], device=wanted)
                except RuntimeError as error:
                    refused += "fork" in str(error)
            assert mm.evaluate(mm.BinaryHinge(), [0.5], [1]).value == 0.5
            os._exit(0 if refused == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
        print("done")
    """)
    assert result.stdout == "done\n", result.stderr


def test_threads_are_set_by_call_and_environment():
    before = mm.get_num_threads()
    scores, classes = large()
    values = set()
    for threads in (1, 2, 3, before):
        mm.set_num_threads(threads)
        assert mm.get_num_threads() == threads
        values.add(mm.evaluate(mm.WestonWatkins(), scores, classes).value)
    assert len(values) == 1
    assert run("import maxmargin; print(maxmargin.get_num_threads())", MAXMARGIN_THREADS="3").stdout == "3\n"


def test_two_threads_evaluate_at_once_and_the_interpreter_is_free():
    scores, classes = large()
    expected = mm.evaluate(mm.WestonWatkins(), scores, classes).value
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(lambda: mm.evaluate(mm.WestonWatkins(), scores, classes).value) for _ in range(20)]
        assert {future.result() for future in futures} == {expected}
    # A counter goes on while another thread fits.
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(20_000, 100)).astype(np.float32), rng.integers(0, 2, 20_000)
    counted = 0
    with ThreadPoolExecutor(1) as pool:
        fit = pool.submit(lambda: mm.LinearClassifier(gap=1e-6).fit(features, labels))
        while not fit.done():
            counted += 1
            time.sleep(0.001)
    assert counted > 20 and fit.result().end == "converged"


@pytest.mark.parametrize(
    "work",
    [
        "mm.LinearClassifier(gap=1e-15, max_passes=1e9, C=1e6).fit(x, y)",
        "mm.Trainer(mm.Sequential(60, [mm.Dense(64), mm.Dense(1)]), mm.BinaryHinge(labels='zero-one'), mm.SGD(1e-9))"
        ".fit(x, y, epochs=1_000_000)",
    ],
)
def test_an_interrupt_ends_long_work(work):
    script = f"""
        import numpy as np, maxmargin as mm, sys
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(20_000, 60)).astype(np.float32), rng.integers(0, 2, 20_000)
        print("ready", flush=True)
        try:
            {work}
        except KeyboardInterrupt:
            print("interrupted")
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    time.sleep(1.0)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert out == "interrupted\n", err


def test_the_import_is_light():
    """No library but numpy is imported, and the package itself in at most 50 ms."""
    result = run("""
        import sys, time, numpy
        started = time.perf_counter()
        import maxmargin
        seconds = time.perf_counter() - started
        heavy = {"torch", "sklearn", "jax", "keras", "torchmetrics", "scipy", "pandas"} & set(sys.modules)
        print(seconds, heavy)
    """)
    seconds, heavy = result.stdout.split(maxsplit=1)
    assert float(seconds) < 0.15 and heavy.strip() == "set()", result.stdout
