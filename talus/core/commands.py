"""What a client may ask: one frozen type for each command, and `parse` that makes them.

A command that cannot be parsed never became one: its sender alone hears
INVALID_COMMAND. What only the graph can judge is left to `decide`.
Source: docs/protocol.md, "Commands".
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Annotated, Any

import msgspec
from msgspec import UNSET

from .errors import InvalidCommand, LimitExceeded
from .values import is_uuid

MAX_BATCH = 10_000  # commands; their `result` then stays under 1 MB

Index = Annotated[int, msgspec.Meta(ge=0)]


class CreateNode(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`name` wins over `properties.name`; `node_id` is filled in by `parse` where the client gave none."""

    blueprint_type_id: str
    parent_id: str | None = None
    name: Any = None
    properties: dict[str, Any] = {}
    index: Index | None = None
    node_id: str = ""


class DeleteNode(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    node_id: str


class UpdateProperty(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`new_value` is another name for `value`; exactly one is given, and None unsets."""

    node_id: str
    property_id: str
    value: Any = UNSET
    new_value: Any = UNSET

    @property
    def wanted(self) -> Any:
        return self.new_value if self.value is UNSET else self.value


class LinkNode(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    parent_id: str
    child_id: str
    index: Index | None = None


class UnlinkNode(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    parent_id: str
    child_id: str


class MoveNode(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """`parent_id` None: to the roots."""

    node_id: str
    parent_id: str | None
    index: Index | None = None


class Batch(msgspec.Struct, frozen=True, gc=False):
    """All or nothing, one version; `decide` works through it in order."""

    commands: tuple[Command, ...]


Command = CreateNode | DeleteNode | UpdateProperty | LinkNode | UnlinkNode | MoveNode | Batch


class _Entry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    command_type: str
    data: dict[str, Any]


class _Entries(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    commands: list[Any]


_SINGLE: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind for kind in (CreateNode, DeleteNode, UpdateProperty, LinkNode, UnlinkNode, MoveNode)
}
TYPES = frozenset({*_SINGLE, "Batch"})


def parse(
    command_type: str, data: dict[str, Any], new_id: Callable[[], str]
) -> Generator[None, None, Command]:
    """The command that `data` describes, worked out in small steps.

    new_id: gives the id of a node whose creator chose none.
    Yields now and then, so that a batch of 10,000 holds up nobody; returns the command.
    Raises InvalidCommand (with `details.index` inside a Batch), LimitExceeded for too long a Batch.
    """
    if command_type != "Batch":
        return _parse_single(command_type, data, new_id)
    entries = _convert(data, _Entries).commands
    if not entries:
        raise InvalidCommand("A Batch holds at least one command")
    if len(entries) > MAX_BATCH:
        raise LimitExceeded(f"A Batch holds at most {MAX_BATCH} commands")
    commands: list[Command] = []
    for at, item in enumerate(entries):
        try:
            entry = _convert(item, _Entry)
            if entry.command_type == "Batch":
                raise InvalidCommand("A Batch cannot hold a Batch")
            commands.append(_parse_single(entry.command_type, entry.data, new_id))
        except InvalidCommand as error:
            error.details = {"index": at}
            raise
        yield
    return Batch(tuple(commands))


def _parse_single(command_type: str, data: dict[str, Any], new_id: Callable[[], str]) -> Command:
    kind = _SINGLE.get(command_type)
    if kind is None:
        raise InvalidCommand("Unknown command_type; known are " + ", ".join(sorted(TYPES)))
    command: Any = _convert(data, kind)
    if isinstance(command, CreateNode):
        if not command.node_id and "node_id" not in data:
            return msgspec.structs.replace(command, node_id=new_id())
        if not is_uuid(command.node_id):
            raise InvalidCommand("node_id: a UUID in lower-case text is expected")
    elif isinstance(command, UpdateProperty) and (command.value is UNSET) == (command.new_value is UNSET):
        raise InvalidCommand("UpdateProperty takes value, or new_value, and not both")
    return command  # type: ignore[no-any-return]


def _convert(data: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InvalidCommand(str(error)) from None
    except UnicodeError:
        raise InvalidCommand("The name of a field holds half a character (a surrogate)") from None


__all__ = [
    "MAX_BATCH",
    "TYPES",
    "Batch",
    "Command",
    "CreateNode",
    "DeleteNode",
    "LinkNode",
    "MoveNode",
    "UnlinkNode",
    "UpdateProperty",
    "parse",
]
