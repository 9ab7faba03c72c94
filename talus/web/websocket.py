"""The bounded WebSocket: RFC 6455 as a server has to speak it, and no more memory than it says.

gevent-websocket's own class waits for whatever a header announces, unmasks in
Python, lets two writers into one frame and never closes the socket. This one
refuses at the header, keeps a running total over fragments, takes masked frames
only, writes with one lock, and shuts the socket down when it is done.
Measured reasons: docs/decisions/0006 and docs/protocol.md, "Limits".
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import struct
import sys
import termios
from contextlib import suppress
from typing import Any

import gevent
from gevent.lock import RLock
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.websocket import WebSocket as _WebSocket

from ..service.pace import TURN_S, TalkPace

MAX_MESSAGE_BYTES = 1_000_000
MAX_FRAGMENTS = 20_000  # of one message: 1 MB in frames of 64 bytes is 16,000
STALL_S = 10.0  # a client that takes nothing for so long while something waits is cut
LINGER_S = 2.0  # for the peer to close its half
WRITE_BYTES = 256 * 1024  # handed to the kernel at once; pings pass between slices
READ_BYTES = 64 * 1024

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_PROTOCOL_ERROR, _BAD_TEXT, _TOO_LARGE = 1002, 1007, 1009


def send_all(connection: socket.socket, data: bytes) -> None:
    """Write all of it, as fast as the peer takes it. Raises OSError where it takes nothing for STALL_S.

    The kernel says that a socket can be written to only once a third of its
    buffer is free, which takes a slow peer longer than STALL_S: what counts is
    whether the bytes that it has not acknowledged become fewer.
    """
    view = memoryview(data)
    view = view[send_at_once(connection, [view[:WRITE_BYTES]]) :]
    while view:
        stalled = gevent.Timeout(STALL_S)
        before = unsent(connection)
        while True:
            try:
                with stalled:
                    sent = connection.send(view[:WRITE_BYTES])
                break
            except gevent.Timeout as timeout:
                if timeout is not stalled:
                    raise
                left = unsent(connection)
                if left >= before:
                    raise TimeoutError("the peer takes nothing") from None
                before = left
                stalled = gevent.Timeout(STALL_S)
        view = view[sent:]


def send_at_once(connection: socket.socket, pieces: list[Any]) -> int:
    """How many bytes the kernel takes of these buffers without waiting; under TLS none, it has its own."""
    if isinstance(connection, ssl.SSLSocket):
        return 0
    try:
        return os.writev(connection.fileno(), pieces)
    except OSError:
        return 0  # a full buffer, or a peer that is gone: who waits for it sees that


def unsent(connection: socket.socket) -> int:
    """Bytes that the kernel holds because the peer has not acknowledged them; 0 for a closed socket."""
    if connection.fileno() < 0:
        return 0
    return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class Frames(bytes):
    """Ready bytes of one or more whole frames."""


class _Refused(Exception):
    """The peer broke the rules; `args[0]` is the close code."""


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked, final frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x80 | opcode, size) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def payloads(frames: bytes) -> list[bytes]:
    """What `frame` was given, for each of these frames."""
    found = []
    at = 0
    while at < len(frames):
        size, start = frames[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(frames[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(frames[start : start + 8], "big"), start + 8
        at = start + size
        found.append(frames[start:at])
    return found


class WebSocket(_WebSocket):
    """What `geventwebsocket.handler` makes of an upgraded connection."""

    closed: bool

    def __init__(self, environ: dict[str, Any], stream: Any, handler: Any) -> None:
        super().__init__(environ, stream, handler)
        self._socket: socket.socket = handler.socket
        self._lock = RLock()
        self._pace = TalkPace()
        self._left = b""  # of what was offered: it has to go before anything else

    def __del__(self) -> None:
        """The base class would write to a socket that may be somebody else's by now."""

    def receive(self) -> str | bytearray | None:
        """The next message; None when the connection is over. A peer that breaks the rules is told why."""
        if self.closed:
            return None
        try:
            return self._message()
        except _Refused as refusal:
            self.close(refusal.args[0])
        except UnicodeDecodeError:
            self.close(_BAD_TEXT)
        except (OSError, EOFError):
            self.abort()
        return None

    def _message(self) -> str | bytearray | None:
        kind = fragments = 0
        message = bytearray()
        while True:
            self._pace.breathe()  # small frames, however many, leave the others their turns
            final, opcode, payload = self._frame(MAX_MESSAGE_BYTES - len(message))
            if opcode == PING:
                self._write(frame(bytes(payload), PONG))
            elif opcode == CLOSE:
                self._answer_close(payload)
                return None
            elif opcode == PONG:
                pass
            elif opcode in (TEXT, BINARY) if not kind else opcode == 0:
                kind = kind or opcode
                message += payload
                fragments += 1
                if fragments > MAX_FRAGMENTS:
                    raise _Refused(_TOO_LARGE)
                if final:
                    return message.decode() if kind == TEXT else message
            else:
                raise _Refused(_PROTOCOL_ERROR)

    def _frame(self, room: int) -> tuple[bool, int, bytearray]:
        """One frame, unmasked: final, opcode, payload. room: the bytes that the message may still grow by."""
        first, second = self._read(2)
        final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        control = opcode >= 8
        if first & 0x70 or not second & 0x80 or opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            raise _Refused(_PROTOCOL_ERROR)
        if control and (size > 125 or not final):
            raise _Refused(_PROTOCOL_ERROR)
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
            if size < 126:
                raise _Refused(_PROTOCOL_ERROR)
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
            if size >> 63 or size < 65536:
                raise _Refused(_PROTOCOL_ERROR)
        if not control and size > room:
            raise _Refused(_TOO_LARGE)
        mask = self._read(4)
        return final, opcode, _unmasked(self._read(size), mask)

    def _read(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            piece = self.raw_read(min(size - len(data), READ_BYTES))
            if not piece:
                raise EOFError
            data += piece
            if len(data) < size:
                gevent.sleep(TURN_S)  # a large message comes in; others have small ones
        return data

    def _answer_close(self, payload: bytearray) -> None:
        if not payload:
            self.close(1000)
            return
        code = int.from_bytes(payload[:2], "big")
        # Those of RFC 6455, those registered since (1012-1014), and those left to applications.
        if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code < 5000):
            raise _Refused(_PROTOCOL_ERROR)
        payload[2:].decode()
        self.close(code)

    def send(self, message: str | bytes, binary: bool | None = None) -> None:
        """Send a text, or ready frames. Raises WebSocketError when the peer is gone or takes nothing."""
        if not isinstance(message, Frames):
            message = frame(message.encode() if isinstance(message, str) else message)
        if self.closed:
            raise WebSocketError("the connection is closed")
        try:
            self._write(message)
        except OSError as error:
            self.abort()
            raise WebSocketError(str(error)) from None

    @property
    def unfinished(self) -> bool:
        """Part of what was offered waits to be sent, before anything else: by `send`, if only of nothing."""
        return bool(self._left)

    def offer(self, frames: list[bytes]) -> bool:
        """Take ready frames over, and send what the kernel takes at once; False when some is left.

        Never waits.
        """
        busy = self.closed or self._left or self._lock.locked()
        sent = 0 if busy else send_at_once(self._socket, frames)
        if sent != sum(map(len, frames)):
            self._left += b"".join(frames)[sent:]
        return not self._left

    def _write(self, data: bytes) -> None:
        """Write it all, as fast as the peer takes it. Raises OSError where that takes nothing for STALL_S."""
        with self._lock:
            left, self._left = self._left, b""
            send_all(self._socket, left + data if left else data)

    def close(self, code: int = 1000, message: bytes = b"") -> None:
        """Say goodbye with `code`, as far as the peer listens, and end the connection."""
        if self.closed:
            return
        self.closed = True
        try:
            with gevent.Timeout(1.0, TimeoutError()):
                self._write(frame(struct.pack("!H", code) + message, CLOSE))
        except OSError:
            pass
        self._shut(socket.SHUT_WR)
        # A peer that never closes its half must not keep ours.
        gevent.spawn_later(LINGER_S, self._shut, socket.SHUT_RDWR)

    def abort(self) -> None:
        """End the connection without a word; whoever reads or writes on it wakes up."""
        self.closed = True
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        with suppress(OSError):  # it may be gone already
            self._socket.shutdown(how)


def _unmasked(data: bytearray, mask: bytearray) -> bytearray:
    size = len(data)
    if not size:
        return data
    # One XOR of two long integers: 14 times faster than a loop over the bytes.
    whole = bytes(mask) * (size // 4 + 1)
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(whole[:size], "little")
    return bytearray(mixed.to_bytes(size, "little"))
