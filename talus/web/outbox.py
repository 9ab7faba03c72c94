"""What one client is still to hear, and how it leaves.

Engine.IO asks the outbox for the next packet whenever the client can take one;
it is given up to a slice (256 kB, or 16 packets of a poll) at once: what is
queued, and when nothing is, the next of a feed. Direct answers pass a feed
between two commits, never inside one; Engine.IO's own packets pass everything.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING

from engineio.packet import CLOSE, MESSAGE, Packet
from gevent.event import Event
from gevent.lock import RLock
from gevent.queue import Empty

from ..core.errors import TalusError
from .websocket import Frames, frame, unsent

if TYPE_CHECKING:
    from .channel import Channel, Feed

SLICE_BYTES = 256 * 1024
POLL_PACKETS = 16  # the python-socketio client drops an answer of more

log = logging.getLogger(__name__)


class Chunk:
    """Packets for everybody in a room, encoded once."""

    __slots__ = ("_frames", "size", "texts")

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = texts
        self.size = sum(map(len, texts))
        self._frames: bytes | None = None

    @property
    def frames(self) -> bytes:
        if self._frames is None:
            self._frames = b"".join(map(frame, self.texts))
        return self._frames


class _Slice(Packet):
    """An Engine.IO packet that stands for many: ready frames, or the text of a poll's answer."""

    def __init__(self, body: str | Frames) -> None:
        super().__init__(MESSAGE)
        self.body = body

    def encode(self, b64: bool = False) -> str | Frames:
        return self.body


class Outbox:
    """What one client is still to hear; the queue that its Engine.IO socket reads from.

    Stands in for `queue.Queue` there: `put`, `get`, `task_done`, `join`.
    """

    def __init__(self, limit: int) -> None:
        """limit: bytes held for the client before its rooms are fed from the journal."""
        self.limit = limit
        self.channels: dict[str, Channel] = {}
        self.polls: Callable[[], bool] = lambda: True
        self.cut: Callable[[], None] = lambda: None  # ends the connection
        self.stalled_since_s: float | None = None  # used by who watches polling clients
        self._urgent: deque[bytes] = deque()  # Engine.IO's own packets pass everything
        self._queue: deque[Chunk] = deque()
        self._rest: deque[bytes] = deque()  # of chunks that polls take a part of
        self._half: tuple[Channel, Feed] | None = None  # a commit is half told: nothing may stand inside
        self._held = 0
        self.writing = 0  # answers to polls that are being written
        self.connection: socket.socket | None = None  # that the last of them went to
        self._unsent = 0  # bytes of it in the kernel when `progresses` last looked
        self._taking = False
        self._closed = False
        self._event = Event()
        self._lock = RLock()

    # -- what rooms and calls put in --

    def add(self, chunk: Chunk) -> bool:
        """Queue a chunk; False when more than the limit is held now."""
        self._queue.append(chunk)
        self._held += chunk.size
        self._event.set()
        return self._held <= self.limit

    def answer(self, text: bytes) -> None:
        """Queue a direct answer. It passes feeds, but never stands inside a commit."""
        self.add(Chunk([text]))

    def wake(self) -> None:
        """There may be something to take."""
        self._event.set()

    @property
    def waits(self) -> bool:
        """Something waits for the client, and it is not taking anything."""
        return (
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
            self._closed = True
            self._event.set()
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
        try:
            while True:
                with self._lock:
                    self._event.clear()
                    packet = self._take()
                if packet is not None or self._closed:
                    return packet
                if not self._event.wait(None if deadline is None else deadline - monotonic()):
                    raise Empty
        finally:
            self._taking = False
            self.stalled_since_s = None

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
            self._closed = True
            self.cut()
            return None
        if self.polls():
            self._rest.extend(text for chunk in chunks for text in chunk.texts)
            size = 0
            while self._rest and len(texts) < POLL_PACKETS and size < SLICE_BYTES:
                texts.append(self._rest.popleft())
                size += len(texts[-1])
            return _Slice("\x1e".join([text.decode() for text in texts])) if texts else None
        frames = [*map(frame, texts), *map(frame, self._rest), *(chunk.frames for chunk in chunks)]
        self._rest.clear()
        return _Slice(Frames(b"".join(frames))) if frames else None

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
        said = []
        size = 0
        while self._queue and size < SLICE_BYTES:
            chunk = self._queue.popleft()
            size += chunk.size
            said.append(chunk)
        self._held -= size
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

    def _feeds(self) -> Iterator[tuple[Channel, Feed]]:
        for channel in self.channels.values():
            feed = channel.subscribers.get(self)
            if feed is not None:
                yield channel, feed
