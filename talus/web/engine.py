"""All that reaches past python-engineio's public interface, in one place.

Each client's queue is an `Outbox` (`create_queue`), a poll's body is checked
before it is taken apart, a message that is no packet ends its connection
instead of the greenlet, and it is known when a poll's answer was written. The
minor version of python-engineio is pinned for it; tests/test_protocol.py and
tests/test_robust.py hold it.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

import engineio
from engineio.async_drivers import gevent as engineio_gevent
from engineio.payload import Payload

from ..core.errors import InvalidRequest, MethodNotAllowed, TalusError
from . import wire
from .gate import CONNECTION
from .outbox import Outbox

MAX_POSTED = 10_000  # packets in one POST of a polling client, which sends all that it has at once

Payload.max_decode_packets = MAX_POSTED  # as shipped, a burst of more than 16 is lost in silence


class TextOnly:
    """engineio guesses whether a text is JSON; ours always stays text, and is decoded once."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> Any:
        raise ValueError("left as text")


class _WebSocketWSGI(engineio_gevent.WebSocketWSGI):
    """Ends a connection whose message is no Engine.IO packet; engineio would die of it, loudly."""

    def wait(self) -> Any:
        message = super().wait()
        if isinstance(message, str) and message[:1] not in set("1345") and message != "2probe":
            return None
        return message


class Engine(engineio.Server):
    """Engine.IO with an outbox for each client, and a check of posted packets before it takes them apart."""

    def __init__(self, *, outbox_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._outbox_bytes = outbox_bytes
        self._async: dict[str, Any] = {**self._async, "websocket": _WebSocketWSGI}

    def create_queue(self, *args: Any, **kwargs: Any) -> Outbox:
        return Outbox(self._outbox_bytes)

    def handle_request(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].getvalue()
            if not _well_formed(body):
                if _sid(environ) in self.sockets:
                    self.disconnect(_sid(environ))
                refused = self._bad_request("A malformed packet")
                start_response(refused["status"], refused["headers"])
                return [refused["response"]]
            return super().handle_request(environ, start_response)
        answer = super().handle_request(environ, start_response)
        socket = self.sockets.get(_sid(environ))
        if socket is None or socket.upgraded:
            return answer
        return _Answer(answer, socket.queue, environ[CONNECTION])

    def _bad_request(self, message: str | None = None) -> dict[str, Any]:
        return _refused("400 Bad Request", InvalidRequest(message))

    def _method_not_found(self) -> dict[str, Any]:
        return _refused("405 Method Not Allowed", MethodNotAllowed())


class _Answer:
    """The body of a poll's answer; the client is taking it until it is written, and sent."""

    def __init__(self, body: Iterable[bytes], outbox: Outbox, connection: Any) -> None:
        self._body = body
        self._outbox = outbox
        outbox.writing += 1
        outbox.connection = connection

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """WSGI's servers call it when the answer was written, or could not be."""
        self._outbox.writing -= 1
        self._outbox.stalled_since_s = None


def _sid(environ: dict[str, Any]) -> str:
    return parse_qs(environ.get("QUERY_STRING", "")).get("sid", [""])[0]


def _refused(status: str, error: TalusError) -> dict[str, Any]:
    """A refusal in the shape in which engineio hands its responses around."""
    return {
        "status": status,
        "headers": [("Content-Type", "application/json")],
        "response": wire.encode(wire.error_body(error)),
    }


def _well_formed(body: bytes) -> bool:
    """Whether the body of a poll's POST is a list of Engine.IO packets."""
    try:
        packets = body.decode().split("\x1e")
    except UnicodeDecodeError:
        return False
    if len(packets) > MAX_POSTED:
        return False
    for packet in packets:
        if packet[:1] == "b":
            try:
                b64decode(packet[1:], validate=True)
            except binascii.Error:
                return False
        elif packet[:1] not in set("0123456"):
            return False
    return True
