"""Jobs: what waits in the writer's queue, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..core.commands import Command
from ..core.errors import TalusError
from ..core.records import CommitRecord
from ..core.roles import Role
from .sessions import Session
from .tokens import Identity

FACT_WEIGHT = 300  # bytes of an average fact on the wire


class Answer(msgspec.Struct, frozen=True):
    """What a job came to. `record` is None where it made no commit."""

    session: Session
    record: CommitRecord | None
    duplicate: bool = False


Respond = Callable[[Answer | TalusError], None]


class Job:
    """A wish in the queue. `respond` is called once, in the writer's greenlet, and must not wait."""

    weight = FACT_WEIGHT  # bytes, about: of the request and what it will say
    needs: Role | None = "owner"  # in the session; looked at once more when it is decided

    def __init__(self, session: Session, identity: Identity, respond: Respond) -> None:
        self.session = session
        self.identity = identity
        self.respond = respond

    @property
    def actor(self) -> str:
        return self.identity.user

    @property
    def line(self) -> str:
        """In which it waits; those of one line are carried out in order."""
        return self.identity.line


class Call(Job):
    """A job that makes a commit. `chosen`: the client chose the command_id, so it may be a repeat.

    digest: stands for what is asked; a repeat with another one is COMMAND_ID_REUSED.
    """

    needs: Role | None = "editor"

    def __init__(
        self,
        session: Session,
        identity: Identity,
        respond: Respond,
        command_id: str,
        chosen: bool,
        digest: bytes,
        expected_version: int | None,
    ) -> None:
        super().__init__(session, identity, respond)
        self.command_id = command_id
        self.chosen = chosen
        self.digest = digest
        self.expected_version = expected_version


class Execute(Call):
    command_type: str
    command: Command


class Turn(Call):
    """An `Undo` or `Redo`."""

    kind: str
    own: bool  # only the actor's own commands: scope "actor"


class Create(Call):
    """A new session, stored; with a command, its first commit makes a project of it."""

    needs = None
    command: Command | None = None
    command_type = "CreateNode"


class Remove(Job):
    """Delete the session, for ever; with clients in it only when forced."""

    force: bool


class Appoint(Job):
    """Give a user a role in the session, or take the one that he has."""

    user: str
    role: Role | None
    line = "\0"  # nobody's own: a demotion does not wait behind the commands of who orders it
