"""Max-margin (hinge) losses, their gradients, metrics, training and linear models, on the CPU and any GPU.

>>> import maxmargin as mm
>>> result = mm.evaluate(mm.BinaryHinge(), [0.5, -0.25, 2.0], [1, 1, -1], gradient=True)
>>> result.value, result.active, result.gradient.tolist()
(1.5833333333333333, 3, [-0.3333333333333333, -0.3333333333333333, 0.3333333333333333])

``maxmargin.torch``, ``maxmargin.torchmetrics``, ``maxmargin.sklearn``, ``maxmargin.jax`` and ``maxmargin.keras`` put the same
losses in the place of those of these libraries. They are imported only where asked for.
"""

from ._errors import (
    DeviceError,
    DivergedError,
    ElementTypeError,
    InputError,
    MaxMarginError,
    OutOfMemoryError,
)
from ._evaluate import Evaluation, Metric, evaluate
from ._linear import Certificate, LinearClassifier, LinearFit, LinearModel, LinearPath, PathModel
from ._losses import (
    BinaryHinge,
    CategoricalHinge,
    CosineEmbedding,
    CrammerSinger,
    EmbeddingHinge,
    LeeLinWahba,
    ListwiseHinge,
    Loss,
    LovaszHinge,
    MarginRanking,
    MultilabelMargin,
    OneVsAll,
    TopK,
    TripletMargin,
    WestonWatkins,
)
from ._maxmargin import Device, __version__, get_num_threads, set_num_threads
from ._devices import Adapter, devices
from ._networks import SGD, Adam, AdamW, Dense, History, Sequential, Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Adapter",
    "BinaryHinge",
    "CategoricalHinge",
    "Certificate",
    "CosineEmbedding",
    "CrammerSinger",
    "Dense",
    "Device",
    "DeviceError",
    "DivergedError",
    "ElementTypeError",
    "EmbeddingHinge",
    "Evaluation",
    "History",
    "InputError",
    "LeeLinWahba",
    "LinearClassifier",
    "LinearFit",
    "LinearModel",
    "LinearPath",
    "ListwiseHinge",
    "Loss",
    "LovaszHinge",
    "MarginRanking",
    "MaxMarginError",
    "Metric",
    "MultilabelMargin",
    "OneVsAll",
    "OutOfMemoryError",
    "PathModel",
    "Sequential",
    "TopK",
    "Trainer",
    "TripletMargin",
    "WestonWatkins",
    "__version__",
    "devices",
    "evaluate",
    "get_num_threads",
    "set_num_threads",
]
