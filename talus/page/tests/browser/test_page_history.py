"""The history: what happened, undo and redo of one's own and of everyone's, and the tree as it was."""

from __future__ import annotations

import re
import sys
from subprocess import run
from typing import Any

from playwright.sync_api import Locator, Page, Request, Route, expect
from steps import names, outline, project, row, rows, select, tree

from tests.support.server import REPOSITORY, JsonObject, Server


def history(page: Page) -> Locator:
    return page.get_by_role("complementary", name="History")


def lines(page: Page) -> Locator:
    return history(page).get_by_role("list", name="Changes, newest first").get_by_role("button")


def line(page: Page, words: str) -> Locator:
    return lines(page).filter(has_text=words)


def versions(page: Page) -> list[int]:
    """The versions of the lines that are shown, from the top."""
    return [int(text) for text in history(page).locator(".commit .version").all_inner_texts()]


def time(page: Page) -> Locator:
    return history(page).get_by_role("slider", name="Look back in time")


def banner(page: Page) -> Locator:
    return page.locator(".past-bar")


def note(server: Server, session_id: str, node_id: str, value: Any, actor: str = "Bob") -> JsonObject:
    """Somebody sets the property `note`."""
    data = {"node_id": node_id, "property_id": "note", "value": value}
    return server.execute(session_id, "UpdateProperty", data, actor=actor)


class Held:
    """Requests of the page that do not leave before they are released: a slow network."""

    def __init__(self, page: Page, url: str) -> None:
        self.url = re.compile(url)
        self.routes: list[Route] = []
        self._holding = True
        page.route(self.url, self._take)

    def _take(self, route: Route) -> None:
        if self._holding:
            self.routes.append(route)
        else:
            route.continue_()

    def release(self, last: int = 0) -> None:
        """All of them, or only the last ones; those to come leave at once."""
        self._holding = False
        for route in self.routes[-last:]:
            route.continue_()


def talus(server: Server, command: str, file: str) -> None:
    """`talus backup FILE` or `talus restore FILE`, on the server's database."""
    run(
        [sys.executable, "-m", "talus", command, file, "--database", str(server.database)],
        cwd=REPOSITORY,
        env=server.env,
        check=True,
        capture_output=True,
    )


def test_the_list_tells_who_did_what_and_undo_is_of_one_or_of_all(server: Server, open_page) -> None:
    """Given Ada and Bob at work, when they undo their own or everyone's, then both lists say so, live."""
    session_id = server.new_session(name="Boat")
    server.execute(session_id, "CreateNode", {"blueprint_type_id": "part", "name": "Hull"}, actor="Ada")
    ada = open_page(server, f"/s/{session_id}?view=history")
    bob = open_page(server, f"/s/{session_id}?view=history", name="Bob")
    expect(lines(ada)).to_have_text([re.compile(r'Created part "Hull"\s*Ada, just now\s*1')])

    select(ada, "Hull")
    tree(ada).press("Enter")
    expect(tree(ada).get_by_role("textbox")).to_be_focused()
    ada.keyboard.type("Keel")
    ada.keyboard.press("Enter")
    expect(line(bob, 'Set name of "Keel"')).to_contain_text("Ada, just now")
    select(bob, "Keel")
    tree(bob).press("Insert")
    expect(tree(bob).get_by_role("textbox")).to_be_focused()
    bob.keyboard.type("Mast")
    bob.keyboard.press("Enter")
    bob.keyboard.press("Escape")
    expect(lines(ada)).to_have_text(
        [re.compile(words) for words in ('"Mast".*Bob', '"Keel".*Ada', '"Hull".*Ada')]
    )

    # Ada's own latest is the name, though Bob's node is newer.
    expect(history(ada).get_by_label("My changes")).to_be_checked()
    history(ada).get_by_role("button", name="Undo mine").press("Enter")
    for page in (ada, bob):
        expect(row(page, "Hull")).to_be_visible()
        expect(lines(page).first).to_contain_text('Undid: Set name of "Keel"')
        expect(lines(page).nth(2)).to_contain_text("undone")
        expect(lines(page).nth(2)).to_have_class(re.compile(r"\bundone\b"))
        expect(lines(page).nth(1)).not_to_contain_text("undone")

    # Everyone's latest is what stands of it: Bob's node.
    history(ada).get_by_label("My changes").focus()
    ada.keyboard.press("ArrowRight")
    expect(history(ada).get_by_label("Everyone's")).to_be_checked()
    history(ada).get_by_role("button", name="Undo", exact=True).press("Enter")
    expect(row(bob, "Mast")).to_have_count(0)
    expect(lines(bob).first).to_contain_text("Undid: Created")
    expect(lines(bob).nth(2)).to_contain_text("undone")
    history(ada).get_by_role("button", name="Redo", exact=True).press("Enter")
    expect(row(bob, "Mast")).to_be_visible()
    expect(lines(bob).first).to_contain_text("Did again: Created")
    expect(lines(bob).nth(3)).not_to_contain_text("undone")

    tree(ada).focus()
    ada.keyboard.press("Control+Shift+Z")
    expect(row(bob, "Keel")).to_be_visible()
    expect(line(bob, "undone")).to_have_count(0)
    assert names(server, session_id) == ["Keel", "Mast"]


def test_what_others_did_since_stands_in_the_way_of_an_undo(server: Server, open_page) -> None:
    """Given that Bob changed what Ada had set, when she undoes hers, then it is said why that cannot be."""
    session_id = server.new_session(name="Boat")
    node = server.create(session_id, name="Hull")
    note(server, session_id, node, "oak", actor="Ada")
    note(server, session_id, node, "larch", actor="Bob")
    ada = open_page(server, f"/s/{session_id}?view=history")
    expect(lines(ada)).to_have_count(3)
    history(ada).get_by_role("button", name="Undo mine").click()
    log = ada.get_by_role("log")
    expect(log).to_contain_text("Not done: Undo")
    expect(log).to_contain_text(
        "Later changes stand in the way. Undo the later changes first: the history shows them."
    )
    log.get_by_role("button", name="Dismiss").click()
    assert server.graph(session_id)["version"] == 3

    # What it advises works: everyone's latest first, then one's own.
    history(ada).get_by_text("Everyone's").click()
    history(ada).get_by_role("button", name="Undo", exact=True).click()
    expect(line(ada, "undone")).to_have_count(1)
    history(ada).get_by_text("My changes").click()
    history(ada).get_by_role("button", name="Undo mine").click()
    expect(line(ada, "undone")).to_have_count(2)
    assert "note" not in server.graph(session_id)["roots"][0]["properties"]

    history(ada).get_by_role("button", name="Undo mine").click()
    expect(log).to_contain_text("There is nothing to undo")


def test_earlier_changes_come_page_by_page_while_new_ones_arrive(server: Server, open_page) -> None:
    """Given 120 commits, when they are paged through while others go on, then each line is there once."""
    session_id = server.new_session(name="Boat")
    node = server.execute(session_id, "CreateNode", {"blueprint_type_id": "part"}, actor="Ada")["node_id"]
    note(server, session_id, node, 0, actor="Ada")
    for value in range(118):
        server.execute(
            session_id,
            "UpdateProperty",
            {"node_id": node, "property_id": "other", "value": value},
            actor="Bob",
        )
    page = open_page(server, f"/s/{session_id}?view=history")
    more = history(page).get_by_role("button", name="Show earlier changes")
    expect(lines(page)).to_have_count(50)
    assert versions(page) == list(range(120, 70, -1))

    # The next page, asked for twice, and the news are on their way while more than a page of news arrives.
    earlier = Held(page, r"/history\?.*before=71$")
    news = Held(page, r"/history\?limit=50$")
    more.dblclick()
    with page.expect_request(news.url):
        note(server, session_id, node, 0, actor="Carol")
    for value in range(59):
        note(server, session_id, node, value, actor="Carol")
    news.release()
    expect(lines(page).first).to_contain_text("180")
    expect(lines(page)).to_have_count(110)
    earlier.release()
    expect(lines(page)).to_have_count(160)
    assert len(earlier.routes) == 2
    assert versions(page) == list(range(180, 20, -1))

    more.press("Enter")
    expect(lines(page)).to_have_count(180)
    expect(more).to_have_count(0)
    assert versions(page) == list(range(180, 0, -1))

    # Bob's latest is a line far down, which was read before it was undone.
    server.undo(session_id, scope="actor", actor="Bob")
    expect(lines(page).first).to_contain_text("181")
    expect(lines(page).filter(has_text=re.compile(r"120$"))).to_contain_text("undone")
    server.redo(session_id, scope="actor", actor="Bob")
    expect(lines(page).first).to_contain_text("Did again: Set other")
    expect(line(page, "undone")).to_have_count(0)
    assert versions(page) == list(range(182, 0, -1))


def test_the_list_is_of_the_timeline_that_the_server_has(server: Server, open_page) -> None:
    """Given an open history, when a backup is put back, then what was lost is not told any more."""
    session_id = server.new_session(name="Boat")
    node = server.execute(session_id, "CreateNode", {"blueprint_type_id": "part"}, actor="Ada")["node_id"]
    copy = str(server.folder / "copy.db")
    talus(server, "backup", copy)
    note(server, session_id, node, "oak", actor="Bob")
    page = open_page(server, f"/s/{session_id}?view=history")
    expect(lines(page)).to_have_text([re.compile("Set note.*Bob"), re.compile("Created part.*Ada")])

    server.stop()
    talus(server, "restore", copy)
    server.start(server.port)
    expect(lines(page)).to_have_text([re.compile("Created part.*Ada")])
    note(server, session_id, node, "larch", actor="Carol")
    expect(lines(page)).to_have_text([re.compile("Set note.*Carol"), re.compile("Created part.*Ada")])
    expect(history(page).get_by_role("alert")).to_have_count(0)


TREE = """
Hull
  Keel
    Bolts
  Planks
Sails
  Jib
"""


def test_a_line_shows_the_tree_as_it_was_and_nothing_can_be_changed(server: Server, open_page) -> None:
    """Given a project with a past, when a line is pressed, then all is as it was, to look at only."""
    session_id, root = project(server, "workshop-build", "Boat")
    ids = outline(server, session_id, root, TREE, "assembly")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Sails"]}, actor="Bob")
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Bolts")).to_be_visible()
    select(page, "Keel")
    page.keyboard.press("ArrowLeft")  # its branch is closed
    now = ["Boat", "  Hull", "    Keel", "    Planks"]
    assert rows(page) == now
    page.get_by_role("button", name="History").click()

    line(page, "6 changes in one").press("Enter")
    expect(banner(page)).to_contain_text("Version 2, after anonymous’s change: 6 changes in one.")
    expect(banner(page)).to_contain_text("This is how it was: nothing can be changed here.")
    expect(line(page, "6 changes in one")).to_have_attribute("aria-current", "true")
    expect(tree(page)).to_have_accessible_name("The project at version 2")
    then = [*now, "  Sails"]
    expect(row(page, "Sails")).to_be_visible()
    assert rows(page) == then
    expect(row(page, "Keel")).to_have_attribute("aria-selected", "true")

    # Keys, the clipboard, double click, drag, menus and buttons.
    version = server.graph(session_id)["version"]
    tree(page).focus()
    for key in [
        "Enter",
        "F2",
        "Insert",
        "Shift+Insert",
        "Tab",
        "Shift+Tab",
        "Alt+ArrowDown",
        "Control+.",
        "Control+d",
    ]:
        page.keyboard.press(key)
    for key in ["Delete", "Backspace", "Control+x", "Control+v", "Control+z", "Control+Shift+z"]:
        page.keyboard.press(key)
    expect(tree(page).get_by_role("textbox")).to_have_count(0)
    row(page, "Keel").locator(".name").dblclick()
    expect(tree(page).get_by_role("textbox")).to_have_count(0)
    row(page, "Planks").locator(".name").drag_to(row(page, "Sails").locator(".name"))
    expect(row(page, "Planks").locator(".status")).to_be_disabled()
    expect(page.get_by_role("button", name="Add", exact=True)).to_have_count(0)
    for name in ("Undo", "Redo", "Undo mine", "Redo mine"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    tree(page).press("Shift+F10")
    expect(page.get_by_role("menuitem")).to_have_text(["Copy link"])
    page.keyboard.press("Escape")
    select(page, "Keel")
    tree(page).press("Shift+ArrowDown")
    expect(page.get_by_role("toolbar", name="Selected nodes")).to_have_count(0)
    select(page, "Keel")
    assert rows(page) == then

    # The others go on; that moment stays as it was.
    server.create(session_id, ids["Hull"], name="Ribs", blueprint_type_id="assembly")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Planks"]})
    server.execute(
        session_id, "UpdateProperty", {"node_id": ids["Hull"], "property_id": "name", "value": "Body"}
    )
    expect(lines(page).first).to_contain_text('Set name of "Body"')
    assert rows(page) == then
    assert server.graph(session_id)["version"] == version + 3, "nothing of all the keys was sent"

    page.get_by_role("button", name="Back to the present").press("Enter")
    expect(banner(page)).to_have_count(0)
    expect(row(page, "Body")).to_be_visible()
    assert rows(page) == ["Boat", "  Body", "    Keel", "    Ribs"]
    expect(row(page, "Keel")).to_have_attribute("aria-selected", "true")
    expect(tree(page)).to_be_focused()
    page.keyboard.press("F2")
    expect(tree(page).get_by_role("textbox")).to_be_focused()


def test_the_selection_outlives_a_time_before_it(server: Server, open_page) -> None:
    """Given a selected node, when a time before it is looked at, then it is selected on the way back."""
    session_id, root = project(server, "workshop-build", "Boat")
    outline(server, session_id, root, TREE, "assembly")
    page = open_page(server, f"/s/{session_id}?view=history")
    select(page, "Keel")
    page.locator(".commit", has_text='"Boat"').press("Enter")
    expect(banner(page)).to_be_visible()
    expect(row(page, "Keel")).to_have_count(0)
    page.get_by_role("button", name="Back to the present").click()
    expect(row(page, "Keel")).to_have_attribute("aria-selected", "true")


def test_the_slider_goes_to_any_moment_by_keyboard_and_by_mouse(server: Server, open_page) -> None:
    """Given ten versions, when the slider is moved, then the tree of each is shown."""
    session_id = server.new_session(name="Boat")
    for number in range(1, 11):
        server.create(session_id, name=f"Part {number}")
    page = open_page(server, f"/s/{session_id}?view=history")
    expect(lines(page)).to_have_count(10)
    expect(history(page).get_by_text("The present")).to_be_visible()

    time(page).focus()
    page.keyboard.press("ArrowLeft")
    expect(banner(page)).to_contain_text("Version 9.")
    expect(row(page, "Part 10")).to_have_count(0)
    expect(row(page, "Part 9")).to_be_visible()
    expect(line(page, 'Created part "Part 9"')).to_have_attribute("aria-current", "true")
    expect(time(page)).to_have_attribute("aria-valuetext", "Version 9 of 10")
    expect(time(page)).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_text("There was nothing yet")).to_be_visible()
    expect(banner(page)).to_contain_text("Version 0.")
    page.keyboard.press("End")
    expect(banner(page)).to_have_count(0)
    expect(row(page, "Part 10")).to_be_visible()

    # Pressed faster than the server answers, no step is lost.
    answers = Held(page, r"/graph\?.*version=")

    def asks(version: int) -> Any:
        def wanted(request: Request) -> bool:
            return request.url.endswith(f"version={version}")

        return page.expect_request(wanted)

    for version in (9, 8, 7):
        with asks(version):
            page.keyboard.press("ArrowLeft")
    expect(time(page)).to_have_value("7")
    answers.release(last=1)  # the page has given up the others
    expect(banner(page)).to_contain_text("Version 7.")
    assert rows(page) == [f"Part {number}" for number in range(1, 8)]

    box = time(page).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.69, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2, steps=5)
    expect(banner(page)).to_contain_text("Version 3.")
    page.mouse.up()
    expect(row(page, "Part 4")).to_have_count(0)
    server.create(session_id, name="Part 11")
    expect(lines(page)).to_have_count(11)
    expect(time(page)).to_have_value("3")
    expect(history(page).get_by_text("Version 3 of 11")).to_be_visible()
    lines(page).first.click()
    expect(banner(page)).to_have_count(0)
    expect(row(page, "Part 11")).to_be_visible()
