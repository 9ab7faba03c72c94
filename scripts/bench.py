"""How many durable commands a second, and how soon everyone has heard of them: one JSON document.

    python scripts/bench.py --clients 100 --writers 8 --in-flight 8 --seconds 5

One session, many watchers, a few writers. A command is an `UpdateProperty` whose value is the moment it
was sent, so each watcher can tell how old the event is. Three measurements, one after the other:

    socket         writers send `execute_command`, each with `--in-flight` of them unanswered
    rest           writers send `POST /commands/execute`, each over `--in-flight` keep-alive connections
    rest_latency   one connection, one command at a time, watchers idle otherwise

Watchers and writers run in processes of their own. Most watchers only count events, in the bytes that
arrive; the first of each process reads every frame, checks that no version is missing, and measures.
Everything shares this machine's cores with the server: compare runs, not machines.

In the answer: `commands_per_s` acknowledged; `ack_ms` from sending to acknowledgement; `event_ms` from
sending to the event at a measuring watcher; `deliveries` events that arrived, at all watchers together;
`losses` those that did not within 30 s, or out of order.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
NODES = 20  # that the writers change in turn
LATENCY_COMMANDS = 300  # in the measurement `rest_latency`
SETTLE_S = 30.0  # for the last events to arrive
CONNECT_TIMEOUT_S = 20.0

CHANGED = b'42["property-changed"'
# the text frame of an Engine.IO ping, and the pong that answers it; a mask of zeros is a mask
SERVER_PING, CLIENT_PONG = b"\x81\x012", b"\x81\x81\x00\x00\x00\x003"
NEW_VALUE = re.compile(rb'"new_value":(\d+)')
VERSION = re.compile(rb'"version":(\d+)')
ACKNOWLEDGED = re.compile(rb"43(\d+)\[")

Json = dict[str, Any]


def now_us() -> int:
    """Microseconds of a clock that all processes of this machine share; small enough for a JSON number."""
    return time.monotonic_ns() // 1000


def frame(text: str) -> bytes:
    """A client's text frame, its mask all zeros."""
    data = text.encode()
    if len(data) < 126:
        head = bytes([0x81, 0x80 | len(data)])
    else:
        head = b"\x81\xfe" + len(data).to_bytes(2, "big")
    return head + b"\0\0\0\0" + data


class Frames:
    """Cuts what a server sends into the payloads of its text frames."""

    def __init__(self, rest: bytes = b"") -> None:
        self._rest = rest

    def feed(self, data: bytes) -> list[bytes]:
        buffer = self._rest + data
        at, found = 0, []
        while len(buffer) >= at + 2:
            length, start = buffer[at + 1] & 0x7F, at + 2
            if length == 126:
                length, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < start + length or start > len(buffer):
                break
            found.append(buffer[start : start + length])
            at = start + length
        self._rest = buffer[at:]
        return found


def open_websocket(url: str) -> tuple[socket.socket, Frames]:
    """A connected Socket.IO client as a plain socket, still blocking, and what was left over behind its
    connect."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    connection = socket.create_connection(address, timeout=CONNECT_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += _received(connection)
    if not head.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"bench: no WebSocket at {url}: {head[:200]!r}")
    frames = Frames()
    packets = frames.feed(head.partition(b"\r\n\r\n")[2])
    connection.sendall(frame("40"))
    while not any(packet.startswith(b"40") for packet in packets):
        packets += frames.feed(_received(connection))
    return connection, frames


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise SystemExit("bench: the server closed a connection")
    return data


def join(connection: socket.socket, frames: Frames, session_id: str) -> None:
    connection.sendall(frame("42" + json.dumps(["join_session", {"session_id": session_id}])))
    while not any(packet.startswith(b'42["joined"') for packet in frames.feed(_received(connection))):
        pass


# Watchers: a process of their own


class Counter:
    """A watcher that only counts the events in the bytes that arrive."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.events = 0
        self.alive = True
        self._tail = b""

    def take(self, data: bytes) -> None:
        joined = self._tail + data
        self.events += joined.count(CHANGED)
        if SERVER_PING in joined:
            self.connection.sendall(CLIENT_PONG)
            joined = joined.replace(SERVER_PING, b"")
        keep = len(CHANGED) - 1
        # what is kept is shorter than the pattern, so nothing is counted twice
        self._tail = joined[-keep:]


class Reader(Counter):
    """A watcher that reads each frame, looks for gaps and measures how old each event is."""

    def __init__(self, connection: socket.socket, frames: Frames) -> None:
        super().__init__(connection)
        self.gaps = 0
        self.ages_ms: list[float] = []
        self._frames = frames
        self._version = 0

    def take(self, data: bytes) -> None:
        now = now_us()
        for packet in self._frames.feed(data):
            if packet == b"2":
                self.connection.sendall(CLIENT_PONG)
            elif packet.startswith(CHANGED):
                self.events += 1
                sent, version = NEW_VALUE.search(packet), VERSION.search(packet)
                if sent is None or version is None:
                    raise SystemExit(f"bench: an event without value or version: {packet!r}")
                number = int(version[1])
                self.gaps += self._version not in (0, number - 1)
                self._version = number
                self.ages_ms.append((now - int(sent[1])) / 1e3)


def watch(url: str, session_id: str, clients: int) -> None:
    """The watching process. In: a line with a number of events; out: a line once each watcher has had
    them."""
    selector = selectors.DefaultSelector()
    watchers: list[Counter] = []
    for number in range(clients):
        connection, frames = open_websocket(url)
        join(connection, frames, session_id)
        connection.settimeout(5)
        watcher = Reader(connection, frames) if number == 0 else Counter(connection)
        watchers.append(watcher)
        selector.register(connection, selectors.EVENT_READ, watcher)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    expected, deadline = -1, 0.0
    while True:
        for key, _ in selector.select(0.05):
            if key.data is None:
                line = sys.stdin.readline()
                if not line:
                    return
                expected, deadline = int(line), time.monotonic() + SETTLE_S
                continue
            try:
                data = key.data.connection.recv(1 << 18)
            except OSError:
                data = b""
            if data:
                key.data.take(data)
            else:
                key.data.alive = False
                selector.unregister(key.data.connection)
        if expected < 0:
            continue
        waiting = any(watcher.alive and watcher.events < expected for watcher in watchers)
        if not waiting or time.monotonic() > deadline:
            _tell_watchers(watchers, expected)
            expected = -1


def _tell_watchers(watchers: list[Counter], expected: int) -> None:
    readers = [watcher for watcher in watchers if isinstance(watcher, Reader)]
    told = {
        "deliveries": sum(watcher.events for watcher in watchers),
        "losses": sum(abs(expected - watcher.events) for watcher in watchers),
        "gaps": sum(reader.gaps for reader in readers),
        "ages_ms": [age for reader in readers for age in reader.ages_ms],
    }
    print(json.dumps(told), flush=True)
    for watcher in watchers:
        watcher.events = 0
    for reader in readers:
        reader.gaps, reader.ages_ms = 0, []


# Writers: a process of their own


class SocketWriter:
    """Keeps `in_flight` commands unanswered on one WebSocket."""

    def __init__(self, url: str, session_id: str, nodes: list[str], in_flight: int) -> None:
        self.connection, self._frames = open_websocket(url)
        self.connection.settimeout(30)
        self.in_flight = in_flight
        self.sent_at: dict[int, int] = {}
        self.latencies_ms: list[float] = []
        self.errors = 0
        self._number = 0
        self._heads = [
            f'["execute_command",{{"session_id":"{session_id}","command_type":"UpdateProperty",'
            f'"data":{{"node_id":"{node}","property_id":"sent","value":'
            for node in nodes
        ]

    @property
    def waiting(self) -> int:
        return len(self.sent_at)

    def send(self, count: int) -> None:
        parts = []
        for _ in range(count):
            self._number += 1
            now = now_us()
            head = self._heads[self._number % len(self._heads)]
            parts.append(frame(f"42{self._number}{head}{now}}}}}]"))
            self.sent_at[self._number] = now
        self.connection.sendall(b"".join(parts))

    def take(self, data: bytes) -> int:
        """How many acknowledgements came with `data`."""
        now, came = now_us(), 0
        for packet in self._frames.feed(data):
            if packet == b"2":
                self.connection.sendall(CLIENT_PONG)
            elif match := ACKNOWLEDGED.match(packet):
                self.latencies_ms.append((now - self.sent_at.pop(int(match[1]))) / 1e3)
                self.errors += b'"error":' in packet
                came += 1
        return came


class RestWriter:
    """One keep-alive connection, one command at a time."""

    in_flight = 1

    def __init__(self, url: str, session_id: str, nodes: list[str]) -> None:
        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.connection = socket.create_connection(address, timeout=30)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.latencies_ms: list[float] = []
        self.errors = 0
        self.waiting = 0
        self._sent_at = 0
        self._buffer = b""
        self._number = 0
        self._nodes = nodes
        self._session_id = session_id
        self._head = (
            f"POST /api/v1/commands/execute HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )

    def send(self, count: int) -> None:
        if count == 0:
            return
        self._number += 1
        self._sent_at = now_us()
        node = self._nodes[self._number % len(self._nodes)]
        body = (
            f'{{"session_id":"{self._session_id}","command_type":"UpdateProperty",'
            f'"data":{{"node_id":"{node}","property_id":"sent","value":{self._sent_at}}}}}'
        )
        self.waiting = 1
        self.connection.sendall(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def take(self, data: bytes) -> int:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return 0
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length is None:
            raise SystemExit(f"bench: an answer without length: {head!r}")
        if len(rest) < int(length[1]):
            return 0
        self.latencies_ms.append((now_us() - self._sent_at) / 1e3)
        self.errors += not head.startswith(b"HTTP/1.1 200")
        self._buffer = rest[int(length[1]) :]
        self.waiting = 0
        return 1


def write(order: Json) -> Json:
    """The writing process: what the writers had acknowledged, and how soon.

    order: url, session_id, nodes, transport (`socket`, `rest`), writers, in_flight; seconds or commands.
    """
    writers: list[SocketWriter | RestWriter]
    target = order["url"], order["session_id"], order["nodes"]
    if order["transport"] == "socket":
        writers = [SocketWriter(*target, order["in_flight"]) for _ in range(order["writers"])]
    else:
        writers = [RestWriter(*target) for _ in range(order["writers"] * order["in_flight"])]
    selector = selectors.DefaultSelector()
    for writer in writers:
        selector.register(writer.connection, selectors.EVENT_READ, writer)
    began = time.monotonic()
    end = began + order["seconds"] if "seconds" in order else float("inf")
    left = order.get("commands", 1 << 60)
    for writer in writers:
        writer.send(writer.in_flight)
        left -= writer.in_flight
    while any(writer.waiting for writer in writers):
        ready = selector.select(60)
        if not ready:
            raise SystemExit("bench: no answer for 60 s")
        for key, _ in ready:
            came = key.data.take(_received(key.data.connection))
            if came and left > 0 and time.monotonic() < end:
                key.data.send(came)
                left -= came
    took_s = time.monotonic() - began
    for writer in writers:
        writer.connection.close()
    return {
        "took_s": took_s,
        "latencies_ms": [each for writer in writers for each in writer.latencies_ms],
        "errors": sum(writer.errors for writer in writers),
    }


# The process that was started


class Watchers:
    """The watching processes."""

    def __init__(self, url: str, session_id: str, clients: int, processes: int) -> None:
        shares = [clients // processes + (number < clients % processes) for number in range(processes)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--role", json.dumps(["watch", url, session_id, share])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for share in shares
            if share
        ]
        for process in self.processes:
            if _pipe(process.stdout).readline() != "ready\n":
                raise SystemExit("bench: a watching process failed")

    def expect(self, events: int) -> Json:
        """What all of them have heard, once each watcher has had `events` events since the last time."""
        for process in self.processes:
            _pipe(process.stdin).write(f"{events}\n")
            _pipe(process.stdin).flush()
        told = [json.loads(_pipe(process.stdout).readline()) for process in self.processes]
        return {
            "event_ms": percentiles([age for each in told for age in each["ages_ms"]]),
            "deliveries": sum(each["deliveries"] for each in told),
            "losses": sum(each["losses"] + each["gaps"] for each in told),
        }

    def end(self) -> None:
        for process in self.processes:
            _pipe(process.stdin).close()
            process.wait(10)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("started without a pipe")
    return pipe


def percentiles(values: list[float]) -> Json:
    """Median and 99th percentile, in the unit of the values; None of nothing."""
    if not values:
        return {"p50": None, "p99": None}
    values = sorted(values)
    return {
        "p50": round(statistics.median(values), 2),
        "p99": round(values[min(len(values) - 1, int(len(values) * 0.99))], 2),
    }


def post(url: str, path: str, body: Json) -> Json:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)
    connection.request("POST", f"/api/v1{path}", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    if response.status >= 300:
        raise SystemExit(f"bench: {path}: {response.status} {answer}")
    assert isinstance(answer, dict)
    return answer


def run_writers(order: Json) -> Json:
    done = subprocess.run(
        [sys.executable, __file__, "--role", json.dumps(["write", order])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


def measure(url: str, options: argparse.Namespace) -> Json:
    session_id = post(url, "/sessions", {"name": "bench"})["session_id"]
    nodes = [str(uuid.uuid4()) for _ in range(NODES)]
    entries = [
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "part", "node_id": node}}
        for node in nodes
    ]
    batch = {"session_id": session_id, "command_type": "Batch", "data": {"commands": entries}}
    post(url, "/commands/execute", batch)
    watchers = Watchers(url, session_id, options.clients, options.processes)
    order = {
        "url": url,
        "session_id": session_id,
        "nodes": nodes,
        "writers": options.writers,
        "in_flight": options.in_flight,
        "seconds": options.seconds,
    }
    measured: Json = {}
    try:
        for transport in ("socket", "rest"):
            if options.transport in (transport, "both"):
                told = run_writers(order | {"transport": transport})
                commands = len(told["latencies_ms"])
                measured[transport] = {
                    "commands": commands,
                    "errors": told["errors"],
                    "commands_per_s": round((commands - told["errors"]) / told["took_s"], 1),
                    "ack_ms": percentiles(told["latencies_ms"]),
                    **watchers.expect(commands - told["errors"]),
                }
        alone = {key: order[key] for key in ("url", "session_id", "nodes")} | {
            "transport": "rest",
            "writers": 1,
            "in_flight": 1,
            "commands": LATENCY_COMMANDS,
        }
        told = run_writers(alone)
        latencies = percentiles(told["latencies_ms"])
        measured["rest_latency"] = {
            "commands": len(told["latencies_ms"]),
            "median_ms": latencies["p50"],
            "p99_ms": latencies["p99"],
            **watchers.expect(len(told["latencies_ms"]) - told["errors"]),
        }
    finally:
        watchers.end()
    return measured


class OwnServer:
    """A server on a database that is thrown away, for as long as the block lasts; its address."""

    def __enter__(self) -> str:
        self._folder = tempfile.TemporaryDirectory()
        database = str(Path(self._folder.name) / "bench.db")
        command = [sys.executable, "-m", "talus", "serve", "--port", "0", "--database", database]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for line in _pipe(self._process.stdout):
            if found := re.search(r"listening on (\S+)", line):
                return found[1]
        raise SystemExit("bench: the server did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(15)
        self._folder.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10, help="watchers in the session's room (default 10)")
    parser.add_argument("--writers", type=int, default=8, help="connections that send commands (default 8)")
    parser.add_argument("--in-flight", type=int, default=8, help="unanswered commands of each (default 8)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of writing in each measurement (default 5)"
    )
    parser.add_argument(
        "--transport", choices=["socket", "rest", "both"], default="both", help="of the writers"
    )
    parser.add_argument(
        "--processes", type=int, default=1, help="that the watchers are spread over (default 1)"
    )
    parser.add_argument("--url", help="a running server (default: one of its own, on a temporary database)")
    parser.add_argument("--role", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is not None:
        role, *words = options.role
        if role == "watch":
            watch(*words)
        else:
            print(json.dumps(write(*words)))
        return
    if options.url:
        measured = measure(options.url.rstrip("/"), options)
    else:
        with OwnServer() as url:
            measured = measure(url, options)
    about = {
        "clients": options.clients,
        "writers": options.writers,
        "in_flight": options.in_flight,
        "seconds": options.seconds,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(about | measured, indent=2))


if __name__ == "__main__":
    main()
