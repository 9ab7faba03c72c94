"""From the schema that a file has to the one that this program writes.

Each step takes a file from its place in `STEPS` to the next, in one
transaction; `PRAGMA user_version` counts the steps done. Steps are added,
never changed.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable

import peewee

from . import schema, seals
from .claim import Unusable

APPLICATION_ID = 0x74616C75  # "talu": says what the file is, to `file` and to us


def _first(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx(schema.TABLES):
        database.create_tables(schema.TABLES, safe=False)
        for statement in schema.PARTIAL_INDEXES:
            database.execute_sql(statement)
        schema.Meta.create(key="epoch", value=str(uuid.uuid4()))


def _access(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx(schema.ACCESS_TABLES):
        database.create_tables(schema.ACCESS_TABLES, safe=False)


def _snapshots(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx(schema.SNAPSHOT_TABLES):
        database.create_tables(schema.SNAPSHOT_TABLES, safe=False)


def _seals(database: peewee.SqliteDatabase) -> None:
    with database.bind_ctx(schema.SEAL_TABLES):
        database.create_tables(schema.SEAL_TABLES, safe=False)
    # The rows of removed sessions may be gone in part: nothing is expected of them.
    database.execute_sql("UPDATE session SET nodes = iif(version < 0, -1, -2) WHERE removed = 1")
    connection = database.connection()
    seals.record(connection, [(table, seals.of(connection, table)) for table in seals.SEALED])


STEPS: tuple[Callable[[peewee.SqliteDatabase], None], ...] = (_first, _access, _snapshots, _seals)


def check(connection: sqlite3.Connection) -> int:
    """How many steps a file has behind it. Raises Unusable for a foreign or a newer one."""
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (owner or done or tables):
        raise Unusable("this is not a talus database")
    if done > len(STEPS):
        raise Unusable(f"a newer talus wrote this database (schema {done}; this one knows {len(STEPS)})")
    return int(done)


def migrate(database: peewee.SqliteDatabase, steps: int = len(STEPS)) -> None:
    """Bring a file that passed `check` to today's schema, or to that after so many steps."""
    done = database.pragma("user_version")
    for number, step in enumerate(STEPS[done:steps], start=done + 1):
        with database.atomic("IMMEDIATE"):
            step(database)
            database.pragma("application_id", APPLICATION_ID)
            database.pragma("user_version", number)


def declared(steps: int) -> set[tuple[str, str, str]]:
    """What a file with so many steps behind it declares: type, name and SQL of each table and index."""
    database = peewee.SqliteDatabase(":memory:")
    with database:
        migrate(database, steps)
        return set(declarations(database.connection()))


def declarations(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """As `declared`, of a file. What SQLite makes by itself has no SQL."""
    return connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
