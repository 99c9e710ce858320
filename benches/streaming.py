"""eval of files larger than memory against a plain read of them: python benches/streaming.py [GIB [ROUNDS [FOLDER]]]

Build first: cargo build --release. Makes two .npy files of GIB/2 each (8 in all), f32 scores and labels, and in turns reads them
block by block with nothing done, and evaluates the binary hinge: with the files in the page cache, and after they were dropped
from it, so that they come from the disk. Needs numpy.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

PROGRAM = pathlib.Path(__file__).parents[1] / "target" / "release" / "maxmargin"
GIB = float(sys.argv[1]) if len(sys.argv) > 1 else 8
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
BLOCK = 4 << 20


def make(folder):
    n = int(GIB * (1 << 30)) // 8
    random = np.random.default_rng(1)
    part = min(n, 1 << 24)
    for name, values in [("s.npy", random.uniform(-2, 2, part)), ("t.npy", random.choice([-1, 1], part))]:
        file = np.lib.format.open_memmap(folder / name, "w+", np.float32, (n,))
        for start in range(0, n, part):
            file[start:start + part] = values[: min(part, n - start)]
        file.flush()


def drop(folder):
    for name in ("s.npy", "t.npy"):
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain(folder):
    block = bytearray(BLOCK)
    started = time.perf_counter()
    for name in ("s.npy", "t.npy"):
        with open(folder / name, "rb", buffering=0) as file:
            while file.readinto(block):
                pass
    return time.perf_counter() - started


def evaluated(folder):
    command = [PROGRAM, "eval", "binary", "--scores", "s.npy", "--targets", "t.npy", "--device", "cpu", "--json"]
    started = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, cwd=folder).stdout
    seconds = time.perf_counter() - started
    return seconds, json.loads(output)["peak_memory_bytes"]


with tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as name:
    folder = pathlib.Path(name)
    make(folder)
    print("| files | plain read, s | eval, s | plain over eval | peak memory, MiB |\n|---|---|---|---|---|")
    for kind in ("in the page cache", "from disk"):
        reads, evals, peaks = [], [], []
        plain(folder)
        for _ in range(ROUNDS):
            for work in (lambda: reads.append(plain(folder)), lambda: evals.append(evaluated(folder))):
                if kind == "from disk":
                    drop(folder)
                work()
        peaks = [peak for _, peak in evals]
        evals = [seconds for seconds, _ in evals]
        show = lambda times: f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
        ratio = statistics.median(reads) / statistics.median(evals)
        print(f"| {kind} | {show(reads)} | {show(evals)} | {ratio:.2f} | {max(peaks) >> 20} |", flush=True)
