"""Watchers: clients that join a room and prove that each of them heard everything, in order.

All that a watcher hears from the first command on has to be the same, byte for
byte, as what the others hear. So a process keeps one `Stream`: whoever hears
something first extends it, everybody else is compared with it, at the speed of
memcmp, and stands at a position in it. What the stream itself says is read once
for each process, frame by frame, by `Order`. Both together: every watcher heard
every event, none twice, none in another place. Pings, which each client gets at
its own time, are taken out.
"""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import sys
import zlib
from collections import Counter

from bench.client import (
    PING,
    PONG,
    Json,
    address_of,
    event,
    frame_at,
    handshake,
    http_body,
    new_socket,
    now_us,
    opened,
)

SILENCE_US = 30_000_000  # after which what did not come is lost
AFTER_US = 100_000  # in which nothing more may come
GREETED = 20  # watchers that join before those who are there read the news of it
STREAM_BYTES = 16_000_000  # kept at most, unless a watcher is further behind

BEGIN = b'42["command:executing"'  # from here on all hear the same
HEADER = 4  # bytes of a WebSocket frame before it
VALUE = re.compile(rb'"new_value":(\d+)[,}]')
EVENT = re.compile(rb'42\["([a-z:-]+)",\{.*?"version":(\d+).*?"command_id":"([^"]+)"')
CLOSING = (b"command:executed", b"command:undo", b"command:redo")


class Fault(Exception):
    """What was heard is not what a room may hear."""


class Stream:
    """What all watchers of this process hear."""

    def __init__(self, polling: bool) -> None:
        self.polling = polling  # packets that end with \x1e, in place of frames
        self.data = bytearray()
        self.base = 0  # position of its first byte
        self.crc = 0

    @property
    def end(self) -> int:
        return self.base + len(self.data)

    def extend(self, data: bytes) -> None:
        self.data += data
        self.crc = zlib.crc32(data, self.crc)

    def forget(self, before: int) -> None:
        del self.data[: before - self.base]
        self.base = before


class Order:
    """Reads a stream: commits one after the other, each with its id and the next version, each whole."""

    def __init__(self, stream: Stream, version: int, single: bool) -> None:
        """version: before the first command. single: a command is one fact; else it is any number."""
        self.version = version
        self.position = 0
        self.counts: Counter[str] = Counter()
        self._stream = stream
        self._single = single
        self._id = b""  # of the commit that is under way
        self._facts = 0

    def read(self) -> None:
        """All that is whole. Raises Fault."""
        stream = self._stream
        data, at = stream.data, self.position - stream.base
        while place := self._packet(data, at):
            self._hear(data, *place)
            at = place[1] + stream.polling
            self.position = stream.base + at

    def _packet(self, data: bytearray, at: int) -> tuple[int, int] | None:
        if not self._stream.polling:
            return frame_at(data, at)
        end = data.find(b"\x1e", at)
        return None if end < 0 else (at, end)

    def _hear(self, data: bytearray, start: int, end: int) -> None:
        found = EVENT.match(data, start, end)
        if found is None:
            if not data.startswith(b'42["session:', start):
                raise Fault(f"no event after version {self.version}: {bytes(data[start:end])[:300]!r}")
            return
        name, version, command_id = found.groups()
        self.counts[name.decode()] += 1
        if name == b"command:executing":
            right = not self._id and int(version) == self.version
            self._id = command_id
        else:
            right = int(version) == self.version + 1 and command_id == (self._id or command_id)
            self._id = command_id
            if name in CLOSING:
                right = right and (self._facts == 1 if self._single else self._facts > 0)
                self.version, self._id, self._facts = self.version + 1, b"", 0
            else:
                self._facts += 1
        if not right:
            raise Fault(
                f"{name.decode()} of version {int(version)}, command {command_id.decode()}, is lost, doubled "
                f"or out of order: after version {self.version}"
            )


class Watcher:
    """One client over WebSocket."""

    def __init__(self, stream: Stream, connection: socket.socket) -> None:
        self.connection = connection
        self.position = -1  # in the stream; it has not begun
        self.measured = -1  # up to where ages are known; -1: they are not measured here
        self.ages_us: list[int] = []
        self.fault = ""
        self._stream = stream
        self._held = b""

    def receive(self, data: memoryview) -> None:
        """What the socket gave; nothing: the server closed it."""
        if data:
            self.hear(data)
        else:
            self.fault = self.fault or "its connection was closed"

    def hear(self, data: memoryview | bytes) -> None:
        stream, at = self._stream, self.position - self._stream.base
        if self.fault:
            return
        if not self._held and self.position >= 0 and stream.data.startswith(data, at):
            self.position += len(data)
        else:
            self._hear_news(bytes(data))
        if self.measured >= 0:
            self._measure()

    def _hear_news(self, data: bytes) -> None:
        """What nobody heard before, or has a ping in it, or is wrong."""
        stream = self._stream
        data = self._held + data
        if self.position < 0:
            # Joins are told to those who were there, so up to here each has heard something else.
            data = self._answer_pings(data)
            at = data.find(BEGIN)
            if at < 0:
                self._held = data[-(len(BEGIN) + HEADER) :]
                return
            data = data[at if stream.polling else at - HEADER :]
            self.position = 0
        elif self.position > stream.base and stream.data[self.position - stream.base - 1] == PING[0]:
            # It may have been a ping's first byte, and the same as the next frame's.
            self.position -= 1
            data = PING[:1] + data
        data = self._answer_pings(data)
        # A ping that was cut in two is kept until the rest of it is here.
        self._held = next((begun for begun in (PING[:2], PING[:1]) if data.endswith(begun)), b"")
        data = data.removesuffix(self._held)
        at = self.position - stream.base
        known = data[: stream.end - self.position]
        if not stream.data.startswith(known, at):
            place = next(i for i, byte in enumerate(known) if byte != stream.data[at + i])
            near = slice(max(0, place - 80), place + 80)
            others = bytes(stream.data[at : at + len(known)])[near]
            self.fault = f"heard at byte {self.position + place} {known[near]!r}, another one {others!r}"
            return
        stream.extend(data[len(known) :])
        self.position += len(data)

    def _answer_pings(self, data: bytes) -> bytes:
        if came := data.count(PING):
            self.connection.sendall(PONG * came)
        return data.replace(PING, b"")

    def _measure(self) -> None:
        now, stream = now_us(), self._stream
        begin, end = max(0, self.measured - stream.base), self.position - stream.base
        for found in VALUE.finditer(stream.data, begin, max(0, end)):
            self.ages_us.append(now - int(found[1]))
            self.measured = stream.base + found.end()


USER_AGENT = "node-XMLHttpRequest"  # of Socket.IO's own client in Node, which takes any number of packets


class PollingWatcher(Watcher):
    """One client that long-polls: a keep-alive connection with always one GET under way."""

    def __init__(self, stream: Stream, url: str, join: Json) -> None:
        host, port = address_of(url)
        self._url, self._path = url, "/socket.io/?EIO=4&transport=polling"
        get = http.client.HTTPConnection(host, port, timeout=30)
        self._path += "&sid=" + json.loads(self._get(get)[1:])["sid"]
        self._post("40")
        while b"40{" not in (body := self._get(get)):
            pass
        self._post(event("join_session", join))
        while b'42["joined"' not in body:
            body = self._get(get)
        super().__init__(stream, get.sock)
        self._request = (
            f"GET {self._path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: {USER_AGENT}\r\n\r\n".encode()
        )
        self._answer = b""
        self.connection.sendall(self._request)

    def _get(self, connection: http.client.HTTPConnection) -> bytes:
        connection.request("GET", self._path, headers={"User-Agent": USER_AGENT})
        body = connection.getresponse().read()
        if b"2" in body.split(b"\x1e"):
            self._post("3")
        return body

    def _post(self, packet: str) -> None:
        connection = http.client.HTTPConnection(*address_of(self._url), timeout=30)
        connection.request("POST", self._path, packet, {"Content-Type": "text/plain;charset=UTF-8"})
        connection.getresponse().read()
        connection.close()

    def receive(self, data: memoryview) -> None:
        self._answer += data
        body = http_body(self._answer)
        if not data or (body is not None and not self._answer.startswith(b"HTTP/1.1 200")):
            self.fault = self.fault or f"its connection was closed: {self._answer[:200]!r}"
        if body is None or self.fault:
            return
        self._answer = b""
        self.connection.sendall(self._request)
        packets = body.split(b"\x1e")
        if b"2" in packets:
            self._post("3")
        texts = [packet + b"\x1e" for packet in packets if packet not in (b"2", b"6")]
        if texts:
            self.hear(b"".join(texts))


class Process:
    """The watchers of one process, and what they have heard together."""

    def __init__(self, order: Json) -> None:
        self._stream = Stream(order["polling"])
        self._order = Order(self._stream, order["version"], order["single"])
        self._watchers: dict[int, Watcher] = {}  # by file
        self._poll = select.epoll()
        self._buffer = memoryview(bytearray(1 << 18))
        self._fault = ""  # of the order
        self._last_us = 0  # when something was heard
        for number in range(order["clients"]):
            if order["polling"]:
                watcher: Watcher = PollingWatcher(self._stream, order["url"], order["join"])
            else:
                connection = new_socket(order["url"])
                opened(connection, handshake(order["url"], order["join"]))
                watcher = Watcher(self._stream, connection)
            watcher.connection.settimeout(5)
            watcher.measured = 0 if number < order["measured"] else -1
            self._watchers[watcher.connection.fileno()] = watcher
            self._poll.register(watcher.connection, select.EPOLLIN)
            if number % GREETED == 0:
                self.listen(0)
        self._poll.register(sys.stdin, select.EPOLLIN)

    def listen(self, wait_s: float) -> bool:
        """Hear what came; whether there is a line to read."""
        asked = False
        for file, _ in self._poll.poll(wait_s):
            watcher = self._watchers.get(file)
            if watcher is None:
                asked = True
                continue
            try:
                size = watcher.connection.recv_into(self._buffer)
            except OSError:
                size = 0
            watcher.receive(self._buffer[:size])
            self._last_us = now_us()
            if not size:
                self._poll.unregister(file)
        if len(self._stream.data) > STREAM_BYTES:
            self._read()
            places = [each.position for each in self._watchers.values() if not each.fault]
            self._stream.forget(max(self._stream.base, min([self._order.position, *places])))
        return asked

    def told(self, version: int) -> Json:
        """What all of them have heard, once that is everything up to a version, and nothing more comes."""
        stream, order, watchers = self._stream, self._order, list(self._watchers.values())
        since_us, silence_us = now_us() - AFTER_US, 0
        while not self._fault and silence_us < SILENCE_US:
            self._read()
            whole = order.version >= version and all(
                each.position == stream.end or each.fault for each in watchers
            )
            silence_us = now_us() - max(since_us, self._last_us)
            if whole and silence_us > AFTER_US:
                break
            self.listen(0.02)
        faults = [self._fault] if self._fault else []
        for number, each in enumerate(watchers):
            if each.fault:
                faults.append(f"watcher {number} {each.fault}")
            elif each.position != stream.end:
                faults.append(f"watcher {number} lacks the last {stream.end - each.position} bytes")
        answer = {
            "faults": faults,
            "version": order.version,
            "counts": dict(order.counts),  # of what each of them heard
            "whole": sum(each.position == stream.end and not each.fault for each in watchers),
            "bytes": stream.end,
            "crc": stream.crc,
            "heard_us": self._last_us,
            "ages_us": [age for each in watchers for age in each.ages_us],
        }
        order.counts.clear()
        for each in watchers:
            each.ages_us.clear()
        return answer

    def _read(self) -> None:
        try:
            if not self._fault:
                self._order.read()
        except Fault as error:
            self._fault = str(error)


def watch(order: Json) -> None:
    """The watching process.

    order: url, join (the payload of `join_session`), version, clients, polling, single, measured (how many
    measure ages). In: a line with the version that the last command made; out: what `Process.told` tells.
    """
    process = Process(order)
    print("ready", flush=True)
    while True:
        if process.listen(1.0):
            line = sys.stdin.readline()
            if not line:
                return
            print(json.dumps(process.told(int(line))), flush=True)
