"""What the clients of a campaign wish for: mixed commands on the tree that they hold, some to be refused."""

from __future__ import annotations

import random
import uuid
from typing import Any

from chaos.calls import Wish
from chaos.history import JsonObject
from tests.support.tree import Tree

NODES = 120  # past that more is deleted than made
HUGE = 500  # commands of a large batch
TYPES = ("phase", "task", "part")
WEIGHTS = {
    "create": 30,
    "update": 30,
    "move": 10,
    "link": 4,
    "unlink": 4,
    "delete": 5,
    "batch": 4,
    "undo": 7,
    "redo": 4,
    "refused": 3,
    "again": 3,
}


class Wishes:
    """Wishes without end, by the dice."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._made: list[Wish] = []  # of late, to be sent again
        self._huge: str | None = None  # the node under which a large batch was made

    def _id(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def _wish(self, command_type: str, data: JsonObject, **more: Any) -> Wish:
        return Wish("execute", self._id(), {"command_type": command_type, "data": data, **more})

    def next(self, tree: Tree) -> Wish:
        """What to do next on this tree, which nobody changes meanwhile."""
        names = list(WEIGHTS)
        weights = list(WEIGHTS.values())
        if len(tree.nodes) > NODES:
            weights[names.index("delete")] = 30
        name = self._dice.choices(names, weights)[0]
        if self._made and self._made[-1].kind == "undo" and self._dice.random() < 0.4:
            name = "redo"
        wish: Wish = getattr(self, "_" + name)(tree)
        if wish.kind == "execute" and self._dice.random() < 0.04:
            wish.body.setdefault("expected_version", max(0, tree.version - self._dice.randrange(2)))
        self._made = [*self._made[-19:], wish]
        return wish

    def huge(self) -> Wish:
        """A batch of 500 nodes under one new root; the next time its end."""
        if self._huge is not None:
            node_id, self._huge = self._huge, None
            return self._wish("DeleteNode", {"node_id": node_id})
        self._huge = self._id()
        commands = [self._creation(None, self._huge)]
        commands += [self._creation(self._huge, self._id()) for _ in range(HUGE - 1)]
        return self._wish("Batch", {"commands": commands})

    def plain(self) -> Wish:
        """One that nothing stands in the way of."""
        return self._wish("CreateNode", {"blueprint_type_id": "probe"})

    # -- one of each kind --

    def _node(self, tree: Tree) -> str:
        return self._dice.choice(list(tree.nodes)) if tree.nodes else self._id()

    def _value(self) -> Any:
        dice = self._dice
        return dice.choice(
            [
                dice.randrange(1000),
                f"text {dice.randrange(1000)} ü€",
                None,
                dice.random() < 0.5,
                {"list": [dice.randrange(9), "x"]},
            ]
        )

    def _data(self, parent_id: str | None) -> JsonObject:
        data: JsonObject = {"blueprint_type_id": self._dice.choice(TYPES)}
        if parent_id is not None:
            data["parent_id"] = parent_id
        if self._dice.random() < 0.5:
            data["name"] = f"node {self._dice.randrange(10_000)}"
        if self._dice.random() < 0.3:
            data["properties"] = {"p0": self._dice.randrange(100)}
        if self._dice.random() < 0.3:
            data["index"] = self._dice.randrange(5)
        return data

    def _creation(self, parent_id: str | None, node_id: str) -> JsonObject:
        return {"command_type": "CreateNode", "data": {**self._data(parent_id), "node_id": node_id}}

    def _create(self, tree: Tree) -> Wish:
        data = self._data(self._node(tree) if tree.nodes and self._dice.random() < 0.75 else None)
        if self._dice.random() < 0.5:
            data["node_id"] = self._id()
        return self._wish("CreateNode", data)

    def _updating(self, node_id: str) -> JsonObject:
        property_id = f"p{self._dice.randrange(4)}"
        if self._dice.random() < 0.2:
            return {"node_id": node_id, "property_id": "name", "value": f"name {self._dice.randrange(999)}"}
        return {"node_id": node_id, "property_id": property_id, "value": self._value()}

    def _update(self, tree: Tree) -> Wish:
        return self._wish("UpdateProperty", self._updating(self._node(tree)))

    def _move(self, tree: Tree) -> Wish:
        parent_id = self._node(tree) if self._dice.random() < 0.8 else None
        data: JsonObject = {"node_id": self._node(tree), "parent_id": parent_id}
        if self._dice.random() < 0.5:
            data["index"] = self._dice.randrange(6)
        return self._wish("MoveNode", data)

    def _link(self, tree: Tree) -> Wish:
        child = self._dice.choice(tree.roots) if tree.roots else self._id()
        return self._wish("LinkNode", {"parent_id": self._node(tree), "child_id": child})

    def _unlink(self, tree: Tree) -> Wish:
        linked = [node for node in tree.nodes.values() if node.parent_id is not None]
        if not linked:
            return self._create(tree)
        child = self._dice.choice(linked)
        return self._wish("UnlinkNode", {"parent_id": child.parent_id, "child_id": child.id})

    def _delete(self, tree: Tree) -> Wish:
        return self._wish("DeleteNode", {"node_id": self._node(tree)})

    def _batch(self, tree: Tree) -> Wish:
        made = [self._id() for _ in range(self._dice.randrange(1, 5))]
        parents = [self._node(tree) if tree.nodes else None, *made]
        commands = [self._creation(parents[at], node_id) for at, node_id in enumerate(made)]
        commands += [
            {"command_type": "UpdateProperty", "data": self._updating(self._dice.choice(made))}
            for _ in range(self._dice.randrange(4))
        ]
        if self._dice.random() < 0.1:  # the last one spoils it all
            commands.append({"command_type": "DeleteNode", "data": {"node_id": self._id()}})
        return self._wish("Batch", {"commands": commands})

    def _undo(self, _tree: Tree) -> Wish:
        body: JsonObject = {"scope": self._dice.choice(["session", "actor"])}
        return Wish("undo", self._id(), {} if self._dice.random() < 0.3 else body)

    def _redo(self, _tree: Tree) -> Wish:
        body: JsonObject = {"scope": "actor"}  # what the session could redo others have soon cleared
        return Wish("redo", self._id(), {} if self._dice.random() < 0.2 else body)

    def _refused(self, tree: Tree) -> Wish:
        if self._dice.random() < 0.5 and tree.nodes:
            return self._wish("CreateNode", {"blueprint_type_id": "part", "node_id": self._node(tree)})
        return self._wish("UpdateProperty", self._updating(self._id()))

    def _again(self, tree: Tree) -> Wish:
        """The id of an earlier one: with the same data, or with other data, which is refused."""
        if not self._made:
            return self._create(tree)
        wish = self._dice.choice(self._made)
        if self._dice.random() < 0.7:
            return wish
        other = self._refused(tree)
        return other._replace(command_id=wish.command_id)
