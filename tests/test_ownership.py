"""The ownership matrix: every role x every call x own, foreign, deleted, unknown and malformed ids.

The matrix is worked out from POLICY. Whoever adds a call to talus adds it there,
and to REQUESTS or PAYLOADS below, or the first test of this file is red.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import requests

from talus import config
from talus.app import App
from talus.web import wire
from tests.support.clients import Client, RawWebSocket
from tests.support.server import TEMPLATES, Server, new_id, refusal
from tests.support.tokens import as_user, auth, bearer, guarded, token

# From which role on a call is allowed. `anybody` needs no token and `user` any; the others are roles in
# the session that the call names. Administrators may everything. Who has no role in a session, or a call
# that names no session, gets the answer of an unknown one; who has too low a one, FORBIDDEN.
POLICY = {
    "anybody": "GET /health",
    "user": "GET /templates, GET /templates/{template_id}/schema, POST /sessions, GET /sessions,"
    " POST /projects, ping, leave_session",
    "viewer": "GET /sessions/{session_id}/info, GET /sessions/{session_id}/events, GET /graph,"
    " GET /sessions/{session_id}/history, GET /sessions/{session_id}/members, GET /projects/{project_id},"
    " join_session, update_presence",
    "editor": "POST /commands/execute, POST /sessions/{session_id}/undo, POST /sessions/{session_id}/redo,"
    " execute_command, undo_command, redo_command",
    "owner": "DELETE /sessions/{session_id}, PUT /sessions/{session_id}/members/{user},"
    " DELETE /sessions/{session_id}/members/{user}",
    "admin": "POST /backup",
}
NEEDED = {call: least for least, calls in POLICY.items() for call in calls.split(", ")}
SOCKET_CALLS = [call for call in NEEDED if " " not in call]
REST_CALLS = [call for call in NEEDED if " " in call]

RANKS = ("anybody", "user", "viewer", "editor", "owner", "admin")
CALLERS = ("stranger", "outsider", "viewer", "editor", "owner", "admin")  # whose rank has the same place
KINDS_OF_ID = ("own", "foreign", "deleted", "unknown", "malformed")
MALFORMED = ("'; DROP TABLE session; --", "x" * 300, "ключ", "-", "A" * 36, "null", "0", "\x7f", "%00", " ")
SESSION_CALLS = [call for call, least in NEEDED.items() if least in ("viewer", "editor", "owner")]

CREATE = {"blueprint_type_id": "task"}


class Place(NamedTuple):
    """A session, of a project, with something to undo and something to redo in it."""

    session_id: str
    project_id: str
    command_id: str = ""


class Request(NamedTuple):
    query: str = ""
    body: Any = None


REQUESTS: dict[str, Callable[[Place], Request]] = {
    "GET /graph": lambda at: Request(f"session_id={quote(at.session_id, safe='')}"),
    "POST /sessions": lambda at: Request(body={"name": "mine"}),
    "POST /projects": lambda at: Request(body={"template_id": "workshop", "project_name": "mine"}),
    "POST /commands/execute": lambda at: Request(
        body={"session_id": at.session_id, "command_type": "CreateNode", "data": CREATE}
    ),
    "POST /sessions/{session_id}/undo": lambda at: Request(body={}),
    "POST /sessions/{session_id}/redo": lambda at: Request(body={}),
    "PUT /sessions/{session_id}/members/{user}": lambda at: Request(body={"role": "viewer"}),
}

PAYLOADS: dict[str, Callable[[Place], Any]] = {
    "ping": lambda at: None,
    "leave_session": lambda at: {"session_id": at.session_id},
    "join_session": lambda at: {"session_id": at.session_id, "since": 0},
    "update_presence": lambda at: {"session_id": at.session_id, "state": {"node": "x"}},
    "execute_command": lambda at: {
        "session_id": at.session_id,
        "command_type": "CreateNode",
        "data": CREATE,
    },
    "undo_command": lambda at: {"session_id": at.session_id},
    "redo_command": lambda at: {"session_id": at.session_id},
}


def ask(
    met: Server, call: str, at: Place, request: Request | None = None, **options: Any
) -> requests.Response:
    """A REST call about a session (or its project), as the policy names it."""
    method, _, path = call.partition(" ")
    path = path.replace("{session_id}", quote(at.session_id, safe=""))
    path = path.replace("{project_id}", quote(at.project_id, safe=""))
    path = path.replace("{user}", "somebody").replace("{template_id}", "workshop")
    said = request or REQUESTS.get(call, lambda at: Request())(at)
    if said.query:
        path += f"?{said.query}"
    if said.body is not None:
        options["json"] = said.body
    return met.request(method, path, **options)


class World:
    """Sessions, users and their connections to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.met = {
            name: server if name == "stranger" else as_user(server, name, admin=name == "admin")
            for name in (*CALLERS, "somebody", "else")
        }
        self.sockets: dict[str, RawWebSocket] = {}
        self._standing: dict[str, Place] = {}

    def place(self, owner: str = "owner") -> Place:
        """A new session; those of `owner` have a member of each role, those of others have not."""
        met = self.met[owner]
        made = met.post("/projects", {"template_id": "workshop", "project_name": owner}).json()
        session_id, project_id = made["session_id"], made["project_id"]
        for _ in range(2):
            command = met.execute(session_id, "CreateNode", CREATE)
        met.undo(session_id)
        if owner == "owner":
            for user, role in (("viewer", "viewer"), ("editor", "editor"), ("somebody", "viewer")):
                assert met.put(f"/sessions/{session_id}/members/{user}", {"role": role}).status_code == 200
        else:
            assert met.put(f"/sessions/{session_id}/members/somebody", {"role": "viewer"}).status_code == 200
        return Place(session_id, project_id, str(command["command_id"]))

    def standing(self, kind: str) -> Place:
        """One that no call may change."""
        if kind not in self._standing:
            self._standing[kind] = self.fresh(kind)
        return self._standing[kind]

    def fresh(self, kind: str) -> Place:
        if kind == "unknown":
            return Place(new_id(), new_id())
        place = self.place("else" if kind == "foreign" else "owner")
        if kind == "deleted":
            assert self.met["owner"].delete(f"/sessions/{place.session_id}").status_code == 204
        return place

    def socket(self, caller: str) -> RawWebSocket:
        if caller not in self.sockets or self.sockets[caller].ended.is_set():
            said = auth(caller, admin=caller == "admin")
            self.sockets[caller] = RawWebSocket(self.server.url, auth=said)
        return self.sockets[caller]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with tokens, without a limit for commands, and everybody's way to it."""
    settings = {"TALUS_RATE_COMMANDS": "0", "TALUS_TEMPLATES": str(TEMPLATES)}
    with guarded(tmp_path_factory.mktemp("guarded"), **settings) as server:
        whole = World(server)
        yield whole
        for client in whole.sockets.values():
            client.cut()


def expected(call: str, caller: str, kind: str) -> str:
    """`done`, or the code of the refusal."""
    rank, least = CALLERS.index(caller), RANKS.index(NEEDED[call])
    if least == 0:
        return "done"
    if rank == 0:
        return "UNAUTHENTICATED"
    if NEEDED[call] in ("user", "admin"):  # about no session
        return "done" if rank >= least else "FORBIDDEN"
    there = kind == "own" or (kind == "foreign" and caller == "admin")
    if not there or caller == "outsider":
        return "PROJECT_NOT_FOUND" if "project_id" in call else "INVALID_SESSION"
    return "done" if rank >= least else "FORBIDDEN"


STATUS = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "INVALID_SESSION": 404,
    "PROJECT_NOT_FOUND": 404,
}


def test_every_call_of_the_server_has_a_policy(tmp_path: Path) -> None:
    """Given the route table and the names of the socket calls, when the policy is read, then it has each of
    them once and no other, and the matrix has a request for each."""
    app = App(config.Settings(database=tmp_path / "talus.db"))
    try:
        routes = {
            f"{route.method} {route.rule.removeprefix('/api/v1')}".replace("<user:path>", "<user>")
            for route in app.routes
        }
    finally:
        app.stop()
    named = [call.replace("{", "<").replace("}", ">") for call in REST_CALLS]
    assert sorted(named) == sorted(routes)
    assert sorted(SOCKET_CALLS) == sorted(wire.CALLS) == sorted(PAYLOADS)
    assert len(NEEDED) == sum(len(calls.split(", ")) for calls in POLICY.values())


@pytest.mark.parametrize("kind", KINDS_OF_ID)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("call", REST_CALLS)
def test_who_may_what_over_rest(world: World, call: str, caller: str, kind: str) -> None:
    """Given a caller and a session that is his, another's, deleted, unknown or no id at all, when he calls,
    then it is done, or refused, as the policy says."""
    outcome = expected(call, caller, kind)
    if kind == "malformed":
        places = [Place(text, text) for text in MALFORMED]
    else:
        changes = outcome == "done" and not call.startswith("GET")
        places = [world.fresh(kind) if changes else world.standing(kind)]
    for place in places:
        response = ask(world.met[caller], call, place)
        if outcome == "done":
            assert response.status_code in (200, 201, 204), response.text
        elif kind == "malformed" and response.status_code == 400:  # as well: it can be no id
            assert refusal(response)[1] == "INVALID_REQUEST"
        else:
            assert refusal(response) == (STATUS[outcome], outcome)


def call_socket(client: Client, call: str, payload: Any) -> Any:
    """The code of the refusal that the callback was given, or `done`."""
    answer = client.call(call, *([] if payload is None else [payload]))
    return answer["error"]["code"] if "error" in answer else "done"


@pytest.mark.parametrize("kind", KINDS_OF_ID)
@pytest.mark.parametrize("caller", CALLERS[1:])
@pytest.mark.parametrize("call", SOCKET_CALLS)
def test_who_may_what_over_socket_io(world: World, call: str, caller: str, kind: str) -> None:
    """Given a connected caller and a session of any kind, when he calls, then it is done, or refused, as the
    policy says."""
    outcome = expected(call, caller, kind)
    if kind == "malformed":
        places = [Place(text, text) for text in MALFORMED]
    else:
        changes = outcome == "done" and NEEDED[call] == "editor"
        places = [world.fresh(kind) if changes else world.standing(kind)]
    client = world.socket(caller)
    for place in places:
        joins = call == "update_presence" and outcome == "done"  # presence is for those in the room
        if joins:
            client.join(place.session_id)
        assert call_socket(client, call, PAYLOADS[call](place)) == outcome
        client.leave(place.session_id)


@pytest.mark.parametrize("call", SOCKET_CALLS)
def test_strangers_call_nothing_over_socket_io(world: World, call: str) -> None:
    """Given a connection without a token, when it calls, then nothing answers but a connect error."""
    client = RawWebSocket(world.server.url, connect=False)
    client.wait_until(lambda: client.handshake)
    client.send_packet("40")
    client.wait_for("connect_error")
    payload = json.dumps(PAYLOADS[call](world.standing("own")))
    client.send_packets([f'421["{call}",{payload}]', "2end"])
    client.wait_until(lambda: "3end" in client.packets or client.ended.is_set())
    assert set(client.names()) <= {"connect_error", "disconnect"}, client.packets
    client.cut()


@pytest.mark.parametrize("caller", CALLERS[1:5])
def test_presence_is_for_those_in_the_room(world: World, caller: str) -> None:
    """Given a member who has not joined, when he shows presence, then INVALID_REQUEST; an outsider learns
    nothing."""
    payload = PAYLOADS["update_presence"](world.standing("own"))
    code = "INVALID_SESSION" if caller == "outsider" else "INVALID_REQUEST"
    assert call_socket(world.socket(caller), "update_presence", payload) == code


# Foreign equals unknown, byte for byte


def shown(response: requests.Response, place: Place) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers but the date, and body, in which the ids are left out."""
    body = response.content
    for text in (place.session_id, place.project_id):
        body = body.replace(text.encode(), b"<id>")
    headers = [(name, value) for name, value in response.headers.items() if name != "Date"]
    return response.status_code, headers, body


BROKEN: dict[str, dict[str, Any]] = {
    "no JSON": {"data": b"{", "headers": {"Content-Type": "application/json"}},
    "NaN": {"data": b'{"role":NaN}', "headers": {"Content-Type": "application/json"}},
    "a list": {"json": []},
    "an unknown role": {"json": {"role": "king"}},
    "no type": {"data": b"{}", "headers": {"Content-Type": "text/plain"}},
    "a scope that is none": {"json": {"scope": "all", "command_id": "x"}},
    "a version": {"json": {"expected_version": 2**53}},
    "HEAD": {"method": "HEAD"},
    "OPTIONS": {"method": "OPTIONS"},
    "PATCH": {"method": "PATCH"},
    "any ETag": {"headers": {"If-None-Match": "*"}},
    "an origin": {"headers": {"Origin": "http://localhost:3000"}},
}
QUERIES = (
    "force=true&include=graph",
    "force=maybe&limit=0&since=x&before=x&version=x",
    "limit=1&since=0&before=1&version=1",
    "since=999999&before=999999&version=999999",
)


@pytest.mark.parametrize("caller", ["outsider", "viewer", "editor", "owner"])
@pytest.mark.parametrize("call", [call for call in SESSION_CALLS if " " in call])
def test_a_foreign_session_answers_as_an_unknown_one_over_rest(world: World, call: str, caller: str) -> None:
    """Given a session of another and one that never was, when either is asked for in the same way, well or
    badly, then status, headers and body are the same; a deleted one's too."""
    met = world.met[caller]
    places = [world.standing(kind) for kind in ("unknown", "foreign", "deleted")]
    plain = [shown(ask(met, call, place), place) for place in places]
    assert plain == [plain[0]] * 3
    for query in QUERIES:
        answers = []
        for place in places:
            request = REQUESTS.get(call, lambda at: Request())(place)
            answers.append(
                shown(ask(met, call, place, Request(f"{request.query}&{query}", request.body)), place)
            )
        assert answers == [answers[0]] * 3, query
    for name, broken in BROKEN.items():
        answers = []
        for place in places:
            options = dict(broken)
            request = REQUESTS.get(call, lambda at: Request())(place)
            method = options.pop("method", call.partition(" ")[0])
            if "json" in options and "session_id" in (request.body or {}) and options["json"]:
                options["json"] = {"session_id": place.session_id, **options["json"]}
            elif "headers" in broken and "data" not in broken and request.body is not None:
                options["json"] = request.body
            path = call.partition(" ")[2]
            answers.append(
                shown(ask(met, f"{method} {path}", place, Request(request.query), **options), place)
            )
        assert answers == [answers[0]] * 3, name


SOCKET_FIELDS: tuple[dict[str, Any], ...] = (
    {},
    {"since": -1, "scope": 5, "data": {}, "state": "x" * 2_000},
    {"since": 0, "epoch": "other", "command_id": "x", "expected_version": -1},
    {"since": 10**6, "epoch": None, "command_type": "", "expected_version": 10**6, "scope": "actor"},
)


@pytest.mark.parametrize("acknowledged", [True, False], ids=["callback", "none"])
@pytest.mark.parametrize("caller", ["outsider", "viewer", "editor", "owner"])
def test_a_foreign_session_answers_as_an_unknown_one_over_socket_io(
    world: World, caller: str, acknowledged: bool
) -> None:
    """Given a session of another, a deleted one and one that never was, when a socket names them in the same
    way, well or badly, then the packets that come back are the same."""
    client = world.socket(caller)
    for call in SOCKET_CALLS:
        for fields in SOCKET_FIELDS:
            heard = []
            for kind in ("unknown", "foreign", "deleted"):
                place = world.standing(kind)
                payload = PAYLOADS[call](place)
                payload = fields if payload is None else payload | fields
                before = len(client.packets)
                number = "7" if acknowledged else ""
                client.send_packets([f"42{number}{json.dumps([call, payload])}", '428["ping"]'])
                client.wait_until(lambda at=before: "438[{}]" in client.packets[at:])
                packets = [text.replace(place.session_id, "<id>") for text in client.packets[before:]]
                heard.append([text for text in packets if text[0] == "4"])
            assert heard == [heard[0]] * 3, (call, fields)


# Ids inside


@pytest.fixture(scope="module")
def nested(world: World) -> tuple[Place, dict[str, str], dict[str, str]]:
    """A session of one's own, and the ids of a foreign and of no session: node, command, project, session."""
    own, other = world.place(), world.place("else")
    root = world.met["else"].graph(other.session_id)["roots"][0]["id"]
    foreign = {"node": root, "command": other.command_id, "project": other.project_id}
    foreign["session"] = other.session_id
    return own, foreign, {name: new_id() for name in foreign}


def both(
    nested: tuple[Place, dict[str, str], dict[str, str]], act: Callable[[Place, dict[str, str]], Any]
) -> Any:
    """What the call comes to with foreign ids; it must come to the same with unknown ones."""
    own, foreign, unknown = nested
    outcomes = []
    for ids in (foreign, unknown):
        response = act(own, ids)
        body = response.text
        for name, text in ids.items():
            body = body.replace(text, f"<{name}>")
        outcomes.append((response.status_code, json.loads(body)))
    assert outcomes[0] == outcomes[1]
    return outcomes[0][1].get("error", {}).get("code", "done")


NODE_COMMANDS: list[tuple[str, dict[str, Any], str]] = [
    ("CreateNode", {"blueprint_type_id": "task", "parent_id": "node"}, "INVALID_PARENT"),
    ("DeleteNode", {"node_id": "node"}, "NODE_NOT_FOUND"),
    ("UpdateProperty", {"node_id": "node", "property_id": "name", "value": "x"}, "NODE_NOT_FOUND"),
    ("LinkNode", {"parent_id": "node", "child_id": "own"}, "INVALID_PARENT"),
    ("LinkNode", {"parent_id": "own", "child_id": "node"}, "NODE_NOT_FOUND"),
    ("UnlinkNode", {"parent_id": "own", "child_id": "node"}, "NODE_NOT_FOUND"),
    ("UnlinkNode", {"parent_id": "node", "child_id": "own"}, "NODE_NOT_FOUND"),
    ("MoveNode", {"node_id": "node", "parent_id": None}, "NODE_NOT_FOUND"),
    ("MoveNode", {"node_id": "own", "parent_id": "node"}, "INVALID_PARENT"),
]


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "in a batch"])
@pytest.mark.parametrize("command_type, data, code", NODE_COMMANDS)
def test_a_node_of_another_session_is_no_node(
    world: World, nested: Any, command_type: str, data: dict[str, Any], code: str, batched: bool
) -> None:
    """Given a node of a foreign session, when it is named in a session of one's own, then it is refused in
    the words for an unknown one, and the foreign session is as it was."""
    before = world.met["else"].graph(nested[1]["session"])

    def act(own: Place, ids: dict[str, str]) -> requests.Response:
        met = world.met["owner"]
        root = met.graph(own.session_id)["roots"][0]["id"]
        names = {"own": root, "node": ids["node"]}
        named = {key: names.get(text, text) for key, text in data.items()}
        command: tuple[str, dict[str, Any]] = command_type, named
        if batched:
            command = "Batch", {"commands": [{"command_type": command_type, "data": named}]}
        return met.try_execute(own.session_id, *command, command_id=new_id())

    if command_type == "UnlinkNode" and data["parent_id"] == "node":
        assert both(nested, act) in ("NODE_NOT_FOUND", "NOT_LINKED")
    else:
        assert both(nested, act) == code
    assert world.met["else"].graph(nested[1]["session"]) == before


def test_ids_of_another_kind_find_nothing(world: World, nested: Any) -> None:
    """Given the project's id of a foreign session in the place of a session's, and the other way round, when
    they are asked for, then the answers are those of unknown ids."""
    met = world.met["owner"]
    for name in ("project", "command", "node"):
        assert both(nested, lambda own, ids, n=name: met.get(f"/sessions/{ids[n]}/info")) == "INVALID_SESSION"
        assert (
            both(nested, lambda own, ids, n=name: met.get("/graph", session_id=ids[n])) == "INVALID_SESSION"
        )
    for name in ("session", "command", "node", "project"):
        assert both(nested, lambda own, ids, n=name: met.get(f"/projects/{ids[n]}")) == "PROJECT_NOT_FOUND"


def test_a_command_id_of_another_session_is_a_new_one(world: World) -> None:
    """Given the command and node ids of a foreign session, when a command of one's own carries them, then it
    is done as with any other, and undone by them, and nothing of the foreign record shows."""
    own, other = world.place(), world.place("else")
    met, theirs = world.met["owner"], world.met["else"]
    root = theirs.graph(other.session_id)["roots"][0]["id"]
    before = theirs.graph(other.session_id), theirs.history(other.session_id)
    data = {"blueprint_type_id": "task", "node_id": root}
    done = met.execute(own.session_id, "CreateNode", data, command_id=other.command_id)
    assert (done["command_id"], done["node_id"]) == (other.command_id, root)
    assert "duplicate" not in done
    again = met.execute(own.session_id, "CreateNode", data, command_id=other.command_id)
    assert again["duplicate"] and again["version"] == done["version"]
    taken_back = met.undo(own.session_id, command_id=theirs.history(other.session_id)[0]["command_id"])
    assert (taken_back["target"], "duplicate" in taken_back) == (other.command_id, False)
    assert (theirs.graph(other.session_id), theirs.history(other.session_id)) == before


def test_a_cursor_of_another_lists_ones_own(world: World) -> None:
    """Given a cursor from another user's list, when it is used, then only one's own sessions come, and none
    of an administrator's cursor shows either."""
    for _ in range(3):
        world.place(), world.place("else")
    own = {line["session_id"] for line in world.met["owner"].ask("/sessions", limit=500)["sessions"]}
    for name in ("else", "admin"):
        cursor: str | None = world.met[name].ask("/sessions", limit=1)["next_cursor"]
        while cursor is not None:
            page = world.met["owner"].ask("/sessions", limit=50, cursor=cursor)
            assert {line["session_id"] for line in page["sessions"]} <= own
            assert page["total"] == len(own)
            cursor = page["next_cursor"]
        cursor = world.met[name].ask("/sessions", limit=1)["next_cursor"]
        none = world.met["outsider"].ask("/sessions", cursor=cursor)
        mine = world.met["outsider"].ask("/sessions", limit=500)
        assert {line["session_id"] for line in none["sessions"]} <= {
            line["session_id"] for line in mine["sessions"]
        }


# And in time

CALLS_OF_A_KIND = 1_000
TIMED_REST: dict[str, tuple[str, Callable[[Place], str], Callable[[Place], bytes]]] = {
    "graph": ("GET", lambda at: f"/graph?session_id={at.session_id}", lambda at: b""),
    "info": ("GET", lambda at: f"/sessions/{at.session_id}/info", lambda at: b""),
    "project": ("GET", lambda at: f"/projects/{at.project_id}", lambda at: b""),
    "execute": (
        "POST",
        lambda at: "/commands/execute",
        lambda at: json.dumps(
            {"session_id": at.session_id, "command_type": "CreateNode", "data": CREATE}
        ).encode(),
    ),
}


def check_alike(took_s: dict[str, list[float]]) -> None:
    foreign, unknown = statistics.median(took_s["foreign"]), statistics.median(took_s["unknown"])
    assert 0.9 < foreign / unknown < 1.1, f"foreign {foreign * 1e6:.0f} us, unknown {unknown * 1e6:.0f} us"


def order(turn: int) -> tuple[str, str]:
    """Neither kind is always the first of the two."""
    return ("foreign", "unknown") if turn % 2 else ("unknown", "foreign")


@pytest.mark.parametrize("call", TIMED_REST)
def test_a_foreign_session_takes_as_long_as_an_unknown_one_over_rest(world: World, call: str) -> None:
    """Given 1,000 calls for a foreign session between 1,000 for unknown ones, when they are timed, then the
    medians are within a tenth."""
    method, path, body = TIMED_REST[call]
    foreign = world.standing("foreign")
    headers = bearer(token("outsider")) | {"Content-Type": "application/json"}
    took_s: dict[str, list[float]] = {"foreign": [], "unknown": []}
    with closing(http.client.HTTPConnection("127.0.0.1", world.server.port, timeout=15)) as connection:
        for turn in range(CALLS_OF_A_KIND):
            for kind in order(turn):
                place = foreign if kind == "foreign" else Place(new_id(), new_id())
                address, said = f"/api/v1{path(place)}", body(place)
                began = time.perf_counter()
                connection.request(method, address, said or None, headers)
                response = connection.getresponse()
                response.read()
                took_s[kind].append(time.perf_counter() - began)
                assert response.status == 404
    check_alike(took_s)


@pytest.mark.parametrize("call", ["join_session", "execute_command"])
def test_a_foreign_session_takes_as_long_as_an_unknown_one_over_socket_io(world: World, call: str) -> None:
    """Given 1,000 calls for a foreign session between 1,000 for unknown ones, when they are timed, then the
    medians are within a tenth."""
    foreign = world.standing("foreign")
    took_s: dict[str, list[float]] = {"foreign": [], "unknown": []}
    # A client that was refused is heard a little later, and joins of one client are slowed down past a
    # hundred at once: so each call comes from the client that has rested longest.
    clients = deque(RawWebSocket(world.server.url, auth=auth("outsider")) for _ in range(50))
    for turn in range(CALLS_OF_A_KIND):
        for kind in order(turn):
            place = foreign if kind == "foreign" else Place(new_id(), new_id())
            payload = PAYLOADS[call](place)
            client = clients[0]
            clients.rotate()
            began = time.perf_counter()
            answer = client.call(call, payload)
            took_s[kind].append(time.perf_counter() - began)
            assert answer["error"]["code"] == "INVALID_SESSION"
    for client in clients:
        client.cut()
    check_alike(took_s)
