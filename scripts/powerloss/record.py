"""A recording: talus at work under strace, through several starts and stops, and what its clients heard.

Why a check of it is right. Let the power go between two moments of the trace, and
let t be when strace noted the later one. strace notes a call before it lets it begin, so
whatever a client had heard by a time before t, by the same clock, was told to it while
the disk had been through no more than the moments before: they are what it must
be found on. And strace notes that a call returned before it lets the program go on, so a sync that
talus relied on for what it told has its end among them. What was
heard at t or later is asked for by no check, and what was asked for by a client at t or later
cannot be on the disk. A clock that is put back would break this, and is noticed.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from powerloss import trace
from powerloss.disk import Disk, NotModelled
from powerloss.load import Claims, Load
from powerloss.trace import Moment
from tests.support.server import Server

NOTES = "notes.json"
STEP_S = 120.0  # that a step of the recording may take
LOOK_S = 0.002


class Run(msgspec.Struct):
    """From a start of the server to its end; times as in `Claims`."""

    trace: str
    ready_ns: int = 0
    stopping_ns: int = 0
    found: dict[str, str] = {}  # SHA-256 of each file, by name, as it was left


class Notes(msgspec.Struct):
    disk: str  # the folder that the database is in
    claims: Claims
    runs: list[Run] = []


class Recording(msgspec.Struct):
    notes: Notes
    moments: list[Moment]
    starts: list[int]  # the place in `moments` of each run


class Traced(Server):
    """A server under strace, which runs a module in talus's place."""

    def __init__(self, folder: Path, module: str) -> None:
        (folder / "disk").mkdir()
        super().__init__(folder, database=folder / "disk" / "talus.db")
        self._module = module

    def run(self, notes: Notes) -> Run:
        """Start. What it does is noted in a trace of its own."""
        run = Run(f"trace-{len(notes.runs) + 1}")
        notes.runs.append(run)
        self._program = ["scripts.powerloss.traced", str(self.folder / run.trace), self._module]
        self.start()
        run.ready_ns = time.time_ns()
        return run

    def end(self, run: Run, how: Callable[[], object]) -> None:
        run.stopping_ns = time.time_ns()
        how()
        self._reader.join(STEP_S)  # strace has the same stdout: its end is the end of the trace
        if self._reader.is_alive():
            raise AssertionError("strace does not end")
        run.found = {name: digest(path.read_bytes()) for name, path in files(self.database.parent).items()}

    @property
    def wal_bytes(self) -> int:
        return self.database.with_name(self.database.name + "-wal").stat().st_size


def files(folder: Path) -> dict[str, Path]:
    found = (path for path in folder.iterdir() if path.is_file() and not path.name.endswith(trace.MEMORY))
    return {path.name: path for path in found}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + STEP_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {STEP_S} s")
        time.sleep(LOOK_S)


class Script:
    """What is recorded: work, rest, work past the size at which the WAL is cut, stops of all kinds."""

    def __init__(self, server: Traced, load: Load, commands: int) -> None:
        """commands: that each stretch of work has at least."""
        self._server, self._load, self._commands = server, load, commands

    def work(self) -> None:
        wanted = len(self._load.claims.asked) + self._commands
        until(lambda: len(self._load.claims.asked) > wanted, "work")

    def work_past_a_checkpoint(self) -> None:
        """Until the WAL was cut although nobody rested."""
        most = 0

        def cut() -> bool:
            nonlocal most
            now = self._server.wal_bytes
            most = max(most, now)
            return now < most

        until(cut, "a checkpoint under load")
        self.work()

    def rest(self) -> None:
        until(lambda: self._server.wal_bytes == 0, "a checkpoint at rest")

    def run(self, notes: Notes) -> None:
        server, writing = self._server, self._load.writing
        run = server.run(notes)
        with writing(server):
            self.work()
        self.rest()
        with writing(server):
            self.work_past_a_checkpoint()
            server.end(run, server.stop)
        run = server.run(notes)
        with writing(server):
            self.work()
        self.rest()
        with writing(server):
            self.work()
            server.end(run, server.kill)
        run = server.run(notes)
        with writing(server):
            self.work()
        self.rest()
        server.end(run, server.stop)


def record(folder: Path, module: str, commands: int, dice: random.Random) -> None:
    """Make a recording in a folder; `read` gives it."""
    server = Traced(folder, module)
    notes = Notes(str(server.database.parent), Claims())
    try:
        Script(server, Load(notes.claims, dice), commands).run(notes)
    finally:
        if server.process is not None and server.running:
            server.kill()
    (folder / NOTES).write_bytes(msgspec.json.encode(notes))


def read(folder: Path) -> Recording:
    """A recording, once it was seen that it is whole: done again, it leaves the files that talus left.

    Raises NotModelled where it does not, or cannot be followed.
    """
    notes = msgspec.json.decode((folder / NOTES).read_bytes(), type=Notes)
    recording = Recording(notes, [], [])
    disk = Disk()
    for run in notes.runs:
        recording.starts.append(len(recording.moments))
        moments, cut_off = trace.read(folder / run.trace, Path(notes.disk))
        for moment in moments:
            disk.apply(moment.op, moment.ended)
        # What was under way when the program was killed was done, or it was not: the files tell.
        for op in cut_off:
            if not same(disk, run.found, op.name):
                last_ns = moments[-1].at_ns
                moments += [Moment(last_ns, op, False), Moment(last_ns, op, True)]
                disk.apply(op, False)
                disk.apply(op, True)
        if not all(same(disk, run.found, name) for name in disk.files.keys() | run.found.keys()):
            raise NotModelled(f"{run.trace}: done again, it leaves other files than were found")
        recording.moments += moments
    return recording


def same(disk: Disk, found: dict[str, str], name: str) -> bool:
    """A file is there, or not, and has in it what was found."""
    file = disk.files.get(name)
    return (digest(file.content) if file else None) == found.get(name)
