"""A file of every earlier schema, kept as SQL, opens with all that it holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from talus.store.changes import Appointment
from talus.store.journal import Journal
from talus.store.migrations import STEPS
from talus.store.verify import problem

SCHEMAS = Path(__file__).parent / "schemas"
EARLIER = range(1, len(STEPS))
ALL = 2**31


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(file.execute(f'SELECT * FROM "{table}"')) for table in tables}


@pytest.mark.parametrize("number", EARLIER)
def test_a_file_of_an_earlier_schema_is_kept(number: int) -> None:
    """Given a schema that has been released, when its file is looked for, then it is there."""
    assert (SCHEMAS / f"{number}.sql").exists()


@pytest.mark.parametrize("number", EARLIER)
def test_a_file_of_an_earlier_schema_opens_with_all_that_it_holds(tmp_path: Path, number: int) -> None:
    """Given a file of an earlier schema, when it is opened, then its rows are as they were, it has the newest
    schema, can be read and written, a second opening changes nothing, and both it and the copy that was kept
    of it are whole."""
    path = tmp_path / "talus.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript((SCHEMAS / f"{number}.sql").read_text())
        assert file.execute("PRAGMA user_version").fetchone() == (number,)
    before, original = rows(path), rows(path)
    assert before["commits"], "a file that holds nothing shows nothing"

    with closing(Journal(path)) as journal:
        sessions, total = journal.sessions(100, None, None)
        assert total == len(sessions) == 2
        assert [commit.summary for commit in journal.history(sessions[0].no, ALL, 9)]
        assert journal.parts(sessions[0].no, 0, ALL, ALL, ALL)
        journal.write([Appointment(sessions[0].no, "ann", "owner", "root", 5)])
        assert journal.roles_of("ann") == {sessions[0].id: "owner"}

    after = rows(path)
    # A file that no mark is beside may be an old copy: it begins a timeline of its own.
    epoch = before.pop("meta"), after["meta"]
    assert epoch[0] != epoch[1] != []
    gone = [row for row in before["session"] if row[-1]]
    assert len(gone) == 1 and gone[0] not in after["session"]
    before["session"].remove(gone[0])  # it says that its rows are gone in a column of its own
    for table, kept in before.items():
        assert [row for row in after[table] if row in kept] == kept
        # The appointment is a row more in each of these two.
        assert len(after[table]) == len(kept) + (table in ("audit", "role", "session"))
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with closing(Journal(path)):
        pass
    assert rows(path) == after
    assert problem(path) is None
    copy = path.with_name(f"talus.db.before-schema-{len(STEPS)}")
    assert rows(copy) == original
    assert problem(copy) is None
