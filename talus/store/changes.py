"""What one transaction writes, in order."""

from __future__ import annotations

import msgspec

from ..core.facts import Fact
from ..core.graph import Node
from ..core.records import CommitRecord, SessionRecord
from ..core.roles import Role


class NewSession(msgspec.Struct, frozen=True):
    """A session; `owner` is a user, or None without tokens."""

    record: SessionRecord
    actor: str
    owner: str | None


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
    actor: str
    time_ms: int


class Appointment(msgspec.Struct, frozen=True):
    """`user` has this role in the session from now on; None: none any more."""

    session_no: int
    user: str
    role: Role | None
    actor: str
    time_ms: int


class Revocation(msgspec.Struct, frozen=True):
    """Tokens of `user` given out until then are void."""

    user: str
    until_s: int
    actor: str
    time_ms: int


class NewSnapshotPart(msgspec.Struct, frozen=True):
    """Nodes of a snapshot that is being made, as a JSON array."""

    session_no: int
    version: int
    part: int
    body: bytes


class NewSnapshot(msgspec.Struct, frozen=True):
    """All parts of a snapshot are written; `facts`: of the session up to and with its version."""

    session_no: int
    version: int
    facts: int


Change = (
    NewSession | NewCommit | NewState | Removal | Appointment | Revocation | NewSnapshotPart | NewSnapshot
)
