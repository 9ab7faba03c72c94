"""Copies of a database and the way back: by `cp`, by command, over REST and by the server itself.

TALUS_COPIES=N    how often a server that rests is copied by hand (default 5)
TALUS_BACKUPS=N   how many backups are taken of a busy one (default 4)
TALUS_SEED=7      the dice of another run; the seed is printed
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from talus.store import backup
from talus.store.files import mark_of, wal_of
from talus.store.verify import problem
from tests.support.clients import Client, open_client
from tests.support.faults import Faults, why_not
from tests.support.follower import Follower
from tests.support.server import Server, new_id, refusal
from tests.support.tokens import as_user, guarded, jwt_settings, talus, token, with_token

Json = dict[str, Any]
Commits = dict[str, dict[str, int]]  # by session id: command id -> version

COPIES = int(os.environ.get("TALUS_COPIES") or 5)
BACKUPS = int(os.environ.get("TALUS_BACKUPS") or 4)
REST_S = 1.0  # the contract: so long after the last commit the file alone is whole
NOTICED_S = 1.0  # by a writer, at the longest, while a backup is taken
RENEWED_S = 10.0  # with TALUS_SNAPSHOT_S=1, on a slow machine
WATCHED_S = 3.0  # of these: nothing may happen to the copy while nobody writes
SCHEMAS = sorted((Path(__file__).parent / "store" / "schemas").glob("*.sql"))
ASIDE = re.compile(r"; the one before is (.+)\n")
ODD_NAME = "Sicherung für Zoë — 100 % & #1?.db"

# refusals that dice lead to
REFUSED = {"NODE_NOT_FOUND", "NOTHING_TO_UNDO", "NOTHING_TO_REDO"}


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("TALUS_SEED") or random.SystemRandom().randrange(10**9))
    print(f"\nbackups: TALUS_SEED={seed}")
    return random.Random(seed)


def wait_for(condition: Callable[[], Any], what: str, timeout: float = RENEWED_S) -> Any:
    """What the condition says, once that is true."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.005)
    return found


def done(*arguments: str | Path, **settings: Any) -> str:
    """What `talus` prints when it does what it is asked."""
    ended = talus(*map(str, arguments), timeout=60, **settings)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended.stdout


def refused(*arguments: str | Path, **settings: Any) -> str:
    """The one line in which `talus` says why it does not."""
    ended = talus(*map(str, arguments), timeout=60, **settings)
    assert ended.returncode > 0, ended
    assert ended.stdout == "", ended
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("talus: "), lines
    return lines[0]


def everything_beside(database: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of each file in the folder; of the shared memory of SQLite only that it is there."""
    return {
        each.name: (each.read_bytes(), each.stat().st_mtime_ns)
        if each.is_file() and not each.name.endswith("-shm")
        else (b"", 0)
        for each in database.parent.iterdir()
    }


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def commits_in(path: Path) -> Commits:
    """What a file holds, as any SQLite reads it; deleted sessions are left out."""
    found: Commits = {}
    with closing(sqlite3.connect(path)) as file:
        for session_id, command_id, version in file.execute(
            "SELECT s.id, c.command_id, c.version FROM session s"
            " LEFT JOIN commits c ON c.session_no = s.no WHERE s.removed = 0"
        ):
            commits = found.setdefault(session_id, {})
            if command_id is not None:
                commits[command_id] = version
    return found


class Team:
    """Works in several sessions as the dice fall.

    commits: all that was acknowledged. deleted: sessions.
    """

    def __init__(self, server: Server, dice: random.Random, sessions: int = 3) -> None:
        self.server, self.dice = server, dice
        self.commits: Commits = {}
        self.deleted: list[str] = []
        self.acknowledged_s = 0.0  # when that last happened, on the monotonic clock
        self._nodes: dict[str, list[str]] = {}
        for _ in range(sessions):
            self.open()

    def open(self) -> str:
        session = self.server.new_session(name="one of the team's")
        self.commits[session], self._nodes[session] = {}, []
        return session

    def create(self, session: str, **data: Any) -> str:
        answer = self._send(session, "CreateNode", {"blueprint_type_id": "part", **data})
        assert answer is not None
        return str(answer["node_id"])

    def burst(self, count: int) -> None:
        for _ in range(count):
            session = self.dice.choice(list(self.commits))
            nodes = self._nodes[session]
            match self.dice.randrange(8):
                case 0:
                    self._send(session, "undo", {})
                case 1:
                    self._send(session, "redo", {})
                case 2 if nodes:
                    node = nodes.pop(self.dice.randrange(len(nodes)))
                    self._send(session, "DeleteNode", {"node_id": node})
                case 3 | 4 if nodes:
                    data = {
                        "property_id": "p",
                        "value": self.dice.random(),
                        "node_id": self.dice.choice(nodes),
                    }
                    self._send(session, "UpdateProperty", data)
                case _:
                    self.create(session, name=f"name {self.dice.random()}")

    def delete_a_large_session(self) -> None:
        """One of some hundred nodes, which is opened for that."""
        session = self.open()
        entry = {"command_type": "CreateNode", "data": {"blueprint_type_id": "part", "name": "n" * 100}}
        assert self._send(session, "Batch", {"commands": [entry] * self.dice.randrange(300, 900)})
        response = self.server.delete(f"/sessions/{session}")
        assert response.status_code == 204, response.text
        self.acknowledged_s = time.monotonic()
        self.deleted.append(session)
        del self.commits[session]

    def _send(self, session: str, kind: str, data: Json) -> Json | None:
        own = new_id()
        if kind in ("undo", "redo"):
            response = self.server.try_undo(session, call=kind, command_id=own)
        else:
            response = self.server.try_execute(session, kind, data, command_id=own)
        if response.status_code != 200:
            assert refusal(response)[1] in REFUSED, response.text
            return None
        answer: Json = response.json()
        self.acknowledged_s = time.monotonic()
        assert answer["command_id"] == own
        self.commits[session][own] = answer["version"]
        self._nodes[session] += [answer["node_id"]] if "node_id" in answer else []
        return answer


class Writer(threading.Thread):
    """Creates nodes without a pause, over REST or a socket, in each of the sessions in turn.

    sent:     session id and command id of each, in order.
    versions: of those that were acknowledged, in the same order: one waits for an answer at most.
    """

    def __init__(self, server: Server, sessions: list[str], transport: str) -> None:
        super().__init__(daemon=True)
        self.server, self.sessions, self.transport = server, sessions, transport
        self.sent: list[tuple[str, str]] = []
        self.versions: list[int] = []
        self.acknowledged_s: list[float] = []
        self.stopping = threading.Event()
        self.fault: Exception | None = None
        self._client: Client | None = None

    def run(self) -> None:
        try:
            if self.transport != "rest":
                self._client = open_client(self.server.url, self.transport)
            while not self.stopping.is_set():
                session, own = self.sessions[len(self.sent) % len(self.sessions)], new_id()
                data = {"blueprint_type_id": "part", "name": own}
                self.sent.append((session, own))
                ask = self._client or self.server
                answer = ask.execute(session, "CreateNode", data, command_id=own)
                self.acknowledged_s.append(time.monotonic())
                self.versions.append(answer["version"])
        except Exception as fault:
            self.fault = fault
        finally:
            if self._client is not None:
                self._client.cut()

    def longest_s(self, since_s: float) -> float:
        """The longest time without an acknowledgement, from then on."""
        times = [since_s, *(each for each in self.acknowledged_s if each > since_s)]
        return max(after - before for before, after in pairwise(times))


@contextmanager
def writing(server: Server, *transports: str) -> Iterator[list[Writer]]:
    """Writers at full speed, in two sessions, who have all begun; they stop in the end."""
    sessions = [server.new_session() for _ in range(2)]
    writers = [Writer(server, sessions, transport) for transport in transports]
    for writer in writers:
        writer.start()
    try:
        wait_for(lambda: all(len(each.versions) > 20 or each.fault for each in writers), "the writers begin")
        yield writers
    finally:
        for writer in writers:
            writer.stopping.set()
        for writer in writers:
            writer.join(20)
    for writer in writers:
        assert writer.fault is None, f"{writer.transport}: {writer.fault!r}"
        assert len(writer.versions) == len(writer.sent), f"{writer.transport}: not answered"


FULL_SPEED = ("rest", "rest", "raw-websocket", "python-websocket")


def check_moment(copy: Path, writers: list[Writer], least: list[int], others: Commits) -> None:
    """A copy is whole and of one moment, at which so many of each writer's commands were in it.

    others: what else it holds.
    """
    assert problem(copy) is None, copy
    found = commits_in(copy)
    total = 0
    for writer, count in zip(writers, least, strict=True):
        there = [own in found[session] for session, own in writer.sent]
        total += sum(there)
        assert there == sorted(there, reverse=True), "it holds a command, and not the one before"
        assert sum(there) >= count, f"{count} were acknowledged before it began, and it holds {sum(there)}"
        for (session, own), version in zip(writer.sent[: sum(there)], writer.versions, strict=False):
            assert found[session][own] == version
    for session, commits in others.items():
        assert found[session] == commits
        total += len(commits)
    assert sum(map(len, found.values())) == total, "it holds what nobody sent"


def fill(server: Server, batches: int) -> Commits:
    """Make the database larger by about 3.5 MB for each batch; what was acknowledged."""
    session = server.new_session(name="large")
    data = {"blueprint_type_id": "part", "properties": {"p": "x" * 200_000}}
    commits = {}
    for _ in range(batches):
        own, entries = new_id(), [{"command_type": "CreateNode", "data": data}] * 8
        commits[own] = server.execute(session, "Batch", {"commands": entries}, command_id=own)["version"]
    return {session: commits}


def download(server: Server, path: Path) -> None:
    """`POST /backup`, into a file as it comes."""
    response = server.request("POST", "/backup", json={}, stream=True)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/vnd.sqlite3"
    assert re.fullmatch(r'attachment; filename="talus-[0-9-]+\.db"', response.headers["Content-Disposition"])
    with path.open("xb") as file:
        for block in response.iter_content(64 * 1024):
            file.write(block)
    assert path.stat().st_size == int(response.headers["Content-Length"])


def drafts_open(server: Server) -> int:
    """How many copies that have no name any more the process holds."""
    count = 0
    for each in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            count += ".part" in os.readlink(each)
        except FileNotFoundError:  # closed meanwhile
            continue
    return count


def check_no_drafts(server: Server, *folders: Path) -> None:
    for folder in (server.database.parent, *folders):
        assert not [name for name in names(folder) if ".part" in name]
    assert drafts_open(server) == 0


# -- by hand --


def test_a_server_that_rests_may_be_copied_by_hand(
    server: Server, tmp_path: Path, dice: random.Random
) -> None:
    """Given a burst of commands and a second of rest, when the main file alone is copied, then the copy is
    whole and holds all that was acknowledged, again and again."""
    team = Team(server, dice)
    states = set()
    for number in range(COPIES):
        team.burst(dice.randrange(1, 80))
        if number == 0 or dice.random() < 0.3:
            team.delete_a_large_session()
        if dice.random() < 0.3:
            team.burst(1)
        time.sleep(max(0.0, team.acknowledged_s + REST_S - time.monotonic()))
        copy = tmp_path / f"{number}.db"
        shutil.copyfile(server.database, copy)
        states.add(hashlib.sha256(copy.read_bytes()).digest())
        assert problem(copy) is None
        assert commits_in(copy) == team.commits, f"copy {number}"
        with closing(sqlite3.connect(copy)) as file:
            removed = file.execute("SELECT id FROM session WHERE removed = 1").fetchall()
        assert sorted(id for (id,) in removed) == sorted(team.deleted)
        copy.unlink()
    assert len(states) == COPIES, "each copy was to be of another state"


# -- under load --


def test_backups_of_a_busy_server(server: Server, tmp_path: Path) -> None:
    """Given four writers at full speed, when backups are taken by the command and over REST, then each is
    whole and of one moment, with all that was acknowledged before it began, and the writers go on."""
    filled = fill(server, 3)
    taken: list[tuple[Path, list[int]]] = []
    with writing(server, *FULL_SPEED) as writers:

        def goes_on(count: int) -> None:
            least = [len(each.versions) + count for each in writers]
            wait_for(
                lambda: all(
                    each.fault or len(each.versions) >= most
                    for each, most in zip(writers, least, strict=True)
                ),
                "the writers go on",
            )

        began_s = time.monotonic()
        goes_on(100)
        without_s = max(each.longest_s(began_s) for each in writers)
        began_s = time.monotonic()
        for number in range(BACKUPS):
            copy = tmp_path / f"{number}.db"
            taken.append((copy, [len(each.versions) for each in writers]))
            if number % 2:
                download(server, copy)
            else:
                done("backup", copy, "--database", server.database)
        longest_s = max(each.longest_s(began_s) for each in writers)
        goes_on(5)
    sizes = [copy.stat().st_size / 1e6 for copy, _ in taken]
    print(
        f"backups: {BACKUPS} of {sizes[0]:.0f} to {sizes[-1]:.0f} MB; the longest time between two"
        f" acknowledgements of a writer was {1000 * longest_s:.0f} ms, and {1000 * without_s:.0f} ms without"
    )
    assert longest_s < NOTICED_S
    for copy, least in taken:
        check_moment(copy, writers, least, filled)
    assert names(tmp_path) == {copy.name for copy, _ in taken}
    check_no_drafts(server)
    everything = {copy.name: commits_in(copy) for copy, _ in taken}
    assert sum(map(len, everything["0.db"].values())) < sum(map(len, everything[taken[-1][0].name].values()))


def test_a_backup_takes_the_place_of_another_at_once(server: Server, tmp_path: Path) -> None:
    """Given one who opens a file again and again, when backups are put there, then he never sees a part of
    one."""
    fill(server, 2)
    folder, seen = tmp_path / "kept", set[tuple[int, int, int]]()
    folder.mkdir()
    target, looked = folder / "backup.db", tmp_path / "looked.db"
    done("backup", target, "--database", server.database)
    session = server.new_session()
    looks = 0
    for _ in range(3):
        server.create(session)
        taking = threading.Thread(target=done, args=("backup", target, "--database", server.database))
        taking.start()
        while taking.is_alive():
            with target.open("rb") as file:
                stat = os.fstat(file.fileno())
                found = stat.st_ino, stat.st_mtime_ns, stat.st_size
                if found not in seen:
                    looked.write_bytes(file.read())
                    assert problem(looked) is None, f"look {looks}, {looked.stat().st_size:,} bytes"
                    seen.add(found)
            looks += 1
            time.sleep(0.001)
        taking.join()
    stat = target.stat()
    seen.add((stat.st_ino, stat.st_mtime_ns, stat.st_size))
    assert len(seen) == 4, f"{looks} looks saw {len(seen)} of 4 backups"
    assert names(folder) == {"backup.db"}


def stalled_download(server: Server) -> socket.socket:
    """A download of which the beginning has been read, and no more."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    asking.settimeout(20)
    asking.connect(("127.0.0.1", server.port))
    asking.sendall(
        b"POST /api/v1/backup HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    assert asking.recv(1024).startswith(b"HTTP/1.1 200 ")
    return asking


def test_downloads_that_stall_and_break_off(server: Server, tmp_path: Path) -> None:
    """Given a download that nobody reads on, when two others are asked for, then both are whole and the
    server goes on; when it is broken off, then nothing of it stays."""
    filled = fill(server, 4)
    session = server.new_session()
    own = new_id()
    filled[session] = {
        own: server.execute(session, "CreateNode", {"blueprint_type_id": "part"}, command_id=own)["version"]
    }
    before = server.files()
    stalled = stalled_download(server)
    assert drafts_open(server) == 1
    faults: list[BaseException] = []

    def fetch(path: Path) -> None:
        try:
            download(server, path)
        except BaseException as fault:
            faults.append(fault)

    copies = [tmp_path / "1.db", tmp_path / "2.db"]
    fetching = [threading.Thread(target=fetch, args=(copy,)) for copy in copies]
    for each in fetching:
        each.start()
    for each in fetching:
        each.join(30)
    assert not faults, faults
    for copy in copies:
        check_moment(copy, [], [], filled)
    assert drafts_open(server) == 1, "the one that stalled is whole as well, for whoever reads on"
    server.create(session)
    stalled.close()
    wait_for(lambda: drafts_open(server) == 0, "the copy of a download that broke off goes")
    for _ in range(3):  # gone before the answer begins
        asking = socket.create_connection(("127.0.0.1", server.port))
        asking.sendall(b"POST /api/v1/backup HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        asking.close()
    last = tmp_path / "3.db"
    download(server, last)  # one after the other: theirs are done with
    wait_for(lambda: drafts_open(server) == 0, "the copies that nobody waited for go")
    assert problem(last) is None
    server.create(session)
    server.http.close()
    wait_for(lambda: server.files() <= before, f"{before} files are open, as before")
    check_no_drafts(server)
    assert names(tmp_path) == {"1.db", "2.db", "3.db"}
    server.check_converged(session)
    stalled = stalled_download(server)
    assert server.stop() == 0, "it ends although somebody does not read on"
    stalled.close()
    assert names(server.database.parent) == {
        *(server.database.name, mark_of(server.database).name, server.log_path.name)
    }


# -- the copy that is kept --


def kept_by(server: Server) -> Path:
    return server.database.parent / "snapshots" / server.database.name


def commits_kept(server: Server) -> Commits:
    """What the kept copy holds; nothing where there is none."""
    copy = server.folder / "looked.db"
    try:
        shutil.copyfile(kept_by(server), copy)
    except FileNotFoundError:
        return {}
    assert problem(copy) is None
    return commits_in(copy)


def identity(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns


def left_alone(path: Path, most: int = 1) -> tuple[int, int, int]:
    """Which file is there, once it has been the same for as long as is watched; it may be replaced once.

    A copy that was begun while somebody worked may hold all of it, and not know.
    """
    found, since_s = identity(path), time.monotonic()
    while time.monotonic() < since_s + WATCHED_S:
        if (now := identity(path)) != found:
            most -= 1
            assert most >= 0, "it is replaced, and nothing changes"
            found, since_s = now, time.monotonic()
        time.sleep(0.02)
    return found


def test_a_copy_is_kept_and_renewed_when_something_changed(start_server: Callable[..., Server]) -> None:
    """Given TALUS_SNAPSHOT_S=1, when somebody works, then the copy beside the database is replaced by one
    that holds it; when nobody does, then it is left alone, after a restart too; with 0 there is none."""
    server = start_server(env={"TALUS_SNAPSHOT_S": "1"})
    without = start_server(env={"TALUS_SNAPSHOT_S": "0"})
    without.create(without.new_session())
    session, kept = server.new_session(), kept_by(server)
    server.create(session)
    wait_for(lambda: len(commits_kept(server).get(session, ())) == 1, "the copy holds what was done")
    first = left_alone(kept)
    server.stop()
    server.start()
    assert left_alone(kept, most=0) == first
    with kept.open("rb") as old:
        content = old.read()
        server.create(session)
        wait_for(lambda: len(commits_kept(server)[session]) == 2, "the copy is renewed")
        assert kept.stat().st_ino != first[0], "it was written over: who reads it sees half of each"
        old.seek(0)
        assert old.read() == content
    assert names(kept.parent) == {kept.name}
    server.create(session)
    server.kill()
    server.start()
    wait_for(lambda: len(commits_kept(server)[session]) == 3, "what a killed server had not copied is")
    assert names(kept.parent) == {kept.name}
    assert "snapshots" not in names(without.database.parent)
    mode = server.database.stat().st_mode
    assert kept.stat().st_mode == mode, "who may not read the one may not read the other"


def test_the_kept_copy_may_be_copied_at_any_moment(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Given writers at full speed and a copy that is renewed each second, when that is copied at any moment,
    then what comes of it is whole."""
    server = start_server(env={"TALUS_SNAPSHOT_S": "1"})
    filled = fill(server, 2)
    kept = kept_by(server)
    seen: dict[bytes, Path] = {}
    inodes: set[int] = set()
    count = 0
    with writing(server, "rest", "raw-websocket") as writers:
        wait_for(lambda: commits_kept(server).keys() >= set(writers[0].sessions), "the copy comes")
        deadline = time.monotonic() + 30
        while count < 50 or len(inodes) < 3:
            assert time.monotonic() < deadline, f"{count} copies of {len(inodes)} files"
            copy = tmp_path / f"{count}.db"
            inodes.add(kept.stat().st_ino)
            shutil.copyfile(kept, copy)
            count += 1
            if seen.setdefault(hashlib.sha256(copy.read_bytes()).digest(), copy) != copy:
                copy.unlink()
            time.sleep(0.02)
    assert len(seen) >= 3
    for copy in seen.values():
        check_moment(copy, writers, [0] * len(writers), filled)
    wait_for(lambda: names(kept.parent) == {kept.name}, "nothing is left beside it")


def drafts_of(database: Path) -> list[Path]:
    """What copies are written to, but for those that are made by command."""
    return [
        path
        for folder in (database.parent, database.parent / "snapshots")
        if folder.is_dir()
        for path in folder.iterdir()
        if ".part" in path.name and "monday" not in path.name
    ]


def test_what_a_killed_server_left_of_copies_goes(start_server: Callable[..., Server]) -> None:
    """Given a server that is killed while it makes a copy, when it starts again, then what it left of that
    goes, and nothing else, and a whole copy comes."""
    server = start_server(env={"TALUS_SNAPSHOT_S": "1"})
    # Another's files, and a backup that may be under way just now.
    foreign = {"talus.db.monday.party.db", "talus.db.monday.abcdefgh.part"}
    for name in foreign:
        (server.database.parent / name).touch()
    filled = fill(server, 6)
    (session,) = filled
    deadline = time.monotonic() + 40

    def killed(provoke: Callable[[], object], folder: Path) -> None:
        while True:  # now and then the copy is done before the signal comes
            assert time.monotonic() < deadline, "no copy could be cut off"
            provoke()
            wait_for(lambda: [each for each in drafts_of(server.database) if each.parent == folder], "a copy")
            server.kill()
            if drafts_of(server.database):
                return
            server.start()

    def ask() -> None:
        asking = socket.create_connection(("127.0.0.1", server.port))
        asking.sendall(b"POST /api/v1/backup HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        held.append(asking)

    held: list[socket.socket] = []
    for provoke, folder in (
        (lambda: server.create(session), kept_by(server).parent),
        (ask, server.database.parent),
    ):
        killed(provoke, folder)
        server.start()
        wait_for(lambda: not drafts_of(server.database), f"what is left in {folder.name} goes")
    for asking in held:
        asking.close()
    server.create(session)
    version = server.graph(session)["version"]
    wait_for(lambda: len(commits_kept(server).get(session, ())) == version, "a whole copy comes")
    assert names(kept_by(server).parent) == {kept_by(server).name}
    assert foreign < names(server.database.parent)
    assert set(filled[session]) < set(commits_kept(server)[session])


def test_a_commit_that_a_copy_just_missed_is_in_the_next(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Given a commit that waits for the disk while the kept copy is renewed, when it is acknowledged and
    nobody works any more, then a copy that holds it follows."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    disk = Faults(tmp_path)
    server = start_server(env={"TALUS_SNAPSHOT_S": "1", **disk.env()})
    session = server.new_session()
    server.create(session)
    wait_for(lambda: len(commits_kept(server).get(session, ())) == 1, "the copy holds what was done")
    disk.set(fsync_delay_ms=1500, files="wal")  # so long, at least, the commit waits; the copy, a second
    server.create(session)
    disk.clear()
    wait_for(lambda: len(commits_kept(server)[session]) == 2, "the copy holds what was acknowledged")


# -- talus backup --


def test_what_backup_refuses(server: Server, tmp_path: Path) -> None:
    """Given a place where no backup can be put, or no database, when one is asked for, then not 0, one line
    that says why, and nothing has changed."""
    server.create(server.new_session())
    server.stop()
    database = server.database
    before = everything_beside(database)
    link = tmp_path / "link.db"
    link.symlink_to(database)
    for target in (database, link):
        assert "is the database itself" in refused("backup", target, "--database", database)
    for target in (wal_of(database), mark_of(database)):  # a server that runs would lose its log, or its lock
        assert target.name in refused("backup", target, "--database", database)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert str(pipe) in refused("backup", pipe, "--database", database)
    assert pipe.is_fifo(), "nor is /dev/null replaced"
    assert "folder" in refused("backup", tmp_path, "--database", database)
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in refused("backup", nowhere / "b.db", "--database", database)
    assert str(nowhere) in refused("backup", tmp_path / "b.db", "--database", nowhere / "talus.db")
    assert "there is no database" in refused("backup", tmp_path / "b.db", "--database", tmp_path)
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"this is no database" * 1000)
    refused("backup", tmp_path / "b.db", "--database", foreign)
    assert everything_beside(database) == before
    assert names(tmp_path) == {"link.db", "pipe", "foreign.db"}


def test_backups_beside_running_stopped_and_killed_servers(
    server: Server, tmp_path: Path, dice: random.Random
) -> None:
    """Given a server that runs, that was stopped, or that was killed and left a log, when a backup is taken
    to a path with spaces and other letters, then it holds everything, and nothing has changed beside it."""
    folder = tmp_path / "Größe & mehr"
    folder.mkdir()
    target, database = folder / ODD_NAME, server.database
    team = Team(server, dice)
    team.burst(30)
    assert str(target) in done("backup", target, TALUS_DATABASE=str(database))
    assert problem(target) is None
    assert commits_in(target) == team.commits

    team.burst(10)
    server.kill()
    assert wal_of(database).stat().st_size, "a killed server leaves its log"
    before = everything_beside(database)
    done("backup", target, "--database", database)
    assert problem(target) is None
    assert commits_in(target) == team.commits, "what is in the log is in the backup"
    assert everything_beside(database) == before

    server.start()
    team.burst(10)
    server.stop()
    before = everything_beside(database)
    done("backup", target, "--database", database)
    assert problem(target) is None
    assert commits_in(target) == team.commits
    assert everything_beside(database) == before
    assert not {f"{database.name}-wal", f"{database.name}-shm"} & names(database.parent)
    assert names(folder) == {ODD_NAME}

    again = tmp_path / "again.db"
    done("backup", again, "--database", target)  # from such a path, too
    assert commits_in(again) == team.commits


# -- talus verify --


def test_verify_names_what_is_damaged(server: Server, tmp_path: Path) -> None:
    """Given a file in which a name was changed wherever it stands, when it is verified, then not 0, and one
    line that names the session."""
    name = b"A-NAME-THAT-STANDS-NOWHERE-ELSE"
    other, session = server.new_session(), server.new_session()
    server.create(other, name="another")
    server.create(session, name=name.decode())
    server.stop()
    database = server.database
    before = everything_beside(database)
    assert done("verify", database) == f"{database} is whole\n"
    assert done("verify", TALUS_DATABASE=str(database)) == f"{database} is whole\n"
    content = database.read_bytes()
    places = [found.start() for found in re.finditer(re.escape(name), content)]
    assert len(places) >= 3, "it stands in the facts, in the tree and in the summary"
    damaged = tmp_path / "damaged.db"
    for place in places:
        damaged.write_bytes(content[: place + 10] + b"*" + content[place + 11 :])
        line = refused("verify", damaged)
        assert f"session {session}" in line, line
        assert other not in line
    assert refused("verify", TALUS_DATABASE=str(damaged)) == line
    assert damaged.read_bytes() == content[: place + 10] + b"*" + content[place + 11 :]
    assert names(tmp_path) == {"damaged.db"}
    assert everything_beside(database) == before


def test_what_verify_cannot_read(tmp_path: Path) -> None:
    """Given no file, an empty one, a folder, or one of somebody else, when it is verified, then not 0 and one
    line."""
    assert "there is no such file" in refused("verify", TALUS_DATABASE=str(tmp_path / "nowhere.db"))
    assert "there is no such file" in refused("verify", tmp_path)
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE x (y)")
    whole = path.read_bytes()
    for content in (b"", b"no database\n" * 999, whole):
        path.write_bytes(content)
        assert str(path) in refused("verify", path)
        assert path.read_bytes() == content
    assert names(tmp_path) == {"x.db"}


def test_verify_beside_busy_and_killed_servers(server: Server) -> None:
    """Given writers at full speed, when the database is verified, then it is whole; so it is when the
    server was killed, and then nothing is written."""
    with writing(server, *FULL_SPEED[1:]) as writers:
        for _ in range(2):
            assert done("verify", server.database) == f"{server.database} is whole\n"
        wait_for(lambda: all(len(each.versions) > 50 or each.fault for each in writers), "they go on")
    team = Team(server, random.Random(1))
    team.burst(5)
    server.kill()
    assert wal_of(server.database).stat().st_size
    before = everything_beside(server.database)
    assert done("verify", server.database) == f"{server.database} is whole\n"
    assert everything_beside(server.database) == before


# -- talus restore --


def restored(source: Path, database: Path) -> Path | None:
    """`talus restore`; where the file from before is."""
    printed = done("restore", source, "--database", database)
    found = ASIDE.search(printed)
    return Path(found[1]) if found else None


def state(server: Server, sessions: Iterable[str]) -> Json:
    """All that the server tells of these sessions, but for the epoch."""
    told: Json = {"sessions": server.ask("/sessions")}
    for session in sessions:
        graph = server.check_converged(session)
        del graph["epoch"]
        told[session] = [graph, server.history(session), server.events(session)]
    return told


def test_restore_brings_back_what_was(
    server: Server, tmp_path: Path, dice: random.Random, follow: Callable[..., Follower]
) -> None:
    """Given a backup and work after it, when it is restored, then graph, history and events are as they were,
    the old file is kept whole, the epoch is another one, undo works, and a follower from the lost time
    fetches the graph."""
    copy = tmp_path / "backup.db"
    team = Team(server, dice)
    team.burst(60)
    team.delete_a_large_session()
    session = next(iter(team.commits))
    root = team.create(session, name="before the backup")
    done("backup", copy, "--database", server.database)
    then, kept = state(server, team.commits), {each: dict(commits) for each, commits in team.commits.items()}

    follower = follow(server, session)
    for number in range(3):
        team.create(session, parent_id=root, name=f"lost {number}")
    team.burst(40)
    follower.wait_version(max(team.commits[session].values()))
    first = server.graph(session)["epoch"]
    assert follower.version > max(kept[session].values())
    server.stop()
    follower.cut()
    content = copy.read_bytes()

    aside = restored(copy, server.database)
    assert aside is not None
    assert aside.parent == server.database.parent
    assert done("verify", aside) == f"{aside} is whole\n"
    assert commits_in(aside) == team.commits, "the lost time is kept"
    assert done("verify", server.database) == f"{server.database} is whole\n"
    assert names(server.database.parent) == {
        server.database.name, mark_of(server.database).name, aside.name, server.log_path.name
    }  # fmt: skip
    assert copy.read_bytes() == content

    server.start()
    second = server.graph(session)["epoch"]
    assert second != first
    assert state(server, kept) == then
    joined = follower.join()
    assert joined["resume"] == "snapshot"
    server.check_converged(session, follower.tree)
    server.undo(session)
    assert root not in json.dumps(server.graph(session))
    server.redo(session)
    server.create(session, root, name="after the restore")
    follower.wait_version(max(kept[session].values()) + 3)
    follower.check()
    server.check_converged(session, follower.tree)

    server.stop()
    restored(copy, server.database)
    server.start()
    assert server.graph(session)["epoch"] not in (first, second)
    server.stop()
    server.start()
    assert server.graph(session)["epoch"] not in (first, second)


def test_restore_after_a_kill_keeps_the_log_of_the_old_file(
    server: Server, tmp_path: Path, dice: random.Random
) -> None:
    """Given a killed server that left a log, when a backup is restored, then the old file and its log are
    kept under another name and hold what was acknowledged, and the new file has no log."""
    copy = tmp_path / "backup.db"
    team = Team(server, dice)
    team.burst(20)
    done("backup", copy, "--database", server.database)
    kept = commits_in(copy)
    assert kept == team.commits
    epoch = server.graph(next(iter(kept)))["epoch"]
    team.burst(20)
    server.kill()
    assert wal_of(server.database).stat().st_size, "a killed server leaves its log"

    aside = restored(copy, server.database)
    assert aside is not None
    assert wal_of(aside).stat().st_size
    assert not {f"{server.database.name}-wal", f"{server.database.name}-shm"} & names(server.database.parent)
    assert done("verify", aside) == f"{aside} is whole\n"
    assert commits_in(server.database) == kept
    assert commits_in(aside) == team.commits
    assert done("verify", server.database) == f"{server.database} is whole\n"
    server.start()
    assert server.graph(next(iter(kept)))["epoch"] != epoch
    for session in kept:
        server.check_converged(session)
        server.create(session)


def test_restore_keeps_a_log_that_lost_its_file(server: Server, tmp_path: Path, dice: random.Random) -> None:
    """Given a log of which the file is gone, when a backup is restored, then the log is still somewhere: with
    the file it may be put back to, it holds what was acknowledged."""
    copy, database = tmp_path / "backup.db", server.database
    Team(server, dice).burst(10)
    done("backup", copy, "--database", database)
    server.create(server.new_session())
    server.kill()
    log = wal_of(database).read_bytes()
    assert log
    database.unlink()
    talus("restore", str(copy), "--database", str(database))  # done or refused
    assert log in [each.read_bytes() for each in database.parent.iterdir()]


def test_restore_refuses_while_a_server_runs(server: Server, tmp_path: Path) -> None:
    """Given a server that runs, when a backup is to be restored over its file, then not 0, one line, and
    nothing has changed."""
    copy, session = tmp_path / "backup.db", server.new_session()
    server.create(session)
    done("backup", copy, "--database", server.database)
    server.create(session)
    graph = server.graph(session)
    time.sleep(REST_S)  # the contract: from then on the server leaves its file alone
    before = everything_beside(server.database)
    line = refused("restore", copy, "--database", server.database)
    assert str(server.pid) in line, line
    assert server.url in line, line
    assert everything_beside(server.database) == before
    server.create(session)
    server.stop()
    server.start()
    assert server.graph(session)["epoch"] == graph["epoch"]
    assert server.check_converged(session)["version"] == 3


def test_what_restore_refuses(server: Server, tmp_path: Path) -> None:
    """Given a file that is damaged, none at all, or the database itself, when it is to be restored, then not
    0, one line, and nothing has changed."""
    name = "A-NAME-THAT-STANDS-NOWHERE-ELSE"
    session = server.new_session()
    server.create(session, name=name)
    server.stop()
    database = server.database
    before = everything_beside(database)
    damaged = tmp_path / "damaged.db"
    content = database.read_bytes()
    place = content.rindex(name.encode()) + 10
    damaged.write_bytes(content[:place] + b"*" + content[place + 1 :])
    assert session in refused("restore", damaged, "--database", database)
    for useless in (b"", content[:-4096]):
        damaged.write_bytes(useless)
        assert str(damaged) in refused("restore", damaged, "--database", database)
    link = tmp_path / "link.db"
    link.symlink_to(database)
    for source in (database, link):
        assert "is the database itself" in refused("restore", source, "--database", database)
    for source in (tmp_path / "nowhere.db", tmp_path):
        assert "there is no file" in refused("restore", source, "--database", database)
    refused("restore", damaged, "--database", tmp_path / "empty" / "talus.db")
    assert everything_beside(database) == before
    assert names(tmp_path) == {"damaged.db", "link.db"}


def test_restore_where_there_is_no_database(
    server: Server, start_server: Callable[..., Server], tmp_path: Path, dice: random.Random
) -> None:
    """Given no database, nor its folder, when a backup is restored, then a server runs on what it holds."""
    copy, database = tmp_path / "backup.db", tmp_path / "new folder" / ODD_NAME
    team = Team(server, dice)
    team.burst(30)
    download(server, copy)
    assert restored(copy, database) is None
    assert names(database.parent) == {database.name, mark_of(database).name}
    assert done("verify", database) == f"{database} is whole\n"
    other = start_server(database=database)
    assert state(other, team.commits) == state(server, team.commits)
    session = next(iter(team.commits))
    assert other.graph(session)["epoch"] != server.graph(session)["epoch"]
    other.create(session)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda path: f"schema {path.stem}")
def test_a_backup_of_an_earlier_schema_is_restored(
    start_server: Callable[..., Server], tmp_path: Path, schema: Path
) -> None:
    """Given a file of an earlier schema, when it is restored, then it is left as it was, and a server runs on
    what it holds."""
    source, database = tmp_path / "old.db", tmp_path / "talus.db"
    with closing(sqlite3.connect(source)) as file:
        file.executescript(schema.read_text())
    content = source.read_bytes()
    assert restored(source, database) is None
    assert source.read_bytes() == content
    assert done("verify", database) == f"{database} is whole\n"
    held = commits_in(source)
    assert held
    assert commits_in(database) == held
    server = start_server(database=database)
    for session, commits in held.items():
        server.check_converged(session)
        assert {each["command_id"]: each["version"] for each in server.history(session)} == commits
        undoes = server.ask(f"/sessions/{session}/info")["undo_available"]
        assert server.try_undo(session, call="undo" if undoes else "redo").status_code == 200
        server.check_converged(session)


def test_two_restores_in_one_second_keep_both_files(server: Server, tmp_path: Path) -> None:
    """Given two restores within one second, when both are done, then both files from before are kept."""
    copy, session = tmp_path / "backup.db", server.new_session()
    server.create(session)
    done("backup", copy, "--database", server.database)
    server.create(session)
    server.stop()
    now_s = time.time()
    asides = [backup.restore(copy, server.database, now_s) for _ in range(3)]
    assert len(set(asides)) == 3
    held = []
    for aside in asides:
        assert aside is not None
        assert problem(aside) is None
        held.append(len(commits_in(aside)[session]))
    assert held == [2, 1, 1]
    server.start()
    assert server.graph(session)["version"] == 1


# -- with tokens --


def test_only_administrators_take_backups_over_rest(tmp_path: Path) -> None:
    """Given tokens, when a backup is asked for, then an administrator gets it, a user 403, and anybody else
    401."""
    with guarded(tmp_path) as server:
        root, ann = as_user(server, "root", admin=True), as_user(server, "ann")
        ann.create(ann.new_session())
        for path in ("/backup", "/backup/"):
            answer = refusal(ann.post(path))
            assert answer == ((403, "FORBIDDEN") if path == "/backup" else (404, "NOT_FOUND")), path
        assert refusal(server.post("/backup")) == (401, "UNAUTHENTICATED")
        assert refusal(with_token(server, token(key=b"x" * 32, admin=True)).post("/backup"))[0] == 401
        copy = tmp_path / "copy.db"
        download(root, copy)
        assert problem(copy) is None
        assert sum(map(len, commits_in(copy).values())) == 1
        assert refusal(root.get("/backup")) == (405, "METHOD_NOT_ALLOWED")


def test_revocations_outlive_a_restore(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Given tokens that were revoked after a backup, when it is restored, then they are void as before, and
    others are not."""
    server = start_server(env=jwt_settings(tmp_path))
    shown = token("ann")
    ann, ben = with_token(server, shown), as_user(server, "ben")
    session = ann.new_session()
    ann.create(session)
    copy = tmp_path / "backup.db"
    done("backup", copy, "--database", server.database)
    done("token", "--revoke", "ann", TALUS_DATABASE=str(server.database))
    assert refusal(ann.get("/sessions")) == (401, "UNAUTHENTICATED")
    server.kill()
    aside = restored(copy, server.database)
    assert aside is not None
    assert problem(server.database) is None
    server.start()
    assert refusal(with_token(server, shown).get("/sessions")) == (401, "UNAUTHENTICATED")
    assert as_user(server, "ben").ask("/sessions")["total"] == 0
    again = as_user(server, "ann")  # of this second, which is after the one that was named
    assert again.graph(session)["version"] == 1
    again.create(session)
    assert ben.url != server.url
