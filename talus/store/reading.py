"""What the journal tells: read-only connections, each used for one short slice at a time.

A reader that stays long keeps the WAL from being cut, so nothing here reads
more than a page. peewee builds the simple queries; hot ones are written out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import peewee

from ..core.facts import Fact, node_of
from ..core.graph import Node
from ..core.records import CommitRecord, Landmark, Later, Part, Plan, SessionRecord
from ..core.roles import Role
from .failures import as_refusals
from .files import wal_of
from .schema import RoleRow, Session

READERS = 2  # threads; SQLite reads are short, and the GIL allows little more
LOCK_WAIT_MS = 5_000  # another process may hold the file so long before BUSY
WIRE_BYTES = 400  # that an event adds to its recorded fact

_encode = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(list[Fact]).decode
_decode_nodes = msgspec.json.Decoder(list[Node]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

_COMMIT = (
    "c.version, c.command_id, c.command_type, c.target, c.digest, c.actor, c.time_ms, c.result, c.summary,"
    " c.undo_available, c.redo_available, c.total, c.stands, t.command_id, t.command_type"
)
_COMMITS = (
    f"SELECT {_COMMIT} FROM commits c"
    " LEFT JOIN commits t ON t.session_no = c.session_no AND t.version = c.target"
)
_SESSIONS = Session.select(
    Session.no,
    Session.id,
    Session.project_id,
    Session.template_id,
    Session.name,
    Session.created_ms,
    Session.active_ms,
    Session.version,
    Session.nodes,
    Session.facts,
    Session.removed,
).tuples()


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing. Raises sqlite3.Error.

    Without a log nobody has the file open: it is read as it lies there, and nothing is made beside it.
    """
    mode = "mode=ro" if wal_of(path).exists() else "mode=ro&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=LOCK_WAIT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )


class Readings:
    """The readers' side of a database file, for any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers: list[peewee.SqliteDatabase] = []
        self._idle: list[peewee.SqliteDatabase] = []  # readers that nobody uses just now

    def _open_readers(self) -> None:
        """Those that are needed, while it is sure that this is the file."""
        with as_refusals(self._path):
            self._idle.extend(self._open() for _ in range(READERS))

    def _close_readers(self) -> None:
        for reader in self._readers:
            reader.close()
        self._readers.clear()
        self._idle.clear()

    @contextmanager
    def _reading(self) -> Iterator[peewee.SqliteDatabase]:
        """A read-only connection, inside one transaction: all that is read is of one moment.

        Rows are decoded inside it: one that makes no sense is damage, and refused as such.
        """
        with as_refusals(self._path):
            try:
                database = self._idle.pop()
            except IndexError:
                database = self._open()
            try:
                database.execute_sql("BEGIN")
                yield database
            finally:
                if database.connection().in_transaction:
                    database.execute_sql("ROLLBACK")  # nothing was written, and it may be damaged
                self._idle.append(database)

    def _open(self) -> peewee.SqliteDatabase:
        database = peewee.SqliteDatabase(
            str(self._path),
            thread_safe=False,
            check_same_thread=False,
            pragmas={"query_only": 1, "busy_timeout": LOCK_WAIT_MS},
        )
        self._readers.append(database)
        database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()  # SQLite opens files late
        return database

    def find(self, session_id: str) -> SessionRecord | None:
        """The session of that id, a removed one too."""
        with self._reading() as database:
            row = _SESSIONS.where(Session.id == session_id).execute(database)
        return _session(row[0]) if row else None

    def find_project(self, project_id: str) -> str | None:
        """The session_id of a project."""
        with self._reading() as database:
            row = _SESSIONS.where(Session.project_id == project_id).execute(database)
        return _session(row[0]).id if row else None

    def sessions(
        self, limit: int, before: tuple[int, int] | None, user: str | None
    ) -> tuple[list[SessionRecord], int]:
        """Sessions by latest activity, from `before` (active_ms, no) on, and how many there are in all.

        user: only those in which this one has a role.
        """
        kept = _SESSIONS.where(~Session.removed)
        if user is not None:
            kept = kept.join(RoleRow, on=(RoleRow.session_no == Session.no)).where(RoleRow.user == user)
        page = kept.order_by(Session.active_ms.desc(), Session.no.desc()).limit(limit)
        if before is not None:
            page = page.where(peewee.Tuple(Session.active_ms, Session.no) < before)
        with self._reading() as database:
            return [_session(row) for row in page.execute(database)], kept.count(database)

    def roles(self, no: int) -> dict[str, Role]:
        """The members of a session, by user."""
        with self._reading() as database:
            return dict(
                database.execute_sql("SELECT user, role FROM role WHERE session_no = ? ORDER BY user", (no,))
            )

    def roles_of(self, user: str) -> dict[str, Role]:
        """What a user may do, by session_id."""
        with self._reading() as database:
            return dict(
                database.execute_sql(
                    "SELECT s.id, r.role FROM role r JOIN session s ON s.no = r.session_no WHERE r.user = ?",
                    (user,),
                )
            )

    def revocations(self) -> dict[str, int]:
        """Until when the tokens of a user are void, by user, in seconds since 1970."""
        with self._reading() as database:
            return dict(database.execute_sql("SELECT user, until_s FROM revocation"))

    def nodes(self, no: int, after: str, limit: int) -> list[Node]:
        """Nodes by id, after that one: a slice of the tree rows."""
        with self._reading() as database:
            rows = database.execute_sql(
                "SELECT id, type, parent_id, key, properties FROM node"
                " WHERE session_no = ? AND id > ? ORDER BY id LIMIT ?",
                (no, after, limit),
            )
            return [
                Node(
                    id,
                    type,
                    parent_id,
                    key,
                    _decode_object(text),
                    len(text.encode()) if text != "{}" else 1,
                )
                for id, type, parent_id, key, text in rows
            ]

    def availability(self, no: int, floor: int) -> tuple[bool, bool]:
        """Whether there is anything to undo and to redo; versions up to `floor` cannot be undone."""
        with self._reading() as database:
            return (
                _target(database, no, "Undo", None, floor) is not None,
                _target(database, no, "Redo", None, floor) is not None,
            )

    def recorded(self, no: int, command_ids: list[str]) -> dict[str, CommitRecord]:
        """The commits that carry these command ids."""
        with self._reading() as database:
            found = {}
            for command_id in command_ids:
                row = database.execute_sql(
                    f"{_COMMITS} WHERE c.session_no = ? AND c.command_id = ?", (no, command_id)
                ).fetchone()
                if row:
                    found[command_id] = _commit(row)
        return found

    def total(self, no: int, version: int) -> int:
        """The facts of the session up to and with that version, closing events included."""
        with self._reading() as database:
            row = database.execute_sql(
                "SELECT total FROM commits WHERE session_no = ? AND version = ?", (no, version)
            ).fetchone()
        return row[0] if row else 0

    def parts(self, no: int, version: int, part: int, until: int, max_bytes: int) -> list[Part]:
        """What follows `part` of `version`, oldest first, up to and with version `until`.

        Ends early, but never empty, where it would pass `max_bytes` of recorded facts.
        """
        found: list[Part] = []
        size = 0
        with self._reading() as database:
            rows = database.execute_sql(
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
                    commit = _commit_at(database, no, at)
                facts = _decode_facts(body)
                about = len(body) + WIRE_BYTES * len(facts)
                found.append(Part(commit, number, facts, here is None or here[0] != at, about))
                size += about
        return found

    def on_the_way(
        self, no: int, version: int, part: int, until: int, limit: int
    ) -> list[tuple[int, int, list[Fact]]]:
        """Parts between a place and the state at version `until`, in the order in which one meets them.

        That is after (version, part) and oldest first, or, on the way back, before it and newest first.
        """
        if until < version:
            between = "(version, part) < (?, ?) AND version > ? ORDER BY version DESC, part DESC"
        else:
            between = "(version, part) > (?, ?) AND version <= ? ORDER BY version, part"
        with self._reading() as database:
            rows = database.execute_sql(
                f"SELECT version, part, body FROM fact WHERE session_no = ? AND {between} LIMIT ?",
                (no, version, part, until, limit),
            )
            return [(version, part, _decode_facts(body)) for version, part, body in rows]

    def snapshots_around(self, no: int, version: int) -> tuple[Landmark | None, Landmark | None]:
        """The last snapshot up to and with `version`, and the first after it."""
        found = []
        with self._reading() as database:
            for where, order in (("<=", "DESC"), (">", "ASC")):
                row = database.execute_sql(
                    f"SELECT version, facts FROM snapshot WHERE session_no = ? AND version {where} ?"
                    f" ORDER BY version {order} LIMIT 1",
                    (no, version),
                ).fetchone()
                found.append(Landmark(*row) if row else None)
        return found[0], found[1]

    def snapshot_part(self, no: int, version: int, part: int) -> list[Node]:
        """The nodes in a part of a snapshot; none behind the last one."""
        with self._reading() as database:
            row = database.execute_sql(
                "SELECT body FROM snapshot_part WHERE session_no = ? AND version = ? AND part = ?",
                (no, version, part),
            ).fetchone()
            return _decode_nodes(row[0]) if row else []

    def history(self, no: int, before: int, limit: int) -> list[CommitRecord]:
        """Commits below version `before`, newest first."""
        with self._reading() as database:
            rows = database.execute_sql(
                f"{_COMMITS} WHERE c.session_no = ? AND c.version < ? ORDER BY c.version DESC LIMIT ?",
                (no, before, limit),
            )
            return [_commit(row) for row in rows]

    def plan(self, no: int, kind: str, actor: str | None, floor: int) -> Plan | None:
        """What an `Undo` or `Redo` would turn now; None where there is nothing.

        actor: only that one's own commands. floor: versions up to it cannot be undone.
        """
        with self._reading() as database:
            found = _target(database, no, kind, actor, floor)
            if found is None:
                return None
            version, since = found
            target = _commit_at(database, no, version)
            facts = _facts(database, no, since)
            later = _later(database, no, {node_of(fact) for fact in facts}, since)
            more = _target(database, no, kind, None, floor, besides=version) is not None
        return Plan(target, since, facts, later, more)

    def later(self, no: int, node_ids: set[str], since: int) -> list[Later]:
        """Commits after `since` that changed one of these nodes, netted; oldest first."""
        with self._reading() as database:
            return _later(database, no, node_ids, since)


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


def _commit_at(database: peewee.SqliteDatabase, no: int, version: int) -> CommitRecord:
    row = database.execute_sql(
        f"{_COMMITS} WHERE c.session_no = ? AND c.version = ?", (no, version)
    ).fetchone()
    return _commit(row)


def _facts(database: peewee.SqliteDatabase, no: int, version: int) -> list[Fact]:
    rows = database.execute_sql(
        "SELECT body FROM fact WHERE session_no = ? AND version = ? ORDER BY part", (no, version)
    )
    return [fact for (body,) in rows for fact in _decode_facts(body)]


def _target(
    database: peewee.SqliteDatabase, no: int, kind: str, actor: str | None, floor: int, besides: int = -1
) -> tuple[int, int] | None:
    """The command that an undo or redo would turn: its version, and that of the commit to take back."""
    of_actor, whose = (" AND actor = ?", (actor,)) if actor is not None else ("", ())
    if kind == "Undo":
        row = database.execute_sql(
            "SELECT version, turned_at FROM commits WHERE session_no = ? AND stands = 1 AND version > ?"
            f" AND version != ? {of_actor} ORDER BY version DESC LIMIT 1",
            (no, floor, besides, *whose),
        ).fetchone()
        return row
    row = database.execute_sql(
        "SELECT version, turned_at FROM commits WHERE session_no = ? AND stands = 0"
        f" AND version != ? {of_actor} ORDER BY turned_at DESC LIMIT 1",
        (no, besides, *whose),
    ).fetchone()
    if row is None:
        return None
    # A command since the undo clears redo. One that was undone itself would be
    # the latest undone, so it is enough to look among those that stand: and
    # `besides`, which will once it is redone.
    cleared = (
        besides > row[1]
        or database.execute_sql(
            f"SELECT 1 FROM commits WHERE session_no = ? AND stands = 1 AND version > ? {of_actor} LIMIT 1",
            (no, row[1], *whose),
        ).fetchone()
    )
    return None if cleared else row


def _later(database: peewee.SqliteDatabase, no: int, node_ids: Iterable[str], since: int) -> list[Later]:
    ids = _encode(sorted(node_ids)).decode()
    versions = database.execute_sql(
        "SELECT DISTINCT t.version FROM json_each(?) j CROSS JOIN touch t"
        " ON t.session_no = ? AND t.node_id = j.value AND t.version > ? ORDER BY t.version",
        (ids, no, since),
    ).fetchall()
    # A command and its undo, or an undo and its redo, cancel out: odd ones remain.
    odd: dict[int, int] = {}  # the command's version -> of the commit that last turned it
    for (version,) in versions:
        (target,) = database.execute_sql(
            "SELECT target FROM commits WHERE session_no = ? AND version = ?", (no, version)
        ).fetchone()
        command = version if target is None else target
        if odd.pop(command, None) is None:
            odd[command] = version
    found = []
    for command, version in odd.items():
        (command_id,) = database.execute_sql(
            "SELECT command_id FROM commits WHERE session_no = ? AND version = ?", (no, command)
        ).fetchone()
        found.append(Later(command_id, _facts(database, no, version)))
    return found
