"""Commands: every row, refusal and rule of the contract's section 3."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.clients import Client
from tests.support.follower import Follower
from tests.support.server import Server, new_id, refusal

Connect = Callable[..., Client]
Follow = Callable[..., Follower]
Json = dict[str, Any]

NOT_STARTED = "11111111-1111-4111-8111-111111111111"
IN_PROGRESS = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def workshop(shared_server: Server) -> str:
    """A new session with the template `workshop`."""
    return shared_server.new_session(template_id="workshop")


def children(server: Server, session_id: str, node_id: str | None = None) -> list[str]:
    """The ids below a node, or of the roots, in order."""
    siblings = (
        server.graph(session_id)["roots"]
        if node_id is None
        else node(server, session_id, node_id)["children"]
    )
    return [each["id"] for each in siblings]


def node(server: Server, session_id: str, node_id: str) -> Json:
    waiting = list(server.graph(session_id)["roots"])
    while waiting:
        each: Json = waiting.pop()
        if each["id"] == node_id:
            return each
        waiting += each["children"]
    raise AssertionError(f"no node {node_id}")


def refused(server: Server, session_id: str, command_type: str, data: Any, **more: Any) -> str:
    """The code with which a command is refused; nothing else has happened."""
    before = server.graph(session_id)
    response = server.try_execute(session_id, command_type, data, **more)
    status, code = refusal(response)
    expected = {"INVALID_COMMAND": 400, "INVALID_REQUEST": 400, "NODE_NOT_FOUND": 404}.get(code, 409)
    assert status == expected, response.text
    assert server.graph(session_id) == before
    return code


# CreateNode


def test_create_node_gives_the_id_version_and_result(shared_server: Server, session_id: str) -> None:
    """Given an empty session, when a node is created, then the answer has every field of the contract."""
    answer = shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "part"})
    assert answer["success"] is True
    assert answer["command_type"] == "CreateNode"
    assert answer["version"] == 1
    assert answer["result"] == {"node_id": answer["node_id"]}
    assert answer["undo_available"] is True
    assert answer["redo_available"] is False
    assert answer["command_id"]


def test_create_node_takes_every_field(shared_server: Server, session_id: str) -> None:
    """Given all optional fields, when a node is created, then it has its id, place, name and properties."""
    root = shared_server.create(session_id)
    first, second, own = (
        shared_server.create(session_id, root),
        shared_server.create(session_id, root),
        new_id(),
    )
    data = {
        "parent_id": root,
        "blueprint_type_id": "bolt",
        "name": "M8",
        "properties": {"name": "loses", "steel": True, "length": 2.5},
        "index": 1,
        "node_id": own,
    }
    assert shared_server.execute(session_id, "CreateNode", data)["node_id"] == own
    assert children(shared_server, session_id, root) == [first, own, second]
    assert node(shared_server, session_id, own) == {
        "id": own,
        "blueprint_type_id": "bolt",
        "parent_id": root,
        "name": "M8",
        "properties": {"name": "M8", "steel": True, "length": 2.5},
        "children": [],
    }


@pytest.mark.parametrize("index, place", [(0, 0), (1, 1), (2, 2), (3, 2), (10**9, 2), (None, 2)])
@pytest.mark.parametrize("where", ["root", "child"])
def test_index_is_clamped_at_the_end(
    shared_server: Server, session_id: str, where: str, index: int | None, place: int
) -> None:
    """Given two siblings, when a node is created at an index, then it stands there, or last when beyond."""
    parent = shared_server.create(session_id) if where == "child" else None
    if parent is None:
        shared_server.create(session_id)
        shared_server.create(session_id)
    else:
        shared_server.create(session_id, parent)
        shared_server.create(session_id, parent)
    made = shared_server.create(session_id, parent, **({} if index is None else {"index": index}))
    assert children(shared_server, session_id, parent).index(made) == place


def test_create_node_refusals_of_the_free_graph(shared_server: Server, session_id: str) -> None:
    """Given a session without template, when CreateNode does not fit, then each refusal has its code."""
    root = shared_server.create(session_id)
    for data, code in [
        ({"parent_id": new_id(), "blueprint_type_id": "x"}, "INVALID_PARENT"),
        ({"parent_id": "no uuid", "blueprint_type_id": "x"}, "INVALID_PARENT"),
        ({"parent_id": "", "blueprint_type_id": "x"}, "INVALID_PARENT"),
        ({"parent_id": root.upper(), "blueprint_type_id": "x"}, "INVALID_PARENT"),
        ({"node_id": root, "blueprint_type_id": "x"}, "NODE_EXISTS"),
        ({"blueprint_type_id": "__proto__"}, "INVALID_BLUEPRINT"),
        ({"blueprint_type_id": ""}, "INVALID_BLUEPRINT"),
        ({"blueprint_type_id": "x" * 129}, "INVALID_BLUEPRINT"),
        ({"blueprint_type_id": "a\nb"}, "INVALID_BLUEPRINT"),
        ({"blueprint_type_id": "x", "properties": {"constructor": 1}}, "INVALID_PROPERTY"),
        ({"blueprint_type_id": "x", "properties": {"prototype": 1}}, "INVALID_PROPERTY"),
        ({"blueprint_type_id": "x", "properties": {"": 1}}, "INVALID_PROPERTY"),
        ({"blueprint_type_id": "x", "properties": {"x" * 129: 1}}, "INVALID_PROPERTY"),
        ({"blueprint_type_id": "x", "name": 5}, "INVALID_VALUE"),
        ({"blueprint_type_id": "x", "properties": {"name": []}}, "INVALID_VALUE"),
        ({"blueprint_type_id": "x", "properties": {"p": 2**53}}, "INVALID_VALUE"),
    ]:
        assert refused(shared_server, session_id, "CreateNode", data) == code, data


def test_a_missing_parent_is_said_in_these_words(shared_server: Server, session_id: str) -> None:
    """Given a parent that is not there, when a node is created, then the message is `Parent node not
    found`."""
    response = shared_server.try_execute(
        session_id, "CreateNode", {"parent_id": new_id(), "blueprint_type_id": "x"}
    )
    assert response.status_code == 409
    assert response.json()["error"]["message"] == "Parent node not found"


@pytest.mark.parametrize("text", ["x", "X y", "ä-ö_ü", "x" * 128, "名前", "a.b/c:d", "toString"])
def test_type_and_property_ids_are_1_to_128_printable_characters(
    shared_server: Server, session_id: str, text: str
) -> None:
    """Given printable text, when it names a type and a property, then both are taken as they are."""
    made = shared_server.create(session_id, blueprint_type_id=text, properties={text: 1})
    shown = node(shared_server, session_id, made)
    assert (shown["blueprint_type_id"], shown["properties"]) == (text, {text: 1})


# DeleteNode


def test_delete_node_takes_all_below_with_it(shared_server: Server, session_id: str, follow: Follow) -> None:
    """Given a tree of five, when its middle is deleted, then the node and all below it are gone."""
    follower = follow(shared_server, session_id)
    root = shared_server.create(session_id)
    middle = shared_server.create(session_id, root)
    below = shared_server.create(session_id, middle)
    shared_server.create(session_id, below)
    other = shared_server.create(session_id, root)
    assert shared_server.execute(session_id, "DeleteNode", {"node_id": middle})["result"] == {}
    assert children(shared_server, session_id, root) == [other]
    for lost in (middle, below):
        assert refused(shared_server, session_id, "DeleteNode", {"node_id": lost}) == "NODE_NOT_FOUND"
    follower.wait_version(6)
    shared_server.check_converged(session_id, follower.tree)


@pytest.mark.parametrize("text", [new_id(), "", "no uuid", "null", new_id().upper()])
@pytest.mark.parametrize(
    "command_type, field",
    [("DeleteNode", "node_id"), ("UpdateProperty", "node_id"), ("MoveNode", "node_id"),
     ("LinkNode", "child_id"),
     ("UnlinkNode", "child_id")],
)  # fmt: skip
def test_a_string_that_is_no_node_just_names_nothing(
    shared_server: Server, session_id: str, command_type: str, field: str, text: str
) -> None:
    """Given text that names no node, when a command asks for it, then NODE_NOT_FOUND."""
    root = shared_server.create(session_id)
    others: dict[str, Json] = {
        "DeleteNode": {},
        "UpdateProperty": {"property_id": "p", "value": 1},
        "MoveNode": {"parent_id": root},
        "LinkNode": {"parent_id": root},
        "UnlinkNode": {"parent_id": root},
    }
    data = others[command_type]
    assert refused(shared_server, session_id, command_type, {**data, field: text}) == "NODE_NOT_FOUND"


# UpdateProperty


def test_update_property_sets_and_null_unsets(
    shared_server: Server, session_id: str, connect: Connect
) -> None:
    """Given a property, when it is set, set again and unset, then old and new values are told, null for
    none."""
    client = connect(shared_server)
    client.join(session_id)
    made = shared_server.create(session_id)
    for value in (1, "two", None):
        data = {"node_id": made, "property_id": "p", "value": value}
        assert shared_server.execute(session_id, "UpdateProperty", data)["result"] == {}
    client.wait_version(session_id, 4)
    told = [(event["old_value"], event["new_value"]) for event in client.heard("property-changed")]
    assert told == [(None, 1), (1, "two"), ("two", None)]
    assert node(shared_server, session_id, made)["properties"] == {}


def test_new_value_is_accepted_for_value(shared_server: Server, session_id: str) -> None:
    """Given the field `new_value`, when a property is updated with it, then it counts as `value`."""
    made = shared_server.create(session_id)
    shared_server.execute(session_id, "UpdateProperty", {"node_id": made, "property_id": "p", "new_value": 7})
    assert node(shared_server, session_id, made)["properties"] == {"p": 7}


def test_name_is_shown_at_the_top(shared_server: Server, session_id: str, follow: Follow) -> None:
    """Given a node, when its name is set and unset, then `name` is the property's text, or empty."""
    follower = follow(shared_server, session_id)
    made = shared_server.create(session_id)
    for value, shown in [("Käfer", "Käfer"), ("", ""), (None, "")]:
        data = {"node_id": made, "property_id": "name", "value": value}
        shared_server.execute(session_id, "UpdateProperty", data)
        assert node(shared_server, session_id, made)["name"] == shown
    bad = {"node_id": made, "property_id": "name", "value": 5}
    assert refused(shared_server, session_id, "UpdateProperty", bad) == "INVALID_VALUE"
    follower.wait_version(4)
    shared_server.check_converged(session_id, follower.tree)


def test_a_change_to_what_was_there_already_commits(
    shared_server: Server, session_id: str, follow: Follow
) -> None:
    """Given a value and a place, when they are set to what they are, then each commits like any other."""
    follower = follow(shared_server, session_id)
    root = shared_server.create(session_id, properties={"p": 1})
    child = shared_server.create(session_id, root)
    changes: list[tuple[str, Json]] = [
        ("UpdateProperty", {"node_id": root, "property_id": "p", "value": 1}),
        ("UpdateProperty", {"node_id": root, "property_id": "unset", "value": None}),
        ("MoveNode", {"node_id": child, "parent_id": root, "index": 0}),
        ("MoveNode", {"node_id": root, "parent_id": None, "index": 0}),
    ]
    for command_type, data in changes:
        version = shared_server.graph(session_id)["version"]
        assert shared_server.execute(session_id, command_type, data)["version"] == version + 1
    follower.wait_version(6)
    shared_server.check_converged(session_id, follower.tree)


GOOD_VALUES: list[Any] = [
    True, False, 0, -1, 2**53 - 1, -(2**53) + 1, 1.5, 1e300, "", "text", "a\nb\tc", "\x7f", "\u2028", "🚗",
    [], {}, [1, [2, [3]]], {"a": {"b": None}}, {"": 1}, "x" * (256 * 1024 - 2), {"__proto__": 1},
    "ä" * (128 * 1024 - 1),
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD_VALUES, ids=lambda v: repr(v)[:20])
def test_values_are_any_json_that_every_client_reads_alike(
    shared_server: Server, session_id: str, value: Any, follow: Follow
) -> None:
    """Given a value that fits, when it is set, then the graph, an event and the journal show the same."""
    follower = follow(shared_server, session_id)
    made = shared_server.create(session_id)
    data = {"node_id": made, "property_id": "p", "value": value}
    shared_server.execute(session_id, "UpdateProperty", data)
    shown = node(shared_server, session_id, made)["properties"]["p"]
    assert json.dumps(shown, sort_keys=True) == json.dumps(value, sort_keys=True)
    follower.wait_version(2)
    shared_server.check_converged(session_id, follower.tree)


def nested(depth: int, bracket: str = "[") -> str:
    """JSON of `depth` brackets within each other."""
    return "[" * depth + "]" * depth if bracket == "[" else '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


BAD_VALUES = {
    "infinity": "1e999",
    "negative infinity": "-1e999",
    "2^53": str(2**53),
    "-2^53": str(-(2**53)),
    "integer of 400 digits": "9" * 400,
    "lone surrogate": r'"\ud800"',
    "lone low surrogate": r'"a\udc00b"',
    "surrogates in the wrong order": r'"\udc00\ud800"',
    "NUL": r'"a\u0000b"',
    "NUL in a key": r'{"\u0000": 1}',
    "lone surrogate in a key": r'{"\udfff": 1}',
    "33 brackets": nested(33),
    "33 braces": nested(33, "{"),
    "infinity deep inside": '[{"a": [1e999]}]',
    "more than 256 KiB": '"' + "x" * (256 * 1024 - 1) + '"',
    "more than 256 KiB of UTF-8": '"' + "ä" * (128 * 1024) + '"',
}


def execute_text(server: Server, session_id: str, command_type: str, data: str) -> requests.Response:
    """A command whose `data` is this very text of JSON, well formed or not."""
    body = f'{{"session_id": "{session_id}", "command_type": "{command_type}", "data": {data}}}'
    headers = {"Content-Type": "application/json"}
    return server.request("POST", "/commands/execute", data=body.encode(), headers=headers)


@pytest.mark.parametrize("text", BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_other_values_are_invalid_value(shared_server: Server, session_id: str, text: str) -> None:
    """Given a value that some client would read otherwise, when it is set, then INVALID_VALUE and nothing
    else."""
    made = shared_server.create(session_id)
    data = f'{{"node_id": "{made}", "property_id": "p", "value": {text}}}'
    response = execute_text(shared_server, session_id, "UpdateProperty", data)
    assert refusal(response) == (409, "INVALID_VALUE")
    data = f'{{"blueprint_type_id": "x", "properties": {{"p": {text}}}}}'
    assert refusal(execute_text(shared_server, session_id, "CreateNode", data)) == (409, "INVALID_VALUE")
    assert shared_server.graph(session_id)["version"] == 1


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "nan", "undefined", "'x'", "01", "1.", "+1", ""]
)
def test_what_is_no_json_at_all_is_an_invalid_request(
    shared_server: Server, session_id: str, text: str
) -> None:
    """Given a value that is not JSON, a bare NaN included, when it is sent, then INVALID_REQUEST."""
    made = shared_server.create(session_id)
    data = f'{{"node_id": "{made}", "property_id": "p", "value": {text}}}'
    response = execute_text(shared_server, session_id, "UpdateProperty", data)
    assert refusal(response) == (400, "INVALID_REQUEST")


def test_32_brackets_are_taken(shared_server: Server, session_id: str) -> None:
    """Given a value of 32 brackets within each other, when it is set, then it is taken."""
    made = shared_server.create(session_id)
    for bracket in "[{":
        data = f'{{"node_id": "{made}", "property_id": "p", "value": {nested(32, bracket)}}}'
        assert execute_text(shared_server, session_id, "UpdateProperty", data).status_code == 200


def test_a_bad_value_over_a_socket_is_told_like_over_rest(
    shared_server: Server, session_id: str, connect: Connect
) -> None:
    """Given a value that no client may send, when it comes over a socket, then INVALID_VALUE, and all live
    on."""
    sender, other = connect(shared_server, "raw-websocket"), connect(shared_server, "node")
    sender.join(session_id)
    other.join(session_id)
    made = shared_server.create(session_id)
    for text in BAD_VALUES.values():
        place = len(sender.events)
        payload = (
            f'{{"session_id": "{session_id}", "command_type": "UpdateProperty",'
            f'"data": {{"node_id": "{made}", "property_id": "p", "value": {text}}}}}'
        )
        sender.send_packet(f'42["execute_command",{payload}]')  # type: ignore[attr-defined]
        heard = sender.wait_heard(lambda h: h.name in ("command:failed", "error", "disconnect"), after=place)
        told = heard.payload["error"] if heard.name == "command:failed" else heard.payload
        assert told["code"] == "INVALID_VALUE", text[:50]
    shared_server.create(session_id)
    other.wait_version(session_id, 2)


# LinkNode, UnlinkNode, MoveNode


def test_link_unlink_and_move(shared_server: Server, session_id: str, follow: Follow) -> None:
    """Given roots and children, when they are linked, unlinked and moved, then each stands where it was
    put."""
    follower = follow(shared_server, session_id)
    a, b, c = (shared_server.create(session_id) for _ in range(3))
    do = shared_server.execute
    assert do(session_id, "LinkNode", {"parent_id": a, "child_id": b})["result"] == {}
    do(session_id, "LinkNode", {"parent_id": a, "child_id": c, "index": 0})
    assert children(shared_server, session_id) == [a]
    assert children(shared_server, session_id, a) == [c, b]
    assert do(session_id, "MoveNode", {"node_id": c, "parent_id": a, "index": 1})["result"] == {}
    assert children(shared_server, session_id, a) == [b, c]
    do(session_id, "MoveNode", {"node_id": b, "parent_id": c})
    assert children(shared_server, session_id, c) == [b]
    do(session_id, "MoveNode", {"node_id": c, "parent_id": None, "index": 0})
    assert children(shared_server, session_id) == [c, a]
    do(session_id, "MoveNode", {"node_id": c, "parent_id": None, "index": 5})
    assert children(shared_server, session_id) == [a, c]
    assert do(session_id, "UnlinkNode", {"parent_id": c, "child_id": b})["result"] == {}
    assert children(shared_server, session_id) == [a, c, b]
    do(session_id, "MoveNode", {"node_id": b, "parent_id": a})
    assert children(shared_server, session_id, a) == [b]
    follower.wait_version(11)
    shared_server.check_converged(session_id, follower.tree)


def test_index_is_the_place_once_the_node_is_taken_out(shared_server: Server, session_id: str) -> None:
    """Given four siblings, when one moves by index, then the index counts without the one that moves."""
    root = shared_server.create(session_id)
    a, b, c, d = (shared_server.create(session_id, root) for _ in range(4))
    shared_server.execute(session_id, "MoveNode", {"node_id": a, "parent_id": root, "index": 2})
    assert children(shared_server, session_id, root) == [b, c, a, d]
    shared_server.execute(session_id, "MoveNode", {"node_id": d, "parent_id": root, "index": 0})
    assert children(shared_server, session_id, root) == [d, b, c, a]


def test_link_unlink_and_move_refusals(shared_server: Server, session_id: str) -> None:
    """Given a chain of three and a root, when they cannot be linked so, then each refusal has its code."""
    a = shared_server.create(session_id)
    b = shared_server.create(session_id, a)
    c = shared_server.create(session_id, b)
    r = shared_server.create(session_id)
    for command_type, data, code in [
        ("LinkNode", {"parent_id": new_id(), "child_id": r}, "INVALID_PARENT"),
        ("LinkNode", {"parent_id": "text", "child_id": r}, "INVALID_PARENT"),
        ("LinkNode", {"parent_id": a, "child_id": new_id()}, "NODE_NOT_FOUND"),
        ("LinkNode", {"parent_id": r, "child_id": c}, "ALREADY_LINKED"),
        ("LinkNode", {"parent_id": a, "child_id": b}, "ALREADY_LINKED"),
        ("LinkNode", {"parent_id": c, "child_id": a}, "CYCLE"),
        ("LinkNode", {"parent_id": a, "child_id": a}, "CYCLE"),
        ("UnlinkNode", {"parent_id": a, "child_id": c}, "NOT_LINKED"),
        ("UnlinkNode", {"parent_id": a, "child_id": r}, "NOT_LINKED"),
        ("UnlinkNode", {"parent_id": new_id(), "child_id": new_id()}, "NODE_NOT_FOUND"),
        ("MoveNode", {"node_id": r, "parent_id": new_id()}, "INVALID_PARENT"),
        ("MoveNode", {"node_id": new_id(), "parent_id": a}, "NODE_NOT_FOUND"),
        ("MoveNode", {"node_id": new_id(), "parent_id": None}, "NODE_NOT_FOUND"),
        ("MoveNode", {"node_id": a, "parent_id": c}, "CYCLE"),
        ("MoveNode", {"node_id": b, "parent_id": b}, "CYCLE"),
    ]:
        assert refused(shared_server, session_id, command_type, data) == code, (command_type, data)


# Batch


def entry(command_type: str, **data: Any) -> Json:
    return {"command_type": command_type, "data": data}


def test_a_batch_is_one_version_and_one_undo_step(
    shared_server: Server, session_id: str, connect: Connect, follow: Follow
) -> None:
    """Given a batch whose later commands name earlier nodes, when sent, then one version holds all, and
    one undo."""
    follower = follow(shared_server, session_id)
    root, child = new_id(), new_id()
    commands = [
        entry("CreateNode", blueprint_type_id="x", node_id=root),
        entry("CreateNode", blueprint_type_id="x", node_id=child, parent_id=root),
        entry("UpdateProperty", node_id=child, property_id="p", value=1),
        entry("CreateNode", blueprint_type_id="x", parent_id=root, index=0),
        entry("MoveNode", node_id=child, parent_id=None),
        entry("UnlinkNode", parent_id=root, child_id=child),
    ]
    answer = shared_server.execute(session_id, "Batch", {"commands": commands[:5]})
    results = answer["result"]["results"]
    assert answer["version"] == 1
    assert [results[0], results[1]] == [{"node_id": root}, {"node_id": child}]
    assert results[2] == {}
    assert results[3]["node_id"]
    assert results[4] == {}
    assert children(shared_server, session_id) == [root, child]
    follower.wait_version(1)
    client = follower.client
    assert client is not None
    executed = client.heard("command:executed")[0]
    assert (executed["command_type"], executed["result"]) == ("Batch", answer["result"])
    shared_server.undo(session_id)
    assert children(shared_server, session_id) == []
    shared_server.redo(session_id)
    assert children(shared_server, session_id) == [root, child]
    follower.wait_version(3)
    shared_server.check_converged(session_id, follower.tree)


def test_a_batch_is_all_or_nothing(shared_server: Server, session_id: str, connect: Connect) -> None:
    """Given a batch whose third command is refused, when sent, then its refusal, `details.index` 2, and no
    facts."""
    client = connect(shared_server)
    client.join(session_id)
    made = new_id()
    commands = [
        entry("CreateNode", blueprint_type_id="x", node_id=made),
        entry("UpdateProperty", node_id=made, property_id="p", value=1),
        entry("LinkNode", parent_id=new_id(), child_id=made),
        entry("DeleteNode", node_id=new_id()),
    ]
    response = shared_server.try_execute(session_id, "Batch", {"commands": commands})
    assert refusal(response) == (409, "INVALID_PARENT")
    assert response.json()["error"]["details"]["index"] == 2
    client.wait_for("command:failed")
    client.settle()
    assert "node-created" not in client.names()
    assert shared_server.graph(session_id) | {"epoch": ""} == {
        "session_id": session_id,
        "version": 0,
        "epoch": "",
        "roots": [],
    }


@pytest.mark.parametrize(
    "data, index",
    [
        ({"commands": []}, None),
        ({}, None),
        ({"commands": None}, None),
        ({"commands": {}}, None),
        ({"commands": [entry("Batch", commands=[entry("CreateNode", blueprint_type_id="x")])]}, 0),
        ({"commands": [entry("CreateNode", blueprint_type_id="x"), entry("NoSuch")]}, 1),
        ({"commands": [entry("CreateNode", blueprint_type_id="x"), entry("CreateNode")]}, 1),
        ({"commands": [{"command_type": "CreateNode"}]}, 0),
        ({"commands": [{"data": {}}]}, 0),
        ({"commands": ["CreateNode"]}, 0),
        ({"commands": [entry("CreateNode", blueprint_type_id="x") | {"command_id": new_id()}]}, 0),
        ({"commands": [entry("CreateNode", blueprint_type_id="x")], "more": 1}, None),
    ],
    ids=lambda v: json.dumps(v)[:60],
)
def test_a_malformed_batch_is_invalid_command(
    shared_server: Server, session_id: str, data: Any, index: int | None
) -> None:
    """Given an empty batch, a batch in a batch or a malformed entry, when sent, then INVALID_COMMAND."""
    response = shared_server.try_execute(session_id, "Batch", data)
    assert refusal(response) == (400, "INVALID_COMMAND")
    if index is not None:
        assert response.json()["error"]["details"]["index"] == index


def test_a_batch_holds_up_to_10_000_commands(shared_server: Server, session_id: str, follow: Follow) -> None:
    """Given 10,000 commands, when sent as one batch, then one version; 10,001 are refused."""
    root = shared_server.create(session_id)
    follower = follow(shared_server, session_id, "node-websocket")
    commands = [entry("CreateNode", blueprint_type_id="x", parent_id=root) for _ in range(10_001)]
    status, code = refusal(shared_server.try_execute(session_id, "Batch", {"commands": commands}))
    assert (status, code) in ((400, "INVALID_COMMAND"), (409, "LIMIT_EXCEEDED"))
    answer = shared_server.execute(session_id, "Batch", {"commands": commands[:-1]})
    assert answer["version"] == 2
    assert len(answer["result"]["results"]) == 10_000
    follower.wait_version(2, timeout=30)
    follower.check()
    shared_server.check_converged(session_id, follower.tree)


# Malformed commands


INVALID_DATA: list[tuple[str, Any]] = [
    ("CreateNode", {}),
    ("CreateNode", {"blueprint_type_id": None}),
    ("CreateNode", {"blueprint_type_id": 1}),
    ("CreateNode", {"blueprint_type_id": "x", "parent_id": 1}),
    ("CreateNode", {"blueprint_type_id": "x", "properties": []}),
    ("CreateNode", {"blueprint_type_id": "x", "properties": "p"}),
    ("CreateNode", {"blueprint_type_id": "x", "index": -1}),
    ("CreateNode", {"blueprint_type_id": "x", "index": 1.5}),
    ("CreateNode", {"blueprint_type_id": "x", "index": "0"}),
    ("CreateNode", {"blueprint_type_id": "x", "index": True}),
    ("CreateNode", {"blueprint_type_id": "x", "node_id": "no uuid"}),
    ("CreateNode", {"blueprint_type_id": "x", "node_id": ""}),
    ("CreateNode", {"blueprint_type_id": "x", "node_id": 7}),
    ("CreateNode", {"blueprint_type_id": "x", "node_id": new_id().upper()}),
    ("CreateNode", {"blueprint_type_id": "x", "colour": "red"}),
    ("DeleteNode", {}),
    ("DeleteNode", {"node_id": 1}),
    ("DeleteNode", {"node_id": None}),
    ("DeleteNode", {"node_id": new_id(), "recursive": True}),
    ("UpdateProperty", {"node_id": new_id(), "property_id": "p"}),
    ("UpdateProperty", {"node_id": new_id(), "value": 1}),
    ("UpdateProperty", {"property_id": "p", "value": 1}),
    ("UpdateProperty", {"node_id": new_id(), "property_id": 1, "value": 1}),
    ("UpdateProperty", {"node_id": new_id(), "property_id": "p", "value": 1, "old_value": 0}),
    ("LinkNode", {"parent_id": new_id()}),
    ("LinkNode", {"child_id": new_id()}),
    ("LinkNode", {"parent_id": None, "child_id": new_id()}),
    ("LinkNode", {"parent_id": new_id(), "child_id": new_id(), "index": -1}),
    ("UnlinkNode", {"parent_id": new_id()}),
    ("UnlinkNode", {"parent_id": new_id(), "child_id": new_id(), "index": 0}),
    ("MoveNode", {"node_id": new_id()}),
    ("MoveNode", {"parent_id": new_id()}),
    ("MoveNode", {"node_id": new_id(), "parent_id": 1}),
    ("MoveNode", {"node_id": new_id(), "parent_id": None, "index": -1}),
    ("NoSuchCommand", {}),
    ("createnode", {"blueprint_type_id": "x"}),
    ("", {}),
    ("__init__", {}),
]


@pytest.mark.parametrize(
    "command_type, data", INVALID_DATA, ids=lambda v: v if isinstance(v, str) else json.dumps(v)
)
def test_anything_missing_unknown_or_of_the_wrong_type_is_invalid_command(
    shared_server: Server, session_id: str, command_type: str, data: Any
) -> None:
    """Given malformed `data` or an unknown type, when sent, then INVALID_COMMAND to the sender and nobody
    else."""
    assert refused(shared_server, session_id, command_type, data) == "INVALID_COMMAND"


@pytest.mark.parametrize(
    "change, field",
    [
        ({"command_type": None}, "command_type"),
        ({"command_type": 1}, "command_type"),
        ({"data": []}, "data"),
        ({"data": "text"}, "data"),
        ({"command_id": "no uuid"}, "command_id"),
        ({"command_id": new_id().upper()}, "command_id"),
        ({"command_id": 1}, "command_id"),
        ({"expected_version": -1}, "expected_version"),
        ({"expected_version": "0"}, "expected_version"),
        ({"expected_version": 0.5}, "expected_version"),
        ({"expected_version": True}, "expected_version"),
    ],
    ids=str,
)
def test_a_malformed_call_names_its_field(
    shared_server: Server, session_id: str, change: Json, field: str
) -> None:
    """Given a field outside `data` of the wrong type, when sent, then 400 and the message names the field."""
    body = {
        "session_id": session_id,
        "command_type": "CreateNode",
        "data": {"blueprint_type_id": "x"},
    } | change
    response = shared_server.post("/commands/execute", body)
    status, code = refusal(response)
    assert status == 400
    assert code in ("INVALID_REQUEST", "INVALID_COMMAND")
    assert field in response.json()["error"]["message"]
    assert shared_server.graph(session_id)["version"] == 0


# Templates


def test_a_template_checks_types_children_and_properties(shared_server: Server, workshop: str) -> None:
    """Given a template, when types, children or properties do not fit it, then each refusal has its code."""
    project = shared_server.create(workshop, blueprint_type_id="project")
    phase = shared_server.create(workshop, project, blueprint_type_id="phase")
    task = shared_server.create(workshop, phase, blueprint_type_id="task")
    loose = shared_server.create(workshop, blueprint_type_id="phase")
    for command_type, data, code in [
        ("CreateNode", {"blueprint_type_id": "rocket"}, "INVALID_BLUEPRINT"),
        ("CreateNode", {"blueprint_type_id": "phase", "parent_id": phase}, "CHILD_NOT_ALLOWED"),
        ("CreateNode", {"blueprint_type_id": "task", "parent_id": task}, "CHILD_NOT_ALLOWED"),
        ("CreateNode", {"blueprint_type_id": "task", "properties": {"no": 1}}, "INVALID_PROPERTY"),
        ("CreateNode", {"blueprint_type_id": "task", "properties": {"hours": "1"}}, "INVALID_VALUE"),
        ("LinkNode", {"parent_id": phase, "child_id": loose}, "CHILD_NOT_ALLOWED"),
        ("MoveNode", {"node_id": loose, "parent_id": task}, "CHILD_NOT_ALLOWED"),
        ("UpdateProperty", {"node_id": task, "property_id": "no", "value": 1}, "INVALID_PROPERTY"),
        ("UpdateProperty", {"node_id": task, "property_id": "hours", "value": True}, "INVALID_VALUE"),
    ]:
        assert refused(shared_server, workshop, command_type, data) == code, (command_type, data)


@pytest.mark.parametrize("type_id", ["project", "phase", "task"])
def test_any_type_may_stand_among_the_roots(shared_server: Server, workshop: str, type_id: str) -> None:
    """Given a template, when a node of any of its types is created without parent, then it is a root."""
    made = shared_server.create(workshop, blueprint_type_id=type_id)
    assert children(shared_server, workshop) == [made]


def test_required_is_not_enforced(shared_server: Server, workshop: str) -> None:
    """Given a required property, when a node is created without it, then it is created all the same."""
    shared_server.create(workshop, blueprint_type_id="task")


def test_a_select_that_is_not_given_takes_its_first_option(
    shared_server: Server, workshop: str, follow: Follow
) -> None:
    """Given a select, when a node is created without and with it, then the first option, or the one given."""
    follower = follow(shared_server, workshop)
    plain = shared_server.create(workshop, blueprint_type_id="phase")
    chosen = shared_server.create(workshop, blueprint_type_id="phase", properties={"status": IN_PROGRESS})
    assert node(shared_server, workshop, plain)["properties"] == {"status": NOT_STARTED}
    assert node(shared_server, workshop, chosen)["properties"] == {"status": IN_PROGRESS}
    follower.wait_version(2)
    shared_server.check_converged(workshop, follower.tree)


FITTING: dict[str, tuple[list[Any], list[Any]]] = {
    "status": ([NOT_STARTED, IN_PROGRESS, None], ["Done", new_id(), 1, True, [IN_PROGRESS], ""]),
    "notes": (["", "# text", None], [1, True, [], {}]),
    "hours": ([0, 1.5, -3, None], ["1", True, [1]]),
    "cost": ([0, 99.95, None], ["99", False, {}]),
    "due": (["2026-01-28", "2024-02-29", None], ["2026-02-30", "28.1.2026", 20260128, "", True]),
    "finished": ([True, False, None], [0, 1, "true", []]),
    "blocks": ([new_id(), None], ["text", 1, [new_id()]]),
    "supplier": (["https://example.org/a?b=c", None], ["javascript:alert(1)", 1, True]),
}


@pytest.mark.parametrize("property_id", FITTING)
def test_property_types_are_checked(shared_server: Server, workshop: str, property_id: str) -> None:
    """Given a property of a type, when values are set, then those that fit are taken, others
    INVALID_VALUE."""
    made = shared_server.create(workshop, blueprint_type_id="phase" if property_id == "status" else "task")
    good, bad = FITTING[property_id]
    for value in good:
        data = {"node_id": made, "property_id": property_id, "value": value}
        shared_server.execute(workshop, "UpdateProperty", data)
        assert node(shared_server, workshop, made)["properties"].get(property_id) == value
    for value in bad:
        data = {"node_id": made, "property_id": property_id, "value": value}
        assert refused(shared_server, workshop, "UpdateProperty", data) == "INVALID_VALUE", value


# Limits


def test_a_graph_is_up_to_256_deep(shared_server: Server, session_id: str, follow: Follow) -> None:
    """Given a chain of 256, when one more is put below, or the chain moved below a root, then
    LIMIT_EXCEEDED."""
    follower = follow(shared_server, session_id)
    ids = [new_id() for _ in range(256)]
    commands = [
        entry("CreateNode", blueprint_type_id="x", node_id=own, **({"parent_id": above} if above else {}))
        for own, above in zip(ids, [None, *ids], strict=False)
    ]
    shared_server.execute(session_id, "Batch", {"commands": commands})
    below = {"blueprint_type_id": "x", "parent_id": ids[-1]}
    assert refused(shared_server, session_id, "CreateNode", below) == "LIMIT_EXCEEDED"
    root = shared_server.create(session_id)
    assert (
        refused(shared_server, session_id, "LinkNode", {"parent_id": root, "child_id": ids[0]})
        == "LIMIT_EXCEEDED"
    )
    assert (
        refused(shared_server, session_id, "MoveNode", {"node_id": ids[0], "parent_id": root})
        == "LIMIT_EXCEEDED"
    )
    shared_server.execute(session_id, "MoveNode", {"node_id": ids[1], "parent_id": root})
    follower.wait_version(3)
    shared_server.check_converged(session_id, follower.tree)


def test_a_nodes_properties_are_up_to_400_000_bytes(shared_server: Server, session_id: str) -> None:
    """Given a node with 390 kB of properties, when 20 kB more are set, then LIMIT_EXCEEDED, until some go."""
    made = shared_server.create(session_id, properties={"a": "x" * 195_000, "b": "x" * 195_000})
    more = {"node_id": made, "property_id": "c", "value": "x" * 20_000}
    assert refused(shared_server, session_id, "UpdateProperty", more) == "LIMIT_EXCEEDED"
    too_many = {"blueprint_type_id": "x", "properties": {"a": "x" * 210_000, "b": "x" * 210_000}}
    assert refused(shared_server, session_id, "CreateNode", too_many) == "LIMIT_EXCEEDED"
    shared_server.execute(session_id, "UpdateProperty", {"node_id": made, "property_id": "a", "value": None})
    shared_server.execute(session_id, "UpdateProperty", more)


def test_a_graph_holds_up_to_100_000_nodes(shared_server: Server, session_id: str) -> None:
    """Given 100,000 nodes in ten batches, when one more is created, then LIMIT_EXCEEDED."""
    for _ in range(10):
        commands = [entry("CreateNode", blueprint_type_id="x") for _ in range(10_000)]
        shared_server.execute(session_id, "Batch", {"commands": commands})
    response = shared_server.try_execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    assert refusal(response) == (409, "LIMIT_EXCEEDED")
    assert shared_server.ask(f"/sessions/{session_id}/info")["node_count"] == 100_000


# Once


@pytest.mark.parametrize(
    "first, second", [("rest", "rest"), ("rest", "socket"), ("socket", "rest"), ("socket",) * 2]
)
def test_a_command_id_that_was_committed_is_answered_from_the_record(
    shared_server: Server, session_id: str, connect: Connect, first: str, second: str
) -> None:
    """Given a command that committed, when it is sent again on either transport, then `duplicate` and no
    more."""
    client = connect(shared_server)
    client.join(session_id)
    command_id, data = new_id(), {"blueprint_type_id": "x", "name": "once"}

    def send(transport: str) -> Json:
        if transport == "socket":
            return client.execute(session_id, "CreateNode", data, command_id=command_id)
        return shared_server.execute(session_id, "CreateNode", data, command_id=command_id)

    original = send(first)
    assert not original.get("duplicate")
    shared_server.create(session_id)
    client.wait_version(session_id, 2)
    client.settle()
    place = len(client.events)
    again = send(second)
    assert again["duplicate"] is True
    for field in ("success", "command_id", "command_type", "version", "result", "node_id"):
        assert again[field] == original[field]
    client.settle()
    assert set(client.names(place)) <= {"ack", "pong"}
    assert shared_server.graph(session_id)["version"] == 2


def test_a_duplicate_is_known_after_a_restart(server: Server) -> None:
    """Given committed commands, undo and redo, when they are sent again after a restart, then all
    `duplicate`."""
    session = server.new_session()
    create, undo, redo, batch = (new_id() for _ in range(4))
    commands = {"commands": [entry("CreateNode", blueprint_type_id="y") for _ in range(3)]}
    originals = [
        server.execute(session, "CreateNode", {"blueprint_type_id": "x"}, command_id=create),
        server.undo(session, command_id=undo),
        server.redo(session, command_id=redo),
        server.execute(session, "Batch", commands, command_id=batch),
    ]
    server.stop()
    server.start()
    repeats = [
        server.execute(session, "CreateNode", {"blueprint_type_id": "x"}, command_id=create),
        server.undo(session, command_id=undo),
        server.redo(session, command_id=redo),
        server.execute(session, "Batch", commands, command_id=batch),
    ]
    for original, repeat in zip(originals, repeats, strict=True):
        assert repeat["duplicate"] is True
        assert (repeat["version"], repeat["result"]) == (original["version"], original["result"])
    assert server.graph(session)["version"] == 4


@pytest.mark.parametrize(
    "command_type, data",
    [
        ("CreateNode", {"blueprint_type_id": "other"}),
        ("CreateNode", {"blueprint_type_id": "x", "name": ""}),
        ("DeleteNode", {"node_id": new_id()}),
        ("Batch", {"commands": [entry("CreateNode", blueprint_type_id="x")]}),
    ],
)
def test_the_same_id_with_another_type_or_data_is_reused(
    shared_server: Server, session_id: str, command_type: str, data: Json, connect: Connect
) -> None:
    """Given a committed id, when it comes with another type or data, then COMMAND_ID_REUSED to its sender
    alone."""
    client = connect(shared_server)
    client.join(session_id)
    command_id = new_id()
    shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"}, command_id=command_id)
    client.wait_version(session_id, 1)
    client.settle()
    place = len(client.events)
    assert (
        refused(shared_server, session_id, command_type, data, command_id=command_id) == "COMMAND_ID_REUSED"
    )
    response = shared_server.try_undo(session_id, command_id=command_id)
    assert refusal(response) == (409, "COMMAND_ID_REUSED")
    client.settle()
    assert client.names(place) == ["pong", "ack"]


def test_key_order_does_not_make_other_data(shared_server: Server, session_id: str) -> None:
    """Given a committed id, when it comes again with the same data in another order of keys, then
    `duplicate`."""
    command_id = new_id()
    data = {"blueprint_type_id": "x", "properties": {"a": 1, "b": {"c": 2, "d": 3}}}
    turned = {"properties": {"b": {"d": 3, "c": 2}, "a": 1}, "blueprint_type_id": "x"}
    shared_server.execute(session_id, "CreateNode", data, command_id=command_id)
    assert shared_server.execute(session_id, "CreateNode", turned, command_id=command_id)["duplicate"] is True


def test_a_refused_command_leaves_no_trace_of_its_id(shared_server: Server, session_id: str) -> None:
    """Given a refused command, when its id comes again with what fits, then it commits."""
    command_id = new_id()
    bad = {"node_id": new_id()}
    assert refused(shared_server, session_id, "DeleteNode", bad, command_id=command_id) == "NODE_NOT_FOUND"
    answer = shared_server.execute(
        session_id, "CreateNode", {"blueprint_type_id": "x"}, command_id=command_id
    )
    assert not answer.get("duplicate")
    assert answer["command_id"] == command_id


def test_command_ids_are_unique_within_their_session_only(shared_server: Server, session_id: str) -> None:
    """Given an id used in one session, when another session uses it, for nodes too, then it is a new
    command."""
    other, command_id, made = shared_server.new_session(), new_id(), new_id()
    data = {"blueprint_type_id": "x", "node_id": made}
    for session in (session_id, other):
        answer = shared_server.execute(session, "CreateNode", data, command_id=command_id)
        assert not answer.get("duplicate")
        assert (answer["version"], answer["node_id"]) == (1, made)


@pytest.mark.parametrize("kinds", [("rest",) * 8, ("raw-websocket",) * 8, ("rest", "raw-websocket") * 4])
def test_one_id_sent_by_eight_at_once_commits_once(
    shared_server: Server, session_id: str, connect: Connect, kinds: tuple[str, ...]
) -> None:
    """Given eight senders of one command id, when all send at once, then one commit and seven duplicates."""
    for _ in range(5):
        command_id, data = new_id(), {"blueprint_type_id": "x"}
        answers: list[Json] = []
        clients = [None if kind == "rest" else connect(shared_server, kind) for kind in kinds]

        def send(
            client: Client | None,
            data: Json = data,
            command_id: str = command_id,
            answers: list[Json] = answers,
        ) -> None:
            if client is None:
                answers.append(shared_server.execute(session_id, "CreateNode", data, command_id=command_id))
            else:
                answers.append(client.execute(session_id, "CreateNode", data, command_id=command_id))

        threads = [threading.Thread(target=send, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(bool(answer.get("duplicate")) for answer in answers) == [False] + [True] * 7
        assert len({(answer["version"], answer["node_id"]) for answer in answers}) == 1
    assert len(children(shared_server, session_id)) == 5


# Only if


def test_expected_version_refuses_when_anyone_committed_meanwhile(
    shared_server: Server, session_id: str, connect: Connect
) -> None:
    """Given version 2, when a command expects 1, then VERSION_CONFLICT with 2; when it expects 2, it
    commits."""
    client = connect(shared_server)
    client.join(session_id)
    shared_server.create(session_id)
    shared_server.create(session_id)
    client.wait_version(session_id, 2)
    client.settle()
    place = len(client.events)
    for expected in (0, 1, 3, 2**53 - 1):
        response = shared_server.try_execute(
            session_id, "CreateNode", {"blueprint_type_id": "x"}, expected_version=expected
        )
        assert refusal(response) == (409, "VERSION_CONFLICT")
        assert response.json()["error"]["details"]["version"] == 2
    response = shared_server.try_undo(session_id, expected_version=1)
    assert refusal(response) == (409, "VERSION_CONFLICT")
    answer = client.call("redo_command", {"session_id": session_id, "expected_version": 1})
    assert answer["error"]["code"] in ("VERSION_CONFLICT", "NOTHING_TO_REDO")
    client.settle()
    assert set(client.names(place)) == {"ack", "pong"}
    data = {"blueprint_type_id": "x"}
    assert shared_server.execute(session_id, "CreateNode", data, expected_version=2)["version"] == 3
    assert shared_server.undo(session_id, expected_version=3)["version"] == 4
    assert shared_server.redo(session_id, expected_version=4)["version"] == 5


def test_of_two_that_expect_one_version_one_wins(shared_server: Server, session_id: str) -> None:
    """Given 10 that expect version 0 at once, when all have answered, then one has committed."""
    codes: list[int] = []

    def send() -> None:
        data = {"blueprint_type_id": "x"}
        codes.append(
            shared_server.try_execute(session_id, "CreateNode", data, expected_version=0).status_code
        )

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(codes) == [200] + [409] * 9


def test_a_duplicate_is_answered_whatever_version_it_expects(shared_server: Server, session_id: str) -> None:
    """Given a command with expected_version that committed, when it is retried as it was, then
    `duplicate`."""
    command_id, data = new_id(), {"blueprint_type_id": "x"}
    shared_server.execute(session_id, "CreateNode", data, command_id=command_id, expected_version=0)
    shared_server.create(session_id)
    again = shared_server.execute(session_id, "CreateNode", data, command_id=command_id, expected_version=0)
    assert (again["duplicate"], again["version"]) == (True, 1)


# Undo and redo


def states(server: Server, session_id: str, changes: list[tuple[str, Json]]) -> list[list[Json]]:
    """The roots before and after each of some changes."""
    shown = [server.graph(session_id)["roots"]]
    for command_type, data in changes:
        server.execute(session_id, command_type, data)
        shown.append(server.graph(session_id)["roots"])
    return shown


def every_change(ids: list[str]) -> list[tuple[str, Json]]:
    """Commands of each type, on a tree of nodes with the given six ids."""
    a, b, c, d, e, f = ids
    return [
        ("CreateNode", {"blueprint_type_id": "x", "node_id": a, "name": "A", "properties": {"p": [1]}}),
        ("CreateNode", {"blueprint_type_id": "x", "node_id": b, "parent_id": a}),
        ("CreateNode", {"blueprint_type_id": "x", "node_id": c, "parent_id": a, "index": 0,
                        "properties": {"q": 1}}),
        ("CreateNode", {"blueprint_type_id": "x", "node_id": d, "parent_id": a, "index": 1}),
        ("CreateNode", {"blueprint_type_id": "x", "node_id": e, "index": 0}),
        ("CreateNode", {"blueprint_type_id": "x", "node_id": f, "parent_id": d}),
        ("UpdateProperty", {"node_id": a, "property_id": "p", "value": {"z": 1}}),
        ("UpdateProperty", {"node_id": a, "property_id": "new", "value": "n"}),
        ("UpdateProperty", {"node_id": a, "property_id": "p", "value": None}),
        ("UpdateProperty", {"node_id": a, "property_id": "name", "value": None}),
        ("MoveNode", {"node_id": c, "parent_id": a, "index": 2}),
        ("MoveNode", {"node_id": d, "parent_id": b}),
        ("MoveNode", {"node_id": d, "parent_id": None, "index": 1}),
        ("MoveNode", {"node_id": e, "parent_id": None, "index": 2}),
        ("LinkNode", {"parent_id": c, "child_id": e}),
        ("UnlinkNode", {"parent_id": a, "child_id": b}),
        ("DeleteNode", {"node_id": a}),
        ("Batch", {"commands": [
            entry("MoveNode", node_id=d, parent_id=b),
            entry("UpdateProperty", node_id=f, property_id="p", value=1),
            entry("DeleteNode", node_id=f),
            entry("CreateNode", blueprint_type_id="x", node_id=f, index=0),
            entry("MoveNode", node_id=b, parent_id=f),
        ]}),
    ]  # fmt: skip


@pytest.mark.parametrize("scope", [None, "actor"])
def test_undo_and_redo_restore_every_state_exactly(
    shared_server: Server, session_id: str, follow: Follow, scope: str | None
) -> None:
    """Given one of every change, when all are undone and redone one by one, then each state is as it was."""
    follower = follow(shared_server, session_id)
    changes = every_change([new_id() for _ in range(6)])
    shown = states(shared_server, session_id, changes)
    body = {} if scope is None else {"scope": scope}
    for before in reversed(shown[:-1]):
        answer = shared_server.undo(session_id, **body)
        assert answer["redo_available"] is True
        assert shared_server.graph(session_id)["roots"] == before
    assert answer["undo_available"] is False
    for after in shown[1:]:
        answer = shared_server.redo(session_id, **body)
        assert shared_server.graph(session_id)["roots"] == after
    assert (answer["undo_available"], answer["redo_available"]) == (True, False)
    follower.wait_version(3 * len(changes))
    follower.check()
    shared_server.check_converged(session_id, follower.tree)


def test_undo_answers_with_its_own_id_and_the_target(shared_server: Server, session_id: str) -> None:
    """Given a command, when it is undone and redone, then the answers have this call's id and the
    command's."""
    command_id, undo_id = new_id(), new_id()
    shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"}, command_id=command_id)
    answer = shared_server.undo(session_id, command_id=undo_id)
    expected = {
        "success": True, "command_id": undo_id, "target": command_id, "command_type": "CreateNode",
        "version": 2, "result": {}, "undo_available": False, "redo_available": True,
    }  # fmt: skip
    assert {key: answer.get(key) for key in expected} == expected
    answer = shared_server.redo(session_id)
    assert (answer["target"], answer["command_type"], answer["version"]) == (command_id, "CreateNode", 3)
    assert answer["command_id"] not in (command_id, undo_id)


@pytest.mark.parametrize("call", ["undo", "redo"])
def test_nothing_to_undo_or_redo_is_answered_to_its_sender_alone(
    shared_server: Server, session_id: str, connect: Connect, call: str
) -> None:
    """Given a new session, when undo or redo is asked, then NOTHING_TO_..., and the room hears nothing."""
    watcher, sender = connect(shared_server), connect(shared_server)
    watcher.join(session_id)
    watcher.settle()
    place = len(watcher.events)
    code = f"NOTHING_TO_{call.upper()}"
    assert refusal(shared_server.try_undo(session_id, call=call)) == (409, code)
    assert sender.call(f"{call}_command", {"session_id": session_id})["error"]["code"] == code
    watcher.settle()
    assert watcher.names(place) == ["pong", "ack"]


def test_undo_takes_the_latest_command_that_stands_whoever_gave_it(
    shared_server: Server, session_id: str
) -> None:
    """Given commands of two actors, when undo is asked twice, then the latest two are undone, last first."""
    ids = [new_id() for _ in range(3)]
    for own, actor in zip(ids, ["ann", "bob", "ann"], strict=True):
        data = {"blueprint_type_id": "x", "node_id": own}
        shared_server.execute(session_id, "CreateNode", data, actor=actor, command_id=own)
    answer = shared_server.try_undo(session_id, actor="bob").json()
    assert answer["target"] == ids[2]
    assert shared_server.undo(session_id)["target"] == ids[1]
    assert children(shared_server, session_id) == [ids[0]]
    assert shared_server.redo(session_id)["target"] == ids[1]


def test_a_new_command_clears_redo(shared_server: Server, session_id: str) -> None:
    """Given an undone command, when a new one commits, then there is nothing to redo."""
    shared_server.create(session_id)
    shared_server.undo(session_id)
    assert shared_server.ask(f"/sessions/{session_id}/info")["redo_available"] is True
    answer = shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    assert answer["redo_available"] is False
    assert refusal(shared_server.try_undo(session_id, call="redo")) == (409, "NOTHING_TO_REDO")


def test_a_refused_command_does_not_clear_redo(shared_server: Server, session_id: str) -> None:
    """Given an undone command, when a new one is refused, then redo works as before."""
    shared_server.create(session_id)
    shared_server.undo(session_id)
    assert refused(shared_server, session_id, "DeleteNode", {"node_id": new_id()}) == "NODE_NOT_FOUND"
    assert shared_server.redo(session_id)["version"] == 3


def test_undo_and_redo_survive_a_restart(server: Server) -> None:
    """Given changes, some undone, when the server is killed and restarted, then undo and redo go on
    exactly."""
    session = server.new_session()
    changes = every_change([new_id() for _ in range(6)])
    shown = states(server, session, changes)
    for _ in range(5):
        server.undo(session)
    server.kill()
    server.start()
    assert server.graph(session)["roots"] == shown[-6]
    for after in shown[-5:]:
        server.redo(session)
        assert server.graph(session)["roots"] == after
    server.stop()
    server.start()
    for before in reversed(shown[:-1]):
        server.undo(session)
        assert server.graph(session)["roots"] == before
    server.check_converged(session)


def test_a_projects_root_is_where_undo_stops(shared_server: Server) -> None:
    """Given a new project, when undo is asked, then NOTHING_TO_UNDO, and again after one command is
    undone."""
    session = shared_server.post("/projects", {"template_id": "workshop", "project_name": "P"}).json()[
        "session_id"
    ]
    assert shared_server.ask(f"/sessions/{session}/info")["undo_available"] is False
    assert refusal(shared_server.try_undo(session)) == (409, "NOTHING_TO_UNDO")
    assert refusal(shared_server.try_undo(session, scope="actor")) == (409, "NOTHING_TO_UNDO")
    shared_server.create(session, blueprint_type_id="task")
    assert shared_server.undo(session)["undo_available"] is False
    assert refusal(shared_server.try_undo(session)) == (409, "NOTHING_TO_UNDO")


def test_undo_is_once_only_by_its_own_id(shared_server: Server, session_id: str, connect: Connect) -> None:
    """Given an undo with an id, when it is sent again on either transport, then `duplicate` and one undo."""
    shared_server.create(session_id)
    shared_server.create(session_id)
    undo_id = new_id()
    first = shared_server.undo(session_id, command_id=undo_id)
    again = shared_server.undo(session_id, command_id=undo_id)
    over_socket = connect(shared_server).call(
        "undo_command", {"session_id": session_id, "command_id": undo_id}
    )
    for answer in (again, over_socket):
        assert answer["duplicate"] is True
        assert (answer["version"], answer["target"]) == (first["version"], first["target"])
    assert len(children(shared_server, session_id)) == 1
    assert refusal(shared_server.try_undo(session_id, call="redo", command_id=undo_id)) == (
        409,
        "COMMAND_ID_REUSED",
    )


@pytest.mark.parametrize(
    "body",
    [{"scope": "everyone"}, {"scope": 1}, {"scope": ""}, {"command_id": "x"}, {"expected_version": "1"}],
    ids=str,
)
@pytest.mark.parametrize("call", ["undo", "redo"])
def test_a_malformed_undo_is_an_invalid_request(
    shared_server: Server, session_id: str, call: str, body: Json
) -> None:
    """Given a field of undo or redo that does not fit, when sent, then 400 names it."""
    shared_server.create(session_id)
    response = shared_server.try_undo(session_id, call=call, **body)
    status, code = refusal(response)
    assert status == 400
    assert code in ("INVALID_REQUEST", "INVALID_COMMAND")
    assert next(iter(body)) in response.json()["error"]["message"]


class Actors:
    """Short forms for the tests of one's own undo."""

    def __init__(self, server: Server, session_id: str) -> None:
        self.server, self.session_id = server, session_id

    def do(self, actor: str, command_type: str, **data: Any) -> str:
        """The command's id."""
        answer = self.server.execute(self.session_id, command_type, data, actor=actor, command_id=new_id())
        return str(answer["command_id"])

    def create(self, actor: str, **data: Any) -> str:
        """The node's id."""
        made = new_id()
        self.do(actor, "CreateNode", blueprint_type_id="x", node_id=made, **data)
        return made

    def own(self, actor: str, call: str = "undo") -> requests.Response:
        return self.server.try_undo(self.session_id, call=call, actor=actor, scope="actor")

    def undone(self, actor: str, call: str = "undo") -> str:
        """The id of the command undone or redone."""
        response = self.own(actor, call)
        assert response.status_code == 200, response.text
        return str(response.json()["target"])

    def conflict(self, actor: str, call: str = "undo") -> list[str]:
        """The ids of the commands in the way."""
        before = self.server.graph(self.session_id)
        response = self.own(actor, call)
        assert refusal(response) == (409, "UNDO_CONFLICT"), response.text
        assert self.server.graph(self.session_id) == before
        return list(response.json()["error"]["details"]["commands"])


@pytest.fixture
def actors(shared_server: Server, session_id: str) -> Actors:
    return Actors(shared_server, session_id)


def test_scope_actor_works_on_ones_own_commands_alone(actors: Actors) -> None:
    """Given commands of Ann and Bob in turn, when each undoes and redoes his own, then the other's stay."""
    root = actors.create("eve")
    a1 = actors.do("ann", "UpdateProperty", node_id=root, property_id="a", value=1)
    b1 = actors.do("bob", "UpdateProperty", node_id=root, property_id="b", value=1)
    a2 = actors.do("ann", "UpdateProperty", node_id=root, property_id="c", value=1)
    assert actors.undone("bob") == b1
    assert refusal(actors.own("bob")) == (409, "NOTHING_TO_UNDO")
    assert actors.undone("ann") == a2
    assert actors.undone("ann") == a1
    assert refusal(actors.own("ann")) == (409, "NOTHING_TO_UNDO")
    assert node(actors.server, actors.session_id, root)["properties"] == {}
    assert actors.undone("bob", "redo") == b1
    assert actors.undone("ann", "redo") == a1
    assert actors.undone("ann", "redo") == a2
    assert node(actors.server, actors.session_id, root)["properties"] == {"a": 1, "b": 1, "c": 1}


def test_only_ones_own_new_commands_clear_ones_redo(actors: Actors) -> None:
    """Given Ann's undone command, when Bob commits, then Ann can redo; when she commits herself, she
    cannot."""
    root = actors.create("eve")
    first = actors.do("ann", "UpdateProperty", node_id=root, property_id="a", value=1)
    actors.undone("ann")
    actors.do("bob", "UpdateProperty", node_id=root, property_id="b", value=1)
    assert actors.undone("ann", "redo") == first
    actors.undone("ann")
    actors.do("ann", "UpdateProperty", node_id=root, property_id="c", value=1)
    assert refusal(actors.own("ann", "redo")) == (409, "NOTHING_TO_REDO")


def test_undo_keeps_what_others_did_elsewhere(actors: Actors) -> None:
    """Given Ann's command and later ones of Bob elsewhere, when Ann undoes hers, then Bob's work stands."""
    root = actors.create("eve")
    child = actors.create("ann", parent_id=root)
    other = actors.create("bob", parent_id=root, index=0)
    last = actors.create("bob", parent_id=root)
    actors.do("bob", "UpdateProperty", node_id=root, property_id="p", value=1)
    actors.undone("ann")
    assert children(actors.server, actors.session_id, root) == [other, last]
    actors.undone("ann", "redo")
    assert children(actors.server, actors.session_id, root) == [other, child, last]
    assert node(actors.server, actors.session_id, root)["properties"] == {"p": 1}


def test_the_same_property_is_a_conflict(actors: Actors) -> None:
    """Given Bob's later change of the same property, when Ann undoes hers, then UNDO_CONFLICT names Bob's."""
    root = actors.create("eve", properties={"p": 0})
    actors.do("ann", "UpdateProperty", node_id=root, property_id="p", value=1)
    in_the_way = [actors.do("bob", "UpdateProperty", node_id=root, property_id="p", value=n) for n in (2, 1)]
    assert sorted(actors.conflict("ann")) == sorted(in_the_way)
    actors.undone("bob")
    assert actors.conflict("ann") == in_the_way[:1]
    actors.undone("bob")
    actors.undone("ann")
    assert node(actors.server, actors.session_id, root)["properties"] == {"p": 0}


def test_the_place_is_a_conflict(actors: Actors) -> None:
    """Given Bob's later move of the same node, when Ann undoes her move, then UNDO_CONFLICT names Bob's."""
    one, two = actors.create("eve"), actors.create("eve")
    child = actors.create("eve", parent_id=one)
    actors.do("ann", "MoveNode", node_id=child, parent_id=two)
    bobs = actors.do("bob", "MoveNode", node_id=child, parent_id=None)
    assert actors.conflict("ann") == [bobs]
    actors.undone("bob")
    actors.undone("ann")
    assert children(actors.server, actors.session_id, one) == [child]


def test_the_existence_is_a_conflict(actors: Actors) -> None:
    """Given Bob's later deletion of the node, when Ann undoes her change to it, then UNDO_CONFLICT names
    Bob's."""
    root = actors.create("eve")
    actors.do("ann", "UpdateProperty", node_id=root, property_id="p", value=1)
    bobs = actors.do("bob", "DeleteNode", node_id=root)
    assert actors.conflict("ann") == [bobs]
    actors.undone("bob")
    actors.undone("ann")
    assert node(actors.server, actors.session_id, root)["properties"] == {}


def test_a_changed_property_is_in_the_way_of_undoing_the_creation(actors: Actors) -> None:
    """Given Bob's change to Ann's node, when Ann undoes creating it, then UNDO_CONFLICT names Bob's."""
    made = actors.create("ann")
    bobs = actors.do("bob", "UpdateProperty", node_id=made, property_id="p", value=1)
    assert actors.conflict("ann") == [bobs]


def test_a_child_is_in_the_way_of_undoing_the_creation_of_its_parent(actors: Actors) -> None:
    """Given Bob's node below Ann's, when Ann undoes creating hers, then UNDO_CONFLICT, and nothing
    changes."""
    made = actors.create("ann")
    below = actors.create("bob", parent_id=made)
    actors.conflict("ann")
    assert children(actors.server, actors.session_id, made) == [below]


def test_a_parent_that_is_gone_is_a_conflict(actors: Actors) -> None:
    """Given Ann's deletion of a child and Bob's of its parent, when Ann undoes hers, then UNDO_CONFLICT
    names Bob's."""
    parent = actors.create("eve")
    child = actors.create("eve", parent_id=parent)
    actors.do("ann", "DeleteNode", node_id=child)
    bobs = actors.do("bob", "DeleteNode", node_id=parent)
    assert actors.conflict("ann") == [bobs]
    actors.undone("bob")
    actors.undone("ann")
    assert children(actors.server, actors.session_id, parent) == [child]


def test_a_cycle_is_a_conflict(actors: Actors) -> None:
    """Given moves that make the old place one below the node itself, when undone, then UNDO_CONFLICT names
    them."""
    a, b = actors.create("eve"), actors.create("eve")
    child = actors.create("eve", parent_id=a)
    actors.do("ann", "MoveNode", node_id=child, parent_id=b)
    bobs = actors.do("bob", "MoveNode", node_id=a, parent_id=child)
    assert actors.conflict("ann") == [bobs]


def test_siblings_are_no_conflict(actors: Actors) -> None:
    """Given siblings that come, go and move, when a deletion among them is undone, then the node is back
    among them."""
    root = actors.create("eve")
    a, b, c = (actors.create("eve", parent_id=root) for _ in range(3))
    actors.do("ann", "DeleteNode", node_id=b)
    new = actors.create("bob", parent_id=root, index=0)
    actors.do("bob", "DeleteNode", node_id=a)
    actors.undone("ann")
    assert children(actors.server, actors.session_id, root) == [new, b, c]


def test_undo_of_one_who_did_nothing_is_nothing_to_undo(actors: Actors) -> None:
    """Given commands of Ann alone, when Bob undoes his own, then NOTHING_TO_UNDO; undo without scope takes
    Ann's."""
    actors.create("ann")
    assert refusal(actors.own("bob")) == (409, "NOTHING_TO_UNDO")
    assert actors.server.try_undo(actors.session_id, actor="bob").status_code == 200


def test_history_tells_what_is_undone(actors: Actors) -> None:
    """Given commands undone and redone, when history is read, then `undone` tells what does not stand."""
    root = actors.create("ann")
    actors.do("ann", "UpdateProperty", node_id=root, property_id="p", value=1)
    actors.undone("ann")
    shown = [(c["version"], c["command_type"], c["undone"]) for c in actors.server.history(actors.session_id)]
    assert [row[:2] for row in shown] == [(3, "Undo"), (2, "UpdateProperty"), (1, "CreateNode")]
    assert [row[2] for row in shown[1:]] == [True, False]
    actors.undone("ann", "redo")
    undone = {c["version"]: c["undone"] for c in actors.server.history(actors.session_id)}
    assert undone[2] is False
