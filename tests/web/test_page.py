"""The page's files as they are served. Source: docs/protocol.md, "The page"."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from talus.core.errors import NotFound
from talus.web.page import Page
from tests.support.server import REPOSITORY, Server

FIRST_VIEW_BYTES = 80_000  # of JavaScript, compressed, before the page shows something
SCRIPT = b"export const page = 1;\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a build leaves: the page, and a part whose name says its content."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(b"<!doctype html><title>talus</title>")
    (tmp_path / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-abc.js.br").write_bytes(b"brotli")
    (tmp_path / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(SCRIPT))
    return tmp_path


class Answer:
    def __init__(self, page: Page, path: str, method: str = "GET", **headers: str) -> None:
        def start(status: str, fields: list[tuple[str, str]]) -> None:
            self.status = int(status.split()[0])
            self.headers = {name.lower(): value for name, value in fields}

        environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        self.body = b"".join(page(environ, start))


@pytest.mark.parametrize(
    "accepted, coding",
    [
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0.0, gzip; q=0", None),
        ("brotli", None),
        ("", None),
    ],
)
def test_a_part_comes_in_the_coding_that_is_taken(folder: Path, accepted: str, coding: str | None) -> None:
    """Given a part that was compressed when it was built, when it is asked for, then it comes as asked."""
    answer = Answer(Page(folder), "/assets/index-abc.js", accept_encoding=accepted)
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.body == {"br": b"brotli", "gzip": gzip.compress(SCRIPT), None: SCRIPT}[coding]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_a_hashed_part_is_kept_and_the_page_is_asked_for_anew(folder: Path) -> None:
    """Given the page and a part named by its content, then one may be kept for ever, the other not."""
    page = Page(folder)
    assert (
        Answer(page, "/assets/index-abc.js").headers["cache-control"] == "public, max-age=31536000, immutable"
    )
    first = Answer(page, "/")
    assert first.headers["cache-control"] == "no-cache"
    again = Answer(page, "/", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert "content-type" not in again.headers
    (folder / "index.html").write_bytes(b"another page")
    assert Answer(Page(folder), "/", if_none_match=first.headers["etag"]).status == 200


def test_a_session_has_the_page_for_an_address(folder: Path) -> None:
    """Given a link to a session, then its address is the page; what only looks like one is not."""
    page = Page(folder)
    assert Answer(page, "/s/bronco-66").body == Answer(page, "/").body
    assert Answer(page, "/", "HEAD").body == b""
    assert Answer(page, "/", "HEAD").headers["content-length"] == Answer(page, "/").headers["content-length"]
    for other in (
        "/s/",
        "/s/a/b",
        "/s",
        "/../setup.cfg",
        "/assets/",
        "/assets/index-abc.js.br",
        "/api/v1/health",
    ):
        assert not page.knows(other), other


def test_a_page_that_was_not_built_is_said(tmp_path: Path) -> None:
    """Given no built page, when it is asked for, then the answer says what to do."""
    page = Page(tmp_path / "nothing")
    assert page.knows("/")
    with pytest.raises(NotFound, match="make page"):
        Answer(page, "/")


def test_the_built_page_is_served_with_a_policy(shared_server: Server) -> None:
    """Given a running server, when a browser opens it, then the page allows nothing that is not its own."""
    with requests.Session() as browser:
        answer = browser.get(shared_server.url + "/")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        parts = [each.split('"')[0] for each in answer.text.split('="/assets/')[1:]]
        assert len(parts) >= 2
        for part in parts:
            piece = browser.get(f"{shared_server.url}/assets/{part}")
            assert piece.status_code == 200 and piece.headers["Content-Encoding"] == "gzip", part
            if part.endswith(".js"):
                assert int(piece.headers["Content-Length"]) <= FIRST_VIEW_BYTES
        assert "<script>" not in answer.text and "<style" not in answer.text
        wrong = browser.post(shared_server.url + "/", json={})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
        assert wrong.headers["Allow"] == "GET, HEAD"
        missing = browser.get(shared_server.url + "/assets/index-none.js")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_the_page_needs_no_token_and_its_host_is_checked(start_server: Any, tmp_path: Path) -> None:
    """Given a server with tokens, when anybody opens it, then the page comes, and asks for it."""
    key = tmp_path / "key"
    key.write_text("k" * 32)
    server: Server = start_server(env={"TALUS_AUTH": "jwt", "TALUS_JWT_SECRET_FILE": str(key)})
    with requests.Session() as browser:
        assert browser.get(server.url + "/s/any").status_code == 200
        assert browser.get(server.url + "/api/v1/sessions").status_code == 401
        assert browser.get(server.url + "/nothing").status_code == 401
        assert browser.get(server.url + "/", headers={"Host": "evil.example"}).status_code == 421


def test_no_wheel_is_made_without_the_page(tmp_path: Path) -> None:
    """Given a checkout in which the page was not built, when pip makes a wheel, then it says what to do."""
    for part in ("pyproject.toml", "setup.cfg", "README.md"):
        shutil.copyfile(REPOSITORY / part, tmp_path / part)
    left = shutil.ignore_patterns(
        "static", "page", "node_modules", "__pycache__", "*.db*", "snapshots", "backups"
    )
    for part in ("talus", "data", "scripts"):
        shutil.copytree(REPOSITORY / part, tmp_path / part, ignore=left)
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(wheel, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "run `make page` first" in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.whl"))
