"""The power is cut: the short run of scripts/powerloss, and proof that it would see a loss."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.server import new_id

ROOT = Path(__file__).parent.parent
THROWS = 300  # of the dice, in which everything that may happen has happened

sys.path.append(str(ROOT / "scripts"))
check: Any = importlib.import_module("powerloss.check")
cuts: Any = importlib.import_module("powerloss.cuts")
disk: Any = importlib.import_module("powerloss.disk")
record: Any = importlib.import_module("powerloss.record")
report: Any = importlib.import_module("powerloss.report")
trace: Any = importlib.import_module("powerloss.trace")

PAGE = b"".join(bytes([number]) * disk.SECTOR for number in range(1, 9))


# The disk


class Folder:
    """A model disk and short words for what is done to it."""

    def __init__(self) -> None:
        self.disk = disk.Disk()

    def do(self, kind: str, name: str, **more: Any) -> Any:
        op = self.begin(kind, name, **more)
        self.disk.apply(op, True)
        return op

    def begin(self, kind: str, name: str, **more: Any) -> Any:
        op = disk.Op(kind=kind, name=name, **more)
        self.disk.apply(op, False)
        return op

    def make(self, name: str, content: bytes = b"") -> None:
        """A file, with its name and what is in it synced."""
        self.do("open", name, creates=True)
        self.do("write", name, offset=0, data=content)
        self.do("sync", name)
        self.do("sync", "")

    def outcomes(self) -> list[dict[str, bytes]]:
        """The files after many power cuts; each possible outcome once."""
        thrown = [self.disk.after_power_cut(random.Random(seed)) for seed in range(THROWS)]
        return [found for at, found in enumerate(thrown) if found not in thrown[:at]]

    def contents(self, name: str) -> list[bytes]:
        """What may be in a file, whose name is never lost."""
        return [found[name] for found in self.outcomes()]


@pytest.fixture
def folder() -> Folder:
    return Folder()


def test_an_unsynced_write_may_be_there_or_gone_or_torn(folder: Folder) -> None:
    """Given a write over a synced page, when the power goes, then any of its sectors may be the old ones."""
    folder.make("a", bytes(len(PAGE)))
    folder.do("write", "a", offset=0, data=PAGE)
    contents = folder.contents("a")
    assert PAGE in contents
    assert bytes(len(PAGE)) in contents
    assert len(contents) > 50
    for content in contents:
        for at in range(0, len(PAGE), disk.SECTOR):
            sector = content[at : at + disk.SECTOR]
            assert sector in (PAGE[at : at + disk.SECTOR], bytes(disk.SECTOR)), "a sector is never torn"


def test_a_write_that_is_no_sector_is_torn_at_the_disks_sectors(folder: Folder) -> None:
    """Given a write that begins and ends within sectors, when it is torn, then only between sectors."""
    old = b"o" * 2048
    folder.make("a", old)
    folder.do("write", "a", offset=500, data=b"n" * 600)
    cut = {b"", b"n" * 12, b"n" * 12 + b"o" * 512 + b"n" * 76, b"n" * 600}
    parts = {content[500:1100].rstrip(b"o") for content in folder.contents("a")}
    assert cut <= parts
    assert all(part.count(b"n") in (0, 12, 76, 88, 512, 524, 588, 600) for part in parts)
    assert all(content[:500] + content[1100:] == old[:1448] for content in folder.contents("a"))


def test_what_was_synced_stays(folder: Folder) -> None:
    """Given a write that was synced, and others later, when the power goes, then it is there."""
    folder.make("a", PAGE)
    folder.do("write", "a", offset=len(PAGE), data=PAGE)
    assert all(content[: len(PAGE)] == PAGE for content in folder.contents("a"))
    folder.do("sync", "a")
    assert folder.contents("a") == [PAGE + PAGE]


def test_a_sync_counts_once_it_has_returned(folder: Folder) -> None:
    """Given a sync under way, when the power goes, then what it was to make safe may be gone."""
    folder.make("a")
    folder.do("write", "a", offset=0, data=b"new")
    sync = folder.begin("sync", "a")
    assert b"" in folder.contents("a")
    folder.disk.apply(sync, True)
    assert folder.contents("a") == [b"new"]


@pytest.mark.parametrize("before", [True, False], ids=["begun before", "begun after"])
def test_a_sync_does_not_cover_a_write_that_was_not_over(folder: Folder, before: bool) -> None:
    """Given a write that overlaps a sync, when the sync returns, then the write may be gone all the same."""
    folder.make("a", b"old")
    if before:
        write = folder.begin("write", "a", offset=0, data=b"new")
    sync = folder.begin("sync", "a")
    if not before:
        write = folder.begin("write", "a", offset=0, data=b"new")
    folder.disk.apply(write, True)
    folder.disk.apply(sync, True)
    assert sorted(folder.contents("a")) == [b"new", b"old"]
    folder.do("sync", "a")
    assert folder.contents("a") == [b"new"]


def test_each_write_has_a_fate_of_its_own(folder: Folder) -> None:
    """Given three writes, when the power goes, then each of the eight outcomes may be."""
    folder.make("a", b"ooo")
    for at in range(3):
        folder.do("write", "a", offset=at, data=b"n")
    assert len(folder.contents("a")) == 8


def test_a_file_may_have_grown_without_its_bytes(folder: Folder) -> None:
    """Given a write behind the end, when the power goes, then zeros may stand in its place."""
    folder.make("a")
    folder.do("write", "a", offset=600, data=b"n")
    assert {content.rstrip(b"n") for content in folder.contents("a")} == {b"", bytes(600), bytes(601)}


def test_a_truncation_is_lost_or_kept_and_safe_once_synced(folder: Folder) -> None:
    """Given a file that was cut, when the power goes, then it may be long again, until it was synced."""
    folder.make("a", b"long")
    folder.do("resize", "a", size=0)
    assert sorted(folder.contents("a")) == [b"", b"long"]
    folder.do("sync", "a")
    assert folder.contents("a") == [b""]
    folder.do("open", "a", empties=True)
    folder.do("write", "a", offset=None, data=b"end")
    folder.do("resize", "a", size=5)
    folder.do("sync", "a")
    assert folder.contents("a") == [b"end\0\0"]


def test_a_truncation_may_be_lost_alone(folder: Folder) -> None:
    """Given a file that was cut and written to, when the power goes, then either may be there without the
    other."""
    folder.make("a", b"long")
    folder.do("resize", "a", size=0)
    folder.do("write", "a", offset=0, data=b"n")
    assert {b"long", b"", b"n", b"nong"} <= set(folder.contents("a"))


def test_the_name_of_a_new_file_is_lost_with_the_folder(folder: Folder) -> None:
    """Given a new file that was synced, and its folder not, when the power goes, then it may be gone."""
    folder.do("open", "a", creates=True)
    folder.do("write", "a", offset=0, data=b"new")
    folder.do("sync", "a")
    assert sorted(folder.outcomes(), key=len) == [{}, {"a": b"new"}]
    folder.do("sync", "")
    assert folder.outcomes() == [{"a": b"new"}]


def test_a_rename_is_whole_and_may_be_lost(folder: Folder) -> None:
    """Given a file moved over another, when the power goes, then there is the old one or the new one."""
    folder.make("a", b"old")
    folder.make("b", b"new")
    folder.do("rename", "b", to="a")
    assert sorted(folder.outcomes(), key=len) == [{"a": b"new"}, {"a": b"old", "b": b"new"}]
    folder.do("sync", "")
    assert folder.outcomes() == [{"a": b"new"}]


def test_a_file_that_was_taken_away_may_be_back(folder: Folder) -> None:
    """Given a file that was deleted, when the power goes, then it may be there, with all it had."""
    folder.make("a", b"old")
    folder.do("unlink", "a")
    assert sorted(folder.outcomes(), key=len) == [{}, {"a": b"old"}]
    folder.do("sync", "")
    assert folder.outcomes() == [{}]


def test_names_are_lost_from_some_moment_on(folder: Folder) -> None:
    """Given names made one after the other, when the power goes, then no later one is there without those
    before."""
    for name in "abc":
        folder.do("open", name, creates=True)
    assert sorted(map("".join, folder.outcomes())) == ["", "a", "ab", "abc"]


def test_a_file_that_is_not_there_cannot_be_followed(folder: Folder) -> None:
    """Given an empty folder, when a write to a file in it is told, then the model says that it is lost."""
    with pytest.raises(disk.NotModelled, match="write of a, which is not there"):
        folder.begin("write", "a", offset=0, data=b"x")


# The trace


@pytest.fixture(scope="session")
def traced() -> Callable[[Path, str], Path]:
    """Runs a Python program under strace: `traced(folder, text)`, where `text` finds the folder in `here`."""
    obstacle = trace.obstacle()
    if shutil.which("strace") is None:
        pytest.fail(obstacle)
    if obstacle:
        pytest.skip(obstacle)

    def run(here: Path, text: str) -> Path:
        told = here.with_name("trace")
        program = f"import mmap, os, threading\nhere = {str(here)!r}\n{text}"
        ended = subprocess.run(
            [*trace.STRACE, told, sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 0, ended.stderr
        return told

    return run


PROGRAM = """
def work(name):
    path = f"{here}/{name}"
    with open(path, "xb", buffering=0) as file:
        for number in range(200):
            file.write(bytes([number]) * number)
            if number % 10 == 0:
                os.fsync(file.fileno())
        file.seek(100)
        file.write(b"over")
        file.truncate(5_000)
        os.pwrite(file.fileno(), b"far", 7_000)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, b"at the ")
    os.write(file, b"end")
    os.close(file)
    os.rename(path, path + ".new")
    with open(path, "wb") as file:
        file.write(b"gone soon")
    with open(path, "wb") as file:
        file.write(b"short")
    os.replace(path + ".new", path)
    os.mkdir(path + ".folder")
    with open(path + ".folder/file", "wb") as file:
        file.write(b"elsewhere")
    open(path + ".empty", "w").close()
    open(path + ".gone", "w").close()
    os.unlink(path + ".gone")
    folder = os.open(here, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)

threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_what_a_program_did_is_done_again(traced: Callable[[Path, str], Path], tmp_path: Path) -> None:
    """Given three threads that write, cut, move and delete, when it is done again, then the files are the
    same."""
    here = tmp_path / "disk"
    here.mkdir()
    moments, cut_off = trace.read(traced(here, PROGRAM), here)
    assert cut_off == []
    model = disk.Disk()
    for moment in moments:
        model.apply(moment.op, moment.ended)
    assert {name: file.content for name, file in model.files.items()} == {
        name: path.read_bytes() for name, path in record.files(here).items()
    }
    assert len(model.files) == 6
    assert model.files["a"].content.endswith(b"far" + b"at the end")
    assert sum(moment.op.kind == "sync" for moment in moments) == 2 * (3 * 20 + 3)
    assert [moment.at_ns for moment in moments] == sorted(moment.at_ns for moment in moments)


@pytest.mark.parametrize(
    "text",
    [
        "os.writev(file, [b'x'])",
        "os.dup2(file, 50)",
        "os.write(os.dup(file), b'x')",
        "os.link(here + '/a', here + '/b')",
        "mmap.mmap(file, 1)",
        "os.posix_fallocate(file, 0, 10)",
        "os.sendfile(file, file, 0, 1)",
    ],
)
def test_what_cannot_be_followed_is_told(
    traced: Callable[[Path, str], Path], tmp_path: Path, text: str
) -> None:
    """Given a program that changes a file in a way that is not modelled, when it is read, then that is
    said."""
    here = tmp_path / "disk"
    here.mkdir()
    told = traced(here, f"file = os.open(here + '/a', os.O_RDWR | os.O_CREAT)\nos.write(file, b'0')\n{text}")
    with pytest.raises(disk.NotModelled):
        trace.read(told, here)


# talus


@pytest.fixture(scope="session")
def short_run(
    traced: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.CompletedProcess[str], Path]]:
    """The short run, and the folder that it left."""
    there = tmp_path_factory.mktemp("powerloss")
    run = subprocess.run(
        [sys.executable, "scripts/powerloss", "--quick", "--keep"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(there)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    (left,) = there.glob("talus-powerloss-*")
    yield run, left
    shutil.rmtree(there)


def test_a_power_cut_takes_nothing_that_was_heard(
    short_run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """Given a recorded server, when the power goes, at 150 instants, then all that was heard is there."""
    run, _ = short_run
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "FULL, in" in run.stdout
    assert "150 states" in run.stdout
    assert run.stdout.splitlines()[-1] == "powerloss: nothing lost, nothing damaged"


@pytest.fixture(scope="session")
def recording(short_run: tuple[subprocess.CompletedProcess[str], Path]) -> Any:
    return record.read(short_run[1] / "full")


def test_the_instants_are_of_all_kinds(recording: Any) -> None:
    """Given a recording, when instants are chosen, then there are as many of each kind, in order."""
    chosen = cuts.choose(recording, cuts.KINDS, 81, random.Random(1))
    assert chosen == sorted(chosen)
    assert len({cut.number for cut in chosen}) == 81
    kinds = [cut.kind for cut in chosen]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(cuts.KINDS, 10) | {"end": 1}


def add_a_commit(claims: Any) -> None:
    command_id = new_id()
    claims.asked[command_id] = (0, claims.made[0][1])
    claims.commits.append((0, command_id, 1))


def change_a_version(claims: Any) -> None:
    kept = {session_id for _, session_id in claims.made} - claims.ending.keys()
    told = next(told for told in claims.commits if claims.asked[told[1]][1] in kept)
    claims.commits = [
        (at_ns, command_id, version + (command_id == told[1]))
        for at_ns, command_id, version in claims.commits
    ]


def not_asked_for(claims: Any) -> None:
    claims.asked = dict.fromkeys(claims.asked, (0, new_id()))


def refused(claims: Any) -> None:
    claims.asked.clear()


def asked_for_later(claims: Any) -> None:
    claims.asked = {command_id: (inf, where) for command_id, (_, where) in claims.asked.items()}


def add_a_session(claims: Any) -> None:
    claims.made.append((0, new_id()))


def session_not_asked_for(claims: Any) -> None:
    claims.names.clear()


def end_a_session(claims: Any) -> None:
    claims.ended.append((0, next(own for _, own in claims.made if own not in claims.ending)))


def session_not_ended(claims: Any) -> None:
    claims.ending.clear()


WRONG_CLAIMS = {
    add_a_commit: "lost",
    change_a_version: "lost",
    add_a_session: "lost",
    end_a_session: "lost",
    not_asked_for: "damage",
    refused: "damage",
    asked_for_later: "damage",
    session_not_asked_for: "damage",
    session_not_ended: "damage",
}
KEPT = "(SELECT no FROM session WHERE NOT removed ORDER BY version DESC LIMIT 1)"
WRONG_FILES = {
    "a commit is gone from the middle": f"DELETE FROM commits WHERE version = 2 AND session_no = {KEPT}",
    "the last commit is gone": (
        f"DELETE FROM commits WHERE session_no = {KEPT}"
        f" AND version = (SELECT version FROM session WHERE no = {KEPT})"
    ),
    "a session is gone": f"DELETE FROM session WHERE no = {KEPT}",
    "a node is changed": f"UPDATE node SET type = 'other' WHERE session_no = {KEPT}",
}


def seen(recording: Any, folder: Path, spoil: Callable[[Path], object] | None = None) -> Any:
    """What the check says of the files that the recording ends with."""
    model = disk.Disk()
    for moment in recording.moments:
        model.apply(moment.op, moment.ended)
    for name, file in model.files.items():
        (folder / name).write_bytes(file.content)
    if spoil is not None:
        spoil(folder / check.DATABASE)
    end = cuts.Cut(len(recording.moments), 0, "end")
    return check.check(folder, check.Expected(recording), end, inf)


def test_what_is_whole_passes(recording: Any, tmp_path: Path) -> None:
    """Given the end of a recording, when it is looked at, then nothing is lost and nothing damaged."""
    state = seen(recording, tmp_path)
    assert (state.lost, state.damage) == ([], [])


@pytest.mark.parametrize("wrong", WRONG_CLAIMS, ids=lambda wrong: wrong.__name__)
def test_what_does_not_agree_with_what_was_heard_is_found(
    recording: Any, tmp_path: Path, wrong: Callable[[Any], None]
) -> None:
    """Given clients that heard or asked for something else, when the files are looked at, then it is
    found."""
    notes = msgspec.json.decode(msgspec.json.encode(recording.notes), type=record.Notes)
    wrong(notes.claims)
    state = seen(msgspec.structs.replace(recording, notes=notes), tmp_path)
    assert {"lost": state.lost, "damage": state.damage}[WRONG_CLAIMS[wrong]]


@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_what_is_wrong_in_the_file_is_found(recording: Any, tmp_path: Path, wrong: str) -> None:
    """Given a file in which something is missing or changed, when it is looked at, then it is found."""

    def spoil(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            assert connection.execute(WRONG_FILES[wrong]).rowcount

    state = seen(recording, tmp_path, spoil)
    assert state.lost or state.damage


def test_a_damaged_page_is_found(recording: Any, tmp_path: Path) -> None:
    """Given a file with a page of zeros, when it is looked at, then it is found."""

    def spoil(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(2 * 4096)
            file.write(bytes(4096))

    assert seen(recording, tmp_path, spoil).damage


def test_a_relaxed_server_that_loses_little_proves_nothing() -> None:
    """Given states with NORMAL of which too few lost something, when they are judged, then that is wrong."""
    cut = cuts.Cut(1, 1, "heard")
    losing, whole, damaged = check.State(cut, ["x"]), check.State(cut), check.State(cut, [], ["torn"])
    assert report.wrong("NORMAL", [losing] * 4 + [whole] * 6) == []
    (line,) = report.wrong("NORMAL", [losing] * 3 + [whole] * 7)
    assert line.endswith("proves nothing")
    (line,) = report.wrong("FULL", [losing] * 2 + [whole])
    assert line.startswith("FULL: 2 states, such as state 1 (heard): lost 1, the first: x")
    (line,) = report.wrong("FULL", [whole, damaged])
    assert line == "FULL: 1 states, such as state 1 (heard): torn"
