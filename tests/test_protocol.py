"""The protocol as its document describes it: each event, its direction and fields, for each kind of
client."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.clients import (
    BINARY,
    CLOSE,
    KINDS,
    PING,
    RAW_KINDS,
    Ack,
    Client,
    RawPolling,
    RawWebSocket,
    event_packet,
    frame,
)
from tests.support.server import Server, new_id

Connect = Callable[..., Client]

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
every_kind = pytest.mark.parametrize("kind", KINDS + RAW_KINDS)
both_raw = pytest.mark.parametrize("kind", RAW_KINDS)


def check_common(event: dict[str, Any], name: str, session_id: str, version: int) -> None:
    """What every event to the room carries."""
    assert event["event"] == name
    assert event["session_id"] == session_id
    assert event["version"] == version
    assert TIMESTAMP.fullmatch(event["timestamp"]), event["timestamp"]
    said = datetime.strptime(event["timestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - said) < timedelta(minutes=2)


# Connection


@every_kind
def test_a_client_connects_and_joins(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a client of any kind, when it joins, then `joined` names the session, its own id and the
    count."""
    client = connect(shared_server, kind)
    joined = client.join(session_id)
    assert client.id
    assert joined["session_id"] == session_id
    assert joined["client_id"] == client.id
    assert joined["active_clients"] == 1


@pytest.mark.parametrize("kind", ["python", "node"])
def test_a_polling_client_upgrades_to_websocket(shared_server: Server, connect: Connect, kind: str) -> None:
    """Given a client with default transports, when it has connected, then it goes on over WebSocket."""
    client = connect(shared_server, kind)
    client.wait_until(lambda: client.transport == "websocket", what="the upgrade")  # type: ignore[attr-defined]
    client.settle()


def test_the_handshake_says_ping_interval_and_payload_limit(shared_server: Server, connect: Connect) -> None:
    """Given a raw polling client, when it shakes hands, then ping interval, limit and upgrade are as
    promised."""
    client = connect(shared_server, "raw-polling")
    assert isinstance(client, RawPolling)
    assert client.handshake["pingInterval"] == 25_000
    assert client.handshake["maxPayload"] == 1_000_000
    assert client.handshake["upgrades"] == ["websocket"]


# Session management


@every_kind
def test_joining_is_announced_to_the_whole_room(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given one in the room, when another joins, then both hear `session:connected`, the newcomer
    included."""
    first = connect(shared_server, "python-websocket")
    first.join(session_id)
    second = connect(shared_server, kind, actor="bob")
    joined = second.join(session_id)
    assert joined["active_clients"] == 2
    for client in (first, second):
        event = client.wait_for(
            lambda h: h.name == "session:connected" and h.payload["client_id"] == second.id
        )
        check_common(event, "session:connected", session_id, 0)
        assert event["actor"] == "bob"
        assert event["active_clients"] == 2


@every_kind
def test_leaving_is_answered_and_announced_to_those_who_stay(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given two in the room, when one leaves, then he hears `left`, and the other `session:disconnected`."""
    stays, leaves = connect(shared_server), connect(shared_server, kind, actor="bob")
    stays.join(session_id)
    leaves.join(session_id)
    left = leaves.leave(session_id)
    assert left["session_id"] == session_id
    assert left["client_id"] == leaves.id
    event = stays.wait_for("session:disconnected")
    check_common(event, "session:disconnected", session_id, 0)
    assert event["client_id"] == leaves.id
    assert event["actor"] == "bob"
    assert event["active_clients"] == 1
    leaves.settle()
    assert not leaves.heard("session:disconnected")


# Graph events


def graph_changes(server: Server, session_id: str) -> list[str]:
    """One of each change; the ids of root, child and grandchild."""
    root = server.create(session_id, blueprint_type_id="phase", name="Body")
    child = server.create(session_id, root, blueprint_type_id="task", properties={"status": "new"})
    server.execute(session_id, "UpdateProperty", {"node_id": child, "property_id": "status", "value": "done"})
    server.execute(session_id, "UnlinkNode", {"parent_id": root, "child_id": child})
    server.execute(session_id, "LinkNode", {"parent_id": root, "child_id": child})
    server.execute(session_id, "DeleteNode", {"node_id": child})
    return [root, child]


@every_kind
def test_every_graph_event_reaches_every_kind_of_client(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a client in the room, when each change is made, then it hears the event with the protocol's
    fields."""
    client = connect(shared_server, kind)
    client.join(session_id)
    root, child = graph_changes(shared_server, session_id)
    client.wait_version(session_id, 6)

    created = client.heard("node-created")
    check_common(created[0], "node-created", session_id, 1)
    assert created[0]["node"] == {
        "id": root,
        "blueprint_type_id": "phase",
        "parent_id": None,
        "name": "Body",
        "properties": {"name": "Body"},
        "children": [],
    }
    check_common(created[1], "node-created", session_id, 2)
    assert created[1]["node"] == {
        "id": child,
        "blueprint_type_id": "task",
        "parent_id": root,
        "name": "",
        "properties": {"status": "new"},
        "children": [],
    }
    changed = client.heard("property-changed")[0]
    check_common(changed, "property-changed", session_id, 3)
    assert {key: changed[key] for key in ("node_id", "property_id", "old_value", "new_value")} == {
        "node_id": child,
        "property_id": "status",
        "old_value": "new",
        "new_value": "done",
    }
    unlinked = client.heard("node-unlinked")
    check_common(unlinked[0], "node-unlinked", session_id, 4)
    assert (unlinked[0]["parent_id"], unlinked[0]["child_id"]) == (root, child)
    linked = client.heard("node-linked")
    assert [(event["version"], event["parent_id"], event["child_id"]) for event in linked] == [
        (2, root, child),
        (5, root, child),
    ]
    assert [event["index"] for event in linked] == [0, 0]
    deleted = client.heard("node-deleted")[0]
    check_common(deleted, "node-deleted", session_id, 6)
    assert deleted["node_id"] == child
    assert client.names().count("node-deleted") == 1


def test_the_facts_of_each_change_come_in_the_order_of_the_table(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a room, when each kind of change is committed, then its facts come as the contract's table
    lists them."""
    client = connect(shared_server)
    client.join(session_id)
    root = shared_server.create(session_id)
    other = shared_server.create(session_id)
    child = shared_server.create(session_id, root)
    below = shared_server.create(session_id, child)
    moves: list[tuple[str, dict[str, Any]]] = [
        ("MoveNode", {"node_id": child, "parent_id": other}),
        ("MoveNode", {"node_id": child, "parent_id": other, "index": 0}),
        ("MoveNode", {"node_id": child, "parent_id": None, "index": 1}),
        ("MoveNode", {"node_id": child, "parent_id": root}),
        ("UnlinkNode", {"parent_id": root, "child_id": child}),
        ("MoveNode", {"node_id": child, "parent_id": None, "index": 0}),
        ("LinkNode", {"parent_id": other, "child_id": child}),
        ("DeleteNode", {"node_id": other}),
    ]
    for command_type, data in moves:
        shared_server.execute(session_id, command_type, data)
    client.wait_version(session_id, 12)
    facts = [h.payload for h in client.events if h.name.startswith(("node-", "property-"))]

    def of(version: int) -> list[tuple[Any, ...]]:
        fields = ("event", "parent_id", "child_id", "node_id", "index")
        return [tuple(fact.get(field) for field in fields) for fact in facts if fact["version"] == version]

    created = [fact for fact in facts if fact["version"] == 4]
    assert [fact["event"] for fact in created] == ["node-created", "node-linked"]
    assert created[0]["node"]["parent_id"] == child
    assert [fact["event"] for fact in facts if fact["version"] == 1] == ["node-created"]
    assert [row[0] for row in of(5)] == ["node-unlinked", "node-linked"]
    assert of(5)[1] == ("node-linked", other, child, None, 0)
    assert [row[:3] for row in of(6)] == [("node-unlinked", other, child), ("node-linked", other, child)]
    assert of(7) == [("node-unlinked", other, child, None, 1)]
    assert of(8) == [("node-linked", root, child, None, 0)]
    assert [row[:3] for row in of(9)] == [("node-unlinked", root, child)]
    assert of(10) == [("node-linked", None, child, None, 0)]
    assert of(11) == [("node-linked", other, child, None, 0)]
    assert [(row[0], row[2] or row[3]) for row in of(12)] == [
        ("node-unlinked", below),
        ("node-deleted", below),
        ("node-unlinked", child),
        ("node-deleted", child),
        ("node-deleted", other),
    ]


def test_events_stay_in_the_room_of_their_session(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given clients in two sessions and one in none, when one session is edited, then only its room hears
    it."""
    other_session = shared_server.new_session()
    inside, elsewhere, nowhere = connect(shared_server), connect(shared_server), connect(shared_server)
    inside.join(session_id)
    elsewhere.join(other_session)
    shared_server.create(session_id)
    shared_server.create(other_session)
    inside.wait_version(session_id, 1)
    elsewhere.wait_version(other_session, 1)
    nowhere.settle()
    for client, own in ((inside, session_id), (elsewhere, other_session)):
        assert {
            h.payload["session_id"] for h in client.events if isinstance(h.payload, dict) and h.payload
        } == {own}
    assert set(nowhere.names()) == {"connect", "pong", "ack"}


def test_one_who_left_hears_nothing_more(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given a client that left, when the session is edited, then it hears nothing of it."""
    client = connect(shared_server)
    client.join(session_id)
    client.leave(session_id)
    place = len(client.events)
    shared_server.create(session_id)
    client.settle()
    assert client.names(place) == ["pong", "ack"]


# Command events


@every_kind
def test_a_command_is_executing_then_executed(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a room, when a command commits, then `command:executing`, its facts, `command:executed` come
    in turn."""
    client = connect(shared_server, kind, actor="ann")
    client.join(session_id)
    client.settle()
    place = len(client.events)
    command_id = new_id()
    answer = client.execute(session_id, "CreateNode", {"blueprint_type_id": "phase"}, command_id=command_id)
    assert client.names(place) == ["command:executing", "node-created", "command:executed", "ack"]
    executing, created, executed, _ = [heard.payload for heard in client.events[place:]]
    check_common(executing, "command:executing", session_id, 0)
    check_common(executed, "command:executed", session_id, 1)
    for event in (executing, created, executed):
        assert event["command_id"] == command_id
        assert event["actor"] == "ann"
        assert "by" not in event
    for event in (executing, executed):
        assert event["command_type"] == "CreateNode"
    assert executed["result"] == {"node_id": created["node"]["id"]} == answer["result"]


@every_kind
def test_a_command_that_the_graph_refuses_is_executing_then_failed(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a room, when a command is refused, then `command:failed` with code and message follows
    `executing`."""
    client = connect(shared_server, kind, actor="ann")
    client.join(session_id)
    client.settle()
    place = len(client.events)
    command_id = new_id()
    data = {"blueprint_type_id": "phase", "parent_id": new_id()}
    answer = client.execute(session_id, "CreateNode", data, command_id=command_id)
    assert client.names(place) == ["command:executing", "command:failed", "ack"]
    failed = client.events[place + 1].payload
    check_common(failed, "command:failed", session_id, 0)
    assert failed["command_id"] == command_id
    assert failed["command_type"] == "CreateNode"
    assert failed["actor"] == "ann"
    assert failed["error"]["code"] == "INVALID_PARENT"
    assert failed["error"]["message"] == "Parent node not found"
    assert answer["error"]["code"] == "INVALID_PARENT"


@every_kind
def test_undo_and_redo_are_told_with_the_commands_id(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a command, when it is undone and redone, then the facts and `command:undo`, `command:redo`
    name it."""
    client = connect(shared_server, kind, actor="ann")
    client.join(session_id)
    command_id, undo_id, redo_id = new_id(), new_id(), new_id()
    shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"}, command_id=command_id)
    client.wait_version(session_id, 1)
    place = len(client.events)
    client.call("undo_command", {"session_id": session_id, "command_id": undo_id})
    client.call("redo_command", {"session_id": session_id, "command_id": redo_id})
    told = [heard for heard in client.events[place:] if heard.name != "ack"]
    assert [h.name for h in told] == ["node-deleted", "command:undo", "node-created", "command:redo"]
    for heard, by, version in zip(told, [undo_id, undo_id, redo_id, redo_id], [2, 2, 3, 3], strict=True):
        check_common(heard.payload, heard.name, session_id, version)
        assert heard.payload["command_id"] == command_id
        assert heard.payload["by"] == by
        assert heard.payload["actor"] == "ann"
    for heard in (told[1], told[3]):
        assert heard.payload["command_type"] == "CreateNode"


def test_the_protocols_fields_of_each_event_are_all_there(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given one of every event, when the fields are compared, then none that the protocol or contract
    names lacks."""
    client, guest = connect(shared_server), connect(shared_server)
    client.join(session_id)
    guest.join(session_id)
    guest.emit("update_presence", {"session_id": session_id, "state": {"at": 1}})
    graph_changes(shared_server, session_id)
    shared_server.undo(session_id)
    shared_server.redo(session_id)
    shared_server.try_execute(session_id, "DeleteNode", {"node_id": new_id()})
    client.wait_for("session:presence")
    guest.leave(session_id)
    client.wait_for("session:disconnected")
    client.emit("leave_session", {})
    client.wait_for("error")
    shared_server.delete(f"/sessions/{session_id}", force="true")
    client.wait_for("session:deleted")
    room = {"event", "session_id", "timestamp", "version"}
    command = room | {"command_id", "actor"}
    fields = {
        "joined": {
            "session_id", "client_id", "active_clients", "version", "epoch", "resume", "created", "clients",
        },
        "session:connected": room | {"client_id", "actor", "active_clients"},
        "session:disconnected": room | {"client_id", "actor", "active_clients"},
        "session:presence": room | {"client_id", "actor", "state"},
        "session:deleted": room,
        "node-created": command | {"node"},
        "node-deleted": command | {"node_id"},
        "property-changed": command | {"node_id", "property_id", "old_value", "new_value"},
        "node-linked": command | {"parent_id", "child_id", "index"},
        "node-unlinked": command | {"parent_id", "child_id"},
        "command:executing": command | {"command_type"},
        "command:executed": command | {"command_type", "result"},
        "command:failed": command | {"command_type", "error"},
        "command:undo": command | {"command_type", "by"},
        "command:redo": command | {"command_type", "by"},
        "error": {"message", "code"},
    }  # fmt: skip
    heard = {h.name: h.payload for h in client.events}
    assert fields.keys() <= heard.keys()
    for name, expected in fields.items():
        assert expected <= heard[name].keys(), (name, expected - heard[name].keys())


def test_one_executing_and_one_outcome_for_each_command(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given three senders in a burst, when all is done, then each command has one `executing` before its
    one end."""
    watcher = connect(shared_server, "node-websocket")
    watcher.join(session_id)
    senders = [connect(shared_server, kind) for kind in ("raw-websocket", "raw-polling", "python-websocket")]
    root = shared_server.create(session_id)
    acks: list[Ack] = []
    for number, sender in enumerate(senders * 10):
        good = {"command_type": "CreateNode", "data": {"blueprint_type_id": "x", "parent_id": root}}
        bad = {"command_type": "DeleteNode", "data": {"node_id": new_id()}}
        call = {"session_id": session_id, "command_id": new_id(), **(bad if number % 3 == 2 else good)}
        acks.append(sender.begin("execute_command", call))
    answers = [ack.get() for ack in acks]
    committed = [answer["version"] for answer in answers if "error" not in answer]
    assert sorted(committed) == list(range(2, 22))
    shared_server.try_execute(session_id, "DeleteNode", {"node_id": new_id()})
    watcher.wait_until(lambda: len(watcher.heard("command:failed")) == 11)
    lives: dict[str, list[str]] = {}
    for heard in watcher.events:
        if heard.name.startswith(("command:", "node-")):
            lives.setdefault(heard.payload["command_id"], []).append(heard.name)
    assert len(lives) == 32
    for life in lives.values():
        assert life in (
            ["command:executing", "node-created", "command:executed"],
            ["command:executing", "node-created", "node-linked", "command:executed"],
            ["command:executing", "command:failed"],
        )


def test_no_event_passes_a_million_bytes(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given the largest names, values and properties, when they come, change and go, then each event fits."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.join(session_id)
    name = "ä" * (128 * 1024 - 1)
    properties = {"p": "\\" * 60_000, "ü" * 128: [None] * 3000}
    made = shared_server.create(session_id, name=name, properties=properties)
    for value in ("x" * (256 * 1024 - 2), None, name):
        data = {"node_id": made, "property_id": "name", "value": value}
        shared_server.execute(session_id, "UpdateProperty", data)
    shared_server.execute(session_id, "DeleteNode", {"node_id": made})
    shared_server.undo(session_id)
    client.wait_version(session_id, 6)
    sizes = [len(packet.encode()) for packet in client.packets]
    assert 600_000 < max(sizes) <= 1_000_000


# Utility events


@every_kind
@pytest.mark.parametrize("args", [(), ({"any": "thing"},), (None,), ("text", 2, [3])], ids=str)
def test_ping_is_answered_with_pong_without_payload(
    shared_server: Server, connect: Connect, kind: str, args: tuple[Any, ...]
) -> None:
    """Given a connected client, when it sends `ping` with nothing or anything, then `pong` comes without
    payload."""
    client = connect(shared_server, kind)
    client.emit("ping", *args)
    assert client.wait_heard("pong").args == ()
    assert client.call("ping", *args) == {}


MISSING = [(), (None,), ({},), ({"session_id": None},), ({"session_id": ""},)]


@pytest.mark.parametrize("kind", ["python-websocket", "node-polling", "raw-polling"])
@pytest.mark.parametrize("args", MISSING, ids=str)
@pytest.mark.parametrize(
    "event",
    ["join_session", "leave_session", "execute_command", "undo_command", "redo_command", "update_presence"],
)
def test_a_missing_session_id_is_said_in_these_words(
    shared_server: Server, connect: Connect, kind: str, event: str, args: tuple[Any, ...]
) -> None:
    """Given a call without a session id, when it is sent, then `error` says exactly `Missing session_id`."""
    client = connect(shared_server, kind)
    client.emit(event, *args)
    error = client.wait_for("error")
    assert error["message"] == "Missing session_id"
    assert error["code"] == "INVALID_REQUEST"
    client.settle()


@pytest.mark.parametrize("session", [1, 1.5, True, False, 0, ["a"], [], {"a": 1}, {}], ids=repr)
@pytest.mark.parametrize(
    "event",
    ["join_session", "leave_session", "execute_command", "undo_command", "redo_command", "update_presence"],
)
def test_a_session_id_of_another_type_is_refused_and_named(
    shared_server: Server, connect: Connect, event: str, session: Any
) -> None:
    """Given a session id that is no string, when it is sent, then `error` INVALID_REQUEST names the field."""
    client = connect(shared_server, "raw-websocket")
    client.emit(event, {"session_id": session})
    error = client.wait_for("error")
    assert error["code"] == "INVALID_REQUEST"
    assert "session_id" in error["message"]
    client.settle()


@pytest.mark.parametrize("payload", ["text", 7, True, ["list"], [], "", 0, False], ids=repr)
@pytest.mark.parametrize("event", ["join_session", "leave_session", "execute_command", "undo_command"])
def test_a_payload_that_is_no_object_is_refused_and_the_connection_stays(
    shared_server: Server, connect: Connect, event: str, payload: Any
) -> None:
    """Given a payload that is no object, when it is sent, then `error` INVALID_REQUEST comes and ping
    still works."""
    client = connect(shared_server, "raw-websocket")
    client.emit(event, payload)
    assert client.wait_for("error")["code"] == "INVALID_REQUEST"
    client.settle()


@pytest.mark.parametrize(
    "name",
    ["no_such_event", "connect", "disconnect", "connect_error", "message", "node-created", "joined", "", "*"],
)
def test_any_other_event_is_unknown_and_no_handler_runs(
    shared_server: Server, connect: Connect, session_id: str, name: str
) -> None:
    """Given any other event name, `connect` and `disconnect` included, when sent, then UNKNOWN_EVENT and
    no more."""
    client = connect(shared_server, "raw-websocket")
    client.join(session_id)
    client.emit(name, {"session_id": session_id})
    assert client.wait_for("error")["code"] == "UNKNOWN_EVENT"
    client.settle()
    assert shared_server.ask(f"/sessions/{session_id}/info")["active_clients"] == 1
    shared_server.create(session_id)
    client.wait_version(session_id, 1)


def test_errors_go_to_their_sender_alone(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given two in a room, when one sends nonsense, then the other hears nothing of it."""
    sender, other = connect(shared_server), connect(shared_server)
    sender.join(session_id)
    other.join(session_id)
    sender.wait_until(lambda: len(sender.heard("session:connected")) == 2)
    other.settle()
    place = len(other.events)
    sender.emit("join_session")
    sender.emit("nonsense")
    sender.emit("execute_command", {"session_id": session_id, "command_type": "NoSuch", "data": {}})
    sender.wait_until(lambda: len(sender.heard("error")) == 3)
    other.settle()
    assert other.names(place) == ["pong", "ack"]


# Acknowledgements and order


def test_an_acknowledgement_is_the_rest_answer(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given the same calls over both, when answered, then an acknowledgement is the JSON of the REST
    answer."""
    client = connect(shared_server)
    over_rest = shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    over_socket = client.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    assert over_socket.keys() == over_rest.keys()
    assert over_socket["success"] is True
    assert over_socket["version"] == over_rest["version"] + 1
    undo_rest = shared_server.undo(session_id)
    undo_socket = client.call("undo_command", {"session_id": session_id})
    assert undo_rest.keys() == undo_socket.keys()
    bad = {"session_id": session_id, "command_type": "DeleteNode", "data": {"node_id": new_id()}}
    assert client.call("execute_command", bad) == shared_server.post("/commands/execute", bad).json()
    assert (
        client.call("undo_command", {"session_id": session_id}) == shared_server.try_undo(session_id).json()
    )
    assert client.call("execute_command") == shared_server.post("/commands/execute", {}).json()


def test_joining_and_leaving_acknowledge_with_their_payload(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given callbacks, when a client joins and leaves, then they get the payloads of `joined` and `left`."""
    client = connect(shared_server)
    acknowledged = client.call("join_session", {"session_id": session_id})
    assert acknowledged == client.heard("joined")[0]
    names = client.names()
    assert names.index("joined") < names.index("ack")
    assert client.call("update_presence", {"session_id": session_id, "state": {}}) == {}
    assert client.call("leave_session", {"session_id": session_id}) == client.heard("left")[0]
    refused = client.call("join_session", {})
    assert refused["error"]["message"] == "Missing session_id"


@every_kind
def test_an_acknowledgement_comes_after_the_facts_of_its_commit(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given 20 commands in flight, when each is acknowledged, then its closing event was heard before."""
    client = connect(shared_server, kind)
    client.join(session_id)
    acks = [Ack("execute_command") for _ in range(20)]
    payload = {"session_id": session_id, "command_type": "CreateNode", "data": {"blueprint_type_id": "x"}}
    client.burst([("execute_command", (payload,), ack) for ack in acks])
    versions = [ack.get()["version"] for ack in acks]
    assert versions == list(range(1, 21))
    closed = 0
    for heard in client.events:
        if heard.name == "command:executed":
            closed = heard.payload["version"]
        elif heard.name == "ack":
            assert heard.payload["version"] <= closed


@every_kind
def test_a_burst_of_200_emits_in_one_tick_is_carried_out_in_order(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given 200 emits in one tick, when all are answered, then the nodes stand in the order they were
    sent."""
    client = connect(shared_server, kind)
    client.join(session_id)
    acks = [Ack("execute_command") for _ in range(200)]
    ids = [new_id() for _ in acks]
    client.burst(
        (
            "execute_command",
            (
                {
                    "session_id": session_id,
                    "command_type": "CreateNode",
                    "data": {"blueprint_type_id": "x", "node_id": node_id},
                },
            ),
            ack,
        )
        for node_id, ack in zip(ids, acks, strict=True)
    )
    assert [ack.get(30)["node_id"] for ack in acks] == ids
    client.wait_version(session_id, 200)
    assert [root["id"] for root in shared_server.graph(session_id)["roots"]] == ids
    assert [event["node"]["id"] for event in client.heard("node-created")] == ids


def test_calls_of_one_client_are_carried_out_in_the_order_sent(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given different calls in one burst, when answered, then the acknowledgements come in the order sent."""
    client = connect(shared_server)
    client.join(session_id)
    node = new_id()

    def command(command_type: str, data: dict[str, Any]) -> tuple[dict[str, Any]]:
        return ({"session_id": session_id, "command_type": command_type, "data": data},)

    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("execute_command", command("CreateNode", {"blueprint_type_id": "x", "node_id": node})),
        ("execute_command", command("UpdateProperty", {"node_id": node, "property_id": "a", "value": 1})),
        ("undo_command", ({"session_id": session_id},)),
        ("execute_command", command("DeleteNode", {"node_id": node})),
        ("undo_command", ({"session_id": session_id},)),
        ("redo_command", ({"session_id": session_id},)),
    ]
    acks = [Ack(event) for event, _ in calls]
    client.burst((event, args, ack) for (event, args), ack in zip(calls, acks, strict=True))
    assert [ack.get()["version"] for ack in acks] == [1, 2, 3, 4, 5, 6]
    assert shared_server.graph(session_id)["roots"] == []


def test_without_a_callback_a_refusal_that_the_room_does_not_hear_comes_as_error(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given no callback, when a call is refused in private, then `error` says so; one the room hears does
    not."""
    client = connect(shared_server)
    client.join(session_id)
    client.emit("undo_command", {"session_id": session_id})
    assert client.wait_for("error")["code"] == "NOTHING_TO_UNDO"
    client.emit("execute_command", {"session_id": session_id, "command_type": "NoSuch", "data": {}})
    client.wait_until(lambda: len(client.heard("error")) == 2)
    assert client.heard("error")[1]["code"] == "INVALID_COMMAND"
    client.emit(
        "execute_command",
        {"session_id": session_id, "command_type": "DeleteNode", "data": {"node_id": new_id()}},
    )
    assert client.wait_for("command:failed")["error"]["code"] == "NODE_NOT_FOUND"
    client.settle()
    assert len(client.heard("error")) == 2


def test_an_unknown_session_is_said_in_these_words(shared_server: Server, connect: Connect) -> None:
    """Given a session that is not there, when anything is asked of it, then exactly `Session not found`."""
    client = connect(shared_server)
    lost = new_id()
    payload = {"session_id": lost, "command_type": "DeleteNode", "data": {"node_id": new_id()}}
    for event in ("execute_command", "undo_command", "redo_command"):
        place = len(client.events)
        client.emit(event, payload if event == "execute_command" else {"session_id": lost})
        error = client.wait_for("error", after=place)
        assert error["message"] == "Session not found"
        assert error["code"] == "INVALID_SESSION"


# Presence


def test_presence_goes_to_the_others_of_the_room(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given two in a room, when one shows his presence, then the other hears it with his id, actor and
    state."""
    ann, bob = connect(shared_server, actor="ann"), connect(shared_server, actor="bob")
    ann.join(session_id)
    bob.join(session_id)
    state = {"selected": new_id(), "colour": "#c00"}
    assert bob.call("update_presence", {"session_id": session_id, "state": state}) == {}
    presence = ann.wait_for("session:presence")
    check_common(presence, "session:presence", session_id, 0)
    assert (presence["client_id"], presence["actor"], presence["state"]) == (bob.id, "bob", state)
    bob.settle()
    assert not bob.heard("session:presence")


def test_presence_is_kept_until_the_client_leaves(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a presence, when others join later, then they are told it; and not once its client has left."""
    ann, bob = connect(shared_server, actor="ann"), connect(shared_server)
    ann.join(session_id)
    ann.call("update_presence", {"session_id": session_id, "state": {"n": 1}})
    clients = bob.join(session_id)["clients"]
    assert {"client_id": ann.id, "actor": "ann", "state": {"n": 1}} in clients
    ann.leave(session_id)
    ann.join(session_id)
    late = connect(shared_server).join(session_id)["clients"]
    assert [c["state"] for c in late if c["client_id"] == ann.id] == [None]


def test_of_many_presences_the_last_is_told(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given 50 updates in one burst, when the others have heard, then the last of them is the 50th."""
    ann, bob = connect(shared_server), connect(shared_server)
    ann.join(session_id)
    bob.join(session_id)
    bob.burst(("update_presence", ({"session_id": session_id, "state": n},), None) for n in range(50))
    ann.wait_for(lambda h: h.name == "session:presence" and h.payload["state"] == 49)
    states = [event["state"] for event in ann.heard("session:presence")]
    assert states == sorted(states)


def test_presence_is_for_members_and_small(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given one outside, or more than 1 KiB, when presence is sent, then it is refused; 1 KiB is taken."""
    outside, inside = connect(shared_server), connect(shared_server)
    refused = outside.call("update_presence", {"session_id": session_id, "state": {}})
    assert refused["error"]["code"] == "INVALID_REQUEST"
    inside.join(session_id)
    fits = "x" * (1024 - 2)
    assert inside.call("update_presence", {"session_id": session_id, "state": fits}) == {}
    too_large = inside.call("update_presence", {"session_id": session_id, "state": fits + "x"})
    assert too_large["error"]["code"] in ("INVALID_REQUEST", "LIMIT_EXCEEDED")
    inside.settle()


# What no stock client sends


@pytest.mark.parametrize("kind", ["python-websocket", "python-polling"])
def test_a_binary_packet_is_answered_binary_not_supported(
    shared_server: Server, connect: Connect, kind: str
) -> None:
    """Given a client that sends bytes, when the packet arrives, then `error` BINARY_NOT_SUPPORTED comes."""
    client = connect(shared_server, kind)
    client.emit("ping", b"\x00\x01")
    assert client.wait_for("error")["code"] == "BINARY_NOT_SUPPORTED"


def test_a_binary_frame_is_answered_binary_not_supported(shared_server: Server, connect: Connect) -> None:
    """Given a raw client, when it sends a binary WebSocket message, then `error` BINARY_NOT_SUPPORTED
    comes."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.send_bytes(frame(b"\x04\x01\x02", BINARY))
    assert client.wait_for("error")["code"] == "BINARY_NOT_SUPPORTED"


MALFORMED = {
    "empty": "",
    "empty message": "4",
    "no data": "42",
    "cut off": '42["ping"',
    "no list": '42{"ping": 1}',
    "empty list": "42[]",
    "name is no string": "42[1]",
    "name is null": "42[null]",
    "no JSON": "42ping",
    "rubbish after the data": '42["ping"]x',
    "unknown socket packet": '49["ping"]',
    "unknown engine packet": "9",
    "letters": "hello",
    "NaN": '42["ping",NaN]',
    "binary event without count": '45["ping"]',
    "binary event of a million parts": '451000000-["ping"]',
    "endless ack number": "42" + "1" * 5000 + '["ping"]',
    "deep and cut off": '42["ping",' + "[" * 100_000,
}


@both_raw
@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_packet_is_answered_with_error_or_ends_the_connection(
    shared_server: Server, connect: Connect, kind: str, packet: str
) -> None:
    """Given a malformed packet, when it is sent, then within 5 s `error` comes or the connection ends."""
    client = connect(shared_server, kind)
    assert isinstance(client, RawPolling | RawWebSocket)
    client.send_packet(packet)
    client.wait_heard(lambda h: h.name in ("error", "disconnect"), timeout=5)
    connect(shared_server, kind).settle()


@pytest.mark.parametrize(
    "body", [b"", b"\x1e", b"\x1e\x1e\x1e", b"4\x1e", b"\xff\xfe", b"\x004", b"b4AAE="], ids=repr
)
def test_a_malformed_polling_body_is_answered_with_error_or_ends_the_connection(
    shared_server: Server, connect: Connect, body: bytes
) -> None:
    """Given a polling body that holds no packets, when it is posted, then an error comes within 5 s."""
    client = connect(shared_server, "raw-polling")
    assert isinstance(client, RawPolling)
    status, _ = client.post(body)
    if status == 200:
        client.wait_heard(lambda h: h.name in ("error", "disconnect"), timeout=5)
    else:
        assert 400 <= status < 500
    connect(shared_server, "raw-polling").settle()


@both_raw
def test_deep_nesting_does_no_harm(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given JSON of 100,000 brackets, when sent as any argument, then an answer or an end, and life goes
    on."""
    deep = "[" * 100_000 + "]" * 100_000
    for packet in (f'42["ping",{deep}]', f'42["join_session",{{"session_id":{deep}}}]'):
        client = connect(shared_server, kind)
        assert isinstance(client, RawPolling | RawWebSocket)
        client.send_packet(packet)
        client.wait_heard(lambda h: h.name in ("pong", "error", "disconnect"), timeout=5)
    connect(shared_server, kind).settle()


BROKEN_FRAMES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "unmasked": (frame(b'42["ping"]', masked=False), (1002,)),
    "reserved bit": (frame(b'42["ping"]', rsv=4), (1002,)),
    "unknown opcode": (frame(b"x", 0x3), (1002,)),
    "unknown control opcode": (frame(b"x", 0xB), (1002,)),
    "fragmented control frame": (frame(b"x", PING, fin=False), (1002,)),
    "long control frame": (frame(b"x" * 126, PING), (1002,)),
    "continuation of nothing": (frame(b"x", 0x0), (1002,)),
    "a new message inside a fragmented one": (frame(b"4", fin=False) + frame(b"4"), (1002,)),
    "close of one byte": (frame(b"\x03", CLOSE), (1002,)),
    "close with a code that no one may send": (frame(struct.pack("!H", 1005), CLOSE), (1002,)),
    "close with a reason that is no UTF-8": (frame(struct.pack("!H", 1000) + b"\xff", CLOSE), (1007,)),
    "text that is no UTF-8": (frame(b'42["ping","\xff"]'), (1007,)),
    "fragments that are no UTF-8": (frame(b"4\xc3", fin=False) + frame(b"\x28", 0x0), (1007,)),
    "surrogates in UTF-8": (frame(b'42["ping","\xed\xa0\x80"]'), (1007,)),
    "two gigabytes announced": (frame(b"42", announced=2 << 30), (1009,)),
    "the highest bit of the length": (frame(b"42", announced=1 << 63), (1002, 1009)),
    "one byte too many": (frame(b"4" * 1_000_001), (1009,)),
    "fragments that are too long together": (
        frame(b"4" * 600_000, fin=False) + frame(b"4" * 600_000, 0x0),
        (1009,),
    ),
}


@pytest.mark.parametrize("data, codes", BROKEN_FRAMES.values(), ids=BROKEN_FRAMES.keys())
def test_a_frame_that_breaks_rfc_6455_ends_the_connection(
    shared_server: Server, connect: Connect, data: bytes, codes: tuple[int, ...]
) -> None:
    """Given a broken frame, when it is sent, then the connection ends with 1002, 1007 or 1009 within 5 s."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    try:
        client.send_bytes(data)
    except OSError:
        assert len(data) > 500_000  # the server may end it before all of that is sent
    client.wait_ended(5)
    assert client.close_code in codes


def test_fragments_and_control_frames_between_them_are_understood(
    shared_server: Server, connect: Connect
) -> None:
    """Given a message in fragments with a ping between, when all has come, then it is one message and a
    pong."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    text = '42["ping","ä"]'.encode()
    client.send_bytes(frame(text[:12], fin=False))
    client.send_bytes(frame(b"are you there", PING))
    client.send_bytes(frame(text[12:], 0x0))
    assert client.wait_for("websocket pong") == b"are you there"
    client.wait_for("pong")


@both_raw
def test_a_message_of_a_million_bytes_is_taken(shared_server: Server, connect: Connect, kind: str) -> None:
    """Given a packet of exactly 1,000,000 bytes, when it is sent, then it is answered."""
    client = connect(shared_server, kind)
    assert isinstance(client, RawPolling | RawWebSocket)
    head, tail = '42["ping","', '"]'
    client.send_packet(head + "x" * (1_000_000 - len(head) - len(tail)) + tail)
    client.wait_for("pong")


def test_a_polling_packet_of_more_than_a_million_bytes_is_refused(
    shared_server: Server, connect: Connect
) -> None:
    """Given a polling body of 1,000,001 bytes in one packet, when it is posted, then it is refused within
    5 s."""
    client = connect(shared_server, "raw-polling")
    assert isinstance(client, RawPolling)
    client.send_packet(event_packet("ping", "x" * 1_000_000))
    client.wait_heard(lambda h: h.name in ("error", "disconnect"), timeout=5)
    assert not client.heard("pong")


def test_another_namespace_is_refused(shared_server: Server, connect: Connect) -> None:
    """Given the namespace `/` alone, when a client asks for another, then it is refused and `/` works on."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.send_packet("40/admin,")
    client.wait_heard(lambda h: h.name in ("connect_error", "error"))
    client.settle()


def test_a_closed_websocket_is_answered_with_its_code(shared_server: Server, connect: Connect) -> None:
    """Given an open WebSocket, when the client closes it with 1000, then the server answers the close and
    ends."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.send_bytes(frame(struct.pack("!H", 1000), CLOSE))
    client.wait_ended(5)
    assert client.close_code in (1000, 1005)


def test_values_arrive_as_they_were_sent(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given text of many scripts and numbers of many sizes, when set over a socket, then all hear the same
    value."""
    value = {
        "text": 'Käfer 🚗 \u2028 \\ " \x7f',
        "numbers": [0, -1, 2**53 - 1, 1.5, 1e300, -0.25],
        "list": [[], {}],
    }
    writers = [connect(shared_server, kind) for kind in ("node-polling", "node-websocket", "python-polling")]
    readers = [connect(shared_server, kind) for kind in ("node", "python", "raw-polling")]
    for reader in readers:
        reader.join(session_id)
    node = shared_server.create(session_id)
    for number, writer in enumerate(writers):
        data = {"node_id": node, "property_id": f"p{number}", "value": value}
        assert writer.execute(session_id, "UpdateProperty", data)["success"]
    for reader in readers:
        reader.wait_version(session_id, 4)
        assert [event["new_value"] for event in reader.heard("property-changed")] == [value] * 3
    properties = shared_server.graph(session_id)["roots"][0]["properties"]
    assert json.dumps(properties["p0"], sort_keys=True) == json.dumps(value, sort_keys=True)
