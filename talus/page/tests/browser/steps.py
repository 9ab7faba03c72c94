"""What the tests do and see in words of the page."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.server import Server, new_id

SAVED = "live, all saved"


def project(server: Server, template: str = "restomod", name: str = "1966 Bronco") -> tuple[str, str]:
    """A new project: its session id and the id of its root."""
    made = server.post("/projects", {"template_id": template, "project_name": name}).json()
    return made["session_id"], made["graph"]["roots"][0]["id"]


def outline(
    server: Server, session_id: str, parent: str | None, lines: str, type_id: str | dict[int, str] = "item"
) -> dict[str, str]:
    """Makes nodes from lines that are indented by two spaces a level, in one commit; their ids by name.

    type_id: of all, or by level from 0.
    """
    commands: list[dict[str, Any]] = []
    above: list[str | None] = [parent]
    ids: dict[str, str] = {}
    for line in lines.strip("\n").splitlines():
        level = (len(line) - len(line.lstrip())) // 2
        name = line.strip()
        ids[name] = new_id()
        del above[level + 1 :]
        under = above[level]
        above.append(ids[name])
        kind = type_id if isinstance(type_id, str) else type_id[level]
        data = {"node_id": ids[name], "blueprint_type_id": kind, "name": name}
        commands.append(
            {"command_type": "CreateNode", "data": {**data, **({"parent_id": under} if under else {})}}
        )
    server.execute(session_id, "Batch", {"commands": commands})
    return ids


def tree(page: Page) -> Locator:
    return page.get_by_role("tree")


def row(page: Page, name: str) -> Locator:
    """The row of the node with exactly this name."""
    return page.locator(".row[data-id]").filter(has=page.locator(".name", has_text=_exactly(name)))


def rows(page: Page) -> list[str]:
    """The rows that are in the page, in order, indented by two spaces a level."""
    found = page.locator(".row[data-id]").evaluate_all(
        "rows => rows.map(row => [row.getBoundingClientRect().top, Number(row.getAttribute('aria-level')),"
        " row.querySelector('.name')?.textContent ?? row.querySelector('input')?.value])"
    )
    return [f"{'  ' * (level - 1)}{name}" for _, level, name in sorted(found)]


def select(page: Page, name: str) -> None:
    """Clicks a row, so that the tree has the focus and this row is the active one."""
    row(page, name).locator(".name").click()
    expect(row(page, name)).to_have_attribute("aria-selected", "true")


def saved(page: Page) -> None:
    """Waits until the page says that everything is saved."""
    expect(page.locator(".status-word")).to_have_text(SAVED)


def names(server: Server, session_id: str) -> list[str]:
    """The server's tree, in the form of `rows`."""
    found: list[str] = []

    def walk(nodes: list[dict[str, Any]], level: int) -> None:
        for node in nodes:
            found.append(f"{'  ' * level}{node['name'] or 'No name'}")
            walk(node["children"], level + 1)

    walk(server.graph(session_id)["roots"], 0)
    return found


def _exactly(text: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(text)}$")
