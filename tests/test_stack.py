"""What the libraries do as they come, and what talus makes of it: the same probes for both.

Each probe asks a running server one thing and says in plain words what came of
it. It is asked of the stock libraries (tests/support/stock.py), where the
outcome has to be the bad one, and of talus, where it has to be the good one: on
the day a library cures a fault of its own the first says so, and a cure may go;
a fault that comes back here is the second. The figures are printed: `-rP`.
"""

from __future__ import annotations

import ast
import configparser
import contextlib
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.clients import (
    BINARY,
    PING,
    Ack,
    Client,
    ConnectRefused,
    Heard,
    NotHeard,
    RawWebSocket,
    UpgradeRefused,
    frame,
    open_client,
)
from tests.support.server import REPOSITORY, Server

MB = 1_000_000
BY_HAND = 7000  # the number of a call whose packet a probe writes itself; the clients count theirs from 1
ANSWER = f"43{BY_HAND}["  # how its acknowledgement begins


class Seen(NamedTuple):
    """What a probe saw: in words that are compared, and in figures that are only told."""

    outcome: str
    measured: str = ""


# The two servers, and how each is told the same thing


class Stack(ABC):
    """A server for the time of one probe. All that is connected through it is cut in the end."""

    name: str
    acknowledged: tuple[str, Any]  # an event that is acknowledged
    looked_up: tuple[str, Any]  # one whose handler needs a payload, with none
    item: str  # the name of the events of a flood
    light_path: str  # of a REST call that costs next to nothing

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients: list[Client] = []
        self.sockets: list[socket.socket] = []

    def connect(self, kind: str = "raw-websocket", **options: Any) -> Any:
        client = open_client(self.server.url, kind, **options)
        self.clients.append(client)
        return client

    def open(self, request: bytes = b"") -> socket.socket:
        """A connection on which this was sent."""
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=10)
        self.sockets.append(connection)
        connection.sendall(request)
        return connection

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 10, **headers: str
    ) -> Answer:
        """One request on a connection of its own."""
        asked = {"Host": f"127.0.0.1:{self.server.port}", "Content-Type": "application/json"}
        asked |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=timeout)
        try:
            connection.request(method, path, body, asked)
            response = connection.getresponse()
            kind = response.headers.get("Content-Type", "").partition(";")[0]
            return Answer(response.status, kind, response.read())
        finally:
            connection.close()

    def close(self) -> None:
        for client in self.clients:
            client.cut()
        for connection in self.sockets:
            connection.close()

    @abstractmethod
    def enter(self, client: Client) -> None:
        """The client goes where others can see whether it is there."""

    @abstractmethod
    def is_present(self, client: Client) -> bool:
        """Whether the server counts a client that entered as there."""

    @abstractmethod
    def flood(self, client: Client, count: int, size: int) -> None:
        """So many events of so many characters are made for a client that entered."""

    @abstractmethod
    def hang_up(self, client: Client) -> None:
        """The server ends a client's connection."""

    @abstractmethod
    def queued(self, client: Client, number: int) -> tuple[str, Any]:
        """An event whose answer tells in which place it was queued; every other one takes longer to read."""

    @abstractmethod
    def place(self, answer: Any) -> int: ...

    @abstractmethod
    def says_nan(self, client: Client) -> str:
        """A packet that tells those around the client something that is no JSON."""

    @abstractmethod
    def deep(self, client: Client, depth: int) -> str:
        """A packet, to be acknowledged as BY_HAND, that holds so many brackets in one another."""

    @abstractmethod
    def body(self, size: int) -> tuple[str, bytes]:
        """A path, and a JSON body of about this size that it takes."""

    @abstractmethod
    def deep_body(self, depth: int) -> tuple[str, bytes]:
        """A path, and a JSON body that holds so many brackets in one another."""

    @abstractmethod
    def held_s(self, since_s: float) -> float:
        """The longest that the hub was held since then."""


class Answer(NamedTuple):
    status: int
    media_type: str
    body: bytes


class Stock(Stack):
    name = "stock"
    acknowledged = ("echo", 1)
    looked_up = ("look_up", None)
    item = "item"
    light_path = "/seen"

    def seen(self) -> Any:
        return json.loads(self.ask("GET", "/seen").body)

    def enter(self, client: Client) -> None:
        """Who is connected is present."""

    def is_present(self, client: Client) -> bool:
        return client.id in self.seen()["present"]

    def flood(self, client: Client, count: int, size: int) -> None:
        flood = Ack("flood")
        self.connect().burst([("flood", (client.id, count, size), flood)])
        flood.get()

    def hang_up(self, client: Client) -> None:
        self.connect().emit("hang_up", client.id)

    def queued(self, client: Client, number: int) -> tuple[str, Any]:
        return "queue", number

    def place(self, answer: Any) -> int:
        return int(answer)

    def says_nan(self, client: Client) -> str:
        return '42["say",NaN]'

    def deep(self, client: Client, depth: int) -> str:
        return f'42{BY_HAND}["echo",{"[" * depth}{"]" * depth}]'

    def body(self, size: int) -> tuple[str, bytes]:
        return "/json", json.dumps({"filler": "x" * size}).encode()

    def deep_body(self, depth: int) -> tuple[str, bytes]:
        return "/json", b"[" * depth + b"]" * depth

    def held_s(self, since_s: float) -> float:
        return float(self.seen()["held_s"])


class Talus(Stack):
    name = "talus"
    acknowledged = ("ping", 1)
    looked_up = ("join_session", None)
    item = "property-changed"
    light_path = "/api/v1/health"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.rooms: dict[Client, tuple[str, str]] = {}  # a session and its only node

    def _room(self, client: Client) -> tuple[str, str]:
        if client not in self.rooms:
            session_id = self.server.new_session()
            self.rooms[client] = session_id, self.server.create(session_id)
        return self.rooms[client]

    def _update(self, client: Client, value: Any) -> dict[str, Any]:
        data = {"node_id": self._room(client)[1], "property_id": "p", "value": value}
        return {"command_type": "UpdateProperty", "data": data}

    def enter(self, client: Client) -> None:
        client.join(self._room(client)[0])

    def is_present(self, client: Client) -> bool:
        return bool(self.server.ask(f"/sessions/{self._room(client)[0]}/info")["active_clients"])

    def flood(self, client: Client, count: int, size: int) -> None:
        session_id, _ = self._room(client)
        commands = [self._update(client, str(number).ljust(size, "x")) for number in range(count)]
        if count * size < MB:
            self.server.execute(session_id, "Batch", {"commands": commands})
            return
        for command in commands:
            self.server.execute(session_id, command["command_type"], command["data"])

    def hang_up(self, client: Client) -> None:
        assert isinstance(client, RawWebSocket)
        client.send_packets(["4rubbish"] * 3)

    def queued(self, client: Client, number: int) -> tuple[str, Any]:
        commands = [self._update(client, number)] * (400 if number % 2 == 0 else 1)
        session_id, _ = self._room(client)
        return "execute_command", {
            "session_id": session_id,
            "command_type": "Batch",
            "data": {"commands": commands},
        }

    def place(self, answer: Any) -> int:
        return int(answer["version"]) - 1  # the first made the node

    def says_nan(self, client: Client) -> str:
        return f'42["update_presence",{{"session_id":"{self._room(client)[0]}","state":NaN}}]'

    def deep(self, client: Client, depth: int) -> str:
        wish = {"session_id": self._room(client)[0]} | self._update(client, "@")
        text = json.dumps(["execute_command", wish])
        return f"42{BY_HAND}" + text.replace('"@"', "[" * depth + "]" * depth)

    def body(self, size: int) -> tuple[str, bytes]:
        data = {"blueprint_type_id": "x", "properties": {"p" + str(at): "x" * 100_000 for at in range(3)}}
        data["name"] = ""
        wish = {"session_id": self.server.new_session(), "command_type": "CreateNode", "data": data}
        return "/api/v1/commands/execute", json.dumps(wish).encode().ljust(size)

    def deep_body(self, depth: int) -> tuple[str, bytes]:
        wish = {"session_id": self.server.new_session(), "command_type": "CreateNode", "data": "@"}
        text = json.dumps(wish).replace('"@"', "[" * depth + "]" * depth)
        return "/api/v1/commands/execute", text.encode()

    def held_s(self, since_s: float) -> float:
        return max(self.server.gaps(since_s), default=0.0)


# What can be seen of a connection from outside


class Row(NamedTuple):
    """The server's end of a connection, as the kernel shows it."""

    unsent: int
    unread: int
    inode: str


def row(port: int, connection: socket.socket | int) -> Row:
    """port: the server's. connection: the other end, or its port."""
    peer = connection if isinstance(connection, int) else connection.getsockname()[1]
    ends = f" 0100007F:{port:04X} 0100007F:{peer:04X} "
    _, found, rest = Path("/proc/net/tcp").read_text().partition(ends)
    if not found:
        return Row(0, 0, "0")
    _, queues, _, _, _, _, inode, *_ = rest.partition("\n")[0].split()
    unsent, unread = (int(part, 16) for part in queues.split(":"))
    return Row(unsent, unread, inode)


def open_files(pid: int) -> set[str]:
    """What a process has open: paths, and `socket:[inode]`."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(each))
    return found


def lets_go(stack: Stack, end: Row, timeout: float) -> bool:
    """Whether the server closes its end of a connection in that time. end: as it was while it was open."""
    name = f"socket:[{end.inode}]"
    return until(lambda: name not in open_files(stack.server.pid), timeout)


def until(condition: Callable[[], Any], timeout: float) -> bool:
    """Whether it came true in that time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ended_after(stack: Stack, request: bytes, timeout: float) -> float | None:
    """Seconds from the opening of a connection until the server ends it; None where it does not."""
    begun = time.monotonic()
    connection = stack.open(request)
    connection.settimeout(timeout)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return None
    except OSError:
        pass
    return time.monotonic() - begun


def closing(client: RawWebSocket, timeout: float = 3.0) -> str:
    """How the server ended a WebSocket."""
    if not client.ended.wait(timeout):
        return "open"
    return f"closed {client.close_code}" if client.close_code else "cut"


# The probes


@dataclass(frozen=True)
class Probe:
    """patient: mostly waits; all of these run at once. env, flags, files: for a server of its own."""

    fault: str
    run: Callable[[Any], Seen]
    stock: str
    talus: str
    patient: bool = False
    env: dict[str, str] = field(default_factory=dict)  # of talus
    flags: tuple[str, ...] = ()  # of the stock server
    files: int | None = None  # that the server may open

    @property
    def has_own_server(self) -> bool:
        return bool(self.env or self.flags or self.files)


PROBES: list[Probe] = []


def probe(fault: str, *, stock: str, talus: str, **more: Any) -> Callable[[Callable[[Any], Seen]], Any]:
    def add(run: Callable[[Any], Seen]) -> Callable[[Any], Seen]:
        PROBES.append(Probe(fault, run, stock, talus, **more))
        return run

    return add


@probe("a frame of 2 GB is announced", stock="waited for", talus="closed 1009")
def announced(stack: Stack) -> Seen:
    client = stack.connect()
    before = stack.server.memory()
    begun = time.monotonic()
    client.send_bytes(frame(b"", BINARY, announced=2 << 30))
    if client.ended.wait(2):
        return Seen(closing(client), f"after {(time.monotonic() - begun) * 1000:.0f} ms")
    client.send_bytes(bytes(20 * MB))
    until(lambda: row(stack.server.port, client.socket).unread == 0, 5)
    kept = (stack.server.memory() - before) / MB
    return Seen("waited for" if not client.ended.is_set() else closing(client), f"{kept:.0f} MB of 20 kept")


@probe("fragments that never end", stock="12 MB kept", talus="closed 1009")
def fragments(stack: Stack) -> Seen:
    client = stack.connect()
    before = stack.server.memory()
    for number in range(24):
        fragment = frame(bytes(MB // 2), 0 if number else BINARY, fin=False)
        with contextlib.suppress(OSError):
            client.send_bytes(fragment + frame(b"", PING))
        client.wait_until(
            lambda at=number: client.ended.is_set() or client.names().count("websocket pong") > at,
            what="a pong",
        )
        if client.ended.is_set():
            return Seen(closing(client), f"in fragment {number + 1} of 0.5 MB")
    return Seen("12 MB kept", f"{(stack.server.memory() - before) / MB:.0f} MB more memory")


@probe("a message of 1 MB", stock="the hub is held", talus="the others are served meanwhile")
def large_message(stack: Stack) -> Seen:
    client = stack.connect()
    event, _ = stack.acknowledged
    held_s = []
    for _ in range(3):
        begun = time.monotonic()
        stack.held_s(begun)
        client.call(event, "x" * 999_900)
        client.call(event, 1)  # by now the gap has been noted
        held_s.append(stack.held_s(begun))
    typical_s = statistics.median(held_s)
    outcome = "the hub is held" if typical_s > 0.05 else "the others are served meanwhile"
    return Seen(outcome, f"no turn for {typical_s * 1000:.0f} ms")


@probe("an unmasked frame", stock="accepted", talus="closed 1002")
def unmasked(stack: Stack) -> Seen:
    client = stack.connect()
    event, payload = stack.acknowledged
    client.send_bytes(frame(f"42{BY_HAND}{json.dumps([event, payload])}".encode(), masked=False))
    client.wait_until(
        lambda: client.ended.is_set() or any(packet.startswith(ANSWER) for packet in client.packets)
    )
    return Seen(closing(client) if client.ended.is_set() else "accepted")


@probe(
    "pings while a text frame is half sent",
    stock="they break the stream",
    talus="all arrive whole",
)
def pong_inside(stack: Stack) -> Seen:
    client = stack.connect(receive_buffer=16 * 1024)
    stack.enter(client)
    here = stack.server.port
    client.pause()
    stack.flood(client, 40, 200_000)
    assert until(lambda: row(here, client.socket).unsent > 0, 10), "nothing was sent"

    def count(name: str) -> int:
        return client.names().count(name)

    def step(heard: Heard) -> None:
        if heard.name == stack.item and count(stack.item) <= 5:
            client.pause()

    client.listeners.append(step)
    for taken in range(1, 6):
        full = row(here, client.socket).unsent
        client.resume()
        client.wait_until(lambda taken=taken: client.ended.is_set() or count(stack.item) >= taken)
        # A text that is taken makes a little room: enough for a pong, not for the kernel to call the writer.
        until(lambda full=full: row(here, client.socket).unsent < full, 0.25)
        with contextlib.suppress(OSError):
            client.send_bytes(frame(b"", PING))
        until(lambda: row(here, client.socket).unread == 0, 0.25)
    client.resume()
    with contextlib.suppress(NotHeard):
        client.wait_until(
            lambda: client.ended.is_set() or (count(stack.item), count("websocket pong")) == (40, 5), 15
        )
    told = f"{count(stack.item)} of 40 texts, {count('websocket pong')} of 5 pongs"
    if told == "40 of 40 texts, 5 of 5 pongs":
        return Seen("all arrive whole", told)
    if client.ended.is_set():
        # Also seen, where there is no room at all for the pong: gevent forbids the second writer to wait.
        inside = r"x\x8a\x00" in str(client.heard("disconnect")[0])
        told += ": a pong lands inside a text" if inside else ": closed without a word"
        return Seen("they break the stream", told)
    return Seen(told)


BROKEN = {
    "reserved bit": (frame(b"x", rsv=4), 1002),
    "unknown opcode": (frame(b"x", 3), 1002),
    "no UTF-8": (frame(b"\xff"), 1007),
    "ping of 126 bytes": (frame(b"x" * 126, PING), 1002),
    "fragmented ping": (frame(b"", PING, fin=False), 1002),
    "message of 1,000,001 bytes": (frame(b"x" * 1_000_001), 1009),
}


@probe(
    "frames that break the rules",
    stock="no close code",
    talus=", ".join(str(code) for _, code in BROKEN.values()),
)
def close_codes(stack: Stack) -> Seen:
    heard = []
    for broken, _ in BROKEN.values():
        client = stack.connect()
        client.send_bytes(broken)
        assert client.ended.wait(10), "it was not closed at all"
        heard.append(client.close_code)
    told = ", ".join(f"{what}: {code or 'cut'}" for what, code in zip(BROKEN, heard, strict=True))
    if {code for code in heard if code} <= {1000, 1005}:  # 1005 stands for a close frame that has none
        return Seen("no close code", told)
    return Seen(", ".join(map(str, heard)), told)


@probe(
    "the server hangs up on a client that stays silent",
    stock="the socket is held",
    talus="the socket is closed",
    patient=True,
)
def half_open(stack: Stack) -> Seen:
    client = stack.connect()
    stack.enter(client)
    client.pause()
    end = row(stack.server.port, client.socket)
    begun = time.monotonic()
    stack.hang_up(client)
    if lets_go(stack, end, 6):
        return Seen("the socket is closed", f"after {time.monotonic() - begun:.1f} s")
    return Seen("the socket is held", "6 s later")


def slow(stack: Stack, request: bytes, count: int, limit_s: float, wait_s: float) -> Seen:
    with ThreadPoolExecutor(count) as pool:
        times = list(pool.map(lambda _: ended_after(stack, request, wait_s), range(count)))
    ended = sorted(after for after in times if after is not None)
    if not ended:
        return Seen("waited for", f"all {count} still open after {wait_s:.0f} s")
    told = f"{len(ended)} of {count} closed after {ended[0]:.1f} to {ended[-1]:.1f} s"
    in_time = len(ended) == count and limit_s - 1 < ended[0] and ended[-1] < wait_s
    return Seen(f"closed after {limit_s:.0f} s" if in_time else told, told)


@probe("300 heads that never end", stock="waited for", talus="closed after 10 s", patient=True)
def slow_heads(stack: Stack) -> Seen:
    return slow(stack, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 300, 10, 22)


@probe("20 bodies that never end", stock="waited for", talus="closed after 20 s", patient=True)
def slow_bodies(stack: Stack) -> Seen:
    path, body = stack.body(1_000)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10]
    return slow(stack, request, 20, 20, 26)


@probe(
    "more connections than files",
    stock="a new one waits",
    talus="a new one hears 503, the old ones and those who come later are served",
    files=150,
    patient=True,
)
def file_limit(stack: Stack) -> Seen:
    old = stack.connect()
    event, payload = stack.acknowledged
    crowd = [stack.open(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(250)]
    busy_s = cpu_s(stack.server.pid)
    try:
        said = str(stack.ask("GET", "/api/v1/health", timeout=4).status)
    except TimeoutError:
        said = "nothing"
    except OSError as error:
        said = type(error).__name__
    busy_s = cpu_s(stack.server.pid) - busy_s
    try:
        old.call(event, payload, timeout=4)
        served = "served"
    except NotHeard:
        served = "not served"
    for connection in crowd:
        connection.close()
    begun = time.monotonic()
    later = "not served"
    with contextlib.suppress(OSError):
        stack.ask("GET", "/api/v1/health", timeout=8)
        later = f"served after {time.monotonic() - begun:.1f} s"
    told = f"new: {said}, old: {served}, after the others left: {later}; {busy_s:.1f} s of CPU"
    if said == "nothing":
        return Seen("a new one waits", told)
    if said == "503" and served == "served" and later.startswith("served"):
        return Seen("a new one hears 503, the old ones and those who come later are served", told)
    return Seen(told, told)


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@probe("keep-alive calls over REST", stock="wait for Nagle", talus="answered at once")
def nagle(stack: Stack) -> Seen:
    connection = http.client.HTTPConnection("127.0.0.1", stack.server.port, timeout=10)
    times_ms = []
    for _ in range(20):
        begun = time.monotonic()
        connection.request("GET", stack.light_path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        times_ms.append((time.monotonic() - begun) * 1000)
    connection.close()
    # A busy machine makes some calls slow, Nagle all but the first few: look at the faster ones.
    quartile_ms, median_ms, _ = statistics.quantiles(times_ms)
    told = f"median {median_ms:.1f} ms"
    if quartile_ms > 30:
        return Seen("wait for Nagle", told)
    return Seen("answered at once" if quartile_ms < 15 else told, told)


@probe("20 calls of one client, every other one slow to read", stock="out of order", talus="in order")
def order(stack: Stack) -> Seen:
    client = stack.connect()
    calls = [(*stack.queued(client, number), Ack("")) for number in range(20)]
    client.burst([(event, (payload,), ack) for event, payload, ack in calls])
    places = [stack.place(ack.get()) for _, _, ack in calls]
    return Seen("in order" if places == sorted(places) else "out of order", f"places {places}")


@probe(
    "events named connect and disconnect",
    stock="both handlers ran",
    talus="UNKNOWN_EVENT, UNKNOWN_EVENT, and the client is still there",
)
def reserved_events(stack: Stack) -> Seen:
    client = stack.connect()
    stack.enter(client)
    ran = stack.seen() if isinstance(stack, Stock) else {}
    client.emit("connect", {})
    client.emit("disconnect", "whatever")
    client.call(*stack.acknowledged)
    if isinstance(stack, Stock):
        after = stack.seen()
        names = [name for name in ("connect", "disconnect") if after[name] > ran[name]]
        return Seen("both handlers ran" if len(names) == 2 else f"{names} ran")
    codes = [error["code"] for error in client.heard("error")]
    there = "the client is still there" if stack.is_present(client) else "the client is gone"
    return Seen(f"{', '.join(codes)}, and {there}")


@probe(
    "a handler that is given nothing",
    stock="never acknowledged",
    talus="acknowledged INVALID_REQUEST",
)
def raises(stack: Stack) -> Seen:
    client = stack.connect()
    ack = client.begin(*stack.looked_up)
    client.call(*stack.acknowledged)
    try:
        return Seen(f"acknowledged {ack.get(1)['error']['code']}")
    except NotHeard:
        return Seen("never acknowledged")


@probe(
    "bursts of 40 and of 200 emits in one poll",
    stock="0 of 40, 0 of 200, in silence",
    talus="40 of 40, 200 of 200",
)
def bursts(stack: Stack) -> Seen:
    told = []
    client = stack.connect("raw-polling")
    event, payload = stack.acknowledged
    for count in (40, 200):
        acks = [Ack(event) for _ in range(count)]
        client.burst([(event, (payload,), ack) for ack in acks])
        last = client.begin(event, payload)  # the connection is as it was, and nobody said anything
        client.wait_until(lambda last=last: last.came or client.ended.is_set())
        with contextlib.suppress(NotHeard):
            client.wait_until(lambda acks=acks: all(ack.came for ack in acks), 0.5)
        told.append(f"{sum(ack.came for ack in acks)} of {count}")
    silent = "" if told == ["40 of 40", "200 of 200"] or client.heard("error") else ", in silence"
    return Seen(", ".join(told) + silent)


@probe("400 events at once for a polling Python client", stock="it is gone", talus="it hears all 400")
def poll_answers(stack: Stack) -> Seen:
    client = stack.connect("python-polling")
    stack.enter(client)
    stack.flood(client, 400, 10)
    client.wait_until(lambda: not client.connected or client.names().count(stack.item) >= 400)
    count = client.names().count(stack.item)
    if count == 400:
        return Seen("it hears all 400")
    return Seen("it is gone", f"after {count} events: {client.heard('disconnect')}")


@probe(
    "a POST of 1,000,001 bytes to a poll",
    stock="no answer, and the connection is held when the client has left",
    talus="413, and the connection is free",
    patient=True,
)
def oversize(stack: Stack) -> Seen:
    sid = stack.connect("raw-polling", connect=False, poll=False).handshake["sid"]
    head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: localhost\r\n"
    connection = stack.open()
    assert until(lambda: row(stack.server.port, connection).inode != "0", 10), "it was not accepted"
    end = row(stack.server.port, connection)
    connection.sendall(f"{head}Content-Length: 1000001\r\n\r\n".encode())
    with contextlib.suppress(OSError):  # who refuses from the head need not read on
        connection.sendall(bytes(1_000_001))
    connection.settimeout(3)
    try:
        said = connection.recv(100).split()[1].decode()
    except TimeoutError:
        said = "no answer"
    connection.close()
    if lets_go(stack, end, 4):
        return Seen(f"{said}, and the connection is free")
    return Seen(f"{said}, and the connection is held when the client has left", "4 s later")


MALFORMED = ["", "x", "4", "4x", "42", '42{"a":1}', "42[1]"]


@probe(
    "7 malformed packets over WebSocket, and over polling",
    stock="0 of 14 are answered or end the connection",
    talus="14 of 14 are answered or end the connection",
    patient=True,
)
def malformed(stack: Stack) -> Seen:
    tried = [
        (stack.connect(kind), packet) for kind in ("raw-websocket", "raw-polling") for packet in MALFORMED
    ]
    for client, packet in tried:
        stack.enter(client)
        client.send_packet(packet)
    deadline = time.monotonic() + 5
    told = []
    for client, packet in tried:
        if until(
            lambda client=client: client.heard("error") or not stack.is_present(client),
            deadline - time.monotonic(),
        ):
            continue
        silent = "closed, and still counted as there" if client.ended.is_set() else "silence"
        told.append(f"{packet!r} by {client.kind.removeprefix('raw-')}: {silent}")
    return Seen(f"{14 - len(told)} of 14 are answered or end the connection", "; ".join(told))


@probe(
    "60 MB for a client that never reads",
    stock="all of it is kept, and after sio.disconnect too",
    talus="the memory is bounded, and the client is cut",
    env={"TALUS_OUTBOX_BYTES": str(64 * 1024)},
    patient=True,
)
def never_reads(stack: Stack) -> Seen:
    client = stack.connect(receive_buffer=16 * 1024)
    stack.enter(client)
    client.pause()
    end = row(stack.server.port, client.socket)
    before = stack.server.memory()
    begun = time.monotonic()
    stack.flood(client, 300, 200_000)
    grown = (stack.server.memory() - before) / MB
    if isinstance(stack, Stock):
        stack.connect().emit("dismiss", client.id)
    cut = lets_go(stack, end, 5 if grown > 30 else 20)
    kept = (stack.server.memory() - before) / MB
    told = f"{grown:.0f} MB more memory; {time.monotonic() - begun:.0f} s later {kept:.0f} MB, and it is "
    told += "cut" if cut else "connected"
    if grown > 50 and kept > 50 and not cut:
        return Seen("all of it is kept, and after sio.disconnect too", told)
    if grown < 30 and cut:
        return Seen("the memory is bounded, and the client is cut", told)
    return Seen(told)


@probe(
    "a bare NaN",
    stock="passed on, and it ends a client",
    talus="INVALID_REQUEST, and nobody else hears it",
)
def nan(stack: Stack) -> Seen:
    client, other = stack.connect(), stack.connect()
    stack.enter(client)
    if isinstance(stack, Talus):
        stack.rooms[other] = stack.rooms[client]
    stack.enter(other)
    client.send_packet(stack.says_nan(client))
    client.wait_until(lambda: client.ended.is_set() or client.heard("error"), what="an answer or the end")
    with contextlib.suppress(NotHeard, OSError):
        other.call(*stack.acknowledged, timeout=1)
    if any("NaN" in packet for packet in other.packets):
        return Seen("passed on, and it ends a client" if other.ended.is_set() else "passed on")
    return Seen(f"{client.heard('error')[0]['code']}, and nobody else hears it")


@probe("100,000 brackets in one another", stock="never answered", talus="INVALID_VALUE")
def deep(stack: Stack) -> Seen:
    client = stack.connect()
    client.send_packet(stack.deep(client, 100_000))
    client.call(*stack.acknowledged)
    with contextlib.suppress(NotHeard):
        client.wait_until(lambda: any(packet.startswith(ANSWER) for packet in client.packets), 1)
    answers = [
        json.loads(packet[len(ANSWER) - 1 :])[0] for packet in client.packets if packet.startswith(ANSWER)
    ]
    if not answers:
        return Seen("never answered", "RecursionError" * ("RecursionError" in stack.server.log()))
    return Seen(answers[0]["error"]["code"])


@probe(
    "a refused connect",
    stock="connect_error with data.code for each",
    talus="connect_error with data.code for each",
    env={"TALUS_AUTH": "jwt"},
)
def refused_connect(stack: Stack) -> Seen:
    """No fault, and what talus refuses tokens with: it has to stay as it is."""
    told = {}
    for kind in ("raw-websocket", "raw-polling", "python-websocket", "node-websocket"):
        with pytest.raises(ConnectRefused) as refused:
            stack.connect(kind, auth={"token": "forged"})
        payload = refused.value.payload
        told[kind] = payload["data"]["code"] if isinstance(payload, dict) and "data" in payload else payload
    if set(told.values()) == {"UNAUTHENTICATED"}:
        return Seen("connect_error with data.code for each")
    return Seen(repr(told))


EVIL = "evil.example"


@probe(
    "a name that resolves to us, and a forged X-Forwarded-Host",
    stock="200 101, 200 101",
    talus="421 421, 403 403",
)
def origins(stack: Stack) -> Seen:
    rebound = {"Host": EVIL, "Origin": f"http://{EVIL}"}
    forged = {"Origin": f"http://{EVIL}", "X-Forwarded-Host": EVIL}
    told = []
    for headers in (rebound, forged):
        answer = stack.ask("GET", "/socket.io/?EIO=4&transport=polling", **headers)
        try:
            stack.connect(headers=headers, connect=False)
            upgraded = 101
        except UpgradeRefused as refused:
            upgraded = refused.status
        told.append(f"{answer.status} {upgraded}")
    return Seen(", ".join(told))


@probe(
    "errors of the framework",
    stock="404 text/html, 405 text/html, 500 text/html",
    talus="404 application/json, 405 application/json, 400 application/json",
)
def error_pages(stack: Stack) -> Seen:
    path, _ = stack.body(10)
    told = []
    for method, address, body in (
        ("GET", "/no/such", None),
        ("DELETE", path, None),
        ("POST", path if isinstance(stack, Talus) else "/body", b"no JSON"),
    ):
        answer = stack.ask(method, address, body)
        told.append(f"{answer.status} {answer.media_type}")
    return Seen(", ".join(told))


@probe("a JSON body of 300 kB", stock="413", talus="200")
def large_json(stack: Stack) -> Seen:
    path, body = stack.body(300_000)
    return Seen(str(stack.ask("POST", path, body).status), f"{len(body)} bytes")


@probe("a body of 5 MB that is still coming in", stock="in a file on the disk", talus="in memory")
def spooled(stack: Stack) -> Seen:
    path, body = stack.body(5 * MB)
    path = "/body" if isinstance(stack, Stock) else path
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    before = open_files(stack.server.pid)
    connection = stack.open(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
    mine = connection.getsockname()[1]
    assert until(
        lambda: row(mine, stack.server.port).unsent == 0 and row(stack.server.port, mine).unread == 0, 10
    ), "the body was not read"
    spools = {name for name in open_files(stack.server.pid) - before if name.startswith("/")}
    connection.sendall(body[-1:])
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 200
    return Seen("in a file on the disk" if spools else "in memory")


@probe("a body of 40,000 brackets in one another", stock="500 text/html", talus="400 application/json")
def deep_json(stack: Stack) -> Seen:
    path, body = stack.deep_body(40_000)
    answer = stack.ask("POST", path, body)
    return Seen(f"{answer.status} {answer.media_type}")


@probe("JSON that says it is plain text", stock="200", talus="415")
def media_type(stack: Stack) -> Seen:
    path, body = stack.body(10)
    path = "/body" if isinstance(stack, Stock) else path
    return Seen(str(stack.ask("POST", path, body, Content_Type="text/plain").status))


@probe(
    "large texts without gevent-websocket, as engineio falls back",
    stock="they do not arrive whole",
    talus="40 of 40 arrive",
    flags=("--fallback",),
)
def fallback(stack: Stack) -> Seen:
    client = stack.connect(receive_buffer=16 * 1024)
    stack.enter(client)
    client.pause()
    stack.flood(client, 40, 200_000)
    assert until(lambda: row(stack.server.port, client.socket).unsent > 0, 10), "nothing was sent"
    client.resume()
    with contextlib.suppress(NotHeard):
        client.wait_until(lambda: client.ended.is_set() or client.names().count(stack.item) == 40, 15)
    count = client.names().count(stack.item)
    if count == 40:
        return Seen("40 of 40 arrive")
    return Seen("they do not arrive whole", f"{count} of 40 arrive")


# Asking both


class Laboratory:
    """The servers of this file, and what was seen of them."""

    def __init__(self, make_folder: Callable[[str], Path], patient: list[tuple[Probe, str]]) -> None:
        self._make_folder = make_folder
        self._patient = patient
        self._shared: dict[str, Server] = {}
        self._servers: list[Server] = []
        self._pool = ThreadPoolExecutor(max(1, len(patient)))
        self._waiting: dict[tuple[str, str], Future[Seen]] = {}

    def see(self, probe: Probe, name: str) -> Seen:
        """What the probe sees of the one or the other server."""
        if not probe.patient:
            return self._ask(probe, name, self._server(probe, name))
        if not self._waiting:
            # First all servers, then all probes: a start takes the CPU that others wait for.
            servers = [self._server(each, of) for each, of in self._patient]
            for (each, of), server in zip(self._patient, servers, strict=True):
                self._waiting[each.fault, of] = self._pool.submit(self._ask, each, of, server)
        return self._waiting[probe.fault, name].result()

    def _ask(self, probe: Probe, name: str, server: Server) -> Seen:
        stack = Talus(server) if name == "talus" else Stock(server)
        try:
            return probe.run(stack)
        finally:
            stack.close()

    def _server(self, probe: Probe, name: str) -> Server:
        """The probe's own, or the one that the others share."""
        if probe.has_own_server:
            return self._start(name, probe)
        if name not in self._shared:
            self._shared[name] = self._start(name)
        return self._shared[name]

    def _start(self, name: str, probe: Probe | None = None) -> Server:
        folder = self._make_folder(name)
        env = {}
        if probe is not None and name == "talus":
            env |= probe.env
        if env.get("TALUS_AUTH") == "jwt":
            key = folder / "key"
            key.write_text("k" * 32)
            env["TALUS_JWT_SECRET_FILE"] = str(key)
        if probe is not None and probe.files is not None:
            # Python runs this before anything of ours: the limit holds from the start, for good.
            limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({probe.files}, {probe.files}))"
            (folder / "sitecustomize.py").write_text(f"import resource\n{limit}\n")
            env["PYTHONPATH"] = str(folder)
        if name == "talus":
            server = Server(folder, env=env, watched=True)
        else:
            server = _StockServer(folder, env=env, flags=list(probe.flags) if probe else [])
        self._servers.append(server)
        return server.start()

    def close(self) -> None:
        self._pool.shutdown()
        for server in self._servers:
            server.kill()

    def logs(self) -> str:
        """What talus logged."""
        return "".join(each.log() for each in self._servers if not isinstance(each, _StockServer))


class _StockServer(Server):
    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self._program = ["tests.support.stock"]


PROBES.sort(key=lambda each: each.patient)  # those who measure first; the others wait together at the end


@pytest.fixture(scope="module")
def laboratory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Laboratory]:
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    patient = [
        (params["probe"], params["name"])
        for params in chosen
        if isinstance(params.get("probe"), Probe) and params["probe"].patient
    ]
    laboratory = Laboratory(tmp_path_factory.mktemp, patient)
    yield laboratory
    laboratory.close()
    assert "Traceback" not in laboratory.logs()


@pytest.mark.parametrize("name", ["stock", "talus"])
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.run.__name__)
def test_what_the_stock_libraries_suffer_talus_does_not(
    laboratory: Laboratory, probe: Probe, name: str
) -> None:
    """Given the libraries as they come, and talus, when both meet the same, then the fault shows on the one
    and not on the other."""
    seen = laboratory.see(probe, name)
    print(f"| {probe.fault} | {name} | {seen.outcome} | {seen.measured} |")
    assert seen.outcome == getattr(probe, name), seen.measured


# What cannot be asked of a running server


@pytest.mark.parametrize("path", ["talus/__main__.py", "tests/conftest.py"])
def test_the_standard_library_is_patched_before_anything_else(path: str) -> None:
    """Given the entry point and the tests, when Python reads them, then nothing is imported before gevent has
    patched the standard library."""
    statements = ast.parse((REPOSITORY / path).read_text()).body
    if isinstance(statements[0], ast.Expr) and isinstance(statements[0].value, ast.Constant):
        del statements[0]  # the docstring
    assert [ast.unparse(each) for each in statements[:2]] == [
        "from gevent import monkey",
        "monkey.patch_all()",
    ]


@pytest.mark.parametrize(
    "program, warned",
    [
        ("import socketio, requests; from gevent import monkey; monkey.patch_all()", True),
        ("import talus.__main__", False),
    ],
)
def test_gevent_warns_of_a_late_patch_and_not_of_ours(program: str, warned: bool) -> None:
    """Given warnings that are errors, when the libraries come first, then gevent complains; of talus it does
    not."""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", program]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert ("MonkeyPatchWarning" in ended.stderr, ended.returncode != 0) == (warned, warned), ended.stderr


FLOORS = {  # releases that cured known vulnerabilities
    "python-socketio": (5, 16, 2),
    "python-engineio": (4, 13, 2),
    "gevent": (23, 9, 1),
    "PyJWT": (2, 15, 0),
}


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_older_than_its_cure_is_installed(name: str) -> None:
    """Given setup.cfg, when pip reads it, then it takes no release with a known vulnerability."""
    least, _ = bounds(name)
    assert least >= FLOORS[name]


@pytest.mark.parametrize("name", ["python-socketio", "python-engineio"])
def test_what_we_reach_into_changes_on_purpose_only(name: str) -> None:
    """Given setup.cfg, when the next minor version of what we reach into appears, then pip
    leaves it alone."""
    least, below = bounds(name)
    assert below[:2] <= (least[0], least[1] + 1)


def bounds(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The least version that setup.cfg takes, and the one that it stops before."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    found = re.search(rf"^{name} >=([\d.]+),<([\d.]+)$", config["options"]["install_requires"], re.MULTILINE)
    assert found is not None
    least, below = (tuple(map(int, text.split("."))) for text in found.groups())
    return least, below
