"""Keras losses, computed by this package, on the JAX and torch backends.

Subclasses of ``keras.Loss`` with Keras's names, arguments and conventions, and one for every loss of the package. TensorFlow is not
supported.

>>> import keras
>>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="tanh")])
>>> model.compile(optimizer="sgd", loss=Hinge())
"""

from __future__ import annotations

from typing import Any

import keras

from . import _losses
from ._losses import BinaryHinge, Loss
from ._losses import CategoricalHinge as _CategoricalHinge

__all__ = ["CategoricalHinge", "Hinge", "MaxMarginLoss", "SquaredHinge"]


def _unreduced(loss: Loss, scores: Any, targets: Any) -> Any:
    """The loss of each sample, differentiable on Keras's backend."""
    backend = keras.backend.backend()
    if backend == "jax":
        from .jax import max_margin_loss

        return max_margin_loss(loss, scores, targets, reduction="none")
    if backend == "torch":
        from .torch import max_margin_loss as of_torch

        return of_torch(loss, scores, targets, reduction="none")
    raise ValueError(f"maxmargin.keras: expected the backend jax or torch, got {backend}")


class MaxMarginLoss(keras.losses.Loss):
    """Any loss of the package for ``model.compile``: the model's outputs are its scores.

    Scores (N, 1) with N targets are as good as N scores. The reduction is Keras's.

    >>> loss = MaxMarginLoss(_losses.CrammerSinger())
    >>> round(float(loss([0, 1], [[0.25, 0.20, 0.55], [0.55, 0.05, 0.40]])), 4)
    1.4
    """

    def __init__(
        self, loss: Loss, reduction: str = "sum_over_batch_size", name: str = "max_margin", dtype: Any = None
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.loss = loss

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        # Keras would turn classes into floats and squeeze one axis or the other; the loss knows what it takes.
        y_pred = keras.ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_true = keras.ops.convert_to_tensor(y_true)
        losses = self.call(y_true, y_pred)
        if sample_weight is not None:
            losses = losses * keras.ops.reshape(keras.ops.cast(sample_weight, losses.dtype), losses.shape)
        return _reduced(losses, self.reduction, sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        if self.loss.name in ("binary", "embedding") and tuple(y_pred.shape) != tuple(y_true.shape):
            y_true = keras.ops.reshape(y_true, y_pred.shape)
        losses = _unreduced(self.loss, y_pred, y_true)
        # Of several outputs per sample Keras takes the mean.
        return keras.ops.mean(losses, axis=-1) if losses.ndim > 1 else losses

    def get_config(self) -> dict[str, Any]:
        """The loss by name, and its options."""
        options = {name: value for name, value in vars(self.loss).items() if name != "_native"}
        return {
            "loss": {"kind": type(self.loss).__name__, "options": options},
            "reduction": self.reduction,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaxMarginLoss:
        """What :meth:`get_config` gave."""
        saved = config.pop("loss")
        kind = getattr(_losses, saved["kind"])
        return cls(kind(**saved["options"]), **config)


def _reduced(losses: Any, reduction: str | None, sample_weight: Any) -> Any:
    ops = keras.ops
    if reduction in (None, "none"):
        return losses
    total = ops.sum(losses)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return ops.divide_no_nan(total, ops.sum(ops.cast(sample_weight, losses.dtype)))
    return ops.divide_no_nan(total, ops.cast(ops.prod(ops.shape(losses)), losses.dtype))


class _Named(MaxMarginLoss):
    """A loss of Keras by its own name, without options."""

    _loss: Loss

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None, dtype: Any = None) -> None:
        super().__init__(self._loss, reduction, name or self._loss.name, dtype)

    def get_config(self) -> dict[str, Any]:
        """Reduction and name."""
        return {"reduction": self.reduction, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Named:
        """What :meth:`get_config` gave."""
        return cls(**config)


def _signs(y_true: Any) -> Any:
    """Keras's rule: where every label is 0 or 1 they become -1 and +1."""
    ops = keras.ops
    is_binary = ops.all(ops.logical_or(ops.equal(y_true, 0), ops.equal(y_true, 1)))
    return ops.where(is_binary, 2 * y_true - 1, y_true)


class Hinge(_Named):
    """keras.losses.Hinge: the mean over the last axis of max(1 - y*s, 0). Labels of 0 and 1 become -1 and +1."""

    _loss = BinaryHinge(kink="half")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return super().call(_signs(keras.ops.cast(y_true, y_pred.dtype)), y_pred)


class SquaredHinge(Hinge):
    """keras.losses.SquaredHinge: the mean over the last axis of max(1 - y*s, 0)^2."""

    _loss = BinaryHinge(penalty="squared")


class CategoricalHinge(_Named):
    """keras.losses.CategoricalHinge, for rows of 0 and 1."""

    _loss = _CategoricalHinge(kink="half", ties="split")
