"""What one client is still to hear, and how it leaves.

What is queued leaves up to a slice (256 kB, or for who polls as many packets as it takes) at a time.
The pump hands it to the kernel, a client after the other, as long as that takes
it; a client that polls, that is fed or that is slow has it from Engine.IO, which
asks the outbox for the next packet whenever the client can take one: what is
queued, and when nothing is, the next of a feed. Direct answers pass a feed
between two commits, never inside one; Engine.IO's own packets pass everything.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

import gevent
from engineio.packet import CLOSE, MESSAGE, Packet
from gevent.event import Event
from gevent.lock import RLock
from gevent.queue import Empty

from ..core.errors import TalusError
from ..service.pace import TURN_S
from .websocket import Frames, WebSocket, frame, payloads, unsent

if TYPE_CHECKING:
    from .channel import Channel, Feed

SLICE_BYTES = 256 * 1024
SLICE_CHUNKS = 512  # the kernel takes 1,024 pieces at once
POLL_PACKETS = 16  # of an answer: the python-socketio client takes no more
MAX_UNTAKEN = 4_096  # chunks that wait for a client; past that what it says waits too
RECENT_S = 0.2  # a client that took something so lately is slow, and not gone
PUMP_S = 0.001  # of fan-out before everybody else gets a turn
PUMP_EVERY = 8  # clients between two looks at the clock

log = logging.getLogger(__name__)


class Chunk:
    """Packets for everybody in a room, encoded once: texts until a WebSocket asks for them, then frames."""

    __slots__ = ("_frames", "_texts", "size")

    def __init__(self, texts: list[bytes]) -> None:
        self.size = sum(map(len, texts))
        self._texts: list[bytes] | None = texts
        self._frames = b""

    @property
    def frames(self) -> bytes:
        if self._texts is not None:
            self._frames = b"".join(map(frame, self._texts))
            self._texts = None  # clients that do not listen hold it: once is enough
        return self._frames

    @property
    def texts(self) -> list[bytes]:
        return payloads(self._frames) if self._texts is None else self._texts


class _Slice(Packet):
    """An Engine.IO packet that stands for many: ready frames, or the text of a poll's answer."""

    def __init__(self, body: str | Frames) -> None:
        super().__init__(MESSAGE)
        self.body = body

    def encode(self, b64: bool = False) -> str | Frames:
        """The body, once: Engine.IO keeps the packet until the next one, which may be long."""
        body, self.body = self.body, ""
        return body


class Pump:
    """Empties outboxes in turn: one small step for each client, and never a wait for one."""

    def __init__(self) -> None:
        self._ready: deque[Outbox] = deque()
        self._running = False

    def add(self, outbox: Outbox) -> None:
        self._ready.append(outbox)
        if not self._running:
            self._running = True
            gevent.spawn(self._run)

    def _run(self) -> None:
        ready = self._ready
        began_s = perf_counter()
        while ready:
            for _ in range(min(PUMP_EVERY, len(ready))):
                try:
                    ready.popleft().flush()
                except Exception:
                    log.exception("a client was not given its events")  # the others still are
            if perf_counter() - began_s > PUMP_S:
                gevent.sleep(TURN_S)
                began_s = perf_counter()
        self._running = False


class Outbox:
    """What one client is still to hear; the queue that its Engine.IO socket reads from.

    Stands in for `queue.Queue` there: `put`, `get`, `task_done`, `join`.
    """

    def __init__(self, limit: int, pump: Pump) -> None:
        """limit: bytes held for the client before its rooms are fed from the journal."""
        self.limit = limit
        self.websocket: WebSocket | None = None  # that the pump may write to, once the client polls no more
        self._pump = pump
        self._pumped = False  # the pump has this outbox on its list
        self._parked = False  # somebody sleeps in `get`
        self.opened_s = monotonic()  # when the connection was
        self.address = ""  # that it came from
        self.poll_packets = POLL_PACKETS  # in an answer to a poll, at most
        self.polled = False  # a poll is waiting for something to take
        self.pinging: Any = None  # Engine.IO's task that sends the next ping
        self.channels: dict[str, Channel] = {}
        self.polls: Callable[[], bool] = lambda: True
        self.cut: Callable[[], None] = lambda: None  # ends the connection
        self.stalled_since_s: float | None = None  # used by who watches polling clients
        self._urgent: list[bytes] = []  # Engine.IO's own packets pass everything
        self._queue: deque[Chunk] = deque()
        self._rest: list[bytes] = []  # of chunks that polls take a part of
        self._half: tuple[Channel, Feed] | None = None  # a commit is half told: nothing may stand inside
        self._held = 0
        self.writing = 0  # answers to polls that are being written
        self.connection: socket.socket | None = None  # that the last of them went to
        self._unsent = 0  # bytes of it in the kernel when `progresses` last looked
        self._taking = False
        self._took_s = 0.0  # when Engine.IO last came for more
        self._closed = False
        self._event = Event()
        self._fewer = Event()
        self._lock = RLock()

    # -- what rooms and calls put in --

    def add(self, chunk: Chunk) -> bool:
        """Queue a chunk; False when more than the limit is held now."""
        self._queue.append(chunk)
        self._held += chunk.size
        if not self._parked or self.websocket is None:
            self._event.set()
        elif not self._pumped:
            self._pumped = True
            self._pump.add(self)
        return self._held <= self.limit

    def flush(self) -> None:
        """Hand a slice of what is queued to the kernel, if it takes it now and nothing has to go before."""
        self._pumped = False
        websocket = self.websocket if self._parked and not self.polls() else None
        if websocket is None or not websocket.offer([chunk.frames for chunk in self._slice()]):
            self._event.set()  # who sleeps in `get` takes it from here
        elif self._queue:
            self._pumped = True
            self._pump.add(self)

    def answer(self, text: bytes) -> None:
        """Queue a direct answer. It passes feeds, but never stands inside a commit."""
        self.add(Chunk([text]))

    def wait(self) -> None:
        """Until the client has taken most of what waits for it: who does not listen is not asked on."""
        while (len(self._queue) > MAX_UNTAKEN or self._held > self.limit) and not self._closed:
            self._fewer.clear()
            self._fewer.wait()

    def wake(self) -> None:
        """There may be something to take."""
        self._event.set()

    @property
    def on_time(self) -> bool:
        """The client has taken all that the kernel was given; one that polls comes back when it likes."""
        return self._taking or self.polls()

    def late(self, now_s: float) -> bool:
        """The client is slower than what it is to hear, and not one that takes nothing at all."""
        return not self.on_time and now_s - self._took_s < RECENT_S

    @property
    def waits(self) -> bool:
        """Something waits for the client, and it is not taking anything."""
        return self._pumped or (
            not self._taking
            and not self.writing
            and bool(self._urgent or self._queue or self._rest or self._half or any(self._feeds()))
        )

    def progresses(self) -> bool:
        """Whether the client has taken some of the last poll's answer since this was last asked."""
        before, self._unsent = self._unsent, unsent(self.connection) if self.connection else 0
        return self._unsent < before

    # -- what engineio asks --

    def put(self, packet: Packet | None) -> None:
        if packet is None:
            self._close()
        elif packet.packet_type in (MESSAGE, CLOSE):
            self.answer(packet.encode(b64=True).encode())
        else:
            self._urgent.append(packet.encode(b64=True).encode())
            self._event.set()

    def get(self, block: bool = True, timeout: float | None = None) -> Packet | None:
        """The next slice, as one packet; None once the socket is closed and all was taken. Raises Empty."""
        if not block:
            raise Empty  # a slice at a time: more is asked for when this one was taken
        deadline = None if timeout is None else monotonic() + timeout
        self._taking = True
        self._took_s = monotonic()
        try:
            while True:
                with self._lock:
                    self._event.clear()
                    packet = self._take()
                if packet is not None or self._closed:
                    return packet
                self._parked = True
                if not self._event.wait(None if deadline is None else deadline - monotonic()):
                    raise Empty
                self._parked = False
        finally:
            self._taking = self._parked = False
            self.stalled_since_s = None

    def _close(self) -> None:
        self._closed = True
        self._event.set()
        self._fewer.set()
        if self.pinging is not None:
            self.pinging.kill(block=False)

    def task_done(self) -> None:
        """Part of the queue's interface; nobody counts."""

    def join(self) -> None:
        """Part of the queue's interface; closing never waits for a slow client."""

    def _take(self) -> _Slice | None:
        texts = list(self._urgent)
        self._urgent.clear()
        try:
            chunks = [] if self._rest else self._next()
        except TalusError as error:
            # The journal cannot be read, or the session was deleted in the middle of a
            # commit: what this client holds is no whole version. It has to come back.
            log.warning("a client is cut off: %s", error.message)
            self._close()
            self.cut()
            return None
        if self.polls():
            self._rest.extend(text for chunk in chunks for text in chunk.texts)
            size = taken = 0
            for text in self._rest[: max(0, self.poll_packets - len(texts))]:
                if size >= SLICE_BYTES:
                    break
                texts.append(text)
                size += len(text)
                taken += 1
            del self._rest[:taken]
            return _Slice("\x1e".join([text.decode() for text in texts])) if texts else None
        frames = [*map(frame, texts), *map(frame, self._rest), *(chunk.frames for chunk in chunks)]
        self._rest.clear()
        unfinished = self.websocket is not None and self.websocket.unfinished
        return _Slice(Frames(b"".join(frames))) if frames or unfinished else None

    def _next(self) -> list[Chunk]:
        """The commit that is half told, else what is queued, else a slice of a feed."""
        if self._half:
            channel, feed = self._half
            try:
                said = channel.next(self, feed)
            except TalusError:
                if not feed.over:
                    raise
                # It left, and the session was deleted: nobody misses the rest.
                self._half = None
                return self._next()
            if not feed.inside:
                self._half = None
            return said
        said = self._slice()
        if said or self._closed:
            return said
        for channel, feed in list(self._feeds()):
            said = channel.next(self, feed)
            if feed.inside:
                self._half = channel, feed
            if said:
                if channel.session_id in self.channels:  # next time another one first
                    self.channels[channel.session_id] = self.channels.pop(channel.session_id)
                return said
        return []

    def _slice(self) -> list[Chunk]:
        """What is queued, up to a slice."""
        said: list[Chunk] = []
        size = 0
        while self._queue and size < SLICE_BYTES and len(said) < SLICE_CHUNKS:
            chunk = self._queue.popleft()
            size += chunk.size
            said.append(chunk)
        self._held -= size
        self._fewer.set()
        return said

    def _feeds(self) -> Iterator[tuple[Channel, Feed]]:
        for channel in self.channels.values():
            feed = channel.subscribers.get(self)
            if feed is not None:
                yield channel, feed
