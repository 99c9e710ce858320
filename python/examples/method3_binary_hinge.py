"""Method 3: the binary hinge of scores with labels of 0 and 1. torchmetrics's lines, and ours below them: 0.9000.

`from maxmargin.torchmetrics import HingeLoss` in the first line of the original is the third way.
"""

from beside import beside

import maxmargin as mm

target, preds = [0, 1, 1], [0.5, 0.7, 0.1]


def original():
    from torch import tensor
    from torchmetrics import HingeLoss

    hinge = HingeLoss(task="binary")
    print(f"  {hinge(tensor(preds), tensor(target)):.4f}")


def ours():
    hinge = mm.BinaryHinge(labels="zero-one")
    print(f"  {mm.evaluate(hinge, preds, target).value:.4f}")


if __name__ == "__main__":
    beside(original, ours)
