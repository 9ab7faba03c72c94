"""SQLite's failures as the contract's codes. Source: docs/protocol.md, "Errors"."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import peewee

from ..core.errors import Busy, StorageDamaged, StorageFailed, StorageFull, StorageUncertain, TalusError
from .claim import Unusable
from .files import wal_of

STORAGE_ERRORS = (sqlite3.Error, peewee.PeeweeException)
SCRATCH_BYTES = 64 * 1024
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


@contextmanager
def as_refusals(database: Path) -> Iterator[None]:
    """Raise what SQLite and peewee raise as StorageFull, Busy, StorageUncertain, -Damaged or -Failed."""
    try:
        yield
    except STORAGE_ERRORS as error:
        raise _refusal(error, database) from error
    except Unusable as error:
        log.error("%s", error)
        raise StorageDamaged() from error
    except OSError as error:
        raise (StorageFull if error.errno in NO_ROOM else StorageFailed)() from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise StorageDamaged() from error  # a row that makes no sense


def _refusal(error: Exception, database: Path) -> TalusError:
    cause = getattr(error, "orig", error)  # peewee keeps SQLite's own there
    code = getattr(cause, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC):
        return StorageUncertain()
    match (code or 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StorageFull()
        case sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_IOERR_WRITE and _no_room(database):
            return StorageFull()
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StorageDamaged()
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy("Another program holds the database")
        case _:
            return StorageFailed()


def _no_room(database: Path) -> bool:
    """Whether a quota or the limit of a file's size refuses: to SQLite those are errors like any other."""
    wal = wal_of(database)
    try:
        with tempfile.NamedTemporaryFile(dir=database.parent, prefix=f"{database.name}-scratch-") as scratch:
            os.pwrite(scratch.fileno(), bytes(SCRATCH_BYTES), wal.stat().st_size if wal.exists() else 0)
    except OSError as error:
        return error.errno in NO_ROOM
    return False
