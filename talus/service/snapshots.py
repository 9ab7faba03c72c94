"""Snapshots: the graph as it was now and then, so that no version is far from one.

Taken beside the work of the others, of sessions that had many commits since the
last one, and only while there is work: who copies the file of a server that has
rested for a second finds it whole. Nothing depends on them but the time that an
earlier version takes. Why so: docs/decisions/0015.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import gevent
import msgspec

from ..core.errors import TalusError
from ..core.graph import Node
from ..store.changes import NewSnapshot, NewSnapshotPart
from ..store.pieces import arrays
from .pace import Pace
from .sessions import Session
from .writer import Writer

EVERY_FACTS = 10_000  # or more, where the graph is so large that it would outgrow its journal
BYTES_FOR_A_FACT = 256
PART_BYTES = 128 * 1024
PARTS_AT_ONCE = 8  # in a transaction
REST_S = 0.4  # after the last commit, nothing of a snapshot is written any more

_encode = msgspec.json.Encoder().encode

log = logging.getLogger(__name__)


class Snapshots:
    """Takes snapshots, one at a time, right after a commit with which one is due."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._taking: gevent.Greenlet | None = None
        writer.on_commit = self._committed

    def close(self) -> None:
        self._writer.on_commit = None
        if self._taking is not None:
            self._taking.kill()

    def _committed(self, session: Session) -> None:
        if (self._taking is None or self._taking.dead) and _due(session):
            self._taking = gevent.spawn(self._take, session)

    def _take(self, session: Session) -> None:
        session.pins += 1
        try:
            nodes, version, facts = session.snapshot()
            # Whatever comes of it: the next one is due after as many facts again.
            session.pictured = facts
            parts = [
                NewSnapshotPart(session.no, version, number, body)
                for number, body in enumerate(arrays(_encoded(nodes.values()), PART_BYTES))
            ]
            for at in range(0, len(parts), PARTS_AT_ONCE):
                if self._writer.rested_s > REST_S or session.removed:
                    return
                self._writer.note(*parts[at : at + PARTS_AT_ONCE])
            if not session.removed:
                self._writer.note(NewSnapshot(session.no, version, facts))
        except TalusError as error:
            log.warning("session %s: no snapshot: %s", session.id, error.message)
        finally:
            session.pins -= 1


def _due(session: Session) -> bool:
    graph = session.graph
    since = session.facts - session.pictured
    return since >= max(EVERY_FACTS, 2 * len(graph.nodes), graph.size // BYTES_FOR_A_FACT)


def _encoded(nodes: Iterable[Node]) -> Iterator[bytes]:
    pace = Pace()
    for node in nodes:
        yield _encode(node)
        pace.breathe()
