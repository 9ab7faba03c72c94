"""Copies of the database while the server runs: one now and then beside it, and one for whoever asks.

The disk is looked after here as well: a database that was moved, replaced or
damaged is noticed although nobody writes to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import BinaryIO

import gevent

from ..core.errors import TalusError
from .disk import Disk

LOOK_EVERY_S = 1.0
BLOCK_BYTES = 256 * 1024  # of a copy that is sent, at a time

log = logging.getLogger(__name__)


class Backups:
    """Keeps a copy up to date, and makes others."""

    def __init__(self, disk: Disk, kept: Path, every_s: int) -> None:
        """kept: where the copy is replaced each `every_s` seconds, if anything changed (0: never)."""
        self._disk = disk
        self._kept = kept
        self._every_s = every_s
        self._holds: int | None = None  # how much is recorded in the copy
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        self._try(self._begin)
        due_s = monotonic() + self._every_s
        while True:
            gevent.sleep(LOOK_EVERY_S)
            self._try(self._disk.look)
            if self._every_s and monotonic() >= due_s:
                due_s = monotonic() + self._every_s
                self._try(self._keep)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except TalusError as error:
            if self._disk.failure is None:  # that one has been said
                log.warning("the copy %s is not renewed: %s", self._kept.name, error.message)

    def _begin(self) -> None:
        self._holds = self._disk.copy(self._disk.journal.held_by, self._kept)

    def _keep(self) -> None:
        count = self._disk.journal.count
        if count != self._holds:
            self._disk.copy(self._disk.journal.copy, self._kept)
            self._holds = count

    def download(self) -> tuple[int, Iterator[bytes]]:
        """A whole copy as of now: its size in bytes, and its content, to be read to the end or closed."""
        size, file = self._disk.copy(self._disk.journal.draft)
        return size, self._blocks(file)

    def _blocks(self, file: BinaryIO) -> Iterator[bytes]:
        with file:
            while block := self._disk.copy(file.read, BLOCK_BYTES):
                yield block
