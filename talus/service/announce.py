"""What the service tells the rooms: commits, refusals and who is here.

`web/wire.py` turns these into events. They carry a `version`: the session's
once they hold. Times are UTC milliseconds.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from ..core.errors import TalusError
from ..core.facts import Fact
from ..core.records import CommitRecord


class Committed(msgspec.Struct, frozen=True):
    """A durable commit, told whole: `command:executing`, its facts, its closing event."""

    record: CommitRecord
    facts: list[Fact]


class Refused(msgspec.Struct, frozen=True):
    """A command that the graph or the disk refused: `command:executing`, `command:failed`."""

    command_id: str
    command_type: str
    actor: str
    error: TalusError
    version: int
    time_ms: int


class Connected(msgspec.Struct, frozen=True):
    client_id: str
    actor: str
    active_clients: int
    version: int
    time_ms: int


class Disconnected(msgspec.Struct, frozen=True):
    client_id: str
    actor: str
    active_clients: int
    version: int
    time_ms: int


class Presence(msgspec.Struct, frozen=True):
    """Goes to everybody in the room but `client_id`."""

    client_id: str
    actor: str
    state: Any
    version: int
    time_ms: int


class Deleted(msgspec.Struct, frozen=True):
    """The last that a room hears."""

    actor: str
    version: int
    time_ms: int


Announcement = Committed | Refused | Connected | Disconnected | Presence | Deleted


class Publish(Protocol):
    """Hands announcements to the clients of a session's room, in order, without waiting for any of them."""

    def __call__(self, session_id: str, announcements: list[Announcement]) -> None: ...
