"""What a server finds where it left its database: that file or another one, a strange log, another server."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import pytest

from talus.store import backup, files, seals, verify
from talus.store.changes import Appointment
from talus.store.claim import Claim, Unusable
from talus.store.files import journal_of, mark_of, network_file_system, wal_of
from talus.store.journal import Journal
from talus.store.verify import problem

# Writes what it is told in a process of its own, which ends as a killed one does: with a log that is left.
CRASH = """
import os, sys
from pathlib import Path
from talus.store.changes import Appointment
from talus.store.journal import Journal

journal = Journal(Path(sys.argv[1]))
for user in sys.argv[2:]:
    if user == "cut":
        looks = journal.claim.looks

        def cut(state, count):
            looks(state, count)
            journal._sql.execute("PRAGMA wal_checkpoint(PASSIVE)")  # written, and the log still there
            os._exit(CUT)

        journal.claim.looks = cut
    if user in ("checkpoint", "cut"):
        journal.checkpoint()
    else:
        journal.write([Appointment(1, user, "editor", "ann", 5)])
os._exit(0)
""".replace("CUT", "3")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talus.db"


def work(path: Path, *users: str) -> str:
    """Open the file, record something, close it; the epoch."""
    with closing(Journal(path)) as journal:
        for user in users:
            journal.write([Appointment(1, user, "editor", "ann", 5)])
        return journal.epoch


def crash(path: Path, *users: str) -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH, str(path), *users])
    assert ended.returncode == (3 if "cut" in users else 0)


def appointed(path: Path) -> list[str]:
    with closing(Journal(path)) as journal:
        return list(journal.roles(1))


def everything_beside(path: Path) -> dict[str, bytes]:
    """All files and what they hold; of what SQLite's connections share, only that it is there."""
    return {
        each.name: b"" if each.name.endswith("-shm") else each.read_bytes() for each in path.parent.iterdir()
    }


def test_a_file_that_is_as_it_was_left_keeps_its_epoch(path: Path) -> None:
    """Given a server that is stopped and started again, or killed, when it opens its file, then the timeline
    goes on."""
    epoch = work(path, "ann")
    assert work(path) == epoch
    crash(path, "ben", "cleo")
    assert wal_of(path).stat().st_size
    assert work(path) == epoch
    crash(path, "dan", "checkpoint")
    crash(path, "eve", "checkpoint", "fay")
    assert work(path) == epoch
    assert appointed(path) == ["ann", "ben", "cleo", "dan", "eve", "fay"]


def by_cp(kept: Path, path: Path) -> None:
    shutil.copyfile(kept, path)  # the same inode


def by_cp_p(kept: Path, path: Path) -> None:
    shutil.copy2(kept, path)


def by_mv(kept: Path, path: Path) -> None:
    kept.rename(path)


def after_rm(kept: Path, path: Path) -> None:
    path.unlink()
    shutil.copyfile(kept, path)


def into_an_empty_folder(kept: Path, path: Path) -> None:
    path.unlink()
    mark_of(path).unlink()
    shutil.copyfile(kept, path)


@pytest.mark.parametrize("put_back", [by_cp, by_cp_p, by_mv, after_rm, into_an_empty_folder])
@pytest.mark.parametrize("end", ["stopped", "killed while idle"])
def test_a_file_that_was_put_back_begins_a_timeline(
    path: Path, put_back: Callable[[Path, Path], None], end: str
) -> None:
    """Given a copy of the database that is put in its place by hand, when it is opened, then its epoch is
    another one, and from then on stays."""
    epoch = work(path, "ann")
    kept = path.with_name("kept.db")
    backup.copy(path, kept)
    if end == "stopped":
        work(path, "ben")
    else:
        crash(path, "ben", "checkpoint")
    put_back(kept, path)
    new = work(path)
    assert new != epoch
    assert work(path) == new
    assert appointed(path) == ["ann"]
    assert problem(path) is None


def another_line(path: Path, epoch: str) -> Path:
    """A copy of the database in which more was recorded since than here."""
    other = path.with_name("other.db")
    backup.copy(path, other)
    work(other, *[f"user {number}" for number in range(20)])
    mark_of(other).unlink()
    with closing(sqlite3.connect(other)) as file, file:  # as if it had begun where this one is
        file.execute("UPDATE meta SET value = ?", (epoch,))
        seals.record(file, [("meta", seals.of(file, "meta"))])
    return other


def test_more_than_was_left_here_is_no_proof(path: Path) -> None:
    """Given a file on which another server went on, when it is put here, over a stopped file or another file
    than the killed one, then its epoch is a new one."""
    epoch = work(path, "ann")
    shutil.copyfile(another_line(path, epoch), path)
    new = work(path)
    assert new != epoch
    other = another_line(path, new)
    crash(path, "ben", "checkpoint")
    other.rename(path)
    wal_of(path).unlink()
    assert work(path) not in (epoch, new)


def test_a_mark_never_grows_or_shrinks(path: Path) -> None:
    """Given a server at work, whatever its mark says, then a kill leaves no half of it."""
    work(path, "ann")
    lengths = {mark_of(path).stat().st_size}
    with closing(Journal(path)) as journal:
        for state in ("checkpoint", "open"):
            journal.claim.looks(state, journal.count)
            lengths.add(mark_of(path).stat().st_size)
        journal.claim.listens("http://[2001:db8::8a2e:370:7334]:65535")
        lengths.add(mark_of(path).stat().st_size)
    lengths.add(mark_of(path).stat().st_size)
    assert len(lengths) == 1, lengths


def test_a_cut_checkpoint_is_no_other_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a server that was killed while it wrote to the file, when it starts again, then the timeline goes
    on, and nobody has to wait until a large file is verified."""
    epoch = work(path, "ann")
    crash(path, "ben", "cut")
    assert wal_of(path).stat().st_size
    looked: list[float] = []
    real = verify.problem

    def problem_of(path: Path, most_s: float = inf) -> str | None:
        looked.append(most_s)
        return real(path, most_s)

    monkeypatch.setattr(verify, "problem", problem_of)
    assert work(path) == epoch
    assert len(looked) == 1 and looked[0] < 1
    assert appointed(path) == ["ann", "ben"]


def test_a_file_that_never_came_to_hold_anything_is_made_anew(path: Path) -> None:
    """Given a first start that ended before there were tables, when the server starts again, then it does."""
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size
    assert appointed(path) == []


@pytest.mark.parametrize("mark", ["as it was", "older", "half", "gone"])
def test_a_power_cut_may_take_the_mark(path: Path, mark: str) -> None:
    """Given a mark that is older than its file, or no mark, when the file is opened with its own log, then
    all that is in the log is there."""
    epoch = work(path, "ann")
    crash(path, "ben")
    before = mark_of(path).read_bytes()
    crash(path, "cleo", "checkpoint", "dan")
    match mark:
        case "older":
            mark_of(path).write_bytes(before)
        case "half":
            mark_of(path).write_bytes(before[:40])
        case "gone":
            mark_of(path).unlink()
    assert (work(path) == epoch) == (mark in ("as it was", "older"))
    assert appointed(path) == ["ann", "ben", "cleo", "dan"]


@pytest.mark.parametrize("put_back", [False, True])
def test_a_start_that_was_cut_short_changes_nothing(path: Path, put_back: bool) -> None:
    """Given a start that ended after the first write and before the database was open, when the server starts
    again, then it does, and knows what it knew before."""
    epoch = work(path, "ann")
    if put_back:
        shutil.copyfile(another_line(path, epoch), path)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from talus.store import seals\n"
        "from talus.store.journal import Journal\n"
        "def end(connection):\n"
        "    (epoch,) = connection.execute('SELECT value FROM meta').fetchone()\n"
        "    for value in ('x', epoch):\n"
        "        connection.execute('UPDATE meta SET value = ?', (value,))\n"
        "        connection.commit()\n"
        "    os._exit(0)\n"
        "seals.count = end\n"
        "Journal(Path(sys.argv[1]))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert wal_of(path).stat().st_size
    assert (work(path) == epoch) == (not put_back)


def other_line(path: Path) -> None:
    """An older copy under a log that goes on from a later file."""
    kept = path.with_name("kept.db")
    backup.copy(path, kept)
    with closing(Journal(path)) as journal:
        for number in range(300):
            journal.write([Appointment(1, f"user {number}", "editor", "ann", 5)])
    crash(path, *[f"more {number}" for number in range(50)])
    shutil.copyfile(kept, path)


def other_database(path: Path) -> None:
    """A whole database, and the log of another one."""
    other = path.with_name("other.db")
    crash(other, "zoe", "yan", "xaver")
    shutil.copyfile(wal_of(other), wal_of(path))
    for each in (other, wal_of(other)):
        each.unlink()


def nonsense(path: Path) -> None:
    wal_of(path).write_bytes(b"no log at all" * 1000)


def orphan(path: Path) -> None:
    crash(path, "ben")
    path.unlink()


@pytest.mark.parametrize("make", [other_line, other_database, nonsense, orphan])
def test_a_log_that_is_not_its_own_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    """Given a `-wal` beside a file that it does not belong to, when the file is opened, then it is refused as
    it stands, and once the log is moved away it opens, if it is there."""
    work(path, "ann")
    make(path)
    before = everything_beside(path)
    for _ in range(2):
        with pytest.raises(Unusable, match="-wal"):
            Journal(path)
        assert everything_beside(path) == before
    wal_of(path).unlink()
    assert appointed(path) == ([] if make is orphan else ["ann"])
    assert problem(path) is None


def test_an_open_file_is_refused_to_others(path: Path) -> None:
    """Given an open file, when it is opened once more, by a link too, then who has it is said; once it is
    closed, it opens."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    with closing(Journal(path)) as journal:
        journal.claim.listens("http://127.0.0.1:5000")
        for name in (path, link.resolve()):
            with pytest.raises(Unusable, match=rf"process {os.getpid()}, http://127.0.0.1:5000"):
                Journal(name)
        journal.write([Appointment(1, "ann", "editor", "ann", 5)])
    assert appointed(path) == ["ann"]


def test_a_mark_that_goes_while_it_is_waited_for_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a mark that goes between opening and locking it, when a claim is made, then the lock is on
    the one that is there."""
    gone = False
    real = os.open

    def opened(name: Any, *args: Any, **kwargs: Any) -> int:
        nonlocal gone
        handle = real(name, *args, **kwargs)
        if not gone and str(name).endswith("-mark"):
            gone = True
            os.unlink(name)
        return handle

    monkeypatch.setattr(os, "open", opened)
    claim = Claim(path)
    with pytest.raises(Unusable):
        Claim(path)
    claim.leave()
    assert gone


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /mnt/share rw - nfs4 server:/export rw
31 30 0:41 / /mnt/share/local rw - tmpfs none rw
32 22 0:42 / /mnt/with\\040space rw - cifs //server/share rw
36 22 0:46 / /mnt/wärme rw - smb3 //server/share rw
33 22 0:43 / /home/me/far rw - fuse.sshfs me@server: rw
34 22 0:44 / /mnt/over rw - nfs server:/x rw
35 22 0:45 / /mnt/over rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    "folder, kind",
    [
        ("/mnt", None),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/deep/down", "nfs4"),
        ("/mnt/share/local", None),
        ("/mnt/sharelike", None),
        ("/mnt/with space/x", "cifs"),
        ("/mnt/wärme", "smb3"),
        ("/home/me/far", "fuse.sshfs"),
        ("/mnt/over", None),
    ],
)
def test_network_shares_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, kind: str | None
) -> None:
    """Given the kernel's list of mounts, when it is asked what a file is on, then a network share is told."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(files, "MOUNTS", mounts)
    assert network_file_system(Path(folder) / "talus.db") == kind


def test_a_network_share_is_refused_unless_forced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a file on a network share, when it is opened, then it is refused and nothing made, unless asked
    for."""
    mounts = path.with_name("mountinfo")
    mounts.write_text(f"22 1 0:40 / {path.parent.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(files, "MOUNTS", mounts)
    with pytest.raises(Unusable, match=r"network share \(nfs4\).*TALUS_NETWORK_DISK=1"):
        Journal(path)
    assert [each.name for each in path.parent.iterdir()] == ["mountinfo"]
    Journal(path, network=True).close()


def garbage_at(offset: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xa5" * 3_000)

    return damage


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    "damage, said",
    [(garbage_at(0), "damaged"), (garbage_at(8_192), "damaged"), (cut, "damaged"), (newer, "newer")],
    ids=["head", "middle", "cut", "newer"],
)
@pytest.mark.parametrize("marked", [True, False])
def test_a_damaged_or_newer_file_is_refused_as_it_is(
    path: Path, damage: Callable[[Path], None], said: str, marked: bool
) -> None:
    """Given a damaged file, or one of a newer talus, when it is opened, then a line says so, and neither it
    nor anything beside it is written."""
    work(path, *[f"user {number}" for number in range(200)])
    damage(path)
    if not marked:
        mark_of(path).unlink()
    before = everything_beside(path)
    with pytest.raises(Unusable, match=said) as refusal:
        Journal(path)
    assert "\n" not in str(refusal.value)
    assert everything_beside(path) == before


def hot_journal(path: Path) -> None:
    """The journal of a change to the file that a power cut ended: it has pages as they were."""
    script = (
        "import os, sqlite3, sys\n"
        "file = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "file.execute('PRAGMA journal_mode = DELETE')\n"
        "file.execute('PRAGMA cache_size = 1')\n"
        "file.execute('BEGIN')\n"
        "file.execute('UPDATE audit SET actor = hex(randomblob(2000))')\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)


def test_a_journal_of_the_first_start_is_played_back(path: Path) -> None:
    """Given a copy that was put in place, and a power cut while the server gave it its log, when that starts
    again, then the file is as it was before."""
    with closing(Journal(path)) as journal:
        for number in range(30):
            journal.write([Appointment(1, f"user {number}", "editor", "ann", 5)])
    hot_journal(path)
    assert journal_of(path).stat().st_size
    assert len(appointed(path)) == 30
    assert problem(path) is None


def test_a_journal_of_another_file_is_refused(path: Path) -> None:
    """Given a journal of another file, when the file is opened, then it is refused as it stands."""
    other = path.with_name("other.db")
    with closing(Journal(other)) as journal:
        for number in range(30):
            journal.write([Appointment(1, f"user {number}", "editor", "ann", 5)])
    hot_journal(other)
    work(path, *[f"user {number}" for number in range(10)])
    shutil.copyfile(journal_of(other), journal_of(path))
    before = everything_beside(path)
    with pytest.raises(Unusable, match="-journal is not its own"):
        Journal(path)
    assert everything_beside(path) == before
