"""Losses for JAX: functions for ``jit``, ``grad`` and ``vmap``, computed by this package on the CPU.

>>> import jax, jax.numpy as jnp
>>> import maxmargin as mm
>>> scores, classes = jnp.array([[0.25, 0.20, 0.55], [0.55, 0.05, 0.40]]), jnp.array([0, 1])
>>> value = jax.jit(lambda scores: max_margin_loss(mm.CrammerSinger(), scores, classes))
>>> round(float(value(scores)), 4), jax.grad(value)(scores).tolist()
(1.4, [[-0.5, 0.0, 0.5], [0.5, -0.5, 0.0]])

Values of half precision are float32, their gradients of the scores' own type. Gradients are of the scores (of MarginRanking and
the losses of vectors, of all of them), not of targets and weights; second derivatives are an error. ``hinge_loss``,
``perceptron_loss``, ``multiclass_hinge_loss`` and ``multiclass_perceptron_loss`` have the arguments and conventions of those in
``optax.losses``, for targets of -1 and +1 and labels within range; others are errors.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from . import _maxmargin
from ._losses import ELEMENTWISE, VECTORS, BinaryHinge, CrammerSinger, Loss

__all__ = [
    "hinge_loss",
    "max_margin_loss",
    "multiclass_hinge_loss",
    "multiclass_perceptron_loss",
    "perceptron_loss",
]

_TARGET = "maxmargin_loss"

jax.ffi.register_ffi_target(_TARGET, _maxmargin.jax_handler(), platform="cpu")

Reduction = Literal["mean", "sum", "none", "mean-over-count"]
_REDUCTIONS = ("mean", "sum", "none", "mean-over-count")


def max_margin_loss(
    loss: Loss,
    *arrays: Any,
    reduction: Reduction = "mean",
    sample_weights: Any = None,
    score_kind: Literal["raw", "probability", "logit"] = "raw",
) -> jax.Array:
    """Any loss of the package as a differentiable function of arrays, in the order of :func:`maxmargin.evaluate`.

    Loss, reduction and score kind are constants of a compiled function. Wrong labels are found when it runs: the error is JAX's,
    and names index and value.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(_REDUCTIONS)}, got {reduction}")
    scores = len(arrays) if loss.name == "triplet" else len(arrays) - 1
    if scores < 1:
        raise TypeError(f"{type(loss).__name__}: expected scores and targets, got {len(arrays)} arrays")
    given = tuple(jnp.asarray(array) for array in arrays)
    # Scores of one floating point type: whole numbers and mixed types are promoted.
    dtype = jnp.result_type(*given[:scores])
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(dtype, jnp.float32)
    given = tuple(array.astype(dtype) for array in given[:scores]) + given[scores:]
    if sample_weights is not None:
        given = (*given, jnp.asarray(sample_weights, jnp.float32))
    call = {
        "loss": json.loads(loss._native.json()),
        "reduction": reduction,
        "score_kind": score_kind,
        "has_weights": sample_weights is not None,
    }
    return _loss(json.dumps(call), loss.name, scores, *given)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _loss(call: str, name: str, scores: int, *arrays: jax.Array) -> jax.Array:
    return _run(call, name, arrays, has_gradient=False)[0]


def _run(call: str, name: str, arrays: tuple[jax.Array, ...], *, has_gradient: bool) -> Any:
    x = arrays[0]
    dtype = jnp.float64 if x.dtype == jnp.float64 else jnp.float32
    is_none = json.loads(call)["reduction"] == "none"
    shape = (x.shape if name in ELEMENTWISE else x.shape[:1]) if is_none else ()
    results = [jax.ShapeDtypeStruct(shape, dtype)]
    if has_gradient:
        parts = (VECTORS[name],) if name in VECTORS else ()
        results.append(jax.ShapeDtypeStruct(parts + x.shape, dtype))
    return jax.ffi.ffi_call(_TARGET, results, vmap_method="sequential")(*arrays, call=call)


def _forward(call: str, name: str, scores: int, *arrays: jax.Array) -> Any:
    value, gradient = _run(call, name, arrays, has_gradient=True)
    return value, (gradient, arrays)


def _backward(call: str, name: str, scores: int, saved: Any, upstream: jax.Array) -> tuple[Any, ...]:
    gradient, arrays = saved
    x = arrays[0]
    # One factor, or one per sample.
    factor = upstream.reshape(upstream.shape + (1,) * (x.ndim - upstream.ndim)) if upstream.ndim else upstream
    gradient = gradient * factor
    if name in VECTORS:
        parts = list(gradient)
    elif name == "ranking":
        parts = [gradient, -gradient]
    else:
        parts = [gradient]
    of_scores = [part.astype(array.dtype) for part, array in zip(parts, arrays, strict=False)]
    return (*of_scores, *(_zeros(array) for array in arrays[scores:]))


def _zeros(array: jax.Array) -> Any:
    is_float = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.zeros_like(array) if is_float else np.zeros(array.shape, jax.dtypes.float0)


_loss.defvjp(_forward, _backward)


def hinge_loss(predictor_outputs: Any, targets: Any) -> jax.Array:
    """optax's ``hinge_loss``: max(0, 1 - t*s) of each score, for targets of -1 and +1. The slope at the kink is one half."""
    return _signed(BinaryHinge(kink="half"), predictor_outputs, targets)


def perceptron_loss(predictor_outputs: Any, targets: Any) -> jax.Array:
    """optax's ``perceptron_loss``: max(0, -t*s) of each score, for targets of -1 and +1."""
    return _signed(BinaryHinge(margin=0.0, kink="half"), predictor_outputs, targets)


def _signed(loss: Loss, scores: Any, targets: Any) -> jax.Array:
    scores, targets = jnp.broadcast_arrays(jnp.asarray(scores), jnp.asarray(targets))
    return max_margin_loss(loss, scores, targets, reduction="none")


def multiclass_hinge_loss(scores: Any, labels: Any) -> jax.Array:
    """optax's ``multiclass_hinge_loss`` (Crammer-Singer) of each row of scores (..., C). Tied rivals share the slope."""
    return _multiclass(CrammerSinger(kink="half", ties="split"), scores, labels)


def multiclass_perceptron_loss(scores: Any, labels: Any) -> jax.Array:
    """optax's ``multiclass_perceptron_loss``: max over i of s_i, minus s_y."""
    return _multiclass(CrammerSinger(margin=0.0, kink="half", ties="split"), scores, labels)


def _multiclass(loss: Loss, scores: Any, labels: Any) -> jax.Array:
    scores, labels = jnp.asarray(scores), jnp.asarray(labels)
    rows = max_margin_loss(loss, scores.reshape(-1, scores.shape[-1]), labels.reshape(-1), reduction="none")
    return rows.reshape(labels.shape)
