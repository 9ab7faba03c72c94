"""Who writes to a database file, and whether it is still the one that was left here.

Beside the database lies its mark, a small file that its owner keeps locked as
long as it runs, so that there is one. The mark says who that is, and how the
database looked when it was last touched: a database that was put back by hand
does not look like that, and then versions of today must not be taken for those
of the time that was lost. The mark holds no data: without it the next start
takes a new epoch, and that is all. Why so: docs/decisions/0016.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from .files import mark_of, synced_folder

MARK_BYTES = 1024  # more than a mark is ever long


class Unusable(Exception):
    """The file cannot be opened as a database; the message says why, to the one who runs the server."""


class Mark(msgspec.Struct, frozen=True):
    """What is known of a database file.

    count: how much was recorded in it (`Journal.count`), or less. inode, size, mtime_ns: of the file, as of
    its last checkpoint. state: `open`; `checkpoint`, while the file is being written to; or `closed`.
    """

    pid: int
    url: str
    epoch: str = ""
    count: int = 0
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    state: Literal["open", "checkpoint", "closed"] = "open"

    def untouched(self, stat: os.stat_result) -> bool:
        """Nobody but the owner wrote to the file since."""
        return self.inode == stat.st_ino and (
            self.state == "checkpoint" or (self.size, self.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        )

    def continues(self, stat: os.stat_result, count: int) -> bool:
        """The file, with `count` recorded, holds what was left here, perhaps more, not another past."""
        return self.untouched(stat) or (
            # After a power cut the mark may be older than the file, but never tell of more than the file.
            self.state != "closed" and self.inode == stat.st_ino and count >= self.count
        )


class Claim:
    """The mark of one database file, locked: nobody else can have it. Raises Unusable when somebody has."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = mark_of(database)
        self._made = not self._path.exists()
        while not self._lock():
            pass
        self.found = self._read()  # as the last owner left it
        self._mark = Mark(os.getpid(), "")

    def _lock(self) -> bool:
        """False when the mark was taken away before it was locked."""
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unusable(f"{self._path.name} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = self._read()
            os.close(self._file)
            who = f" (process {holder.pid}{', ' + holder.url if holder.url else ''})" if holder else ""
            raise Unusable(f"another talus has this database{who}") from None
        try:
            if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                return True
        except FileNotFoundError:
            pass
        os.close(self._file)
        return False

    def _read(self) -> Mark | None:
        try:
            return msgspec.json.decode(os.pread(self._file, 4096, 0), type=Mark)
        except (msgspec.MsgspecError, UnicodeError, OSError):
            return None

    def opens(self, stat: os.stat_result | None) -> None:
        """The database, which looks like that, is about to be written to.

        That it is no longer closed has to survive a power cut before the first write does. What was known of
        the file stays known; of one that was put back nothing is.
        """
        found = self.found
        if found is not None and stat is not None and (found.state != "closed" or found.untouched(stat)):
            state = "open" if found.state == "closed" else found.state
            self._mark = msgspec.structs.replace(found, pid=self._mark.pid, url="", state=state)
        self._write()
        self._sync()

    def opened(self, epoch: str, count: int) -> None:
        """The database is open, and ours."""
        self._mark = msgspec.structs.replace(self._mark, epoch=epoch, inode=0)
        self.looks("open", count)
        self._sync()

    def listens(self, url: str) -> None:
        """Where the owner can be reached."""
        self._mark = msgspec.structs.replace(self._mark, url=url)
        self._write()

    def looks(self, state: Literal["open", "checkpoint", "closed"], count: int) -> None:
        """Note how the database looks now."""
        stat = self._database.stat()
        if self._mark.inode not in (0, stat.st_ino):
            return  # it is another one
        self._mark = msgspec.structs.replace(
            self._mark,
            state=state,
            count=count,
            inode=stat.st_ino,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )
        self._write()

    def _write(self) -> None:
        # In place, for the lock is on this file, and always of one length: a server that is killed while the
        # file grows or shrinks leaves half a mark. That is as good as none, and costs everybody a new epoch.
        with suppress(OSError):
            os.pwrite(self._file, msgspec.json.encode(self._mark).ljust(MARK_BYTES), 0)

    @property
    def lost(self) -> bool:
        """Another file, or none, is at the database's place, or somebody else wrote to it.

        Only for the thread that writes: it knows that it does not.
        """
        try:
            return not self._mark.untouched(self._database.stat())
        except OSError:
            return True

    def close(self, count: int) -> None:
        """The database is closed, whole and in one file."""
        with suppress(OSError):
            synced_folder(self._database.parent)  # its log is gone for good before it is said to be closed
        self.looks("closed", count)
        self._sync()
        self.leave()

    def _sync(self) -> None:
        with suppress(OSError):
            os.fsync(self._file)
            synced_folder(self._database.parent)

    def leave(self, forget: bool = False) -> None:
        """Let go of the database. forget: nothing was done to it, so no mark that was not there stays."""
        if forget and self._made:
            self._path.unlink(missing_ok=True)
        os.close(self._file)
