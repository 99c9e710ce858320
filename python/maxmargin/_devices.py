"""The adapters of this machine."""

from __future__ import annotations

from typing import NamedTuple

from . import _maxmargin

__all__ = ["Adapter", "devices"]


class Adapter(NamedTuple):
    """A GPU, or a software adapter, that this machine offers."""

    #: What to pass as ``device``: ``cpu`` or ``gpu:N``.
    selection: str
    #: The adapter's name.
    name: str
    #: ``discrete GPU``, ``integrated GPU``, ``virtual GPU``, ``software`` or ``CPU``.
    kind: str
    #: ``vulkan``, ``metal``, ``dx12``, ``gl`` or ``native``.
    backend: str


def devices() -> list[Adapter]:
    """The CPU and every adapter, in the order of their selections."""
    return [Adapter("cpu", "native CPU backend", "CPU", "native")] + [Adapter(*row) for row in _maxmargin.adapters()]
