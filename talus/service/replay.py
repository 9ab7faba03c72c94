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
from ..core.records import CommitRecord, Landmark, Part, SessionRecord
from .disk import Disk
from .pace import Pace, paced
from .sessions import Session

PART_BYTES = 128 * 1024  # of recorded facts in one slice; about twice that on the wire
PAGE_FACTS = 10_000  # in one page of events, where it does not end within a commit
PAGE_BYTES = 8 * 1024 * 1024
AT_ONCE = 64  # parts read on the way to another version

TOO_LITTLE = "The journal has less than it should"
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
            pieces = self._read(session, journal.parts, *at, until, PART_BYTES)
            if not pieces:
                raise StorageFailed(TOO_LITTLE)
            for piece in pieces:
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

    def sessions(
        self, limit: int, before: tuple[int, int] | None, user: str | None
    ) -> tuple[list[SessionRecord], int]:
        """Stored sessions by latest activity, after `before` (active_ms, no), and how many there are.

        user: only those in which this one has a role.
        """
        return self._disk.read(self._disk.journal.sessions, limit, before, user)

    def history(self, session: Session, before: int | None, limit: int) -> list[CommitRecord]:
        """Commits below `before` (None: from the newest), newest first."""
        top = session.version + 1
        before = top if before is None else min(before, top)
        return self._disk.read(self._disk.journal.history, session.no, before, limit)

    def at(self, session: Session, version: int) -> Graph:
        """The graph as it was at `version`. Raises VersionNotFound for one that never was.

        From wherever the fewest facts are on the way: today's graph, a snapshot before or after, or nothing.
        """
        nodes, current, facts = session.snapshot()
        if version > current or version < 0:
            raise VersionNotFound()
        journal = self._disk.journal
        before, after = self._disk.read(journal.snapshots_around, session.no, version)
        here = self._disk.read(journal.total, session.no, version)
        start = before or Landmark(0, 0)
        end = after or Landmark(current, facts)
        if here - start.facts <= end.facts - here:
            graph = self._snapshot(session, before) if before else Graph()
            return self._walk(session, graph, start.version, version)
        graph = self._snapshot(session, after) if after else paced(rebuild(nodes))
        return self._walk(session, graph, end.version, version)

    def _snapshot(self, session: Session, snapshot: Landmark) -> Graph:
        nodes: dict[str, Node] = {}
        journal, part = self._disk.journal, 0
        while page := self._read(session, journal.snapshot_part, snapshot.version, part):
            nodes.update((node.id, node) for node in page)
            part += 1
        return paced(rebuild(nodes))

    def _walk(self, session: Session, graph: Graph, start: int, version: int) -> Graph:
        """From the graph at `start` to the one at `version`, earlier or later."""
        journal, pace = self._disk.journal, Pace()
        back, more = version < start, version != start
        at = (start, MAX_PART)
        while more:
            parts = self._read(session, journal.on_the_way, *at, version, AT_ONCE)
            for number, part, facts in parts:
                for fact in map(invert, reversed(facts)) if back else facts:
                    graph.apply(fact)
                    pace.breathe()
                at = (number, part)
            more = len(parts) == AT_ONCE
        if at != (version + 1, 0) if back else at[0] != version:
            raise StorageFailed(TOO_LITTLE)
        return graph

    def _read(self, session: Session, function: Callable[..., list[T]], *args: int) -> list[T]:
        """A page of what a session has. Raises InvalidSession where it was deleted meanwhile."""
        found = self._disk.read(function, session.no, *args)
        if session.removed:
            raise InvalidSession()
        return found


def _after(part: Part) -> tuple[int, int]:
    """Where the journal goes on after `part`."""
    return part.commit.version, MAX_PART if part.last else part.part
