"""A client that keeps one session's tree through lost connections, as the contract tells it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.clients import TIMEOUT_S, Client, Heard, NotHeard
from tests.support.tree import CLOSING_EVENTS, FACTS, Tree

JsonObject = dict[str, Any]

# notices may stand between commits, never inside one
NOTICES = frozenset(
    {
        "command:executing",
        "command:failed",
        "session:connected",
        "session:disconnected",
        "session:presence",
        "session:deleted",
        "joined",
        "left",
        "pong",
        "error",
    }
)


class Follower:
    """Keeps a `Tree` equal to the server's graph.

    It holds the facts of a commit back until the closing event and applies them
    whole, remembers the last whole version and the epoch, asks `since` that
    version after a lost connection, fetches the graph where it is told to, and
    drops facts that a fetched graph already shows. What the server does wrong
    is kept in `faults`.

    open_client: gives a new connected client.
    fetch_graph: gives the answer of `GET /graph` for the session.
    """

    def __init__(
        self, session_id: str, open_client: Callable[[], Client], fetch_graph: Callable[[], JsonObject]
    ) -> None:
        self.session_id = session_id
        self._open_client = open_client
        self._fetch_graph = fetch_graph
        self.client: Client | None = None
        self.tree: Tree | None = None
        self.epoch: str | None = None
        self.facts = 0  # applied, or dropped by rule
        self.resumes: list[str] = []
        self.faults: list[str] = []
        self._commit: list[JsonObject] = []
        self._held: list[JsonObject] | None = []  # facts that wait for the graph; None: apply at once
        self._fetched = 0  # version of the last graph fetched
        self._replaying = False
        self._changed = threading.Condition()

    @property
    def version(self) -> int:
        """The last commit applied whole; 0 before the first graph."""
        return self.tree.version if self.tree is not None else 0

    def join(self, timeout: float = TIMEOUT_S) -> JsonObject:
        """Connect (anew) and join, `since` the last whole version where there is one; what `joined` said."""
        client = self._open_client()
        self.client = client
        client.listeners.append(lambda heard: self._hear(client, heard))
        since = self.tree.version if self.tree is not None else None
        joined = client.join(self.session_id, since, self.epoch if since is not None else None, timeout)
        if joined["resume"] in ("live", "snapshot"):
            graph = self._fetch_graph()
            self._take_graph(graph, joined)
        return joined

    def cut(self) -> None:
        """Lose the connection without a word."""
        if self.client is not None:
            self.client.cut()
            self.client = None

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def wait_version(self, version: int, timeout: float = TIMEOUT_S) -> None:
        """Until the tree holds `version`, or one after it."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self.tree is None or self.tree.version < version:
                self.check()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotHeard(
                        f"{self.client} holds version {self.version} after {timeout} s, not {version}; "
                        f"resumes {self.resumes}, open commit {[f['event'] for f in self._commit]}"
                    )
                self._changed.wait(min(left, 0.25))

    def check(self) -> None:
        """Raise when the server has done anything wrong so far."""
        assert not self.faults, f"{self.client}: {self.faults[:3]}"

    def _take_graph(self, graph: JsonObject, joined: JsonObject) -> None:
        with self._changed:
            if graph["version"] < joined["version"]:
                self.faults.append(f"graph {graph['version']} is older than joined {joined['version']}")
            if graph["epoch"] != joined["epoch"]:
                self.faults.append(f"graph of epoch {graph['epoch']}, joined {joined['epoch']}")
            self.tree = Tree.of(graph)
            self._fetched = graph["version"]
            held, self._held = self._held or [], None
            for fact in held:
                self._take(fact)
            self._changed.notify_all()

    def _hear(self, client: Client, heard: Heard) -> None:
        if client is not self.client:
            return
        with self._changed:
            try:
                self._follow(heard)
            except Exception as fault:  # kept, so that the test says it and not the client's thread
                self.faults.append(f"{type(fault).__name__}: {fault}")
            self._changed.notify_all()

    def _follow(self, heard: Heard) -> None:
        payload = heard.payload
        elsewhere = (
            isinstance(payload, dict) and payload.get("session_id", self.session_id) != self.session_id
        )
        if elsewhere:
            return
        if heard.name == "joined":
            self._joined(payload)
        elif heard.name in FACTS:
            self._fact(payload)
        elif heard.name in NOTICES and self._commit:
            self.faults.append(f"{heard.name} inside the commit {self._commit[-1]}: {payload}")
        elif heard.name.startswith(("session:", "command:")) and heard.name != "session:deleted":
            self._replaying = False

    def _joined(self, joined: JsonObject) -> None:
        self._commit = []
        resume = joined["resume"]
        self.resumes.append(resume)
        known = self.epoch
        self.epoch = joined["epoch"]
        self._replaying = resume == "replay"
        self._held = [] if resume in ("live", "snapshot") else None
        if resume in ("current", "replay"):
            if self.tree is None or known != self.epoch:
                self.faults.append(f"{resume} to one who holds no tree of this epoch")
            elif resume == "current" and self.tree.version != joined["version"]:
                self.faults.append(f"current at {joined['version']} for {self.tree.version}")

    def _fact(self, fact: JsonObject) -> None:
        if fact.get("replayed", False) and not self._replaying:
            self.faults.append(f"replayed after a live event: {fact}")
        if not fact.get("replayed", False):
            self._replaying = False
        if self._held is not None:
            self._held.append(fact)
        else:
            self._take(fact)

    def _take(self, fact: JsonObject) -> None:
        self.facts += 1
        assert self.tree is not None
        version = fact["version"]
        if version <= self.tree.version:
            if version > self._fetched:
                self.faults.append(f"version {version} came again at {self.tree.version}: {fact}")
            return
        if self._commit and self._commit[0]["version"] != version:
            self.faults.append(f"{fact} inside the commit of version {self._commit[0]['version']}")
        self._commit.append(fact)
        if fact["event"] in CLOSING_EVENTS:
            commit, self._commit = self._commit, []
            self.tree.apply_commit(commit)
