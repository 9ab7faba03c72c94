"""`talus verify`: whatever changes what is stored is found.

TALUS_FLIPS=300   so many stretches of 200 random bytes (default 60)
TALUS_SEED=7      the dice of another run; the seed is printed
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from talus.service import snapshots
from talus.service.snapshots import Snapshots
from talus.store.changes import Appointment, Revocation
from talus.store.verify import problem
from tests.support.house import House, got, new_id

FLIPS = int(os.environ.get("TALUS_FLIPS", "60"))
SEED = int(os.environ.get("TALUS_SEED", "1"))
FLIPPED_BYTES = 200


def written(path: Path) -> None:
    """A file with all that one may hold: undone commands, snapshots, roles, revocations, remains."""
    dice = random.Random(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots, "EVERY_FACTS", 200)
        house = House(path)
        taking = Snapshots(house.writer)
        rooms = [house.new_session(name=f"room {number}") for number in range(4)]
        for number in range(1_500):
            session = dice.choice(rooms)
            nodes = list(session.graph.nodes)
            match dice.randrange(10):
                case 0 if nodes:
                    house.begin_turn(session, dice.choice(["Undo", "Undo", "Redo"]))
                case 1 if nodes:
                    house.begin(session, "DeleteNode", {"node_id": dice.choice(nodes)})
                case 2 | 3 | 4 if nodes:
                    data = {"node_id": dice.choice(nodes), "property_id": "p", "value": dice.random()}
                    house.begin(session, "UpdateProperty", data)
                case 5 if nodes:
                    data = {"node_id": dice.choice(nodes), "parent_id": None, "index": 0}
                    house.begin(session, "MoveNode", data)
                case _:
                    parent_id = dice.choice([None, *nodes[-20:]])
                    data = {
                        "parent_id": parent_id,
                        "blueprint_type_id": "task",
                        "name": "n" * dice.randrange(90),
                    }
                    house.begin(session, "CreateNode", data | {"node_id": new_id(f"node {number}")})
            if number % 20 == 0:
                house.settled()
        house.settled()
        for number, session in enumerate(rooms):
            house.writer.note(Appointment(session.no, f"user {number}", "editor", "ann", 5))
        house.writer.note(Revocation("ben", 17, "ann", 6))
        got(house.begin_remove(rooms[-1]))
        taking.close()
        house.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed file that is not to be changed."""
    path = tmp_path_factory.mktemp("whole") / "talus.db"
    with gevent.Timeout(60):
        written(path)
    return path


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(whole, tmp_path / "talus.db"))


def content(path: Path) -> list[Any] | None:
    """All rows of all tables, as the bytes that they are; None where they cannot be read."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        try:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            return [
                (name, connection.execute(f'SELECT * FROM "{name.decode()}" NOT INDEXED').fetchall())
                for (name,) in names.fetchall()
            ]
        except (sqlite3.Error, UnicodeError):
            return None


def test_the_file_of_these_tests_holds_something_of_everything(whole: Path) -> None:
    """Given the file that is to be damaged, when it is looked at, then no table is empty, and it is whole."""
    rows = content(whole)
    assert rows is not None
    assert [name for name, held in rows if not held] == []
    assert problem(whole) is None


@pytest.fixture(scope="module")
def seen() -> Iterator[Counter[str]]:
    """How many flips came to what; printed, for it is quoted."""
    counts: Counter[str] = Counter()
    yield counts
    print(f"\nseed {SEED}: {dict(counts)}")


def passes_integrity_check(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        try:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        except sqlite3.Error:
            return False


@pytest.mark.parametrize("flip", range(FLIPS))
def test_random_bytes_that_change_what_is_stored_are_found(
    whole: Path, file: Path, flip: int, seen: Counter[str]
) -> None:
    """Given 200 random bytes anywhere in a file, when a row is no longer what it was, or cannot be read, then
    verifying says so."""
    dice = random.Random(SEED * 1_000_003 + flip)
    at = dice.randrange(whole.stat().st_size - FLIPPED_BYTES)
    with file.open("r+b") as changed:
        changed.seek(at)
        changed.write(dice.randbytes(FLIPPED_BYTES))
    wrong = problem(file)
    assert wrong is None or "\n" not in wrong
    seen["flips"] += 1
    if content(file) != content(whole):
        seen["changed what is stored"] += 1
        seen["found by verify"] += wrong is not None
        seen["found by SQLite's own check"] += not passes_integrity_check(file)
        assert wrong is not None, f"seed {SEED}, flip {flip}, at {at}"


CHANGES = [
    "UPDATE meta SET value = 'another'",
    "UPDATE session SET name = 'x' WHERE no = 1",
    "UPDATE session SET created_ms = created_ms + 1 WHERE no = 1",
    "UPDATE session SET active_ms = active_ms + 1 WHERE no = 1",
    "UPDATE session SET version = version + 1 WHERE no = 1",
    "UPDATE session SET nodes = nodes + 1 WHERE no = 1",
    "UPDATE session SET facts = facts + 1 WHERE no = 1",
    "UPDATE session SET head = x'00' WHERE no = 1",
    "UPDATE session SET removed = 1 WHERE no = 1",
    "UPDATE session SET removed = 0 WHERE no = 4",
    "UPDATE session SET version = version + 1 WHERE no = 4",
    "DELETE FROM session WHERE no = 2",
    "UPDATE node SET key = key || '1' WHERE rowid_is(1)",
    "UPDATE node SET properties = '{\"p\":true}' WHERE rowid_is(1)",
    "DELETE FROM node WHERE rowid_is(1)",
    "INSERT INTO node VALUES (1, 'n', 't', null, 'a', '{}')",
    "INSERT INTO node VALUES (77, 'n', 't', null, 'a', '{}')",
    "UPDATE commits SET stands = 1 - stands WHERE session_no = 1 AND version = 2",
    "UPDATE commits SET turned_at = turned_at + 1 WHERE session_no = 1 AND version = 2",
    "UPDATE commits SET actor = 'eve' WHERE session_no = 1 AND version = 2",
    "UPDATE commits SET undo_available = 2 WHERE session_no = 1 AND version = 2",
    "UPDATE commits SET result = result || ' ' WHERE session_no = 1 AND version = 2",
    "UPDATE commits SET hash = x'00' WHERE session_no = 1 AND version = 2",
    "DELETE FROM commits WHERE session_no = 1 AND version = 2",
    "DELETE FROM commits WHERE session_no = 1 AND version = (SELECT version FROM session WHERE no = 1)",
    "UPDATE fact SET body = CAST(replace(body, 'n', 'm') AS BLOB) WHERE session_no = 1 AND version = 2",
    "DELETE FROM fact WHERE session_no = 1 AND version = 2",
    "INSERT INTO fact VALUES (1, 99999, 0, CAST('[]' AS BLOB))",
    "DELETE FROM touch WHERE session_no = 1 AND version = 2",
    "INSERT INTO touch VALUES (1, 'n', 2)",
    "UPDATE role SET role = 'owner' WHERE session_no = 1",
    "DELETE FROM role WHERE session_no = 1",
    "UPDATE revocation SET until_s = 0",
    "UPDATE audit SET actor = 'eve' WHERE no = 1",
    "DELETE FROM audit WHERE no = (SELECT max(no) FROM audit)",
    "UPDATE snapshot SET facts = facts + 1 WHERE session_no = 1",
    "INSERT INTO snapshot VALUES (1, 99999, 5)",
    "UPDATE snapshot_part SET body = CAST(replace(body, 'nn', 'mm') AS BLOB) WHERE session_no = 1",
    "DELETE FROM snapshot_part WHERE session_no = 1",
    "UPDATE seal SET total = zeroblob(32) WHERE name = 'role'",
    "DELETE FROM seal WHERE name = 'role'",
    "DROP INDEX commits_standing",
    "CREATE TABLE more (x)",
    "PRAGMA user_version = 1",
    "PRAGMA application_id = 1",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_single_change_is_found(whole: Path, file: Path, change: str) -> None:
    """Given a file in which one thing was changed by hand, when it is verified, then one line says what."""
    first = "(session_no, id) IN (SELECT session_no, id FROM node WHERE properties != '{}' LIMIT 1)"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(change.replace("rowid_is(1)", first))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert file.read_bytes() != whole.read_bytes(), "nothing was changed"
    wrong = problem(file)
    assert wrong is not None
    assert wrong.count("\n") == 0


@pytest.mark.parametrize(
    "change, said",
    [
        ("DELETE FROM commits WHERE session_no = 1 AND version = 2", "version 2 is missing"),
        ("UPDATE commits SET actor = '' WHERE session_no = 1 AND version = 3", "version 3 is not what was"),
        ("UPDATE role SET user = 'eve'", "table role does not hold what was written to it"),
        ("UPDATE node SET type = 'x'", "is not what the journal says; and "),
        ("PRAGMA user_version = 99", "a newer talus wrote this database"),
    ],
)
def test_what_is_wrong_is_named(file: Path, change: str, said: str) -> None:
    """Given a damage, when the file is verified, then the line names the version, the table or the node, and
    how much more there is."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(change)
    assert said in (problem(file) or "")
