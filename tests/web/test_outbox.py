"""The fan-out by itself: real channels and outboxes over a journal in memory, driven at random.

Whatever happens in whatever order, what each client was given must be one
gapless line of commits, with nothing inside a commit, replayed facts marked,
and its own acknowledgements after their facts.
"""

from __future__ import annotations

import json
import random
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.queue import Empty
from geventwebsocket.exceptions import WebSocketError

from talus.core.errors import NodeNotFound, StorageFailed
from talus.core.facts import Fact, PropertyChanged
from talus.core.records import CommitRecord, Part
from talus.service.announce import Committed, Connected, Presence, Refused
from talus.service.replay import MAX_PART
from talus.web import channel, outbox, wire
from talus.web.channel import Hall
from talus.web.outbox import Outbox, Pump
from talus.web.websocket import WebSocket, unsent

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
        self.outbox = Outbox(3_000, Pump())
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


class SocketReader(Reader):
    """Reads from the other end of a connection that the pump writes to, as far as its small buffers go."""

    def __init__(self, hall: Hall, journal: Journal, client_id: str, dice: random.Random) -> None:
        super().__init__(hall, journal, client_id, polls=False)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            here = socket.create_connection(listener.getsockname())
            self.there, _ = listener.accept()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.there.settimeout(0)
        self.websocket = WebSocket({}, here.makefile("rwb"), SimpleNamespace(socket=here))
        self._here = here
        self.outbox.websocket = self.websocket
        self._dice = dice
        self._rest = b""
        self._writing = gevent.spawn(self._write)

    def _write(self) -> None:
        """As Engine.IO's task does."""
        with suppress(WebSocketError):  # the test is over
            while (packet := self.outbox.get()) is not None:
                self.websocket.send(packet.encode())

    def take(self) -> bool:
        # What the kernel still holds for a full receiver may come much later: by its timers.
        busy = self.outbox.waits or not self.outbox.on_time or unsent(self._here) > 0
        gevent.sleep(0.0001)  # a timer: whatever is ready runs before it
        try:
            data = self.there.recv(self._dice.choice([1_000, 60_000]))
        except BlockingIOError:
            return busy
        texts, self._rest = parsed(self._rest + data)
        for text in texts:
            self._hear(text)
        return True

    def end(self) -> None:
        self.outbox.put(None)
        self.websocket.abort()
        self._writing.join(timeout=5)
        assert self._writing.ready()
        self.there.close()


def parsed(data: bytes) -> tuple[list[str], bytes]:
    """The texts of whole frames, and what is left."""
    texts = []
    while len(data) >= 10 or (len(data) >= 2 and data[1] < 126):
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            break
        texts.append(data[start : start + size].decode())
        data = data[start + size :]
    return texts, data


def unframed(data: bytes) -> list[str]:
    texts, rest = parsed(data)
    assert not rest
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
    sockets = [SocketReader(hall, journal, f"socket-{n}", dice) for n in range(4)]
    readers += sockets
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
                for _ in range(dice.choice([1, 1, 5])):
                    commit()
                    gevent.sleep(0)  # the pump may come in between, or not
            case _:
                reader.take()
    for reader in readers:
        while reader.take():
            pass
        assert not reader.awaited
        assert not reader.outbox.waits
        assert reader.version == (len(journal.commits) if reader in inside else None)
    for each in sockets:
        each.end()


def test_what_the_kernel_does_not_take_goes_before_everything_else() -> None:
    """Given a peer that reads nothing, when more is queued than the kernel holds, and more while that waits,
    and somebody answers a ping, then all of it comes whole and in order once the peer reads."""
    reader = SocketReader(Hall(), Journal(), "slow", random.Random(0))
    gevent.sleep(0)
    expected: list[str] = []
    while not reader.websocket.unfinished:
        expected.append(json.dumps([len(expected), "x" * 30_000]))
        reader.outbox.answer(expected[-1].encode())
        reader.outbox.flush()
    texts, rest = parsed(reader.there.recv(60_000))  # now there is room, which is not for what comes next
    for _ in range(2):  # and the one who has to send the rest is not awake yet
        expected.append(json.dumps([len(expected), "y" * 1_000]))
        reader.outbox.answer(expected[-1].encode())
        reader.outbox.flush()
    expected.append('["last"]')
    reader.outbox.answer(b'["last"]')
    reader.there.settimeout(5)

    def read() -> None:
        left = rest
        while len(texts) < len(expected) + 1:
            found, left = parsed(left + reader.there.recv(60_000))
            texts.extend(found)

    reading = gevent.spawn(read)
    reader.websocket.send("pong")
    reading.get(timeout=10)
    assert texts[-2:] == ["pong", expected[-1]]
    texts.remove("pong")
    assert texts == expected
    reader.end()


def test_the_pump_goes_on_until_nothing_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given more than a slice in an outbox, when the kernel takes it, then the next slice follows."""
    monkeypatch.setattr(outbox, "SLICE_BYTES", 10)
    reader = SocketReader(Hall(), Journal(), "quick", random.Random(0))
    gevent.sleep(0)
    for number in range(20):
        reader.outbox.answer(b"43%d[]" % number)
    reader.there.settimeout(5)
    texts: list[str] = []
    rest = b""
    while len(texts) < 20:
        found, rest = parsed(rest + reader.there.recv(60_000))
        texts += found
    assert texts == [f"43{number}[]" for number in range(20)]
    reader.end()


def test_the_pump_goes_on_whatever_one_client_does(caplog: pytest.LogCaptureFixture) -> None:
    """Given an outbox that fails when it is emptied, then those after it are emptied, and the log tells."""
    pump, emptied = Pump(), []

    class Failing(Outbox):
        def flush(self) -> None:
            raise RuntimeError("broken")

    class Sound(Outbox):
        def flush(self) -> None:
            emptied.append(self)

    pump.add(Failing(1, pump))
    sound = [Sound(1, pump) for _ in range(3)]
    for each in sound:
        pump.add(each)
    gevent.sleep(0.001)
    pump.add(sound[0])
    gevent.sleep(0.001)
    assert emptied == [*sound, sound[0]]
    assert "RuntimeError: broken" in caplog.text


def room_of_three(hall: Hall) -> list[SocketReader]:
    readers = [SocketReader(hall, Journal(), f"reader-{n}", random.Random(0)) for n in range(3)]
    for reader in readers:
        reader.join(None)
        gevent.sleep(0)
    return readers


def overfill(reader: SocketReader) -> None:
    """More than the kernel takes; the peer reads nothing."""
    while reader.outbox.on_time:
        reader.outbox.answer(b"42" + b"x" * 30_000)
        gevent.sleep(0)


def test_commands_wait_for_a_room_that_cannot_follow() -> None:
    """Given a room in which two of three are slow, then a command waits until one has caught up."""
    hall = Hall()
    readers = room_of_three(hall)
    overfill(readers[0])
    hall.follow(SESSION)  # one of three: nobody waits
    overfill(readers[1])
    gevent.sleep(channel.LOOK_S)
    waiting = gevent.spawn(hall.follow, SESSION)
    gevent.sleep(3 * channel.LOOK_S)
    assert not waiting.ready()
    readers[1].there.settimeout(5)
    while not readers[1].outbox.on_time:
        readers[1].there.recv(60_000)
    waiting.get(timeout=5)
    for reader in readers:
        reader.end()


def test_nobody_waits_for_those_who_take_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a room in which all but one have not read for a while, when a command comes, then it goes on."""
    monkeypatch.setattr(outbox, "RECENT_S", 0.01)
    hall = Hall()
    readers = room_of_three(hall)
    overfill(readers[0])
    overfill(readers[1])
    gevent.sleep(0.02)
    with gevent.Timeout(channel.FOLLOW_S / 2):
        hall.follow(SESSION)
    for reader in readers:
        reader.end()


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
    """Given clients at the same place, when all are fed at once from a disk that takes its time, then the
    journal is read once for all of them."""
    hall, journal = Hall(), Journal()
    for _ in range(4):
        journal.add(9)
    reads = []
    plain = journal.read

    def counted(version: int, part: int) -> list[Part]:
        reads.append((version, part))
        gevent.sleep(0.001)
        return plain(version, part)

    journal.read = counted  # type: ignore[method-assign]
    readers = [Reader(hall, journal, name, polls=False) for name in ("ann", "ben", "cleo")]
    for reader in readers:
        reader.join(0)

    def take_all(reader: Reader) -> None:
        while reader.take():
            pass

    gevent.joinall([gevent.spawn(take_all, reader) for reader in readers], raise_error=True)
    assert [reader.version for reader in readers] == [4, 4, 4]
    assert len(reads) == len(set(reads))
    assert (0, MAX_PART) in reads


def test_a_slice_that_cannot_be_read_ends_all_who_wait_for_it() -> None:
    """Given two clients that wait for the same slice, when the disk fails, then both connections end, and one
    that comes later is fed."""
    hall, journal = Hall(), Journal()
    journal.add(9)
    plain = journal.read

    def failing(version: int, part: int) -> list[Part]:
        gevent.sleep(0.001)
        raise StorageFailed("gone")

    journal.read = failing  # type: ignore[method-assign]
    readers = [Reader(hall, journal, name, polls=False) for name in ("ann", "ben")]
    for reader in readers:
        reader.join(0)
        assert reader.take()
    taken = [gevent.spawn(reader.outbox.get, timeout=5) for reader in readers]
    assert [each.get() for each in taken] == [None, None]
    journal.read = plain  # type: ignore[method-assign]
    later = Reader(hall, journal, "cleo", polls=False)
    hall.channels[SESSION]._read = plain
    later.join(0)
    while later.take():
        pass
    assert later.version == 1


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
