"""The journal: every commit for ever, and the tree rows of today, in one file.

One connection writes and checkpoints; readers have read-only ones and take
short slices. SQLite 3.7.0 to 3.51.2 can damage a WAL file when two connections
write or checkpoint at once, so automatic checkpoints are off and `checkpoint`
is the only one. Nothing here knows about greenlets: `write` and `checkpoint`
are called from one native thread, the readers from others.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import msgspec
import peewee

from ..core.errors import Busy, StorageFailed, StorageFull, StorageUncertain, TalusError
from ..core.facts import Fact, node_of
from ..core.graph import Node
from ..core.records import CommitRecord, Later, Part, Plan, SessionRecord
from . import migrations
from .changes import Change, NewCommit, NewSession, NewState, Removal

SQLITE_VERSION = sqlite3.sqlite_version
PART_FACTS = 400  # facts in one row at most
PART_BYTES = 128 * 1024  # and about so many bytes: a slice that a client takes at once
WIRE_BYTES = 250  # that an event adds to its recorded fact
LOCK_WAIT_MS = 5_000  # another process may hold the file so long before BUSY
PURGE_ROWS = 2_000  # of a removed session in one transaction

_encode = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(list[Fact]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

_COMMIT = (
    "c.version, c.command_id, c.command_type, c.target, c.digest, c.actor, c.time_ms, c.result, c.summary,"
    " c.undo_available, c.redo_available, c.total, c.stands, t.command_id, t.command_type"
)
_COMMITS = (
    f"SELECT {_COMMIT} FROM commits c"
    " LEFT JOIN commits t ON t.session_no = c.session_no AND t.version = c.target"
)
_SESSION = "no, id, project_id, template_id, name, created_ms, active_ms, version, nodes, facts, removed"


@contextmanager
def _codes() -> Iterator[None]:
    """SQLite's failures as the contract's codes. Source: docs/protocol.md, "Errors"."""
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


class Journal:
    """One database file. Raises SchemaError when it is not ours to write."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
        self._idle: list[peewee.SqliteDatabase] = []  # readers that nobody uses just now
        self._readers: list[peewee.SqliteDatabase] = []
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
        with _codes():
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
        chain.update(
            _encode(
                [
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
            )
        )
        chain.update(result)
        for body in parts:
            chain.update(body)
        heads[no] = chain.digest()
        is_command = record.target is None
        self._sql.execute(
            "INSERT INTO commits VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                no,
                record.version,
                record.command_id,
                record.command_type,
                record.target,
                record.digest,
                record.actor,
                record.time_ms,
                result.decode(),
                record.summary,
                record.undo_available,
                record.redo_available,
                record.total,
                heads[no],
                True if is_command else None,
                record.version if is_command else None,
            ),
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
            target, stands = change.turned
            self._sql.execute(
                "UPDATE commits SET stands = ?, turned_at = ? WHERE session_no = ? AND version = ?",
                (stands, record.version, no, target),
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
        with _codes():
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
        with _codes():
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
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        self._idle.clear()
        self._writer.close()

    # -- reading: any thread --

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection, inside one transaction: all that is read is of one moment."""
        with _codes():
            try:
                database = self._idle.pop()
            except IndexError:
                database = peewee.SqliteDatabase(
                    str(self._path),
                    thread_safe=False,
                    check_same_thread=False,
                    pragmas={"query_only": 1, "busy_timeout": LOCK_WAIT_MS},
                )
                self._readers.append(database)
            sql: sqlite3.Connection = database.connection()
            sql.execute("BEGIN")
            try:
                yield sql
            finally:
                sql.execute("COMMIT")
                self._idle.append(database)

    def find(self, session_id: str) -> SessionRecord | None:
        """The session of that id, a removed one too."""
        with self._reading() as sql:
            row = sql.execute(f"SELECT {_SESSION} FROM session WHERE id = ?", (session_id,)).fetchone()
        return _session(row) if row else None

    def find_project(self, project_id: str) -> str | None:
        """The session_id of a project."""
        with self._reading() as sql:
            row = sql.execute("SELECT id FROM session WHERE project_id = ?", (project_id,)).fetchone()
        return row[0] if row else None

    def sessions(self, limit: int, before: tuple[int, int] | None) -> tuple[list[SessionRecord], int]:
        """Sessions by latest activity, from `before` (active_ms, no) on, and how many there are in all."""
        with self._reading() as sql:
            rows = sql.execute(
                f"SELECT {_SESSION} FROM session WHERE removed = 0"
                + (" AND (active_ms, no) < (?, ?)" if before else "")
                + " ORDER BY active_ms DESC, no DESC LIMIT ?",
                (*(before or ()), limit),
            ).fetchall()
            total = sql.execute("SELECT count(*) FROM session WHERE removed = 0").fetchone()[0]
        return [_session(row) for row in rows], total

    def nodes(self, no: int, after: str, limit: int) -> list[Node]:
        """Nodes by id, after that one: a slice of the tree rows."""
        with self._reading() as sql:
            rows = sql.execute(
                "SELECT id, type, parent_id, key, properties FROM node"
                " WHERE session_no = ? AND id > ? ORDER BY id LIMIT ?",
                (no, after, limit),
            ).fetchall()
        return [
            Node(
                id,
                type,
                parent_id,
                key,
                _decode_object(text),
                max(len(text.encode()), 1) if text != "{}" else 1,
            )
            for id, type, parent_id, key, text in rows
        ]

    def availability(self, no: int, floor: int) -> tuple[bool, bool]:
        """Whether there is anything to undo and to redo; versions up to `floor` cannot be undone."""
        with self._reading() as sql:
            return (
                _target(sql, no, "Undo", None, floor) is not None,
                _target(sql, no, "Redo", None, floor) is not None,
            )

    def recorded(self, no: int, command_ids: list[str]) -> dict[str, CommitRecord]:
        """The commits that carry these command ids."""
        with self._reading() as sql:
            found = {}
            for command_id in command_ids:
                row = sql.execute(
                    f"{_COMMITS} WHERE c.session_no = ? AND c.command_id = ?", (no, command_id)
                ).fetchone()
                if row:
                    found[command_id] = _commit(row)
        return found

    def total(self, no: int, version: int) -> int:
        """The facts of the session up to and with that version, closing events included."""
        with self._reading() as sql:
            row = sql.execute(
                "SELECT total FROM commits WHERE session_no = ? AND version = ?", (no, version)
            ).fetchone()
        return row[0] if row else 0

    def parts(self, no: int, version: int, part: int, until: int, max_bytes: int) -> list[Part]:
        """What follows `part` of `version`, oldest first, up to and with version `until`.

        Ends early, but never empty, where it would pass `max_bytes` of recorded facts.
        """
        found: list[Part] = []
        size = 0
        with self._reading() as sql:
            rows = sql.execute(
                "SELECT version, part, body FROM fact WHERE session_no = ? AND (version, part) > (?, ?)"
                " AND version <= ? ORDER BY version, part",
                (no, version, part, until),
            )
            here = rows.fetchone()
            commit: CommitRecord | None = None
            while here is not None and size < max_bytes:
                at, number, body = here
                here = rows.fetchone()
                if commit is None or commit.version != at:
                    commit = _commit_at(sql, no, at)
                facts = _decode_facts(body)
                about = len(body) + WIRE_BYTES * len(facts)
                found.append(Part(commit, number, facts, here is None or here[0] != at, about))
                size += about
        return found

    def facts_back(self, no: int, version: int, part: int, limit: int) -> list[tuple[int, int, list[Fact]]]:
        """Parts before (version, part), newest first: the way to an earlier state."""
        with self._reading() as sql:
            rows = sql.execute(
                "SELECT version, part, body FROM fact WHERE session_no = ? AND (version, part) < (?, ?)"
                " ORDER BY version DESC, part DESC LIMIT ?",
                (no, version, part, limit),
            ).fetchall()
        return [(version, part, _decode_facts(body)) for version, part, body in rows]

    def history(self, no: int, before: int, limit: int) -> list[CommitRecord]:
        """Commits below version `before`, newest first."""
        with self._reading() as sql:
            rows = sql.execute(
                f"{_COMMITS} WHERE c.session_no = ? AND c.version < ? ORDER BY c.version DESC LIMIT ?",
                (no, before, limit),
            ).fetchall()
        return [_commit(row) for row in rows]

    def plan(self, no: int, kind: str, actor: str | None, floor: int) -> Plan | None:
        """What an `Undo` or `Redo` would turn now; None where there is nothing.

        actor: only that one's own commands. floor: versions up to it cannot be undone.
        """
        with self._reading() as sql:
            found = _target(sql, no, kind, actor, floor)
            if found is None:
                return None
            version, since = found
            target = _commit_at(sql, no, version)
            facts = _facts(sql, no, since)
            later = _later(sql, no, {node_of(fact) for fact in facts}, since)
            more = _target(sql, no, kind, None, floor, besides=version) is not None
        return Plan(target, since, facts, later, more)

    def later(self, no: int, node_ids: set[str], since: int) -> list[Later]:
        """Commits after `since` that changed one of these nodes, netted; oldest first."""
        with self._reading() as sql:
            return _later(sql, no, node_ids, since)


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


def _session(row: tuple[Any, ...]) -> SessionRecord:
    *columns, removed = row
    return SessionRecord(*columns, bool(removed))  # type: ignore[call-arg]  # it cannot count a row


def _commit(row: tuple[Any, ...]) -> CommitRecord:
    *head, result, summary, undo, redo, total, stands, target_id, target_type = row
    return CommitRecord(  # type: ignore[call-arg]
        *head,
        _decode_object(result),
        summary,
        bool(undo),
        bool(redo),
        total,
        None if stands is None else bool(stands),
        target_id,
        target_type,
    )


def _commit_at(sql: sqlite3.Connection, no: int, version: int) -> CommitRecord:
    row = sql.execute(f"{_COMMITS} WHERE c.session_no = ? AND c.version = ?", (no, version)).fetchone()
    return _commit(row)


def _facts(sql: sqlite3.Connection, no: int, version: int) -> list[Fact]:
    rows = sql.execute(
        "SELECT body FROM fact WHERE session_no = ? AND version = ? ORDER BY part", (no, version)
    )
    return [fact for (body,) in rows for fact in _decode_facts(body)]


def _target(
    sql: sqlite3.Connection, no: int, kind: str, actor: str | None, floor: int, besides: int = -1
) -> tuple[int, int] | None:
    """The command that an undo or redo would turn: its version, and that of the commit to take back."""
    of_actor, whose = (" AND actor = ?", (actor,)) if actor is not None else ("", ())
    if kind == "Undo":
        row = sql.execute(
            "SELECT version, turned_at FROM commits WHERE session_no = ? AND stands = 1 AND version > ?"
            f" AND version != ? {of_actor} ORDER BY version DESC LIMIT 1",
            (no, floor, besides, *whose),
        ).fetchone()
        return row
    row = sql.execute(
        "SELECT version, turned_at FROM commits WHERE session_no = ? AND stands = 0"
        f" AND version != ? {of_actor} ORDER BY turned_at DESC LIMIT 1",
        (no, besides, *whose),
    ).fetchone()
    if row is None:
        return None
    # A command since the undo clears redo. One that was undone itself would be
    # the latest undone, so it is enough to look among those that stand.
    cleared = sql.execute(
        f"SELECT 1 FROM commits WHERE session_no = ? AND stands = 1 AND version > ? {of_actor} LIMIT 1",
        (no, row[1], *whose),
    ).fetchone()
    return None if cleared else row


def _later(sql: sqlite3.Connection, no: int, node_ids: Iterable[str], since: int) -> list[Later]:
    ids = _encode(sorted(node_ids)).decode()
    versions = sql.execute(
        "SELECT DISTINCT t.version FROM json_each(?) j CROSS JOIN touch t"
        " ON t.session_no = ? AND t.node_id = j.value AND t.version > ? ORDER BY t.version",
        (ids, no, since),
    ).fetchall()
    # A command and its undo, or an undo and its redo, cancel out: odd ones remain.
    odd: dict[int, int] = {}  # the command's version -> of the commit that last turned it
    for (version,) in versions:
        (target,) = sql.execute(
            "SELECT target FROM commits WHERE session_no = ? AND version = ?", (no, version)
        ).fetchone()
        command = version if target is None else target
        if odd.pop(command, None) is None:
            odd[command] = version
    found = []
    for command, version in odd.items():
        (command_id,) = sql.execute(
            "SELECT command_id FROM commits WHERE session_no = ? AND version = ?", (no, command)
        ).fetchone()
        found.append(Later(command_id, _facts(sql, no, version)))
    return found
