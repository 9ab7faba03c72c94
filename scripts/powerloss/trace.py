"""What a program did to the files of one folder, read from strace's account of its system calls.

It is told in moments: one when a call begins, one when it has returned. strace notes
a call before it lets it begin, and lets the program go on from it only after it has
noted that it returned. So the moments stand in the order in which they were, and whatever
the program did because a sync had returned stands after the end of that sync.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from powerloss.disk import NotModelled, Op

# Every call that can change a file or its name, or make it safe. Those that talus has no use for are
# here so that the day it has, it is noticed: what cannot be followed raises NotModelled.
CALLS = [
    *("open", "openat", "openat2", "creat", "dup", "dup2", "dup3", "lseek", "mmap", "write", "pwrite64"),
    *("writev", "pwritev", "pwritev2", "sendfile", "splice", "copy_file_range", "ftruncate", "truncate"),
    *("fallocate", "fsync", "fdatasync", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link"),
    *("linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "rmdir"),
]
ANY_HANDLE = ("mmap", "sendfile", "splice", "copy_file_range")
STRACE = [
    *("strace", "-D", "-f", "-q", "--seccomp-bpf"),
    *("-y", "-xx", "-s", str(1 << 20), "-e", "signal=none"),
    "--absolute-timestamps=format:unix,precision:ns",
    *("-e", "trace=" + ",".join("?" + call for call in CALLS)),  # "?": not every processor has it
    "-o",
]

LINE = re.compile(rb"(\d+) +(\d+)\.(\d{9}) (.*)\n", re.DOTALL)
UNFINISHED = b" <unfinished ...>"
DETACHED = b" <detached ...>"  # the program was killed while the line was written
RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
CALL = re.compile(rb"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(.*)", re.DOTALL)
HEX = rb"((?:\\x..)*)"
HANDLE = re.compile(rb"(\d+)<" + HEX + rb">")
PATHS = re.compile(rb"(?:(?:AT_FDCWD|\d+)<" + HEX + rb'>, )?"' + HEX + rb'"')
WRITTEN = re.compile(rb', "' + HEX + rb'", (\d+)(?:, (\d+))?$', re.DOTALL)

MEMORY = "-shm"  # mapped into memory, never synced, and made anew after a crash


class Moment(msgspec.Struct, frozen=True):
    """An op begins, or has ended, at `at_ns` on the clock of `time.time_ns`."""

    at_ns: int
    op: Op
    ended: bool


class Call(msgspec.Struct):
    """A system call: where in the trace and when it began and returned, and its text."""

    began: tuple[int, int]
    ended: tuple[int, int] | None  # None: the program was killed meanwhile
    text: bytes


def obstacle() -> str | None:
    """Why nothing can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed: apt-get install strace"
    tried = subprocess.run([*STRACE, "/dev/stdout", "true"], capture_output=True, text=True)
    if "exited with 0" not in tried.stdout:
        return f"strace may not trace here: {tried.stderr.strip()}"
    return None


def read(trace: Path, folder: Path) -> tuple[list[Moment], list[Op]]:
    """What was done in the folder, in order; and what was not over when the program was killed.

    Raises NotModelled where it cannot be followed.
    """
    told: list[tuple[int, Moment]] = []
    cut_off: list[Op] = []
    reader = Reader(folder)
    for call in calls(trace):
        op = reader.op(call.text)
        if op is None:
            continue
        if call.ended is None:
            cut_off.append(op)
            continue
        told.append((call.began[0], Moment(call.began[1], op, False)))
        told.append((call.ended[0], Moment(call.ended[1], op, True)))
    told.sort(key=lambda each: each[0])  # stable: a call in one line begins before it ends
    return [moment for _, moment in told], cut_off


def calls(trace: Path) -> Iterator[Call]:
    """All calls, in the order in which they returned."""
    waiting: dict[bytes, Call] = {}  # by thread
    last_ns = 0
    with trace.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            found = LINE.fullmatch(line)
            if found is None:
                raise NotModelled(f"{trace.name}, line {number}: {line[:200]!r}")
            thread, seconds, fraction, text = found.groups()
            at = number, int(seconds) * 1_000_000_000 + int(fraction)
            if at[1] < last_ns:
                raise NotModelled("the clock was put back during the recording")
            last_ns = at[1]
            if text.startswith(b"+++"):
                continue
            if text.endswith((UNFINISHED, DETACHED)):
                waiting[thread] = Call(at, None, text.removesuffix(UNFINISHED).removesuffix(DETACHED))
                continue
            call = Call(at, at, text)
            if resumed := RESUMED.fullmatch(text):
                call = waiting.pop(thread)
                call.ended, call.text = at, call.text + resumed[1]
            if call.text.endswith(b"= ?"):
                call.ended = None
            yield call
    for call in waiting.values():
        call.text += b") = ?"
        yield call


class Reader:
    """Turns the calls of one process into ops on one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._hexed = hexed(self._folder)
        self._positions: dict[int, int | None] = {}  # by file descriptor; None: always at the file's end
        self._folders: set[str] = set()  # within the folder: what is in them is no concern of its files

    def op(self, text: bytes) -> Op | None:
        """What a call did to the folder; None where that is nothing."""
        if self._hexed not in text:
            return None
        found = CALL.fullmatch(text)
        if found is None:
            raise NotModelled(f"{text[:80]!r} ... {text[-80:]!r}")
        call, arguments = found[1].decode(), found[2]
        if call in ("mkdir", "mkdirat"):
            self._folders.update(
                filter(None, (self._name(path, at) for at, path in PATHS.findall(arguments)))
            )
        if found[3].startswith(b"-"):
            return None  # it failed, and changed nothing
        if call in ANY_HANDLE:
            harmless = call == "mmap" and not (b"PROT_WRITE" in arguments and b"MAP_SHARED" in arguments)
            for _, path in HANDLE.findall(arguments):
                if not harmless and self._name(path) is not None:
                    raise NotModelled(f"{call} of {self._name(path)}")
            return None
        if handle := HANDLE.match(arguments):
            name = self._name(handle[2])
            if name is None:
                return None
            return self._on_handle(call, int(handle[1]), name, arguments, found[3])
        names = [self._name(path, at) for at, path in PATHS.findall(arguments)]
        if all(name is None for name in names):
            return None
        match call, names:
            case (("mkdir" | "mkdirat"), _):
                return None
            case (("open" | "openat" | "creat"), [str(name)]):
                return self._open(name, call, arguments, found[3])
            case (("unlink" | "unlinkat"), [str(name)]) if b"AT_REMOVEDIR" not in arguments:
                return Op(kind="unlink", name=name)
            case (("rename" | "renameat" | "renameat2"), [str(name), str(to)]) if b"RENAME_" not in arguments:
                return Op(kind="rename", name=name, to=to)
        raise NotModelled(f"{call} of {names}")

    def _open(self, name: str, call: str, arguments: bytes, returned: bytes) -> Op | None:
        if not name:
            return None  # the folder itself, to be read or synced
        flags = b"O_CREAT|O_TRUNC" if call == "creat" else arguments
        if returned != b"?":
            self._positions[int(returned)] = None if b"O_APPEND" in flags else 0
        creates, empties = b"O_CREAT" in flags, b"O_TRUNC" in flags
        return Op(kind="open", name=name, creates=creates, empties=empties) if creates or empties else None

    def _on_handle(self, call: str, number: int, name: str, arguments: bytes, returned: bytes) -> Op | None:
        match call:
            case "write" | "pwrite64":
                return self._write(call, number, name, arguments, returned)
            case "ftruncate":
                return Op(kind="resize", name=name, size=int(arguments.rpartition(b", ")[2]))
            case "fsync" | "fdatasync":
                return Op(kind="sync", name=name)
            case "lseek":
                if self._positions.get(number) is not None:
                    self._positions[number] = int(returned)
                return None
            case _:
                raise NotModelled(f"{call} of {name}")

    def _write(self, call: str, number: int, name: str, arguments: bytes, returned: bytes) -> Op:
        found = WRITTEN.search(arguments)
        if found is None or len(found[1]) != 4 * int(found[2]):
            raise NotModelled(f"{call} to {name} was not recorded whole")
        data = unhexed(found[1])
        if returned != b"?":
            data = data[: int(returned)]
        if call == "pwrite64":
            return Op(kind="write", name=name, offset=int(found[3]), data=data)
        if number not in self._positions:
            raise NotModelled(f"{call} to {name}, which was not seen to be opened")
        offset = self._positions[number]
        if offset is not None:
            self._positions[number] = offset + len(data)
        return Op(kind="write", name=name, offset=offset, data=data)

    def _name(self, path: bytes, at: bytes = b"") -> str | None:
        """The name of a file in the folder, "" for the folder itself; None for what is no concern of it."""
        whole = os.path.join(os.fsdecode(unhexed(at)), os.fsdecode(unhexed(path)))
        folder, name = os.path.split(whole)
        if whole == self._folder:
            return ""
        if folder != self._folder or name in self._folders or name.endswith(MEMORY):
            return None
        return name


def hexed(text: str) -> bytes:
    """As `strace -xx` writes a string."""
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(text)).encode()


def unhexed(text: bytes) -> bytes:
    return bytes.fromhex(text.replace(b"\\x", b"").decode())
