"""What clients ask for, whichever way they ask: requests in, jobs for the writer out.

REST and Socket.IO only translate; the rules of a request stand here once.
A request is checked and queued without waiting (but for loading a session, for a
room that cannot follow, and pacing a huge batch), so one client's calls keep their order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..core import commands, values
from ..core.commands import CreateNode
from ..core.errors import InvalidRequest, InvalidSession, ProjectNotFound, TemplateNotFound
from ..core.roles import Role
from ..core.template import Template
from .access import Access
from .disk import Disk
from .jobs import Appoint, Create, Execute, Remove, Respond, Turn
from .pace import paced
from .sessions import Session, Sessions, new_id
from .tokens import MAX_USER, Identity, is_user
from .writer import Writer

MAX_NAME = 1_000  # characters of a session's name
MAX_ENTRY_BYTES = 500_000  # of one command's data; a node's properties take 400,000 at most

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

Version = Annotated[int, msgspec.Meta(ge=0)]


class ExecuteRequest(msgspec.Struct, frozen=True):
    command_type: str
    data: dict[str, Any]
    command_id: str | None = None
    expected_version: Version | None = None


class TurnRequest(msgspec.Struct, frozen=True):
    command_id: str | None = None
    scope: Literal["session", "actor"] | None = None
    expected_version: Version | None = None


class SessionRequest(msgspec.Struct, frozen=True):
    name: str | None = None
    template_id: str | None = None


class ProjectRequest(msgspec.Struct, frozen=True):
    template_id: str
    project_name: str


class MemberRequest(msgspec.Struct, frozen=True):
    role: Role


class JoinRequest(msgspec.Struct, frozen=True):
    since: Version | None = None
    epoch: str | None = None


class PresenceRequest(msgspec.Struct, frozen=True):
    state: Any | UnsetType = UNSET


def convert(payload: Any, kind: type[Any]) -> Any:
    """The request as its type. Raises InvalidRequest that names the field."""
    if not isinstance(payload, dict):
        raise InvalidRequest("A JSON object is expected")
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_worded(str(error))) from None
    except UnicodeError:
        raise InvalidRequest("The name of a field holds half a character (a surrogate)") from None


def _worded(message: str) -> str:
    # msgspec says where with JSONPath: "Expected `int`, got `str` - at `$.since`".
    what, _, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if where else what


def session_id_of(payload: Any) -> str:
    """The session_id of a call. Raises InvalidRequest: `Missing session_id`, or naming the field."""
    session_id = payload.get("session_id") if isinstance(payload, dict) else None
    if payload is not None and not isinstance(payload, dict):
        raise InvalidRequest("session_id: a JSON object that holds one is expected")
    if session_id is None or session_id == "":
        raise InvalidRequest("Missing session_id")
    if not isinstance(session_id, str):
        raise InvalidRequest("session_id: a text is expected")
    return session_id


class Calls:
    """The calls that change something."""

    def __init__(
        self,
        disk: Disk,
        sessions: Sessions,
        access: Access,
        writer: Writer,
        templates: Mapping[str, Template],
        follow: Callable[[str], None],
    ) -> None:
        """follow: waits while a session's room cannot follow what is committed in it."""
        self._disk = disk
        self._sessions = sessions
        self._access = access
        self._writer = writer
        self._templates = templates
        self._follow = follow

    def execute(self, payload: Any, identity: Identity, weight: int, respond: Respond) -> None:
        """Queue a command. weight: bytes of the request, about. Raises what makes it no command at all."""
        with self._access.pinned(identity, session_id_of(payload), "editor") as session:
            self._follow(session.id)
            request: ExecuteRequest = convert(payload, ExecuteRequest)
            command_id, chosen = _command_id(request.command_id)
            command = paced(commands.parse(request.command_type, request.data, new_id))
            digest = paced(_digest(request.command_type, request.data))
            job = Execute(session, identity, respond, command_id, chosen, digest, request.expected_version)
            job.command_type, job.command = request.command_type, command
            job.weight += weight
            self._writer.submit(job)

    def turn(self, kind: Literal["Undo", "Redo"], payload: Any, identity: Identity, respond: Respond) -> None:
        """Queue an undo or redo."""
        with self._access.pinned(identity, session_id_of(payload), "editor") as session:
            self._follow(session.id)
            request: TurnRequest = convert(payload, TurnRequest)
            command_id, chosen = _command_id(request.command_id)
            own = request.scope == "actor"
            digest = paced(_digest(kind, {"own": own}))
            job = Turn(session, identity, respond, command_id, chosen, digest, request.expected_version)
            job.kind, job.own = kind, own
            self._writer.submit(job)

    def create(self, payload: Any, identity: Identity, respond: Respond) -> None:
        """Queue a new session, empty and durable at once."""
        request: SessionRequest = convert({} if payload is None else payload, SessionRequest)
        name = _name(request.name or "", "name")
        session = self._sessions.new(new_id(), name, request.template_id, None)
        self._writer.submit(Create(session, identity, respond, new_id(), False, b"", None))

    def create_project(self, payload: Any, identity: Identity, respond: Respond) -> None:
        """Queue a new session with a root of the template's first type."""
        request: ProjectRequest = convert(payload, ProjectRequest)
        template = self._templates.get(request.template_id)
        if template is None:
            raise TemplateNotFound()
        name = _name(request.project_name, "project_name")
        session = self._sessions.new(new_id(), name, request.template_id, new_id())
        root = CreateNode(template.node_types[0].id, name=name, node_id=new_id())
        job = Create(session, identity, respond, new_id(), False, b"", None)
        job.command = root
        self._writer.submit(job)

    def remove(self, session_id: str, force: bool, identity: Identity, respond: Respond) -> None:
        """Queue the end of a session."""
        job = Remove(self._access.session(identity, session_id, "owner"), identity, respond)
        job.force = force
        self._writer.submit(job)

    def members(self, session_id: str, identity: Identity) -> dict[str, Role]:
        """The roles in a session, by user."""
        session = self._access.session(identity, session_id, "viewer")
        return self._disk.read(self._disk.journal.roles, session.no)

    def appoint(self, session_id: str, user: str, payload: Any, identity: Identity, respond: Respond) -> None:
        """Queue a role for a user."""
        session = self._access.session(identity, session_id, "owner")
        request: MemberRequest = convert(payload, MemberRequest)
        if not is_user(user):
            raise InvalidRequest(f"user: 1-{MAX_USER} printable characters are expected")
        self._submit_role(session, user, request.role, identity, respond)

    def dismiss(self, session_id: str, user: str, identity: Identity, respond: Respond) -> None:
        """Queue the end of a user's role."""
        session = self._access.session(identity, session_id, "owner")
        self._submit_role(session, user, None, identity, respond)

    def _submit_role(
        self, session: Session, user: str, role: Role | None, identity: Identity, respond: Respond
    ) -> None:
        job = Appoint(session, identity, respond)
        job.user, job.role = user, role
        self._writer.submit(job)

    def project(self, project_id: str, identity: Identity) -> Session:
        """The session of a project. Raises ProjectNotFound."""
        session_id = None
        if values.is_uuid(project_id):
            session_id = self._disk.read(self._disk.journal.find_project, project_id)
        if session_id is None:
            raise ProjectNotFound()
        try:
            return self._access.session(identity, session_id, "viewer")
        except InvalidSession:
            raise ProjectNotFound() from None

    def template(self, template_id: str) -> Template:
        """Raises TemplateNotFound."""
        if template_id not in self._templates:
            raise TemplateNotFound()
        return self._templates[template_id]

    @property
    def templates(self) -> Mapping[str, Template]:
        return self._templates


def _command_id(chosen: str | None) -> tuple[str, bool]:
    if chosen is None:
        return new_id(), False
    if not values.is_uuid(chosen):
        raise InvalidRequest("command_id: a UUID in lower-case text is expected")
    return chosen, True


def _digest(asked: str, data: dict[str, Any]) -> Generator[None, None, bytes]:
    """What a repeat is compared by: the same for the same JSON, whatever the order of its keys.

    Empty for what the graph will refuse in any case, which leaves no trace: to sort the
    700,000 keys of such a thing would hold the hub.
    """
    chain = hashlib.sha256(asked.encode())
    entries = data.get("commands")
    try:
        for entry in entries if asked == "Batch" and isinstance(entries, list) else [data]:
            if len(msgspec.json.encode(entry)) > MAX_ENTRY_BYTES:
                return b""
            chain.update(msgspec.json.encode(entry, order="sorted"))
            yield
    except (UnicodeError, RecursionError):
        return b""  # lone surrogates, bottomless nesting
    return chain.digest()


def _name(name: str, field: str) -> str:
    if len(name) > MAX_NAME or _UNPRINTABLE.search(name):
        raise InvalidRequest(f"{field}: at most {MAX_NAME} characters, and no control characters")
    return name
