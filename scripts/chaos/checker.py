"""What talus did in a campaign that its contract rules out: `check` reads the histories and says all of it.

The records come in any order of files, each file in its own order, and are read
once. What has to do with one connection alone (versions one after another,
commits whole, what is marked `replayed`) is judged as it is read. The rest waits
for the journal, which may come last, in a compact form:

    a fact that was heard     16 bytes: a print of it, and one of its event and command
    a graph that was read     a print, kept by version
    a tree that a client has  its JSON, once however many have the same
    a call                    about 1 kB
    the final journal         as it is, about 2 kB for each fact

Then each session's journal is walked once, with a tree beside it.

Times are seconds of the one clock of the machine. A version is known from the
moment at which anybody had heard it, been answered it or read it; whatever was
begun after that has to come after it.

A session's history has to begin with calls that were written down: the root that
POST /projects makes would be a commit that nobody asked for. The database has one
epoch: a campaign that restores a backup is one before it and one after it.
Source: docs/protocol.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Any, NamedTuple

import msgspec

from chaos.answers import Call, Command
from chaos.findings import ANSWER_S, CODES, INTERNAL, UNCERTAIN, Findings, short
from chaos.heard import Session, Stream
from chaos.history import (
    AnyRecord,
    Ended,
    Ends,
    Fault,
    Fetched,
    Heard,
    Holds,
    Invoked,
    Joined,
    JsonObject,
    Probed,
    Record,
)
from chaos.journal import Journal
from chaos.prints import encode, print_of_roots
from tests.support.tree import FACTS, difference

_decode = msgspec.json.decode


class Verdict(NamedTuple):
    """violations: "rule: what exactly", KEPT of each rule, and a line that counts the others.

    counts:  all violations by rule.
    figures: what there was to judge.
    """

    violations: list[str]
    counts: dict[str, int]
    figures: JsonObject


def check(records: Iterable[AnyRecord], *, clients: Collection[str] | None = None) -> Verdict:
    """Judge a campaign.

    clients: who has to have a tree at the end; None: whoever is in a session at the end of his book.
    """
    return _Checker(clients).judge(records)


class _Checker:
    def __init__(self, clients: Collection[str] | None) -> None:
        self._clients = clients
        self._findings = Findings()
        self._say = self._findings.say
        self._sessions: dict[str, Session] = {}
        self._calls: dict[str, Call] = {}
        self._streams: dict[tuple[str, int, str], Stream] = {}
        self._latest: dict[tuple[str, str], Stream] = {}  # client, session -> on its last connection
        self._shown: dict[int, bytes] = {}  # print -> roots that a client holds
        self._held: set[tuple[str, str]] = set()  # client, session
        self._faults: list[Fault] = []
        self._probes: list[Probed] = []
        self._first_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}
        self._tally: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def judge(self, records: Iterable[AnyRecord]) -> Verdict:
        takes: dict[type[Record], Callable[[Any], None]] = {
            Invoked: self._invoked,
            Ended: self._ended,
            Joined: self._joined,
            Heard: self._heard,
            Fetched: self._fetched,
            Fault: self._faults.append,
            Probed: self._probes.append,
            Holds: self._holds,
            Ends: self._ends,
        }
        first_s, last_s = self._first_s, self._last_s
        for record in records:
            takes[type(record)](record)
            first_s.setdefault(record.client, record.at_s)
            last_s[record.client] = record.at_s
        sessions: defaultdict[str, defaultdict[str, list[Call]]] = defaultdict(lambda: defaultdict(list))
        for call in self._calls.values():
            self._session(call.session_id)
            sessions[call.session_id][call.command_id].append(call)
        for session in self._sessions.values():
            self._judge_session(session, sessions[session.id])
        self._check_sequence()
        self._check_trees()
        self._check_probes()
        return Verdict(self._findings.lines, dict(self._findings.counts), self._figures())

    def _session(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        return session

    # -- as it is read --

    def _invoked(self, record: Invoked) -> None:
        if record.call in self._calls:
            self._say("history", f"two calls are named {record.call}")
        self._calls[record.call] = Call(
            record.call,
            record.client,
            record.session_id,
            record.kind,
            record.command_id,
            encode(record.body),
            record.at_s,
            record.connection,
        )

    def _ended(self, record: Ended) -> None:
        call = self._calls.get(record.call)
        if call is None or call.ended:
            self._say("history", f"{record.call} ended, and was not under way")
            return
        answer = record.answer
        call.ended, call.outcome, call.answer = True, record.outcome, encode(answer)
        if call.outcome == "ok":
            call.version, call.duplicate = answer.get("version"), answer.get("duplicate", False)
            self._session(call.session_id).learn(call.version, record.at_s, record.client, "acknowledged")
            self._check_early(call, call.version or 0)
        elif call.outcome == "failed" or answer:
            call.code = answer.get("code", "")
            self._tally["codes"][call.code] += 1
            self._check_code(call.code, str(call))
            if call.code == UNCERTAIN:
                call.outcome = "unknown"

    def _check_early(self, call: Call, version: int) -> None:
        """Where the caller hears his own commit, it has been told; else it is wrong to tell it afterwards."""
        if call.connection is not None:
            stream = self._streams.get((call.client, call.connection, call.session_id))
            if stream is not None and stream.member and version > stream.told and version >= stream.expected:
                stream.early.append(f"{call} was acknowledged at {version}")

    def _check_code(self, code: Any, what: str) -> None:
        if code == INTERNAL:
            self._say("internal", what)
        elif code not in CODES:
            self._say("code", f"{code!r}: {what}")

    def _joined(self, record: Joined) -> None:
        session = self._session(record.session_id)
        payload, since = record.payload, record.since
        version, resume = payload["version"], payload["resume"]
        who = f"{record.client}, connection {record.connection} in {record.session_id}"
        self._tally["joins"][resume] += 1
        session.epochs.setdefault(payload["epoch"], who)
        session.learn(version, record.at_s, record.client, "joined")
        if since is not None and since > version:
            self._say("stale", f"{who}: joined at {version} with since {since}")
        if resume not in _fitting(since, version):
            self._say("resume", f"{who}: {resume} at {version} with since {since}")
        place = (record.client, record.connection, record.session_id)
        stream = self._streams.get(place)
        if stream is None:
            stream = self._streams[place] = Stream(session, who, self._say)
        stream.join(since, version, resume == "replay")
        self._latest[record.client, record.session_id] = stream

    def _heard(self, record: Heard) -> None:
        event, payload = record.event, record.payload
        session_id, version = payload.get("session_id", ""), payload.get("version")
        stream = self._streams.get((record.client, record.connection, session_id))
        if event in FACTS:
            self._tally["facts"]["replayed" if "replayed" in payload else "live"] += 1
            if stream is None or not (stream.member or stream.open):
                self._say("unjoined", f"{record.client}, connection {record.connection}: {short(payload)}")
            elif type(version) is not int or payload.get("event") != event:
                self._say("content", f"{record.client} heard {event}: {short(payload)}")
            else:
                self._sessions[session_id].learn(version, record.at_s, record.client, "heard")
                stream.take(event, version, payload)
            return
        self._tally["notices"][event] += 1
        if event == "error":
            self._check_code(payload.get("code"), f"{record.client} heard error {short(payload)}")
        elif stream is None:
            return
        elif event == "left":
            stream.member = False
        elif event.startswith(("session:", "command:")):
            self._notice(record, stream)

    def _notice(self, record: Heard, stream: Stream) -> None:
        event, payload = record.event, record.payload
        session = self._sessions[payload["session_id"]]
        version, command_id = payload.get("version"), payload.get("command_id", "")
        if stream.open:
            self._say(
                "inside", f"{record.client}: {event} inside the commit of {stream.expected} in {session.id}"
            )
        session.learn(version, record.at_s, record.client, "heard")
        if event == "command:executing":
            stream.executing.add(command_id)
        elif event == "command:failed":
            stream.executing.discard(command_id)
            code = payload.get("error", {}).get("code")
            self._check_code(code, f"{record.client} heard {short(payload)}")
            session.failures.setdefault((command_id, version or 0, code), record.client)
        elif event == "session:deleted":
            stream.member = False

    def _fetched(self, record: Fetched) -> None:
        session, graph = self._session(record.session_id), record.payload
        version, asked = graph["version"], record.version
        self._tally["graphs"]["live" if asked is None else "past"] += 1
        session.epochs.setdefault(graph["epoch"], f"{record.client} in GET /graph of {session.id}")
        session.learn(version, record.at_s, record.client, "read")
        if graph["session_id"] != session.id or asked not in (None, version):
            self._say("snapshot", f"{record.client} asked for {session.id} at {asked}: {short(graph)}")
        if asked is None:
            session.reads.append((record.asked_s, version, record.client))
            stream = self._latest.get((record.client, session.id))
            if stream is not None and stream.fetched is None:
                stream.fetched = version
        session.graphs[version].setdefault(print_of_roots(graph["roots"]), record.client)

    def _holds(self, record: Holds) -> None:
        session = self._session(record.session_id)
        who = f"{record.client} in {session.id}"
        self._held.add((record.client, session.id))
        session.epochs.setdefault(record.epoch, f"{who} at the end")
        shown = print_of_roots(record.roots)
        self._shown.setdefault(shown, encode(record.roots))
        session.holds.append((who, record.version, shown))
        stream = self._latest.get((record.client, session.id))
        if stream is None:
            return
        heard = stream.expected - 1
        # The graph that it fetched when it joined may show what is still on its way.
        if max(heard, stream.fetched or 0) < record.version:
            self._say("silent", f"{who} holds {record.version}, and was told of no more than {heard}")
        if stream.executing:
            self._say("unended", f"{who}: {sorted(stream.executing)[:5]}")

    def _ends(self, record: Ends) -> None:
        session = self._session(record.session_id)
        if session.ends is not None:
            self._say("history", f"{session.id} ends twice")
        session.ends = record

    # -- with the journal --

    def _judge_session(self, session: Session, calls: dict[str, list[Call]]) -> None:
        ends = session.ends
        if ends is None:
            self._say("history", f"nothing says how {session.id} ended")
            return
        for epoch, where in session.epochs.items():
            if epoch != ends.epoch:
                self._say("epoch", f"{epoch} for {where}, and {ends.epoch} in the end")
        journal = Journal(ends, self._say)
        journal.check()
        for commit in journal.commits:
            self._tally["commits"][commit["command_type"]] += 1
            if commit["command_id"] not in calls:
                self._say("uninvoked", f"{session.id} at {commit['version']}: {commit['command_id']}")
        for run in session.runs:
            journal.compare(run)
        roots = journal.walk(session.graphs)
        self._compare_ends(session, ends, roots)
        begun: list[tuple[float, int, str]] = []
        for command_id, same in calls.items():
            commits = journal.by_id.get(command_id, [])
            command = Command(same, commits[0] if commits else None)
            command.check(session.known, self._say)
            if commits and command.began:
                begun.append((command.began.invoked_s, commits[0]["version"], str(command.began)))
            self._tally["unknown"]["committed"] += bool(commits and not command.oks)
        self._check_failures(session, journal, calls)
        self._check_times(session, journal, begun)

    def _compare_ends(self, session: Session, ends: Ends, roots: list[JsonObject] | None) -> None:
        """The file's rows, GET /graph and every client's tree are what the journal makes."""
        right = ends.graph if roots is None else roots
        for rule, shown in (("graph", ends.graph), ("rows", ends.rows)):
            if unlike := difference(right, shown):
                self._say(rule, f"{session.id}: {short(unlike)}")
        of_all = print_of_roots(right)
        for who, version, held in session.holds:
            if version != ends.version:
                self._say("tree", f"{who} holds version {version} of {ends.version}")
            elif held != of_all:
                self._say("tree", f"{who}: {short(difference(right, _decode(self._shown[held])))}")

    def _check_failures(self, session: Session, journal: Journal, calls: dict[str, list[Call]]) -> None:
        """Whatever the room was told to have failed did fail, at that time."""
        for (command_id, version, code), who in session.failures.items():
            what = f"{who} heard in {session.id} at {version} that {command_id} failed with {code}"
            if command_id not in calls:
                self._say("announced", f"{what}, which nobody asked for")
                continue
            commits = journal.by_id.get(command_id)
            if not commits:
                continue
            committed = commits[0]["version"]
            if version >= committed:
                self._say("announced", f"{what}, and it was committed at {committed}")
            elif all(call.outcome == "ok" for call in calls[command_id]):
                self._say("announced", f"{what}, and all who asked for it were acknowledged")

    def _check_times(self, session: Session, journal: Journal, begun: list[tuple[float, int, str]]) -> None:
        """Whatever was begun after a version was known comes after it, and a read shows it."""
        last = journal.last
        for version, (_, who, how) in session.known.items():
            if version > last:
                self._say("future", f"{session.id}: {version} {how} by {who}, and it ends at {last}")
        known = sorted((at_s, version) for version, (at_s, _, _) in session.known.items() if version <= last)
        times = [at_s for at_s, _ in known]
        newest = [0]
        for _, version in known:
            newest.append(max(newest[-1], version))

        def told(version: int) -> str:
            _, who, how = session.known[version]
            return f"{session.id}: {version} was {how} by {who} before"

        for invoked_s, version, call in begun:
            before = newest[bisect_left(times, invoked_s)]
            if before >= version:
                self._say("realtime", f"{told(before)} {call} was sent, which is at {version}")
        for asked_s, version, who in session.reads:
            before = newest[bisect_left(times, asked_s)]
            if before > version:
                self._say("stale", f"{told(before)} {who} asked for the graph, which is of {version}")

    # -- with all of it --

    def _check_sequence(self) -> None:
        """Calls of one connection are carried out in the order in which they were sent."""
        latest: dict[tuple[str, int, str], Call] = {}
        for call in self._calls.values():
            if call.connection is None or call.version is None or call.duplicate:
                continue
            place = (call.client, call.connection, call.session_id)
            before = latest.get(place)
            if before is not None and (before.version or 0) > call.version:
                self._say("sequence", f"{before} is at {before.version}, and {call} at {call.version}")
            latest[place] = call

    def _check_trees(self) -> None:
        """Whoever is in a session at the end has shown his tree of it."""
        present = {place for place, stream in self._latest.items() if stream.member}
        for client, session_id in sorted(present - self._held):
            if self._clients is None or client in self._clients:
                self._say("silent", f"{client} is in {session_id}, and shows no tree of it")
        for client in sorted(set(self._clients or ()) - {client for client, _ in present | self._held}):
            self._say("silent", f"{client} is in no session")

    def _check_probes(self) -> None:
        """After each cure everybody is served.

        Faults that overlap have one cure. Who has to be asked: clients that wrote something before the
        cure and after it, and that are asked at all.
        """
        for probe in self._probes:
            waited_s = probe.at_s - max(probe.asked_s, probe.cured_s)
            if not probe.answered:
                self._say("unanswered", f"{probe.client}, {waited_s:.1f} s after {self._cure(probe.cured_s)}")
            elif waited_s > ANSWER_S:
                self._say("slow", f"{probe.client}: {waited_s:.1f} s after {self._cure(probe.cured_s)}")
        rounds: list[tuple[float, float, str]] = []  # from, until, what
        for fault in sorted(self._faults, key=lambda fault: fault.at_s):
            if rounds and fault.at_s <= rounds[-1][1]:
                at_s, until_s, what = rounds[-1]
                rounds[-1] = (at_s, max(until_s, fault.until_s), f"{what}, {fault.kind}")
            else:
                rounds.append((fault.at_s, fault.until_s, fault.kind))
        for at, (_, until_s, what) in enumerate(rounds):
            next_s = rounds[at + 1][0] if at + 1 < len(rounds) else inf
            asked = {probe.client for probe in self._probes if until_s <= probe.cured_s < next_s}
            for client in sorted({probe.client for probe in self._probes} - asked):
                if self._first_s[client] < until_s <= self._last_s[client]:
                    self._say("unprobed", f"{client} after {what} cured at {until_s:.3f}")

    def _cure(self, cured_s: float) -> str:
        kinds = [fault.kind for fault in self._faults if fault.until_s == cured_s]
        return f"the cure of {', '.join(kinds) or 'something'} at {cured_s:.3f}"

    def _figures(self) -> JsonObject:
        """What there was to judge: counts, and seconds."""
        tally = {name: dict(sorted(counts.items())) for name, counts in self._tally.items()}
        waited = [each.at_s - max(each.asked_s, each.cured_s) for each in self._probes if each.answered]
        outcomes = Counter(call.outcome for call in self._calls.values())
        return {
            "sessions": len(self._sessions),
            "clients": len(self._first_s),
            "calls": dict(sorted(outcomes.items())),
            "repeats answered from the record": sum(call.duplicate for call in self._calls.values()),
            "committed and never acknowledged": tally.get("unknown", {}).get("committed", 0),
            "codes": tally.get("codes", {}),
            "commits": tally.get("commits", {}),
            "joins": tally.get("joins", {}),
            "facts heard": tally.get("facts", {}),
            "notices heard": sum(tally.get("notices", {}).values()),
            "graphs read": tally.get("graphs", {}),
            "trees held": len(self._held),
            "faults": dict(sorted(Counter(fault.kind for fault in self._faults).items())),
            "probes": len(self._probes),
            "worst answer after a cure, s": round(max(waited, default=0.0), 3),
        }


def _fitting(since: int | None, version: int) -> set[str]:
    """How a join may go on, in one epoch."""
    if since is None:
        return {"live"}
    if since == version:
        return {"current"}
    return {"replay", "snapshot"} if since < version else {"snapshot"}
