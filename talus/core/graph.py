"""The graph of a session: nodes, their places, and the only code that changes them.

Nodes are frozen and replaced, so a shallow copy of `nodes` is a snapshot. Children stand
in lists sorted by order key: finding a place is a bisection, adding or removing
one moves memory but writes one node.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator
from typing import Any

import msgspec

from . import order
from .facts import Fact, NodeCreated, NodeDeleted, NodeLinked, NodeUnlinked, PropertyChanged
from .values import member_size

_encode = msgspec.json.Encoder().encode


class Node(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A node; `key` is its place under `parent_id`, or among the roots when that is None.

    `size` is that of the properties as compact JSON, in bytes.
    """

    id: str
    type: str
    parent_id: str | None
    key: str | None
    properties: dict[str, Any]
    size: int

    @property
    def name(self) -> str:
        return name_of(self.properties)


class Siblings:
    """The ids of one parent's children, sorted by order key."""

    __slots__ = ("ids", "keys")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.ids: list[str] = []

    def add(self, key: str, node_id: str) -> None:
        at = bisect_left(self.keys, key)
        if at < len(self.keys) and self.keys[at] == key:
            raise ValueError("two siblings with one order key")
        self.keys.insert(at, key)
        self.ids.insert(at, node_id)

    def remove(self, key: str) -> None:
        at = bisect_left(self.keys, key)
        del self.keys[at]
        del self.ids[at]


class Graph:
    """All nodes of a session. Only `apply` changes it."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.children: dict[str | None, Siblings] = {}
        self.size = 0  # bytes, of all nodes' properties

    def apply(self, fact: Fact) -> None:
        """Carry out one fact; it must fit the graph (`decide` and `history` see to that)."""
        match fact:
            case NodeCreated():
                if fact.node_id in self.nodes:
                    raise ValueError("a node is created twice")
                size = size_of(fact.properties)
                self.nodes[fact.node_id] = Node(
                    fact.node_id, fact.type, None, fact.key, fact.properties, size
                )
                self.size += size
                if fact.key is not None:
                    self._enter(None, fact.key, fact.node_id)
            case NodeDeleted():
                node = self.nodes.pop(fact.node_id)
                self.size -= node.size
                if node.key is not None:
                    self._leave(None, node.key)
            case NodeLinked():
                node = self.nodes[fact.child_id]
                if node.key is not None:
                    self._leave(node.parent_id, node.key)
                self._enter(fact.parent_id, fact.key, node.id)
                self.nodes[node.id] = Node(
                    node.id, node.type, fact.parent_id, fact.key, node.properties, node.size
                )
            case NodeUnlinked():
                node = self.nodes[fact.child_id]
                assert node.key is not None
                self._leave(node.parent_id, node.key)
                if fact.root_key is not None:
                    self._enter(None, fact.root_key, node.id)
                self.nodes[node.id] = Node(
                    node.id, node.type, None, fact.root_key, node.properties, node.size
                )
            case PropertyChanged():
                node = self.nodes[fact.node_id]
                properties = _changed(node.properties, fact.property_id, fact.new)
                size = resized(node, fact.property_id, fact.new)
                self.size += size - node.size
                self.nodes[node.id] = Node(node.id, node.type, node.parent_id, node.key, properties, size)

    def _enter(self, parent_id: str | None, key: str, node_id: str) -> None:
        siblings = self.children.get(parent_id)
        if siblings is None:
            siblings = self.children[parent_id] = Siblings()
        siblings.add(key, node_id)

    def _leave(self, parent_id: str | None, key: str) -> None:
        siblings = self.children[parent_id]
        siblings.remove(key)
        if not siblings.ids:
            del self.children[parent_id]

    def index(self, parent_id: str | None, key: str) -> int:
        """How many children of `parent_id` stand before `key`."""
        siblings = self.children.get(parent_id)
        return bisect_left(siblings.keys, key) if siblings else 0

    def place(self, parent_id: str | None, index: int | None, without: str | None = None) -> tuple[str, int]:
        """A new key and its index for the `index`-th place (None or beyond: the last).

        without: the key of a child of the same parent that counts as gone.
        """
        siblings = self.children.get(parent_id)
        keys = siblings.keys if siblings else []
        gone = bisect_left(keys, without) if without is not None else len(keys)
        count = len(keys) - (without is not None)
        at = count if index is None else min(index, count)

        def key(n: int) -> str | None:
            return keys[n + (n >= gone)] if 0 <= n < count else None

        return order.between(key(at - 1), key(at)), at

    def free(self, parent_id: str | None, key: str) -> str:
        """`key` itself, or one right after it where another child took it meanwhile."""
        siblings = self.children.get(parent_id)
        if siblings is None:
            return key
        at = bisect_left(siblings.keys, key)
        if at == len(siblings.keys) or siblings.keys[at] != key:
            return key
        return order.between(key, siblings.keys[at + 1] if at + 1 < len(siblings.keys) else None)

    def path(self, node_id: str | None) -> Iterator[str]:
        """The node and its parents, up to the root."""
        while node_id is not None:
            yield node_id
            node_id = self.nodes[node_id].parent_id

    def levels(self, node_id: str) -> Iterator[list[str]]:
        """The ids of a subtree, level by level, the top first."""
        level = [node_id]
        children = self.children
        while level:
            yield level
            level = [child for parent in level if parent in children for child in children[parent].ids]


def rebuild(nodes: dict[str, Node]) -> Generator[None, None, Graph]:
    """A graph of these nodes, which become its own; yields now and then, for it may take a while.

    Nodes are frozen, so a shallow copy of a graph's `nodes` is a snapshot, and this makes a graph of it.
    """
    graph = Graph()
    graph.nodes = nodes
    children = graph.children
    for count, node in enumerate(nodes.values()):
        graph.size += node.size
        siblings = children.get(node.parent_id)
        if siblings is None:
            siblings = children[node.parent_id] = Siblings()
        siblings.ids.append(node.id)
        if not count % 256:
            yield
    for count, siblings in enumerate(children.values()):
        siblings.ids.sort(key=lambda node_id: nodes[node_id].key or "")
        siblings.keys = [nodes[node_id].key or "" for node_id in siblings.ids]
        if not count % 64:
            yield
    return graph


def name_of(properties: dict[str, Any]) -> str:
    """The property `name`, shown at the top of a node; "" where unset."""
    name = properties.get("name", "")
    return name if isinstance(name, str) else ""


def size_of(properties: dict[str, Any]) -> int:
    """The bytes of the properties as compact JSON (1 for none, so that sizes add up)."""
    return len(_encode(properties)) if properties else 1


def resized(node: Node, property_id: str, value: Any) -> int:
    """The size of the node's properties once `property_id` is `value` (None: unset)."""
    size = node.size
    old = node.properties.get(property_id)
    if old is not None:
        size -= member_size(property_id, len(_encode(old)))
    if value is not None:
        size += member_size(property_id, len(_encode(value)))
    return size


def _changed(properties: dict[str, Any], property_id: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {k: v for k, v in properties.items() if k != property_id}
    # A known one in its old place, so that undo gives back the very same text.
    return {**properties, property_id: value}
