"""The writer's queue: a line for each caller, and the lines are served in turn.

Whoever asks for much stands behind himself: a batch takes one job of each line,
then a second one of each, and so on. The writer cuts it off when its time is up.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from .jobs import Appoint, Call, Job

MAX_BATCH_JOBS = 256  # in one commit
MAX_BATCH_WEIGHT = 2_000_000  # bytes of requests and facts in one commit, so that publishing it is quick


class Queue:
    """Jobs that wait; those of one caller stay in order."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Job]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, job: Job) -> None:
        self._lines.setdefault(job.line, deque()).append(job)
        self._count += 1

    def put_back(self, jobs: list[Job]) -> None:
        """Jobs that were taken and not begun: their lines are the next."""
        for job in reversed(jobs):
            line = job.line
            self._lines.setdefault(line, deque()).appendleft(job)
            self._lines.move_to_end(line, last=False)
            self._count += 1

    def take(self) -> list[Job]:
        """The jobs of the next commit.

        No command_id twice, so that a repeat finds the first on record; and nothing
        after a change of roles, so that it is decided by those.
        """
        batch: list[Job] = []
        ids = set()
        weight = 0
        while self._lines and len(batch) < MAX_BATCH_JOBS and weight < MAX_BATCH_WEIGHT:
            line, waiting = next(iter(self._lines.items()))
            job = waiting[0]
            if isinstance(job, Call) and job.chosen:
                key = (job.session.no, job.command_id)
                if key in ids:
                    break
                ids.add(key)
            batch.append(waiting.popleft())
            weight += job.weight
            if waiting:
                self._lines.move_to_end(line)
            else:
                del self._lines[line]
            if isinstance(job, Appoint):
                break
        self._count -= len(batch)
        return batch

    def take_all(self) -> list[Job]:
        """All that wait."""
        jobs = [job for waiting in self._lines.values() for job in waiting]
        self._lines.clear()
        self._count = 0
        return jobs
