"""REST under /api/v1: requests in, the service's answers out, as JSON.

Only translation happens here. Every answer that is not a 2xx, Bottle's own
included, is the contract's envelope. Source: docs/protocol.md, "REST".
"""

from __future__ import annotations

import base64
import binascii
import http
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import bottle
from gevent.event import AsyncResult
from gevent.lock import RLock

from ..core.errors import (
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    TalusError,
)
from ..core.graph import Graph, rebuild
from ..core.values import MAX_INTEGER
from ..service.access import Access
from ..service.backups import Backups
from ..service.calls import Calls, session_id_of
from ..service.jobs import Answer
from ..service.limits import Buckets
from ..service.pace import Pace, paced
from ..service.replay import Replay
from ..service.sessions import Session, Sessions
from ..service.tokens import Identity
from . import wire
from .decode import decode
from .gate import IDENTITY, JSON, address_of
from .refusals import Refusals

ROOT = "/api/v1"
DATABASE = "application/vnd.sqlite3"
MAX_DIGITS = 1_000  # of a number in a query; Python's own limit is 4,300

log = logging.getLogger(__name__)


class Rest:
    """The Bottle application of /api/v1."""

    def __init__(
        self,
        sessions: Sessions,
        access: Access,
        calls: Calls,
        replay: Replay,
        backups: Backups,
        refusals: Refusals,
        command_rate: int,
        failing: Callable[[], str | None],
        version: str,
    ) -> None:
        """failing: why nothing can be written, or None. version: of this program.

        command_rate: a second, for each user (without tokens: for each address); 0: as fast as it goes.
        """
        self._sessions = sessions
        self._access = access
        self._commands = Buckets(command_rate)
        self._creations = Buckets(command_rate)
        self._calls = calls
        self._replay = replay
        self._backups = backups
        self._failing = failing
        self._version = version
        self._encoded: WeakKeyDictionary[Session, tuple[int, bytes]] = WeakKeyDictionary()
        self._encoding: WeakKeyDictionary[Session, RLock] = WeakKeyDictionary()
        self.app = bottle.Bottle()
        self.app.config["json.enable"] = False  # `_Answers` does that, for refusals too
        self.app.install(_Answers(refusals))
        self.app.default_error_handler = _framework_error
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/health", self.health),
            ("POST", "/sessions", self.create_session),
            ("GET", "/sessions", self.list_sessions),
            ("GET", "/sessions/<session_id>/info", self.info),
            ("DELETE", "/sessions/<session_id>", self.delete_session),
            ("GET", "/sessions/<session_id>/members", self.members),
            ("PUT", "/sessions/<session_id>/members/<user:path>", self.appoint),
            ("DELETE", "/sessions/<session_id>/members/<user:path>", self.dismiss),
            ("POST", "/sessions/<session_id>/undo", self.undo),
            ("POST", "/sessions/<session_id>/redo", self.redo),
            ("GET", "/sessions/<session_id>/events", self.events),
            ("GET", "/sessions/<session_id>/history", self.history),
            ("POST", "/projects", self.create_project),
            ("GET", "/projects/<project_id>", self.project),
            ("GET", "/graph", self.graph),
            ("POST", "/commands/execute", self.execute),
            ("POST", "/backup", self.backup),
            ("GET", "/templates", self.templates),
            ("GET", "/templates/<template_id>/schema", self.schema),
        ]
        for method, path, handler in routes:
            self.app.route(ROOT + path, method, handler)

    # -- sessions and projects --

    def health(self) -> Any:
        reason = self._failing()
        if reason is not None:
            bottle.response.status = 503
            return {"status": "failing", "protocol": wire.PROTOCOL, "reason": reason}
        body = {"status": "ok", "protocol": wire.PROTOCOL}
        if self._access.tokens is None:  # with tokens anybody may ask, and learns no more than that
            body |= {"version": self._version, "epoch": self._replay.epoch}
        return body

    def create_session(self) -> Any:
        self._slow_down(self._creations)
        session = self._wait(self._calls.create, _body(), _identity()).session
        bottle.response.status = 201
        return {
            "session_id": session.id,
            "version": session.version,
            "epoch": self._replay.epoch,
            "created_at": wire.timestamp(session.created_ms),
        }

    def list_sessions(self) -> Any:
        limit = _limit(50, 500)
        identity = _identity()
        user = None if identity.admin else identity.user
        rows, total = self._replay.sessions(limit + 1, _cursor(), user)
        more = len(rows) > limit
        rows = rows[:limit]
        open_now = self._sessions.open()
        lines = [
            wire.session_line(row, len(open_now[row.id].members) if row.id in open_now else 0) for row in rows
        ]
        cursor = f"{rows[-1].active_ms}:{rows[-1].no}" if more else None
        return {
            "sessions": lines,
            "total": total,
            "next_cursor": base64.urlsafe_b64encode(cursor.encode()).decode() if cursor else None,
        }

    def info(self, session_id: str) -> Any:
        session = self._access.session(_identity(), session_id, "viewer")
        return {
            **wire.session_line(session, len(session.members)),
            "project_id": session.project_id,
            "template_id": session.template_id,
            "undo_available": session.undo_available,
            "redo_available": session.redo_available,
            "node_count": session.node_count,
        }

    def delete_session(self, session_id: str) -> Any:
        force = _flag("force")
        self._wait(lambda respond: self._calls.remove(session_id, force, _identity(), respond))
        bottle.response.status = 204
        return None

    def members(self, session_id: str) -> Any:
        members = self._calls.members(session_id, _identity())
        return {"members": [{"user": user, "role": role} for user, role in members.items()]}

    def appoint(self, session_id: str, user: str) -> Any:
        body = _body()
        self._wait(lambda respond: self._calls.appoint(session_id, user, body, _identity(), respond))
        return {"user": user, "role": body["role"]}

    def dismiss(self, session_id: str, user: str) -> Any:
        self._wait(lambda respond: self._calls.dismiss(session_id, user, _identity(), respond))
        bottle.response.status = 204
        return None

    def create_project(self) -> Any:
        self._slow_down(self._creations)
        done = self._wait(self._calls.create_project, _body(), _identity())
        session = done.session
        bottle.response.status = 201
        _, roots = self._roots(session)
        head = {
            "project_id": session.project_id,
            "session_id": session.id,
            "version": 1,
            "epoch": self._replay.epoch,
        }
        return _spliced(head, b'"graph":{"roots":', roots, b"}")

    def project(self, project_id: str) -> Any:
        session = self._calls.project(project_id, _identity())
        version, roots = self._roots(session)
        head = {
            "project_id": session.project_id,
            "session_id": session.id,
            "template_id": session.template_id,
            "version": version,
        }
        return _spliced(head, b'"graph":{"roots":', roots, b"}")

    # -- the graph --

    def graph(self) -> Any:
        session_id = session_id_of({"session_id": bottle.request.query.get("session_id")})
        session = self._access.session(_identity(), session_id, "viewer")
        wanted = _number("version", None)
        tag = f'"{self._replay.epoch}-{session.version if wanted is None else wanted}"'
        if (wanted is None or wanted <= session.version) and _matches(tag):
            bottle.response.status = 304
            bottle.response.set_header("ETag", tag)
            return None
        version, roots = -1, b""
        if wanted is None or wanted == session.version:
            version, roots = self._roots(session)
        if wanted is not None and wanted != version:  # or it was, before that took its time
            version, roots = wanted, paced(wire.roots(self._replay.at(session, wanted)))
        bottle.response.set_header("ETag", f'"{self._replay.epoch}-{version}"')
        head = {"session_id": session.id, "version": version, "epoch": self._replay.epoch}
        return _spliced(head, b'"roots":', roots)

    def _roots(self, session: Session) -> tuple[int, bytes]:
        """The version and its graph as a JSON array, worked out once for all who ask."""
        lock = self._encoding.get(session)
        if lock is None:
            lock = self._encoding[session] = RLock()
        with lock:
            known = self._encoded.get(session)
            if known is not None and known[0] == session.version:
                return known
            nodes, version, _ = session.snapshot()
            graph: Graph = paced(rebuild(nodes))
            known = self._encoded[session] = version, paced(wire.roots(graph))
            return known

    # -- commands --

    def execute(self) -> Any:
        self._slow_down(self._commands)
        body = _body()
        size = bottle.request.content_length if bottle.request.content_length > 0 else 0
        done = self._wait(
            lambda respond: self._calls.execute(body, _identity(), size, respond),
        )
        answer = wire.answer(done)
        if bottle.request.query.get("include") == "graph":
            _, roots = self._roots(done.session)
            return _spliced(answer, b'"graph":{"roots":', roots, b"}")
        return answer

    def undo(self, session_id: str) -> Any:
        return self._turn("Undo", session_id)

    def redo(self, session_id: str) -> Any:
        return self._turn("Redo", session_id)

    def _turn(self, kind: Any, session_id: str) -> Any:
        self._slow_down(self._commands)
        body = _body()
        if body is not None and not isinstance(body, dict):
            raise InvalidRequest("A JSON object is expected")
        payload = {**(body or {}), "session_id": session_id}
        done = self._wait(lambda respond: self._calls.turn(kind, payload, _identity(), respond))
        return wire.answer(done)

    # -- the journal --

    def events(self, session_id: str) -> Any:
        session = self._access.session(_identity(), session_id, "viewer")
        since = _number("since", 0)
        assert since is not None
        parts, version, next_since = self._replay.page(session, since, _limit(500, 5_000))
        pace = Pace()
        events = []
        for part in parts:
            for event in wire.facts(session.id, part.commit, part.facts, part.last):
                events.append(wire.encode(event))
                pace.breathe()
        head = {"version": version, "epoch": self._replay.epoch, "next_since": next_since}
        return _spliced(head, b'"events":[', b",".join(events), b"]")

    def history(self, session_id: str) -> Any:
        session = self._access.session(_identity(), session_id, "viewer")
        limit = _limit(50, 500)
        commits = self._replay.history(session, _number("before", None), limit)
        more = commits and commits[-1].version > 1
        return {
            "commits": [wire.commit_line(record) for record in commits],
            "next_before": commits[-1].version if more else None,
        }

    # -- templates --

    def backup(self) -> Any:
        if not _identity().admin:
            raise Forbidden("Only administrators take backups")
        size, blocks = self._backups.download()
        name = time.strftime("talus-%Y%m%d-%H%M%S.db", time.gmtime())
        bottle.response.content_type = DATABASE
        bottle.response.content_length = size
        bottle.response.set_header("Content-Disposition", f'attachment; filename="{name}"')
        return blocks

    def templates(self) -> Any:
        return {
            "templates": [
                {"template_id": t.template_id, "name": t.name, "description": t.description}
                for t in self._calls.templates.values()
            ]
        }

    def schema(self, template_id: str) -> Any:
        return wire.builtins(self._calls.template(template_id))

    def _slow_down(self, buckets: Buckets) -> None:
        """Raises RateLimited to a user (without tokens: an address) that is too fast."""
        named = self._access.tokens is not None
        buckets.of(_identity().user if named else address_of(bottle.request.environ)).check()

    def _wait(self, submit: Callable[..., None], *args: Any) -> Answer:
        """Submit, and sleep until the writer has answered."""
        result: AsyncResult = AsyncResult()
        submit(*args, result.set)
        outcome = result.get()
        if isinstance(outcome, TalusError):
            raise outcome
        return outcome


class _Answers:
    """A Bottle plugin: what handlers return or raise becomes the body."""

    api = 2
    name = "answers"

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals

    def apply(self, handler: Callable[..., Any], route: Any) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            try:
                said = handler(*args, **kwargs)
            except bottle.HTTPResponse:
                raise
            except TalusError as error:
                return self._refuse(error)
            except Exception:
                log.exception("%s %s failed", bottle.request.method, route.rule)
                return self._refuse(TalusError())
            if said is None:
                return b""
            if isinstance(said, Iterator):
                return said  # no JSON, and more than should be held at once
            bottle.response.content_type = JSON
            if isinstance(said, list):
                bottle.response.content_length = sum(map(len, said))
                return iter(said)  # Bottle would join a list: a copy of a graph for each of its readers
            return wire.encode(said)

        return answer

    def _refuse(self, error: TalusError) -> bytes:
        self._refusals.count(error, address_of(bottle.request.environ))
        bottle.response.status = wire.status_of(error)
        bottle.response.content_type = JSON
        for name, value in wire.headers_of(error):
            bottle.response.set_header(name, value)
        return wire.encode(wire.error_body(error))


def _framework_error(response: Any) -> bytes:
    """What Bottle refuses by itself: unknown addresses, wrong methods, bodies that it cannot read."""
    error: TalusError
    match response.status_code:
        case 404:
            error = NotFound()
        case 405:
            error = MethodNotAllowed()
        case 413:
            error = PayloadTooLarge()
        case code if 400 <= code < 500:
            error = InvalidRequest(http.HTTPStatus(code).phrase)
        case _:
            error = TalusError()
    response.content_type = JSON
    return wire.encode(wire.error_body(error))


def _spliced(head: dict[str, Any], *member: bytes) -> list[bytes]:
    """The pieces of a JSON object: the head, and one more member that is ready."""
    return [wire.encode(head)[:-1] + b",", *member, b"}"]


def _body() -> Any:
    """The JSON of the request; None where there is none."""
    raw = bottle.request.environ["wsgi.input"].getvalue()
    return decode(raw) if raw else None


def _identity() -> Identity:
    """Who calls, as the gate found out."""
    identity: Identity = bottle.request.environ[IDENTITY]
    return identity


def _number(name: str, default: int | None) -> int | None:
    """A query parameter that counts from 0."""
    text = bottle.request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        raise InvalidRequest(f"{name}: an integer from 0 is expected")
    return int(text)


def _limit(default: int, most: int) -> int:
    limit = _number("limit", default)
    assert limit is not None
    if not 1 <= limit <= most:
        raise InvalidRequest(f"limit: 1 to {most}")
    return limit


def _flag(name: str) -> bool:
    text = bottle.request.query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name}: true or false is expected")
    return bool(text == "true")


def _cursor() -> tuple[int, int] | None:
    text = bottle.request.query.get("cursor")
    if text is None:
        return None
    try:
        active_ms, _, no = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        place = int(active_ms), int(no)
        if not all(0 <= number <= MAX_INTEGER for number in place):
            raise ValueError
        return place
    except (ValueError, binascii.Error):
        raise InvalidRequest("cursor: not one that this server gave") from None


def _matches(tag: str) -> bool:
    """Whether If-None-Match names this ETag."""
    given: Iterator[str] = (
        part.strip().removeprefix("W/") for part in bottle.request.get_header("If-None-Match", "").split(",")
    )
    return any(part in (tag, "*") for part in given)
