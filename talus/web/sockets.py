"""Socket.IO: the calls of clients, and their answers.

python-socketio and python-engineio speak the protocol; what a client says is
read, checked and answered here, and what it hears waits in its `Outbox`. Calls
of one client are carried out in the order it sent them: commands are queued
without waiting, so many may be under way, and any other call waits for those
before it. Source: docs/protocol.md, "Calls".
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import gevent
import socketio
from gevent.event import Event
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused

from ..core.errors import (
    BinaryNotSupported,
    InvalidRequest,
    InvalidSession,
    LimitExceeded,
    TalusError,
    UnknownEvent,
)
from ..service.access import actor_of
from ..service.calls import Calls, JoinRequest, PresenceRequest, convert, session_id_of
from ..service.jobs import Answer
from ..service.pace import Pace
from ..service.presence import Rooms
from ..service.replay import Replay
from ..service.sessions import Session, Sessions
from . import wire
from .channel import Hall
from .decode import decode
from .engine import Engine, TextOnly
from .outbox import Outbox
from .websocket import MAX_MESSAGE_BYTES, STALL_S

PING_INTERVAL_S = 25
PING_TIMEOUT_S = 20
MAX_SESSIONS = 64  # that one client may be in
MAX_IN_FLIGHT = 256  # commands of one client that are queued; its next one waits

# A Socket.IO packet: type, attachments, namespace, number, JSON.
_PACKET = re.compile(r"([0-6])(?:(\d{1,9})-)?(?:(/[^,]*)(?:,|$))?(\d{1,15})?(.*)", re.DOTALL)
_CONNECT, _DISCONNECT, _EVENT, _ACK, _CONNECT_ERROR, _BINARY_EVENT, _BINARY_ACK = range(7)

log = logging.getLogger(__name__)


def _refusal(failure: Exception) -> TalusError:
    """What a failed call is answered: a refusal as it is, a mistake of ours as INTERNAL, and logged."""
    if isinstance(failure, TalusError):
        return failure
    log.error("a call failed", exc_info=failure)
    return TalusError()


class Client:
    """One connection: who it is, what it is in, and what it has under way."""

    def __init__(self, client_id: str, actor: str, outbox: Outbox) -> None:
        self.id = client_id
        self.actor = actor
        self.outbox = outbox
        self.sessions: dict[str, Session] = {}
        self.gone = False
        self.attachments = 0  # binary frames to swallow after a binary packet
        self.pace = Pace()  # a burst of calls is work like any other
        self._in_flight = 0
        self._fewer = Event()

    def begin(self) -> None:
        """A command goes to the queue; waits while too many are under way."""
        self.wait(MAX_IN_FLIGHT - 1)
        self._in_flight += 1

    def end(self) -> None:
        self._in_flight -= 1
        self._fewer.set()

    def wait(self, most: int = 0) -> None:
        """Until at most so many commands of this client are under way."""
        while self._in_flight > most:
            self._fewer.clear()
            self._fewer.wait()


class Sockets(socketio.Server):
    """The Socket.IO application."""

    def __init__(
        self,
        hall: Hall,
        sessions: Sessions,
        calls: Calls,
        rooms: Rooms,
        replay: Replay,
        outbox_bytes: int,
    ) -> None:
        super().__init__(
            async_mode="gevent",
            cors_allowed_origins=[],  # the gate answers for origins, on every path alike
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            json=TextOnly,
            logger=logging.getLogger("talus.socketio"),
            engineio_logger=logging.getLogger("talus.engineio"),
            outbox_bytes=outbox_bytes,
        )
        self._hall = hall
        self._sessions = sessions
        self._calls = calls
        self._rooms = rooms
        self._replay = replay
        self._clients: dict[str, Client] = {}  # by Engine.IO's id
        self._commands: dict[str, Callable[[Client, Any, int, Callable[..., None]], None]] = {
            "execute_command": lambda client, payload, size, respond: calls.execute(
                payload, client.actor, size, respond
            ),
            "undo_command": lambda client, payload, size, respond: calls.turn(
                "Undo", payload, client.actor, respond
            ),
            "redo_command": lambda client, payload, size, respond: calls.turn(
                "Redo", payload, client.actor, respond
            ),
        }
        self._others: dict[str, Callable[[Client, Any], dict[str, Any]]] = {
            "join_session": self._join,
            "leave_session": self._leave,
            "ping": self._ping,
            "update_presence": self._show,
        }
        self.on("connect", self._connected)
        self.on("disconnect", self._disconnected)
        self._watch = gevent.spawn(self._watch_polls)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # -- connections --

    def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> None:
        socket = self.eio.sockets[eio_sid]
        socket.queue.polls = lambda: not socket.upgraded
        socket.queue.cut = partial(self._cut, socket)
        super()._handle_eio_connect(eio_sid, environ)

    def _connected(self, client_id: str, environ: dict[str, Any], auth: Any) -> None:
        try:
            actor = actor_of(auth.get("actor") if isinstance(auth, dict) else None)
        except TalusError as error:
            raise ConnectionRefused(error.message, {"code": error.code, "message": error.message}) from None
        eio_sid = self.manager.eio_sid_from_sid(client_id, "/")
        outbox = self.eio.sockets[eio_sid].queue
        self._clients[eio_sid] = Client(client_id, actor, outbox)
        self._hall.outboxes[client_id] = outbox

    def _disconnected(self, client_id: str, reason: str) -> None:
        self._hall.outboxes.pop(client_id, None)
        eio_sid = self.manager.eio_sid_from_sid(client_id, "/")
        client = self._clients.pop(eio_sid, None)
        if client is None:
            return
        client.gone = True
        for session in client.sessions.values():
            self._depart(client, session)

    def _depart(self, client: Client, session: Session) -> None:
        """The client hears nothing more of the session, and the others hear that it went."""
        self._hall.leave(client.outbox, session.id)
        self._rooms.leave(session, client.id)
        self._sessions.touch(session)

    def _watch_polls(self) -> None:
        """Cut polling clients that take nothing for STALL_S while something waits for them."""
        while True:
            gevent.sleep(1.0)
            now = monotonic()
            for socket in list(self.eio.sockets.values()):
                outbox = socket.queue
                if socket.upgraded or socket.closed or not outbox.waits:
                    outbox.stalled_since_s = None
                elif outbox.stalled_since_s is None or outbox.progresses():
                    outbox.stalled_since_s = now
                elif now - outbox.stalled_since_s > STALL_S:
                    self._cut(socket)

    def _cut(self, socket: Any) -> None:
        """End a connection without waiting for its client."""
        socket.close(wait=False, abort=True, reason=self.reason.TRANSPORT_ERROR)
        self.eio.sockets.pop(socket.sid, None)

    def flushed(self) -> bool:
        """Whether every client that takes what it is given has taken everything."""
        return not any(socket.queue.waits for socket in list(self.eio.sockets.values()))

    def close(self) -> None:
        """Say goodbye to everybody."""
        self._watch.kill()
        for eio_sid in list(self.eio.sockets):
            self.eio.disconnect(eio_sid)

    # -- packets --

    def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        client = self._clients.get(eio_sid)
        try:
            self._packet(eio_sid, client, data)
        except TalusError as error:
            if client is None:
                self.eio.disconnect(eio_sid)
            else:
                client.wait()
                client.outbox.answer(wire.error_packet(error))
        except Exception:
            log.exception("a packet could not be handled")
            if client is not None:
                client.outbox.answer(wire.error_packet(TalusError()))

    def _packet(self, eio_sid: str, client: Client | None, data: Any) -> None:
        if isinstance(data, bytes | bytearray):
            if client is not None and client.attachments:
                client.attachments -= 1
                return
            raise BinaryNotSupported()
        parsed = _PACKET.fullmatch(data) if isinstance(data, str) else None
        if parsed is None:
            raise InvalidRequest("A malformed packet")
        kind, namespace = int(parsed[1]), parsed[3] or "/"
        if kind == _CONNECT and (client is None or namespace != "/"):
            auth = decode(parsed[5]) if parsed[5] else None
            self._handle_connect(eio_sid, namespace, auth)
        elif client is None or namespace != "/" or kind in (_CONNECT, _CONNECT_ERROR):
            raise InvalidRequest("A malformed packet")
        elif kind == _DISCONNECT:
            self._handle_disconnect(eio_sid, "/", self.reason.CLIENT_DISCONNECT)
        elif kind in (_BINARY_EVENT, _BINARY_ACK):
            client.attachments = int(parsed[2] or 0)
            raise BinaryNotSupported()
        else:
            said = decode(parsed[5])
            if not isinstance(said, list):
                raise InvalidRequest("A malformed packet")
            if kind == _ACK:
                return  # of what nobody asked: talus asks for no acknowledgements
            if not said or not isinstance(said[0], str):
                raise InvalidRequest("A malformed packet")
            number = int(parsed[4]) if parsed[4] else None
            self._call(client, said[0], said[1] if len(said) > 1 else None, number, len(data))
            client.pace.breathe()

    def _call(self, client: Client, name: str, payload: Any, number: int | None, size: int) -> None:
        """One call of a client, answered by an acknowledgement where it asked for one."""
        command = self._commands.get(name)
        if command is not None:
            client.begin()
            respond = partial(self._respond, client, number, payload)
            try:
                command(client, payload, size, respond)
            except Exception as failure:
                client.end()
                client.wait()
                self._refuse(client, number, _refusal(failure))
            return
        client.wait()
        call = self._others.get(name)
        try:
            if call is None:
                raise UnknownEvent()
            answer = call(client, payload)
        except Exception as failure:
            error = _refusal(failure)
            if number is None or call != self._show:
                # The protocol's own calls: their `error` is heard with or without a callback.
                client.outbox.answer(wire.error_packet(error))
            if number is not None:
                client.outbox.answer(wire.acknowledgement(number, wire.error_body(error)))
            return
        if number is not None:
            client.outbox.answer(wire.acknowledgement(number, answer))

    def _respond(
        self, client: Client, number: int | None, payload: dict[str, Any], outcome: Answer | TalusError
    ) -> None:
        client.end()
        if isinstance(outcome, TalusError):
            heard = outcome.announced and payload["session_id"] in client.sessions
            if number is not None or not heard:
                self._refuse(client, number, outcome)
        elif number is not None:
            assert outcome.record is not None
            text = wire.acknowledgement(number, wire.answer(outcome))
            self._hall.acknowledge(client.outbox, outcome.session.id, outcome.record.version, text)

    def _refuse(self, client: Client, number: int | None, error: TalusError) -> None:
        if number is not None:
            client.outbox.answer(wire.acknowledgement(number, wire.error_body(error)))
        else:
            client.outbox.answer(wire.error_packet(error))

    # -- calls --

    def _join(self, client: Client, payload: Any) -> dict[str, Any]:
        session_id = session_id_of(payload)
        request: JoinRequest = convert(payload, JoinRequest)
        client.sessions = {key: kept for key, kept in client.sessions.items() if not kept.removed}
        if len(client.sessions) >= MAX_SESSIONS and session_id not in client.sessions:
            raise LimitExceeded(f"A client may be in up to {MAX_SESSIONS} sessions")
        session, created = self._sessions.get_or_open(session_id)
        session.pins += 1
        try:
            total = self._replay.total(session, request.since) if request.since else 0
        finally:
            session.pins -= 1
        if session.removed or client.gone:
            raise InvalidSession()
        # From here to the end nothing waits: `joined` is true of one moment.
        resume = self._replay.resume(session, request.since, request.epoch, total)
        new = self._rooms.enter(session, client.id, client.actor)
        client.sessions[session_id] = session
        answer = wire.Joined(
            session_id=session_id,
            client_id=client.id,
            active_clients=len(session.members),
            version=session.version,
            epoch=self._replay.epoch,
            resume=resume,
            created=created,
            clients=self._rooms.listed(session),
        )
        client.outbox.answer(wire.packet("joined", answer))
        since = request.since if resume == "replay" else None
        read = partial(self._replay.parts, session)
        self._hall.enter(client.outbox, session_id, session.version, since, read)
        if new:
            self._rooms.announce(session, client.id)
        return wire.builtins(answer)

    def _leave(self, client: Client, payload: Any) -> dict[str, Any]:
        session_id = session_id_of(payload)
        answer = wire.Left(session_id, client.id)
        session = client.sessions.pop(session_id, None)
        client.outbox.answer(wire.packet("left", answer))
        if session is not None:
            self._depart(client, session)
        return wire.builtins(answer)

    def _ping(self, client: Client, payload: Any) -> dict[str, Any]:
        client.outbox.answer(wire.packet("pong"))
        return {}

    def _show(self, client: Client, payload: Any) -> dict[str, Any]:
        session = self._sessions.get(session_id_of(payload))
        request: PresenceRequest = convert(payload, PresenceRequest)
        if "state" not in payload:
            raise InvalidRequest("state: missing")
        self._rooms.show(session, client.id, request.state)
        return {}
