"""How fast one client may be: token buckets, so that who floods slows itself only.

A bucket fills at a rate and holds twice that, for bursts. (A window, as rate
limiting libraries count, would let nothing through for a whole window after a
burst: docs/decisions/0011.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import ceil
from time import monotonic

from ..core.errors import RateLimited

MAX_KEYS = 10_000  # buckets kept; those longest unused go first, and are full by then


class Bucket:
    """`rate` calls a second, twice that at once; 0: as fast as it goes."""

    __slots__ = ("_left", "_rate", "_since_s")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = 2 * rate
        self._since_s = monotonic()

    def take(self) -> float:
        """0.0: go ahead. Else nothing was taken: the seconds until the next call may go."""
        wait_s = self._wait_s()
        if not wait_s:
            self._left -= 1
        return wait_s

    def queue(self) -> float:
        """Take one in any case: the seconds until it is this call's turn."""
        wait_s = self._wait_s()
        self._left -= 1
        return wait_s

    def _wait_s(self) -> float:
        if not self._rate:
            return 0.0
        now = monotonic()
        self._left = min(2 * self._rate, self._left + (now - self._since_s) * self._rate)
        self._since_s = now
        return max(0.0, (1 - self._left) / self._rate)

    def check(self) -> None:
        """Take one. Raises RateLimited."""
        wait_s = self.take()
        if wait_s:
            raise RateLimited(details={"retry_after_s": ceil(wait_s)})


class Buckets:
    """A bucket for each key: an address, a user."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def of(self, key: Hashable) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._rate)
            if len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return bucket
