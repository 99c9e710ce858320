"""Networks and their training."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import maxmargin as mm


def circles(rng):
    angles = rng.uniform(0, 2 * np.pi, 400)
    radii = np.where(np.arange(400) % 2 == 0, 1.0, 0.5)
    features = np.c_[radii * np.cos(angles), radii * np.sin(angles)] + rng.normal(0, 0.05, (400, 2))
    return features.astype(np.float32), np.where(np.arange(400) % 2 == 0, -1, 1)


def network(seed=1):
    return mm.Sequential(2, [mm.Dense(50, "relu", "he-uniform"), mm.Dense(1, "tanh", "glorot-uniform")], seed=seed)


def test_a_network_learns_circles_and_is_saved(rng, tmp_path):
    features, labels = circles(rng)
    trainer = mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.1, momentum=0.9))
    history = trainer.fit(features, labels, epochs=30, validation=(features, labels))
    assert history.end == "epochs" and history.epoch == list(range(30))
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.history["val_accuracy"][-1] > 0.95 and history.history["loss"][-1] < history.history["loss"][0]
    assert len(history.batch_losses[0]) == 13
    loss, accuracy = trainer.evaluate(features, labels)
    assert loss == pytest.approx(history.history["val_loss"][-1]) and accuracy == history.history["val_accuracy"][-1]
    outputs = trainer.predict(features)
    assert outputs.shape == (400, 1) and ((outputs[:, 0] > 0) == (labels > 0)).mean() == accuracy
    trainer.network.save(tmp_path / "network.safetensors")
    read = mm.Sequential.load(tmp_path / "network.safetensors")
    assert read == trainer.network == pickle.loads(pickle.dumps(read))
    np.testing.assert_array_equal(read.predict(features), outputs)


def test_outputs_are_numpys(rng):
    net = network()
    features = rng.normal(size=(20, 2))
    w1, b1, w2, b2 = net.weights
    expected = np.tanh(np.maximum(features @ w1.T + b1, 0) @ w2.T + b2)
    np.testing.assert_allclose(net.predict(features, precision="f64"), expected, rtol=1e-12)
    np.testing.assert_allclose(net.predict(features), expected, rtol=1e-4, atol=1e-5)


def test_weights_can_be_replaced_between_fits(rng):
    features, labels = circles(rng)
    net = network()
    trainer = mm.Trainer(net, mm.BinaryHinge(), mm.Adam(0.01))
    before = net.weights
    trainer.fit(features, labels, epochs=1)
    assert not np.array_equal(net.weights[0], before[0])
    net.weights = before
    assert trainer.evaluate(features, labels) == mm.Trainer(network(), mm.BinaryHinge(), mm.SGD()).evaluate(features, labels)
    with pytest.raises(mm.InputError, match="shapes"):
        net.weights = before[:-1]


def test_callbacks_are_told_and_stop(rng):
    features, labels = circles(rng)
    told = []

    def on_epoch(epoch):
        told.append(epoch["loss"])
        return len(told) < 3

    trainer = mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.01))
    history = trainer.fit(features, labels, epochs=50, on_epoch=on_epoch)
    assert history.end == "stopped" and history.history["loss"] == told and len(told) == 3

    def fails(epoch):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.01)).fit(features, labels, epochs=50, on_epoch=fails)


def test_a_checkpoint_goes_on_to_the_bit(rng):
    features, labels = circles(rng)

    def trainer():
        return mm.Trainer(network(), mm.BinaryHinge(), mm.Adam(0.01, conventions="keras"))

    whole = trainer()
    whole.fit(features, labels, epochs=6, seed=3)
    first = trainer()
    first.fit(features, labels, epochs=2, seed=3)
    second = trainer()
    second.resume(first.checkpoint())
    assert second.epochs_done == 2
    second.fit(features, labels, epochs=6, seed=3)
    assert second.network == whole.network


def test_losses_that_diverge_keep_the_last_good_weights(rng):
    features, labels = circles(rng)
    unbounded = mm.Sequential(2, [mm.Dense(8, "relu"), mm.Dense(1)])
    trainer = mm.Trainer(unbounded, mm.BinaryHinge(penalty="squared"), mm.SGD(1e6))
    with pytest.raises(mm.DivergedError):
        trainer.fit(features, labels, epochs=20)
    assert all(np.isfinite(weights).all() for weights in trainer.network.weights)


def test_wrong_data_is_named(rng):
    trainer = mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.01))
    for features, labels, name in (
        (np.ones((4, 3)), np.ones(4), "features"),
        (np.ones(4), np.ones(4), "features"),
        (np.ones((4, 2)), np.ones(3), "targets"),
        (np.ones((4, 2)), np.array([1, 1, 1, 5]), "targets"),
        (np.array([[1, np.nan]]), np.ones(1), "features"),
    ):
        with pytest.raises(mm.InputError) as caught:
            trainer.fit(features, labels)
        assert caught.value.input == name
    with pytest.raises(mm.InputError):
        mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(-1.0))
    with pytest.raises(mm.InputError):
        mm.Sequential(2, [])


def test_bytes_stand_for_fractions(rng):
    images = rng.integers(0, 256, (30, 12), dtype=np.uint8)
    net = mm.Sequential(12, [mm.Dense(3)])
    np.testing.assert_allclose(net.predict(images), net.predict((images / 255).astype(np.float32)), rtol=1e-4, atol=1e-6)


def test_a_trainer_in_use_refuses_instead_of_waiting(rng):
    features, labels = circles(rng)
    trainer = mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.01))
    for ask in (trainer.checkpoint, lambda: trainer.epochs_done, lambda: trainer.evaluate(features, labels)):
        with pytest.raises(mm.InputError, match="on_epoch"):
            trainer.fit(features, labels, epochs=trainer.epochs_done + 2, on_epoch=lambda _, ask=ask: (ask(), True)[1])
    seen = []
    trainer.fit(features, labels, epochs=trainer.epochs_done + 2, on_epoch=lambda _: seen.append(trainer.predict(features)))
    assert len(seen) == 2


def test_booleans_stand_for_themselves(rng):
    features = rng.integers(0, 2, (30, 2)).astype(bool)
    net = network()
    np.testing.assert_array_equal(net.predict(features), net.predict(features.astype(np.float32)))


def test_predict_has_the_trainers_precision(rng):
    features, labels = circles(rng)
    trainer = mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.01), precision="f64")
    trainer.fit(features.astype(np.float64), labels)
    double = features.astype(np.float64)
    np.testing.assert_array_equal(trainer.predict(double), trainer.network.predict(double, precision="f64"))


def test_arguments_are_named(rng):
    features, labels = circles(rng)
    trainer = mm.Trainer(network(), mm.BinaryHinge(), mm.SGD(0.01))
    for call, name in (
        (lambda: trainer.fit(features, labels, epochs=-1), "epochs"),
        (lambda: trainer.fit(features, labels, batch_size=2**70), "batch_size"),
        (lambda: trainer.fit(features, labels, seed=0.5), "seed"),
        (lambda: trainer.fit(features, labels, early_stopping=-1), "early_stopping"),
        (lambda: mm.Sequential(-1, [mm.Dense(1)]), "inputs"),
        (lambda: mm.Sequential(2, [mm.Dense(-1)]), "units"),
        (lambda: mm.Sequential(2, [mm.Dense(1, initializer="he")]), "initializer"),
    ):
        with pytest.raises(mm.InputError) as caught:
            call()
        assert caught.value.input == name
    for call in (
        lambda: mm.Trainer(network(), "hinge", mm.SGD(0.01)),
        lambda: mm.Trainer(network(), mm.BinaryHinge(), mm.SGD),
        lambda: mm.Sequential(2, [1]),
        lambda: trainer.fit(features, labels, validation=(features,)),
        lambda: pickle.dumps(trainer),
    ):
        with pytest.raises(TypeError):
            call()
