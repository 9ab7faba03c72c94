"""Long work in slices: nothing holds the hub for more than a few milliseconds."""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

import gevent

T = TypeVar("T")

SLICE_S = 0.003  # of work before everybody else gets a turn
EVERY = 16  # steps between two looks at the clock

# gevent.sleep(0) is not enough: the hub runs up to 50 such callbacks before it
# looks at sockets and timers again, which makes 150 ms of 3 ms slices. A timer,
# however short, is served on the loop's next turn, after everything that is ready.
TURN_S = 1e-6


class Pace:
    """Call `breathe` after each small step of long work."""

    __slots__ = ("_since", "_steps")

    def __init__(self) -> None:
        self._steps = 0
        self._since = perf_counter()

    def breathe(self) -> None:
        self._steps += 1
        if self._steps % EVERY == 0 and perf_counter() - self._since > SLICE_S:
            gevent.sleep(TURN_S)
            self._since = perf_counter()


def paced(steps: Generator[Any, None, T]) -> T:
    """What the generator returns; others run between its steps."""
    pace = Pace()
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
        pace.breathe()
