"""Method 5: the binary hinge as a streaming metric. torchmetrics's lines, and ours below them, on the same ten batches.

`python method5_streaming.py [PLOT.png]` draws the ten values.
"""

import sys

import numpy as np
from beside import beside

import maxmargin as mm

rng = np.random.default_rng(0)
batches = [(rng.random(10, np.float32), rng.integers(0, 2, 10)) for _ in range(10)]


def original():
    from torch import tensor
    from torchmetrics.classification import BinaryHingeLoss

    metric = BinaryHingeLoss()
    values = [metric(tensor(preds), tensor(target)).item() for preds, target in batches]
    print("  " + ", ".join(f"{value:.4f}" for value in values))
    print(f"  all: {metric.compute().item():.4f}")


def ours():
    metric = mm.Metric(mm.BinaryHinge(labels="zero-one"))
    values = [metric.forward(preds, target)[0].value for preds, target in batches]
    print("  " + ", ".join(f"{value:.4f}" for value in values))
    print(f"  all: {metric.compute().value:.4f}")
    if len(sys.argv) > 1:
        draw(values, sys.argv[1])


def draw(values, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.plot(values, marker="o")
    pyplot.xlabel("batch")
    pyplot.ylabel("hinge loss")
    pyplot.savefig(path)


if __name__ == "__main__":
    beside(original, ours)
