"""Losses, ours and the peers' in turns over the same arrays: python benches/peers/losses.py [SAMPLES [ROUNDS]]

Build first: cargo build --release. Ours is what `maxmargin eval --json` gives as seconds of computing, without reading the
files; the peers are timed in this process after a warm-up. Medians with quartiles, and how many times as fast we are.
MAXMARGIN_BENCH_DEVICE names our device (cpu), TORCH_DEVICE torch's (cpu; cuda where there is one). A peer that is not
installed is left out.
"""

import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

PROGRAM = pathlib.Path(__file__).parents[2] / "target" / "release" / "maxmargin"
SAMPLES = int(sys.argv[1]) if len(sys.argv) > 1 else 32 << 20
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 21
DEVICE = os.environ.get("MAXMARGIN_BENCH_DEVICE", "cpu")
TORCH_DEVICE = os.environ.get("TORCH_DEVICE", "cpu")
has = lambda name: importlib.util.find_spec(name) is not None
random = np.random.default_rng(1)


def seconds(call):
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ours(arguments, folder):
    command = [PROGRAM, "eval", *arguments, "--device", DEVICE, "--json"]

    def run():
        output = subprocess.run(command, check=True, capture_output=True, cwd=folder).stdout
        return json.loads(output)["seconds"]["compute"]

    return run


def torch_runs(name, loss, compiled=True):
    """Forward, and forward with backward, eager and compiled."""
    import torch

    def waits(call):
        def run():
            call()
            if TORCH_DEVICE != "cpu":
                torch.cuda.synchronize()
        return run

    def forward(loss):
        def run():
            with torch.no_grad():
                loss()
        return run

    runs = {f"torch {torch.__version__} eager": forward(loss)}
    if compiled:
        runs[f"torch {torch.__version__} compiled"] = forward(torch.compile(loss))
    return {key: waits(run) for key, run in runs.items()}


def binary(folder):
    s = random.uniform(-2, 2, SAMPLES).astype(np.float32)
    t = random.choice(np.array([-1, 1], np.float32), SAMPLES)
    np.save(folder / "s.npy", s), np.save(folder / "t.npy", t)
    files = ["binary", "--scores", "s.npy", "--targets", "t.npy", "--labels", "plus-minus-one"]
    runs = {"maxmargin": ours(files, folder)}
    peers = {"numpy": lambda: np.maximum(1 - s * t, 0).mean()}
    if has("torch"):
        import torch

        x, y = torch.from_numpy(s).to(TORCH_DEVICE), torch.from_numpy(t).to(TORCH_DEVICE)
        peers |= torch_runs("binary", lambda: torch.clamp(1 - x * y, min=0).mean())
    if has("optax"):
        import jax
        import optax

        a, b = jax.numpy.asarray(s), jax.numpy.asarray(t)
        f = jax.jit(lambda a, b: optax.losses.hinge_loss(a, b).mean())
        peers[f"jax.jit of optax {optax.__version__}"] = lambda: f(a, b).block_until_ready()
    if has("torchmetrics"):
        import torch
        from torchmetrics.functional.classification import binary_hinge_loss

        x01, y01 = torch.from_numpy(s).sigmoid(), torch.from_numpy((t > 0).astype(np.int64))
        peers["torchmetrics"] = lambda: binary_hinge_loss(x01, y01, validate_args=False)
    table(f"binary hinge, {SAMPLES} samples, forward", runs, peers)


def binary_gradient(folder):
    s, t = np.load(folder / "s.npy"), np.load(folder / "t.npy")
    files = ["binary", "--scores", "s.npy", "--targets", "t.npy", "--labels", "plus-minus-one", "--grad-out", "g.npy"]
    peers = {}
    if has("torch"):
        import torch

        x, y = torch.from_numpy(s).to(TORCH_DEVICE).requires_grad_(), torch.from_numpy(t).to(TORCH_DEVICE)

        def eager():
            x.grad = None
            torch.clamp(1 - x * y, min=0).mean().backward()
        peers[f"torch {torch.__version__} eager"] = eager
    if has("optax"):
        import jax
        import optax

        a, b = jax.numpy.asarray(s), jax.numpy.asarray(t)
        f = jax.jit(jax.value_and_grad(lambda a, b: optax.losses.hinge_loss(a, b).mean()))
        peers[f"jax.jit of optax {optax.__version__}"] = lambda: jax.block_until_ready(f(a, b))
    table(f"binary hinge, {SAMPLES} samples, forward and gradient", {"maxmargin": ours(files, folder)}, peers)


def rows(folder, gradient):
    n, c = SAMPLES // 128, 64
    s = random.uniform(-2, 2, (n, c)).astype(np.float32)
    t = random.integers(0, c, n)
    np.save(folder / "r.npy", s), np.save(folder / "c.npy", t)
    files = ["multiclass", "--scores", "r.npy", "--targets", "c.npy"] + (["--grad-out", "g.npy"] if gradient else [])
    kind = "forward and gradient" if gradient else "forward"
    if has("jax"):
        import jax
        import jax.numpy as jnp

        a, b = jnp.asarray(s), jnp.asarray(t)

        def crammer_singer(a, b):
            true = jnp.take_along_axis(a, b[:, None], 1)[:, 0]
            rivals = jnp.where(jnp.arange(c) == b[:, None], -jnp.inf, a).max(1)
            return jnp.maximum(1 + rivals - true, 0).mean()

        f = jax.jit(jax.value_and_grad(crammer_singer) if gradient else crammer_singer)
        peers = {f"jax.jit {jax.__version__}": lambda: jax.block_until_ready(f(a, b))}
        table(f"Crammer-Singer, {n} x {c}, {kind}", {"maxmargin": ours(files, folder)}, peers)
    if has("torch"):
        import torch

        x, y = torch.from_numpy(s).to(TORCH_DEVICE), torch.from_numpy(t).to(TORCH_DEVICE)
        loss = torch.nn.MultiMarginLoss()

        def forward():
            with torch.no_grad():
                loss(x, y)

        def backward():
            leaf = x.detach().requires_grad_()
            loss(leaf, y).backward()

        method = ["--method", "weston-watkins", "--over-classes", "mean"]
        table(f"Weston-Watkins, {n} x {c}, {kind}", {"maxmargin": ours(files + method, folder)},
              {f"torch {torch.__version__} MultiMarginLoss": backward if gradient else forward})


def table(title, runs, peers):
    for call in [*runs.values(), *peers.values()]:
        call()
    times = {name: [] for name in [*runs, *peers]}
    for _ in range(ROUNDS):
        for name, call in runs.items():
            times[name].append(call())
        for name, call in peers.items():
            times[name].append(seconds(call))
    median = statistics.median(next(iter(times.values())))
    print(f"\n{title}\n\n| who | median ms | quartiles | we are faster by |\n|---|---|---|---|")
    for name, found in times.items():
        first, middle, third = statistics.quantiles(found, n=4)
        print(f"| {name} | {middle * 1e3:.2f} | {first * 1e3:.2f} to {third * 1e3:.2f} | {middle / median:.2f} |", flush=True)


with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    binary(place)
    binary_gradient(place)
    rows(place, False)
    rows(place, True)
