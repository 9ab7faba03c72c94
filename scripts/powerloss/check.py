"""What the next start makes of a folder that the power left behind, and whether anything is missing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import sqlite3
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from math import inf
from pathlib import Path

import msgspec

from powerloss.cuts import Cut
from powerloss.disk import Disk
from powerloss.pragmas import synchronous
from powerloss.record import Recording
from talus.store import verify
from talus.store.journal import Journal

DATABASE = "talus.db"
READ_THROUGH = 20  # one state of so many is verified down to the last row
KEPT = 3  # wrong states that each process keeps for a look


class State(msgspec.Struct):
    """What was found after one power cut, in lines that say what is wrong."""

    cut: Cut
    lost: list[str] = []  # acknowledged or heard, and not there
    damage: list[str] = []  # anything else
    new_epoch: bool = False  # no loss, but clients that knew the old one fetch the graph anew


class Expected:
    """What clients know of, each with the time by which the first of them knew."""

    def __init__(self, recording: Recording) -> None:
        claims = recording.notes.claims
        self.epoch, self.asked = claims.epoch, claims.asked
        self.names, self.ending = claims.names, claims.ending
        self.commits: dict[str, tuple[int, int]] = {}  # by command_id: time, version
        for at_ns, command_id, version in sorted(claims.commits):
            if self.commits.setdefault(command_id, (at_ns, version))[1] != version:
                raise AssertionError(f"command {command_id} was told as version {version} and as another")
        self.made = {session_id: at_ns for at_ns, session_id in sorted(claims.made, reverse=True)}
        self.ended = {session_id: at_ns for at_ns, session_id in sorted(claims.ended, reverse=True)}


def check(folder: Path, expected: Expected, cut: Cut, until_ns: float) -> State:
    """Start talus's journal in the folder, stop it, and read what is there.

    until_ns: what was heard before has to be there; what was asked for then or later must not.
    """
    state = State(cut)
    path = folder / DATABASE
    try:
        journal = Journal(path)
        known = any(heard_ns < until_ns for heard_ns in expected.made.values())
        state.new_epoch = known and journal.epoch != expected.epoch
        journal.close()
        with closing(sqlite3.connect(path)) as connection:
            (whole,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if whole != "ok":
                state.damage.append(f"SQLite: {whole}")
            _compare(connection, expected, until_ns, state)
        if cut.number % READ_THROUGH == 0 and (problem := verify.problem(path)):
            state.damage.append(problem)
    except Exception as error:  # whatever it is: the server would not start, or nobody could read the file
        state.damage.append(repr(error))
    return state


def _compare(connection: sqlite3.Connection, expected: Expected, until_ns: float, state: State) -> None:
    sessions = {
        session_id: (name, version, bool(removed))
        for session_id, name, version, removed in connection.execute(
            "SELECT id, name, version, removed FROM session"
        )
    }
    versions: dict[str, list[int]] = {session_id: [] for session_id in sessions}
    commits: dict[str, tuple[str, int]] = {}
    for session_id, command_id, version in connection.execute(
        "SELECT s.id, c.command_id, c.version FROM commits c JOIN session s ON s.no = c.session_no"
        " WHERE NOT s.removed ORDER BY c.session_no, c.version"
    ):
        versions[session_id].append(version)
        commits[command_id] = session_id, version
        asked_ns, where = expected.asked.get(command_id, (inf, ""))
        if asked_ns >= until_ns or where != session_id:
            state.damage.append(
                f"command {command_id} in {session_id}: nobody asked for it, or it was refused"
            )
    for session_id, (name, version, removed) in sessions.items():
        if removed:
            if expected.ending.get(session_id, inf) >= until_ns:
                state.damage.append(f"session {session_id} is gone, and nobody deleted it")
            continue
        if expected.names.get(name, inf) >= until_ns:
            state.damage.append(f"session {session_id}: nobody asked for it")
        if versions[session_id] != list(range(1, version + 1)):
            state.damage.append(f"session {session_id} at {version} has versions {versions[session_id]}")
    gone = {session_id for session_id, (_, _, removed) in sessions.items() if removed}
    for command_id, (heard_ns, version) in expected.commits.items():
        if heard_ns < until_ns:
            _, where = expected.asked.get(command_id, (inf, ""))
            if where not in gone and commits.get(command_id) != (where, version):
                state.lost.append(f"version {version} of {where}, command {command_id}")
    for session_id, heard_ns in expected.made.items():
        if heard_ns < until_ns and session_id not in sessions:
            state.lost.append(f"session {session_id}")
    for session_id, heard_ns in expected.ended.items():
        if heard_ns < until_ns and session_id not in gone:
            state.lost.append(f"the end of session {session_id}")


def judge(recording: Recording, cuts: list[Cut], seed: str, kept: Path) -> list[State]:
    """The state of each cut. Folders of some that are wrong are left in `kept`, as the power left them."""
    workers = min(os.cpu_count() or 1, 4)
    # Forked, so that all have the recording without a copy.
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), _begin, (recording, seed, kept)
    ) as pool:
        shares = pool.map(_judge, [cuts[share::workers] for share in range(workers)])
        return sorted((state for share in shares for state in share), key=lambda state: state.cut)


def _begin(recording: Recording, seed: str, kept: Path) -> None:
    global _shared
    _shared = recording, seed, kept
    synchronous("off")  # no power is cut while a state is looked at


def _judge(cuts: list[Cut]) -> list[State]:
    """Walk along the recording once, and look at the disk at each cut."""
    recording, seed, kept = _shared
    expected = Expected(recording)
    disk = Disk()
    states: list[State] = []
    place = wrong = 0
    for cut in cuts:
        for moment in recording.moments[place : cut.place]:
            disk.apply(moment.op, moment.ended)
        place = cut.place
        dice = random.Random(f"{seed} {cut.number}")
        files = disk.after_power_cut(dice)
        until_ns = recording.moments[place].at_ns if place < len(recording.moments) else inf
        with tempfile.TemporaryDirectory(prefix="talus-powerloss-") as name:
            _write(Path(name), files)
            _stand_in(Path(name), dice)
            state = check(Path(name), expected, cut, until_ns)
        if state.lost or state.damage:
            wrong += 1
            if wrong <= KEPT:
                _write(kept / f"state-{cut.number}", files)
        states.append(state)
    return states


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _stand_in(folder: Path, dice: random.Random) -> None:
    """Let the database pass for the file that its mark speaks of, which a power cut does not replace.

    The mark names an inode and a time of change. That time may be a later one, for
    a sync of what is in a file need not cover it.
    """
    for path in folder.glob("*-mark"):
        with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError, FileNotFoundError):
            mark = msgspec.json.decode(path.read_bytes())
            database = folder / DATABASE
            if mark["inode"]:
                mark["inode"] = database.stat().st_ino
                path.write_bytes(msgspec.json.encode(mark))
                if dice.random() < 0.5:
                    os.utime(database, ns=(mark["mtime_ns"], mark["mtime_ns"]))


_shared: tuple[Recording, str, Path]
