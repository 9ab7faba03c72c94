"""Roles, revocations and the audit on a real file; and the wishes that are left beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from talus.core.records import SessionRecord
from talus.core.roles import Role
from talus.store import backup, mailbox
from talus.store.changes import Appointment, NewSession, Removal, Revocation
from talus.store.journal import Journal
from talus.store.mailbox import Wish


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talus.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal(path)) as opened:
        yield opened


def session(no: int, owner: str | None) -> NewSession:
    record = SessionRecord(no, f"room-{no}", None, None, "", no, no, 0, 0, 0, False)
    return NewSession(record, owner or "anonymous", owner)


def appointment(no: int, user: str, role: Role | None, time_ms: int = 50) -> Appointment:
    return Appointment(no, user, role, "ann", time_ms)


def audit(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as file:
        found = file.execute("SELECT time_ms, actor, action, session_no, user, role FROM audit ORDER BY no")
        return list(found)


def test_roles_are_read_back_now_and_later(journal: Journal, path: Path) -> None:
    """Given sessions and appointments, when roles are asked for, by session and by user, then each has its
    last one, before and after the file was opened again."""
    journal.write([session(1, "ann"), session(2, None), session(3, "ben")])
    journal.write([appointment(1, "ben", "editor"), appointment(2, "ben", "viewer")])
    journal.write([appointment(1, "ben", "viewer"), appointment(3, "ann", "owner")])
    journal.write([appointment(3, "ben", None), appointment(2, "nobody", None)])
    backup.copy(path, path.with_name("copy.db"))
    with closing(Journal(path.with_name("copy.db"))) as again:
        for each in (journal, again):
            assert each.roles(1) == {"ann": "owner", "ben": "viewer"}
            assert each.roles(2) == {"ben": "viewer"}
            assert each.roles(3) == {"ann": "owner"}
            assert each.roles_of("ann") == {"room-1": "owner", "room-3": "owner"}
            assert each.roles_of("ben") == {"room-1": "viewer", "room-2": "viewer"}
            assert each.roles_of("eve") == {}


def test_lists_are_of_the_user_alone(journal: Journal) -> None:
    """Given roles in some sessions, when a user lists, page by page, then his are there and counted."""
    journal.write([session(no, "ann" if no % 2 else "ben") for no in range(1, 8)])
    journal.write([appointment(2, "ann", "viewer")])
    page, total = journal.sessions(3, None, "ann")
    assert ([record.no for record in page], total) == ([7, 5, 3], 5)
    page, total = journal.sessions(3, (page[-1].active_ms, page[-1].no), "ann")
    assert ([record.no for record in page], total) == ([2, 1], 5)
    assert journal.sessions(9, None, "eve") == ([], 0)


def test_a_deleted_session_takes_its_roles_along(journal: Journal) -> None:
    """Given members, when the session is deleted, then nobody has a role in it, in lists either."""
    journal.write([session(1, "ann"), session(2, "ann")])
    journal.write([Removal(1, "ann", 60)])
    assert journal.roles(1) == {}
    assert journal.roles_of("ann") == {"room-2": "owner"}
    assert [record.no for record in journal.sessions(9, None, "ann")[0]] == [2]


def test_a_revocation_never_goes_back(journal: Journal, path: Path) -> None:
    """Given several revocations of one user, when they are read, then the latest moment counts."""
    for until_s in (100, 300, 200):
        journal.write([Revocation("ann", until_s, "talus token", until_s)])
    journal.write([Revocation("ben", 7, "talus token", 8)])
    backup.copy(path, path.with_name("copy.db"))
    with closing(Journal(path.with_name("copy.db"))) as again:
        assert journal.revocations() == again.revocations() == {"ann": 300, "ben": 7}


def test_the_audit_has_who_did_what(journal: Journal, path: Path) -> None:
    """Given changes of who may what, when the audit is read, then it has a line for each, in order."""
    journal.write([session(1, "ann"), session(2, None)])
    journal.write([appointment(1, "ben", "editor", 70), appointment(1, "ben", None, 80)])
    journal.write([Removal(1, "root", 90), Revocation("ben", 9, "talus token", 95)])
    assert audit(path) == [
        (1, "ann", "create", 1, "ann", "owner"),
        (2, "anonymous", "create", 2, None, None),
        (70, "ann", "appoint", 1, "ben", "editor"),
        (80, "ann", "appoint", 1, "ben", None),
        (90, "root", "delete", 1, None, None),
        (95, "talus token", "revoke", None, "ben", None),
    ]


def test_a_batch_that_fails_leaves_no_line_in_the_audit(journal: Journal, path: Path) -> None:
    """Given a batch whose last change cannot be written, when it is refused, then nothing of it is there."""
    journal.write([session(1, "ann")])
    before = audit(path)
    with pytest.raises(Exception, match="STORAGE_FAILED"):
        journal.write([appointment(1, "ben", "editor"), session(1, "eve")])
    assert audit(path) == before
    assert journal.roles(1) == {"ann": "owner"}


def test_a_wish_waits_until_it_is_taken(path: Path) -> None:
    """Given wishes beside a database, when they are looked for, then each is there until its file is gone."""
    wishes = [Wish("ann", 5), Wish("Ben \U0001f697 /..", 6)]
    left = [mailbox.drop(path, wish) for wish in wishes]
    found = dict(mailbox.waiting(path))
    assert found == dict(zip(left, wishes, strict=True))
    left[0].unlink()
    assert [wish for _, wish in mailbox.waiting(path)] == wishes[1:]


def test_what_is_no_wish_is_left_alone(path: Path) -> None:
    """Given other files beside a database, when wishes are looked for, then those are none, and stay."""
    names = [
        "talus.db-revoke-",
        "talus.db-revoke-x.tmp",
        "talus.db-wal",
        "other.db-revoke-1",
        "talus.db-revoke-y",
    ]
    contents = [b"", b'{"user":"ann","until_s":1}', b"", b'{"user":"ann","until_s":1}', b'{"user":1}']
    for name, content in zip(names, contents, strict=True):
        path.with_name(name).write_bytes(content)
    path.with_name("talus.db-revoke-folder").mkdir()
    assert mailbox.waiting(path) == []
    assert sorted(each.name for each in path.parent.iterdir()) == sorted([*names, "talus.db-revoke-folder"])
