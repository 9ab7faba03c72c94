"""The journal: every commit for ever, and the tree rows of today, in one file.

One connection writes and checkpoints; readers have read-only ones and take
short slices (`reading.py`). SQLite 3.7.0 to 3.51.2 can damage a WAL file when
two connections write or checkpoint at once, so automatic checkpoints are off
and `checkpoint` is the only one. Nothing here knows about greenlets: `write`,
`purge` and `checkpoint` are called from one native thread, the readers from others.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

import msgspec
import peewee

from ..core.facts import Fact, node_of
from ..core.records import SessionRecord
from . import migrations
from .changes import Change, NewCommit, NewSession, NewState, Removal
from .failures import as_refusals
from .reading import LOCK_WAIT_MS, Readings

SQLITE_VERSION = sqlite3.sqlite_version
PART_FACTS = 400  # facts in one row at most
PART_BYTES = 128 * 1024  # and about so many bytes: a slice that a client takes at once
PURGE_ROWS = 2_000  # of a removed session in one transaction

_encode = msgspec.json.Encoder().encode


class Journal(Readings):
    """One database file. Raises SchemaError when it is not ours to write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        migrations.check(path)  # before a pragma could write to it
        self._writer = peewee.SqliteDatabase(
            str(path),
            thread_safe=False,  # opened here, used on the one thread that writes
            check_same_thread=False,
            pragmas={
                "busy_timeout": LOCK_WAIT_MS,
                "journal_mode": "wal",
                "synchronous": "full",
                "wal_autocheckpoint": 0,
                "journal_size_limit": -1,
                "foreign_keys": 0,
            },
        )
        migrations.migrate(self._writer)
        self._sql: sqlite3.Connection = self._writer.connection()
        self._heads: dict[int, bytes] = {}
        row = self._sql.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        self.epoch: str = row[0]
        self.next_no: int = self._sql.execute("SELECT coalesce(max(no), 0) + 1 FROM session").fetchone()[0]

    # -- writing: one native thread --

    def write(self, changes: list[Change]) -> None:
        """Make all changes durable, or none.

        Raises StorageFull, StorageFailed or Busy (nothing happened) or
        StorageUncertain (an fsync failed: nobody knows before a restart).
        """
        heads: dict[int, bytes] = {}
        all_touched: dict[int, dict[str, None]] = {}  # by session
        with as_refusals():
            self._sql.execute("BEGIN IMMEDIATE")
            try:
                for change in changes:
                    match change:
                        case NewSession():
                            self._add_session(change.record)
                        case NewCommit():
                            touched = self._add_commit(change, heads)
                            all_touched.setdefault(change.session_no, {}).update(touched)
                        case NewState():
                            self._set_state(change, all_touched.pop(change.session_no, {}))
                        case Removal():
                            self._sql.execute(
                                "UPDATE session SET removed = 1, project_id = NULL, name = '' WHERE no = ?",
                                (change.session_no,),
                            )
                        case _:
                            assert_never(change)
                for session_no, head in heads.items():
                    self._sql.execute("UPDATE session SET head = ? WHERE no = ?", (head, session_no))
                self._sql.execute("COMMIT")
            except BaseException:
                # After a failed COMMIT SQLite may have rolled back by itself.
                if self._sql.in_transaction:
                    self._sql.execute("ROLLBACK")
                raise
        self._heads.update(heads)

    def _add_session(self, record: SessionRecord) -> None:
        self._sql.execute(
            f"INSERT INTO session ({_SESSION}, head) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (*msgspec.structs.astuple(record), b""),
        )

    def _add_commit(self, change: NewCommit, heads: dict[int, bytes]) -> dict[str, None]:
        """Write a commit; the ids of the nodes that it touched."""
        no, record = change.session_no, change.record
        parts = list(_parts(change.facts))
        chain = hashlib.sha256(heads.get(no) or self._head(no))
        result = _encode(record.result)
        header = [
            no,
            record.version,
            record.command_id,
            record.command_type,
            record.target,
            record.digest,
            record.actor,
            record.time_ms,
            record.summary,
            record.undo_available,
            record.redo_available,
            record.total,
        ]
        for piece in (_encode(header), result, *parts):
            chain.update(piece)
        heads[no] = chain.digest()
        stands, turned_at = (True, record.version) if record.target is None else (None, None)
        self._sql.execute(
            f"INSERT INTO commits ({_HEADER}, result, hash, stands, turned_at)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*header, result.decode(), heads[no], stands, turned_at),
        )
        self._sql.executemany(
            "INSERT INTO fact VALUES (?,?,?,?)",
            [(no, record.version, at, body) for at, body in enumerate(parts)],
        )
        touched = dict.fromkeys(map(node_of, change.facts))
        self._sql.executemany(
            "INSERT INTO touch VALUES (?,?,?)", ((no, node_id, record.version) for node_id in touched)
        )
        if change.turned:
            target, now_stands = change.turned
            self._sql.execute(
                "UPDATE commits SET stands = ?, turned_at = ? WHERE session_no = ? AND version = ?",
                (now_stands, record.version, no, target),
            )
        return touched

    def _head(self, no: int) -> bytes:
        head = self._heads.get(no)
        if head is None:
            row = self._sql.execute("SELECT head FROM session WHERE no = ?", (no,)).fetchone()
            head = row[0] if row else b""
        return head

    def _set_state(self, state: NewState, touched: dict[str, None]) -> None:
        no, graph = state.session_no, state.graph
        self._sql.execute(
            "UPDATE session SET version = ?, active_ms = ?, nodes = ?, facts = ? WHERE no = ?",
            (state.version, state.active_ms, len(graph), state.facts, no),
        )
        self._sql.executemany(
            "DELETE FROM node WHERE session_no = ? AND id = ?",
            ((no, node_id) for node_id in touched if node_id not in graph),
        )
        self._sql.executemany(
            "INSERT OR REPLACE INTO node VALUES (?,?,?,?,?,?)",
            (
                (no, node.id, node.type, node.parent_id, node.key, _encode(node.properties).decode())
                for node in map(graph.get, touched)
                if node is not None
            ),
        )

    def purge(self) -> bool:
        """Take a slice of a removed session's rows away; False when there is nothing left to take."""
        with as_refusals():
            # `version` of a tombstone counts down to -1 once its rows are gone.
            row = self._sql.execute(
                "SELECT no FROM session WHERE removed = 1 AND version >= 0 LIMIT 1"
            ).fetchone()
            if row is None:
                return False
            for table in ("node", "fact", "touch", "commits"):
                keys = ", ".join(_KEYS[table])
                with self._writer.atomic("IMMEDIATE"):
                    gone = self._sql.execute(
                        f"DELETE FROM {table} WHERE ({keys}) IN"
                        f" (SELECT {keys} FROM {table} WHERE session_no = ? LIMIT {PURGE_ROWS})",
                        row,
                    ).rowcount
                if gone:
                    return True
            self._sql.execute("UPDATE session SET version = -1 WHERE no = ?", row)
            return True

    def checkpoint(self) -> bool:
        """Move the WAL into the file and cut it to nothing; False while a reader holds it."""
        with as_refusals():
            self._sql.execute("PRAGMA busy_timeout = 0")
            try:
                busy, _, _ = self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._sql.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MS}")
        return not busy

    @property
    def wal_bytes(self) -> int:
        try:
            return self._path.with_name(self._path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def close(self) -> None:
        """Close all connections, the writer last: that leaves one file with no WAL beside it."""
        self._close_readers()
        self._writer.close()


_SESSION = ", ".join(SessionRecord.__struct_fields__)
# What the hash covers besides result and facts, in its order.
_HEADER = (
    "session_no, version, command_id, command_type, target, digest, actor, time_ms, summary,"
    " undo_available, redo_available, total"
)
_KEYS = {
    "node": ("session_no", "id"),
    "fact": ("session_no", "version", "part"),
    "touch": ("session_no", "node_id", "version"),
    "commits": ("session_no", "version"),
}


def _parts(facts: list[Fact]) -> Iterator[bytes]:
    """The facts as JSON arrays of at most PART_FACTS facts and about PART_BYTES; one at least."""
    bodies: list[bytes] = []
    size = 0
    for fact in facts:
        body = _encode(fact)
        if bodies and (len(bodies) == PART_FACTS or size + len(body) > PART_BYTES):
            yield b"[" + b",".join(bodies) + b"]"
            bodies, size = [], 0
        bodies.append(body)
        size += len(body)
    yield b"[" + b",".join(bodies) + b"]"
