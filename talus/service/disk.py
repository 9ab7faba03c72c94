"""The hub's way to the disk: no greenlet ever waits inside SQLite.

One native thread writes and checkpoints, a few others read; the greenlet that
asked sleeps meanwhile and the hub goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

from ..store.changes import Change
from ..store.journal import Journal

T = TypeVar("T")

READERS = 2  # threads; SQLite reads are short, and the GIL allows little more


class Disk:
    """A journal, called from greenlets."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._writing = ThreadPool(1)
        self._reading = ThreadPool(READERS)

    def write(self, changes: list[Change]) -> None:
        """`Journal.write`, on the one thread that writes."""
        _call(self._writing, self.journal.write, changes)

    def checkpoint(self) -> bool:
        """`Journal.checkpoint`, on the same thread."""
        return _call(self._writing, self.journal.checkpoint)

    def purge(self) -> bool:
        """`Journal.purge`, on the same thread."""
        return _call(self._writing, self.journal.purge)

    def read(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)` on a reading thread; `function` is one of the journal's readers."""
        return _call(self._reading, function, *args)

    def close(self) -> None:
        _call(self._writing, self.journal.close)
        self._writing.kill()
        self._reading.kill()


def _call(pool: ThreadPool, function: Callable[..., T], *args: Any) -> T:
    # gevent prints the traceback of what a pooled function raises, even when
    # the caller catches it; a refusal of the disk is no news for the log.
    value, error = pool.apply(_caught, (function, *args))
    if error is not None:
        raise error
    return value


def _caught(function: Callable[..., T], *args: Any) -> tuple[T | None, BaseException | None]:
    try:
        return function(*args), None
    except BaseException as error:
        return None, error
