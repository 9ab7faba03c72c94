"""What one transaction writes, in order."""

from __future__ import annotations

import msgspec

from ..core.facts import Fact
from ..core.graph import Node
from ..core.records import CommitRecord, SessionRecord


class NewSession(msgspec.Struct, frozen=True):
    record: SessionRecord


class NewCommit(msgspec.Struct, frozen=True):
    """A commit with its facts; `turned` is the command that it puts into (True) or out of force."""

    session_no: int
    record: CommitRecord
    facts: list[Fact]
    turned: tuple[int, bool] | None = None


class NewState(msgspec.Struct, frozen=True):
    """Where a session stands after the commits before it in the transaction.

    graph: the nodes as they are now, by id; those that the commits touched are written.
    It must not change until the transaction is over.
    """

    session_no: int
    version: int
    active_ms: int
    facts: int
    graph: dict[str, Node]


class Removal(msgspec.Struct, frozen=True):
    """The session is gone for ever; its rows follow in slices (`Journal.purge`)."""

    session_no: int


Change = NewSession | NewCommit | NewState | Removal
