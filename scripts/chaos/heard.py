"""What was heard and read of a session: judged as it comes, and kept for the journal in a compact form."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chaos.findings import Say
from chaos.history import Ends, JsonObject
from chaos.prints import name_of, print_of, without
from tests.support.tree import CLOSING_EVENTS


@dataclass(slots=True)
class Run:
    """Facts that one connection heard of one session, of one version after another from `start` on.

    prints, names: of each fact. ends: behind each whole commit, in these.
    """

    who: str
    start: int
    prints: array[int] = field(default_factory=lambda: array("q"))
    names: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))

    def commits(self) -> Iterator[tuple[int, int, int]]:
        """version, begin and end of each commit; the last may be cut off."""
        begin = 0
        for version, end in enumerate([*self.ends, len(self.prints)], self.start):
            yield version, begin, end
            begin = end


class Session:
    """All that is known of a session before its journal is looked at."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.ends: Ends | None = None
        self.runs: list[Run] = []
        self.known: dict[int, tuple[float, str, str]] = {}  # version -> since when, by whom, how
        self.reads: list[tuple[float, int, str]] = []  # asked when, version shown, who
        self.graphs: defaultdict[int, dict[int, str]] = defaultdict(dict)  # version -> print -> who read it
        self.holds: list[tuple[str, int, int]] = []  # who, version, print
        self.epochs: dict[str, str] = {}  # epoch -> to whom it was told first
        self.failures: dict[tuple[str, int, str], str] = {}  # command_id, version, code -> who heard it

    def learn(self, version: Any, at_s: float, who: str, how: str) -> None:
        """From `at_s` on this version is known to be there."""
        if type(version) is int:
            known = self.known.get(version)
            if known is None or at_s < known[0]:
                self.known[version] = (at_s, who, how)


class Stream:
    """What one connection hears of one session.

    expected: the version that is half told, or the next one.
    told:     the version in `joined`.
    fetched:  by the first GET /graph since.
    early:    acknowledgements that came before their facts.
    """

    def __init__(self, session: Session, who: str, say: Say) -> None:
        self.member = True
        self.open = False  # a commit is half told
        self.expected = self.told = 0
        self.fetched: int | None = None
        self.executing: set[str] = set()
        self.early: list[str] = []
        self._session, self._who, self._say = session, who, say
        self._joined: tuple[int, int] | None = None  # where it begins, and what was told
        self._run = Run(who, 0)

    def join(self, since: int | None, told: int, replays: bool) -> None:
        """`joined` came; facts go on after `since`, or after the version told."""
        self.member = True
        self._joined = (since + 1 if replays and since is not None else told + 1, told)
        if not self.open:  # else that commit is told to its end first
            self._begin()

    def _begin(self) -> None:
        assert self._joined is not None
        start, self.told = self._joined
        self._joined = self.fetched = None
        self.executing.clear()
        self.early.clear()
        self._from(start)

    def _from(self, version: int) -> None:
        self.expected = version
        self._run = Run(self._who, version)
        self._session.runs.append(self._run)

    def take(self, event: str, version: int, fact: JsonObject) -> None:
        """A fact came."""
        if version != self.expected:
            rule = "inside" if self.open else "missing" if version > self.expected else "repeated"
            self._say(rule, f"{self._who}: {event} of {version} where {self.expected} goes on or is the next")
            self._from(version)
        self.open = True
        for call in self.early:
            self._say("early", f"{self._who}: {call}, and then came {event} of {version}")
        self.early.clear()
        replayed = fact.get("replayed", False)
        if replayed is not (version <= self.told):
            what = f"{event} of {version}, joined at {self.told}: replayed is {replayed}"
            self._say("replayed", f"{self._who}: {what}")
        self._run.prints.append(print_of(without(fact, "replayed") if "replayed" in fact else fact))
        self._run.names.append(name_of(event, fact))
        if event in CLOSING_EVENTS:
            self._run.ends.append(len(self._run.prints))
            self.executing.discard(fact.get("command_id", ""))
            self.open = False
            self.expected = version + 1
            if self._joined is not None:
                self._begin()
