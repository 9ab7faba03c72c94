"""Writers: connections that send commands, and note how soon each is answered.

A command is an `UpdateProperty` whose value is the microsecond it was sent, or,
at a fixed rate, was due, so that each watcher can tell how old the event is.
"""

from __future__ import annotations

import itertools
import json
import re
import select
import socket
import time

from bench.client import (
    PONG,
    BenchError,
    Json,
    address_of,
    frame,
    handshake,
    http_body,
    new_socket,
    node_id,
    now_us,
    opened,
    received,
)

ANSWER_S = 60.0  # without any answer at all

ACKNOWLEDGED = re.compile(rb"43(\d+)\[")


class Writer:
    """One connection; what it sent and what was answered."""

    connection: socket.socket

    def __init__(self, order: Json, number: int) -> None:
        self.sent_us: dict[int, int] = {}  # of what is not answered yet
        self.latencies_us: list[int] = []
        self.errors: list[str] = []
        self.number = number  # of the next command: writers begin at different nodes
        self._nodes = order["nodes"]
        self._call = (
            f'{{"session_id":"{order["session_id"]}","command_type":"UpdateProperty",'
            '"data":{"node_id":"%s","property_id":"sent","value":%d}}'
        )

    def call(self, sent_us: int) -> str:
        self.number += 1
        self.sent_us[self.number] = sent_us
        return self._call % (node_id(1 + self.number % self._nodes), sent_us)

    def answered(self, number: int, refusal: str) -> None:
        self.latencies_us.append(now_us() - self.sent_us.pop(number))
        if refusal:
            self.errors.append(refusal)

    def send(self, sent_us: list[int]) -> None:
        raise NotImplementedError

    def take(self, data: bytes) -> int:
        """How many answers came with `data`."""
        raise NotImplementedError


class SocketWriter(Writer):
    """`execute_command` over a WebSocket, with any number unanswered."""

    def __init__(self, order: Json, number: int) -> None:
        super().__init__(order, number)
        self.connection = new_socket(order["url"])
        _, self._frames, _ = opened(self.connection, handshake(order["url"]))

    def send(self, sent_us: list[int]) -> None:
        calls = [(self.call(each), self.number) for each in sent_us]
        frames = [frame(f'42{number}["execute_command",{call}]') for call, number in calls]
        self.connection.sendall(b"".join(frames))

    def take(self, data: bytes) -> int:
        came = 0
        for packet in self._frames.feed(data):
            if packet == b"2":
                self.connection.sendall(PONG)
            elif match := ACKNOWLEDGED.match(packet):
                self.answered(int(match[1]), packet.decode() if b'"error":' in packet else "")
                came += 1
        return came


class RestWriter(Writer):
    """`POST /commands/execute` over one keep-alive connection, one at a time."""

    def __init__(self, order: Json, number: int) -> None:
        super().__init__(order, number)
        self.connection = new_socket(order["url"])
        host, port = address_of(order["url"])
        self._answer = b""
        self._head = (
            f"POST /api/v1/commands/execute HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )

    def send(self, sent_us: list[int]) -> None:
        for each in sent_us:
            body = self.call(each)
            self.connection.sendall(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def take(self, data: bytes) -> int:
        self._answer += data
        body = http_body(self._answer)
        if body is None:
            return 0
        self.answered(self.number, "" if self._answer.startswith(b"HTTP/1.1 200") else body.decode())
        self._answer = b""
        return 1


def write(order: Json) -> Json:
    """What the writing process does: how soon each command was answered.

    order: url, session_id, nodes, transport (`socket`, `rest`), writers, in_flight; and `commands`, or
    `seconds`, with `rate` in commands/s for all together, whatever the answers do.
    """
    kind = SocketWriter if order["transport"] == "socket" else RestWriter
    writers: dict[socket.socket, Writer] = {}
    for number in range(order["writers"]):
        writer = kind(order, number)
        writers[writer.connection] = writer
    cpu_s, began_us = time.process_time(), now_us()
    if "rate" in order:
        _at_even_times(writers, order["rate"], round(order["rate"] * order["seconds"]))
    else:
        _as_answered(writers, order["in_flight"], order.get("seconds"), order.get("commands"))
    return {
        "began_us": began_us,
        "ended_us": now_us(),
        "cpu_s": time.process_time() - cpu_s,
        "latencies_us": [each for writer in writers.values() for each in writer.latencies_us],
        "errors": [each for writer in writers.values() for each in writer.errors],
    }


Writers = dict[socket.socket, Writer]


def _as_answered(writers: Writers, in_flight: int, seconds: float | None, commands: int | None) -> None:
    """The closed loop: a new command for each that was answered."""
    end_us = now_us() + (seconds or 1e6) * 1e6
    left = commands or 1 << 60
    for writer in writers.values():
        first = min(in_flight, left)
        writer.send([now_us() for _ in range(first)])
        left -= first
    while any(writer.sent_us for writer in writers.values()):
        for writer, came in _answers(writers, ANSWER_S):
            if came and left > 0 and now_us() < end_us:
                again = min(came, left)
                writer.send([now_us() for _ in range(again)])
                left -= again


def _at_even_times(writers: Writers, rate: int, commands: int) -> None:
    """The open loop: a command is sent when it is due, whatever the answers do."""
    began_us, sent = now_us(), 0
    turns = itertools.cycle(writers.values())
    while sent < commands or any(writer.sent_us for writer in writers.values()):
        due_us = began_us + sent * 1_000_000 // rate
        if sent < commands and now_us() >= due_us:
            next(turns).send([due_us])
            sent += 1
        else:
            _answers(writers, max(0, due_us - now_us()) / 1e6 if sent < commands else ANSWER_S)


def _answers(writers: Writers, wait_s: float) -> list[tuple[Writer, int]]:
    """Who was answered, and how often."""
    # select, because epoll rounds up to milliseconds
    ready = select.select(list(writers), [], [], wait_s)[0]
    if not ready and wait_s == ANSWER_S:
        raise BenchError(f"no answer for {ANSWER_S:.0f} s")
    return [(writers[each], writers[each].take(received(each))) for each in ready]


def print_written(order: Json) -> None:
    print(json.dumps(write(order)))
