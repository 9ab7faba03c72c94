"""What a folder may hold after the power went: all that was synced, and any part of what was not.

A file has what its last completed fsync or fdatasync found in it, which covers
the file's size too. Of the writes and changes of size since then, each is kept,
dropped or torn: of a torn write some sectors of 512 bytes are there and others are
not, though the file may have grown by them; zeros stand there then. A sector is
never torn itself.

Names are another matter: a file's sync says nothing about the name under which
it can be found. Names that were made, changed or taken away since the last sync
of their folder are kept up to some moment and lost from there on, as journalling
file systems do. The folder itself is taken to be there.

This is worse than real file systems are: on ext4 a dropped truncation never goes with a
later write that is kept, and a file's sync keeps its name. What stands this stands those.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import takewhile
from typing import Literal

import msgspec

SECTOR = 512  # bytes that a disk writes whole or not at all
TORN = 0.25  # of the writes, where each has a fate of its own


class NotModelled(Exception):
    """Something was done to the folder that this model cannot follow; the message says what."""


class Op(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a system call does to one file, or to the folder's names; a sync of the folder has the name ""."""

    kind: Literal["open", "write", "resize", "unlink", "rename", "sync"]
    name: str
    offset: int | None = None  # of a write; None: at the file's end
    data: bytes = b""
    size: int = 0  # that a file is cut, or grows, to
    creates: bool = False  # an open that makes the file where there is none
    empties: bool = False  # an open that cuts it to nothing
    to: str = ""  # the new name


class Write(msgspec.Struct, frozen=True):
    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    def apply(self, content: bytearray) -> None:
        _grow(content, self.offset)
        content[self.offset : self.end] = self.data

    def tear(self, content: bytearray, dice: random.Random) -> None:
        """Some of its sectors, or none."""
        share = dice.random()
        for start in range(self.offset // SECTOR * SECTOR, self.end, SECTOR):
            if dice.random() < share:
                first, last = max(start, self.offset), min(start + SECTOR, self.end)
                Write(first, self.data[first - self.offset : last - self.offset]).apply(content)
        if dice.random() < 0.5:
            _grow(content, self.end)


class Resize(msgspec.Struct, frozen=True):
    size: int

    def apply(self, content: bytearray) -> None:
        _grow(content, self.size)
        del content[self.size :]


def _grow(content: bytearray, size: int) -> None:
    if size > len(content):
        content.extend(bytes(size - len(content)))


class File:
    """An inode: what of it is on the disk for certain, and what was done since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.since: dict[Op, Write | Resize] = {}
        self.size = 0  # as programs see it

    def change(self, op: Op, change: Write | Resize) -> None:
        self.since[op] = change
        self.size = change.size if isinstance(change, Resize) else max(self.size, change.end)

    def sync(self, ops: list[Op]) -> None:
        for op in ops:
            if op in self.since:  # no other sync was faster
                self.since.pop(op).apply(self.synced)

    @property
    def content(self) -> bytes:
        """As programs see it."""
        content = bytearray(self.synced)
        for change in self.since.values():
            change.apply(content)
        return bytes(content)

    def after_power_cut(self, dice: random.Random) -> bytes:
        content = bytearray(self.synced)
        changes = list(self.since.values())
        if changes:
            fate = dice.choice((_none, _all, _first_ones, _any))
            fate(content, changes, dice)
        return bytes(content)


def _none(content: bytearray, changes: list[Write | Resize], dice: random.Random) -> None:
    pass


def _all(content: bytearray, changes: list[Write | Resize], dice: random.Random) -> None:
    for change in changes:
        change.apply(content)


def _first_ones(content: bytearray, changes: list[Write | Resize], dice: random.Random) -> None:
    """All up to one, which is torn."""
    last = dice.randrange(len(changes))
    for change in changes[:last]:
        change.apply(content)
    if isinstance(change := changes[last], Write):
        change.tear(content, dice)


def _any(content: bytearray, changes: list[Write | Resize], dice: random.Random) -> None:
    """Each as it falls, whatever became of those before it."""
    share = dice.random()
    for change in changes:
        if isinstance(change, Write) and dice.random() < TORN:
            change.tear(content, dice)
        elif dice.random() < share:
            change.apply(content)


class Disk:
    """One folder to which ops are done in their order, and what is left of it if the power goes now.

    An op begins and ends. Once begun, a change may be on the disk. Once ended, a sync
    counts, for the changes that had ended when it began.
    """

    def __init__(self) -> None:
        self.files: dict[str, File] = {}  # by name, as programs see them
        self._synced_names: dict[str, File] = {}
        self._names_since: dict[Op, Callable[[dict[str, File]], object]] = {}
        self._under_way: set[Op] = set()
        self._covered: dict[Op, Callable[[], None]] = {}  # by sync under way: makes safe what it covers

    def apply(self, op: Op, ended: bool) -> None:
        """An op begins, or has ended. Raises NotModelled when it is about a file that is not there."""
        if ended:
            self._end(op)
        else:
            self._begin(op)

    def _begin(self, op: Op) -> None:
        self._under_way.add(op)
        match op.kind:
            case "open":
                if op.creates and op.name not in self.files:
                    made = File()
                    self._rename(op, lambda names: names.update({op.name: made}))
                if op.empties:
                    self._file(op).change(op, Resize(0))
            case "write":
                file = self._file(op)
                file.change(op, Write(file.size if op.offset is None else op.offset, op.data))
            case "resize":
                self._file(op).change(op, Resize(op.size))
            case "unlink":
                self._file(op)
                self._rename(op, lambda names: names.pop(op.name))
            case "rename":
                self._file(op)
                self._rename(op, lambda names: names.update({op.to: names.pop(op.name)}))
            case "sync":
                self._covered[op] = self._cover(self._file(op)) if op.name else self._cover_names()

    def _end(self, op: Op) -> None:
        self._under_way.remove(op)
        if op.kind == "sync":
            self._covered.pop(op)()

    def _cover(self, file: File) -> Callable[[], None]:
        over = [op for op in file.since if op not in self._under_way]
        return lambda: file.sync(over)

    def _cover_names(self) -> Callable[[], None]:
        over = list(takewhile(lambda op: op not in self._under_way, self._names_since))

        def sync() -> None:
            for op in over:
                if op in self._names_since:  # no other sync was faster
                    self._names_since.pop(op)(self._synced_names)

        return sync

    def _file(self, op: Op) -> File:
        file = self.files.get(op.name)
        if file is None:
            raise NotModelled(f"{op.kind} of {op.name}, which is not there")
        return file

    def _rename(self, op: Op, change: Callable[[dict[str, File]], object]) -> None:
        change(self.files)
        self._names_since[op] = change

    def after_power_cut(self, dice: random.Random) -> dict[str, bytes]:
        """The files that the next start finds, by name. Other dice, another outcome."""
        names = dict(self._synced_names)
        changes = list(self._names_since.values())
        for change in changes[: dice.choice((0, len(changes), dice.randint(0, len(changes))))]:
            change(names)
        return {name: file.after_power_cut(dice) for name, file in names.items()}
