"""HTTP connections: pywsgi's server and handler with limits, TLS, WebSocket upgrades, and Nagle's delay off.

pywsgi waits for ever for a handshake, a head or a body, reads what a client goes
on sending after a refusal, and stalls for good when it has no file left for the
next connection. Here a handshake and a head have 10 s, a body 20 s; the body is
read whole, up to the gate's limit, before the application is called, and only of
a request that the gate lets in; and a connection too many is told so and closed.
"""

from __future__ import annotations

import http
import logging
import re
import socket
import ssl
from collections import Counter
from contextlib import suppress
from io import BytesIO
from typing import Any

import gevent
from gevent.pywsgi import LoggingLogAdapter, WSGIServer, headers_factory
from geventwebsocket import handler

from ..core.errors import Busy, InvalidRequest, PayloadTooLarge, TalusError
from ..service.pace import TURN_S, TalkPace
from . import wire
from .gate import CONNECTION, REFUSAL, Gate, has_body, share
from .refusals import Refusals
from .websocket import WebSocket, send_all

HEAD_S = 10.0
MAX_HEAD_BYTES = 32 * 1024  # of header lines; a token may take 8 kB of them
BODY_S = 20.0
DRAIN_S = 2.0  # that a client may go on sending a body that was refused
SEND_BUFFER = 128 * 1024  # bytes
IDLE_S = 60.0  # that a connection is kept for a next request
PIECE_BYTES = 64 * 1024  # of a body, read at once
MAX_BODIES_BYTES = 64 * 1024 * 1024  # of all bodies that are held at a time
MAX_LEAVING = 32  # connections too many that are listened to at a time while they are told so
LEAVE_S = 1.0  # for that

# A name, a colon, and a value on one line; no folded ones.
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00\r\n]*\r?\n")

log = logging.getLogger(__name__)

# The handler looks its WebSocket class up in its own module.
handler.WebSocket = WebSocket


class _Body(BytesIO):
    """A body that was read; what is still on its way is nobody's business."""

    held = 0  # bytes

    def _discard(self) -> None:
        """pywsgi asks this of its own input, to read on to the next request."""


def _response(status: int, error: TalusError) -> bytes:
    """A whole response to what no application gets to see; the connection ends with it."""
    body = wire.encode(wire.error_body(error))
    head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class _Head:
    """The lines of a request's head, up to a size, and none that two readers could take in two ways.

    The parser behind takes a line that is no field for the end of the head, and what
    follows, a Content-Length among it, for the body. Source: RFC 9112, sections 2.2 and 5.
    """

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._left = MAX_HEAD_BYTES

    def readline(self, most: int) -> bytes:
        line: bytes = self._lines.readline(min(most, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise ValueError("the head is too long")
        if line not in (b"\r\n", b"\n", b"") and not _FIELD.fullmatch(line):
            raise ValueError("a line of the head is no field")
        return line


def _headers(lines: Any, seekable: int) -> Any:
    """The header fields of a request. Raises ValueError where two readers could take them in two ways."""
    fields = headers_factory(_Head(lines), seekable)
    coding = fields.get_all("transfer-encoding", [])
    if coding and ([each.lower() for each in coding] != ["chunked"] or "content-length" in fields):
        raise ValueError("Transfer-Encoding: only chunked is known, and without Content-Length")
    if any(len(fields.get_all(name, [])) > 1 for name in ("content-length", "host", "authorization")):
        raise ValueError("a header field that may stand once stands twice")
    return fields


def _drain(connection: socket.socket) -> None:
    """Let a client that is still sending find our answer: a reset would take it away."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(PIECE_BYTES):
        pass


class Connections:
    """All connections to the server, on whichever address; and the bodies that they hold."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._by_address: Counter[str] = Counter()
        self.bodies_bytes = 0
        self.leaving = 0  # that were one too many, and are being told

    def enter(self, address: str) -> bool:
        """Count one in; False when it is one too many."""
        if self._count >= self._most or self._by_address[address] >= share(address, self._most):
            return False
        self._count += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class Server(WSGIServer):
    """Listens on one address."""

    max_accept = 16  # at once, before they are counted: each is an open file already

    def __init__(
        self,
        listener: socket.socket,
        gate: Gate,
        connections: Connections,
        refusals: Refusals,
        context: ssl.SSLContext | None,
    ) -> None:
        super().__init__(
            listener,
            gate,
            log=None,
            error_log=LoggingLogAdapter(log),
            handler_class=Handler,
            environ={
                "SERVER_NAME": listener.getsockname()[0],  # else pywsgi asks the name service
                "wsgi.url_scheme": "https" if context else "http",
            },
        )
        self.connections = connections
        self.refusals = refusals
        self._context = context

    def handle(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        """Serve one connection to its end; it is closed by who calls this."""
        peer = address[0]
        if not self.connections.enter(peer):
            self._turn_away(connection, peer)
            return
        try:
            # With Nagle on, a keep-alive answer waits 40 ms for the peer's delayed ACK.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A slow client is noticed by what the kernel still holds for it: the less, the sooner.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if self._context is not None:
                with gevent.Timeout(HEAD_S, TimeoutError()):
                    connection = self._context.wrap_socket(connection, server_side=True)
            super().handle(connection, address)
        except OSError:
            pass  # it went away, or never spoke TLS
        finally:
            connection.close()
            self.connections.leave(peer)

    def _turn_away(self, connection: socket.socket, peer: str) -> None:
        error = Busy("The server has as many connections as it takes")
        self.refusals.count(error, peer)
        with suppress(OSError), gevent.Timeout(LEAVE_S, False):
            connection.sendall(_response(503, error))
            if self.connections.leaving < MAX_LEAVING:
                self.connections.leaving += 1
                try:
                    _drain(connection)
                finally:
                    self.connections.leaving -= 1


class Handler(handler.WebSocketHandler):
    """One connection, request after request."""

    application: Gate
    server: Server
    MessageClass = staticmethod(_headers)

    def handle(self) -> None:
        self._first = True
        self._pace = TalkPace()
        super().handle()

    def handle_one_request(self) -> Any:
        clock = self._clock = gevent.Timeout.start_new(HEAD_S if self._first else IDLE_S)
        try:
            self.rfile.peek(1)
            if not self._first:
                clock.close()
                clock = self._clock = gevent.Timeout.start_new(HEAD_S)
            self._first = False
            self._pace.breathe()  # pipelined requests, however many, leave the others their turns
            answer = super().handle_one_request()
            if isinstance(answer, tuple):
                # What pywsgi refuses by itself, it refuses in HTML, or without a word.
                error = InvalidRequest("A malformed HTTP request")
                self.server.refusals.count(error, self.client_address[0])
                return answer[0], _response(int(answer[0]), error)
            return answer
        except gevent.Timeout as timeout:
            if timeout is not clock:
                raise
            return None
        except OSError:
            return None
        finally:
            clock.close()

    def handle_one_response(self) -> None:
        self._clock.close()
        self._unread = False
        self.environ[CONNECTION] = self.socket
        held = self.server.connections
        body = _Body()
        clock = gevent.Timeout.start_new(BODY_S)
        try:
            if self.application.examine(self.environ):
                try:
                    self._read_body(body)
                except (ValueError, OSError):  # chunks that are none, or fewer bytes than were announced
                    self._give_up(InvalidRequest("A malformed body"))
            elif has_body(self.environ):
                self.close_connection = self._unread = True
            self.wsgi_input = self.environ["wsgi.input"] = body
            clock.close()
            super().handle_one_response()
        except gevent.Timeout as timeout:
            if timeout is not clock:
                raise
            self.close_connection = True
            return
        finally:
            clock.close()
            held.bodies_bytes -= body.held
        if self._unread:
            with suppress(OSError), gevent.Timeout(DRAIN_S, False):
                _drain(self.socket)

    def finalize_headers(self) -> None:
        # pywsgi says so to HTTP/1.0 alone; a client that keeps its connection has to
        # know that this one ends, or its next request dies (RFC 9112, section 9.6).
        if self.close_connection and b"connection" not in {name.lower() for name, _ in self.response_headers}:
            self.response_headers.append((b"Connection", b"close"))
        super().finalize_headers()

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        return "400", b""

    def _sendall(self, data: bytes) -> None:
        try:
            send_all(self.socket, data)
        except OSError:
            self.close_connection = True
            raise

    def _read_body(self, body: _Body) -> None:
        """All of it into memory, up to what is allowed here and to what is held for others."""
        limit = self.application.body_limit(self.environ)
        held = self.server.connections
        while True:
            piece = self.wsgi_input.read(PIECE_BYTES)
            if not piece:
                break
            body.write(piece)
            body.held += len(piece)
            held.bodies_bytes += len(piece)
            error: TalusError | None = None
            if body.held > limit:
                error = PayloadTooLarge()
            elif held.bodies_bytes > MAX_BODIES_BYTES:
                error = Busy()
            if error is not None:
                self._give_up(error)
                return
            if body.held > PIECE_BYTES:
                gevent.sleep(TURN_S)
        self.environ["CONTENT_LENGTH"] = str(body.held)
        body.seek(0)

    def _give_up(self, error: TalusError) -> None:
        """Refuse a request in the middle of its body, and the connection with it."""
        self.environ[REFUSAL] = error
        self.close_connection = self._unread = True

    def upgrade_websocket(self) -> Any:
        # The base class would answer 101 before the application is asked; what
        # the gate refuses goes on to it as a plain request, and gets its answer.
        if self.application.upgrades(self.environ):
            return super().upgrade_websocket()
        return None

    def log_request(self) -> None:
        if log.isEnabledFor(logging.DEBUG):
            # repr: an address may hold line ends and colours. Never the query, which may hold more.
            log.debug("%r %r %s", self.command, self.environ.get("PATH_INFO"), self.status)
