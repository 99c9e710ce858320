"""Linear max-margin models (support vector machines) with a certificate of how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _maxmargin
from ._arrays import as_array, whole_number
from ._errors import ElementTypeError, InputError, wrong
from ._evaluate import DeviceLike

__all__ = ["Certificate", "LinearClassifier", "LinearFit", "LinearModel", "LinearPath", "PathModel"]


class Certificate(NamedTuple):
    """How far a model is from the optimum of its problem, computed anew in f64 from data, weights and multipliers."""

    #: The objective at the weights.
    primal: float
    #: A lower bound of the objective at any weights.
    dual: float
    #: primal - dual, as a sum of terms that are never negative.
    gap: float
    #: gap / primal.
    relative_gap: float


class LinearModel:
    """A fitted linear model of two or more classes."""

    __slots__ = ("_native",)
    _native: _maxmargin.NativeLinearModel

    @classmethod
    def _of(cls, native: _maxmargin.NativeLinearModel) -> LinearModel:
        model = cls.__new__(cls)
        model._native = native
        return model

    @property
    def weights(self) -> NDArray[np.float64]:
        """(outputs, columns), in the units of the features as they were given. Two classes have one output."""
        return np.asarray(self._native.weights()).reshape(-1, self._native.columns)

    @property
    def bias(self) -> NDArray[np.float64]:
        """The constant of each output."""
        return np.asarray(self._native.bias())

    @property
    def classes(self) -> NDArray[np.int64]:
        """The labels in ascending order."""
        return np.asarray(self._native.classes())

    @property
    def certificates(self) -> list[Certificate]:
        """One per output, or one for all classes in one problem."""
        return [Certificate(*numbers) for numbers in self._native.certificates()]

    @property
    def relative_gap(self) -> float:
        """The largest relative gap of the outputs."""
        return max(certificate.relative_gap for certificate in self.certificates)

    def decision_values(self, features: Any) -> NDArray[np.float64]:
        """(rows, outputs)."""
        values = np.asarray(self._native.decision_values(_rows(features)))
        return values.reshape(-1, self._native.outputs)

    def labels(self, features: Any) -> NDArray[np.int64]:
        """The label of each row."""
        return np.asarray(self._native.labels(_rows(features)))

    def certain(self, features: Any) -> NDArray[np.bool_]:
        """Whether every optimum of the problem gives each row the same label. Not for a free intercept."""
        return np.asarray(self._native.certain(_rows(features)))

    def to_bytes(self) -> bytes:
        """The model as a safetensors file."""
        return self._native.to_safetensors()

    @classmethod
    def from_bytes(cls, data: bytes) -> LinearModel:
        """The model of a safetensors file."""
        return cls._of(_maxmargin.NativeLinearModel.from_safetensors(data))

    def save(self, path: str | Path) -> None:
        """Write the model as a safetensors file, which ``maxmargin predict --model`` reads."""
        Path(path).write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> LinearModel:
        """Read what :meth:`save` or the program ``maxmargin fit`` wrote."""
        return cls.from_bytes(Path(path).read_bytes())

    def __reduce__(self) -> tuple[Any, ...]:
        return (LinearModel.from_bytes, (self.to_bytes(),))

    def __eq__(self, other: object) -> bool:
        return self.to_bytes() == other.to_bytes() if isinstance(other, LinearModel) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        outputs, columns = self.weights.shape
        return f"<LinearModel: {len(self.classes)} classes, {outputs} x {columns} weights, gap {self.relative_gap:.1e}>"


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A fitted model, and how its fit went."""

    model: LinearModel
    #: ``converged``, ``passes`` (used up), ``precision`` (no smaller gap in f64) or ``stopped``.
    end: str
    #: Reads of all features.
    passes: float
    newton_steps: int
    #: Of the Newton steps, those that a GPU took.
    steps_on_gpu: int
    #: Rows with a multiplier above 0 in at least one problem.
    support_vectors: int
    #: (outputs, rows), each from 0 to its cost.
    multipliers: NDArray[np.float64]


class PathModel(NamedTuple):
    """One model of a path."""

    C: float
    #: The part that was held out; None where rows of their own are the judge.
    fold: int | None
    primal: float
    relative_gap: float
    end: str
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, eq=False)
class LinearPath:
    """The models of all C, and the best C fitted again on all rows."""

    models: list[PathModel]
    best_C: float
    fit: LinearFit


Progress = Callable[[float, int, float], bool | None]


@dataclass(frozen=True, kw_only=True)
class LinearClassifier:
    """How to fit a linear model: minimises 1/2 ||w||^2 + C * the sum of weight times loss over the rows.

    >>> import maxmargin as mm
    >>> features = np.array([[0, 1], [1, 3], [4, 1], [5, 3]], np.float32)
    >>> fit = mm.LinearClassifier(C=10.0, gap=1e-6).fit(features, [0, 0, 1, 1])
    >>> fit.model.labels(features).tolist(), fit.end, fit.model.relative_gap <= 1e-6
    ([0, 0, 1, 1], 'converged', True)

    Args:
        loss: ``hinge``, ``squared-hinge``, or ``smooth-hinge`` with ``gamma``.
        C: The cost factor of the losses, as in scikit-learn's LinearSVC and SVC.
        intercept: ``penalized`` as the weight of a feature of value ``intercept_scale`` (LinearSVC), ``free`` (SVC) or ``none``.
        standardize: Whether to solve for features of mean 0 and standard deviation 1. The model's weights are for the
            features as given.
        class_weights: One factor of C per class, or ``balanced``.
        multiclass: ``one-vs-rest``, or all classes in one problem: ``crammer-singer``, ``weston-watkins``.
        gap: The relative duality gap to reach.
        max_passes: The most reads of all features, for each problem.
        device: Where the steps are taken that read every row (dense rows, one against the rest).
    """

    loss: Literal["hinge", "squared-hinge", "smooth-hinge"] = "hinge"
    C: float = 1.0
    gamma: float = 1.0
    intercept: Literal["penalized", "free", "none"] = "penalized"
    intercept_scale: float = 1.0
    standardize: bool = False
    class_weights: Literal["balanced"] | Sequence[float] | None = None
    multiclass: Literal["one-vs-rest", "crammer-singer", "weston-watkins"] = "one-vs-rest"
    gap: float = 1e-4
    max_passes: float = 1000.0
    device: DeviceLike = None

    def _options(self) -> dict[str, Any]:
        options = dict(self.__dict__)
        for name in ("C", "gamma", "intercept_scale", "gap", "max_passes"):
            try:
                options[name] = float(options[name])
            except (TypeError, ValueError, OverflowError):
                raise wrong(InputError, name, "a number", repr(options[name])) from None
        weights = options["class_weights"]
        if weights is not None and not isinstance(weights, str):
            options["class_weights"] = np.asarray(weights, np.float64).ravel().tolist()
        return options

    def fit(
        self,
        features: Any,
        labels: Any,
        *,
        sample_weights: Any = None,
        start: LinearModel | None = None,
        on_progress: Progress | None = None,
    ) -> LinearFit:
        """Fit a model to rows of features, dense (floats, uint8 as 0 to 255) or of SciPy's CSR, and whole-number labels.

        ``start`` gives the weights to start from. ``on_progress`` gets passes, Newton steps and the gap (not yet certified),
        and ends the fit by returning False. A fit that falls short is no error: ``end`` and the certificate say so.
        """
        if start is not None and not isinstance(start, LinearModel):
            raise TypeError(f"start: expected a LinearModel, got {type(start).__name__}")
        native, how, multipliers = _maxmargin.linear_fit(
            self._options(),
            _rows(features),
            labels,
            _weights(sample_weights),
            None if start is None else start._native,
            on_progress,
        )
        return _fit(native, how, multipliers)

    def fit_path(
        self,
        features: Any,
        labels: Any,
        Cs: Sequence[float],
        *,
        sample_weights: Any = None,
        folds: int = 5,
        seed: int = 0,
        validation: tuple[Any, Any] | None = None,
        on_progress: Progress | None = None,
    ) -> LinearPath:
        """Fit a model for each C and each of ``folds`` parts, and then the best C on all rows.

        With ``validation`` (features, labels) there are no parts: these rows judge.
        """
        native, how, multipliers, best, models = _maxmargin.linear_path(
            self._options(),
            _rows(features),
            labels,
            _weights(sample_weights),
            [float(c) for c in Cs],
            whole_number("folds", folds, 2),
            whole_number("seed", seed),
            None if validation is None else (_rows(validation[0]), validation[1]),
            on_progress,
        )
        return LinearPath([PathModel(**model) for model in models], best, _fit(native, how, multipliers))


def _fit(native: _maxmargin.NativeLinearModel, how: dict[str, Any], multipliers: _maxmargin.Numbers) -> LinearFit:
    model = LinearModel._of(native)
    outputs = native.outputs
    return LinearFit(model, multipliers=np.asarray(multipliers).reshape(outputs, -1), **how)


def _weights(weights: Any) -> NDArray[np.float64] | None:
    return None if weights is None else np.ascontiguousarray(as_array(weights, "sample_weights"), np.float64)


def _rows(features: Any) -> Any:
    """Rows as the native part takes them: an array, or the parts of a sparse matrix in CSR."""
    if not hasattr(features, "tocsr"):
        return features
    matrix = features.tocsr()
    if matrix.ndim != 2:
        raise wrong(InputError, "features", "a matrix", f"{matrix.ndim} dimensions")
    if matrix.dtype.kind not in "biuf":
        raise wrong(ElementTypeError, "features", "numbers", str(matrix.dtype))
    try:
        # SciPy's own functions trust their starts and columns.
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise wrong(InputError, "features", "rows in compressed form (CSR)", str(error)) from None
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    values = matrix.data
    if values.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        values = values.astype(np.float64)
    indices = matrix.indices
    if indices.dtype.itemsize != 4:
        if matrix.shape[1] >= 1 << 32:
            raise wrong(InputError, "features", "fewer than 2^32 columns", str(matrix.shape[1]))
        indices = indices.astype(np.uint32)
    # A negative column becomes one beyond the last, which is refused.
    return (matrix.indptr.astype(np.int64, copy=False).view(np.uint64), indices.view(np.uint32), values, matrix.shape[1])
