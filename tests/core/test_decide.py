"""From a command to its facts or its refusal: every row of the contract's tables."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from talus.core import decide as rules
from talus.core import values
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
from talus.core.decide import decide
from talus.core.errors import InvalidBlueprint, InvalidProperty, InvalidValue, TalusError
from talus.core.facts import Fact, NodeCreated, NodeDeleted, NodeLinked, NodeUnlinked, PropertyChanged, invert
from talus.core.graph import Graph
from talus.core.template import Template
from talus.core.template import parse as parse_template

Json = dict[str, Any]


def node_id(name: str) -> str:
    """A UUID that a reader of a failure recognises: it ends in the bytes of the name."""
    return str(uuid.UUID(int=(0xFACE << 112) + int.from_bytes(name.encode()), version=4))


A, B, C, D, E, F, R, NEW, GONE = map(node_id, ("a", "b", "c", "d", "e", "f", "r", "new", "gone"))


def carry_out(graph: Graph, command: Command, template: Template | None = None) -> tuple[list[Fact], Json]:
    """Decide and apply; on a refusal take back what was applied, as the writer does."""
    applied: list[Fact] = []
    facts = decide(graph, template, command)
    try:
        while True:
            fact = next(facts)
            graph.apply(fact)
            applied.append(fact)
    except StopIteration as stop:
        return applied, stop.value
    except TalusError:
        for fact in reversed(applied):
            graph.apply(invert(fact))
        raise


def state(graph: Graph) -> tuple[Any, Any, int]:
    children = {parent_id: (list(s.ids), list(s.keys)) for parent_id, s in graph.children.items()}
    return dict(graph.nodes), children, graph.size


def refusal(graph: Graph, command: Command, template: Template | None = None) -> TalusError:
    """The refusal; the graph is as it was, to the last key and byte."""
    before = state(graph)
    with pytest.raises(TalusError) as caught:
        carry_out(graph, command, template)
    assert state(graph) == before
    return caught.value


def shape(graph: Graph, parent_id: str | None = None) -> list[Any]:
    """The ids below a node, nested."""
    siblings = graph.children.get(parent_id)
    return [(each, *shape(graph, each)) for each in (siblings.ids if siblings else [])]


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
        carry_out(graph, CreateNode("t", parent_id, node_id=made, properties={"p": made}))
    assert shape(graph) == [(A, (B, (D,), (E,)), (C,)), (R,)]
    return graph


def key(graph: Graph, of: str) -> str:
    found = graph.nodes[of].key
    assert found is not None
    return found


# -- the facts, row by row --


@pytest.mark.parametrize(
    "wish, index",
    [(None, 2), (0, 0), (1, 1), (2, 2), (3, 2), (10**9, 2)],
)
def test_a_node_appears_under_a_parent(graph: Graph, wish: int | None, index: int) -> None:
    facts, result = carry_out(graph, CreateNode("t", A, "new", {"q": 1}, wish, NEW))
    siblings = [B, C]
    siblings.insert(index, NEW)
    assert facts == [
        NodeCreated(NEW, "t", A, {"q": 1, "name": "new"}, None, None),
        NodeLinked(A, NEW, key(graph, NEW), index, None),
    ]
    assert result == {"node_id": NEW}
    assert graph.children[A].ids == siblings
    assert graph.nodes[NEW].parent_id == A


@pytest.mark.parametrize("wish, index", [(None, 2), (0, 0), (1, 1), (2, 2), (99, 2)])
def test_a_root_appears(graph: Graph, wish: int | None, index: int) -> None:
    facts, result = carry_out(graph, CreateNode("t", None, None, {}, wish, NEW))
    roots = [A, R]
    roots.insert(index, NEW)
    assert facts == [NodeCreated(NEW, "t", None, {}, key(graph, NEW), index)]
    assert result == {"node_id": NEW}
    assert graph.children[None].ids == roots


@pytest.mark.parametrize(
    "top, order, parents",
    [
        (A, [E, D, C, B, A], {E: B, D: B, C: A, B: A, A: None}),
        (B, [E, D, B], {E: B, D: B, B: A}),
        (C, [C], {C: A}),
        (R, [R], {R: None}),
    ],
)
def test_a_subtree_goes_deepest_first(
    graph: Graph, top: str, order: list[str], parents: dict[str, str | None]
) -> None:
    keys = {each: key(graph, each) for each in order}
    expected: list[Fact] = []
    for each in order:
        parent_id = parents[each]
        if parent_id is None:
            expected.append(NodeDeleted(each, "t", None, {"p": each}, keys[each]))
        else:
            expected.append(NodeUnlinked(parent_id, each, keys[each], None, None))
            expected.append(NodeDeleted(each, "t", parent_id, {"p": each}, None))
    facts, result = carry_out(graph, DeleteNode(top))
    assert facts == expected
    assert result == {}
    assert not set(order) & set(graph.nodes)


def test_a_deletion_takes_whole_levels_deepest_first(graph: Graph) -> None:
    """Given a deep branch beside a flat one, then no node goes before all that are deeper."""
    carry_out(graph, CreateNode("t", D, node_id=F))
    facts, _ = carry_out(graph, DeleteNode(A))
    gone = [fact.node_id for fact in facts if isinstance(fact, NodeDeleted)]
    assert gone == [F, E, D, C, B, A]
    assert shape(graph) == [(R,)]


@pytest.mark.parametrize(
    "update, old, new",
    [
        (UpdateProperty(B, "p", 5), B, 5),
        (UpdateProperty(B, "p", B), B, B),  # a change to what was there commits like any other
        (UpdateProperty(B, "p", None), B, None),
        (UpdateProperty(B, "q", None), None, None),
        (UpdateProperty(B, "q", [{"deep": None}]), None, [{"deep": None}]),
        (UpdateProperty(B, "q", False), None, False),
        (UpdateProperty(B, "name", "Bea"), None, "Bea"),
        (UpdateProperty(B, "p", new_value=7), B, 7),
    ],
)
def test_a_property_changes(graph: Graph, update: UpdateProperty, old: Any, new: Any) -> None:
    facts, result = carry_out(graph, update)
    assert facts == [PropertyChanged(B, update.property_id, old, new)]
    assert result == {}
    expected = {"p": B} | {update.property_id: new}
    assert graph.nodes[B].properties == {k: v for k, v in expected.items() if v is not None}


def test_a_null_among_the_properties_of_a_new_node_is_unset(graph: Graph) -> None:
    facts, _ = carry_out(graph, CreateNode("t", None, None, {"p": None, "q": [None]}, None, NEW))
    assert isinstance(facts[0], NodeCreated)
    assert facts[0].properties == {"q": [None]}


@pytest.mark.parametrize(
    "name, properties, expected",
    [
        ("said", {"name": "listed"}, "said"),
        ("", {"name": "listed"}, ""),
        (None, {"name": "listed"}, "listed"),
        ("said", {}, "said"),
    ],
)
def test_name_wins_over_the_property_name(graph: Graph, name: Any, properties: Json, expected: str) -> None:
    carry_out(graph, CreateNode("t", None, name, properties, None, NEW))
    assert graph.nodes[NEW].properties["name"] == graph.nodes[NEW].name == expected


@pytest.mark.parametrize("wish, index", [(None, 1), (0, 0), (1, 1), (7, 1)])
def test_a_node_moves_between_parents(graph: Graph, wish: int | None, index: int) -> None:
    carry_out(graph, CreateNode("t", R, node_id=F))
    was = key(graph, B)
    facts, result = carry_out(graph, MoveNode(B, R, wish))
    assert facts == [NodeUnlinked(A, B, was, None, None), NodeLinked(R, B, key(graph, B), index, None)]
    assert result == {}
    assert graph.children[R].ids == ([B, F] if index == 0 else [F, B])
    assert graph.children[A].ids == [C]
    assert graph.children[B].ids == [D, E]


@pytest.mark.parametrize(
    "moved, wish, index, order",
    [
        # The index is the place once the node has been taken out of its old one.
        (B, 0, 0, [B, C, F]),
        (B, 1, 1, [C, B, F]),
        (B, 2, 2, [C, F, B]),
        (B, None, 2, [C, F, B]),
        (B, 3, 2, [C, F, B]),
        (C, 0, 0, [C, B, F]),
        (C, 1, 1, [B, C, F]),
        (C, 2, 2, [B, F, C]),
        (F, 0, 0, [F, B, C]),
        (F, None, 2, [B, C, F]),
    ],
)
def test_a_node_moves_within_its_parent(
    graph: Graph, moved: str, wish: int | None, index: int, order: list[str]
) -> None:
    carry_out(graph, CreateNode("t", A, node_id=F))
    was = key(graph, moved)
    facts, _ = carry_out(graph, MoveNode(moved, A, wish))
    assert facts == [
        NodeUnlinked(A, moved, was, None, None),
        NodeLinked(A, moved, key(graph, moved), index, None),
    ]
    assert graph.children[A].ids == order


@pytest.mark.parametrize(
    "command, index",
    [
        (UnlinkNode(A, B), 2),
        (MoveNode(B, None), 2),
        (MoveNode(B, None, 0), 0),
        (MoveNode(B, None, 1), 1),
        (MoveNode(B, None, 50), 2),
    ],
)
def test_a_child_becomes_a_root(graph: Graph, command: Command, index: int) -> None:
    was = key(graph, B)
    facts, result = carry_out(graph, command)
    assert facts == [NodeUnlinked(A, B, was, key(graph, B), index)]
    assert result == {}
    roots = [A, R]
    roots.insert(index, B)
    assert graph.children[None].ids == roots
    assert graph.nodes[B].parent_id is None
    assert graph.children[B].ids == [D, E]


@pytest.mark.parametrize(
    "command, index",
    [
        (LinkNode(A, R), 2),
        (LinkNode(A, R, 0), 0),
        (LinkNode(A, R, 9), 2),
        (MoveNode(R, A), 2),
        (MoveNode(R, A, 1), 1),
    ],
)
def test_a_root_becomes_a_child(graph: Graph, command: Command, index: int) -> None:
    was = key(graph, R)
    facts, result = carry_out(graph, command)
    assert facts == [NodeLinked(A, R, key(graph, R), index, was)]
    assert result == {}
    siblings = [B, C]
    siblings.insert(index, R)
    assert graph.children[A].ids == siblings
    assert graph.children[None].ids == [A]


@pytest.mark.parametrize(
    "moved, wish, index, order",
    [
        (A, 0, 0, [A, R, F]),
        (A, 1, 1, [R, A, F]),
        (A, 2, 2, [R, F, A]),
        (A, None, 2, [R, F, A]),
        (A, 3, 2, [R, F, A]),
        (R, 0, 0, [R, A, F]),
        (R, 1, 1, [A, R, F]),
        (F, 0, 0, [F, A, R]),
        (F, None, 2, [A, R, F]),
    ],
)
def test_a_root_changes_place_among_the_roots(
    graph: Graph, moved: str, wish: int | None, index: int, order: list[str]
) -> None:
    carry_out(graph, CreateNode("t", None, node_id=F))
    was = key(graph, moved)
    facts, _ = carry_out(graph, MoveNode(moved, None, wish))
    assert facts == [NodeLinked(None, moved, key(graph, moved), index, was)]
    assert graph.children[None].ids == order


def test_the_only_root_may_change_places_with_nobody() -> None:
    graph = Graph()
    carry_out(graph, CreateNode("t", node_id=A))
    facts, _ = carry_out(graph, MoveNode(A, None, 5))
    assert facts == [NodeLinked(None, A, key(graph, A), 0, key(graph, A))]
    assert shape(graph) == [(A,)]


def test_a_batch_is_decided_on_what_its_earlier_commands_did(graph: Graph) -> None:
    command = Batch(
        (
            CreateNode("t", None, node_id=NEW),
            CreateNode("t", NEW, node_id=F),
            MoveNode(B, F),
            UpdateProperty(F, "p", 1),
            UpdateProperty(F, "p", 2),
            DeleteNode(B),
            UnlinkNode(NEW, F),
        )
    )
    facts, result = carry_out(graph, command)
    made = {"results": [{"node_id": NEW}, {"node_id": F}, {}, {}, {}, {}, {}]}
    assert result == made
    assert [type(fact).__name__ for fact in facts] == [
        *("NodeCreated", "NodeCreated", "NodeLinked", "NodeUnlinked", "NodeLinked", "PropertyChanged"),
        *("PropertyChanged", *["NodeUnlinked", "NodeDeleted"] * 3, "NodeUnlinked"),
    ]
    assert facts[6] == PropertyChanged(F, "p", 1, 2)
    assert shape(graph) == [(A, (C,)), (R,), (NEW,), (F,)]


# -- refusals --

REFUSED: list[tuple[Command, str]] = [
    (CreateNode("t", GONE, node_id=NEW), "INVALID_PARENT"),
    (CreateNode("t", "no uuid", node_id=NEW), "INVALID_PARENT"),
    (CreateNode("t", "", node_id=NEW), "INVALID_PARENT"),
    (CreateNode("t", A.upper(), node_id=NEW), "INVALID_PARENT"),
    (CreateNode("t", A, node_id=B), "NODE_EXISTS"),
    (CreateNode("t", None, node_id=D), "NODE_EXISTS"),
    (CreateNode("", None, node_id=NEW), "INVALID_BLUEPRINT"),
    (CreateNode("t" * 129, None, node_id=NEW), "INVALID_BLUEPRINT"),
    (CreateNode("a\nb", None, node_id=NEW), "INVALID_BLUEPRINT"),
    (CreateNode("constructor", None, node_id=NEW), "INVALID_BLUEPRINT"),
    (CreateNode("t", None, None, {"": 1}, None, NEW), "INVALID_PROPERTY"),
    (CreateNode("t", None, None, {"__proto__": 1}, None, NEW), "INVALID_PROPERTY"),
    (CreateNode("t", None, 5, {}, None, NEW), "INVALID_VALUE"),
    (CreateNode("t", None, False, {}, None, NEW), "INVALID_VALUE"),
    (CreateNode("t", None, [], {}, None, NEW), "INVALID_VALUE"),
    (CreateNode("t", None, "\0", {}, None, NEW), "INVALID_VALUE"),
    (CreateNode("t", None, None, {"name": 5}, None, NEW), "INVALID_VALUE"),
    (CreateNode("t", A, None, {"p": 2**53}, None, NEW), "INVALID_VALUE"),
    (CreateNode("t", A, None, {"p": float("inf")}, None, NEW), "INVALID_VALUE"),
    (DeleteNode(GONE), "NODE_NOT_FOUND"),
    (DeleteNode("no uuid"), "NODE_NOT_FOUND"),
    (DeleteNode(A.upper()), "NODE_NOT_FOUND"),
    (UpdateProperty(GONE, "p", 1), "NODE_NOT_FOUND"),
    (UpdateProperty(B, "", 1), "INVALID_PROPERTY"),
    (UpdateProperty(B, "p" * 129, 1), "INVALID_PROPERTY"),
    (UpdateProperty(B, "prototype", None), "INVALID_PROPERTY"),
    (UpdateProperty(B, "name", 1), "INVALID_VALUE"),
    (UpdateProperty(B, "name", {}), "INVALID_VALUE"),
    (UpdateProperty(B, "p", "\ud800"), "INVALID_VALUE"),
    (UpdateProperty(B, "p", new_value=-(2**53)), "INVALID_VALUE"),
    (LinkNode(GONE, R), "INVALID_PARENT"),
    (LinkNode(GONE, GONE), "INVALID_PARENT"),
    (LinkNode(A, GONE), "NODE_NOT_FOUND"),
    (LinkNode(A, B), "ALREADY_LINKED"),
    (LinkNode(R, B), "ALREADY_LINKED"),
    (LinkNode(D, B), "ALREADY_LINKED"),
    (LinkNode(A, A), "CYCLE"),
    (LinkNode(B, A), "CYCLE"),
    (LinkNode(D, A), "CYCLE"),
    (UnlinkNode(GONE, B), "NODE_NOT_FOUND"),
    (UnlinkNode(A, GONE), "NODE_NOT_FOUND"),
    (UnlinkNode(R, B), "NOT_LINKED"),
    (UnlinkNode(A, D), "NOT_LINKED"),
    (UnlinkNode(A, R), "NOT_LINKED"),
    (UnlinkNode(A, A), "NOT_LINKED"),
    (MoveNode(GONE, A), "NODE_NOT_FOUND"),
    (MoveNode(GONE, None), "NODE_NOT_FOUND"),
    (MoveNode(B, GONE), "INVALID_PARENT"),
    (MoveNode(B, B), "CYCLE"),
    (MoveNode(B, D), "CYCLE"),
    (MoveNode(A, E), "CYCLE"),
]


@pytest.mark.parametrize("command, code", REFUSED)
def test_a_refusal_changes_nothing(graph: Graph, command: Command, code: str) -> None:
    error = refusal(graph, command)
    assert error.code == code
    assert error.details is None


def test_the_words_of_a_missing_parent(graph: Graph) -> None:
    """The author's protocol says them, so clients may show them."""
    assert refusal(graph, CreateNode("t", GONE, node_id=NEW)).message == "Parent node not found"


@pytest.mark.parametrize("command, code", REFUSED)
def test_a_batch_is_all_or_nothing_and_names_the_first_refusal(
    graph: Graph, command: Command, code: str
) -> None:
    """Given a batch that has changed the graph already, when one is refused, then all of it is taken back."""
    before: tuple[Command, ...] = (
        CreateNode("t", C, "first", {"x": [1]}, 0, F),
        MoveNode(F, R, 0),
        UpdateProperty(A, "p", None),
        MoveNode(R, None, 0),
    )
    error = refusal(graph, Batch((*before, command, DeleteNode(GONE))))
    assert (error.code, error.details) == (code, {"index": len(before)})


def test_a_batch_takes_back_what_it_deleted(graph: Graph) -> None:
    error = refusal(graph, Batch((DeleteNode(D), DeleteNode(A), UnlinkNode(A, B))))
    assert (error.code, error.details) == ("NODE_NOT_FOUND", {"index": 2})


# -- limits --


def sized(total: int, prefix: str = "q") -> Json:
    """Properties whose compact JSON is exactly `total` bytes, each value of a size that is allowed."""
    properties: Json = {}
    number = 0
    rest = total - 1  # the brackets are two; the first member has no comma
    while rest > 200_000:
        # Each member is the quoted id (4), the colon and the comma (2) and the quoted text (2 + n).
        properties[f"{prefix}{number}"] = "x" * 100_000
        number, rest = number + 1, rest - 100_008
    properties[f"{prefix}{number}"] = "x" * (rest - 8)
    return properties


def test_a_node_takes_400_000_bytes(graph: Graph) -> None:
    assert rules.MAX_NODE_BYTES == 400_000
    create = CreateNode("t", None, None, sized(400_000), None, NEW)
    assert refusal(graph, CreateNode("t", None, None, sized(400_001), None, NEW)).code == "LIMIT_EXCEEDED"
    carry_out(graph, create)
    assert graph.nodes[NEW].size == 400_000
    assert refusal(graph, UpdateProperty(NEW, "q0", "x" * 100_001)).code == "LIMIT_EXCEEDED"
    assert refusal(graph, UpdateProperty(NEW, "more", 1)).code == "LIMIT_EXCEEDED"
    carry_out(graph, UpdateProperty(NEW, "q0", "y" * 100_000))  # it stays as large as it was
    carry_out(graph, UpdateProperty(NEW, "q0", "y"))
    carry_out(graph, UpdateProperty(NEW, "q0", "é" * 50_000))  # bytes count, not characters
    assert graph.nodes[NEW].size == 400_000


def test_a_graph_takes_so_many_nodes(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rules.MAX_NODES == 100_000
    monkeypatch.setattr(rules, "MAX_NODES", 7)
    carry_out(graph, CreateNode("t", R, node_id=NEW))
    assert refusal(graph, CreateNode("t", R, node_id=F)).code == "LIMIT_EXCEEDED"
    assert refusal(graph, CreateNode("t", None, node_id=F)).code == "LIMIT_EXCEEDED"
    carry_out(graph, UpdateProperty(NEW, "p", 1))
    carry_out(graph, Batch((DeleteNode(NEW), CreateNode("t", None, node_id=F))))
    assert len(graph.nodes) == 7


def test_a_graph_takes_so_many_bytes(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rules.MAX_GRAPH_BYTES == 256 * 1024 * 1024
    monkeypatch.setattr(rules, "MAX_GRAPH_BYTES", graph.size + 100)
    assert refusal(graph, CreateNode("t", R, None, sized(101), None, NEW)).code == "LIMIT_EXCEEDED"
    carry_out(graph, CreateNode("t", R, None, sized(100), None, NEW))
    assert graph.size == rules.MAX_GRAPH_BYTES
    assert refusal(graph, UpdateProperty(R, "p", R + "x")).code == "LIMIT_EXCEEDED"
    carry_out(graph, UpdateProperty(R, "p", R[:-1]))
    assert graph.size == rules.MAX_GRAPH_BYTES - 1
    carry_out(graph, DeleteNode(NEW))
    carry_out(graph, CreateNode("t", R, None, sized(101), None, NEW))


def test_the_size_of_a_graph_is_that_of_its_nodes_as_json(graph: Graph) -> None:
    for command in (
        CreateNode("t", R, "n", {"ä": "é", "d": {"x": [1, 2.5, None, True]}}, None, NEW),
        UpdateProperty(NEW, "ä", None),
        UpdateProperty(NEW, "d", "\n"),
        UpdateProperty(NEW, "name", None),
        UpdateProperty(NEW, "d", None),
        UpdateProperty(NEW, "d", 0),
    ):
        carry_out(graph, command)
        bare = [values._encode(node.properties) for node in graph.nodes.values()]
        # An empty node counts 1, so that sizes add up.
        assert graph.size == sum(max(1, len(each)) if each != b"{}" else 1 for each in bare)


def chain(graph: Graph, name: str, depth: int, top: str | None = None) -> list[str]:
    made = [node_id(f"{name}{number}") for number in range(depth)]
    for each in made:
        carry_out(graph, CreateNode("t", top, node_id=each))
        top = each
    return made


def test_a_graph_is_256_deep() -> None:
    graph = Graph()
    deep = chain(graph, "n", 256)
    assert refusal(graph, CreateNode("t", deep[-1], node_id=NEW)).code == "LIMIT_EXCEEDED"
    carry_out(graph, CreateNode("t", deep[-2], node_id=NEW))


@pytest.mark.parametrize("by", ["link", "move a root", "move a child"])
def test_a_subtree_counts_with_its_height(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    assert rules.MAX_DEPTH == 256
    monkeypatch.setattr(rules, "MAX_DEPTH", 6)
    graph = Graph()
    trunk = chain(graph, "t", 4)
    branch = chain(graph, "b", 4)[1:] if by == "move a child" else chain(graph, "b", 3)

    def put(under: str) -> Command:
        return LinkNode(under, branch[0]) if by == "link" else MoveNode(branch[0], under)

    assert refusal(graph, put(trunk[3])).code == "LIMIT_EXCEEDED"
    carry_out(graph, put(trunk[2]))
    assert [*graph.path(branch[-1])] == [*reversed(branch), *reversed(trunk[:3])]


# -- with a template --

TODO, DONE = node_id("todo"), node_id("done")
TEMPLATE = parse_template(
    {
        "template_id": "car",
        "name": "Car",
        "description": "",
        "node_types": [
            {"id": "car", "name": "Car", "allowed_children": ["part", "task"]},
            {"id": "part", "name": "Part", "allowed_children": ["task"]},
            {
                "id": "task",
                "name": "Task",
                "properties": [
                    {"id": "hours", "name": "Hours", "type": "number", "required": True},
                    {
                        "id": "state",
                        "name": "State",
                        "type": "select",
                        "options": [{"uuid": TODO, "name": "To do"}, {"uuid": DONE, "name": "Done"}],
                    },
                ],
            },
        ],
    }
)
CAR, PART, TASK, LONE = map(node_id, ("car", "part", "task", "lone"))


@pytest.fixture
def workshop() -> Graph:
    graph = Graph()
    for command in (
        CreateNode("car", node_id=CAR),
        CreateNode("part", CAR, node_id=PART),
        CreateNode("task", PART, node_id=TASK),
        CreateNode("task", node_id=LONE),  # any type may stand among the roots
    ):
        carry_out(graph, command, TEMPLATE)
    return graph


@pytest.mark.parametrize(
    "command, code",
    [
        (CreateNode("boat", None, node_id=NEW), "INVALID_BLUEPRINT"),
        (CreateNode("boat", CAR, node_id=NEW), "INVALID_BLUEPRINT"),
        (CreateNode("car", CAR, node_id=NEW), "CHILD_NOT_ALLOWED"),
        (CreateNode("task", TASK, node_id=NEW), "CHILD_NOT_ALLOWED"),
        (CreateNode("task", PART, None, {"colour": "red"}, None, NEW), "INVALID_PROPERTY"),
        (CreateNode("part", CAR, None, {"hours": 1}, None, NEW), "INVALID_PROPERTY"),
        (CreateNode("task", PART, None, {"hours": "1"}, None, NEW), "INVALID_VALUE"),
        (CreateNode("task", PART, None, {"hours": True}, None, NEW), "INVALID_VALUE"),
        (CreateNode("task", PART, None, {"hours": 2**53}, None, NEW), "INVALID_VALUE"),
        (CreateNode("task", PART, None, {"state": "To do"}, None, NEW), "INVALID_VALUE"),
        (CreateNode("task", PART, None, {"state": A}, None, NEW), "INVALID_VALUE"),
        (CreateNode("task", PART, 5, {}, None, NEW), "INVALID_VALUE"),
        (UpdateProperty(TASK, "colour", "red"), "INVALID_PROPERTY"),
        (UpdateProperty(TASK, "colour", None), "INVALID_PROPERTY"),
        (UpdateProperty(PART, "state", TODO), "INVALID_PROPERTY"),
        (UpdateProperty(TASK, "hours", "1"), "INVALID_VALUE"),
        (UpdateProperty(TASK, "hours", float("inf")), "INVALID_VALUE"),
        (UpdateProperty(TASK, "state", "To do"), "INVALID_VALUE"),
        (UpdateProperty(TASK, "name", 1), "INVALID_VALUE"),
        (UpdateProperty(PART, "name", "\0"), "INVALID_VALUE"),
        (LinkNode(TASK, LONE), "CHILD_NOT_ALLOWED"),
        (MoveNode(PART, LONE), "CHILD_NOT_ALLOWED"),
        (MoveNode(LONE, TASK), "CHILD_NOT_ALLOWED"),
        (MoveNode(CAR, PART), "CYCLE"),
        (Batch((CreateNode("part", node_id=NEW), LinkNode(LONE, NEW))), "CHILD_NOT_ALLOWED"),
    ],
)
def test_what_a_template_refuses(workshop: Graph, command: Command, code: str) -> None:
    assert refusal(workshop, command, TEMPLATE).code == code


@pytest.mark.parametrize(
    "command",
    [
        CreateNode("task", CAR, "paint", {"hours": 1.5, "state": DONE}, None, NEW),
        CreateNode("part", CAR, "hood", {}, None, NEW),  # every type has a name
        CreateNode("car", None, node_id=NEW),
        UpdateProperty(TASK, "hours", 2),
        UpdateProperty(TASK, "hours", None),
        UpdateProperty(TASK, "state", None),
        UpdateProperty(TASK, "name", "weld"),
        LinkNode(PART, LONE),
        MoveNode(TASK, CAR),
        MoveNode(TASK, PART),
        MoveNode(PART, None),
        UnlinkNode(CAR, PART),
        DeleteNode(CAR),
    ],
)
def test_what_a_template_allows(workshop: Graph, command: Command) -> None:
    carry_out(workshop, command, TEMPLATE)


@pytest.mark.parametrize(
    "properties, expected",
    [
        ({}, {"state": TODO}),
        ({"hours": 1}, {"hours": 1, "state": TODO}),
        ({"state": DONE}, {"state": DONE}),
        ({"state": None}, {}),  # somebody chose that it is unset
    ],
)
def test_a_select_that_is_not_given_takes_its_first_option(
    workshop: Graph, properties: Json, expected: Json
) -> None:
    facts, _ = carry_out(workshop, CreateNode("task", PART, None, properties, None, NEW), TEMPLATE)
    assert isinstance(facts[0], NodeCreated)
    assert facts[0].properties == expected


def test_a_node_whose_type_the_template_has_lost_may_be_mended(workshop: Graph) -> None:
    """Given a template edited since, then its nodes stay, change and go; nothing new comes below them."""
    carry_out(workshop, CreateNode("boat", node_id=NEW))  # as it was made when the template had boats
    carry_out(workshop, UpdateProperty(NEW, "sails", 2), TEMPLATE)
    assert refusal(workshop, CreateNode("task", NEW, node_id=F), TEMPLATE).code == "CHILD_NOT_ALLOWED"
    assert refusal(workshop, LinkNode(NEW, LONE), TEMPLATE).code == "CHILD_NOT_ALLOWED"
    assert refusal(workshop, LinkNode(CAR, NEW), TEMPLATE).code == "CHILD_NOT_ALLOWED"
    carry_out(workshop, MoveNode(NEW, None, 0), TEMPLATE)
    carry_out(workshop, DeleteNode(NEW), TEMPLATE)


# -- values --


def nested(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = {"d": value} if level % 2 else [value]
    return value


LARGEST = 256 * 1024


@pytest.mark.parametrize(
    "value, size",
    [
        (None, 4),
        (True, 4),
        (0, 1),
        (2**53 - 1, 16),
        (-(2**53) + 1, 17),
        (1.5, 3),
        (1e308, 5),
        (-0.0, 4),
        ("", 2),
        ("é", 4),
        ("😀", 6),
        ("\u2028", 5),
        ("\x01", 8),
        ("\x7f", 3),
        ([], 2),
        ({}, 2),
        ({"a": [1, None]}, 14),
        (nested(32), 16 * 2 + 16 * 6 + 1),
        ("x" * (LARGEST - 2), LARGEST),
        ("é" * ((LARGEST - 2) // 2), LARGEST),
    ],
)
def test_values_that_every_client_reads_alike(value: Any, size: int) -> None:
    assert values.check(value) == size


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        2**64,
        10**400,
        float("inf"),
        float("-inf"),
        float("nan"),
        "\ud800",
        "\udfffz",
        "a\ud83dz",
        "\0",
        "a\0b",
        "é\0",
        {"\0": 1},
        {"\ud800": 1},
        ["\0"],
        [{"a": [2**53]}],
        {"a": {"b": float("inf")}},
        nested(33),
        [nested(32)],
        nested(90),
        "x" * (LARGEST - 1),
        "é" * (LARGEST // 2),
        ["x" * (LARGEST - 3)],
        [0] * (LARGEST // 2),
    ],
)
def test_values_that_some_client_would_read_otherwise(value: Any) -> None:
    with pytest.raises(InvalidValue):
        values.check(value)


@pytest.mark.parametrize("text", ["x", "x" * 128, "été", "a b", "toString", "__proto", "😀"])
def test_what_may_name_a_type_or_property(text: str) -> None:
    assert values.is_id(text)
    values.check_type_id(text)
    values.check_property_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 129,
        "\n",
        "a\tb",
        "\x7f",
        "\u200b",
        "\u2028",
        "\ud800",
        "__proto__",
        "constructor",
        "prototype",
    ],
)
def test_what_may_not(text: str) -> None:
    assert not values.is_id(text)
    with pytest.raises(InvalidBlueprint):
        values.check_type_id(text)
    with pytest.raises(InvalidProperty):
        values.check_property_id(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        (A, True),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", True),
        (str(uuid.UUID(int=0)), True),
        ("FFFFFFFF-ffff-ffff-ffff-ffffffffffff", False),
        ("ffffffffffffffffffffffffffffffff", False),
        (A + "\n", False),
        (" " + A, False),
        (A[:-1], False),
        (A + "0", False),
        ("", False),
        ("٠" * 8 + A[8:], False),
    ],
)
def test_what_is_a_uuid(text: str, expected: bool) -> None:
    assert values.is_uuid(text) is expected


@pytest.mark.parametrize(
    "properties", [{"a": 1}, {"a": 1, "b": 2}, {"é": "é", '"': [None]}, {"a": {}, "b": "", "c": 1e5}]
)
def test_members_add_up_to_the_size_of_the_properties(properties: Json) -> None:
    members = (values.member_size(k, values.check(v)) for k, v in properties.items())
    assert 1 + sum(members) == len(values._encode(properties))
