"""The hub's way to the disk: who works when it is closed, and what a failure there means for later."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from talus.core.errors import ShuttingDown, StorageDamaged, StorageFailed, StorageUncertain, TalusError
from talus.store import backup
from talus.store.verify import problem
from tests.support.house import House, new_id


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_a_reader_at_work_is_waited_for(path: Path) -> None:
    """Given a reader in the middle of a page, when the disk is closed, then it reads to the end, others are
    refused, and one file is left."""
    house = House(path)
    house.create(house.new_session(), new_id("a node"))

    def slowly() -> int:
        with house.journal._reading() as database:
            (before,) = database.execute_sql("SELECT count(*) FROM node").fetchone()
            time.sleep(0.3)  # in a native thread
            (after,) = database.execute_sql("SELECT count(*) FROM node").fetchone()
            return int(before + after)

    reading = gevent.spawn(house.disk.read, slowly)
    gevent.sleep(0.05)
    closing = gevent.spawn(house.close)
    gevent.sleep(0.05)
    with pytest.raises(ShuttingDown):
        house.disk.read(slowly)
    closing.get(timeout=10)
    assert reading.get(timeout=1) == 2
    assert names(path) == [f".{path.name}-mark", path.name]
    assert problem(path) is None


def test_a_copy_at_work_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a copy that is under way, when the disk is closed, then it fails at its next step, and neither it
    nor a log is left."""
    house = House(path)
    for number in range(50):
        house.create(house.new_session(), new_id(f"node {number}"))
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    real = backup._synced

    def slowed(handle: int, given_up: Callable[[], bool]) -> Callable[[int, int, int], None]:
        step = real(handle, given_up)

        def slow(*progress: int) -> None:
            time.sleep(0.02)
            step(*progress)

        return slow

    monkeypatch.setattr(backup, "_synced", slowed)
    copying = gevent.spawn(house.disk.copy, house.journal.copy, path.with_name("copy.db"))
    gevent.sleep(0.1)
    house.close()
    with pytest.raises(StorageFailed):
        copying.get(timeout=1)
    assert names(path) == [f".{path.name}-mark", path.name]


@pytest.mark.parametrize("error", [StorageUncertain, StorageDamaged, StorageFailed])
def test_what_a_restart_alone_cures_is_kept(path: Path, error: type[TalusError]) -> None:
    """Given a call that fails, when it is one of the failures that only a restart cures, then it is kept."""

    def fail() -> None:
        raise error()

    house = House(path)
    with pytest.raises(error):
        house.disk.read(fail)
    assert isinstance(house.disk.failure, error) == (error is not StorageFailed)
    house.close()
