"""`talus token --revoke`, as the running server hears of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import gevent

from ..core.errors import TalusError
from ..store import mailbox
from ..store.changes import Revocation
from .access import Access
from .disk import Disk
from .writer import Writer

LOOK_EVERY_S = 0.25  # a revocation reaches open connections within a second
ACTOR = "talus token"  # in the audit: whoever may write beside the database

log = logging.getLogger(__name__)


class Revocations:
    """Looks for wishes beside the database and carries them out."""

    def __init__(
        self, database: Path, access: Access, writer: Writer, disk: Disk, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._access = access
        self._writer = writer
        self._disk = disk
        self._now_ms = now_ms
        self._failed: set[Path] = set()
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            gevent.sleep(LOOK_EVERY_S)
            try:
                self.look()
            except OSError as error:
                log.warning("revocations cannot be looked for: %s", error.strerror)

    def look(self) -> None:
        """Carry out what is there now. Raises OSError where the folder cannot be read."""
        for path, wish in self._disk.read(mailbox.waiting, self._database):
            self._access.revoke(wish.user, wish.until_s)  # at once, whatever the disk says
            try:
                self._writer.note(Revocation(wish.user, wish.until_s, ACTOR, self._now_ms()))
            except TalusError as error:
                if path not in self._failed:
                    log.error("a revocation holds, but is not recorded yet: %s", error.message)
                self._failed.add(path)
                continue
            path.unlink(missing_ok=True)
            self._failed.discard(path)
