"""Joining, leaving, presence in the room, and catching up (docs/protocol.md)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.clients import KINDS, RAW_KINDS, Client, ErrorHeard, RawPolling, RawWebSocket
from tests.support.follower import Follower
from tests.support.server import Server, new_id, refusal
from tests.support.tree import FACTS

Connect = Callable[..., Client]
Follow = Callable[..., Follower]

every_kind = pytest.mark.parametrize("kind", KINDS + RAW_KINDS)


def own_session() -> str:
    """An id that names no session yet."""
    return f"test-{new_id()}"


def facts_heard(client: Client, after: int = 0) -> list[dict[str, Any]]:
    return [heard.payload for heard in client.events[after:] if heard.name in FACTS]


# What `joined` says


def test_joined_tells_version_epoch_resume_created_and_clients(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a session with two commits, when a client joins, then `joined` has every field with its value."""
    shared_server.create(session_id)
    shared_server.create(session_id)
    client = connect(shared_server, actor="ann")
    joined = client.join(session_id)
    expected = {
        "session_id": session_id,
        "client_id": client.id,
        "active_clients": 1,
        "version": 2,
        "epoch": shared_server.graph(session_id)["epoch"],
        "resume": "live",
        "created": False,
        "clients": [{"client_id": client.id, "actor": "ann", "state": None}],
    }
    assert {key: joined.get(key) for key in expected} == expected


@every_kind
def test_joined_comes_before_session_connected(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a client of any kind, when it joins, then `joined` comes before `session:connected`."""
    client = connect(shared_server, kind)
    client.call("join_session", {"session_id": session_id})
    client.wait_for("session:connected")
    names = client.names()
    assert names.index("joined") < names.index("session:connected")
    assert names.index("joined") < names.index("ack")


def test_the_count_follows_all_who_come_and_go(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given five clients, when they join and leave, then every count told is the one of that moment."""
    clients = [connect(shared_server, "raw-websocket") for _ in range(5)]
    assert [client.join(session_id)["active_clients"] for client in clients] == [1, 2, 3, 4, 5]
    clients[0].wait_until(lambda: len(clients[0].heard("session:connected")) == 5)
    assert [e["active_clients"] for e in clients[0].heard("session:connected")] == [1, 2, 3, 4, 5]
    for client in clients[:0:-1]:
        client.leave(session_id)
    clients[0].wait_until(lambda: len(clients[0].heard("session:disconnected")) == 4)
    assert [e["active_clients"] for e in clients[0].heard("session:disconnected")] == [4, 3, 2, 1]
    assert shared_server.ask(f"/sessions/{session_id}/info")["active_clients"] == 1


def test_clients_lists_those_in_the_room_and_at_most_100(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given 103 in the room, when the last joins, then it is told the count 103 and the first 100 of them."""
    clients = [connect(shared_server, "raw-websocket", actor=f"user {n}") for n in range(103)]
    for client in clients:
        joined = client.join(session_id)
    assert joined["active_clients"] == 103
    assert [(c["client_id"], c["actor"]) for c in joined["clients"]] == [
        (client.id, f"user {n}") for n, client in enumerate(clients[:100])
    ]


def test_joining_again_is_answered_but_counted_and_announced_once(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a client in the room, when it joins again, then `joined` comes again and nobody else hears of
    it."""
    first, other = connect(shared_server), connect(shared_server)
    other.join(session_id)
    first.join(session_id)
    other.wait_until(lambda: len(other.heard("session:connected")) == 2)
    first.settle()
    assert first.join(session_id)["active_clients"] == 2
    first.settle()
    other.settle()
    assert len(other.heard("session:connected")) == 2
    assert len(first.heard("session:connected")) == 1
    shared_server.create(session_id)
    first.wait_version(session_id, 1)
    first.settle()
    assert len(first.heard("node-created")) == 1
    first.leave(session_id)
    other.wait_for("session:disconnected")
    assert shared_server.ask(f"/sessions/{session_id}/info")["active_clients"] == 1


@pytest.mark.parametrize("member", [True, False], ids=["after leaving", "never joined"])
def test_leaving_a_session_one_is_not_in_is_answered_and_not_broadcast(
    shared_server: Server, connect: Connect, session_id: str, member: bool
) -> None:
    """Given one who is not in the room, when he leaves it, then he hears `left` and the room nothing."""
    inside, outside = connect(shared_server), connect(shared_server)
    inside.join(session_id)
    if member:
        outside.join(session_id)
        outside.leave(session_id)
        inside.wait_for("session:disconnected")
    inside.settle()
    place = len(inside.events)
    assert outside.leave(session_id)["client_id"] == outside.id
    inside.settle()
    assert inside.names(place) == ["pong", "ack"]


@pytest.mark.parametrize("text", [new_id(), "no such session", "..", "ä", "x" * 5000])
def test_leave_is_answered_with_left_for_any_id(shared_server: Server, connect: Connect, text: str) -> None:
    """Given any text at all, when it is left, then `left` names it."""
    client = connect(shared_server)
    assert client.leave(text) == client.call("leave_session", {"session_id": text})
    assert client.heard("left")[0]["session_id"] == text


@pytest.mark.parametrize("kind", ["python-websocket", "node-websocket", "node", "raw-websocket"])
def test_a_lost_connection_is_announced_in_every_session_it_was_in(
    shared_server: Server, connect: Connect, kind: str
) -> None:
    """Given a client in three sessions, when its connection is cut, then all three rooms hear it has gone."""
    sessions = [shared_server.new_session() for _ in range(3)]
    lost = connect(shared_server, kind, actor="bob")
    watchers = [connect(shared_server) for _ in sessions]
    for session, watcher in zip(sessions, watchers, strict=True):
        watcher.join(session)
        lost.join(session)
    if kind == "node":
        lost.wait_until(lambda: lost.transport == "websocket")  # type: ignore[attr-defined]
    lost_id = lost.id
    lost.cut()
    for session, watcher in zip(sessions, watchers, strict=True):
        gone = watcher.wait_for("session:disconnected")
        assert (gone["session_id"], gone["client_id"], gone["actor"]) == (session, lost_id, "bob")
        assert gone["active_clients"] == 1


@every_kind
def test_a_connection_that_is_closed_is_announced(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given a client of any kind, when it closes its connection, then the room hears
    `session:disconnected`."""
    watcher, leaver = connect(shared_server), connect(shared_server, kind)
    watcher.join(session_id)
    leaver.join(session_id)
    leaver.close()
    gone = watcher.wait_for("session:disconnected")
    assert gone["client_id"] == leaver.id


def test_a_client_may_be_in_several_sessions(shared_server: Server, connect: Connect) -> None:
    """Given a client in two sessions, when both are edited, then it hears both, and after leaving one the
    other."""
    one, two = shared_server.new_session(), shared_server.new_session()
    client = connect(shared_server)
    client.join(one)
    client.join(two)
    shared_server.create(one)
    shared_server.create(two)
    client.wait_version(one, 1)
    client.wait_version(two, 1)
    client.leave(one)
    shared_server.create(one)
    shared_server.create(two)
    client.wait_version(two, 2)
    client.settle()
    assert [event["version"] for event in client.heard("node-created", one)] == [1]


def test_a_client_may_be_in_64_sessions(shared_server: Server, connect: Connect) -> None:
    """Given a client in 64 sessions, when it joins one more, then LIMIT_EXCEEDED, until it leaves one."""
    client = connect(shared_server, "raw-websocket")
    sessions = [own_session() for _ in range(65)]
    for session in sessions[:64]:
        client.join(session)
    with pytest.raises(ErrorHeard) as refused:
        client.join(sessions[64])
    assert refused.value.payload["code"] == "LIMIT_EXCEEDED"
    assert client.join(sessions[0])["active_clients"] == 1
    client.leave(sessions[0])
    assert client.join(sessions[64])["created"] is True


# A session comes into being


def test_joining_an_unknown_id_opens_an_empty_session(
    shared_server: Server, connect: Connect, follow: Follow
) -> None:
    """Given an id that a team agreed on, when the first joins, then it is created and commands work at
    once."""
    session = own_session()
    first, second = connect(shared_server), connect(shared_server)
    joined = first.join(session)
    assert (joined["created"], joined["version"], joined["resume"]) == (True, 0, "live")
    assert shared_server.graph(session)["roots"] == []
    assert first.execute(session, "CreateNode", {"blueprint_type_id": "x"})["version"] == 1
    joined = second.join(session)
    assert (joined["created"], joined["version"]) == (False, 1)
    shared_server.create(session)
    for client in (first, second):
        client.wait_version(session, 2)


def test_an_opened_session_is_created_for_the_first_alone(shared_server: Server, connect: Connect) -> None:
    """Given an opened session without commits, when a second joins, then `created` is false for him."""
    session = own_session()
    assert connect(shared_server).join(session)["created"] is True
    assert connect(shared_server).join(session)["created"] is False


@pytest.mark.parametrize("kind", ["rest", "socket"])
def test_commands_alone_do_not_open_a_session(shared_server: Server, connect: Connect, kind: str) -> None:
    """Given an id that names no session, when a command is sent without joining, then `Session not found`."""
    session, data = own_session(), {"blueprint_type_id": "x"}
    if kind == "rest":
        answer = shared_server.try_execute(session, "CreateNode", data).json()
    else:
        answer = connect(shared_server).execute(session, "CreateNode", data)
    assert answer["error"]["code"] == "INVALID_SESSION"
    assert answer["error"]["message"] == "Session not found"


@pytest.mark.parametrize(
    "text", ["a", "Z", "0", "bronco-66", "a.b_c~d-e", "A" * 128, "0" * 128, new_id().upper(), "a..", "9~~"]
)
def test_ids_that_may_be_agreed_on(shared_server: Server, connect: Connect, text: str) -> None:
    """Given 1-128 of the allowed characters, when it is joined, then it names a session."""
    joined = connect(shared_server).join(text)
    assert joined["session_id"] == text


@pytest.mark.parametrize(
    "text",
    [
        "-a",
        ".a",
        "_a",
        "~a",
        "a b",
        "a/b",
        "ä",
        "a\n",
        "\na",
        "a\0",
        "A" * 129,
        "a%20",
        "é1",
        "٣",
        "a:b",
        " a",
        "a ",
    ],
    ids=ascii,
)
def test_any_other_text_is_session_not_found(shared_server: Server, connect: Connect, text: str) -> None:
    """Given text that cannot be a session id, when it is joined, then exactly `Session not found`."""
    client = connect(shared_server)
    with pytest.raises(ErrorHeard) as refused:
        client.join(text)
    assert refused.value.payload["message"] == "Session not found"
    assert refused.value.payload["code"] == "INVALID_SESSION"
    client.settle()


def test_an_opened_session_is_listed_once_something_is_committed(server: Server, connect: Connect) -> None:
    """Given an opened session, when the lists are read, then it is left out until its first commit."""
    session = own_session()
    client = connect(server)
    client.join(session)
    assert server.ask("/sessions") == {"sessions": [], "total": 0, "next_cursor": None}
    server.create(session)
    listed = server.ask("/sessions")
    assert [s["session_id"] for s in listed["sessions"]] == [session]
    assert listed["total"] == 1


def test_an_opened_session_that_was_committed_in_lasts(server: Server, connect: Connect) -> None:
    """Given an opened session with a commit, when the server restarts, then the session is there with it."""
    session = own_session()
    empty = own_session()
    client = connect(server)
    client.join(session)
    client.join(empty)
    node = server.create(session)
    server.stop()
    server.start()
    assert [root["id"] for root in server.graph(session)["roots"]] == [node]
    assert refusal(server.get("/graph", session_id=empty)) == (404, "INVALID_SESSION")
    assert connect(server).join(session)["created"] is False


def test_an_opened_session_without_commits_is_gone_60_s_after_its_last_client(
    server: Server, connect: Connect
) -> None:
    """Given an opened session without commits, when its last client has left for 60 s, then it is gone."""
    session = own_session()
    client = connect(server)
    client.join(session)
    client.leave(session)
    left = time.monotonic()
    assert server.get("/graph", session_id=session).status_code == 200
    while server.get("/graph", session_id=session).status_code == 200:
        assert time.monotonic() < left + 75
        time.sleep(0.5)
    assert time.monotonic() > left + 55
    assert connect(server).join(session)["created"] is True


def test_a_deleted_id_is_never_used_again(server: Server, connect: Connect) -> None:
    """Given a deleted session, when it is joined or edited, even after a restart, then `Session not
    found`."""
    session = own_session()
    client = connect(server)
    client.join(session)
    server.create(session)
    assert server.delete(f"/sessions/{session}", force="true").status_code == 204
    for _ in range(2):
        with pytest.raises(ErrorHeard) as refused:
            connect(server).join(session)
        assert refused.value.payload["message"] == "Session not found"
        assert refusal(server.try_execute(session, "CreateNode", {"blueprint_type_id": "x"})) == (
            404,
            "INVALID_SESSION",
        )
        server.stop()
        server.start()


def test_a_forced_deletion_is_told_to_the_room_which_is_then_closed(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given clients in a session, when it is deleted by force, then they hear `session:deleted`, and no
    more."""
    client = connect(shared_server)
    client.join(session_id)
    shared_server.create(session_id)
    assert refusal(shared_server.delete(f"/sessions/{session_id}")) == (409, "SESSION_IN_USE")
    assert shared_server.delete(f"/sessions/{session_id}", force="true").status_code == 204
    assert client.wait_for("session:deleted")["session_id"] == session_id
    place = len(client.events)
    assert (
        client.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})["error"]["code"]
        == "INVALID_SESSION"
    )
    refused = client.call("update_presence", {"session_id": session_id, "state": 1})
    assert "error" in refused
    assert set(client.names(place)) == {"ack"}


# Catching up


def commits(server: Server, session_id: str, count: int) -> None:
    """`count` commits: a root, then its children."""
    root = server.create(session_id)
    for n in range(count - 1):
        server.create(session_id, root, properties={"n": n})


@pytest.mark.parametrize("since", [-1, 1.5, "1", True, [1], {}, 1e300], ids=repr)
def test_since_is_an_integer_from_0(
    shared_server: Server, connect: Connect, session_id: str, since: Any
) -> None:
    """Given a `since` that is no integer from 0, when a client joins with it, then INVALID_REQUEST names
    it."""
    client = connect(shared_server)
    client.emit("join_session", {"session_id": session_id, "since": since})
    error = client.wait_for("error")
    assert error["code"] == "INVALID_REQUEST"
    assert "since" in error["message"]
    client.settle()
    assert not client.heard("joined")


@pytest.mark.parametrize("epoch", [1, True, [], {}], ids=repr)
def test_an_epoch_is_text(shared_server: Server, connect: Connect, session_id: str, epoch: Any) -> None:
    """Given an `epoch` that is no text, when a client joins with it, then INVALID_REQUEST names it."""
    client = connect(shared_server)
    client.emit("join_session", {"session_id": session_id, "since": 0, "epoch": epoch})
    error = client.wait_for("error")
    assert error["code"] == "INVALID_REQUEST"
    assert "epoch" in error["message"]


@pytest.mark.parametrize(
    "since, epoch, resume",
    [
        (None, "own", "live"),
        (None, None, "live"),
        (5, "own", "current"),
        (5, None, "current"),
        (4, "own", "replay"),
        (0, None, "replay"),
        (6, "own", "snapshot"),
        (6, None, "snapshot"),
        (2**53 - 1, None, "snapshot"),
        (5, "other", "snapshot"),
        (4, "other", "snapshot"),
        (0, "other", "snapshot"),
    ],
)
def test_resume_tells_how_the_client_catches_up(
    shared_server: Server,
    connect: Connect,
    session_id: str,
    since: int | None,
    epoch: str | None,
    resume: str,
) -> None:
    """Given five commits, when a client joins with since and epoch, then `resume` is as the contract
    orders."""
    commits(shared_server, session_id, 5)
    epochs = {"own": shared_server.graph(session_id)["epoch"], "other": new_id(), None: None}
    client = connect(shared_server)
    joined = client.join(session_id, since, epochs[epoch])
    assert joined["resume"] == resume
    assert joined["version"] == 5
    client.wait_for("session:connected")
    client.settle()
    versions = {fact["version"] for fact in facts_heard(client)}
    assert versions == (set(range((since or 0) + 1, 6)) if resume == "replay" else set())


@every_kind
def test_a_late_client_catches_up_without_gaps(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given edits while Bob was away, when he rejoins, then he gets each fact once, as first sent, plus
    replayed."""
    ann = connect(shared_server)
    ann.join(session_id)
    root, child = shared_server.create(session_id, name="a"), new_id()
    shared_server.create(session_id, root, node_id=child)
    shared_server.execute(session_id, "UpdateProperty", {"node_id": child, "property_id": "p", "value": [1]})
    shared_server.execute(session_id, "MoveNode", {"node_id": child, "parent_id": None, "index": 0})
    shared_server.undo(session_id)
    shared_server.redo(session_id)
    shared_server.execute(session_id, "DeleteNode", {"node_id": root})
    ann.wait_version(session_id, 7)
    bob = connect(shared_server, kind)
    bob.call("join_session", {"session_id": session_id, "since": 1})
    bob.wait_for("session:connected")
    first_sent = [fact for fact in facts_heard(ann) if fact["version"] > 1]
    replayed = facts_heard(bob)
    assert replayed == [fact | {"replayed": True} for fact in first_sent]
    names = [name for name in bob.names() if name not in ("ack", "upgrade")]
    assert names[:2] == ["connect", "joined"]
    assert names[-1] == "session:connected"
    assert len(names) == 3 + len(replayed)


def test_live_events_are_not_marked_replayed(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a client that has caught up, when the session is edited, then the facts carry no `replayed`."""
    commits(shared_server, session_id, 2)
    client = connect(shared_server)
    client.join(session_id, since=0)
    shared_server.create(session_id)
    client.wait_version(session_id, 3)
    assert [bool(fact.get("replayed")) for fact in facts_heard(client)] == [True] * 5 + [False] * 2


def test_joining_again_with_since_replays_again(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a client in the room, when it joins again with `since`, then it gets the facts it asks for."""
    client = connect(shared_server)
    client.join(session_id)
    commits(shared_server, session_id, 3)
    client.wait_version(session_id, 3)
    place = len(client.events)
    joined = client.join(session_id, since=1)
    assert (joined["resume"], joined["active_clients"]) == ("replay", 1)
    client.wait_until(lambda: [f["version"] for f in facts_heard(client, place)][-1:] == [3])
    client.settle()
    assert {fact["version"] for fact in facts_heard(client, place)} == {2, 3}
    assert "session:connected" not in client.names(place)


def test_a_snapshot_is_told_past_the_replay_limit(
    start_server: Callable[..., Server], connect: Connect
) -> None:
    """Given a limit of 20, when 21 versions or 201 facts are missing, then snapshot; with 20 or 200,
    replay."""
    server = start_server(env={"TALUS_REPLAY_LIMIT": "20"})
    by_versions, by_facts = server.new_session(), server.new_session()
    commits(server, by_versions, 21)
    client = connect(server)
    assert client.join(by_versions, since=0)["resume"] == "snapshot"
    assert client.join(by_versions, since=1)["resume"] == "replay"
    created = [{"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}} for _ in range(199)]
    server.execute(by_facts, "Batch", {"commands": created})  # 199 facts and the closing event
    assert client.join(by_facts, since=0)["resume"] == "replay"
    server.create(by_facts)
    assert client.join(by_facts, since=0)["resume"] == "snapshot"
    assert client.join(by_facts, since=1)["resume"] == "replay"


class Writer(threading.Thread):
    """Commits as fast as it can until it is told to stop."""

    def __init__(self, server: Server, session_id: str) -> None:
        super().__init__(daemon=True)
        self.server, self.session_id = server, session_id
        self.stopping = threading.Event()
        self.version = 0
        self.fault: Exception | None = None

    def run(self) -> None:
        root = ""
        n = 0
        try:
            while not self.stopping.is_set():
                n += 1
                if n % 50 == 1:
                    root = self.server.create(self.session_id)
                elif n % 7 == 3:
                    data = {"node_id": root, "property_id": "n", "value": n}
                    self.version = self.server.execute(self.session_id, "UpdateProperty", data)["version"]
                elif n % 11 == 5:
                    bad = {"node_id": new_id()}
                    assert self.server.try_execute(self.session_id, "DeleteNode", bad).status_code == 404
                else:
                    self.server.create(self.session_id, root)
        except Exception as fault:
            self.fault = fault

    def finish(self) -> None:
        self.stopping.set()
        self.join(20)
        if self.fault:
            raise self.fault


def test_joining_while_others_write_leaves_no_gap_and_no_double(server: Server, follow: Follow) -> None:
    """Given two busy writers, when clients of all kinds join, lose and rejoin, then each holds the graph
    exactly."""
    session = server.new_session()
    writers = [Writer(server, session) for _ in range(2)]
    for writer in writers:
        writer.start()
    followers = [follow(server, session, kind) for kind in KINDS + RAW_KINDS]
    for _ in range(5):
        for follower in followers:
            seen = follower.version
            follower.cut()
            follower.join()
            follower.wait_version(seen + 1)
            follower.check()
    for writer in writers:
        writer.finish()
    version = server.graph(session)["version"]
    for follower in followers:
        follower.wait_version(version)
        follower.check()
        assert {"replay", "current"} & set(follower.resumes[1:])
    server.check_converged(session, *(follower.tree for follower in followers))


def test_a_read_after_an_event_shows_its_version_or_a_later_one(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a busy session, when a client reads the graph after each event, then it is never older than
    it."""
    writer = Writer(shared_server, session_id)
    client = connect(shared_server)
    client.join(session_id)
    writer.start()
    try:
        place = 0
        for _ in range(60):
            closing = client.wait_heard(lambda h: h.name == "command:executed", after=place)
            place = len(client.events)
            graph = shared_server.graph(session_id)
            assert graph["version"] >= closing.payload["version"]
    finally:
        writer.finish()


def test_a_slow_client_is_fed_from_the_journal(start_server: Callable[..., Server], follow: Follow) -> None:
    """Given a reader that stands still for 5 s of heavy edits, when it reads on, then it has every fact
    once."""
    server = start_server(env={"TALUS_OUTBOX_BYTES": "65536"})
    session = server.new_session()
    root = server.create(session)
    slow = follow(server, session, "raw-websocket", receive_buffer=4096)
    quick = follow(server, session, "raw-websocket")
    client = slow.client
    assert isinstance(client, RawWebSocket)
    client.pause()
    began = time.monotonic()
    n = 0
    while n < 40 or time.monotonic() < began + 5:
        n += 1
        data = {"node_id": root, "property_id": "text", "value": f"{n} " + "x" * 200_000}
        server.execute(session, "UpdateProperty", data)
        quick.wait_version(n + 1)
    assert slow.version < n
    client.resume()
    slow.wait_version(n + 1, timeout=30)
    slow.check()
    server.check_converged(session, slow.tree, quick.tree)


def test_one_that_takes_nothing_for_10_s_is_cut(
    start_server: Callable[..., Server], connect: Connect
) -> None:
    """Given a client that takes nothing while something waits, when 10 s have passed, then it is cut off."""
    server = start_server(env={"TALUS_OUTBOX_BYTES": "65536"})
    session = server.new_session()
    root = server.create(session)
    stuck = connect(server, "raw-websocket", receive_buffer=4096)
    other = connect(server)
    stuck.join(session)
    other.join(session)
    assert isinstance(stuck, RawWebSocket)
    stuck.pause()
    began = time.monotonic()
    for n in range(60):
        server.execute(
            session, "UpdateProperty", {"node_id": root, "property_id": "t", "value": f"{n}" * 120_000}
        )
    gone = other.wait_for("session:disconnected", timeout=25)
    assert gone["client_id"] == stuck.id
    assert time.monotonic() - began > 8
    other.wait_version(session, 61)


def test_answers_pass_while_a_replay_is_taken_slowly(
    shared_server: Server, connect: Connect, session_id: str
) -> None:
    """Given a client that catches up with 20 MB slowly, when it sends `ping`, then `pong` does not wait
    for all."""
    root = shared_server.create(session_id)
    for n in range(100):
        data = {"node_id": root, "property_id": "t", "value": f"{n:03}" + "x" * 199_000}
        shared_server.execute(session_id, "UpdateProperty", data)
    client = connect(shared_server, "raw-websocket", receive_buffer=4096)
    assert isinstance(client, RawWebSocket)
    assert client.join(session_id, since=0)["resume"] == "replay"
    client.wait_heard("property-changed")
    client.pause()
    client.emit("ping")
    client.resume()
    client.wait_version(session_id, 101, timeout=60)
    names = client.names()
    assert "pong" in names
    assert names.index("pong") < len(names) - 1 - names[::-1].index("property-changed")


def test_a_polling_client_that_pauses_misses_nothing(
    shared_server: Server, follow: Follow, session_id: str
) -> None:
    """Given a polling client that does not poll for a while, when it polls again, then it has every fact
    once."""
    follower = follow(shared_server, session_id, "raw-polling")
    client = follower.client
    assert isinstance(client, RawPolling)
    client.pause()
    for _ in range(100):
        shared_server.create(session_id)
    client.resume()
    follower.wait_version(100)
    follower.check()
    shared_server.check_converged(session_id, follower.tree)


@pytest.mark.parametrize("kind", ["python", "node", "node-polling"])
def test_a_stock_client_reconnects_by_itself_and_rejoins_on_connect(
    server: Server, connect: Connect, kind: str
) -> None:
    """Given a stock client with reconnection, when the server restarts, then `connect` comes again and
    joins work."""
    session = server.new_session()
    client = connect(server, kind, reconnection=True)
    epoch = client.join(session)["epoch"]
    server.create(session)
    client.wait_version(session, 1)
    server.kill()
    client.wait_for("disconnect", timeout=40)
    server.start(port=server.port)
    client.wait_until(lambda: client.names().count("connect") == 2, timeout=30, what="a second connect")
    server.create(session)
    joined = client.join(session, since=1, epoch=epoch)
    assert joined["resume"] == "replay"
    assert joined["client_id"] == client.id
    assert client.wait_version(session, 2)["replayed"] is True


@pytest.mark.parametrize("agent,most", [("", 16), ("python-requests/2", 16), ("node-XMLHttpRequest", 302)])
def test_an_answer_to_a_poll_has_what_the_client_takes(server: Server, agent: str, most: int) -> None:
    """Given a client that polls, when it is to hear 302 packets at once, then an answer has 16 of them, or
    all for Socket.IO's own client, and it hears the same in either case."""
    session_id = server.new_session()
    client = RawPolling(server.url, headers={"User-Agent": agent} if agent else {})
    client.join(session_id)
    client.wait_for("session:connected")
    before = len(client.polls)
    nodes = [{"command_type": "CreateNode", "data": {"blueprint_type_id": "part"}} for _ in range(300)]
    done = server.execute(session_id, "Batch", {"commands": nodes})
    client.wait_version(session_id, done["version"])
    assert len(client.heard("node-created")) == 300
    assert max(client.polls[before:]) == most
    client.cut()
