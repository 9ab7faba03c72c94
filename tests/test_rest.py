"""REST: every row of the contract's section 4, its errors and its limits."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clients import Client
from tests.support.server import Server, new_id, refusal
from tests.support.tree import Tree, difference, rebuilt

Connect = Callable[..., Client]
Json = dict[str, Any]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


# Health


def test_health_says_ok_and_the_protocols_version(shared_server: Server) -> None:
    """Given a running server, when asked for its health, then 200, status ok and protocol 1.0."""
    response = shared_server.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert response.json()["protocol"] == "1.0"


# Sessions


def test_post_sessions_gives_an_empty_session(shared_server: Server) -> None:
    """Given nothing, when a session is made, then 201 with its id, version 0, epoch and time."""
    response = shared_server.post("/sessions", {})
    assert response.status_code == 201
    made = response.json()
    assert UUID.fullmatch(made["session_id"])
    assert made["version"] == 0
    assert UUID.fullmatch(made["epoch"])
    assert TIMESTAMP.fullmatch(made["created_at"])
    graph = shared_server.graph(made["session_id"])
    assert graph == {"session_id": made["session_id"], "version": 0, "epoch": made["epoch"], "roots": []}


def test_a_session_has_the_name_and_template_it_was_given(shared_server: Server) -> None:
    """Given a name and a template, when a session is made with them, then info shows both."""
    session = shared_server.new_session(name="Käfer '66", template_id="workshop")
    info = shared_server.ask(f"/sessions/{session}/info")
    assert (info["name"], info["template_id"]) == ("Käfer '66", "workshop")


@pytest.mark.parametrize(
    "body, field",
    [({"name": 5}, "name"), ({"name": []}, "name"), ({"template_id": 5}, "template_id")],
    ids=str,
)
def test_a_malformed_session_is_refused(shared_server: Server, body: Json, field: str) -> None:
    """Given a field of the wrong type, when a session is made with it, then INVALID_REQUEST names it."""
    response = shared_server.post("/sessions", body)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert field in response.json()["error"]["message"]


def test_an_unknown_template_is_not_found(shared_server: Server) -> None:
    """Given no such template, when it is asked for anywhere, then TEMPLATE_NOT_FOUND."""
    for response in (
        shared_server.post("/sessions", {"template_id": "none"}),
        shared_server.post("/projects", {"template_id": "none", "project_name": "P"}),
        shared_server.get("/templates/none/schema"),
        shared_server.get("/templates/%2e%2e/schema"),
    ):
        assert refusal(response) == (404, "TEMPLATE_NOT_FOUND")


def test_sessions_are_listed_by_latest_activity_in_pages(server: Server, connect: Connect) -> None:
    """Given five sessions, when listed in pages of two, then each once, the one committed in last first."""
    sessions = [server.new_session(name=f"s{n}") for n in range(5)]
    for session in (sessions[3], sessions[1]):
        server.create(session)
    project = server.post("/projects", {"template_id": "restomod", "project_name": "P"}).json()
    client = connect(server)
    client.join(sessions[1])
    listed: list[Json] = []
    cursor: Json = {}
    while True:
        page = server.ask("/sessions", limit=2, **cursor)
        assert page["total"] == 6
        assert len(page["sessions"]) == 2
        listed += page["sessions"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(each["session_id"] for each in listed) == sorted([*sessions, project["session_id"]])
    for each in listed:
        assert each.keys() >= {
            "session_id", "name", "created_at", "last_activity", "active_clients", "has_project", "version",
        }  # fmt: skip
        assert TIMESTAMP.fullmatch(each["created_at"])
        assert TIMESTAMP.fullmatch(each["last_activity"])
    activity = [each["last_activity"] for each in listed]
    assert activity == sorted(activity, reverse=True)
    shown = {each["session_id"]: each for each in listed}
    assert shown[sessions[1]]["active_clients"] == 1
    assert shown[sessions[1]]["version"] == 1
    assert shown[sessions[1]]["has_project"] is False
    assert shown[project["session_id"]]["has_project"] is True


def test_info_shows_the_session_and_what_can_be_undone(shared_server: Server, session_id: str) -> None:
    """Given commits and an undo, when info is read, then it shows all of its fields with their values."""
    shared_server.create(session_id)
    shared_server.create(session_id)
    shared_server.undo(session_id)
    info = shared_server.ask(f"/sessions/{session_id}/info")
    expected = {
        "session_id": session_id, "active_clients": 0, "has_project": False, "version": 3, "project_id": None,
        "template_id": None, "undo_available": True, "redo_available": True, "node_count": 1,
    }  # fmt: skip
    assert {key: info.get(key) for key in expected} == expected
    assert info.keys() >= {"name", "created_at", "last_activity"}


def test_delete_ends_a_session_for_ever(shared_server: Server, session_id: str) -> None:
    """Given a session, when it is deleted, then 204, and every call for it is `Session not found`."""
    shared_server.create(session_id)
    response = shared_server.delete(f"/sessions/{session_id}")
    assert (response.status_code, response.content) == (204, b"")
    for response in calls_of(shared_server, session_id):
        assert refusal(response) == (404, "INVALID_SESSION"), response.request.url
        assert response.json()["error"]["message"] == "Session not found"


def calls_of(server: Server, session_id: str) -> list[Any]:
    return [
        server.get("/graph", session_id=session_id),
        server.get(f"/sessions/{session_id}/info"),
        server.get(f"/sessions/{session_id}/events"),
        server.get(f"/sessions/{session_id}/history"),
        server.try_undo(session_id),
        server.try_undo(session_id, call="redo"),
        server.try_execute(session_id, "CreateNode", {"blueprint_type_id": "x"}),
        server.delete(f"/sessions/{session_id}"),
    ]


@pytest.mark.parametrize("session", [new_id(), "no-such-session", "%20", "..%2f..", "ä", "x" * 2000])
def test_an_unknown_session_is_not_found(shared_server: Server, session: str) -> None:
    """Given text that names no session, when any call is made for it, then 404 `Session not found`."""
    for response in calls_of(shared_server, session):
        status, code = refusal(response)
        assert status == 404
        assert code in ("INVALID_SESSION", "NOT_FOUND")


def test_a_session_in_use_is_not_deleted_unless_forced(
    shared_server: Server, session_id: str, connect: Connect
) -> None:
    """Given a client in a session, when it is deleted, then 409 SESSION_IN_USE; with force=true 204."""
    client = connect(shared_server)
    client.join(session_id)
    assert refusal(shared_server.delete(f"/sessions/{session_id}")) == (409, "SESSION_IN_USE")
    assert refusal(shared_server.delete(f"/sessions/{session_id}", force="false")) == (409, "SESSION_IN_USE")
    client.leave(session_id)
    assert shared_server.delete(f"/sessions/{session_id}").status_code == 204


def test_a_deleted_session_stays_deleted_after_a_restart(server: Server) -> None:
    """Given a deleted session with many commits, when the server restarts at once, then it is still gone."""
    session, other = server.new_session(), server.new_session()
    for _ in range(30):
        server.create(session)
    server.create(other)
    server.delete(f"/sessions/{session}")
    server.kill()
    server.start()
    assert refusal(server.get("/graph", session_id=session)) == (404, "INVALID_SESSION")
    assert [each["session_id"] for each in server.ask("/sessions")["sessions"]] == [other]


# Projects


def test_a_project_is_a_session_with_a_root_of_the_first_type(shared_server: Server) -> None:
    """Given a template, when a project is made, then 201 with its root, at version 1, readable at its
    address."""
    response = shared_server.post("/projects", {"template_id": "workshop", "project_name": "My '66"})
    assert response.status_code == 201
    project = response.json()
    assert project.keys() >= {"project_id", "session_id", "version", "epoch", "graph"}
    assert project["version"] == 1
    (root,) = project["graph"]["roots"]
    assert (root["blueprint_type_id"], root["name"], root["parent_id"]) == ("project", "My '66", None)
    read = shared_server.ask(f"/projects/{project['project_id']}")
    expected = {
        "project_id": project["project_id"], "session_id": project["session_id"], "template_id": "workshop",
        "version": 1, "graph": project["graph"],
    }  # fmt: skip
    assert {key: read.get(key) for key in expected} == expected
    assert shared_server.graph(project["session_id"])["roots"] == project["graph"]["roots"]
    info = shared_server.ask(f"/sessions/{project['session_id']}/info")
    assert (info["project_id"], info["has_project"]) == (project["project_id"], True)
    shared_server.check_converged(project["session_id"])


@pytest.mark.parametrize(
    "body, field",
    [
        ({"project_name": "P"}, "template_id"),
        ({"template_id": "workshop"}, "project_name"),
        ({"template_id": 5, "project_name": "P"}, "template_id"),
        ({"template_id": "workshop", "project_name": 5}, "project_name"),
    ],
    ids=str,
)
def test_a_malformed_project_is_refused(shared_server: Server, body: Json, field: str) -> None:
    """Given a field that is missing or of the wrong type, when a project is made, then 400 names it."""
    response = shared_server.post("/projects", body)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert field in response.json()["error"]["message"]


def test_an_unknown_project_is_not_found(shared_server: Server) -> None:
    """Given no such project, when it is read, then PROJECT_NOT_FOUND."""
    for text in (new_id(), "none"):
        assert refusal(shared_server.get(f"/projects/{text}")) == (404, "PROJECT_NOT_FOUND")


# Graph


def test_a_graph_without_id_is_missing_session_id(shared_server: Server) -> None:
    """Given no session_id, when the graph is read, then 400 with exactly `Missing session_id`."""
    for params in ({}, {"session_id": ""}):
        response = shared_server.get("/graph", **params)
        assert refusal(response) == (400, "INVALID_REQUEST")
        assert response.json()["error"]["message"] == "Missing session_id"


@pytest.mark.parametrize("body", [{}, {"session_id": None}, {"session_id": ""}], ids=str)
def test_a_command_without_id_is_missing_session_id(shared_server: Server, body: Json) -> None:
    """Given no session_id, when a command is sent, then 400 with exactly `Missing session_id`."""
    body = {"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}, **body}
    response = shared_server.post("/commands/execute", body)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert response.json()["error"]["message"] == "Missing session_id"


def test_the_graph_has_children_nested_in_order(shared_server: Server, session_id: str) -> None:
    """Given a tree, when the graph is read, then each node has the contract's six fields, children in
    order."""
    root = shared_server.create(session_id, name="R", properties={"p": 1})
    second = shared_server.create(session_id, root)
    first = shared_server.create(session_id, root, index=0)
    below = shared_server.create(session_id, second)

    def shown(own: str, parent: str | None, *children: Json) -> Json:
        return {
            "id": own, "blueprint_type_id": "part", "parent_id": parent, "name": "", "properties": {},
            "children": list(children),
        }  # fmt: skip

    tree = shown(root, None, shown(first, root), shown(second, root, shown(below, second)))
    tree |= {"name": "R", "properties": {"name": "R", "p": 1}}
    graph = shared_server.graph(session_id)
    assert graph["roots"] == [tree]
    assert graph["version"] == 4
    assert graph["session_id"] == session_id


def test_an_etag_saves_reading_again(shared_server: Server, session_id: str) -> None:
    """Given an ETag, when the graph is asked for with it, then 304 until something is committed."""
    shared_server.create(session_id)
    first = shared_server.get("/graph", session_id=session_id)
    etag = first.headers["ETag"]
    again = shared_server.get("/graph", session_id=session_id, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == etag
    for listed in (f'"other", {etag}', "*", f"W/{etag}" if not etag.startswith("W/") else etag):
        response = shared_server.get("/graph", session_id=session_id, headers={"If-None-Match": listed})
        assert response.status_code == 304, listed
    other = shared_server.get("/graph", session_id=session_id, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200
    shared_server.create(session_id)
    changed = shared_server.get("/graph", session_id=session_id, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_an_etag_names_epoch_and_version(shared_server: Server) -> None:
    """Given two sessions of one version, when their graphs are read, then a session's ETag is its own
    state's."""
    one, two = shared_server.new_session(), shared_server.new_session()
    shared_server.create(one)
    shared_server.create(two)
    before = shared_server.get("/graph", session_id=one).headers["ETag"]
    shared_server.create(one)
    shared_server.undo(one)
    after = shared_server.get("/graph", session_id=one)
    assert after.headers["ETag"] != before
    past = shared_server.get("/graph", session_id=one, version=1)
    assert past.headers["ETag"] == before


def test_every_past_version_can_be_read_exactly(shared_server: Server, session_id: str) -> None:
    """Given 40 commits of all kinds, when each past version is read, then it is the state of then, for
    ever."""
    states = [shared_server.graph(session_id)]
    root = shared_server.create(session_id, name="root")
    states.append(shared_server.graph(session_id))
    nodes = [root]
    for n in range(30):
        kind = n % 6
        if kind in (0, 1, 2):
            nodes.append(
                shared_server.create(session_id, nodes[n % len(nodes)], index=0, properties={"n": n})
            )
        elif kind == 3:
            data: Json = {"node_id": nodes[-1], "property_id": "n", "value": None}
            shared_server.execute(session_id, "UpdateProperty", data)
        elif kind == 4:
            data = {"node_id": nodes[-1], "parent_id": None, "index": 0}
            shared_server.execute(session_id, "MoveNode", data)
        else:
            shared_server.execute(session_id, "DeleteNode", {"node_id": nodes.pop()})
        states.append(shared_server.graph(session_id))
    for _ in range(5):
        shared_server.undo(session_id)
        states.append(shared_server.graph(session_id))
    shared_server.redo(session_id)
    states.append(shared_server.graph(session_id))
    for version, state in enumerate(states):
        assert shared_server.graph(session_id, version) == state
    events = shared_server.events(session_id)
    for version in (0, 1, 17, len(states) - 1):
        tree = rebuilt(event for event in events if event["version"] <= version)
        assert not difference(tree.nested(), states[version]["roots"])


@pytest.mark.parametrize("version", ["-1", "x", "1.5", "", "1e3", " 1", "+1"])
def test_a_malformed_version_is_refused(shared_server: Server, session_id: str, version: str) -> None:
    """Given a version that is no integer from 0, when the graph is read at it, then INVALID_REQUEST names
    it."""
    for _ in range(2):
        shared_server.create(session_id)
    response = shared_server.get("/graph", session_id=session_id, version=version)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert "version" in response.json()["error"]["message"]


def test_a_version_ahead_is_not_found(shared_server: Server, session_id: str) -> None:
    """Given one commit, when version 2 or a huge one is read, then VERSION_NOT_FOUND, for events too."""
    shared_server.create(session_id)
    for version in (2, 2**53 - 1):
        response = shared_server.get("/graph", session_id=session_id, version=version)
        assert refusal(response) == (404, "VERSION_NOT_FOUND")
        response = shared_server.get(f"/sessions/{session_id}/events", since=version)
        assert refusal(response) == (404, "VERSION_NOT_FOUND")


# Commands over REST


def test_include_graph_adds_the_graph(shared_server: Server, session_id: str) -> None:
    """Given `?include=graph`, when a command or undo succeeds, then the answer has the graph's roots."""
    body = {"session_id": session_id, "command_type": "CreateNode", "data": {"blueprint_type_id": "x"}}
    answer = shared_server.post("/commands/execute", body, include="graph").json()
    assert answer["graph"]["roots"] == shared_server.graph(session_id)["roots"]
    assert [root["id"] for root in answer["graph"]["roots"]] == [answer["node_id"]]
    assert "graph" not in shared_server.post("/commands/execute", body).json()


def test_undo_takes_no_body_at_all(shared_server: Server, session_id: str) -> None:
    """Given no body, when undo and redo are posted, then they work as with an empty object."""
    shared_server.create(session_id)
    for call in ("undo", "redo"):
        response = shared_server.request("POST", f"/sessions/{session_id}/{call}")
        assert response.status_code == 200, response.text


# Events


def test_events_are_the_facts_as_on_the_socket(
    shared_server: Server, session_id: str, connect: Connect
) -> None:
    """Given a client that heard everything, when events are read, then they are the facts it heard."""
    client = connect(shared_server)
    client.join(session_id)
    root = shared_server.create(session_id)
    shared_server.create(session_id, root)
    shared_server.execute(session_id, "UpdateProperty", {"node_id": root, "property_id": "p", "value": 1})
    shared_server.undo(session_id)
    shared_server.redo(session_id)
    shared_server.execute(session_id, "DeleteNode", {"node_id": root})
    client.wait_version(session_id, 6)
    heard = [h.payload for h in client.events if h.name.startswith(("node-", "property-"))
             or h.name in ("command:executed", "command:undo", "command:redo")]  # fmt: skip
    page = shared_server.ask(f"/sessions/{session_id}/events")
    assert page["events"] == heard
    assert (page["version"], page["next_since"]) == (6, None)
    assert page["epoch"] == shared_server.graph(session_id)["epoch"]


def test_events_come_in_pages_of_whole_versions(shared_server: Server, session_id: str) -> None:
    """Given seven versions, when read three at a time, then no version is split and next_since leads on."""
    for _ in range(7):
        commands = [{"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}} for _ in range(3)]
        shared_server.execute(session_id, "Batch", {"commands": commands})
    pages: list[list[int]] = []
    since: int | None = 0
    while since is not None:
        page = shared_server.ask(f"/sessions/{session_id}/events", since=since, limit=3)
        assert page["version"] == 7
        pages.append([event["version"] for event in page["events"]])
        since = page["next_since"]
    assert pages == [[1] * 4 + [2] * 4 + [3] * 4, [4] * 4 + [5] * 4 + [6] * 4, [7] * 4]
    at_the_end = shared_server.ask(f"/sessions/{session_id}/events", since=7)
    assert (at_the_end["events"], at_the_end["next_since"]) == ([], None)


def test_a_page_of_events_ends_early_after_10_000_facts(shared_server: Server, session_id: str) -> None:
    """Given versions of 6,000 facts, when read, then a page ends once it has 10,000, with a whole version."""
    commands = [{"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}} for _ in range(6000)]
    for _ in range(3):
        shared_server.execute(session_id, "Batch", {"commands": commands})
    page = shared_server.ask(f"/sessions/{session_id}/events")
    assert page["next_since"] in (1, 2)
    assert {event["version"] for event in page["events"]} == set(range(1, page["next_since"] + 1))
    shared_server.check_converged(session_id)


def test_a_page_of_events_ends_early_after_8_mib(shared_server: Server, session_id: str) -> None:
    """Given versions of 250 kB, when read, then a page ends at about 8 MiB and the next goes on."""
    made = shared_server.create(session_id)
    for n in range(50):
        data = {"node_id": made, "property_id": "p", "value": f"{n}" + "x" * 250_000}
        shared_server.execute(session_id, "UpdateProperty", data)
    response = shared_server.get(f"/sessions/{session_id}/events")
    assert response.json()["next_since"] is not None
    assert 7 << 20 < len(response.content) < 10 << 20
    shared_server.check_converged(session_id)


@pytest.mark.parametrize(
    "path, field, bad",
    [
        ("events", "limit", ["0", "-1", "5001", "x", "1.5", "", "10000000000000000000000"]),
        ("events", "since", ["-1", "x", "1.5", "", "0x1"]),
        ("history", "limit", ["0", "-1", "501", "x", "1.5", ""]),
        ("history", "before", ["x", "1.5", "-1", ""]),
    ],
)
def test_limits_and_places_out_of_range_are_refused(
    shared_server: Server, session_id: str, path: str, field: str, bad: list[str]
) -> None:
    """Given a limit or a place that is no integer in range, when a page is read, then 400 names the field."""
    for text in bad:
        response = shared_server.get(f"/sessions/{session_id}/{path}", **{field: text})
        assert refusal(response) == (400, "INVALID_REQUEST"), text
        assert field in response.json()["error"]["message"], text


def test_limits_in_range_are_taken(shared_server: Server, session_id: str) -> None:
    """Given the bounds of each limit, when pages are read with them, then 200."""
    for path, limits in [("events", (1, 5000)), ("history", (1, 500))]:
        for limit in limits:
            shared_server.ask(f"/sessions/{session_id}/{path}", limit=limit)
    for limit in (1, 500):
        shared_server.ask("/sessions", limit=limit)
    for text in ("0", "501", "x"):
        assert refusal(shared_server.get("/sessions", limit=text)) == (400, "INVALID_REQUEST")
    assert refusal(shared_server.get("/sessions", cursor="no cursor")) == (400, "INVALID_REQUEST")


def test_limits_have_defaults(shared_server: Server, session_id: str) -> None:
    """Given 510 versions, when pages are read without limit, then 500 versions of events and 50 commits."""
    for _ in range(510):
        shared_server.create(session_id)
    page = shared_server.ask(f"/sessions/{session_id}/events")
    assert page["next_since"] == 500
    history = shared_server.ask(f"/sessions/{session_id}/history")
    assert len(history["commits"]) == 50
    assert history["commits"][-1]["version"] == 461


# History


def test_history_lists_commits_newest_first(shared_server: Server, session_id: str) -> None:
    """Given commands, an undo and a redo, when history is read, then each commit with the contract's
    fields."""
    ids = [new_id() for _ in range(4)]
    data = {"blueprint_type_id": "x", "name": "Door"}
    shared_server.execute(session_id, "CreateNode", data, command_id=ids[0], actor="ann")
    shared_server.execute(session_id, "CreateNode", data, command_id=ids[1], actor="bob")
    shared_server.undo(session_id, command_id=ids[2], actor="ann")
    shared_server.redo(session_id, command_id=ids[3])
    commits = shared_server.history(session_id)
    fields = ("version", "command_id", "command_type", "actor", "undone")
    assert [tuple(commit[field] for field in fields) for commit in commits if commit["version"] < 3] == [
        (2, ids[1], "CreateNode", "bob", False),
        (1, ids[0], "CreateNode", "ann", False),
    ]
    assert [
        (c["version"], c["command_id"], c["command_type"], c["actor"], c["target"]) for c in commits[:2]
    ] == [
        (4, ids[3], "Redo", "anonymous", ids[1]),
        (3, ids[2], "Undo", "ann", ids[1]),
    ]
    for commit in commits:
        assert TIMESTAMP.fullmatch(commit["timestamp"])
        assert isinstance(commit["summary"], str)
        assert commit["summary"]


def test_history_comes_in_pages(shared_server: Server, session_id: str) -> None:
    """Given seven commits, when history is read three at a time, then `before` leads on without gap or
    double."""
    for _ in range(7):
        shared_server.create(session_id)
    versions: list[list[int]] = []
    before: Json = {}
    for _ in range(3):
        page = shared_server.ask(f"/sessions/{session_id}/history", limit=3, **before)
        versions.append([commit["version"] for commit in page["commits"]])
        before = {"before": page["next_before"]}
    assert versions == [[7, 6, 5], [4, 3, 2], [1]]
    assert page["next_before"] is None


# Templates


def test_templates_are_listed_and_shown_as_their_yaml_says(shared_server: Server) -> None:
    """Given the own template and those that come along, when read, then both are there, as written."""
    listed = shared_server.ask("/templates")["templates"]
    assert {"restomod", "workshop"} <= {each["template_id"] for each in listed}
    workshop = next(each for each in listed if each["template_id"] == "workshop")
    assert workshop == {
        "template_id": "workshop",
        "name": "Workshop",
        "description": "A small template that has one property of each type",
    }
    schema = shared_server.ask("/templates/workshop/schema")
    assert (schema["template_id"], schema["name"]) == ("workshop", "Workshop")
    project, phase, task = schema["node_types"]
    assert (project["id"], project["name"], project["allowed_children"]) == (
        "project",
        "Project",
        ["phase", "task"],
    )
    (name,) = project["properties"]
    assert {key: name[key] for key in ("id", "name", "type", "required")} == {
        "id": "name",
        "name": "Name",
        "type": "text",
        "required": True,
    }
    status = phase["properties"][1]
    assert (status["type"], status["required"]) == ("select", False)
    assert status["options"][1] == {
        "uuid": "22222222-2222-4222-8222-222222222222",
        "name": "In progress",
        "indicator_id": "half",
    }
    assert [each["type"] for each in task["properties"]] == [
        "text", "markdown", "number", "currency", "date", "checkbox", "node_reference", "url",
    ]  # fmt: skip


# Bodies and errors


def test_bodies_are_up_to_8_mib(shared_server: Server, session_id: str) -> None:
    """Given a body of 8 MiB, when posted, then it is read; one byte more is PAYLOAD_TOO_LARGE."""
    empty = json.dumps(
        {"session_id": session_id, "command_type": "CreateNode", "data": {"blueprint_type_id": "x"}}
    )
    headers = {"Content-Type": "application/json"}
    fits = empty.encode() + b" " * ((8 << 20) - len(empty))
    assert shared_server.request("POST", "/commands/execute", data=fits, headers=headers).status_code == 200
    too_long = fits + b" "
    connection = http.client.HTTPConnection("127.0.0.1", shared_server.port, timeout=20)
    connection.putrequest("POST", "/api/v1/commands/execute")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(too_long)))
    connection.endheaders()
    answer = connection.getresponse()  # known by the announced length, before any of it is sent
    assert answer.status == 413
    assert answer.getheader("Content-Type", "").startswith("application/json")
    assert json.loads(answer.read())["error"]["code"] == "PAYLOAD_TOO_LARGE"
    connection.close()


def test_a_chunked_body_is_bounded_too(shared_server: Server) -> None:
    """Given a chunked body that never ends, when 9 MiB have been sent, then it is refused."""
    with socket.create_connection(("127.0.0.1", shared_server.port), timeout=20) as connection:
        head = (
            f"POST /api/v1/commands/execute HTTP/1.1\r\nHost: 127.0.0.1:{shared_server.port}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(9 * 16):
                connection.sendall(chunk)
            answer = connection.recv(4096)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
    if answer:
        assert re.match(rb"HTTP/1.1 4(11|13|00) ", answer), answer[:200]
    assert shared_server.get("/health").status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "", "application/jsonx"],
)
def test_another_media_type_is_unsupported(shared_server: Server, content_type: str) -> None:
    """Given a body that is not said to be JSON, when posted, then 415 UNSUPPORTED_MEDIA_TYPE."""
    headers = {"Content-Type": content_type} if content_type else {}
    response = shared_server.request("POST", "/sessions", data=b"{}", headers=headers)
    assert refusal(response) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
)
def test_json_is_known_by_its_media_type(shared_server: Server, content_type: str) -> None:
    """Given JSON under any spelling of its media type, when posted, then it is taken."""
    response = shared_server.request("POST", "/sessions", data=b"{}", headers={"Content-Type": content_type})
    assert response.status_code == 201


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"5", b"\xff", b'{"a":}', b"{'a':1}", b'{"a":1}x', b'{"name":NaN}',
     b"[" * 200_000, b'{"name":' * 100_000, b'{"name":"\xed\xa0\x80"}', b'\xef\xbb\xbf{"name":5'],
    ids=lambda b: repr(b[:20]),
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_refused(shared_server: Server, body: bytes) -> None:
    """Given bytes that are no JSON object, when posted to any call, then 400 INVALID_REQUEST."""
    for path in ("/projects", "/commands/execute"):
        response = shared_server.request(
            "POST", path, data=body, headers={"Content-Type": "application/json"}
        )
        assert refusal(response) == (400, "INVALID_REQUEST"), path


@pytest.mark.parametrize(
    "method, path, status, code",
    [
        ("GET", "/no/such/address", 404, "NOT_FOUND"),
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/graph/x", 404, "NOT_FOUND"),
        ("POST", "/no/such/address", 404, "NOT_FOUND"),
        ("GET", "/commands/execute", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/graph", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/sessions", 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("BREW", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/sessions/%00/info", 404, "INVALID_SESSION"),
        ("GET", "/sessions/%ff%fe/info", 404, None),
        ("GET", "/templates/..%2f..%2fetc%2fpasswd/schema", 404, None),
    ],
)
def test_the_frameworks_own_errors_are_json_too(
    shared_server: Server, method: str, path: str, status: int, code: str | None
) -> None:
    """Given an address or method that is not there, when called, then the error envelope and no stack
    trace."""
    body: Json = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}
    response = shared_server.request(method, path, **body)
    answered = refusal(response)
    assert answered[0] == status
    assert code is None or answered[1] == code
    for word in ("Traceback", "File ", ".py", "SELECT", "<html"):
        assert word not in response.text


@pytest.mark.parametrize(
    "query", ["session_id=%00", "session_id=%ff", "session_id=a&session_id=b", "%=%", "=&&="]
)
def test_strange_queries_are_answered_in_json(shared_server: Server, query: str) -> None:
    """Given a query of strange bytes, when the graph is read with it, then the error envelope."""
    response = shared_server.request("GET", f"/graph?{query}")
    status, _ = refusal(response)
    assert status in (400, 404)


@pytest.mark.parametrize(
    "text",
    [
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /api/v1/health HTTP/9.9\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n"
        b"Content-Type: application/json\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
    ids=lambda t: repr(t[:40]),
)
def test_a_request_that_is_no_http_does_no_harm(shared_server: Server, text: bytes) -> None:
    """Given bytes that are no proper HTTP, when sent, then an error or an end, no trace in it, and life
    goes on."""
    with socket.create_connection(("127.0.0.1", shared_server.port), timeout=15) as connection:
        answer = b""
        with contextlib.suppress(OSError):  # the server may end it before all is sent
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    assert b"Traceback" not in answer
    assert not answer or re.match(rb"HTTP/1.[01] [45]\d\d", answer), answer[:200]
    assert shared_server.get("/health").status_code == 200


def test_head_and_options_are_answered(shared_server: Server) -> None:
    """Given HEAD and OPTIONS, when sent to a call, then they are answered without a stack trace."""
    assert shared_server.request("HEAD", "/health").status_code in (200, 405)
    assert shared_server.request("OPTIONS", "/health").status_code in (200, 204, 405)


def test_reads_show_committed_state_only(shared_server: Server, session_id: str, connect: Connect) -> None:
    """Given batches of ten, when the graph is read meanwhile, then it always holds whole batches."""
    client = connect(shared_server, "raw-websocket")
    commands = [{"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}} for _ in range(10)]
    payload = {"session_id": session_id, "command_type": "Batch", "data": {"commands": commands}}
    acks = [client.begin("execute_command", payload) for _ in range(40)]
    while not acks[-1].came:
        graph = shared_server.graph(session_id)
        assert len(graph["roots"]) == 10 * graph["version"]
        info = shared_server.ask(f"/sessions/{session_id}/info")
        assert info["node_count"] == 10 * info["version"]
    assert [ack.get()["version"] for ack in acks] == list(range(1, 41))


def test_the_tree_of_the_tests_refuses_what_does_not_fit() -> None:
    """Given events in a wrong order, when the tests' own tree applies them, then it raises."""
    tree = Tree()
    created = {
        "event": "node-created",
        "version": 1,
        "node": {
            "id": "a", "blueprint_type_id": "x", "parent_id": None, "name": "", "properties": {},
            "children": [],
        },
    }  # fmt: skip
    closing = {"event": "command:executed", "version": 1}
    for events in (
        [created],
        [created, created, closing],
        [closing, created],
        [created, closing | {"version": 2}],
    ):
        with pytest.raises(AssertionError):
            Tree().apply_commit(events)
    tree.apply_commit([created, closing])
    assert tree.nested()[0]["id"] == "a"
    with pytest.raises(AssertionError):
        tree.apply_commit([created, closing])
