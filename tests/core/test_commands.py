"""Parsing: what is a command, and what never became one (docs/protocol.md, "Commands")."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from typing import Any

import pytest

from talus.core.commands import (
    MAX_BATCH,
    TYPES,
    Batch,
    Command,
    CreateNode,
    DeleteNode,
    LinkNode,
    MoveNode,
    UnlinkNode,
    UpdateProperty,
    parse,
)
from talus.core.errors import TalusError

A, B, MADE = (str(uuid.UUID(int=n, version=4)) for n in (0xA, 0xB, 0xC))
Json = dict[str, Any]


def parsed(command_type: str, data: Any, new_id: Callable[[], str] = lambda: MADE) -> Command:
    steps: Generator[None, None, Command] = parse(command_type, data, new_id)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            command: Command = stop.value
            return command


def refusal(command_type: str, data: Any) -> tuple[str, Json | None]:
    with pytest.raises(TalusError) as caught:
        parsed(command_type, data)
    return caught.value.code, caught.value.details


GOOD: list[tuple[str, Json, Command]] = [
    ("CreateNode", {"blueprint_type_id": "t"}, CreateNode("t", None, None, {}, None, MADE)),
    (
        "CreateNode",
        {
            "blueprint_type_id": "t",
            "parent_id": A,
            "name": "n",
            "properties": {"p": [1, None]},
            "index": 0,
            "node_id": B,
        },
        CreateNode("t", A, "n", {"p": [1, None]}, 0, B),
    ),
    # Null where a field may be left out says the same as leaving it out.
    (
        "CreateNode",
        {"blueprint_type_id": "t", "parent_id": None, "name": None, "index": None},
        CreateNode("t", None, None, {}, None, MADE),
    ),
    # What only the graph can judge is left to it: a name of the wrong type, an id that names nothing.
    ("CreateNode", {"blueprint_type_id": "", "name": 5}, CreateNode("", None, 5, {}, None, MADE)),
    (
        "CreateNode",
        {"blueprint_type_id": "t", "parent_id": "nothing"},
        CreateNode("t", "nothing", None, {}, None, MADE),
    ),
    ("DeleteNode", {"node_id": A}, DeleteNode(A)),
    ("DeleteNode", {"node_id": "no uuid"}, DeleteNode("no uuid")),
    ("DeleteNode", {"node_id": A.upper()}, DeleteNode(A.upper())),
    ("UpdateProperty", {"node_id": A, "property_id": "p", "value": 1}, UpdateProperty(A, "p", 1)),
    ("UpdateProperty", {"node_id": A, "property_id": "p", "value": None}, UpdateProperty(A, "p", None)),
    (
        "UpdateProperty",
        {"node_id": A, "property_id": "p", "new_value": {}},
        UpdateProperty(A, "p", new_value={}),
    ),
    (
        "UpdateProperty",
        {"node_id": A, "property_id": "p", "new_value": None},
        UpdateProperty(A, "p", new_value=None),
    ),
    ("LinkNode", {"parent_id": A, "child_id": B}, LinkNode(A, B, None)),
    ("LinkNode", {"parent_id": A, "child_id": B, "index": 10**15}, LinkNode(A, B, 10**15)),
    ("UnlinkNode", {"parent_id": A, "child_id": B}, UnlinkNode(A, B)),
    ("MoveNode", {"node_id": A, "parent_id": B, "index": 3}, MoveNode(A, B, 3)),
    ("MoveNode", {"node_id": A, "parent_id": None}, MoveNode(A, None, None)),
    (
        "Batch",
        {
            "commands": [
                {"command_type": "DeleteNode", "data": {"node_id": A}},
                {"command_type": "CreateNode", "data": {"blueprint_type_id": "t"}},
            ]
        },
        Batch((DeleteNode(A), CreateNode("t", None, None, {}, None, MADE))),
    ),
]


@pytest.mark.parametrize("command_type, data, expected", GOOD)
def test_a_command(command_type: str, data: Json, expected: Command) -> None:
    command = parsed(command_type, data)
    assert command == expected
    assert type(command) is type(expected)


def test_every_type_has_a_good_example() -> None:
    assert {command_type for command_type, _, _ in GOOD} == TYPES


@pytest.mark.parametrize(
    "data, wanted",
    [({"value": 0}, 0), ({"new_value": False}, False), ({"value": None}, None), ({"new_value": None}, None)],
)
def test_new_value_is_another_name_for_value(data: Json, wanted: Any) -> None:
    command = parsed("UpdateProperty", {"node_id": A, "property_id": "p", **data})
    assert isinstance(command, UpdateProperty)
    assert command.wanted is wanted


# For each type: a good one, and its fields by what they take.
WHOLE: dict[str, Json] = {
    "CreateNode": {
        "blueprint_type_id": "t",
        "parent_id": A,
        "name": "n",
        "properties": {},
        "index": 0,
        "node_id": B,
    },
    "DeleteNode": {"node_id": A},
    "UpdateProperty": {"node_id": A, "property_id": "p", "value": 1},
    "LinkNode": {"parent_id": A, "child_id": B, "index": 0},
    "UnlinkNode": {"parent_id": A, "child_id": B},
    "MoveNode": {"node_id": A, "parent_id": B, "index": 0},
}
REQUIRED = {
    "CreateNode": ["blueprint_type_id"],
    "DeleteNode": ["node_id"],
    "UpdateProperty": ["node_id", "property_id", "value"],
    "LinkNode": ["parent_id", "child_id"],
    "UnlinkNode": ["parent_id", "child_id"],
    "MoveNode": ["node_id", "parent_id"],
}
NULLABLE = {
    ("CreateNode", "parent_id"),
    ("CreateNode", "index"),
    ("LinkNode", "index"),
    ("MoveNode", "parent_id"),
    ("MoveNode", "index"),
}
WRONG: dict[str, list[Any]] = {
    "text": [None, 5, True, [], {}, 1.5],
    "index": [-1, True, False, "0", 1.5, [], {}],
    "properties": [None, [], "{}", 5, True],
}


def wrong_types() -> list[tuple[str, Json]]:
    cases: list[tuple[str, Json]] = []
    for command_type, whole in WHOLE.items():
        for field in whole:
            if field in ("name", "value"):
                continue  # any value; the graph judges it
            for wrong in WRONG.get(field, WRONG["text"]):
                if wrong is not None or (command_type, field) not in NULLABLE:
                    cases.append((command_type, {**whole, field: wrong}))
    return cases


BAD: list[tuple[str, Any]] = [
    *(
        (kind, {k: v for k, v in WHOLE[kind].items() if k != field})
        for kind in WHOLE
        for field in REQUIRED[kind]
    ),
    *((kind, {**whole, "more": 1}) for kind, whole in WHOLE.items()),
    *((kind, {}) for kind in WHOLE),
    *((kind, []) for kind in WHOLE),
    *((kind, None) for kind in WHOLE),
    *wrong_types(),
    ("CreateNode", {**WHOLE["CreateNode"], "node_id": A.upper()}),
    ("CreateNode", {**WHOLE["CreateNode"], "node_id": ""}),
    ("CreateNode", {**WHOLE["CreateNode"], "node_id": A + "\n"}),
    ("CreateNode", {**WHOLE["CreateNode"], "node_id": "{" + A + "}"}),
    ("CreateNode", {**WHOLE["CreateNode"], "node_id": A.replace("-", "")}),
    ("CreateNode", {**WHOLE["CreateNode"], "node_id": "g" + A[1:]}),
    ("UpdateProperty", {"node_id": A, "property_id": "p"}),
    ("UpdateProperty", {"node_id": A, "property_id": "p", "value": 1, "new_value": 1}),
    ("UpdateProperty", {"node_id": A, "property_id": "p", "value": None, "new_value": None}),
    ("Batch", {}),
    ("Batch", {"commands": []}),
    ("Batch", {"commands": None}),
    ("Batch", {"commands": {}}),
    ("Batch", {"commands": [{"command_type": "DeleteNode", "data": {"node_id": A}}], "more": 1}),
    ("DropNode", {"node_id": A}),
    ("deletenode", {"node_id": A}),
    ("", {}),
    ("Undo", {}),
]


@pytest.mark.parametrize("command_type, data", BAD)
def test_what_is_no_command(command_type: str, data: Any) -> None:
    assert refusal(command_type, data) == ("INVALID_COMMAND", None)


GOOD_ENTRY: Json = {"command_type": "DeleteNode", "data": {"node_id": A}}


@pytest.mark.parametrize(
    "entry",
    [
        {"command_type": "Batch", "data": {"commands": [GOOD_ENTRY]}},
        {"command_type": "DropNode", "data": {}},
        {"command_type": "DeleteNode", "data": {}},
        {"command_type": "DeleteNode", "data": None},
        {"command_type": "DeleteNode"},
        {"command_type": None, "data": {}},
        {"data": {"node_id": A}},
        {**GOOD_ENTRY, "command_id": B},
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "t", "node_id": A.upper()}},
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "t", "index": -1}},
        {"command_type": "UpdateProperty", "data": {"node_id": A, "property_id": "p"}},
        "DeleteNode",
        None,
        [],
    ],
)
@pytest.mark.parametrize("at", [0, 2])
def test_a_batch_says_which_of_its_commands_is_none(entry: Any, at: int) -> None:
    entries = [GOOD_ENTRY] * at + [entry, GOOD_ENTRY, "wrong too"]
    assert refusal("Batch", {"commands": entries}) == ("INVALID_COMMAND", {"index": at})


def test_a_batch_holds_10_000_commands_and_no_more() -> None:
    whole = parsed("Batch", {"commands": [GOOD_ENTRY] * MAX_BATCH})
    assert isinstance(whole, Batch)
    assert len(whole.commands) == MAX_BATCH == 10_000
    assert refusal("Batch", {"commands": [GOOD_ENTRY] * (MAX_BATCH + 1)}) == ("LIMIT_EXCEEDED", None)


def test_each_node_of_a_batch_gets_an_id_of_its_own() -> None:
    ids = iter((A, B))
    entry = {"command_type": "CreateNode", "data": {"blueprint_type_id": "t"}}
    batch = parsed("Batch", {"commands": [entry, entry]}, lambda: next(ids))
    assert isinstance(batch, Batch)
    assert [getattr(command, "node_id", None) for command in batch.commands] == [A, B]


def test_a_large_batch_is_parsed_in_steps() -> None:
    steps = parse("Batch", {"commands": [GOOD_ENTRY] * 500}, lambda: MADE)
    assert sum(1 for _ in steps) == 500
