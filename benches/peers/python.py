"""Times the Python package beside the libraries that it stands in for, in one run and in turns:
python benches/peers/python.py [ROUNDS]

Needs the package (pip install ./python) and torch, torchmetrics, scikit-learn, jax and optax; what is not installed is left out.
Small batches, where overhead decides, are repeated 500 times in each round; large ones are warmed up, then timed once. Prints medians with quartiles, and theirs divided by
ours. Every library computes on all threads that it takes by default.
"""

import importlib.util
import statistics
import sys
import time

import numpy as np

import maxmargin as mm

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 21
rng = np.random.default_rng(1)
has = lambda name: importlib.util.find_spec(name) is not None


# An idle core of a virtual machine needs some 100 ms to reach full speed, and another library's threads keep cores busy for a
# while: each candidate runs for so long before the call that counts.
WARM_UP = 0.1


def once(call, repeats):
    if repeats == 1:
        until = time.perf_counter() + WARM_UP
        while time.perf_counter() < until:
            call()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def table(case, repeats, calls):
    """Times the calls in turns; ours is the first."""
    for call in calls.values():
        for _ in range(3):
            call()
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(once(call, repeats))
    ours = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"| {case} | {name} | {median * 1e6:.1f} ({low * 1e6:.1f} to {high * 1e6:.1f}) | {median / ours:.2f} |", flush=True)


def torch_losses():
    import torch

    import maxmargin.torch as ours

    def step(loss, scores, *rest):
        def run():
            scores.grad = None
            loss(scores, *rest).backward()

        return run

    for rows, columns, repeats in ((64, 10, 500), (32 << 10, 64, 1)):
        scores = torch.tensor(rng.normal(size=(rows, columns)), dtype=torch.float32, requires_grad=True)
        classes = torch.tensor(rng.integers(0, columns, rows))
        labels = torch.full((rows, columns), -1)
        labels[:, 0], labels[:, 1] = classes, (classes + 1) % columns
        signs = torch.tensor(rng.choice([-1.0, 1.0], (rows, columns)), dtype=torch.float32)
        vectors = torch.tensor(rng.normal(size=(3, rows, columns)), dtype=torch.float32)
        for name, arrays in (
            ("MultiMarginLoss", (classes,)),
            ("MultiLabelMarginLoss", (labels,)),
            ("HingeEmbeddingLoss", (signs,)),
            ("SoftMarginLoss", (signs,)),
            ("MarginRankingLoss", (vectors[0], signs)),
            ("CosineEmbeddingLoss", (vectors[1], signs[:, 0])),
            ("TripletMarginLoss", (vectors[1], vectors[2])),
        ):
            calls = {
                "maxmargin": step(getattr(ours, name)(), scores, *arrays),
                f"torch {torch.__version__}": step(getattr(torch.nn, name)(), scores, *arrays),
            }
            table(f"torch {name}, {rows} x {columns}, forward and backward", repeats, calls)


def torchmetrics_updates():
    import torch
    import torchmetrics

    import maxmargin.torchmetrics as ours

    for samples, repeats in ((640, 200), (1 << 20, 1)):
        preds, target = torch.tensor(rng.random(samples), dtype=torch.float32), torch.tensor(rng.integers(0, 2, samples))
        metrics = {"maxmargin": ours.BinaryHingeLoss(), f"torchmetrics {torchmetrics.__version__}": torchmetrics.classification.BinaryHingeLoss()}
        table(f"BinaryHingeLoss.update, {samples}", repeats, {name: lambda m=m: m.update(preds, target) for name, m in metrics.items()})
    preds, target = torch.tensor(rng.normal(size=(1 << 14, 64)), dtype=torch.float32), torch.tensor(rng.integers(0, 64, 1 << 14))
    metrics = {"maxmargin": ours.MulticlassHingeLoss(64), "torchmetrics": torchmetrics.classification.MulticlassHingeLoss(64)}
    table("MulticlassHingeLoss.update, 16384 x 64, logits", 1, {name: lambda m=m: m.update(preds, target) for name, m in metrics.items()})


def sklearn_functions():
    import sklearn
    from sklearn import metrics, svm
    from sklearn.datasets import make_classification

    from maxmargin import sklearn as ours

    name = f"scikit-learn {sklearn.__version__}"
    for samples, repeats in ((640, 100), (1 << 20, 1)):
        y, decisions = rng.integers(0, 2, samples), rng.normal(size=samples)
        calls = {"maxmargin": lambda: ours.hinge_loss(y, decisions), name: lambda: metrics.hinge_loss(y, decisions)}
        table(f"hinge_loss, {samples}", repeats, calls)
    x, y = make_classification(20_000, 100, n_informative=30, flip_y=0.05, random_state=0)
    calls = {
        "maxmargin MaxMarginClassifier, gap 1e-4 certified": lambda: ours.MaxMarginClassifier(loss="hinge", C=0.01).fit(x, y),
        f"{name} LinearSVC, tol 1e-4": lambda: svm.LinearSVC(loss="hinge", C=0.01, max_iter=100_000).fit(x, y),
    }
    table("fit, 20000 x 100, hinge", 1, calls)


def jax_losses():
    import jax
    import jax.numpy as jnp
    import optax

    import maxmargin.jax as ours

    for rows, columns, repeats in ((64, 10, 500), (32 << 10, 64, 1)):
        scores, classes = jnp.asarray(rng.normal(size=(rows, columns)), jnp.float32), jnp.asarray(rng.integers(0, columns, rows))
        functions = {
            "maxmargin": lambda s: ours.max_margin_loss(mm.CrammerSinger(kink="half", ties="split"), s, classes),
            f"optax {optax.__version__}, jax {jax.__version__}": lambda s: optax.losses.multiclass_hinge_loss(s, classes).mean(),
        }
        calls = {}
        for name, function in functions.items():
            compiled = jax.jit(jax.value_and_grad(function))
            calls[name] = lambda compiled=compiled: jax.block_until_ready(compiled(scores))
        table(f"multiclass hinge, jit, value and gradient, {rows} x {columns}", repeats, calls)


print("| case | who | microseconds (quartiles) | divided by ours |\n|---|---|---|---|")
for library, run in (
    ("torch", torch_losses),
    ("torchmetrics", torchmetrics_updates),
    ("sklearn", sklearn_functions),
    ("optax", jax_losses),
):
    if has(library):
        run()
    else:
        print(f"| {library} | not installed | | |")
