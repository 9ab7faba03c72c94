"""The rules that a campaign is judged by, the codes that it may meet, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

KEPT = 20  # violations of one rule that are told; all are counted
ANSWER_S = 5.0  # after a cure within which everybody is served: docs/protocol.md

# Each rule, and what a violation of it says.
RULES = {
    "history": "the books themselves do not fit together",
    "lost": "acknowledged, and not in the journal at that version",
    "answer": "an acknowledgement says something else than the journal",
    "body": "a commit does something else than its call asked for",
    "uninvoked": "a commit that nobody asked for",
    "twice": "one command id, two commits",
    "repeat": "a command id that was sent again was not answered from the record",
    "refused": "refused, and committed all the same",
    "gap": "the journal's versions are not 1, 2, ... up to the session's",
    "journal": "a commit that is not well made, or cannot be applied",
    "realtime": "a later call has an earlier version",
    "sequence": "calls of one connection were carried out in another order",
    "unjoined": "a fact for a client that is not in the room",
    "missing": "a fact, or a version, was left out",
    "repeated": "a fact, or a version, came again",
    "inside": "something came inside a commit",
    "order": "the facts of a commit came in another order",
    "content": "a fact came with another content",
    "phantom": "a fact that the journal does not have",
    "replayed": "`replayed` is there and should not be, or the other way round",
    "early": "an acknowledgement came before the facts of its commit",
    "resume": "`joined` goes on in a way that does not fit what was asked",
    "epoch": "another epoch than the journal's",
    "future": "a version was told that the journal does not have",
    "stale": "a read shows less than was known before it was begun",
    "snapshot": "a graph that was read is not what the journal makes of its version",
    "graph": "GET /graph at the end is not what the journal makes",
    "rows": "the rows of the file are not what the journal makes",
    "tree": "a client's tree is not what the journal makes, or not of the last version",
    "silent": "a client of which nothing, or not all, is there at the end",
    "slow": f"an answer later than {ANSWER_S} s after a cure",
    "unanswered": "no answer after a cure",
    "unprobed": "a client that was not asked after a cure",
    "code": "an error's code that the protocol does not have",
    "internal": "the code INTERNAL",
    "announced": "`command:failed` for what did not fail",
    "unended": "`command:executing`, and no ending",
}

UNCERTAIN = "STORAGE_UNCERTAIN"  # the one error that says nothing about the outcome
REUSED = "COMMAND_ID_REUSED"
INTERNAL = "INTERNAL"
# What a call is told that is really carried out: not one whose command was committed before.
REFUSALS = frozenset(
    {
        "INVALID_PARENT",
        "NODE_NOT_FOUND",
        "NODE_EXISTS",
        "ALREADY_LINKED",
        "NOT_LINKED",
        "CYCLE",
        "VERSION_CONFLICT",
        "UNDO_CONFLICT",
        "NOTHING_TO_UNDO",
        "NOTHING_TO_REDO",
    }
)
# All that the protocol has but INTERNAL, which is always a fault.
CODES = REFUSALS | {
    UNCERTAIN,
    REUSED,
    "INVALID_REQUEST",
    "INVALID_COMMAND",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "HOST_NOT_ALLOWED",
    "INVALID_SESSION",
    "TEMPLATE_NOT_FOUND",
    "PROJECT_NOT_FOUND",
    "VERSION_NOT_FOUND",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "INVALID_BLUEPRINT",
    "CHILD_NOT_ALLOWED",
    "INVALID_PROPERTY",
    "INVALID_VALUE",
    "LIMIT_EXCEEDED",
    "LAST_OWNER",
    "SESSION_IN_USE",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "RATE_LIMITED",
    "BUSY",
    "SHUTTING_DOWN",
    "STORAGE_FAILED",
    "STORAGE_FULL",
    "TOKEN_EXPIRED",
    "UNKNOWN_EVENT",
    "BINARY_NOT_SUPPORTED",
}

Say = Callable[[str, str], None]  # rule, what exactly


class Findings:
    """Violations, of which the first of each rule are kept in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: dict[str, list[str]] = {rule: [] for rule in RULES}

    def say(self, rule: str, what: str) -> None:
        kept = self._kept[rule]
        self.counts[rule] += 1
        if len(kept) < KEPT:
            kept.append(f"{rule}: {what}")

    @property
    def lines(self) -> list[str]:
        said: list[str] = []
        for rule, kept in self._kept.items():
            said += kept
            if self.counts[rule] > KEPT:
                said.append(f"{rule}: and {self.counts[rule] - KEPT} more")
        return said


def short(value: Any) -> str:
    """As much of it as a line takes."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 400 else text[:400] + "..."
