"""A worker that is killed in the middle of an evaluation. Workers import it."""

from __future__ import annotations

import os
import signal

from maxmargin import _blocks


def hook(marker: str):
    """As :func:`die_at_the_fifth_block`, to be called without an argument."""
    return lambda: die_at_the_fifth_block(marker)


def die_at_the_fifth_block(marker: str) -> None:
    """From now on the first worker that begins its fifth block kills itself, if nobody has made the marker yet."""
    state_of, count = _blocks.state_of, 0

    def counted(*block):
        nonlocal count
        count += 1
        if count >= 5:
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return state_of(*block)

    _blocks.state_of = counted
