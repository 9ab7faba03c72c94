"""The page with a large project, and with one in which much is going on.

Frames are what the browser counts: a task of over 50 ms (a "long task") keeps one
from being drawn. Source of the bounds: docs/guide.md, "How much it holds".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from conftest import Open
from playwright.sync_api import Page, expect
from steps import row, rows, saved, select

from tests.support.server import Server, new_id

FRAME = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
WATCH = """
window.long = [];
new PerformanceObserver(list => window.long.push(...list.getEntries().map(each => each.duration)))
    .observe({type: 'longtask', buffered: true});
"""


def large(server: Server, count: int) -> tuple[str, str]:
    """A project of `count` nodes below its root: branches of 100."""
    made = server.post("/projects", {"template_id": "software-release", "project_name": "Large"}).json()
    session_id, root = made["session_id"], made["graph"]["roots"][0]["id"]
    for start in range(0, count, 5_000):
        commands: list[dict[str, Any]] = []
        for branch in range(start // 100, min(start + 5_000, count) // 100):
            parent = new_id()
            commands.append(_create(parent, root, "theme", f"Branch {branch}"))
            commands += [
                _create(new_id(), parent, "change", f"Leaf {branch}-{leaf}") for leaf in range(1, 100)
            ]
        server.execute(session_id, "Batch", {"commands": commands})
    return session_id, root


def _create(node_id: str, parent_id: str, type_id: str, name: str) -> dict[str, Any]:
    data = {"node_id": node_id, "parent_id": parent_id, "blueprint_type_id": type_id, "name": name}
    return {"command_type": "CreateNode", "data": data}


def test_ten_thousand_nodes_are_painted_within_a_second(server: Server, open_page: Open) -> None:
    """Given a project of 10,000 nodes, when it is opened, then its rows are there within a second."""
    session_id, _ = large(server, 10_000)
    address = f"/s/{session_id}"
    painted = """() => new Promise(done => {
        const look = () => document.querySelectorAll('.row[data-id]').length > 10
            ? requestAnimationFrame(() => setTimeout(() => done(performance.now())))
            : requestAnimationFrame(look);
        look();
    })"""
    found = []
    for _ in range(3):
        page = open_page(server, address)
        found.append(page.evaluate(painted))
        page.close()
    print(f"first paint of 10,000 nodes: {', '.join(f'{each:.0f}' for each in found)} ms")
    assert min(found) < 1_000, found


def test_ten_thousand_nodes_are_worked_with_in_whole_frames(server: Server, open_page: Open) -> None:
    """Given 10,000 nodes, when one scrolls, opens, types, searches and drags, then no frame waits for 50 ms.

    What the machine does beside is no fault of the page: of three rounds, each step's best one counts.
    """
    session_id, _ = large(server, 10_000)
    best: dict[str, float] = {}
    for _ in range(3):
        page = open_page(server, f"/s/{session_id}")
        expect(row(page, "Branch 0")).to_be_visible()
        page.evaluate(WATCH)
        for name, longest in work_through(page):
            best[name] = min(longest, best.get(name, longest))
        page.close()
    late = {name: round(longest) for name, longest in best.items() if longest}
    print(f"{len(best)} steps; tasks of over 50 ms in each round: {late}")
    assert len(best) >= 12 and not late


def work_through(page: Page) -> Iterator[tuple[str, float]]:
    """A while of work, undone in the end; for each step its longest task of over 50 ms, or 0."""

    def step(name: str, act: Callable[[], object]) -> tuple[str, float]:
        page.evaluate(FRAME)
        page.evaluate("window.long.splice(0)")
        act()
        page.evaluate(FRAME)
        return name, max(page.evaluate("window.long.splice(0)"), default=0.0)

    keys = page.keyboard
    select(page, "Branch 0")
    yield step("opening all branches", lambda: keys.press("*"))
    expect(row(page, "Leaf 0-1")).to_be_visible()
    yield step("the end", lambda: keys.press("End"))
    expect(row(page, "Leaf 99-99")).to_be_visible()
    page.mouse.move(300, 400)
    yield step("scrolling", lambda: [page.mouse.wheel(0, -4_000) for _ in range(20)])
    yield step("the beginning", lambda: keys.press("Home"))
    select(page, "Leaf 0-1")
    yield step("moving about", lambda: [keys.press("ArrowDown") for _ in range(30)])
    select(page, "Leaf 0-1")
    keys.press("Enter")
    yield step("typing a name", lambda: keys.type("A name of some length"))
    yield step("renaming", lambda: keys.press("Enter"))
    saved(page)
    yield step("adding", lambda: [keys.press("Insert"), keys.type("New"), keys.press("Enter")])
    keys.press("Escape")
    saved(page)
    yield step("undoing", lambda: keys.press("Control+z"))
    expect(row(page, "New")).to_have_count(0)
    keys.press("/")
    yield step("searching", lambda: keys.type("leaf 57-1"))
    expect(row(page, "Leaf 57-1")).to_be_visible()
    keys.press("Escape")
    expect(row(page, "Leaf 0-2")).to_be_visible()
    start = row(page, "Leaf 0-2").bounding_box()
    assert start is not None
    x, y = start["x"] + 200, start["y"] + 10
    page.mouse.move(x, y)
    page.mouse.down()
    yield step("dragging", lambda: [page.mouse.move(x, y + 8 * each) for each in range(30)])
    yield step("dropping", page.mouse.up)
    saved(page)
    keys.press("Control+z")
    keys.press("Control+z")
    expect(row(page, "Leaf 0-1")).to_be_visible()
    saved(page)


def test_twenty_thousand_nodes_leave_few_rows_in_the_page(server: Server, open_page: Open) -> None:
    """Given 20,000 nodes, when all branches are open, then only what is seen is in the page."""
    session_id, _ = large(server, 20_000)
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Branch 0")).to_be_visible()
    select(page, "Branch 0")
    page.keyboard.press("*")
    expect(row(page, "Leaf 0-1")).to_be_visible()
    assert len(rows(page)) < 100
    page.keyboard.press("End")
    last = row(page, "Leaf 199-99")
    expect(last).to_be_in_viewport()
    expect(last).to_have_attribute("aria-posinset", "99")
    expect(last).to_have_attribute("aria-setsize", "99")
    page.keyboard.press("Delete")
    expect(last).to_have_count(0)
    saved(page)
    assert server.ask(f"/sessions/{session_id}/info")["node_count"] == 20_000


def test_a_page_stays_usable_while_300_changes_a_second_come_in(server: Server, open_page: Open) -> None:
    """Given others who change 300 things a second, when one works beside, then the page answers."""
    session_id, root = large(server, 10_000)
    branch = server.create(session_id, root, blueprint_type_id="theme", name="Busy")
    nodes = [
        server.create(session_id, branch, blueprint_type_id="change", name=f"Busy {at}") for at in range(10)
    ]
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Branch 0")).to_be_visible()
    page.evaluate(WATCH)
    stop = threading.Event()
    sent = [0]

    def work() -> None:
        due = time.monotonic()
        while not stop.is_set():
            node = nodes[sent[0] % len(nodes)]
            data = {"node_id": node, "property_id": "name", "value": f"Busy {sent[0]}"}
            server.execute(session_id, "UpdateProperty", data)
            sent[0] += 1
            due += 1 / 100
            stop.wait(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        select(page, "Branch 0")
        took = []
        for at in range(10):
            page.keyboard.press("Enter")
            expect(page.get_by_label("Name", exact=True).first).to_be_focused()
            page.keyboard.type(f"Mine {at}")
            then = time.monotonic()
            page.keyboard.press("Enter")
            expect(row(page, f"Mine {at}")).to_be_visible()
            took.append(time.monotonic() - then)
        rate = sent[0] / (time.monotonic() - began)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    saved(page)
    tasks = page.evaluate("window.long")
    shown_s = sorted(took)[5]
    print(f"{rate:.0f} changes/s; an edit was shown after {shown_s * 1e3:.0f} ms; long tasks: {tasks}")
    assert shown_s < 0.5
    page.get_by_label("Search names and properties").fill("busy")
    shown = [each.strip() for each in rows(page) if each.strip().startswith("Busy ")]
    held = server.graph(session_id)["roots"][0]["children"][-1]["children"]
    assert shown == [node["name"] for node in held]
