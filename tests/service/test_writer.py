"""The writer with a real journal: what is told, answered and kept, when all goes well and when not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from talus.core.commands import MAX_BATCH
from talus.core.errors import Busy, InvalidSession, ShuttingDown, StorageUncertain, TalusError
from talus.core.facts import Fact
from talus.core.graph import rebuild
from talus.service import queue, tidying
from talus.service import writer as module
from talus.service.announce import Announcement, Committed, Deleted, Refused
from talus.service.pace import paced
from talus.service.sessions import EMPTY_S, IDLE_S, Session
from talus.store import journal as journal_module
from tests.support.house import ANN, DEADLINE_S, House, Json, good, got, new_id, shape

A, B, C, D = map(new_id, "abcd")


def code(answer: AsyncResult) -> str:
    value = got(answer)
    assert isinstance(value, TalusError), value
    return value.code


def versions(answers: list[AsyncResult]) -> list[int | str]:
    """What each answer came to: its version, or the code of its refusal."""
    values = [got(answer) for answer in answers]
    return [each.code if isinstance(each, TalusError) else each.record.version for each in values]


def seen(session: Session) -> Any:
    """All that a client can learn of a session, but for its journal."""
    counters = (session.version, session.node_count, session.facts, session.active_ms, session.stored)
    flags = (session.undo_available, session.redo_available)
    return counters, flags, shape(session.graph), dict(session.graph.nodes), session.graph.size


def in_file(path: Path, session: Session) -> int:
    """The session's version as somebody else reads it in the file."""
    with closing(sqlite3.connect(path)) as sql:
        row = sql.execute("SELECT max(version) FROM commits WHERE session_no = ?", (session.no,)).fetchone()
    return row[0] or 0


@pytest.fixture
def house(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house; when the test is over, what it held in memory is what a new one reads from the file."""
    # What is begun in one breath is one batch, however slow the machine is just now.
    monkeypatch.setattr(module, "DECIDE_S", 10.0)
    house = House(path)
    with gevent.Timeout(60):
        yield house
        house.close()
        assert sorted(file.name for file in path.parent.iterdir()) == [f".{path.name}-mark", path.name]
        again = House(path)
        for session in [each for each in house.sessions.open().values() if each.stored]:
            assert seen(again.sessions.get(session.id)) == seen(session)
            assert session.pins == 0
            assert session.ahead == 0
        again.close()


@pytest.fixture
def session(house: House) -> Session:
    """A stored session with A, and B below it; nothing of that is in `told`."""
    session = house.new_session()
    house.create(session, A)
    house.create(session, B, A)
    house.told.clear()
    return session


def facts_told(house: House, session: Session) -> list[Fact]:
    return [
        fact
        for session_id, each in house.told
        if session_id == session.id and isinstance(each, Committed)
        for fact in each.facts
    ]


def set_p(value: Any, node_id: str = A) -> Json:
    return {"node_id": node_id, "property_id": "p", "value": value}


# -- the order of things --


def test_facts_leave_after_they_are_in_the_file(house: House, session: Session) -> None:
    """Given another reader of the file, when a fact is told, then the reader finds it."""
    found: list[tuple[int, int, int]] = []

    def look(session_id: str, announcements: list[Announcement]) -> None:
        told = max(each.record.version for each in announcements if isinstance(each, Committed))
        found.append((told, in_file(house.path, session), session.version))

    house.on_publish = look
    answers = [house.begin(session, "UpdateProperty", set_p(n)) for n in range(5)]
    assert versions(answers) == [3, 4, 5, 6, 7]
    house.turn(session, "Undo")
    assert [told for told, _, _ in found][-1] == 8
    assert len(found) == 2  # the burst was one batch
    assert all(told == stored == shown for told, stored, shown in found)


def test_an_answer_comes_after_its_facts(house: House, session: Session) -> None:
    order: list[str] = []
    house.on_publish = lambda session_id, announcements: order.append("told")
    call = {"session_id": session.id, "command_type": "UpdateProperty", "data": set_p(1)}
    done = Event()
    house.calls.execute(call, ANN, 1, lambda answer: (order.append("answered"), done.set()))
    assert done.wait(DEADLINE_S)
    assert order == ["told", "answered"]


def test_announcements_are_in_the_order_of_versions(house: House, session: Session) -> None:
    answers = []
    for number in range(40):
        answers.append(house.begin(session, "UpdateProperty", set_p(number)))
        if number % 7 == 0:
            answers.append(house.begin_turn(session, "Undo"))
        if number % 10 == 0:
            gevent.idle()
    assert versions(answers) == list(range(3, 3 + len(answers)))
    told = [each.record.version for _, each in house.told if isinstance(each, Committed)]
    assert told == list(range(3, 3 + len(answers)))


def test_facts_are_counted_with_their_closing_events(house: House, session: Session) -> None:
    """Given commits in one batch and alone, then the counts tell how much there is to catch up with."""
    assert session.facts == house.journal.total(session.no, 2) == 2 + 3
    versions(
        [house.begin(session, "UpdateProperty", set_p(1)), house.begin(session, "DeleteNode", {"node_id": B})]
    )
    house.turn(session, "Undo")
    assert [house.journal.total(session.no, version) for version in (3, 4, 5)] == [7, 10, 13]
    assert session.facts == 13


def test_sessions_of_one_batch_are_told_apart(house: House, session: Session) -> None:
    other = house.new_session()
    answers = [
        house.begin(session, "UpdateProperty", set_p(1)),
        house.begin(other, "CreateNode", {"blueprint_type_id": "t", "node_id": A}),
        house.begin(session, "DeleteNode", {"node_id": C}),
        house.begin(other, "UpdateProperty", set_p(2)),
    ]
    assert versions(answers) == [3, 1, "NODE_NOT_FOUND", 2]
    kinds = [(session_id, type(each).__name__) for session_id, each in house.told]
    assert kinds == [
        (session.id, "Committed"),
        (session.id, "Refused"),
        (other.id, "Committed"),
        (other.id, "Committed"),
    ]


def test_a_later_command_of_a_batch_sees_what_the_earlier_ones_did(house: House, session: Session) -> None:
    answers = [
        house.begin(session, "CreateNode", {"blueprint_type_id": "t", "node_id": C, "parent_id": B}),
        house.begin(session, "DeleteNode", {"node_id": B}),
        house.begin(session, "UpdateProperty", set_p(1, C)),
        house.begin(session, "UpdateProperty", set_p(1, A)),
    ]
    assert versions(answers) == [3, 4, "NODE_NOT_FOUND", 5]
    assert shape(session.graph) == [(A,)]


def test_a_refused_batch_takes_back_its_own_part_only(house: House, session: Session) -> None:
    """Given commands before and after it in one burst, then a refused Batch leaves nothing behind."""
    entries = [
        {"command_type": "DeleteNode", "data": {"node_id": B}},
        {"command_type": "UpdateProperty", "data": set_p(9)},
        {"command_type": "DeleteNode", "data": {"node_id": D}},
    ]
    answers = [
        house.begin(session, "UpdateProperty", set_p(1)),
        house.begin(session, "Batch", {"commands": entries}),
        house.begin(session, "UpdateProperty", set_p(2, B)),
    ]
    assert versions(answers) == [3, "NODE_NOT_FOUND", 4]
    refused = got(answers[1])
    assert refused.details == {"index": 2}
    assert refused.announced
    assert [session.graph.nodes[each].properties for each in (A, B)] == [{"p": 1}, {"p": 2}]
    assert [(type(each).__name__, getattr(each, "version", None)) for _, each in house.told] == [
        ("Committed", None),
        ("Refused", 3),
        ("Committed", None),
    ]


# -- once --


def test_an_id_repeated_in_one_burst_is_answered_once_and_as_a_duplicate(
    house: House, session: Session
) -> None:
    answers = [house.begin(session, "UpdateProperty", set_p(1), command_id=D) for _ in range(3)]
    done = [good(answer) for answer in answers]
    assert [each.duplicate for each in done] == [False, True, True]
    assert [each.record and each.record.version for each in done] == [3, 3, 3]
    assert [each.record.command_id for _, each in house.told if isinstance(each, Committed)] == [D]
    assert session.version == 3


def test_an_id_is_known_for_ever(house: House, session: Session, path: Path) -> None:
    house.create(session, C, command_id=D)
    house.turn(session, "Undo")
    house.close()
    again = House(path)
    reopened = again.sessions.get(session.id)
    data = {"parent_id": None, "node_id": C, "blueprint_type_id": "t"}  # the keys in another order
    answer = good(again.begin(reopened, "CreateNode", data, command_id=D))
    assert answer.duplicate
    assert answer.record is not None
    assert (answer.record.version, answer.record.result) == (3, {"node_id": C})
    assert (
        code(again.begin(reopened, "CreateNode", {**data, "name": "n"}, command_id=D)) == "COMMAND_ID_REUSED"
    )
    assert code(again.begin(reopened, "DeleteNode", {"node_id": C}, command_id=D)) == "COMMAND_ID_REUSED"
    assert code(again.begin_turn(reopened, "Undo", command_id=D)) == "COMMAND_ID_REUSED"
    assert again.told == []
    assert reopened.version == 4
    again.close()


def test_the_same_id_is_another_in_another_session(house: House, session: Session) -> None:
    other = house.new_session()
    answers = [
        house.begin(each, "CreateNode", {"blueprint_type_id": "t"}, command_id=D) for each in (session, other)
    ]
    assert versions(answers) == [3, 1]


def test_a_refused_command_leaves_no_trace_of_its_id(house: House, session: Session) -> None:
    answers = [
        house.begin(session, "DeleteNode", {"node_id": C}, command_id=D),
        house.begin(session, "UpdateProperty", set_p(1), command_id=D),
    ]
    assert versions(answers) == ["NODE_NOT_FOUND", 3]


@pytest.mark.parametrize("kind", ["Undo", "Redo"])
def test_an_undo_may_be_repeated_too(house: House, session: Session, kind: str) -> None:
    if kind == "Redo":
        house.turn(session, "Undo")
    answers = [house.begin_turn(session, kind, command_id=D) for _ in range(2)]
    done = [good(answer) for answer in answers]
    assert [each.duplicate for each in done] == [False, True]
    assert done[0].record is not None
    assert done[1].record is not None
    assert done[0].record.version == done[1].record.version
    assert done[1].record.target_id == done[0].record.target_id
    assert code(house.begin_turn(session, kind, command_id=D, scope="actor")) == "COMMAND_ID_REUSED"


def test_expected_version_refuses_what_was_meant_for_another_state(house: House, session: Session) -> None:
    answers = [
        house.begin(session, "UpdateProperty", set_p(1), expected_version=2),
        house.begin(session, "UpdateProperty", set_p(2), expected_version=2),
        house.begin(session, "UpdateProperty", set_p(3), expected_version=3),
        house.begin_turn(session, "Undo", expected_version=3),
        house.begin_turn(session, "Undo", expected_version=4),
    ]
    assert versions(answers) == [3, "VERSION_CONFLICT", 4, "VERSION_CONFLICT", 5]
    assert got(answers[1]).details == {"version": 3}
    assert got(answers[3]).details == {"version": 4}
    assert not got(answers[1]).announced
    assert [type(each).__name__ for _, each in house.told] == ["Committed"] * 3
    assert session.graph.nodes[A].properties == {"p": 1}


def test_a_repeat_is_answered_whatever_version_it_expects(house: House, session: Session) -> None:
    """A client that never heard the answer asks again with the version that it knew."""
    for _ in range(2):
        done = house.execute(session, "UpdateProperty", set_p(1), command_id=D, expected_version=2)
    assert done.duplicate


# -- undo and redo --


def flags(session: Session) -> tuple[bool, bool]:
    return session.undo_available, session.redo_available


def test_undo_and_redo_say_what_is_left(house: House) -> None:
    session = house.new_session()
    assert flags(session) == (False, False)
    house.create(session, A)
    assert flags(session) == (True, False)
    house.execute(session, "UpdateProperty", set_p(1))
    for kind, expected in [
        ("Undo", (True, True)),
        ("Undo", (False, True)),
        ("Redo", (True, True)),
        ("Redo", (True, False)),
    ]:
        answer = house.turn(session, kind)
        assert flags(session) == expected
        assert answer.record is not None
        assert (answer.record.undo_available, answer.record.redo_available) == expected
    assert code(house.begin_turn(session, "Redo")) == "NOTHING_TO_REDO"
    house.turn(session, "Undo")
    house.execute(session, "UpdateProperty", set_p(2))
    assert flags(session) == (True, False)


def test_what_is_left_to_redo_is_said_as_it_is(house: House) -> None:
    """Given an undone command that a newer one cleared, when the newer one is undone and redone,

    then nothing is left to redo, and nobody is told otherwise. (The fixture compares with a reload.)
    """
    session = house.new_session()
    house.create(session, A)
    house.turn(session, "Undo")
    house.create(session, B)
    house.turn(session, "Undo")
    house.turn(session, "Redo")
    assert code(house.begin_turn(session, "Redo")) == "NOTHING_TO_REDO"
    assert flags(session) == (True, False)


def test_a_burst_of_undos_takes_back_one_after_the_other(house: House, session: Session) -> None:
    """Given commands and undos in one burst, then each undo finds what is right before it."""
    answers = [
        house.begin(session, "UpdateProperty", set_p(1)),
        house.begin(session, "UpdateProperty", set_p(2)),
        house.begin_turn(session, "Undo"),
        house.begin_turn(session, "Undo"),
        house.begin_turn(session, "Redo"),
        house.begin(session, "UpdateProperty", set_p(3)),
        house.begin_turn(session, "Redo"),
    ]
    assert versions(answers) == [3, 4, 5, 6, 7, 8, "NOTHING_TO_REDO"]
    targets = [each.record.target for _, each in house.told if isinstance(each, Committed)]
    assert targets == [None, None, 4, 3, 3, None]
    assert session.graph.nodes[A].properties == {"p": 3}
    # An undo that is refused is answered to its sender alone.
    assert len(house.told) == 6


def test_an_undo_of_ones_own_names_what_is_in_the_way(house: House, session: Session) -> None:
    house.execute(session, "UpdateProperty", set_p(1), actor="ann")
    bobs = house.execute(session, "UpdateProperty", set_p(2), actor="bob")
    assert bobs.record is not None
    before, told = seen(session), len(house.told)
    refused = got(house.begin_turn(session, "Undo", actor="ann", scope="actor"))
    assert (refused.code, refused.details) == ("UNDO_CONFLICT", {"commands": [bobs.record.command_id]})
    assert seen(session) == before
    assert len(house.told) == told
    house.turn(session, "Undo", actor="bob", scope="actor")
    house.turn(session, "Undo", actor="ann", scope="actor")
    assert session.graph.nodes[A].properties == {}


def test_an_undo_that_the_graph_refuses_names_who_made_it_so(house: House, session: Session) -> None:
    """Given a node of one's own with somebody's child below it, then it cannot be taken back alone."""
    house.create(session, C, actor="bob")
    child = house.create(session, D, C, actor="eve")
    assert child.record is not None
    before = seen(session)
    refused = got(house.begin_turn(session, "Undo", actor="bob", scope="actor"))
    assert (refused.code, refused.details) == ("UNDO_CONFLICT", {"commands": [child.record.command_id]})
    assert seen(session) == before


def test_the_root_of_a_project_is_not_undone(house: House) -> None:
    answer: AsyncResult = AsyncResult()
    house.calls.create_project({"template_id": "restomod", "project_name": "Bronco"}, ANN, answer.set)
    session = good(answer).session
    assert (session.version, session.node_count, flags(session)) == (1, 1, (False, False))
    assert code(house.begin_turn(session, "Undo")) == "NOTHING_TO_UNDO"
    root = next(iter(session.graph.nodes))
    house.execute(session, "UpdateProperty", {"node_id": root, "property_id": "name", "value": "Mustang"})
    assert flags(session) == (True, False)
    house.turn(session, "Undo")
    assert flags(session) == (False, True)
    assert code(house.begin_turn(session, "Undo")) == "NOTHING_TO_UNDO"
    assert session.graph.nodes[root].name == "Bronco"
    assert house.calls.project(session.project_id or "", ANN) is session


# -- when the disk refuses --


def test_a_failed_commit_changes_nothing(house: House, session: Session) -> None:
    house.execute(session, "UpdateProperty", set_p("old"))
    house.turn(session, "Undo")
    before, told = seen(session), len(house.told)
    assert flags(session) == (True, True)
    house.fill_the_disk()
    answers = [
        house.begin(session, "UpdateProperty", set_p("x" * 100_000), command_id=D),
        house.begin(session, "CreateNode", {"blueprint_type_id": "t", "node_id": C}, actor="bob"),
        house.begin(session, "DeleteNode", {"node_id": A}),
    ]
    assert versions(answers) == ["STORAGE_FULL"] * 3
    assert seen(session) == before
    refused = [each for _, each in house.told[told:]]
    assert all(isinstance(each, Refused) for each in refused)
    said = [(e.command_type, e.actor, e.error.code, e.version) for e in refused if isinstance(e, Refused)]
    assert said == [
        ("UpdateProperty", "ann", "STORAGE_FULL", 4),
        ("CreateNode", "bob", "STORAGE_FULL", 4),
        ("DeleteNode", "ann", "STORAGE_FULL", 4),
    ]
    assert house.writer.failing is None
    house.empty_the_disk()
    done = house.execute(session, "UpdateProperty", set_p("x" * 100_000), command_id=D)
    assert not done.duplicate
    assert done.record is not None
    assert done.record.version == 5
    assert flags(session) == (True, False)


def test_a_failed_undo_changes_nothing_and_is_told_to_nobody(house: House, session: Session) -> None:
    house.execute(session, "UpdateProperty", set_p("x" * 100_000))
    house.execute(session, "UpdateProperty", set_p(None))
    before, told = seen(session), len(house.told)
    house.fill_the_disk()
    assert code(house.begin_turn(session, "Undo")) == "STORAGE_FULL"
    assert seen(session) == before
    assert len(house.told) == told
    house.empty_the_disk()
    house.turn(session, "Undo")
    assert session.graph.nodes[A].properties == {"p": "x" * 100_000}


def test_a_failed_commit_takes_every_session_of_the_batch_back(house: House, session: Session) -> None:
    other = house.new_session()
    opened, created = house.sessions.get_or_open("bronco-66")
    assert created
    before = seen(session), seen(other), seen(opened)
    house.fill_the_disk()
    answers = [
        house.begin(session, "DeleteNode", {"node_id": A}),
        house.begin(other, "CreateNode", {"blueprint_type_id": "t", "name": "x" * 100_000}),
        house.begin(opened, "CreateNode", {"blueprint_type_id": "t"}),
    ]
    assert versions(answers) == ["STORAGE_FULL"] * 3
    assert (seen(session), seen(other), seen(opened)) == before
    assert [session_id for session_id, _ in house.told] == [session.id, other.id, opened.id]
    house.empty_the_disk()
    house.create(opened, A)
    assert (opened.stored, opened.version) == (True, 1)


def test_a_session_that_could_not_be_stored_is_not_there(house: House) -> None:
    house.new_session()
    house.fill_the_disk()
    answers = []
    for number in range(40):
        answer: AsyncResult = AsyncResult()
        house.calls.create({"name": f"{number:0900}"}, ANN, answer.set)
        answers.append(answer)
    assert set(versions(answers)) == {"STORAGE_FULL"}
    assert len(house.sessions.open()) == 1
    house.empty_the_disk()
    assert house.new_session(name="next").version == 0


def test_refusals_that_rest_on_uncommitted_facts_leave_with_their_batch(
    house: House, session: Session
) -> None:
    """Given a burst in which one command is refused for what another did, when the commit fails,

    then nobody hears of that refusal: what it rested on never was.
    """
    house.fill_the_disk()
    answers = [
        house.begin(session, "DeleteNode", {"node_id": B}),
        house.begin(session, "UpdateProperty", set_p(1, B)),
        house.begin(session, "UpdateProperty", set_p("x" * 100_000)),
    ]
    assert versions(answers) == ["STORAGE_FULL"] * 3
    assert [each.error.code for _, each in house.told if isinstance(each, Refused)] == ["STORAGE_FULL"] * 3
    house.empty_the_disk()
    house.execute(session, "UpdateProperty", set_p(1, B))


def test_a_locked_file_is_busy_and_told_to_nobody(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BUSY leaves no command behind, so the room hears of none."""
    house.on_disk("PRAGMA busy_timeout = 20")
    before = seen(session)
    with closing(sqlite3.connect(house.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = [
            house.begin(session, "DeleteNode", {"node_id": B}, command_id=D),
            house.begin(session, "UpdateProperty", set_p(1, B)),
            house.begin_turn(session, "Undo"),
        ]
        assert versions(answers) == ["BUSY"] * 3
        assert (seen(session), house.told) == (before, [])
        other.execute("ROLLBACK")
    assert not house.execute(session, "DeleteNode", {"node_id": B}, command_id=D).duplicate


def test_a_repeat_in_a_failed_batch_is_not_announced_as_failed(house: House, session: Session) -> None:
    """Given a command that was committed long ago, then the room never hears that it failed."""
    house.execute(session, "UpdateProperty", set_p(1), command_id=D)
    house.fill_the_disk()
    repeat = house.begin(session, "UpdateProperty", set_p(1), command_id=D)
    stale = house.begin(session, "UpdateProperty", set_p(2), command_id=C, expected_version=1)
    full = house.begin(session, "UpdateProperty", set_p("x" * 100_000))
    assert code(full) == "STORAGE_FULL"
    assert not {C, D} & {each.command_id for _, each in house.told if isinstance(each, Refused)}
    assert good(repeat).duplicate
    assert code(stale) in ("VERSION_CONFLICT", "STORAGE_FULL")


def test_a_failed_fsync_leaves_the_server_read_only(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what the disk holds then; only a restart tells."""

    def fail(changes: Any) -> None:
        raise StorageUncertain()

    before = seen(session)
    with monkeypatch.context() as patched:
        patched.setattr(house.journal, "write", fail)
        assert code(house.begin(session, "UpdateProperty", set_p(1))) == "STORAGE_UNCERTAIN"
    assert seen(session) == before
    assert house.writer.failing
    house.told.clear()
    assert code(house.begin(session, "UpdateProperty", set_p(2))) == "STORAGE_UNCERTAIN"
    (told,) = [announcement for _, announcement in house.told]
    assert isinstance(told, Refused) and told.error.code == "STORAGE_UNCERTAIN"
    house.told.clear()
    assert code(house.begin_turn(session, "Undo")) == "STORAGE_UNCERTAIN"
    assert house.told == []
    with pytest.raises(StorageUncertain):
        house.begin_remove(session)
    assert session.snapshot()[1] == 2


def test_a_mistake_of_ours_is_answered_and_forgotten(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Given code that raises what nobody foresaw, then INTERNAL, nothing happened, and the next one works."""
    before = seen(session)

    def fail(*_: Any) -> str:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(module, "describe", fail)
        assert code(house.begin(session, "DeleteNode", {"node_id": A})) == "INTERNAL"
    assert seen(session) == before
    assert house.told == []
    assert "a mistake" in caplog.text
    house.execute(session, "UpdateProperty", set_p(1))


def test_an_answer_that_cannot_be_given_disturbs_nobody(house: House, session: Session) -> None:
    def gone(answer: Any) -> None:
        raise OSError("the client is gone")

    call = {"session_id": session.id, "command_type": "UpdateProperty", "data": set_p(1)}
    house.calls.execute(call, ANN, 1, gone)
    assert versions([house.begin(session, "UpdateProperty", set_p(2))]) == [4]


# -- the queue --


def test_a_full_queue_is_busy(house: House, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE", 3)
    answers = [house.begin(session, "UpdateProperty", set_p(n)) for n in range(3)]
    with pytest.raises(Busy):
        house.begin(session, "UpdateProperty", set_p(3))
    with pytest.raises(Busy):
        house.begin_turn(session, "Undo")
    assert versions(answers) == [3, 4, 5]
    house.execute(session, "UpdateProperty", set_p(4))


def test_closing_finishes_what_is_queued(house: House, session: Session) -> None:
    answers = [house.begin(session, "UpdateProperty", set_p(n)) for n in range(600)]
    house.writer.close()
    assert versions(answers) == list(range(3, 603))
    assert in_file(house.path, session) == 602
    assert house.journal.wal_bytes == 0
    for begin in (
        lambda: house.begin(session, "UpdateProperty", set_p(1)),
        lambda: house.begin_turn(session, "Undo"),
        lambda: house.begin_remove(session),
        lambda: house.new_session(),
    ):
        with pytest.raises(ShuttingDown):
            begin()
    assert session.pins == 0


def test_closing_does_not_wait_for_ever(house: House, session: Session) -> None:
    """Given more in the queue than there is time for, then what is left is refused, and nothing is lost."""
    answers = [house.begin(session, "UpdateProperty", set_p(n)) for n in range(2_000)]
    house.writer.close(drain_s=0)
    done = versions(answers)
    committed = [each for each in done if isinstance(each, int)]
    assert len(committed) < 2_000
    assert committed == list(range(3, 3 + len(committed)))
    assert done[len(committed) :] == ["SHUTTING_DOWN"] * (2_000 - len(committed))
    assert in_file(house.path, session) == session.version == 2 + len(committed)
    assert session.pins == 0


def test_a_room_that_cannot_be_told_disturbs_no_other(
    house: House, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    other = house.new_session()

    def fail(session_id: str, announcements: list[Announcement]) -> None:
        if session_id == session.id:
            raise RuntimeError("a mistake")

    house.on_publish = fail
    answers = [
        house.begin(session, "UpdateProperty", set_p(1)),
        house.begin(other, "CreateNode", {"blueprint_type_id": "t"}),
    ]
    assert versions(answers) == [3, 1]
    assert [session_id for session_id, _ in house.told] == [other.id]
    assert "a mistake" in caplog.text
    assert session.snapshot()[1] == 3


def test_a_batch_is_bounded(house: House, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_BATCH_JOBS", 4)
    sizes: list[int] = []
    house.on_publish = lambda session_id, announcements: sizes.append(len(announcements))
    assert len(versions([house.begin(session, "UpdateProperty", set_p(n)) for n in range(10)])) == 10
    assert sizes == [4, 4, 2]
    monkeypatch.setattr(queue, "MAX_BATCH_WEIGHT", 1)
    house.begin(session, "UpdateProperty", set_p(1))
    got(house.begin(session, "UpdateProperty", set_p(2)))
    assert sizes == [4, 4, 2, 1, 1]


def test_after_a_rest_the_file_alone_is_complete(house: House, session: Session) -> None:
    house.execute(session, "UpdateProperty", set_p(1))
    assert house.journal.wal_bytes > 0
    with gevent.Timeout(DEADLINE_S):
        while house.journal.wal_bytes:
            gevent.idle()
    with closing(sqlite3.connect(f"file:{house.path}?immutable=1", uri=True)) as sql:
        assert sql.execute("SELECT max(version) FROM commits").fetchone() == (3,)


# -- reads while a batch is under way --


def test_a_snapshot_waits_for_the_batch_and_shows_what_was_committed(house: House, session: Session) -> None:
    """Given a batch applied and not yet committed, when somebody reads, then he gets the state after it."""
    taken: list[tuple[bool, int, int]] = []

    def read() -> None:
        nodes, version, _ = session.snapshot()
        taken.append((C in nodes, version, in_file(house.path, session)))

    at_the_disk, go_on = Event(), Event()
    write = house.disk.write

    def slow_write(changes: Any) -> None:
        at_the_disk.set()
        assert go_on.wait(DEADLINE_S)
        write(changes)

    house.disk.write = slow_write  # type: ignore[method-assign]
    answer = house.begin(session, "CreateNode", {"blueprint_type_id": "t", "node_id": C})
    assert at_the_disk.wait(DEADLINE_S)
    assert session.ahead == 1
    assert session.version == 2
    readers = [gevent.spawn(read) for _ in range(3)]
    gevent.idle()
    assert taken == []
    go_on.set()
    gevent.joinall(readers, timeout=DEADLINE_S, raise_error=True)
    assert taken == [(True, 3, 3)] * 3
    assert good(answer).record


def test_a_snapshot_during_a_commit_that_fails_shows_what_was_before(house: House, session: Session) -> None:
    before = dict(session.graph.nodes)
    at_the_disk, go_on = Event(), Event()
    write = house.disk.write

    def slow_write(changes: Any) -> None:
        at_the_disk.set()
        assert go_on.wait(DEADLINE_S)
        write(changes)

    house.fill_the_disk()
    house.disk.write = slow_write  # type: ignore[method-assign]
    answer = house.begin(session, "Batch", {"commands": many(2_000)})
    assert at_the_disk.wait(DEADLINE_S)
    reader = gevent.spawn(session.snapshot)
    gevent.idle()
    assert not reader.ready()
    go_on.set()
    assert reader.get(timeout=DEADLINE_S) == (before, 2, 5)
    assert code(answer) == "STORAGE_FULL"
    house.empty_the_disk()


def test_a_snapshot_is_never_torn(house: House, session: Session) -> None:
    """Given writers that keep two properties equal in one Batch each, then every reader finds them equal."""
    done = Event()

    def read() -> int:
        count = 0
        while not done.is_set():
            nodes, version, _ = session.snapshot()
            values = {nodes[each].properties.get("p") for each in (A, B)}
            assert len(values) == 1, (version, values)
            assert values == {None} or values == {version}
            count += 1
            gevent.idle()
        return count

    readers = [gevent.spawn(read) for _ in range(3)]
    for version in range(3, 60):
        pair = [{"command_type": "UpdateProperty", "data": set_p(version, each)} for each in (A, B)]
        assert versions([house.begin(session, "Batch", {"commands": pair})]) == [version]
    done.set()
    assert all(reader.get(timeout=DEADLINE_S) > 10 for reader in readers)


def many(count: int) -> list[Json]:
    return [{"command_type": "CreateNode", "data": {"blueprint_type_id": "t"}} for _ in range(count)]


# -- sessions in memory --


def test_an_idle_session_is_dropped_and_comes_back_equal(house: House, session: Session) -> None:
    house.execute(session, "UpdateProperty", set_p({"deep": [1, None]}))
    house.execute(session, "MoveNode", {"node_id": B, "parent_id": None, "index": 0})
    house.turn(session, "Undo")
    house.settled()
    house.clock_s = IDLE_S - 1
    house.sessions.sweep()
    assert house.sessions.get(session.id) is session
    house.clock_s = 10 * IDLE_S
    house.sessions.sweep()
    assert session.id not in house.sessions.open()
    again = house.sessions.get(session.id)
    assert again is not session
    assert seen(again) == seen(session)
    assert shape(paced(rebuild(again.snapshot()[0]))) == shape(session.graph)
    house.turn(again, "Redo")
    assert again.graph.children[None].ids == [B, A]


def test_a_session_with_a_client_or_a_call_stays(house: House, session: Session) -> None:
    house.settled()
    house.rooms.enter(session, "client", "ann")
    house.clock_s = 5 * IDLE_S
    house.sessions.sweep()
    house.rooms.leave(session, "client")
    house.clock_s += IDLE_S - 1
    house.sessions.sweep()
    session.pins += 1
    house.clock_s += 5 * IDLE_S
    house.sessions.sweep()
    session.pins -= 1
    house.clock_s += IDLE_S - 1
    house.sessions.sweep()
    assert house.sessions.open()[session.id] is session
    house.clock_s += 1
    house.sessions.sweep()
    assert session.id not in house.sessions.open()


def test_a_session_that_nothing_was_committed_in_goes_after_a_minute(house: House) -> None:
    opened, created = house.sessions.get_or_open("bronco-66")
    assert created
    assert house.sessions.get_or_open("bronco-66") == (opened, False)
    assert house.sessions.get("bronco-66") is opened
    assert code(house.begin(opened, "DeleteNode", {"node_id": A})) == "NODE_NOT_FOUND"
    house.clock_s = EMPTY_S - 1
    house.sessions.sweep()
    assert "bronco-66" in house.sessions.open()
    house.clock_s = EMPTY_S
    house.sessions.sweep()
    assert EMPTY_S == 60
    with pytest.raises(InvalidSession):
        house.sessions.get("bronco-66")
    assert house.disk.read(house.journal.find, "bronco-66") is None
    assert house.sessions.get_or_open("bronco-66")[1] is True


def test_it_lasts_once_something_was_committed_in_it(house: House) -> None:
    opened, _ = house.sessions.get_or_open("bronco-66")
    house.create(opened, A)
    house.settled()
    house.clock_s = EMPTY_S
    house.sessions.sweep()
    assert house.sessions.open()["bronco-66"] is opened
    house.clock_s = 100 * IDLE_S
    house.sessions.sweep()
    again, created = house.sessions.get_or_open("bronco-66")
    assert not created
    assert again is not opened
    assert seen(again) == seen(opened)


def test_the_minute_begins_when_the_last_client_left(house: House) -> None:
    """Given a client that came and went between two sweeps, then its session stays a minute after that."""
    opened, _ = house.sessions.get_or_open("bronco-66")
    house.clock_s = 55
    house.sessions.sweep()
    house.clock_s = 56
    house.rooms.enter(opened, "client", "ann")
    house.clock_s = 59
    house.rooms.leave(opened, "client")
    house.sessions.touch(opened)
    house.clock_s = 60
    house.sessions.sweep()
    assert house.sessions.open().get("bronco-66") is opened


def test_a_call_that_is_being_read_keeps_its_session(house: House, session: Session) -> None:
    """Given a session that sees calls and no clients, when one large call is still being read as idle

    sessions are swept, then it and the next call work on one session, and both commit.
    """
    house.clock_s = 100 * IDLE_S
    answer: AsyncResult = AsyncResult()
    call = {"session_id": session.id, "command_type": "Batch", "data": {"commands": many(MAX_BATCH)}}
    reading = gevent.spawn(house.calls.execute, call, ANN, 1, answer.set)
    swept = gevent.spawn(house.sessions.sweep)
    gevent.joinall([swept], timeout=DEADLINE_S, raise_error=True)
    assert not reading.ready()  # the call is read in slices, and the sweep fell between two
    loaded = house.sessions.get(session.id)
    reading.get(timeout=DEADLINE_S)
    assert versions([answer]) == [3]
    assert versions([house.begin(loaded, "UpdateProperty", set_p(1))]) == [4]


def test_many_that_ask_at_once_get_one_session(house: House, session: Session) -> None:
    house.settled()
    house.clock_s = 100 * IDLE_S
    house.sessions.sweep()
    asking = [gevent.spawn(house.sessions.get, session.id) for _ in range(5)]
    asking += [gevent.spawn(lambda: house.sessions.get_or_open(session.id)[0]) for _ in range(5)]
    found = [each.get(timeout=DEADLINE_S) for each in asking]
    assert len(set(map(id, found))) == 1
    opening = [gevent.spawn(house.sessions.get_or_open, "new-one") for _ in range(5)]
    opened = [each.get(timeout=DEADLINE_S) for each in opening]
    assert [created for _, created in opened].count(True) == 1
    assert len({id(each) for each, _ in opened}) == 1


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "x" * 129, "é", "a\n"])
def test_what_names_no_session_opens_none(house: House, name: str) -> None:
    with pytest.raises(InvalidSession):
        house.sessions.get_or_open(name)
    with pytest.raises(InvalidSession):
        house.sessions.get(name)
    assert house.sessions.open() == {}


# -- the end of a session --


@pytest.mark.parametrize("stored", [True, False])
def test_a_deleted_id_is_never_used_again(house: House, path: Path, stored: bool) -> None:
    session, _ = house.sessions.get_or_open("bronco-66")
    if stored:
        house.create(session, A)
    house.told.clear()
    answers = [
        house.begin_remove(session),
        house.begin(session, "CreateNode", {"blueprint_type_id": "t"}),
        house.begin_remove(session),
    ]
    assert good(answers[0]).record is None
    assert [code(answer) for answer in answers[1:]] == ["INVALID_SESSION"] * 2
    assert [type(each) for _, each in house.told] == [Deleted]
    for ask in (house.sessions.get, house.sessions.get_or_open):
        with pytest.raises(InvalidSession):
            ask("bronco-66")
    house.close()
    again = House(path)
    for ask in (again.sessions.get, again.sessions.get_or_open):
        with pytest.raises(InvalidSession):
            ask("bronco-66")
    again.close()


def test_a_session_in_use_is_deleted_by_force_only(house: House, session: Session) -> None:
    house.rooms.enter(session, "client", "ann")
    refused = got(house.begin_remove(session))
    assert (refused.code, refused.details) == ("SESSION_IN_USE", {"active_clients": 1})
    assert house.sessions.get(session.id) is session
    members: list[int] = []
    house.on_publish = lambda session_id, announcements: members.append(len(session.members))
    good(house.begin_remove(session, force=True))
    assert members == [1]  # the room hears it before it is closed
    assert session.members == {}
    with pytest.raises(InvalidSession):
        house.sessions.get(session.id)


def test_the_rows_of_a_deleted_session_go(house: House, session: Session, path: Path) -> None:
    other = house.new_session()
    house.create(other, A)
    good(house.begin_remove(session))

    def left() -> set[int]:
        with closing(sqlite3.connect(path)) as sql:
            return {
                no
                for table in ("node", "fact", "touch", "commits")
                for (no,) in sql.execute(f"SELECT DISTINCT session_no FROM {table}")
            }

    with gevent.Timeout(DEADLINE_S):
        while left() != {other.no}:
            gevent.idle()
    house.execute(other, "UpdateProperty", set_p(1))


def test_commands_before_a_removal_in_one_burst_are_committed(house: House, session: Session) -> None:
    answers = [house.begin(session, "UpdateProperty", set_p(1)), house.begin_remove(session)]
    assert versions(answers[:1]) == [3]
    assert good(answers[1]).record is None
    assert [type(each) for _, each in house.told] == [Committed, Deleted]


def rows_of(path: Path, no: int) -> int:
    """How many rows a session has besides its own."""
    with closing(sqlite3.connect(path)) as sql:
        return sum(
            sql.execute(f"SELECT count(*) FROM {table} WHERE session_no = ?", (no,)).fetchone()[0]
            for table in ("commits", "fact", "touch", "node")
        )


def test_a_file_that_rests_is_left_alone(house: House, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a deleted session with more rows than go at once, when nobody works any more, then rows stay, the
    file is no longer written to, and they go with the work that comes next."""
    monkeypatch.setattr(journal_module, "PURGE_ROWS", 1)
    monkeypatch.setattr(tidying, "PURGE_S", 0.1)
    doomed, other = house.new_session(), house.new_session()
    for number in range(400):
        house.begin(doomed, "CreateNode", {"blueprint_type_id": "t", "node_id": new_id(f"node {number}")})
    house.settled()
    got(house.begin_remove(doomed))
    wal = path.with_name("talus.db-wal")
    while house.writer.rested_s < 0.1 or wal.stat().st_size:
        gevent.sleep(0.01)
    assert rows_of(path, doomed.no) > 0
    looks = {path.stat().st_mtime_ns}
    until_s = monotonic() + 0.5
    while monotonic() < until_s:
        gevent.sleep(0.01)
        looks.add(path.stat().st_mtime_ns)
        assert not wal.stat().st_size
    assert len(looks) == 1
    monkeypatch.setattr(journal_module, "PURGE_ROWS", 1_000)
    house.create(other, new_id("one more"))
    while rows_of(path, doomed.no):
        gevent.sleep(0.01)
    assert rows_of(path, other.no) == 4


def test_what_was_committed_before_is_answered_although_nothing_is_written_any_more(
    house: House, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a server that only reads after a failed fsync, when a command comes again that was committed,
    then it is answered from the record and its room hears nothing; another use of its id is refused."""
    first = house.begin(session, "UpdateProperty", set_p(7), command_id=new_id("first"))
    version = got(first).record.version

    def fail(changes: Any) -> None:
        raise StorageUncertain()

    monkeypatch.setattr(house.journal, "write", fail)
    assert code(house.begin(session, "UpdateProperty", set_p(8))) == "STORAGE_UNCERTAIN"
    house.told.clear()
    again = got(house.begin(session, "UpdateProperty", set_p(7), command_id=new_id("first")))
    assert (again.record.version, again.duplicate) == (version, True)
    assert code(house.begin(session, "UpdateProperty", set_p(9), command_id=new_id("first"))) == (
        "COMMAND_ID_REUSED"
    )
    assert house.told == []
