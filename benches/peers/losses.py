"""Times our losses and those of other libraries (peers) in turns over the same arrays:
python benches/peers/losses.py [SAMPLES [ROUNDS]]

Build first: cargo build --release --examples. Our side is a separate process (side.rs) that holds the arrays and evaluates
when asked; the peers run in this process. Everyone is warmed up. Prints medians with quartiles, and every median divided by ours.
`fresh` allocates a new gradient per call, as the peers do; `into` writes into the same memory again, as a training loop does.
MAXMARGIN_BENCH_DEVICE names our device and TORCH_DEVICE torch's; both default to cpu. jax uses its own default. Arrays and
gradients stay on the device. A peer that is not installed is left out; so is a table in which it would be the only peer.
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

SIDE = pathlib.Path(__file__).parents[2] / "target" / "release" / "examples" / "peers_side"
SAMPLES = int(sys.argv[1]) if len(sys.argv) > 1 else 32 << 20
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 21
DEVICE = os.environ.get("MAXMARGIN_BENCH_DEVICE", "cpu")
TORCH_DEVICE = os.environ.get("TORCH_DEVICE", "cpu")
has = lambda name: importlib.util.find_spec(name) is not None
random = np.random.default_rng(1)


# Thread pools keep cores busy for a while after their work (OpenMP: 200 ms), hence PAUSE. Then each candidate runs for WARM_UP
# seconds before the call that is timed, because an idle core of a virtual machine needs some 100 ms to reach full speed. On a
# GPU no pause and a short warm-up suffice.
PAUSE, WARM_UP = (0.3, 0.15) if DEVICE == "cpu" else (0.0, 0.03)
# The modes in which our gradient is timed.
GRADIENT_MODES = ["fresh", "into"] if DEVICE == "cpu" else ["fresh"]


def awake(call):
    """Calls until the warm-up is over, then once more; returns what that call returns."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    call()
    while time.perf_counter() - started < WARM_UP:
        call()
    return call()


def seconds(call):
    def timed():
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return awake(timed)


def ours(folder, loss, scores, targets, modes):
    """Starts one process per mode: forward, fresh (a new gradient per call), into (one memory used again)."""
    names = {"forward": "maxmargin", "fresh": "maxmargin, fresh vector", "into": "maxmargin, memory used again"}
    if DEVICE != "cpu":
        names["fresh"] = "maxmargin"

    # numpy requests large pages, which are faster to read. This makes glibc (2.35 or later) request them for our arrays.
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}

    def start(mode):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1, "env": environment}
        side = subprocess.Popen([SIDE, loss, folder / scores, folder / targets, mode, DEVICE], **pipes)

        def ask():
            side.stdin.write("\n")
            return float(side.stdout.readline())

        return lambda: awake(ask)

    return {names[mode]: start(mode) for mode in modes}


def waits(call):
    """A torch call that returns when the device has finished."""
    import torch

    def run():
        call()
        if TORCH_DEVICE != "cpu":
            torch.cuda.synchronize()
    return run


def torch_runs(loss, leaf=None):
    """The forward pass, or forward and backward if `leaf` is given; each eager and compiled."""
    import torch

    def run(loss):
        def forward():
            with torch.no_grad():
                loss()

        def backward():
            leaf.grad = None
            loss().backward()
        return waits(forward if leaf is None else backward)

    return {f"torch {torch.__version__} eager": run(loss), f"torch {torch.__version__} compiled": run(torch.compile(loss))}


def binary(folder):
    s = random.uniform(-2, 2, SAMPLES).astype(np.float32)
    t = random.choice(np.array([-1, 1], np.float32), SAMPLES)
    np.save(folder / "s.npy", s), np.save(folder / "t.npy", t)
    runs = ours(folder, "binary", "s.npy", "t.npy", ["forward"])
    peers = {"numpy": lambda: np.maximum(1 - s * t, 0).mean()} if DEVICE == "cpu" else {}
    if has("torch"):
        import torch

        x, y = torch.from_numpy(s).to(TORCH_DEVICE), torch.from_numpy(t).to(TORCH_DEVICE)
        peers |= torch_runs(lambda: torch.clamp(1 - x * y, min=0).mean())
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
        x01, y01 = x01.to(TORCH_DEVICE), y01.to(TORCH_DEVICE)
        peers["torchmetrics"] = waits(lambda: binary_hinge_loss(x01, y01, validate_args=False))
    if has("sklearn") and DEVICE == "cpu":
        import sklearn.metrics

        peers["scikit-learn"] = lambda: sklearn.metrics.hinge_loss(t, s)
    table(f"binary hinge, {SAMPLES} samples, forward", runs, peers)


def binary_gradient(folder):
    s, t = np.load(folder / "s.npy"), np.load(folder / "t.npy")
    peers = {}
    if has("torch"):
        import torch

        x, y = torch.from_numpy(s).to(TORCH_DEVICE).requires_grad_(), torch.from_numpy(t).to(TORCH_DEVICE)
        peers |= torch_runs(lambda: torch.clamp(1 - x * y, min=0).mean(), x)
    if has("optax"):
        import jax
        import optax

        a, b = jax.numpy.asarray(s), jax.numpy.asarray(t)
        f = jax.jit(jax.value_and_grad(lambda a, b: optax.losses.hinge_loss(a, b).mean()))
        peers[f"jax.jit of optax {optax.__version__}"] = lambda: jax.block_until_ready(f(a, b))
    table(f"binary hinge, {SAMPLES} samples, forward and gradient", ours(folder, "binary", "s.npy", "t.npy", GRADIENT_MODES), peers)


def rows(folder, gradient):
    n, c = SAMPLES // 128, 64
    s = random.uniform(-2, 2, (n, c)).astype(np.float32)
    t = random.integers(0, c, n)
    np.save(folder / "r.npy", s), np.save(folder / "c.npy", t)
    modes = GRADIENT_MODES if gradient else ["forward"]
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
        table(f"Crammer-Singer, {n} x {c}, {kind}", ours(folder, "crammer-singer", "r.npy", "c.npy", modes), peers)
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

        table(f"Weston-Watkins, {n} x {c}, {kind}", ours(folder, "weston-watkins", "r.npy", "c.npy", modes),
              {f"torch {torch.__version__} MultiMarginLoss": waits(backward if gradient else forward)})


def lovasz(folder, gradient):
    """Lists of 512 x 512 items, an image each. torch has no Lovasz hinge: its side is written from the definition."""
    if not has("torch"):
        return
    import torch

    items = 512 * 512
    lists = max(SAMPLES // 8 // items, 1)
    s = random.uniform(-2, 2, (lists, items)).astype(np.float32)
    t = random.choice(np.array([-1, 1], np.float32), (lists, items), p=[0.8, 0.2])
    np.save(folder / "l.npy", s), np.save(folder / "p.npy", t)
    x, y = torch.from_numpy(s).to(TORCH_DEVICE).requires_grad_(), torch.from_numpy(t).to(TORCH_DEVICE)

    def loss():
        errors, order = (1 - x * y).sort(dim=1, descending=True)
        positive = (y > 0).float().gather(1, order)
        positives = positive.sum(1, keepdim=True)
        jaccard = 1 - (positives - positive.cumsum(1)) / (positives + (1 - positive).cumsum(1))
        return (errors.relu() * jaccard.diff(dim=1, prepend=torch.zeros_like(positives))).sum(1).mean()

    modes, kind = (GRADIENT_MODES, "forward and gradient") if gradient else (["forward"], "forward")
    peers = torch_runs(loss, x if gradient else None)
    table(f"Lovasz hinge, {lists} x {items}, {kind}", ours(folder, "lovasz", "l.npy", "p.npy", modes), peers)


def table(title, runs, peers):
    for call in runs.values():
        call()
    for name, call in list(peers.items()):
        try:
            call()
        except Exception as error:
            # A peer that fails, torch.compile for instance, is left out of this table; the others are still timed.
            print(f"\n{name} is left out of the next table: {type(error).__name__}", flush=True)
            del peers[name]
    times = {name: [] for name in [*runs, *peers]}
    for round in range(ROUNDS):
        for name, call in runs.items():
            times[name].append(call())
        for name, call in peers.items():
            # A peer that takes a second or more is timed in three rounds.
            if round < 3 or times[name][0] < 1:
                times[name].append(seconds(call))
    medians = [statistics.median(times[name]) for name in runs]
    print(f"\n{title}\n\n| who | median ms | quartiles | over ours |\n|---|---|---|---|")
    for name, found in times.items():
        first, middle, third = statistics.quantiles(found, n=4)
        factors = ", ".join(f"{middle / median:.2f}" for median in medians)
        print(f"| {name} | {middle * 1e3:.3f} | {first * 1e3:.3f} to {third * 1e3:.3f} | {factors} |", flush=True)


with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    binary(place)
    binary_gradient(place)
    rows(place, False)
    rows(place, True)
    lovasz(place, False)
    lovasz(place, True)
