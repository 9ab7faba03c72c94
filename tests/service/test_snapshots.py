"""Snapshots: every version is there, exactly, from wherever it is worked out; and it is never far."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from talus.core.errors import TalusError
from talus.core.graph import Graph
from talus.service import snapshots
from talus.service.replay import Replay
from talus.service.sessions import Session
from talus.service.snapshots import Snapshots
from talus.store.changes import NewSnapshotPart
from tests.support.house import ANN, DEADLINE_S, House, good, got, shape


@pytest.fixture
def house(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A house that takes a snapshot every 40 facts, in parts of a few nodes."""
    monkeypatch.setattr(snapshots, "EVERY_FACTS", 40)
    monkeypatch.setattr(snapshots, "PART_BYTES", 400)
    monkeypatch.setattr(snapshots, "REST_S", 10.0)
    house = House(path)
    with gevent.Timeout(60):
        yield house
        house.close()


def state(graph: Graph) -> Any:
    return shape(graph), dict(graph.nodes), graph.size


def edit(house: House, session: Session, dice: random.Random) -> None:
    """Some command; whether the graph takes it does not matter."""
    ids = list(session.graph.nodes)
    node = dice.choice(ids) if ids else None
    match dice.randrange(8):
        case 0 | 1 | 2 if len(ids) < 30:
            data = {"blueprint_type_id": "t", "name": f"n{len(ids)}", "parent_id": node}
            answer = house.begin(session, "CreateNode", data)
        case 3:
            answer = house.begin(session, "DeleteNode", {"node_id": node or "none"})
        case 4:
            data = {"node_id": node or "none", "parent_id": dice.choice([None, *ids]), "index": 0}
            answer = house.begin(session, "MoveNode", data)
        case 5:
            answer = house.begin_turn(session, dice.choice(["Undo", "Redo"]))
        case _:
            data = {"node_id": node or "none", "property_id": dice.choice("pq"), "value": dice.random()}
            answer = house.begin(session, "UpdateProperty", data)
    got(answer)


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as sql:
        return sql.execute(f"SELECT session_no, version FROM {table} ORDER BY 1, 2").fetchall()


def wait_for_snapshot(path: Path, session: Session, at_least: int = 1) -> None:
    with gevent.Timeout(DEADLINE_S):
        while len([row for row in rows(path, "snapshot") if row[0] == session.no]) < at_least:
            gevent.sleep(0.001)


@pytest.mark.parametrize("seed", range(6))
def test_every_version_is_what_it_was(house: House, path: Path, seed: int) -> None:
    """Given edits, undos and deletions while snapshots are taken, when each version is asked for, then it is
    the graph of that time, order and properties included; and so after the session was closed and opened."""
    dice = random.Random(seed)
    replay = Replay(house.disk, 10_000)
    taking = Snapshots(house.writer)
    session = house.new_session()
    then = {0: state(session.graph)}
    for _ in range(150):
        edit(house, session, dice)
        then[session.version] = state(session.graph)
        if dice.random() < 0.1:
            gevent.sleep(0.003)  # snapshots come in here, or there
    wait_for_snapshot(path, session, 2)
    taking.close()
    for version in dice.sample(sorted(then), len(then)):
        assert state(replay.at(session, version)) == then[version], version
    house.close()
    again = House(path)
    reopened = again.sessions.get(session.id)
    assert 0 < reopened.pictured <= session.pictured  # the last one may have been cut off
    for version in then:
        assert state(Replay(again.disk, 10_000).at(reopened, version)) == then[version], version
    again.close()


def test_no_version_is_far(house: House, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given many snapshots, when any version is asked for, then few facts are read on the way."""
    taking = Snapshots(house.writer)
    session = house.new_session()
    root = house.execute(session, "CreateNode", {"blueprint_type_id": "t"}).record
    assert root is not None
    for number in range(300):
        data = {"node_id": root.result["node_id"], "property_id": "p", "value": number}
        house.execute(session, "UpdateProperty", data)
        if number % 20 == 0:
            wait_for_snapshot(path, session, session.facts // 60)
    taking.close()
    read: list[int] = []
    plain = house.journal.on_the_way

    def counted(*args: int) -> Any:
        found = plain(*args)
        read.append(len(found))
        return found

    monkeypatch.setattr(house.journal, "on_the_way", counted)
    monkeypatch.setattr("talus.service.replay.AT_ONCE", 4)
    replay = Replay(house.disk, 10_000)
    near = [0, session.version, *(version for _, version in rows(path, "snapshot"))]
    assert len(near) > 8
    for version in range(session.version + 1):
        read.clear()
        graph = replay.at(session, version)
        values = [node.properties.get("p") for node in graph.nodes.values()]
        assert values == ([] if version == 0 else [version - 2 if version > 1 else None])
        assert sum(read) <= min(abs(version - each) for each in near) + 4, version


def test_parts_of_an_unfinished_snapshot_are_no_snapshot(house: House, path: Path) -> None:
    """Given parts that a crash left without their snapshot, when the next one is taken, then nobody ever read
    them, and they are gone."""
    session = house.new_session()
    house.execute(session, "CreateNode", {"blueprint_type_id": "t"})
    for part in range(3):
        house.writer.note(NewSnapshotPart(session.no, 1, part, b'[["x","t",null,"a",{},1]]'))
    assert len(Replay(house.disk, 10).at(session, 1).nodes) == 1
    taking = Snapshots(house.writer)
    for _ in range(45):
        house.execute(session, "CreateNode", {"blueprint_type_id": "t"})
    wait_for_snapshot(path, session)
    taking.close()
    (snapshot,) = set(rows(path, "snapshot"))
    assert set(rows(path, "snapshot_part")) == {snapshot}


def test_the_snapshots_of_a_deleted_session_go_with_it(house: House, path: Path) -> None:
    """Given a session with snapshots, when it is deleted, then their rows go; and a part that was on its way
    is not written any more."""
    taking = Snapshots(house.writer)
    session = house.new_session()
    for _ in range(45):
        house.execute(session, "CreateNode", {"blueprint_type_id": "t"})
    wait_for_snapshot(path, session)
    taking.close()
    good(house.begin_remove(session))
    house.writer.note(NewSnapshotPart(session.no, 99, 0, b"[]"))
    with gevent.Timeout(DEADLINE_S):
        while rows(path, "snapshot") or rows(path, "snapshot_part"):
            gevent.sleep(0.001)
    with pytest.raises(TalusError):
        house.access.session(ANN, session.id, "viewer")


def test_a_disk_that_is_full_costs_a_snapshot_and_nothing_else(house: House, path: Path) -> None:
    """Given no room for a snapshot, when one is due, then edits go on once there is room, and a later one is
    taken."""
    session = house.new_session()
    for _ in range(200):  # more than the pages that are there already could hold
        house.execute(session, "CreateNode", {"blueprint_type_id": "t"})
    house.fill_the_disk()
    taking = Snapshots(house.writer)
    taking._committed(session)
    with gevent.Timeout(DEADLINE_S):
        while taking._taking is not None and not taking._taking.dead:
            gevent.sleep(0.001)
    assert rows(path, "snapshot") == []
    house.empty_the_disk()
    for node in list(session.graph.nodes):
        house.execute(session, "DeleteNode", {"node_id": node})
    wait_for_snapshot(path, session)
    taking.close()


def test_nothing_of_a_snapshot_is_written_when_nobody_commits_any_more(
    house: House, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a snapshot that is still worked out when the server has rested for a while, then it is given up:
    who copies the file then finds it as the last commit left it. The next one is taken as ever."""
    monkeypatch.setattr(snapshots, "REST_S", -1.0)
    taking = Snapshots(house.writer)
    session = house.new_session()
    for _ in range(45):
        house.execute(session, "CreateNode", {"blueprint_type_id": "t"})
    with gevent.Timeout(DEADLINE_S):
        while not session.pictured or session.pins:
            gevent.sleep(0.001)
    assert rows(path, "snapshot_part") == []
    monkeypatch.setattr(snapshots, "REST_S", 10.0)
    for node in list(session.graph.nodes):
        house.execute(session, "DeleteNode", {"node_id": node})
    wait_for_snapshot(path, session)
    taking.close()
