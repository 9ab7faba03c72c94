"""A campaign that went well, made up: the books of its clients, and how its sessions ended.

talus's own rules make the facts and talus's own words the events; around them is
a server that does everything right. `tell` plays a story by the dice: clients of
several kinds command at once, hear it sooner or later, lose their connections in
the middle of a commit, ask again for what had no answer, rejoin, read graphs, and
are probed after each fault.
"""

from __future__ import annotations

import json
import random
import uuid
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from chaos.history import (
    AnyRecord,
    Ended,
    Ends,
    Fault,
    Fetched,
    Heard,
    Holds,
    Invoked,
    Joined,
    Probed,
    Record,
)

from talus.core import history as turning
from talus.core.commands import parse
from talus.core.decide import decide
from talus.core.errors import CommandIdReused, NothingToRedo, NothingToUndo, StorageFull, TalusError
from talus.core.facts import Fact
from talus.core.graph import Graph
from talus.core.records import CommitRecord
from talus.service.announce import Connected, Disconnected, Refused
from talus.service.jobs import Answer
from talus.web import wire

Json = dict[str, Any]
Word = tuple[str, Json]  # an event and its payload

EPOCH = "0f7a5c1e-0000-4000-8000-00000000e90c"
SESSIONS = ("one", "two")
REPLAYED = 6  # versions; who missed more fetches the graph
BEGAN_MS = 1_700_000_000_000
ROUNDS = 120


@dataclass
class Story:
    """books: who wrote it -> the records in the order written."""

    seed: int
    books: dict[str, list[Any]] = field(default_factory=dict)

    def records(self) -> Iterator[AnyRecord]:
        """As they are read from a folder: book after book."""
        for name in sorted(self.books):
            yield from self.books[name]

    def copy(self) -> Story:
        """The same, to be changed, as it comes from its files."""
        decode = msgspec.json.Decoder(AnyRecord).decode
        return Story(
            self.seed,
            {name: [decode(msgspec.json.encode(each)) for each in book] for name, book in self.books.items()},
        )

    def of(self, kind: type[Record], client: str | None = None) -> list[Any]:
        """All records of a kind, in order."""
        books = self.books.values() if client is None else [self.books[client]]
        return [each for book in books for each in book if isinstance(each, kind)]

    def ends(self, session_id: str) -> Ends:
        return next(each for each in self.of(Ends) if each.session_id == session_id)


@dataclass
class _Call:
    """A command, undo or redo that a client sent: over a connection, or over REST."""

    name: str
    session_id: str
    kind: str
    command_id: str
    body: Json
    connection: int | None
    reply: tuple[str, Json] | None = None  # outcome and answer; None: the server has not seen it


class _Room:
    """A session on the server: graph, journal, and what is on its way to whom."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.graph = Graph()
        self.journal: list[Json] = []
        self.states: list[list[Json]] = [[]]  # nested roots at each version
        self.records: dict[str, CommitRecord] = {}
        self.bodies: dict[str, Json] = {}
        self.standing: list[tuple[CommitRecord, list[Fact]]] = []
        self.undone: list[tuple[CommitRecord, list[Fact]]] = []
        self.members: dict[str, deque[Word]] = {}

    @property
    def version(self) -> int:
        return len(self.journal)

    def say(self, *words: Word) -> None:
        for waiting in self.members.values():
            waiting.extend(words)

    def announce(self, announcement: Any) -> None:
        self.say(*map(_unpacked, wire.notice(self.id, announcement)))

    def shown(self, version: int | None = None) -> Json:
        """GET /graph."""
        version = self.version if version is None else version
        return {"session_id": self.id, "version": version, "epoch": EPOCH, "roots": self.states[version]}

    def serve(self, actor: str, call: _Call, now_ms: int, new_id: Any, full: bool) -> tuple[str, Json]:
        """Outcome and answer of a call. full: the disk is."""
        recorded = self.records.get(call.command_id)
        try:
            if recorded is None:
                return "ok", self._carry_out(actor, call, now_ms, new_id, full)
            if self.bodies[call.command_id] != call.body:
                raise CommandIdReused()
            return "ok", _answer(recorded, duplicate=True)
        except TalusError as error:
            if call.kind == "execute" and recorded is None:
                kind, version = call.body["command_type"], self.version
                self.announce(Refused(call.command_id, kind, actor, error, version, now_ms))
            return "failed", {"code": error.code, "message": error.message}

    def _carry_out(self, actor: str, call: _Call, now_ms: int, new_id: Any, full: bool) -> Json:
        if full:
            raise StorageFull()
        result: Json = {}
        target: CommitRecord | None = None
        if call.kind == "execute":
            kind = call.body["command_type"]
            command = _returned(parse(kind, call.body["data"], new_id))
            facts, result = self._applied(decide(self.graph, None, command))
        else:
            kind = call.kind.capitalize()
            turned = self.standing if kind == "Undo" else self.undone
            if not turned:
                raise NothingToUndo() if kind == "Undo" else NothingToRedo()
            target, before = turned.pop()
            facts, _ = self._applied(turning.reverse(self.graph, before))
        record = CommitRecord(
            version=self.version + 1,
            command_id=call.command_id,
            command_type=kind,
            target=target.version if target else None,
            digest=b"",
            actor=actor,
            time_ms=now_ms,
            result=result,
            summary="",
            undo_available=kind != "Undo" or bool(self.standing),
            redo_available=kind == "Undo" or (kind == "Redo" and bool(self.undone)),
            total=0,
            target_id=target.command_id if target else None,
            target_type=target.command_type if target else None,
        )
        if kind == "Undo":
            self.undone.append((target or record, facts))
        else:
            self.standing.append((target or record, facts))
            if kind != "Redo":
                self.undone.clear()
        self.records[call.command_id], self.bodies[call.command_id] = record, call.body
        events = [msgspec.to_builtins(event) for event in wire.facts(self.id, record, facts, True)]
        self.journal.append(
            {
                "version": record.version,
                "command_id": record.command_id,
                "command_type": kind,
                "target": record.target_id,
                "actor": actor,
                "events": events,
            }
        )
        self.states.append(json.loads(_returned(wire.roots(self.graph))))
        if target is None:
            self.say(_unpacked(wire.executing(self.id, record)))
        self.say(*((event["event"], event) for event in events))
        return _answer(record)

    def _applied(self, deciding: Generator[Fact, None, Any]) -> tuple[list[Fact], Any]:
        """Facts that are applied as they are decided; a refusal in the middle takes them back."""
        facts: list[Fact] = []
        try:
            while True:
                facts.append(next(deciding))
                self.graph.apply(facts[-1])
        except StopIteration as stop:
            return facts, stop.value
        except TalusError:
            for fact in turning.reverse(self.graph, facts):
                self.graph.apply(fact)
            raise


def _returned(steps: Any) -> Any:
    """What a function returns that works in small steps."""
    if not isinstance(steps, Generator):
        return steps
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _unpacked(packet: bytes) -> Word:
    event, payload = json.loads(packet[2:])
    return event, payload


def _answer(record: CommitRecord, duplicate: bool = False) -> Json:
    session: Any = None  # it is not looked at
    return wire.answer(Answer(session, record, duplicate))


def _as_javascript(value: Any) -> Any:
    """What a client written in JavaScript passes on: there 3.0 is written 3."""
    if isinstance(value, dict):
        return {name: _as_javascript(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_javascript(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass
class _Client:
    """sessions: that it is in, with the last version that it holds whole; None before its first graph."""

    name: str
    speaks: str  # rest, python or javascript
    connection: int = 0
    sessions: dict[str, int | None] = field(default_factory=dict)


class _Teller:
    def __init__(self, seed: int) -> None:
        self.story = Story(seed)
        self.dice = random.Random(seed)
        self.now_s = 1000.0
        self.calls = 0
        self.rooms = {session_id: _Room(session_id) for session_id in SESSIONS}
        self.again: list[tuple[_Client, _Call]] = []  # whose outcome is unknown
        self.clients = [
            _Client("ann", "python", sessions=dict.fromkeys(SESSIONS)),
            _Client("ben", "rest", sessions={"one": None}),  # calls over REST, and listens
            _Client("carol", "javascript", sessions=dict.fromkeys(SESSIONS)),
            _Client("dora", "rest"),  # in no room
            _Client("eve", "javascript", sessions={"one": None}),
        ]

    # -- books --

    def tick(self) -> float:
        self.now_s += self.dice.uniform(0.001, 0.004)
        return self.now_s

    def write(self, record: type[Record], client: str, at_s: float | None = None, **fields: Any) -> None:
        book = self.story.books.setdefault(client, [])
        book.append(record(at_s=self.tick() if at_s is None else at_s, client=client, **fields))

    @property
    def now_ms(self) -> int:
        return BEGAN_MS + int(1000 * self.now_s)

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    # -- what a client does --

    def join(self, client: _Client, session_id: str) -> None:
        room, since = self.rooms[session_id], client.sessions.get(session_id)
        version = room.version
        if since is None:
            resume = "live"
        elif since == version:
            resume = "current"
        else:
            resume = "replay" if version - since <= REPLAYED else "snapshot"
        payload = {
            "session_id": session_id,
            "client_id": f"{client.name}-{client.connection}",
            "active_clients": len(room.members) + 1,
            "version": version,
            "epoch": EPOCH,
            "resume": resume,
            "created": False,
            "clients": [],
        }
        fields = {"connection": client.connection, "session_id": session_id, "since": since}
        self.write(Joined, client.name, payload=payload, **fields)
        waiting = room.members[client.name] = deque()
        if resume == "replay":
            for commit in room.journal[since:]:
                waiting.extend((fact["event"], {**fact, "replayed": True}) for fact in commit["events"])
        present = len(room.members), version, self.now_ms
        room.announce(Connected(payload["client_id"], client.name, *present))
        if resume in ("live", "snapshot"):
            self.burst(1)
            self.look(client, room)
            client.sessions[session_id] = room.version

    def leave(self, client: _Client, session_id: str) -> None:
        self.hear(client, session_id)
        client_id = f"{client.name}-{client.connection}"
        left = {"session_id": session_id, "client_id": client_id}
        self.write(Heard, client.name, connection=client.connection, event="left", payload=left)
        self.gone(client, session_id)

    def gone(self, client: _Client, session_id: str) -> None:
        room = self.rooms[session_id]
        if room.members.pop(client.name, None) is not None:
            client_id = f"{client.name}-{client.connection}"
            present = len(room.members), room.version, self.now_ms
            room.announce(Disconnected(client_id, client.name, *present))

    def lose(self, client: _Client) -> None:
        """The connection goes, perhaps in the middle of a commit."""
        for session_id in client.sessions:
            waiting = self.rooms[session_id].members.get(client.name)
            if waiting is not None:
                self.hear(client, session_id, self.dice.randrange(len(waiting) + 1))
                self.gone(client, session_id)

    def connect(self, client: _Client) -> None:
        client.connection += 1
        for session_id in client.sessions:
            if self.dice.random() < 0.2:
                client.sessions[session_id] = None  # begins anew
            self.join(client, session_id)

    def hear(self, client: _Client, session_id: str, most: int | None = None) -> None:
        waiting = self.rooms[session_id].members[client.name]
        for _ in range(len(waiting) if most is None else min(most, len(waiting))):
            event, payload = waiting.popleft()
            if client.speaks == "javascript":
                payload = _as_javascript(payload)
            self.write(Heard, client.name, connection=client.connection, event=event, payload=payload)
            whole = client.sessions[session_id]
            if event in ("command:executed", "command:undo", "command:redo") and whole is not None:
                client.sessions[session_id] = max(whole, payload["version"])

    def look(self, client: _Client, room: _Room, version: int | None = None) -> None:
        asked_s = self.tick()
        payload = room.shown(version)
        fields = {"asked_s": asked_s, "session_id": room.id, "payload": payload, "version": version}
        self.write(Fetched, client.name, **fields)

    # -- calls --

    def invoke(self, client: _Client, like: _Call) -> _Call:
        self.calls += 1
        connection = None if client.speaks == "rest" else client.connection
        what = like.session_id, like.kind, like.command_id, like.body, connection
        call = _Call(f"{client.name}/{self.calls}", *what)
        fields = {"kind": call.kind, "command_id": call.command_id, "body": call.body}
        self.write(
            Invoked,
            client.name,
            call=call.name,
            session_id=call.session_id,
            connection=connection,
            **fields,
        )
        return call

    def serve(self, client: _Client, call: _Call, full: bool = False) -> None:
        self.tick()
        room = self.rooms[call.session_id]
        call.reply = room.serve(client.name, call, self.now_ms, self.new_id, full)

    def end(self, client: _Client, call: _Call) -> None:
        """The answer comes, after the facts of its commit where it goes over a socket in the room."""
        assert call.reply is not None
        if call.connection is not None and client.name in self.rooms[call.session_id].members:
            self.hear(client, call.session_id)
        outcome, answer = call.reply
        self.write(Ended, client.name, call=call.name, outcome=outcome, answer=answer)

    def give_up(self, client: _Client, call: _Call) -> None:
        self.write(Ended, client.name, call=call.name, outcome="unknown")
        self.again.append((client, call))

    def sent(self, most: int) -> list[tuple[_Client, _Call]]:
        """Calls that some clients have sent at once; each client's in its order."""
        calls = []
        for _ in range(self.dice.randrange(1, most + 1)):
            client = self.dice.choice(self.clients[:4])
            room = self.rooms[self.dice.choice(list(client.sessions) or SESSIONS)]
            calls.append((client, self.invoke(client, self.wish(room))))
        return calls

    def mixed(self, calls: list[tuple[_Client, _Call]]) -> list[tuple[_Client, _Call]]:
        """In any order but that each client's calls keep theirs."""
        mixed = self.dice.sample(calls, len(calls))
        own = {client.name: iter([each for each in calls if each[0] is client]) for client, _ in calls}
        return [next(own[client.name]) for client, _ in mixed]

    def burst(self, most: int, full: bool = False) -> None:
        calls = self.sent(most)
        for client, call in self.mixed(calls):
            self.serve(client, call, full)
        for client, call in self.mixed(calls):
            self.end(client, call)

    def wish(self, room: _Room) -> _Call:
        dice = self.dice
        weights = [70, 12, 30 if room.undone else 3, 6]
        kind = dice.choices(["execute", "undo", "redo", "again"], weights)[0]
        if kind == "again" and room.records:
            command_id = dice.choice(list(room.records))
            body = room.bodies[command_id]
            of = "execute"
            if "scope" in body:
                of = "undo" if room.records[command_id].command_type == "Undo" else "redo"
            elif dice.random() < 0.3:
                body = {"command_type": "DeleteNode", "data": {"node_id": self.new_id()}}
            return _Call("", room.id, of, command_id, body, None)
        if kind in ("undo", "redo"):
            return _Call("", room.id, kind, self.new_id(), {"scope": "session"}, None)
        command_type, data = self.command(room.graph)
        body = {"command_type": command_type, "data": data}
        return _Call("", room.id, "execute", self.new_id(), body, None)

    def command(self, graph: Graph) -> tuple[str, Json]:
        dice = self.dice

        def node() -> str:
            return dice.choice([*graph.nodes]) if graph.nodes and dice.random() < 0.95 else self.new_id()

        def creation() -> Json:
            data: Json = {"blueprint_type_id": "part", "properties": {"count": dice.choice([1, 3.0, 2.5])}}
            if dice.random() < 0.6:
                data["parent_id"] = node()
            if dice.random() < 0.5:
                data["name"] = f"part {dice.randrange(99)}"
            if dice.random() < 0.5:
                data["index"] = dice.randrange(3)
            return data

        def update(node_id: str) -> Json:
            value = dice.choice([None, 1e21, 7, "a \u00fc", True, [1.0, {"x": -0.0}]])
            return {"node_id": node_id, "property_id": dice.choice(["size", "colour"]), "value": value}

        kinds = ["CreateNode", "UpdateProperty", "MoveNode", "LinkNode", "UnlinkNode", "DeleteNode", "Batch"]
        kind = dice.choices(kinds, [30, 25, 12, 4, 4, 6 if len(graph.nodes) < 30 else 30, 10])[0]
        match kind:
            case "CreateNode":
                return kind, creation()
            case "UpdateProperty":
                return kind, update(node())
            case "MoveNode":
                parent_id = node() if dice.random() < 0.7 else None
                return kind, {"node_id": node(), "parent_id": parent_id, "index": dice.randrange(4)}
            case "LinkNode":
                return kind, {"parent_id": node(), "child_id": node()}
            case "UnlinkNode":
                linked = [each for each in graph.nodes.values() if each.parent_id is not None]
                child = dice.choice(linked) if linked else None
                if child is None:
                    return "CreateNode", creation()
                return kind, {"parent_id": child.parent_id, "child_id": child.id}
            case "DeleteNode":
                return kind, {"node_id": node()}
        made = [self.new_id() for _ in range(dice.randrange(1, 4))]
        commands = [
            {"command_type": "CreateNode", "data": {**creation(), "node_id": node_id}} for node_id in made
        ]
        commands.append({"command_type": "UpdateProperty", "data": update(dice.choice(made))})
        return kind, {"commands": commands}

    # -- faults --

    def fault(self, kind: str) -> None:
        began_s = self.tick()
        struck = [self.dice.choice(self.clients[:3])] if kind == "cut" else self.clients
        if kind == "disk-full":
            self.burst(4, full=True)
        else:
            calls = self.sent(6)
            for client, call in self.mixed(calls):
                if kind == "cut" or self.dice.random() < 0.6:
                    self.serve(client, call)
            for client in struck:
                self.lose(client)
            for client, call in self.mixed(calls):
                if client in struck or call.reply is None:
                    self.give_up(client, call)
                else:
                    self.end(client, call)
        self.now_s += self.dice.uniform(0.1, 0.5)
        cured_s = self.tick()
        self.write(Fault, "nemesis", began_s, kind=kind, until_s=cured_s)
        if kind != "disk-full":
            for client in struck:
                self.connect(client)
        again, self.again = self.again, []
        for client, call in again:
            if self.dice.random() < 0.8:
                repeat = self.invoke(client, call)
                self.serve(client, repeat)
                self.end(client, repeat)
        for client in self.clients[:4]:
            self.probe(client, cured_s)

    def probe(self, client: _Client, cured_s: float) -> None:
        asked_s = self.tick()
        session_id = next(iter(client.sessions), "two")
        body = {"command_type": "CreateNode", "data": {"blueprint_type_id": "probe"}}
        call = self.invoke(client, _Call("", session_id, "execute", self.new_id(), body, None))
        self.serve(client, call)
        self.end(client, call)
        self.write(Probed, client.name, asked_s=asked_s, answered=True, cured_s=cured_s)

    # -- all of it --

    def tell(self) -> Story:
        for client in self.clients:
            self.connect(client)
        for turn in range(ROUNDS):
            self.turn(turn)
        for client in self.clients:
            for session_id in client.sessions:
                self.hear(client, session_id)
        for client in self.clients:
            for session_id in client.sessions:
                room = self.rooms[session_id]
                roots = _as_javascript(room.states[-1]) if client.speaks == "javascript" else room.states[-1]
                fields = {"session_id": session_id, "version": room.version, "epoch": EPOCH, "roots": roots}
                self.write(Holds, client.name, **fields)
        for room in self.rooms.values():
            roots = room.states[-1]
            fields = {"version": room.version, "journal": room.journal, "graph": roots, "rows": roots}
            self.write(Ends, "campaign", session_id=room.id, epoch=EPOCH, **fields)
        return self.story

    def turn(self, turn: int) -> None:
        if turn == ROUNDS // 4:
            eve = self.clients[4]
            self.leave(eve, "one")
            eve.sessions.clear()
        if turn % 20 == 10:
            self.fault(("kill", "cut", "disk-full")[turn // 20 % 3])
            return
        client = self.dice.choice(self.clients[:4])
        what = self.dice.choices(["burst", "hear", "look", "away"], [50, 25, 15, 5])[0]
        if what == "burst":
            self.burst(6)
        elif what == "hear" and client.sessions:
            self.hear(client, self.dice.choice(list(client.sessions)), self.dice.randrange(20))
        elif what == "look":
            room = self.rooms[self.dice.choice(SESSIONS)]
            past = self.dice.randrange(room.version + 1) if self.dice.random() < 0.5 else None
            self.look(client, room, past)
        elif what == "away" and client.sessions:
            session_id = self.dice.choice(list(client.sessions))
            self.leave(client, session_id)
            self.burst(20)
            self.join(client, session_id)


def tell(seed: int) -> Story:
    """A story without fault."""
    return _Teller(seed).tell()
