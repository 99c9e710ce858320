"""scikit-learn's hinge loss, and its linear support vector machine with a certificate of how good it is."""

from __future__ import annotations

import inspect
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.preprocessing import LabelBinarizer, LabelEncoder
from sklearn.utils import check_array, check_consistent_length, column_or_1d, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ._errors import InputError
from ._evaluate import evaluate
from ._linear import LinearClassifier, LinearFit, LinearModel
from ._losses import BinaryHinge, CrammerSinger

__all__ = ["MaxMarginClassifier", "MaxMarginClassifierCV", "hinge_loss"]


@validate_params(
    {
        "y_true": ["array-like"],
        "pred_decision": ["array-like"],
        "labels": ["array-like", None],
        "sample_weight": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def hinge_loss(y_true: Any, pred_decision: Any, *, labels: Any = None, sample_weight: Any = None) -> float:
    """scikit-learn's ``sklearn.metrics.hinge_loss``: its arguments, its messages, and its numbers.

    Decisions are raw. With two labels the larger one is positive, and a batch of one label counts as negative; with more it is
    Crammer-Singer. The mean is weighted.

    >>> round(hinge_loss([-1, 1, 1], [-2.18, 2.36, 0.09]), 2)
    0.3
    """
    check_consistent_length(y_true, pred_decision, sample_weight)
    pred_decision = check_array(pred_decision, ensure_2d=False)
    y_true = column_or_1d(y_true)
    classes = _unique(np.asarray(labels)) if labels is not None else _unique(y_true)
    if pred_decision.dtype not in (np.float16, np.float32, np.float64):
        pred_decision = pred_decision.astype(np.float64)
    weights = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if classes.size > 2:
        _check_decisions(y_true, pred_decision, classes, labels)
        is_index = y_true.dtype.kind in "iu" and np.array_equal(classes, np.arange(classes.size))
        if is_index and y_true.size > 0 and y_true.min() >= 0 and y_true.max() < classes.size:
            places = y_true
        else:
            places = LabelEncoder().fit(classes).transform(y_true)
        return _mean(CrammerSinger(kink="active"), (pred_decision, places), weights)
    if classes.size == 2 and y_true.dtype.kind in "biu" and labels is None:
        signs = np.where(y_true == classes[1], np.int8(1), np.int8(-1))
        return _mean(BinaryHinge(kink="active"), (np.ravel(column_or_1d(pred_decision)), signs), weights)
    try:
        signs = LabelBinarizer(neg_label=-1).fit_transform(y_true)[:, 0]
    except TypeError:
        raise ValueError("pred_decision should be an array of floats.") from None
    return _mean(BinaryHinge(kink="active"), (np.ravel(column_or_1d(pred_decision)), signs), weights)


def _unique(y: NDArray[Any]) -> NDArray[Any]:
    """np.unique, without a sort where whole numbers lie close together."""
    if y.dtype.kind not in "iu" or y.size < 1000:
        return np.unique(y)
    low, high = int(y.min()), int(y.max())
    if high - low > 1 << 16:
        return np.unique(y)
    return (np.flatnonzero(np.bincount((y - low).astype(np.intp))) + low).astype(y.dtype)


def _check_decisions(y_true: Any, pred_decision: Any, classes: Any, labels: Any) -> None:
    shape = f"({y_true.shape[0]}, {classes.size})"
    if pred_decision.ndim <= 1:
        raise ValueError(
            "The shape of pred_decision cannot be 1d array"
            "with a multiclass target. pred_decision shape "
            f"must be (n_samples, n_classes), that is {shape}."
            f" Got: {pred_decision.shape}"
        )
    if classes.size != pred_decision.shape[1] and labels is None:
        raise ValueError("Please include all labels in y_true or pass labels as third argument")
    if classes.size != pred_decision.shape[1]:
        raise ValueError(
            "The shape of pred_decision is not "
            "consistent with the number of classes. "
            "With a multiclass target, pred_decision "
            "shape must be "
            f"(n_samples, n_classes), that is {shape}. "
            f"Got: {pred_decision.shape}"
        )


def _mean(loss: Any, arrays: tuple[Any, Any], weights: NDArray[np.float64] | None) -> float:
    try:
        value = evaluate(loss, *arrays, sample_weights=weights).value
        return float("nan") if value is None else value
    except InputError:
        # Weights that are no weights to us: of either sign, beyond float32, or all zero. numpy's average takes them, or objects.
        losses = evaluate(loss, *arrays, reduction="none").losses
        return float(np.average(np.asarray(losses), weights=weights))


#: Whether this version of scikit-learn balances the sums of weights rather than the counts of rows.
_BALANCES_WEIGHTS = "sample_weight" in inspect.signature(compute_class_weight).parameters

#: Up to so many numbers, equal rows are fitted as one.
_SMALL = 1 << 16


def _fit(classifier: LinearClassifier, X: Any, places: Any, weights: Any, start: LinearModel | None) -> LinearFit:
    """Fits rows. Few rows are put in an order of their own, and equal ones become one with the sum of their weights: an optimum
    found to a gap is then the same for a weight of 2 as for a row that is there twice, and for rows in any order."""
    if X.shape[0] * X.shape[1] > _SMALL:
        return classifier.fit(X, places, sample_weights=weights, start=start)
    rows = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
    # A negative zero is equal to zero, and must not be sorted apart from it.
    keyed = np.column_stack([places.astype(rows.dtype), rows + 0.0])
    _, first, inverse = np.unique(keyed, axis=0, return_index=True, return_inverse=True)
    sums = np.bincount(inverse.ravel(), np.ones(places.size) if weights is None else weights, first.size)
    # A class all of whose rows weigh nothing is a class all the same.
    of_class = np.bincount(places[first], sums)
    kept = (sums > 0) | (of_class[places[first]] == 0)
    return classifier.fit(rows[first[kept]], places[first[kept]], sample_weights=sums[kept], start=start)


class _Linear(ClassifierMixin, BaseEstimator):
    """What both classifiers share: decisions, labels, certain labels."""

    classes_: NDArray[Any]
    model_: LinearModel

    def _classifier(self, classes: NDArray[Any], y: NDArray[Any], sample_weight: Any, C: float) -> LinearClassifier:
        joint = {"ovr": "one-vs-rest", "crammer_singer": "crammer-singer", "weston_watkins": "weston-watkins"}
        multiclass = joint[self.multi_class]
        weights = None
        if self.class_weight is not None:
            options = {"sample_weight": sample_weight} if _BALANCES_WEIGHTS else {}
            balanced = compute_class_weight(self.class_weight, classes=classes, y=y, **options)
            # A class whose rows weigh nothing cannot be balanced.
            weights = tuple(np.where(np.isfinite(balanced), balanced, 1.0).tolist())
        is_hinge = multiclass != "one-vs-rest" or self.loss == "hinge"
        return LinearClassifier(
            loss="hinge" if is_hinge else "squared-hinge",
            C=C,
            intercept="penalized" if self.fit_intercept else "none",
            intercept_scale=float(self.intercept_scaling),
            class_weights=weights,
            multiclass=multiclass,  # type: ignore[arg-type]
            gap=float(self.tol),
            max_passes=float(max(self.max_iter, 1)),
            device=self.device,
        )

    def _validated(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any, Any]:
        """Rows, places of the labels among the classes, the classes, and weights."""
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", accept_large_sparse=True
        )
        check_classification_targets(y)
        if self.penalty != "l2":
            raise ValueError(f"penalty={self.penalty!r} is not solved here; the penalty is 'l2'")
        classes, places = np.unique(y, return_inverse=True)
        if classes.size < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the data contains only one class "
                f"(1 class): {classes[0]!r}"
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            kept = np.bincount(places, sample_weight > 0, classes.size)
            if (kept == 0).sum() >= classes.size - 1:
                raise ValueError("Invalid input - all samples with positive weights belong to the same class (1 class).")
        return X, places, classes, sample_weight

    def _take(self, fit: LinearFit, classes: NDArray[Any]) -> None:
        self.classes_ = classes
        self.model_ = fit.model
        self.coef_ = fit.model.weights
        self.intercept_ = fit.model.bias
        self.n_iter_ = max(int(np.ceil(fit.passes)), 1)
        self.certificate_ = fit.model.certificates
        self.converged_ = fit.end == "converged"
        if fit.end == "passes":
            warnings.warn(
                f"max_iter={self.max_iter} reads of the data ended the fit at a relative gap of "
                f"{fit.model.relative_gap:.1e}; tol={self.tol:g} was asked for",
                ConvergenceWarning,
                stacklevel=3,
            )

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The decision values: (n_samples,) for two classes, else (n_samples, n_classes)."""
        check_is_fitted(self)
        X = self._rows(X)
        values = self.model_.decision_values(X)
        return values[:, 0] if values.shape[1] == 1 else values

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each row."""
        check_is_fitted(self)
        X = self._rows(X)
        return self.classes_[self.model_.labels(X)]

    def is_certain(self, X: Any) -> NDArray[np.bool_]:
        """Whether every optimum of the problem gives a row the label that :meth:`predict` gives it."""
        check_is_fitted(self)
        return self.model_.certain(self._rows(X))

    def _rows(self, X: Any) -> Any:
        return validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", accept_large_sparse=True, reset=False
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


_SHARED: dict[str, list[Any]] = {
    "penalty": [StrOptions({"l2", "l1"})],
    "loss": [StrOptions({"hinge", "squared_hinge"})],
    "dual": ["boolean", StrOptions({"auto"})],
    "tol": [Interval(Real, 0.0, None, closed="neither")],
    "multi_class": [StrOptions({"ovr", "crammer_singer", "weston_watkins"})],
    "fit_intercept": ["boolean"],
    "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
    "class_weight": [None, dict, StrOptions({"balanced"})],
    "verbose": ["verbose"],
    "random_state": ["random_state"],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "device": [None, str, object],
}


class MaxMarginClassifier(_Linear):
    """A linear support vector machine, solved to a duality gap that is certified in f64.

    The arguments and defaults are those of scikit-learn's ``LinearSVC``, and so is the objective. What differs: ``tol`` is the
    relative duality gap, so that the objective is within ``tol`` of the optimum; ``max_iter`` bounds the reads of all data;
    ``penalty="l1"`` is not solved; ``dual`` and ``random_state`` change nothing, since there is nothing random; data in
    float32 is read as it is.

    In data of up to 65,536 numbers equal rows are fitted as one, so that weights do what repetitions do, to the bit.

    Parameters beyond LinearSVC's:
        warm_start: Whether a fit starts from the weights of the fit before.
        device: Where the steps are taken that read every row: None and ``cpu`` for the CPU, ``gpu``, ``gpu:N`` or a name.

    Attributes:
        coef_, intercept_, classes_, n_iter_, n_features_in_, feature_names_in_: As in LinearSVC.
        certificate_: For each problem its objective, a lower bound of it, and the gap between them.
        converged_: Whether the gap was reached.
        model_: The :class:`maxmargin.LinearModel`, whose labels are places in ``classes_``.

    >>> from sklearn.datasets import make_blobs
    >>> X, y = make_blobs(200, centers=2, random_state=0)
    >>> model = MaxMarginClassifier(tol=1e-6).fit(X, y)
    >>> model.converged_, model.certificate_[0].relative_gap <= 1e-6, bool(model.is_certain(X).mean() > 0.9)
    (True, True, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_SHARED,
        "C": [Interval(Real, 0.0, None, closed="neither")],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        *,
        dual: bool | str = "auto",
        tol: float = 1e-4,
        C: float = 1.0,
        multi_class: str = "ovr",
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        verbose: int = 0,
        random_state: Any = None,
        max_iter: int = 1000,
        warm_start: bool = False,
        device: Any = None,
    ) -> None:
        self.penalty = penalty
        self.loss = loss
        self.dual = dual
        self.tol = tol
        self.C = C
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MaxMarginClassifier:
        """Fit to rows X, dense or sparse, with labels y and weights of the rows."""
        before = getattr(self, "model_", None) if self.warm_start else None
        known = getattr(self, "classes_", np.empty(0))
        X, places, classes, sample_weight = self._validated(X, y, sample_weight)
        is_same = before is not None and np.array_equal(known, classes) and before.weights.shape[1] == X.shape[1]
        classifier = self._classifier(classes, classes[places], sample_weight, float(self.C))
        fit = _fit(classifier, X, places, sample_weight, before if is_same else None)
        self._take(fit, classes)
        return self


class MaxMarginClassifierCV(_Linear):
    """A :class:`MaxMarginClassifier` whose C is chosen by cross-validation; each fit starts from that of the C before.

    Parameters beyond those of MaxMarginClassifier:
        Cs: The values of C, or how many between 1e-4 and 1e4, evenly on a logarithmic scale.
        cv: The number of stratified parts, or any splitter of scikit-learn.

    Attributes beyond those of MaxMarginClassifier:
        C_: The C with the highest mean accuracy; of equals the smallest. The model is fitted with it on all rows.
        Cs_: The values of C in ascending order.
        scores_: Accuracy on the rows held out (parts, Cs).
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_SHARED,
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
    }

    def __init__(
        self,
        *,
        Cs: Any = 10,
        cv: Any = None,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        dual: bool | str = "auto",
        tol: float = 1e-4,
        multi_class: str = "ovr",
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        verbose: int = 0,
        random_state: Any = None,
        max_iter: int = 1000,
        device: Any = None,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.penalty = penalty
        self.loss = loss
        self.dual = dual
        self.tol = tol
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MaxMarginClassifierCV:
        """Fit to rows X, dense or sparse, with labels y and weights of the rows."""
        X, places, classes, sample_weight = self._validated(X, y, sample_weight)
        Cs = np.logspace(-4, 4, self.Cs) if isinstance(self.Cs, Integral) else np.asarray(self.Cs, np.float64)
        self.Cs_ = np.unique(Cs)
        y = classes[places]
        splits = list(check_cv(self.cv, y, classifier=True).split(X, y))
        self.scores_ = np.empty((len(splits), self.Cs_.size))
        for part, (train, test) in enumerate(splits):
            weights = None if sample_weight is None else sample_weight[train]
            present = np.unique(places[train] if weights is None else places[train][weights > 0])
            if present.size < 2 or len(test) == 0:
                raise ValueError(f"part {part} of cv has rows of {present.size} classes to fit, and {len(test)} rows to judge")
            model = None
            for place, C in enumerate(self.Cs_):
                classifier = self._classifier(np.unique(y[train]), y[train], weights, float(C))
                model = _fit(classifier, X[train], places[train], weights, model).model
                self.scores_[part, place] = np.mean(model.labels(X[test]) == places[test])
        self.C_ = float(self.Cs_[np.argmax(self.scores_.mean(axis=0))])
        fit = _fit(self._classifier(classes, y, sample_weight, self.C_), X, places, sample_weight, None)
        self._take(fit, classes)
        return self
