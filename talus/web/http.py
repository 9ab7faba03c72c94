"""HTTP connections: pywsgi's handler with time limits, WebSocket upgrades, and Nagle's delay off.

pywsgi waits for ever for a head or a body, and reads what a client goes on
sending after a refusal. Here a head has 10 s, a body 20 s, and the body is read
whole, up to the gate's limit, before the application is called.
"""

from __future__ import annotations

import logging
import socket
from io import BytesIO
from typing import Any

import gevent
from geventwebsocket import handler

from .gate import Gate
from .websocket import WebSocket

HEAD_S = 10.0
BODY_S = 20.0
IDLE_S = 60.0  # that a connection is kept for a next request

log = logging.getLogger(__name__)

# The handler looks its WebSocket class up in its own module.
handler.WebSocket = WebSocket


class _Body(BytesIO):
    """A body that was read; what is still on its way is nobody's business."""

    def _discard(self) -> None:
        """pywsgi asks this of its own input, to read on to the next request."""


class Handler(handler.WebSocketHandler):
    """One connection, request after request."""

    application: Gate

    def handle(self) -> None:
        # With Nagle on, a keep-alive answer waits 40 ms for the peer's delayed ACK.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._wait_s = HEAD_S
        super().handle()

    def handle_one_request(self) -> Any:
        clock = self._clock = gevent.Timeout.start_new(self._wait_s)
        try:
            self.rfile.peek(1)
            clock.close()
            clock = self._clock = gevent.Timeout.start_new(HEAD_S)
            self._wait_s = IDLE_S
            return super().handle_one_request()
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

    def _read_body(self) -> bytes:
        environ = self.environ
        limit = self.server.application.body_limit(environ)
        declared = environ.get("CONTENT_LENGTH") or "0"
        if not declared.isdigit() or int(declared) > limit:
            self.close_connection = True  # refused by what it declares
            return b""
        body: bytes = self.wsgi_input.read(limit + 1)
        self.close_connection |= len(body) > limit
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
