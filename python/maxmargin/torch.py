"""torch's margin losses, computed by this package: the same arguments, numbers and errors, several times as fast.

Every module and functional takes torch's arguments, in torch's order, and keyword arguments beyond them: ``penalty``, ``kink``,
``ignore_index`` and ``sample_weight``. What torch takes and this package does not (targets of MarginRankingLoss other than -1
and +1, negative class weights, tensors to be broadcast, distances of the caller's own) torch itself computes, and so it says what
is wrong with wrong input. :class:`MaxMarginLoss` makes a module of any loss of the package, and the losses that torch does not
have are modules of their own: Crammer-Singer, top-k, Lovasz, listwise and others.

>>> import torch
>>> loss = MultiMarginLoss()
>>> scores = torch.tensor([[0.1, 0.2, 0.4, 0.8]], requires_grad=True)
>>> value = loss(scores, torch.tensor([3]))
>>> value.backward()
>>> round(value.item(), 4), scores.grad.tolist()
(0.325, [[0.25, 0.25, 0.25, -0.75]])

Tensors are on the CPU. Half precision is read as it is; its value is float32, its gradient in its own type. Second derivatives
are zero with the linear penalty, and an error otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import _reduction as _Reduction

from . import _losses, _maxmargin
from ._errors import DeviceError, ElementTypeError, InputError

__all__ = [
    "BinaryHingeLoss",
    "CategoricalHingeLoss",
    "CosineEmbeddingLoss",
    "CrammerSingerLoss",
    "HingeEmbeddingLoss",
    "LeeLinWahbaLoss",
    "ListwiseHingeLoss",
    "LovaszHingeLoss",
    "MarginRankingLoss",
    "MaxMarginLoss",
    "MultiLabelMarginLoss",
    "MultiMarginLoss",
    "OneVsAllLoss",
    "SoftMarginLoss",
    "TopKLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "max_margin_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

# A loss is passed on as a text, its name and its options: torch.compile keeps it in a graph as a constant.
_KINDS: dict[str, type[_losses.Loss]] = {
    kind.name: kind
    for kind in vars(_losses).values()
    if isinstance(kind, type) and issubclass(kind, _losses.Loss) and "name" in vars(kind)
}
# By the first letters of a loss: how many vectors it has a gradient for.
_VECTORS = {"cos": 2, "tri": 3}
_COMPUTED = (torch.float32, torch.float64)
_ELEMENTWISE = ("binary", "embedding", "ranking")
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_REDUCTIONS = ("mean", "sum", "none")
_NATIVE: dict[str, _maxmargin.NativeLoss] = {}


def _native(spec: str, class_weights: Optional[Tensor]) -> _maxmargin.NativeLoss:
    if class_weights is None:
        known = _NATIVE.get(spec)
        if known is not None:
            return known
    name, *options = spec.split(" ")
    parsed: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        try:
            parsed[key] = float(value) if "." in value or "e" in value or value.lstrip("-") in ("inf", "nan") else int(value)
        except ValueError:
            parsed[key] = value
        if value in ("True", "False", "None"):
            parsed[key] = {"True": True, "False": False, "None": None}[value]
    if class_weights is not None:
        parsed["class_weights"] = class_weights.detach().to(torch.float64).tolist()
    native = _maxmargin.NativeLoss(name, **parsed)
    if class_weights is None:
        if len(_NATIVE) > 1000:
            _NATIVE.clear()
        _NATIVE[spec] = native
    return native


def _differentiable(spec: str, tensors: Sequence[Tensor]) -> int:
    """How many of the tensors, from the first on, a loss is a function of; the rest are targets."""
    return len(tensors) if spec.startswith("triplet") else len(tensors) - 1


#: A loss as a text, class weights, sample weights and the reduction.
_Call = tuple[str, Optional[Tensor], Optional[Tensor], str]


def _run(call: _Call, tensors: Sequence[Tensor], needs_gradient: bool) -> tuple[Tensor, Any]:
    """Value, or losses, and the gradient with respect to all vectors or the first scores, in the type of the computation; None
    where it is not needed."""
    spec, class_weights, sample_weights, reduction = call
    x = tensors[0]
    dtype = x.dtype
    computed = dtype if dtype in _COMPUTED else torch.float32
    gradient = losses = None
    if needs_gradient:
        parts = _VECTORS.get(spec[:3])
        if parts is None and computed is dtype and x.is_contiguous():
            gradient = torch.empty_like(x)
        else:
            gradient = torch.empty(x.shape if parts is None else (parts, *x.shape), dtype=computed)
    if reduction == "none":
        is_elementwise = spec.startswith(_ELEMENTWISE)
        losses = torch.empty(x.shape if is_elementwise else x.shape[:1], dtype=computed)
    native = _NATIVE.get(spec) if class_weights is None else None
    numbers = _maxmargin.evaluate(
        native or _native(spec, class_weights),
        tuple(tensors),
        sample_weights,
        "raw",
        reduction,
        None,
        False,
        "cpu",
        losses,
        gradient,
    )
    value: Any = numbers[0]
    return torch.scalar_tensor(value, dtype=computed) if losses is None else losses, gradient


def _scaled(call: _Call, gradient: Tensor, grad_output: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of each tensor that the loss is a function of, times what comes from behind."""
    spec, reduction, x = call[0], call[3], tensors[0]
    if reduction != "none" and grad_output.item() == 1.0 and gradient.shape == x.shape and gradient.dtype == x.dtype:
        return [gradient, -gradient] if spec.startswith("ranking") else [gradient]
    if reduction == "none":
        # One factor per sample, after the axis of the several vectors.
        extra = x.dim() - grad_output.dim()
        gradient = gradient * grad_output.reshape(grad_output.shape + (1,) * extra)
    else:
        gradient = gradient * grad_output
    if gradient.dtype != x.dtype:
        gradient = gradient.to(x.dtype)
    if spec.startswith("ranking"):
        return [gradient, -gradient]
    return list(gradient) if gradient.dim() > x.dim() else [gradient]


def _second(spec: str) -> None:
    """Refuses a second derivative that is not zero."""
    is_linear = "penalty" not in spec or "penalty=linear" in spec
    if not is_linear or spec.startswith(("triplet", "cosine")):
        raise NotImplementedError(f"maxmargin: the second derivative of {spec.partition(' ')[0]} is not implemented")


class _Gradient(torch.autograd.Function):
    """The gradient as a function of its own: linear in what comes from behind, and of zero slope in the scores, or none."""

    @staticmethod
    def forward(call, grad_output, *tensors):
        gradient = _run(call, tensors, True)[1]
        return tuple(_scaled(call, gradient, grad_output, tensors))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.call, grad_output, *tensors = inputs
        ctx.save_for_backward(grad_output, *tensors)

    @staticmethod
    def backward(ctx, *outer):
        _second(ctx.call[0])
        grad_output, *tensors = ctx.saved_tensors
        with torch.no_grad():
            gradient = _run(ctx.call, tensors, True)[1]
            slopes = _scaled(ctx.call, gradient, torch.ones_like(grad_output), tensors)
            products = sum(a * b.to(a.dtype) for a, b in zip(outer, slopes, strict=True))
            # One number for each of what comes from behind.
            of_output = products.reshape(*grad_output.shape, -1).sum(-1).to(grad_output.dtype)
        zeros = [torch.zeros_like(x) if i < len(outer) else None for i, x in enumerate(tensors)]
        return None, of_output, *zeros


class _Eager(torch.autograd.Function):
    """Value and gradient in one pass.

    The tensors are attributes, not saved: a gradient that is there is all that backward needs, and saving costs a small batch a
    tenth of its time. They are looked at again only where a graph is kept for a second backward, or differentiated.
    """

    @staticmethod
    def forward(ctx, call, *tensors):
        value, ctx.gradient = _run(call, tensors, True)
        ctx.call, ctx.tensors, ctx.version = call, tensors, tensors[0]._version
        return value

    @staticmethod
    def backward(ctx, grad_output):
        # Given away, so that it becomes the scores' own gradient without a copy.
        gradient, ctx.gradient = ctx.gradient, None
        call, tensors = ctx.call, ctx.tensors
        if torch.is_grad_enabled():
            gradients = _Gradient.apply(call, grad_output, *tensors)
        else:
            if gradient is None:
                if tensors[0]._version != ctx.version:
                    raise RuntimeError("the scores were modified by an inplace operation between two backward passes")
                gradient = _run(call, tensors, True)[1]
            gradients = _scaled(call, gradient, grad_output, tensors)
        return None, *gradients, *(None,) * (len(tensors) - len(gradients))


class _Scores(torch.autograd.Function):
    """As _Eager, for what is most common and often small, where each line shows in the time: contiguous scores in the type of the
    computation, targets, and one number as the value."""

    @staticmethod
    def forward(ctx, scores, call):
        spec, target, reduction = call
        ctx.gradient = gradient = torch.empty_like(scores)
        native = _NATIVE.get(spec) or _native(spec, None)
        value: Any = native.value_and_gradient(scores, target, reduction, gradient)
        ctx.scores, ctx.call, ctx.version = scores, call, scores._version
        return torch.scalar_tensor(value, dtype=scores.dtype)

    @staticmethod
    def backward(ctx, grad_output):
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None or torch.is_grad_enabled():
            return _again(ctx, grad_output), None
        return gradient if grad_output.item() == 1.0 else gradient * grad_output, None


def _again(ctx: Any, grad_output: Tensor) -> Tensor:
    """The gradient of a graph that was kept, or that is differentiated."""
    spec, target, reduction = ctx.call
    if torch.is_grad_enabled():
        return _Gradient.apply((spec, None, None, reduction), grad_output, ctx.scores, target)[0]
    if ctx.scores._version != ctx.version:
        raise RuntimeError("the scores were modified by an inplace operation between two backward passes")
    return _run((spec, None, None, reduction), (ctx.scores, target), True)[1] * grad_output


class _Transformed(torch.autograd.Function):
    """For torch.func: the value, and the gradient once it is asked for."""

    @staticmethod
    def forward(call, *tensors):
        return _run(call, tensors, False)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, grad_output):
        tensors = ctx.saved_tensors
        gradients = _Gradient.apply(ctx.call, grad_output, *tensors)
        return None, *gradients, *(None,) * (len(tensors) - len(gradients))


@torch.library.custom_op("maxmargin::loss", mutates_args=())
def _loss_op(
    spec: str,
    tensors: Sequence[Tensor],
    class_weights: Optional[Tensor],
    sample_weights: Optional[Tensor],
    reduction: str,
) -> Tensor:
    return _run((spec, class_weights, sample_weights, reduction), tensors, False)[0]


@_loss_op.register_fake
def _(spec, tensors, class_weights, sample_weights, reduction):
    x = tensors[0]
    shape = (x.shape if spec.startswith(_ELEMENTWISE) else x.shape[:1]) if reduction == "none" else ()
    return x.new_empty(shape, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)


@torch.library.custom_op("maxmargin::loss_backward", mutates_args=())
def _gradient_op(
    spec: str,
    tensors: Sequence[Tensor],
    class_weights: Optional[Tensor],
    sample_weights: Optional[Tensor],
    reduction: str,
    grad_output: Tensor,
) -> list[Tensor]:
    call = spec, class_weights, sample_weights, reduction
    gradients = _scaled(call, _run(call, tensors, True)[1], grad_output, tensors)
    # An operator's outputs share no memory.
    return [one.clone() for one in gradients] if len(gradients) > 1 else gradients


@_gradient_op.register_fake
def _(spec, tensors, class_weights, sample_weights, reduction, grad_output):
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors[: _differentiable(spec, tensors)]]


def _setup_op(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.spec, tensors, class_weights, sample_weights, ctx.reduction = inputs
    ctx.weights = class_weights, sample_weights
    ctx.save_for_backward(*tensors)


def _backward_op(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    tensors = ctx.saved_tensors
    gradients = _gradient_op(ctx.spec, tensors, *ctx.weights, ctx.reduction, grad_output)
    return None, [*gradients, *[None] * (len(tensors) - len(gradients))], None, None, None


_loss_op.register_autograd(_backward_op, setup_context=_setup_op)


def _evaluate(
    spec: str,
    tensors: tuple[Tensor, ...],
    class_weights: Optional[Tensor],
    sample_weights: Optional[Tensor],
    reduction: str,
) -> Tensor:
    if torch.compiler.is_compiling():
        return _loss_op(spec, tensors, class_weights, sample_weights, reduction)
    if torch._C._are_functorch_transforms_active():
        return _Transformed.apply((spec, class_weights, sample_weights, reduction), *tensors)
    if torch.is_grad_enabled():
        x = tensors[0]
        if (
            len(tensors) == 2
            and class_weights is None
            and sample_weights is None
            and reduction != "none"
            and x.requires_grad
            and x.dtype in _COMPUTED
            and x.is_contiguous()
        ):
            return _Scores.apply(x, (spec, tensors[1], reduction))
        for x in tensors:
            if x.requires_grad:
                return _Eager.apply((spec, class_weights, sample_weights, reduction), *tensors)
    return _run((spec, class_weights, sample_weights, reduction), tensors, False)[0]


def _on_cpu(*tensors: Tensor) -> None:
    for x in tensors:
        if not x.is_cpu and x.device.type != "meta":
            raise DeviceError(
                f"maxmargin computes on the CPU, and a tensor is on {x.device}; call .cpu() on scores and targets first"
            )


def _legacy(size_average: Optional[bool], reduce: Optional[bool], reduction: str) -> str:
    return reduction if size_average is None and reduce is None else _Reduction.legacy_get_string(size_average, reduce)


def _options(penalty: str, kink: str, ignore_index: Optional[int]) -> str:
    """Options beyond torch's; empty where they are torch's own."""
    text = "" if penalty == "linear" else f" penalty={penalty}"
    text += "" if kink == "zero" else f" kink={kink}"
    return text if ignore_index is None else f"{text} ignore_index={ignore_index}"


def _ours_or_torchs(
    spec: str,
    tensors: tuple[Tensor, ...],
    weights: tuple[Optional[Tensor], Optional[Tensor]],
    reduction: str,
    is_ours: bool,
    torchs: Optional[Callable[[], Tensor]],
) -> Tensor:
    """Ours, or torch's where the input is none of ours: torch then computes it, or says what is wrong with it. ``torchs`` is None
    where options are asked for that torch does not have."""
    ours = None
    if is_ours or torchs is None:
        try:
            return _evaluate(spec, tensors, *weights, reduction)
        except (InputError, ElementTypeError) as error:
            if torchs is None:
                raise
            ours = error
    return _torchs(torchs, ours, *tensors)


def _torchs(torchs: Callable[[], Tensor], ours: Optional[Exception], *tensors: Tensor) -> Tensor:
    """What torch computes, or its error, from ours."""
    _on_cpu(*tensors)
    try:
        return torchs()
    except Exception as error:
        raise error from ours


def _are_scores(x: Tensor, target: Tensor) -> bool:
    """One target per score, none of which torch would have to broadcast, convert or differentiate."""
    return x.shape == target.shape and not target.requires_grad and x.dtype in _FLOATS


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    kink: str = "zero",
    ignore_index: Optional[int] = None,
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.hinge_embedding_loss: s for t = 1, max(0, margin - s) for t = -1."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = _options("linear", kink, ignore_index)

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
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    ignore_index: Optional[int] = None,
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.soft_margin_loss: ln(1 + exp(-t*s)), here finite for every finite score."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = _options("linear", "zero", ignore_index)

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
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    penalty: str = "linear",
    kink: str = "zero",
    ignore_index: Optional[int] = None,
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.margin_ranking_loss: max(0, margin - t*(x1 - x2))."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = _options(penalty, kink, ignore_index)

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


def _row(x: Optional[Tensor]) -> Optional[Tensor]:
    return None if x is None else x.reshape(1)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Optional[Tensor] = None,
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    penalty: Optional[str] = None,
    kink: str = "zero",
    ignore_index: Optional[int] = None,
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.multi_margin_loss (Weston-Watkins): the mean over i != y of max(0, margin - s_y + s_i)^p."""
    if size_average is not None or reduce is not None:
        reduction = _legacy(size_average, reduce, reduction)
    chosen = penalty or ("linear" if p == 1 else "squared")
    extra = "" if kink == "zero" and ignore_index is None else _options("linear", kink, ignore_index)
    spec = f"weston_watkins margin={margin} penalty={chosen} over_classes=mean{extra}"
    is_ours = target.dtype is torch.long and p in (1, 2)
    if is_ours and input.dim() == 1 and target.numel() == 1 and input.numel() > 1:
        value = multi_margin_loss(
            input.unsqueeze(0), target.reshape(1), p, margin, weight, None, None, reduction,
            penalty=penalty, kink=kink, ignore_index=ignore_index, sample_weight=_row(sample_weight),
        )  # fmt: skip
        return _one_row(value, target.shape, reduction)
    is_torchs = not extra and sample_weight is None and penalty is None
    ours = None
    if is_ours or not is_torchs:
        try:
            return _evaluate(spec, (input, target), weight, sample_weight, reduction)
        except (InputError, ElementTypeError) as error:
            if not is_torchs:
                raise
            ours = error
    if input.numel() == 0 and input.dim() == 2 and input.size(1) > 1 and reduction in _REDUCTIONS:
        # torch returns memory that it never wrote.
        zero = input.sum() if reduction != "none" else input.sum(1)
        return zero / 0 if reduction == "mean" else zero
    return _torchs(lambda: F.multi_margin_loss(input, target, p, margin, weight, reduction=reduction), ours, input, target)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    margin: float = 1.0,
    penalty: str = "linear",
    kink: str = "zero",
    ignore_index: Optional[int] = None,
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.multilabel_margin_loss, with a margin. Targets are classes, ended by a negative number."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = ("" if margin == 1.0 else f" margin={margin}") + _options(penalty, kink, ignore_index)
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
    sample_weight: Optional[Tensor],
    reduction: str,
    is_ours: bool,
    torchs: Optional[Callable[[], Tensor]],
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
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    penalty: str = "linear",
    kink: str = "zero",
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.triplet_margin_loss: max(0, margin + d(a, p) - d(a, n)) with p-norms of the differences plus eps."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = _options(penalty, kink, None)
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
    distance_function: Optional[Callable[[Tensor, Tensor], Tensor]] = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """torch.nn.functional.triplet_margin_with_distance_loss. Distances other than PairwiseDistance are computed by torch."""
    is_pairwise = distance_function is None or (
        type(distance_function) is torch.nn.PairwiseDistance and not distance_function.keepdim
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
    size_average: Optional[bool] = None,
    reduce: Optional[bool] = None,
    reduction: str = "mean",
    *,
    penalty: str = "linear",
    kink: str = "zero",
    ignore_index: Optional[int] = None,
    sample_weight: Optional[Tensor] = None,
) -> Tensor:
    """torch.nn.functional.cosine_embedding_loss: 1 - cos for t = 1, max(0, cos - margin) for t = -1."""
    reduction = _legacy(size_average, reduce, reduction)
    extra = _options(penalty, kink, ignore_index)

    def torchs() -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction)

    is_theirs = not extra and sample_weight is None
    return _of_vectors(
        f"cosine margin={margin}{extra}",
        (input1, input2, target),
        sample_weight,
        reduction,
        _are_vectors(input1, input2) and target.shape == input1.shape[:-1] and not target.requires_grad,
        torchs if is_theirs else None,
    )


class _Extras:
    """Arguments beyond torch's, kept as attributes."""

    def _keep(self, **extras: Any) -> None:
        self._extras = {name: value for name, value in extras.items() if value is not None}


class HingeEmbeddingLoss(torch.nn.HingeEmbeddingLoss, _Extras):
    """torch.nn.HingeEmbeddingLoss."""

    def __init__(
        self,
        margin: float = 1.0,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        kink: str = "zero",
        ignore_index: Optional[int] = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self._keep(kink=kink, ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Optional[Tensor] = None) -> Tensor:
        return hinge_embedding_loss(
            input, target, self.margin, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


class SoftMarginLoss(torch.nn.SoftMarginLoss, _Extras):
    """torch.nn.SoftMarginLoss, finite for every finite score."""

    def __init__(
        self,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        ignore_index: Optional[int] = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep(ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Optional[Tensor] = None) -> Tensor:
        return soft_margin_loss(input, target, reduction=self.reduction, sample_weight=sample_weight, **self._extras)


class MarginRankingLoss(torch.nn.MarginRankingLoss, _Extras):
    """torch.nn.MarginRankingLoss."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        penalty: str = "linear",
        kink: str = "zero",
        ignore_index: Optional[int] = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, sample_weight: Optional[Tensor] = None
    ) -> Tensor:
        return margin_ranking_loss(
            input1, input2, target, self.margin, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


class MultiMarginLoss(torch.nn.MultiMarginLoss, _Extras):
    """torch.nn.MultiMarginLoss (Weston-Watkins)."""

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Optional[Tensor] = None,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        penalty: Optional[str] = None,
        kink: str = "zero",
        ignore_index: Optional[int] = None,
    ) -> None:
        super().__init__(p, margin, weight, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=None if kink == "zero" else kink, ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Optional[Tensor] = None) -> Tensor:
        # By the table of buffers: looking a buffer up as an attribute takes longer than all other lines here.
        weight = self._buffers["weight"]
        is_plain = weight is None and sample_weight is None and not self._extras
        if is_plain and self.p == 1 and target.dtype is torch.long:
            # The functional's way, without its other cases: it takes a tenth of a small batch's time.
            try:
                spec = f"weston_watkins margin={self.margin} penalty=linear over_classes=mean"
                return _evaluate(spec, (input, target), None, None, self.reduction)
            except (InputError, ElementTypeError):
                pass
        if self._extras or sample_weight is not None:
            return multi_margin_loss(
                input, target, self.p, self.margin, weight, None, None, self.reduction,
                sample_weight=sample_weight, **self._extras,
            )  # fmt: skip
        return multi_margin_loss(input, target, self.p, self.margin, weight, None, None, self.reduction)


class MultiLabelMarginLoss(torch.nn.MultiLabelMarginLoss, _Extras):
    """torch.nn.MultiLabelMarginLoss, with a margin."""

    def __init__(
        self,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        margin: float = 1.0,
        penalty: str = "linear",
        kink: str = "zero",
        ignore_index: Optional[int] = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._keep(margin=margin, penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(self, input: Tensor, target: Tensor, sample_weight: Optional[Tensor] = None) -> Tensor:
        return multilabel_margin_loss(
            input, target, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


class TripletMarginLoss(torch.nn.TripletMarginLoss, _Extras):
    """torch.nn.TripletMarginLoss."""

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        penalty: str = "linear",
        kink: str = "zero",
    ) -> None:
        super().__init__(margin, p, eps, swap, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=kink)

    def forward(
        self, anchor: Tensor, positive: Tensor, negative: Tensor, sample_weight: Optional[Tensor] = None
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


class CosineEmbeddingLoss(torch.nn.CosineEmbeddingLoss, _Extras):
    """torch.nn.CosineEmbeddingLoss."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: Optional[bool] = None,
        reduce: Optional[bool] = None,
        reduction: str = "mean",
        *,
        penalty: str = "linear",
        kink: str = "zero",
        ignore_index: Optional[int] = None,
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self._keep(penalty=penalty, kink=kink, ignore_index=ignore_index)

    def forward(
        self, input1: Tensor, input2: Tensor, target: Tensor, sample_weight: Optional[Tensor] = None
    ) -> Tensor:
        return cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction, sample_weight=sample_weight, **self._extras
        )


def max_margin_loss(
    loss: _losses.Loss, *tensors: Tensor, reduction: str = "mean", sample_weight: Optional[Tensor] = None
) -> Tensor:
    """Any loss of the package as a differentiable function of tensors, in the order of :func:`maxmargin.evaluate`."""
    return MaxMarginLoss(loss, reduction=reduction)(*tensors, sample_weight=sample_weight)


class MaxMarginLoss(torch.nn.Module):
    """A module of any loss of the package: :class:`maxmargin.BinaryHinge`, :class:`maxmargin.CrammerSinger` and the others.

    ``forward`` takes the tensors of :func:`maxmargin.evaluate` and ``sample_weight``. A loss with class weights keeps them as the
    buffer ``weight``.
    """

    weight: Optional[Tensor]

    def __init__(self, loss: _losses.Loss, *, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f"{reduction} is not a valid value for reduction")
        self.loss = loss
        self.reduction = reduction
        weights = getattr(loss, "class_weights", None)
        self.register_buffer("weight", None if weights is None else torch.tensor(weights, dtype=torch.float64))
        self._spec = _spec(loss)

    def forward(self, *tensors: Tensor, sample_weight: Optional[Tensor] = None) -> Tensor:
        _on_cpu(*tensors)
        return _evaluate(self._spec, tensors, self.weight, sample_weight, self.reduction)

    def extra_repr(self) -> str:
        return f"{self.loss!r}, reduction={self.reduction!r}"


def _spec(loss: _losses.Loss) -> str:
    options = {name: value for name, value in vars(loss).items() if name not in ("_native", "class_weights")}
    if options.pop("margin_matrix", None) is not None:
        # Too long for a text: the loss is known by the name of its matrix.
        spec = f"{loss.name} {loss._native.json()}".replace(" ", "_")
        _NATIVE[spec] = loss._native
        return spec
    return " ".join([loss.name, *(f"{name}={value}" for name, value in options.items() if value is not None)])


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
