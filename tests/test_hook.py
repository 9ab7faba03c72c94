"""The protocol's React hook, as it stands, in a page with React against a real server."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.clients import NODE_CLIENTS, TIMEOUT_S, Client
from tests.support.server import Server

Json = dict[str, Any]


class Page:
    """A page in which the hook is mounted; `said` is all that it has told so far."""

    def __init__(self, url: str, session_id: str) -> None:
        self.process = subprocess.Popen(
            ["node", "hook.mjs", url, session_id],
            cwd=NODE_CLIENTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.said: list[Json] = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.said.append(json.loads(line))
                self._news.notify_all()

    def wait_for(self, what: Callable[[Json], Any], timeout: float = TIMEOUT_S) -> Json:
        """The first thing told for which `what` is true."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                for said in self.said:
                    if what(said):
                        return said
                left = deadline - time.monotonic()
                assert left > 0, f"not told within {timeout} s; told: {self.said}"
                self._news.wait(left)

    def wait_log(self, first: str) -> list[Any]:
        """The arguments of the first console.log that begins with these words."""
        found = self.wait_for(lambda said: said.get("log", [None])[0] == first)["log"]
        assert isinstance(found, list)
        return found

    def order(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()


@pytest.fixture
def mount() -> Iterator[Callable[[str, str], Page]]:
    """Opens pages: `mount(url, session_id)`."""
    pages: list[Page] = []

    def open_page(url: str, session_id: str) -> Page:
        pages.append(Page(url, session_id))
        return pages[-1]

    yield open_page
    for page in pages:
        page.process.kill()
        page.process.wait(10)


def test_the_hook_lives_from_mounting_to_unmounting(
    shared_server: Server,
    connect: Callable[..., Client],
    session_id: str,
    mount: Callable[[str, str], Page],
) -> None:
    """Given a page with the hook, when others edit and it unmounts, then it hears them, and they that it
    left."""
    other = connect(shared_server, "node-websocket")
    other.join(session_id)
    page = mount(shared_server.url, session_id)
    page.wait_log("Connected")
    joined = page.wait_log("Joined session:")[1]
    assert joined["session_id"] == session_id
    assert joined["active_clients"] == 2
    shown = page.wait_for(lambda said: said.get("shown", {}).get("activeClients") == 2)["shown"]
    assert shown["connected"] is True
    page.order("text")
    assert page.wait_for(lambda said: "text" in said)["text"] == "2 here"
    client_id = joined["client_id"]
    assert other.wait_for(lambda h: h.name == "session:connected" and h.payload["client_id"] == client_id)

    answer = other.execute(session_id, "CreateNode", {"blueprint_type_id": "phase", "name": "Body"})
    created = page.wait_log("Node created:")[1]
    assert created["node"]["id"] == answer["node_id"]
    assert created["node"]["name"] == "Body"
    data = {"node_id": answer["node_id"], "property_id": "status", "value": "begun"}
    other.execute(session_id, "UpdateProperty", data)
    changed = page.wait_log("Property changed:")[1]
    assert (changed["node_id"], changed["property_id"]) == (answer["node_id"], "status")
    assert (changed["old_value"], changed["new_value"]) == (None, "begun")

    page.order("unmount")
    page.wait_for(lambda said: said.get("unmounted"))
    gone = other.wait_for("session:disconnected")
    assert gone["client_id"] == client_id
    assert gone["active_clients"] == 1
    other.settle()
    assert len(other.heard("session:disconnected")) == 1
    assert page.process.poll() is None, "the page went on after unmounting"


def test_the_hook_opens_a_session_that_a_team_agreed_on(
    shared_server: Server, connect: Callable[..., Client], mount: Callable[[str, str], Page]
) -> None:
    """Given an id that names no session yet, when the hook mounts with it, then it is joined and commands
    work."""
    page = mount(shared_server.url, "hook-team-66")
    assert page.wait_log("Joined session:")[1]["created"] is True
    shared_server.create("hook-team-66", name="first")
    assert page.wait_log("Node created:")[1]["node"]["name"] == "first"
