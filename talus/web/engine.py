"""All that reaches past the public interfaces of python-socketio and python-engineio, in one place.

Each client's queue is an `Outbox` (`create_queue`), a poll's body is checked
before it is taken apart, a message that is no packet ends its connection
instead of the greenlet, it is known when a poll's answer was written, Socket.IO's
packets are left as they come, and a connection can be cut. The minor versions of
both are pinned for it; tests/test_protocol.py and tests/test_robust.py hold it.
"""

from __future__ import annotations

import binascii
import json
import logging
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import engineio
import gevent
import socketio
from engineio.async_drivers import gevent as engineio_gevent
from engineio.packet import PING, Packet
from engineio.payload import Payload

from ..core.errors import Busy, InvalidRequest, MethodNotAllowed, TalusError
from . import wire
from .gate import CONNECTION, Environ, Query, address_of, share
from .outbox import Outbox, Pump
from .refusals import Refusals
from .websocket import MAX_MESSAGE_BYTES, STALL_S

PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
# Socket.IO's own client, in browsers and in Node, takes any number of packets in an answer to a poll.
TAKE_MANY = ("Mozilla/", "node-XMLHttpRequest")
MANY_PACKETS = 1_000
UPGRADE_S = 10.0  # from a WebSocket's opening to its being the client's way
MAX_POSTED = 10_000  # packets in one POST of a polling client, which sends all that it has at once

log = logging.getLogger(__name__)

Payload.max_decode_packets = MAX_POSTED  # as shipped, a burst of more than 16 is lost in silence


class TextOnly:
    """engineio guesses whether a text is JSON; ours always stays text, and is decoded once."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> Any:
        raise ValueError("left as text")


class _WebSocketWSGI(engineio_gevent.WebSocketWSGI):
    """Ends a connection whose message is no Engine.IO packet; engineio would die of it, loudly.

    And one that asks for an upgrade and does not finish it: engineio would wait for ever.
    """

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        websocket = environ["wsgi.websocket"]
        self.app.__self__.queue.websocket = websocket
        clock = gevent.spawn_later(UPGRADE_S, self._end_half_upgraded, websocket)
        try:
            return super().__call__(environ, start_response)
        finally:
            clock.kill(block=False)

    def _end_half_upgraded(self, websocket: Any) -> None:
        if not self.app.__self__.upgraded:
            websocket.abort()

    def wait(self) -> Any:
        message = super().wait()
        if isinstance(message, str) and message[:1] not in set("1345") and message != "2probe":
            return None
        return message


class SocketIO(socketio.Server):
    """Socket.IO whose packets a subclass reads, and whose connections are looked at once a second.

    The subclass has `message` and `look`, and uses the other methods. A connection goes by Engine.IO's id.
    """

    eio: Engine

    def __init__(self, outbox_bytes: int, max_clients: int, refusals: Refusals) -> None:
        super().__init__(
            async_mode="gevent",
            cors_allowed_origins=[],  # the gate answers for origins, on every path alike
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            json=TextOnly,
            http_compression=False,  # the highest level of gzip, in the hub, for each client anew
            logger=logging.getLogger("talus.socketio"),
            engineio_logger=logging.getLogger("talus.engineio"),
            outbox_bytes=outbox_bytes,
            max_clients=max_clients,
            refusals=refusals,
        )
        self._looking = gevent.spawn(self._look_at_all)

    # -- what a subclass does --

    def message(self, eio_sid: str, data: Any) -> None:
        """A message came: the text of a Socket.IO packet, or bytes."""
        raise NotImplementedError

    def look(self, eio_sid: str, outbox: Outbox, now_s: float) -> None:
        """Once a second for each connection. now_s: on the monotonic clock."""
        raise NotImplementedError

    # -- what it uses --

    def connection_id(self, client_id: str) -> str:
        eio_sid: str = self.manager.eio_sid_from_sid(client_id, "/")
        return eio_sid

    def connection(self, client_id: str) -> tuple[str, Outbox]:
        eio_sid = self.connection_id(client_id)
        return eio_sid, self.eio.sockets[eio_sid].queue

    def admit(self, eio_sid: str, namespace: str, auth: Any) -> None:
        """The connection asks to be let into a namespace; the handler of `connect` decides."""
        self._handle_connect(eio_sid, namespace, auth)

    def take_leave(self, eio_sid: str) -> None:
        """The client says goodbye."""
        self._handle_disconnect(eio_sid, "/", self.reason.CLIENT_DISCONNECT)

    def end(self, eio_sid: str) -> None:
        """End a connection, with all that it was to hear."""
        self.eio.disconnect(eio_sid)

    def cut(self, eio_sid: str) -> None:
        """End a connection without waiting for its client."""
        socket = self.eio.sockets.pop(eio_sid, None)
        if socket is not None:
            socket.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)

    def flushed(self) -> bool:
        """Whether every client that takes what it is given has taken everything."""
        return not any(socket.queue.waits for socket in list(self.eio.sockets.values()))

    def close(self) -> None:
        """Say goodbye to everybody."""
        self._looking.kill()
        for eio_sid in list(self.eio.sockets):
            self.eio.disconnect(eio_sid)

    # -- what python-socketio calls --

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def _handle_eio_connect(self, eio_sid: str, environ: Environ) -> None:
        socket = self.eio.sockets[eio_sid]
        outbox: Outbox = socket.queue
        outbox.address = address_of(environ)
        if environ.get("HTTP_USER_AGENT", "").startswith(TAKE_MANY):
            outbox.poll_packets = MANY_PACKETS
        outbox.polls = lambda: not socket.upgraded
        outbox.cut = partial(self.cut, eio_sid)
        super()._handle_eio_connect(eio_sid, environ)

    def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if eio_sid in self.environ:  # else it stood behind the goodbye; the connection is over
            self.message(eio_sid, data)

    # -- the look at connections --

    def _look_at_all(self) -> None:
        while True:
            gevent.sleep(1.0)
            now_s = monotonic()
            for eio_sid, socket in list(self.eio.sockets.items()):
                try:
                    self.look(eio_sid, socket.queue, now_s)
                    self._look_at_poll(eio_sid, socket, now_s)
                    if not (socket.closed or socket.closing):
                        socket.check_ping_timeout()  # engineio looks at each only every 20 s
                except Exception:
                    # Nobody else ends expired tokens and silent strangers: the watch goes on.
                    log.exception("a connection could not be looked at")

    def _look_at_poll(self, eio_sid: str, socket: Any, now_s: float) -> None:
        """Cut a polling client that takes nothing for STALL_S while something waits for it."""
        outbox: Outbox = socket.queue
        if socket.upgraded or socket.closed or not outbox.waits:
            outbox.stalled_since_s = None
        elif outbox.stalled_since_s is None or outbox.progresses():
            outbox.stalled_since_s = now_s
        elif now_s - outbox.stalled_since_s > STALL_S:
            self.cut(eio_sid)


class Engine(engineio.Server):
    """Engine.IO with an outbox for each client, and a check of what comes before it takes that apart."""

    def __init__(self, *, outbox_bytes: int, max_clients: int, refusals: Refusals, **options: Any) -> None:
        super().__init__(**options)
        self._outbox_bytes = outbox_bytes
        self._pump = Pump()
        self._max_clients = max_clients
        self._refusals = refusals
        self._async: dict[str, Any] = {**self._async, "websocket": _WebSocketWSGI}

    def create_queue(self, *args: Any, **kwargs: Any) -> Outbox:
        return Outbox(self._outbox_bytes, self._pump)

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        socket = getattr(target, "__self__", None)
        if target.__name__ == "_send_ping" and isinstance(socket, engineio.socket.Socket):
            # That one sleeps first, which for every client is a stack to keep, and sleeps on when it is gone.
            socket.queue.pinging = gevent.spawn_later(self.ping_interval, self._ping, socket)
            return socket.queue.pinging
        return super().start_background_task(target, *args, **kwargs)

    @staticmethod
    def _ping(socket: Any) -> None:
        if not (socket.closing or socket.closed):
            socket.last_ping = time.time()
            socket.send(Packet(PING))

    def refusal(self, environ: Environ, query: Query) -> TalusError | None:
        """Why a request is not let in: too many clients, or an upgrade of what cannot be upgraded."""
        if "sid" not in query:
            return self._crowded(address_of(environ))
        socket = self.sockets.get(query["sid"][0])
        if environ.get("HTTP_UPGRADE") and (socket is None or socket.upgraded or socket.upgrading):
            return InvalidRequest("sid: not one that can be upgraded")
        return None

    def _crowded(self, address: str) -> TalusError | None:
        if len(self.sockets) >= self._max_clients:
            return Busy("The server has as many clients as it takes")
        share_of_it = share(address, self._max_clients)
        if len(self.sockets) >= share_of_it:
            from_there = sum(socket.queue.address == address for socket in self.sockets.values())
            if from_there >= share_of_it:
                return Busy("The server has as many clients as it takes from one address")
        return None

    def handle_request(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        known = self.sockets.get(_sid(environ))
        if known is not None and known.closed:
            del self.sockets[_sid(environ)]  # Engine.IO forgets it when it is asked for next, and raises then
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].getvalue()
            if not _well_formed(body):
                return self._end(environ, start_response, "A malformed packet")
            return super().handle_request(environ, start_response)
        socket = self.sockets.get(_sid(environ))
        if socket is None or "wsgi.websocket" in environ:
            answer = super().handle_request(environ, start_response)
        elif socket.queue.polled:
            return self._end(environ, start_response, "A poll of this client is under way")
        else:
            socket.queue.polled = True
            try:
                answer = super().handle_request(environ, start_response)
            finally:
                socket.queue.polled = False
        socket = self.sockets.get(_sid(environ))
        if socket is None or socket.upgraded:
            return answer
        return _Answer(answer, socket.queue, environ[CONNECTION])

    def _end(self, environ: Environ, start_response: Callable[..., Any], message: str) -> Any:
        """Refuse a request that Engine.IO forbids, and end the connection that it belongs to."""
        if _sid(environ) in self.sockets:
            self.disconnect(_sid(environ))
        error = InvalidRequest(message)
        self._refusals.count(error, address_of(environ))
        refused = _refused("400 Bad Request", error)
        start_response(refused["status"], refused["headers"])
        return [refused["response"]]

    def _bad_request(self, message: str | None = None) -> dict[str, Any]:
        return _refused("400 Bad Request", InvalidRequest(message))

    def _method_not_found(self) -> dict[str, Any]:
        return _refused("405 Method Not Allowed", MethodNotAllowed())


class _Answer:
    """The body of a poll's answer; the client is taking it until it is written, and sent."""

    def __init__(self, body: list[bytes], outbox: Outbox, connection: Any) -> None:
        self._body = body
        self._outbox = outbox
        outbox.writing += 1
        outbox.connection = connection

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def __len__(self) -> int:
        """Of a body in one piece pywsgi tells the length, and needs no chunks."""
        return len(self._body)

    def close(self) -> None:
        """WSGI's servers call it when the answer was written, or could not be."""
        self._outbox.writing -= 1
        self._outbox.stalled_since_s = None


def _sid(environ: Environ) -> str:
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
