"""Core objects to payloads and back. Every event name stands here and only here.

The types below are the contract's payloads; docs/protocol.md lists the same
names, and a test walks over both. Each event is encoded once, as the text of an
Engine.IO packet, however many clients hear it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, assert_never

import msgspec
from msgspec import UNSET, UnsetType

from ..core.errors import RateLimited, TalusError, Unauthenticated
from ..core.facts import Fact, NodeCreated, NodeDeleted, NodeLinked, NodeUnlinked, PropertyChanged
from ..core.graph import Graph, name_of
from ..core.records import CommitRecord, SessionRecord
from ..service.announce import (
    Connected,
    Deleted,
    Disconnected,
    Presence,
    Refused,
)
from ..service.jobs import Answer
from ..service.sessions import Session

PROTOCOL = "1.0"

encode = msgspec.json.Encoder().encode
builtins = msgspec.to_builtins


class NodeView(msgspec.Struct):
    id: str
    blueprint_type_id: str
    parent_id: str | None
    name: str
    properties: dict[str, Any]
    children: list[Any] = []


class RoomEvent(msgspec.Struct, kw_only=True):
    """What every event to a room carries; the second line where a command caused it."""

    event: str
    session_id: str
    timestamp: str
    version: int
    command_id: str | UnsetType = UNSET
    actor: str | UnsetType = UNSET
    by: str | UnsetType = UNSET  # the id of the undo or redo call
    replayed: bool | UnsetType = UNSET


class NodeCreatedEvent(RoomEvent, kw_only=True):
    node: NodeView
    index: int | UnsetType = UNSET


class NodeDeletedEvent(RoomEvent, kw_only=True):
    node_id: str


class PropertyChangedEvent(RoomEvent, kw_only=True):
    node_id: str
    property_id: str
    old_value: Any
    new_value: Any


class NodeLinkedEvent(RoomEvent, kw_only=True):
    parent_id: str | None
    child_id: str
    index: int


class NodeUnlinkedEvent(RoomEvent, kw_only=True):
    parent_id: str
    child_id: str
    index: int | UnsetType = UNSET


class CommandEvent(RoomEvent, kw_only=True):
    command_type: str


class ExecutedEvent(CommandEvent, kw_only=True):
    result: dict[str, Any]


class FailedEvent(CommandEvent, kw_only=True):
    error: dict[str, Any]


class ConnectedEvent(RoomEvent, kw_only=True):
    client_id: str
    active_clients: int


class PresenceEvent(RoomEvent, kw_only=True):
    client_id: str
    state: Any


class DeletedEvent(RoomEvent, kw_only=True):
    pass


class Joined(msgspec.Struct, kw_only=True):
    session_id: str
    client_id: str
    active_clients: int
    version: int
    epoch: str
    resume: str
    created: bool
    clients: list[dict[str, Any]]


class Left(msgspec.Struct):
    session_id: str
    client_id: str


class ErrorEvent(msgspec.Struct):
    message: str
    code: str
    details: dict[str, Any] | UnsetType = UNSET


# Server to client. docs/protocol.md has a row for each.
EVENTS: dict[str, type[msgspec.Struct] | None] = {
    "joined": Joined,
    "left": Left,
    "pong": None,
    "error": ErrorEvent,
    "session:connected": ConnectedEvent,
    "session:disconnected": ConnectedEvent,
    "session:presence": PresenceEvent,
    "session:deleted": DeletedEvent,
    "node-created": NodeCreatedEvent,
    "node-deleted": NodeDeletedEvent,
    "property-changed": PropertyChangedEvent,
    "node-linked": NodeLinkedEvent,
    "node-unlinked": NodeUnlinkedEvent,
    "command:executing": CommandEvent,
    "command:executed": ExecutedEvent,
    "command:failed": FailedEvent,
    "command:undo": CommandEvent,
    "command:redo": CommandEvent,
}

# Client to server.
CALLS = (
    "join_session",
    "leave_session",
    "ping",
    "execute_command",
    "undo_command",
    "redo_command",
    "update_presence",
)

STATUS = {
    "INVALID_REQUEST": 400,
    "INVALID_COMMAND": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "HOST_NOT_ALLOWED": 421,
    "INVALID_SESSION": 404,
    "NODE_NOT_FOUND": 404,
    "TEMPLATE_NOT_FOUND": 404,
    "PROJECT_NOT_FOUND": 404,
    "VERSION_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "BUSY": 503,
    "SHUTTING_DOWN": 503,
    "STORAGE_FAILED": 503,
    "STORAGE_UNCERTAIN": 503,
    "STORAGE_FULL": 507,
}


def status_of(error: TalusError) -> int:
    """The HTTP status of a refusal; whatever the graph refuses is a 409."""
    return STATUS.get(error.code, 409)


def headers_of(error: TalusError) -> list[tuple[str, str]]:
    """What the head of a refusal says besides."""
    if isinstance(error, Unauthenticated):
        return [("WWW-Authenticate", "Bearer")]
    if isinstance(error, RateLimited) and error.details:
        return [("Retry-After", str(error.details["retry_after_s"]))]
    return []


def error_body(error: TalusError) -> dict[str, Any]:
    """`{"error": {"code", "message", "details"?}}`, for REST and acknowledgements."""
    return {"error": _error(error)}


def _error(error: TalusError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details is not None:
        body["details"] = error.details
    return body


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp(time_ms: int) -> str:
    """UTC as the protocol prints it: whole seconds and `Z`."""
    return _second(time_ms // 1000)


# -- events --


def packet(name: str, payload: msgspec.Struct | dict[str, Any] | None = None) -> bytes:
    """An event as the text of an Engine.IO message."""
    if payload is None:
        return b'42["%s"]' % name.encode()
    return b'42["%s",%s]' % (name.encode(), _encode_any(payload))


def _encode_any(payload: Any) -> bytes:
    """JSON of what may hold a client's own words: msgspec refuses half a character, ASCII does not."""
    try:
        return encode(payload)
    except UnicodeError:
        return json.dumps(builtins(payload)).encode()


def event(payload: RoomEvent) -> bytes:
    return packet(payload.event, payload)


def acknowledgement(number: int, payload: Any) -> bytes:
    return b"43%d[%s]" % (number, _encode_any(payload))


def error_packet(error: TalusError) -> bytes:
    details = UNSET if error.details is None else error.details
    return packet("error", ErrorEvent(error.message, error.code, details))


def replayed(text: bytes) -> bytes:
    """The packet of a fact, marked `replayed: true`."""
    return text[:-2] + b',"replayed":true}]'


def executing(session_id: str, record: CommitRecord) -> bytes:
    """The notice that goes right before the facts of a command; the version is the one before it."""
    return event(
        CommandEvent(
            event="command:executing",
            session_id=session_id,
            timestamp=timestamp(record.time_ms),
            version=record.version - 1,
            command_id=record.command_id,
            actor=record.actor,
            command_type=record.command_type,
        )
    )


def facts(session_id: str, record: CommitRecord, facts: list[Fact], last: bool) -> Iterator[RoomEvent]:
    """The events of (a part of) a commit; with its `last` facts the closing one."""
    stated: dict[str, Any] = {
        "session_id": session_id,
        "timestamp": timestamp(record.time_ms),
        "version": record.version,
        "command_id": record.of,
        "actor": record.actor,
    }
    if record.target is not None:
        stated["by"] = record.command_id
    for fact in facts:
        yield _fact_event(fact, stated)
    if not last:
        return
    if record.target is not None:
        name = "command:undo" if record.command_type == "Undo" else "command:redo"
        yield CommandEvent(event=name, command_type=record.of_type, **stated)
    else:
        yield ExecutedEvent(
            event="command:executed", command_type=record.command_type, result=record.result, **stated
        )


def _fact_event(fact: Fact, stated: dict[str, Any]) -> RoomEvent:
    match fact:
        case NodeCreated():
            return NodeCreatedEvent(
                event="node-created",
                node=NodeView(
                    fact.node_id, fact.type, fact.parent_id, name_of(fact.properties), fact.properties
                ),
                index=UNSET if fact.index is None else fact.index,
                **stated,
            )
        case NodeDeleted():
            return NodeDeletedEvent(event="node-deleted", node_id=fact.node_id, **stated)
        case NodeLinked():
            return NodeLinkedEvent(
                event="node-linked",
                parent_id=fact.parent_id,
                child_id=fact.child_id,
                index=fact.index,
                **stated,
            )
        case NodeUnlinked():
            return NodeUnlinkedEvent(
                event="node-unlinked",
                parent_id=fact.parent_id,
                child_id=fact.child_id,
                index=UNSET if fact.index is None else fact.index,
                **stated,
            )
        case PropertyChanged():
            return PropertyChangedEvent(
                event="property-changed",
                node_id=fact.node_id,
                property_id=fact.property_id,
                old_value=fact.old,
                new_value=fact.new,
                **stated,
            )
        case _:
            assert_never(fact)


Notice = Refused | Connected | Disconnected | Presence | Deleted

_NOTICES: dict[type, tuple[str, type[RoomEvent]]] = {
    Connected: ("session:connected", ConnectedEvent),
    Disconnected: ("session:disconnected", ConnectedEvent),
    Presence: ("session:presence", PresenceEvent),
    Deleted: ("session:deleted", DeletedEvent),
}


def notice(session_id: str, announcement: Notice) -> list[bytes]:
    """The packets of what is heard live only."""
    stated = msgspec.structs.asdict(announcement)
    stated.update(session_id=session_id, timestamp=timestamp(stated.pop("time_ms")))
    if isinstance(announcement, Refused):
        error = _error(stated.pop("error"))
        return [
            event(CommandEvent(event="command:executing", **stated)),
            event(FailedEvent(event="command:failed", error=error, **stated)),
        ]
    name, kind = _NOTICES[type(announcement)]
    return [event(kind(event=name, **stated))]


# -- answers --


def answer(done: Answer) -> dict[str, Any]:
    """The answer of a command, undo or redo; the same again for a repeat, but for `duplicate`."""
    record = done.record
    assert record is not None
    body: dict[str, Any] = {
        "success": True,
        "command_id": record.command_id,
        "command_type": record.of_type,
        "version": record.version,
        "result": record.result,
        "undo_available": record.undo_available,
        "redo_available": record.redo_available,
    }
    if record.target_id is not None:
        body["target"] = record.target_id
    if "node_id" in record.result:
        body["node_id"] = record.result["node_id"]
    if done.duplicate:
        body["duplicate"] = True
    return body


def commit_line(record: CommitRecord) -> dict[str, Any]:
    """A commit as the history lists it."""
    line = {
        "version": record.version,
        "command_id": record.command_id,
        "command_type": record.command_type,
        "actor": record.actor,
        "timestamp": timestamp(record.time_ms),
        "summary": record.summary,
        "undone": record.stands is False,
    }
    if record.target_id is not None:
        line["target"] = record.target_id
    return line


def session_line(record: SessionRecord | Session, active_clients: int) -> dict[str, Any]:
    """A session as the list shows it."""
    return {
        "session_id": record.id,
        "name": record.name,
        "created_at": timestamp(record.created_ms),
        "last_activity": timestamp(record.active_ms),
        "active_clients": active_clients,
        "has_project": record.project_id is not None,
        "version": record.version,
    }


def roots(graph: Graph) -> Generator[None, None, bytes]:
    """The graph as a JSON array of its roots, children nested; worked out in small steps."""
    nodes, children = graph.nodes, graph.children
    pieces = [b"["]
    # Each level is the ids still to be written; what closes a node follows its children.
    stack: list[Iterator[str]] = []
    siblings = children.get(None)
    if siblings:
        stack.append(iter(siblings.ids))
    comma = False
    while stack:
        node_id = next(stack[-1], None)
        if node_id is None:
            stack.pop()
            if stack:
                pieces.append(b"]}")
            comma = True
            continue
        node = nodes[node_id]
        head = encode(NodeView(node.id, node.type, node.parent_id, node.name, node.properties))
        if comma:
            pieces.append(b",")
        below = children.get(node_id)
        if below:
            pieces.append(head[:-2])
            stack.append(iter(below.ids))
            comma = False
        else:
            pieces.append(head)
            comma = True
        yield
    pieces.append(b"]")
    return b"".join(pieces)
