"""Catching up and going back: reads of the journal, at the pace of those who ask.

`resume` is the one honest answer to a client that comes back; `parts` is what
it and every client that is slower than the events are fed from; `at` is the
graph as it was at any version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from ..core.errors import InvalidSession, StorageFailed, VersionNotFound
from ..core.facts import invert
from ..core.graph import Graph, Node, rebuild
from ..core.records import CommitRecord, Part, SessionRecord
from .disk import Disk
from .pace import Pace, paced
from .sessions import Session

PART_BYTES = 128 * 1024  # of recorded facts in one slice; about twice that on the wire
PAGE_FACTS = 10_000  # in one page of events, where it does not end within a commit
PAGE_BYTES = 8 * 1024 * 1024
BACK_PARTS = 64  # read at once on the way to an earlier version

MAX_PART = 2**31  # after every part of a version

T = TypeVar("T")
Resume = Literal["live", "current", "replay", "snapshot"]


class Replay:
    """The readers' side of the journal."""

    def __init__(self, disk: Disk, limit: int) -> None:
        """limit: versions that may be replayed to a client, and a tenth of the facts (TALUS_REPLAY_LIMIT)."""
        self._disk = disk
        self._limit = limit
        self.epoch = disk.journal.epoch

    def total(self, session: Session, version: int) -> int:
        """The facts of the session up to and with that version; 0 for a version that it does not have."""
        if not 0 < version <= session.version:
            return 0
        return self._disk.read(self._disk.journal.total, session.no, version)

    def resume(self, session: Session, since: int | None, epoch: str | None, total: int) -> Resume:
        """How a client that has seen everything up to `since` goes on from here.

        total: what `total` said of `since`. Source: docs/protocol.md, "Catching up".
        """
        if since is None:
            return "live"
        if (epoch is not None and epoch != self.epoch) or since > session.version:
            return "snapshot"
        if session.version - since > self._limit or session.facts - total > 10 * self._limit:
            return "snapshot"
        return "current" if since == session.version else "replay"

    def parts(self, session: Session, version: int, part: int) -> list[Part]:
        """The facts after `part` of `version`, as far as one slice goes and no further than is published."""
        journal = self._disk.journal
        return self._disk.read(journal.parts, session.no, version, part, session.version, PART_BYTES)

    def page(self, session: Session, since: int, limit: int) -> tuple[list[Part], int, int | None]:
        """Whole versions after `since`, `limit` at most: parts, the current version, and where to go on.

        Ends early after 10,000 facts or 8 MiB. Raises VersionNotFound when `since` is ahead.
        """
        current = session.version
        if since > current:
            raise VersionNotFound()
        until = min(current, since + limit)
        journal = self._disk.journal
        found: list[Part] = []
        facts = size = 0
        whole, at = since, (since, MAX_PART)
        while whole < until:
            for piece in self._read(session, journal.parts, *at, until, PART_BYTES):
                found.append(piece)
                facts += len(piece.facts) + piece.last
                size += piece.size
                at = _after(piece)
                if piece.last:
                    whole = piece.commit.version
                    if facts >= PAGE_FACTS or size >= PAGE_BYTES:
                        until = whole
                        break
        return found, current, whole if whole < current else None

    def sessions(self, limit: int, before: tuple[int, int] | None) -> tuple[list[SessionRecord], int]:
        """Stored sessions by latest activity, after `before` (active_ms, no), and how many there are."""
        return self._disk.read(self._disk.journal.sessions, limit, before)

    def history(self, session: Session, before: int | None, limit: int) -> list[CommitRecord]:
        """Commits below `before` (None: from the newest), newest first."""
        top = session.version + 1
        before = top if before is None else min(before, top)
        return self._disk.read(self._disk.journal.history, session.no, before, limit)

    def at(self, session: Session, version: int) -> Graph:
        """The graph as it was at `version`. Raises VersionNotFound for one that never was.

        From today's graph back or from nothing forwards: whichever is shorter.
        """
        nodes, current = session.snapshot()
        if version > current or version < 0:
            raise VersionNotFound()
        if version < current - version:
            return self._forwards(session, version)
        return self._backwards(session, nodes, current, version)

    def _forwards(self, session: Session, version: int) -> Graph:
        graph = Graph()
        journal, pace = self._disk.journal, Pace()
        at = (0, MAX_PART)
        while at != (version, MAX_PART):
            for part in self._read(session, journal.parts, *at, version, 8 * PART_BYTES):
                for fact in part.facts:
                    graph.apply(fact)
                    pace.breathe()
                at = _after(part)
        return graph

    def _backwards(self, session: Session, nodes: dict[str, Node], current: int, version: int) -> Graph:
        graph = paced(rebuild(nodes))
        journal, pace = self._disk.journal, Pace()
        at = (current, MAX_PART)
        while at[0] > version:
            for number, part, facts in self._read(session, journal.facts_back, *at, BACK_PARTS):
                if number <= version:
                    return graph
                for fact in reversed(facts):
                    graph.apply(invert(fact))
                    pace.breathe()
                at = (number, part)
                if version == 0 and at == (1, 0):
                    return graph
        return graph

    def _read(self, session: Session, function: Callable[..., list[T]], *args: int) -> list[T]:
        """A page of what has to be there. Raises InvalidSession where the session was deleted meanwhile."""
        found = self._disk.read(function, session.no, *args)
        if session.removed:
            raise InvalidSession()
        if not found:
            raise StorageFailed("The journal has less than it should")
        return found


def _after(part: Part) -> tuple[int, int]:
    """Where the journal goes on after `part`."""
    return part.commit.version, MAX_PART if part.last else part.part
