"""The package's exceptions. They survive pickling, so that a worker's error reaches whoever waits for it."""

from __future__ import annotations

from typing import TypeVar

__all__ = [
    "DeviceError",
    "DivergedError",
    "ElementTypeError",
    "InputError",
    "MaxMarginError",
    "OutOfMemoryError",
]


class MaxMarginError(Exception):
    """What every exception of the package is."""

    #: The argument or option that the error is about, if any.
    input: str | None = None
    #: The flat index of the first bad element, if one is to blame.
    index: int | None = None
    #: The file or the block that the index counts in, where there are several.
    file: str | None = None
    #: What was found there.
    value: str | None = None
    #: What was expected.
    expected: str | None = None


Kind = TypeVar("Kind", bound=MaxMarginError)


class InputError(MaxMarginError, ValueError):
    """An argument or an option with a value, a shape or a length that has no meaning."""


class ElementTypeError(MaxMarginError, TypeError):
    """An array whose elements are of a type that is not taken."""


class DeviceError(MaxMarginError, RuntimeError):
    """A device that is missing, or failed."""


class OutOfMemoryError(MaxMarginError, MemoryError):
    """An allocation that the machine or the device refused."""


class DivergedError(MaxMarginError, ArithmeticError):
    """A loss that became NaN or infinite in training."""


def wrong(kind: type[Kind], input: str, expected: str, got: str) -> Kind:
    """An error of an argument, with what was expected and what came."""
    error = kind(f"{input}: expected {expected}, got {got}")
    error.input, error.expected, error.value = input, expected, got
    return error
