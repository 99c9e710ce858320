"""Arrays in files, read where they are used."""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import ElementTypeError, InputError, MaxMarginError, wrong

_KINDS = (".npy", ".safetensors", ".parquet")


@dataclass(frozen=True)
class File:
    """An array in a file: ``x.npy``, ``x.safetensors:NAME``, ``x.parquet:COLUMN`` or ``x.parquet:COLUMN,COLUMN``.

    .npy and .safetensors are mapped and not copied. What has a scheme, such as ``s3://``, is read by fsspec.
    """

    argument: str

    @classmethod
    def of(cls, argument: Any, input: str) -> File:
        """The file of an argument.

        Raises:
            InputError: For a format that is not known, or without a name of an array.
        """
        file = cls(os.fspath(argument))
        path, names = file.parts
        if not path.endswith(_KINDS):
            raise wrong(InputError, input, f"a file that ends in {', '.join(_KINDS)}", file.argument)
        if path.endswith(".npy") == bool(names):
            expected = "no name after .npy" if names else f"the name of an array or of columns after {path}:"
            raise wrong(InputError, input, expected, file.argument)
        return file

    @property
    def parts(self) -> tuple[str, str]:
        """The path, and what stands behind its last colon."""
        for kind in _KINDS:
            path, found, names = self.argument.rpartition(kind + ":")
            if found:
                return path + kind, names
        return self.argument, ""

    @property
    def stem(self) -> str:
        """The file's name without its extension."""
        return os.path.splitext(os.path.basename(self.parts[0]))[0]

    def read(self, input: str) -> NDArray[Any]:
        """The array.

        Raises:
            InputError: With the file, for what cannot be read.
        """
        path, names = self.parts
        try:
            if path.endswith(".npy"):
                return _npy(path)
            if path.endswith(".safetensors"):
                return _safetensors(path, names)
            # A name with a comma stands in double quotes, as in CSV.
            return _parquet(path, next(csv.reader([names])), input)
        except (MaxMarginError, ImportError):
            raise
        except Exception as error:
            # A KeyError's own text has quotes around it.
            what = error.args[0] if isinstance(error, KeyError) and error.args else error
            failure = InputError(f"{self.argument}: {what}")
            failure.input, failure.file = input, self.argument
            raise failure from None


def _is_remote(path: str) -> bool:
    return "://" in path


def _npy(path: str) -> NDArray[Any]:
    if not _is_remote(path):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    import fsspec

    with fsspec.open(path, "rb") as file:
        remote: NDArray[Any] = np.load(file, allow_pickle=False)
        return remote


def _safetensors(path: str, name: str) -> NDArray[Any]:
    from safetensors import safe_open
    from safetensors.numpy import load

    try:
        # It gives numpy the types of 16 bits and less.
        importlib.import_module("ml_dtypes")
    except ImportError:
        pass
    if _is_remote(path):
        import fsspec

        with fsspec.open(path, "rb") as file:
            arrays = load(file.read())
        if name not in arrays:
            raise KeyError(f"no array {name!r}; there are {', '.join(sorted(arrays))}")
        whole: NDArray[Any] = arrays[name]
        return whole
    with safe_open(path, framework="numpy") as file:
        array: NDArray[Any] = file.get_tensor(name)
        return array


def _parquet(path: str, columns: Sequence[str], input: str) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if _is_remote(path):
        import fsspec

        with fsspec.open(path, "rb") as file:
            table = pq.read_table(file, columns=list(columns))
    else:
        # One file, and not a folder of a data set, whose columns would depend on its path.
        table = pq.ParquetFile(path).read(columns=list(columns))
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        names = ", ".join(pq.ParquetFile(path).schema_arrow.names) if not _is_remote(path) else "others"
        raise KeyError(f"no column {missing[0]!r}; there are {names}")
    arrays = [_column(table.column(column).combine_chunks(), column, pa) for column in columns]
    if len(arrays) == 1:
        return arrays[0]
    if any(array.ndim != 1 for array in arrays):
        raise wrong(ElementTypeError, input, "columns of numbers, or one column of lists", "several with lists")
    return np.column_stack(arrays)


def _column(column: Any, name: str, pa: Any) -> NDArray[Any]:
    """A column of numbers, or one of lists of equal lengths as rows."""
    if column.null_count:
        raise ValueError(f"column {name!r} has {column.null_count} missing values")
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    lengths = np.asarray(column.value_lengths())
    if len(lengths) and (lengths != lengths[0]).any():
        row = int((lengths != lengths[0]).argmax())
        raise ValueError(f"column {name!r}: row {row} has {lengths[row]} numbers, those before {lengths[0]}")
    values = column.flatten()
    if values.null_count:
        raise ValueError(f"column {name!r} has {values.null_count} missing values")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), -1)
