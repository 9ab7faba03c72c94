"""Fan-out: what each client is still to hear, and how it leaves.

A room's events are encoded once, as a `Chunk`, and each client's `Outbox` holds
a reference. Engine.IO asks the outbox for the next packet whenever the client
can take one; it is given up to a slice (256 kB, or 16 packets of a poll) at
once. A subscription that cannot follow live is *fed*: by joining with `since`,
by falling TALUS_OUTBOX_BYTES behind, or by a commit that is too large for a
chunk. A feed reads the journal from where the client is, a slice each time the
client has room, and goes live from the channel's tail without a gap. Direct
answers pass a feed between two commits; an acknowledgement waits for the facts
of its own. Why so, and what of engineio this leans on: docs/decisions/0006.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from time import monotonic

from engineio.packet import CLOSE, MESSAGE, Packet
from gevent.event import Event
from gevent.lock import RLock
from gevent.queue import Empty

from ..core.errors import StorageFailed, TalusError
from ..core.records import Part
from ..service.announce import Announcement, Committed, Deleted, Presence, Refused
from ..service.replay import MAX_PART
from . import wire
from .websocket import Frames, frame, unsent

SLICE_BYTES = 256 * 1024
POLL_PACKETS = 16  # the python-socketio client drops an answer of more
CHUNK_BYTES = 1_000_000  # a larger commit is fed from the journal
CHUNK_FACTS = 2_000
TAIL_BYTES = 1_000_000  # of recent commits kept for those who catch up
DEFERRED = 10_000  # notices kept for a client that is being fed
KEPT_SLICES = 16  # of the journal, encoded, for feeds at the same place

log = logging.getLogger(__name__)

ReadParts = Callable[[int, int], list[Part]]


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


class Feed:
    """One client's way through the journal of one session.

    version, part: the last that it was given. told: the version in its `joined`;
    facts up to there are replayed, those after it are only late.
    """

    def __init__(self, version: int, told: int, replays: bool) -> None:
        self.replays = replays  # it joined with `since`: notices of that time are not for it
        self.version = version
        self.part = MAX_PART
        self.told = told
        self.deferred: deque[Chunk] = deque(maxlen=DEFERRED)
        self.acknowledgements: deque[tuple[int, bytes]] = deque()
        self.over = False  # the client left; only a commit that is half told goes on to its end

    @property
    def inside(self) -> bool:
        """A commit is half told."""
        return self.part != MAX_PART


class Channel:
    """A session's room: who hears it, and the tail of what was committed in it."""

    def __init__(self, session_id: str, version: int, read: ReadParts) -> None:
        """version: the one published last. read: the parts after (version, part), as far as a slice goes."""
        self.session_id = session_id
        self.version = version
        self.subscribers: dict[Outbox, Feed | None] = {}  # None: live
        self._read = read
        self._tail: deque[tuple[int, list[bytes], Chunk]] = deque()  # version, notice before, facts
        self._tail_bytes = 0
        self._slices: dict[tuple[int, int, int | None, bool], tuple[Chunk, int, int]] = {}

    # -- what is said to the room --

    def publish(self, announcements: list[Announcement], outboxes: Mapping[str, Outbox]) -> None:
        """Give everybody in the room what was announced. outboxes: by client_id."""
        texts: list[bytes] = []
        for announcement in announcements:
            if isinstance(announcement, Committed):
                self._commit(announcement, texts)
                continue
            said = wire.notice(self.session_id, announcement)
            if isinstance(announcement, Refused):
                texts.extend(said)
                self._defer(Chunk(said))
                continue
            self._send(texts)
            besides = outboxes.get(announcement.client_id) if isinstance(announcement, Presence) else None
            self._tell(Chunk(said), besides)
            if isinstance(announcement, Deleted):
                self.close()
        self._send(texts)

    def _commit(self, announcement: Committed, texts: list[bytes]) -> None:
        record = announcement.record
        own: list[bytes] = []
        size = 0
        if len(announcement.facts) <= CHUNK_FACTS:
            for event in wire.facts(self.session_id, record, announcement.facts, True):
                own.append(wire.event(event))
                size += len(own[-1])
                if size > CHUNK_BYTES:
                    own.clear()
                    break
        if own:
            before = [] if record.target else [wire.executing(self.session_id, record)]
            texts.extend(before)
            texts.extend(own)
            self._tail.append((record.version, before, Chunk(own)))
            self._tail_bytes += size
            while self._tail_bytes > TAIL_BYTES:
                self._tail_bytes -= self._tail.popleft()[2].size
        else:
            # Told slice by slice, each encoded once, to those who are live as well.
            self._send(texts)
            self._tail.clear()
            self._tail_bytes = 0
            for outbox, feed in self.subscribers.items():
                if feed is None:
                    self._fall_behind(outbox)
                outbox.wake()
        self.version = record.version

    def _send(self, texts: list[bytes]) -> None:
        """Commits and refusals, to those who are live; the others find the commits in the journal."""
        if not texts:
            return
        chunk = Chunk(texts.copy())
        texts.clear()
        for outbox, feed in self.subscribers.items():
            if feed is not None:
                outbox.wake()
            elif not outbox.add(chunk):
                self._fall_behind(outbox)

    def _tell(self, chunk: Chunk, besides: Outbox | None) -> None:
        """A notice about the room: at once to those who are live, later to those who are fed."""
        for outbox, feed in self.subscribers.items():
            if outbox is besides:
                continue
            if feed is not None:
                feed.deferred.append(chunk)
            elif not outbox.add(chunk):
                self._fall_behind(outbox)

    def _defer(self, chunk: Chunk) -> None:
        """Keep a refusal for those who fell behind; one who replays what he missed never hears it."""
        for feed in self.subscribers.values():
            if feed is not None and not feed.replays:
                feed.deferred.append(chunk)

    def _fall_behind(self, outbox: Outbox) -> None:
        # All that was published so far is queued; the rest comes from the journal.
        self.subscribers[outbox] = Feed(self.version, self.version, replays=False)

    # -- who hears it --

    def subscribe(self, outbox: Outbox, since: int | None) -> None:
        """Live from here, or from `since` by way of the journal."""
        feed = None if since is None else Feed(since, self.version, replays=True)
        self.unsubscribe(outbox, feed)
        self.subscribers[outbox] = feed
        outbox.channels[self.session_id] = self
        outbox.wake()

    def unsubscribe(self, outbox: Outbox, instead: Feed | None = None) -> None:
        """Nothing of this session from here on; a commit that is half told is told to its end.

        instead: the feed that now has to tell what acknowledgements are waiting for.
        """
        feed = self.subscribers.pop(outbox, None)
        outbox.channels.pop(self.session_id, None)
        if feed is None:
            return
        feed.over = True
        if instead is not None:
            instead.acknowledgements = feed.acknowledgements
        else:
            for _, text in feed.acknowledgements:
                outbox.answer(text)
        feed.acknowledgements = deque()

    def close(self) -> None:
        """The session is gone: nobody hears of it any more."""
        for outbox, feed in list(self.subscribers.items()):
            for chunk in feed.deferred if feed else ():
                outbox.add(chunk)
            self.unsubscribe(outbox)

    def acknowledge(self, outbox: Outbox, version: int, text: bytes) -> None:
        """Answer a commit after its facts on this client's way."""
        feed = self.subscribers.get(outbox)
        if feed is None or (version <= feed.version and not feed.inside):
            outbox.answer(text)
        else:
            feed.acknowledgements.append((version, text))

    # -- feeds --

    def next(self, outbox: Outbox, feed: Feed) -> list[Chunk]:
        """The next slice of a feed, which goes live once it has caught up. May wait for the disk."""
        said = [] if feed.inside else self._from_tail(feed)
        if not said and (feed.inside or feed.version < self.version):
            said = [self._from_journal(feed)]
        if feed.inside:
            return said
        while feed.acknowledgements and feed.acknowledgements[0][0] <= feed.version:
            said.append(Chunk([feed.acknowledgements.popleft()[1]]))
        # Nobody publishes between this look and the end of this function.
        if feed.version >= self.version and not feed.over:
            said.extend(feed.deferred)
            self.subscribers[outbox] = None
            if not any(self.subscribers.values()):
                self._slices.clear()
        return said

    def _from_tail(self, feed: Feed) -> list[Chunk]:
        tail = self._tail
        if not tail or tail[0][0] > feed.version + 1:
            return []
        said: list[Chunk] = []
        size = 0
        for version, before, chunk in islice(tail, feed.version + 1 - tail[0][0], None):
            if size >= SLICE_BYTES:
                break
            size += chunk.size
            if version > feed.told:
                said += [chunk] if feed.replays else [Chunk(before), chunk]
            else:
                said.append(Chunk([wire.replayed(text) for text in chunk.texts]))
            feed.version = version
        return said

    def _from_journal(self, feed: Feed) -> Chunk:
        """A slice that ends where a commit does that it began inside of, or where `told` is passed."""
        begun, replay = feed.inside, feed.version < feed.told or (feed.inside and feed.version <= feed.told)
        place = (feed.version, feed.part, feed.told if replay else None, feed.replays)
        kept = self._slices.get(place)
        if kept is None:
            texts: list[bytes] = []
            version, part = feed.version, feed.part
            pieces = self._read(version, part)
            if not pieces:
                raise StorageFailed("the journal has no more of this session")
            for piece in pieces:
                record = piece.commit
                late = record.version > feed.told
                if replay and late:
                    break
                if not feed.replays and piece.part == 0 and record.target is None:
                    texts.append(wire.executing(self.session_id, record))
                for event in wire.facts(self.session_id, record, piece.facts, piece.last):
                    text = wire.event(event)
                    texts.append(text if late else wire.replayed(text))
                version, part = record.version, MAX_PART if piece.last else piece.part
                if begun and piece.last:
                    break
            kept = self._slices[place] = (Chunk(texts), version, part)
            while len(self._slices) > KEPT_SLICES:
                del self._slices[next(iter(self._slices))]
        chunk, feed.version, feed.part = kept
        return chunk


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


class Hall:
    """All channels and all outboxes: where the service's announcements become packets."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.outboxes: dict[str, Outbox] = {}  # by client_id

    def publish(self, session_id: str, announcements: list[Announcement]) -> None:
        """Tell a session's room; waits for nobody."""
        channel = self.channels.get(session_id)
        if channel is None:
            return
        channel.publish(announcements, self.outboxes)
        self._drop_unheard(channel)

    def enter(
        self, outbox: Outbox, session_id: str, version: int, since: int | None, read: ReadParts
    ) -> None:
        """The client hears the session from here, or from `since`, on. version: the published one."""
        channel = self.channels.get(session_id)
        if channel is None:
            channel = self.channels[session_id] = Channel(session_id, version, read)
        channel.subscribe(outbox, since)

    def leave(self, outbox: Outbox, session_id: str) -> None:
        channel = self.channels.get(session_id)
        if channel is not None:
            channel.unsubscribe(outbox)
            self._drop_unheard(channel)

    def acknowledge(self, outbox: Outbox, session_id: str, version: int, text: bytes) -> None:
        """Answer a commit: after its facts, where the client hears them."""
        channel = self.channels.get(session_id)
        if channel is None:
            outbox.answer(text)
        else:
            channel.acknowledge(outbox, version, text)

    def _drop_unheard(self, channel: Channel) -> None:
        if not channel.subscribers:
            self.channels.pop(channel.session_id, None)
