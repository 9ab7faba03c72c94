"""When the power goes: instants of all kinds, as many of each."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import pairwise

import msgspec

from powerloss.record import Recording

NEAR = 3  # moments around the one that makes an instant interesting
KINDS = ("first start", "start", "commit", "heard", "checkpoint", "truncation", "names", "stop")
WRITING = ("commit", "heard")  # where there is something that could be lost


class Cut(msgspec.Struct, frozen=True, order=True):
    """The power goes before the moment at `place` in the recording."""

    place: int
    number: int  # of the state, which seeds its dice
    kind: str


def instants(recording: Recording) -> dict[str, list[int]]:
    """The places of each kind.

    first start, start: until the server listens. stop: from the signal on.
    commit: while the WAL is written and synced. heard: right after a client heard of a commit.
    checkpoint: while the file is written and synced. truncation: around the WAL's. names: around what
    makes and takes away names, and syncs them.
    """
    found: dict[str, set[int]] = {kind: set() for kind in KINDS}
    moments = recording.moments
    starts = [*recording.starts, len(moments)]
    for run, (begin, end) in zip(recording.notes.runs, pairwise(starts), strict=True):
        for place in range(begin, end + 1):
            at_ns = moments[min(place, end - 1)].at_ns
            if at_ns < run.ready_ns:
                found["start" if begin else "first start"].add(place)
            elif at_ns > run.stopping_ns:
                found["stop"].add(place)
    for place, moment in enumerate(moments):
        op = moment.op
        around = range(max(place - NEAR, 0), place + NEAR + 1)
        if op.kind in ("unlink", "rename") or op.creates or not op.name:
            found["names"].update(around)
        elif op.kind == "resize" and op.name.endswith("-wal"):
            found["truncation"].update(around)
        elif op.kind in ("write", "sync") and op.name.endswith("-wal"):
            found["commit"].add(place)
        elif op.kind in ("write", "sync", "resize") and op.name.endswith(".db"):
            found["checkpoint"].add(place)
    times = [moment.at_ns for moment in moments]
    found["heard"].update(bisect_left(times, at_ns) for at_ns, _, _ in recording.notes.claims.commits)
    last = len(moments)
    return {kind: sorted(place for place in places if place <= last) for kind, places in found.items()}


def choose(recording: Recording, kinds: tuple[str, ...], count: int, dice: random.Random) -> list[Cut]:
    """`count` cuts, as many of each kind, in the order in which they come; the end is always one."""
    places = {kind: of_kind for kind, of_kind in instants(recording).items() if kind in kinds and of_kind}
    names = list(places)
    chosen = [Cut(len(recording.moments), 0, "end")]
    for number in range(1, count):
        kind = names[number % len(names)]
        chosen.append(Cut(dice.choice(places[kind]), number, kind))
    return sorted(chosen)
