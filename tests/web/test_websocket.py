"""RFC 6455, as a server has to keep it towards clients that keep it, clients that break it, and clients that
go silent.

TALUS_SEED=7  the dice of another run of the random streams; the seed is printed

What must be refused, and what a random stream must lead to, stands in
tests/web/rfc6455.py. That a message came whole is seen by `leave_session`: its
answer `left` names any id that it was given.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from talus.web.websocket import frame as server_frame
from talus.web.websocket import payloads
from tests.support.clients import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Client,
    RawPolling,
    RawWebSocket,
    event_packet,
    frame,
)
from tests.support.server import Server
from tests.web.rfc6455 import (
    BAD_TEXT,
    CLOSE_CODES,
    CONTINUATION,
    EVENT,
    INVALID_UTF8,
    MAX_MESSAGE_BYTES,
    NO_CLOSE_CODES,
    TOO_LARGE,
    VALID_TEXTS,
    broken,
    closing,
    fragments,
    header,
    judge,
    packed,
)

ANSWER_S = 5.0  # the contract: what is malformed is answered, or ends the connection, within 5 s
PING_S = 25.0 + 20.0  # the contract's interval, and the time to answer that Engine.IO's handshake tells
LATE_S = 5.0  # for the server's own look at the clock, its goodbye, and a busy machine
BACK_S = 20.0  # until what an attack took is free again
MOST_GAP_S = 0.050
MOST_MEMORY = 100 * 1024 * 1024
HEAD, TAIL = b'42["leave_session",{"session_id":"', b'"}]'
BROKEN = broken()


def eventually(condition: Callable[[], Any], timeout: float, what: str, every_s: float = 0.002) -> None:
    """Until `condition()`, asked every so many seconds, is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(every_s)


class Peer(RawWebSocket):
    """A WebSocket that leaves the closing handshake to the test, and looks on until TCP ends."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.end: Exception | None = None  # EOFError: an orderly end
        self.late: list[int] = []  # opcodes of frames after the close frame
        super().__init__(server.url, **options)
        self._server = server
        self._inode = self._line()[9]

    def _line(self) -> list[str]:
        """The server's end of the connection in the kernel's table."""
        ends = [f"0100007F:{port:04X}" for port in (self.port, self.socket.getsockname()[1])]
        table = Path(f"/proc/{self._server.pid}/net/tcp").read_text().splitlines()
        return next(line.split() for line in table if line.split()[1:3] == ends)

    @property
    def unread(self) -> int:
        """Bytes that the server's kernel holds because this peer does not take them."""
        return int(self._line()[4].partition(":")[0], 16)

    @property
    def held(self) -> bool:
        """The server still has the connection's file descriptor."""
        for number in Path(f"/proc/{self._server.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(number) == f"socket:[{self._inode}]":
                    return True
        return False

    @property
    def pongs(self) -> list[Any]:
        return self.heard("websocket pong")

    def echo(self, message: bytes, *pieces: bytes) -> None:
        """Send `message`, a call made by `call_of`, as these pieces of stream, and hear it whole."""
        before = len(self.events)
        for piece in pieces or [frame(message)]:
            self.send_bytes(piece)
        left = self.wait_for("left", after=before)
        assert left["session_id"] == message[len(HEAD) : -len(TAIL)].decode()

    def closes(self, *codes: int) -> None:
        """The server says goodbye with one of these codes, ends TCP and lets go of it, within 5 s each."""
        eventually(lambda: self.end is not None, ANSWER_S, f"the end with {codes}, now {self.close_code}")
        assert self.close_code in codes
        assert not self.late
        eventually(lambda: not self.held, ANSWER_S, "the descriptor is closed")

    def _exactly(self, count: int) -> bytes:
        try:
            return super()._exactly(count)
        except (EOFError, OSError, ValueError) as error:
            self.end = error
            raise

    def _frame(self, opcode: int, fin: bool, payload: bytes) -> None:
        if self.close_code is not None:
            self.late.append(opcode)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
        else:
            super()._frame(opcode, fin, payload)


OpenPeer = Callable[..., Peer]
Connect = Callable[..., Client]


@pytest.fixture
def open_peer() -> Iterator[OpenPeer]:
    """Opens peers: `open_peer(server, kind=Peer, ...)`; they are closed when the test ends."""
    peers: list[Peer] = []

    def open_one(server: Server, kind: type[Peer] = Peer, **options: Any) -> Peer:
        peers.append(kind(server, **options))
        return peers[-1]

    yield open_one
    for peer in peers:
        peer.cut()


@pytest.fixture
def peer(shared_server: Server, open_peer: OpenPeer) -> Peer:
    return open_peer(shared_server)


def call_of(size: int) -> bytes:
    """A call of exactly so many bytes whose answer repeats what it holds."""
    dice = random.Random(size)
    letters = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size - len(HEAD) - len(TAIL)))
    return HEAD + letters.encode() + TAIL


def chopped(data: bytes, size: int) -> list[bytes]:
    """The data as TCP writes of so many bytes."""
    return [data[at : at + size] for at in range(0, len(data), size)]


# -- what must be taken: framing --


@pytest.mark.parametrize("size", [60, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 65_537, 1_000_000])
def test_a_text_of_any_length_arrives_whole(peer: Peer, size: int) -> None:
    """Given a message at a boundary of the length's forms, when it comes, then it is heard whole."""
    peer.echo(call_of(size))


@pytest.mark.parametrize("size", [60, 125, 126, 128, 5_000])
def test_a_frame_in_single_bytes_arrives_whole(peer: Peer, size: int) -> None:
    """Given a frame sent byte for byte, head and mask included, when all has come, then it is heard whole."""
    message = call_of(size)
    peer.echo(message, *chopped(frame(message), 1))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 1_000_000])
def test_a_binary_message_of_any_length_is_answered_and_the_connection_goes_on(peer: Peer, size: int) -> None:
    """Given a valid binary frame, when it comes, then `error` BINARY_NOT_SUPPORTED, and the next call is
    answered."""
    peer.send_bytes(frame(b"\xff" * size, BINARY))
    assert peer.wait_for("error", timeout=ANSWER_S)["code"] == "BINARY_NOT_SUPPORTED"
    peer.settle()


def test_a_binary_message_in_fragments_is_one_message(peer: Peer) -> None:
    """Given bytes in three fragments with a ping between, when they come, then one `error`, and the pong."""
    first, second, third = fragments(b"\xff\x00\xc3", [1, 2], BINARY)
    peer.send_bytes(first + second + frame(b"still there", PING) + third)
    peer.settle()
    assert [error["code"] for error in peer.heard("error")] == ["BINARY_NOT_SUPPORTED"]
    assert peer.pongs == [b"still there"]


def test_messages_in_one_write_are_answered_in_order(peer: Peer) -> None:
    """Given 500 messages of many sizes in one TCP write, when they come, then each is answered, in order."""
    calls = [call_of(60 + at % 200) for at in range(500)]
    peer.send_bytes(b"".join(map(frame, calls)))
    peer.wait_until(lambda: len(peer.heard("left")) == len(calls), what="500 answers")
    answers = [left["session_id"].encode() for left in peer.heard("left")]
    assert answers == [call[len(HEAD) : -len(TAIL)] for call in calls]


# -- pings and pongs --


@pytest.mark.parametrize(
    "payload",
    [b"", b"x", b"Hello", bytes(range(125)), b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xff" * 125],
    ids=["empty", "one byte", "text", "125 bytes", "no text", "125 bytes of FF"],
)
def test_a_ping_is_answered_with_its_payload(peer: Peer, payload: bytes) -> None:
    """Given a ping of up to 125 bytes, when it comes, whole or byte for byte, then a pong repeats them."""
    peer.send_bytes(frame(payload, PING))
    for byte in chopped(frame(payload, PING), 1):
        peer.send_bytes(byte)
    peer.settle()
    assert peer.pongs == [payload, payload]


def test_a_thousand_pings_at_once_are_answered_in_order(peer: Peer) -> None:
    """Given 1,000 pings in one write, when they arrive, then 1,000 pongs, in order."""
    payloads = [str(number).encode() for number in range(1_000)]
    peer.send_bytes(b"".join(frame(payload, PING) for payload in payloads))
    peer.wait_until(lambda: len(peer.pongs) >= len(payloads), what="1,000 pongs")
    peer.settle()
    assert peer.pongs == payloads


def test_pongs_that_nobody_asked_for_are_ignored(peer: Peer) -> None:
    """Given pongs out of the blue, empty, full and inside a message, when they come, then life goes on."""
    message = call_of(200)
    start, end = fragments(message, [100])
    peer.echo(message, frame(b"", PONG), frame(b"x" * 125, PONG), start, frame(b"why", PONG), end)
    peer.send_bytes(frame(b"and now", PING))
    peer.settle()
    assert peer.pongs == [b"and now"]


def test_a_ping_is_answered_before_the_message_around_it_ends(peer: Peer) -> None:
    """Given a message that is half sent, when a ping comes, then its pong waits for no other half."""
    message = call_of(200)
    start, end = fragments(message, [100])
    peer.send_bytes(start + frame(b"halfway", PING))
    assert peer.wait_for("websocket pong", timeout=ANSWER_S) == b"halfway"
    assert not peer.heard("left")
    peer.echo(message, end)


# -- fragments --


def test_a_message_in_two_fragments_arrives_whole_wherever_it_is_cut(peer: Peer) -> None:
    """Given a message cut in two, at each place in turn, when both halves came, then it is heard whole."""
    message = HEAD + "ä€😀".encode() + TAIL
    for cut in range(len(message) + 1):
        peer.echo(message, b"".join(fragments(message, [cut])))


@pytest.mark.parametrize("cuts", [[0], [0, 0, 0], [50, 50, 50], [200, 200]], ids=repr)
def test_empty_fragments_change_nothing(peer: Peer, cuts: list[int]) -> None:
    """Given empty fragments before, inside and after a message's text, when all came, then it is heard
    whole."""
    message = call_of(200)
    peer.echo(message, *fragments(message, cuts))


def test_fragments_of_single_bytes_with_control_frames_between_are_one_message(peer: Peer) -> None:
    """Given a message in fragments of one byte, a ping and a pong after each, when all came, then it is heard
    whole, and each ping was answered."""
    message = HEAD + "κόσμε 😀".encode() + TAIL
    stream = b""
    for number, piece in enumerate(fragments(message, list(range(1, len(message))))):
        stream += piece + frame(b"", PONG) + frame(bytes([number]), PING)
    peer.echo(message, stream)
    peer.settle()
    assert peer.pongs == [bytes([number]) for number in range(len(message))]


@pytest.mark.parametrize("chop", [None, 1, 7, 1_000])
def test_random_fragments_arrive_whole(peer: Peer, chop: int | None) -> None:
    """Given messages in fragments of random sizes with pings between, in TCP writes of any size, when they
    arrive, then each is heard whole and in order, and each ping is answered."""
    dice = random.Random(f"fragments {chop}")
    calls, payloads, stream = [], [], b""
    for _ in range(30):
        calls.append(call_of(dice.choice([60, 125, 126, 500, 3_000])))
        cuts = [dice.randrange(len(calls[-1]) + 1) for _ in range(dice.randrange(8))]
        for piece in fragments(calls[-1], cuts):
            stream += piece
            if dice.random() < 0.3:
                payloads.append(dice.randbytes(dice.randrange(126)))
                stream += frame(payloads[-1], PING)
    for piece in chopped(stream, chop or len(stream)):
        peer.send_bytes(piece)
    peer.wait_until(lambda: len(peer.heard("left")) == len(calls), what="all answers")
    answers = [left["session_id"].encode() for left in peer.heard("left")]
    assert answers == [call[len(HEAD) : -len(TAIL)] for call in calls]
    peer.settle()
    assert peer.pongs == payloads


# -- text --


@pytest.mark.parametrize("text", VALID_TEXTS.values(), ids=VALID_TEXTS.keys())
def test_valid_utf8_arrives_as_it_was_sent(peer: Peer, text: str) -> None:
    """Given a text, when it comes whole, cut inside each character, or byte for byte, then it is heard as it
    was."""
    message = HEAD + text.encode() + TAIL
    everywhere = list(range(1, len(message)))
    peer.echo(message)
    peer.echo(message, *fragments(message, everywhere))
    peer.echo(message, *chopped(frame(message), 1))


@pytest.mark.parametrize("text", INVALID_UTF8.values(), ids=INVALID_UTF8.keys())
@pytest.mark.parametrize("way", ["one frame", "fragments", "single bytes"])
def test_text_that_is_no_utf8_ends_with_1007(peer: Peer, text: bytes, way: str) -> None:
    """Given a text that is no UTF-8, in one frame, in fragments of a byte or byte for byte, when it is whole,
    then 1007, and no call is carried out."""
    message = HEAD + b"a" + text + TAIL
    if way == "fragments":
        peer.send_bytes(b"".join(fragments(message, list(range(1, len(message))))))
    else:
        for piece in chopped(frame(message), 1 if way == "single bytes" else len(message) + 8):
            peer.send_bytes(piece)
    peer.closes(BAD_TEXT)
    assert not peer.heard("left")


def test_utf8_is_asked_of_texts_alone(peer: Peer) -> None:
    """Given bytes that are no UTF-8 in a ping, a pong and a binary message, when they come, then no end."""
    peer.send_bytes(frame(b"\xc3\x28", PING) + frame(b"\xff", PONG) + frame(b"\xed\xa0\x80", BINARY))
    peer.settle()
    assert peer.pongs == [b"\xc3\x28"]


# -- what must be refused --


@pytest.mark.parametrize("stream, code", BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_rules_ends_the_connection_with_the_right_code(
    peer: Peer, stream: bytes, code: int
) -> None:
    """Given a stream that breaks a rule, when it is sent, then the server says why, hears nothing more, and
    ends the TCP connection."""
    peer.send_bytes(stream + frame(b"afterwards", PING) + frame(EVENT))
    peer.closes(code)
    assert b"afterwards" not in peer.pongs
    if len(stream) < 4_096:
        # A reset would take the goodbye away from clients whose systems drop what they have not read.
        assert isinstance(peer.end, EOFError)


@pytest.mark.parametrize("size", [1_000_001, 4_000_000])
def test_a_message_that_is_too_large_is_told_so_while_it_is_still_sent(peer: Peer, size: int) -> None:
    """Given a client that reads only once all is sent, when the message is too large, then it finds 1009."""
    peer.pause()
    with contextlib.suppress(OSError):
        peer.send_bytes(frame(b"4" * size))
    peer.resume()
    peer.closes(TOO_LARGE)


@pytest.mark.parametrize(
    "stream",
    [closing(1000), frame(b"x", masked=False), frame(b"\xff"), header(TEXT, MAX_MESSAGE_BYTES + 1, 8)],
    ids=["a goodbye", "an unmasked frame", "no UTF-8", "a frame that is too large"],
)
def test_no_call_that_follows_the_end_is_carried_out(
    shared_server: Server, peer: Peer, stream: bytes
) -> None:
    """Given a stream that ends the connection, when a command follows in the same write, then nothing is
    committed."""
    session_id = shared_server.new_session()
    command = {"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}}
    call = event_packet("execute_command", {"session_id": session_id, **command})
    peer.send_bytes(stream + frame(call.encode()))
    eventually(lambda: peer.end is not None and not peer.held, ANSWER_S, "the end")
    shared_server.create(session_id)
    assert shared_server.ask(f"/sessions/{session_id}/info")["version"] == 1


def test_a_refused_client_does_not_take_the_others_along(
    shared_server: Server, peer: Peer, open_peer: OpenPeer
) -> None:
    """Given two clients in a room, when one breaks the rules, then the other hears that, and goes on."""
    session_id = shared_server.new_session()
    other = open_peer(shared_server)
    other.join(session_id)
    peer.join(session_id)
    peer.send_bytes(frame(EVENT, masked=False))
    gone = other.wait_for("session:disconnected", timeout=ANSWER_S)
    assert gone["client_id"] == peer.id
    other.settle()


# -- the closing handshake --


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_a_goodbye_is_answered_with_its_code(peer: Peer, code: int) -> None:
    """Given a code that may be sent, when a client closes with it, then it is echoed, and TCP ends well."""
    peer.send_bytes(closing(code))
    peer.closes(code)
    assert isinstance(peer.end, EOFError)


@pytest.mark.parametrize(
    "reason", [b"x", b"x" * 122, b"x" * 123, "Auf Wiedersehen, schöne Welt 😀".encode()], ids=len
)
def test_a_goodbye_may_have_a_reason(peer: Peer, reason: bytes) -> None:
    """Given a reason of up to 123 bytes of UTF-8, when a client closes with it, then the code is echoed."""
    peer.send_bytes(closing(1000, reason))
    peer.closes(1000)
    assert isinstance(peer.end, EOFError)


def test_a_goodbye_without_a_code_is_answered(peer: Peer) -> None:
    """Given an empty close frame, when it comes, then the server closes with 1000 or nothing."""
    peer.send_bytes(frame(b"", CLOSE))
    peer.closes(1000, 1005)
    assert isinstance(peer.end, EOFError)


def test_a_goodbye_in_single_bytes_is_answered(peer: Peer) -> None:
    """Given a close frame byte for byte, when the last has come, then it is echoed."""
    for byte in chopped(closing(1001, b"bye"), 1):
        peer.send_bytes(byte)
    peer.closes(1001)


@pytest.mark.parametrize(
    "more",
    [frame(b"late", PING), frame(EVENT), closing(1001), frame(b"x", masked=False), frame(b"\xff"), b"\x81"],
    ids=["a ping", "a call", "another goodbye", "an unmasked frame", "no UTF-8", "half a header"],
)
def test_what_follows_a_goodbye_is_ignored(peer: Peer, more: bytes) -> None:
    """Given a close frame and more after it in one write, when they come, then it alone is answered."""
    peer.send_bytes(closing(1000) + more)
    peer.closes(1000)
    assert not peer.pongs
    assert not peer.heard("pong")
    assert isinstance(peer.end, EOFError)


def test_a_goodbye_inside_a_message_is_answered(peer: Peer) -> None:
    """Given half a message, when a close frame comes, then it is echoed, and the half is forgotten."""
    start, end = fragments(EVENT, [5])
    peer.send_bytes(start + closing(1000) + end)
    peer.closes(1000)
    assert not peer.heard("pong")


def test_a_goodbye_of_engine_io_ends_the_websocket(peer: Peer) -> None:
    """Given Engine.IO's own close packet, when it comes, then the WebSocket is closed with 1000 and ended,
    though the client closes nothing."""
    peer.send_packet("1")
    peer.closes(1000)


def test_a_connection_before_its_handshake_of_socket_io_keeps_the_rules(
    shared_server: Server, open_peer: OpenPeer
) -> None:
    """Given a WebSocket on which Socket.IO has not begun, when frames come, then they are judged as ever."""
    early = open_peer(shared_server, connect=False)
    early.send_bytes(frame(b"early", PING))
    assert early.wait_for("websocket pong") == b"early"
    early.send_bytes(frame(b"x", 0x3))
    early.closes(1002)


# -- one writer at a time --


def test_a_pong_never_lands_inside_a_frame(server: Server, open_peer: OpenPeer) -> None:
    """Given a slow reader that large events wait for, when it pings meanwhile, then every event comes whole
    and every pong once, in order."""
    session_id = server.new_session()
    node = server.create(session_id)
    slow = open_peer(server, receive_buffer=4_096)
    slow.join(session_id)
    dice = random.Random(6455)
    values: list[str] = []
    payloads: list[bytes] = []
    for _ in range(3):
        slow.pause()
        for _ in range(6):
            values.append(dice.randbytes(100_000).hex())
            data = {"node_id": node, "property_id": "p", "value": values[-1]}
            server.execute(session_id, "UpdateProperty", data)
        eventually(lambda: slow.unread > 4_096, ANSWER_S, "a frame is half written")
        for _ in range(20):
            payloads.append(dice.randbytes(100))
            slow.send_bytes(frame(payloads[-1], PING))
        slow.resume()
        slow.wait_until(lambda: len(slow.pongs) >= len(payloads), what="the pongs")
        slow.wait_version(session_id, 1 + len(values))
    assert slow.pongs == payloads
    assert [event["new_value"] for event in slow.heard("property-changed")] == values


@pytest.mark.parametrize("reads_on", [True, False])
def test_a_goodbye_never_lands_inside_a_frame(server: Server, open_peer: OpenPeer, reads_on: bool) -> None:
    """Given a slow reader that large events wait for, when it says goodbye and reads on, then whole frames
    come and the echo; if it reads nothing more, it is let go all the same, and one frame may be cut off."""
    session_id = server.new_session()
    node = server.create(session_id)
    slow = open_peer(server, receive_buffer=4_096)
    slow.join(session_id)
    slow.pause()
    value = "v" * 200_000
    for _ in range(6):
        data = {"node_id": node, "property_id": "p", "value": value}
        server.execute(session_id, "UpdateProperty", data)
    eventually(lambda: slow.unread > 4_096, ANSWER_S, "a frame is half written")
    slow.send_bytes(closing(1000))
    if not reads_on:
        eventually(lambda: not slow.held, ANSWER_S, "the descriptor is closed")
    slow.resume()
    eventually(lambda: slow.end is not None, ANSWER_S, "the end")
    assert isinstance(slow.end, EOFError | ConnectionResetError), repr(slow.end)
    assert slow.close_code == 1000 if reads_on else slow.close_code in (None, 1000)
    assert not slow.late
    assert {event["new_value"] for event in slow.heard("property-changed")} <= {value}


# -- limits --


def test_a_megabyte_arrives_whole_however_it_is_cut(
    start_server: Callable[..., Server], open_peer: OpenPeer
) -> None:
    """Given messages of 1,000,000 bytes, when they come in one frame, in fragments of 64 bytes to 256 kB or
    in TCP writes of 64 bytes to 2 kB, then each is heard whole, and the hub is never held for 50 ms."""
    server = start_server(watched=True)
    client = open_peer(server)
    message = call_of(MAX_MESSAGE_BYTES)
    began = time.monotonic()
    client.echo(message)
    for size in (64, 256, 1_024, 4_096, 16_384, 65_536, 262_144):
        client.echo(message, b"".join(fragments(message, list(range(size, len(message), size)))))
    for size in (64, 128, 512, 1_024, 2_048):
        client.echo(message, *chopped(frame(message), size))
    assert max(server.gaps(began), default=0.0) < MOST_GAP_S


ENDLESS: dict[str, tuple[bytes, int]] = {
    # what comes again and again, and the bytes of it after which the server must have had enough
    "fragments of nothing": (frame(b"", CONTINUATION, fin=False) * 10_000, 8_000_000),
    "fragments of 16 bytes": (frame(b"x" * 16, CONTINUATION, fin=False) * 2_000, 8_000_000),
    "200 MB in fragments of 100 kB": (frame(b"x" * 100_000, CONTINUATION, fin=False), 200_000_000),
    "200 MB in fragments of 1 MB": (frame(b"x" * 1_000_000, CONTINUATION, fin=False), 200_000_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_message_without_an_end_is_ended(
    start_server: Callable[..., Server], open_peer: OpenPeer, kind: str
) -> None:
    """Given a message whose fragments never end, when they come, then 1009 or 1008 after bounded traffic; the
    hub is never held for 50 ms, memory stays, and a good client beside it is answered."""
    server = start_server(watched=True)
    good, bad = open_peer(server), open_peer(server)
    good.settle()
    began, memory = time.monotonic(), server.memory()
    piece, most = ENDLESS[kind]
    sent, highest = 0, memory
    bad.send_bytes(frame(b"4", TEXT, fin=False))
    with contextlib.suppress(OSError):
        while sent < most and bad.close_code is None:
            bad.send_bytes(piece)
            sent += len(piece)
            highest = max(highest, server.memory())
            good.settle(ANSWER_S)
    bad.closes(TOO_LARGE, 1008)
    assert sent < 16_000_000  # the limit, and what the kernel holds on both sides
    assert highest - memory < MOST_MEMORY
    assert max(server.gaps(began), default=0.0) < MOST_GAP_S


# -- peers that go silent --


class Silent(Peer):
    """Answers none of Engine.IO's pings."""

    def _receive(self, packet: str) -> None:
        if packet[:1] != "2":
            super()._receive(packet)


class SilentPolling(RawPolling):
    """Polls, and answers none of Engine.IO's pings."""

    def _receive(self, packet: str) -> None:
        if packet[:1] != "2":
            super()._receive(packet)


WHOLE = frame(b"x" * 1_000)  # two bytes, two of the length, four of the mask, the payload
UNFINISHED = {
    "stops after one byte": WHOLE[:1],
    "stops inside the length": WHOLE[:3],
    "stops inside the mask": WHOLE[:6],
    "stops inside the payload": WHOLE[:500],
    "stops inside a large payload": frame(b"x" * 900_000)[:500_000],
    "stops between two fragments": frame(b"4", fin=False),
    "stops inside a ping": frame(b"x" * 100, PING)[:50],
    "stops inside a goodbye": closing(1000)[:7],
}


def test_peers_that_go_silent_are_freed(
    server: Server, open_peer: OpenPeer, connect: Connect, request: pytest.FixtureRequest
) -> None:
    """Given peers of both transports that answer no pings, read nothing, or stop inside a frame, a message,
    a POST or an upgrade, when interval and timeout of the ping have passed, then the room has heard that
    each is gone, and no WebSocket of theirs is held."""
    session_id = server.new_session()
    observer = connect(server, "raw-websocket")
    sockets = {kind: open_peer(server, Silent) for kind in UNFINISHED}
    sockets["reads, and says nothing"] = open_peer(server, Silent)
    sockets["reads nothing"] = open_peer(server, Silent, receive_buffer=4_096)
    sockets["pings a great deal, and reads nothing"] = open_peer(server, Silent, receive_buffer=4_096)
    sockets["sends WebSocket pings alone"] = pinger = open_peer(server, Silent)
    sockets["sends a byte of a frame now and then"] = dribbler = open_peer(server, Silent)
    sockets["calls, and answers no pings"] = caller = open_peer(server, Silent)
    polling = {
        kind: SilentPolling(server.url)
        for kind in ("polls", "polls no more", "stops inside a POST", "opens a WebSocket", "probes")
    }
    for client in polling.values():
        request.addfinalizer(client.cut)
    for member in (observer, *sockets.values(), *polling.values()):
        member.join(session_id)
    for kind, start in UNFINISHED.items():
        sockets[kind].send_bytes(start)
    for kind in ("reads nothing", "pings a great deal, and reads nothing"):
        sockets[kind].pause()
    sockets["pings a great deal, and reads nothing"].send_bytes(frame(b"x" * 125, PING) * 8_000)
    dribbler.send_bytes(WHOLE[:8])
    for kind in ("polls no more", "opens a WebSocket", "probes"):
        polling[kind].pause()  # during an upgrade polls are answered at once, again and again
    begin_post(polling["stops inside a POST"], request)
    for kind in ("opens a WebSocket", "probes"):
        sid = polling[kind].handshake["sid"]
        query = f"EIO=4&transport=websocket&sid={sid}"
        sockets[f"half an upgrade: {kind}"] = open_peer(server, Silent, connect=False, query=query)
    sockets["half an upgrade: probes"].send_packet("2probe")

    deadline = time.monotonic() + PING_S + LATE_S
    members = {client.id: kind for kind, client in (sockets | polling).items() if client.id}
    while True:
        gone = {event["client_id"] for event in observer.heard("session:disconnected", session_id)}
        present = [kind for client_id, kind in members.items() if client_id not in gone]
        held = [kind for kind, client in sockets.items() if client.held]
        if not present and not held:
            break
        assert time.monotonic() < deadline, f"after {PING_S + LATE_S} s in the room: {present}, held: {held}"
        with contextlib.suppress(OSError):
            dribbler.send_bytes(b"x")
        with contextlib.suppress(OSError):
            pinger.send_bytes(frame(b"", PING))
        with contextlib.suppress(OSError):
            caller.emit("ping")
        time.sleep(0.25)  # the pace of those three
    observer.settle()
    assert server.ask(f"/sessions/{session_id}/info")["active_clients"] == 1


def begin_post(client: RawPolling, request: pytest.FixtureRequest) -> None:
    """Send half of a POST of this client."""
    connection = socket.create_connection((client.host, client.port))
    request.addfinalizer(connection.close)
    lines = [
        f"POST /socket.io/?EIO=4&transport=polling&sid={client.handshake['sid']} HTTP/1.1",
        f"Host: {client.host}:{client.port}",
        "Content-Type: text/plain",
        "Content-Length: 10",
        "",
        "42[",
    ]
    connection.sendall("\r\n".join(lines).encode())


# -- anything at all --

SEED = int(os.environ.get("TALUS_SEED") or 6455)
EXAMPLES = 150  # of each kind
PAD = bytes(MAX_MESSAGE_BYTES + 16)  # ends whatever frame is under way; then zeros are an unmasked frame
VALID = [
    packed(0x81, EVENT),
    packed(0x01, EVENT[:4]) + packed(0x80, EVENT[4:]),
    packed(0x01, EVENT) + packed(0x00, b"") + packed(0x8A, b"") + packed(0x80, b""),
    packed(0x82, b"\xff" * 130),
    packed(0x89, b"are you there"),
    packed(0x8A, b""),
    packed(0x88, b"\x03\xe8bye"),
]

masks = st.sampled_from([bytes(4), b"\x01\x02\x03\x04", b"\xff\x00\xaa\x55"])
texts = st.one_of(
    st.text(max_size=60).map(str.encode),
    st.sampled_from([b"", b"x" * 125, b"x" * 126, "\u00e4\u20ac\U0001f600".encode()]),
)
wrong_texts = st.sampled_from([b"\xc3", b"\xa4", b"\xff", b"\xed\xa0\x80", b"\xf0\x9f"])
goodbyes = st.one_of(
    st.builds(
        lambda code, reason: code.to_bytes(2, "big") + reason.encode(),
        st.sampled_from([*CLOSE_CODES, *NO_CLOSE_CODES]),
        st.text(max_size=20),
    ),
    st.sampled_from([b"", b"\x03", b"\x03\xe8\xff"]),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A row of frames, of which most keep the rules."""
    row = b""
    inside = 0  # the opcode of the message that is not whole yet
    for _ in range(draw(st.integers(1, 12))):
        fault = draw(st.integers(0, 29))  # some of these mean one
        kind = draw(st.sampled_from(["data"] * 6 + ["ping"] * 3 + ["pong", "goodbye"]))
        final, payload = True, draw(st.binary(max_size=125))
        if kind == "data":
            opcode = CONTINUATION if inside else draw(st.sampled_from([TEXT, TEXT, BINARY]))
            inside = inside or opcode
            final = draw(st.booleans())
            payload = draw(wrong_texts if fault == 0 else texts)
            if opcode == TEXT:
                payload = b"3" + payload  # that begins a packet which asks for nothing
            inside = 0 if final else inside
        elif kind == "goodbye":
            opcode, payload = CLOSE, draw(goodbyes)
        else:
            opcode = PING if kind == "ping" else PONG
        if fault == 1:
            opcode = draw(st.integers(0, 15))
        elif fault == 2 and kind != "data":
            final, payload = draw(st.booleans()), payload.ljust(126, b"x")
        first = 0x80 * final | (draw(st.integers(1, 7)) << 4 if fault == 3 else 0) | opcode
        mask = None if fault == 4 else draw(masks)
        row += packed(first, payload, mask, draw(st.sampled_from([2, 8])) if fault == 5 else None)
    return row


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid frames in which something was flipped, cut out, doubled, put in or cut off."""
    whole = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=6)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(whole)))
        to = at + draw(st.integers(1, 8))
        whole = draw(
            st.sampled_from(
                [
                    whole[:at] + bytes(byte ^ 1 << to % 8 for byte in whole[at : at + 1]) + whole[at + 1 :],
                    whole[:at] + whole[to:],
                    whole[:to] + whole[at:],
                    whole[:at] + draw(st.binary(min_size=1, max_size=8)) + whole[at:],
                    whole[:at],
                ]
            )
        )
    return whole


STREAMS = {
    "frames": frames(),
    "valid frames": st.lists(st.sampled_from(VALID), min_size=1, max_size=12).map(b"".join),
    "mutated frames": mutated(),
    "bytes": st.builds(
        lambda first, size, rest: bytes([first, 0x80 | size]) + rest,
        st.sampled_from([0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A]),
        st.integers(0, 127),
        st.binary(min_size=10, max_size=400),
    )
    | st.binary(min_size=1, max_size=400),
}


def tame(message: str | bytes) -> bool:
    """It ends no connection; others may, before the stream does."""
    return isinstance(message, bytes) or message.encode() == EVENT or message[:1] == "3"


def each(streams: st.SearchStrategy[bytes], check: Callable[[bytes, int | None], None]) -> None:
    """Check streams of one kind, and the size of TCP writes with each."""

    @seed(SEED)
    # No search for the smallest stream: each step of it could wait for ANSWER_S.
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate])
    @given(streams, st.sampled_from([None, 1, 7]))
    def one(stream: bytes, chop: int | None) -> None:
        check(stream, chop)

    one()


def test_a_random_stream_is_answered_or_ended_with_the_right_code(
    start_server: Callable[..., Server], open_peer: OpenPeer
) -> None:
    """Given streams of frames, mutated frames and bytes at random, when each was sent, then within 5 s its
    pings are answered and it has ended as RFC 6455 has it; a good client beside it goes on all the while,
    and afterwards the server holds nothing more than before."""
    server = start_server(watched=True)
    good = open_peer(server)
    good.settle()
    files, greenlets = server.files(), server.greenlets()
    print(f"\nwebsocket: TALUS_SEED={SEED}")

    def check(stream: bytes, chop: int | None) -> None:
        if not judge(stream).codes:
            stream += PAD
        verdict = judge(stream)
        sure = all(map(tame, verdict.messages))
        bad = Peer(server)
        try:
            with contextlib.suppress(OSError):
                for piece in chopped(stream[:2_000], chop or 2_000):
                    bad.send_bytes(piece)
                bad.send_bytes(stream[2_000:])
            bad.closes(*verdict.codes, *(() if sure else (1000, None)))
            assert bad.pongs == verdict.pongs[: None if sure else len(bad.pongs)]
        finally:
            bad.cut()
        good.settle(ANSWER_S)

    for streams in STREAMS.values():
        each(streams, check)
    assert good.connected
    eventually(lambda: server.files() <= files, BACK_S, "descriptors are back")
    eventually(lambda: server.greenlets() <= greenlets, BACK_S, "greenlets are back", every_s=0.5)


@given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]), max_size=6))
def test_frames_give_back_what_they_were_made_of(sizes: list[int]) -> None:
    """Given payloads of any length, when they are framed and taken apart again, then they are the same."""
    made = [bytes([65 + at % 26]) * size for at, size in enumerate(sizes)]
    assert payloads(b"".join(map(server_frame, made))) == made
