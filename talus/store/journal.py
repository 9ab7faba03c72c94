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
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, assert_never

import msgspec
import peewee

from ..core.errors import StorageDamaged
from ..core.facts import node_of
from ..core.records import SessionRecord
from . import backup, migrations, seals
from .changes import (
    Appointment,
    Change,
    NewCommit,
    NewSession,
    NewSnapshot,
    NewSnapshotPart,
    NewState,
    Removal,
    Revocation,
)
from .failures import as_refusals
from .files import made_folder, wal_of
from .opening import Opening
from .pieces import arrays
from .reading import LOCK_WAIT_MS, Readings, read_only
from .schema import GOING, GONE, HEADER, KEYS

SQLITE_VERSION = sqlite3.sqlite_version
PART_FACTS = 400  # facts in one row at most
PART_BYTES = 128 * 1024  # and about so many bytes: a slice that a client takes at once
LOST = "The database was moved, replaced or written to by others: the server only reads until it is restarted"
PURGE_ROWS = 2_000  # of a removed session in one transaction

_encode = msgspec.json.Encoder().encode


class Journal(Readings):
    """One database file, which nobody else can open as long as this one is."""

    def __init__(self, path: Path, network: bool = False) -> None:
        """network: open it on a network share all the same. Raises Unusable, or what SQLite raises."""
        super().__init__(path)
        opening = Opening(path, network)  # nothing is written to the database before it has had its look
        try:
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
            self.count = seals.count(self._sql)
            if not opening.continues(self.count):
                with self._writer.atomic("IMMEDIATE"):
                    seals.take_epoch(self._sql)
            (self.epoch,) = self._sql.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            (self.next_no,) = self._sql.execute("SELECT coalesce(max(no), 0) + 1 FROM session").fetchone()
            self._seals = seals.recorded(self._sql)
            self._truncate()
        except BaseException:
            opening.claim.leave()
            raise
        self.claim = opening.claim
        self.claim.opened(self.epoch, self.count)
        self._open_readers()
        self._source, self._mode = read_only(path), path.stat().st_mode  # what copies are made of
        self._heads: dict[int, bytes] = {}
        self._resealed: dict[str, int] = {}  # by this transaction, what changes in the sum of a table
        self._given_up = False
        self._recorded = 0  # by this transaction, of what `count` counts

    # -- writing: one native thread --

    def write(self, changes: list[Change]) -> None:
        """Make all changes durable, or none.

        Raises StorageFull, StorageFailed or Busy (nothing happened) or
        StorageUncertain (an fsync failed: nobody knows before a restart).
        """
        heads: dict[int, bytes] = {}
        all_touched: dict[int, dict[str, None]] = {}  # by session
        self._resealed.clear()
        self._recorded = 0
        self.look()
        with as_refusals(self._path), self._transaction():
            for change in changes:
                match change:
                    case NewSession():
                        self._add_session(change)
                    case NewCommit():
                        touched = self._add_commit(change, heads)
                        all_touched.setdefault(change.session_no, {}).update(touched)
                    case NewState():
                        self._set_state(change, all_touched.pop(change.session_no, {}))
                    case Removal():
                        self._remove(change, heads)
                    case Appointment():
                        self._appoint(change)
                    case Revocation():
                        self._revoke(change)
                    case NewSnapshotPart():
                        self._add_snapshot_part(change)
                    case NewSnapshot():
                        self._add_snapshot(change)
                    case _:
                        assert_never(change)
            for session_no, head in heads.items():
                self._sql.execute("UPDATE session SET head = ? WHERE no = ?", (head, session_no))
            sums = {table: self._seals[table] ^ change for table, change in self._resealed.items()}
            seals.record(self._sql, sums.items())
        self._heads.update(heads)
        self._seals.update(sums)
        self.count += self._recorded

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._sql.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT SQLite may have rolled back by itself.
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise

    def _change(
        self, table: str, where: str, key: tuple[Any, ...], sql: str, values: tuple[Any, ...]
    ) -> None:
        """Change a row of a table that is sealed. where, key: which one it is."""
        before = seals.of(self._sql, table, where, *key)
        self._sql.execute(sql, values)
        after = seals.of(self._sql, table, where, *key)
        self._resealed[table] = self._resealed.get(table, 0) ^ before ^ after

    def _add_session(self, new: NewSession) -> None:
        record = new.record
        self._change(
            "session",
            "no = ?",
            (record.no,),
            f"INSERT INTO session ({_SESSION}, head) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (*msgspec.structs.astuple(record), b""),
        )
        role = "owner" if new.owner is not None else None
        if new.owner is not None:
            self._set_role(record.no, new.owner, role)
        self._note(record.created_ms, new.actor, "create", record.no, new.owner, role)

    def _remove(self, change: Removal, heads: dict[int, bytes]) -> None:
        no = change.session_no
        if no in heads:  # what stays of it is sealed here
            self._sql.execute("UPDATE session SET head = ? WHERE no = ?", (heads.pop(no), no))
        removal = "UPDATE session SET removed = 1, project_id = NULL, name = '' WHERE no = ?"
        self._change("session", "no = ?", (no,), removal, (no,))
        self._change("role", "session_no = ?", (no,), "DELETE FROM role WHERE session_no = ?", (no,))
        self._note(change.time_ms, change.actor, "delete", no)

    def _appoint(self, change: Appointment) -> None:
        self._set_role(change.session_no, change.user, change.role)
        self._note(change.time_ms, change.actor, "appoint", change.session_no, change.user, change.role)

    def _set_role(self, no: int, user: str, role: str | None) -> None:
        this = "session_no = ? AND user = ?"
        if role is None:
            self._change("role", this, (no, user), f"DELETE FROM role WHERE {this}", (no, user))
        else:
            insertion = "INSERT OR REPLACE INTO role VALUES (?,?,?)"
            self._change("role", this, (no, user), insertion, (no, user, role))

    def _revoke(self, change: Revocation) -> None:
        self._change(
            "revocation",
            "user = ?",
            (change.user,),
            "INSERT INTO revocation VALUES (?,?)"
            " ON CONFLICT (user) DO UPDATE SET until_s = max(until_s, excluded.until_s)",
            (change.user, change.until_s),
        )
        self._note(change.time_ms, change.actor, "revoke", None, change.user)

    def _add_snapshot_part(self, change: NewSnapshotPart) -> None:
        # A snapshot is made while the session lives on: it may have been removed, and purged, by now.
        self._sql.execute(
            "INSERT OR REPLACE INTO snapshot_part"
            " SELECT no, ?, ?, ? FROM session WHERE no = ? AND removed = 0",
            (change.version, change.part, change.body, change.session_no),
        )

    def _add_snapshot(self, change: NewSnapshot) -> None:
        no = change.session_no
        # Between two snapshots there are only parts of one that was never finished.
        self._sql.execute(
            "DELETE FROM snapshot_part WHERE session_no = ? AND version < ? AND version >"
            " (SELECT coalesce(max(version), 0) FROM snapshot WHERE session_no = ? AND version < ?)",
            (no, change.version, no, change.version),
        )
        self._sql.execute(
            "INSERT OR REPLACE INTO snapshot SELECT no, ?, ? FROM session WHERE no = ? AND removed = 0",
            (change.version, change.facts, no),
        )

    def _note(
        self,
        time_ms: int,
        actor: str,
        action: str,
        no: int | None,
        user: str | None = None,
        role: str | None = None,
    ) -> None:
        """A line of the audit."""
        (line,) = self._sql.execute("SELECT coalesce(max(no), 0) + 1 FROM audit").fetchone()
        self._change(
            "audit",
            "no = ?",
            (line,),
            "INSERT INTO audit VALUES (?,?,?,?,?,?,?)",
            (line, time_ms, actor, action, no, user, role),
        )
        self._recorded += 1

    def _add_commit(self, change: NewCommit, heads: dict[int, bytes]) -> dict[str, None]:
        """Write a commit; the ids of the nodes that it touched."""
        no, record = change.session_no, change.record
        parts = list(arrays(map(_encode, change.facts), PART_BYTES, PART_FACTS))
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
        self._recorded += 1
        stands, turned_at = (True, record.version) if record.target is None else (None, None)
        self._sql.execute(
            f"INSERT INTO commits ({HEADER}, result, hash, stands, turned_at)"
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
        with as_refusals(self._path):
            row = self._sql.execute(
                f"SELECT no FROM session WHERE removed = 1 AND nodes != {GONE} LIMIT 1"
            ).fetchone()
            if row is None:
                return False
            with self._transaction():
                left = any(self._purge(table, *row) for table in KEYS)
                state = GOING if left else GONE
                self._sql.execute("UPDATE session SET nodes = ? WHERE no = ?", (state, *row))
        return True

    def _purge(self, table: str, no: int) -> bool:
        keys = ", ".join(KEYS[table])
        gone = self._sql.execute(
            f"DELETE FROM {table} WHERE ({keys}) IN"
            f" (SELECT {keys} FROM {table} WHERE session_no = ? LIMIT {PURGE_ROWS})",
            (no,),
        ).rowcount
        return gone > 0

    def checkpoint(self) -> bool:
        """Move the WAL into the file and cut it to nothing; False while a reader holds it."""
        with as_refusals(self._path):
            self.claim.looks("checkpoint", self.count)
            try:
                return self._truncate()
            finally:
                self.claim.looks("open", self.count)

    def _truncate(self) -> bool:
        self._sql.execute("PRAGMA busy_timeout = 0")
        try:
            busy, _, _ = self._sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._sql.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MS}")
        return not busy

    @property
    def wal_bytes(self) -> int:
        try:
            return wal_of(self._path).stat().st_size
        except FileNotFoundError:
            return 0

    def look(self) -> None:
        """Raises StorageDamaged when the file is no longer at its place, or no longer as it was left."""
        if self.claim.lost:
            raise StorageDamaged(LOST)

    # -- copies: on a thread of their own, from what was opened, wherever the file is now --

    def copy(self, target: Path) -> None:
        """A whole copy, in place of what is there. Raises StorageDamaged, StorageFull or StorageFailed."""
        with as_refusals(self._path):
            made_folder(target.parent)
            backup.put(self._written(target.parent, target.name), target)

    def draft(self) -> tuple[int, BinaryIO]:
        """A whole copy for one reader: its size in bytes, and the file, which has no name any more."""
        with as_refusals(self._path):
            path = self._written(self._path.parent, self._path.name)
            try:
                return path.stat().st_size, path.open("rb")
            finally:
                path.unlink()

    def _written(self, folder: Path, name: str) -> Path:
        return backup.written(self._source, folder, name, self._mode, lambda: self._given_up)

    def give_up(self) -> None:
        """A copy that is under way is not finished: it fails, and leaves nothing."""
        self._given_up = True

    def held_by(self, copy: Path) -> int | None:
        """How much is recorded in a copy that was made of this file; None where there is none.

        What copies left that were cut off goes.
        """
        with as_refusals(self._path):
            backup.tidy(copy)
            backup.tidy(self._path)
            return backup.held_by(copy, self.epoch)

    def close(self) -> None:
        """Close all connections, the writer last: that leaves one file with no WAL beside it."""
        self._source.close()
        self._close_readers()
        lost = self.claim.lost
        if not lost:
            self.claim.looks("checkpoint", self.count)
        self._writer.close()
        if lost or wal_of(self._path).exists():
            self.claim.leave()
        else:
            self.claim.close(self.count)


_SESSION = ", ".join(SessionRecord.__struct_fields__)
