"""A Socket.IO client made of a bare socket: it joins a room and hears it, as cheaply as Python can.

A handshake is a generator that yields what to send and is sent what came, so
that one client can be opened alone, or a thousand at the same time.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import selectors
import socket
import time
import uuid
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S = 60.0
# the text frame of an Engine.IO ping, and the pong that answers it; a mask of zeros is a mask
PING, PONG = b"\x81\x012", b"\x81\x81\x00\x00\x00\x003"
LENGTH = re.compile(rb"(?i)content-length: *(\d+)")

Json = dict[str, Any]


class BenchError(Exception):
    """The run is worth nothing: a server or a client did not do what the measurement rests on."""


def now_us() -> int:
    """Microseconds of a clock that all processes of this machine share; small enough for a JSON number."""
    return time.monotonic_ns() // 1000


def node_id(number: int) -> str:
    """The id of a node that a measurement makes: known to every process without being told."""
    return str(uuid.UUID(int=number))


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def frame(text: str) -> bytes:
    """A client's text frame, its mask all zeros."""
    data = text.encode()
    if len(data) < 126:
        head = bytes([0x81, 0x80 | len(data)])
    else:
        head = b"\x81\xfe" + len(data).to_bytes(2, "big")
    return head + b"\0\0\0\0" + data


def event(name: str, payload: Json) -> str:
    return "42" + json.dumps([name, payload], separators=(",", ":"))


def frame_at(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Where the payload of a server's frame begins and ends; None while it is not whole."""
    if len(data) < at + 2:
        return None
    length, start = data[at + 1] & 0x7F, at + 2
    if length == 126:
        length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
    elif length == 127:
        length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
    end = start + length
    return (start, end) if start <= len(data) and end <= len(data) else None


class Frames:
    """Cuts what a server sends into the payloads of its text frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        at, found = 0, []
        while place := frame_at(data, at):
            found.append(data[place[0] : place[1]])
            at = place[1]
        self._rest = data[at:]
        return found


Opened = tuple[Json, Frames, list[bytes]]  # the payload of `joined`, and what came behind it
Handshake = Generator[bytes, bytes, Opened]


def handshake(url: str, join: Json | None = None) -> Handshake:
    """Connect a client over WebSocket, and let it join when there is a payload for `join_session`."""
    host, port = address_of(url)
    key = base64.b64encode(os.urandom(16)).decode()
    data = yield (
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    while b"\r\n\r\n" not in data:
        data += yield b""
    head, _, data = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise BenchError(f"no WebSocket at {url}: {head[:200]!r}")
    frames = Frames()
    packets, say = frames.feed(data), frame("40")
    calls = [(b"40", b"")] + ([(b'42["joined",', frame(event("join_session", join)))] if join else [])
    calls.reverse()
    joined: Json = {}
    while calls:
        expected, call = calls[-1]
        found = next((packet for packet in packets if packet.startswith(expected)), None)
        if found is None:
            if any(packet.startswith((b"44", b'42["error"')) for packet in packets):
                raise BenchError(f"{url} refuses a client: {packets!r}")
            packets = frames.feed((yield say + call))
            say = b""
            calls[-1] = expected, b""
            continue
        packets = packets[packets.index(found) + 1 :]
        calls.pop()
        if expected != b"40":
            joined = json.loads(found[2:])[1]
    return joined, frames, packets


def received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 18)
    if not data:
        raise BenchError("the server closed a connection")
    return data


def new_socket(url: str, receive_bytes: int = 0) -> socket.socket:
    """A connected socket. receive_bytes: of the kernel's buffer, when not what is usual."""
    connection = socket.socket()
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(CONNECT_TIMEOUT_S)
    connection.connect(address_of(url))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def opened(connection: socket.socket, steps: Handshake) -> Opened:
    """One client, opened alone."""
    say = next(steps)
    while True:
        if say:
            connection.sendall(say)
        try:
            say = steps.send(received(connection))
        except StopIteration as done:
            result: Opened = done.value
            return result


def opened_together(connections: list[socket.socket], steps: list[Handshake]) -> list[Json]:
    """Many clients, opened at the same time; the `joined` of each in the order in which they came."""
    joined: list[Json] = []
    with selectors.DefaultSelector() as selector:
        for connection, each in zip(connections, steps, strict=True):
            connection.sendall(next(each))
            selector.register(connection, selectors.EVENT_READ, (connection, each))
        while len(joined) < len(connections):
            ready = selector.select(CONNECT_TIMEOUT_S)
            if not ready:
                raise BenchError(f"{len(connections) - len(joined)} clients could not join")
            for key, _ in ready:
                connection, each = key.data
                try:
                    if say := each.send(received(connection)):
                        connection.sendall(say)
                except StopIteration as done:
                    joined.append(done.value[0])
                    selector.unregister(connection)
    return joined


def http_body(answer: bytes) -> bytes | None:
    """The body of an HTTP answer to a keep-alive connection; None while it is not whole."""
    head, found, rest = answer.partition(b"\r\n\r\n")
    if not found:
        return None
    if length := LENGTH.search(head):
        return rest[: int(length[1])] if len(rest) >= int(length[1]) else None
    # chunked; what is in the chunks has no line ends
    lines = rest.split(b"\r\n")
    return b"".join(lines[1:-3:2]) if lines[-3:] == [b"0", b"", b""] else None


def rest(url: str, method: str, path: str, body: Json | None = None) -> Json:
    """One REST call; its answer."""
    answer: Json = json.loads(asked(url, method, path, body)[2])
    return answer


def asked(
    url: str, method: str, path: str, body: Json | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One REST call; status, head and body of the answer. Raises BenchError for a refusal."""
    connection = http.client.HTTPConnection(*address_of(url), timeout=120)
    words = {"Content-Type": "application/json", **(headers or {})}
    connection.request(method, f"/api/v1{path}", None if body is None else json.dumps(body), words)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status >= 400:
        raise BenchError(f"{method} {path}: {response.status} {answer[:500]!r}")
    return response.status, dict(response.getheaders()), answer
