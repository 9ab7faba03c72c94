"""Whole copies of a database, taken while it is written to, and the way back.

A copy is of one moment: it holds all that was acknowledged before it began.
It is a single file, which any SQLite opens, and is there whole or not at all.
"""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import peewee

from . import migrations, seals, verify
from .claim import Claim, Unusable
from .files import family, made_folder, shared_memory_of, synced_folder, wal_of
from .reading import read_only

STEP_PAGES = 256  # between two looks at how much waits to be written
SYNC_BYTES = 4 * 1024 * 1024  # written out at once: a whole copy would hold up the disk of those who write
PART = ".part"  # ends the name of a copy that is being made
RANDOM = "?" * 8  # stands before it, as `tempfile` makes it


def copy(source: Path, target: Path) -> None:
    """Put a copy of a database at `target`, in place of what is there, which a damaged one never is.

    Raises Unusable when the copy is damaged or cannot have that name, sqlite3.Error or OSError.
    """
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise Unusable(f"{target} is a folder, or no ordinary file")
    if target.parent == source.parent and target.name in {each.name for each in family(source)}:
        raise Unusable(f"{target} belongs to the database itself")
    put(draft(source, target.parent, target.name), target)


def put(part: Path, target: Path) -> None:
    """Give a copy its name."""
    try:
        wrong = verify.structure_problem(part)
        if wrong is not None:
            raise Unusable(f"damaged: {wrong}")
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    synced_folder(target.parent)


def draft(source: Path, folder: Path, name: str) -> Path:
    """A copy under a name of its own in `folder`, synced; whoever asks for it moves it or takes it away."""
    while True:
        before = _at_rest(source)
        with closing(read_only(source)) as connection:
            part = written(connection, folder, name, source.stat().st_mode)
        if before is None or _at_rest(source) == before:
            return part
        part.unlink()  # a server that started meanwhile knew nothing of who read the file as it lay there


def _at_rest(source: Path) -> tuple[int, int, int] | None:
    """What a file looks like that nobody has open; None for one that somebody has."""
    stat = source.stat()
    return None if wal_of(source).exists() else (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def written(
    source: sqlite3.Connection,
    folder: Path,
    name: str,
    mode: int,
    given_up: Callable[[], bool] = lambda: False,
) -> Path:
    """As `draft`, of a database that is open. mode: who may read and write it, as `stat` says it.

    Raises InterruptedError once it is given up.
    """
    handle, path = tempfile.mkstemp(prefix=f"{name}.", suffix=PART, dir=folder)
    part = Path(path)
    try:
        with closing(sqlite3.connect(part)) as there:
            there.execute("PRAGMA synchronous = OFF")
            source.execute("BEGIN")
            try:
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # of this moment
                source.backup(there, pages=STEP_PAGES, progress=_synced(handle, given_up))
            finally:
                source.execute("ROLLBACK")
            # One file, without a log beside it, wherever it is opened.
            there.execute("PRAGMA journal_mode = DELETE")
        os.fchmod(handle, mode & 0o777)
        os.fsync(handle)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return part


def _synced(handle: int, given_up: Callable[[], bool]) -> Callable[[int, int, int], None]:
    synced = 0

    def progress(_status: int, _left: int, _pages: int) -> None:
        nonlocal synced
        if given_up():
            raise InterruptedError("the copy was given up")
        size = os.fstat(handle).st_size
        if size - synced >= SYNC_BYTES:
            os.fdatasync(handle)
            synced = size

    return progress


def held_by(copy: Path, epoch: str) -> int | None:
    """How much is recorded in a copy (`seals.count`); None for none, or one of another timeline."""
    with suppress(sqlite3.Error), closing(read_only(copy)) as connection:
        if connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone() == (epoch,):
            return seals.count(connection)
    return None


def tidy(target: Path) -> None:
    """Take away what copies to this file left that were cut off."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.{RANDOM}{PART}*"):
        part.unlink(missing_ok=True)


def restore(source: Path, database: Path, now_s: float) -> Path | None:
    """Put a copy of `source` in the place of a database, on a timeline of its own.

    The old one stays beside it, under the name that is returned, with its log if it has one. Raises Unusable
    when a server has the database or the source is not whole; nothing has changed then.
    """
    if not source.is_file():
        raise Unusable(f"there is no file {source}")
    if database.exists() and source.samefile(database):
        raise Unusable(f"{source} is the database itself")
    wrong = verify.problem(source)
    if wrong is not None:
        raise Unusable(f"{source}: {wrong}")
    wal = wal_of(database)
    if not database.exists() and wal.exists() and wal.stat().st_size:
        raise Unusable(f"{wal} has no database: move it away, or put that back")
    made_folder(database.parent)
    claim = Claim(database)
    try:
        part = draft(source, database.parent, database.name)
        try:
            epoch, count = _prepare(part, database, now_s)
            aside = _keep(database, now_s)
            part.replace(database)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        # From here on the old log is nobody's; a start before this line is refused because of it.
        for leftover in (wal_of(database), shared_memory_of(database)):
            leftover.unlink(missing_ok=True)
        claim.opened(epoch, count)
    except BaseException:
        claim.leave(forget=True)
        raise
    claim.close(count)
    return aside


def _prepare(part: Path, database: Path, now_s: float) -> tuple[str, int]:
    """Today's schema, a new epoch, the revocations of the file that goes: epoch and count."""
    revoked = _revocations(database)
    new = peewee.SqliteDatabase(str(part), pragmas={"synchronous": "full"})
    with new:
        migrations.migrate(new)
        connection = new.connection()
        with new.atomic("IMMEDIATE"):
            seals.take_epoch(connection)
            # Tokens that were revoked stay so.
            connection.executemany(
                "INSERT INTO revocation VALUES (?, ?)"
                " ON CONFLICT (user) DO UPDATE SET until_s = max(until_s, excluded.until_s)",
                revoked,
            )
            connection.execute(
                "INSERT INTO audit (time_ms, actor, action) VALUES (?, 'talus restore', 'restore')",
                (int(now_s * 1000),),
            )
            seals.record(
                connection, [(table, seals.of(connection, table)) for table in ("revocation", "audit")]
            )
        (epoch,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        new.pragma("journal_mode", "wal")  # as a server leaves it: the first start has nothing to change
        return str(epoch), seals.count(connection)


def _revocations(database: Path) -> list[tuple[str, int]]:
    # None, where there is no file, or a damaged one.
    with suppress(sqlite3.Error, OSError), closing(read_only(database)) as connection:
        return connection.execute("SELECT user, until_s FROM revocation").fetchall()
    return []


def _keep(database: Path, now_s: float) -> Path | None:
    """A second name for the database, and a copy of its log; None where there is none."""
    if not database.exists():
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now_s))
    aside = database.with_name(f"{database.name}.before-restore-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = database.with_name(f"{database.name}.before-restore-{stamp}-{number}")
    os.link(database, aside)
    wal = wal_of(database)
    if wal.exists() and wal.stat().st_size:
        with wal.open("rb") as old, wal_of(aside).open("xb") as new:
            shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
    synced_folder(database.parent)
    return aside
