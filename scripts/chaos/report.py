"""What a campaign amounts to besides what the checker counts: outcomes, and how long things took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from chaos.history import AnyRecord, Ended, Fault, Invoked

CALM_S = 1.0  # after a cure, until its consequences are over
FROZEN = "stop"  # while the server is stopped, a held hub says nothing

Window = tuple[float, float]  # from, until, in seconds of the monotonic clock


class Tally:
    """Counts of one campaign; complete once `through` was read to its end."""

    def __init__(self) -> None:
        self.ok: Counter[str] = Counter()  # by client
        self.busy_s: list[float] = []  # when somebody heard BUSY
        self.locked: list[Window] = []  # when somebody has to
        self._outcomes: Counter[str] = Counter()
        self._faults: list[tuple[str, Window]] = []
        self._began: dict[str, float] = {}
        self._answered: list[Window] = []

    def through(self, records: Iterable[AnyRecord]) -> Iterator[AnyRecord]:
        for record in records:
            match record:
                case Invoked():
                    self._began[record.call] = record.at_s
                case Ended():
                    self._ended(record)
                case Fault():
                    if record.detail.get("longer"):
                        self.locked.append((record.at_s, record.until_s))
                    self._faults.append((record.kind, (record.at_s, record.until_s + CALM_S)))
            yield record

    def _ended(self, record: Ended) -> None:
        began_s = self._began.pop(record.call, record.at_s)
        word = record.answer["code"] if record.outcome == "failed" else str(record.outcome)
        if record.answer.get("duplicate"):
            word = "duplicate"
        self._outcomes[word] += 1
        if record.outcome == "ok":
            self.ok[record.client] += 1
        if record.outcome != "unknown":
            self._answered.append((began_s, record.at_s))
        if word == "BUSY":
            self.busy_s.append(record.at_s)

    def figures(self, held: list[Window]) -> dict[str, Any]:
        """held: until when the hub was held, and how long, in seconds."""
        every = [window for _, window in self._faults]
        frozen = [window for kind, window in self._faults if kind == FROZEN]
        calm = sorted(end - began for began, end in self._answered if not _touches(every, began, end))
        gaps = [(at, gap) for at, gap in held if not _touches(frozen, at - gap, at)]
        calm_gaps = [gap for at, gap in gaps if not _touches(every, at - gap, at)]
        return {
            "outcomes": dict(self._outcomes.most_common()),
            "command to ack in calm, p50 and p99, ms": [_ms(_quantile(calm, part)) for part in (0.5, 0.99)],
            "hub held at most in calm, and ever, ms": [
                _ms(max(found, default=0.0)) for found in (calm_gaps, [gap for _, gap in gaps])
            ],
        }


def _touches(windows: list[Window], began_s: float, end_s: float) -> bool:
    return any(began_s < until and end_s > at for at, until in windows)


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
