"""HTTP connections: pywsgi's handler with time limits, WebSocket upgrades, and Nagle's delay off.

pywsgi waits for ever for a head or a body, and reads what a client goes on
sending after a refusal. Here a head has 10 s, a body 20 s, and the body is read
whole, up to the gate's limit, before the application is called.
"""

from __future__ import annotations

import http
import logging
import socket
from contextlib import suppress
from io import BytesIO
from typing import Any

import gevent
from geventwebsocket import handler

from ..core.errors import InvalidRequest
from . import wire
from .gate import CONNECTION, Gate
from .websocket import WebSocket, send_all

HEAD_S = 10.0
BODY_S = 20.0
DRAIN_S = 2.0  # that a client may go on sending a body that was refused
SEND_BUFFER = 128 * 1024  # bytes
IDLE_S = 60.0  # that a connection is kept for a next request

log = logging.getLogger(__name__)

# The handler looks its WebSocket class up in its own module.
handler.WebSocket = WebSocket


class _Body(BytesIO):
    """A body that was read; what is still on its way is nobody's business."""

    def _discard(self) -> None:
        """pywsgi asks this of its own input, to read on to the next request."""


def _malformed(status: str) -> bytes:
    """A whole response to what is no HTTP request."""
    body = wire.encode(wire.error_body(InvalidRequest("A malformed HTTP request")))
    head = f"HTTP/1.1 {status} {http.HTTPStatus(int(status)).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class Handler(handler.WebSocketHandler):
    """One connection, request after request."""

    application: Gate

    def handle(self) -> None:
        # With Nagle on, a keep-alive answer waits 40 ms for the peer's delayed ACK.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A slow client is noticed by what the kernel still holds for it: the less, the sooner.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._first = True
        super().handle()

    def handle_one_request(self) -> Any:
        clock = self._clock = gevent.Timeout.start_new(HEAD_S if self._first else IDLE_S)
        try:
            self.rfile.peek(1)
            if not self._first:
                clock.close()
                clock = self._clock = gevent.Timeout.start_new(HEAD_S)
            self._first = False
            answer = super().handle_one_request()
            # What pywsgi refuses by itself, it refuses in HTML, or without a word.
            return (answer[0], _malformed(answer[0])) if isinstance(answer, tuple) else answer
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
        clock = gevent.Timeout.start_new(BODY_S)
        try:
            self.wsgi_input = self.environ["wsgi.input"] = _Body(self._read_body())
        except gevent.Timeout as timeout:
            if timeout is not clock:
                raise
            self.close_connection = True
            return
        finally:
            clock.close()
        super().handle_one_response()
        if self._unread:
            self._drain()

    def _drain(self) -> None:
        """Let a client that is still sending find our answer: a reset would take it away."""
        with suppress(OSError), gevent.Timeout(DRAIN_S, False):
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(64 * 1024):
                pass

    def _handle_client_error(self, error: Exception) -> tuple[str, bytes]:
        return "400", b""

    def _sendall(self, data: bytes) -> None:
        try:
            send_all(self.socket, data)
        except OSError:
            self.close_connection = True
            raise

    def _read_body(self) -> bytes:
        environ = self.environ
        limit = self.server.application.body_limit(environ)
        declared = environ.get("CONTENT_LENGTH") or "0"
        if not declared.isdigit() or int(declared) > limit:
            self.close_connection = self._unread = True  # refused by what it declares
            return b""
        body: bytes = self.wsgi_input.read(limit + 1)
        if len(body) > limit:
            self.close_connection = self._unread = True
        environ["CONTENT_LENGTH"] = str(len(body))
        return body

    def upgrade_websocket(self) -> Any:
        # The base class would answer 101 before the application is asked; what
        # the gate refuses goes on to it as a plain request, and gets its answer.
        if self.application.upgrades(self.environ):
            return super().upgrade_websocket()
        return None

    def log_request(self) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s %s", self.command, self.environ.get("PATH_INFO"), self.status)
