"""torch.nn's margin losses as modules, and those that torch does not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _losses
from ._autograd import evaluate, spec_of, value_of_scores
from .functional import (
    REDUCTIONS,
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    options_text,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)


class _Extras:
    """Arguments beyond torch's, checked, and kept where they are not the defaults."""

    _DEFAULTS = {"penalty": "linear", "kink": "zero", "ignore_index": None, "margin": 1.0}

    def _keep(self, **extras: Any) -> None:
        self._extras = {name: value for name, value in extras.items() if value not in (None, self._DEFAULTS[name])}
        options_text(extras.get("penalty") or "linear", extras.get("kink", "zero"), extras.get("ignore_index"))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._extras.items())


class HingeEmbeddingLoss(_Extras, torch.nn.HingeEmbeddingLoss):
    """torch.nn.HingeEmbeddingLoss."""

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        kink: str = "zero",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self._keep(kink=kink, ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return hinge_embedding_loss(
            input, target, self.margin, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


class SoftMarginLoss(_Extras, torch.nn.SoftMarginLoss):
    """torch.nn.SoftMarginLoss, finite for every finite score."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep(ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return soft_margin_loss(input, target, reduction=self.reduction, sample_weight=sample_weight, **self._extras)


class MarginRankingLoss(_Extras, torch.nn.MarginRankingLoss):
    """torch.nn.MarginRankingLoss."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        penalty: str = "linear",
        kink: str = "zero",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        return margin_ranking_loss(
            input1, input2, target, self.margin, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


class MultiMarginLoss(_Extras, torch.nn.MultiMarginLoss):
    """torch.nn.MultiMarginLoss (Weston-Watkins)."""

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        penalty: str | None = None,
        kink: str = "zero",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(p, margin, weight, size_average, reduce, reduction)
        self._known: tuple[float | None, str] = (None, "")
        self._keep(penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        # By the table of buffers: looking a buffer up as an attribute takes longer than all other lines here.
        weight = self._buffers["weight"]
        is_plain = weight is None and sample_weight is None and not self._extras
        if is_plain and self.p == 1 and target.dtype is torch.long and target.dim() == 1:
            # The functional's way, without its other cases: they take a tenth of a small batch's time.
            margin, spec = self._known
            if margin != self.margin:
                spec = f"weston_watkins margin={self.margin} penalty=linear over_classes=mean"
                self._known = self.margin, spec
            value = value_of_scores(spec, input, target, self.reduction)
            if value is not None:
                return value  # type: ignore[no-any-return]
        if self._extras or sample_weight is not None:
            return multi_margin_loss(
                input, target, self.p, self.margin, weight, None, None, self.reduction,
                sample_weight=sample_weight, **self._extras,
            )  # fmt: skip
        return multi_margin_loss(input, target, self.p, self.margin, weight, None, None, self.reduction)


class MultiLabelMarginLoss(_Extras, torch.nn.MultiLabelMarginLoss):
    """torch.nn.MultiLabelMarginLoss, with a margin."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        margin: float = 1.0,
        penalty: str = "linear",
        kink: str = "zero",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep(margin=margin, penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return multilabel_margin_loss(
            input, target, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


class TripletMarginLoss(_Extras, torch.nn.TripletMarginLoss):
    """torch.nn.TripletMarginLoss."""

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        penalty: str = "linear",
        kink: str = "zero",
    ) -> None:
        super().__init__(margin, p, eps, swap, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=kink)

    def forward(
        self, anchor: Tensor, positive: Tensor, negative: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        return triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
            sample_weight=sample_weight,
            **self._extras,
        )


class TripletMarginWithDistanceLoss(torch.nn.TripletMarginWithDistanceLoss):
    """torch.nn.TripletMarginWithDistanceLoss. Distances other than PairwiseDistance are computed by torch."""

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class CosineEmbeddingLoss(_Extras, torch.nn.CosineEmbeddingLoss):
    """torch.nn.CosineEmbeddingLoss."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        penalty: str = "linear",
        kink: str = "zero",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, sample_weight: Tensor | None = None
    ) -> Tensor:
        return cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


def max_margin_loss(
    loss: _losses.Loss, *tensors: Tensor, reduction: str = "mean", sample_weight: Tensor | None = None
) -> Tensor:
    """Any loss of the package as a differentiable function of tensors, in the order of :func:`maxmargin.evaluate`."""
    return MaxMarginLoss(loss, reduction=reduction)(*tensors, sample_weight=sample_weight)


class MaxMarginLoss(torch.nn.Module):
    """A module of any loss of the package: :class:`maxmargin.BinaryHinge`, :class:`maxmargin.CrammerSinger` and the others.

    ``forward`` takes the tensors of :func:`maxmargin.evaluate` and ``sample_weight``. A loss with class weights keeps them as the
    buffer ``weight``.
    """

    weight: Tensor | None

    def __init__(self, loss: _losses.Loss, *, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        self.loss = loss
        self.reduction = reduction
        weights = loss.class_weights if isinstance(loss, _losses._Multiclass) else None
        self.register_buffer("weight", None if weights is None else torch.tensor(weights, dtype=torch.float64))
        self._spec = spec_of(loss)

    def forward(self, *tensors: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        if not tensors or not all(isinstance(x, Tensor) for x in tensors):
            raise TypeError(f"{type(self.loss).__name__}: expected tensors, got {[type(x).__name__ for x in tensors]}")
        return evaluate(self._spec, tensors, self.weight, sample_weight, self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss!r}, reduction={self.reduction!r}"


def _module(name: str, kind: type[_losses.Loss]) -> type[MaxMarginLoss]:
    """A module of one loss: its options are the constructor's keyword arguments."""

    def __init__(self: MaxMarginLoss, *, reduction: str = "mean", **options: Any) -> None:
        MaxMarginLoss.__init__(self, kind(**options), reduction=reduction)

    doc = f"A module of :class:`maxmargin.{kind.__name__}`, whose options are its keyword arguments.\n\n{kind.__doc__}"
    return type(name, (MaxMarginLoss,), {"__init__": __init__, "__doc__": doc, "__module__": __name__})


BinaryHingeLoss = _module("BinaryHingeLoss", _losses.BinaryHinge)
CrammerSingerLoss = _module("CrammerSingerLoss", _losses.CrammerSinger)
LeeLinWahbaLoss = _module("LeeLinWahbaLoss", _losses.LeeLinWahba)
OneVsAllLoss = _module("OneVsAllLoss", _losses.OneVsAll)
TopKLoss = _module("TopKLoss", _losses.TopK)
CategoricalHingeLoss = _module("CategoricalHingeLoss", _losses.CategoricalHinge)
ListwiseHingeLoss = _module("ListwiseHingeLoss", _losses.ListwiseHinge)
LovaszHingeLoss = _module("LovaszHingeLoss", _losses.LovaszHinge)
