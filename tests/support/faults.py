"""A disk that fails when a test says so, under a real server process.

faults.c is compiled and preloaded into the server; what is to fail stands in a
small file that both map, so that a change holds from the next call on:

    faults = Faults(folder)
    server = start_server(env=faults.env())
    faults.set(write_errno=errno.ENOSPC)
    ...
    faults.clear()

A power cut is a kill, and then the loss of what no fsync had confirmed:

    server.kill()
    faults.power_cut(server.database)
    server.start()
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
COMPILER = ("cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC")
KINDS = {"main": 1, "wal": 2, "all": 7}  # `all`: others that begin with the database's name, too


class _Control(ctypes.Structure):
    """`struct control` of faults.c."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "files",
            "write_errno",
            "fsync_errno",
            "open_errno",
            "after",
            "fsync_delay_ms",
            "budget",
            "injected",
            "wal_inode",
            "wal_synced",
            "times",
        )
    ]


def why_not() -> str | None:
    """Why this machine cannot do it, in words; None where it can."""
    if not sys.platform.startswith("linux"):
        return "faults of the disk are preloaded on Linux only"
    return None if shutil.which("cc") else "faults.c needs a C compiler (cc)"


def build(folder: Path) -> Path:
    """Compile faults.c into `folder`, unless it is there; the library. Raises where that fails."""
    library = folder / f"faults-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not library.exists():
        draft = library.with_suffix(f".{os.getpid()}.tmp")
        subprocess.run([*COMPILER, "-o", str(draft), str(SOURCE), "-ldl"], check=True)
        draft.rename(library)
    return library


class Faults:
    """The faults of one server's disk; it may be restarted, and they stay.

    folder:   for the control file, and for the library; two servers at once need two.
    database: the name of the database file, without folders.
    library:  one that `build` has made already.
    """

    def __init__(self, folder: Path, database: str = "talus.db", library: Path | None = None) -> None:
        self._library = library or build(folder)
        self._path = folder / "faults-control"
        self._database = database
        with self._path.open("x+b") as file:
            file.truncate(ctypes.sizeof(_Control))
            self._control = _Control.from_buffer(mmap.mmap(file.fileno(), 0))
        self.clear()

    def env(self) -> dict[str, str]:
        """For the server: what puts it on this disk."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAULTS_CONTROL": str(self._path),
            "FAULTS_DATABASE": self._database,
        }

    def set(
        self,
        *,
        fsync_delay_ms: int = 0,
        write_errno: int = 0,
        fsync_errno: int = 0,
        open_errno: int = 0,
        after: int = 0,
        times: int = 0,
        budget: int | None = None,
        files: str = "all",
    ) -> None:
        """From the next call on these faults and no others.

        write_errno:    of every write, and with another one than ENOSPC of every truncation.
        fsync_errno:    of every fsync, which then does nothing.
        open_errno:     of an open for writing, such as EROFS.
        after:          so many calls that these three would fail pass before the first that fails.
        times:          so many calls fail with an errno, then none; 0: all. Linux tells of a lost write once.
        fsync_delay_ms: before every fsync; `clear` ends a delay that has begun.
        budget:         bytes by which the files may grow together; then a short write, then ENOSPC.
        files:          `all`, `wal` or `main`.
        """
        control = self._control
        control.files = 0  # nothing fails while they change
        control.write_errno = write_errno
        control.fsync_errno = fsync_errno
        control.open_errno = open_errno
        control.after = after
        control.times = times
        control.fsync_delay_ms = fsync_delay_ms
        control.budget = -1 if budget is None else budget
        control.injected = 0
        control.files = KINDS[files]

    def clear(self) -> None:
        """The disk is well again."""
        self.set()

    @property
    def injected(self) -> int:
        """How many calls were failed, cut short or delayed since `set` or `clear`."""
        return int(self._control.injected)

    def synced_bytes(self, wal: Path) -> int:
        """How much of the -wal, from its beginning, an fsync has confirmed; 0 where there is none."""
        try:
            at = wal.stat()
        except FileNotFoundError:
            return 0
        if at.st_ino != self._control.wal_inode:
            return at.st_size  # the server has not opened this one: it was there before, and on the disk
        return min(at.st_size, self._control.wal_synced)

    def power_cut(self, database: Path) -> int:
        """After a kill: the -wal loses what no fsync confirmed, and the -shm goes; the bytes lost.

        The main file is left as it is: SQLite cuts the -wal only after an fsync of the main file
        has confirmed what went there, so until then the -wal has all of it.
        """
        wal = database.with_name(database.name + "-wal")
        lost = 0
        if wal.exists():
            keep = self.synced_bytes(wal)
            lost = wal.stat().st_size - keep
            os.truncate(wal, keep)
        database.with_name(database.name + "-shm").unlink(missing_ok=True)
        return lost
