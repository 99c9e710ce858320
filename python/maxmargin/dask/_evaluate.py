"""Losses over blocks."""

from __future__ import annotations

from typing import Any

import dask.array as da
import dask.base
import numpy as np

from .. import _blocks
from .._blocks import Block, Outputs, State, Task, block_of, file_blocks, is_files
from .._evaluate import DeviceLike, Evaluation, Reduction, ScoreKind
from .._losses import Loss
from ._chunks import aligned_blocks, tasks, tree, use_threads


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
            dataframe, or a list of files: ``x.npy``, ``x.safetensors:NAME``, ``x.parquet:COLUMN`` or ``x.parquet:COLUMN,COLUMN`` (a
            name with a comma in double quotes). Chunks of scores decide for all; rows are never divided. Files of a list belong to
            those of the same place in the others.
        sample_weights: One weight per sample, in the same form.
        reduction, per_class, score_kind: As of :func:`maxmargin.evaluate`; ``guessed`` would look at all scores at once.
        gradient: Whether to return the gradient as a Dask array. It is computed block by block where it is used.
        losses: Whether to return the losses of the samples as a Dask array.
        device: Where a worker computes, by name.
        gradient_out: A folder, on a path that all workers reach, for one .npy file per block with its part of the gradient: of the name
            of the scores' file, or the number of the block.
        losses_out: Another one for the losses.

    Raises:
        InputError: With the file or chunk in ``.file`` and the index in ``.index``: in the file, or in the whole array where the lengths
            of its chunks are known.
    """
    evaluated = Task(loss, reduction, per_class, score_kind, device)
    evaluated.check_count(arrays)
    is_listed = is_files(arrays[0])
    grid: tuple[int, ...] = (1,)
    if is_listed:
        blocks = file_blocks(evaluated, arrays, sample_weights)
    else:
        blocks, grid = _array_blocks(evaluated, arrays, sample_weights)
    if gradient:
        evaluated.check_gradient()
    outputs = Outputs(evaluated, blocks if is_listed else len(blocks), gradient_out, losses_out)
    wanted = [name for name, is_wanted in (("gradient", gradient), ("losses", losses)) if is_wanted]
    shapes = tasks(_blocks.shape_of, "shape", [(scores,) for _, _, scores, *_ in blocks]) if wanted else []
    states = tasks(_state_of, "state", [(evaluated, *block) for block in blocks])
    whole = tree(evaluated.merged, "merge", states) if states else State(evaluated.metric())
    whole, shapes = dask.base.compute(whole, shapes)
    result: Evaluation = whole.metric.compute()
    for name in wanted:
        divisor = evaluated.divisor(result) if name == "gradient" else 1.0
        parts = tasks(_outputs_of, name, [(evaluated, divisor, name, *block) for block in blocks])
        setattr(result, name, _assembled(evaluated, name, parts, shapes, grid))
    for name, paths in outputs.paths.items():
        divisor = evaluated.divisor(result) if name == "gradient" else 1.0
        calls = [(path, evaluated, divisor, name, *block) for path, block in zip(paths, blocks)]
        dask.base.compute(tasks(_write, name, calls))
    return result


def _state_of(*block: Any) -> State:
    use_threads()
    return _blocks.state_of(*block)


def _outputs_of(*block: Any) -> Any:
    use_threads()
    return _blocks.outputs_of(*block)


def _write(*block: Any) -> str:
    use_threads()
    return _blocks.write_outputs(*block)


def _array_blocks(evaluated: Task, arrays: Any, sample_weights: Any) -> tuple[list[Block], tuple[int, ...]]:
    """The blocks of Dask arrays, and how many there are along each axis."""
    named = dict(zip(evaluated.inputs, arrays))
    if sample_weights is not None:
        named["sample_weights"] = sample_weights
    aligned, grid = aligned_blocks(named, not evaluated.is_elementwise)
    return [block_of(place, of_block) for place, of_block in aligned], grid


def _assembled(evaluated: Task, name: str, parts: list[Any], shapes: list[Any], grid: tuple[int, ...]) -> Any:
    """One Dask array of the blocks' losses or gradients."""
    arrays = []
    for part, (scores, dtype) in zip(parts, shapes):
        shape = tuple(scores) if name == "gradient" or evaluated.is_elementwise else tuple(scores[:1])
        if name == "gradient" and evaluated.vectors:
            shape = (evaluated.vectors, *shape)
        arrays.append(da.from_delayed(part, shape, np.dtype(dtype)))
    if not arrays:
        return da.zeros((0,), chunks=1, dtype=np.float32)
    if not evaluated.is_elementwise or len(grid) == 1:
        return da.concatenate(arrays, axis=1 if name == "gradient" and evaluated.vectors else 0)
    nested = np.empty(len(arrays), object)
    for number, array in enumerate(arrays):
        nested[number] = array
    return da.block(nested.reshape(grid).tolist())
