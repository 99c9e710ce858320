"""torchmetrics's hinge losses, computed by this package.

Subclasses of torchmetrics's own metrics with the same arguments, messages, states and conventions, so that Lightning, DDP,
MetricCollection, clone, pickle and plot work. As there, **the scores of a batch decide how they are read**: if any of them lies
outside [0, 1], sigmoid or softmax is applied to the whole batch. :class:`maxmargin.Metric` never guesses.

The state is f64 and i64, so it does not stall at 2^24 samples. Scores that need a gradient, and tensors that are not on the CPU,
are left to torchmetrics.

>>> import torch
>>> metric = BinaryHingeLoss()
>>> metric.update(torch.tensor([0.25, 0.25, 0.55, 0.75, 0.75]), torch.tensor([0, 0, 1, 1, 1]))
>>> metric.compute()
tensor(0.6900)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
import torchmetrics.classification as theirs
import torchmetrics.functional.classification as functional
from torch import Tensor
from torchmetrics.functional.classification.hinge import (
    _binary_hinge_loss_arg_validation,
    _binary_hinge_loss_tensor_validation,
    _multiclass_hinge_loss_arg_validation,
    _multiclass_hinge_loss_tensor_validation,
)
from torchmetrics.metric import Metric
from torchmetrics.utilities.enums import ClassificationTaskNoMultilabel

from ._errors import ElementTypeError, InputError
from ._evaluate import evaluate
from ._losses import BinaryHinge, CrammerSinger, Loss, OneVsAll

__all__ = [
    "BinaryHingeLoss",
    "HingeLoss",
    "MulticlassHingeLoss",
    "binary_hinge_loss",
    "hinge_loss",
    "multiclass_hinge_loss",
]

Mode = Literal["crammer-singer", "one-vs-all"]


def _loss(squared: bool, ignore_index: int | None, mode: Mode | None) -> Loss:
    penalty = "squared" if squared else "linear"
    if mode is None:
        return BinaryHinge(penalty=penalty, labels="zero-one", ignore_index=ignore_index)
    kind = CrammerSinger if mode == "crammer-singer" else OneVsAll
    return kind(penalty=penalty, ignore_index=ignore_index)


def _is_ours(preds: Any, target: Any) -> bool:
    """Tensors on the CPU that no gradient is asked of, with labels of whole numbers."""
    return (
        isinstance(preds, Tensor)
        and isinstance(target, Tensor)
        and preds.is_cpu
        and target.is_cpu
        and preds.is_floating_point()
        and not target.is_floating_point()
        and not (preds.requires_grad and torch.is_grad_enabled())
    )


def _sums(loss: Loss, preds: Tensor, target: Tensor) -> tuple[Tensor, int] | None:
    """The sum of the losses, or one sum per class, and the samples that were not ignored; None where torchmetrics has to say what
    is wrong."""
    classes = 1
    if loss.name != "binary":
        if preds.ndim != target.ndim + 1 or preds.shape[:1] + preds.shape[2:] != target.shape:
            return None
        classes = preds.shape[1]
        preds, target = preds.movedim(1, -1).reshape(-1, classes), target.reshape(-1)
    elif preds.shape != target.shape:
        return None
    try:
        result = evaluate(
            loss, preds, target, reduction="sum", per_class=loss.name == "one_vs_all", score_kind="guessed", device="cpu"
        )
    except (InputError, ElementTypeError):
        return None
    value = result.value if result.per_class is None else result.per_class
    return torch.tensor(value, dtype=torch.float64), result.count


class _Sums(Metric):
    """What both metrics share: states in f64, updates by this package where it can, and the mean."""

    if TYPE_CHECKING:
        # torch.jit reads the annotations of a class, and knows no postponed ones.
        measures: Tensor
        total: Tensor

    def _keep(self, shape: tuple[int, ...]) -> None:
        self.add_state("measures", default=torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, loss: Loss, preds: Tensor, target: Tensor) -> bool:
        """Adds a batch; False where it is torchmetrics's to add, or to say what is wrong with it."""
        sums = _sums(loss, preds, target) if _is_ours(preds, target) else None
        if sums is None:
            return False
        self.measures += sums[0]
        self.total += sums[1]
        return True

    def compute(self) -> Tensor:
        """The mean over all batches, or one mean per class."""
        return (self.measures / self.total).to(self.dtype)


class BinaryHingeLoss(_Sums, theirs.BinaryHingeLoss):
    """torchmetrics.classification.BinaryHingeLoss."""

    def __init__(
        self, squared: bool = False, ignore_index: int | None = None, validate_args: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(squared, ignore_index, validate_args, **kwargs)
        self._keep(())

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        if not self._add(_loss(self.squared, self.ignore_index, None), preds, target):
            super().update(preds, target)


class MulticlassHingeLoss(_Sums, theirs.MulticlassHingeLoss):
    """torchmetrics.classification.MulticlassHingeLoss."""

    def __init__(
        self,
        num_classes: int,
        squared: bool = False,
        multiclass_mode: Mode = "crammer-singer",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, squared, multiclass_mode, ignore_index, validate_args, **kwargs)
        self._keep(() if multiclass_mode == "crammer-singer" else (num_classes,))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        has_classes = isinstance(preds, Tensor) and preds.ndim > 1 and preds.shape[1] == self.num_classes
        loss = _loss(self.squared, self.ignore_index, self.multiclass_mode)
        if not has_classes or not self._add(loss, preds, target):
            super().update(preds, target)


class HingeLoss(theirs.HingeLoss):
    """torchmetrics.HingeLoss: one of the two above, by its task."""

    def __new__(  # type: ignore[misc]
        cls,
        task: Literal["binary", "multiclass"],
        num_classes: int | None = None,
        squared: bool = False,
        multiclass_mode: Mode | None = "crammer-singer",
        ignore_index: int | None = None,
        validate_args: bool = True,
        **kwargs: Any,
    ) -> Metric:
        kwargs.update({"ignore_index": ignore_index, "validate_args": validate_args})
        # Their constructor says what is wrong with the arguments.
        theirs.HingeLoss(task, num_classes, squared, multiclass_mode, **kwargs)
        if ClassificationTaskNoMultilabel.from_str(task) == ClassificationTaskNoMultilabel.BINARY:
            return BinaryHingeLoss(squared, **kwargs)
        return MulticlassHingeLoss(num_classes, squared, multiclass_mode, **kwargs)  # type: ignore[arg-type]


def _mean(sums: tuple[Tensor, int], preds: Tensor) -> Tensor:
    return (sums[0] / sums[1]).to(preds.dtype)


def binary_hinge_loss(
    preds: Tensor,
    target: Tensor,
    squared: bool = False,
    ignore_index: int | None = None,
    validate_args: bool = False,
) -> Tensor:
    """torchmetrics.functional.classification.binary_hinge_loss."""
    if validate_args:
        _binary_hinge_loss_arg_validation(squared, ignore_index)
    sums = _sums(_loss(squared, ignore_index, None), preds, target) if _is_ours(preds, target) else None
    if sums is not None:
        return _mean(sums, preds)
    if validate_args:
        _binary_hinge_loss_tensor_validation(preds, target, ignore_index)
    return functional.binary_hinge_loss(preds, target, squared, ignore_index, False)


def multiclass_hinge_loss(
    preds: Tensor,
    target: Tensor,
    num_classes: int,
    squared: bool = False,
    multiclass_mode: Mode = "crammer-singer",
    ignore_index: int | None = None,
    validate_args: bool = False,
) -> Tensor:
    """torchmetrics.functional.classification.multiclass_hinge_loss."""
    if validate_args:
        _multiclass_hinge_loss_arg_validation(num_classes, squared, multiclass_mode, ignore_index)
    sums = None
    has_classes = preds.ndim > 1 and preds.shape[1] == num_classes
    if has_classes and _is_ours(preds, target):
        sums = _sums(_loss(squared, ignore_index, multiclass_mode), preds, target)
    if sums is not None:
        return _mean(sums, preds)
    if validate_args:
        _multiclass_hinge_loss_tensor_validation(preds, target, num_classes, ignore_index)
    return functional.multiclass_hinge_loss(
        preds, target, num_classes, squared, multiclass_mode, ignore_index, False
    )


def hinge_loss(
    preds: Tensor,
    target: Tensor,
    task: Literal["binary", "multiclass"],
    num_classes: int | None = None,
    squared: bool = False,
    multiclass_mode: Mode = "crammer-singer",
    ignore_index: int | None = None,
    validate_args: bool = True,
) -> Tensor:
    """torchmetrics.functional.hinge_loss.

    >>> import torch
    >>> hinge_loss(torch.tensor([0.5, 0.7, 0.1]), torch.tensor([0, 1, 1]), task="binary")
    tensor(0.9000)
    """
    if ClassificationTaskNoMultilabel.from_str(task) == ClassificationTaskNoMultilabel.BINARY:
        return binary_hinge_loss(preds, target, squared, ignore_index, validate_args)
    if not isinstance(num_classes, int):
        raise ValueError(f"`num_classes` is expected to be `int` but `{type(num_classes)} was passed.`")
    return multiclass_hinge_loss(preds, target, num_classes, squared, multiclass_mode, ignore_index, validate_args)
