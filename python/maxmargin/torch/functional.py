"""torch.nn.functional's margin losses."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import _reduction as _Reduction

from .._errors import ElementTypeError, InputError
from .._losses import BinaryHinge
from ._autograd import evaluate, refuse_elsewhere, value_of_scores

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

REDUCTIONS = ("mean", "sum", "none")
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# An unsigned type has no -1: torch wraps it.
_SIGNED = (*_FLOATS, torch.int64, torch.int32, torch.int16, torch.int8)


def _legacy(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    return reduction if size_average is None and reduce is None else _Reduction.legacy_get_string(size_average, reduce)


def options_text(penalty: str, kink: str, ignore_index: int | None) -> str:
    """Options beyond torch's, checked; empty where they are torch's own."""
    if penalty == "linear" and kink == "zero" and ignore_index is None:
        return ""
    if not torch.compiler.is_compiling():
        BinaryHinge(penalty=penalty, kink=kink, ignore_index=ignore_index)  # type: ignore[arg-type]
    text = "" if penalty == "linear" else f" penalty={penalty}"
    text += "" if kink == "zero" else f" kink={kink}"
    return text if ignore_index is None else f"{text} ignore_index={ignore_index}"


def _ours_or_torchs(
    spec: str,
    tensors: tuple[Tensor, ...],
    weights: tuple[Tensor | None, Tensor | None],
    reduction: str,
    is_ours: bool,
    torchs: Callable[[], Tensor] | None,
) -> Tensor:
    """Ours, or torch's where the input is none of ours: torch then computes it, or says what is wrong with it. ``torchs`` is None
    where options are asked for that torch does not have."""
    ours = None
    if is_ours or torchs is None:
        if len(tensors) == 2 and weights == (None, None):
            value = value_of_scores(spec, *tensors, reduction)
            if value is not None:
                return value  # type: ignore[no-any-return]
        try:
            return evaluate(spec, tensors, *weights, reduction)
        except (InputError, ElementTypeError) as error:
            if torchs is None:
                raise
            ours = error
    return _torchs(torchs, ours, *tensors)


def _torchs(torchs: Callable[[], Tensor], ours: Exception | None, *tensors: Tensor) -> Tensor:
    """What torch computes on the CPU, or its error, from ours."""
    refuse_elsewhere(tensors)
    try:
        return torchs()
    except Exception as error:
        raise error from ours


def _are_scores(x: Tensor, target: Tensor) -> bool:
    """One target per score, none of which torch would have to broadcast, convert or differentiate."""
    return x.shape == target.shape and not target.requires_grad and x.dtype in _FLOATS and target.dtype in _SIGNED


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    kink: str = "zero",
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.hinge_embedding_loss: s for t = 1, max(0, margin - s) for t = -1."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = options_text("linear", kink, ignore_index)

    def torchs() -> Tensor:
        return F.hinge_embedding_loss(input, target, margin, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _ours_or_torchs(
        f"embedding margin={margin}{extra}",
        (input, target),
        (None, sample_weight),
        reduction,
        _are_scores(input, target),
        torchs if is_theirs else None,
    )


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.soft_margin_loss: ln(1 + exp(-t*s)), here finite for every finite score."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = options_text("linear", "zero", ignore_index)

    def torchs() -> Tensor:
        return F.soft_margin_loss(input, target, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _ours_or_torchs(
        f"binary margin=0.0 penalty=softplus{extra}",
        (input, target),
        (None, sample_weight),
        reduction,
        _are_scores(input, target),
        torchs if is_theirs else None,
    )


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    penalty: str = "linear",
    kink: str = "zero",
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.margin_ranking_loss: max(0, margin - t*(x1 - x2))."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = options_text(penalty, kink, ignore_index)

    def torchs() -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _ours_or_torchs(
        f"ranking margin={margin}{extra}",
        (input1, input2, target),
        (None, sample_weight),
        reduction,
        input1.shape == input2.shape and input1.dtype == input2.dtype and _are_scores(input1, target),
        torchs if is_theirs else None,
    )


def _one_row(value: Tensor, shape: torch.Size, reduction: str) -> Tensor:
    """The losses of one sample that came without an axis for samples."""
    return value.reshape(shape) if reduction == "none" else value


def _row(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.reshape(1)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
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
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.multi_margin_loss (Weston-Watkins): the mean over i != y of max(0, margin - s_y + s_i)^p."""
    if size_average is not None or reduce is not None:
        reduction = _legacy(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    chosen = penalty or ("linear" if p == 1 else "squared")
    extra = "" if kink == "zero" and ignore_index is None else options_text("linear", kink, ignore_index)
    spec = f"weston_watkins margin={margin} penalty={chosen} over_classes=mean{extra}"
    is_torchs = not extra and sample_weight is None and penalty is None
    ours = None
    if target.dtype is torch.long and (target.dim() == 1 or not is_torchs) and input.dim() == 2:
        if weight is None and sample_weight is None:
            value = value_of_scores(spec, input, target, reduction)
            if value is not None:
                return value  # type: ignore[no-any-return]
        try:
            return evaluate(spec, (input, target), weight, sample_weight, reduction)
        except (InputError, ElementTypeError) as error:
            if _is_empty_batch(input, target, weight, reduction):
                # torch returns memory that it never wrote.
                zero = input.sum() if reduction != "none" else input.sum(1)
                return zero / 0 if reduction == "mean" else zero
            if not is_torchs:
                raise
            ours = error
    elif target.dtype is torch.long and input.dim() == 1 and target.numel() == 1 and input.numel() > 1:
        value = multi_margin_loss(
            input.unsqueeze(0), target.reshape(1), p, margin, weight, None, None, reduction,
            penalty=penalty, kink=kink, ignore_index=ignore_index, sample_weight=_row(sample_weight),
        )  # fmt: skip
        return _one_row(value, target.shape, reduction)
    elif not is_torchs:
        return evaluate(spec, (input, target), weight, sample_weight, reduction)
    return _torchs(lambda: F.multi_margin_loss(input, target, p, margin, weight, reduction=reduction), ours, input, target)


def _is_empty_batch(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> bool:
    """Rows of scores of which there are none, and what goes with them."""
    has_classes = input.numel() == 0 and input.dim() == 2 and input.size(1) > 1
    is_weight = weight is None or (weight.dim() == 1 and weight.size(0) == input.size(1))
    return has_classes and is_weight and target.shape == input.shape[:1] and reduction in REDUCTIONS


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    margin: float = 1.0,
    penalty: str = "linear",
    kink: str = "zero",
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.multilabel_margin_loss, with a margin. Targets are classes, ended by a negative number."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = ("" if margin == 1.0 else f" margin={margin}") + options_text(penalty, kink, ignore_index)
    if input.dim() == 1 and input.shape == target.shape and input.numel() > 1:
        value = multilabel_margin_loss(
            input.unsqueeze(0), target.unsqueeze(0), None, None, reduction,
            margin=margin, penalty=penalty, kink=kink, ignore_index=ignore_index, sample_weight=_row(sample_weight),
        )  # fmt: skip
        return _one_row(value, torch.Size(()), reduction)

    def torchs() -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _ours_or_torchs(
        f"multilabel{extra}",
        (input, target),
        (None, sample_weight),
        reduction,
        target.dtype == torch.long and input.dim() == 2 and input.shape == target.shape,
        torchs if is_theirs else None,
    )


def _are_vectors(*tensors: Tensor) -> bool:
    """Vectors of one shape and type, (N, D) or (D)."""
    first = tensors[0]
    is_plain = first.dim() in (1, 2) and first.numel() > 0 and first.dtype in _FLOATS
    return is_plain and all(x.shape == first.shape and x.dtype == first.dtype for x in tensors)


def _of_vectors(
    spec: str,
    tensors: tuple[Tensor, ...],
    sample_weight: Tensor | None,
    reduction: str,
    is_ours: bool,
    torchs: Callable[[], Tensor] | None,
) -> Tensor:
    """A loss of vectors, or of one sample of them."""
    is_one = tensors[0].dim() == 1
    if not is_one or not is_ours:
        return _ours_or_torchs(spec, tensors, (None, sample_weight), reduction, is_ours, torchs)
    rows = tuple(x.reshape(1, -1) if x.dim() else x.reshape(1) for x in tensors)
    value = _ours_or_torchs(spec, rows, (None, _row(sample_weight)), reduction, True, torchs)
    return _one_row(value, torch.Size(()), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    penalty: str = "linear",
    kink: str = "zero",
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.triplet_margin_loss: max(0, margin + d(a, p) - d(a, n)) with p-norms of the differences plus eps."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = options_text(penalty, kink, None)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")

    def torchs() -> Tensor:
        return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _of_vectors(
        f"triplet margin={margin} p={p} eps={eps} swap={swap}{extra}",
        (anchor, positive, negative),
        sample_weight,
        reduction,
        p >= 1 and _are_vectors(anchor, positive, negative),
        torchs if is_theirs else None,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """torch.nn.functional.triplet_margin_with_distance_loss. Distances other than PairwiseDistance are computed by torch."""
    is_pairwise = distance_function is None or (
        type(distance_function) is torch.nn.PairwiseDistance and not getattr(distance_function, "keepdim", False)
    )
    norm, eps = getattr(distance_function, "norm", 2.0), getattr(distance_function, "eps", 1e-6)

    def torchs() -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=distance_function,
            margin=margin,
            swap=swap,
            reduction=reduction,
        )

    return _of_vectors(
        f"triplet margin={margin} p={norm} eps={eps} swap={swap}",
        (anchor, positive, negative),
        None,
        reduction,
        is_pairwise and margin > 0 and norm >= 1 and _are_vectors(anchor, positive, negative),
        torchs,
    )


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    penalty: str = "linear",
    kink: str = "zero",
    ignore_index: int | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """torch.nn.functional.cosine_embedding_loss: 1 - cos for t = 1, max(0, cos - margin) for t = -1."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = options_text(penalty, kink, ignore_index)

    def torchs() -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _of_vectors(
        f"cosine margin={margin}{extra}",
        (input1, input2, target),
        sample_weight,
        reduction,
        _are_vectors(input1, input2)
        and target.shape == input1.shape[:-1]
        and not target.requires_grad
        and target.dtype in _SIGNED,
        torchs if is_theirs else None,
    )
