"""maxmargin.keras beside Keras, on each backend in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import need

need("keras")

SCRIPT = '''
import keras, numpy as np
import maxmargin as mm
import maxmargin.keras as mk

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 2)).astype(np.float32)
signs = np.where((x ** 2).sum(1) > 1.4, 1.0, -1.0).astype(np.float32)[:, None]

def histories(losses, y, units, activation, weights=None):
    for loss in losses:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(units, activation)])
        model.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9), loss=loss)
        yield np.array(model.fit(x, y, epochs=8, batch_size=32, verbose=0, sample_weight=weights).history["loss"])

def same(losses, y, units=1, activation="tanh", weights=None, tolerance=2e-5):
    ours, theirs = histories(losses, y, units, activation, weights)
    assert np.abs(ours - theirs).max() <= tolerance and ours[0] != ours[-1], (losses, ours - theirs)

same([mk.Hinge(), "hinge"], signs)
same([mk.Hinge(), "hinge"], (signs + 1) / 2)
same([mk.SquaredHinge(), "squared_hinge"], signs)
same([mk.Hinge(), "hinge"], signs, weights=rng.uniform(0.5, 2, 200).astype(np.float32))
one_hot = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 200)]
same([mk.CategoricalHinge(), "categorical_hinge"], one_hot, 3, "linear")

# A value off by a thousandth would be seen.
class Wrong(mk.Hinge):
    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred) * 1.001
try:
    same([Wrong(), "hinge"], signs)
except AssertionError:
    pass
else:
    raise SystemExit("the control passed")

for ours, theirs in ((mk.Hinge, keras.losses.Hinge), (mk.SquaredHinge, keras.losses.SquaredHinge)):
    assert ours().name == theirs().name
    for reduction in ("sum", "sum_over_batch_size", "none", "mean_with_sample_weight"):
        for shape, weight_shape in (((6, 3), (6,)), ((6, 1), (6,)), ((6,), ()), ((4, 6, 1), (4, 1)), ((2, 3, 4), (2, 1))):
            y, s, w = rng.choice([-1.0, 1.0], shape), rng.normal(size=shape), rng.uniform(0, 2, weight_shape)
            for weights in (None, w):
                a = keras.ops.convert_to_numpy(ours(reduction=reduction)(y, s, weights))
                b = keras.ops.convert_to_numpy(theirs(reduction=reduction)(y, s, weights))
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
for shape in ((6, 4), (2, 3, 4)):
    y, s = np.eye(4)[rng.integers(0, 4, shape[:-1])], rng.normal(size=shape)
    a, b = mk.CategoricalHinge()(y, s), keras.losses.CategoricalHinge()(y, s)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b), rtol=1e-5)
    classes = mk.MaxMarginLoss(mm.CrammerSinger(), reduction="none")(y.argmax(-1), s)
    assert tuple(classes.shape) == shape[:-1]

# Masks.
steps = rng.normal(size=(8, 5, 2)).astype(np.float32)
steps[::2, 3:] = 0
labels = rng.choice([-1.0, 1.0], (8, 5, 1)).astype(np.float32)
values = []
for loss in (mk.Hinge(), "hinge"):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((5, 2)), keras.layers.Masking(), keras.layers.LSTM(3, return_sequences=True), keras.layers.Dense(1)])
    model.compile(loss=loss)
    values.append(model.evaluate(steps, labels, verbose=0))
assert abs(values[0] - values[1]) < 1e-6, values

# Losses that Keras has not, saved and read with the model.
classes = rng.integers(0, 3, 200)
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)])
model.compile(optimizer="adam", loss=mk.MaxMarginLoss(mm.TopK(k=2, class_weights=[1, 2, 3])))
first = model.fit(x, classes, epochs=3, verbose=0).history["loss"]
assert first[-1] < first[0]
config = mk.MaxMarginLoss(mm.TopK(k=2, class_weights=[1, 2, 3])).get_config()
assert mk.MaxMarginLoss.from_config(config).loss == mm.TopK(k=2, class_weights=[1, 2, 3])
assert mk.MaxMarginLoss.from_config(config).reduction == "sum_over_batch_size"
import os, tempfile
with tempfile.TemporaryDirectory() as folder:
    for loss in (mk.MaxMarginLoss(mm.TopK(k=2)), mk.Hinge()):
        units = 1 if isinstance(loss, mk.Hinge) else 3
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
        model.compile(loss=loss)
        model.save(os.path.join(folder, "model.keras"))
        read = keras.saving.load_model(os.path.join(folder, "model.keras"))
        assert type(read.loss) is type(loss) and read.loss.loss == loss.loss
for wrong in ("hinge", mm.TripletMargin()):
    try:
        mk.MaxMarginLoss(wrong)
    except TypeError:
        pass
    else:
        raise SystemExit("taken")
assert mk.Hinge.from_config(mk.Hinge(reduction="sum").get_config()).reduction == "sum"
print("done", keras.backend.backend())
'''


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_training_follows_keras(backend):
    need(backend)
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert result.stdout.endswith(f"done {backend}\n"), result.stdout + result.stderr
