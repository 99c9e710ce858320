"""Method 1's 200 epochs, ours and Keras's in turns: python benches/peers/training.py [DEVICE...]

Build first: cargo build --release. Keras runs on JAX, its fastest backend here (KERAS_BACKEND overrides). Training only,
after a warm-up; medians of 5 with the range. Prints a table and the ratios.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy
from sklearn.datasets import make_circles

PROGRAM = pathlib.Path(__file__).parents[2] / "target" / "release" / "maxmargin"
X, y = make_circles(n_samples=1000, noise=0.1, random_state=1)
X, y = X.astype(numpy.float32), numpy.where(y == 0, -1, 1).astype(numpy.float32)


def peer():
    model = keras.Sequential([
        keras.Input((2,)),
        keras.layers.Dense(50, activation="relu", kernel_initializer="he_uniform"),
        keras.layers.Dense(1, activation="tanh"),
    ])
    model.compile(loss="hinge", optimizer=keras.optimizers.SGD(0.01, momentum=0.9), metrics=["accuracy"])
    fit = lambda epochs: model.fit(X[:500], y[:500], validation_data=(X[500:], y[500:]), epochs=epochs, batch_size=32,
                                   verbose=0)
    fit(3)
    started = time.perf_counter()
    fit(200)
    return time.perf_counter() - started


def ours(device):
    command = [PROGRAM, "train", "--data", "circles", "--layers", "50:relu,1:tanh", "--init", "he-uniform,glorot-uniform",
               "--preset", "keras", "--momentum", "0.9", "--epochs", "200", "--validation-split", "0.5",
               "--device", device, "--json"]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return json.loads(output)["seconds"]["fit"]


devices = sys.argv[1:] or ["cpu"]
runs = {f"keras {keras.__version__} on {keras.backend.backend()}": peer}
runs |= {f"maxmargin on {device}": (lambda device=device: ours(device)) for device in devices}
times = {name: [] for name in runs}
for _ in range(5):
    for name, run in runs.items():
        times[name].append(run())
base = statistics.median(next(iter(times.values())))
print("| 200 epochs of method 1 | median s | range | times as fast |\n|---|---|---|---|")
for name, seconds in times.items():
    median = statistics.median(seconds)
    print(f"| {name} | {median:.4f} | {min(seconds):.4f} to {max(seconds):.4f} | {base / median:.1f} |")
