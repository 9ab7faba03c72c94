"""Jobs: what waits in the writer's queue, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..core.commands import Command
from ..core.errors import TalusError
from ..core.records import CommitRecord
from .sessions import Session

FACT_WEIGHT = 300  # bytes of an average fact on the wire


class Answer(msgspec.Struct, frozen=True):
    """What a job came to. `record` is None for a deleted session."""

    session: Session
    record: CommitRecord | None
    duplicate: bool = False


Respond = Callable[[Answer | TalusError], None]


class Job:
    """A wish in the queue. `respond` is called once, in the writer's greenlet, and must not wait."""

    weight = FACT_WEIGHT  # bytes, about: of the request and what it will say

    def __init__(self, session: Session, actor: str, respond: Respond) -> None:
        self.session = session
        self.actor = actor
        self.respond = respond


class Call(Job):
    """A job that makes a commit. `chosen`: the client chose the command_id, so it may be a repeat.

    digest: stands for what is asked; a repeat with another one is COMMAND_ID_REUSED.
    """

    def __init__(
        self,
        session: Session,
        actor: str,
        respond: Respond,
        command_id: str,
        chosen: bool,
        digest: bytes,
        expected_version: int | None,
    ) -> None:
        super().__init__(session, actor, respond)
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

    command: Command | None = None
    command_type = "CreateNode"


class Remove(Job):
    """Delete the session, for ever; with clients in it only when forced."""

    force: bool
