"""A session's room on the wire: who hears it, and how those who cannot follow live catch up.

A room's events are encoded once, as a `Chunk`, and each client's `Outbox` holds
a reference. A subscription that cannot follow live is *fed*: by joining with
`since`, by falling TALUS_OUTBOX_BYTES behind, or by a commit that is too large
for a chunk. A feed reads the journal from where the client is, a slice each
time the client has room, and goes live from the channel's tail without a gap.
Why so: docs/decisions/0006.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from time import monotonic

import gevent
from gevent.event import AsyncResult

from ..core.errors import StorageFailed
from ..core.records import Part
from ..service.announce import Announcement, Committed, Deleted, Presence, Refused
from ..service.replay import MAX_PART
from . import wire
from .outbox import SLICE_BYTES, Chunk, Outbox

CHUNK_BYTES = 1_000_000  # a larger commit is fed from the journal
CHUNK_FACTS = 2_000
TAIL_BYTES = 1_000_000  # of recent commits kept for those who catch up
DEFERRED = 10_000  # notices kept for a client that is being fed
FOLLOW_S = 1.0  # at most that a command waits for a room that cannot follow
LOOK_S = 0.005  # between two looks at how a room follows
KEPT_SLICES = 16  # of the journal, encoded, for feeds at the same place

ReadParts = Callable[[int, int], list[Part]]


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
        self._slices: dict[tuple[int, int, int | None, bool], AsyncResult] = {}
        self._behind = False
        self._looked_s = 0.0  # when that was worked out

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

    def behind(self) -> bool:
        """More of those who take what they are given are late with it than not."""
        now_s = monotonic()
        if now_s - self._looked_s > LOOK_S:
            self._looked_s = now_s
            late = sum(outbox.late(now_s) for outbox in self.subscribers)
            on_time = sum(outbox.on_time for outbox in self.subscribers) if late else 0
            self._behind = late > on_time
        return self._behind

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
        """A slice that ends where a commit does that it began inside of, or where `told` is passed.

        Read and encoded once for all who are at the same place, and for those who come there meanwhile.
        """
        replay = feed.version < feed.told or (feed.inside and feed.version <= feed.told)
        place = (feed.version, feed.part, feed.told if replay else None, feed.replays)
        kept = self._slices.get(place)
        if kept is None:
            kept = self._slices[place] = AsyncResult()
            try:
                kept.set(self._read_slice(*place))
            except BaseException as error:
                self._slices.pop(place, None)
                kept.set_exception(error)
                raise
            while len(self._slices) > KEPT_SLICES:
                del self._slices[next(iter(self._slices))]
        chunk, feed.version, feed.part = kept.get()
        return chunk

    def _read_slice(self, version: int, part: int, told: int | None, replays: bool) -> tuple[Chunk, int, int]:
        """What follows a place, and the place behind it. told: of a replay, which ends there."""
        texts: list[bytes] = []
        begun = part != MAX_PART
        pieces = self._read(version, part)
        if not pieces:
            raise StorageFailed("the journal has no more of this session")
        for piece in pieces:
            record = piece.commit
            late = told is None or record.version > told
            if late and told is not None:
                break
            if not replays and piece.part == 0 and record.target is None:
                texts.append(wire.executing(self.session_id, record))
            for event in wire.facts(self.session_id, record, piece.facts, piece.last):
                text = wire.event(event)
                texts.append(text if late else wire.replayed(text))
            version, part = record.version, MAX_PART if piece.last else piece.part
            if begun and piece.last:
                break
        return Chunk(texts), version, part


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

    def follow(self, session_id: str) -> None:
        """Wait while most of a session's room cannot follow what is committed in it; not for ever.

        The others would only fall behind further, and be fed from the journal, each from another place.
        """
        channel = self.channels.get(session_id)
        if channel is None or not channel.behind():
            return
        until_s = monotonic() + FOLLOW_S
        while channel.behind() and monotonic() < until_s:
            gevent.sleep(LOOK_S)

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
