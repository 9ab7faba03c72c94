"""What the journal holds, as the rooms hand it to each other."""

from __future__ import annotations

from typing import Any

import msgspec

from .facts import Fact


class SessionRecord(msgspec.Struct, frozen=True):
    """A session as its row says; times in UTC milliseconds."""

    no: int
    id: str
    project_id: str | None
    template_id: str | None
    name: str
    created_ms: int
    active_ms: int
    version: int
    nodes: int
    facts: int
    removed: bool


class CommitRecord(msgspec.Struct, frozen=True):
    """A commit without its facts. `target` is the version that an undo or redo turned."""

    version: int
    command_id: str
    command_type: str
    target: int | None
    digest: bytes
    actor: str
    time_ms: int
    result: dict[str, Any]
    summary: str
    undo_available: bool
    redo_available: bool
    total: int
    stands: bool | None = None
    target_id: str | None = None  # the command_id and type of the command turned
    target_type: str | None = None

    @property
    def of(self) -> str:
        """The command that the events of this commit name."""
        return self.target_id or self.command_id

    @property
    def of_type(self) -> str:
        return self.target_type or self.command_type


class Part(msgspec.Struct, frozen=True):
    """Some facts of a commit in order; `last` when the commit ends with them.

    size: about the bytes that they take on the wire.
    """

    commit: CommitRecord
    part: int
    facts: list[Fact]
    last: bool
    size: int


class Later(msgspec.Struct, frozen=True):
    """A commit since then that is in force: the command it belongs to, and its facts."""

    command_id: str
    facts: list[Fact]


class Plan(msgspec.Struct, frozen=True):
    """What an undo or redo would turn.

    since: the version of the commit that it takes back, whose facts these are.
    later: commits after that one which touched the same nodes, netted.
    more:  another one could be turned after it.
    """

    target: CommitRecord
    since: int
    facts: list[Fact]
    later: list[Later]
    more: bool


class Landmark(msgspec.Struct, frozen=True):
    """A version whose graph is at hand; `facts`: of the session up to and with it."""

    version: int
    facts: int
