"""A commit in words, for the people who read the history."""

from __future__ import annotations

from typing import assert_never

from .commands import Batch, Command, CreateNode, DeleteNode, LinkNode, MoveNode, UnlinkNode, UpdateProperty
from .facts import Fact, NodeDeleted
from .graph import Graph, name_of

MAX_NAME = 60  # characters of a node's name


def describe(graph: Graph, command: Command, facts: list[Fact]) -> str:
    """What `command` did, once its `facts` are applied to `graph`."""
    match command:
        case CreateNode():
            return f"Created {command.blueprint_type_id} {_name(graph, command.node_id)}"
        case DeleteNode():
            top = facts[-1]  # each node below it has two facts before this one
            assert isinstance(top, NodeDeleted)
            count = (len(facts) - 1) // 2
            below = f" and {count} below it" if count else ""
            return f"Deleted {top.type} {_quoted(name_of(top.properties))}{below}"
        case UpdateProperty():
            verb = "Cleared" if command.wanted is None else "Set"
            return f"{verb} {command.property_id} of {_name(graph, command.node_id)}"
        case LinkNode():
            return f"Put {_name(graph, command.child_id)} under {_name(graph, command.parent_id)}"
        case UnlinkNode():
            return f"Took {_name(graph, command.child_id)} out of {_name(graph, command.parent_id)}"
        case MoveNode(parent_id=None):
            return f"Moved {_name(graph, command.node_id)} to the roots"
        case MoveNode():
            return f"Moved {_name(graph, command.node_id)} to {_name(graph, command.parent_id or '')}"
        case Batch():
            return f"{len(command.commands)} changes in one"
        case _:
            assert_never(command)


def _name(graph: Graph, node_id: str) -> str:
    node = graph.nodes.get(node_id)
    return _quoted(node.name if node else "")


def _quoted(name: str) -> str:
    if not name:
        return "(no name)"
    return f'"{name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"}"'
