"""How long a hub serves nobody: a greenlet that naps, and how much later it wakes than it should."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from time import monotonic, thread_time

import gevent

NAP_S = 0.002


def naps() -> Iterator[tuple[float, float, float, float]]:
    """After each nap of 2 ms: now, how much too late, how much of that others had the CPU, and we.

    Seconds, of the monotonic clock. The third is the time in which this thread could
    have run and stood in the scheduler's queue: no fault of what runs in the hub.
    """
    schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    try:
        while True:
            before, queued, worked = monotonic(), _queued_s(schedstat), thread_time()
            gevent.sleep(NAP_S)
            now = monotonic()
            yield now, now - before - NAP_S, _queued_s(schedstat) - queued, thread_time() - worked
    finally:
        os.close(schedstat)


def _queued_s(schedstat: int) -> float:
    return int(os.pread(schedstat, 100, 0).split()[1]) / 1e9
