"""A seeded crowd: eight clients of every kind at work on one session, and all of them end with one tree.

TALUS_SEED=7            the dice of another run; the seed is printed
TALUS_CROWD_COMMANDS=N  how many calls the crowd makes in all (default 2400)
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.clients import Client
from tests.support.follower import Follower
from tests.support.server import Server, new_id
from tests.support.tree import Tree, difference, rebuilt

Json = dict[str, Any]

KINDS = [
    "node-websocket", "node-polling", "node", "python-websocket", "python-polling", "python", "raw-websocket",
    "raw-polling",
]  # fmt: skip
LATE = 2  # of them join when half of the work is done

# what a refusal may say in a crowd; anything else is a fault
EXPECTED = {
    "INVALID_PARENT", "NODE_NOT_FOUND", "NODE_EXISTS", "ALREADY_LINKED", "NOT_LINKED", "CYCLE",
    "LIMIT_EXCEEDED", "NOTHING_TO_UNDO", "NOTHING_TO_REDO", "UNDO_CONFLICT", "VERSION_CONFLICT",
    "INVALID_VALUE",
}  # fmt: skip


class Pace:
    """Holds the quick members back: a crowd that shares one processor must not outrun its slowest reader.

    latest: the last version that anyone was told of.
    """

    BEHIND = 100  # versions that a member may lag while the others go on

    def __init__(self) -> None:
        self.latest = 0
        self.members: list[Member] = []

    def keep(self) -> None:
        deadline = time.monotonic() + 60
        while self.latest - min(member.follower.version for member in self.members) > self.BEHIND:
            assert time.monotonic() < deadline, {m.actor: m.follower.version for m in self.members}
            for member in self.members:
                member.follower.check()
                if member.fault is not None:
                    return
            time.sleep(0.005)


class Member:
    """One of the crowd: follows the session, and sends commands over its socket and over REST."""

    def __init__(
        self, number: int, dice: random.Random, server: Server, follower: Follower, pace: Pace
    ) -> None:
        self.actor = f"member {number}"
        self.dice = dice
        self.server = server
        self.follower = follower
        self.pace = pace
        self.outcomes: Counter[str] = Counter()
        self.acknowledged: dict[str, int] = {}  # command id -> version
        self.fault: BaseException | None = None

    @property
    def session_id(self) -> str:
        return self.follower.session_id

    def join(self) -> None:
        self.follower.join(30)

    def work(self, calls: int) -> None:
        try:
            for _ in range(calls):
                self.pace.keep()
                self.step()
        except BaseException as fault:
            self.fault = fault

    def step(self) -> None:
        """One thing that a person might do."""
        roll = self.dice.random()
        if roll < 0.02:
            self.follower.cut()
            time.sleep(self.dice.random() * 0.2)  # away for a while
            self.join()
            self.outcomes["cut and rejoined"] += 1
        elif roll < 0.04 and self.acknowledged:
            self.retry_known()
        elif roll < 0.05:
            self.cut_while_sending()
        else:
            self.send(*self.choose())

    def choose(self) -> tuple[str, Json]:
        """A call and its payload, most of them sensible; the crowd sees to it that some are not any more."""
        dice, tree = self.dice, self.follower.tree
        ids = list(tree.nodes) if tree is not None else []
        few = ids[-8:] if dice.random() < 0.3 else ids  # where several work at once
        some = dice.choice(few) if ids and dice.random() > 0.02 else new_id()
        other = dice.choice(ids) if ids else new_id()
        index = {"index": dice.randrange(6)} if dice.random() < 0.5 else {}
        roll = dice.random()
        if roll < 0.16:
            scope = {"scope": "actor"} if dice.random() < 0.6 else {}
            return dice.choice(["undo_command", "undo_command", "redo_command"]), scope
        if roll < 0.46:
            parent = {"parent_id": some} if ids and dice.random() < 0.8 else {}
            data = {
                "blueprint_type_id": "part",
                "node_id": new_id(),
                "name": f"n{roll:.3f}",
                **parent,
                **index,
            }
            return "execute_command", {"command_type": "CreateNode", "data": data}
        if roll < 0.66:
            value = dice.choice(
                [None, 1, 2.5, "text", [1, {"a": None}], True, "ä🚗", 2**53 if roll < 0.47 else 0]
            )
            data = {"node_id": some, "property_id": dice.choice(["name" if value == "text" else "p", "q"])}
            return "execute_command", {"command_type": "UpdateProperty", "data": data | {"value": value}}
        if roll < 0.80:
            data = {"node_id": some, "parent_id": other if dice.random() < 0.7 else None, **index}
            return "execute_command", {"command_type": "MoveNode", "data": data}
        if roll < 0.85:
            return "execute_command", {
                "command_type": "LinkNode",
                "data": {"parent_id": other, "child_id": some},
            }
        if roll < 0.89:
            parent_id = tree.nodes[some].parent_id if tree is not None and some in tree.nodes else None
            data = {"parent_id": parent_id or other, "child_id": some}
            return "execute_command", {"command_type": "UnlinkNode", "data": data}
        if roll < 0.93:
            return "execute_command", {"command_type": "DeleteNode", "data": {"node_id": some}}
        made = [new_id() for _ in range(dice.randrange(1, 8))]
        entries: list[Json] = [
            {"command_type": "CreateNode", "data": {"blueprint_type_id": "part", "node_id": own, **parent}}
            for own, parent in zip(made, [{}, *({"parent_id": above} for above in made)], strict=False)
        ]
        entries.append({"command_type": "MoveNode", "data": {"node_id": made[0], "parent_id": some}})
        return "execute_command", {"command_type": "Batch", "data": {"commands": entries}}

    def send(self, event: str, payload: Json) -> None:
        payload = {"session_id": self.session_id, "command_id": new_id(), **payload}
        if self.dice.random() < 0.05 and self.follower.tree is not None:
            payload["expected_version"] = self.follower.version
        answer = (
            self.over_rest(event, payload) if self.dice.random() < 0.4 else self.over_socket(event, payload)
        )
        self.judge(event, payload, answer)

    def judge(self, event: str, payload: Json, answer: Json) -> None:
        if "error" in answer:
            code = answer["error"]["code"]
            assert code in EXPECTED, (payload, answer)
            self.outcomes[code] += 1
        else:
            assert answer["command_id"] == payload["command_id"]
            known = self.acknowledged.setdefault(answer["command_id"], answer["version"])
            assert known == answer["version"]
            self.pace.latest = max(self.pace.latest, answer["version"])
            self.outcomes["duplicate" if answer.get("duplicate") else "committed"] += 1

    def over_rest(self, event: str, payload: Json) -> Json:
        headers = {"Talus-Actor": self.actor}
        if event == "execute_command":
            response = self.server.post("/commands/execute", payload, headers=headers)
        else:
            body = {key: value for key, value in payload.items() if key != "session_id"}
            call = event.partition("_")[0]
            response = self.server.post(f"/sessions/{self.session_id}/{call}", body, headers=headers)
        answer = response.json()
        assert isinstance(answer, dict)
        return answer

    def over_socket(self, event: str, payload: Json) -> Json:
        client = self.follower.client
        assert client is not None
        answer = client.call(event, payload, timeout=30)
        assert isinstance(answer, dict)
        if "error" not in answer:
            # the facts of its commit come before the acknowledgement on that socket
            assert self.follower.version >= answer["version"], (self.follower.version, answer)
        return answer

    def retry_known(self) -> None:
        """Another call under the id of one that committed: it is refused or a duplicate, and nothing
        happens."""
        command_id = self.dice.choice(list(self.acknowledged))
        payload = {"session_id": self.session_id, "command_id": command_id, "command_type": "DeleteNode"}
        answer = self.over_rest("execute_command", payload | {"data": {"node_id": new_id()}})
        assert answer["error"]["code"] == "COMMAND_ID_REUSED", answer
        self.outcomes["COMMAND_ID_REUSED"] += 1

    def cut_while_sending(self) -> None:
        """Lose the connection right after sending, rejoin, and send the same again: it happens once."""
        client = self.follower.client
        assert client is not None
        data = {"blueprint_type_id": "part", "node_id": new_id()}
        payload = {
            "session_id": self.session_id,
            "command_id": new_id(),
            "command_type": "CreateNode",
            "data": data,
        }
        client.emit("execute_command", payload)
        self.follower.cut()
        self.join()
        answer = self.over_rest("execute_command", payload)
        assert "error" not in answer, answer
        self.judge("execute_command", payload, answer)
        again = self.over_socket("execute_command", payload)
        assert again["duplicate"] is True
        assert again["version"] == answer["version"]
        self.outcomes["cut while sending"] += 1


def test_a_crowd_ends_with_one_tree(server: Server, follow: Callable[..., Follower]) -> None:
    """Given eight clients of all kinds at work, when they stop, then all trees, graph and journal are one."""
    seed = int(os.environ.get("TALUS_SEED") or random.SystemRandom().randrange(10**9))
    calls = int(os.environ.get("TALUS_CROWD_COMMANDS") or 2400)
    print(f"\ncrowd: TALUS_SEED={seed}")
    dice = random.Random(seed)
    session = server.new_session(name="crowd")
    pace = Pace()
    members = [
        Member(
            number,
            random.Random(dice.random()),
            server,
            follow(server, session, kind, actor=f"member {number}", join=False),
            pace,
        )
        for number, kind in enumerate(KINDS)
    ]
    began = time.monotonic()
    in_time, late = members[LATE:], members[:LATE]
    for member in in_time:
        member.join()
    pace.members = in_time
    work(in_time, calls // 2 // len(in_time), seed)
    for member in late:
        member.join()
    pace.members = members
    work(members, calls // 2 // len(members), seed)
    took_s = time.monotonic() - began

    graph = server.graph(session)
    events = server.events(session)
    for member in members:
        member.follower.wait_version(graph["version"], timeout=30)
        member.follower.check()
    journal = rebuilt(events)
    server.stop()
    server.start(port=server.port)
    reopened = server.graph(session)
    again = server.events(session)

    outcomes = sum((member.outcomes for member in members), Counter())
    heard = sum(member.follower.facts for member in members)
    print(
        f"crowd: {len(events)} facts in {graph['version']} versions, {heard} heard by {len(members)} clients,"
        f" {len(journal.nodes)} nodes left, {took_s:.1f} s\ncrowd: {dict(outcomes.most_common())}\n"
        f"crowd: {dict(sum((Counter(member.follower.resumes) for member in members), Counter()))}"
    )
    assert reopened == graph, f"TALUS_SEED={seed}"
    assert again == events, f"TALUS_SEED={seed}"
    trees: dict[str, Tree] = {
        str(member.follower.client): tree for member in members if (tree := member.follower.tree)
    }
    assert len(trees) == len(members)
    for name, tree in [("the journal", journal), *trees.items()]:
        found = difference(tree.nested(), graph["roots"])
        assert not found, f"{name} differs from the graph: {found}; TALUS_SEED={seed}"
        assert tree.version == graph["version"], f"{name}; TALUS_SEED={seed}"
    history = {commit["command_id"]: commit["version"] for commit in server.history(session)}
    for member in members:
        for command_id, version in member.acknowledged.items():
            assert history[command_id] == version, f"TALUS_SEED={seed}"
    known = {command_id for member in members for command_id in member.acknowledged}
    assert known == history.keys(), f"TALUS_SEED={seed}"
    assert len(history) == graph["version"], f"TALUS_SEED={seed}"


def work(members: list[Member], calls: int, seed: int) -> None:
    """Each member makes `calls` calls, all at once."""
    threads = [threading.Thread(target=member.work, args=(calls,), daemon=True) for member in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
        assert not thread.is_alive(), f"still at work after 600 s; TALUS_SEED={seed}"
    for member in members:
        if member.fault is not None:
            raise AssertionError(f"{member.actor}: {member.fault!r}; TALUS_SEED={seed}") from member.fault
        member.follower.check()
    assert all(isinstance(member.follower.client, Client) for member in members)
