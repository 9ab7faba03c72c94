"""A client that says far more than it should, in a process of its own.

    python tests/support/flood.py PORT KIND SESSION NODE

It connects, prints `ready`, waits for a line on its input, and then sends without
a pause what KIND names, discarding what it hears, until it is ended. Nothing is
imported but sockets: what it costs the machine is the sending.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator

HEAD = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ROUND = 20_000  # messages that are made ready before they are sent
KINDS = ("commands", "undo", "joins", "presence", "pings", "unknown", "frames", "json", "requests")


def frame(text: str, opcode: int = 1) -> bytes:
    payload = text.encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + bytes(4) + payload  # a mask of zeros changes nothing


def messages(kind: str, session_id: str, node_id: str) -> Iterator[bytes]:
    """ROUND messages of a kind."""
    for number in range(ROUND):
        match kind:
            case "commands":
                data = f'{{"node_id":"{node_id}","property_id":"p","value":{number}}}'
                said = f'{{"session_id":"{session_id}","command_type":"UpdateProperty","data":{data}}}'
                yield frame(f'42{number}["execute_command",{said}]')
            case "undo":
                yield frame(f'42{number}["undo_command",{{"session_id":"{session_id}"}}]')
            case "joins":
                yield frame(f'42["join_session",{{"session_id":"{session_id}","since":0}}]')
            case "presence":
                said = f'{{"session_id":"{session_id}","state":{number}}}'
                yield frame(f'42["update_presence",{said}]')
            case "pings":
                yield frame('42["ping"]')
            case "unknown":
                yield frame(f'42{number}["no such event",{{}}]')
            case "frames":
                yield frame("x" * 100, 9)
            case "json":
                yield frame('42["ping",[' + "[]," * 300 + "0]]")
            case "requests":
                yield b"GET /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n"


def main() -> None:
    port, kind, session_id, node_id = sys.argv[1:]
    connection = socket.create_connection(("127.0.0.1", int(port)))
    if kind != "requests":
        connection.sendall(HEAD.encode() + frame("40"))
        heard = b""
        while b"40{" not in heard:
            heard += connection.recv(4096)
        connection.sendall(frame(f'42["join_session",{{"session_id":"{session_id}"}}]'))
    flood = b"".join(messages(kind, session_id, node_id))

    def drain() -> None:
        while connection.recv(1 << 20):
            pass

    threading.Thread(target=drain, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        connection.sendall(flood)


if __name__ == "__main__":
    main()
