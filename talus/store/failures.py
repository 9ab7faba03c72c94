"""SQLite's failures as the contract's codes. Source: docs/protocol.md, "Errors"."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from ..core.errors import Busy, StorageFailed, StorageFull, StorageUncertain, TalusError


@contextmanager
def as_refusals() -> Iterator[None]:
    """Raise what SQLite and peewee raise as StorageFull, Busy, StorageUncertain or StorageFailed."""
    try:
        yield
    except (sqlite3.Error, peewee.PeeweeException) as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> TalusError:
    cause = error
    if isinstance(error, peewee.PeeweeException) and error.args and isinstance(error.args[0], sqlite3.Error):
        cause = error.args[0]
    code = getattr(cause, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC):
        return StorageUncertain()
    match (code or 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StorageFull()
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Busy("Another program holds the database")
        case _:
            return StorageFailed()
