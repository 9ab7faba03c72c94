"""Places at which a server that is being tested ends without a word.

`TALUS_FAILPOINT=after-commit:37` kills the process when it gets to that place
for the 37th time. Nothing of it exists unless the environment asks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

PLACES = ("before-commit", "after-commit", "after-emit")


def _armed(asked: str) -> Callable[[str], None]:
    place, _, count = asked.partition(":")
    if place not in PLACES or not count.isdigit():
        raise ValueError(
            f"TALUS_FAILPOINT={asked}: one of {', '.join(PLACES)}, a colon and a number is expected"
        )
    left = int(count)

    def reached(here: str) -> None:
        nonlocal left
        if here == place:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached


def _nothing(place: str) -> None:
    pass


failpoint: Callable[[str], None] = (
    _armed(os.environ["TALUS_FAILPOINT"]) if os.environ.get("TALUS_FAILPOINT") else _nothing
)
