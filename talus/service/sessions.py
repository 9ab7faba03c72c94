"""Open sessions: a cache of the journal that is loaded when asked for and dropped when idle.

A session in memory can be forgotten and rebuilt at any moment. One that was
opened by joining lives in memory alone until something is committed in it.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from gevent.event import AsyncResult

from ..core.errors import InvalidSession, TemplateNotFound
from ..core.facts import Fact, invert
from ..core.graph import Graph, Node, rebuild
from ..core.records import SessionRecord
from ..core.template import Template
from .disk import Disk
from .pace import Pace, paced
from .presence import Member

PATIENCE_S = 0.1  # a reader waits for a batch; the disk may make that one wait for seconds
LOAD_NODES = 1_000  # read in one slice
EMPTY_S = 60.0  # a session that nothing was committed in goes so long after its last client
IDLE_S = 300.0  # a session that nobody uses leaves the memory after so long

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")

log = logging.getLogger(__name__)


class Session:
    """One open session: what is committed, and the graph, which may be a batch ahead of it.

    `version` and the other counters change in one step with publishing, so
    whoever reads them without waiting in between sees one committed moment.
    """

    def __init__(self, record: SessionRecord, template: Template | None, stored: bool) -> None:
        self.no = record.no
        self.id = record.id
        self.name = record.name
        self.project_id = record.project_id
        self.template_id = record.template_id
        self.template = template
        self.created_ms = record.created_ms
        self.active_ms = record.active_ms
        self.version = record.version
        self.node_count = record.nodes
        self.facts = record.facts
        self.pictured = 0  # the facts up to which there is, or was to be, a snapshot
        self.stored = stored  # it has a row in the file
        self.removed = False
        self.graph = Graph()
        self.undo_available = False
        self.redo_available = False
        self.members: dict[str, Member] = {}
        self.pins = 0  # calls under way; a pinned session stays in memory
        self.used_s = 0.0  # when a call or a client last left, on the monotonic clock
        self._ahead: list[Fact] = []  # applied to the graph and not yet committed
        self._waiting: list[AsyncResult] = []

    @property
    def floor(self) -> int:
        """Versions up to this one are not undone: a project's root is its first commit."""
        return 1 if self.project_id else 0

    def apply(self, fact: Fact) -> None:
        """Carry out a fact ahead of its commit."""
        self.graph.apply(fact)
        self._ahead.append(fact)

    @property
    def ahead(self) -> int:
        """How many facts are applied and not yet committed; a mark for `take_back`."""
        return len(self._ahead)

    def take_back(self, mark: int = 0) -> None:
        """Undo what was applied since `mark`, exactly; others run meanwhile."""
        pace = Pace()
        while len(self._ahead) > mark:
            self.graph.apply(invert(self._ahead[-1]))
            self._ahead.pop()
            pace.breathe()

    def settle(self) -> None:
        """The batch is over: what is in the graph now is what is committed."""
        self._ahead.clear()
        waiting, self._waiting = self._waiting, []
        if waiting:
            # Readers are served here, in the writer's own step: however fast
            # batches follow each other, nobody waits for more than one.
            taken = (self.graph.nodes.copy(), self.version, self.facts)
            for result in waiting:
                result.set(taken)

    def snapshot(self) -> tuple[dict[str, Node], int, int]:
        """The committed nodes, their version, and the facts up to it, as one moment.

        Waits a little for a batch that is under way. `core.graph.rebuild` makes a graph of the nodes.
        """
        if not self._ahead:
            return self.graph.nodes.copy(), self.version, self.facts
        result: AsyncResult = AsyncResult()
        self._waiting.append(result)
        if result.wait(PATIENCE_S) is not None:
            return result.get()
        # A disk that makes the batch wait keeps nobody from reading: without it, as it will be if it fails.
        if result in self._waiting:
            self._waiting.remove(result)
        nodes, version, facts = self.graph.nodes.copy(), self.version, self.facts
        ahead = self._ahead.copy()
        graph = paced(rebuild(nodes))
        pace = Pace()
        for fact in reversed(ahead):
            graph.apply(invert(fact))
            pace.breathe()
        return graph.nodes, version, facts


class Sessions:
    """The sessions in memory, by id."""

    def __init__(
        self,
        disk: Disk,
        templates: Mapping[str, Template],
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._disk = disk
        self._templates = templates
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._open: dict[str, Session] = {}
        self._loading: dict[str, AsyncResult] = {}
        self._removed: set[str] = set()  # deleted by this process; the file knows the others
        self._next_no = disk.journal.next_no

    def get(self, session_id: str) -> Session:
        """The session, loaded where it is not in memory. Raises InvalidSession."""
        session = self._find(session_id)
        if session is None:
            raise InvalidSession()
        return session

    @contextmanager
    def pinned(self, session_id: str) -> Iterator[Session]:
        """The session, kept in memory while a call on it is being read. Raises InvalidSession."""
        session = self.get(session_id)
        session.pins += 1
        try:
            yield session
        finally:
            session.pins -= 1

    def get_or_open(self, session_id: str) -> tuple[Session, bool]:
        """The session, and whether it was opened just now, as joining does. Raises InvalidSession."""
        session = self._find(session_id)
        if session is not None:
            return session, False
        if not _SESSION_ID.fullmatch(session_id):
            raise InvalidSession()
        session = self.new(session_id, "", None, None)
        self._open[session_id] = session
        return session, True

    def new(self, session_id: str, name: str, template_id: str | None, project_id: str | None) -> Session:
        """A session that is not stored yet. Raises TemplateNotFound."""
        if template_id is not None and template_id not in self._templates:
            raise TemplateNotFound()
        now = self._now_ms()
        no, self._next_no = self._next_no, self._next_no + 1
        record = SessionRecord(no, session_id, project_id, template_id, name, now, now, 0, 0, 0, False)
        template = self._templates.get(template_id) if template_id else None
        session = Session(record, template, stored=False)
        session.used_s = self._monotonic_s()
        return session

    def keep(self, session: Session) -> None:
        """A session made by `new` was stored."""
        self._open[session.id] = session

    def remove(self, session: Session) -> None:
        """A session was deleted, for ever."""
        session.removed = True
        session.graph = Graph()
        self._removed.add(session.id)
        self._open.pop(session.id, None)

    def open(self) -> dict[str, Session]:
        return self._open

    def touch(self, session: Session) -> None:
        """A client left: the time after which an unused session is forgotten begins."""
        session.used_s = self._monotonic_s()

    def sweep(self) -> None:
        """Forget sessions that nobody uses."""
        now = self._monotonic_s()
        for session in list(self._open.values()):
            if session.members or session.pins:
                session.used_s = now
            elif now - session.used_s >= (IDLE_S if session.stored else EMPTY_S):
                del self._open[session.id]

    def _find(self, session_id: str) -> Session | None:
        """None for an id that names no session yet. Raises InvalidSession for a deleted one."""
        if session_id not in self._open and _SESSION_ID.fullmatch(session_id):
            self._load(session_id)
        # Loading waited for the disk, and others may have run since: only what is
        # open now counts, or two who come at once would each get a session of their own.
        session = self._open.get(session_id)
        if session is not None:
            if session.stored:  # one that is not lasts by its clients alone, not by being looked at
                session.used_s = self._monotonic_s()
        elif session_id in self._removed:
            raise InvalidSession()
        return session

    def _load(self, session_id: str) -> None:
        """From the disk into memory, where it is there; once for all who ask."""
        loading = self._loading.get(session_id)
        if loading is not None:
            loading.get()
            return
        result = self._loading[session_id] = AsyncResult()
        try:
            session = self._read(session_id)
            # While the disk was read, somebody may have opened the session by joining, or deleted it.
            if session is not None and session_id not in self._removed:
                self._open.setdefault(session_id, session)
            result.set()
        except BaseException as error:
            result.set_exception(error)
            raise
        finally:
            del self._loading[session_id]

    def _read(self, session_id: str) -> Session | None:
        journal = self._disk.journal
        record = self._disk.read(journal.find, session_id)
        if record is None:
            return None
        if record.removed:
            raise InvalidSession()
        template = self._templates.get(record.template_id) if record.template_id else None
        if record.template_id and template is None:
            log.warning(
                "session %s: its template %s is not there; types are not checked",
                session_id,
                record.template_id,
            )
        session = Session(record, template, stored=True)
        nodes: dict[str, Node] = {}
        while True:
            page = self._disk.read(journal.nodes, record.no, next(reversed(nodes), ""), LOAD_NODES)
            nodes.update((node.id, node) for node in page)
            if len(page) < LOAD_NODES:
                break
        session.graph = paced(rebuild(nodes))
        session.undo_available, session.redo_available = self._disk.read(
            journal.availability, record.no, session.floor
        )
        newest, _ = self._disk.read(journal.snapshots_around, record.no, record.version)
        session.pictured = newest.facts if newest else 0
        return session


def new_id() -> str:
    return str(uuid.uuid4())
