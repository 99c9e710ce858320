"""Method 4: the multiclass hinge three ways. torchmetrics's lines, and ours below them: 0.9125, 1.1131, [0.8750, 1.1250, 1.1000]."""

from beside import beside

import maxmargin as mm

preds = [[0.25, 0.20, 0.55], [0.55, 0.05, 0.40], [0.10, 0.30, 0.60], [0.90, 0.05, 0.05]]
target = [0, 1, 2, 0]


def original():
    from torch import tensor
    from torchmetrics.functional.classification import multiclass_hinge_loss

    p, t = tensor(preds), tensor(target)
    print(f"  {multiclass_hinge_loss(p, t, num_classes=3):.4f}")
    print(f"  {multiclass_hinge_loss(p, t, num_classes=3, squared=True):.4f}")
    classes = multiclass_hinge_loss(p, t, num_classes=3, multiclass_mode="one-vs-all")
    print("  " + ", ".join(f"{value:.4f}" for value in classes))


def ours():
    print(f"  {mm.evaluate(mm.CrammerSinger(), preds, target).value:.4f}")
    print(f"  {mm.evaluate(mm.CrammerSinger(penalty='squared'), preds, target).value:.4f}")
    classes = mm.evaluate(mm.OneVsAll(), preds, target, per_class=True).per_class
    print("  " + ", ".join(f"{value:.4f}" for value in classes))


if __name__ == "__main__":
    beside(original, ours)
