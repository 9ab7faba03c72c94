"""Long work in slices: nothing holds the hub for more than a few milliseconds."""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

import gevent

T = TypeVar("T")

SLICE_S = 0.003  # of work before everybody else gets a turn
EVERY = 16  # steps between two looks at the clock


class Pace:
    """Call `breathe` after each small step of long work."""

    __slots__ = ("_since", "_steps")

    def __init__(self) -> None:
        self._steps = 0
        self._since = perf_counter()

    def breathe(self) -> None:
        self._steps += 1
        if self._steps % EVERY == 0 and perf_counter() - self._since > SLICE_S:
            gevent.sleep(0)
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
