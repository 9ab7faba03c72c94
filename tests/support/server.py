"""A real server in a process of its own: started, asked over REST, stopped, killed, started again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import requests

from tests.support.tree import Tree, difference, rebuilt

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATES = Path(__file__).resolve().parent / "templates"
READY = re.compile(r"talus listening on (https?)://(.+):(\d+)")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0  # the contract: SIGTERM ends the server within 10 s
REQUEST_TIMEOUT_S = 30.0

JsonObject = dict[str, Any]


def new_id() -> str:
    """A UUID in lower-case text, as node and command ids are."""
    return str(uuid.uuid4())


class Refused(AssertionError):
    """A REST call that was expected to succeed and did not."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(
            f"{response.request.method} {response.url}: {response.status_code} {response.text[:2000]}"
        )
        self.response = response


class Server:
    """One `python -m talus serve` on one database file.

    folder:  where the log is kept (and the database, unless one is named).
    flags:   more command line arguments for `serve`.
    env:     settings, such as `{"TALUS_RATE_COMMANDS": "5"}`; TALUS_* of the caller are not passed on.
    watched: it is looked at how long its hub is held (tests/support/watched.py), which `gaps` tells.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database: Path | None = None,
        env: dict[str, str] | None = None,
        flags: list[str] | None = None,
        watched: bool = False,
    ) -> None:
        self.folder = folder
        self._program = ["tests.support.watched", str(folder)] if watched else ["talus"]
        self.database = database or folder / "talus.db"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("TALUS_")}
        self.env.update(env or {})
        self.flags = flags or []
        self.port = 0
        self.url = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.printed = ""  # all of stdout so far
        self.http = requests.Session()
        self._starts = 0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def log(self) -> str:
        """Everything the server has written to stderr, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self, port: int = 0, *, wait: bool = True) -> Server:
        """Start on `port` (0: any free one) and wait for the line that says it is ready."""
        assert not self.running, "it runs already"
        command = [
            sys.executable,
            "-m",
            *self._program,
            "serve",
            "--port",
            str(port),
            "--database",
            str(self.database),
        ]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.flags],
                cwd=REPOSITORY,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._starts += 1
        self.printed = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read_stdout, args=(self.process,), daemon=True)
        self._reader.start()
        self.http = requests.Session()  # the connections of an earlier start are dead
        self.http.trust_env = False
        self.http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))
        if wait:
            self.wait_ready()
        return self

    def _read_stdout(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode(errors="replace")
            self.printed += text
            found = READY.search(text)
            if found and process is self.process:
                self.port = int(found[3])
                self.url = f"{found[1]}://{found[2]}:{self.port}"
                self._ready.set()

    def wait_ready(self, timeout: float = START_TIMEOUT_S) -> None:
        """Until it listens. Raises when it ended before, or took longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self._ready.wait(0.02):
            if not self.running:
                self._reader.join(2)
                raise AssertionError(
                    f"the server ended with {self.exit_code()}:\n{self.printed}\n{self.log()[-4000:]}"
                )
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not listening after {timeout} s:\n{self.printed}\n{self.log()[-4000:]}"
                )

    def gaps(self, since_s: float = 0.0) -> list[float]:
        """Seconds that the hub was held, since that moment of the monotonic clock, each 5 ms or more.

        The time in which other programs had the CPU does not count.
        """
        lines = [line.split() for line in (self.folder / "gaps").read_text().splitlines()]
        return [float(gap) - float(queued) for at, gap, queued, _ in lines if float(at) >= since_s]

    def greenlets(self) -> int:
        """How many there are, after a garbage collection; holds the hub for a moment."""
        counted = self.folder / "counted"
        counted.unlink(missing_ok=True)
        (self.folder / "count").touch()
        deadline = time.monotonic() + 10
        while not counted.exists():
            assert time.monotonic() < deadline, "the greenlets were not counted"
            time.sleep(0.02)
        return int(counted.read_text())

    def files(self) -> int:
        """How many file descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Bytes of memory that the process has."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_ended(self, timeout: float = STOP_TIMEOUT_S) -> int:
        """Its exit code; an error when it still runs after `timeout` seconds."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"still running {timeout} s later:\n{self.log()[-4000:]}") from None
        self._reader.join(5)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """SIGTERM, then its exit code; it has 10 seconds."""
        self.send_signal(number)
        return self.wait_ended()

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)
        self._reader.join(5)

    # REST

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Any call; `path` is below `/api/v1`, or below the server's own address when it begins with `~/`."""
        address = (
            f"{self.url}/api/v1{path}" if path.startswith("/") else f"{self.url}/{path.removeprefix('~/')}"
        )
        options.setdefault("timeout", REQUEST_TIMEOUT_S)
        options.setdefault("allow_redirects", False)
        return self.http.request(method, address, **options)

    def get(self, path: str, *, headers: Any = None, **params: Any) -> requests.Response:
        return self.request("GET", path, params=params, headers=headers)

    def post(
        self, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **params: Any
    ) -> requests.Response:
        return self.request("POST", path, json={} if body is None else body, headers=headers, params=params)

    def put(self, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> requests.Response:
        return self.request("PUT", path, json={} if body is None else body, headers=headers)

    def delete(self, path: str, *, headers: dict[str, str] | None = None, **params: Any) -> requests.Response:
        return self.request("DELETE", path, headers=headers, params=params)

    def ask(self, path: str, **params: Any) -> JsonObject:
        """The JSON of a GET that has to succeed."""
        return _answer(self.get(path, **params))

    def new_session(self, **body: Any) -> str:
        """`POST /sessions`; the id."""
        return str(_answer(self.post("/sessions", body))["session_id"])

    def execute(
        self, session_id: str, command_type: str, data: JsonObject, *, actor: str | None = None, **more: Any
    ) -> JsonObject:
        """`POST /commands/execute` that has to succeed; its answer."""
        return _answer(self.try_execute(session_id, command_type, data, actor=actor, **more))

    def try_execute(
        self, session_id: str, command_type: str, data: Any, *, actor: str | None = None, **more: Any
    ) -> requests.Response:
        body = {"session_id": session_id, "command_type": command_type, "data": data, **more}
        return self.post("/commands/execute", body, headers={"Talus-Actor": actor} if actor else None)

    def create(self, session_id: str, parent_id: str | None = None, **data: Any) -> str:
        """`CreateNode` of a free type; the node's id."""
        data.setdefault("blueprint_type_id", "part")
        if parent_id is not None:
            data["parent_id"] = parent_id
        return str(self.execute(session_id, "CreateNode", data)["node_id"])

    def undo(self, session_id: str, **body: Any) -> JsonObject:
        return _answer(self.try_undo(session_id, **body))

    def redo(self, session_id: str, **body: Any) -> JsonObject:
        return _answer(self.try_undo(session_id, call="redo", **body))

    def try_undo(
        self, session_id: str, *, call: str = "undo", actor: str | None = None, **body: Any
    ) -> requests.Response:
        headers = {"Talus-Actor": actor} if actor else None
        return self.post(f"/sessions/{session_id}/{call}", body, headers=headers)

    def graph(self, session_id: str, version: int | None = None) -> JsonObject:
        params = {"session_id": session_id} | ({} if version is None else {"version": version})
        return self.ask("/graph", **params)

    def events(self, session_id: str, since: int = 0, limit: int = 5000) -> list[JsonObject]:
        """All facts after `since`, page after page."""
        facts: list[JsonObject] = []
        following: int | None = since
        while following is not None:
            page = self.ask(f"/sessions/{session_id}/events", since=following, limit=limit)
            facts += page["events"]
            assert page["next_since"] is None or page["next_since"] > following, page["next_since"]
            following = page["next_since"]
        return facts

    def history(self, session_id: str, limit: int = 500) -> list[JsonObject]:
        """All commits, newest first, page after page."""
        commits: list[JsonObject] = []
        before: JsonObject = {}
        while True:
            page = self.ask(f"/sessions/{session_id}/history", limit=limit, **before)
            commits += page["commits"]
            if page["next_before"] is None:
                return commits
            before = {"before": page["next_before"]}

    def check_converged(self, session_id: str, *trees: Tree | None) -> JsonObject:
        """The graph, once it equals each of `trees` and a rebuild from the events."""
        graph = self.graph(session_id)
        history = rebuilt(self.events(session_id))
        for name, tree in [
            ("the rebuilt journal", history),
            *((f"tree {n}", t) for n, t in enumerate(trees)),
        ]:
            assert tree is not None, f"{name} was never fetched"
            assert tree.version == graph["version"], (
                f"{name} is at {tree.version}, the graph at {graph['version']}"
            )
            found = difference(tree.nested(), graph["roots"])
            assert not found, f"{name} differs from the graph: {found}"
        return graph


def refusal(response: requests.Response) -> tuple[int, str]:
    """(HTTP status, code) of an error answer, whose form is checked."""
    assert response.headers["Content-Type"].partition(";")[0] == "application/json", response.headers
    body = response.json()
    assert body.keys() == {"error"}, body
    assert {"code", "message"} <= body["error"].keys() <= {"code", "message", "details"}, body
    assert isinstance(body["error"]["message"], str), body
    assert body["error"]["message"], body
    return response.status_code, body["error"]["code"]


def _answer(response: requests.Response) -> JsonObject:
    if response.status_code not in (200, 201):
        raise Refused(response)
    answer = response.json()
    assert isinstance(answer, dict)
    return answer
