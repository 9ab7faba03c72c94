"""The writer: one greenlet that owns the queue, the order and the emits.

A job's life has named stages. It is taken from the queue with all that waits
there; answered from the record if its command_id was committed before; decided
on the graph as the jobs before it will have left it, and applied; committed
with the rest of its batch on the one native thread that writes; published, so
that facts leave after the commit only and in its order; and answered. Until the
commit returns, reads and joins see the session as it was. If it fails, the
inverse facts take the graph back and the whole batch answers the storage error.
Source: docs/protocol.md, "Commands"; docs/decisions/0001, 0002 and 0003.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, TypeVar

import gevent
from gevent.event import Event

from ..core import history
from ..core.decide import decide
from ..core.errors import (
    Busy,
    CommandIdReused,
    InvalidSession,
    LastOwner,
    NotFound,
    NothingToRedo,
    NothingToUndo,
    SessionInUse,
    ShuttingDown,
    StorageFailed,
    StorageUncertain,
    TalusError,
    UndoConflict,
    VersionConflict,
)
from ..core.facts import Fact
from ..core.records import CommitRecord, Plan, SessionRecord
from ..core.summary import describe
from ..store.changes import Appointment, Change, NewCommit, NewSession, NewState, Removal
from .access import Access
from .announce import Announcement, Committed, Deleted, Publish, Refused
from .disk import Disk
from .failpoints import failpoint
from .jobs import Answer, Appoint, Call, Create, Execute, Job, Remove, Turn
from .pace import LET_GO, TURN_S, Pace, let_go
from .queue import Queue
from .sessions import Session, Sessions
from .tidying import Tidying

MAX_QUEUE = 20_000  # jobs; past that the answer is BUSY
# A batch is decided for so long, or for half as long as what came since the last one took, which in a room
# of a thousand is much: who comes in between waits little longer for it, and its cost is shared by many.
DECIDE_S = 0.001
READ_ONLY = "an fsync failed: the server is read-only until it is restarted"
MAX_NAMED = 100  # commands in the details of an UNDO_CONFLICT

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Draft:
    """What a batch does to one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.version = session.version
        self.facts = session.facts
        self.undo_available = session.undo_available
        self.redo_available = session.redo_available
        self.announcements: list[Announcement] = []
        self.commits: list[NewCommit] = []
        self.announced: list[Execute] = []  # whose outcome the room hears
        self.store: Job | None = None  # the session gets its row with this batch, because of this job
        self.remove: Remove | None = None
        self.appoint: Appoint | None = None


class Writer:
    """Owner of all changes. `submit` queues; everything else happens in its greenlet."""

    def __init__(
        self,
        disk: Disk,
        sessions: Sessions,
        access: Access,
        publish: Publish,
        now_ms: Callable[[], int],
    ) -> None:
        self._disk = disk
        self._sessions = sessions
        self._access = access
        self._publish = publish
        self._now_ms = now_ms
        self.on_commit: Callable[[Session], None] | None = None  # told after the room
        self._queue = Queue()
        self._wake = Event()
        self._closing = False
        self._drain_until_s = inf  # on the monotonic clock: what is queued then is refused
        self._tidying = Tidying(disk)
        self._decided_s: float | None = None  # when the last batch was, if no rest came after it
        self._greenlet = gevent.spawn(self._run)

    @property
    def failing(self) -> str | None:
        """Why nothing can be written, in words; None while all is well."""
        refusal = self._read_only
        if refusal is not None:
            return refusal.message
        return "the writer has stopped" if self._greenlet.dead else None

    @property
    def _read_only(self) -> TalusError | None:
        """What everybody hears who wants to change something, once the disk has failed for good."""
        failure = self._disk.failure
        if failure is None:
            return None
        return StorageUncertain(READ_ONLY) if isinstance(failure, StorageUncertain) else failure

    def submit(self, job: Job) -> None:
        """Queue a job without waiting. Raises ShuttingDown, Busy or StorageUncertain at once."""
        if self._closing:
            raise ShuttingDown()
        if (refusal := self._read_only) is not None and not isinstance(job, Call):
            raise refusal  # a call may be a repeat, and of a command its room hears as well: in its turn
        if self._greenlet.dead:
            raise StorageFailed("The writer has stopped")
        if len(self._queue) >= MAX_QUEUE:
            raise Busy()
        job.session.pins += 1
        self._queue.put(job)
        self._wake.set()

    @property
    def rested_s(self) -> float:
        """How long ago the last commit was."""
        return self._tidying.rested_s

    def note(self, *changes: Change) -> None:
        """Write what is no commit, beside those; waits. Raises as `submit` and the disk do."""
        if (refusal := self._read_only) is not None:
            raise refusal
        self._disk.write(list(changes))
        self._tidying.grew()
        self._wake.set()  # for the checkpoint

    def close(self, drain_s: float = inf, most_s: float | None = None) -> None:
        """Finish what is queued, answer it, and move the WAL into the file.

        drain_s: for the queue; what is left then is answered SHUTTING_DOWN.
        most_s:  for all of it, with a disk that makes us wait.
        """
        self._closing = True
        self._drain_until_s = monotonic() + drain_s
        self._wake.set()
        self._greenlet.join(most_s)

    def _run(self) -> None:
        while True:
            if self._queue and (refusal := self._read_only) is not None:
                self._refuse_queued(refusal)
            elif self._queue and monotonic() > self._drain_until_s:
                self._refuse_queued(ShuttingDown())
            elif self._queue:
                batch = self._queue.take()
                try:
                    self._carry_out(batch)
                except Exception:
                    # Not a refusal, a mistake of ours: nothing of the batch was
                    # committed, or it was and is published; answer and go on.
                    log.exception("a batch of %d failed", len(batch))
                    self._answer([(job, TalusError()) for job in batch])
            elif self._closing:
                break
            else:
                self._rest()
        self._tidying.checkpoint()

    def _refuse_queued(self, error: TalusError) -> None:
        """A repeat is answered from the record all the same, if that can be read."""
        jobs = self._queue.take_all()
        outcomes: dict[Job, Answer | TalusError] = {}
        if not isinstance(error, ShuttingDown):
            with suppress(TalusError):
                recorded = self._recorded(jobs)
                for job in jobs:
                    repeated = _repeated(job, recorded)
                    if repeated is not None:
                        outcomes[job] = repeated
            commands = [job for job in jobs if isinstance(job, Execute) and job not in outcomes]
            outcomes |= self._tell_refused(commands, error)
        self._answer([(job, outcomes.get(job, error)) for job in jobs])

    def _rest(self) -> None:
        """Wait for jobs; meanwhile tidy the file."""
        self._decided_s = None
        self._wake.clear()
        self._tidying.rest(self._wake)

    def _carry_out(self, batch: list[Job]) -> None:
        drafts: dict[int, _Draft] = {}
        answers: list[tuple[Job, Answer | TalusError]] = []
        began_s = monotonic()
        until_s = began_s + max(DECIDE_S, (began_s - (self._decided_s or began_s)) / 2)
        try:
            recorded = self._recorded(batch)
            for at, job in enumerate(batch):
                draft = drafts.get(job.session.no)
                if draft is None:
                    draft = drafts[job.session.no] = _Draft(job.session)
                unrecorded = isinstance(job, Turn | Remove) and draft.commits
                if unrecorded or (at and monotonic() > until_s):
                    # What can be undone is asked of the journal, which does not hold
                    # this batch yet: such a job begins the next one, as does what is
                    # left when the time is up.
                    self._queue.put_back(batch[at:])
                    del batch[at:]
                    break
                answers.append((job, self._decide(job, draft, recorded)))
            self._decided_s = monotonic()
            changes = self._changes(drafts)
            if changes:
                self._tidying.grew()
                failpoint("before-commit")
                self._disk.write(changes)
                self._tidying.grew()
                failpoint("after-commit")
        except BaseException as error:
            for draft in drafts.values():
                draft.session.take_back()
                draft.session.settle()
            if not isinstance(error, TalusError):
                raise
            self._fail(batch, error, answers, drafts)
            return
        for draft in drafts.values():
            self._conclude(draft)
        self._answer(answers)
        self._tidying.after_batch(bool(changes))
        gevent.sleep(TURN_S)
        failpoint("after-emit")
        for draft in drafts.values():
            for commit in draft.commits:
                if len(commit.facts) > LET_GO:
                    let_go(commit.facts)

    def _recorded(self, batch: list[Job]) -> dict[tuple[int, str], CommitRecord]:
        """The commits that carry a command_id which a client chose."""
        asked: dict[int, list[str]] = {}
        for job in batch:
            if isinstance(job, Call) and job.chosen and job.session.version:
                asked.setdefault(job.session.no, []).append(job.command_id)
        found = {}
        for no, command_ids in asked.items():
            for command_id, record in self._disk.read(self._disk.journal.recorded, no, command_ids).items():
                found[no, command_id] = record
        return found

    def _decide(
        self, job: Job, draft: _Draft, recorded: dict[tuple[int, str], CommitRecord]
    ) -> Answer | TalusError:
        session = job.session
        mark = session.ahead
        try:
            if session.removed or draft.remove:
                raise InvalidSession()
            if job.needs is not None:
                self._access.check(job.identity, session.id, job.needs)
            if isinstance(job, Remove):
                return self._remove(job, draft)
            if isinstance(job, Appoint):
                return self._appoint(job, draft)
            assert isinstance(job, Call)
            repeated = _repeated(job, recorded)
            if repeated is not None:
                return repeated
            if job.expected_version is not None and job.expected_version != draft.version:
                raise VersionConflict(details={"version": draft.version})
            if isinstance(job, Turn):
                return self._turn(job, draft)
            return self._execute(job, draft)
        except TalusError as error:
            session.take_back(mark)  # what was applied of it before it was refused
            return error

    def _execute(self, job: Call, draft: _Draft) -> Answer:
        assert isinstance(job, Execute | Create)
        session = job.session
        if job.command is None:
            draft.store = job
            return Answer(session, None)
        try:
            facts, result = self._apply(session, decide(session.graph, session.template, job.command))
        except TalusError as error:
            draft.announcements.append(
                Refused(job.command_id, job.command_type, job.actor, error, draft.version, self._now_ms())
            )
            error.announced = True
            if isinstance(job, Execute):
                draft.announced.append(job)
            raise
        draft.undo_available = draft.version + 1 > session.floor
        draft.redo_available = False
        summary = describe(session.graph, job.command, facts)
        return self._commit(job, draft, job.command_type, facts, result, summary, None)

    def _turn(self, job: Turn, draft: _Draft) -> Answer:
        session = job.session
        actor = job.actor if job.own else None
        plan: Plan | None = None
        if session.stored:
            plan, in_the_way = self._disk.read(self._plan, session, job.kind, actor)
        if plan is None:
            raise NothingToUndo() if job.kind == "Undo" else NothingToRedo()
        if in_the_way:
            raise UndoConflict(details={"commands": in_the_way[:MAX_NAMED]})
        try:
            facts, _ = self._apply(session, history.reverse(session.graph, plan.facts))
        except history.Blocked as blocked:
            later = self._disk.read(self._disk.journal.later, session.no, blocked.nodes, plan.since)
            names = [commit.command_id for commit in later][:MAX_NAMED]
            raise UndoConflict(details={"commands": names}) from None
        if job.kind == "Undo":
            draft.undo_available, draft.redo_available = plan.more, True
        else:
            draft.undo_available, draft.redo_available = True, plan.more
        summary = f"{'Undid' if job.kind == 'Undo' else 'Redid'}: {plan.target.summary}"
        return self._commit(job, draft, job.kind, facts, {}, summary, plan.target)

    def _plan(self, session: Session, kind: str, actor: str | None) -> tuple[Plan | None, list[str]]:
        """What to take back, and who is in the way; on a reading thread, for it may be large."""
        plan = self._disk.journal.plan(session.no, kind, actor, session.floor)
        return plan, history.in_the_way(plan.facts, plan.later) if plan else []

    def _remove(self, job: Remove, draft: _Draft) -> Answer:
        session = job.session
        if session.members and not job.force:
            raise SessionInUse(details={"active_clients": len(session.members)})
        self._keep(draft, job)
        draft.remove = job
        draft.announcements.append(Deleted(job.actor, session.version, self._now_ms()))
        return Answer(session, None)

    def _appoint(self, job: Appoint, draft: _Draft) -> Answer:
        session = job.session
        members = self._disk.read(self._disk.journal.roles, session.no)
        if job.role is None and job.user not in members:
            raise NotFound("The session has no such member")
        owners = [user for user, role in members.items() if role == "owner"]
        if owners == [job.user] and job.role != "owner":
            raise LastOwner()
        self._keep(draft, job)
        draft.appoint = job
        return Answer(session, None)

    @staticmethod
    def _keep(draft: _Draft, job: Job) -> None:
        """The session gets its row, where it has none yet."""
        if not job.session.stored and draft.store is None:
            draft.store = job

    def _apply(self, session: Session, facts: Generator[Fact, None, T]) -> tuple[list[Fact], T]:
        """Apply each fact as it is decided, in slices that let others through."""
        applied: list[Fact] = []
        turn = Pace()
        while True:
            try:
                fact = next(facts)
            except StopIteration as stop:
                return applied, stop.value
            session.apply(fact)
            applied.append(fact)
            turn.breathe()

    def _commit(
        self,
        job: Call,
        draft: _Draft,
        command_type: str,
        facts: list[Fact],
        result: dict[str, Any],
        summary: str,
        target: CommitRecord | None,
    ) -> Answer:
        self._keep(draft, job)
        draft.version += 1
        draft.facts += len(facts) + 1  # the closing event is a fact too
        record = CommitRecord(
            version=draft.version,
            command_id=job.command_id,
            command_type=command_type,
            target=target.version if target else None,
            digest=job.digest,
            actor=job.actor,
            time_ms=self._now_ms(),
            result=result,
            summary=summary,
            undo_available=draft.undo_available,
            redo_available=draft.redo_available,
            total=draft.facts,
            target_id=target.command_id if target else None,
            target_type=target.command_type if target else None,
        )
        turned = (target.version, command_type == "Redo") if target else None
        draft.commits.append(NewCommit(job.session.no, record, facts, turned))
        draft.announcements.append(Committed(record, facts))
        if isinstance(job, Execute):
            draft.announced.append(job)
        return Answer(job.session, record)

    def _changes(self, drafts: dict[int, _Draft]) -> list[Change]:
        """All that the batch writes, in an order in which it can be written."""
        changes: list[Change] = []
        for draft in drafts.values():
            session = draft.session
            if draft.store:
                changes.append(
                    NewSession(
                        SessionRecord(
                            session.no,
                            session.id,
                            session.project_id,
                            session.template_id,
                            session.name,
                            session.created_ms,
                            session.active_ms,
                            0,
                            0,
                            0,
                            False,
                        ),
                        draft.store.actor,
                        self._access.owner(draft.store.identity),
                    )
                )
            if draft.commits:
                changes.extend(draft.commits)
                active_ms = draft.commits[-1].record.time_ms
                changes.append(
                    NewState(session.no, draft.version, active_ms, draft.facts, session.graph.nodes)
                )
            if draft.appoint:
                job = draft.appoint
                changes.append(Appointment(session.no, job.user, job.role, job.actor, self._now_ms()))
            if draft.remove:
                changes.append(Removal(session.no, draft.remove.actor, self._now_ms()))
        return changes

    def _conclude(self, draft: _Draft) -> None:
        """One step to reads and joins: the graph, the version, and what the room hears."""
        session = draft.session
        if draft.store:
            session.stored = True
            self._sessions.keep(session)
            owner = self._access.owner(draft.store.identity)
            if owner is not None:
                self._access.appointed(session, owner, "owner")
        if draft.commits:
            session.version = draft.version
            session.facts = draft.facts
            session.undo_available = draft.undo_available
            session.redo_available = draft.redo_available
            session.node_count = len(session.graph.nodes)
            session.active_ms = draft.commits[-1].record.time_ms
        session.settle()
        if draft.appoint:
            self._access.appointed(session, draft.appoint.user, draft.appoint.role)
        if draft.remove:
            self._sessions.remove(session)
            self._access.removed(session)
            self._tidying.purging = True
        if draft.announcements:
            try:
                self._publish(session.id, draft.announcements)
            except Exception:
                # It is committed all the same, and the other sessions' rooms must hear theirs.
                log.exception("session %s: its room was not told", session.id)
        if draft.remove:
            session.members.clear()
        elif draft.commits and self.on_commit is not None:
            self.on_commit(session)

    def _fail(
        self,
        batch: list[Job],
        error: TalusError,
        decided: list[tuple[Job, Answer | TalusError]],
        drafts: dict[int, _Draft],
    ) -> None:
        """The commit failed: everybody in the batch hears why, and nothing else happened.

        A repeat is answered from the record, which holds. The rooms hear of those
        that were commands; BUSY leaves no command behind.
        """
        log.error("commit of %d failed: %s", len(batch), error)
        outcomes: dict[Job, Answer | TalusError] = {
            job: answer for job, answer in decided if isinstance(answer, Answer) and answer.duplicate
        }
        if not isinstance(error, Busy):
            outcomes |= self._tell_refused(
                (job for draft in drafts.values() for job in draft.announced), error
            )
        self._answer([(job, outcomes.get(job, error)) for job in batch])

    def _tell_refused(self, jobs: Iterable[Execute], error: TalusError) -> dict[Job, TalusError]:
        """Tell the rooms that these commands failed; and what to tell those who sent them."""
        told: dict[Job, TalusError] = {}
        rooms: dict[Session, list[Announcement]] = {}
        for job in jobs:
            told[job] = type(error)(error.message)
            told[job].announced = True
            refused = Refused(
                job.command_id, job.command_type, job.actor, told[job], job.session.version, self._now_ms()
            )
            rooms.setdefault(job.session, []).append(refused)
        for session, announcements in rooms.items():
            self._publish(session.id, announcements)
        return told

    def _answer(self, answers: list[tuple[Job, Any]]) -> None:
        for job, answer in answers:
            job.session.pins -= 1
            try:
                job.respond(answer)
            except Exception:
                log.exception("an answer was lost")


def _repeated(job: Job, recorded: dict[tuple[int, str], CommitRecord]) -> Answer | TalusError | None:
    """What a job comes to whose command_id was committed before; None for one that is no repeat."""
    if not isinstance(job, Call) or not job.chosen:
        return None
    record = recorded.get((job.session.no, job.command_id))
    if record is None:
        return None
    return Answer(job.session, record, duplicate=True) if record.digest == job.digest else CommandIdReused()
