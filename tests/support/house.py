"""The service without the web: a writer on a real journal, with a clock that the test turns."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gevent.event import AsyncResult

from talus.core.graph import Graph
from talus.core.template import Template
from talus.service.access import Access
from talus.service.announce import Announcement
from talus.service.calls import Calls
from talus.service.disk import Disk
from talus.service.jobs import Answer, Remove
from talus.service.presence import Rooms
from talus.service.sessions import Session, Sessions
from talus.service.tokens import Identity
from talus.service.writer import Writer
from talus.store import templates
from talus.store.journal import Journal

Json = dict[str, Any]
DEADLINE_S = 10.0
NOW_MS = 1_700_000_000_000


def new_id(name: str) -> str:
    return str(uuid.UUID(int=int.from_bytes(name.encode()), version=4))


ANN = Identity("ann", admin=True)


class House:
    """Disk, sessions, writer and calls on one file, with a clock that the test turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock_s = 0.0
        self.told: list[tuple[str, Announcement]] = []
        self.on_publish: Callable[[str, list[Announcement]], None] = lambda session_id, announcements: None
        self.templates: dict[str, Template] = templates.load([templates.bundled()], lambda line: None)
        self.journal = Journal(path)
        self.disk = Disk(self.journal)
        self.sessions = Sessions(self.disk, self.templates, lambda: NOW_MS, lambda: self.clock_s)
        self.access = Access(self.disk, self.sessions, None)
        self.writer = Writer(self.disk, self.sessions, self.access, self.publish, lambda: NOW_MS)
        self.calls = Calls(
            self.disk, self.sessions, self.access, self.writer, self.templates, lambda session_id: None
        )
        self.rooms = Rooms(self.publish, lambda: NOW_MS)
        self.closed = False

    def publish(self, session_id: str, announcements: list[Announcement]) -> None:
        self.on_publish(session_id, announcements)
        self.told.extend((session_id, each) for each in announcements)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.writer.close()
            self.disk.close()

    # Calls that are begun answer later; what is begun in one breath is one batch.

    def begin(self, session: Session, command_type: str, data: Json, **more: Any) -> AsyncResult:
        answer: AsyncResult = AsyncResult()
        identity = Identity(more.pop("actor", "ann"), admin=True)
        call = {"session_id": session.id, "command_type": command_type, "data": data, **more}
        self.calls.execute(call, identity, 100, answer.set)
        return answer

    def begin_turn(self, session: Session, kind: Any, **more: Any) -> AsyncResult:
        answer: AsyncResult = AsyncResult()
        identity = Identity(more.pop("actor", "ann"), admin=True)
        self.calls.turn(kind, {"session_id": session.id, **more}, identity, answer.set)
        return answer

    def begin_remove(self, session: Session, force: bool = False) -> AsyncResult:
        answer: AsyncResult = AsyncResult()
        self.calls.remove(session.id, force, ANN, answer.set)
        return answer

    def execute(self, session: Session, command_type: str, data: Json, **more: Any) -> Answer:
        return good(self.begin(session, command_type, data, **more))

    def create(self, session: Session, node_id: str, parent_id: str | None = None, **more: Any) -> Answer:
        data = {"blueprint_type_id": "t", "node_id": node_id, "parent_id": parent_id}
        return self.execute(session, "CreateNode", data, **more)

    def turn(self, session: Session, kind: str, **more: Any) -> Answer:
        return good(self.begin_turn(session, kind, **more))

    def new_session(self, **request: Any) -> Session:
        answer: AsyncResult = AsyncResult()
        self.calls.create(request, ANN, answer.set)
        session: Session = good(answer).session
        return session

    def settled(self) -> None:
        """Until all that is queued is answered."""
        session = self.sessions.new("probe", "", None, None)
        answer: AsyncResult = AsyncResult()
        job = Remove(session, ANN, answer.set)
        job.force = False
        session.removed = True
        self.writer.submit(job)
        assert got(answer).code == "INVALID_SESSION"

    def fill_the_disk(self) -> None:
        """No page more than the file has now, on the thread that writes."""
        assert self.disk.checkpoint()
        (pages,) = self.on_disk("PRAGMA page_count")
        self.on_disk(f"PRAGMA max_page_count = {pages}")

    def empty_the_disk(self) -> None:
        self.on_disk("PRAGMA max_page_count = 1000000")

    def on_disk(self, statement: str) -> Any:
        return self.disk._writing.apply(lambda: self.journal._sql.execute(statement).fetchone())


def got(answer: AsyncResult) -> Any:
    return answer.get(timeout=DEADLINE_S)


def good(answer: AsyncResult) -> Answer:
    value = got(answer)
    assert isinstance(value, Answer), value
    return value


def shape(graph: Graph, parent_id: str | None = None) -> list[Any]:
    siblings = graph.children.get(parent_id)
    return [(each, *shape(graph, each)) for each in (siblings.ids if siblings else [])]
