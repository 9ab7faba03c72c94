"""The server under test: one port, a disk that can fail, and a hub that is watched over all its lives."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.support.server import REPOSITORY, Server

DISK_BYTES = 400_000_000


class Subject(Server):
    """A server that is told nothing but its port, its database and its faults.

    guard: of broken.py, that is switched off.
    """

    def __init__(self, folder: Path, database: Path, env: dict[str, str], guard: str | None) -> None:
        super().__init__(folder, database=database, env=env, watched=True)
        if guard is not None:
            self._program = ["scripts.chaos.broken", guard, str(folder)]
        self.held: list[tuple[float, float]] = []  # seconds: until when the hub was held, and how long

    def begin(self, failpoint: str | None = None) -> None:
        """Start, on the port of the first time."""
        self._gather()
        self.env.pop("TALUS_FAILPOINT", None)
        if failpoint is not None:
            self.env["TALUS_FAILPOINT"] = failpoint
        self.start(self.port, wait=failpoint is None)  # else it may be dead before it is ready

    def end(self, *, killed: bool) -> int | None:
        """SIGKILL or SIGTERM; the exit code of the latter."""
        if killed:
            self.kill()
            return None
        return self.stop()

    def finish(self) -> None:
        if self.running:
            self.kill()
        self._gather()

    def _gather(self) -> None:
        """What was noted of the hub in a life that is over."""
        gaps = self.folder / "gaps"
        if not gaps.exists():
            return
        for line in gaps.read_text().splitlines():
            words = line.split()
            if len(words) == 4:  # the last line of a server that was killed may be half a line
                self.held.append((float(words[0]), float(words[1]) - float(words[2])))
        gaps.unlink()

    def wait_healthy(self, within_s: float) -> bool:
        """Until GET /health is 200."""
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError):  # what requests raises is one
                if self.request("GET", "/health", timeout=1).status_code == 200:
                    return True
            time.sleep(0.02)
        return False


def talus(*words: str) -> subprocess.CompletedProcess[str]:
    """A command of talus, to its end."""
    command = [sys.executable, "-m", "talus", *words]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


class Disk:
    """A small file system in memory, which can be filled; a plain folder where that is refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "talus-chaos", str(self.folder)]
        self.small = (
            sys.platform.startswith("linux")
            and os.geteuid() == 0
            and subprocess.run(mounting, capture_output=True).returncode == 0
        )

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Until nothing more fits."""
        with self._ballast.open("wb") as ballast:
            piece = 1 << 24
            while piece >= 4096:
                try:
                    os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, piece)
                except OSError:
                    piece //= 2

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """What is on it stays, beside its folder."""
        if self.small:
            for path in self.folder.glob("talus.db*"):
                shutil.copy(path, self.folder.parent)
            subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True)
