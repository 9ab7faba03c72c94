"""A clock that a test turns."""

from __future__ import annotations


class Clock:
    """Stands in for `time.monotonic`; shows `now_s` until a test sets it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s
