"""The fan-out by itself: real channels and outboxes over a journal in memory, driven at random.

Whatever happens in whatever order, what each client was given must be one
gapless line of commits, with nothing inside a commit, replayed facts marked,
and its own acknowledgements after their facts.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from gevent.queue import Empty

from talus.core.errors import NodeNotFound
from talus.core.facts import Fact, PropertyChanged
from talus.core.records import CommitRecord, Part
from talus.service.announce import Committed, Connected, Presence, Refused
from talus.service.replay import MAX_PART
from talus.web import channel, outbox, wire
from talus.web.channel import Hall
from talus.web.outbox import Outbox

SESSION = "bronco-66"


class Journal:
    """Commits in memory, read in parts of three facts and slices of two parts: every seam is met often."""

    def __init__(self) -> None:
        self.commits: list[tuple[CommitRecord, list[Fact]]] = []

    def add(self, count: int) -> Committed:
        version = len(self.commits) + 1
        record = CommitRecord(
            version, f"command-{version}", "UpdateProperty", None, b"", "ann", 0, {}, "", True, False, 0
        )
        facts: list[Fact] = [PropertyChanged("n", str(at), None, version) for at in range(count)]
        self.commits.append((record, facts))
        return Committed(record, facts)

    def read(self, version: int, part: int) -> list[Part]:
        parts = []
        for record, facts in self.commits:
            pieces = [facts[at : at + 3] for at in range(0, len(facts), 3)]
            for number, piece in enumerate(pieces):
                if (record.version, number) > (version, part):
                    parts.append(Part(record, number, piece, number == len(pieces) - 1, 0))
        return parts[:2]


class Reader:
    """Takes packets from an outbox as Engine.IO does, and checks the line of what it was given."""

    def __init__(self, hall: Hall, journal: Journal, client_id: str, polls: bool) -> None:
        self.outbox = Outbox(limit=3_000)
        self.outbox.polls = lambda: polls
        self.polls = polls
        self.client_id = client_id
        self.hall = hall
        self.journal = journal
        hall.outboxes[client_id] = self.outbox
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.version: int | None = None  # None: not in the room
        self.told = 0
        self.inside = 0  # facts of a commit that has not closed yet
        self.awaited: set[int] = set()

    def join(self, since: int | None) -> None:
        version = len(self.journal.commits)
        self.outbox.answer(wire.packet("joined", {"since": since, "version": version}))
        self.hall.enter(self.outbox, SESSION, version, since, self.journal.read)

    def leave(self) -> None:
        self.outbox.answer(wire.packet("left", {}))
        self.hall.leave(self.outbox, SESSION)

    def take(self) -> bool:
        try:
            packet = self.outbox.get(timeout=0)
        except Empty:
            return False
        assert packet is not None
        body = packet.encode(b64=self.polls)
        texts = body.split("\x1e") if isinstance(body, str) else unframed(body)
        if self.polls:
            assert len(texts) <= outbox.POLL_PACKETS
        for text in texts:
            self._hear(text)
        return True

    def _hear(self, text: str) -> None:
        if text.startswith("43"):
            version = int(text[2 : text.index("[")])
            assert not self.inside
            assert self.version is None or version <= self.version, "an acknowledgement before its facts"
            self.awaited.discard(version)
            return
        name, *rest = json.loads(text[2:])
        payload = rest[0] if rest else {}
        self.heard.append((name, payload))
        if name in ("property-changed", "command:executed"):
            self._fact(name, payload)
            return
        assert not self.inside, f"{name} inside a commit"
        if name == "joined":
            self.version = payload["version"] if payload["since"] is None else payload["since"]
            self.told = payload["version"]
        elif name == "left":
            self.version = None
        elif name == "command:executing" and payload["command_type"] == "UpdateProperty":
            assert payload["version"] == self.version

    def _fact(self, name: str, payload: dict[str, Any]) -> None:
        assert self.version is not None
        assert payload["version"] == self.version + 1
        assert payload.get("replayed", False) == (payload["version"] <= self.told)
        if name == "property-changed":
            assert payload["property_id"] == str(self.inside)
            self.inside += 1
            return
        assert self.inside == len(self.journal.commits[self.version][1])
        self.inside = 0
        self.version += 1


def unframed(data: bytes) -> list[str]:
    texts = []
    while data:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        texts.append(data[start : start + size].decode())
        data = data[start + size :]
    return texts


@pytest.mark.parametrize("seed", range(40))
def test_every_client_is_given_one_gapless_line(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given joins, replays, leaves, overflows, large commits and slow takers at random, when all is taken,
    then each client in the room holds the last version, and nothing was out of place on the way."""
    monkeypatch.setattr(channel, "CHUNK_FACTS", 8)
    monkeypatch.setattr(channel, "TAIL_BYTES", 4_000)
    for module in (channel, outbox):
        monkeypatch.setattr(module, "SLICE_BYTES", 1_500)
    dice = random.Random(seed)
    hall, journal = Hall(), Journal()
    readers = [Reader(hall, journal, f"client-{n}", polls=n % 2 == 0) for n in range(6)]
    inside: set[Reader] = set()

    def commit() -> None:
        count = dice.choice([1, 2, 5, 9, 30])
        hall.publish(SESSION, [journal.add(count)])
        version = len(journal.commits)
        author = dice.choice(readers)
        author.awaited.add(version)
        hall.acknowledge(author.outbox, SESSION, version, b"43%d[]" % version)

    for _ in range(400):
        reader = dice.choice(readers)
        match dice.randrange(10):
            case 0:
                version = len(journal.commits)
                since = dice.choice([None, dice.randint(0, version)])
                reader.join(since if since != version else None)
                inside.add(reader)
            case 1 if reader in inside and dice.random() < 0.3:
                reader.leave()
                inside.discard(reader)
            case 2:
                refused = Refused("c", "DeleteNode", "ann", NodeNotFound(), len(journal.commits), 0)
                hall.publish(SESSION, [refused])
            case 3:
                hall.publish(SESSION, [Connected("x", "ann", 1, len(journal.commits), 0)])
            case 4:
                reader.outbox.answer(wire.packet("pong"))
            case 5 | 6:
                commit()
            case _:
                reader.take()
    for reader in readers:
        while reader.take():
            pass
        assert not reader.awaited
        assert not reader.outbox.waits
        assert reader.version == (len(journal.commits) if reader in inside else None)


def test_session_notices_of_the_time_of_a_replay_come_after_it() -> None:
    """Given a client that replays, when others come and refusals fall meanwhile, then it hears of those who
    came once it has caught up, and never of the refusals."""
    hall, journal = Hall(), Journal()
    for _ in range(10):
        journal.add(5)
    reader = Reader(hall, journal, "late", polls=False)
    reader.join(0)
    hall.publish(SESSION, [Connected("x", "ben", 2, 10, 0)])
    hall.publish(SESSION, [Refused("c", "DeleteNode", "ann", NodeNotFound(), 10, 0)])
    hall.publish(SESSION, [journal.add(2)])
    while reader.take():
        pass
    names = [name for name, _ in reader.heard]
    assert names[-1] == "session:connected"
    assert names.count("command:executed") == 11
    assert "command:failed" not in names
    assert "command:executing" not in names


def test_a_client_that_fell_behind_hears_of_refusals_later() -> None:
    """Given a client past its limit, when a command is refused, then it hears of that once it is live."""
    hall, journal = Hall(), Journal()
    reader = Reader(hall, journal, "slow", polls=False)
    reader.join(None)
    while reader.outbox._held <= reader.outbox.limit:
        hall.publish(SESSION, [journal.add(5)])
    hall.publish(SESSION, [Refused("c", "DeleteNode", "ann", NodeNotFound(), len(journal.commits), 0)])
    hall.publish(SESSION, [journal.add(5)])
    while reader.take():
        pass
    assert [name for name, _ in reader.heard].count("command:failed") == 1
    assert reader.version == len(journal.commits)


def test_presence_goes_to_the_others() -> None:
    """Given two in a room, when one shows itself, then the other one hears it."""
    hall, journal = Hall(), Journal()
    readers = [Reader(hall, journal, name, polls=True) for name in ("ann", "ben")]
    for reader in readers:
        reader.join(None)
    hall.publish(SESSION, [Presence("ann", "Ann", {"at": 1}, 0, 0)])
    for reader in readers:
        while reader.take():
            pass
    assert [[name for name, _ in reader.heard] for reader in readers] == [
        ["joined"],
        ["joined", "session:presence"],
    ]


def test_pings_pass_what_is_queued_and_what_is_fed() -> None:
    """Given a long replay, when Engine.IO pings between two slices, then the ping is the next thing sent."""
    from engineio.packet import PING, Packet

    hall, journal = Hall(), Journal()
    for _ in range(50):
        journal.add(10)
    reader = Reader(hall, journal, "late", polls=False)
    reader.join(0)
    assert reader.take()
    assert reader.take()
    reader.outbox.put(Packet(PING))
    packet = reader.outbox.get(timeout=0)
    assert packet is not None
    assert unframed(packet.encode())[0] == "2"


def test_a_closed_outbox_gives_what_is_queued_and_then_ends() -> None:
    """Given queued answers, when the socket is closed, then they are given before the end, feeds are not."""
    hall, journal = Hall(), Journal()
    journal.add(10)
    reader = Reader(hall, journal, "late", polls=False)
    reader.join(0)
    reader.outbox.put(None)
    assert reader.take()
    assert [name for name, _ in reader.heard] == ["joined"]
    assert reader.outbox.get(timeout=0) is None


def test_slices_that_several_feeds_ask_for_are_encoded_once() -> None:
    """Given two clients at the same place, when both are fed, then the journal is read once for both."""
    hall, journal = Hall(), Journal()
    for _ in range(4):
        journal.add(9)
    reads = []
    plain = journal.read

    def counted(version: int, part: int) -> list[Part]:
        reads.append((version, part))
        return plain(version, part)

    journal.read = counted  # type: ignore[method-assign]
    readers = [Reader(hall, journal, name, polls=False) for name in ("ann", "ben")]
    for reader in readers:
        reader.join(0)
    for reader in readers:
        while reader.take():
            pass
    assert len(reads) == len(set(reads))
    assert (0, MAX_PART) in reads


def test_a_feed_whose_journal_is_gone_ends_the_connection() -> None:
    """Given a commit that is half told, when the journal cannot be read on, then the connection ends: the
    client holds no whole version, and comes back."""
    hall, journal = Hall(), Journal()
    journal.add(30)
    reader = Reader(hall, journal, "late", polls=False)
    reader.join(0)
    assert reader.take()  # joined
    assert reader.take()
    assert reader.inside
    journal.commits.clear()
    assert reader.outbox.get(timeout=0) is None
