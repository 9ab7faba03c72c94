"""The limit: one loop that writes ready frames to as many sockets as there are watchers.

No server can be faster with one write for each client, whatever it is written
in; nothing is parsed, decided or stored. A command is the three events that
talus sends for an `UpdateProperty`, byte for byte as long.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import uuid
from base64 import b64encode
from hashlib import sha1

from bench.client import node_id, now_us

PREPARED = 500  # commands that are put into words before they are sent; only sending is timed

EVENT = (
    '42["{name}",{{"event":"{name}","session_id":"{session}","timestamp":"2026-11-25T12:00:00Z",'
    '"version":%d,"command_id":"%s","actor":"anonymous",{more}}}]'
)


def packet(text: bytes) -> bytes:
    """A server's text frame."""
    if len(text) < 126:
        return b"\x81" + bytes([len(text)]) + text
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


def events(session_id: str) -> tuple[str, str, str]:
    """The events of a command, to be filled with version and command id; the second with values too."""
    changed = f'"node_id":"{node_id(1)}","property_id":"sent","old_value":%d,"new_value":%d'
    words = [
        ("command:executing", '"command_type":"UpdateProperty"'),
        ("property-changed", changed),
        ("command:executed", '"command_type":"UpdateProperty","result":{}'),
    ]
    made = [EVENT.format(name=name, session=session_id, more=more) for name, more in words]
    return made[0], made[1], made[2]


def welcome(connection: socket.socket) -> None:
    """The server's half of a watcher's way into the room."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
        # pings are left out: nothing waits for an answer to one here
        + packet(b'0{"sid":"1","upgrades":[],"pingTimeout":20000,"pingInterval":100000000}')
    )
    # each is the answer to one frame, which comes whole
    for answer in (b'40{"sid":"1"}', b'42["joined",{"client_id":"1"}]'):
        if not connection.recv(4096):
            return
        connection.sendall(packet(answer))
    connection.setblocking(False)


class Loop:
    """Everybody in the room, and the version it is at."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self._version = 0
        self._events = events(str(uuid.UUID(int=0)))

    def write(self, seconds: float, together: int) -> dict[str, int]:
        """Send commands, `together` of them in one write, for so long."""
        took_us, commands = 0, 0
        while took_us < seconds * 1e6:
            first = self._version + commands + 1
            ready = [
                b"".join(self.command(first + place + each) for each in range(together))
                for place in range(0, max(PREPARED, together), together)
            ]
            began_us = now_us()
            for each in ready:
                self._send(each)
                commands += together
                if took_us + now_us() - began_us >= seconds * 1e6:
                    break
            took_us += now_us() - began_us
        self._version += commands
        return {"commands": commands, "began_us": now_us() - took_us, "ended_us": now_us()}

    def command(self, version: int) -> bytes:
        executing, changed, executed = self._events
        name, sent = node_id(version), now_us()
        words = (
            executing % (version - 1, name),
            changed % (version, name, sent, sent),
            executed % (version, name),
        )
        return b"".join(packet(text.encode()) for text in words)

    def _send(self, data: bytes) -> None:
        for connection in self.connections:
            at = 0
            while at < len(data):
                try:
                    at += connection.send(data[at:] if at else data)
                except BlockingIOError:
                    select.select([], [connection], [])


def serve() -> None:
    """Let in who comes, and write when a line says how: `[seconds, commands in one write]`."""
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(f"limit listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            ready = select.select([listener, sys.stdin], [], [])[0]
            if listener in ready:
                connection = listener.accept()[0]
                welcome(connection)
                loop.connections.append(connection)
            if sys.stdin in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(loop.write(*json.loads(line))), flush=True)
