"""The hub's way to the disk: no greenlet ever waits inside SQLite.

One native thread writes and checkpoints, a few others read; the greenlet that
asked sleeps meanwhile and the hub goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

from ..core.errors import ShuttingDown, StorageDamaged, StorageUncertain, TalusError
from ..store.changes import Change
from ..store.journal import Journal
from ..store.reading import READERS

T = TypeVar("T")

log = logging.getLogger(__name__)


class Disk:
    """A journal, called from greenlets."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._writing = ThreadPool(1)
        self._reading = ThreadPool(READERS)
        self._copying = ThreadPool(1)  # long work of its own, which keeps nobody from reading
        self._closing = False
        self.failure: TalusError | None = None  # why nothing is written any more before a restart

    def write(self, changes: list[Change]) -> None:
        """`Journal.write`, on the one thread that writes."""
        self._call(self._writing, self.journal.write, changes)

    def checkpoint(self) -> bool:
        """`Journal.checkpoint`, on the same thread."""
        return self._call(self._writing, self.journal.checkpoint)

    def purge(self) -> bool:
        """`Journal.purge`, on the same thread."""
        return self._call(self._writing, self.journal.purge)

    def look(self) -> None:
        """`Journal.look`, on the same thread."""
        self._call(self._writing, self.journal.look)

    def read(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)` on a reading thread; `function` is one of the journal's readers."""
        self._check_open()
        return self._call(self._reading, function, *args)

    def copy(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)` on the thread for long work, one after the other."""
        self._check_open()
        return self._call(self._copying, function, *args)

    def _check_open(self) -> None:
        if self._closing:
            raise ShuttingDown()

    def close(self) -> None:
        """Close the journal, once nobody reads in it any more: that leaves one file."""
        self._closing = True
        self.journal.give_up()
        for pool in (self._reading, self._copying):
            pool.join()
        _call(self._writing, self.journal.close)
        for pool in (self._writing, self._reading, self._copying):
            pool.kill()

    def _call(self, pool: ThreadPool, function: Callable[..., T], *args: Any) -> T:
        try:
            return _call(pool, function, *args)
        except (StorageDamaged, StorageUncertain) as error:
            if self.failure is None:
                self.failure = error
                log.critical("%s", error.message)
            raise


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
