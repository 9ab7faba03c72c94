"""What stands in the way of an undo, and where it puts things back (docs/decisions/0005)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

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
from talus.core.facts import Fact, NodeCreated, NodeDeleted, NodeLinked, NodeUnlinked, PropertyChanged, invert
from talus.core.graph import Graph
from talus.core.history import Blocked, Touch, conflicts, in_the_way, reverse, touches
from talus.core.records import Later

A, B, C, D, E, F, R, NEW = (str(uuid.UUID(int=ord(name), version=4)) for name in "abcdefrn")


def carry_out(graph: Graph, command: Command) -> list[Fact]:
    return applied(graph, rules.decide(graph, None, command))


def applied(graph: Graph, facts: Any) -> list[Fact]:
    done: list[Fact] = []
    try:
        for fact in facts:
            graph.apply(fact)
            done.append(fact)
    except Blocked:
        for fact in reversed(done):
            graph.apply(invert(fact))
        raise
    return done


def shape(graph: Graph, parent_id: str | None = None) -> list[Any]:
    siblings = graph.children.get(parent_id)
    return [(each, *shape(graph, each)) for each in (siblings.ids if siblings else [])]


def state(graph: Graph) -> Any:
    return dict(graph.nodes), {k: (list(s.ids), list(s.keys)) for k, s in graph.children.items()}, graph.size


@pytest.fixture
def graph() -> Graph:
    """
    A            R
    ├─ B         (a root, alone)
    │  ├─ D
    │  └─ E
    └─ C
    """
    graph = Graph()
    for made, parent_id in ((A, None), (B, A), (C, A), (D, B), (E, B), (R, None)):
        carry_out(graph, CreateNode("t", parent_id, node_id=made, properties={"p": 0}))
    return graph


# -- what a commit touched --

PLACE, EXISTENCE, BOTH = Touch(place=True), Touch(existence=True), Touch(True, True)


@pytest.mark.parametrize(
    "command, expected",
    [
        (CreateNode("t", A, node_id=NEW, properties={"p": 1}), {NEW: BOTH}),
        (CreateNode("t", None, node_id=NEW), {NEW: EXISTENCE}),
        (DeleteNode(B), {B: BOTH, D: BOTH, E: BOTH}),
        (DeleteNode(R), {R: EXISTENCE}),
        (UpdateProperty(B, "p", 1), {B: Touch(properties=frozenset({"p"}))}),
        (UpdateProperty(B, "p", None), {B: Touch(properties=frozenset({"p"}))}),
        (LinkNode(A, R), {R: PLACE}),
        (UnlinkNode(A, B), {B: PLACE}),
        (MoveNode(B, R), {B: PLACE}),
        (MoveNode(R, None, 0), {R: PLACE}),
        (
            Batch((UpdateProperty(B, "p", 1), UpdateProperty(B, "q", 1), MoveNode(B, R), DeleteNode(C))),
            {B: Touch(False, True, frozenset({"p", "q"})), C: BOTH},
        ),
        (
            Batch((CreateNode("t", node_id=NEW), UpdateProperty(NEW, "q", 1), LinkNode(A, NEW))),
            {NEW: Touch(True, True, frozenset({"q"}))},
        ),
        (
            Batch((UpdateProperty(R, "q", 1), DeleteNode(R))),
            {R: Touch(True, False, frozenset({"q"}))},
        ),
    ],
)
def test_what_a_command_touches(graph: Graph, command: Command, expected: dict[str, Touch]) -> None:
    facts = carry_out(graph, command)
    assert touches(facts) == expected
    # Its inverse touches the same, so a commit and its undo are looked up alike.
    assert touches(applied(graph, reverse(graph, facts))) == expected


@pytest.mark.parametrize(
    "mine, later, expected",
    [
        # Property against property: the same one of the same node.
        (UpdateProperty(B, "p", 1), UpdateProperty(B, "p", 2), True),
        (UpdateProperty(B, "p", 1), UpdateProperty(B, "p", None), True),
        (UpdateProperty(B, "p", 1), UpdateProperty(B, "p", 1), True),
        (UpdateProperty(B, "p", 1), UpdateProperty(B, "q", 2), False),
        (UpdateProperty(B, "p", 1), UpdateProperty(C, "p", 2), False),
        (UpdateProperty(B, "p", 1), UpdateProperty(B, "name", "b"), False),
        # A later change of place is in the way of whatever touched the node.
        (UpdateProperty(B, "p", 1), MoveNode(B, R), True),
        (UpdateProperty(B, "p", 1), MoveNode(B, A, 1), True),
        (UpdateProperty(B, "p", 1), UnlinkNode(A, B), True),
        (UpdateProperty(R, "p", 1), LinkNode(A, R), True),
        (UpdateProperty(R, "p", 1), MoveNode(R, None, 0), True),
        (MoveNode(B, R), MoveNode(B, None), True),
        (MoveNode(B, R), UnlinkNode(R, B), True),
        (UnlinkNode(A, B), LinkNode(R, B), True),
        (LinkNode(A, R), UnlinkNode(A, R), True),
        # A later property is not in the way of a place.
        (MoveNode(B, R), UpdateProperty(B, "p", 2), False),
        (LinkNode(A, R), UpdateProperty(R, "p", 2), False),
        (UnlinkNode(A, B), UpdateProperty(B, "p", 2), False),
        # Existence.
        (UpdateProperty(B, "p", 1), DeleteNode(B), True),
        (UpdateProperty(D, "p", 1), DeleteNode(B), True),
        (MoveNode(D, R), DeleteNode(D), True),
        (MoveNode(D, R), DeleteNode(R), True),
        (UpdateProperty(R, "p", 1), DeleteNode(R), True),
        (DeleteNode(C), CreateNode("t", None, node_id=C), True),
        (DeleteNode(C), CreateNode("t", A, node_id=C), True),
        (CreateNode("t", None, node_id=NEW), DeleteNode(NEW), True),
        # Undoing a creation would lose what was written into the node since.
        (CreateNode("t", A, node_id=NEW), UpdateProperty(NEW, "q", 1), True),
        (CreateNode("t", None, node_id=NEW), UpdateProperty(NEW, "q", None), True),
        (CreateNode("t", None, node_id=NEW), MoveNode(NEW, None, 0), True),
        (CreateNode("t", A, node_id=NEW), MoveNode(NEW, R), True),
        # Siblings, parents and children are other nodes.
        (CreateNode("t", A, node_id=NEW), CreateNode("t", A, node_id=F, index=0), False),
        (MoveNode(B, A, 1), MoveNode(C, A, 0), False),
        (MoveNode(B, R), MoveNode(C, R), False),
        (MoveNode(A, None, 1), MoveNode(R, None, 0), False),
        (DeleteNode(C), DeleteNode(B), False),
        (DeleteNode(C), UpdateProperty(A, "p", 1), False),
        (UpdateProperty(A, "p", 1), DeleteNode(B), False),
        (UpdateProperty(A, "p", 1), CreateNode("t", A, node_id=NEW), False),
        (CreateNode("t", A, node_id=NEW), CreateNode("t", NEW, node_id=F), False),
        (MoveNode(B, R), DeleteNode(A), False),
        (UpdateProperty(B, "p", 1), MoveNode(A, R), False),
        # One node in common is enough.
        (
            Batch((UpdateProperty(B, "p", 1), UpdateProperty(C, "p", 1))),
            Batch((UpdateProperty(A, "p", 1), UpdateProperty(C, "p", 2))),
            True,
        ),
        (
            Batch((UpdateProperty(B, "p", 1), UpdateProperty(C, "q", 1))),
            Batch((UpdateProperty(B, "q", 1), UpdateProperty(C, "p", 2))),
            False,
        ),
    ],
)
def test_what_is_in_the_way(graph: Graph, mine: Command, later: Command, expected: bool) -> None:
    first = touches(carry_out(graph, mine))
    second = touches(carry_out(graph, later))
    assert conflicts(first, second) is expected


def test_those_in_the_way_are_named_in_their_order(graph: Graph) -> None:
    mine = carry_out(graph, UpdateProperty(B, "p", 1))
    later = [
        Later(name, carry_out(graph, command))
        for name, command in (
            ("same property", UpdateProperty(B, "p", 2)),
            ("another property", UpdateProperty(B, "q", 2)),
            ("a sibling", MoveNode(C, R)),
            ("place", MoveNode(B, R)),
        )
    ]
    assert in_the_way(mine, later) == ["same property", "place"]
    assert in_the_way(mine, []) == []


# -- what the graph refuses --


@pytest.mark.parametrize(
    "mine, later, blocked",
    [
        # A parent is gone.
        (MoveNode(D, R), [DeleteNode(B)], {B}),
        (UnlinkNode(B, D), [DeleteNode(B)], {B}),
        (DeleteNode(D), [DeleteNode(B)], {B}),
        (DeleteNode(D), [DeleteNode(A)], {B}),
        # It would stand below itself; every node on the way may be the reason.
        (MoveNode(B, R), [MoveNode(A, B)], {A, B}),
        (UnlinkNode(A, B), [MoveNode(A, D)], {A, D, B}),
        # Somebody's children are below it now.
        (CreateNode("t", A, node_id=NEW), [CreateNode("t", NEW, node_id=F)], {F}),
        (CreateNode("t", None, node_id=NEW), [MoveNode(D, NEW), MoveNode(E, NEW)], {D, E}),
        # The node itself was taken elsewhere, made again or is gone.
        (DeleteNode(C), [CreateNode("t", R, node_id=C)], {C}),
        (CreateNode("t", None, node_id=NEW), [LinkNode(A, NEW)], {NEW}),
        (CreateNode("t", None, node_id=NEW), [DeleteNode(NEW)], {NEW}),
        (MoveNode(B, R), [MoveNode(B, None)], {B}),
        (MoveNode(B, R), [DeleteNode(B)], {B}),
        (UnlinkNode(A, B), [LinkNode(R, B)], {B}),
        (UnlinkNode(A, B), [DeleteNode(B)], {B}),
        (MoveNode(R, None, 0), [LinkNode(A, R)], {R}),
        (MoveNode(R, None, 0), [DeleteNode(R)], {R}),
        (LinkNode(A, R), [UnlinkNode(A, R)], {R}),
        (UpdateProperty(C, "p", 1), [DeleteNode(C)], {C}),
        # A batch is taken back as a whole or not at all.
        (Batch((UpdateProperty(R, "p", 1), MoveNode(D, R), MoveNode(R, None, 0))), [DeleteNode(B)], {B}),
    ],
)
def test_what_the_graph_refuses(graph: Graph, mine: Command, later: list[Command], blocked: set[str]) -> None:
    facts = carry_out(graph, mine)
    for command in later:
        carry_out(graph, command)
    before = state(graph)
    with pytest.raises(Blocked) as caught:
        applied(graph, reverse(graph, facts))
    assert caught.value.nodes == blocked
    assert state(graph) == before


def test_an_undo_keeps_the_depth(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = carry_out(graph, MoveNode(B, None))
    carry_out(graph, MoveNode(A, R))
    monkeypatch.setattr(history, "MAX_DEPTH", 3)
    with pytest.raises(Blocked) as caught:
        applied(graph, reverse(graph, facts))
    assert caught.value.nodes == {A, R}
    monkeypatch.setattr(history, "MAX_DEPTH", 4)
    applied(graph, reverse(graph, facts))
    assert shape(graph) == [(R, (A, (B, (D,), (E,)), (C,)))]


def test_an_undo_keeps_the_number_of_nodes(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = carry_out(graph, DeleteNode(C))
    carry_out(graph, CreateNode("t", R, node_id=NEW))
    monkeypatch.setattr(history, "MAX_NODES", len(graph.nodes))
    with pytest.raises(Blocked):
        applied(graph, reverse(graph, facts))
    carry_out(graph, DeleteNode(NEW))
    applied(graph, reverse(graph, facts))
    assert C in graph.nodes


@pytest.mark.parametrize("command", [UpdateProperty(C, "p", None), DeleteNode(C)])
def test_an_undo_keeps_the_size_of_the_graph(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    carry_out(graph, UpdateProperty(C, "p", "x" * 100))
    size = graph.size
    facts = carry_out(graph, command)
    monkeypatch.setattr(history, "MAX_GRAPH_BYTES", size)
    carry_out(graph, UpdateProperty(B, "q", 1))
    before = state(graph)
    with pytest.raises(Blocked):
        applied(graph, reverse(graph, facts))
    assert state(graph) == before
    carry_out(graph, UpdateProperty(B, "q", None))
    applied(graph, reverse(graph, facts))
    assert graph.size == size


def test_an_undo_keeps_the_size_of_a_node(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out(graph, UpdateProperty(C, "p", "x" * 100))
    monkeypatch.setattr(history, "MAX_NODE_BYTES", graph.nodes[C].size)
    facts = carry_out(graph, UpdateProperty(C, "p", 0))
    carry_out(graph, UpdateProperty(C, "q", 1))
    with pytest.raises(Blocked) as caught:
        applied(graph, reverse(graph, facts))
    assert caught.value.nodes == {C}
    carry_out(graph, UpdateProperty(C, "q", None))
    applied(graph, reverse(graph, facts))


# -- where an undo puts things --


@pytest.mark.parametrize(
    "mine, later, children, roots",
    [
        # The key was taken meanwhile: right after the one that has it.
        (DeleteNode(C), CreateNode("t", A, node_id=NEW), [B, NEW, C], [A, R]),
        (DeleteNode(B), CreateNode("t", A, node_id=NEW, index=0), [NEW, B, C], [A, R]),
        (MoveNode(C, R), CreateNode("t", A, node_id=NEW), [B, NEW, C], [A, R]),
        (UnlinkNode(A, C), CreateNode("t", A, node_id=NEW), [B, NEW, C], [A, R]),
        (DeleteNode(R), CreateNode("t", None, node_id=NEW), [B, C], [A, NEW, R]),
        (LinkNode(B, R), CreateNode("t", None, node_id=NEW), [B, C], [A, NEW, R]),
        (MoveNode(R, None, 0), CreateNode("t", None, node_id=NEW), [B, C], [A, NEW, R]),
        # Others came and went around the place.
        (DeleteNode(C), MoveNode(B, R), [C], [A, R]),
        (DeleteNode(B), MoveNode(C, R), [B], [A, R]),
        (MoveNode(B, R), CreateNode("t", A, node_id=NEW, index=0), [NEW, B, C], [A, R]),
        (MoveNode(A, None, 1), DeleteNode(R), [B, C], [A]),
        (MoveNode(A, None, 1), CreateNode("t", None, node_id=NEW, index=1), [B, C], [A, R, NEW]),
    ],
)
def test_a_node_comes_back_to_its_place_or_right_after_who_took_it(
    graph: Graph, mine: Command, later: Command, children: list[str], roots: list[str]
) -> None:
    facts = carry_out(graph, mine)
    carry_out(graph, later)
    before = state(graph)
    back = applied(graph, reverse(graph, facts))
    assert graph.children[A].ids == children
    assert graph.children[None].ids == roots
    for siblings in graph.children.values():
        assert siblings.keys == sorted(set(siblings.keys))
    applied(graph, reverse(graph, back))
    assert state(graph) == before


def test_two_that_lost_one_key_both_come_back(graph: Graph) -> None:
    """Given the same last place given out three times, then each returns right after it."""
    first = carry_out(graph, DeleteNode(C))
    carry_out(graph, CreateNode("t", A, node_id=NEW))
    second = carry_out(graph, MoveNode(NEW, R))
    carry_out(graph, CreateNode("t", A, node_id=F))
    applied(graph, reverse(graph, second))
    assert graph.children[A].ids == [B, F, NEW]
    applied(graph, reverse(graph, first))
    assert graph.children[A].ids == [B, F, C, NEW]


@pytest.mark.parametrize(
    "command, expected",
    [
        (
            CreateNode("t", A, node_id=NEW, index=0),
            [NodeUnlinked(A, NEW, "Zz"), NodeDeleted(NEW, "t", A, {})],
        ),
        (CreateNode("t", None, node_id=NEW), [NodeDeleted(NEW, "t", None, {}, "a2")]),
        (DeleteNode(C), [NodeCreated(C, "t", A, {"p": 0}), NodeLinked(A, C, "a1", 1)]),
        (DeleteNode(R), [NodeCreated(R, "t", None, {"p": 0}, "a1", 1)]),
        (UpdateProperty(B, "q", 1), [PropertyChanged(B, "q", 1, None)]),
        (UpdateProperty(B, "p", None), [PropertyChanged(B, "p", None, 0)]),
        (LinkNode(A, R, 0), [NodeUnlinked(A, R, "Zz", "a1", 1)]),
        (UnlinkNode(A, B), [NodeLinked(A, B, "a0", 0, "a2")]),
        (MoveNode(C, A, 0), [NodeUnlinked(A, C, "Zz"), NodeLinked(A, C, "a1", 1)]),
        (MoveNode(B, R), [NodeUnlinked(R, B, "a0"), NodeLinked(A, B, "a0", 0)]),
        (MoveNode(A, None), [NodeLinked(None, A, "a0", 0, "a2")]),
        # To the place where it was already: the key is its own, and nobody took it.
        (MoveNode(A, None, 0), [NodeLinked(None, A, "a0", 0, "a0")]),
        (MoveNode(R, None, 0), [NodeLinked(None, R, "a1", 1, "Zz")]),
    ],
)
def test_the_facts_of_an_undo(graph: Graph, command: Command, expected: list[Fact]) -> None:
    """They are facts of today: with every index worked out anew."""
    assert applied(graph, reverse(graph, carry_out(graph, command))) == expected


def test_an_undo_states_the_values_of_today(graph: Graph) -> None:
    """`old_value` is what the server knows now, were it something else that was written since."""
    facts = carry_out(graph, UpdateProperty(B, "p", 1))
    carry_out(graph, UpdateProperty(B, "p", 2))
    assert applied(graph, reverse(graph, facts)) == [PropertyChanged(B, "p", 2, 0)]


def test_taking_a_node_back_records_what_it_holds_today(graph: Graph) -> None:
    """So that a redo of the creation gives back what others wrote into it, should that ever be allowed."""
    facts = carry_out(graph, CreateNode("t", None, node_id=NEW, properties={"p": 1}))
    carry_out(graph, UpdateProperty(NEW, "q", 2))
    back = applied(graph, reverse(graph, facts))
    assert back == [NodeDeleted(NEW, "t", None, {"p": 1, "q": 2}, "a2")]


@pytest.mark.parametrize(
    "fact, back",
    [
        (NodeCreated(A, "t", B, {"p": 1}), NodeDeleted(A, "t", B, {"p": 1})),
        (NodeCreated(A, "t", None, {}, "a0", 3), NodeDeleted(A, "t", None, {}, "a0")),
        (NodeDeleted(A, "t", B, {"p": 1}), NodeCreated(A, "t", B, {"p": 1})),
        (NodeDeleted(A, "t", None, {}, "a0"), NodeCreated(A, "t", None, {}, "a0")),
        (NodeLinked(B, A, "a0", 3), NodeUnlinked(B, A, "a0")),
        (NodeLinked(B, A, "a0", 3, "a7"), NodeUnlinked(B, A, "a0", "a7")),
        (NodeLinked(None, A, "a0", 3, "a7"), NodeLinked(None, A, "a7", 0, "a0")),
        (NodeUnlinked(B, A, "a0"), NodeLinked(B, A, "a0", 0)),
        (NodeUnlinked(B, A, "a0", "a7", 3), NodeLinked(B, A, "a0", 0, "a7")),
        (PropertyChanged(A, "p", None, 1), PropertyChanged(A, "p", 1, None)),
    ],
)
def test_the_inverse_of_a_fact(fact: Fact, back: Fact) -> None:
    """It keeps what its own inverse needs; the index is worked out where it is applied."""
    assert invert(fact) == back
    again = invert(back)
    assert invert(again) == back
