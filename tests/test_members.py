"""Members of sessions: who owns, who is let in, and how fast it ends (section 5 of the contract)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.support.clients import KINDS, RAW_KINDS, Ack, Client, ErrorHeard
from tests.support.server import TEMPLATES, Server, new_id, refusal
from tests.support.tokens import as_user, auth, guarded, jwt_settings, talus

Connect = Callable[..., Client]
CREATE = {"blueprint_type_id": "part"}
ROLES = ("viewer", "editor", "owner")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with tokens for this module, and no limit for commands; sessions are of their test."""
    settings = {"TALUS_RATE_COMMANDS": "0", "TALUS_TEMPLATES": str(TEMPLATES)}
    with guarded(tmp_path_factory.mktemp("guarded"), **settings) as running:
        yield running


@pytest.fixture
def ann(server: Server) -> Server:
    """The server as Ann meets it."""
    return as_user(server, "ann")


@pytest.fixture
def bob(server: Server) -> Server:
    return as_user(server, "bob")


@pytest.fixture
def root(server: Server) -> Server:
    """The server as an administrator meets it."""
    return as_user(server, "root", admin=True)


@pytest.fixture
def session_id(ann: Server) -> str:
    """A new session of Ann's."""
    return ann.new_session()


def appoint(met: Server, session_id: str, user: str, role: Any) -> requests.Response:
    return met.put(f"/sessions/{session_id}/members/{quote(user, safe='')}", {"role": role})


def dismiss(met: Server, session_id: str, user: str) -> requests.Response:
    return met.delete(f"/sessions/{session_id}/members/{quote(user, safe='')}")


def members(met: Server, session_id: str) -> dict[str, str]:
    """Roles by user, as `GET .../members` lists them."""
    return {line["user"]: line["role"] for line in met.ask(f"/sessions/{session_id}/members")["members"]}


def unknown(response: requests.Response) -> bool:
    """Whether the answer is that of a session which does not exist."""
    return refusal(response) == (404, "INVALID_SESSION")


# Owning and appointing


@pytest.mark.parametrize("way", ["session", "project"])
def test_the_creator_owns_the_session(ann: Server, bob: Server, way: str) -> None:
    """Given a user, when he makes a session or a project, then he is its one member and owner."""
    if way == "session":
        session_id = ann.new_session(name="plan")
    else:
        made = ann.post("/projects", {"template_id": "workshop", "project_name": "Bronco"})
        assert made.status_code == 201, made.text
        session_id = made.json()["session_id"]
        project = f"/projects/{made.json()['project_id']}"
        assert ann.get(project).status_code == 200
        assert refusal(bob.get(project)) == (404, "PROJECT_NOT_FOUND")
    assert members(ann, session_id) == {"ann": "owner"}
    assert unknown(bob.get(f"/sessions/{session_id}/info"))


def test_what_an_administrator_makes_is_his(root: Server, bob: Server) -> None:
    """Given an administrator, when he makes a session, then he owns it as anybody would."""
    session_id = root.new_session()
    assert members(root, session_id) == {"root": "owner"}
    assert unknown(bob.get(f"/sessions/{session_id}/info"))


@pytest.mark.parametrize("role", ROLES)
def test_an_owner_appoints_members(ann: Server, bob: Server, session_id: str, role: str) -> None:
    """Given an owner, when he gives a role, changes it and takes it, then each holds from its answer on."""
    path = f"/sessions/{session_id}/info"
    assert unknown(bob.get(path))
    assert appoint(ann, session_id, "bob", role).status_code == 200
    assert members(ann, session_id) == {"ann": "owner", "bob": role}
    assert members(bob, session_id) == members(ann, session_id)
    assert bob.get(path).status_code == 200
    assert appoint(ann, session_id, "bob", role).status_code == 200  # once more changes nothing
    for other in ROLES:
        assert appoint(ann, session_id, "bob", other).status_code == 200
        assert members(bob, session_id)["bob"] == other
    assert dismiss(ann, session_id, "bob").status_code == 204
    assert members(ann, session_id) == {"ann": "owner"}
    assert unknown(bob.get(path))


def test_each_role_may_do_what_those_below_may(ann: Server, bob: Server, session_id: str) -> None:
    """Given a viewer who becomes editor and owner, when he calls, then reading, commanding and managing come
    one by one."""
    calls = [
        lambda: bob.get("/graph", session_id=session_id),
        lambda: bob.try_execute(session_id, "CreateNode", CREATE),
        lambda: appoint(bob, session_id, "cy", "viewer"),
    ]
    for may, role in enumerate(ROLES, start=1):
        appoint(ann, session_id, "bob", role)
        assert [call().status_code for call in calls] == [200] * may + [403] * (3 - may)


def test_a_viewer_may_neither_command_nor_manage(
    ann: Server, bob: Server, connect: Connect, session_id: str
) -> None:
    """Given a viewer, when he commands, undoes, deletes or appoints, then FORBIDDEN on either way, the room
    hears nothing of it, and nothing changes."""
    ann.create(session_id)
    appoint(ann, session_id, "bob", "viewer")
    witness = connect(ann, "raw-websocket", auth=auth("ann"))
    witness.join(session_id)
    viewer = connect(ann, "raw-websocket", auth=auth("bob"))
    viewer.join(session_id)
    for refused in (
        bob.try_execute(session_id, "CreateNode", CREATE),
        bob.try_undo(session_id),
        bob.try_undo(session_id, call="redo"),
        bob.delete(f"/sessions/{session_id}"),
        bob.delete(f"/sessions/{session_id}", force="true"),
        appoint(bob, session_id, "bob", "owner"),
        appoint(bob, session_id, "cy", "viewer"),
        dismiss(bob, session_id, "ann"),
        dismiss(bob, session_id, "bob"),
    ):
        assert refusal(refused) == (403, "FORBIDDEN")
    assert viewer.execute(session_id, "CreateNode", CREATE)["error"]["code"] == "FORBIDDEN"
    for call in ("undo_command", "redo_command"):
        assert viewer.call(call, {"session_id": session_id})["error"]["code"] == "FORBIDDEN"
    viewer.emit(
        "execute_command", {"session_id": session_id, "command_type": "CreateNode", "data": CREATE}
    )  # without a callback
    assert viewer.wait_for("error")["code"] == "FORBIDDEN"
    assert viewer.call("update_presence", {"session_id": session_id, "state": {"at": "x"}}) == {}
    assert witness.wait_for("session:presence")["actor"] == "bob"
    witness.settle()
    assert not [name for name in witness.names() if name.startswith(("command:", "node-"))]
    assert ann.graph(session_id)["version"] == 1
    assert members(ann, session_id) == {"ann": "owner", "bob": "viewer"}


def test_an_administrator_manages_what_is_not_his(
    root: Server, ann: Server, bob: Server, connect: Connect, session_id: str
) -> None:
    """Given an administrator who is no member, when he reads, commands, joins and appoints, then it is done,
    and he is no member afterwards either."""
    assert root.create(session_id)
    assert appoint(root, session_id, "bob", "editor").status_code == 200
    assert bob.graph(session_id)["version"] == 1
    client = connect(root, "raw-websocket", auth=auth("root", admin=True))
    assert client.join(session_id)["clients"][0]["actor"] == "root"
    assert members(root, session_id) == {"ann": "owner", "bob": "editor"}
    assert dismiss(root, session_id, "bob").status_code == 204
    assert root.delete(f"/sessions/{session_id}", force="true").status_code == 204
    assert unknown(ann.get(f"/sessions/{session_id}/info"))


@pytest.mark.parametrize(
    "user",
    ["Änne 🚗", "bob smith", "a/b", "a/", "a?b#c", "%2e%2e", "x" * 255, "'; DROP TABLE role; --", "ann%"],
)
def test_any_name_that_a_token_can_carry_can_be_a_member(ann: Server, session_id: str, user: str) -> None:
    """Given a name of any printable characters, when it is appointed and dismissed, then that very user is
    meant."""
    assert appoint(ann, session_id, user, "viewer").status_code == 200
    assert members(ann, session_id) == {"ann": "owner", user: "viewer"}
    assert as_user(ann, user).get(f"/sessions/{session_id}/info").status_code == 200
    assert dismiss(ann, session_id, user).status_code == 204
    assert members(ann, session_id) == {"ann": "owner"}


@pytest.mark.parametrize("user", ["x" * 256, "a\nb", "a\x00b"], ids=["long", "line", "NUL"])
def test_a_name_that_no_token_can_carry_is_refused(ann: Server, session_id: str, user: str) -> None:
    """Given a name that is none, when it is appointed, then a refusal and no member."""
    assert refusal(appoint(ann, session_id, user, "viewer"))[0] in (400, 404)
    assert members(ann, session_id) == {"ann": "owner"}


@pytest.mark.parametrize(
    "body",
    [{}, {"role": None}, {"role": "admin"}, {"role": "Owner"}, {"role": 1}, {"role": ["owner"]}, [], "x"],
)
def test_only_three_roles_can_be_given(ann: Server, session_id: str, body: Any) -> None:
    """Given a body without one of the roles, when it is sent, then INVALID_REQUEST and no member."""
    response = ann.put(f"/sessions/{session_id}/members/bob", body)
    assert refusal(response) == (400, "INVALID_REQUEST")
    assert members(ann, session_id) == {"ann": "owner"}


def test_who_is_no_member_cannot_be_removed(ann: Server, session_id: str) -> None:
    """Given a user without a role, when he is removed, then a 404 that does not deny the session."""
    status, code = refusal(dismiss(ann, session_id, "bob"))
    assert (status, code != "INVALID_SESSION") == (404, True)


# The last owner


def test_the_last_owner_stays(ann: Server, bob: Server, root: Server, session_id: str) -> None:
    """Given one owner, when he or an administrator removes or demotes him, then LAST_OWNER and nothing
    changes; with a second owner it is done."""
    appoint(ann, session_id, "bob", "editor")
    for met in (ann, root):
        assert refusal(dismiss(met, session_id, "ann")) == (409, "LAST_OWNER")
        for role in ("editor", "viewer"):
            assert refusal(appoint(met, session_id, "ann", role)) == (409, "LAST_OWNER")
    assert appoint(ann, session_id, "ann", "owner").status_code == 200
    assert members(ann, session_id) == {"ann": "owner", "bob": "editor"}
    assert appoint(ann, session_id, "bob", "owner").status_code == 200
    assert appoint(ann, session_id, "ann", "viewer").status_code == 200
    assert refusal(appoint(ann, session_id, "ann", "owner")) == (403, "FORBIDDEN")
    assert refusal(dismiss(bob, session_id, "bob")) == (409, "LAST_OWNER")


def test_two_owners_who_remove_each_other_leave_one(server: Server, ann: Server, bob: Server) -> None:
    """Given two owners, when each removes or demotes the other at once, then one owner is left."""
    for round_ in range(12):
        session_id = ann.new_session()
        appoint(ann, session_id, "bob", "owner")
        calls: list[Callable[[], requests.Response]] = [
            lambda sid=session_id: dismiss(ann, sid, "bob"),
            (lambda sid=session_id: dismiss(bob, sid, "ann"))
            if round_ % 2
            else (lambda sid=session_id: appoint(bob, sid, "ann", "viewer")),
        ]
        with ThreadPoolExecutor(2) as pool:
            statuses = [answer.result().status_code for answer in [pool.submit(call) for call in calls]]
        root = as_user(server, "root", admin=True)
        assert list(members(root, session_id).values()).count("owner") == 1, statuses
        assert sum(status < 300 for status in statuses) == 1, statuses


# Open sockets


@pytest.mark.parametrize("kind", KINDS + RAW_KINDS)
def test_who_is_removed_leaves_within_a_second(
    ann: Server, bob: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a member's socket in a room, when he is removed, then within a second it hears `error` FORBIDDEN
    and `left`, the room hears it go, and it hears nothing of the session any more; the socket and its other
    sessions stay."""
    appoint(ann, session_id, "bob", "editor")
    own = bob.new_session()
    witness = connect(ann, "raw-websocket", auth=auth("ann"))
    witness.join(session_id)
    client = connect(ann, kind, auth=auth("bob"))
    client.join(session_id)
    client.join(own)
    client.settle()
    place = len(client.events)
    began = time.monotonic()
    assert dismiss(ann, session_id, "bob").status_code == 204
    error = client.wait_for("error", timeout=1, after=place)
    left = client.wait_for("left", timeout=1, after=place)
    gone = witness.wait_for("session:disconnected", timeout=1)
    assert time.monotonic() - began < 1.0
    assert client.names(place)[:2] == ["error", "left"]
    assert error["code"] == "FORBIDDEN"
    assert left == {"session_id": session_id, "client_id": client.id}
    assert (gone["client_id"], gone["actor"], gone["active_clients"]) == (client.id, "bob", 1)

    place = len(client.events)
    ann.create(session_id)
    witness.wait_version(session_id, 1)
    with pytest.raises(ErrorHeard) as refused:
        client.join(session_id)
    assert refused.value.payload == {"code": "INVALID_SESSION", "message": "Session not found"}
    assert client.execute(session_id, "CreateNode", CREATE)["error"]["code"] == "INVALID_SESSION"
    shown = client.call("update_presence", {"session_id": session_id, "state": 1})
    assert shown["error"]["code"] == "INVALID_SESSION"
    bob.create(own)
    client.wait_version(own, 1)
    assert [h for h in client.events[place:] if isinstance(h.payload, dict) and h.payload.get("version")
            and h.payload.get("session_id") == session_id] == []  # fmt: skip
    assert client.connected
    assert ann.get(f"/sessions/{session_id}/info").json()["active_clients"] == 1


def test_all_sockets_of_the_removed_leave_and_no_other(
    ann: Server, connect: Connect, session_id: str
) -> None:
    """Given a room of many, when one user is removed, then all of his sockets leave, those of others stay,
    and what comes after is heard by these alone."""
    for user in ("bob", "bobby"):
        appoint(ann, session_id, user, "viewer")
    clients = {
        user: [connect(ann, "raw-websocket", auth=auth(user)) for _ in range(5)]
        for user in ("ann", "bob", "bobby")
    }
    for client in chain(*clients.values()):
        client.join(session_id)
    assert dismiss(ann, session_id, "bob").status_code == 204
    ann.create(session_id)
    for client in clients["bob"]:
        client.wait_for("left", timeout=1)
        client.settle()
        assert client.heard("node-created") == []
    for client in clients["ann"] + clients["bobby"]:
        client.wait_version(session_id, 1)
        gone = client.heard("session:disconnected", session_id)
        assert [said["client_id"] for said in gone] == [bob.id for bob in clients["bob"]]
        assert client.heard("left") == []


def test_a_removed_client_hears_no_replay_to_its_end(ann: Server, connect: Connect, session_id: str) -> None:
    """Given a client in the middle of catching up, when its user is removed, then the facts stop there."""
    node = ann.create(session_id)
    for value in range(150):
        ann.execute(
            session_id,
            "UpdateProperty",
            {"node_id": node, "property_id": "p", "value": f"{value}" + "x" * 30_000},
        )
    appoint(ann, session_id, "bob", "viewer")
    client = connect(ann, "raw-websocket", auth=auth("bob"), receive_buffer=16 * 1024)
    client.emit("join_session", {"session_id": session_id, "since": 0})
    client.wait_for("node-created")
    client.pause()
    assert dismiss(ann, session_id, "bob").status_code == 204
    client.resume()
    client.wait_for("left", timeout=10)
    client.settle()
    versions = [said["version"] for said in client.heard("command:executed")]
    assert versions == list(range(1, len(versions) + 1))
    assert len(versions) < 151, "all of it was sent"
    assert client.names()[-2:] != ["left", "property-changed"]


def test_a_demoted_editor_commands_no_more(
    ann: Server, bob: Server, connect: Connect, session_id: str
) -> None:
    """Given an editor, when he is made a viewer, then his next command is FORBIDDEN on either way, he stays
    in the room and hears on; promoted again, the next one passes."""
    appoint(ann, session_id, "bob", "editor")
    client = connect(ann, "raw-websocket", auth=auth("bob"))
    client.join(session_id)
    client.execute(session_id, "CreateNode", CREATE)
    for _ in range(10):
        assert appoint(ann, session_id, "bob", "viewer").status_code == 200
        assert refusal(bob.try_execute(session_id, "CreateNode", CREATE)) == (403, "FORBIDDEN")
        assert client.execute(session_id, "CreateNode", CREATE)["error"]["code"] == "FORBIDDEN"
        assert client.call("undo_command", {"session_id": session_id})["error"]["code"] == "FORBIDDEN"
        assert appoint(ann, session_id, "bob", "editor").status_code == 200
        assert client.execute(session_id, "CreateNode", CREATE)["success"]
        assert bob.try_execute(session_id, "CreateNode", CREATE).status_code == 200
    appoint(ann, session_id, "bob", "viewer")
    ann.create(session_id)
    client.wait_version(session_id, 22)
    assert client.heard("left") == []


def editors_burst(ann: Server, connect: Connect, session_id: str) -> list[Ack]:
    """The acknowledgements of 3,000 commands that Bob, an editor, sent at once; the first is there."""
    appoint(ann, session_id, "bob", "editor")
    client = connect(ann, "raw-websocket", auth=auth("bob"))
    payload = {"session_id": session_id, "command_type": "CreateNode", "data": CREATE}
    acks = [Ack("execute_command") for _ in range(3_000)]
    client.burst(("execute_command", (payload,), ack) for ack in acks)
    assert acks[0].get()["success"]
    return acks


def test_commands_that_wait_when_their_sender_is_demoted_are_refused(
    ann: Server, connect: Connect, session_id: str
) -> None:
    """Given a burst of an editor's commands, when he is demoted in the middle of it, then those before are
    done, all after are FORBIDDEN, and none is done once the demotion was answered."""
    acks = editors_burst(ann, connect, session_id)
    assert appoint(ann, session_id, "bob", "viewer").status_code == 200
    version = ann.graph(session_id)["version"]
    answers = [ack.get(timeout=30) for ack in acks]
    done = [answer.get("success", False) for answer in answers]
    assert done == sorted(done, reverse=True), "one was done after one was refused"
    assert {answer["error"]["code"] for answer in answers if "error" in answer} == {"FORBIDDEN"}
    assert sum(done) == version == ann.graph(session_id)["version"]
    assert 0 < version < 3_000


def test_a_command_that_came_before_the_demotion_was_done_is_refused(
    ann: Server, connect: Connect, session_id: str
) -> None:
    """Given a demotion that waits behind large batches, when the editor commands meanwhile, then the command
    waits behind it and is FORBIDDEN: what counts is his role when its turn comes."""
    appoint(ann, session_id, "bob", "editor")
    owner = connect(ann, "raw-websocket", auth=auth("ann"))
    editor = connect(ann, "raw-websocket", auth=auth("bob"))
    witness = connect(ann, "raw-websocket", auth=auth("ann"))
    create = {"command_type": "CreateNode", "data": CREATE}
    batch = {"session_id": session_id, "command_type": "Batch", "data": {"commands": [create] * 5_000}}
    acks = [owner.begin("execute_command", batch) for _ in range(5)]
    assert acks[0].get()["success"]
    with ThreadPoolExecutor(1) as pool:
        demotion = pool.submit(appoint, ann, session_id, "bob", "viewer")
        for _ in range(3):
            witness.settle()  # so the demotion is in the queue
        late = editor.begin("execute_command", {"session_id": session_id, **create})
        witness.settle()
        assert not demotion.done(), "it did not wait"
        assert demotion.result().status_code == 200
    assert late.get()["error"]["code"] == "FORBIDDEN"
    assert all(ack.get()["success"] for ack in acks)
    assert ann.graph(session_id)["version"] == 5


def test_a_removed_editor_leaves_no_command_behind(ann: Server, connect: Connect, session_id: str) -> None:
    """Given a burst of an editor's commands, when he is removed in the middle of it, then the rest get the
    answer of an unknown session."""
    acks = editors_burst(ann, connect, session_id)
    assert dismiss(ann, session_id, "bob").status_code == 204
    version = ann.graph(session_id)["version"]
    answers = [ack.get(timeout=30) for ack in acks]
    refusals = [answer["error"] for answer in answers if "error" in answer]
    assert refusals
    assert refusals == [{"code": "INVALID_SESSION", "message": "Session not found"}] * len(refusals)
    assert 3_000 - len(refusals) == version == ann.graph(session_id)["version"]


# Lists, deletion, restarts


def test_everybody_sees_his_own_sessions(server: Server) -> None:
    """Given sessions of several users, when they are listed, then each page, total and cursor is about one's
    own and those one is a member of; an administrator's is about all."""
    mine, others = as_user(server, f"u-{new_id()}"), as_user(server, f"v-{new_id()}")
    own = [mine.new_session() for _ in range(5)]
    foreign = [others.new_session() for _ in range(5)]
    assert appoint(others, foreign[2], "nobody", "viewer").status_code == 200
    for user, role in (("viewer", foreign[0]), ("editor", foreign[1])):
        name = mine.ask(f"/sessions/{own[0]}/members")["members"][0]["user"]
        assert appoint(others, role, name, user).status_code == 200
    expected = {*own, *foreign[:2]}
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = mine.ask("/sessions", limit=2, **cursor)
        assert page["total"] == 7
        seen += [line["session_id"] for line in page["sessions"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == sorted(expected)
    assert dismiss(others, foreign[0], name).status_code == 204
    assert mine.delete(f"/sessions/{own[0]}").status_code == 204
    page = mine.ask("/sessions")
    assert page["total"] == 5
    assert {line["session_id"] for line in page["sessions"]} == expected - {foreign[0], own[0]}
    everything = as_user(server, "root", admin=True).ask("/sessions", limit=500)
    assert {*own[1:], *foreign} <= {line["session_id"] for line in everything["sessions"]}
    assert everything["total"] == len(everything["sessions"])
    assert as_user(server, new_id()).ask("/sessions") == {"sessions": [], "total": 0, "next_cursor": None}


def test_a_deleted_session_is_gone_for_everybody(
    ann: Server, bob: Server, root: Server, connect: Connect, session_id: str
) -> None:
    """Given a session with members, when its owner deletes it, then its room hears that, and members and
    administrators get the answer of an unknown one; nobody can be appointed, and joining opens nothing."""
    appoint(ann, session_id, "bob", "owner")
    client = connect(ann, "raw-websocket", auth=auth("bob"))
    client.join(session_id)
    assert refusal(ann.delete(f"/sessions/{session_id}")) == (409, "SESSION_IN_USE")
    assert ann.delete(f"/sessions/{session_id}", force="true").status_code == 204
    client.wait_for("session:deleted", timeout=1)
    for met in (ann, bob, root):
        assert unknown(met.get(f"/sessions/{session_id}/info"))
        assert unknown(met.get(f"/sessions/{session_id}/members"))
        assert unknown(appoint(met, session_id, "cy", "viewer"))
        assert unknown(dismiss(met, session_id, "bob"))
    for user in ("bob", "root"):
        with pytest.raises(ErrorHeard) as refused:
            connect(ann, "raw-websocket", auth=auth(user, admin=user == "root")).join(session_id)
        assert refused.value.payload["message"] == "Session not found"


def test_joining_opens_no_session_where_there_are_tokens(ann: Server, root: Server, connect: Connect) -> None:
    """Given an id that names nothing, when a user or an administrator joins it, then `Session not found`."""
    for user in ("ann", "root"):
        client = connect(ann, "raw-websocket", auth=auth(user, admin=user == "root"))
        for session_id in ("bronco-66", new_id(), "no such", "x" * 200):
            with pytest.raises(ErrorHeard) as refused:
                client.join(session_id)
            assert refused.value.payload == {"code": "INVALID_SESSION", "message": "Session not found"}
    assert unknown(root.get("/sessions/bronco-66/info"))


def test_actors_are_who_the_tokens_name(
    ann: Server, bob: Server, root: Server, connect: Connect, session_id: str
) -> None:
    """Given commands of three users on both ways, when events and history are read, then each carries the
    user of its token."""
    appoint(ann, session_id, "bob", "editor")
    client = connect(ann, "raw-websocket", auth=auth("bob"))
    client.join(session_id)
    ann.create(session_id)
    bob.create(session_id)
    root.create(session_id)
    client.execute(session_id, "CreateNode", CREATE)
    ann.undo(session_id)
    root.redo(session_id)
    expected = ["ann", "bob", "root", "bob", "ann", "root"]
    client.wait_version(session_id, 6)
    closing = ("command:executed", "command:undo", "command:redo")
    assert [h.payload["actor"] for h in client.events if h.name in closing] == expected
    assert [line["actor"] for line in reversed(ann.history(session_id))] == expected
    assert [event["actor"] for event in ann.events(session_id) if event["event"] in closing] == expected
    assert ann.undo(session_id, scope="actor")["success"]  # his own latest: the first node
    assert ann.history(session_id)[0]["actor"] == "ann"


def audit(database: Path) -> list[tuple[str, str, str | None, str | None, bool]]:
    """Who did what to whom, in order: actor, action, user, role, and whether it was about a session."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as file:
        rows = file.execute("SELECT actor, action, user, role, session_no FROM audit ORDER BY no").fetchall()
    return [(*row[:4], row[4] is not None) for row in rows]


def test_members_and_the_audit_survive_a_crash(tmp_path: Path) -> None:
    """Given appointments, refusals and a deletion, when the server was killed and runs again, then the roles
    hold, and the file says who did what, refused things not."""
    with guarded(tmp_path) as server:
        ann = as_user(server, "ann")
        kept, gone = ann.new_session(), ann.new_session()
        for user, role in (("bob", "viewer"), ("cy", "owner"), ("dan", "editor"), ("bob", "editor")):
            assert appoint(ann, kept, user, role).status_code == 200
        assert dismiss(as_user(server, "cy"), kept, "dan").status_code == 204
        assert appoint(as_user(server, "bob"), kept, "eve", "viewer").status_code == 403
        assert appoint(as_user(server, "eve"), kept, "eve", "owner").status_code == 404
        assert refusal(dismiss(ann, gone, "ann")) == (409, "LAST_OWNER")
        assert as_user(server, "root", admin=True).delete(f"/sessions/{gone}").status_code == 204
        assert talus("token", "--revoke", "dan", TALUS_DATABASE=str(server.database)).returncode == 0
        server.kill()
        server.start()
        ann = as_user(server, "ann")
        assert members(ann, kept) == {"ann": "owner", "bob": "editor", "cy": "owner"}
        assert as_user(server, "bob").try_execute(kept, "CreateNode", CREATE).status_code == 200
        for user in ("dan", "eve"):
            assert unknown(as_user(server, user).get(f"/sessions/{kept}/info"))
        assert unknown(ann.get(f"/sessions/{gone}/info"))
        server.stop()
        lines = audit(server.database)
        assert lines[:-1] == [
            ("ann", "create", "ann", "owner", True),
            ("ann", "create", "ann", "owner", True),
            ("ann", "appoint", "bob", "viewer", True),
            ("ann", "appoint", "cy", "owner", True),
            ("ann", "appoint", "dan", "editor", True),
            ("ann", "appoint", "bob", "editor", True),
            ("cy", "appoint", "dan", None, True),
            ("root", "delete", None, None, True),
        ]
        assert lines[-1][1:] == ("revoke", "dan", None, False)
        server.start()


def test_sessions_made_without_tokens_have_no_owner(
    tmp_path: Path, start_server: Callable[..., Server]
) -> None:
    """Given sessions and a project from before there were tokens, when the database is served with tokens,
    then users see none of them, and an administrator sees them all and gives them members."""
    server = start_server(env={"TALUS_TEMPLATES": str(TEMPLATES)})
    made = server.post("/projects", {"template_id": "workshop", "project_name": "Bronco"}).json()
    project, session_id = made["project_id"], server.new_session()
    server.create(session_id)
    server.execute(session_id, "CreateNode", CREATE, actor="ann")  # a name that nobody checked owns nothing
    server.stop()
    server.env |= jwt_settings(tmp_path)
    server.start()
    ann, root = as_user(server, "ann"), as_user(server, "root", admin=True)
    assert ann.ask("/sessions")["total"] == 0
    assert unknown(ann.get(f"/sessions/{session_id}/info"))
    assert refusal(ann.get(f"/projects/{project}")) == (404, "PROJECT_NOT_FOUND")
    listed = root.ask("/sessions")
    assert {line["session_id"] for line in listed["sessions"]} == {session_id, made["session_id"]}
    assert members(root, session_id) == {}
    assert appoint(root, session_id, "ann", "viewer").status_code == 200
    assert ann.graph(session_id)["version"] == 2
    assert ann.ask("/sessions")["total"] == 1
    assert refusal(appoint(ann, session_id, "ann", "owner")) == (403, "FORBIDDEN")
    assert dismiss(root, session_id, "ann").status_code == 204  # no owner, so none is the last
    assert appoint(root, made["session_id"], "ann", "owner").status_code == 200
    assert ann.get(f"/projects/{project}").status_code == 200
    assert refusal(dismiss(root, made["session_id"], "ann")) == (409, "LAST_OWNER")


def test_what_is_refused_is_in_no_log(ann: Server, bob: Server, session_id: str) -> None:
    """Given refused calls that carry a secret value, when the log is read, then the value is not in it."""
    secret = "the-price-is-4711"
    data = {"node_id": new_id(), "property_id": secret, "value": secret}
    appoint(ann, session_id, "bob", "viewer")
    for response in (
        bob.try_execute(session_id, "UpdateProperty", data),
        ann.try_execute(session_id, "UpdateProperty", data),
        ann.try_execute(session_id, secret, {secret: secret}),
        ann.get("/graph", session_id=secret),
        ann.get(f"/sessions/{secret}/info", secret=secret),
        ann.request("POST", "/sessions", data=secret, headers={"Content-Type": "application/json"}),
    ):
        assert response.status_code >= 400
    assert secret not in ann.log()
