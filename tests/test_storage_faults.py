"""Disks that fill up, fail, lock, dawdle and lose power, under a real server."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from talus.store import mailbox, verify
from tests.support.clients import Client
from tests.support.faults import Faults, build, why_not
from tests.support.server import READY, REPOSITORY, STOP_TIMEOUT_S, Server, new_id, refusal
from tests.support.tree import FACTS

Json = dict[str, Any]

FULL, FAILED = (507, "STORAGE_FULL"), (503, "STORAGE_FAILED")
UNCERTAIN, BUSY = (503, "STORAGE_UNCERTAIN"), (503, "BUSY")
QUICK_S = 1.0  # for a read while the disk is in trouble; some wait 5 s and more where it is done wrongly
HELD_S = 0.1  # the hub, at the longest, whatever the disk does
LOCK_WAIT_S = (4.5, 7.0)  # for a database that another program holds
NOTICED_S = 5.0  # a file that was taken away or written over, although nobody asks for anything
LOG_LINES = 20  # about one trouble: a log that fills the disk makes it worse

A_PART: Json = {"blueprint_type_id": "part"}


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faults.c, compiled."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    return build(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def disk(library: Path, tmp_path: Path) -> Faults:
    """The disk of a server that is started with `disk.env()`; nothing is wrong with it yet."""
    return Faults(tmp_path, library=library)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database that a server has written and closed."""
    server = Server(tmp_path_factory.mktemp("written")).start()
    try:
        server.execute(server.new_session(), "Batch", big(20, 5_000))
        assert server.stop() == 0
    finally:
        server.kill()
    return server.database.read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MiB. Ask for it before `start_server`: the server ends first, then it goes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class Room:
    """A session with two commits; Ann sends in it and Bob listens.

    tried: the commands that were refused, command_id -> data; each is to work once the disk is well.
    unborn: sessions that were opened by joining, and whose first command was refused.
    """

    def __init__(self, server: Server, connect: Callable[..., Client]) -> None:
        self.server, self._connect = server, connect
        self.session = server.new_session()
        self.epoch = server.graph(self.session)["epoch"]
        self.ann = connect(server, "raw-websocket")
        self.bob = connect(server, "python-websocket")
        for client in (self.ann, self.bob):
            client.join(self.session)
        server.create(self.session, name="first")
        server.create(self.session, name="second")
        self.version = 2
        self.tried: dict[str, Json] = {}
        self.unborn: list[str] = []
        self.bob.wait_version(self.session, 2)

    def send(self, transport: str, command_id: str, data: Json) -> tuple[int, str] | Json:
        """`CreateNode`; its answer, or (status, code) where it is refused. A socket tells no status: 0."""
        if transport == "rest":
            response = self.server.try_execute(self.session, "CreateNode", data, command_id=command_id)
            if response.status_code != 200:
                return refusal(response)
            answer = response.json()
        else:
            answer = self.ann.execute(self.session, "CreateNode", data, command_id=command_id)
            if "error" in answer:
                assert answer.keys() == {"error"}, answer
                return 0, answer["error"]["code"]
        assert isinstance(answer, dict)
        return answer

    def check_refused(self, expected: tuple[int, str], data: Json = A_PART) -> None:
        """A command is refused so, whichever way it comes, and the room hears that it failed and no more."""
        for transport, status in (("rest", expected[0]), ("socket", 0)):
            place, command_id = len(self.bob.events), new_id()
            assert self.send(transport, command_id, data) == (status, expected[1]), transport
            self.tried[command_id] = data
            self.bob.settle()
            heard = self.bob.events[place:]
            failed = [each.payload for each in heard if each.name == "command:failed"]
            told = [(each["command_id"], each["error"]["code"], each["version"]) for each in failed]
            assert told == [(command_id, expected[1], self.version)], heard
            assert not FACTS & {each.name for each in heard}, heard

    def check_all_refused(self, expected: tuple[int, str]) -> None:
        """So are all calls that would write; what is no command is answered to its sender alone."""
        server, place = self.server, len(self.bob.events)
        listed = server.ask("/sessions")["total"]
        project = {"template_id": "restomod", "project_name": "P"}
        for response in (
            server.try_undo(self.session),
            server.post("/sessions", {"name": "new"}),
            server.post("/projects", project),
            server.delete(f"/sessions/{self.session}", force="true"),
        ):
            assert refusal(response) == expected, response.request.url
        assert self.ann.call("undo_command", {"session_id": self.session})["error"]["code"] == expected[1]
        self.unborn.append(new_id())
        assert self.ann.join(self.unborn[-1])["created"]
        assert self.ann.execute(self.unborn[-1], "CreateNode", A_PART)["error"]["code"] == expected[1]
        self.bob.settle()
        assert set(self.bob.names(place)) <= {"ack", "pong"}, self.bob.events[place:]
        assert server.ask("/sessions")["total"] == listed

    def check_reads(self, health: int = 200) -> None:
        """Everything that only reads answers at once, and shows what is committed."""
        server = self.server
        for call in (
            lambda: server.ask(f"/sessions/{self.session}/events", since=0)["version"],
            lambda: server.ask(f"/sessions/{self.session}/history")["commits"][0]["version"],
            lambda: server.ask(f"/sessions/{self.session}/info")["version"],
            lambda: server.graph(self.session)["version"],
            lambda: server.graph(self.session, 1)["version"] + self.version - 1,
            self._joined_and_replayed,
        ):
            began_s = time.monotonic()
            assert call() == self.version
            assert time.monotonic() - began_s < QUICK_S
        assert server.get("/health").status_code == health

    def _joined_and_replayed(self) -> int:
        client = self._connect(self.server, "raw-websocket")
        joined = client.join(self.session, since=0, epoch=self.epoch, timeout=QUICK_S)
        assert joined["resume"] == "replay"
        client.wait_version(self.session, self.version, timeout=QUICK_S)
        client.settle(QUICK_S)
        client.cut()
        return int(joined["version"])

    def commit(self, transport: str = "rest", data: Json = A_PART, command_id: str | None = None) -> None:
        """A command that works, once."""
        answer = self.send(transport, command_id or new_id(), data)
        assert isinstance(answer, dict), answer
        assert not answer.get("duplicate"), answer
        self.version += 1
        assert answer["version"] == self.version
        self.bob.wait_version(self.session, self.version)

    def commit_many(self, batch: Json) -> None:
        """A Batch that works."""
        self.version += 1
        assert self.server.execute(self.session, "Batch", batch)["version"] == self.version
        self.bob.wait_version(self.session, self.version)

    def check_cured(self) -> None:
        """All that was refused works now, at the first try; so does undo."""
        for at, (command_id, data) in enumerate(self.tried.items()):
            self.commit("rest" if at % 2 else "socket", data, command_id)
        self.tried.clear()
        for session in self.unborn:
            assert self.ann.execute(session, "CreateNode", A_PART)["version"] == 1
        self.commit()
        assert self.server.undo(self.session)["version"] == self.version + 1
        self.version += 1
        assert self.server.get("/health").status_code == 200

    def check_whole(self) -> None:
        """The file holds exactly what was told, also after a restart."""
        before = self.check_kept()
        assert self.server.stop() == 0
        assert not wal_of(self.server.database).exists()
        check_file(self.server.database)
        self.server.start()
        assert self.check_kept() == before

    def check_kept(self) -> Json:
        """The server shows every version that was told, and none besides; clients need not begin anew."""
        graph = self.server.check_converged(self.session)
        assert (graph["version"], graph["epoch"]) == (self.version, self.epoch)
        return graph


def check_file(database: Path) -> None:
    """SQLite finds nothing wrong, talus neither, and no session's versions have a gap."""
    assert verify.problem(database) is None
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sessions = reader.execute(
            "SELECT s.version, count(c.version), coalesce(max(c.version), 0) FROM session s"
            " LEFT JOIN commits c ON c.session_no = s.no WHERE NOT s.removed GROUP BY s.no"
        ).fetchall()
        assert sessions
        assert all(version == commits == last for version, commits, last in sessions), sessions


def check_said(server: Server, *words: str) -> None:
    """All that it ever logged, what it went about apart, is one line, with these words in it."""
    said = [line for line in server.log().splitlines() if " INFO " not in line]
    assert len(said) == 1, said
    assert all(word in said[0].lower() for word in words), said


def wal_of(database: Path) -> Path:
    return database.with_name(database.name + "-wal")


def wal_bytes(server: Server) -> int:
    wal = wal_of(server.database)
    return wal.stat().st_size if wal.exists() else 0


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)


def wait_checkpoint(server: Server) -> None:
    """Until all that was committed stands in the main file."""
    wait_for(lambda: wal_bytes(server) == 0, "a -wal with nothing in it")


def wait_rested(server: Server) -> None:
    """Until the server leaves its file alone: the contract gives it a second after the last commit."""
    threading.Event().wait(1.0)
    assert wal_bytes(server) == 0


def big(count: int, each_bytes: int) -> Json:
    """`data` of a Batch that makes so many nodes of that size."""
    data = A_PART | {"properties": {"p": "x" * each_bytes}}
    return {"commands": [{"command_type": "CreateNode", "data": data}] * count}


class Pulse:
    """While it is entered: pings all the time, and reads of a session. How long each took, in seconds."""

    def __init__(self, room: Room, connect: Callable[..., Client]) -> None:
        self._room, self._client = room, connect(room.server, "raw-websocket")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._ping, self._read)]
        self._fault: Exception | None = None
        self.pings: list[float] = []
        self.reads: list[float] = []

    def __enter__(self) -> Pulse:
        self._began_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        if self._fault is not None:
            raise self._fault

    def _ping(self) -> None:
        self._repeat(self.pings, self._client.settle, 0.005)

    def _read(self) -> None:
        room = self._room
        reads = (
            lambda: room.server.graph(room.session, 1),
            lambda: room.server.ask(f"/sessions/{room.session}/events", since=0),
            lambda: room.server.ask("/sessions"),
        )
        self._repeat(self.reads, lambda: [read() for read in reads], 0.05)

    def _repeat(self, took: list[float], call: Callable[[], Any], pause_s: float) -> None:
        try:
            while not self._over.wait(pause_s):
                began_s = time.monotonic()
                call()
                took.append(time.monotonic() - began_s)
        except Exception as fault:
            self._fault = fault

    def check(self) -> None:
        """The hub was never held, and nobody who only reads waited for the disk."""
        gaps = self._room.server.gaps(self._began_s)
        told = f"gaps {sorted(gaps)[-3:]}, pings {sorted(self.pings)[-3:]}, reads {sorted(self.reads)[-3:]}"
        assert len(self.pings) > 20, told
        assert self.reads, told
        assert max(gaps, default=0.0) < HELD_S, told
        assert sorted(self.pings)[len(self.pings) * 99 // 100] < HELD_S, told
        assert max(self.pings + self.reads) < QUICK_S, told
        print(f"\n{len(self.pings)} pings, {len(self.reads)} reads: {told}")


# -- writes that are refused --------------------------------------------------


@pytest.mark.parametrize(
    "number, expected",
    [
        (errno.ENOSPC, FULL),
        (errno.EDQUOT, FULL),  # the disk is full for this user
        (errno.EIO, FAILED),
        (errno.EROFS, FAILED),  # what Linux makes of a file system in which it found a fault
    ],
    ids=["ENOSPC", "EDQUOT", "EIO", "EROFS"],
)
def test_a_write_that_fails_is_told_and_changes_nothing(
    disk: Faults,
    start_server: Callable[..., Server],
    connect: Callable[..., Client],
    number: int,
    expected: tuple[int, str],
) -> None:
    """Given a disk that refuses writes, when calls come, then each hears the code, reads go on, and all
    works once the disk is well."""
    room = Room(start_server(env=disk.env()), connect)
    disk.set(write_errno=number)
    room.check_refused(expected)
    room.check_all_refused(expected)
    room.check_reads()
    assert disk.injected
    disk.clear()
    room.check_cured()
    room.check_whole()


def test_a_commit_that_is_cut_short_leaves_nothing(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given room for a part of a large commit, when it comes, then STORAGE_FULL; a small one still fits."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    command_id, large = new_id(), big(40, 100_000)  # more than SQLite keeps in memory until the commit
    for budget in (0, 5, 32 + 24 + 4_096 + 7, 150_000, 3_000_000):  # in the header, in a frame, far in
        wait_checkpoint(server)
        disk.set(budget=budget)
        response = server.try_execute(room.session, "Batch", large, command_id=command_id)
        assert refusal(response) == FULL
        room.check_reads()
    room.commit()  # in the space that the large one was refused
    disk.clear()
    answer = server.execute(room.session, "Batch", large, command_id=command_id)
    room.version += 1
    assert (answer["version"], answer.get("duplicate", False)) == (room.version, False)
    room.bob.wait_version(room.session, room.version)
    room.check_whole()


def test_commands_in_flight_when_the_disk_fills_up_each_hear_their_own(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given many commands in flight, when the disk fills up among them, then each is committed whole or
    STORAGE_FULL, and the room hears exactly that."""
    room = Room(start_server(env=disk.env()), connect)
    senders = [connect(room.server, "raw-websocket") for _ in range(4)]
    data = A_PART | {"properties": {"p": "x" * 3_000}}
    disk.set(budget=400_000)
    payloads = [
        {"session_id": room.session, "command_type": "CreateNode", "data": data, "command_id": new_id()}
        for _ in range(200)
    ]
    acks = [senders[at % 4].begin("execute_command", payload) for at, payload in enumerate(payloads)]
    committed: dict[str, int] = {}
    for payload, ack in zip(payloads, acks, strict=True):
        answer = ack.get()
        if "error" in answer:
            assert answer["error"]["code"] == "STORAGE_FULL", answer
            room.tried[payload["command_id"]] = data
        else:
            committed[payload["command_id"]] = answer["version"]
    assert committed, "no command fitted"
    assert room.tried, "all commands fitted"
    room.version += len(committed)
    assert sorted(committed.values()) == list(range(3, room.version + 1))
    room.bob.wait_version(room.session, room.version)
    room.bob.settle()
    failed = [each["command_id"] for each in room.bob.heard("command:failed")]
    assert sorted(failed) == sorted(room.tried)
    room.check_reads()
    disk.clear()
    room.check_cured()
    room.check_whole()


def test_a_file_that_may_not_grow_is_a_full_disk(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given a limit on the size of files, when a command would pass it, then STORAGE_FULL, and reads go
    on."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process are set on Linux only")
    server = start_server()
    room = Room(server, connect)
    wait_checkpoint(server)
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (10_000, before[1]))
    room.check_refused(FULL)
    room.check_all_refused(FULL)
    room.check_reads()
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)
    room.check_cured()
    room.check_whole()


def test_a_full_file_system_is_told_and_cured_by_making_room(
    small_disk: Path, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given a real file system that is filled up, when calls come, then STORAGE_FULL; a server that starts
    there says why it cannot; when room is made, then all works."""
    server = start_server(database=small_disk / "talus.db")
    room = Room(server, connect)
    wait_checkpoint(server)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    room.check_refused(FULL)
    room.check_all_refused(FULL)
    room.check_reads()
    other = start_server(database=small_disk / "other.db", wait=False)
    assert other.wait_ended() != 0
    check_said(other, "other.db", "full")
    filler.unlink()
    room.check_cured()
    room.check_whole()
    server.stop()  # before its file system goes


# -- an fsync that fails ------------------------------------------------------


@pytest.mark.parametrize(
    "after, end",
    [(0, "stop"), (1, "stop"), (1, "kill"), (1, "power cut")],
    ids=["header, stop", "commit, stop", "commit, kill", "commit, power cut"],
)
def test_an_fsync_that_fails_leaves_the_server_reading_until_it_is_restarted(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client], after: int, end: str
) -> None:
    """Given an fsync that fails, when commands come, then STORAGE_UNCERTAIN and reads only; after a
    restart, however it came to that, a retry tells what became of the command."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    wait_checkpoint(server)  # the next commit syncs twice: the header of a new -wal, and itself
    disk.set(fsync_errno=errno.EIO, files="wal", after=after, times=1)
    place, command_id = len(room.bob.events), new_id()
    assert room.send("rest", command_id, A_PART) == UNCERTAIN
    failed = room.bob.wait_for("command:failed", after=place)
    assert (failed["command_id"], failed["error"]["code"]) == (command_id, "STORAGE_UNCERTAIN")
    room.check_reads(health=503)
    # The disk seems well again, and is not to be believed.
    room.check_refused(UNCERTAIN)
    assert room.send("rest", command_id, A_PART) == UNCERTAIN
    room.bob.settle()
    room.check_all_refused(UNCERTAIN)
    room.check_reads(health=503)
    health = server.get("/health").json()
    assert (health["status"], type(health["reason"])) == ("failing", str), health
    assert not FACTS & set(room.bob.names(place))
    assert server.log().count("\n") < LOG_LINES, server.log()

    server.stop() if end == "stop" else server.kill()
    if end == "power cut":
        disk.power_cut(server.database)
    server.start()
    there = server.graph(room.session)["version"] == room.version + 1
    if end == "power cut":
        assert not there, "it heard of what no disk had"
    if end == "kill":
        assert there, "the whole commit had been written"
    answer = server.execute(room.session, "CreateNode", A_PART, command_id=command_id)
    room.version += 1
    assert (answer["version"], bool(answer.get("duplicate"))) == (room.version, there)
    room.bob = connect(server)
    room.bob.join(room.session)
    room.commit()
    room.check_whole()


def revoke(server: Server, _: str) -> None:
    mailbox.drop(server.database, mailbox.Wish("Eve", int(time.time())))


def purge(server: Server, session: str) -> None:
    assert server.delete(f"/sessions/{session}").status_code == 204


@pytest.mark.parametrize("work, after", [(revoke, 1), (purge, 2)], ids=["revocation", "purge"])
def test_an_fsync_that_fails_beside_the_commands_counts_as_well(
    disk: Faults,
    start_server: Callable[..., Server],
    connect: Callable[..., Client],
    work: Callable[[Server, str], None],
    after: int,
) -> None:
    """Given an fsync that fails under a write that no command asked for, when commands come, then
    STORAGE_UNCERTAIN, and health says so."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    doomed = server.new_session()
    server.create(doomed)
    wait_checkpoint(server)
    # Those before it are of the header of a new -wal, and of what removes the session.
    disk.set(fsync_errno=errno.EIO, files="wal", after=after, times=1)
    work(server, doomed)
    wait_for(lambda: disk.injected, "the fsync")
    wait_for(lambda: server.get("/health").status_code == 503, "health that says it")
    assert room.send("rest", new_id(), A_PART) == UNCERTAIN
    room.check_reads(health=503)
    server.kill()
    server.start()
    room.bob = connect(server)
    room.bob.join(room.session)
    room.commit()
    room.check_whole()


# -- a power cut --------------------------------------------------------------


def test_what_was_acknowledged_survives_a_power_cut(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given acknowledged commands and one whose fsync is under way, when the power goes, then the
    acknowledged ones are there, and that one is whole or not there."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    lost = 0
    for _ in range(3):
        for _ in range(5):
            room.commit("socket")
        disk.set(fsync_delay_ms=60_000, files="wal")
        command_id = new_id()
        payload = {"session_id": room.session, "command_type": "CreateNode", "data": A_PART}
        room.ann.begin("execute_command", payload | {"command_id": command_id})
        wait_for(lambda: disk.injected, "the fsync of the commit")
        server.kill()
        lost += disk.power_cut(server.database)
        disk.clear()
        server.start()
        room.check_kept()
        room.ann, room.bob = connect(server, "raw-websocket"), connect(server)
        for client in (room.ann, room.bob):
            client.join(room.session)
        room.commit(command_id=command_id)
    assert lost, "the cut took nothing"
    room.check_whole()


def test_what_anyone_was_shown_survives_a_power_cut(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given a server killed before a commit was synced, when the next one shows that commit and then the
    power goes, then it is there all the same."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    wait_checkpoint(server)
    room.commit()  # the header of the new -wal is synced, and the next fsync is the command's own
    disk.set(fsync_delay_ms=60_000, files="wal")
    payload = {"session_id": room.session, "command_type": "CreateNode", "data": A_PART}
    room.ann.begin("execute_command", payload)
    wait_for(lambda: disk.injected, "the fsync of the commit")
    server.kill()
    disk.clear()
    server.start()
    shown = server.graph(room.session)
    server.kill()
    disk.power_cut(server.database)
    server.start()
    assert server.graph(room.session)["version"] >= shown["version"], "what was shown is gone"
    server.check_converged(room.session)


# -- a checkpoint that fails --------------------------------------------------


@pytest.mark.parametrize(
    "fault, end",
    [
        ({"write_errno": errno.EIO}, "stop"),
        ({"write_errno": errno.EIO, "after": 3}, "power cut"),
        ({"budget": 0}, "stop"),
        ({"budget": 0}, "power cut"),
    ],
    ids=["failing, stop", "failing half-way, power cut", "full, stop", "full, power cut"],
)
def test_a_checkpoint_that_fails_loses_nothing(
    disk: Faults,
    start_server: Callable[..., Server],
    connect: Callable[..., Client],
    fault: dict[str, int],
    end: str,
) -> None:
    """Given a main file that takes no more, when commits come, then they are kept in the -wal, whatever
    ends the server, and the main file has them once the disk is well."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    room.commit_many(big(20, 5_000))
    disk.set(files="main", **fault)
    room.commit_many(big(20, 5_000))
    wait_for(lambda: disk.injected >= 2, "two checkpoints that failed")
    room.commit()
    room.commit("socket")
    room.check_reads()
    injected = disk.injected
    wait_for(lambda: disk.injected > injected, "another one")
    server.stop() if end == "stop" else server.kill()
    if end == "power cut":
        disk.power_cut(server.database)
    disk.clear()
    server.start()
    room.check_kept()
    room.bob = connect(server)
    room.bob.join(room.session)
    room.commit()
    wait_checkpoint(server)
    check_file(server.database)
    room.check_whole()


def test_a_checkpoint_that_keeps_failing_does_not_fill_the_log(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given a main file that takes no more, when the server rests for 2 s, then it tries and says so a few
    times only, and has not given up when the disk is well."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    disk.set(files="main", write_errno=errno.EIO)
    room.commit()
    wait_for(lambda: disk.injected, "a checkpoint that failed")
    threading.Event().wait(2.0)  # the two seconds
    logged, tried = server.log().splitlines(), disk.injected
    assert 1 <= len(logged) < LOG_LINES, (len(logged), logged[-1])
    assert tried < LOG_LINES
    disk.clear()
    wait_checkpoint(server)
    room.commit()
    room.check_whole()


@pytest.mark.parametrize(
    "files, after, end", [("wal", 2, "stop"), ("main", 0, "power cut")], ids=["first", "last"]
)
def test_an_fsync_that_fails_in_a_checkpoint_loses_nothing(
    disk: Faults,
    start_server: Callable[..., Server],
    connect: Callable[..., Client],
    files: str,
    after: int,
    end: str,
) -> None:
    """Given a commit, when it cannot be synced once more on its way into the main file, then the server
    reads only, as after any fsync that fails, and a restart has everything."""
    server = start_server(env=disk.env())
    room = Room(server, connect)
    wait_checkpoint(server)
    # Of the -wal, the first is for the header of a new one, and the second makes the commit durable.
    disk.set(fsync_errno=errno.EIO, files=files, after=after, times=1)
    room.commit()
    wait_for(lambda: disk.injected, "the fsync of a checkpoint")
    wait_for(lambda: server.get("/health").status_code == 503, "health that says it")
    assert room.send("rest", new_id(), A_PART) == UNCERTAIN
    room.check_reads(health=503)
    server.stop() if end == "stop" else server.kill()
    if end == "power cut":
        disk.power_cut(server.database)
    server.start()
    room.check_kept()
    room.bob = connect(server)
    room.bob.join(room.session)
    room.commit()
    room.check_whole()


# -- a database that another program holds ------------------------------------


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program is in the middle of a transaction that writes."""
    program = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "other.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == b"locked\n"
        yield
    finally:
        other.communicate(timeout=10)


def test_a_lock_is_waited_out_or_told_to_the_sender_alone(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given another program that holds the database, when it lets go in time, then the command commits,
    else its sender alone hears BUSY; reads and pings never wait."""
    server = start_server(watched=True)
    room = Room(server, connect)
    with Pulse(room, connect) as pulse:
        with locked(server.database):
            ack = room.ann.begin(
                "execute_command",
                {"session_id": room.session, "command_type": "CreateNode", "data": A_PART},
            )
            room.check_reads()
            threading.Event().wait(2.0)  # the time for which it holds the lock
            assert not ack.came
        assert ack.get()["version"] == room.version + 1
        room.version += 1
        room.bob.wait_version(room.session, room.version)

        place, command_id = len(room.bob.events), new_id()
        with locked(server.database):
            began_s = time.monotonic()
            assert room.send("rest", command_id, A_PART) == BUSY
            assert LOCK_WAIT_S[0] < time.monotonic() - began_s < LOCK_WAIT_S[1]
            room.bob.settle()
            room.check_reads()
        assert {"command:failed", *FACTS}.isdisjoint(room.bob.names(place)), room.bob.events[place:]
    pulse.check()
    room.tried[command_id] = A_PART
    room.check_cured()
    room.check_whole()


# -- a disk that is slow ------------------------------------------------------


def test_a_slow_disk_slows_nobody_but_those_who_write(
    disk: Faults, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given an fsync of 300 ms, when many write at once, then they share it, and the others do not
    notice."""
    server = start_server(env=disk.env(), watched=True)
    room = Room(server, connect)
    senders = [connect(server, "raw-websocket") for _ in range(5)]
    payload = {"session_id": room.session, "command_type": "CreateNode", "data": A_PART}
    disk.set(fsync_delay_ms=300)
    began_s = time.monotonic()
    with Pulse(room, connect) as pulse:
        acks = [sender.begin("execute_command", payload) for sender in senders for _ in range(20)]
        versions = sorted(ack.get()["version"] for ack in acks)
        took_s = time.monotonic() - began_s
        room.version += len(acks)
        room.commit()
        room.check_reads()
    assert versions == list(range(3, 103))
    assert 0.3 < took_s < 5.0, "a hundred commands, one after the other, would take 30 s"
    assert disk.injected
    pulse.check()
    disk.clear()
    room.check_whole()


# -- a file system that may not be written ------------------------------------


def test_a_server_does_not_start_where_it_may_not_write(
    small_disk: Path, start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given a read-only file system, when a server starts there, then it ends, not 0, and says so."""
    server = start_server(database=small_disk / "talus.db")
    room = Room(server, connect)
    graph = server.graph(room.session)
    server.stop()
    content = server.database.read_bytes()
    for name in ("talus.db", "new.db"):
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        refused = start_server(database=small_disk / name, wait=False)
        assert refused.wait_ended() != 0
        check_said(refused, name, "read-only")
    assert server.database.read_bytes() == content
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    server.start()
    assert server.graph(room.session) == graph
    server.stop()


# -- a file that is no longer what the server left there -----------------------


def check_read_only(room: Room, place: int) -> None:
    """Health and the log say so, no command is taken any more, and none is heard after `place`."""
    server = room.server
    wait_for(lambda: server.get("/health").status_code == 503, "health that says it", NOTICED_S)
    health = server.get("/health").json()
    assert health["status"] == "failing", health
    assert health["reason"] in server.log(), server.log()
    assert server.log().count("\n") < LOG_LINES, server.log()
    for transport, status in (("rest", 503), ("socket", 0)):
        assert room.send(transport, new_id(), A_PART) == (status, "STORAGE_FAILED")
    room.bob.settle()
    assert not FACTS & set(room.bob.names(place))
    assert server.graph(room.session)["version"] == room.version


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by name, but for SQLite's shared memory, which whoever reads may leave."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


@pytest.mark.parametrize("how", ["moved", "replaced", "deleted"])
def test_a_database_that_is_taken_away_is_noticed(
    written: bytes,
    start_server: Callable[..., Server],
    connect: Callable[..., Client],
    tmp_path: Path,
    how: str,
) -> None:
    """Given a running server, when its file is moved, replaced or deleted, then it reads only and says so,
    and what is at its place now is left as it is."""
    server = start_server()
    room = Room(server, connect)
    wait_rested(server)
    place, aside = len(room.bob.events), tmp_path / "aside.db"
    if how == "deleted":
        server.database.unlink()
    else:
        server.database.rename(aside)
    if how == "replaced":
        server.database.write_bytes(written)
    check_read_only(room, place)
    room.check_all_refused(FAILED)
    room.check_reads(health=503)
    server.stop()
    if how == "deleted":
        assert not server.database.exists()
        server.start()
        assert server.ask("/sessions")["sessions"] == []
        assert server.graph(server.new_session())["epoch"] != room.epoch
        return
    if how == "replaced":
        assert server.database.read_bytes() == written
    check_file(aside)
    aside.rename(server.database)
    server.start()
    room.check_kept()
    room.bob = connect(server)
    room.bob.join(room.session)
    room.commit()
    room.check_whole()


def write_over(database: Path) -> None:
    """Garbage in all pages but the first, which says what the file is."""
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(7).randbytes(size - 4096))


@pytest.mark.parametrize("first", ["read", "command"])
def test_a_database_that_is_written_over_is_noticed_by_the_first_who_meets_it(
    start_server: Callable[..., Server], connect: Callable[..., Client], first: str
) -> None:
    """Given a running server, when something else writes garbage over its file, then the first call that
    needs it is refused, nothing is written any more, and the server does not start on that file again."""
    server = start_server()
    room = Room(server, connect)
    room.commit_many(big(40, 100_000))  # more than SQLite keeps in memory
    wait_rested(server)
    place = len(room.bob.events)
    write_over(server.database)
    if first == "read":
        assert refusal(server.get(f"/sessions/{room.session}/events", since=0)) == FAILED
    else:
        assert room.send("rest", new_id(), A_PART) == FAILED
    check_read_only(room, place)
    server.stop()
    left, logged = server.database.read_bytes(), server.log()
    server.start(wait=False)
    assert server.wait_ended() != 0
    said = server.log().removeprefix(logged)
    assert said.count("\n") == 1, said
    assert server.database.name in said, said
    assert "talus restore" in said, said
    assert server.database.read_bytes() == left


def test_a_database_that_is_written_over_is_noticed_although_nobody_asks(
    start_server: Callable[..., Server], connect: Callable[..., Client]
) -> None:
    """Given a running server that rests, when something else writes garbage over its file, then health and
    the log say so, and nothing is written any more."""
    server = start_server()
    room = Room(server, connect)
    wait_rested(server)
    place = len(room.bob.events)
    write_over(server.database)
    content = server.database.read_bytes()
    check_read_only(room, place)
    server.stop()
    assert server.database.read_bytes() == content


# -- files on which a server does not start ------------------------------------


def newer(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 1000")


def of_another_program(database: Path) -> None:
    database.unlink()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")


def no_database(database: Path) -> None:
    database.write_bytes(random.Random(7).randbytes(50_000))


def cut_short(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def garbage_in_a_page(database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(database.stat().st_size // 4096 // 2 * 4096)
        file.write(random.Random(7).randbytes(4096))


def a_log_of_another(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database.with_name("other"))) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("CREATE TABLE recipe (name TEXT)")
        shutil.copyfile(database.with_name("other-wal"), wal_of(database))


def a_log_alone(database: Path) -> None:
    a_log_of_another(database)
    database.unlink()


@pytest.mark.parametrize(
    "spoil, words",
    [
        (newer, ["newer"]),
        (of_another_program, ["not a talus database"]),
        (no_database, ["talus restore"]),
        (cut_short, ["talus restore"]),
        (garbage_in_a_page, ["talus restore"]),
        (a_log_of_another, ["talus.db-wal"]),
        (a_log_alone, ["talus.db-wal"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_is_not_as_it_should_be_is_left_as_it_is(
    written: bytes,
    start_server: Callable[..., Server],
    tmp_path: Path,
    spoil: Callable[[Path], None],
    words: list[str],
) -> None:
    """Given a file that is newer, foreign, damaged or beside a strange -wal, when a server starts on it, then
    it ends, not 0, with a line that says why, and nothing was written."""
    database = tmp_path / "talus.db"
    database.write_bytes(written)
    spoil(database)
    before = contents(tmp_path)
    refused = start_server(database=database, wait=False)
    assert refused.wait_ended() != 0
    check_said(refused, "talus.db", *words)
    assert contents(tmp_path) == before


def test_a_second_server_on_the_file_says_who_has_it(start_server: Callable[..., Server]) -> None:
    """Given a running server, when another one starts on its file, by whatever name, then it ends, not 0,
    and names the first, which goes on; after a kill the file is free."""
    server = start_server()
    session = server.new_session()
    link = server.folder / "link.db"
    link.symlink_to(server.database)
    for path in (server.database, link):
        second = start_server(database=path, wait=False)
        assert second.wait_ended() != 0
        check_said(second, "another talus", str(server.pid), server.url)
    server.create(session)
    server.kill()
    heir = start_server(database=link)
    assert heir.graph(session)["version"] == 1
    heir.create(session)


def test_a_network_share_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Given a database on a network share, when a server starts on it, then it ends, not 0, and names the
    setting with which it does start."""
    line = f"99 1 0:99 / {tmp_path} rw - nfs4 files:/export rw\n"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(Path("/proc/self/mountinfo").read_text() + line)
    database = tmp_path / "talus.db"
    # Seen by this process alone: the kernel tells of a share where there is none.
    seen = f"mount --bind '{mounts}' /proc/$$/mountinfo && exec \"$@\""
    program = ["unshare", "--mount", "sh", "-c", seen, "sh"]
    if subprocess.run([*program, "true"], capture_output=True).returncode:
        pytest.skip("mounting a file is not permitted here")
    serve = [*program, sys.executable, "-m", "talus", "serve", "--port", "0", "--database", str(database)]
    refused = subprocess.run(serve, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert refused.returncode != 0
    assert refused.stderr.count("\n") == 1, refused.stderr
    for word in ("talus.db", "network share", "nfs4", "TALUS_NETWORK_DISK=1"):
        assert word in refused.stderr, refused.stderr
    assert contents(tmp_path).keys() == {"mountinfo"}
    asked = os.environ | {"TALUS_NETWORK_DISK": "1"}
    with subprocess.Popen(serve, cwd=REPOSITORY, env=asked, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert READY.search(process.stdout.readline().decode())
        finally:
            process.terminate()
        assert process.wait(STOP_TIMEOUT_S) == 0
