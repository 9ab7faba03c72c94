"""What was acknowledged stays: servers that are killed under load, and servers that are asked to stop.

TALUS_SEED=7     the dice of another run; the seed is printed
TALUS_KILLS=N    how often the server is killed (default 20)
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.clients import Client, NotHeard, RawWebSocket, open_client
from tests.support.follower import Follower
from tests.support.server import Server, new_id, refusal
from tests.support.tree import Tree, difference

Json = dict[str, Any]

# errors that promise that nothing happened; the call may be tried anew
NOTHING_HAPPENED = {"SHUTTING_DOWN", "BUSY"}


class Lost(Exception):
    """The connection ended before the answer: the outcome is unknown."""


class Writer(threading.Thread):
    """Creates nodes under its own command ids, over REST or a socket, through every restart.

    acknowledged: command id -> version.
    unknown:      command id -> its `data`, for those that were sent and not answered.
    """

    def __init__(self, server: Server, session_id: str, transport: str, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.server, self.session_id, self.transport, self.dice = server, session_id, transport, dice
        self.acknowledged: dict[str, int] = {}
        self.unknown: dict[str, Json] = {}
        self.outcomes: Counter[str] = Counter()
        self.stopping = threading.Event()
        self.fault: Exception | None = None
        self._client: Client | None = None
        self._http = requests.Session()
        self._http.trust_env = False

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                command_id = new_id()
                data = {"blueprint_type_id": "part", "name": command_id}
                while not self.try_once(command_id, data) and not self.stopping.is_set():
                    if command_id in self.unknown and self.dice.random() < 0.5:
                        break  # left unknown until the end
                    self.server_up()
        except Exception as fault:
            self.fault = fault

    def try_once(self, command_id: str, data: Json) -> bool:
        """Send one command; True once it is acknowledged."""
        payload = {
            "session_id": self.session_id,
            "command_type": "CreateNode",
            "command_id": command_id,
            "data": data,
        }
        try:
            answer = self.over_rest(payload) if self.transport == "rest" else self.over_socket(payload)
        except Lost:
            self.outcomes["lost"] += 1
            self.unknown[command_id] = data
            return False
        except ConnectionError:  # never sent
            self.outcomes["not sent"] += 1
            return False
        if "error" in answer:
            assert answer["error"]["code"] in NOTHING_HAPPENED, answer
            self.outcomes[answer["error"]["code"]] += 1
            return False
        if command_id in self.unknown:
            self.outcomes["retried: duplicate" if answer.get("duplicate") else "retried: new commit"] += 1
        else:
            assert not answer.get("duplicate"), answer
        assert self.acknowledged.setdefault(command_id, answer["version"]) == answer["version"]
        self.unknown.pop(command_id, None)
        return True

    def over_rest(self, payload: Json) -> Json:
        try:
            response = self._http.post(f"{self.server.url}/api/v1/commands/execute", json=payload, timeout=20)
            answer = response.json()
        except requests.exceptions.ConnectTimeout as error:
            raise ConnectionError from error
        except requests.RequestException as error:
            if "Connection refused" in str(error):
                raise ConnectionError from error
            raise Lost from error
        assert isinstance(answer, dict)
        return answer

    def over_socket(self, payload: Json) -> Json:
        client = self._client
        if client is None or not client.connected:
            try:
                client = self._client = open_client(self.server.url, self.transport, timeout=10)
            except (OSError, AssertionError, ValueError) as error:
                self._client = None
                raise ConnectionError from error
        try:
            ack = client.begin("execute_command", payload)
        except Exception as error:
            raise Lost from error
        deadline = time.monotonic() + 20
        while not ack.came:
            if not client.connected and not ack.came:
                raise Lost
            try:
                ack.get(0.05)
            except NotHeard:
                assert time.monotonic() < deadline, "no answer and no end"
        assert ack.args is not None
        answer = ack.args[0]
        assert isinstance(answer, dict)
        return answer

    def server_up(self) -> None:
        """Until the server accepts connections, or this writer is told to stop."""
        deadline = time.monotonic() + 30
        while not self.stopping.is_set():
            try:
                if requests.get(f"{self.server.url}/api/v1/health", timeout=5).status_code == 200:
                    return
            except requests.RequestException:
                assert time.monotonic() < deadline
            self.stopping.wait(0.02)

    def finish(self) -> None:
        self.stopping.set()
        self.join(40)
        assert not self.is_alive()
        if self._client is not None:
            self._client.cut()
        if self.fault is not None:
            raise AssertionError(f"{self.transport}: {self.fault!r}") from self.fault


class Watcher(threading.Thread):
    """A follower that rejoins with `since` whenever its connection is lost."""

    def __init__(self, server: Server, follower: Follower) -> None:
        super().__init__(daemon=True)
        self.server, self.follower = server, follower
        self.stopping = threading.Event()
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                client = self.follower.client
                if client is None or not client.connected:
                    try:
                        self.follower.join(10)
                    except (OSError, AssertionError, ValueError):  # killed again meanwhile
                        self.follower.cut()
                        self.stopping.wait(0.02)
                else:
                    self.stopping.wait(0.02)
        except Exception as fault:
            self.fault = fault

    def finish(self) -> None:
        self.stopping.set()
        self.join(40)
        assert not self.is_alive()
        if self.fault is not None:
            raise self.fault


def finish_all(threads: list[Writer | Watcher]) -> None:
    for thread in threads:
        thread.stopping.set()
    for thread in threads:
        thread.finish()


def acknowledged(writers: list[Writer]) -> int:
    return sum(len(writer.acknowledged) for writer in writers)


def wait_acknowledged(writers: list[Writer], count: int, timeout: float = 60) -> None:
    """Until the writers together have had `count` acknowledgements."""
    deadline = time.monotonic() + timeout
    while acknowledged(writers) < count:
        for writer in writers:
            assert writer.fault is None, repr(writer.fault)
        assert time.monotonic() < deadline, f"{acknowledged(writers)} of {count} acknowledged"
        time.sleep(0.002)


def check_history(server: Server, session_id: str, writers: list[Writer]) -> dict[str, int]:
    """Command id -> version of every commit, once all that was acknowledged is found there exactly once."""
    commits = server.history(session_id)
    assert [commit["version"] for commit in commits] == list(range(len(commits), 0, -1)), (
        "versions have a gap"
    )
    history = {commit["command_id"]: commit["version"] for commit in commits}
    assert len(history) == len(commits), "a command committed twice"
    for writer in writers:
        for command_id, version in writer.acknowledged.items():
            assert history.get(command_id) == version, f"acknowledged at {version}: {history.get(command_id)}"
    ours = {own for writer in writers for own in (*writer.acknowledged, *writer.unknown)}
    assert history.keys() <= ours, "a commit that nobody asked for"
    names = [root["name"] for root in server.graph(session_id)["roots"]]
    assert Counter(names) == Counter(history.keys()), "the graph holds each committed node once"
    return history


def test_twenty_kills_lose_nothing_that_was_acknowledged(
    server: Server, follow: Callable[..., Follower]
) -> None:
    """Given four writers, when the server is killed 20 times, then each acknowledged command is there
    once."""
    seed = int(os.environ.get("TALUS_SEED") or random.SystemRandom().randrange(10**9))
    kills = int(os.environ.get("TALUS_KILLS") or 20)
    print(f"\ndurability: TALUS_SEED={seed}")
    dice = random.Random(seed)
    session = server.new_session()
    transports = ["rest", "rest", "raw-websocket", "python-websocket"]
    writers = [Writer(server, session, kind, random.Random(dice.random())) for kind in transports]
    followers = [
        follow(server, session, kind) for kind in ("node-websocket", "raw-websocket", "python-polling")
    ]
    watchers = [Watcher(server, follower) for follower in followers]
    threads: list[Writer | Watcher] = [*writers, *watchers]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            wait_acknowledged(writers, acknowledged(writers) + dice.randrange(1, 120))
            server.kill()
            server.start(port=server.port)
        wait_acknowledged(writers, acknowledged(writers) + 20)
    finally:
        for writer in writers:
            writer.stopping.set()
    for writer in writers:
        writer.finish()

    history = check_history(server, session, writers)
    unknown = {own: (writer, data) for writer in writers for own, data in writer.unknown.items()}
    for own, (writer, data) in unknown.items():
        answer = server.execute(session, "CreateNode", data, command_id=own)
        assert bool(answer.get("duplicate")) == (own in history), own
        assert answer["version"] == history.get(own, answer["version"])
        writer.acknowledged[own] = answer["version"]
    complete = check_history(server, session, writers)
    assert complete.keys() == {own for writer in writers for own in writer.acknowledged}

    for follower in followers:
        follower.wait_version(len(complete), timeout=30)
    finish_all([*watchers])
    for follower in followers:
        follower.check()
        # a fact that anyone has heard survives: none is ever ahead of the server
        assert "snapshot" not in follower.resumes
    graph = server.check_converged(session, *(follower.tree for follower in followers))
    outcomes = sum((writer.outcomes for writer in writers), Counter())
    print(
        f"durability: {kills} kills, {len(complete)} commits, {len(unknown)} left unknown of which "
        f"{len(unknown.keys() & history.keys())} had committed; {dict(outcomes)}; "
        f"{dict(sum((Counter(follower.resumes) for follower in followers), Counter()))}"
    )
    assert server.stop() == 0
    server.start()
    assert server.graph(session) == graph


def files_beside(database: Path) -> set[str]:
    return {path.name for path in database.parent.iterdir() if path.name.startswith(database.name)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_asked_to_stop_it_ends_cleanly_under_load(
    server: Server, follow: Callable[..., Follower], number: int
) -> None:
    """Given writers at full speed, when the server is asked to stop, then it ends, 0, with one whole file."""
    session = server.new_session()
    kinds = ["rest", "rest", "raw-websocket", "python-websocket"]
    writers = [Writer(server, session, kind, random.Random(1)) for kind in kinds]
    follower = follow(server, session, "node-websocket")
    for writer in writers:
        writer.start()
    wait_acknowledged(writers, 200)
    code = server.stop(number)
    for writer in writers:
        writer.stopping.set()
    assert code == 0, server.log()[-2000:]
    for writer in writers:
        writer.finish()
    assert files_beside(server.database) == {"talus.db"}
    server.start()
    history = check_history(server, session, writers)
    for writer in writers:
        assert writer.outcomes.keys() <= {"SHUTTING_DOWN", "not sent", "lost"}
    assert follower.version <= len(history)
    follower.check()
    server.check_converged(session)


def test_queued_commands_are_answered_before_the_end(server: Server) -> None:
    """Given 200 commands in flight, when the server is asked to stop, then each is answered, done or
    refused."""
    session = server.new_session()
    clients = [open_client(server.url, "raw-websocket") for _ in range(4)]
    sent: dict[str, Any] = {}
    for client in clients:
        for _ in range(50):
            own = new_id()
            data = {"blueprint_type_id": "x", "name": own}
            payload = {"session_id": session, "command_type": "CreateNode", "data": data, "command_id": own}
            sent[own] = client.begin("execute_command", payload)
    next(iter(sent.values())).get()
    server.send_signal(signal.SIGTERM)
    assert server.wait_ended() == 0
    for client in clients:
        client.wait_heard("disconnect")
    server.start()
    history = {commit["command_id"] for commit in server.history(session)}
    for own, ack in sent.items():
        if ack.came and "error" not in ack.args[0]:
            assert own in history
        elif ack.came:
            assert ack.args[0]["error"]["code"] == "SHUTTING_DOWN"
            assert own not in history
        else:
            assert own not in history, "it committed and nobody was told"


def test_new_commands_are_refused_while_it_stops(server: Server) -> None:
    """Given a server that is stopping, when a command comes, then SHUTTING_DOWN or a closed connection."""
    session = server.new_session()
    writer = Writer(server, session, "rest", random.Random(1))
    writer.start()
    wait_acknowledged([writer], 20)
    server.send_signal(signal.SIGTERM)
    assert server.wait_ended() == 0
    writer.finish()
    assert writer.outcomes.keys() <= {"SHUTTING_DOWN", "not sent", "lost"}
    server.start()
    check_history(server, session, [writer])


def test_it_stops_although_clients_linger(server: Server, connect: Callable[..., Client]) -> None:
    """Given polling clients, one that reads nothing and half a request, when asked to stop, then within 10
    s."""
    session = server.new_session()
    for kind in ("raw-polling", "python-polling", "node-polling", "node", "python"):
        connect(server, kind).join(session)
    stuck = connect(server, "raw-websocket", receive_buffer=4096)
    stuck.join(session)
    assert isinstance(stuck, RawWebSocket)
    stuck.pause()
    root = server.create(session)
    for _ in range(10):
        data = {"node_id": root, "property_id": "p", "value": "x" * 200_000}
        server.execute(session, "UpdateProperty", data)
    half = RawWebSocket(server.url, connect=False)
    half.send_bytes(b"\x81")
    assert server.stop() == 0
    assert files_beside(server.database) == {"talus.db"}
    half.cut()


def test_a_second_signal_does_no_harm(server: Server) -> None:
    """Given a server that is stopping, when it is asked again and again, then it ends cleanly all the
    same."""
    session = server.new_session()
    server.create(session)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        if server.running:
            server.send_signal(number)
    assert server.wait_ended() == 0
    assert files_beside(server.database) == {"talus.db"}


def test_the_one_file_holds_everything(server: Server, start_server: Callable[..., Server]) -> None:
    """Given a stopped server, when its one file is copied elsewhere, then another server shows the same."""
    project = server.post("/projects", {"template_id": "restomod", "project_name": "P"}).json()
    session = project["session_id"]
    server.undo(server_session(server))
    graph, events, history = server.graph(session), server.events(session), server.history(session)
    listed = server.ask("/sessions")
    server.stop()
    copy = server.folder / "elsewhere.db"
    shutil.copyfile(server.database, copy)
    other = start_server(database=copy)
    there = other.graph(session)["epoch"]
    assert there != graph["epoch"], "versions of a copy are not those of the file that it was made from"
    assert other.graph(session) == graph | {"epoch": there}
    assert other.events(session) == events
    assert other.history(session) == history
    assert other.ask("/sessions") == listed
    assert other.ask(f"/projects/{project['project_id']}")["graph"]["roots"] == graph["roots"]


def server_session(server: Server) -> str:
    """A session with one commit in it."""
    session = server.new_session(name="one commit")
    server.create(session)
    return session


def test_the_file_alone_is_whole_1_s_after_the_last_commit(
    server: Server, start_server: Callable[..., Server]
) -> None:
    """Given a busy server that has rested for 1 s, when the main file alone is copied, then it holds
    everything."""
    session = server.new_session()
    writers = [Writer(server, session, "rest", random.Random(1)) for _ in range(2)]
    for writer in writers:
        writer.start()
    wait_acknowledged(writers, 300)
    for writer in writers:
        writer.finish()
    threading.Event().wait(1.0)  # the contract's second
    copy = server.folder / "copy.db"
    shutil.copyfile(server.database, copy)
    graph = server.graph(session)
    other = start_server(database=copy)
    assert other.graph(session)["roots"] == graph["roots"]
    assert other.graph(session)["version"] == graph["version"]
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_past_follower_of_a_killed_server_gets_the_rest_exactly(
    server: Server, follow: Callable[..., Follower]
) -> None:
    """Given a follower cut by a kill, when it rejoins much later with `since`, then it holds the graph
    exactly."""
    session = server.new_session()
    root = server.create(session)
    follower = follow(server, session)
    for n in range(20):
        server.create(session, root, properties={"n": n})
    follower.wait_version(21)
    server.kill()
    server.start()
    for n in range(20):
        data = {"node_id": root, "property_id": "n", "value": n}
        server.execute(session, "UpdateProperty", data)
    server.undo(session)
    joined = follower.join()
    assert joined["resume"] == "replay"
    follower.wait_version(42)
    follower.check()
    graph = server.check_converged(session, follower.tree)
    assert not difference(Tree.of(graph).nested(), graph["roots"])


def test_a_locked_database_is_busy_and_nothing_happens(
    server: Server, connect: Callable[..., Client]
) -> None:
    """Given another program that locks the database, when a command comes, then its sender alone hears BUSY,
    and later it commits."""
    session = server.new_session()
    node = server.create(session)
    client = connect(server)
    client.join(session)
    command_id, data = new_id(), {"node_id": node, "property_id": "p", "value": 1}
    other = sqlite3.connect(server.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        response = server.try_execute(session, "UpdateProperty", data, command_id=command_id)
        assert refusal(response) == (503, "BUSY")
        client.settle()
        assert not client.heard("command:failed")  # BUSY is for the sender alone
        assert server.graph(session)["version"] == 1  # reads go on
    finally:
        other.execute("ROLLBACK")
        other.close()
    answer = server.execute(session, "UpdateProperty", data, command_id=command_id)
    assert not answer.get("duplicate")
    assert answer["version"] == 2
    client.wait_version(session, 2)
    server.stop()
    server.start()
    server.check_converged(session)


def test_a_disk_that_refuses_a_write_changes_nothing(server: Server, follow: Callable[..., Follower]) -> None:
    """Given a file that may not grow, when a large command comes, then a storage error, and later it
    commits."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("file size limits of another process are set on Linux only")
    session = server.new_session()
    follower = follow(server, session)
    server.create(session)
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    limit = server.database.stat().st_size + 400_000
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, before[1]))
    entries = [
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "x", "properties": {"p": "x" * 200_000}}}
        for _ in range(8)
    ]
    command_id = new_id()
    response = server.try_execute(session, "Batch", {"commands": entries}, command_id=command_id)
    assert refusal(response) in ((503, "STORAGE_FAILED"), (507, "STORAGE_FULL"))
    client = follower.client
    assert client is not None
    failed = client.wait_for("command:failed")
    assert failed["command_id"] == command_id
    assert server.graph(session)["version"] == 1
    small = server.create(session)  # the next call is tried anew
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    answer = server.execute(session, "Batch", {"commands": entries}, command_id=command_id)
    assert not answer.get("duplicate")
    assert answer["version"] == 3
    follower.wait_version(3)
    follower.check()
    assert small in [root["id"] for root in server.graph(session)["roots"]]
    server.check_converged(session, follower.tree)
    server.kill()
    server.start()
    server.check_converged(session, follower.tree)
