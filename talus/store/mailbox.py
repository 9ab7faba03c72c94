"""Wishes for a running server, as small files beside its database.

Only the server may write to the database while it runs, and it may run on any
port, or not at all: so `talus token --revoke` leaves a file, and the server that
has the database takes it. A file is whole or not there, and outlives a crash.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import msgspec

from .files import synced_folder


class Wish(msgspec.Struct, frozen=True):
    """End all tokens of `user` that were given out until then (seconds since 1970)."""

    user: str
    until_s: int


def drop(database: Path, wish: Wish) -> Path:
    """Leave a wish; it is gone once the server has carried it out."""
    database = database.resolve()
    letter = _prefix(database) + str(uuid.uuid4())
    path = database.with_name(letter)
    draft = database.with_name(letter + ".tmp")
    with draft.open("xb") as file:
        file.write(msgspec.json.encode(wish))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    synced_folder(path.parent)
    return path


def waiting(database: Path) -> list[tuple[Path, Wish]]:
    """The wishes that are there; what is none is left alone."""
    found = []
    database = database.resolve()
    for entry in os.scandir(database.parent):
        if entry.name.startswith(_prefix(database)) and not entry.name.endswith(".tmp"):
            path = Path(entry.path)
            try:
                found.append((path, msgspec.json.decode(path.read_bytes(), type=Wish)))
            except (msgspec.MsgspecError, OSError, UnicodeError):
                continue
    return found


def _prefix(database: Path) -> str:
    return database.name + "-revoke-"
