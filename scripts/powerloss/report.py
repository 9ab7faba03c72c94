"""What was recorded and found, in words."""

from __future__ import annotations

from powerloss.check import State
from powerloss.record import Recording

PROVEN = 1 / 3  # of the states with NORMAL have to show a loss


def about(recording: Recording) -> str:
    """The size of a recording."""
    ops = [moment.op for moment in recording.moments if moment.ended]
    written = sum(len(op.data) for op in ops)
    syncs = sum(op.kind == "sync" for op in ops)
    cut = sum(op.kind == "resize" and op.name.endswith("-wal") for op in ops)
    claims = recording.notes.claims
    heard = len({command_id for _, command_id, _ in claims.commits})
    deleted = len({session_id for _, session_id in claims.ended})
    return (
        f"{len(recording.starts)} starts, {len(ops):,} calls, {written / 1e6:.1f} MB written,"
        f" {syncs:,} syncs, the WAL cut {cut} times; clients heard of {heard:,} commits,"
        f" and of {len(claims.made)} sessions of which {deleted} were deleted"
    )


def figures(states: list[State]) -> list[str]:
    """How many were looked at, and what became of them, by the kind of instant."""
    instants = len({state.cut.place for state in states})
    new_epochs = sum(state.new_epoch for state in states)
    lines = [
        f"{len(states):,} states at {instants:,} instants: {_counts(states)}; {new_epochs:,} took a new epoch"
    ]
    for kind in sorted({state.cut.kind for state in states}):
        of_kind = [state for state in states if state.cut.kind == kind]
        lines.append(f"  {kind:11} {len(of_kind):5,} states: {_counts(of_kind)}")
    return lines


def _counts(states: list[State]) -> str:
    lost = sum(bool(state.lost) for state in states)
    damaged = sum(bool(state.damage) for state in states)
    return f"{lost:,} lost something, {damaged:,} damaged"


def wrong(level: str, states: list[State]) -> list[str]:
    """What speaks against talus, or against this proof: like things once, with the first state of each."""
    alike: dict[str, list[State]] = {}
    for state in states:
        if state.damage:
            alike.setdefault(state.damage[0], []).append(state)
        if state.lost and level == "FULL":
            alike.setdefault("lost", []).append(state)
    found = []
    for line, those in alike.items():
        first = those[0]
        lost = f" {len(first.lost)}, the first: {first.lost[0]}" if line == "lost" else ""
        where = f"state {first.cut.number} ({first.cut.kind})"
        found.append(f"{level}: {len(those)} states, such as {where}: {line}{lost}")
    losing = sum(bool(state.lost) for state in states)
    if level == "NORMAL" and losing < PROVEN * len(states):
        found.append(f"{level}: only {losing} of {len(states)} states lost something: this proves nothing")
    return found
