"""The losses: values with options, the same for every device. Each names the formula of one sample and its peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal

from . import _maxmargin

__all__ = [
    "BinaryHinge",
    "CategoricalHinge",
    "CosineEmbedding",
    "CrammerSinger",
    "EmbeddingHinge",
    "LeeLinWahba",
    "ListwiseHinge",
    "Loss",
    "LovaszHinge",
    "MarginRanking",
    "MultilabelMargin",
    "OneVsAll",
    "TopK",
    "TripletMargin",
    "WestonWatkins",
]

#: Losses with one sample for each score; all others have one for each row.
ELEMENTWISE = ("binary", "embedding", "ranking")
#: Losses of vectors, and how many of them a sample has: so many parts has a gradient.
VECTORS = {"triplet": 3, "cosine": 2}

Kink = Literal["zero", "half", "active"]
Ties = Literal["first", "split"]
Labels = Literal["plus-minus-one", "zero-one"]
Over = Literal["sum", "mean"]


@dataclass(frozen=True)
class Loss:
    """What every loss is: a value with options.

    ``penalty`` is ``linear``, ``squared``, ``softplus``, ``rennie``, ``modified-huber``, ``smooth:GAMMA`` or
    ``smooth:GAMMA:SCALE``. ``kink`` is the slope where a margin is met exactly: ``zero`` (torch), ``half`` (JAX) or ``active``.
    Samples whose target is ``ignore_index`` are left out.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        # Options are checked where they are given.
        self.__dict__["_native"] = self._build()

    def _build(self) -> _maxmargin.NativeLoss:
        return _maxmargin.NativeLoss(self.name, **{field.name: getattr(self, field.name) for field in fields(self)})

    @cached_property
    def _native(self) -> _maxmargin.NativeLoss:
        # After unpickling.
        return self._build()

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def has_accuracy(self) -> bool:
        """Whether the loss makes a prediction, so that accuracy has a meaning."""
        return self._native.has_accuracy

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class BinaryHinge(Loss):
    """phi(margin - t*s) for a score s and a label t of -1 or +1: the loss of the support vector machine.

    Takes scores of any shape and as many targets. Scores are raw: no sigmoid is applied unless ``score_kind`` asks for it.
    A positive score predicts +1. Peers: scikit-learn's ``hinge_loss``, torchmetrics's ``BinaryHingeLoss`` on raw scores.
    """

    name: ClassVar[str] = "binary"
    margin: float = 1.0
    penalty: str = "linear"
    kink: Kink = "zero"
    labels: Labels = "plus-minus-one"
    ignore_index: int | None = None

    @classmethod
    def perceptron(cls) -> BinaryHinge:
        """max(0, -t*s), Rosenblatt's perceptron: the linear penalty at margin 0."""
        return cls(margin=0.0)

    @classmethod
    def soft_margin(cls) -> BinaryHinge:
        """ln(1 + exp(-t*s)), torch's SoftMarginLoss: softplus at margin 0, finite for every finite score."""
        return cls(margin=0.0, penalty="softplus")


@dataclass(frozen=True, kw_only=True)
class EmbeddingHinge(Loss):
    """s for t = 1, max(0, margin - s) for t = -1, both terms for any other t: torch's HingeEmbeddingLoss.

    This is not the hinge of a classifier: s is a distance, and minimising the loss drives it against the labels.
    """

    name: ClassVar[str] = "embedding"
    margin: float = 1.0
    kink: Kink = "zero"
    ignore_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class MarginRanking(Loss):
    """phi(margin - t*(x1 - x2)): t = 1 says that x1 should be the higher of two scores. torch's MarginRankingLoss.

    Takes first scores, second scores and targets. The gradient is that of the first scores; for raw scores, that of the
    second ones is its negative.
    """

    name: ClassVar[str] = "ranking"
    margin: float = 0.0
    penalty: str = "linear"
    kink: Kink = "zero"
    ignore_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Multiclass(Loss):
    margin: float = 1.0
    penalty: str = "linear"
    kink: Kink = "zero"
    ties: Ties = "first"
    class_weights: Sequence[float] | None = None
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        if self.class_weights is not None:
            self._set("class_weights", tuple(float(weight) for weight in self.class_weights))
        matrix = getattr(self, "margin_matrix", None)
        if matrix is not None:
            self._set("margin_matrix", tuple(tuple(float(margin) for margin in row) for row in matrix))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class CrammerSinger(_Multiclass):
    """phi(margin + max over i != y of (s_i - s_y)) for a row of scores s and its class y.

    Takes (N, C) scores and N class indices. ``margin_matrix`` gives each pair of classes a margin of its own: row y,
    column i is that of the true class y over the rival i. Peers: scikit-learn, torchmetrics, optax.
    """

    name: ClassVar[str] = "crammer_singer"
    margin_matrix: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True, kw_only=True)
class WestonWatkins(_Multiclass):
    """The sum over i != y of phi(margin + s_i - s_y); with ``over_classes="mean"`` divided by C, as torch's MultiMarginLoss."""

    name: ClassVar[str] = "weston_watkins"
    over_classes: Over = "sum"
    margin_matrix: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True, kw_only=True)
class LeeLinWahba(_Multiclass):
    """The sum over i != y of phi(s_i + margin/(C-1)), for scores that sum to zero."""

    name: ClassVar[str] = "lee_lin_wahba"
    over_classes: Over = "sum"


@dataclass(frozen=True, kw_only=True)
class OneVsAll(_Multiclass):
    """The sum over i of phi(margin - t_i*s_i), t_i = +1 for i = y, else -1. The only loss with a value per class."""

    name: ClassVar[str] = "one_vs_all"
    over_classes: Over = "sum"


@dataclass(frozen=True, kw_only=True)
class TopK(_Multiclass):
    """phi(mean of the k largest of 0 and margin + s_i - s_y for i != y): for models judged by their first k answers."""

    name: ClassVar[str] = "top_k"
    k: int
    margin_matrix: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True, kw_only=True)
class MultilabelMargin(Loss):
    """The sum of phi(margin + s_i - s_j) over labels j and all other classes i, divided by C: torch's MultiLabelMarginLoss.

    Takes (N, C) scores and (N, C) targets: the classes of a row, ended by a negative number.
    """

    name: ClassVar[str] = "multilabel"
    margin: float = 1.0
    penalty: str = "linear"
    kink: Kink = "zero"
    over_classes: Over = "mean"
    ignore_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class CategoricalHinge(Loss):
    """phi(margin + max of (1 - y_i)*s_i - sum of y_i*s_i): Keras's CategoricalHinge, which is not Crammer-Singer.

    Takes (N, C) scores and (N, C) targets of 0 and 1, or N class indices.
    """

    name: ClassVar[str] = "categorical"
    margin: float = 1.0
    penalty: str = "linear"
    kink: Kink = "zero"
    ties: Ties = "first"
    ignore_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class ListwiseHinge(Loss):
    """The sum over pairs of a list with y_i > y_j of phi(margin - (s_i - s_j)): keras-rs's PairwiseHingeLoss.

    Takes (Q, L) scores and (Q, L) relevances; an item with a negative relevance is padding.
    """

    name: ClassVar[str] = "listwise"
    margin: float = 1.0
    penalty: str = "linear"
    kink: Kink = "zero"
    over_items: Over = "sum"
    ignore_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class LovaszHinge(Loss):
    """phi(margin - t*s) in descending order, times the steps of the Jaccard loss, for each row: kornia's lovasz_hinge_loss."""

    name: ClassVar[str] = "lovasz"
    margin: float = 1.0
    penalty: str = "linear"
    kink: Kink = "zero"
    labels: Labels = "plus-minus-one"
    ignore_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class TripletMargin(Loss):
    """phi(margin + d(a, p) - d(a, n)) of (N, D) anchors, positives and negatives: torch's TripletMarginLoss.

    d is the p-norm of the difference plus ``eps``, or with ``distance="cosine"`` 1 - cos. With ``swap`` the smaller of d(a, n)
    and d(p, n) counts. The gradient has shape (3, N, D).
    """

    name: ClassVar[str] = "triplet"
    margin: float = 1.0
    p: float = 2.0
    eps: float = 1e-6
    swap: bool = False
    distance: Literal["norm", "cosine"] = "norm"
    penalty: str = "linear"
    kink: Kink = "zero"


@dataclass(frozen=True, kw_only=True)
class CosineEmbedding(Loss):
    """phi(1 - cos) for t = 1, phi(cos - margin) for t = -1, 0 for any other t: torch's CosineEmbeddingLoss.

    Takes two times (N, D) vectors and N targets. The gradient has shape (2, N, D).
    """

    name: ClassVar[str] = "cosine"
    margin: float = 0.0
    penalty: str = "linear"
    kink: Kink = "zero"
    ignore_index: int | None = None
