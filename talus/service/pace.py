"""Long work in slices: nothing holds the hub for more than a few milliseconds.

All long work of the process takes turns: one slice, then everything that is
ready, then the next slice, of whoever waited longest. However many clients ask
for large things at once, a small call waits for one slice and not for one of each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

import gevent
from gevent.event import Event

T = TypeVar("T")

SLICE_S = 0.001  # of long work before everybody else gets a turn
# Of what clients say without a pause. A small call of another comes to the loop four or five times before it
# is answered, and may find such a slice before it each time.
TALK_S = 0.0003
LET_GO = 500  # items of a long list in a step
EVERY = 16  # steps between two looks at the clock

# gevent.sleep(0) is not enough: the hub runs up to 50 such callbacks before it
# looks at sockets and timers again, which makes 150 ms of 3 ms slices. A timer,
# however short, is served on the loop's next turn, after everything that is ready.
TURN_S = 1e-6


class _Looks:
    """How often the loop has looked at sockets and timers, and when it last did.

    Not `loop.now()`: gevent sets that anew whenever a timer is started, so a greenlet
    that starts one for each of its steps would never seem to hold anything.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last_s = perf_counter()
        self._watcher = gevent.get_hub().loop.check(ref=False)
        self._watcher.start(self._look)

    def _look(self) -> None:
        self.count += 1
        self.last_s = perf_counter()


class _Turns:
    """Who waits for his next slice. Nobody holds anything while he works, so nobody can wait for ever."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._giving = False

    def wait(self) -> None:
        turn = Event()
        self._waiting.append(turn)
        if not self._giving:
            self._giving = True
            gevent.spawn(self._give)
        turn.wait()

    def _give(self) -> None:
        while self._waiting:
            gevent.sleep(TURN_S)
            self._waiting.popleft().set()
        self._giving = False


_looks = _Looks()
_turns = _Turns()


class Pace:
    """Call `breathe` after each small step of long work: it waits for its turn when there was enough.

    That is a slice of its own, or, before its first since the loop last looked at
    sockets, a slice of anybody's. every: so many steps, the clock is looked at.
    """

    __slots__ = ("_began_s", "_every", "_look", "_steps")

    slice_s = SLICE_S

    def __init__(self, every: int = EVERY) -> None:
        self._every = every
        self._steps = 0
        self._look = -1
        self._began_s = 0.0

    def breathe(self) -> None:
        self._steps += 1
        if self._steps % self._every:
            return
        if self._look != _looks.count:
            self._begin()
            if not self._late():
                return
        elif perf_counter() - self._began_s <= self.slice_s:
            return
        _turns.wait()
        self._begin()

    def _begin(self) -> None:
        self._look = _looks.count
        self._began_s = perf_counter()

    def _late(self) -> bool:
        return self._began_s - _looks.last_s > self.slice_s


class TalkPace(Pace):
    """For what one client says without a pause: `breathe` after each thing.

    Others' slices do not count. In a large room the hub sends for 30 ms at a time,
    and whoever waited for a turn each time would hardly be heard.
    """

    __slots__ = ()

    slice_s = TALK_S

    def __init__(self) -> None:
        super().__init__(every=1)

    def _late(self) -> bool:
        return False


def paced(steps: Generator[Any, None, T], every: int = EVERY) -> T:
    """What the generator returns; others run between its steps."""
    pace = Pace(every)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
        pace.breathe()


def let_go(items: list[Any]) -> None:
    """Empty a list that nobody needs any more: 100,000 objects that go at once hold the hub for 25 ms."""
    pace = Pace(every=1)
    while items:
        del items[-LET_GO:]
        pace.breathe()
