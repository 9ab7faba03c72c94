"""From a command to its facts, or to a refusal.

`decide` is a generator: each fact that it yields must be applied to the graph
before it is asked for the next one. So a Batch is decided on what its earlier
commands have done, and a commit of 50,000 nodes is worked out in slices. It
changes nothing itself; when it raises, the caller takes back what it applied.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, assert_never

from . import values
from .commands import Batch, Command, CreateNode, DeleteNode, LinkNode, MoveNode, UnlinkNode, UpdateProperty
from .errors import (
    AlreadyLinked,
    ChildNotAllowed,
    Cycle,
    InvalidParent,
    InvalidValue,
    LimitExceeded,
    NodeExists,
    NodeNotFound,
    NotLinked,
    TalusError,
)
from .facts import Fact, NodeCreated, NodeDeleted, NodeLinked, NodeUnlinked, PropertyChanged
from .graph import Graph, Node, resized, size_of
from .template import Template
from .template import check as check_type

MAX_NODES = 100_000
MAX_GRAPH_BYTES = 256 * 1024 * 1024
MAX_NODE_BYTES = 400_000  # of one node's properties, so that no event passes 1 MB
MAX_DEPTH = 256  # a root being 1

Result = dict[str, Any]


def decide(graph: Graph, template: Template | None, command: Command) -> Generator[Fact, None, Result]:
    """The facts of `command`, in an order in which each can be applied at once.

    Returns the `result` of docs/protocol.md, "Commands"; raises the refusals listed there.
    """
    match command:
        case CreateNode():
            return (yield from _create(graph, template, command))
        case DeleteNode():
            return (yield from _delete(graph, command))
        case UpdateProperty():
            return (yield from _update(graph, template, command))
        case LinkNode():
            return (yield from _link(graph, template, command))
        case UnlinkNode():
            return (yield from _unlink(graph, command))
        case MoveNode():
            return (yield from _move(graph, template, command))
        case Batch():
            results = []
            for at, single in enumerate(command.commands):
                try:
                    results.append((yield from decide(graph, template, single)))
                except TalusError as refusal:
                    refusal.details = {**(refusal.details or {}), "index": at}
                    raise
            return {"results": results}
        case _:
            assert_never(command)


def _create(graph: Graph, template: Template | None, command: CreateNode) -> Generator[Fact, None, Result]:
    node_id, parent_id, type_id = command.node_id, command.parent_id, command.blueprint_type_id
    if parent_id is not None and parent_id not in graph.nodes:
        raise InvalidParent()
    if node_id in graph.nodes:
        raise NodeExists()
    values.check_type_id(type_id)
    properties = {k: v for k, v in command.properties.items() if v is not None}
    if command.name is not None:
        properties["name"] = command.name
    if template:
        node_type = template.node_type(type_id)
        _check_child(graph, template, parent_id, type_id)
        for property_id, option in node_type.defaults().items():
            if property_id not in command.properties:
                properties[property_id] = option
    for property_id, value in (command.properties | properties).items():
        _check_property(template, type_id, property_id, value)
    _check_room(graph, 1, size_of(properties))
    if parent_id is None:
        key, index = graph.place(None, command.index)
        yield NodeCreated(node_id, type_id, None, properties, key, index)
    else:
        _check_depth(graph, parent_id, 1)
        yield NodeCreated(node_id, type_id, parent_id, properties)
        key, index = graph.place(parent_id, command.index)
        yield NodeLinked(parent_id, node_id, key, index)
    return {"node_id": node_id}


def _delete(graph: Graph, command: DeleteNode) -> Generator[Fact, None, Result]:
    _node(graph, command.node_id)
    levels = list(graph.levels(command.node_id))
    for level in reversed(levels):
        for node_id in reversed(level):
            node = graph.nodes[node_id]
            if node.parent_id is not None:
                assert node.key is not None
                yield NodeUnlinked(node.parent_id, node_id, node.key)
                yield NodeDeleted(node_id, node.type, node.parent_id, node.properties)
            else:
                yield NodeDeleted(node_id, node.type, None, node.properties, node.key)
    return {}


def _update(
    graph: Graph, template: Template | None, command: UpdateProperty
) -> Generator[Fact, None, Result]:
    node = _node(graph, command.node_id)
    _check_property(template, node.type, command.property_id, command.wanted)
    size = resized(node, command.property_id, command.wanted)
    _check_room(graph, 0, size - node.size, size)
    old = node.properties.get(command.property_id)
    yield PropertyChanged(node.id, command.property_id, old, command.wanted)
    return {}


def _link(graph: Graph, template: Template | None, command: LinkNode) -> Generator[Fact, None, Result]:
    if command.parent_id not in graph.nodes:
        raise InvalidParent()
    child = _node(graph, command.child_id)
    if child.parent_id is not None:
        raise AlreadyLinked()
    _check_under(graph, template, child, command.parent_id)
    key, index = graph.place(command.parent_id, command.index)
    yield NodeLinked(command.parent_id, child.id, key, index, child.key)
    return {}


def _unlink(graph: Graph, command: UnlinkNode) -> Generator[Fact, None, Result]:
    _node(graph, command.parent_id)
    child = _node(graph, command.child_id)
    if child.parent_id != command.parent_id:
        raise NotLinked()
    yield _become_root(graph, child, None)
    return {}


def _move(graph: Graph, template: Template | None, command: MoveNode) -> Generator[Fact, None, Result]:
    if command.parent_id is not None and command.parent_id not in graph.nodes:
        raise InvalidParent()
    node = _node(graph, command.node_id)
    if command.parent_id is None:
        if node.parent_id is not None:
            yield _become_root(graph, node, command.index)
        else:
            assert node.key is not None
            key, index = graph.place(None, command.index, without=node.key)
            yield NodeLinked(None, node.id, key, index, node.key)
        return {}
    _check_under(graph, template, node, command.parent_id)
    root_key = node.key
    if node.parent_id is not None:
        assert node.key is not None
        yield NodeUnlinked(node.parent_id, node.id, node.key)
        root_key = None
    key, index = graph.place(command.parent_id, command.index)
    yield NodeLinked(command.parent_id, node.id, key, index, root_key)
    return {}


def _become_root(graph: Graph, child: Node, at: int | None) -> NodeUnlinked:
    assert child.parent_id is not None
    assert child.key is not None
    root_key, index = graph.place(None, at)
    return NodeUnlinked(child.parent_id, child.id, child.key, root_key, index)


def _node(graph: Graph, node_id: str) -> Node:
    node = graph.nodes.get(node_id)
    if node is None:
        raise NodeNotFound()
    return node


def _check_property(template: Template | None, type_id: str, property_id: str, value: Any) -> None:
    values.check_property_id(property_id)
    if template and type_id in template:
        # A node of a type that the template has lost since keeps its properties and may be mended.
        prop = template.node_type(type_id).property(property_id)
        if value is not None:
            check_type(prop, value)
    if property_id == "name" and not isinstance(value, str | None):
        raise InvalidValue("name: a text is expected")
    if value is not None:
        values.check(value)


def _check_child(graph: Graph, template: Template, parent_id: str | None, type_id: str) -> None:
    if parent_id is None:
        return
    parent_type = graph.nodes[parent_id].type
    if parent_type not in template or not template.node_type(parent_type).allows(type_id):
        raise ChildNotAllowed()


def _check_under(graph: Graph, template: Template | None, node: Node, parent_id: str) -> None:
    if node.id in graph.path(parent_id):
        raise Cycle()
    if template:
        _check_child(graph, template, parent_id, node.type)
    _check_depth(graph, parent_id, sum(1 for _ in graph.levels(node.id)))


def _check_depth(graph: Graph, parent_id: str, height: int) -> None:
    if sum(1 for _ in graph.path(parent_id)) + height > MAX_DEPTH:
        raise LimitExceeded(f"A graph is at most {MAX_DEPTH} levels deep")


def _check_room(graph: Graph, nodes: int, growth: int, size: int | None = None) -> None:
    """Refuse what would make a node (of `size` bytes in the end) or the graph too large."""
    if (growth if size is None else size) > MAX_NODE_BYTES:
        raise LimitExceeded(f"A node's properties take at most {MAX_NODE_BYTES} bytes of JSON")
    if len(graph.nodes) + nodes > MAX_NODES:
        raise LimitExceeded(f"A graph holds at most {MAX_NODES} nodes")
    if graph.size + growth > MAX_GRAPH_BYTES:
        raise LimitExceeded(f"A graph holds at most {MAX_GRAPH_BYTES} bytes")
