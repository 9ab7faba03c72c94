"""The benchmark proves that nothing was lost: here its short run, and that the proof can fail."""

from __future__ import annotations

import importlib
import json
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = 50
WATCHERS = 3

sys.path.append(str(ROOT / "scripts"))
limit: Any = importlib.import_module("bench.limit")
report: Any = importlib.import_module("bench.report")
room: Any = importlib.import_module("bench.room")
watchers: Any = importlib.import_module("bench.watchers")


def frames() -> list[bytes]:
    """What a room hears of some commands: three frames for each."""
    loop = limit.Loop()
    words = b"".join(loop.command(version) for version in range(1, COMMANDS + 1))
    cut, at = [], 0
    while at < len(words):
        end = watchers.frame_at(words, at)[1]
        cut.append(words[at:end])
        at = end
    assert len(cut) == 3 * COMMANDS
    return cut


def replaced(heard: list[bytes], place: int, old: bytes, new: bytes) -> list[bytes]:
    assert old in heard[place]
    return [*heard[:place], heard[place].replace(old, new), *heard[place + 1 :]]


# Frames 69, 70 and 71 are command 24.
WRONG: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "an event is dropped": lambda heard: heard[:70] + heard[71:],
    "an event is doubled": lambda heard: heard[:71] + heard[70:],
    "two events are swapped": lambda heard: [*heard[:70], heard[71], heard[70], *heard[72:]],
    "a command is dropped": lambda heard: heard[:69] + heard[72:],
    "two commands are swapped": lambda heard: [*heard[:66], *heard[69:72], *heard[66:69], *heard[72:]],
    "a notice has a wrong version": lambda heard: replaced(heard, 69, b'"version":23', b'"version":22'),
    "a fact has a wrong version": lambda heard: replaced(heard, 70, b'"version":24', b'"version":25'),
    "a fact has a wrong id": lambda heard: replaced(heard, 70, b'"command_id":"0', b'"command_id":"1'),
    "a value is wrong": lambda heard: replaced(heard, 70, b'"new_value":', b'"new_value":1'),
}


def told(heard_by: list[list[bytes]]) -> dict[str, Any]:
    """What a watching process says about a server that sends this to its watchers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for heard in heard_by:
                connection = listener.accept()[0]
                limit.welcome(connection)
                connections.append((connection, b"".join(heard)))

        connections: list[tuple[socket.socket, bytes]] = []
        server = threading.Thread(target=serve)
        server.start()
        order = {
            "url": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "join": {"session_id": "any"},
            "version": 0,
            "clients": len(heard_by),
            "polling": False,
            "single": True,
            "measured": 1,
        }
        role = room.Role("watch", order)
        try:
            assert role.line() == "ready\n"
            server.join(10)
            for connection, data in connections:
                connection.settimeout(10)
                connection.sendall(data)
            answer: dict[str, Any] = role.ask(COMMANDS)
            return answer
        finally:
            role.end()
            for connection, _ in connections:
                connection.close()


def test_the_short_run_loses_nothing() -> None:
    """Given talus, when the short run is over, then every watcher heard every fact of what was written."""
    run = subprocess.run(
        [sys.executable, "scripts/bench", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads(run.stdout)
    assert {(row["watchers"], row["transport"]) for row in rows} == {
        (count, transport) for count in (10, 100) for transport in ("websocket", "polling")
    }
    for row in rows:
        assert row["commands"] > 0
        assert row["losses"] == 0
        assert row["facts_heard"] == 2 * row["commands"] * row["watchers"]


def test_what_is_whole_passes() -> None:
    """Given three watchers that hear the same, when the process is asked, then it found no fault."""
    answer = told([frames()] * WATCHERS)
    assert answer["faults"] == []
    assert answer["version"] == COMMANDS
    assert answer["counts"]["property-changed"] == COMMANDS
    assert len(answer["ages_us"]) == COMMANDS


@pytest.mark.parametrize("wrong", WRONG)
def test_what_one_watcher_hears_wrongly_is_found(wrong: str) -> None:
    """Given one of three watchers that hears something else, then one of them is named."""
    events = frames()
    faults = told([events, WRONG[wrong](events), events])["faults"]
    # Who hears first is right for the others, so it may be the others that are named.
    assert any(fault.startswith("watcher") for fault in faults), faults


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if wrong != "a value is wrong"])
def test_what_all_hear_wrongly_is_found(wrong: str) -> None:
    """Given watchers that all hear the same wrong thing, then reading the events finds it."""
    faults = told([WRONG[wrong](frames())] * WATCHERS)["faults"]
    assert any("lost, doubled or out of order" in fault for fault in faults), faults


@pytest.mark.parametrize("seed", range(20))
def test_pings_and_the_cuts_between_chunks_are_no_difference(seed: int) -> None:
    """Given the same events, cut anywhere and with pings between them, then both watchers heard the same."""
    chance, events = random.Random(seed), frames()
    stream = watchers.Stream(polling=False)
    order = watchers.Order(stream, 0, single=True)
    near, far = socket.socketpair()
    with near, far:
        both = [watchers.Watcher(stream, near) for _ in range(2)]
        pings = 0
        ways = []
        for _ in both:
            heard = []
            for each in events:
                if chance.random() < 0.2:
                    heard.append(watchers.PING)
                    pings += 1
                heard.append(each)
            ways.append(b"".join(heard))
        while any(ways):
            number = chance.choice([number for number, way in enumerate(ways) if way])
            size = chance.choice([1, 2, 3, 300, 2_000])
            both[number].hear(ways[number][:size])
            ways[number] = ways[number][size:]
        order.read()
        assert [watcher.fault for watcher in both] == ["", ""]
        assert [watcher.position for watcher in both] == [stream.end, stream.end]
        assert order.version == COMMANDS
        far.setblocking(False)
        assert far.recv(1 << 16) == watchers.PONG * pings


def test_the_document_shows_what_was_kept() -> None:
    """Given the results that are kept, when tables and plots are made, then the document has just these."""
    results = json.loads(report.RESULTS.read_text())
    document = report.DOCUMENT.read_text()
    assert report.written(document, report.tables(results)) == document
    assert set(report.tables(results)) == {"about", *report.TABLES}, "a measurement was never made"
    for name, image in report.plots(results).items():
        assert (report.IMAGES / name).read_text() == image, name
