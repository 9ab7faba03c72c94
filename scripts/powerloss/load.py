"""Clients that write as fast as they are answered, and note what they asked for and heard, and when."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import requests

from tests.support.clients import Ack, Heard, NotHeard, RawWebSocket
from tests.support.server import Server, new_id
from tests.support.tree import FACTS

REST_WRITERS = 4
SOCKET_WRITERS = 2
BURST = 8  # commands that a socket writer has in flight
BATCH = 60  # nodes in a batch, at most
KEPT = 3  # sessions that are never deleted
JOINED = 20  # sessions that a socket writer hears of, the latest ones
KNOWN_NODES = 200  # of each session, to choose from
ANSWER_S = 30.0

Json = dict[str, Any]


class Lost(Exception):
    """The connection ended before the answer came."""


class Claims(msgspec.Struct):
    """What was asked for, and what was heard. Times are nanoseconds of `time.time_ns`.

    A time in `asked`, `names` and `ending` is from before the call was sent;
    one in the others is from after the answer, or the event, had arrived.
    """

    epoch: str = ""
    asked: dict[str, tuple[int, str]] = {}  # by command_id: time, session_id; without those refused
    names: dict[str, int] = {}  # of sessions that were to be made
    ending: dict[str, int] = {}  # session_id of those that were to be deleted
    commits: list[tuple[int, str, int]] = []  # time, command_id, version
    made: list[tuple[int, str]] = []  # time, session_id
    ended: list[tuple[int, str]] = []  # time, session_id of those that are deleted


class Load:
    """Sessions that some writers share, over all starts of the server."""

    def __init__(self, claims: Claims, dice: random.Random) -> None:
        self.claims = claims
        self.nodes: dict[str, list[str]] = {}  # by session_id: some that may be there
        self._dice = dice

    @contextlib.contextmanager
    def writing(self, server: Server) -> Iterator[None]:
        """Writers are at work as long as the block lasts, or the server. Raises what went wrong in one."""
        stopping = threading.Event()
        writers: list[Writer] = [
            kind(self, server, stopping, random.Random(self._dice.random()))
            for kind, count in ((RestWriter, REST_WRITERS), (SocketWriter, SOCKET_WRITERS))
            for _ in range(count)
        ]
        for writer in writers:
            writer.start()
        try:
            yield
        finally:
            stopping.set()
            for writer in writers:
                writer.join(2 * ANSWER_S)
        for writer in writers:
            if writer.fault is not None or writer.is_alive():
                raise AssertionError(f"{type(writer).__name__}: {writer.fault!r}") from writer.fault


class Writer(threading.Thread):
    """One connection, used until `stopping` is set or the connection is lost."""

    def __init__(self, load: Load, server: Server, stopping: threading.Event, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.load, self.claims = load, load.claims
        self.server, self.stopping, self.dice = server, stopping, dice
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except Lost:
            pass
        except BaseException as fault:
            self.fault = fault

    def work(self) -> None:
        raise NotImplementedError

    def new_command(self, session_id: str) -> str:
        """The id of a call that is about to be sent."""
        command_id = new_id()
        self.claims.asked[command_id] = time.time_ns(), session_id
        return command_id

    def refused(self, command_id: str, error: Json) -> None:
        """The answer says that nothing happened: then nothing may be found of it."""
        if error["code"] in ("STORAGE_UNCERTAIN", "INTERNAL"):
            raise AssertionError(error)
        del self.claims.asked[command_id]

    def single(self, session_id: str) -> Json:
        """A command about one node."""
        nodes = self.load.nodes.get(session_id, [])
        known = self.dice.choice(nodes or [new_id()])
        match self.dice.randrange(10):
            case 0:
                kind, data = "DeleteNode", {"node_id": known}
            case 1 | 2 | 3:
                value = self.dice.randbytes(self.dice.randrange(200)).hex()
                kind, data = "UpdateProperty", {"node_id": known, "property_id": "note", "value": value}
            case _:
                kind, data = "CreateNode", self._new_node(nodes)
        return self._call(session_id, kind, data)

    def batch(self, session_id: str) -> Json:
        """A command that makes many nodes."""
        nodes = self.load.nodes.get(session_id, [])
        commands = [
            {"command_type": "CreateNode", "data": self._new_node(nodes)}
            for _ in range(self.dice.randint(2, BATCH))
        ]
        return self._call(session_id, "Batch", {"commands": commands})

    def _call(self, session_id: str, kind: str, data: Json) -> Json:
        command_id = self.new_command(session_id)
        return {"session_id": session_id, "command_type": kind, "command_id": command_id, "data": data}

    def _new_node(self, nodes: list[str]) -> Json:
        data = {"blueprint_type_id": "part", "node_id": new_id(), "name": "part"}
        if nodes and self.dice.random() < 0.5:
            data["parent_id"] = self.dice.choice(nodes)
        if len(nodes) < KNOWN_NODES:
            nodes.append(data["node_id"])
        return data


class RestWriter(Writer):
    """Makes and deletes sessions too, and undoes and redoes."""

    def work(self) -> None:
        with requests.Session() as self.http:
            self.http.trust_env = False
            while not self.stopping.is_set():
                sessions = list(self.load.nodes)
                wish = self.dice.random()
                if wish < 0.03 or len(sessions) < KEPT:
                    self.make_session()
                elif wish < 0.06:
                    self.delete_session(sessions[KEPT:])
                elif wish < 0.2:
                    self.turn(self.dice.choice(sessions))
                elif wish < 0.3:
                    self.execute(self.batch(self.dice.choice(sessions)))
                else:
                    self.execute(self.single(self.dice.choice(sessions)))

    def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        """When the answer was there, and the answer."""
        try:
            url = f"{self.server.url}/api/v1{path}"
            response = self.http.request(method, url, json=body, timeout=ANSWER_S)
        except (
            requests.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise Lost from error
        return time.time_ns(), response.json() if response.content else {}

    def make_session(self) -> None:
        name = new_id()
        self.claims.names[name] = time.time_ns()
        now, answer = self.ask("POST", "/sessions", {"name": name})
        if "error" in answer:
            del self.claims.names[name]
        else:
            self.claims.epoch = answer["epoch"]
            self.claims.made.append((now, answer["session_id"]))
            self.load.nodes[answer["session_id"]] = []

    def delete_session(self, sessions: list[str]) -> None:
        if not sessions:
            return
        session_id = self.dice.choice(sessions)
        self.load.nodes.pop(session_id, None)
        self.claims.ending.setdefault(session_id, time.time_ns())
        now, answer = self.ask("DELETE", f"/sessions/{session_id}?force=true")
        if "error" not in answer:
            self.claims.ended.append((now, session_id))

    def turn(self, session_id: str) -> None:
        command_id = self.new_command(session_id)
        self.send(f"/sessions/{session_id}/{self.dice.choice(('undo', 'redo'))}", {"command_id": command_id})

    def execute(self, call: Json) -> None:
        self.send("/commands/execute", call)

    def send(self, path: str, body: Json) -> None:
        now, answer = self.ask("POST", path, body)
        if "error" in answer:
            self.refused(body["command_id"], answer["error"])
        else:
            self.claims.commits.append((now, answer["command_id"], answer["version"]))


class SocketWriter(Writer):
    """Sends bursts, and is in the rooms of some sessions: what it hears there counts as well."""

    def work(self) -> None:
        try:
            client = RawWebSocket(self.server.url)
        except (OSError, AssertionError) as error:
            raise Lost from error
        client.listeners.append(self.hear)
        with contextlib.closing(client), contextlib.suppress(OSError):
            for session_id in list(self.load.nodes)[-JOINED:]:
                client.emit("join_session", {"session_id": session_id})
            while not self.stopping.is_set():
                sessions = list(self.load.nodes)
                if sessions:
                    self.burst(client, sessions)
                else:
                    self.stopping.wait(0.01)

    def burst(self, client: RawWebSocket, sessions: list[str]) -> None:
        calls = [(self.single(self.dice.choice(sessions)), Ack("execute_command")) for _ in range(BURST)]
        client.burst(("execute_command", (call,), ack) for call, ack in calls)
        for call, ack in calls:
            answer = self.answer(client, ack)
            if "error" in answer:
                self.refused(call["command_id"], answer["error"])

    def answer(self, client: RawWebSocket, ack: Ack) -> Json:
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                answer: Json = ack.get(0.1)
                return answer
            except NotHeard:
                if client.ended.is_set() and not ack.came:
                    raise Lost from None
                if time.monotonic() > deadline:
                    raise

    def hear(self, heard: Heard) -> None:
        now = time.time_ns()
        told = heard.payload
        if heard.name in FACTS:
            self.claims.commits.append((now, told.get("by") or told["command_id"], told["version"]))
        elif heard.name == "ack" and "version" in told:
            self.claims.commits.append((now, told["command_id"], told["version"]))
        elif heard.name == "session:deleted":
            self.claims.ended.append((now, told["session_id"]))
