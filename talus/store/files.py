"""Files beside the database: whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import os
import re
from pathlib import Path

# What SQLite's write-ahead log cannot live on: its readers and writers share memory, which other machines
# do not see. As in the third field after the dash of /proc/self/mountinfo.
NETWORK_FILE_SYSTEMS = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs"),
    *("nfs4", "smb2", "smb3", "smbfs"),
    *("fuse.davfs2", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
}
MOUNTS = Path("/proc/self/mountinfo")


def wal_of(database: Path) -> Path:
    """SQLite's write-ahead log of a database."""
    return database.with_name(database.name + "-wal")


def journal_of(database: Path) -> Path:
    """SQLite's rollback journal, which a database has only until it has a log."""
    return database.with_name(database.name + "-journal")


def family(database: Path) -> tuple[Path, ...]:
    """A database and all that may lie beside it and is part of it."""
    return (
        database,
        wal_of(database),
        shared_memory_of(database),
        journal_of(database),
        mark_of(database),
    )


def made_folder(folder: Path) -> None:
    """Make a folder, with those that it is in; all survive a power cut."""
    if not folder.exists():
        made_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        synced_folder(folder.parent)


def shared_memory_of(database: Path) -> Path:
    """What SQLite's connections to a database share, and make anew when the first one opens it."""
    return database.with_name(database.name + "-shm")


def mark_of(database: Path) -> Path:
    """What its owner knows of a database (`claim.py`); hidden, for it is nobody else's."""
    return database.with_name(f".{database.name}-mark")


def synced_folder(folder: Path) -> None:
    """Names made or changed in the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def network_file_system(path: Path) -> str | None:
    """The kind of network share that the file is on; None on a disk of this machine, or if none can tell."""
    try:
        lines = MOUNTS.read_bytes().splitlines()
    except OSError:
        return None
    folder = path.resolve().parent
    found = b""
    longest = -1
    for line in lines:
        mount, _, source = line.partition(b" - ")
        # Octal for what would break the line: a space is \040.
        name = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), mount.split(b" ")[4])
        point = Path(os.fsdecode(name))
        depth = len(point.parts)
        if depth >= longest and (folder == point or point in folder.parents):  # the last one hides the others
            found, longest = source.split(b" ")[0], depth
    return found.decode() if found.decode() in NETWORK_FILE_SYSTEMS else None
