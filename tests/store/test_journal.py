"""The journal on a real file: what is written is read back, now and after the file is opened again."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import peewee
import pytest

from talus.core import decide as rules
from talus.core import history
from talus.core.commands import Batch, Command, CreateNode, DeleteNode, MoveNode, UnlinkNode, UpdateProperty
from talus.core.errors import StorageFailed, StorageFull, TalusError
from talus.core.facts import Fact, NodeCreated, PropertyChanged
from talus.core.graph import Graph, Node, rebuild
from talus.core.records import CommitRecord, Later, SessionRecord
from talus.store import backup
from talus.store import journal as module
from talus.store.changes import Change, NewCommit, NewSession, NewState, Removal
from talus.store.claim import Unusable
from talus.store.journal import PART_FACTS, Journal
from talus.store.migrations import APPLICATION_ID, STEPS
from talus.store.reading import WIRE_BYTES

ALL = 2**31  # after every part of a version
Json = dict[str, Any]


def new_id(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


A, B, C, D, E, F = (new_id(ord(name)) for name in "abcdef")


class Room:
    """One session that writes to a journal what the writer would write; commits are numbered by hand."""

    def __init__(self, journal: Journal, no: int = 1, project_id: str | None = None) -> None:
        self.no = no
        self.graph = Graph()
        self.version = self.facts = 0
        self.commits: list[tuple[CommitRecord, list[Fact]]] = []
        self.record = SessionRecord(no, f"room-{no}", project_id, "car", "Åse", 5, 5, 0, 0, 0, False)
        journal.write([NewSession(self.record, "ann", None)])

    def change(self, facts: Any, **fields: Any) -> list[Change]:
        """A commit of these facts and the state after it; they are applied here."""
        done: list[Fact] = []
        for fact in facts:
            self.graph.apply(fact)
            done.append(fact)
        turned = fields.pop("turned", None)
        self.version += 1
        self.facts += len(done) + 1
        fields = {
            "command_id": new_id(1000 * self.no + self.version),
            "command_type": "CreateNode",
            "target": turned[0] if turned else None,
            "digest": bytes([self.version % 256]) * 32,
            "actor": "ann",
            "time_ms": 1000 + self.version,
            "result": {"node_id": A, "é": [None]},
            "summary": "did — something",
            "undo_available": True,
            "redo_available": False,
            "total": self.facts,
            **fields,
        }
        record = CommitRecord(version=self.version, **fields)
        self.commits.append((record, done))
        return [
            NewCommit(self.no, record, done, turned),
            NewState(self.no, self.version, record.time_ms, self.facts, self.graph.nodes),
        ]

    def command(self, command: Command, **fields: Any) -> list[Change]:
        return self.change(rules.decide(self.graph, None, command), **fields)

    def turn(self, journal: Journal, kind: str, actor: str | None = None) -> list[Change]:
        """The undo or redo that the journal plans."""
        plan = journal.plan(self.no, kind, actor, 0)
        assert plan is not None
        facts = history.reverse(self.graph, plan.facts)
        turned = (plan.target.version, kind == "Redo")
        return self.change(facts, turned=turned, command_type=kind, actor=actor or "ann", result={})

    def stored(self) -> SessionRecord:
        """The session as its row should say."""
        active = self.commits[-1][0].time_ms if self.commits else self.record.active_ms
        return msgspec.structs.replace(
            self.record,
            active_ms=active,
            version=self.version,
            nodes=len(self.graph.nodes),
            facts=self.facts,
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talus.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """An open journal; when the test is over the file is opened again and says the same."""
    journal = Journal(path)
    yield journal
    before = everything(journal)
    rows = dump(path)
    epoch, next_no = journal.epoch, journal.next_no
    journal.close()
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(path.name)] == [path.name]
    again = Journal(path)
    assert again.epoch == epoch
    assert again.next_no >= next_no
    assert everything(again) == before
    again.close()
    assert dump(path) == rows
    assert_chain(path)
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def everything(journal: Journal) -> list[Any]:
    """All that a reader can learn of every session."""
    found: list[Any] = []
    listed, total = journal.sessions(1000, None, None)
    assert total == len(listed)
    for record in listed:
        no = record.no
        assert journal.find(record.id) == record
        commits = journal.history(no, ALL, ALL)
        found.append(record)
        found.append([journal.nodes(no, "", ALL), commits, journal.availability(no, 0)])
        found.append([journal.total(no, version) for version in range(record.version + 2)])
        found.append(journal.parts(no, 0, ALL, ALL, ALL))
        found.append(journal.on_the_way(no, ALL, ALL, 0, ALL))
        found.append(journal.recorded(no, [commit.command_id for commit in commits]))
        for kind in ("Undo", "Redo"):
            found.extend(journal.plan(no, kind, actor, 0) for actor in (None, "ann", "bob"))
    return found


def dump(path: Path) -> Json:
    """Every row of the file, read by somebody else."""
    with closing(sqlite3.connect(path)) as sql:
        tables = [name for (name,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        # By the primary key, which is what `rowid` or the order of a table without it is.
        return {table: sql.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


HEADER = (
    "session_no, version, command_id, command_type, target, digest, actor, time_ms, summary,"
    " undo_available, redo_available, total"
)


def broken_links(path: Path) -> list[tuple[int, int]]:
    """The commits whose hash is not that of the one before, the header, the result and the facts."""
    broken = []
    with closing(sqlite3.connect(path)) as sql:
        heads: dict[int, bytes] = {}
        for *header, result, stored in sql.execute(
            f"SELECT {HEADER}, result, hash FROM commits ORDER BY session_no, version"
        ).fetchall():
            no, version = header[:2]
            header[9:11] = map(bool, header[9:11])
            chain = hashlib.sha256(heads.get(no, b""))
            chain.update(msgspec.json.encode(header) + result.encode())
            for (body,) in sql.execute(
                "SELECT body FROM fact WHERE session_no = ? AND version = ? ORDER BY part", (no, version)
            ):
                chain.update(body)
            if chain.digest() != stored:
                broken.append((no, version))
            heads[no] = stored
        for no, head in sql.execute("SELECT no, head FROM session WHERE removed = 0"):
            if head != heads.get(no, b""):
                broken.append((no, -1))
    return broken


def assert_chain(path: Path) -> None:
    assert broken_links(path) == []


def refused(write: Callable[[], object]) -> str:
    with pytest.raises(TalusError) as caught:
        write()
    return caught.value.code


def tree(*more: Command) -> Batch:
    """A with B and C below it, D below B, and what else is asked."""
    above = {A: None, B: A, C: A, D: B}
    return Batch((*(CreateNode("t", p, node_id=n, properties={"p": "é"}) for n, p in above.items()), *more))


def sized_facts(number: int) -> list[Fact]:
    """`number` nodes under nobody; about 70 bytes of record each."""
    return [NodeCreated(new_id(n), "t", None, {"n": n}, f"c{n:03}", n) for n in range(number)]


# -- writing and reading --


def test_a_session_is_found_as_it_was_written(journal: Journal) -> None:
    assert (journal.find("room-1"), journal.find_project(A)) == (None, None)
    room = Room(journal, project_id=A)
    assert journal.find("room-1") == room.record == room.stored()
    assert journal.find_project(A) == "room-1"
    assert journal.find_project(B) is None
    assert journal.find("ROOM-1") is None
    journal.write(room.command(tree()))
    assert journal.find("room-1") == room.stored()


def test_numbers_are_given_once(journal: Journal, path: Path) -> None:
    assert journal.next_no == 1
    for no in (1, 2, 3):
        Room(journal, no)
    journal.write([Removal(3, "ann", 0)])
    backup.copy(path, path.with_name("copy.db"))
    with closing(Journal(path.with_name("copy.db"))) as again:
        assert again.next_no == 4


def test_the_tree_rows_are_the_graph(journal: Journal) -> None:
    room = Room(journal)
    journal.write(room.command(tree()))
    journal.write(room.command(MoveNode(B, None, 0)))
    journal.write(room.command(UpdateProperty(C, "p", None)))
    journal.write(room.command(UpdateProperty(A, "q", {"ä": [1.0, 1e5, -0.5, True, None, ""]})))
    journal.write(room.command(DeleteNode(D)))
    nodes = journal.nodes(1, "", 100)
    assert {node.id: node for node in nodes} == room.graph.nodes
    assert [node.id for node in nodes] == sorted(room.graph.nodes)
    assert sum(node.size for node in nodes) == room.graph.size


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
def test_nodes_come_in_pages(journal: Journal, limit: int) -> None:
    room = Room(journal)
    journal.write(room.change(sized_facts(10)))
    Room(journal, 2)
    paged: list[Node] = []
    while page := journal.nodes(1, paged[-1].id if paged else "", limit):
        assert len(page) <= limit
        paged += page
    assert paged == journal.nodes(1, "", 100)
    assert {node.id: node for node in paged} == room.graph.nodes


def test_what_one_batch_does_to_several_sessions(journal: Journal) -> None:
    one, two = Room(journal, 1), Room(journal, 2)
    journal.write(
        [
            *one.command(tree()),
            *two.command(tree()),
            *one.command(DeleteNode(B)),
            *two.command(MoveNode(C, B)),
        ]
    )
    for room in (one, two):
        assert journal.find(room.record.id) == room.stored()
        assert {node.id: node for node in journal.nodes(room.no, "", 100)} == room.graph.nodes
        assert [commit.version for commit in journal.history(room.no, ALL, 10)] == [2, 1]


def test_a_session_and_its_first_commit_in_one_write(journal: Journal) -> None:
    room = Room(journal)
    record = msgspec.structs.replace(room.record, no=2, id="room-2")
    changes = [msgspec.structs.replace(each, session_no=2) for each in room.command(tree())]
    journal.write([NewSession(record, "ann", None), *changes])
    stored = msgspec.structs.replace(room.stored(), no=2, id="room-2")
    assert journal.find("room-2") == stored


def test_commits_are_read_back_as_they_were_written(journal: Journal) -> None:
    room = Room(journal)
    journal.write(room.command(tree(), actor="bob"))
    journal.write(room.command(UpdateProperty(A, "p", 1), undo_available=False, redo_available=True))
    journal.write(room.turn(journal, "Undo"))
    first, second, undo = (record for record, _ in room.commits)
    expected = [
        msgspec.structs.replace(undo, target_id=second.command_id, target_type=second.command_type),
        msgspec.structs.replace(second, stands=False),
        msgspec.structs.replace(first, stands=True),
    ]
    assert journal.history(1, ALL, 10) == expected
    assert expected[0].target == 2
    ids = [commit.command_id for commit in expected]
    assert journal.recorded(1, [*ids, new_id(77), ""]) == dict(zip(ids, expected, strict=True))
    assert journal.recorded(2, ids) == {}
    assert journal.recorded(1, []) == {}


@pytest.mark.parametrize(
    "before, limit, versions",
    [
        (ALL, 3, [7, 6, 5]),
        (8, 100, [7, 6, 5, 4, 3, 2, 1]),
        (5, 2, [4, 3]),
        (2, 5, [1]),
        (1, 5, []),
        (0, 5, []),
    ],
)
def test_history_comes_in_pages(journal: Journal, before: int, limit: int, versions: list[int]) -> None:
    room = Room(journal)
    for _ in range(7):
        journal.write(room.change([]))
    assert [commit.version for commit in journal.history(1, before, limit)] == versions


def test_the_total_counts_closing_events(journal: Journal) -> None:
    room = Room(journal)
    journal.write(room.change(sized_facts(3)))
    journal.write(room.change([]))
    assert [journal.total(1, version) for version in (0, 1, 2, 3)] == [0, 4, 5, 0]
    assert journal.total(2, 1) == 0


# -- facts in parts --


@pytest.fixture
def long(journal: Journal) -> Room:
    """Version 1 has two facts, version 2 a thousand, version 3 none, version 4 one."""
    room = Room(journal)
    journal.write(room.change(sized_facts(2)))
    journal.write(room.change(NodeCreated(new_id(n), "t", None, {}, f"d{n:04}", n) for n in range(10, 1010)))
    journal.write(room.change([]))
    journal.write(room.change([PropertyChanged(new_id(1), "n", 1, None)]))
    return room


def test_a_large_commit_is_read_in_parts(journal: Journal, long: Room) -> None:
    parts = journal.parts(1, 0, ALL, 4, ALL)
    shape = [(part.commit.version, part.part, len(part.facts), part.last) for part in parts]
    assert shape == [
        (1, 0, 2, True),
        (2, 0, PART_FACTS, False),
        (2, 1, PART_FACTS, False),
        (2, 2, 1000 - 2 * PART_FACTS, True),
        (3, 0, 0, True),
        (4, 0, 1, True),
    ]
    facts = [fact for part in parts for fact in part.facts]
    assert facts == [fact for _, facts in long.commits for fact in facts]
    assert [part.commit for part in parts if part.last] == journal.history(1, ALL, 10)[::-1]


def test_parts_are_bounded_in_bytes_too(journal: Journal) -> None:
    room = Room(journal)
    value = "x" * 50_000
    facts: list[Fact] = [NodeCreated(new_id(n), "t", None, {"p": value}, f"b{n:02}", n) for n in range(7)]
    facts.append(NodeCreated(new_id(8), "t", None, {"p": value * 5}, "b88", 7))
    journal.write(room.change(facts))
    parts = journal.parts(1, 0, ALL, 1, ALL)
    assert [len(part.facts) for part in parts] == [2, 2, 2, 1, 1]
    assert [part.last for part in parts] == [False] * 4 + [True]
    assert [fact for part in parts for fact in part.facts] == facts


@pytest.mark.parametrize("max_bytes", [1, 20_000, 100_000, ALL])
@pytest.mark.parametrize("since, until", [(0, 4), (0, 2), (1, 2), (1, 4), (2, 4), (3, 4), (4, 4)])
def test_paging_reads_every_part_once(
    journal: Journal, long: Room, since: int, until: int, max_bytes: int
) -> None:
    """A reader goes on after the part that it saw last, within a commit too."""
    at, found = (since, ALL), []
    while page := journal.parts(1, *at, until, max_bytes):
        for part in page:
            size = sum(len(msgspec.json.encode(fact)) for fact in part.facts)
            assert size < part.size <= size + (WIRE_BYTES + 1) * len(part.facts) + 2
        # The last one may pass the bound; those before it do not.
        assert len(page) == 1 or sum(part.size for part in page[:-1]) < max_bytes
        found += page
        at = (page[-1].commit.version, page[-1].part)
    assert found == [p for p in journal.parts(1, 0, ALL, 4, ALL) if since < p.commit.version <= until]


def test_a_page_is_never_empty(journal: Journal, long: Room) -> None:
    assert len(journal.parts(1, 0, ALL, 4, 1)) == 1


def test_parts_lead_back(journal: Journal, long: Room) -> None:
    forwards = [(p.commit.version, p.part, p.facts) for p in journal.parts(1, 0, ALL, 4, ALL)]
    assert journal.on_the_way(1, ALL, 0, 0, 100) == forwards[::-1]
    at, found = (4, ALL), []
    while page := journal.on_the_way(1, *at, 0, 2):
        assert len(page) <= 2
        found += page
        at = page[-1][:2]
    assert found == forwards[::-1]
    assert journal.on_the_way(1, 2, 1, 0, 100) == forwards[1::-1]


# -- what can be undone --


class Story:
    """A session told in words: `ann p` sets property p of A, `bob undo` undoes in scope of the actor."""

    def __init__(self, journal: Journal, *more: str) -> None:
        self.journal = journal
        self.room = Room(journal)
        journal.write(self.room.command(tree(), actor="root"))
        for each in more:
            self.tell(each)

    def tell(self, words: str) -> None:
        actor, what = words.split()
        if what in ("undo", "redo"):
            scope = None if actor == "all" else actor
            self.journal.write(self.room.turn(self.journal, what.capitalize(), scope))
        else:
            value = self.room.version
            self.journal.write(self.room.command(UpdateProperty(A, what, value), actor=actor))

    def plan(self, kind: str, actor: str | None = None, floor: int = 0) -> tuple[int, int, bool] | None:
        plan = self.journal.plan(1, kind, actor, floor)
        if plan is None:
            return None
        assert plan.target == self.journal.history(1, plan.target.version + 1, 1)[0]
        assert plan.facts == self.room.commits[plan.since - 1][1]
        return plan.target.version, plan.since, plan.more


@pytest.mark.parametrize(
    "story, undo, redo",
    [
        # Versions: 1 makes the tree. (target, the commit to take back, another after it)
        ([], (1, 1, False), None),
        (["ann p"], (2, 2, True), None),
        (["ann p", "all undo"], (1, 1, False), (2, 3, False)),
        (["ann p", "bob q", "all undo"], (2, 2, True), (3, 4, False)),
        (["ann p", "bob q", "all undo", "all undo"], (1, 1, False), (2, 5, True)),
        (["ann p", "bob q", "all undo", "all undo", "all redo"], (2, 6, True), (3, 4, False)),
        (["ann p", "all undo", "all redo"], (2, 4, True), None),
        (["ann p", "all undo", "all redo", "all undo"], (1, 1, False), (2, 5, False)),
        # A new command clears redo, for good.
        (["ann p", "all undo", "bob q"], (4, 4, True), None),
        (["ann p", "all undo", "bob q", "all undo", "all redo"], (4, 6, True), None),
        (["ann p", "all undo", "all undo"], None, (1, 4, True)),
    ],
)
def test_one_line_of_history(
    journal: Journal, story: list[str], undo: tuple[int, int, bool] | None, redo: Any
) -> None:
    told = Story(journal, *story)
    assert told.plan("Undo") == undo
    assert told.plan("Redo") == redo
    assert journal.availability(1, 0) == (undo is not None, redo is not None)


def test_another_redo_is_promised_only_where_there_will_be_one(journal: Journal) -> None:
    """Given an undone command that a newer one cleared, when the newer one was undone too,

    then redoing it leaves nothing to redo, and the plan says so beforehand.
    """
    told = Story(journal, "ann p", "all undo", "bob q", "all undo")
    assert told.plan("Redo") == (4, 5, False)
    told.tell("all redo")
    assert journal.availability(1, 0) == (True, False)


@pytest.mark.parametrize(
    "story, ann, bob",
    [
        # Each actor's own: what undo and redo would turn.
        (["ann p", "bob q"], (2, None), (3, None)),
        (["ann p", "bob q", "ann undo"], (None, 2), (3, None)),
        (["ann p", "ann undo", "bob q"], (None, 2), (4, None)),
        (["ann p", "ann undo", "ann q"], (4, None), (None, None)),
        (["ann p", "bob q", "ann r", "ann undo", "bob undo"], (2, 4), (None, 3)),
        (["ann p", "ann q", "ann undo", "ann undo"], (None, 2), (None, None)),
        (["ann p", "ann q", "ann undo", "ann undo", "ann redo"], (2, 3), (None, None)),
        # Undone by somebody else, it is still one's own to redo.
        (["ann p", "bob q", "all undo", "all undo"], (None, 2), (None, 3)),
    ],
)
def test_the_history_of_one_actor(
    journal: Journal, story: list[str], ann: tuple[Any, Any], bob: tuple[Any, Any]
) -> None:
    told = Story(journal, *story)

    def turns(actor: str) -> tuple[int | None, ...]:
        plans = (told.plan(kind, actor) for kind in ("Undo", "Redo"))
        return tuple(plan[0] if plan else None for plan in plans)

    assert (turns("ann"), turns("bob")) == (ann, bob)


@pytest.mark.parametrize("floor, target", [(0, 1), (1, None), (2, None)])
def test_the_first_commit_of_a_project_is_not_undone(
    journal: Journal, floor: int, target: int | None
) -> None:
    told = Story(journal, "ann p", "all undo")
    plan = told.plan("Undo", None, floor)
    assert (plan[0] if plan else None) == target
    assert journal.availability(1, floor) == (target is not None, True)
    told.tell("all redo")
    assert told.plan("Undo", None, 1) == (2, 4, False)


def test_another_undo_is_promised_above_the_floor_only(journal: Journal) -> None:
    told = Story(journal, "ann p", "ann q")
    assert told.plan("Undo", None, 1) == (3, 3, True)
    assert told.plan("Undo", None, 2) == (3, 3, False)


@pytest.mark.parametrize(
    "story, since, expected",
    [
        # Versions whose facts are in force since then, under the id of their command.
        ([], 1, []),
        (["ann p", "bob q"], 1, [(2, 2), (3, 3)]),
        (["ann p", "bob q"], 2, [(3, 3)]),
        (["ann p", "bob q"], 3, []),
        # A command and its undo count for nothing, its redo for something again.
        (["ann p", "bob q", "all undo"], 1, [(2, 2)]),
        (["ann p", "bob q", "all undo", "all redo"], 1, [(2, 2), (3, 5)]),
        (["ann p", "bob q", "all undo", "all redo", "all undo"], 1, [(2, 2)]),
        # An undo of something older is a change since then, in the older command's name.
        (["ann p", "bob q", "ann undo"], 2, [(3, 3), (2, 4)]),
        (["ann p", "bob q", "ann undo"], 3, [(2, 4)]),
        (["ann p", "bob q", "ann undo", "ann redo"], 3, []),
        (["ann p", "all undo", "bob q", "ann redo"], 4, [(2, 5)]),
    ],
)
def test_later_commits_are_netted(
    journal: Journal, story: list[str], since: int, expected: list[tuple[int, int]]
) -> None:
    told = Story(journal, *story)
    commits = told.room.commits
    found = journal.later(1, {A}, since)
    assert found == [
        Later(commits[command - 1][0].command_id, commits[version - 1][1]) for command, version in expected
    ]
    assert journal.later(1, {A, B, "no such node"}, since) == found
    assert journal.later(1, {E}, since) == journal.later(1, set(), since) == journal.later(2, {A}, 0) == []


def test_later_looks_at_the_nodes_that_are_asked_for(journal: Journal) -> None:
    room = Room(journal)
    journal.write(room.command(tree()))
    for command in (UpdateProperty(B, "p", 1), MoveNode(C, B), DeleteNode(B), CreateNode("t", A, node_id=E)):
        journal.write(room.command(command))

    def versions(*node_ids: str) -> list[int]:
        ids = {record.command_id: record.version for record, _ in room.commits}
        return [ids[later.command_id] for later in journal.later(1, {*node_ids}, 1)]

    assert versions(A) == []
    assert versions(B) == [2, 4]
    assert versions(C) == [3, 4]
    assert versions(D) == [4]
    assert versions(E) == [5]
    assert versions(E, B) == [2, 4, 5]


def test_a_plan_names_what_came_later(journal: Journal) -> None:
    told = Story(journal, "ann p", "bob q", "bob p")
    plan = journal.plan(1, "Undo", "ann", 0)
    assert plan is not None
    assert (plan.target.version, plan.since) == (2, 2)
    assert [later.facts for later in plan.later] == [told.room.commits[2][1], told.room.commits[3][1]]
    told.tell("bob undo")
    plan = journal.plan(1, "Undo", "ann", 0)
    assert plan is not None
    assert [later.facts for later in plan.later] == [told.room.commits[2][1]]


# -- lists and removal --


def test_sessions_are_listed_by_latest_activity(journal: Journal) -> None:
    rooms = {no: Room(journal, no) for no in (1, 2, 3, 4, 5)}
    for no, time_ms in ((3, 900), (1, 700), (5, 700), (4, 800)):
        journal.write(rooms[no].command(tree(), time_ms=time_ms))
    journal.write([Removal(4, "ann", 0)])
    records, total = journal.sessions(10, None, None)
    assert [record.no for record in records] == [3, 5, 1, 2]
    assert records == [rooms[no].stored() for no in (3, 5, 1, 2)]
    assert total == 4
    for limit in (1, 2, 3):
        found: list[SessionRecord] = []
        while True:
            before = (found[-1].active_ms, found[-1].no) if found else None
            page, total = journal.sessions(limit, before, None)
            assert total == 4
            if not page:
                break
            assert len(page) <= limit
            found += page
        assert found == records


def test_a_removed_session_leaves_a_tombstone_only(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PURGE_ROWS", 100)
    keep, gone = Room(journal, 1, project_id=A), Room(journal, 2, project_id=B)
    for room in (keep, gone):
        journal.write(room.change(sized_facts(250)))
        journal.write(room.command(UpdateProperty(new_id(1), "p", 1)))
    kept = [row for rows in dump(path).values() for row in rows if row[0] == 1]
    assert journal.purge() is False
    journal.write([Removal(2, "ann", 0)])
    found = journal.find("room-2")
    assert found is not None
    assert (found.removed, found.project_id, found.name) == (True, None, "")
    assert journal.find_project(B) is None
    assert journal.sessions(10, None, None) == ([keep.stored()], 1)
    slices = 0
    rows = sum(map(len, dump(path).values()))
    while journal.purge():
        slices += 1
        left = sum(map(len, dump(path).values()))
        assert 0 <= rows - left <= 100
        rows = left
    assert slices >= 9
    after = dump(path)
    assert [row[:2] for row in after["session"]] == [(1, "room-1"), (2, "room-2")]
    for table in ("node", "fact", "touch", "commits"):
        assert {row[0] for row in after[table]} == {1}, table
    assert [row for rows in after.values() for row in rows if row[0] == 1] == kept
    found = journal.find("room-2")
    assert found is not None
    assert found.removed
    assert journal.purge() is False
    # The id is never used again.
    record = msgspec.structs.replace(gone.record, no=3, project_id=None)
    assert refused(lambda: journal.write([NewSession(record, "ann", None)])) == "STORAGE_FAILED"
    assert journal.find("room-2") == found


# -- all or nothing --


def test_a_batch_is_written_whole_or_not_at_all(journal: Journal, path: Path) -> None:
    """Given a batch whose second commit cannot be, then nothing of it is there, and the next write works."""
    room, other = Room(journal, 1), Room(journal, 2)
    journal.write(room.command(tree()))
    before, rows = everything(journal), dump(path)
    stood = (dict(room.graph.nodes), room.version, room.facts)
    repeated = room.commits[0][0].command_id
    bad: list[Change] = [
        *other.command(tree()),
        *room.command(UpdateProperty(A, "p", 1)),
        *room.command(DeleteNode(B), command_id=repeated),
    ]
    with pytest.raises(StorageFailed):
        journal.write(bad)
    assert everything(journal) == before
    assert dump(path) == rows
    # Memory is taken back, and what comes next is written on the chain as it was.
    other, room = other_again(other), room_again(room, stood)
    journal.write([*room.command(UpdateProperty(A, "p", 2)), *other.command(tree())])
    assert journal.find("room-1") == room.stored()
    assert journal.find("room-2") == other.stored()
    assert [commit.version for commit in journal.history(1, ALL, 10)] == [2, 1]


def other_again(room: Room) -> Room:
    room.graph, room.version, room.facts = Graph(), 0, 0
    room.commits.clear()
    return room


def room_again(room: Room, stood: tuple[dict[str, Node], int, int]) -> Room:
    nodes, room.version, room.facts = stood
    room.graph = Graph()
    steps = rebuild(nodes)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            room.graph = stop.value
            break
    del room.commits[room.version :]
    return room


def test_a_full_disk_takes_nothing_and_recovers(journal: Journal, path: Path) -> None:
    room = Room(journal)
    journal.write(room.command(tree()))
    assert journal.checkpoint()
    before, rows = everything(journal), dump(path)
    stood = (dict(room.graph.nodes), room.version, room.facts)
    (pages,) = journal._sql.execute("PRAGMA page_count").fetchone()
    journal._sql.execute(f"PRAGMA max_page_count = {pages}")
    large = UpdateProperty(A, "p", "x" * 100_000)
    with pytest.raises(StorageFull):
        journal.write(room.command(large))
    assert everything(journal) == before
    assert dump(path) == rows
    journal._sql.execute("PRAGMA max_page_count = 1000000")
    room = room_again(room, stood)
    journal.write(room.command(large))
    assert journal.find("room-1") == room.stored()


def test_a_locked_file_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT_MS", 20)
    journal = Journal(path)
    room = Room(journal)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert refused(lambda: journal.write(room.command(tree()))) == "BUSY"
        assert refused(lambda: journal.write([Removal(1, "ann", 0)])) == "BUSY"
        found = journal.find("room-1")  # readers do not mind
        assert found is not None
        assert found.version == 0
        other.execute("ROLLBACK")
    room = other_again(room)
    journal.write(room.command(tree()))
    expected = everything(journal)
    journal.close()
    again = Journal(path)
    assert everything(again) == expected
    assert again.find("room-1") == room.stored()
    again.close()


def test_a_reader_sees_one_moment(journal: Journal, path: Path) -> None:
    """Given a reader in the middle of a page, when a commit comes, then the page is of one moment."""
    room = Room(journal)
    journal.write(room.command(tree()))
    with journal._reading() as database:
        assert database.execute_sql("SELECT version FROM session").fetchone() == (1,)
        journal.write(room.command(DeleteNode(B)))
        assert database.execute_sql("SELECT version FROM session").fetchone() == (1,)
        assert database.execute_sql("SELECT count(*) FROM node").fetchone() == (4,)
        with pytest.raises(peewee.OperationalError, match="readonly"):
            database.execute_sql("DELETE FROM node")
    found = journal.find("room-1")
    assert found is not None
    assert found.version == 2


# -- the hash chain --


@pytest.fixture
def chained(journal: Journal, path: Path, tmp_path: Path) -> Path:
    """A copy of a file with two sessions, that a test may damage."""
    one, two = Room(journal, 1), Room(journal, 2)
    journal.write([*one.command(tree()), *two.command(tree())])
    journal.write(one.change(NodeCreated(new_id(n), "t", None, {}, f"d{n:04}", n) for n in range(200, 900)))
    journal.write([*two.command(MoveNode(B, None)), *one.command(DeleteNode(C)), *two.command(DeleteNode(A))])
    journal.write(one.turn(journal, "Undo"))
    assert journal.checkpoint()
    copied = tmp_path / "damaged" / "copy.db"
    copied.parent.mkdir()
    shutil.copy(path, copied)
    assert_chain(copied)
    return copied


@pytest.mark.parametrize(
    "statement, broken",
    [
        # One byte of one fact.
        (
            "UPDATE fact SET body = CAST(replace(body, 'p', 'q') AS BLOB)"
            " WHERE session_no = 1 AND version = 3",
            (1, 3),
        ),
        (
            "UPDATE fact SET body = CAST(body || ' ' AS BLOB)"
            " WHERE session_no = 1 AND version = 2 AND part = 1",
            (1, 2),
        ),
        ("DELETE FROM fact WHERE session_no = 1 AND version = 2 AND part = 1", (1, 2)),
        ("DELETE FROM fact WHERE session_no = 2 AND version = 1", (2, 1)),
        ("UPDATE fact SET part = 5 WHERE session_no = 1 AND version = 2 AND part = 0", (1, 2)),
        # Anything of a header.
        ("UPDATE commits SET actor = 'eve' WHERE session_no = 1 AND version = 1", (1, 1)),
        ("UPDATE commits SET command_id = 'other' WHERE session_no = 1 AND version = 2", (1, 2)),
        ("UPDATE commits SET command_type = 'Undo' WHERE session_no = 1 AND version = 2", (1, 2)),
        ("UPDATE commits SET target = 2 WHERE session_no = 1 AND version = 4", (1, 4)),
        ("UPDATE commits SET digest = X'00' WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET time_ms = time_ms + 1 WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET result = '{}' WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET summary = '' WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET undo_available = 0 WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET redo_available = 1 WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET total = total + 1 WHERE session_no = 2 AND version = 2", (2, 2)),
        ("UPDATE commits SET hash = X'00' WHERE session_no = 2 AND version = 1", (2, 1)),
        # A commit in the middle, and the last one.
        ("DELETE FROM commits WHERE session_no = 1 AND version = 2", (1, 3)),
        ("DELETE FROM commits WHERE session_no = 1 AND version = 4", (1, -1)),
    ],
)
def test_the_chain_breaks_where_somebody_changed_the_past(
    chained: Path, statement: str, broken: tuple[int, int]
) -> None:
    with closing(sqlite3.connect(chained)) as sql, sql:
        assert sql.execute(statement).rowcount == 1
    assert broken_links(chained)[0] == broken


def test_any_byte_of_a_fact_breaks_the_chain(chained: Path) -> None:
    dice = random.Random(1)
    with closing(sqlite3.connect(chained)) as sql:
        rows = sql.execute("SELECT session_no, version, part, body FROM fact").fetchall()
        for no, version, part, body in rows:
            at = dice.randrange(len(body))
            changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            where = "WHERE session_no = ? AND version = ? AND part = ?"
            with sql:
                sql.execute(f"UPDATE fact SET body = ? {where}", (changed, no, version, part))
            assert broken_links(chained)[0] == (no, version)
            with sql:
                sql.execute(f"UPDATE fact SET body = ? {where}", (body, no, version, part))
    assert_chain(chained)


def test_the_chain_goes_on_after_the_file_was_opened_again(path: Path) -> None:
    journal = Journal(path)
    room = Room(journal)
    for command in (tree(), UpdateProperty(A, "p", 1), MoveNode(C, None), DeleteNode(B)):
        journal.write(room.command(command))
        journal.close()
        journal = Journal(path)
        assert journal.find("room-1") == room.stored()
    journal.close()
    assert_chain(path)
    assert len(dump(path)["commits"]) == 4


# -- the file --


def test_closing_leaves_one_file(path: Path) -> None:
    journal = Journal(path)
    room = Room(journal)
    journal.write(room.command(tree()))
    journal.find("room-1")
    wal = path.with_name(path.name + "-wal")
    assert wal.stat().st_size == journal.wal_bytes > 0
    journal.close()
    assert sorted(file.name for file in path.parent.iterdir()) == [f".{path.name}-mark", path.name]
    again = Journal(path)
    assert again.find("room-1") == room.stored()
    again.close()


def test_after_a_checkpoint_the_file_alone_is_whole(journal: Journal, path: Path, tmp_path: Path) -> None:
    room = Room(journal)
    journal.write(room.command(tree()))
    assert journal.checkpoint() is True
    assert journal.wal_bytes == 0
    copied = tmp_path / "copied" / "copy.db"
    copied.parent.mkdir()
    shutil.copy(path, copied)
    assert dump(copied) == dump(path)
    assert len(dump(copied)["commits"]) == 1


def test_a_checkpoint_waits_for_a_reader(journal: Journal, path: Path) -> None:
    """Given a reader that holds a snapshot, then the WAL stays, and goes once the reader is done."""
    room = Room(journal)
    journal.write(room.command(tree()))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT version FROM session").fetchone() == (1,)
        journal.write(room.command(UpdateProperty(A, "p", 1)))
        began_s = perf_counter()
        assert journal.checkpoint() is False
        assert perf_counter() - began_s < module.LOCK_WAIT_MS / 1000 / 2  # it gives up; commits come first
        assert journal._sql.execute("PRAGMA busy_timeout").fetchone() == (module.LOCK_WAIT_MS,)
        assert journal.wal_bytes > 0
        assert reader.execute("SELECT version FROM session").fetchone() == (1,)
        journal.write(room.command(UpdateProperty(A, "p", 2)))  # nor does a reader hold up a writer
        reader.execute("COMMIT")
        assert journal.checkpoint() is True
    assert journal.wal_bytes == 0


def test_nothing_is_checkpointed_behind_our_back(journal: Journal) -> None:
    """Two connections that write or checkpoint at once can damage the file in some releases of SQLite."""
    assert journal._sql.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    room = Room(journal)
    for number in range(6):
        journal.write(room.command(CreateNode("t", node_id=new_id(number), properties={"p": "x" * 200_000})))
        journal.find("room-1")
    assert journal.wal_bytes > 6 * 400_000  # more than the thousand pages at which SQLite would step in
    assert journal.checkpoint()


def test_every_commit_waits_for_the_disk(journal: Journal) -> None:
    assert journal._sql.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._sql.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("CREATE TABLE recipes (name TEXT)")
        sql.execute("INSERT INTO recipes VALUES ('goulash')")


def foreign_in_wal_mode(path: Path) -> None:
    foreign(path)
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA journal_mode = wal")


def marked(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA application_id = 42")


def counted(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA user_version = 1")


def newer(path: Path) -> None:
    Journal(path).close()
    path.with_name(f".{path.name}-mark").unlink()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute(f"PRAGMA user_version = {len(STEPS) + 1}")


@pytest.mark.parametrize("make", [foreign, foreign_in_wal_mode, marked, counted, newer])
def test_a_file_that_is_not_ours_to_write_stays_as_it_is(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    before = path.read_bytes()
    with pytest.raises(Unusable):
        Journal(path)
    assert path.read_bytes() == before
    dump(path)  # who opens it next finds it in order, and leaves the file alone
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_stays_as_it_is(path: Path) -> None:
    path.write_text("goulash\n" * 1000)
    with pytest.raises((Unusable, peewee.DatabaseError)):
        Journal(path)
    assert path.read_text() == "goulash\n" * 1000


def test_the_file_says_what_it_is(journal: Journal, path: Path) -> None:
    assert journal._sql.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert journal._sql.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert uuid.UUID(journal.epoch).version == 4


# -- cost --


def test_moving_one_of_ten_thousand_siblings_writes_a_handful_of_rows(journal: Journal) -> None:
    room = Room(journal)
    number = 10_000
    nodes = (CreateNode("t", A, node_id=new_id(1000 + n)) for n in range(number))
    journal.write(room.command(Batch((CreateNode("t", node_id=A), *nodes))))
    for command in (
        MoveNode(new_id(1000 + number - 1), A, 0),
        MoveNode(new_id(1000), A, number // 2),
        MoveNode(new_id(1500), None),
        UnlinkNode(A, new_id(1501)),
        UpdateProperty(A, "p", 1),
        CreateNode("t", A, node_id=new_id(1), index=1),
        DeleteNode(new_id(1)),
    ):
        before = journal._sql.total_changes
        journal.write(room.command(command))
        # The commit, a part of facts, a touch, the tree row and the session, twice.
        assert journal._sql.total_changes - before <= 6
    before = journal._sql.total_changes
    journal.write(room.turn(journal, "Undo"))
    assert journal._sql.total_changes - before <= 7
