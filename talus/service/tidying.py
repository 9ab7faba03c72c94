"""The file in order: the log moved into it, the rows of deleted sessions taken away.

Both are done soon after the work that made them necessary, or not at all until there
is work again: who copies the file of a server that has rested for a second finds it
whole. Source: docs/protocol.md, "Settings"; docs/decisions/0018.
"""

from __future__ import annotations

import logging
from time import monotonic

from gevent.event import Event

from ..core.errors import TalusError
from .disk import Disk

CHECKPOINT_AFTER_S = 0.2  # of rest: then the file alone is whole and complete
CHECKPOINT_RETRY_S = 0.05  # while a reader holds the WAL
CHECKPOINT_PAUSE_S = 2.0  # at most, while the disk refuses it
CHECKPOINT_BYTES = 16 * 1024 * 1024  # of WAL: then even under load
PURGE_S = 0.4  # after the last commit, rows of deleted sessions are left for the next time there is work

log = logging.getLogger(__name__)


class Tidying:
    """What is to be tidied, and when. Its owner is the writer, who calls it between two batches."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.purging = True  # rows of deleted sessions may be left, from an earlier run too
        self._dirty = True  # the WAL may hold something
        # On the monotonic clock:
        self._grew_s = 0.0  # when the WAL last grew
        self._committed_s = 0.0  # when a batch last changed something
        self._tried_s = 0.0  # when a checkpoint was last tried
        self._pause_s = CHECKPOINT_RETRY_S  # until it is tried again

    @property
    def rested_s(self) -> float:
        """How long ago the last commit was."""
        return monotonic() - self._committed_s

    def grew(self) -> None:
        """Something was written, or is about to be."""
        self._dirty = True
        self._grew_s = monotonic()

    def after_batch(self, changed: bool) -> None:
        """Under load there is no rest, and the log may not grow for ever."""
        if changed:
            self._committed_s = monotonic()
        # Refusals and repeats, however many, are no reason to put it off.
        rested = not changed and monotonic() - self._grew_s > CHECKPOINT_AFTER_S
        large = self._disk.journal.wal_bytes >= CHECKPOINT_BYTES
        if rested or (large and monotonic() - self._tried_s >= self._pause_s):
            self.checkpoint()

    def rest(self, wake: Event) -> None:
        """Tidy while there is nothing else to do, until there is, or until there is nothing to tidy."""
        if self._disk.failure is not None:
            wake.wait()
        elif self.purging and self.rested_s < PURGE_S:
            self._purge()
        elif self._dirty:
            if not wake.wait(max(0.0, self._grew_s + CHECKPOINT_AFTER_S - monotonic())):
                while not self.checkpoint() and not wake.wait(self._pause_s):
                    pass
        else:
            wake.wait()

    def _purge(self) -> None:
        try:
            self.purging = self._disk.purge()
            self.grew()
        except TalusError as error:
            self.purging = False
            log.warning("rows of a deleted session are left: %s", error.message)

    def checkpoint(self) -> bool:
        """False when something is left in the WAL: because a reader holds it, or the disk refuses."""
        if not self._dirty or self._disk.failure is not None:
            return True
        try:
            self._dirty = not self._disk.checkpoint()
            self._pause_s = CHECKPOINT_RETRY_S
        except TalusError as error:
            if self._pause_s == CHECKPOINT_RETRY_S:  # once for each trouble: nothing is lost by it
                log.warning("the log cannot be moved into the file (%s); this is tried again", error.code)
            self._pause_s = min(2 * self._pause_s, CHECKPOINT_PAUSE_S)
        self._tried_s = monotonic()
        return not self._dirty
