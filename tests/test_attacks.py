"""The attack catalogue against a server in use: each attack ends as it should, and nobody else notices."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.attacks import (
    CATALOGUE,
    INJECTED,
    OWN_SID,
    SECRET,
    SESSION,
    SLOW,
    SOON_S,
    VICTIM_SID,
    Answers,
    Attack,
    Ends,
    Heard,
    Ignored,
    Malformed,
    Plays,
    Refused,
    Target,
    head,
)
from tests.support.clients import (
    TEXT,
    Client,
    NodeHost,
    RawClient,
    RawPolling,
    RawWebSocket,
    event_packet,
    frame,
    open_client,
)
from tests.support.follower import Follower
from tests.support.server import Server
from tests.support.tokens import KEY, OTHER_KEY, guarded, signed, token, with_token

GAP_S = 0.05  # the hub may be held so long, and no longer
MORE_BYTES = 100 * 1024 * 1024  # of memory, after all of it
REST_S = 20.0  # until the server is back where it was
SPARE = 3  # files and greenlets: a thread that reads the database begins when it is first needed
KINDS = ("node-websocket", "raw-websocket", "python-polling")
PACE_S = 0.03  # between two commands of the good clients

# What an answer may never show: a stack trace, a path, SQL.
_LEAK = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|sqlite|peewee|SELECT |INSERT |/talus/", re.IGNORECASE
)


class Team:
    """Three good clients of one session, each of another kind, that exchange commands until told to stop.

    They come one after the other, and each command has been heard by all three before the next one.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session_id = server.new_session(name=f"{SECRET} {server.port}")
        self.node = NodeHost()
        self.clients: list[Client] = []
        self.followers = [self._follower(kind) for kind in KINDS]
        self.commands = 0
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self._root = self._node = self._command("CreateNode", {"blueprint_type_id": "x"})["node_id"]
        for _ in range(3 * len(KINDS)):  # until each of them has all connections that it needs
            self._work_once()
        server.events(self.session_id)  # and the server all that it opens

    def _follower(self, kind: str) -> Follower:
        def connect() -> Client:
            options = {"host": self.node} if kind.startswith("node") else {}
            client = open_client(self.server.url, kind, actor=f"good {kind}", **options)
            self.clients.append(client)
            return client

        follower = Follower(self.session_id, connect, lambda: self.server.graph(self.session_id))
        follower.join()
        return follower

    def start(self) -> None:
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._stop.wait(PACE_S):
                self._work_once()
        except BaseException as failure:
            self._failure = failure

    def _work_once(self) -> None:
        match self.commands % 4:
            case 1:
                data = {
                    "parent_id": self._root,
                    "blueprint_type_id": "x",
                    "name": f"{SECRET} {self.commands}",
                }
                self._node = self._command("CreateNode", data)["node_id"]
            case 2:
                data = {"node_id": self._node, "property_id": "p", "value": f"{SECRET} {self.commands}"}
                self._command("UpdateProperty", data)
            case 3:
                self._command("MoveNode", {"node_id": self._node, "parent_id": self._root, "index": 0})
            case _:
                self._command("DeleteNode", {"node_id": self._node})

    def _command(self, command_type: str, data: dict[str, Any]) -> dict[str, Any]:
        client = self.clients[self.commands % len(self.clients)]
        answer = client.execute(self.session_id, command_type, data)
        assert answer.get("success"), answer
        for follower in self.followers:
            follower.wait_version(answer["version"])
        self.commands += 1
        return answer

    def check(self) -> None:
        """They work on, on the connections that they began with."""
        if self._failure is not None:
            raise self._failure
        for client in self.clients:
            assert client.connected, client
            assert client.names().count("connect") == 1, f"{client} had to come back"
        for follower in self.followers:
            follower.check()

    def stop(self) -> None:
        """The end of the work, and what all of them hold is the server's graph."""
        self._stop.set()
        self._thread.join(60)
        self.check()
        version = self.server.graph(self.session_id)["version"]
        for follower in self.followers:
            follower.wait_version(version)
        self.server.check_converged(self.session_id, *(follower.tree for follower in self.followers))

    def end(self) -> None:
        self._stop.set()
        self.node.end()
        for client in self.clients:
            if not client.kind.startswith("node"):
                client.cut()


@dataclass
class Held:
    """What the server holds."""

    memory: int
    files: int
    greenlets: int

    @classmethod
    def by(cls, server: Server) -> Held:
        return cls(server.memory(), server.files(), server.greenlets())


def check_back(server: Server, before: Held) -> None:
    """Within REST_S memory, files and greenlets are where they were."""
    deadline = time.monotonic() + REST_S
    pause = threading.Event()
    while True:
        now = Held.by(server)
        if (
            now.memory <= before.memory + MORE_BYTES
            and now.files <= before.files + SPARE
            and now.greenlets <= before.greenlets + SPARE
        ):
            return
        assert time.monotonic() < deadline, f"{now} now, {before} before"
        pause.wait(0.5)  # counting holds the server's hub


def check_log(server: Server) -> None:
    """No traceback, nothing secret, and no line or colour that a client made."""
    log = server.log()
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 1_000) :][:6_000]
    assert SECRET not in log, "the log holds a property's value, a name or a token"
    assert "\x1b" not in log, "the log holds a raw escape"
    assert not any(line.startswith(INJECTED) for line in log.splitlines()), (
        "the log holds a line of a client's"
    )


def check_database(server: Server) -> None:
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class Windows:
    """When each attack was going on, so that what held the hub can be named."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.monotonic()
        self._windows: list[tuple[str, float, float]] = []
        self._beside: set[str] = set()

    @contextmanager
    def of(self, name: str, *, beside: bool = False) -> Iterator[None]:
        """beside: it goes on beside others, and waits most of the time."""
        began = time.monotonic()
        if beside:
            self._beside.add(name)
        try:
            yield
        finally:
            self._windows.append((name, began, time.monotonic()))

    def check(self) -> None:
        """The hub was never held longer than GAP_S.

        Once the machine may stumble: a gap in which the server had the CPU for less than
        half of the time. What waits on the hub, for a disk or a lock, does so again.
        """
        lines = [map(float, line.split()) for line in (self._server.folder / "gaps").read_text().splitlines()]
        late = [
            (at, gap - queued, worked)
            for at, gap, queued, worked in lines
            if at >= self._began and gap - queued > GAP_S
        ]
        if not late or (len(late) == 1 and late[0][2] < late[0][1] / 2):
            return
        held = [(at, gap) for at, gap, _ in late]
        found = []
        for at, gap in held:
            # What an answer was waited for may go on a little after it.
            going = [
                name for name, began, ended in self._windows if began <= at and at - gap <= ended + GAP_S
            ]
            blamed = [name for name in going if name not in self._beside] or going or ["nobody"]
            found.append(f"{gap:.3f} s: {', '.join(blamed)}")
        pytest.fail("the hub was held for\n" + "\n".join(found))


# How an attack is played


def spoken(attack: Attack, target: Target, own_sid: str = OWN_SID) -> Iterable[bytes]:
    """The bytes of one connection."""
    pieces: Any = attack.sent() if callable(attack.sent) else [attack.sent]  # type: ignore[call-arg]
    for piece in pieces:
        yield target.filled_in(piece.decode("latin-1"), own_sid).encode("latin-1")


class Line:
    """A TCP connection: what is said on it, and the HTTP answers that come back."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self.socket = socket.create_connection((target.host, target.port), timeout=timeout_s)
        self._input = self.socket.makefile("rb")
        self._talk: threading.Thread | None = None

    def say(self, pieces: Iterable[bytes], drip_s: float) -> None:
        """Beside whoever reads the answers: a server that answers early is no reason to wait."""
        self._talk = threading.Thread(target=self._say, args=(pieces, drip_s))
        self._talk.start()

    def _say(self, pieces: Iterable[bytes], drip_s: float) -> None:
        over = threading.Event()
        with suppress(OSError):  # the server has had enough
            for piece in pieces:
                self.socket.sendall(piece)
                over.wait(drip_s)  # the pace of a slow peer

    def answer(self, bodiless: bool) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body of the next one; None at the end of the connection."""
        first = self._input.readline()
        if not first:
            return None
        status = int(first.split()[1])
        headers: dict[str, str] = {}
        while line := self._input.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = b""
        if not bodiless and status != 101:
            body = self._input.read(int(headers.get("content-length", "0")))
        return status, headers, body

    def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        with suppress(ConnectionResetError):
            return self._input.read()
        return b""

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._input.close()
        self.socket.close()
        if self._talk is not None:
            self._talk.join()


def play_line(attack: Attack, target: Target, own_sid: str = OWN_SID) -> None:
    """One connection of bytes, and HTTP answers (or none)."""
    expected = attack.expected
    assert isinstance(expected, Answers | Ends)
    line = Line(target, expected.within_s)
    try:
        line.say(spoken(attack, target, own_sid), attack.drip_s)
        if isinstance(expected, Ends):
            line.rest()
            return
        bodiless = isinstance(attack.sent, bytes) and attack.sent.startswith(b"HEAD ")
        for number, status in enumerate(expected.statuses):
            answer = line.answer(bodiless)
            assert answer is not None, f"no answer {number}, {status} expected"
            check_answer(answer, status.split(" | "), bodiless)
        if expected.closed:
            rest = line.rest()
            assert b"HTTP/1.1" not in rest, f"another answer: {rest[:200]!r}"
    finally:
        line.close()


def check_answer(answer: tuple[int, dict[str, str], bytes], expected: list[str], bodiless: bool) -> None:
    """An answer is one of those expected, in the envelope where it is a refusal, and sets no cookie."""
    status, headers, body = answer
    said = str(status)
    if status >= 400 and not bodiless:
        assert headers.get("content-type", "").partition(";")[0] == "application/json", (answer, expected)
        error = json.loads(body)["error"]
        said = f"{status} {error['code']}"
        assert not _LEAK.search(error["message"]), error
    assert said in expected, f"{said} instead of {expected}: {body[:300]!r}"
    assert "set-cookie" not in headers, headers


def open_raw(attack: Attack, target: Target) -> RawClient:
    kind = RawWebSocket if attack.transport == "websocket" else RawPolling
    return kind(target.url, connect=attack.connected)


def send(client: RawClient, packets: Iterable[str | bytes]) -> None:
    """All of it in one go, as one write or one POST."""
    if isinstance(client, RawWebSocket):
        data = b"".join(
            packet if isinstance(packet, bytes) else frame(packet.encode("utf-8", "surrogatepass"), TEXT)
            for packet in packets
        )
        with suppress(OSError):  # the server may end it before all of that is sent
            client.send_bytes(data)
    else:
        client.send_packets([str(packet) for packet in packets])


def refusals(client: RawClient) -> list[str]:
    """The codes of all that was refused, as events, acknowledgements and refusals to connect."""
    codes = []
    for packet in list(client.packets):
        if packet.startswith("42["):
            name, *args = json.loads(packet[2:])
            if name == "error":
                codes.append(args[0]["code"])
                assert not _LEAK.search(args[0]["message"]), args
        elif packet.startswith("43"):
            said = json.loads(packet[packet.index("[") :])
            if said and isinstance(said[0], dict) and "error" in said[0]:
                codes.append(said[0]["error"]["code"])
                assert not _LEAK.search(said[0]["error"]["message"]), said
        elif packet.startswith("44"):
            codes.append("connect_error")
    return codes


def play_packets(attack: Attack, target: Target) -> None:
    """A connection of Engine.IO packets."""
    packets: Any = attack.sent() if callable(attack.sent) else attack.sent  # type: ignore[call-arg]
    client = open_raw(attack, target)
    try:
        send(client, [target.filled_in(p) if isinstance(p, str) else p for p in packets])
        match attack.expected:
            case Ends(codes, within_s):
                client.wait_ended(within_s)
                if codes and isinstance(client, RawWebSocket):
                    assert client.close_code in codes, client.close_code
            case Malformed(code):
                codes = code.split(" | ")
                client.wait_until(lambda: refusals(client) or client.ended.is_set(), SOON_S, code)
                assert all(said in codes for said in refusals(client)), refusals(client)
            case Refused(code):
                client.wait_until(lambda: refusals(client), SOON_S, code)
                assert set(refusals(client)) == {code}, refusals(client)
                client.settle(SOON_S)
            case Heard(event, times):
                client.wait_until(lambda: len(client.heard(event)) >= times, 4 * SOON_S, f"{event} x {times}")
                client.settle(SOON_S)
                assert len(client.heard(event)) == times + (event == "pong")
                assert refusals(client) == []
            case Ignored():
                client.settle(SOON_S)
                assert refusals(client) == []
            case other:
                raise AssertionError(other)
    finally:
        client.close()


def play(attack: Attack, target: Target) -> None:
    if isinstance(attack.expected, Plays):
        attack.sent(target)  # type: ignore[operator, call-arg]
    elif isinstance(attack.sent, tuple) or not isinstance(attack.expected, Answers | Ends):
        play_packets(attack, target)
    elif attack.transport == "polling":
        client = RawPolling(target.url, connect=False, poll=False)
        client.send_packet("40")  # its answer waits for a poll
        try:
            play_line(attack, target, client.handshake["sid"])
        finally:
            client.close()
    else:
        play_line(attack, target)


# One server, three good clients, and everything that the catalogue has


class Siege:
    """A watched server, its good clients, and the attacks on it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.team = Team(server)
        session_id = server.new_session()
        victim = next(client for client in self.team.clients if isinstance(client, RawWebSocket))
        self.target = Target(
            "127.0.0.1", server.port, session_id, server.create(session_id), victim.handshake["sid"]
        )
        self.before = Held.by(server)
        self.windows = Windows(server)
        self.pool = ThreadPoolExecutor(len(SLOW))
        self.team.start()
        self.slow: dict[str, Future[None]] = {
            str(attack): self.pool.submit(self.suffer, attack, beside=True) for attack in SLOW
        }

    def suffer(self, attack: Attack, *, beside: bool = False) -> None:
        with self.windows.of(str(attack), beside=beside):
            play(attack, self.target)


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    server = Server(tmp_path_factory.mktemp("siege"), watched=True).start()
    try:
        siege = Siege(server)
        yield siege
        siege.pool.shutdown()
        siege.team.end()
        assert server.stop() == 0
    finally:
        server.kill()


@pytest.mark.parametrize("attack", CATALOGUE, ids=str)
def test_an_attack_ends_as_it_should(siege: Siege, attack: Attack) -> None:
    """Given a server in use, when it is attacked, then the answer is what the catalogue names, and the good
    clients work on."""
    siege.suffer(attack)
    siege.team.check()


@pytest.mark.parametrize("attack", SLOW, ids=str)
def test_a_slow_attack_ends_in_time(siege: Siege, attack: Attack) -> None:
    """Given a server in use, when a peer takes its time, then it is cut off once that is over."""
    siege.slow[str(attack)].result()


def test_after_all_attacks_the_good_clients_have_lost_nothing(siege: Siege) -> None:
    """Given all attacks, when they are over, then the good clients are still connected, hold the server's
    graph, and every command of theirs is in it; and the server is back where it was."""
    for slow in siege.slow.values():
        slow.exception()
    team = siege.team
    team.stop()
    assert siege.server.graph(team.session_id)["version"] == team.commands > 0
    check_back(siege.server, siege.before)


def test_no_attack_holds_the_hub(siege: Siege) -> None:
    """Given all attacks, when one looks back, then none of them kept the others waiting for 50 ms."""
    siege.windows.check()


def test_the_log_shows_nothing_that_an_attacker_said(siege: Siege) -> None:
    """Given all attacks, when one reads the log, then it has no traceback, no secret, and no line of
    theirs."""
    check_log(siege.server)


def test_the_database_is_whole(siege: Siege) -> None:
    """Given all attacks, when the database is checked, then it is whole."""
    check_database(siege.server)


# Six that brought the stock libraries down, at their full size


MB = 1_000_000


def two_gigabytes_announced(target: Target, room: str) -> None:
    for _ in range(20):
        client = RawWebSocket(target.url)
        with suppress(OSError):
            client.send_bytes(frame(b"4" * 4 * MB, announced=2 << 30))
        client.wait_ended(SOON_S)
        assert client.close_code == 1009


def two_hundred_megabytes_streamed(target: Target, room: str) -> None:
    """In messages that are taken, in one that is not, and in the chunks of a body."""
    client = RawWebSocket(target.url)
    empty = event_packet("ping", "")
    message = frame(event_packet("ping", "x" * (MB - len(empty))).encode())
    for _ in range(200):
        client.send_bytes(message)
    client.wait_until(lambda: len(client.heard("pong")) == 200, 30, "200 pongs")
    client.cut()
    client = RawWebSocket(target.url)
    with suppress(OSError):
        client.send_bytes(frame(b"", announced=200 * MB)[:-4])
        for _ in range(200):
            client.send_bytes(bytes(MB))
    client.wait_ended(SOON_S)
    assert client.close_code == 1009
    chunk = b"%x\r\n" % MB + b" " * MB + b"\r\n"
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    line = Line(target, 30)
    line.say([head("/api/v1/sessions", *lines, method="POST"), *[chunk] * 200], 0)
    answer = line.answer(bodiless=False)
    line.close()
    assert answer is not None
    check_answer(answer, ["413 PAYLOAD_TOO_LARGE"], bodiless=False)


def endless_fragments(target: Target, room: str) -> None:
    for payload in (b"", b"x", b"x" * 1_000):
        client = RawWebSocket(target.url)
        fragments = frame(payload, 0, fin=False) * 5_000
        deadline = time.monotonic() + 30
        with suppress(OSError):
            client.send_bytes(frame(payload, fin=False))
            while not client.ended.is_set():
                assert time.monotonic() < deadline, "it goes on and on"
                client.send_bytes(fragments)
        client.wait_ended(SOON_S)
        assert client.close_code == 1009


def three_hundred_slow_heads(target: Target, room: str) -> None:
    began = time.monotonic()
    lines = [Line(target, 15) for _ in range(300)]
    for line in lines:
        line.say([head("/api/v1/health")[:-2]], 0)
    for line in lines:
        line.rest()
        line.close()
    assert 9 < time.monotonic() - began < 14, "a head has 10 s"


def twenty_who_never_read(target: Target, room: str) -> None:
    """While a busy room goes on: they are cut, and the room is told."""
    readers = [RawWebSocket(target.url, auth={"actor": "deaf"}, receive_buffer=4096) for _ in range(20)]
    for reader in readers:
        reader.join(room)
        reader.pause()
    writer = RawWebSocket(target.url, auth={"actor": "busy"})
    writer.join(room)
    for at in range(600):
        data = {"blueprint_type_id": "x", "properties": {"p": f"{SECRET} {at}" + "x" * 2_000}}
        assert writer.execute(room, "CreateNode", data)["success"]
    writer.wait_until(
        lambda: len({gone["client_id"] for gone in writer.heard("session:disconnected")}) >= 20,
        25,
        "that all of them are gone",
    )
    for client in (*readers, writer):
        client.cut()


def twenty_thousand_calls(target: Target, room: str) -> None:
    """Commands, each durable, and each answered in the order sent."""
    client = RawWebSocket(target.url)
    data = {"node_id": target.node_id, "property_id": "p"}
    asked = {"session_id": target.session_id, "command_type": "UpdateProperty"}
    acks = [
        event_packet("execute_command", {**asked, "data": {**data, "value": at}}, ack=at + 1)
        for at in range(20_000)
    ]
    client.send_packets(acks)
    answers: list[str] = []

    def answered() -> bool:
        answers[:] = [packet for packet in list(client.packets) if packet.startswith("43")]
        return len(answers) == len(acks)

    client.wait_until(answered, 60, "20,000 answers")
    versions = [json.loads(answer[answer.index("[") :])[0]["version"] for answer in answers]
    assert versions == list(range(versions[0], versions[0] + len(acks)))
    client.cut()


# Those that wait go on beside the others.
WAIT = (three_hundred_slow_heads, twenty_who_never_read)
WORK = (
    two_gigabytes_announced,
    two_hundred_megabytes_streamed,
    endless_fragments,
    twenty_thousand_calls,
)


def test_the_worst_at_full_size_harm_nobody(tmp_path: Path) -> None:
    """Given good clients at work, when 2 GB are announced, 200 MB streamed, fragments never end, 300 heads
    and 20 readers are slow and 20,000 calls come in one go, then nothing holds the hub for 50 ms, memory
    stays within 100 MB, and the good clients lose nothing."""
    server = Server(tmp_path, watched=True).start()
    team = Team(server)
    try:
        session_id = server.new_session()
        target = Target("127.0.0.1", server.port, session_id, server.create(session_id), "")
        before = Held.by(server)
        windows = Windows(server)
        team.start()
        most = 0

        def suffer(attack: Callable[[Target, str], None], beside: bool) -> None:
            with windows.of(attack.__name__, beside=beside):
                attack(target, team.session_id)

        with ThreadPoolExecutor(len(WAIT)) as pool:
            waiting = [pool.submit(suffer, attack, True) for attack in WAIT]
            for attack in WORK:
                suffer(attack, False)
                most = max(most, server.memory())
            for each in waiting:
                each.result()
        most = max(most, server.memory())
        assert most <= before.memory + MORE_BYTES, f"{most >> 20} MiB, {before.memory >> 20} MiB before"
        team.stop()
        windows.check()
        check_back(server, before)
        check_database(server)
    finally:
        team.end()
        server.kill()
    check_log(server)


# Strangers: the same attacks on a server that asks for tokens

# What the head of a request alone may be refused with; anything later would tell of what is behind.
BY_HEAD = (
    "400 INVALID_REQUEST",
    "403 FORBIDDEN",
    "404 NOT_FOUND",
    "405 METHOD_NOT_ALLOWED",
    "413 PAYLOAD_TOO_LARGE",
    "414 INVALID_REQUEST",
    "415 UNSUPPORTED_MEDIA_TYPE",
    "421 HOST_NOT_ALLOWED",
)
NOBODY = "401 UNAUTHENTICATED"
# What a stranger may ask: how the server is, and for a connection, where he then has to say who he is.
OPEN = (b"/api/v1/health", b"/socket.io/?")


def for_strangers() -> list[Attack]:
    """The attacks that need no session, are one connection, and quick."""
    attacks = [
        attack
        for attack in CATALOGUE
        if isinstance(attack.sent, bytes | tuple)
        and not any(
            name in (part if isinstance(part, str) else part.decode("latin-1"))
            for part in (attack.sent if isinstance(attack.sent, tuple) else [attack.sent])
            for name in (SESSION, VICTIM_SID)
        )
    ]
    refused = Answers((NOBODY,))
    for name, lines in {
        "none": [],
        "empty": ["Authorization: Bearer "],
        "rubbish": ["Authorization: Bearer rubbish"],
        "Basic": ["Authorization: Basic YWRtaW46YWRtaW4="],
        "alg none": [f"Authorization: Bearer {unsigned('none')}"],
        "alg None": [f"Authorization: Bearer {unsigned('None')}"],
        "another key": [f"Authorization: Bearer {token(admin=True, key=OTHER_KEY)}"],
        "expired": [f"Authorization: Bearer {token(lasts=-1)}"],
        "a key by name": [
            f"Authorization: Bearer {token(key=b'', header={'kid': '../dev/null', 'jku': 'http://127.0.0.1:1'})}"
        ],
        "cookie": [f"Cookie: token={token(admin=True)}"],
        "actor": ["Talus-Actor: admin"],
        "two": [f"Authorization: Bearer {token()}", f"Authorization: Bearer {token(admin=True)}"],
    }.items():
        expected = refused if name != "two" else Answers(("400 INVALID_REQUEST | 401 UNAUTHENTICATED",))
        attacks.append(Attack(f"token: {name}", "rest", head("/api/v1/sessions", *lines), expected))
    in_url = head(f"/api/v1/sessions?token={token(admin=True)}&access_token={token(admin=True)}")
    attacks.append(Attack("token: in the URL", "rest", in_url, refused))
    for said in (
        None,
        True,
        5,
        [],
        {},
        unsigned("none"),
        token(key=OTHER_KEY),
        [token()],
        {"token": token()},
    ):
        packet = "40" + json.dumps({"token": said})
        attacks.append(Attack(f"token: {said!r:.20}", "websocket", (packet,), Ends(), connected=False))
    return attacks


def unsigned(algorithm: str) -> str:
    """A token of an administrator that says itself that nobody signed it."""
    claims = token(admin=True).split(".")[1]
    return signed(json.dumps({"typ": "JWT", "alg": algorithm}), "{}").split(".")[0] + f".{claims}."


def stranger(attack: Attack, target: Target) -> None:
    """Plays it; raises when the answer tells more than that one has to say who one is."""
    if isinstance(attack.sent, tuple):
        stranger_packets(attack, target)
    else:
        stranger_line(attack, target)


def stranger_line(attack: Attack, target: Target) -> None:
    assert isinstance(attack.expected, Answers | Ends)
    assert isinstance(attack.sent, bytes)
    own_sid = OWN_SID
    if OWN_SID.encode() in attack.sent:
        client = RawPolling(target.url, connect=False, poll=False)
        client.send_packet("40")
        own_sid = client.handshake["sid"]
    line = Line(target, 4 * SOON_S)  # who goes on trying waits for his answers
    try:
        line.say(spoken(attack, target, own_sid), attack.drip_s)
        if isinstance(attack.expected, Ends):
            assert b"HTTP/1.1 2" not in line.rest()
            return
        bodiless = attack.sent.startswith(b"HEAD ")
        allowed = [NOBODY]
        for status in attack.expected.statuses[0].split(" | "):
            if status in BY_HEAD or any(place in attack.sent.partition(b"\r\n")[0] for place in OPEN):
                allowed.append(status)
        answer = line.answer(bodiless)
        assert answer is not None, "no answer"
        check_answer(answer, allowed, bodiless)
        if answer[0] != 101:
            assert target.session_id.encode() not in answer[2]
    finally:
        line.close()


def stranger_packets(attack: Attack, target: Target) -> None:
    kind = RawWebSocket if attack.transport == "websocket" else RawPolling
    client = kind(target.url, connect=False)
    assert isinstance(attack.sent, tuple)
    try:
        client.wait_until(lambda: client.handshake, what="the handshake")
        if attack.connected:
            client.send_packet("40")
            client.wait_for("connect_error", 4 * SOON_S)
        send(client, [target.filled_in(part) if isinstance(part, str) else part for part in attack.sent])
        if any(part[:1] == "4" for part in attack.sent if isinstance(part, str)):
            refused = len(client.heard("connect_error")) if attack.connected else 0
            client.wait_until(
                lambda: client.ended.is_set() or len(client.heard("connect_error")) > refused,
                4 * SOON_S,
                "the end, or another refusal",
            )
        for packet in client.packets:
            assert packet[:2] not in ("40", "42", "43"), packet
            if packet.startswith("44{"):
                assert json.loads(packet[2:])["data"]["code"] == "UNAUTHENTICATED", packet
            assert target.session_id not in packet
    finally:
        client.close()


def test_strangers_learn_nothing_by_any_attack(tmp_path: Path) -> None:
    """Given a server that asks for tokens and a session on it, when a stranger plays the catalogue, then he
    is refused as before or told that he has to say who he is, and never hears of a session."""
    attacks = for_strangers()
    assert len(attacks) > 250
    failures: list[str] = []
    with guarded(tmp_path) as server:
        owner = with_token(server, token())
        session_id = owner.new_session(name=SECRET)
        target = Target("127.0.0.1", server.port, session_id, owner.create(session_id), "A" * 20)

        def attempt(attack: Attack) -> None:
            try:
                stranger(attack, target)
            except Exception as failure:
                failures.append(f"{attack}: {failure!r:.300}")

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(attempt, attacks))
        assert owner.graph(session_id)["version"] == 1
        assert owner.ask("/sessions")["total"] == 1
        assert not failures, "\n".join(failures)
        assert KEY.decode() not in server.log()
        check_log(server)
