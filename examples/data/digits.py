"""Writes digits_features.npy, digits_classes.npy, digits_scores.npy, digits_labels.npy and digits_scikit_learn.json.

The first two hold all digits (1797 x 64 bytes from 0 to 16) and what they show.

A linear SVM (one-vs-rest) is trained on the first half of the UCI handwritten digits that scikit-learn carries; the files
hold its decision scores (N x 10, f64) and the true digits of the second half, and what scikit-learn says of them.
Run in an environment with tests/fixtures/requirements.txt installed: python examples/data/digits.py
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, hinge_loss
from sklearn.svm import LinearSVC

images, digits = load_digits(return_X_y=True)
half = len(digits) // 2
model = LinearSVC(C=0.01, random_state=0, max_iter=100_000).fit(images[:half] / 16, digits[:half])
scores = model.decision_function(images[half:] / 16)
labels = digits[half:].astype(np.int64)

folder = pathlib.Path(__file__).parent
np.save(folder / "digits_features.npy", images.astype(np.uint8))
np.save(folder / "digits_classes.npy", digits.astype(np.uint8))
np.save(folder / "digits_scores.npy", scores)
np.save(folder / "digits_labels.npy", labels)
peer = {
    "scikit_learn": sklearn.__version__,
    "samples": len(labels),
    "hinge_loss": hinge_loss(labels, scores),
    "accuracy_score": accuracy_score(labels, scores.argmax(axis=1)),
    "hinge_loss_of_each_class": [hinge_loss(np.where(labels == c, 1, -1), scores[:, c]) for c in range(10)],
}
(folder / "digits_scikit_learn.json").write_text(json.dumps(peer, indent=2) + "\n")
print(peer)
