"""The client that the contract describes, and nothing more: a tree kept by five events.

`Tree` applies `node-created`, `node-linked`, `node-unlinked`, `node-deleted` and
`property-changed` literally. It raises `CannotApply` for an event that does not
fit the tree it meets, so a wrong order, a lost or a doubled event is found at
once and not at the end. A commit is applied whole, by `apply_commit`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]

GRAPH_EVENTS = frozenset({"node-created", "node-linked", "node-unlinked", "node-deleted", "property-changed"})
CLOSING_EVENTS = frozenset({"command:executed", "command:undo", "command:redo"})
FACTS = GRAPH_EVENTS | CLOSING_EVENTS


class CannotApply(AssertionError):
    """An event that cannot be applied to the tree at the moment it arrives."""


@dataclass
class _Node:
    id: str
    blueprint_type_id: str
    parent_id: str | None
    properties: JsonObject
    children: list[str] = field(default_factory=list)
    announced_parent: str | None = None  # named by node-created, not linked yet


class Tree:
    """One session's graph as a client holds it.

    version: the last commit applied whole; 0 for the empty graph of a new session.
    """

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.roots: list[str] = []
        self.nodes: dict[str, _Node] = {}

    @classmethod
    def of(cls, graph: JsonObject) -> Tree:
        """The tree that `GET /graph` shows: `{version, roots: [node, children nested]}`."""
        tree = cls(graph["version"])
        tree.roots = [root["id"] for root in graph["roots"]]
        waiting: list[tuple[JsonObject, str | None]] = [(root, None) for root in graph["roots"]]
        while waiting:
            node, parent_id = waiting.pop()
            if node["parent_id"] != parent_id:
                raise CannotApply(f"{node['id']} stands under {parent_id} and says {node['parent_id']}")
            if node["id"] in tree.nodes:
                raise CannotApply(f"{node['id']} stands twice in the graph")
            kept = _Node(node["id"], node["blueprint_type_id"], parent_id, dict(node["properties"]))
            kept.children = [child["id"] for child in node["children"]]
            tree.nodes[kept.id] = kept
            tree._check_name(node)
            waiting.extend((child, kept.id) for child in node["children"])
        return tree

    def nested(self) -> list[JsonObject]:
        """The roots as `GET /graph` shows them."""
        shown: dict[str, JsonObject] = {
            node.id: {
                "id": node.id,
                "blueprint_type_id": node.blueprint_type_id,
                "parent_id": node.parent_id,
                "name": node.properties.get("name", ""),
                "properties": dict(node.properties),
                "children": [],
            }
            for node in self.nodes.values()
        }
        for node in self.nodes.values():
            shown[node.id]["children"] = [shown[child] for child in node.children]
        return [shown[root] for root in self.roots]

    def apply_commit(self, events: Iterable[JsonObject], *, gapless: bool = True) -> None:
        """Apply the facts of one commit, its closing event included.

        events:  payloads in the order heard; all of one version, the closing event last.
        gapless: demand that this commit is the one after `version`.
        """
        facts = list(events)
        if not facts or facts[-1]["event"] not in CLOSING_EVENTS:
            raise CannotApply(f"a commit ends with its closing event: {[f['event'] for f in facts]}")
        versions = {fact["version"] for fact in facts}
        if len(versions) != 1:
            raise CannotApply(f"the facts of one commit carry one version: {sorted(versions)}")
        version = facts[-1]["version"]
        if gapless and version != self.version + 1:
            raise CannotApply(f"version {version} arrived at a tree of version {self.version}")
        for fact in facts[:-1]:
            self.apply(fact)
        afloat = [node.id for node in self.nodes.values() if node.announced_parent is not None]
        if afloat:
            raise CannotApply(f"created under a parent and never linked: {afloat}")
        self.version = version

    def apply(self, fact: JsonObject) -> None:
        """Apply one of the five graph events, at once or not at all."""
        name = fact["event"]
        if name not in GRAPH_EVENTS:
            raise CannotApply(f"{name} is no graph event")
        getattr(self, "_" + name.replace("-", "_"))(fact)

    def _node(self, node_id: str, fact: JsonObject) -> _Node:
        node = self.nodes.get(node_id)
        if node is None:
            raise CannotApply(f"no node {node_id} for {fact}")
        return node

    def _check_name(self, node: JsonObject) -> None:
        if node["name"] != node["properties"].get("name", ""):
            raise CannotApply(f'name is the property name, "" where unset: {node}')

    @staticmethod
    def _place(siblings: list[str], node_id: str, index: int | None, fact: JsonObject) -> None:
        if index is None:
            siblings.append(node_id)
        elif 0 <= index <= len(siblings):
            siblings.insert(index, node_id)
        else:
            raise CannotApply(f"index {index} of {len(siblings)} places: {fact}")

    def _node_created(self, fact: JsonObject) -> None:
        node = fact["node"]
        if node["id"] in self.nodes:
            raise CannotApply(f"{node['id']} is there already: {fact}")
        if node["children"] != []:
            raise CannotApply(f"children is [] in node-created: {fact}")
        self._check_name(node)
        made = _Node(node["id"], node["blueprint_type_id"], None, dict(node["properties"]))
        if node["parent_id"] is None:
            self._place(self.roots, made.id, fact.get("index"), fact)
        else:
            self._node(node["parent_id"], fact)
            made.announced_parent = node["parent_id"]
        self.nodes[made.id] = made

    def _node_linked(self, fact: JsonObject) -> None:
        parent_id, child = fact["parent_id"], self._node(fact["child_id"], fact)
        if child.parent_id is not None:
            raise CannotApply(f"{child.id} has a parent already: {fact}")
        if child.announced_parent is not None:
            if child.announced_parent != parent_id:
                raise CannotApply(f"{child.id} was announced under {child.announced_parent}: {fact}")
            child.announced_parent = None
        else:
            self.roots.remove(child.id)
        if parent_id is None:
            self._place(self.roots, child.id, fact.get("index"), fact)
            return
        above: _Node | None = self._node(parent_id, fact)
        while above is not None:
            if above.id == child.id:
                raise CannotApply(f"a cycle: {fact}")
            above = self.nodes[above.parent_id] if above.parent_id is not None else None
        child.parent_id = parent_id
        self._place(self.nodes[parent_id].children, child.id, fact.get("index"), fact)

    def _node_unlinked(self, fact: JsonObject) -> None:
        parent, child = self._node(fact["parent_id"], fact), self._node(fact["child_id"], fact)
        if child.parent_id != parent.id:
            raise CannotApply(f"{child.id} is no child of {parent.id}: {fact}")
        parent.children.remove(child.id)
        child.parent_id = None
        self._place(self.roots, child.id, fact.get("index"), fact)

    def _node_deleted(self, fact: JsonObject) -> None:
        node = self._node(fact["node_id"], fact)
        if node.children:
            raise CannotApply(f"{node.id} still has children (deepest first): {fact}")
        if node.parent_id is not None or node.announced_parent is not None:
            raise CannotApply(f"{node.id} still has a parent (node-unlinked comes first): {fact}")
        self.roots.remove(node.id)
        del self.nodes[node.id]

    def _property_changed(self, fact: JsonObject) -> None:
        node = self._node(fact["node_id"], fact)
        known = node.properties.get(fact["property_id"])
        if not same_json(known, fact["old_value"]):
            raise CannotApply(f"old_value is {fact['old_value']!r}, the tree holds {known!r}: {fact}")
        if fact["new_value"] is None:
            node.properties.pop(fact["property_id"], None)
        else:
            node.properties[fact["property_id"]] = fact["new_value"]


def same_json(one: Any, other: Any) -> bool:
    """Equality as JSON has it: `true` is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def rebuilt(events: Iterable[JsonObject]) -> Tree:
    """The tree made by applying the facts of `GET /sessions/{id}/events?since=0` from nothing."""
    tree = Tree()
    commit: list[JsonObject] = []
    for event in events:
        commit.append(event)
        if event["event"] in CLOSING_EVENTS:
            tree.apply_commit(commit)
            commit = []
    if commit:
        raise CannotApply(f"the events end inside a commit: {commit}")
    return tree


def difference(one: list[JsonObject], other: list[JsonObject]) -> str:
    """The first difference between two lists of nested roots, in words; "" where there is none."""
    waiting = [("roots", one, other)]
    while waiting:
        where, left, right = waiting.pop()
        ids = [node["id"] for node in left], [node["id"] for node in right]
        if ids[0] != ids[1]:
            return f"{where}: {ids[0]} != {ids[1]}"
        for a, b in zip(left, right, strict=True):
            plain_a, plain_b = ({k: v for k, v in n.items() if k != "children"} for n in (a, b))
            if not same_json(plain_a, plain_b):
                return f"{where}: {plain_a} != {plain_b}"
            waiting.append((f"children of {a['id']}", a["children"], b["children"]))
    return ""
