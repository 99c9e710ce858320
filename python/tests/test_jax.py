"""maxmargin.jax beside numpy, torch's formulas and optax."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import need

jax = need("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

import maxmargin as mm  # noqa: E402
import maxmargin.jax as mj  # noqa: E402


def cases(dtype=np.float64):
    rng = np.random.default_rng(3)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    classes, signs = jnp.array([0, 3, 1, 2, 2]), jnp.array([1, -1, 1, 1, -1])
    labels = jnp.array([[0, 2, -1, 0], [3, -1, 0, 0], [-1, 0, 0, 0], [1, 2, 3, -1], [0, 1, 2, 3]])
    return {
        "binary": (mm.BinaryHinge(penalty="smooth:0.5"), (normal(5), signs)),
        "embedding": (mm.EmbeddingHinge(), (normal(5), signs)),
        "ranking": (mm.MarginRanking(margin=0.3), (normal(5), normal(5), signs)),
        "crammer_singer": (mm.CrammerSinger(class_weights=[1, 2, 3, 4]), (normal(5, 4), classes)),
        "weston_watkins": (mm.WestonWatkins(over_classes="mean"), (normal(5, 4), classes)),
        "top_k": (mm.TopK(k=2), (normal(5, 4), classes)),
        "multilabel": (mm.MultilabelMargin(), (normal(5, 4), labels)),
        "triplet": (mm.TripletMargin(swap=True), (normal(5, 3), normal(5, 3), normal(5, 3))),
        "cosine": (mm.CosineEmbedding(), (normal(5, 3), normal(5, 3), signs)),
        "listwise": (mm.ListwiseHinge(), (normal(5, 4), jnp.abs(labels))),
    }


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", list(cases()))
def test_values_and_gradients_are_the_packages(name, reduction):
    loss, arrays = cases()[name]
    host = [np.asarray(array) for array in arrays]
    expected = mm.evaluate(loss, *host, reduction=reduction, gradient=reduction != "none", losses=True)
    function = jax.jit(lambda *arrays: mj.max_margin_loss(loss, *arrays, reduction=reduction))
    value = function(*arrays)
    np.testing.assert_allclose(value, expected.losses if reduction == "none" else expected.value, rtol=1e-12)
    if reduction != "none":
        gradient = jax.grad(function)(*arrays)
        own = expected.gradient if expected.gradient.shape == host[0].shape else expected.gradient[0]
        np.testing.assert_allclose(gradient, own, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", list(cases()))
def test_gradients_pass_jaxs_own_check(name, reduction):
    from jax.test_util import check_grads

    loss, arrays = cases()[name]
    count = len(arrays) if name == "triplet" else len(arrays) - 1
    weights = jnp.array([0.5, 1.0, 2.0, 0.1, 3.0])

    def function(*scores):
        return mj.max_margin_loss(loss, *scores, *arrays[count:], reduction=reduction, sample_weights=weights)

    check_grads(function, arrays[:count], order=1, modes=["rev"], rtol=1e-5, atol=1e-6)


def test_vmap():
    loss, (scores, classes) = cases()["weston_watkins"]
    many = jnp.stack([scores, 2 * scores, -scores])
    values = jax.vmap(lambda scores: mj.max_margin_loss(loss, scores, classes))(many)
    np.testing.assert_allclose(values, [mj.max_margin_loss(loss, one, classes) for one in many])
    gradients = jax.vmap(jax.grad(lambda scores: mj.max_margin_loss(loss, scores, classes)))(many)
    assert gradients.shape == many.shape


def test_wrong_labels_and_shapes_are_named():
    loss, (scores, classes) = cases()["weston_watkins"]
    with pytest.raises(Exception, match=r"targets\[1\].*got 9"):
        jax.block_until_ready(mj.max_margin_loss(loss, scores, classes.at[1].set(9)))
    with pytest.raises(Exception, match="targets: expected shape"):
        jax.block_until_ready(mj.max_margin_loss(loss, scores, classes[:3]))


def test_types_are_promoted_and_arguments_checked():
    whole = mj.max_margin_loss(mm.BinaryHinge(), [1, 2, -1], [1, -1, 1])
    assert float(whole) == pytest.approx(5 / 3)
    a, p, n = jnp.ones((2, 3), jnp.bfloat16), jnp.zeros((2, 3), jnp.float32), jnp.zeros((2, 3), jnp.float32)
    assert mj.max_margin_loss(mm.TripletMargin(), a, p, n).dtype == jnp.float32
    with pytest.raises(ValueError, match="reduction"):
        mj.max_margin_loss(mm.BinaryHinge(), [1.0], [1], reduction="average")
    with pytest.raises(TypeError, match="arrays"):
        mj.max_margin_loss(mm.BinaryHinge())
    assert mj.hinge_loss(jnp.ones((3, 2)), jnp.ones((3, 1))).shape == (3, 2)


def test_second_derivatives_are_an_error():
    loss, (scores, signs) = cases()["binary"]
    function = jax.grad(lambda scores: mj.max_margin_loss(loss, scores, signs))
    with pytest.raises(Exception, match="(?i)ffi|different"):
        jax.grad(lambda scores: function(scores).sum())(scores)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_types(dtype):
    loss, (scores, classes) = cases()["weston_watkins"]
    scores = scores.astype(dtype)
    value, gradient = jax.value_and_grad(lambda scores: mj.max_margin_loss(loss, scores, classes))(scores)
    assert value.dtype == jnp.float32 and gradient.dtype == dtype
    expected = mm.evaluate(loss, np.asarray(scores.astype(jnp.float32)), np.asarray(classes))
    assert float(value) == pytest.approx(expected.value, rel=1e-6)


def test_a_large_batch_on_many_threads():
    rng = np.random.default_rng(0)
    scores, classes = rng.normal(size=(50_000, 16)), rng.integers(0, 16, 50_000)
    loss = mm.WestonWatkins()
    value = mj.max_margin_loss(loss, jnp.asarray(scores), jnp.asarray(classes))
    assert float(value) == pytest.approx(mm.evaluate(loss, scores, classes).value, rel=1e-12)


def test_the_functions_are_optaxs():
    optax = pytest.importorskip("optax")
    rng = np.random.default_rng(0)
    scores, signs = jnp.asarray(rng.normal(size=(6, 4))), jnp.asarray(rng.choice([-1.0, 1.0], (6, 4)))
    scores = scores.at[0, 0].set(signs[0, 0])
    labels = jnp.asarray(rng.integers(0, 4, 6))
    for ours, theirs, arguments in (
        (mj.hinge_loss, optax.losses.hinge_loss, (scores, signs)),
        (mj.perceptron_loss, optax.losses.perceptron_loss, (scores, signs)),
        (mj.multiclass_hinge_loss, optax.losses.multiclass_hinge_loss, (scores, labels)),
        (mj.multiclass_perceptron_loss, optax.losses.multiclass_perceptron_loss, (scores, labels)),
    ):
        np.testing.assert_allclose(ours(*arguments), theirs(*arguments), rtol=1e-12, atol=1e-12)
        gradients = [jax.grad(lambda scores, f=f: f(scores, arguments[1]).sum())(scores) for f in (ours, theirs)]
        np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-12)
