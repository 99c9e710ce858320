"""Losses as differentiable functions of tensors: in eager code, under torch.func, and as operators for torch.compile."""

# torch reads the annotations of operators, so they are not postponed.
import ast
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .. import _losses, _maxmargin
from .._errors import DeviceError, ElementTypeError, InputError

# A loss is passed on as a text, which torch.compile keeps in a graph as a constant: its name, and its options as NAME=VALUE or all
# together as JSON.
_NATIVE: dict[str, _maxmargin.NativeLoss] = {}
# By the first letters of a loss, which are found faster than its name.
_VECTORS = {name[:3]: count for name, count in _losses.VECTORS.items()}
_COMPUTED = (torch.float32, torch.float64)
_CPU = torch.device("cpu")
# What shows its memory; a subclass may have none.
_TENSORS = frozenset((Tensor, torch.nn.Parameter))
# Bound once: in a small batch each lookup shows.
_is_compiling = torch.compiler.is_compiling
_is_grad_enabled = torch.is_grad_enabled
_empty_like = torch.empty_like
_scalar_tensor = torch.scalar_tensor
_is_tracing = torch._C._is_tracing
_modes = torch._C._len_torch_dispatch_stack
_are_transforms_active = torch._C._are_functorch_transforms_active


def _native(spec: str, class_weights: Optional[Tensor]) -> _maxmargin.NativeLoss:
    native = _NATIVE.get(spec)
    if native is None:
        name, _, options = spec.partition(" ")
        if options.startswith("{"):
            native = _maxmargin.NativeLoss.from_json(options)
        else:
            pairs = (option.partition("=") for option in options.split())
            native = _maxmargin.NativeLoss(name, **{key: _parsed(value) for key, _, value in pairs})
        if len(_NATIVE) > 1000:
            _NATIVE.clear()
        _NATIVE[spec] = native
    return native if class_weights is None else native.with_class_weights(class_weights.detach().double().tolist())


def _parsed(value: str) -> Any:
    for parse in (ast.literal_eval, float):
        try:
            return parse(value)
        except (ValueError, SyntaxError):
            pass
    return value


def spec_of(loss: _losses.Loss) -> str:
    """The loss as a text, without class weights."""
    plain = replace(loss, class_weights=None) if isinstance(loss, _losses._Multiclass) else loss
    return f"{loss.name} {plain._native.json()}"


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
            gradient = torch.empty(x.shape if parts is None else (parts, *x.shape), dtype=computed, device=_CPU)
    if reduction == "none":
        is_elementwise = spec.startswith(_losses.ELEMENTWISE)
        losses = torch.empty(x.shape if is_elementwise else x.shape[:1], dtype=computed, device=_CPU)
    numbers = _maxmargin.evaluate(
        _native(spec, class_weights),
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
    return torch.scalar_tensor(value, dtype=computed, device=_CPU) if losses is None else losses, gradient


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
    is_linear = "penalty" not in spec or "penalty=linear" in spec or '"penalty":"Linear"' in spec
    if not is_linear or spec.startswith(("triplet", "cosine")):
        raise NotImplementedError(f"maxmargin: the second derivative of {spec.partition(' ')[0]} is not implemented")


def _parts(arguments: tuple[Any, ...]) -> tuple[_Call, tuple[Tensor, ...]]:
    """The arguments of a function below: those of a call one by one, since torch looks for tensors among them."""
    spec, class_weights, sample_weights, reduction, *tensors = arguments
    return (spec, class_weights, sample_weights, reduction), tuple(tensors)


def _each(function: Any, info: Any, in_dims: tuple[Any, ...], arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    """The rule of vmap: one example after the other."""
    results = []
    for place in range(info.batch_size):
        one = [x if dim is None else x.select(dim, place) for x, dim in zip(arguments, in_dims, strict=True)]
        results.append(function.apply(*one))
    if isinstance(results[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])
    return torch.stack(results), 0


class _Gradient(torch.autograd.Function):
    """The gradient as a function of its own: linear in what comes from behind, and of zero slope in the scores, or none."""

    @staticmethod
    def forward(grad_output, *arguments):
        call, tensors = _parts(arguments)
        return tuple(_scaled(call, _run(call, tensors, True)[1], grad_output, tensors))

    @staticmethod
    def setup_context(ctx, inputs, output):
        grad_output, *arguments = inputs
        ctx.call, tensors = _parts(arguments)
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
        return of_output, None, None, None, None, *zeros

    @staticmethod
    def vmap(info, in_dims, *arguments):
        return _each(_Gradient, info, in_dims, arguments)


class _Eager(torch.autograd.Function):
    """Value and gradient in one pass. The gradient is an attribute, which backward gives away: it becomes the scores' own
    gradient without a copy. What is saved is looked at again only where a graph is walked twice, or differentiated."""

    @staticmethod
    def forward(ctx, *arguments):
        ctx.call, tensors = _parts(arguments)
        value, ctx.gradient = _run(ctx.call, tensors, True)
        ctx.save_for_backward(*tensors)
        return value

    @staticmethod
    def backward(ctx, grad_output):
        gradient, ctx.gradient = ctx.gradient, None
        tensors = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradients = _Gradient.apply(grad_output, *ctx.call, *tensors)
        else:
            if gradient is None:
                gradient = _run(ctx.call, tensors, True)[1]
            gradients = _scaled(ctx.call, gradient, grad_output, tensors)
        return None, None, None, None, *gradients, *(None,) * (len(tensors) - len(gradients))


class _Scores(torch.autograd.Function):
    """As _Eager, for scores and targets alone, and one number as the value: what is most common and often small, where each line
    shows in the time. Scores are contiguous and of the type of the computation, or else the native part refuses."""

    @staticmethod
    def forward(ctx, scores, call):
        target, spec, reduction = call
        ctx.gradient = gradient = _empty_like(scores)
        native = _NATIVE.get(spec) or _native(spec, None)
        value: Any = native.value_and_gradient(scores, target, reduction, gradient)
        ctx.save_for_backward(scores, target)
        ctx.call = call
        return _scalar_tensor(value, dtype=scores.dtype, device=_CPU)

    @staticmethod
    def backward(ctx, grad_output):
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None or _is_grad_enabled():
            return _again(ctx, grad_output), None
        return gradient if grad_output.item() == 1.0 else gradient * grad_output, None


def _again(ctx: Any, grad_output: Tensor) -> Any:
    """The gradient of a graph that was kept, or that is differentiated."""
    tensors, call = ctx.saved_tensors, (ctx.call[1], None, None, ctx.call[2])
    if torch.is_grad_enabled():
        return _Gradient.apply(grad_output, *call, *tensors)[0]
    return _run(call, tensors, True)[1] * grad_output


# Function.apply looks first for transforms and a setup_context, of which there are none where these are called.
_apply_eager = super(torch.autograd.Function, _Eager).apply
_apply_scores = super(torch.autograd.Function, _Scores).apply


def value_of_scores(spec: str, scores: Tensor, target: Tensor, reduction: str) -> Any:
    """The quick way of :func:`evaluate` where it can be taken, or else None."""
    if (
        _is_compiling()
        or _modes()
        or _is_tracing()
        or type(scores) not in _TENSORS
        or _are_transforms_active()
        or forward_ad._current_level >= 0
        or not scores.requires_grad
        or not _is_grad_enabled()
        or reduction == "none"
    ):
        return None
    try:
        return _apply_scores(scores, (target, spec, reduction))
    except (InputError, ElementTypeError, DeviceError):
        # The other way says what is wrong, or finds that nothing is.
        return None


class _Transformed(torch.autograd.Function):
    """For torch.func: the value, and the gradient once it is asked for."""

    @staticmethod
    def forward(*arguments):
        return _run(*_parts(arguments), False)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.call, tensors = _parts(inputs)
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx, grad_output):
        tensors = ctx.saved_tensors
        gradients = _Gradient.apply(grad_output, *ctx.call, *tensors)
        return None, None, None, None, *gradients, *(None,) * (len(tensors) - len(gradients))

    @staticmethod
    def vmap(info, in_dims, *arguments):
        return _each(_Transformed, info, in_dims, arguments)


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
    shape = (x.shape if spec.startswith(_losses.ELEMENTWISE) else x.shape[:1]) if reduction == "none" else ()
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


def evaluate(
    spec: str,
    tensors: tuple[Tensor, ...],
    class_weights: Optional[Tensor],
    sample_weights: Optional[Tensor],
    reduction: str,
) -> Any:
    """The value or the losses, differentiable in whatever way torch is asked for at the time."""
    x = tensors[0]
    if _is_compiling() or _modes() or _is_tracing() or type(x) not in _TENSORS or not x.is_cpu:
        return _by_operator(spec, tensors, class_weights, sample_weights, reduction)
    if _are_transforms_active() or forward_ad._current_level >= 0:
        return _Transformed.apply(spec, class_weights, sample_weights, reduction, *tensors)
    if _is_grad_enabled():
        for weights in (class_weights, sample_weights):
            if weights is not None and weights.requires_grad:
                raise RuntimeError("a loss of maxmargin is not differentiable with respect to its weights")
        for one in tensors:
            if one.requires_grad:
                return _apply_eager(spec, class_weights, sample_weights, reduction, *tensors)
    return _run((spec, class_weights, sample_weights, reduction), tensors, False)[0]


def _by_operator(
    spec: str,
    tensors: tuple[Tensor, ...],
    class_weights: Optional[Tensor],
    sample_weights: Optional[Tensor],
    reduction: str,
) -> Any:
    """Where torch follows what is computed, or tensors are not plain memory: it then sees an operator."""
    for x in tensors:
        if not isinstance(x, Tensor):
            raise TypeError(f"expected tensors, got {type(x).__name__}")
    refuse_elsewhere(tensors)
    return _loss_op(spec, tensors, class_weights, sample_weights, reduction)


def refuse_elsewhere(tensors: Sequence[Any]) -> None:
    """An error for a tensor on another device than the CPU; a meta tensor is on none."""
    for x in tensors:
        if isinstance(x, Tensor) and x.device.type not in ("cpu", "meta"):
            raise DeviceError(
                f"maxmargin computes on the CPU, and a tensor is on {x.device}; call .cpu() on scores and targets first"
            )
