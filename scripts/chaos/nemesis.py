"""What goes wrong in a campaign, one thing at a time; each is cured, and then everybody has to be served."""

from __future__ import annotations

import contextlib
import errno
import random
import resource
import signal
import sqlite3
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from chaos import history
from chaos.calls import CALL_S, Caller, Wish
from chaos.clients import PROBE_S, Process
from chaos.history import JsonObject
from chaos.proxy import Proxy
from chaos.server import Disk, Subject, talus
from tests.support.faults import Faults

LOCK_WAIT_S = 5.0  # that talus waits for a lock before it says BUSY
HEALTHY_S = 10.0  # after a cure within which the server is well
DIES_S = 15.0  # within which a failpoint is reached
FAILPOINT_COMES = 80  # batches, before it kills the server, at most
REFUSED_S = 5.0  # within which a disk in trouble is noticed
GONE_S = 10.0  # a client that takes nothing for so long is cut off: docs/protocol.md
READ_S = 2.0  # for whoever reads while nothing can be written
LIMIT_BYTES = 1 << 20  # what is noted of the hub is a file, too, and smaller
KINDS = (
    "kill",
    "restart",
    "before-commit",
    "after-commit",
    "after-emit",
    "power-cut",
    "stop",
    "stop-client",
    "cut",
    "hole",
    "delay",
    "disk-full",
    "file-limit",
    "write-error",
    "fsync-error",
    "slow-fsync",
    "lock",
    "backup",
    "backup-post",
)
STORAGE = {"STORAGE_FULL", "STORAGE_FAILED", "STORAGE_UNCERTAIN"}


@dataclass
class Stage:
    """All that a nemesis can reach.

    quick: faults are short.
    """

    folder: Path
    server: Subject
    proxy: Proxy
    clients: list[Process]
    sessions: list[str]
    faults: Faults
    disk: Disk
    quick: bool


@dataclass
class Nemesis:
    """violations: what was seen here and would not be seen in the histories."""

    stage: Stage
    dice: random.Random
    violations: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        book = history.Book(self.stage.folder / "nemesis.jsonl")
        self._callers = [
            Caller(book, f"nemesis-{number}", session_id, self._url)
            for number, session_id in enumerate(self.stage.sessions)
        ]
        self._book = book

    def _url(self) -> str:
        return self.stage.server.url

    def strike(self, kind: str) -> None:
        """One fault, its cure, and the probes."""
        server = self.stage.server
        if not server.running:
            self.violations.append(f"the server had ended with {server.exit_code()} before {kind}")
            server.begin()
        at_s = time.monotonic()
        detail: JsonObject = getattr(self, "_" + kind.replace("-", "_"))()
        if not server.wait_healthy(HEALTHY_S):
            self.violations.append(f"not healthy {HEALTHY_S} s after the cure of {kind} {detail}")
            server.end(killed=True)
            server.begin()
        cured_s = time.monotonic()
        self._book.write(
            history.Fault(at_s=at_s, client="nemesis", kind=kind, until_s=cured_s, detail=detail)
        )
        self.done[kind] += 1
        self.probe(kind, cured_s)

    def probe(self, after: str, cured_s: float) -> None:
        """Everybody has to be served."""
        for client in self.stage.clients:
            client.order("probe", cured_s)
        until_s = time.monotonic() + CALL_S + PROBE_S + CALL_S
        for client in self.stage.clients:
            if client.answer(until_s) is None:
                self.violations.append(f"{client.name} says nothing after {after}")

    def _lasts(self, least_s: float, most_s: float) -> float:
        """Seconds of a fault, which took place."""
        seconds = self.dice.uniform(least_s, most_s) * (0.4 if self.stage.quick else 1.0)
        time.sleep(seconds)
        return round(seconds, 3)

    def _away(self) -> float:
        """Seconds in which somebody takes nothing; at times so many that he is cut off."""
        if not self.stage.quick and self.dice.random() < 0.25:
            return self._lasts(GONE_S + 1, GONE_S + 3)
        return self._lasts(1, 4)

    def _network(self, do: str, **more: Any) -> int:
        """Something happens to some connections; to how many."""
        count = self.stage.proxy.order(do, share=self.dice.choice(["one", "half", "all"]), **more)
        if not count:
            self.violations.append(f"there was no connection to {do}")
        return count

    def _injected(self, what: str) -> int:
        """How many calls of the server's a fault of the disk was about."""
        count = self.stage.faults.injected
        if not count:
            self.violations.append(f"{what}, and nothing was written meanwhile")
        return count

    def _call(self) -> str:
        """A command of its own: its outcome, or the code of its error."""
        wish = Wish(
            "execute",
            str(uuid.UUID(int=self.dice.getrandbits(128), version=4)),
            {"command_type": "CreateNode", "data": {"blueprint_type_id": "nemesis"}},
        )
        call = self.dice.choice(self._callers).call_rest(wish, CALL_S + LOCK_WAIT_S)
        return call.code or str(call.outcome)

    def _read(self, while_what: str) -> None:
        """What was committed can be read, whatever cannot be written."""
        began_s = time.monotonic()
        caller = self.dice.choice(self._callers)
        try:
            caller.get(f"/sessions/{caller.session_id}/events", READ_S, limit=1)
            caller.get("/graph", READ_S, session_id=caller.session_id)
        except requests.RequestException as error:
            self.violations.append(
                f"reading {while_what}: {error!r} after {time.monotonic() - began_s:.1f} s"
            )

    # -- the server --

    def _kill(self) -> JsonObject:
        self.stage.server.end(killed=True)
        down_s = self._lasts(0, 1)
        self.stage.server.begin()
        return {"down_s": down_s}

    def _restart(self) -> JsonObject:
        code = self.stage.server.end(killed=False)
        if code != 0:
            self.violations.append(f"SIGTERM: exit code {code}")
        left = [path.name for path in self.stage.disk.folder.glob("*-wal")]
        if left:
            self.violations.append(f"SIGTERM left {left}")
        self.stage.server.begin()
        return {}

    def _stop(self) -> JsonObject:
        self.stage.server.send_signal(signal.SIGSTOP)
        seconds = self._lasts(1, 4)
        self.stage.server.send_signal(signal.SIGCONT)
        return {"seconds": seconds}

    def _before_commit(self) -> JsonObject:
        return self._failpoint("before-commit")

    def _after_commit(self) -> JsonObject:
        return self._failpoint("after-commit")

    def _after_emit(self) -> JsonObject:
        return self._failpoint("after-emit")

    def _failpoint(self, kind: str) -> JsonObject:
        """The server kills itself at that place, the so-many-th time that it comes there."""
        server = self.stage.server
        count = self.dice.randrange(1, FAILPOINT_COMES)
        server.end(killed=True)
        server.begin(f"{kind}:{count}")
        try:
            code = server.wait_ended(DIES_S)
        except AssertionError:
            self.violations.append(f"the failpoint {kind}:{count} was not reached in {DIES_S} s")
        else:
            if code != -signal.SIGKILL:
                self.violations.append(f"the failpoint {kind}:{count}: exit code {code}")
        server.begin()
        return {"count": count}

    def _power_cut(self) -> JsonObject:
        """A kill, and what no fsync had confirmed is gone; they are slow, so that there is some of it."""
        server = self.stage.server
        self.stage.faults.set(fsync_delay_ms=self.dice.randrange(20, 200))
        self._lasts(0.2, 1.0)
        server.end(killed=True)
        self._injected("fsync was slow before the power cut")
        self.stage.faults.clear()
        lost = self.stage.faults.power_cut(server.database)
        server.begin()
        return {"lost_bytes": lost}

    # -- the clients and the network --

    def _stop_client(self) -> JsonObject:
        client = self.dice.choice(self.stage.clients)
        client.signal(signal.SIGSTOP)
        seconds = self._away()
        client.signal(signal.SIGCONT)
        return {"stopped": client.name, "seconds": seconds}

    def _cut(self) -> JsonObject:
        how = self.dice.choice(["rst", "fin"])
        count = self._network("cut", how=how)
        return {"how": how, "connections": count}

    def _hole(self) -> JsonObject:
        count = self._network("hole")
        seconds = self._away()
        if self.dice.random() < 0.5:
            self.stage.proxy.order("cut", share="all", how="rst")
        self.stage.proxy.order("heal")
        return {"connections": count, "seconds": seconds}

    def _delay(self) -> JsonObject:
        each_s = round(self.dice.uniform(0.02, 0.3), 3)
        count = self._network("delay", seconds=each_s)
        seconds = self._lasts(1, 4)
        self.stage.proxy.order("heal")
        return {"connections": count, "each_s": each_s, "seconds": seconds}

    # -- the disk --

    def _until_refused(self) -> str:
        """Calls until the disk is in trouble; the code. Reads go on."""
        until_s = time.monotonic() + REFUSED_S
        while time.monotonic() < until_s:
            code = self._call()
            if code in STORAGE:
                self._read(f"after {code}")
                return code
            time.sleep(0.02)
        self.violations.append(f"the disk fails, and nothing was refused within {REFUSED_S} s")
        return ""

    def _disk_full(self) -> JsonObject:
        if not self.stage.disk.small:
            return self._refusing(write_errno=errno.ENOSPC)
        self.stage.disk.fill()
        try:
            code = self._until_refused()
            seconds = self._lasts(0, 2)
        finally:
            self.stage.disk.free()
        return {"code": code, "seconds": seconds}

    def _refusing(self, **faults: int) -> JsonObject:
        self.stage.faults.set(**faults)
        try:
            code = self._until_refused()
            seconds = self._lasts(0, 2)
        finally:
            self.stage.faults.clear()
        return {"code": code, "seconds": seconds}

    def _write_error(self) -> JsonObject:
        return self._refusing(write_errno=errno.EIO)

    def _fsync_error(self) -> JsonObject:
        """After a failed fsync nobody knows, and nothing is written before a restart."""
        detail = self._refusing(fsync_errno=errno.EIO)
        code = self._call()
        if code != "STORAGE_UNCERTAIN":
            self.violations.append(f"written on after a failed fsync: {code}")
        detail["restart"] = self.dice.choice(["kill", "term"])
        self.stage.server.end(killed=detail["restart"] == "kill")
        self.stage.server.begin()
        return detail

    def _file_limit(self) -> JsonObject:
        """No file of the server's may grow past a size that its -wal has soon, or has already."""
        server = self.stage.server
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
        try:
            code = self._until_refused()
            seconds = self._lasts(0, 2)
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
        return {"code": code, "seconds": seconds}

    def _slow_fsync(self) -> JsonObject:
        delay_ms = self.dice.randrange(50, 301)
        self.stage.faults.set(fsync_delay_ms=delay_ms)
        seconds = self._lasts(2, 4)
        delayed = self._injected("fsync was slow")
        self.stage.faults.clear()
        return {"delay_ms": delay_ms, "seconds": seconds, "delayed": delayed}

    def _lock(self) -> JsonObject:
        """Another program holds the database: for less than talus waits, or for more."""
        longer = self.done["lock"] % 2 == 0  # both, in turn
        seconds = self.dice.uniform(6.0, 7.0) if longer else self.dice.uniform(1.0, 4.0)
        other = sqlite3.connect(self.stage.server.database, isolation_level=None, timeout=LOCK_WAIT_S)
        try:
            other.execute("PRAGMA wal_autocheckpoint = 0")
            other.execute("BEGIN IMMEDIATE")
            began_s = time.monotonic()
            while (left := began_s + seconds - time.monotonic()) > 0:
                self._read("while the database is locked")
                time.sleep(min(0.25, left))
            other.execute("ROLLBACK")
        finally:
            other.close()
        return {"seconds": round(seconds, 3), "longer": longer}

    # -- backups --

    def _backup(self) -> JsonObject:
        copy = self.stage.folder / "backup.db"
        before = self._versions()
        told = talus("backup", str(copy), "--database", str(self.stage.server.database))
        if told.returncode != 0:
            self.violations.append(f"talus backup: {told.returncode} {told.stderr[-500:]}")
            return {}
        return self._checked(copy, before)

    def _backup_post(self) -> JsonObject:
        copy = self.stage.folder / "backup-post.db"
        before = self._versions()
        response = self.stage.server.request("POST", "/backup")
        if response.status_code != 200:
            self.violations.append(f"POST /backup: {response.status_code} {response.text[:500]}")
            return {}
        copy.write_bytes(response.content)
        return self._checked(copy, before)

    def _versions(self) -> dict[str, int]:
        return {
            each: self.stage.server.ask(f"/sessions/{each}/info")["version"] for each in self.stage.sessions
        }

    def _checked(self, copy: Path, before: dict[str, int]) -> JsonObject:
        """A backup is whole, and has all that was acknowledged before it was begun."""
        found: dict[str, int] = {}
        with contextlib.closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as database:
            whole = database.execute("PRAGMA integrity_check").fetchall()
            if whole != [("ok",)]:
                self.violations.append(f"{copy.name}: {whole[:3]}")
            for session_id, version, count, last in database.execute(
                "SELECT s.id, s.version, count(c.version), coalesce(max(c.version), 0) FROM session s"
                " LEFT JOIN commits c ON c.session_no = s.no GROUP BY s.no"
            ):
                found[session_id] = version
                if not version == count == last:
                    self.violations.append(f"{copy.name}: {session_id} {version}, {count} commits to {last}")
        for session_id, version in before.items():
            if found.get(session_id, -1) < version:
                self.violations.append(
                    f"{copy.name}: {session_id} at {found.get(session_id)}, acknowledged were {version}"
                )
        verified = talus("verify", str(copy))
        if verified.returncode != 0:
            self.violations.append(f"talus verify {copy.name}: {verified.stdout}{verified.stderr}"[:500])
        bytes_ = copy.stat().st_size
        copy.unlink()
        return {"bytes": bytes_}
