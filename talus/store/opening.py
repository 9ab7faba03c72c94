"""The look at a database file before anything is written to it.

A file that is not ours, newer, damaged, held by another server, on a network
share, or beside a write-ahead log that is not its own is refused as it stands.
A copy is kept of one that is about to be brought to a newer schema. Why so:
docs/decisions/0016.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from math import inf
from pathlib import Path

from . import backup, migrations, verify
from .claim import Claim, Unusable
from .files import journal_of, network_file_system, shared_memory_of, wal_of
from .reading import read_only

log = logging.getLogger(__name__)

LOOK_S = 0.15  # what is found in that time keeps a server from starting; `talus verify` reads everything


class Opening:
    """A file that may be opened, and the claim to it. Raises Unusable."""

    def __init__(self, path: Path, network: bool) -> None:
        share = None if network else network_file_system(path)
        if share is not None:
            raise Unusable(
                f"it is on a network share ({share}), where SQLite loses data. TALUS_NETWORK_DISK=1 allows it"
            )
        self.claim = Claim(path)
        shared = shared_memory_of(path).exists()
        try:
            self._stat = _stat(path)
            self._look(path)
            self.claim.opens(self._stat)
        except BaseException:
            self.claim.leave(forget=True)
            if not shared:
                shared_memory_of(path).unlink(missing_ok=True)  # whoever reads a log makes one
            raise

    def _look(self, path: Path) -> None:
        mark, wal, journal = self.claim.found, wal_of(path), journal_of(path)
        left = _stat(wal) is not None
        if self._stat is None:
            if left:
                raise Unusable(f"{wal.name} has no database: move it away, or put that back")
            return
        if _stat(journal) is not None:
            # Only a file that is about to get its first log has one, and only a power cut leaves it.
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                _own(journal, _rolled_back(path, journal, Path(folder)))
            _roll_back(path)
        known = mark is not None and mark.untouched(self._stat)
        if left and mark is not None and known and mark.state == "closed":
            raise Unusable(f"{wal.name} is not its own, for the server was stopped without one: move it away")
        if left and not known:
            # Another file under an old log, or a power cut lost the mark: what they are together tells.
            log.info("%s may not be its own: both are verified, which takes 3 s for 100 MB", wal.name)
            _own(wal, path)
        wrong = _problem(path, LOOK_S)
        if wrong is not None:
            raise Unusable(f"{wrong} (`talus verify` tells more, `talus restore` puts a backup in its place)")
        with closing(read_only(path)) as connection:
            done = migrations.check(connection)
        if 0 < done < len(migrations.STEPS):
            backup.copy(path, path.with_name(f"{path.name}.before-schema-{len(migrations.STEPS)}"))

    def continues(self, count: int) -> bool:
        """The file goes on where this server left it; else it was put back, or comes from elsewhere.

        count: of what is recorded in it.
        """
        mark = self.claim.found
        return self._stat is None or (mark is not None and mark.continues(self._stat, count))


def _problem(path: Path, most_s: float = inf) -> str | None:
    """As `verify.problem`; but a server that was killed before it had made its tables left what will do."""
    try:
        with closing(read_only(path)) as connection:
            if not migrations.check(connection):
                return None
    except sqlite3.Error as error:
        return f"damaged: {error}"
    return verify.problem(path, most_s)


def _own(log: Path, path: Path) -> None:
    """Raises Unusable when a log and the file at `path` make nothing whole."""
    try:
        wrong = _problem(path)
    except Unusable as error:
        wrong = str(error)
    if wrong is not None:
        raise Unusable(f"{log.name} is not its own, or the file is damaged ({wrong})")


def _rolled_back(path: Path, journal: Path, folder: Path) -> Path:
    """A copy of the file, after its journal was played back into it."""
    copy = folder / path.name
    shutil.copyfile(path, copy)
    shutil.copyfile(journal, journal_of(copy))
    with suppress(sqlite3.Error):  # what comes of it is looked at
        _roll_back(copy)
    return copy


def _roll_back(path: Path) -> None:
    """SQLite does it by itself, before it reads anything."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _stat(path: Path) -> os.stat_result | None:
    """None for a file that is not there, or that holds nothing."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat if stat.st_size else None
