"""One client of a campaign: a process that commands, listens, keeps a tree, and writes down all of it.

It takes orders from its standard input, a line of JSON each, and answers each
with a line when it is done:

    ["probe", cured_s]      be served within 5 s
    ["rest"]                send no more; answered once each call has its outcome
    ["hold", versions]      write down the tree once it holds the version; answered with what it knows
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from math import inf
from pathlib import Path
from typing import Any

import requests
import socketio
from gevent.fileobject import FileObject

from chaos import history
from chaos.calls import CALL_S, UNKNOWN, Call, Caller, Wish
from chaos.history import JsonObject
from chaos.wishes import Wishes
from tests.support.clients import Client, Heard, NotHeard, open_client
from tests.support.follower import Follower

CONNECT_S = 2.0  # for a connection, and again for a join and a graph
PROBE_S = 5.0  # after a fault within which everybody is served: docs/protocol.md
LOOK_S = 0.1  # between two looks at orders while a call is under way
IMPATIENT_S = 2.0  # after which a client that does not notice by itself connects anew
RETRY_S = (0.05, 0.25)  # between two tries to connect
BURSTS = {1: 60, 2: 15, 5: 17, 20: 8}  # calls at once, and how often
OVER_REST = 0.05
LOOK_EVERY_S = 4.0  # about, between two GET /graph
HUGE_EVERY_S = 8.0
KEPT = 500  # events of a connection that are kept in memory; the book has them all
MAX_FAULTS = 5
NOT_SERVED = {"BUSY", "SHUTTING_DOWN", "STORAGE_FULL", "STORAGE_FAILED", UNKNOWN}

# What a client may raise when its connection is lost; ConnectRefused and NotHeard are AssertionErrors.
LOST = (
    OSError,
    EOFError,
    ValueError,
    AssertionError,
    http.client.HTTPException,
    requests.RequestException,
    socketio.exceptions.SocketIOError,
)


class Member(Caller):
    """A client in one session.

    kind:  of tests.support.clients.
    rate:  calls a second, about.
    huge:  it makes the large batches.
    """

    def __init__(
        self, folder: str, url: str, name: str, kind: str, session_id: str, seed: int, rate: float, huge: bool
    ) -> None:
        book = history.Book(Path(folder) / f"{name}.jsonl")
        super().__init__(book, name, session_id, lambda: url)
        self._kind, self._rate, self._huge = kind, rate, huge
        # python-engineio's client may take 30 s to notice that its poll was cut while it was sending.
        self._patience_s = IMPATIENT_S if kind.startswith("python") else PROBE_S
        self._dice = random.Random(seed)
        self._wishes = Wishes(self._dice)
        self._orders: queue.Queue[tuple[float, list[Any]]] = queue.Queue()
        self._follower = _Follower(session_id, self._opened, self._graph)
        self._connection = 0
        self._since: int | None = None
        self._lost = True
        self._again: list[Wish] = []  # whose outcome is unknown
        self._look_s = self._huge_s = 0.0
        self._resting = False
        self._faults: list[str] = []

    # -- the process --

    def run(self) -> None:
        threading.Thread(target=self._read_orders, daemon=True).start()
        next_s = time.monotonic() + self._dice.random()
        while True:
            try:
                wait_s = max(0.0, next_s - time.monotonic())
                received_s, (order, *words) = self._orders.get(timeout=None if self._resting else wait_s)
            except queue.Empty:
                next_s = max(next_s, time.monotonic() - 0.5) + self._round() / self._rate
                continue
            if order == "probe":
                self._probe(received_s, *words)
                _say({"probed": True})
            elif order == "rest":
                self._rest()
                _say({"resting": True})
            elif order == "hold":
                self._hold(words[0][self.session_id])
                _say({"faults": self._faults})
                self._follower.close()
                return

    def _read_orders(self) -> None:
        for line in FileObject(sys.stdin.fileno(), "rb"):
            self._orders.put((time.monotonic(), json.loads(line)))
        os._exit(0)  # the campaign is gone

    # -- the connection --

    def _opened(self) -> Client:
        """A new connection, all of whose events are written down. Raises NotHeard when it takes too long."""
        done: queue.Queue[Client | Exception] = queue.Queue()
        given_up = threading.Lock()

        def attempt() -> None:
            try:
                client = open_client(self._url(), self._kind, actor=self.client, timeout=CONNECT_S)
            except LOST as error:
                done.put(error)
                return
            if given_up.acquire(blocking=False):
                done.put(client)
            else:
                with contextlib.suppress(*LOST):
                    client.cut()

        # Not every kind of client has a deadline for each of its steps.
        threading.Thread(target=attempt, daemon=True).start()
        try:
            client = done.get(timeout=CONNECT_S)
        except queue.Empty:
            if given_up.acquire(blocking=False):
                raise NotHeard("no connection") from None
            client = done.get()
        if isinstance(client, Exception):
            raise client
        self._connection += 1
        self._lost = False
        number = self._connection
        client.listeners.append(lambda heard: self._hear(client, number, heard))
        return client

    def _hear(self, client: Client, connection: int, heard: Heard) -> None:
        if connection != self._connection or self._lost:
            return
        now = time.monotonic()
        session_id = self.session_id
        if heard.name == "joined":
            since = self._since
            self.book.write(
                history.Joined(
                    at_s=now,
                    client=self.client,
                    connection=connection,
                    session_id=session_id,
                    since=since,
                    payload=heard.payload,
                )
            )
        elif heard.name == "disconnect":
            with self.news:
                self._lost = True
                self.news.notify_all()
        elif heard.name not in ("connect", "connect_error", "ack", "upgrade", "reconnect"):
            self.book.write(
                history.Heard(
                    at_s=now,
                    client=self.client,
                    connection=connection,
                    event=heard.name,
                    payload=heard.payload,
                )
            )
        if not self._follower.joining and len(client.events) > KEPT:
            client.events.clear()

    def _graph(self) -> JsonObject:
        return self._look(None)

    def _look(self, version: int | None) -> JsonObject:
        asked_s = time.monotonic()
        more = {} if version is None else {"version": version}
        graph = self.get("/graph", CONNECT_S, session_id=self.session_id, **more)
        self.book.write(
            history.Fetched(
                at_s=time.monotonic(),
                client=self.client,
                asked_s=asked_s,
                session_id=self.session_id,
                payload=graph,
                version=version,
            )
        )
        return graph

    def _connect(self, until_s: float) -> bool:
        """Be connected and in the session; False when that could not be had in time."""
        follower = self._follower
        if follower.faults:
            self._faults += follower.faults[: max(0, MAX_FAULTS - len(self._faults))]
            follower.faults.clear()
            self._cut()
            follower.tree = None
        while self._lost:
            if time.monotonic() > until_s:
                return False
            self._since = follower.version if follower.tree is not None else None
            resumes = len(follower.resumes)
            try:
                follower.enter(CONNECT_S)
                return True
            except LOST:
                self._cut()
                if follower.resumes[resumes:] and follower.resumes[-1] in ("live", "snapshot"):
                    follower.tree = None  # the graph that it was told to fetch did not come
                time.sleep(self._dice.uniform(*RETRY_S))
        return True

    def _cut(self) -> None:
        with self.news:
            self._lost = True
        with contextlib.suppress(*LOST):
            self._follower.cut()

    # -- what it does --

    def _round(self) -> int:
        """Some calls at once, and their outcomes; how many."""
        if not self._connect(time.monotonic() + CALL_S):
            return 1
        if time.monotonic() > self._look_s:
            self._look_s = time.monotonic() + LOOK_EVERY_S * (0.5 + self._dice.random())
            past = self._dice.randrange(self._follower.version + 1) if self._dice.random() < 0.3 else None
            with contextlib.suppress(requests.RequestException):
                self._look(past)
        if self._dice.random() < 0.003:  # a goodbye, for once
            with contextlib.suppress(*LOST):
                self._follower.close()
            self._cut()
            return 1
        wishes, self._again = self._again, []
        if wishes and self._dice.random() < 0.2:
            self._over_rest(wishes[0])
            wishes = wishes[1:]
        count = self._dice.choices(list(BURSTS), list(BURSTS.values()))[0]
        if self._huge and time.monotonic() > self._huge_s:
            self._huge_s = time.monotonic() + HUGE_EVERY_S
            wishes.append(self._wishes.huge())
        wishes += self._follower.wishes(self._wishes, max(0, count - len(wishes)))
        if len(wishes) == 1 and self._dice.random() < OVER_REST:
            self._over_rest(wishes[0])
            return 1
        self._send(wishes, CALL_S)
        if self._again:
            time.sleep(self._dice.uniform(*RETRY_S))
        return len(wishes)

    def _over_rest(self, wish: Wish) -> None:
        self._ended(self.call_rest(wish))

    def _send(self, wishes: list[Wish], within_s: float) -> list[Call]:
        """Send these at once, and wait until each has its outcome; without an answer it is unknown."""
        until_s = time.monotonic() + within_s
        calls = [self.invoke(wish, self._connection) for wish in wishes]
        client = self._follower.client
        try:
            if client is not None:
                client.burst([(call.event, (call.payload,), call) for call in calls])
        except LOST:
            self._cut()
        with self.news:
            while not self._lost and any(call.outcome is None for call in calls):
                # Whoever is asked to probe has no time for a call that its library has lost.
                asked_s = min((received_s for received_s, _ in list(self._orders.queue)), default=inf)
                left = min(until_s, asked_s + self._patience_s) - time.monotonic()
                if left <= 0:
                    break
                self.news.wait(min(left, LOOK_S))
        if any(call.outcome is None for call in calls):
            self._cut()
        for call in calls:
            call.end("unknown")
            self._ended(call)
        return calls

    def _ended(self, call: Call) -> None:
        if call.outcome == "unknown" or (call.code == "BUSY" and self._dice.random() < 0.5):
            self._again.append(call.wish)

    def _probe(self, asked_s: float, cured_s: float) -> None:
        until_s = asked_s + PROBE_S
        answered = False
        wish = self._wishes.plain()
        while not answered and time.monotonic() < until_s:
            if self._connect(until_s):
                call = self._send([wish], max(0.0, min(self._patience_s, until_s - time.monotonic())))[0]
                answered = call.outcome == "ok" or (call.outcome == "failed" and call.code not in NOT_SERVED)
                if not answered:
                    time.sleep(self._dice.uniform(*RETRY_S))
                if wish in self._again and not answered:
                    self._again.remove(wish)
        if not answered:
            self._again.append(wish)
        self.book.write(
            history.Probed(
                at_s=time.monotonic(),
                client=self.client,
                asked_s=asked_s,
                answered=answered,
                cured_s=cured_s,
            )
        )

    def _rest(self) -> None:
        self._resting = True
        until_s = time.monotonic() + 2 * CALL_S
        while self._again and time.monotonic() < until_s:
            if self._connect(until_s):
                wishes, self._again = self._again, []
                self._send(wishes, CALL_S)
        self._connect(until_s)

    def _hold(self, version: int) -> None:
        follower = self._follower
        try:
            self._connect(time.monotonic() + CALL_S)
            follower.wait_version(version, CALL_S)
        except AssertionError as error:
            self._faults.append(str(error)[:1000])
        self._faults += follower.faults[:MAX_FAULTS]
        if follower.tree is not None and follower.epoch is not None:
            self.book.write(
                history.Holds(
                    at_s=time.monotonic(),
                    client=self.client,
                    session_id=self.session_id,
                    version=follower.version,
                    epoch=follower.epoch,
                    roots=follower.tree.nested(),
                )
            )


class _Follower(Follower):
    """A follower that says while it joins, and whose tree can be looked at meanwhile."""

    joining = False

    def enter(self, timeout: float) -> None:
        self.joining = True
        try:
            self.join(timeout)
        finally:
            self.joining = False

    def wishes(self, wishes: Wishes, count: int) -> list[Wish]:
        with self._changed:
            return [wishes.next(self.tree) for _ in range(count) if self.tree is not None]


def take_part(*words: Any) -> None:
    """The process of one client."""
    Member(*words).run()


def _say(what: JsonObject) -> None:
    print(json.dumps(what), flush=True)


class Process:
    """A client's process, as the campaign sees it."""

    def __init__(self, program: list[str], folder: Path, name: str, words: list[Any]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*program, "client", json.dumps(words)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Node goes with it
            )
        self._answers: queue.Queue[JsonObject] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(json.loads(line))

    def order(self, *words: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(words).encode() + b"\n")
            self.process.stdin.flush()

    def answer(self, until_s: float) -> JsonObject | None:
        """What it said to the order before; None when it did not until then."""
        while self.process.poll() is None or not self._answers.empty():
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=max(0.0, min(0.25, until_s - time.monotonic())))
            if time.monotonic() > until_s:
                break
        return None

    def signal(self, number: signal.Signals) -> None:
        """To the client and its Node."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> int:
        """Give it a moment to end by itself; the exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.kill()
        return self.process.wait(5)

    def kill(self) -> None:
        """With its Node, where there is one."""
        self.signal(signal.SIGKILL)
        self.process.wait(5)
