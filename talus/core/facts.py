"""What happened: the five facts of a graph, as the journal records them.

A record holds more than the wire shows: what its inverse needs (the content of
a deleted node, the old place of a moved one) and places as order keys. `index`
is what clients are told; it was worked out when the fact was made, so a replay
says what was first said. A node is for a moment nobody's child and no root
while a pair (created + linked, unlinked + linked, unlinked + deleted) is half
applied.
"""

from __future__ import annotations

from typing import Any

import msgspec


class NodeCreated(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="fact", tag="c"):
    """A root (`key` and `index` say where), or a child-to-be of `parent_id` (a NodeLinked follows)."""

    node_id: str
    type: str
    parent_id: str | None
    properties: dict[str, Any]
    key: str | None = None
    index: int | None = None


class NodeDeleted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="fact", tag="d"):
    """`parent_id` is the parent that it had; `key` is its place if it was a root."""

    node_id: str
    type: str
    parent_id: str | None
    properties: dict[str, Any]
    key: str | None = None


class NodeLinked(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="fact", tag="l"):
    """`parent_id` None: a place among the roots. `root_key`: the root's place that it gave up."""

    parent_id: str | None
    child_id: str
    key: str
    index: int
    root_key: str | None = None


class NodeUnlinked(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="fact", tag="u"):
    """`key`: the place given up. `root_key` and `index`: its new place, where it becomes a root."""

    parent_id: str
    child_id: str
    key: str
    root_key: str | None = None
    index: int | None = None


class PropertyChanged(msgspec.Struct, frozen=True, array_like=True, gc=False, tag_field="fact", tag="p"):
    """None stands for unset, before and after."""

    node_id: str
    property_id: str
    old: Any
    new: Any


Fact = NodeCreated | NodeDeleted | NodeLinked | NodeUnlinked | PropertyChanged


def invert(fact: Fact) -> Fact:
    """The fact that takes `fact` back, with places as keys; each `index` is left to be worked out."""
    match fact:
        case NodeCreated():
            return NodeDeleted(fact.node_id, fact.type, fact.parent_id, fact.properties, fact.key)
        case NodeDeleted():
            return NodeCreated(fact.node_id, fact.type, fact.parent_id, fact.properties, fact.key)
        case NodeLinked(parent_id=None):
            assert fact.root_key is not None
            return NodeLinked(None, fact.child_id, fact.root_key, 0, fact.key)
        case NodeLinked():
            return NodeUnlinked(fact.parent_id or "", fact.child_id, fact.key, fact.root_key)
        case NodeUnlinked():
            return NodeLinked(fact.parent_id, fact.child_id, fact.key, 0, fact.root_key)
        case PropertyChanged():
            return PropertyChanged(fact.node_id, fact.property_id, fact.new, fact.old)


def node_of(fact: Fact) -> str:
    """The id of the node whose existence, place or property the fact changed."""
    return fact.child_id if isinstance(fact, NodeLinked | NodeUnlinked) else fact.node_id
