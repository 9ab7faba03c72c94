"""Sums over the rows that no commit's hash covers, so that damage to them is found as well.

A table's sum is the exclusive or of the SHA-256 of each of its rows: a change takes the
row as it was out and puts it in as it is now, whatever the table's size. What `commits`
and `fact` hold is under the hashes of the commits, and all other tables follow from those.
"""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

# What is sealed of each table. Of a removed session all that stays of it; of others, what the journal does
# not tell: `nodes` of a removed one counts down while its rows are taken away.
SEALED = {
    "meta": "SELECT key, value FROM meta",
    "session": (
        "SELECT no, id, project_id, template_id, name, created_ms, removed,"
        " iif(removed = 0, null, version), iif(removed = 0, null, active_ms),"
        " iif(removed = 0, null, facts), iif(removed = 0, null, head) FROM session"
    ),
    "role": "SELECT session_no, user, role FROM role",
    "revocation": "SELECT user, until_s FROM revocation",
    "audit": "SELECT no, time_ms, actor, action, session_no, user, role FROM audit",
}

_encode = msgspec.json.Encoder().encode


def sum_of(table: str, rows: Iterable[tuple[Any, ...]]) -> int:
    """The sum over some rows of a table, as `SEALED` selects them."""
    total = 0
    for row in rows:
        total ^= int.from_bytes(hashlib.sha256(_encode([table, *row])).digest(), "big")
    return total


def of(connection: sqlite3.Connection, table: str, where: str = "1", *values: Any) -> int:
    """The sum over a table, or over the rows of it that are named."""
    return sum_of(table, connection.execute(f"{SEALED[table]} WHERE {where}", values))


def recorded(connection: sqlite3.Connection) -> dict[str, int]:
    """The sums that the file says its tables have."""
    return {
        table: int.from_bytes(total, "big")
        for table, total in connection.execute("SELECT name, total FROM seal")
    }


def record(connection: sqlite3.Connection, totals: Iterable[tuple[str, int]]) -> None:
    """Write sums into the file."""
    connection.executemany(
        "INSERT OR REPLACE INTO seal VALUES (?, ?)",
        ((table, total.to_bytes(32, "big")) for table, total in totals),
    )


def take_epoch(connection: sqlite3.Connection) -> None:
    """Begin a new timeline: versions of another one are not mistaken for this one's."""
    connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (str(uuid.uuid4()),))
    record(connection, [("meta", of(connection, "meta"))])


def count(connection: sqlite3.Connection) -> int:
    """How much was ever recorded: commits and lines of the audit."""
    (found,) = connection.execute(
        "SELECT (SELECT coalesce(sum(max(version, 0)), 0) FROM session)"
        " + (SELECT coalesce(max(no), 0) FROM audit)"
    ).fetchone()
    return int(found)
