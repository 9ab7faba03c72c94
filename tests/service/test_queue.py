"""The writer's queue: a line for each caller, served in turn."""

from __future__ import annotations

import random
from typing import Any

import pytest

from talus.core.records import SessionRecord
from talus.service import queue as module
from talus.service.jobs import Appoint, Execute, Job
from talus.service.queue import Queue
from talus.service.sessions import Session
from talus.service.tokens import Identity

SESSION = Session(SessionRecord(1, "room", None, None, "", 0, 0, 0, 0, 0, False), None, stored=True)


def job(line: str, name: str, *, command_id: str | None = None, kind: Any = Execute) -> Job:
    """A job of a caller; `name` is what the tests know it by."""
    identity = Identity("ann", admin=True, line=line)
    if kind is Appoint:
        made: Any = Appoint(SESSION, identity, lambda _: None)
    else:
        made = Execute(
            SESSION, identity, lambda _: None, command_id or name, command_id is not None, b"", None
        )
    made.name = name
    return made  # type: ignore[no-any-return]


def names(jobs: list[Any]) -> list[str]:
    return [each.name for each in jobs]


def filled(*lines: str, count: int) -> Queue:
    queue = Queue()
    for line in lines:
        for number in range(count):
            queue.put(job(line, f"{line}{number}"))
    return queue


def test_a_job_of_another_does_not_wait_for_all() -> None:
    """Given a hundred jobs of one caller, when another asks for one, then it is the second."""
    queue = filled("a", count=100)
    queue.put(job("b", "b0"))
    assert names(queue.take()) == ["a0", "b0", *(f"a{number}" for number in range(1, 100))]
    assert len(queue) == 0


def test_lines_are_served_in_turn() -> None:
    """Given three callers, one with less than the others, when a batch is taken, then it is one of each, then
    the second of each, and so on, each in its own order."""
    queue = filled("a", "b", count=3)
    queue.put(job("c", "c0"))
    assert names(queue.take()) == ["a0", "b0", "c0", "a1", "b1", "a2", "b2"]
    assert queue.take() == []


def test_a_command_id_is_in_a_batch_once() -> None:
    """Given two jobs with one command_id, of one caller or of two, then the second begins a later batch."""
    for lines in ("aa", "ab"):
        queue = Queue()
        queue.put(job(lines[0], "first", command_id="x"))
        queue.put(job(lines[1], "second", command_id="x"))
        queue.put(job(lines[1], "third"))
        assert names(queue.take()) == ["first"]
        assert names(queue.take()) == ["second", "third"]


def test_nothing_follows_a_change_of_roles() -> None:
    """Given a change of roles among other jobs, when a batch is taken, then it is the last in it."""
    queue = filled("a", count=1)
    queue.put(job("b", "role", kind=Appoint))
    queue.put(job("b", "after"))
    assert names(queue.take()) == ["a0", "role"]
    assert names(queue.take()) == ["after"]


def test_what_is_put_back_is_next() -> None:
    """Given jobs that were taken and not begun, when they are put back, then they come first, in order."""
    queue = filled("a", "b", count=3)
    batch = queue.take()
    queue.put_back(batch[2:])
    assert len(queue) == 4
    assert names(queue.take()) == names(batch[2:])


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given many callers, when a batch is taken, then it holds so many jobs, or so much, at most."""
    monkeypatch.setattr(module, "MAX_BATCH_JOBS", 5)
    queue = filled(*map(str, range(9)), count=1)
    assert [len(queue.take()) for _ in range(3)] == [5, 4, 0]
    monkeypatch.setattr(module, "MAX_BATCH_WEIGHT", 1)
    queue = filled("a", "b", count=1)
    assert [len(queue.take()) for _ in range(3)] == [1, 1, 0]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_doubled_or_overtaken(seed: int) -> None:
    """Given random callers, takes and puts back, then each caller's jobs come out once and in its order."""
    chance = random.Random(seed)
    queue = Queue()
    given: dict[str, list[str]] = {}
    came: dict[str, list[str]] = {}
    number = 0
    while number < 500 or len(queue):
        if number < 500 and chance.random() < 0.7:
            line = chance.choice("abcdef")
            kind = Appoint if chance.random() < 0.05 else Execute
            if kind is Appoint:
                line = "r"  # they have a line of their own, whoever orders them
            repeated = str(chance.randrange(3)) if kind is Execute and chance.random() < 0.2 else None
            queue.put(job(line, f"{line}{number}", command_id=repeated, kind=kind))
            given.setdefault(line, []).append(f"{line}{number}")
            number += 1
        else:
            batch = queue.take()
            kept = chance.randint(0 if len(batch) > 1 else 1, len(batch)) if batch else 0
            queue.put_back(batch[kept:])
            for name in names(batch[:kept]):
                came.setdefault(name[0], []).append(name)
    assert came == given
    assert queue.take_all() == []


def test_all_can_be_taken() -> None:
    """Given callers, when all is taken, then nothing waits any more."""
    queue = filled("a", "b", count=40)
    assert sorted(names(queue.take_all())) == sorted(names(filled("a", "b", count=40).take_all()))
    assert len(queue) == 0
    assert queue.take() == []
