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
from typing import Any

import gevent
from gevent.event import Event
from socketio.exceptions import ConnectionRefusedError as ConnectionRefused

from ..core.errors import (
    BinaryNotSupported,
    Forbidden,
    InvalidRequest,
    InvalidSession,
    LimitExceeded,
    TalusError,
    TokenExpired,
    Unauthenticated,
    UnknownEvent,
)
from ..service.access import Access, expired
from ..service.calls import Calls, JoinRequest, PresenceRequest, convert, session_id_of
from ..service.jobs import Answer
from ..service.limits import Bucket
from ..service.pace import TalkPace
from ..service.presence import Rooms
from ..service.replay import Replay
from ..service.sessions import Session, Sessions
from ..service.tokens import Identity
from . import wire
from .channel import Hall
from .decode import decode
from .engine import SocketIO
from .gate import Environ, address_of
from .outbox import Outbox
from .refusals import Refusals

MAX_SESSIONS = 64  # that one client may be in
MAX_IN_FLIGHT = 32  # commands of one client that are queued; its next one waits, and others come in between
REFUSED_S = 0.001  # a client that was refused is heard so much later: who talks rubbish slows himself
JOINS = 50.0  # a second and client, twice that at once; its next one waits
CALLS = 2_000.0  # besides commands, in the same way
CONNECT_S = 10.0  # from the opening of a connection to the name or token of its client
MALFORMED = 3  # packets; with that one the connection ends
GOODBYE_S = 2.0  # to take the last words

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

    def __init__(self, client_id: str, identity: Identity, outbox: Outbox, command_rate: int) -> None:
        self.id = client_id
        self.identity = identity
        self.outbox = outbox
        self.commands = Bucket(command_rate)
        self.joins = Bucket(JOINS)
        self.calls = Bucket(CALLS)
        self.malformed = 0
        self.sessions: dict[str, Session] = {}
        self.gone = False
        self.attachments = 0  # binary frames to swallow after a binary packet
        self.pace = TalkPace()
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


class Sockets(SocketIO):
    """The Socket.IO application."""

    def __init__(
        self,
        hall: Hall,
        sessions: Sessions,
        access: Access,
        calls: Calls,
        rooms: Rooms,
        replay: Replay,
        refusals: Refusals,
        command_rate: int,
        max_clients: int,
        outbox_bytes: int,
        slow_down: Callable[[Environ], None],
    ) -> None:
        """command_rate: a second and client; 0: as fast as it goes. slow_down: called for a failed login."""
        super().__init__(outbox_bytes, max_clients, refusals)
        self._refusals = refusals
        self._hall = hall
        self._sessions = sessions
        self._access = access
        self._command_rate = command_rate
        self._slow_down = slow_down
        self._rooms = rooms
        self._replay = replay
        self._clients: dict[str, Client] = {}  # by Engine.IO's id
        self._commands: dict[str, Callable[[Client, Any, int, Callable[..., None]], None]] = {
            "execute_command": lambda client, payload, size, respond: calls.execute(
                payload, client.identity, size, respond
            ),
            "undo_command": lambda client, payload, size, respond: calls.turn(
                "Undo", payload, client.identity, respond
            ),
            "redo_command": lambda client, payload, size, respond: calls.turn(
                "Redo", payload, client.identity, respond
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
        access.on_removed = self._remove
        access.on_revoked = self._revoke

    # -- connections --

    def _connected(self, client_id: str, environ: dict[str, Any], auth: Any) -> None:
        said = auth if isinstance(auth, dict) else {}
        try:
            identity = self._access.identify(said.get("token"), said.get("actor"), client_id)
        except TalusError as error:
            self._refusals.count(error, address_of(environ))
            if isinstance(error, Unauthenticated):
                self._slow_down(environ)
            raise ConnectionRefused(error.message, {"code": error.code, "message": error.message}) from None
        eio_sid, outbox = self.connection(client_id)
        self._clients[eio_sid] = Client(client_id, identity, outbox, self._command_rate)
        self._hall.outboxes[client_id] = outbox

    def _disconnected(self, client_id: str, reason: str) -> None:
        self._hall.outboxes.pop(client_id, None)
        client = self._clients.pop(self.connection_id(client_id), None)
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

    def _remove(self, session: Session, user: str) -> None:
        """The user has no role in the session any more: its connections leave it."""
        for client in list(self._clients.values()):
            if client.identity.user == user and not client.identity.admin and session.id in client.sessions:
                self._tell(client, Forbidden("You are no member of this session any more"))
                self._leave(client, {"session_id": session.id})

    def _revoke(self, user: str) -> None:
        for eio_sid, client in list(self._clients.items()):
            if client.identity.user == user:
                try:
                    self._access.recheck(client.identity)
                except TalusError:
                    self._dismiss(eio_sid, client, Forbidden("Your tokens were revoked"))
                    for session_id in list(client.sessions):
                        self._leave(client, {"session_id": session_id})

    def _dismiss(self, eio_sid: str, client: Client, error: TalusError) -> None:
        """Tell a client why, and disconnect it; nothing that it says from here on counts."""
        if client.gone:
            return
        client.gone = True
        self._tell(client, error)
        gevent.spawn(self._hang_up, eio_sid, client)

    def _hang_up(self, eio_sid: str, client: Client) -> None:
        self.disconnect(client.id)  # waits where the client's calls do
        gevent.sleep(GOODBYE_S)
        self.cut(eio_sid)

    def look(self, eio_sid: str, outbox: Outbox, now_s: float) -> None:
        """Cut a connection that does not say who it is, and end that of an expired token."""
        client = self._clients.get(eio_sid)
        if client is None:
            if now_s - outbox.opened_s > CONNECT_S:
                self.cut(eio_sid)
        elif expired(client.identity):
            self._dismiss(eio_sid, client, TokenExpired())

    # -- packets --

    def message(self, eio_sid: str, data: Any) -> None:
        client = self._clients.get(eio_sid)
        if client is not None:
            client.outbox.wait()
            if client.gone:
                return
        try:
            self._packet(eio_sid, client, data)
        except TalusError as error:
            if client is None:
                self.end(eio_sid)
                return
            client.wait()
            self._tell(client, error)
            client.malformed += isinstance(error, InvalidRequest)
            if client.malformed == MALFORMED:
                self.end(eio_sid)
        except Exception:
            log.exception("a packet could not be handled")
            if client is not None:
                self._tell(client, TalusError())

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
            self.admit(eio_sid, namespace, auth)
        elif client is None or namespace != "/" or kind in (_CONNECT, _CONNECT_ERROR):
            raise InvalidRequest("A malformed packet")
        elif kind == _DISCONNECT:
            self.take_leave(eio_sid)
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
            try:
                client.commands.check()
            except TalusError as too_fast:
                client.wait()
                self._refuse(client, number, too_fast)
                gevent.sleep(REFUSED_S)
                return
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
        if wait_s := client.calls.queue():
            gevent.sleep(wait_s)
        call = self._others.get(name)
        try:
            if call is None:
                raise UnknownEvent()
            answer = call(client, payload)
        except Exception as failure:
            error = _refusal(failure)
            if number is None or call != self._show:
                # The protocol's own calls: their `error` is heard with or without a callback.
                self._tell(client, error)
            if number is not None:
                client.outbox.answer(wire.acknowledgement(number, wire.error_body(error)))
            gevent.sleep(REFUSED_S)
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
        if number is None:
            self._tell(client, error)
            return
        self._refusals.count(error, client.outbox.address)
        client.outbox.answer(wire.acknowledgement(number, wire.error_body(error)))

    def _tell(self, client: Client, error: TalusError) -> None:
        self._refusals.count(error, client.outbox.address)
        client.outbox.answer(wire.error_packet(error))

    # -- calls --

    def _join(self, client: Client, payload: Any) -> dict[str, Any]:
        session_id = session_id_of(payload)
        request: JoinRequest = convert(payload, JoinRequest)
        if wait_s := client.joins.queue():
            gevent.sleep(wait_s)
        client.sessions = {key: kept for key, kept in client.sessions.items() if not kept.removed}
        if len(client.sessions) >= MAX_SESSIONS and session_id not in client.sessions:
            raise LimitExceeded(f"A client may be in up to {MAX_SESSIONS} sessions")
        session, created = self._access.joined(client.identity, session_id)
        session.pins += 1
        try:
            total = self._replay.total(session, request.since) if request.since else 0
        finally:
            session.pins -= 1
        if session.removed or client.gone:
            raise InvalidSession()
        self._access.check(client.identity, session_id, "viewer")  # reading took its time
        # From here to the end nothing waits: `joined` is true of one moment.
        resume = self._replay.resume(session, request.since, request.epoch, total)
        new = self._rooms.enter(session, client.id, client.identity.user)
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
        session = self._access.session(client.identity, session_id_of(payload), "viewer")
        request: PresenceRequest = convert(payload, PresenceRequest)
        if "state" not in payload:
            raise InvalidRequest("state: missing")
        self._rooms.show(session, client.id, request.state)
        return {}
