"""From the schema that a file has to the one that this program writes.

Each step takes a file from its place in `STEPS` to the next, in one
transaction; `PRAGMA user_version` counts the steps done. Steps are added,
never changed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import peewee

from . import schema

APPLICATION_ID = 0x74616C75  # "talu": says what the file is, to `file` and to us


class SchemaError(Exception):
    """The file is not one that this program can write to; the message says why."""


def _first(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx(schema.TABLES):
        database.create_tables(schema.TABLES, safe=False)
        for statement in schema.PARTIAL_INDEXES:
            database.execute_sql(statement)
        schema.Meta.create(key="epoch", value=str(uuid.uuid4()))


STEPS: tuple[Callable[[peewee.SqliteDatabase], None], ...] = (_first,)


def check(path: Path) -> None:
    """Raises SchemaError for a foreign or a newer file, and leaves it as it was."""
    if not path.exists():
        return
    database = peewee.SqliteDatabase(path.absolute().as_uri() + "?mode=ro", uri=True)
    with database:
        done = database.pragma("user_version")
        owner = database.pragma("application_id")
        if owner != APPLICATION_ID and (owner or done or database.get_tables()):
            raise SchemaError("this is not a talus database")
    if done > len(STEPS):
        raise SchemaError(f"a newer talus wrote this database (schema {done}; this one knows {len(STEPS)})")


def migrate(database: peewee.SqliteDatabase) -> None:
    """Bring a file that passed `check` to today's schema."""
    done = database.pragma("user_version")
    for number, step in enumerate(STEPS[done:], start=done + 1):
        with database.atomic("IMMEDIATE"):
            step(database)
            database.pragma("application_id", APPLICATION_ID)
            database.pragma("user_version", number)
