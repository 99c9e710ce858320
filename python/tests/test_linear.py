"""Linear models with a certificate."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import maxmargin as mm


def data(rng, rows=400, columns=12, classes=2):
    features = rng.normal(size=(rows, columns))
    truth = rng.normal(size=(columns, classes))
    return features, (features @ truth + rng.normal(0, 0.5, (rows, classes))).argmax(1)


@pytest.mark.parametrize("loss", ["hinge", "squared-hinge", "smooth-hinge"])
@pytest.mark.parametrize("intercept", ["penalized", "free", "none"])
def test_the_certificate_is_what_numpy_computes(rng, loss, intercept):
    features, labels = data(rng)
    fit = mm.LinearClassifier(loss=loss, C=0.7, gamma=0.5, intercept=intercept, gap=1e-9).fit(features, labels)
    model, certificate = fit.model, fit.model.certificates[0]
    z = 1 - np.where(labels == 1, 1, -1) * model.decision_values(features)[:, 0]
    positive = np.maximum(z, 0)
    losses = {
        "hinge": positive,
        "squared-hinge": positive**2,
        "smooth-hinge": np.where(positive < 0.5, positive**2, positive - 0.25),
    }[loss]
    squares = (model.weights**2).sum() + (model.bias**2).sum() * (intercept == "penalized")
    assert certificate.primal == pytest.approx(0.5 * squares + 0.7 * losses.sum(), rel=1e-9)
    assert fit.end == "converged" and certificate.relative_gap <= 1e-9 and fit.multipliers.shape == (1, 400)
    assert (model.labels(features) == labels).mean() > 0.8
    if intercept != "free":
        assert model.certain(features).mean() > 0.99
    else:
        with pytest.raises(mm.InputError, match="intercept"):
            model.certain(features)


def test_dense_types_and_sparse_rows_have_one_optimum(rng):
    sparse = pytest.importorskip("scipy.sparse")
    features, labels = data(rng)
    features[np.abs(features) < 0.7] = 0
    features = features.astype(np.float16).astype(np.float64)
    options = mm.LinearClassifier(gap=1e-8)
    expected = options.fit(features, labels).model.certificates[0]
    matrix = sparse.csr_matrix(features)
    given = [
        features.astype(np.float16),
        features.astype(np.float32),
        np.asfortranarray(features),
        matrix,
        sparse.csr_array(features.astype(np.float32)),
        sparse.csc_matrix(features),
        sparse.coo_matrix(features),
        sparse.csr_matrix((matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)), matrix.shape),
    ]
    for rows in given:
        model = options.fit(rows, labels).model
        assert model.certificates[0].primal == pytest.approx(expected.primal, rel=1e-7)
        assert (model.labels(rows) == options.fit(features, labels).model.labels(features)).all()
    wrong = matrix.copy()
    wrong.indices[0] = -5
    with pytest.raises(mm.InputError):
        options.fit(wrong, labels)


def test_several_classes_weights_and_warm_starts(rng):
    features, labels = data(rng, classes=4)
    for multiclass in ("one-vs-rest", "crammer-singer", "weston-watkins"):
        fit = mm.LinearClassifier(multiclass=multiclass, C=0.1, gap=1e-6).fit(features, labels)
        assert fit.model.weights.shape == (4, 12) and fit.model.relative_gap <= 1e-6
        assert len(fit.model.certificates) == (4 if multiclass == "one-vs-rest" else 1)
    options = mm.LinearClassifier(C=0.1, gap=1e-6, class_weights=[1, 2, 1, 1])
    cold = options.fit(features, labels, sample_weights=rng.uniform(0.5, 2, 400))
    assert options.fit(features, labels, start=cold.model).passes < cold.passes + 20


def test_models_are_saved_and_pickled(rng, tmp_path):
    features, labels = data(rng, classes=3)
    model = mm.LinearClassifier(standardize=True).fit(features, labels * 10 - 5).model
    assert model.classes.tolist() == [-5, 5, 15]
    model.save(tmp_path / "model.safetensors")
    for read in (mm.LinearModel.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))):
        assert read == model
        np.testing.assert_array_equal(read.decision_values(features), model.decision_values(features))


def test_a_path_compares_c(rng):
    features, labels = data(rng)
    path = mm.LinearClassifier(gap=1e-6).fit_path(features, labels, [1e-4, 1e-2, 1.0], folds=4)
    assert len(path.models) == 12 and path.best_C in (1e-4, 1e-2, 1.0) and path.fit.end == "converged"
    held = mm.LinearClassifier().fit_path(features[:300], labels[:300], [0.01, 1.0], validation=(features[300:], labels[300:]))
    assert [model.fold for model in held.models] == [None, None]


def test_progress_is_told_and_stops(rng):
    features, labels = data(rng, rows=3000, columns=40)
    told = []

    def on_progress(passes, steps, gap):
        told.append(passes)
        return len(told) < 2

    fit = mm.LinearClassifier(gap=1e-12).fit(features, labels, on_progress=on_progress)
    assert fit.end == "stopped" and len(told) >= 2
    with pytest.raises(ZeroDivisionError):
        mm.LinearClassifier().fit(features, labels, on_progress=lambda *_: 1 / 0)


def test_wrong_input_is_named(rng):
    features, labels = data(rng)
    options = mm.LinearClassifier()
    bad = features.copy()
    bad[3, 2] = np.inf
    for call, name in (
        (lambda: options.fit(bad, labels), "features"),
        (lambda: options.fit(features[0], labels), "features"),
        (lambda: options.fit(features, labels[:-1]), "targets"),
        (lambda: options.fit(features, labels * 0), "targets"),
        (lambda: options.fit(features, labels + 0.5), "targets"),
        (lambda: options.fit(features, labels, sample_weights=-np.ones(400)), "sample_weights"),
        (lambda: mm.LinearClassifier(C=-1).fit(features, labels), "C"),
        (lambda: mm.LinearClassifier(loss="squared").fit(features, labels), "loss"),
        (lambda: mm.LinearClassifier(multiclass="crammer-singer", loss="squared-hinge").fit(features, labels), "loss"),
    ):
        with pytest.raises(mm.InputError) as caught:
            call()
        assert caught.value.input == name


def test_sparse_matrices_that_lie_are_refused(rng):
    sparse = pytest.importorskip("scipy.sparse")
    features, labels = data(rng)
    for change in (lambda m: m.indptr.__setitem__(3, 10**6), lambda m: m.indptr.__setitem__(1, -5), lambda m: m.indices.__setitem__(0, 99)):
        matrix = sparse.csr_matrix(features)
        matrix.indptr, matrix.indices = matrix.indptr.copy(), matrix.indices.copy()
        change(matrix)
        with pytest.raises(mm.InputError):
            mm.LinearClassifier().fit(matrix, labels)
    with pytest.raises(mm.ElementTypeError):
        mm.LinearClassifier().fit(sparse.csr_matrix(features.astype(complex)), labels)
    for options in ({"C": None}, {"C": 10**400}, {"gap": "small"}):
        with pytest.raises(mm.InputError):
            mm.LinearClassifier(**options).fit(features, labels)
    with pytest.raises(mm.InputError, match="folds"):
        mm.LinearClassifier().fit_path(features, labels, [1.0], folds=-1)
    with pytest.raises(TypeError, match="start"):
        mm.LinearClassifier().fit(features, labels, start="model")
