"""The graph, its commands, undo and redo, against a model that knows nothing of keys, facts or inverses.

The model is lists of child ids and copies of itself. Beside it a client that
applies the five events literally follows along. After every step all of them
hold the same tree.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Generator
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from talus.core import decide as rules
from talus.core import history
from talus.core.commands import (
    Batch,
    Command,
    CreateNode,
    DeleteNode,
    LinkNode,
    MoveNode,
    UnlinkNode,
    UpdateProperty,
)
from talus.core.errors import TalusError
from talus.core.facts import Fact, NodeDeleted, NodeUnlinked, invert
from talus.core.graph import Graph, rebuild
from talus.core.records import CommitRecord
from talus.web import wire
from tests.support.tree import Tree, difference

DEPTH = 5  # instead of 256, so that the limit is met
IDS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 15)]
Json = dict[str, Any]


class Model:
    """A tree as anyone would write it down."""

    def __init__(self) -> None:
        self.nodes: dict[str, Json] = {}
        self.below: dict[str | None, list[str]] = {None: []}

    def carry_out(self, command: Command) -> set[str]:
        """Change the model, or say which refusals would be right; then nothing is changed."""
        if isinstance(command, Batch):
            before = copy.deepcopy(self.__dict__)
            for single in command.commands:
                if faults := self.carry_out(single):
                    self.__dict__ = before
                    return faults
            return set()
        faults = self._faults(command)
        if not faults:
            self._change(command)
        return faults

    def _faults(self, command: Command) -> set[str]:
        nodes = self.nodes
        found: set[str] = set()
        match command:
            case CreateNode(parent_id=parent_id):
                found |= {"NODE_EXISTS"} if command.node_id in nodes else set()
                values = [*command.properties.values(), command.name]
                wrong_name = not isinstance(command.name, str | None)
                found |= {"INVALID_VALUE"} if wrong_name or TOO_LARGE in values else set()
                found |= self._placing(parent_id, 1)
            case DeleteNode(node_id=node_id):
                found |= {"NODE_NOT_FOUND"} if node_id not in nodes else set()
            case UpdateProperty(node_id=node_id, property_id=property_id):
                found |= {"NODE_NOT_FOUND"} if node_id not in nodes else set()
                wrong_name = property_id == "name" and not isinstance(command.wanted, str | None)
                found |= {"INVALID_VALUE"} if wrong_name or command.wanted == TOO_LARGE else set()
            case (
                LinkNode(parent_id=parent_id, child_id=node_id)
                | MoveNode(parent_id=parent_id, node_id=node_id)
            ):
                if node_id not in nodes:
                    return {"NODE_NOT_FOUND"} | self._placing(parent_id, 1)
                if isinstance(command, LinkNode) and nodes[node_id]["parent_id"] is not None:
                    found |= {"ALREADY_LINKED"}
                below = self._subtree(node_id)
                if parent_id in below:
                    return found | {"CYCLE"}
                height = max(map(self._depth, below)) - self._depth(node_id) + 1
                found |= self._placing(parent_id, height)
            case UnlinkNode(parent_id=parent_id, child_id=node_id):
                if node_id not in nodes or parent_id not in nodes:
                    return {"NODE_NOT_FOUND"}
                found |= {"NOT_LINKED"} if nodes[node_id]["parent_id"] != parent_id else set()
        return found

    def _placing(self, parent_id: str | None, height: int) -> set[str]:
        if parent_id is None:
            return set()
        if parent_id not in self.nodes:
            return {"INVALID_PARENT"}
        return {"LIMIT_EXCEEDED"} if self._depth(parent_id) + height > DEPTH else set()

    def _depth(self, node_id: str | None) -> int:
        return 0 if node_id is None else 1 + self._depth(self.nodes[node_id]["parent_id"])

    def _subtree(self, node_id: str) -> list[str]:
        return [node_id, *(each for child in self.below[node_id] for each in self._subtree(child))]

    def _change(self, command: Command) -> None:
        match command:
            case CreateNode(node_id=node_id):
                properties = {**command.properties}
                if command.name is not None:
                    properties["name"] = command.name
                properties = {k: v for k, v in properties.items() if v is not None}
                self.nodes[node_id] = {"type": command.blueprint_type_id, "properties": properties}
                self.below[node_id] = []
                self._put(node_id, command.parent_id, command.index)
            case DeleteNode(node_id=node_id):
                self._siblings(node_id).remove(node_id)
                for each in self._subtree(node_id):
                    del self.nodes[each], self.below[each]
            case UpdateProperty(node_id=node_id, property_id=property_id):
                self.nodes[node_id]["properties"].pop(property_id, None)
                if command.wanted is not None:
                    self.nodes[node_id]["properties"][property_id] = command.wanted
            case LinkNode(child_id=node_id) | UnlinkNode(child_id=node_id) | MoveNode(node_id=node_id):
                self._siblings(node_id).remove(node_id)
                goes_to = None if isinstance(command, UnlinkNode) else command.parent_id
                self._put(node_id, goes_to, getattr(command, "index", None))

    def _siblings(self, node_id: str) -> list[str]:
        return self.below[self.nodes[node_id]["parent_id"]]

    def _put(self, node_id: str, parent_id: str | None, index: int | None) -> None:
        self.nodes[node_id]["parent_id"] = parent_id
        siblings = self.below[parent_id]
        siblings.insert(len(siblings) if index is None else index, node_id)

    def nested(self, parent_id: str | None = None) -> list[Json]:
        return [
            {
                "id": each,
                "blueprint_type_id": self.nodes[each]["type"],
                "parent_id": parent_id,
                "name": self.nodes[each]["properties"].get("name", ""),
                "properties": self.nodes[each]["properties"],
                "children": self.nested(each),
            }
            for each in self.below[parent_id]
        ]


# -- what is asked --

TOO_LARGE = 2**53
indexes = st.none() | st.integers(0, 5)
jsons = st.sampled_from(["", "x", 'é"', 0, 1, True, False, -1.5, [], [None, {"a": 1}], {}, {"b": [True]}])
values = st.one_of(jsons, jsons, jsons, st.none(), st.just(TOO_LARGE))
names = st.one_of(st.none(), st.sampled_from(["", "Ann", "Bob"]), st.sampled_from(["Eve", 7]))
property_ids = st.sampled_from(["p", "p", "q", "name"])


properties = st.dictionaries(st.sampled_from(["p", "q"]), jsons | st.none(), max_size=2)
kinds = st.sampled_from(
    [*[CreateNode] * 2, *[UpdateProperty] * 3, *[LinkNode] * 2, *[MoveNode] * 4, UnlinkNode, DeleteNode]
)
numbers = st.integers(0, 99)
# Which command, two numbers that pick nodes, and what else it may hold.
wishes = st.tuples(kinds, numbers, numbers, indexes, names, property_ids, values, properties)
Wish = tuple[Any, int, int, int | None, Any, str, Any, Json]


def pick(number: int, likely: list[str]) -> str:
    """Mostly one of the likely ids, and now and then any other."""
    return likely[number % len(likely)] if likely and number < 85 else IDS[number % len(IDS)]


def meant(model: Model, wish: Wish) -> Command:
    """The command that a wish is, in the tree as it is: one that fits, more often than not."""
    kind, one, two, index, name, property_id, value, held = wish
    nodes = list(model.nodes)
    node = pick(one, nodes)
    parent = None if two < 20 else pick(two, nodes)
    if kind is CreateNode:
        return CreateNode("tu"[one % 2], parent, name, held, index, pick(one, sorted({*IDS} - {*nodes})))
    if kind is UpdateProperty:
        return UpdateProperty(node, property_id, value)
    if kind is LinkNode:
        return LinkNode(pick(two, nodes), pick(one, model.below[None]), index)
    if kind is MoveNode:
        return MoveNode(node, parent, index)
    if kind is UnlinkNode:
        child = pick(one, [each for each in nodes if model.nodes[each]["parent_id"]])
        above = model.nodes[child]["parent_id"] if child in nodes else None
        return (
            UnlinkNode(above or pick(two, nodes), child) if two < 85 else UnlinkNode(pick(two, nodes), child)
        )
    return DeleteNode(node)


class Commits(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.limits = rules.MAX_DEPTH, history.MAX_DEPTH
        rules.MAX_DEPTH = history.MAX_DEPTH = DEPTH
        self.graph = Graph()
        self.model = Model()
        self.client = Tree()
        self.journal: list[list[Fact]] = []  # of every commit
        self.done: list[list[Fact]] = []  # of the commits that are in force, oldest first
        self.undone: list[list[Fact]] = []
        self.past: list[Model] = []  # the model before each of `done`
        self.future: list[Model] = []

    @initialize(parents=st.lists(st.integers(-1, 8), min_size=9, max_size=9))
    def grow(self, parents: list[int]) -> None:
        """Begin with a small forest, so that most commands find what they name."""
        for at, parent in enumerate(parents):
            above = IDS[parent] if 0 <= parent < at else None
            self.execute(CreateNode("t", above, properties={"p": at}, node_id=IDS[at]))

    @rule(wish=wishes)
    def single(self, wish: Wish) -> None:
        self.execute(meant(self.model, wish))

    @rule(wish=wishes)
    def another(self, wish: Wish) -> None:
        """Twice, for commands are what most of a session is made of."""
        self.execute(meant(self.model, wish))

    @rule(several=st.lists(wishes, min_size=1, max_size=4))
    def batch(self, several: list[Wish]) -> None:
        self.execute(Batch(tuple(meant(self.model, wish) for wish in several)))

    def execute(self, command: Command) -> None:
        before = copy.deepcopy(self.model)
        expected = self.model.carry_out(command)
        nodes, version = self.graph.nodes.copy(), self.client.version
        refused: str | None = None
        try:
            facts = self.apply(rules.decide(self.graph, None, command))
        except TalusError as error:
            refused = error.code
        if refused is not None:
            assert refused in expected
            assert self.graph.nodes == nodes
            assert self.client.version == version
            return
        assert not expected
        self.commit(facts, type(command).__name__)
        self.past.append(before)
        self.done.append(facts)
        self.undone.clear()
        self.future.clear()

    @precondition(lambda self: self.done)
    @rule()
    def undo(self) -> None:
        facts = self.apply(history.reverse(self.graph, self.done.pop()))
        self.commit(facts, "Undo", 1)
        self.undone.append(facts)
        self.future.append(self.model)
        self.model = self.past.pop()

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        facts = self.apply(history.reverse(self.graph, self.undone.pop()))
        self.commit(facts, "Redo", 1)
        self.done.append(facts)
        self.past.append(self.model)
        self.model = self.future.pop()

    @precondition(lambda self: len(self.done) > 1)
    @rule(data=st.data())
    def take_back_an_earlier_one_and_redo_it(self, data: st.DataObject) -> None:
        """As `scope: "actor"` does: past later commits that are no conflict; a redo leads back exactly."""
        at = data.draw(st.integers(0, len(self.done) - 2))
        mine = history.touches(self.done[at])
        in_the_way = [n for n in self.done[at + 1 :] if history.conflicts(mine, history.touches(n))]
        nodes = self.graph.nodes.copy()
        if in_the_way:
            return
        blocked: set[str] = set()
        back: list[Fact] = []
        try:
            back = self.apply(history.reverse(self.graph, self.done[at]))
        except history.Blocked as refused:
            blocked = refused.nodes
        if blocked:
            # Something later made it impossible, and can be named.
            assert blocked & {each for facts in self.done[at + 1 :] for each in history.touches(facts)}
            assert self.graph.nodes == nodes
            return
        self.commit(back, "Undo", 1)
        self.agree(None)
        forth = self.apply(history.reverse(self.graph, back))
        self.commit(forth, "Redo", 1)
        assert self.graph.nodes == nodes
        self.done[at] = forth

    def apply(self, facts: Generator[Fact, None, Any]) -> list[Fact]:
        applied: list[Fact] = []
        try:
            for fact in facts:
                self.graph.apply(fact)
                applied.append(fact)
        except (TalusError, history.Blocked):
            for fact in reversed(applied):
                self.graph.apply(invert(fact))
            raise
        return applied

    def commit(self, facts: list[Fact], command_type: str, target: int | None = None) -> None:
        """Tell the client, as the wire does."""
        self.journal.append(facts)
        record = CommitRecord(
            self.client.version + 1, IDS[0], command_type, target, b"", "ann", 0, {}, "", True, False, 0
        )
        events = [msgspec.to_builtins(each) for each in wire.facts("s", record, facts, last=True)]
        assert len(events) == len(facts) + 1
        self.client.apply_commit(msgspec.json.decode(msgspec.json.encode(events)))

    @invariant()
    def all_hold_the_same_tree(self) -> None:
        self.agree(self.model.nested())

    def agree(self, expected: list[Json] | None) -> None:
        graph = self.graph
        steps = wire.roots(graph)
        shown = msgspec.json.decode(run(steps))
        assert difference(self.client.nested(), shown) == ""
        if expected is not None:
            assert difference(expected, shown) == ""
        assert_consistent(graph)
        assert state(run(rebuild(graph.nodes.copy()))) == state(graph)

    def teardown(self) -> None:
        rules.MAX_DEPTH, history.MAX_DEPTH = self.limits
        # A replay from nothing gives today's graph, and the inverses lead back to nothing.
        forwards = Graph()
        for facts in self.journal:
            for fact in facts:
                forwards.apply(fact)
        assert state(forwards) == state(self.graph)
        for facts in reversed(self.journal):
            for fact in reversed(facts):
                self.graph.apply(invert(fact))
        assert state(self.graph) == state(Graph())


def run(steps: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def state(graph: Graph) -> tuple[Any, ...]:
    children = {parent_id: (s.ids, s.keys) for parent_id, s in graph.children.items()}
    return graph.nodes, children, graph.size


def assert_consistent(graph: Graph) -> None:
    """What the look-ups say is what the nodes say; sizes are worked out from scratch."""
    size = 0
    for node in graph.nodes.values():
        own = len(msgspec.json.encode(node.properties)) if node.properties else 1
        assert node.size == own
        size += own
        assert node.key is not None
        siblings = graph.children[node.parent_id]
        assert siblings.keys[siblings.ids.index(node.id)] == node.key
        assert graph.index(node.parent_id, node.key) == siblings.ids.index(node.id)
    assert graph.size == size
    assert sum(len(siblings.ids) for siblings in graph.children.values()) == len(graph.nodes)
    for siblings in graph.children.values():
        assert siblings.ids
        assert siblings.keys == sorted(set(siblings.keys))


TestCommits = Commits.TestCase
TestCommits.settings = settings(max_examples=250, stateful_step_count=40, deadline=None, derandomize=True)


def test_a_deep_deletion_is_undone_whatever_happened_beside_it() -> None:
    """Given siblings made and moved since, then a subtree comes back to its place among the others."""
    graph = Graph()

    def carry_out(command: Command) -> list[Fact]:
        return applied(graph, rules.decide(graph, None, command))

    def applied(graph: Graph, facts: Generator[Fact, None, Any]) -> list[Fact]:
        done = []
        for fact in facts:
            graph.apply(fact)
            done.append(fact)
        return done

    a, b, c, d, e, new = IDS[:6]
    for node_id, parent_id in ((a, None), (b, a), (c, a), (d, a), (e, c)):
        carry_out(CreateNode("t", parent_id, node_id=node_id))
    gone = carry_out(DeleteNode(c))
    assert [type(fact) for fact in gone] == [NodeUnlinked, NodeDeleted] * 2
    carry_out(CreateNode("t", a, node_id=new, index=0))
    carry_out(MoveNode(d, a, 0))
    applied(graph, history.reverse(graph, gone))
    assert graph.children[a].ids == [d, new, b, c]
    assert graph.children[c].ids == [e]
