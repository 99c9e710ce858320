"""maxmargin.sklearn beside scikit-learn."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from conftest import need

need("sklearn")
from scipy import sparse  # noqa: E402
from sklearn import metrics, svm  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits, make_classification  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.metrics.tests import test_classification, test_common  # noqa: E402
from sklearn.model_selection import GridSearchCV, StratifiedKFold  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from maxmargin.sklearn import MaxMarginClassifier, MaxMarginClassifierCV, hinge_loss  # noqa: E402


@parametrize_with_checks([MaxMarginClassifier(), MaxMarginClassifierCV(Cs=[0.1, 1.0])])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


OWN = [
    (name, test)
    for name, test in inspect.getmembers(test_classification, inspect.isfunction)
    if name.startswith("test_hinge")
]


@pytest.mark.parametrize(("name", "test"), OWN, ids=[name for name, _ in OWN])
def test_scikit_learns_own_tests_of_hinge_loss(name, test, monkeypatch):
    monkeypatch.setattr(test_classification, "hinge_loss", hinge_loss)
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    if not marks:
        test()
    for mark in marks:
        names = [part.strip() for part in mark.args[0].split(",")]
        for values in mark.args[1]:
            test(**dict(zip(names, values if len(names) > 1 else [values], strict=True)))


def test_there_are_own_tests_and_they_can_fail(monkeypatch):
    assert len(OWN) >= 5
    monkeypatch.setattr(test_classification, "hinge_loss", lambda *args, **kwargs: 1.001 * hinge_loss(*args, **kwargs))
    failed = 0
    for _, test in OWN:
        if not getattr(test, "pytestmark", []):
            try:
                test()
            except AssertionError:
                failed += 1
    assert failed >= 2


def test_the_common_tests_invariances():
    data = np.random.RandomState(0)
    y_true, decisions = data.randint(0, 2, 50), data.normal(size=50)
    order = data.permutation(50)
    assert hinge_loss(y_true, decisions) == pytest.approx(hinge_loss(y_true[order], decisions[order]))
    test_common.check_sample_weight_invariance("hinge_loss", hinge_loss, y_true, decisions)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_hinge_loss_is_scikit_learns(classes, weighted, rng):
    y = np.r_[np.arange(classes), rng.integers(0, classes, 60)]
    names = np.array(["ant", "bee", "cat", "dog"])[y]
    decisions = rng.normal(size=y.size if classes == 2 else (y.size, classes))
    weights = rng.uniform(0, 2, y.size) if weighted else None
    for labels in (y, names):
        assert hinge_loss(labels, decisions, sample_weight=weights) == pytest.approx(
            metrics.hinge_loss(labels, decisions, sample_weight=weights), abs=1e-12
        )
    assert hinge_loss([1, 1], [2.0, 2.0]) == metrics.hinge_loss([1, 1], [2.0, 2.0])


def objective(X, y, model, C, loss):
    z = np.maximum(0, 1 - np.where(y == model.classes_[1], 1, -1) * model.decision_function(X))
    w = np.r_[model.coef_[0], model.intercept_]
    return 0.5 * w @ w + C * (z if loss == "hinge" else z**2).sum()


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_the_objective_is_linear_svcs_and_certified(loss, is_sparse):
    X, y = make_classification(300, 20, flip_y=0.1, random_state=0)
    theirs = svm.LinearSVC(loss=loss, C=0.3, tol=1e-10, max_iter=200_000).fit(X, y)
    given = sparse.csr_array(X) if is_sparse else X
    ours = MaxMarginClassifier(loss=loss, C=0.3, tol=1e-8).fit(given, y)
    value, reference = objective(X, y, ours, 0.3, loss), objective(X, y, theirs, 0.3, loss)
    assert value <= reference * (1 + 1e-7)
    certificate = ours.certificate_[0]
    assert certificate.primal == pytest.approx(value, rel=1e-9)
    assert certificate.dual <= reference * (1 + 1e-9) and certificate.relative_gap <= 1e-8
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)
    assert (ours.predict(given) == theirs.predict(X)).all()
    assert ours.is_certain(given).any()


def test_class_weights_and_sample_weights_are_linear_svcs():
    X, y = make_classification(200, 8, n_classes=3, n_informative=5, random_state=1)
    weights = np.random.RandomState(0).uniform(0.5, 2, 200)
    for class_weight in ("balanced", {0: 3.0, 1: 0.5, 2: 1.0}):
        options = {"class_weight": class_weight, "C": 0.1, "loss": "squared_hinge"}
        theirs = svm.LinearSVC(tol=1e-10, max_iter=100_000, **options).fit(X, y, weights)
        ours = MaxMarginClassifier(tol=1e-9, **options).fit(X, y, weights)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-4)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-4)


def test_crammer_singer_is_linear_svcs():
    X, y = make_classification(200, 8, n_classes=3, n_informative=5, random_state=1)
    options = {"multi_class": "crammer_singer", "C": 0.1, "fit_intercept": False}
    theirs = svm.LinearSVC(tol=1e-8, max_iter=100_000, **options).fit(X, y)
    ours = MaxMarginClassifier(tol=1e-8, **options).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)


def test_text_labels_pipelines_grids_pickles_and_frames():
    digits = load_digits()
    X, y = digits.data[:500], np.array([f"digit {label}" for label in digits.target[:500]])
    search = GridSearchCV(make_pipeline(StandardScaler(), MaxMarginClassifier()), {"maxmarginclassifier__C": [0.01, 0.1]}, cv=3)
    search.fit(X, y)
    assert search.score(digits.data[500:900], [f"digit {label}" for label in digits.target[500:900]]) > 0.8
    model = search.best_estimator_[-1]
    scaled = search.best_estimator_[0].transform(X)
    read = pickle.loads(pickle.dumps(model))
    assert (read.predict(scaled) == model.predict(scaled)).all() and read.model_ == model.model_
    assert clone(model).get_params() == model.get_params()
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    named = MaxMarginClassifier().set_params(C=0.01).fit(frame, y)
    assert list(named.feature_names_in_) == list(frame.columns)


def test_a_warm_start_needs_fewer_reads():
    X, y = make_classification(2000, 30, flip_y=0.1, random_state=0)
    model = MaxMarginClassifier(tol=1e-6, warm_start=True).fit(X, y)
    cold, primal = model.n_iter_, model.certificate_[0].primal
    model.fit(X, y)
    assert model.n_iter_ < cold and model.certificate_[0].primal == pytest.approx(primal, rel=2e-6)


def test_a_fit_that_falls_short_warns():
    X, y = make_classification(500, 30, flip_y=0.2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="relative gap"):
        MaxMarginClassifier(C=1e4, tol=1e-9, max_iter=2).fit(X, y)


def test_cross_validation_chooses_as_a_grid_does():
    X, y = make_classification(400, 20, flip_y=0.2, random_state=0)
    Cs = [1e-3, 1e-2, 1e-1, 1.0]
    splitter = StratifiedKFold(4, shuffle=True, random_state=0)
    ours = MaxMarginClassifierCV(Cs=Cs, cv=splitter, tol=1e-8).fit(X, y)
    grid = GridSearchCV(MaxMarginClassifier(tol=1e-8), {"C": Cs}, cv=splitter).fit(X, y)
    assert ours.C_ == grid.best_params_["C"] and ours.scores_.shape == (4, 4)
    np.testing.assert_allclose(ours.scores_.mean(axis=0), grid.cv_results_["mean_test_score"], atol=1e-9)


def test_penalties_that_are_not_solved_are_refused():
    with pytest.raises(ValueError, match="l1"):
        MaxMarginClassifier(penalty="l1").fit([[0.0], [1.0]], [0, 1])


def test_a_class_without_weight_stays_a_class():
    X, y = make_classification(150, 8, n_classes=3, n_informative=5, random_state=1)
    weights = (y != 2).astype(float)
    for copies in (1, 70):
        rows, labels = np.tile(X, (copies, 1)), np.tile(y, copies)
        for options in ({}, {"class_weight": "balanced"}):
            model = MaxMarginClassifier(C=0.01, warm_start=True, **options).fit(rows, labels, np.tile(weights, copies))
            assert model.coef_.shape == (3, 8) and list(model.classes_) == [0, 1, 2]
            assert model.fit(rows, labels, np.tile(weights, copies)).decision_function(X).shape == (150, 3)


def test_a_part_with_one_class_is_named():
    X, y = np.arange(8.0)[:, None], np.array([0, 0, 0, 0, 1, 1, 1, 1])
    splits = [(np.arange(6), np.arange(6, 8)), (np.arange(4), np.arange(4, 8))]
    with pytest.raises(ValueError, match="part 1 of cv"):
        MaxMarginClassifierCV(Cs=[1.0], cv=splits).fit(X, y)


def test_weights_that_only_numpy_takes():
    y, decisions = [0, 1, 1, 0], [0.5, -0.2, 2.0, 0.1]
    for weights in ([1e300, 1e300, 2e300, 1e299], [1.0, -0.5, 2.0, 1.0]):
        expected = metrics.hinge_loss(y, decisions, sample_weight=weights)
        assert hinge_loss(y, decisions, sample_weight=weights) == pytest.approx(expected)
