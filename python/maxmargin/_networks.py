"""Networks of dense layers, trained with any loss of the package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from . import _maxmargin
from ._arrays import as_array, whole_number
from ._errors import InputError, wrong
from ._evaluate import DeviceLike
from ._losses import Loss

__all__ = ["SGD", "Adam", "AdamW", "Dense", "History", "Sequential", "Trainer"]

Activation = Literal["identity", "relu", "tanh", "sigmoid"]
Initializer = Literal["torch", "he-uniform", "glorot-uniform", "zeros"]
Conventions = Literal["torch", "keras"]


@dataclass(frozen=True)
class Dense:
    """A layer: activation(x W^T + b) with W of shape (units, inputs).

    ``initializer`` draws the starting weights: ``torch`` (torch's Linear), ``he-uniform``, ``glorot-uniform`` or ``zeros``.
    """

    units: int
    activation: Activation = "identity"
    initializer: Initializer = "torch"


@dataclass(frozen=True, kw_only=True)
class _Optimizer:
    method: ClassVar[str]
    weight_decay: float | None = None
    #: Whose rules are followed where torch's and Keras's differ.
    conventions: Conventions = "torch"

    def _options(self) -> tuple[Any, ...]:
        get = self.__dict__.get
        rate, betas, epsilon = get("learning_rate"), get("betas", (0.9, 0.999)), get("epsilon")
        momentum, nesterov = get("momentum", 0.0), get("nesterov", False)
        return (self.method, rate, momentum, nesterov, betas, epsilon, self.weight_decay, self.conventions)


@dataclass(frozen=True)
class SGD(_Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's form of it."""

    method: ClassVar[str] = "sgd"
    learning_rate: float = 0.01
    momentum: float = field(default=0.0, kw_only=True)
    nesterov: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Adam(_Optimizer):
    """Adam. ``epsilon`` is 1e-8 by torch's conventions and 1e-7 by Keras's, unless it is given."""

    method: ClassVar[str] = "adam"
    learning_rate: float = 0.001
    betas: tuple[float, float] = field(default=(0.9, 0.999), kw_only=True)
    epsilon: float | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weight decay kept out of the gradient: 0.01, or 0.004 by Keras's conventions."""

    method: ClassVar[str] = "adamw"


class Sequential:
    """Dense layers one after the other. The same seed draws the same weights on every machine.

    >>> network = Sequential(2, [Dense(50, "relu", "he-uniform"), Dense(1, "tanh", "glorot-uniform")], seed=1)
    >>> [weights.shape for weights in network.weights]
    [(50, 2), (50,), (1, 50), (1,)]
    """

    __slots__ = ("_native",)

    def __init__(self, inputs: int, layers: Sequence[Dense], *, seed: int = 0) -> None:
        for layer in layers:
            if not isinstance(layer, Dense):
                raise TypeError(f"layers: expected Dense, got {type(layer).__name__}")
        native = [(whole_number("units", one.units, 1), one.activation, one.initializer) for one in layers]
        self._native = _maxmargin.NativeNetwork(whole_number("inputs", inputs, 1), native, whole_number("seed", seed))

    @property
    def inputs(self) -> int:
        """Inputs of the first layer."""
        return self._native.inputs

    @property
    def layers(self) -> list[Dense]:
        """The layers, without their initializers."""
        return [Dense(units, activation) for units, activation in self._native.layers]  # type: ignore[arg-type]

    def _shapes(self) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []
        inputs = self.inputs
        for units, _ in self._native.layers:
            shapes += [(units, inputs), (units,)]
            inputs = units
        return shapes

    @property
    def weights(self) -> list[NDArray[np.float64]]:
        """Of each layer its matrix (units, inputs), then its bias (units): copies. Assign a list to replace all."""
        parameters = np.asarray(self._native.parameters())
        shapes = self._shapes()
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(parameters, ends[:-1])
        return [part.reshape(shape).copy() for part, shape in zip(parts, shapes, strict=True)]

    @weights.setter
    def weights(self, weights: Sequence[Any]) -> None:
        given = [np.asarray(part, np.float64) for part in weights]
        shapes, got = self._shapes(), [part.shape for part in given]
        if shapes != got:
            raise wrong(InputError, "weights", f"arrays of the shapes {shapes}", str(got))
        self._native.set_parameters(np.concatenate([part.ravel() for part in given]))

    def predict(
        self, features: Any, *, precision: Literal["f32", "f64"] = "f32", device: DeviceLike = None
    ) -> NDArray[np.float64]:
        """The outputs (N, units of the last layer) for rows of features."""
        outputs = np.asarray(self._native.predict(features, precision, device))
        return outputs.reshape(-1, self._native.layers[-1][0])

    def to_bytes(self) -> bytes:
        """Layers and weights as a safetensors file."""
        return self._native.to_safetensors()

    @classmethod
    def from_bytes(cls, data: bytes) -> Sequential:
        """The network of a safetensors file that says its layers."""
        network = cls.__new__(cls)
        network._native = _maxmargin.NativeNetwork.from_safetensors(data)
        return network

    def save(self, path: str | Path) -> None:
        """Write layers and weights as a safetensors file."""
        Path(path).write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> Sequential:
        """Read what :meth:`save` wrote, or the program ``maxmargin train``."""
        return cls.from_bytes(Path(path).read_bytes())

    def load_weights(self, data: bytes) -> None:
        """Replace the weights by those of a safetensors file of this package, torch or Keras."""
        self._native.load_safetensors(data)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Sequential.from_bytes, (self.to_bytes(),))

    def __eq__(self, other: object) -> bool:
        return self.to_bytes() == other.to_bytes() if isinstance(other, Sequential) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        layers = ", ".join(f"Dense({layer.units}, {layer.activation!r})" for layer in self.layers)
        return f"Sequential({self.inputs}, [{layers}])"


@dataclass(frozen=True)
class History:
    """What a training reports."""

    #: ``loss`` and, where they have a meaning, ``accuracy``, ``val_loss`` and ``val_accuracy``: one number per epoch.
    history: dict[str, list[float]]
    #: The epochs' numbers, counted from 0.
    epoch: list[int]
    #: The mean loss of each batch before its update, one list per epoch.
    batch_losses: list[list[float]]
    #: Why it ended: ``epochs``, ``early stopping`` or ``stopped``.
    end: str


class Trainer:
    """A network with its loss and optimizer, on a device.

    >>> import maxmargin as mm
    >>> network = mm.Sequential(2, [mm.Dense(8, "relu"), mm.Dense(1, "tanh")])
    >>> trainer = mm.Trainer(network, mm.BinaryHinge(), mm.SGD(0.1, momentum=0.9))
    >>> features = [[0.0, 0.1], [1.0, 0.9], [0.1, 0.2], [0.8, 1.0]]
    >>> history = trainer.fit(features, [-1, 1, -1, 1], epochs=20, batch_size=2)
    >>> sorted(history.history), len(history.epoch)
    (['accuracy', 'loss'], 20)
    """

    def __init__(
        self,
        network: Sequential,
        loss: Loss,
        optimizer: SGD | Adam | AdamW,
        *,
        accuracy: Literal["sign", "keras"] = "sign",
        precision: Literal["f32", "f64"] = "f32",
        device: DeviceLike = None,
    ) -> None:
        for name, value, kind in (
            ("network", network, Sequential),
            ("loss", loss, Loss),
            ("optimizer", optimizer, _Optimizer),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name}: expected a {kind.__name__.lstrip('_')} of maxmargin, got {value!r}")
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.precision: Literal["f32", "f64"] = precision
        self.device = device
        self._native = _maxmargin.NativeTrainer(
            network._native, loss._native, optimizer._options(), accuracy, precision, device
        )

    def fit(
        self,
        features: Any,
        targets: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        early_stopping: int | None = None,
        on_epoch: Callable[[dict[str, Any]], bool | None] | None = None,
    ) -> History:
        """Train the network until ``epochs`` epochs are done, those before included.

        Features (N, D) in float16, bfloat16, float32, float64, bool, or bytes that stand for x / 255. ``on_epoch`` gets a dict per
        epoch and ends the training by returning False; the network has its new weights once the training has ended. After ``early_stopping`` epochs without a lower loss (of the
        validation, where there is one) it ends as well. Ctrl-C ends it after the current step; the network then has the
        weights reached.

        Raises:
            DivergedError: Where the loss is not finite; the network then has the last good weights.
        """
        if validation is not None and (not isinstance(validation, (tuple, list)) or len(validation) != 2):
            raise TypeError("validation: expected features and targets")
        rows, end = self._native.fit(
            self.network._native,
            features,
            _targets(targets),
            None if validation is None else (validation[0], _targets(validation[1])),
            whole_number("epochs", epochs),
            whole_number("batch_size", batch_size),
            bool(shuffle),
            whole_number("seed", seed),
            None if early_stopping is None else whole_number("early_stopping", early_stopping),
            on_epoch,
        )
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        history = {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}
        return History(history, [row["epoch"] for row in rows], [row["batch_losses"] for row in rows], end)

    def evaluate(self, features: Any, targets: Any) -> tuple[float, float | None]:
        """Mean loss and accuracy; the accuracy is None where the loss predicts nothing."""
        return self._native.evaluate(self.network._native, features, _targets(targets))

    def predict(self, features: Any) -> NDArray[np.float64]:
        """The network's outputs (N, units of the last layer)."""
        return self.network.predict(features, precision=self.precision, device=self.device)

    def __reduce__(self) -> Any:
        raise TypeError("a Trainer is not pickled: checkpoint() and resume() save and continue a training")

    @property
    def epochs_done(self) -> int:
        """Epochs done so far."""
        return self._native.epochs_done

    def checkpoint(self) -> bytes:
        """Weights, the optimizer's memory and the progress of training, as a safetensors file."""
        return self._native.checkpoint()

    def resume(self, data: bytes) -> None:
        """Continue from a checkpoint. The next :meth:`fit` must have the same data, batch size and order."""
        self._native.resume(self.network._native, data)


def _targets(targets: Any) -> NDArray[np.float64]:
    return np.ascontiguousarray(as_array(targets, "targets"), np.float64)
