"""Who floods slows itself: what others notice of it. `pytest -rP` prints the figures."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support import flood
from tests.support.clients import Client, RawWebSocket
from tests.support.server import Server

CALLS = 250  # of the good client in one measurement
PACE_S = 0.004  # between two of them
GAP_S = 0.05  # the hub may be held so long, and no longer
NOISE_S = 0.010  # a p99 below this says more about the machine than about the server


class Pair:
    """A server, and a good client that changes a node in one session while another session is flooded."""

    def __init__(self, server: Server, connect: Callable[..., Client]) -> None:
        self.server = server
        self.session_id, self.flooded_id = server.new_session(), server.new_session()
        self.node_id, self.flooded_node_id = server.create(self.session_id), server.create(self.flooded_id)
        client = connect(server, "raw-websocket", actor="good")
        assert isinstance(client, RawWebSocket)
        self.client = client
        self.client.join(self.session_id)
        self.version = 1

    def calls(self) -> list[float]:
        """How long each of CALLS commands took, in seconds, sorted; all of them are committed, in order."""
        pause = threading.Event()
        taken = []
        for number in range(CALLS):
            data = {"node_id": self.node_id, "property_id": "p", "value": number}
            began = time.perf_counter()
            answer = self.client.execute(self.session_id, "UpdateProperty", data)
            taken.append(time.perf_counter() - began)
            self.version += 1
            assert answer["version"] == self.version
            pause.wait(PACE_S)
        return sorted(taken)

    @contextmanager
    def flood(self, kind: str) -> Iterator[None]:
        """Somebody floods the server, from a process of his own."""
        process = subprocess.Popen(
            [
                sys.executable,
                flood.__file__,
                str(self.server.port),
                kind,
                self.flooded_id,
                self.flooded_node_id,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            process.stdin.write(b"\n")
            process.stdin.flush()
            yield
            assert process.poll() is None, "the flood is over"
        finally:
            process.kill()
            process.wait()


def p99(taken: list[float]) -> float:
    return taken[int(len(taken) * 0.99)]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the rate that servers with tokens have by default. The good client is slower than that."""
    folder = tmp_path_factory.mktemp("limited")
    server = Server(folder, env={"TALUS_RATE_COMMANDS": "200"}, watched=True).start()
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize("kind", flood.KINDS)
def test_a_flood_at_most_doubles_what_others_wait(
    limited: Server, connect: Callable[..., Client], kind: str
) -> None:
    """Given a client that sends without a pause, of each kind, when another works beside it, then his p99 is
    within twice what it was, all his commands are committed in order, and the hub is never held."""
    pair = Pair(limited, connect)
    quiet = pair.calls()
    since = time.monotonic()
    with pair.flood(kind):
        flooded = pair.calls()
    worst = max(limited.gaps(since), default=0.0)
    print(
        f"{kind}: median {quiet[CALLS // 2] * 1000:.1f} ms alone, {flooded[CALLS // 2] * 1000:.1f} flooded;"
        f" p99 {p99(quiet) * 1000:.1f} ms, {p99(flooded) * 1000:.1f}; longest gap {worst * 1000:.1f} ms"
    )
    assert p99(flooded) <= 2 * max(p99(quiet), NOISE_S)
    assert worst <= GAP_S


def test_without_rates_a_flood_of_commands_waits_behind_itself(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given no rates, when one client sends commands without a pause, then another is served between them:
    his median stays below 30 ms, and the hub is never held."""
    server = start_server(watched=True)
    pair = Pair(server, connect)
    since = time.monotonic()
    with pair.flood("commands"):
        flooded = pair.calls()
    worst = max(server.gaps(since), default=0.0)
    told = f"median {flooded[CALLS // 2] * 1000:.1f} ms, p99 {p99(flooded) * 1000:.1f}"
    print(f"{told}; longest gap {worst * 1000:.1f} ms")
    assert flooded[CALLS // 2] < 0.03
    assert worst <= GAP_S
    assert server.ask(f"/sessions/{pair.flooded_id}/info")["version"] > 500, "the flood was no flood"
