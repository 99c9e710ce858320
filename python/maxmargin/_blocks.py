"""Losses over data in blocks: what an engine of several processes computes of each, and how that is put together.

An engine needs two functions: :func:`state_of` makes the state of a block, and :meth:`State.merge` puts states together. Merging is exact,
so the order of the blocks, retries and the number of workers change no bit; only the cut into blocks does.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _maxmargin
from ._arrays import as_array, computes_in_f64
from ._errors import InputError, MaxMarginError, wrong
from ._evaluate import DeviceLike, Evaluation, Metric, Reduction, ScoreKind, evaluate
from ._files import File
from ._losses import ELEMENTWISE, VECTORS, Loss

#: The arguments of losses that do not take scores and targets.
_INPUTS = {
    "ranking": ("scores", "second_scores", "targets"),
    "cosine": ("scores", "second_scores", "targets"),
    "triplet": ("scores", "second_scores", "negatives"),
}


@dataclass(frozen=True)
class Task:
    """What is evaluated: options of :func:`maxmargin.evaluate`."""

    loss: Loss
    reduction: Reduction = "mean"
    per_class: bool = False
    score_kind: ScoreKind = "raw"
    device: DeviceLike = None

    def __post_init__(self) -> None:
        if self.score_kind == "guessed":
            expected = "raw, probability or logit, since no block has all scores"
            raise wrong(InputError, "score_kind", expected, self.score_kind)
        if self.reduction == "none":
            raise wrong(InputError, "reduction", "one that gives a number; losses=True gives those of the samples", "none")
        # Wrong options are found here, and not by a worker.
        self.metric()

    def metric(self) -> Metric:
        """A metric that has seen nothing."""
        return Metric(
            self.loss,
            reduction=self.reduction,
            per_class=self.per_class,
            score_kind=self.score_kind,
            device=self.device,
        )

    def merged(self, states: Iterable[State]) -> State:
        """One state of several, which are not changed: an engine may keep them."""
        whole = State(self.metric())
        for state in states:
            whole.merge(state)
        return whole

    def divisor(self, evaluation: Evaluation) -> float:
        """What the gradient of the sum is divided by, once the whole data was seen."""
        if self.reduction == "sum":
            return 1.0
        return float(evaluation.weight_sum if self.reduction == "mean" else evaluation.count)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays that the loss takes."""
        return _INPUTS.get(self.loss.name, ("scores", "targets"))

    @property
    def is_elementwise(self) -> bool:
        """Whether each score is a sample; otherwise each row is one."""
        return self.loss.name in ELEMENTWISE

    @property
    def vectors(self) -> int | None:
        """The length of the gradient's first axis, for losses of several vectors per sample."""
        return VECTORS.get(self.loss.name)

    def check_gradient(self) -> None:
        """Refuse a reduction that has no gradient."""
        if self.reduction == "mean-active":
            raise wrong(InputError, "reduction", "mean, mean-over-count or sum, with a gradient", self.reduction)

    def check_count(self, arrays: Sequence[Any]) -> None:
        """Refuse another number of arrays than the loss takes."""
        if len(arrays) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise TypeError(f"{self.loss.name}: expected {len(self.inputs)} arguments after the loss ({names}), got {len(arrays)}")


@dataclass(frozen=True)
class Place:
    """Where a block lies in the data, for messages."""

    #: By input, what its array is called: a file, or a chunk that counts its own indices.
    names: Mapping[str, str | None]
    #: By input, where the chunk begins in the whole array, and the shape of that, where they are known.
    within: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def explain(self, error: MaxMarginError, shapes: Mapping[str, tuple[int, ...]]) -> MaxMarginError:
        """The error of a block whose arrays have these shapes, with its place in the whole data."""
        input = error.input or ""
        text = str(error).removeprefix("update 0: ")
        attributes = {name: value for name, value in vars(error).items() if name != "update"}
        if error.index is not None and input in self.within and input in shapes:
            starts, whole = self.within[input]
            at = np.unravel_index(error.index, shapes[input])
            index = int(np.ravel_multi_index([start + int(n) for start, n in zip(starts, at)], whole))
            text = text.replace(f"[{error.index}]", f"[{index}]", 1)
            attributes["index"] = index
        where = self.names.get(input, next(iter(self.names.values()), None))
        explained = type(error)(f"{where}: {text}" if where else text)
        vars(explained).update(attributes, file=where)
        return explained


#: What :func:`state_of` takes after the task: the place, the weights or None, and the arrays or files, those of scores first.
Block = tuple[Any, ...]


@dataclass
class State:
    """What some blocks add to a loss."""

    metric: Metric
    #: The length of their rows, where rows are samples and there are any, and one of the blocks that have it.
    columns: int | None = None
    where: str | None = None

    def merge(self, other: State) -> None:
        """Add other blocks.

        Raises:
            InputError: For rows of another length.
        """
        if self.columns is None:
            self.columns, self.where = other.columns, other.where
        elif other.columns not in (None, self.columns):
            expected = f"rows of {self.columns}" + (f", as in {self.where}" if self.where else "")
            error = wrong(InputError, "scores", expected, str(other.columns))
            raise Place({"scores": other.where}).explain(error, {})
        self.metric.merge(other.metric)


def state_of(task: Task, place: Place, sample_weights: Any, *arrays: Any) -> State:
    """The state of one block."""
    metric = task.metric()
    arrays, sample_weights = _read(task, arrays, sample_weights)
    with _explained(task, place, arrays, sample_weights):
        metric.update(*arrays, sample_weights=sample_weights)
    shape = np.shape(arrays[0])
    if task.is_elementwise or not shape[0]:
        return State(metric)
    return State(metric, shape[1], place.names.get("scores"))


def outputs_of(
    task: Task,
    divisor: float,
    wanted: str,
    place: Place,
    sample_weights: Any,
    *arrays: Any,
) -> NDArray[Any]:
    """The ``gradient`` of one block, as its share of the gradient of the whole, or its ``losses``."""
    arrays, sample_weights = _read(task, arrays, sample_weights)
    options: dict[str, Any] = {"divisor": divisor} if wanted == "gradient" else {"losses": True, "reduction": "sum"}
    with _explained(task, place, arrays, sample_weights):
        result = evaluate(
            task.loss,
            *arrays,
            sample_weights=sample_weights,
            score_kind=task.score_kind,
            device=task.device,
            **options,
        )
    output = result.gradient if wanted == "gradient" else result.losses
    assert output is not None
    return output


def write_outputs(path: str, *block: Any) -> str:
    """Write what :func:`outputs_of` gives to a .npy file. A second attempt at a block replaces the file of the first."""
    output = outputs_of(*block)
    # Two attempts may run at once, so each has a file of its own, until it is complete.
    temporary = f"{path}.{uuid.uuid4().hex}"
    try:
        with open(temporary, "wb") as file:
            np.save(file, output)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    return path


def shape_of(scores: Any) -> tuple[tuple[int, ...], str]:
    """The shape of a block's scores, and the type of its losses and gradient on the CPU."""
    if isinstance(scores, File):
        scores = scores.read("scores")
    scores = as_array(scores, "scores")
    return scores.shape, "float64" if computes_in_f64(scores) else "float32"


def file_blocks(task: Task, lists: Sequence[Any], sample_weights: Any) -> list[Block]:
    """The blocks of lists of files, one list for each array.

    Raises:
        InputError: For lists of several lengths.
    """
    named = dict(zip(task.inputs, lists))
    if sample_weights is not None:
        named["sample_weights"] = sample_weights
    files = {}
    for input, paths in named.items():
        if is_path(paths):
            raise wrong(InputError, input, "files in a list, also one alone", str(paths))
        if not is_files(paths):
            raise wrong(InputError, input, "a list of files, as the scores are", type(paths).__name__)
        files[input] = [File.of(path, input) for path in paths]
        if len(files[input]) != len(files["scores"]):
            expected = f"{len(files['scores'])} files, as many as of scores"
            raise wrong(InputError, input, expected, str(len(files[input])))
    blocks = []
    for number in range(len(files["scores"])):
        of_block = {input: files[input][number] for input in files}
        place = Place({input: file.argument for input, file in of_block.items()})
        blocks.append(block_of(place, of_block))
    return blocks


def block_of(place: Place, arrays: dict[str, Any]) -> Block:
    """A block of arrays by input, those of scores first."""
    return (place, arrays.pop("sample_weights", None), *arrays.values())


def is_files(x: Any) -> bool:
    """Whether an argument is a list of paths."""
    return isinstance(x, (list, tuple)) and all(map(is_path, x))


def is_path(x: Any) -> bool:
    """Whether an argument is a path."""
    return isinstance(x, (str, os.PathLike))


class Outputs:
    """The .npy files for the blocks' gradients and losses: each in a folder, of the same name as the file of scores, or the number of the
    block.

    Raises:
        InputError: For a gradient that there is not, files of scores with the same name, one folder for both, and files that are read.
    """

    def __init__(
        self,
        task: Task,
        blocks: Sequence[Block] | int,
        gradient_out: Any,
        losses_out: Any,
    ) -> None:
        if gradient_out is not None:
            task.check_gradient()
        folders = {"gradient": gradient_out, "losses": losses_out}
        given = {name: os.path.realpath(folder) for name, folder in folders.items() if folder is not None}
        #: By output, one path per block.
        self.paths: dict[str, list[str]] = {}
        if len(given) == 2 and len(set(given.values())) == 1:
            raise wrong(InputError, "losses_out", "another folder than gradient_out", str(losses_out))
        if isinstance(blocks, int):
            names, read = [f"{number:06}" for number in range(blocks)], set()
        else:
            names = [scores.stem for _, _, scores, *_ in blocks]
            files = [file for _, *of_block in blocks for file in of_block if file is not None]
            read = {os.path.realpath(file.parts[0]) for file in files}
        for name, folder in given.items():
            option = f"{name}_out"
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise wrong(InputError, option, "files of scores with names of their own", f"{twice} twice")
            paths = [os.path.join(folder, f"{name}.npy") for name in names]
            for path in paths:
                if path in read:
                    raise wrong(InputError, option, "a folder without files that are read", path)
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise wrong(InputError, option, "a folder that can be made", f"{folder}: {error.strerror}") from None
            self.paths[name] = paths


def use_threads(count: float) -> None:
    """Compute with as many threads as an engine gives its tasks in this process, where nobody asked for another number.

    A worker's tasks would otherwise have as many threads each as the machine has processors.
    """
    count, processors = max(1, int(count)), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if count != processors and not os.environ.get("MAXMARGIN_THREADS") and _maxmargin.get_num_threads() == processors:
        _maxmargin.set_num_threads(count)


class _explained:
    """Errors inside name the block."""

    def __init__(self, task: Task, place: Place, arrays: Sequence[Any], sample_weights: Any) -> None:
        self.place = place
        self.arrays = dict(zip(task.inputs, arrays), sample_weights=sample_weights)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, MaxMarginError):
            shapes = {input: np.shape(array) for input, array in self.arrays.items() if array is not None}
            raise self.place.explain(error, shapes) from None


def _read(task: Task, arrays: Sequence[Any], sample_weights: Any) -> tuple[tuple[Any, ...], Any]:
    """The arrays of a block, those of files from these."""

    def read(array: Any, input: str) -> Any:
        return array.read(input) if isinstance(array, File) else array

    return tuple(map(read, arrays, task.inputs)), read(sample_weights, "sample_weights")
