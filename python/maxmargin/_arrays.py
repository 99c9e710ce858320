"""Arrays that cannot be read in place: copied once into C order, native byte order and aligned memory."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._errors import DeviceError, ElementTypeError, InputError, wrong

Array = NDArray[Any]


def _on_host(x: Any, input: str) -> tuple[Any, bool]:
    """A torch tensor's memory as an array, and whether its 16 bits are a bfloat16. Anything else as it is."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        return x, False
    if x.device.type != "cpu":
        raise wrong(DeviceError, input, "a tensor on the CPU", f"one on {x.device}; call .cpu() on it first")
    x = x.detach().resolve_neg()
    return (x.view(torch.int16).numpy(), True) if x.dtype == torch.bfloat16 else (x.numpy(), False)


def is_bfloat16(x: Any) -> bool:
    """Whether an array or tensor holds bfloat16."""
    return _type_name(x) == "bfloat16"


def as_array(x: Any, input: str) -> Array:
    """The array of any object: its own memory where it offers that, by the array protocols, the buffer protocol or DLPack.

    bfloat16 of a torch tensor comes as float32, which numpy knows.
    """
    x, has_bits = _on_host(x, input)
    if has_bits:
        wide: Array = x.view(np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32)
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise wrong(ElementTypeError, input, "numbers, none of them masked", "a masked array")
    if isinstance(x, np.ndarray):
        return np.asarray(x)
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    try:
        array = np.asarray(x)
    except ValueError as error:
        # A list of lists of several lengths.
        raise wrong(ElementTypeError, input, "numbers", f"{type(x).__name__}: {error}") from None
    # Whole numbers in a list are numbers as well.
    is_number = isinstance(x, (list, tuple, int)) and array.dtype.kind in "iu" and input != "targets"
    return array.astype(np.float64) if is_number else array


def prepare(x: Any, input: str) -> tuple[Array, bool]:
    """What the native part reads: an array in C order, and whether its 16 bits are a bfloat16."""
    x, has_bits = _on_host(x, input)
    array = x if has_bits else as_array(x, input)
    if has_bits or is_bfloat16(array):
        return np.ascontiguousarray(array).view(np.uint16), True
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise wrong(ElementTypeError, input, "numbers", str(array.dtype))
    if input == "sample_weights" and array.dtype.kind in "biu":
        array = array.astype(np.float64)
    # A copy where the memory is strided, misaligned or of the other byte order.
    # An array of no axes becomes one of a single element.
    return np.require(np.atleast_1d(array), dtype=array.dtype.newbyteorder("="), requirements=["C", "A"]), False


def whole_number(name: str, value: Any, least: int = 0) -> int:
    """A whole number in range, or the error that says which argument is none."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if not least <= number < 1 << 63:
        raise wrong(InputError, name, f"a whole number, {least} or more", repr(value))
    return number


def is_array(x: Any) -> bool:
    """Whether an object is numpy's or torch's, whose shapes and types are read without a conversion."""
    return isinstance(x, np.ndarray) or hasattr(x, "data_ptr")


def computes_in_f64(x: Any) -> bool:
    """Whether the CPU computes in double precision for these scores."""
    return _type_name(x) == "float64"


def _type_name(x: Any) -> str:
    """The name of an array's or a tensor's element type; empty for anything else."""
    dtype = getattr(x, "dtype", "")
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]
