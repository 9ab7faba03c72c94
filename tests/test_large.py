"""Large sessions and large commits: what they cost, and that nobody else notices."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clients import Client, RawWebSocket
from tests.support.follower import Follower
from tests.support.server import Server

Connect = Callable[..., Client]
Follow = Callable[..., Follower]


def fill(server: Server, session_id: str, count: int) -> tuple[str, list[str]]:
    """A root and `count` nodes below it: half its children, half spread below those. Their ids."""
    root = server.create(session_id, name="root")
    ids: list[str] = []
    while len(ids) < count:
        commands = []
        for _ in range(min(10_000, count - len(ids))):
            parent = root if len(ids) % 2 == 0 else ids[len(ids) // 2 - len(ids) // 2 % 2]
            node_id = str(uuid.uuid4())
            data: dict[str, Any] = {"parent_id": parent, "blueprint_type_id": "task", "node_id": node_id}
            data |= {"name": f"Task {len(ids)}", "properties": {"status": "open", "hours": 3.5}}
            commands.append({"command_type": "CreateNode", "data": data})
            ids.append(node_id)
        server.execute(session_id, "Batch", {"commands": commands})
    return root, ids


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@pytest.mark.parametrize("kind", ["python-websocket", "python-polling", "node"])
def test_a_commit_of_thousands_is_heard_whole_by_those_who_are_live(
    server: Server, connect: Connect, kind: str
) -> None:
    """Given a client in the room, when 4,000 nodes are deleted and that is undone, then it hears each commit
    as any other, in order, and a pong or a refusal meanwhile never stands inside one."""
    session_id = server.new_session()
    root, _ = fill(server, session_id, 4_000)
    watcher = connect(server, kind)
    watcher.join(session_id)
    watcher.wait_for("session:connected")
    start = len(watcher.events)
    deleting = watcher.begin(
        "execute_command",
        {
            "session_id": session_id,
            "command_type": "DeleteNode",
            "data": {"node_id": root},
        },
    )
    watcher.emit("ping")
    version = deleting.get(30)["version"]
    server.try_execute(session_id, "DeleteNode", {"node_id": root})
    undone = server.undo(session_id)["version"]
    watcher.wait_version(session_id, undone, 30)
    watcher.settle()
    heard = watcher.events[start:]
    inside = 0
    counts = {version: 0, undone: 0}
    for event in heard:
        if event.name in ("node-created", "node-linked", "node-unlinked", "node-deleted"):
            inside = event.payload["version"]
            counts[inside] += 1
        elif event.name in ("command:executed", "command:undo"):
            assert event.payload["version"] == inside
            inside = 0
        else:
            assert not inside, f"{event.name} inside a commit"
    assert counts == {version: 8_001, undone: 8_001}
    names = [event.name for event in heard]
    assert names[0] == "command:executing"
    assert names.index("ack") > names.index("command:executed")
    assert names.count("command:failed") == 1


def test_a_session_of_50_000_nodes_costs_what_one_of_10_costs(server: Server) -> None:
    """Given sessions of 50,000 and of 10 nodes, when nodes are added, changed and moved in turn, then the
    medians are within 1.5 times; the graph is read in 1 s, and answered within 3 s of a restart."""
    small, large = server.new_session(), server.new_session()
    nodes = {small: fill(server, small, 10), large: fill(server, large, 50_000)}
    taken: dict[str, list[float]] = {small: [], large: []}
    for turn in range(150):
        for session_id in (small, large):
            root, ids = nodes[session_id]
            node = ids[-1 - turn % 8]
            for command_type, data in (
                ("CreateNode", {"blueprint_type_id": "task", "parent_id": root, "index": turn % 5}),
                ("UpdateProperty", {"node_id": node, "property_id": "hours", "value": turn}),
                ("MoveNode", {"node_id": node, "parent_id": root, "index": 2}),
            ):
                work = lambda: server.execute(session_id, command_type, data)  # noqa: B023, E731
                taken[session_id].append(seconds(work))
    medians = {session_id: statistics.median(times) for session_id, times in taken.items()}
    assert medians[large] <= 1.5 * medians[small], medians
    assert seconds(lambda: server.graph(large)) < 1
    before = server.graph(large)
    server.stop()

    def restart() -> None:
        server.start()
        assert server.ask(f"/sessions/{large}/info")["node_count"] == 50_151

    assert seconds(restart) < 3
    assert server.graph(large)["roots"] == before["roots"]


def test_others_are_served_while_a_huge_commit_is_worked_out(server: Server) -> None:
    """Given 30,000 nodes, when they are deleted, then reads of another session go on meanwhile."""
    huge, other = server.new_session(), server.new_session()
    root, _ = fill(server, huge, 30_000)
    server.create(other)
    answers: list[float] = []
    deleting = threading.Thread(target=server.execute, args=(huge, "DeleteNode", {"node_id": root}))
    deleting.start()
    while deleting.is_alive():
        answers.append(seconds(lambda: server.graph(other)))
    deleting.join()
    assert len(answers) >= 5, "the commit was over before anybody could notice"
    # Not the hub's own limit of 30 ms: the client and a second process share the machine with it.
    assert statistics.median(answers) < 0.05, answers


def test_nothing_huge_holds_the_hub(start_server: Callable[..., Server]) -> None:
    """Given 50,000 nodes in a room, when they are deleted and that is undone, then everybody hears all of it,
    and the hub is never held for 30 ms."""
    server = start_server(watched=True)
    session_id = server.new_session()
    root, ids = fill(server, session_id, 50_000)
    watchers = [RawWebSocket(server.url) for _ in range(2)]
    for watcher in watchers:
        watcher.join(session_id)
    began_s = time.monotonic()
    server.execute(session_id, "DeleteNode", {"node_id": root})
    server.undo(session_id)
    for watcher in watchers:
        watcher.wait_for("command:undo", timeout=30)
        names = Counter(heard.name for heard in watcher.events)
        assert names["node-deleted"] == names["node-created"] == len(ids) + 1
        watcher.cut()
    assert max(server.gaps(began_s), default=0.0) < 0.03
