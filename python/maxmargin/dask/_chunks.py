"""The blocks of Dask's collections, and tasks of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import Delayed, delayed
from tlz import partition_all

from .. import _blocks
from .._arrays import as_array
from .._blocks import Place, is_files, is_path
from .._errors import InputError, wrong

#: Results that one task puts together.
MERGED = 16


def tasks(function: Any, name: str, calls: Iterable[tuple[Any, ...]]) -> list[Delayed]:
    """A task for each call, under a name that the dashboard shows. Each evaluation has tasks of its own: files may have changed."""
    made = delayed(function, pure=False)
    group = f"maxmargin-{name}-{uuid.uuid4().hex}"
    return [made(*call, dask_key_name=(group, number)) for number, call in enumerate(calls)]


def tree(function: Any, name: str, results: list[Any]) -> Any:
    """One result of several that a function puts together some at a time, in their order."""
    while len(results) > 1:
        results = tasks(function, name, [(list(group),) for group in partition_all(MERGED, results)])
    return results[0]


def use_threads() -> None:
    """A process has as many threads as its workers run tasks at a time."""
    try:
        from distributed import get_worker

        worker = get_worker()
    except (ImportError, ValueError):
        # Not on a worker.
        return
    workers = getattr(type(worker), "_instances", [worker])
    _blocks.use_threads(sum(worker.state.nthreads for worker in workers))


def aligned_blocks(
    named: Mapping[str, Any], rows_are_samples: bool
) -> tuple[list[tuple[Place, dict[str, Any]]], tuple[int, ...]]:
    """The blocks of arrays, by input, of which the first decides how all are cut; and how many blocks there are along each axis.

    Raises:
        InputError: For arrays that do not fit each other.
    """
    arrays = {input: _as_dask(array, input) for input, array in named.items()}
    first_input, first = next(iter(arrays.items()))
    if rows_are_samples:
        if first.ndim != 2:
            columns = "D" if first_input == "features" else "C"
            raise wrong(InputError, first_input, f"shape (N, {columns})", _shape_text(first.shape))
        first = arrays[first_input] = _with_whole_rows(first)
    for input in list(arrays)[1:]:
        arrays[input] = _aligned(arrays[input], first, input, first_input, rows_are_samples)
    parts = {input: array.to_delayed() for input, array in arrays.items()}
    starts = {input: [np.cumsum([0, *sizes]) for sizes in array.chunks] for input, array in arrays.items()}
    blocks = []
    for at in np.ndindex(*first.numblocks):
        within, of_block = {}, {}
        for input, array in arrays.items():
            own = at[: array.ndim]
            of_block[input] = parts[input][own]
            if not any(np.isnan(array.shape)):
                begins = tuple(int(starts[input][axis][n]) for axis, n in enumerate(own))
                within[input] = (begins, tuple(map(int, array.shape)))
        number = at[0] if len(at) == 1 or rows_are_samples else at
        place = Place({input: None if input in within else f"{input} of chunk {number}" for input in of_block}, within)
        blocks.append((place, of_block))
    return blocks, first.numblocks


def _as_dask(x: Any, input: str) -> Any:
    if isinstance(x, da.Array):
        return x
    if hasattr(x, "to_dask_array"):
        return _of_frame(x, input)
    if is_files(x) and len(x):
        raise wrong(InputError, input, "a Dask array", "a list of files")
    if is_path(x):
        raise wrong(InputError, input, "files in a list, also one alone", str(x))
    if hasattr(x, "tocsr"):
        raise wrong(InputError, input, "a dense array", type(x).__name__)
    return da.from_array(as_array(x, input), chunks=-1)


def _of_frame(frame: Any, input: str) -> Any:
    """A column of a dataframe, or several."""
    partitions = frame.to_delayed()
    columns = (len(frame.columns),) if hasattr(frame, "columns") else ()
    dtype = _values(frame._meta, input).dtype
    arrays = [da.from_delayed(delayed(_values)(part, input), (np.nan, *columns), dtype) for part in partitions]
    return da.concatenate(arrays, allow_unknown_chunksizes=True)


def _values(part: Any, input: str) -> Any:
    """The numbers of a partition, whose columns may be of pandas's own types."""
    if not hasattr(part, "columns"):
        return _numbers(part, input)
    columns = [_numbers(part.iloc[:, n], input) for n in range(part.shape[1])]
    return np.column_stack(columns) if columns else np.empty((len(part), 0))


def _numbers(column: Any, input: str) -> Any:
    array = as_array(column, input)
    # pandas's own types, which have a mask, and Arrow's: numbers where none is missing.
    numpy_type = getattr(column.dtype, "numpy_dtype", None)
    if array.dtype == object and numpy_type is not None and not column.isna().any():
        return column.to_numpy(dtype=numpy_type)
    return array


def _with_whole_rows(array: Any) -> Any:
    return array if array.numblocks[1] == 1 else array.rechunk({1: -1})


def _aligned(array: Any, first: Any, input: str, first_input: str, rows_are_samples: bool) -> Any:
    """An array whose chunks have the samples of the first one's chunks."""
    samples = first.shape[:1] if rows_are_samples else first.shape
    if not any(np.isnan(array.shape)) and not any(np.isnan(first.shape)):
        allowed = [samples] if input in ("targets", "sample_weights") else [first.shape]
        if input == "targets":
            allowed.append(first.shape)
        match = next((shape for shape in allowed if _long(shape) == _long(array.shape)), None)
        if match is None:
            raise wrong(InputError, input, f"shape {_shape_text(allowed[0])}", _shape_text(array.shape))
        return array.reshape(match).rechunk(first.chunks[: len(match)])
    if array.ndim > 1 and rows_are_samples:
        array = _with_whole_rows(array)
    if array.numblocks[0] != first.numblocks[0]:
        expected = f"{first.numblocks[0]} partitions, as of {first_input}"
        raise wrong(InputError, input, expected, str(array.numblocks[0]))
    return array


def _long(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape without axes of length 1."""
    return tuple(length for length in shape if length != 1)


def _shape_text(shape: tuple[Any, ...]) -> str:
    lengths = ", ".join("?" if np.isnan(length) else str(length) for length in shape)
    return f"({lengths},)" if len(shape) == 1 else f"({lengths})"
