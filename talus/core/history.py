"""Undo and redo: the facts that take a commit back, and what may stand in the way.

Undoing a command takes back the commit that last put it into force (its own,
or a redo); redoing takes back the undo. Both are the inverse facts in reverse
order, fitted to today's graph: a key that another sibling took meanwhile
becomes one right after it, and every index is worked out anew.
Source: docs/protocol.md, "Undo and redo"; docs/decisions/0005.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

import msgspec

from .decide import MAX_DEPTH, MAX_GRAPH_BYTES, MAX_NODE_BYTES, MAX_NODES
from .facts import (
    Fact,
    NodeCreated,
    NodeDeleted,
    NodeLinked,
    NodeUnlinked,
    PropertyChanged,
    invert,
    node_of,
)
from .graph import Graph, resized, size_of
from .records import Later


class Blocked(Exception):
    """The graph refuses the inverse; `nodes` are those whose later changes stand in the way."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.nodes = set(nodes)
        super().__init__("the graph refuses the inverse")


class Touch(msgspec.Struct, frozen=True):
    """What one commit did to one node: made or removed it, moved it, changed these properties."""

    existence: bool = False
    place: bool = False
    properties: frozenset[str] = frozenset()


def touches(facts: Iterable[Fact]) -> dict[str, Touch]:
    """What the facts did, for each node."""
    found: dict[str, Touch] = {}
    for fact in facts:
        node_id = node_of(fact)
        was = found.get(node_id, Touch())
        match fact:
            case NodeCreated() | NodeDeleted():
                found[node_id] = Touch(True, was.place, was.properties)
            case NodeLinked() | NodeUnlinked():
                found[node_id] = Touch(was.existence, True, was.properties)
            case PropertyChanged():
                found[node_id] = Touch(was.existence, was.place, was.properties | {fact.property_id})
    return found


def conflicts(mine: dict[str, Touch], later: dict[str, Touch]) -> bool:
    """Whether the later commit changed the existence, the place or the same property of a node of mine.

    Making or removing a node touches all of its properties: else taking the
    creation back would lose what others wrote into the node since.
    """
    for node_id, touch in later.items():
        own = mine.get(node_id)
        if own is None:
            continue
        if touch.existence or touch.place or own.existence or own.properties & touch.properties:
            return True
    return False


def in_the_way(facts: list[Fact], later: Iterable[Later]) -> list[str]:
    """The ids of the later commands that keep `facts` from being taken back."""
    mine = touches(facts)
    return [commit.command_id for commit in later if conflicts(mine, touches(commit.facts))]


def reverse(graph: Graph, facts: list[Fact]) -> Generator[Fact, None, None]:
    """The facts that take `facts` back; like `decide`, each must be applied before the next is asked for.

    Raises Blocked when the graph refuses one.
    """
    for fact in reversed(facts):
        yield _fit(graph, invert(fact))


def _fit(graph: Graph, fact: Fact) -> Fact:
    match fact:
        case NodeCreated():
            if fact.node_id in graph.nodes:
                raise Blocked({fact.node_id})
            if len(graph.nodes) >= MAX_NODES or graph.size + size_of(fact.properties) > MAX_GRAPH_BYTES:
                raise Blocked(())
            if fact.key is None:
                return fact
            key = graph.free(None, fact.key)
            return NodeCreated(fact.node_id, fact.type, None, fact.properties, key, graph.index(None, key))
        case NodeDeleted():
            node = graph.nodes.get(fact.node_id)
            if node is None or node.parent_id is not None:
                raise Blocked({fact.node_id})
            children = graph.children.get(fact.node_id)
            if children:
                raise Blocked(children.ids)
            return NodeDeleted(node.id, node.type, fact.parent_id, node.properties, node.key)
        case NodeLinked():
            return _fit_link(graph, fact)
        case NodeUnlinked():
            node = graph.nodes.get(fact.child_id)
            if node is None or node.parent_id != fact.parent_id or node.key is None:
                raise Blocked({fact.child_id})
            if fact.root_key is None:
                return NodeUnlinked(fact.parent_id, node.id, node.key)
            root_key = graph.free(None, fact.root_key)
            return NodeUnlinked(fact.parent_id, node.id, node.key, root_key, graph.index(None, root_key))
        case PropertyChanged():
            node = graph.nodes.get(fact.node_id)
            if node is None:
                raise Blocked({fact.node_id})
            size = resized(node, fact.property_id, fact.new)
            if size > MAX_NODE_BYTES or graph.size + size - node.size > MAX_GRAPH_BYTES:
                raise Blocked({fact.node_id})
            old = node.properties.get(fact.property_id)
            return PropertyChanged(node.id, fact.property_id, old, fact.new)


def _fit_link(graph: Graph, fact: NodeLinked) -> NodeLinked:
    node = graph.nodes.get(fact.child_id)
    if node is None or node.parent_id is not None:
        raise Blocked({fact.child_id})
    if fact.parent_id is None:
        if node.key is None:
            raise Blocked({node.id})
        # Fitted as if it had left its place already: an order key is its own neighbour's bound.
        key = fact.key if fact.key == node.key else graph.free(None, fact.key)
        index = graph.index(None, key) - (node.key < key)
        return NodeLinked(None, node.id, key, index, node.key)
    if fact.parent_id not in graph.nodes:
        raise Blocked({fact.parent_id})
    path = list(graph.path(fact.parent_id))
    if node.id in path:
        raise Blocked(path)
    if len(path) + sum(1 for _ in graph.levels(node.id)) > MAX_DEPTH:
        raise Blocked(path)
    key = graph.free(fact.parent_id, fact.key)
    return NodeLinked(fact.parent_id, node.id, key, graph.index(fact.parent_id, key), node.key)
