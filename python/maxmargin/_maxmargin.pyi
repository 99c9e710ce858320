"""The native part. What users call is in the other files, which also say what the arguments mean."""

from collections.abc import Callable, Sequence
from typing import Any, final

from typing_extensions import Buffer

__all__ = [
    "Device",
    "NativeLinearModel",
    "NativeLoss",
    "NativeMetric",
    "NativeNetwork",
    "NativeTrainer",
    "Numbers",
    "__version__",
    "adapters",
    "address",
    "evaluate",
    "get_num_threads",
    "jax_handler",
    "linear_answer",
    "linear_fit",
    "linear_fit_parts",
    "linear_merge_summaries",
    "linear_part_summary",
    "linear_path",
    "set_num_threads",
]
__version__: str

_Numbers = tuple[float | None, list[float] | None, int, float, int, int | None, str]

@final
class Device:
    """Where losses are computed: the CPU or a GPU.

    The selection is ``cpu``, ``gpu`` (the best adapter), ``gpu:N``, part of an adapter's name, or ``auto`` (a real GPU or the
    CPU). Without it MAXMARGIN_DEVICE decides, or else it is the CPU.
    """

    def __new__(cls, selection: str | None = None) -> Device: ...
    @property
    def name(self) -> str:
        """The adapter's name, or that of the CPU's backend."""
    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[Device], tuple[str]]: ...

def address(array: Any) -> int: ...
def adapters() -> list[tuple[str, str, str, str]]: ...
def set_num_threads(threads: int) -> None:
    """Set the number of threads of this process, and of those that it forks later. MAXMARGIN_THREADS is the default."""

def get_num_threads() -> int:
    """The number of threads that evaluations and fits are spread over."""

@final
class Numbers(Buffer): ...

@final
class NativeLoss:
    def __new__(cls, name: str, **options: Any) -> NativeLoss: ...
    @staticmethod
    def from_json(json: str) -> NativeLoss: ...
    def json(self) -> str: ...
    def with_class_weights(self, weights: list[float]) -> NativeLoss: ...
    def value_and_gradient(self, scores: Any, targets: Any, reduction: str, gradient: Any, /) -> float | None: ...
    @property
    def has_accuracy(self) -> bool: ...

def evaluate(
    loss: NativeLoss,
    arrays: tuple[Any, ...],
    sample_weights: Any,
    score_kind: str,
    reduction: str,
    divisor: float | None,
    per_class: bool,
    device: str | Device | None,
    losses: Any,
    gradient: Any,
    /,
) -> _Numbers: ...
@final
class NativeMetric:
    def __new__(cls, loss: NativeLoss, reduction: str, per_class: bool) -> NativeMetric: ...
    @staticmethod
    def from_state(state: bytes) -> NativeMetric: ...
    def update(
        self,
        loss: NativeLoss,
        arrays: tuple[Any, ...],
        sample_weights: Any,
        score_kind: str,
        device: str | Device | None,
        /,
    ) -> None: ...
    def forward(
        self,
        loss: NativeLoss,
        arrays: tuple[Any, ...],
        sample_weights: Any,
        score_kind: str,
        device: str | Device | None,
        /,
    ) -> tuple[_Numbers, _Numbers]: ...
    def compute(self) -> _Numbers: ...
    def reset(self) -> None: ...
    def merge(self, other: NativeMetric) -> None: ...
    @property
    def updates(self) -> int: ...
    def state(self) -> bytes: ...

@final
class NativeNetwork:
    def __new__(cls, inputs: int, layers: Sequence[tuple[int, str, str]], seed: int) -> NativeNetwork: ...
    @staticmethod
    def from_safetensors(bytes: bytes) -> NativeNetwork: ...
    def to_safetensors(self) -> bytes: ...
    def load_safetensors(self, bytes: bytes) -> None: ...
    @property
    def inputs(self) -> int: ...
    @property
    def layers(self) -> list[tuple[int, str]]: ...
    def parameters(self) -> Numbers: ...
    def set_parameters(self, parameters: Any) -> None: ...
    def predict(self, features: Any, precision: str, device: str | Device | None, /) -> Numbers: ...

@final
class NativeTrainer:
    def __new__(
        cls,
        network: NativeNetwork,
        loss: NativeLoss,
        optimizer: tuple[Any, ...],
        accuracy: str,
        precision: str,
        device: str | Device | None,
    ) -> NativeTrainer: ...
    def fit(
        self,
        network: NativeNetwork,
        features: Any,
        targets: Any,
        validation: tuple[Any, Any] | None,
        epochs: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        early_stopping: int | None,
        on_epoch: Callable[[dict[str, Any]], bool | None] | None,
        /,
    ) -> tuple[list[dict[str, Any]], str]: ...
    def evaluate(self, network: NativeNetwork, features: Any, targets: Any) -> tuple[float, float | None]: ...
    @property
    def epochs_done(self) -> int: ...
    def checkpoint(self) -> bytes: ...
    def resume(self, network: NativeNetwork, bytes: bytes) -> None: ...

@final
class NativeLinearModel:
    @staticmethod
    def from_safetensors(bytes: bytes) -> NativeLinearModel: ...
    def to_safetensors(self) -> bytes: ...
    @property
    def columns(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    def weights(self) -> Numbers: ...
    def bias(self) -> Numbers: ...
    def classes(self) -> Numbers: ...
    def certificates(self) -> list[tuple[float, float, float, float]]: ...
    def decision_values(self, features: Any) -> Numbers: ...
    def labels(self, features: Any) -> Numbers: ...
    def certain(self, features: Any) -> Numbers: ...

def jax_handler() -> Any: ...
def linear_fit(
    options: dict[str, Any],
    features: Any,
    targets: Any,
    sample_weights: Any,
    start: NativeLinearModel | None,
    on_progress: Callable[[float, int, float], bool | None] | None,
    /,
) -> tuple[NativeLinearModel, dict[str, Any], Numbers]: ...
def linear_part_summary(features: Any, targets: Any, sample_weights: Any, /) -> bytes: ...
def linear_merge_summaries(summaries: Sequence[bytes], /) -> bytes: ...
def linear_answer(
    question: bytes, features: Any, targets: Any, sample_weights: Any, state: Any, /
) -> tuple[Numbers, Numbers | None]: ...
def linear_fit_parts(
    options: dict[str, Any],
    summary: bytes,
    start: NativeLinearModel | None,
    ask: Callable[[bytes], Any],
    on_progress: Callable[[float, int, float], bool | None] | None,
    /,
) -> tuple[NativeLinearModel, dict[str, Any]]: ...
def linear_path(
    options: dict[str, Any],
    features: Any,
    targets: Any,
    sample_weights: Any,
    cs: list[float],
    folds: int,
    seed: int,
    validation: tuple[Any, Any] | None,
    on_progress: Callable[[float, int, float], bool | None] | None,
    /,
) -> tuple[NativeLinearModel, dict[str, Any], Numbers, float, list[dict[str, Any]]]: ...
