"""A real server in a process of its own, and real browsers on it.

gevent has no place in this process: Playwright brings a loop of its own. So these
tests are a run of their own, beside those in tests/ (`make page-test`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from tests.support.server import Server

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium; each page that is opened has a context of its own, as another person's has."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers with settings of their own: `start_server(env={...}, flags=[...], port=0)`."""
    servers: list[Server] = []

    def start(*, port: int = 0, **options: Any) -> Server:
        server = Server(tmp_path_factory.mktemp("server"), **options)
        servers.append(server)
        return server.start(port)

    yield start
    for server in servers:
        server.kill()
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A running server on a new database, for this test alone."""
    return start_server()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page as one person: `open_page(server, "/s/...", name="Ada", viewport={...})`.

    name: None for somebody who was never here. What the page's script throws, and what
    its security policy refuses, fails the test.
    """
    faults: list[str] = []
    contexts = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and (
            "Content Security Policy" in message.text or "Uncaught" in message.text
        ):
            faults.append(message.text)

    def open_one(server: Server | str, path: str = "/", *, name: str | None = "Ada", **options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        if name is not None:
            context.add_init_script(
                f"localStorage.getItem('talus.name') || localStorage.setItem('talus.name', {name!r})"
            )
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", said)
        page.goto((server if isinstance(server, str) else server.url) + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not faults, faults
