"""Evaluating losses, once or over batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from . import _maxmargin
from ._arrays import as_array, computes_in_f64, is_array
from ._errors import InputError, wrong
from ._losses import ELEMENTWISE, VECTORS, Loss

__all__ = ["Evaluation", "Metric", "evaluate"]

Reduction = Literal["mean", "sum", "none", "mean-over-count", "mean-active"]
ScoreKind = Literal["raw", "probability", "logit", "guessed"]
DeviceLike = str | _maxmargin.Device | None


@dataclass(slots=True, eq=False)
class Evaluation:
    """The numbers of one pass over the scores."""

    #: The reduced value; None with reduction "none" and with values per class.
    value: float | None
    #: One value per class, if asked for.
    per_class: list[float] | None
    #: Samples that were not ignored.
    count: int
    #: The sum of their weights, or their count where there are none.
    weight_sum: float
    #: Samples with any margin violation.
    active: int
    #: Samples predicted right; None where the loss predicts nothing.
    correct: int | None
    #: ``f32`` or ``f64``: the precision of the arithmetic per sample.
    precision: str
    #: The loss of each sample, if asked for.
    losses: NDArray[Any] | None = None
    #: The gradient with respect to the scores, if asked for.
    gradient: NDArray[Any] | None = None

    @property
    def accuracy(self) -> float | None:
        """``correct / count``; None where the loss predicts nothing or no sample was counted."""
        return None if self.correct is None or self.count == 0 else self.correct / self.count


def evaluate(
    loss: Loss,
    *arrays: Any,
    sample_weights: Any = None,
    reduction: Reduction = "mean",
    gradient: bool = False,
    losses: bool = False,
    per_class: bool = False,
    divisor: float | None = None,
    score_kind: ScoreKind = "raw",
    device: DeviceLike = None,
    out: NDArray[Any] | None = None,
    losses_out: NDArray[Any] | None = None,
) -> Evaluation:
    """Evaluate a loss over arrays: one pass over the scores for everything that is asked for.

    >>> import maxmargin as mm
    >>> scores = np.array([[0.25, 0.20, 0.55], [0.55, 0.05, 0.40]], np.float32)
    >>> mm.evaluate(mm.CrammerSinger(), scores, [0, 1], gradient=True).gradient
    array([[-0.5,  0. ,  0.5],
           [ 0.5, -0.5,  0. ]], dtype=float32)

    Args:
        loss: A loss of this package.
        arrays: Scores and targets; for MarginRanking and CosineEmbedding first scores, second scores and targets; for
            TripletMargin anchors, positives and negatives. Anything with the buffer protocol, DLPack or ``__array__``.
            Scores in float16, bfloat16, float32 or float64; targets in any type. Shapes are equal but for axes of
            length 1; nothing is broadcast.
        sample_weights: One non-negative weight per sample, finite in float32.
        reduction: ``mean`` divides by the sum of the weights, ``mean-over-count`` by the number of samples, ``mean-active`` by
            that of samples with a violation, which has no gradient.
        gradient: Whether to return the gradient of the reduced value, in the shape of the scores.
        losses: Whether to return the loss of each sample.
        per_class: One value per class instead of one (OneVsAll, reduced by ``mean`` or ``sum``).
        divisor: The gradient is that of the sum divided by this number: a part's share of a larger batch's mean.
        score_kind: What the scores are: ``raw``, ``probability`` or ``logit`` (the loss then sees their sigmoid or softmax).
            ``guessed`` is torchmetrics's rule: logits where any score of the batch is outside [0, 1], else probabilities.
        device: ``cpu``, ``gpu``, ``gpu:N``, ``auto`` (a real GPU or the CPU), part of an adapter's name, or a :class:`Device`. Without it the environment variable
            MAXMARGIN_DEVICE decides, or else it is the CPU: arrays are in its memory.
        out: The gradient's memory: float64 for float64 scores on the CPU, else float32.
        losses_out: The losses' memory, one per sample.

    Raises:
        InputError: With the first bad index and value.
        ElementTypeError, DeviceError.
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"loss: expected a loss of maxmargin, got {_words(loss)}")
    if gradient or losses or reduction == "none" or divisor is not None:
        # Their memory is allocated here, in the type of the computation.
        if arrays and not is_array(arrays[0]):
            arrays = (as_array(arrays[0], "scores"), *arrays[1:])
        dtype = np.float64 if arrays and computes_in_f64(arrays[0]) and _is_cpu(device) else np.float32
        shape = tuple(arrays[0].shape) if arrays else ()
        if (gradient or divisor is not None) and out is None:
            parts = (VECTORS[loss.name],) if loss.name in VECTORS else ()
            out = np.empty(parts + shape, dtype)
        if (losses or reduction == "none") and losses_out is None:
            losses_out = np.empty(shape if loss.name in ELEMENTWISE else shape[:1], dtype)
    numbers = _maxmargin.evaluate(
        loss._native,
        arrays,
        sample_weights,
        score_kind,
        reduction,
        divisor,
        per_class,
        device,
        _with_axes(losses_out),
        _with_axes(out),
    )
    return Evaluation(*numbers, losses_out, out)


def _with_axes(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """An array of no axes as one of a single element, in the same memory."""
    return array.reshape(1) if isinstance(array, np.ndarray) and array.ndim == 0 else array


def _words(x: object) -> str:
    return f"the class {x.__name__}: call it first" if isinstance(x, type) else type(x).__name__



def _is_cpu(device: DeviceLike) -> bool:
    return not (device if isinstance(device, _maxmargin.Device) else _maxmargin.Device(device)).is_gpu


class Metric:
    """A loss over batches: update, compute, reset, merge, save.

    Sums are exact: the same batches give the same bits in any order, and so do metrics of parts of them that are merged in
    any order. A failed update leaves the metric as it was.

    >>> import maxmargin as mm
    >>> metric = mm.Metric(mm.BinaryHinge(labels="zero-one"))
    >>> metric.update([0.5, 0.7], [0, 1])
    >>> metric.update([0.1], [1])
    >>> round(metric.compute().value, 6)
    0.9
    """

    __slots__ = ("_native", "device", "loss", "per_class", "reduction", "score_kind")

    def __init__(
        self,
        loss: Loss,
        *,
        reduction: Reduction = "mean",
        per_class: bool = False,
        score_kind: ScoreKind = "raw",
        device: DeviceLike = None,
    ) -> None:
        if not isinstance(loss, Loss):
            raise TypeError(f"loss: expected a loss of maxmargin, got {_words(loss)}")
        if score_kind not in get_args(ScoreKind):
            raise wrong(InputError, "score_kind", f"one of {', '.join(get_args(ScoreKind))}", repr(score_kind))
        self.loss = loss
        self.reduction = reduction
        self.per_class = per_class
        self.score_kind = score_kind
        self.device = device
        self._native = _maxmargin.NativeMetric(loss._native, reduction, per_class)

    def update(self, *arrays: Any, sample_weights: Any = None) -> None:
        """Add a batch: the arrays of :func:`evaluate`."""
        self._native.update(self.loss._native, arrays, sample_weights, self.score_kind, self.device)

    def forward(self, *arrays: Any, sample_weights: Any = None) -> tuple[Evaluation, Evaluation]:
        """Add a batch; its own numbers, and those of all batches so far."""
        batch, running = self._native.forward(
            self.loss._native, arrays, sample_weights, self.score_kind, self.device
        )
        return Evaluation(*batch), Evaluation(*running)

    def compute(self) -> Evaluation:
        """The numbers over everything seen. The mean of nothing is an InputError."""
        return Evaluation(*self._native.compute())

    def reset(self) -> None:
        """Forget everything seen."""
        self._native.reset()

    def merge(self, other: Metric) -> None:
        """Add what another metric of the same loss and options has seen."""
        if not isinstance(other, Metric):
            raise TypeError(f"merge: expected a Metric, got {type(other).__name__}")
        if other.score_kind != self.score_kind:
            raise wrong(InputError, "merged metric", f"score_kind {self.score_kind}", other.score_kind)
        self._native.merge(other._native)

    @property
    def updates(self) -> int:
        """Batches seen since the last reset, those of merged metrics included."""
        return self._native.updates

    def state(self) -> bytes:
        """Configuration and sums, every bit of them, as JSON."""
        return self._native.state()

    def load_state(self, state: bytes) -> None:
        """Continue from the bytes of :meth:`state` of a metric with the same loss and options."""
        loaded = _maxmargin.NativeMetric.from_state(state)
        # Merging checks that loss and options are the same.
        fresh = _maxmargin.NativeMetric(self.loss._native, self.reduction, self.per_class)
        fresh.merge(loaded)
        self._native = loaded

    def __getstate__(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in ("loss", "reduction", "per_class", "score_kind", "device")}
        return {"options": options, "state": self.state()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        options = saved["options"]
        self.__init__(options.pop("loss"), **options)  # type: ignore[misc]
        self.load_state(saved["state"])

    def __eq__(self, other: object) -> bool:
        return self.state() == other.state() if isinstance(other, Metric) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        options = [repr(self.loss)]
        defaults = {"reduction": "mean", "per_class": False, "score_kind": "raw", "device": None}
        options += [f"{name}={value!r}" for name in defaults if (value := getattr(self, name)) != defaults[name]]
        return f"Metric({', '.join(options)})"
