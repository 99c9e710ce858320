"""Method 1: a Sequential model learns two circles with the hinge loss. Keras's lines, and ours below them.

Both start from the same weights and see the same batches, so their histories agree to some 1e-5. `python method1_circles.py
[PLOT.png]` also draws loss and accuracy by epoch.
"""

import sys

import numpy as np
from beside import beside
from sklearn.datasets import make_circles

import maxmargin as mm

x, y = make_circles(n_samples=1000, noise=0.1, random_state=1)
y[np.where(y == 0)] = -1
x_train, x_test, y_train, y_test = x[:500], x[500:], y[:500], y[500:]
network = mm.Sequential(2, [mm.Dense(50, "relu", "he-uniform"), mm.Dense(1, "tanh", "glorot-uniform")], seed=1)
start = network.weights
epochs = 200


def original():
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(50, "relu"), keras.layers.Dense(1, "tanh")])
    model.set_weights([start[0].T, start[1], start[2].T, start[3]])
    model.compile(loss="hinge", optimizer=keras.optimizers.SGD(learning_rate=0.01, momentum=0.9), metrics=["accuracy"])
    history = model.fit(
        x_train, y_train, validation_data=(x_test, y_test), epochs=epochs, shuffle=False, verbose=0
    ).history
    _, train = model.evaluate(x_train, y_train, verbose=0)
    _, test = model.evaluate(x_test, y_test, verbose=0)
    print(f"  Train: {train:.3f}, Test: {test:.3f}")
    print(f"  loss {history['loss'][0]:.4f}, {history['loss'][1]:.4f}, ... {history['loss'][-1]:.4f}")
    return history


def ours():
    optimizer = mm.SGD(0.01, momentum=0.9, conventions="keras")
    network.weights = start
    # "keras" counts a prediction above 0.5 as 1 and any other as 0, so that no label of -1 is ever right; "sign" is the default.
    trainer = mm.Trainer(network, mm.BinaryHinge(), optimizer, accuracy="keras")
    history = trainer.fit(
        x_train, y_train, validation=(x_test, y_test), epochs=epochs, batch_size=32, shuffle=False
    ).history
    _, train = trainer.evaluate(x_train, y_train)
    _, test = trainer.evaluate(x_test, y_test)
    print(f"  Train: {train:.3f}, Test: {test:.3f}")
    print(f"  loss {history['loss'][0]:.4f}, {history['loss'][1]:.4f}, ... {history['loss'][-1]:.4f}")
    right = [np.mean((network.predict(part)[:, 0] > 0) == (labels > 0)) for part, labels in ((x_train, y_train), (x_test, y_test))]
    print(f"  by sign: Train: {right[0]:.3f}, Test: {right[1]:.3f}")
    if len(sys.argv) > 1:
        draw(history, sys.argv[1])
    return history


def draw(history, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for place, name in enumerate(("loss", "accuracy")):
        pyplot.subplot(211 + place)
        pyplot.title(name.title())
        pyplot.plot(history[name], label="train")
        pyplot.plot(history[f"val_{name}"], label="test")
        pyplot.legend()
    pyplot.tight_layout()
    pyplot.savefig(path)


if __name__ == "__main__":
    beside(original, ours)
