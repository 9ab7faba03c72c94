"""What was refused: counted by code, and told to the log without filling it.

A line names the code and the address, and nothing that the client said. Of each
pair one line is written in LINE_EVERY_S; it says how many there were since the
last. Source: docs/security.md, "Audit".
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from time import monotonic

from ..core.errors import TalusError

LINE_EVERY_S = 60.0
MAX_KEPT = 1_000  # pairs of code and address; those longest quiet go first

# Those that say more about the caller than about a plan: who tries the doors, or talks rubbish.
_TOLD = frozenset(
    {
        "BINARY_NOT_SUPPORTED",
        "FORBIDDEN",
        "HOST_NOT_ALLOWED",
        "INVALID_REQUEST",
        "PAYLOAD_TOO_LARGE",
        "RATE_LIMITED",
        "UNAUTHENTICATED",
        "UNKNOWN_EVENT",
    }
)

log = logging.getLogger(__name__)


class Refusals:
    """Counts them all, for all transports."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()  # by code
        self._told: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def __str__(self) -> str:
        """The counts, most first, for the log."""
        return ", ".join(f"{code} {count}" for code, count in self.counts.most_common())

    def count(self, error: TalusError, address: str) -> None:
        """One more. address: of who is refused, as the network names it."""
        self.counts[error.code] += 1
        if error.code not in _TOLD:
            return
        now = monotonic()
        pair = error.code, address
        told_s, quiet = self._told.get(pair, (now - LINE_EVERY_S, 0))
        if now - told_s < LINE_EVERY_S:
            self._told[pair] = told_s, quiet + 1
            return
        log.warning("refused %s: %s%s", address, error.code, f", and {quiet} times before" if quiet else "")
        self._told[pair] = now, 0
        self._told.move_to_end(pair)
        if len(self._told) > MAX_KEPT:
            self._told.popitem(last=False)
