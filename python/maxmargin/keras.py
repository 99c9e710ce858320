"""Keras losses, computed by this package, on the JAX and torch backends.

Subclasses of ``keras.Loss`` with Keras's names, arguments and conventions, and one for every loss of the package. They are registered
with Keras: a saved model finds them where this module is imported. TensorFlow is not supported.

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

_register = keras.saving.register_keras_serializable(package="maxmargin")


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


@_register
class MaxMarginLoss(keras.losses.Loss):
    """Any loss of the package for ``model.compile``: the model's outputs are its scores.

    Losses of single scores take the mean over the last axis, as Keras's do; losses of rows take classes, or rows of targets, for
    the last axis of scores of any shape. Reduction, sample weights and masks are Keras's.

    >>> import maxmargin as mm
    >>> import numpy as np
    >>> loss = MaxMarginLoss(mm.CrammerSinger())
    >>> round(float(loss(np.array([0, 1]), np.array([[0.25, 0.20, 0.55], [0.55, 0.05, 0.40]]))), 4)
    1.4
    """

    def __init__(
        self, loss: Loss, reduction: str = "sum_over_batch_size", name: str = "max_margin", dtype: Any = None
    ) -> None:
        if not isinstance(loss, Loss) or loss.name in ("ranking", "triplet", "cosine"):
            raise TypeError(f"loss: expected a loss of maxmargin that takes scores and targets, got {loss!r}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        ops = keras.ops
        shape = tuple(y_pred.shape)
        if self.loss.name in ("binary", "embedding"):
            losses = _unreduced(self.loss, y_pred, ops.reshape(y_true, shape))
            return ops.mean(losses, axis=-1)
        rows = ops.reshape(y_pred, (-1, shape[-1]))
        is_row = tuple(y_true.shape) == shape
        targets = ops.reshape(y_true, (-1, shape[-1]) if is_row else (-1,))
        return ops.reshape(_unreduced(self.loss, rows, targets), shape[:-1])

    def get_config(self) -> dict[str, Any]:
        """The loss by name, and its options."""
        options = {name: value for name, value in vars(self.loss).items() if name != "_native"}
        loss = {"kind": type(self.loss).__name__, "options": options}
        return {"loss": loss, "reduction": self.reduction, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaxMarginLoss:
        """What :meth:`get_config` gave."""
        saved, rest = config["loss"], {name: value for name, value in config.items() if name != "loss"}
        kind = {name: getattr(_losses, name) for name in _losses.__all__}[saved["kind"]]
        return cls(kind(**saved["options"]), **rest)


class _Named(MaxMarginLoss):
    """A loss of Keras by its own name, without options."""

    _loss: Loss
    _name: str

    def __init__(self, reduction: str = "sum_over_batch_size", name: str | None = None, dtype: Any = None) -> None:
        super().__init__(self._loss, reduction, name or self._name, dtype)

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


@_register
class Hinge(_Named):
    """keras.losses.Hinge: the mean over the last axis of max(1 - y*s, 0). Labels of 0 and 1 become -1 and +1; others than these
    are errors."""

    _loss = BinaryHinge(kink="half")
    _name = "hinge"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return super().call(_signs(keras.ops.cast(y_true, y_pred.dtype)), y_pred)


@_register
class SquaredHinge(Hinge):
    """keras.losses.SquaredHinge: the mean over the last axis of max(1 - y*s, 0)^2."""

    _loss = BinaryHinge(penalty="squared")
    _name = "squared_hinge"


@_register
class CategoricalHinge(_Named):
    """keras.losses.CategoricalHinge, for rows of 0 and 1."""

    _loss = _CategoricalHinge(kink="half", ties="split")
    _name = "categorical_hinge"
