"""Losses over Ray's data sets and lists of files, on as many machines as a cluster has.

>>> import maxmargin as mm
>>> import maxmargin.ray
>>> mm.ray.evaluate(mm.BinaryHinge(), ["s0.npy", "s1.npy"], ["t0.npy", "t1.npy"]).value     # doctest: +SKIP
0.25

A block of a data set, or a file, is evaluated where it is, and some hundred bytes of sums come back, which are merged exactly, in the order
in which they come: the value has the same bits whatever the workers, their order and their failures, on processors of one kind. Ray may cut
the same data set into other blocks; files are always blocks of their own.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import ray
import ray.data
import ray.exceptions

from . import _blocks
from ._blocks import Outputs, Place, State, Task, file_blocks
from ._errors import ElementTypeError, InputError, MaxMarginError, wrong
from ._evaluate import DeviceLike, Evaluation, Reduction, ScoreKind
from ._losses import Loss

__all__ = ["evaluate"]

#: Tasks that are handed to Ray at a time.
_IN_FLIGHT = 1024


def evaluate(
    loss: Loss,
    *data: Any,
    sample_weights: Any = None,
    reduction: Reduction = "mean",
    gradient: bool = False,
    losses: bool = False,
    per_class: bool = False,
    score_kind: ScoreKind = "raw",
    device: DeviceLike = None,
    gradient_out: Any = None,
    losses_out: Any = None,
    ray_remote_args: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Evaluate a loss over blocks, on the Ray cluster of this process; a local one is started where there is none.

    Args:
        loss: A loss of this package.
        data: A ``ray.data.Dataset`` and then the names of its columns with the arrays that :func:`maxmargin.evaluate` takes (rows of
            scores: one column of lists or tensors, or a list of names). Or lists of files, one for each array: ``x.npy``,
            ``x.safetensors:NAME``, ``x.parquet:COLUMN`` or ``x.parquet:COLUMN,COLUMN``. Files of a list belong to those of the same
            place in the others.
        sample_weights: A column, or a list of files, with one weight per sample.
        reduction, per_class, score_kind: As of :func:`maxmargin.evaluate`; ``guessed`` would look at all scores at once.
        gradient: Of a data set: whether to return it with a further column ``gradient``, which Ray computes where it is used.
        losses: Of a data set: the same with a column ``losses``.
        device: Where a worker computes, by name.
        gradient_out: Of files: a folder, on a path that all workers reach, for one .npy file per block with its part of the gradient, of the
            name of the scores' file.
        losses_out: Of files: the same for the losses.
        ray_remote_args: What a task needs, such as ``{"num_gpus": 1}``.

    Raises:
        InputError: With the file in ``.file`` and the index in it in ``.index``.
    """
    task = Task(loss, reduction, per_class, score_kind, device)
    remote_args = dict(ray_remote_args or {})
    is_dataset = bool(data) and isinstance(data[0], ray.data.Dataset)
    arrays = data[1:] if is_dataset else data
    task.check_count(arrays)
    if is_dataset and (gradient_out is not None or losses_out is not None):
        raise wrong(InputError, "gradient_out", "lists of files; a data set gets columns (gradient, losses)", "a data set")
    if not is_dataset and (gradient or losses):
        raise wrong(InputError, "gradient", "a data set; files get gradient_out and losses_out", "lists of files")
    if is_dataset:
        if gradient:
            task.check_gradient()
        return _of_dataset(task, data[0], _Columns(task, arrays, sample_weights), gradient, losses, remote_args)
    blocks = file_blocks(task, arrays, sample_weights)
    outputs = Outputs(task, blocks, gradient_out, losses_out)
    calls = [(task, *block) for block in blocks]
    whole = State(task.metric())
    for state in _as_completed(_state_of, calls, {"name": "maxmargin-state", **remote_args}):
        whole.merge(state)
    result = whole.metric.compute()
    for name, paths in outputs.paths.items():
        divisor = task.divisor(result) if name == "gradient" else 1.0
        calls = [(path, task, divisor, name, *block) for path, block in zip(paths, blocks)]
        for _ in _as_completed(_write, calls, {"name": f"maxmargin-{name}", **remote_args}):
            pass
    return result


def _state_of(*block: Any) -> State:
    _use_threads()
    return _blocks.state_of(*block)


def _write(*block: Any) -> str:
    _use_threads()
    return _blocks.write_outputs(*block)


def _use_threads() -> None:
    """A task has as many threads as Ray reserves processors for it."""
    _blocks.use_threads(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))


def _as_completed(function: Any, calls: Sequence[tuple[Any, ...]], remote_args: dict[str, Any]) -> Iterator[Any]:
    """The results of calls as they come. The first failure cancels the others."""
    remote = ray.remote(function).options(**remote_args)
    waiting = iter(calls)
    running: list[Any] = []
    try:
        while True:
            for call in waiting:
                running.append(remote.remote(*call))
                if len(running) >= _IN_FLIGHT:
                    break
            if not running:
                return
            done, running = ray.wait(running, num_returns=1)
            more, running = ray.wait(running, num_returns=len(running), timeout=0) if running else ([], [])
            try:
                results = ray.get(done + more)
            except ray.exceptions.RayTaskError as error:
                # The worker's own exception has the attributes.
                raise (error.cause if isinstance(error.cause, MaxMarginError) else error) from None
            yield from results
    finally:
        for reference in running:
            ray.cancel(reference)


class _Columns:
    """The arrays of a block of a data set."""

    def __init__(self, task: Task, arrays: Sequence[Any], sample_weights: Any) -> None:
        self.names = dict(zip(task.inputs, arrays))
        if sample_weights is not None:
            self.names["sample_weights"] = sample_weights
        for input, names in self.names.items():
            all_names = [names] if isinstance(names, str) else names
            if not isinstance(all_names, (list, tuple)) or not all_names or not all(isinstance(name, str) for name in all_names):
                raise wrong(InputError, input, "a column's name, or a list of names", repr(names))

    def place(self) -> Place:
        return Place({input: f"a block of {names}" for input, names in self.names.items()})

    def of(self, block: Mapping[str, Any], input: str) -> Any:
        names = self.names.get(input)
        if names is None:
            return None
        all_names = [names] if isinstance(names, str) else list(names)
        for name in all_names:
            if block[name].dtype == object:
                raise wrong(ElementTypeError, input, f"numbers without gaps in column {name}, rows of one length", "others")
        return block[names] if isinstance(names, str) else np.column_stack([block[name] for name in all_names])

    def arguments(self, task: Task, block: Mapping[str, Any]) -> tuple[Any, ...]:
        """Weights and arrays."""
        return (self.of(block, "sample_weights"), *(self.of(block, input) for input in task.inputs))


class _StateOfBlock:
    def __init__(self, task: Task, columns: _Columns) -> None:
        self.task, self.columns = task, columns

    def __call__(self, block: Mapping[str, Any]) -> dict[str, Any]:
        _use_threads()
        state: State | MaxMarginError
        try:
            state = _blocks.state_of(self.task, self.columns.place(), *self.columns.arguments(self.task, block))
        except MaxMarginError as error:
            # Ray Data would not hand it on as it is.
            state = error
        return {"state": np.array([pickle.dumps(state)], object)}


class _WithOutputs:
    def __init__(self, task: Task, columns: _Columns, divisors: Mapping[str, float]) -> None:
        self.task, self.columns, self.divisors = task, columns, divisors

    def __call__(self, block: Mapping[str, Any]) -> dict[str, Any]:
        _use_threads()
        arguments = self.columns.arguments(self.task, block)
        outputs = dict(block)
        for name, divisor in self.divisors.items():
            output = _blocks.outputs_of(self.task, divisor, name, self.columns.place(), *arguments)
            # The samples first, as in every column.
            outputs[name] = np.moveaxis(output, 0, 1) if name == "gradient" and self.task.vectors else output
        return outputs


def _of_dataset(
    task: Task,
    dataset: Any,
    columns: _Columns,
    gradient: bool,
    losses: bool,
    remote_args: dict[str, Any],
) -> Evaluation:
    there = dataset.columns()
    for input, of in columns.names.items():
        for name in [of] if isinstance(of, str) else of:
            if there is not None and name not in there:
                raise wrong(InputError, input, f"a column among {', '.join(there)}", name)
    for name, is_wanted in (("gradient", gradient), ("losses", losses)):
        if is_wanted and there is not None and name in there:
            raise wrong(InputError, name, f"a data set without a column {name}, which it gets", "one with it")
    options = {"batch_size": None, "batch_format": "numpy", **remote_args}
    names = [name for of in columns.names.values() for name in ([of] if isinstance(of, str) else of)]
    states = dataset.select_columns(list(dict.fromkeys(names))).map_batches(_StateOfBlock(task, columns).__call__, **options)
    whole = State(task.metric())
    for row in states.iter_rows():
        state = pickle.loads(row["state"])
        if isinstance(state, MaxMarginError):
            raise state
        whole.merge(state)
    result: Evaluation = whole.metric.compute()
    divisors = {}
    if gradient:
        divisors["gradient"] = task.divisor(result)
    if losses:
        divisors["losses"] = 1.0
    if divisors:
        with_outputs: Any = dataset.map_batches(_WithOutputs(task, columns, divisors).__call__, **options)
        result.gradient = with_outputs if gradient else None
        result.losses = with_outputs if losses else None
    return result
