"""The documents state facts; here they are compared with the code, and their examples are run."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest

from talus import config
from talus.app import App
from talus.core import errors
from talus.web import wire
from tests.support.server import Server

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROTOCOL = (ROOT / "docs/protocol.md").read_text()

# Stated once above the event table, not in each row; and what only an undo, or a replay, adds.
IN_EVERY_ROOM_EVENT = {"version", "by", "replayed"}


def section(title: str) -> str:
    """The text from a heading up to the next one of any level."""
    start = PROTOCOL.index(f"\n{title}\n") + len(title) + 2
    following = re.search(r"^#", PROTOCOL[start:], re.MULTILINE)
    return PROTOCOL[start : start + following.start()] if following else PROTOCOL[start:]


def rows(title: str) -> list[list[str]]:
    """The cells of the table rows that begin with a name in backticks."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section(title).splitlines()
        if line.startswith("| `")
    ]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_event_table_has_every_event_of_the_code_and_no_other() -> None:
    """Given wire's event names, when the table is read, then both have the same."""
    listed = [name for row in rows("### Event table") for name in names(row[0])]
    assert sorted(listed) == sorted([*wire.EVENTS, *wire.CALLS])


@pytest.mark.parametrize("event, kind", [(e, k) for e, k in wire.EVENTS.items() if k is not None])
def test_the_event_table_has_every_field(event: str, kind: type[msgspec.Struct]) -> None:
    """Given an event's type in wire, when its row is read, then it names the same fields."""
    row = next(row for row in rows("### Event table") if names(row[0]) == {event})
    stated = {name.partition(".")[0] for name in names(row[2]) | names(row[3])}
    coded = {field.name for field in msgspec.structs.fields(kind)}
    if issubclass(kind, wire.RoomEvent):
        stated |= IN_EVERY_ROOM_EVENT
        if event.startswith("session:"):
            coded -= {"command_id"}
    assert stated == coded


def test_the_rest_table_has_every_route(tmp_path: Path) -> None:
    """Given the routes of the application, when the table is read, then both have the same."""
    app = App(config.Settings(database=tmp_path / "talus.db"))
    try:
        routes = {
            f"{route.method} " + re.sub(r"<\w+(:\w+)?>", "{}", route.rule).removeprefix("/api/v1")
            for route in app.routes
        }
    finally:
        app.stop()
    listed = {re.sub(r"\{\w+\}", "{}", name) for row in rows("## REST") for name in names(row[0])}
    assert listed == routes


def test_the_error_table_has_every_code_with_its_status() -> None:
    """Given the refusals of core, when the table is read, then both have the same codes and statuses."""
    refusals = {
        kind.code: kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.TalusError)
    }
    listed = {}
    for row in rows("## Errors"):
        for code in names(row[0]):
            listed[code] = row[1]
    assert set(listed) == set(refusals)
    for code, status in listed.items():
        if status != "-":  # heard over a socket only
            assert int(status) == wire.status_of(refusals[code]()), code


def test_the_page_knows_what_to_do_about_each_code() -> None:
    """Given the refusals of core, when one reaches the page, then it says what a person can do about it."""
    advice = (ROOT / "talus/page/src/protocol/refusal.ts").read_text()
    known = set(re.findall(r"^  ([A-Z_]+): \"", advice, re.MULTILINE))
    codes = {kind.code for _, kind in inspect.getmembers(errors, inspect.isclass) if hasattr(kind, "code")}
    assert codes - known == set()


def test_the_guide_lists_the_keys_of_the_page() -> None:
    """Given the page's table of keys, when the guide's is read, then both have the same."""
    source = (ROOT / "talus/page/src/tree/keys.ts").read_text()
    keys = set(re.findall(r'shown: "(.+?)",\s+what: "(.+?)"', source))
    guide = (ROOT / "docs/guide.md").read_text()
    assert len(keys) >= 30
    assert keys - set(re.findall(r"^\| (.+?) \| (.+?) \|$", guide, re.MULTILINE)) == set()


def test_the_settings_table_has_every_setting() -> None:
    """Given the settings of the code, when the table is read, then both have the same names."""
    listed = {name for row in rows("## Settings") for name in names(row[0])}
    assert listed == {config.variable(field.name) for field in fields(config.Settings)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Given a document, when its links to files and headings are followed, then they are there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_that_are_named_are_there(document: Path) -> None:
    """Given a document that says which test holds a promise, when it is looked for, then it is there."""
    for named in re.findall(r"(?<![\w/])((?:talus/page/)?tests/[\w/]+\.py)\b", document.read_text()):
        assert (ROOT / named).exists(), named


def test_each_promise_names_its_test() -> None:
    """Given the promises, when they are read, then each is followed by the tests that show it."""
    promises = (ROOT / "docs/reliability.md").read_text().split("\n## ")[1]
    rows = [row for row in promises.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 15
    for row in rows:
        shown = row.split(" | ")[-1]
        assert re.fullmatch(r"(`tests/[\w/]+\.py`(, )?)+ \|", shown), row


def test_the_client_of_the_readme_works(server: Server, tmp_path: Path) -> None:
    """Given the README's client, when it is run twice, then the graph has both its nodes, and it said so."""
    (code,) = re.findall(r"```javascript\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    script = ROOT / "tests/clients" / f"readme-{server.port}.mjs"
    # The client of the README stays connected for ever; a test has to end.
    ended = "socket.on('property-changed', () => setTimeout(() => socket.close(), 0));\n"
    script.write_text(code + ended)
    try:
        for _ in range(2):
            run = subprocess.run(
                ["node", script],
                env={"TALUS_URL": server.url, "PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert run.stdout.splitlines()[:2] == ["ann created Strip down", "hours: null -> 12"], run.stderr
    finally:
        script.unlink()
    graph = server.ask("/graph", session_id="bronco-66")
    assert [root["properties"] for root in graph["roots"]] == [{"name": "Strip down", "hours": 12}] * 2
