"""Linear fits whose rows lie in the memory of several workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.base
import numpy as np
from numpy.typing import NDArray
from tlz import partition_all

from .. import _maxmargin
from .._arrays import as_array
from .._blocks import Place
from .._errors import MaxMarginError
from .._linear import LinearClassifier, LinearModel, Progress, _weights
from ._chunks import MERGED, aligned_blocks, tasks, tree, use_threads

#: What a part answered last: sums, and its state after that.
_Answer = tuple[NDArray[np.float64], Any]


@dataclass(frozen=True, eq=False)
class PartsFit:
    """A model fitted to rows in parts, and how its fit went."""

    model: LinearModel
    #: ``converged``, ``passes`` (used up), ``precision`` (no smaller gap in f64) or ``stopped``.
    end: str
    #: Reads of all features.
    passes: float
    newton_steps: int
    #: Of each output, the rows with a multiplier above 0.
    support_vectors: list[int]
    #: Sums over all rows that were asked for, one after the other.
    questions: int


def fit(
    classifier: LinearClassifier,
    features: Any,
    labels: Any,
    *,
    sample_weights: Any = None,
    start: LinearModel | None = None,
    on_progress: Progress | None = None,
) -> PartsFit:
    """Fit a linear model to one data set in parts on several workers, to one certified gap for all of it.

    Each pass over the rows is a reduction: a chunk of rows answers where it is, with sums alone, and keeps 32 bytes per row. The rows
    stay in the workers' memory meanwhile. What a lost worker had is computed again.

    Args:
        classifier: How to fit. One class against the rest, on the CPU, with an intercept that is penalised or none; meant for up to
            4,095 features.
        features: A Dask array (rows, columns), dense, or columns of a Dask dataframe. Its chunks of rows are the parts. Few rows with
            many columns are fitted much faster in one process, where they fit.
        labels: One whole number per row.
        sample_weights: One weight per row.
        start: Weights to start from, such as those of a fit of some of the rows with a C that is as many times as large.
        on_progress: Gets passes, Newton steps and the gap (not yet certified), and ends the fit by returning False.

    Raises:
        InputError: With the index in the whole array, where the lengths of its chunks are known.
    """
    if not isinstance(classifier, LinearClassifier):
        raise TypeError(f"classifier: expected a LinearClassifier, got {type(classifier).__name__}")
    if start is not None and not isinstance(start, LinearModel):
        raise TypeError(f"start: expected a LinearModel, got {type(start).__name__}")
    named = {"features": features, "targets": labels}
    if sample_weights is not None:
        named["sample_weights"] = sample_weights
    blocks, _ = aligned_blocks(named, rows_are_samples=True)
    parts = list(dask.base.persist(*tasks(_loaded, "rows", [tuple(arrays.values()) for _, arrays in blocks])))
    placed = [(place, part) for (place, _), part in zip(blocks, parts)]
    (summaries,) = dask.base.compute(tasks(_summary, "summary", placed))
    summary = _maxmargin.linear_merge_summaries(summaries)
    answers: list[Any] = [None] * len(parts)

    def ask(question: bytes) -> NDArray[np.float64]:
        nonlocal answers
        asked = tasks(_answer, "answer", [(question, part, before) for part, before in zip(parts, answers)])
        sums = tasks(_sums, "sums", [(list(group),) for group in partition_all(MERGED, asked)])
        # The parts' states stay where they are; the total comes here.
        total, *answers = dask.base.persist(tree(_total, "sum", sums), *asked)
        sums_of_all: NDArray[np.float64] = total.compute()
        return sums_of_all

    native_start = None if start is None else start._native
    native, how = _maxmargin.linear_fit_parts(classifier._options(), summary, native_start, ask, on_progress)
    return PartsFit(LinearModel._of(native), **how)


def _loaded(features: Any, labels: Any, sample_weights: Any = None) -> tuple[Any, Any, Any]:
    """The arrays of a part, in the form in which they are read many times."""
    arrays = as_array(features, "features"), as_array(labels, "targets")
    return np.ascontiguousarray(arrays[0]), np.ascontiguousarray(arrays[1]), _weights(sample_weights)


def _summary(place: Place, part: tuple[Any, Any, Any]) -> bytes:
    use_threads()
    try:
        return _maxmargin.linear_part_summary(*part)
    except MaxMarginError as error:
        inputs = ("features", "targets", "sample_weights")
        shapes = {input: np.shape(array) for input, array in zip(inputs, part) if array is not None}
        raise place.explain(error, shapes) from None


def _answer(question: bytes, part: tuple[Any, Any, Any], before: _Answer | None) -> _Answer:
    use_threads()
    state = None if before is None else before[1]
    sums, new = _maxmargin.linear_answer(question, *part, state)
    return np.asarray(sums), state if new is None else np.asarray(new)


def _sums(answers: Sequence[_Answer]) -> NDArray[np.float64]:
    return _total([sums for sums, _ in answers])


def _total(sums: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    total = sums[0].copy()
    for other in sums[1:]:
        total += other
    return total
