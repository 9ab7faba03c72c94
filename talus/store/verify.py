"""Whether a file holds what was written to it: structure, sums, journal, and what follows from that.

Each commit's hash covers its header, its result and its facts, and the hash of
the commit before; the sums of `seals.py` cover the rows that no commit tells.
Tree rows, snapshots, what stands and who touched what are worked out again
from the facts and compared. So any change of what is stored is found: damage,
that is, not forgery, for whoever can compute a hash can write one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from ..core.facts import Fact, node_of
from ..core.graph import Graph, Node
from . import migrations, seals
from .claim import Unusable
from .reading import read_only
from .schema import GONE, HEADER, KEYS

_encode = msgspec.json.Encoder(order="deterministic").encode
_header = msgspec.json.Encoder().encode  # as the journal encodes it
_decode_facts = msgspec.json.Decoder(list[Fact]).decode
_decode_nodes = msgspec.json.Decoder(list[Node]).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode

# What rows raise that make no sense, when they are decoded or a graph is worked out from them.
NONSENSE = (msgspec.MsgspecError, ValueError, KeyError, IndexError, AttributeError, AssertionError, TypeError)
QUICK_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock


def problem(path: Path, most_s: float = inf) -> str | None:
    """What is wrong with a file, in one line; None when it is whole. Reads one moment, and writes nothing.

    most_s: what is not found in so many seconds is not looked for. The whole takes about 20 s for a million
    commits. Any schema up to today's will do.
    """
    try:
        with closing(read_only(path)) as connection:
            limited(connection, most_s)
            connection.execute("BEGIN")
            found = _problems(connection)
            first = next(found, None)
            if first is None:
                return None
            more = sum(1 for _ in found)
            return f"{first}; and {more} more" if more else first
    except Unusable as error:
        return str(error)
    except sqlite3.Error as error:
        return None if interrupted(error) else f"damaged: {error}"
    except NONSENSE as error:
        return f"damaged: {error!r}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    steps = migrations.check(connection)
    if not steps:
        yield "the file is empty"
        return
    for (line,) in connection.execute("PRAGMA integrity_check(3)"):
        if line != "ok":
            yield f"SQLite: {' '.join(line.split())}"
    for kind, name, _ in migrations.declared(steps) ^ set(migrations.declarations(connection)):
        yield f"{kind} {name} is not declared as it should be"
    tables = {name for _, name, _ in migrations.declarations(connection)}
    if "seal" in tables:
        yield from _sums(connection)
    sessions = connection.execute(
        "SELECT no, id, created_ms, active_ms, version, nodes, facts, head, removed FROM session"
    ).fetchall()
    for row in sessions:
        no, name, removed, nodes = row[0], row[1], row[-1], row[5]
        try:
            # Before there were seals, nothing told whether the rows of a removed one are still there.
            if not removed or (nodes >= 0 and "seal" in tables):
                yield from _session(connection, tables, *row)
            elif nodes == GONE:
                yield from _leftovers(connection, tables, no, name)
        except (sqlite3.Error, *NONSENSE) as error:
            if isinstance(error, sqlite3.Error) and interrupted(error):
                raise
            yield f"session {name}: its journal cannot be followed: {error!r}"
    for table in KEYS.keys() & tables:
        for (no,) in connection.execute(
            f"SELECT DISTINCT session_no FROM {table} WHERE session_no NOT IN (SELECT no FROM session)"
        ):
            yield f"table {table} has rows of a session {no} that there is not"


def _sums(connection: sqlite3.Connection) -> Iterator[str]:
    recorded = seals.recorded(connection)
    if recorded.keys() != seals.SEALED.keys():
        yield "table seal does not have the rows that it should"
    for table, total in recorded.items():
        if table in seals.SEALED and seals.of(connection, table) != total:
            yield f"table {table} does not hold what was written to it"


def _leftovers(connection: sqlite3.Connection, tables: set[str], no: int, name: str) -> Iterator[str]:
    for table in KEYS.keys() & tables:
        if connection.execute(f"SELECT 1 FROM {table} WHERE session_no = ?", (no,)).fetchone():
            yield f"session {name} is gone, and table {table} still has rows of it"


def _session(
    connection: sqlite3.Connection,
    tables: set[str],
    no: int,
    name: str,
    created_ms: int,
    active_ms: int,
    version: int,
    nodes: int,
    facts: int,
    head: bytes,
    removed: int,
) -> Iterator[str]:
    """Replay a session's journal from its beginning, and hold everything against it."""

    def says(what: str) -> str:
        return f"session {name}: {what}"

    graph = Graph()
    chain = b""
    at = total = 0
    last_ms = created_ms
    turned: dict[int, tuple[int, int]] = {}  # by version: whether it stands, and since when
    touched = [0, 0]  # how many, and a sum over them
    pictures: set[int] = set()
    if "snapshot" in tables:
        for table in ("snapshot", "snapshot_part"):  # of one that was never finished there are only parts
            rows = connection.execute(f"SELECT version FROM {table} WHERE session_no = ?", (no,))
            pictures.update(version for (version,) in rows)
    bodies = connection.execute(
        "SELECT version, part, body FROM fact WHERE session_no = ? ORDER BY version, part", (no,)
    )
    piece = bodies.fetchone()
    for row in connection.execute(
        f"SELECT {HEADER}, result, hash FROM commits WHERE session_no = ? ORDER BY version", (no,)
    ):
        header, result, recorded = list(row[:-2]), row[-2], row[-1]
        at += 1
        if header[1] != at:
            yield says(f"version {at} is missing")
            return
        undo, redo = _boolean(header[9]), _boolean(header[10])
        header[9:11] = undo, redo
        parts: list[Any] = []
        while piece is not None and piece[0] == at:
            if piece[1] != len(parts):
                yield says(f"part {len(parts)} of version {at} is missing")
                return
            parts.append(piece[2])
            piece = bodies.fetchone()
        digest = hashlib.sha256(chain)
        for text in (_header(header), result.encode(), *parts):
            digest.update(text)
        chain = digest.digest()
        if chain != recorded:
            yield says(f"version {at} is not what was written")
            return
        target, last_ms = header[4], header[7]
        if target is not None:
            turned[target] = (1 if header[3] == "Redo" else 0, at)
        met: set[str] = set()
        count = 0
        for part in parts:
            for fact in _decode_facts(part):
                graph.apply(fact)
                met.add(node_of(fact))
                count += 1
        for node_id in met:
            touched[0] += 1
            touched[1] ^= hash((node_id, at))
        total += count + 1
        if header[11] != total:
            yield says(f"version {at} does not count its facts right")
        if at in pictures:
            yield from map(says, _picture(connection, no, at, total, graph))
    if piece is not None:
        yield says(f"facts of a version {piece[0]} that there is not")
    if (at, total, chain, last_ms) != (version, facts, head, active_ms):
        yield says(f"its journal ends with version {at}, and its row says {version}, or another end")
    if nodes != len(graph.nodes):
        yield says(f"it has {len(graph.nodes)} nodes, and its row says {nodes}")
    if any(picture > at for picture in pictures):
        yield says("a snapshot of a version that there is not")
    yield from map(says, _tree(connection, no, graph))
    yield from map(says, _standing(connection, no, turned))
    rows = connection.execute("SELECT node_id, version FROM touch WHERE session_no = ?", (no,))
    for row in rows:
        touched[0] -= 1
        touched[1] ^= hash(row)
    if touched != [0, 0]:
        yield says("table touch does not name the nodes that its commits touched")


def _picture(
    connection: sqlite3.Connection, no: int, version: int, facts: int, graph: Graph
) -> Iterator[str]:
    """A snapshot against the graph as it was."""
    rows = connection.execute(
        "SELECT part, body FROM snapshot_part WHERE session_no = ? AND version = ? ORDER BY part",
        (no, version),
    ).fetchall()
    pictured = [node for _, body in rows for node in _decode_nodes(body)]
    finished = connection.execute(
        "SELECT facts FROM snapshot WHERE session_no = ? AND version = ?", (no, version)
    ).fetchone()
    gapless = [part for part, _ in rows] == list(range(len(rows)))
    whole = not finished or (finished == (facts,) and len(pictured) == len(graph.nodes))
    if not gapless or not whole or any(_differs(graph, node) for node in pictured):
        yield f"the snapshot of version {version} is not the graph as it was"


def _tree(connection: sqlite3.Connection, no: int, graph: Graph) -> Iterator[str]:
    count = 0
    for id, type, parent_id, key, text in connection.execute(
        "SELECT id, type, parent_id, key, properties FROM node WHERE session_no = ?", (no,)
    ):
        count += 1
        properties = _decode_object(text)
        known = graph.nodes.get(id)
        size = known.size if known else 0  # not in the row
        if known is None or _differs(graph, Node(id, type, parent_id, key, properties, size)):
            yield f"node {id} is not what the journal says"
    if count != len(graph.nodes):
        yield f"the journal says {len(graph.nodes)} nodes, and there are {count}"


def _differs(graph: Graph, node: Node) -> bool:
    known = graph.nodes.get(node.id)
    # Encoded, for 1, 1.0 and True are equal in Python.
    return known is None or _encode(known) != _encode(node)


def _standing(connection: sqlite3.Connection, no: int, turned: dict[int, tuple[int, int]]) -> Iterator[str]:
    for version, target, stands, turned_at in connection.execute(
        "SELECT version, target, stands, turned_at FROM commits WHERE session_no = ?", (no,)
    ):
        expected = turned.get(version, (1, version)) if target is None else (None, None)
        if (stands, turned_at) != expected:
            yield f"version {version} is not marked as in or out of force as it is"


def _boolean(value: Any) -> Any:
    """As the journal encoded it; what is none stays, and the hash tells."""
    return bool(value) if type(value) is int and value in (0, 1) else value


def limited(connection: sqlite3.Connection, most_s: float) -> None:
    """Have what is asked of a connection end after so many seconds, with an error that is `interrupted`."""
    until_s = monotonic() + most_s
    connection.set_progress_handler(lambda: monotonic() > until_s, QUICK_STEPS)


def interrupted(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def structure_problem(path: Path) -> str | None:
    """What is wrong with a file's pages, and no more than that: 0.3 s for 100 MB."""
    try:
        with closing(read_only(path)) as connection:
            (line,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return None if line == "ok" else " ".join(line.split())
