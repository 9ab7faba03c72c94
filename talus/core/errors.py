"""Every refusal that talus knows: a code for machines, a message for people.

The code is the contract (docs/protocol.md, "Errors"); the message may change.
`web/wire.py` turns codes into HTTP statuses; nothing else does.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TalusError(Exception):
    """A refusal with a code; nothing happened (but see StorageUncertain)."""

    code: ClassVar[str] = "INTERNAL"
    default: ClassVar[str] = "Something went wrong in the server; its log says what"
    announced = False  # the session's room was told as well

    def __init__(self, message: str | None = None, details: dict[str, Any] | None = None) -> None:
        self.message = message or self.default
        self.details = details
        super().__init__(f"{self.code}: {self.message}")


class InvalidRequest(TalusError):
    code = "INVALID_REQUEST"
    default = "The request is malformed"


class InvalidCommand(TalusError):
    code = "INVALID_COMMAND"
    default = "The command is malformed"


class UnknownEvent(TalusError):
    code = "UNKNOWN_EVENT"
    default = "Unknown event"


class BinaryNotSupported(TalusError):
    code = "BINARY_NOT_SUPPORTED"
    default = "Binary packets are not supported; send text"


class Unauthenticated(TalusError):
    """One answer for every bad token: which rule it broke is nobody's business but the log's."""

    code = "UNAUTHENTICATED"
    default = "A valid token is required"


class TokenExpired(TalusError):
    """Said on an open socket, right before it is disconnected."""

    code = "TOKEN_EXPIRED"
    default = "The token has expired"


class Forbidden(TalusError):
    code = "FORBIDDEN"
    default = "This is not allowed from here"


class HostNotAllowed(TalusError):
    code = "HOST_NOT_ALLOWED"
    default = "The Host header names no host that this server answers for"


class InvalidSession(TalusError):
    code = "INVALID_SESSION"
    default = "Session not found"


class TemplateNotFound(TalusError):
    code = "TEMPLATE_NOT_FOUND"
    default = "Template not found"


class ProjectNotFound(TalusError):
    code = "PROJECT_NOT_FOUND"
    default = "Project not found"


class VersionNotFound(TalusError):
    code = "VERSION_NOT_FOUND"
    default = "The session has no such version"


class NotFound(TalusError):
    code = "NOT_FOUND"
    default = "There is nothing at this address"


class MethodNotAllowed(TalusError):
    code = "METHOD_NOT_ALLOWED"
    default = "This address does not take that method"


class InvalidParent(TalusError):
    code = "INVALID_PARENT"
    default = "Parent node not found"


class NodeNotFound(TalusError):
    code = "NODE_NOT_FOUND"
    default = "Node not found"


class NodeExists(TalusError):
    code = "NODE_EXISTS"
    default = "A node with this id exists already"


class InvalidBlueprint(TalusError):
    code = "INVALID_BLUEPRINT"
    default = "The node type is not one of this template's"


class ChildNotAllowed(TalusError):
    code = "CHILD_NOT_ALLOWED"
    default = "The template does not allow this type under that parent"


class InvalidProperty(TalusError):
    code = "INVALID_PROPERTY"
    default = "The node type has no such property"


class InvalidValue(TalusError):
    code = "INVALID_VALUE"
    default = "The value does not fit"


class AlreadyLinked(TalusError):
    code = "ALREADY_LINKED"
    default = "The node has a parent already"


class NotLinked(TalusError):
    code = "NOT_LINKED"
    default = "The node is not a child of that parent"


class Cycle(TalusError):
    code = "CYCLE"
    default = "A node cannot stand below itself"


class LimitExceeded(TalusError):
    code = "LIMIT_EXCEEDED"
    default = "A limit would be passed"


class VersionConflict(TalusError):
    code = "VERSION_CONFLICT"
    default = "The session has moved on"


class CommandIdReused(TalusError):
    code = "COMMAND_ID_REUSED"
    default = "This command_id was used for something else"


class NothingToUndo(TalusError):
    code = "NOTHING_TO_UNDO"
    default = "There is nothing to undo"


class NothingToRedo(TalusError):
    code = "NOTHING_TO_REDO"
    default = "There is nothing to redo"


class UndoConflict(TalusError):
    code = "UNDO_CONFLICT"
    default = "Later changes stand in the way"


class LastOwner(TalusError):
    code = "LAST_OWNER"
    default = "A session's last owner cannot be removed"


class SessionInUse(TalusError):
    code = "SESSION_IN_USE"
    default = "Clients are in this session"


class PayloadTooLarge(TalusError):
    code = "PAYLOAD_TOO_LARGE"
    default = "The body is larger than the server takes"


class UnsupportedMediaType(TalusError):
    code = "UNSUPPORTED_MEDIA_TYPE"
    default = "Send JSON, with Content-Type: application/json"


class RateLimited(TalusError):
    """Too fast. `details.retry_after_s`: whole seconds, at least 1, after which the next call is taken."""

    code = "RATE_LIMITED"
    default = "You are faster than this server allows"


class Busy(TalusError):
    code = "BUSY"
    default = "The server is busy; try again"


class ShuttingDown(TalusError):
    code = "SHUTTING_DOWN"
    default = "The server is shutting down"


class StorageFailed(TalusError):
    code = "STORAGE_FAILED"
    default = "The disk refused the write; nothing was changed"


class StorageDamaged(StorageFailed):
    """The file is not what was written to it: nothing is written any more until the server is restarted."""

    default = "The database is damaged: the server is read-only until it is restarted"


class StorageFull(TalusError):
    code = "STORAGE_FULL"
    default = "The disk is full; nothing was changed"


class StorageUncertain(TalusError):
    """The one error whose outcome is unknown: an fsync failed.

    The server stays read-only until it is restarted; a retry with the same
    command_id then tells. Source: docs/protocol.md, "Errors".
    """

    code = "STORAGE_UNCERTAIN"
    default = "The disk did not confirm the write; retry with the same command_id after a restart"
