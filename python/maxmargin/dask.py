"""Losses over Dask's arrays, columns of its dataframes, and lists of files, on as many machines as a cluster has.

>>> import dask.array as da
>>> import maxmargin as mm
>>> import maxmargin.dask
>>> scores = da.from_array(np.array([0.5, -0.25, 2.0, 1.5], np.float32), chunks=2)
>>> targets = da.from_array(np.array([1, 1, -1, 1]), chunks=2)
>>> mm.dask.evaluate(mm.BinaryHinge(), scores, targets).value
1.1875

A block (a chunk, a partition or a file) is evaluated where it is, and some hundred bytes of sums come back. Sums are merged exactly: the
value has the same bits whatever the workers, their order and their failures, on processors of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.base
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from tlz import partition_all

from . import _blocks
from ._blocks import Place, Task, file_blocks, is_files
from ._errors import InputError, wrong
from ._evaluate import DeviceLike, Evaluation, Metric, Reduction, ScoreKind
from ._losses import Loss

__all__ = ["evaluate"]

#: States that one task merges.
_MERGED = 16

_Block = tuple[Place, Any, tuple[Any, ...]]


def evaluate(
    loss: Loss,
    *arrays: Any,
    sample_weights: Any = None,
    reduction: Reduction = "mean",
    gradient: bool = False,
    losses: bool = False,
    per_class: bool = False,
    score_kind: ScoreKind = "raw",
    device: DeviceLike = None,
    gradient_out: Any = None,
    losses_out: Any = None,
) -> Evaluation:
    """Evaluate a loss over blocks, on Dask's current scheduler or cluster.

    Args:
        loss: A loss of this package.
        arrays: Scores and targets, as :func:`maxmargin.evaluate` takes them, each as a Dask array, a column or columns of a Dask
            dataframe, or a list of files: ``x.npy``, ``x.safetensors:NAME``, ``x.parquet:COLUMN`` or ``x.parquet:COLUMN,COLUMN``.
            Chunks of scores decide for all; rows are never divided. Files of a list belong to those of the same place in the others.
        sample_weights: One weight per sample, in the same form.
        reduction, per_class, score_kind: As of :func:`maxmargin.evaluate`; ``guessed`` would look at all scores at once.
        gradient: Whether to return the gradient as a Dask array. It is computed block by block where it is used.
        losses: Whether to return the losses of the samples as a Dask array.
        device: Where a worker computes, by name.
        gradient_out: A folder, on a path that all workers reach, for one .npy file per block with its part of the gradient: of the name
            of the scores' file, or the number of the block.
        losses_out: The same for the losses.

    Raises:
        InputError: With the file or chunk in ``.file`` and the index in ``.index``: in the file, or in the whole array where the lengths
            of its chunks are known.
    """
    task = Task(loss, reduction, per_class, score_kind, device)
    task.check_count(arrays)
    is_listed = is_files(arrays[0])
    blocks, grid = (file_blocks(task, arrays, sample_weights), None) if is_listed else _chunks(task, arrays, sample_weights)
    wanted = [name for name, is_wanted in (("gradient", gradient), ("losses", losses)) if is_wanted]
    shapes = [_task(_blocks.shape_of, "shape", block[2][0]) for block in blocks] if wanted else []
    states = [_task(_state_of, "state", task, *_flat(block)) for block in blocks]
    while len(states) > 1:
        states = [_task(task.merged, "merge", list(group)) for group in partition_all(_MERGED, states)]
    whole, shapes = dask.base.compute(states[0] if states else task.metric(), shapes)
    result: Evaluation = whole.compute()
    outputs = {"gradient": gradient_out, "losses": losses_out}
    needs_divisor = gradient or gradient_out is not None
    divisor = _blocks.divisor_of(task, result) if needs_divisor else 1.0
    for name in wanted:
        parts = [_task(_outputs_of, name, task, block[0], divisor, name, *_flat(block)[1:]) for block in blocks]
        setattr(result, name, _assembled(task, name, parts, shapes, grid))
    for name, folder in outputs.items():
        if folder is None:
            continue
        files = [block[2][0] for block in blocks] if is_listed else None
        paths = _blocks.output_paths(folder, files, len(blocks), f"{name}_out")
        pairs = zip(paths, blocks)
        dask.base.compute(
            [_task(_write, name, path, task, block[0], divisor, name, *_flat(block)[1:]) for path, block in pairs]
        )
    return result


def _flat(block: _Block) -> tuple[Any, ...]:
    place, weights, arrays = block
    return (place, weights, *arrays)


def _task(function: Any, name: str, *arguments: Any) -> Delayed:
    """A task under a name of its own on the dashboard."""
    key = f"maxmargin-{name}-{tokenize(function, *arguments)}"
    task: Delayed = delayed(function, pure=True)(*arguments, dask_key_name=key)
    return task


def _state_of(*block: Any) -> Metric:
    _use_threads()
    return _blocks.state_of(*block)


def _outputs_of(*block: Any) -> Any:
    _use_threads()
    return _blocks.outputs_of(*block)


def _write(*block: Any) -> str:
    _use_threads()
    return _blocks.write_outputs(*block)


def _use_threads() -> None:
    """A process has as many threads as its workers run tasks at a time."""
    try:
        from distributed import get_worker

        worker = get_worker()
    except (ImportError, ValueError):
        # Not on a worker.
        return
    workers = getattr(type(worker), "_instances", [worker])
    _blocks.use_threads(sum(worker.state.nthreads for worker in workers))


def _chunks(task: Task, arrays: Sequence[Any], sample_weights: Any) -> tuple[list[_Block], tuple[int, ...]]:
    """The blocks of Dask arrays, and how many there are along each axis."""
    named = {input: _as_dask(array, input) for input, array in zip(task.inputs, arrays)}
    scores = named["scores"]
    if not task.is_elementwise:
        if scores.ndim != 2:
            raise wrong(InputError, "scores", "shape (N, C)", _shape_text(scores.shape))
        scores = named["scores"] = _with_whole_rows(scores)
    if sample_weights is not None:
        named["sample_weights"] = _as_dask(sample_weights, "sample_weights")
    for input, array in named.items():
        if input != "scores":
            named[input] = _aligned(task, array, scores, input)
    parts = {input: array.to_delayed() for input, array in named.items()}
    starts = {input: [np.cumsum([0, *sizes]) for sizes in array.chunks] for input, array in named.items()}
    blocks = []
    for at in np.ndindex(*scores.numblocks):
        within = {}
        of_block = {}
        for input, array in named.items():
            own = at[: array.ndim]
            of_block[input] = parts[input][own]
            if not any(np.isnan(array.shape)):
                first = tuple(int(starts[input][axis][n]) for axis, n in enumerate(own))
                within[input] = (first, tuple(map(int, array.shape)))
        number = at[0] if len(at) == 1 or not task.is_elementwise else at
        place = Place({input: f"{input} of chunk {number}" if input not in within else None for input in of_block}, within)
        weights = of_block.pop("sample_weights", None)
        blocks.append((place, weights, tuple(of_block.values())))
    return blocks, scores.numblocks


def _as_dask(x: Any, input: str) -> Any:
    if hasattr(x, "to_dask_array"):
        # A column, or several, of a dataframe.
        return x.to_dask_array()
    if isinstance(x, da.Array):
        return x
    if is_files(x):
        raise wrong(InputError, input, "a Dask array, as the scores are", "a list of files")
    return da.from_array(np.asarray(x), chunks=-1)


def _with_whole_rows(array: Any) -> Any:
    return array if array.numblocks[1] == 1 else array.rechunk({1: -1})


def _aligned(task: Task, array: Any, scores: Any, input: str) -> Any:
    """An array whose chunks have the samples of the scores' chunks."""
    samples = scores.shape if task.is_elementwise else scores.shape[:1]
    is_known = not any(np.isnan(array.shape)) and not any(np.isnan(scores.shape))
    if is_known:
        allowed = [samples] if input in ("targets", "sample_weights") else [scores.shape]
        if input == "targets":
            allowed.append(scores.shape)
        match = next((shape for shape in allowed if _long(shape) == _long(array.shape)), None)
        if match is None:
            raise wrong(InputError, input, f"shape {_shape_text(allowed[0])}", _shape_text(array.shape))
        return array.reshape(match).rechunk(scores.chunks[: len(match)])
    if array.ndim > 1 and not task.is_elementwise:
        array = _with_whole_rows(array)
    if array.numblocks[0] != scores.numblocks[0]:
        raise wrong(InputError, input, f"{scores.numblocks[0]} partitions, as of scores", str(array.numblocks[0]))
    return array


def _long(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape without axes of length 1."""
    return tuple(length for length in shape if length != 1)


def _shape_text(shape: tuple[Any, ...]) -> str:
    return "(" + ", ".join("?" if np.isnan(length) else str(length) for length in shape) + ("," if len(shape) == 1 else "") + ")"


def _assembled(task: Task, name: str, parts: list[Any], shapes: list[Any], grid: tuple[int, ...] | None) -> Any:
    """One Dask array of the blocks' losses or gradients."""
    arrays = []
    for part, (scores, dtype) in zip(parts, shapes):
        shape = tuple(scores) if name == "gradient" or task.is_elementwise else tuple(scores[:1])
        if name == "gradient" and task.vectors:
            shape = (task.vectors, *shape)
        arrays.append(da.from_delayed(part, shape, np.dtype(dtype)))
    if not arrays:
        return da.zeros((0,), chunks=1, dtype=np.float32)
    if not task.is_elementwise or grid is None or len(grid) == 1:
        return da.concatenate(arrays, axis=1 if name == "gradient" and task.vectors else 0)
    nested = np.empty(len(arrays), object)
    for number, array in enumerate(arrays):
        nested[number] = array
    return da.block(nested.reshape(grid).tolist())
