"""Calls, what they were answered, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import msgspec

from chaos.findings import REFUSALS, REUSED, Say, short
from chaos.history import JsonObject
from chaos.journal import does
from chaos.prints import print_of, without
from tests.support.tree import same_json

_decode = msgspec.json.decode


@dataclass(slots=True)
class Call:
    """One sending of a command, an undo or a redo. body, answer: JSON, as they are many."""

    name: str
    client: str
    session_id: str
    kind: str
    command_id: str
    body: bytes
    invoked_s: float
    connection: int | None
    ended: bool = False
    outcome: str = "unknown"
    answer: bytes = b"{}"
    version: int | None = None
    code: str = ""
    duplicate: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.kind} {self.command_id})"

    @property
    def wish(self) -> JsonObject:
        """What two calls have in common that are the same."""
        body = _decode(self.body)
        if self.kind != "execute":
            return {"kind": self.kind, "scope": body.get("scope", "session")}
        return {"kind": self.kind, "command_type": body["command_type"], "data": body["data"]}

    def misfit(self, commit: JsonObject) -> str:
        """How the answer differs from the commit; "" where it does not."""
        answer = _decode(self.answer)
        closing = commit["events"][-1] if commit["events"] else {}
        result = closing.get("result", {})
        expected = {
            "success": True,
            "command_id": self.command_id,
            "command_type": closing.get("command_type"),
            "result": result,
            "node_id": result.get("node_id"),
            "target": commit["target"],
        }
        for name, value in expected.items():
            if not same_json(answer.get(name), value):
                return f"{name} is {answer.get(name)!r}, in the journal {value!r}"
        return ""


class Command:
    """All calls with one command id in one session, and the commit that came of them."""

    def __init__(self, calls: list[Call], commit: JsonObject | None) -> None:
        self.calls, self.commit = calls, commit
        self.oks = [call for call in calls if call.outcome == "ok"]
        self.possible = [call for call in calls if call.outcome != "failed"]
        self._fresh = [call for call in self.oks if not call.duplicate]

    @property
    def began(self) -> Call | None:
        """The call that was carried out; where no answer tells, the first that may have been."""
        return min(self._fresh or self.possible, key=lambda call: call.invoked_s, default=None)

    def check(self, known: dict[int, tuple[float, str, str]], say: Say) -> None:
        """known: since when each version was known."""
        commit = self.commit
        for call in self.oks:
            if commit is None or commit["version"] != call.version:
                found = "nowhere" if commit is None else f"at {commit['version']}"
                say("lost", f"{call}, acknowledged at {call.version}, is {found} in {call.session_id}")
            elif unlike := call.misfit(commit):
                say("answer", f"{call} at {call.version}: {unlike}")
        self._check_repeats(say)
        if commit is None:
            return
        known_s = known.get(commit["version"], (inf,))[0]
        for call in self.calls:
            if call.code in REFUSALS and known_s < call.invoked_s:
                say("repeat", f"{call} is refused with {call.code} after it was committed")
        if not self.possible:
            say("refused", f"{self.calls[0]} with {self.calls[0].code}: it is at {commit['version']}")
        elif not any(does(call.wish, commit) for call in self.possible):
            say("body", f"{self.possible[0]} at {commit['version']}: {short(commit)}")

    def _check_repeats(self, say: Say) -> None:
        """Once carried out, and answered the same each time; another command with this id is refused."""
        oks, reused = self.oks, [call for call in self.calls if call.code == REUSED]
        if len(self.calls) == 1:
            if oks and oks[0].duplicate:
                say("repeat", f"{oks[0]} is a duplicate of nothing")
        elif oks:
            answers = [_decode(call.answer) for call in oks]
            if len({print_of(without(answer, "duplicate", "graph")) for answer in answers}) > 1:
                say("repeat", f"{oks[0]} is answered {short(answers)}")
            if len(self._fresh) > 1:
                say("repeat", f"{self._fresh[0]} is carried out anew as {self._fresh[1]}")
            if len({print_of(call.wish) for call in oks}) > 1:
                say("repeat", f"{oks[0]} is another command than its repeat, which is answered as one")
        if reused and (self.commit is None or len({print_of(call.wish) for call in self.calls}) == 1):
            say("repeat", f"{reused[0]} is refused with {REUSED}, and no other command has this id")
