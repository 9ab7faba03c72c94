"""The tree: what its rows tell, its keys, the mouse, the clipboard, and others who work on it meanwhile."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as Late
from steps import names, outline, project, row, rows, saved, select, tree

from tests.support.server import Server

# Of the template restomod.
TASK_DONE = "32d0fcbb-c3bd-4e0a-9374-b746ae0d2028"

BRONCO = """
Body
  Doors
    Hinges
    Seals
  Hood
Engine
  Block
Paint
"""
LEVELS = {0: "phase", 1: "job", 2: "task"}


def bronco(server: Server) -> tuple[str, dict[str, str]]:
    """A vehicle with phases, jobs and tasks; its session id and the ids of its nodes by name."""
    session_id, root = project(server)
    return session_id, {"1966 Bronco": root, **outline(server, session_id, root, BRONCO, LEVELS)}


def plain(server: Server, lines: str) -> tuple[str, dict[str, str]]:
    """A project without a template, where anything may stand anywhere."""
    session_id = server.new_session(name="Outline")
    return session_id, outline(server, session_id, None, lines)


def lines(text: str) -> list[str]:
    return text.strip("\n").splitlines()


def shows(page: Page, expected: list[str]) -> None:
    """Waits until the rows in the page are these."""
    look = """expected => {
        const found = [...document.querySelectorAll('.row[data-id]')].map(row => [
            row.getBoundingClientRect().top,
            '  '.repeat(row.getAttribute('aria-level') - 1)
                + (row.querySelector('.name')?.textContent ?? row.querySelector('input').value),
        ]);
        found.sort((a, b) => a[0] - b[0]);
        return JSON.stringify(found.map(each => each[1])) === JSON.stringify(expected);
    }"""
    try:
        page.wait_for_function(look, arg=expected)
    except Late:
        assert rows(page) == expected
        raise


def version(server: Server, session_id: str) -> int:
    return int(server.ask(f"/sessions/{session_id}/info")["version"])


def kinds(server: Server, session_id: str, since: int) -> list[str]:
    """What was committed after a version, oldest first."""
    commits = [each for each in server.history(session_id) if each["version"] > since]
    return [each["command_type"] for each in reversed(commits)]


def nodes(server: Server, session_id: str) -> dict[str, list[dict[str, Any]]]:
    """The server's nodes by name, in the order of the tree."""
    found: dict[str, list[dict[str, Any]]] = {}

    def walk(level: list[dict[str, Any]]) -> None:
        for node in level:
            found.setdefault(node["name"], []).append(node)
            walk(node["children"])

    walk(server.graph(session_id)["roots"])
    return found


def active(page: Page) -> str:
    """The name of the row that the tree says the keyboard is on."""
    return str(
        tree(page).evaluate(
            "tree => document.getElementById(tree.getAttribute('aria-activedescendant'))"
            "?.querySelector('.name')?.textContent ?? 'no row'"
        )
    )


def on(page: Page, name: str) -> None:
    """Waits until the keyboard is on this row and it alone is selected."""
    expect(row(page, name)).to_have_attribute("aria-selected", "true")
    expect(page.locator(".row[aria-selected=true]")).to_have_count(1)
    assert active(page) == name
    expect(row(page, name)).to_be_in_viewport()


def place(page: Page, name: str, part: float) -> tuple[float, float]:
    """A point of a row: part 0 is its upper edge, 1 its lower."""
    box = row(page, name).bounding_box()
    assert box is not None
    return box["x"] + 160, box["y"] + box["height"] * part


def drag(page: Page, name: str, onto: str, part: float) -> None:
    """Drags a row to a part of another one and holds it there."""
    page.mouse.move(*place(page, name, 0.5))
    page.mouse.down()
    page.mouse.move(*place(page, onto, part), steps=4)
    expect(page.locator(".drop")).to_be_visible()


def messages(page: Page, text: str) -> Locator:
    return page.get_by_role("log", name="Messages").get_by_text(text)


def typed(page: Page) -> Locator:
    return page.get_by_label("Name of the new node")


def renamed(page: Page) -> Locator:
    return tree(page).get_by_label("Name", exact=True)


def clipboard(page: Page, kind: str, data: dict[str, str] | None = None) -> dict[str, str]:
    """What Ctrl+C, X and V do, with a clipboard of the test's own; what is on it afterwards."""
    return tree(page).evaluate(
        """(tree, [kind, data]) => {
            const carried = new DataTransfer();
            for (const [type, text] of Object.entries(data)) carried.setData(type, text);
            const more = { bubbles: true, cancelable: true };
            tree.dispatchEvent(new ClipboardEvent(kind, { clipboardData: carried, ...more }));
            return Object.fromEntries([...carried.types].map(type => [type, carried.getData(type)]));
        }""",
        [kind, data or {}],
    )


def test_each_row_tells_where_it_stands(server: Server, open_page) -> None:
    """Given a tree of four levels, when branches close and rows scroll away, then each row says so."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Seals")).to_be_visible()
    expect(tree(page)).to_have_attribute("aria-multiselectable", "true")
    expect(tree(page)).to_be_focused()  # a page that has just come takes keys at once

    def told() -> list[str]:
        """Of each row its name, its role, and what aria says of it."""
        said = ["level", "posinset", "setsize", "expanded", "selected"]
        found: list[str] = page.locator(".row[data-id]").evaluate_all(
            "(rows, said) => rows.map(row => [row.querySelector('.name').textContent, row.role,"
            " ...said.map(each => row.getAttribute(`aria-${each}`))].join(' '))",
            said,
        )
        return found

    assert told() == [
        "1966 Bronco treeitem 1 1 1 true true",
        "Body treeitem 2 1 3 true false",
        "Doors treeitem 3 1 2 true false",
        "Hinges treeitem 4 1 2  false",
        "Seals treeitem 4 2 2  false",
        "Hood treeitem 3 2 2  false",
        "Engine treeitem 2 2 3 true false",
        "Block treeitem 3 1 1  false",
        "Paint treeitem 2 3 3  false",
    ]
    select(page, "Body")
    page.keyboard.press("ArrowLeft")
    shows(page, lines("1966 Bronco\n  Body\n  Engine\n    Block\n  Paint"))
    assert told()[1] == "Body treeitem 2 1 3 false true"
    expect(page.get_by_role("treeitem", name="Body , Phase Not started")).to_be_visible()
    assert active(page) == "Body"

    outline(server, session_id, None, "\n".join(f"Car {n}" for n in range(300)), "vehicle")
    expect(row(page, "Car 9")).to_be_visible()
    page.mouse.move(*place(page, "Engine", 0.5))
    page.mouse.wheel(0, 6000)
    expect(row(page, "Car 190")).to_be_visible()
    assert active(page) == "Body", "what the tree says is active has to be in the page"
    page.keyboard.press("Control+.")
    expect(page.get_by_role("menu", name="Status")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(row(page, "Body")).to_be_in_viewport()


def test_arrows_pages_and_letters_go_to_rows(server: Server, open_page) -> None:
    """Given a long outline, when keys move about, then the row that they mean is active, and in view."""
    session_id, _ = plain(
        server, "Alpha\n  Beta\n    Gamma\n" + "\n".join(f"Node {n:03}" for n in range(1, 201))
    )
    page = open_page(server, f"/s/{session_id}")
    select(page, "Alpha")
    for keys, name in [
        ("ArrowDown", "Beta"),
        ("ArrowRight", "Beta"),  # opens it
        ("ArrowRight", "Gamma"),
        ("ArrowRight", "Gamma"),
        ("ArrowLeft", "Beta"),
        ("ArrowLeft", "Beta"),  # closes it
        ("ArrowLeft", "Alpha"),
        ("ArrowUp", "Alpha"),
        ("End", "Node 200"),
        ("ArrowDown", "Node 200"),
        ("PageUp", None),
        ("Home", "Alpha"),
        ("PageDown", None),
        ("Home", "Alpha"),
        ("g", "Alpha"),  # not among the open rows
        ("Home", "Alpha"),  # ends the word
        ("b", "Beta"),
        ("ArrowRight", "Beta"),  # opens it
        ("ArrowRight", "Gamma"),
        ("n", "Node 001"),
        ("n", "Node 002"),  # one letter again and again goes on
        ("n", "Node 003"),
        ("Home", "Alpha"),
        ("End", "Node 200"),
        ("a", "Alpha"),
    ]:
        before = active(page)
        page.keyboard.press(keys)
        if name is None:
            assert int(active(page)[-3:]) - (200 if before == "Node 200" else 0) in {
                *range(-25, -8),
                *range(8, 25),
            }
            on(page, active(page))
        else:
            on(page, name)
    page.keyboard.press("ArrowLeft")
    shows(page, ["Alpha", *(f"Node {n:03}" for n in range(1, len(rows(page))))])
    page.keyboard.press("*")
    expect(row(page, "Gamma")).to_be_visible()
    page.keyboard.type("node 15")
    on(page, "Node 150")


def test_a_name_is_changed_and_left_by_keys(server: Server, open_page) -> None:
    """Given a row, when it is renamed, then Escape leaves it; Enter, Tab and a click elsewhere save."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    before = version(server, session_id)
    select(page, "Hood")
    page.keyboard.press("Enter")
    expect(renamed(page)).to_have_value("Hood")
    page.keyboard.type("Bonnet")
    page.keyboard.press("Escape")
    on(page, "Hood")
    expect(tree(page)).to_be_focused()
    page.keyboard.press("F2")
    page.keyboard.press("Enter")
    expect(tree(page)).to_be_focused()
    saved(page)
    assert version(server, session_id) == before, "what was not changed is not saved"

    for keys, name in [("Enter", "Bonnet"), ("Tab", "Front lid")]:
        page.keyboard.press("Enter")
        page.keyboard.type(name)
        page.keyboard.press(keys)
        on(page, name)
        expect(tree(page)).to_be_focused()
    row(page, "Front lid").locator(".name").dblclick()
    page.keyboard.type("Lid")
    row(page, "Block").click()
    expect(row(page, "Lid")).to_be_visible()
    saved(page)
    assert kinds(server, session_id, before) == ["UpdateProperty"] * 3
    assert "Lid" in nodes(server, session_id)


def test_new_rows_are_typed_one_after_another(server: Server, open_page) -> None:
    """Given a row, when Insert is pressed, then siblings are typed until Escape; with Shift, children."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    before = version(server, session_id)
    select(page, "Doors")
    page.keyboard.press("Insert")
    for name in ["Fenders", "Grille"]:
        expect(typed(page)).to_be_focused()
        page.keyboard.type(name)
        page.keyboard.press("Enter")
    page.keyboard.type("Never")
    page.keyboard.press("Escape")
    expect(typed(page)).to_have_count(0)
    expect(tree(page)).to_be_focused()
    on(page, "Grille")
    page.keyboard.press("Shift+Insert")
    page.keyboard.type("Bolts")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # nothing is typed: that is the end
    expect(typed(page)).to_have_count(0)
    page.keyboard.press("Control+Enter")
    page.keyboard.type("Chrome")
    row(page, "Paint").click()  # what is typed is not lost
    body = (
        "    Doors\n      Hinges\n      Seals\n    Fenders\n    Grille\n      Bolts\n      Chrome\n    Hood"
    )
    expected = lines(f"1966 Bronco\n  Body\n{body}\n  Engine\n    Block\n  Paint")
    shows(page, expected)
    saved(page)
    assert names(server, session_id) == expected
    assert kinds(server, session_id, before) == ["CreateNode"] * 4
    made = nodes(server, session_id)
    assert {made[name][0]["blueprint_type_id"] for name in ("Fenders", "Grille")} == {"job"}

    # Out of sight: the row that is typed is brought into view.
    outline(server, session_id, made["Paint"][0]["id"], "\n".join(f"Coat {n}" for n in range(120)), "job")
    select(page, "Paint")
    page.keyboard.press("Shift+Insert")
    expect(typed(page)).to_be_in_viewport()
    expect(typed(page)).to_be_focused()
    page.keyboard.type("Polish")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    saved(page)
    assert nodes(server, session_id)["Paint"][0]["children"][-1]["name"] == "Polish"


def test_a_list_pasted_into_a_new_row_becomes_rows(server: Server, open_page) -> None:
    """Given a row that is being typed, when lines are pasted into it, then each becomes a node."""
    session_id, _ = plain(server, "Alpha\nOmega")
    page = open_page(server, f"/s/{session_id}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    before = version(server, session_id)
    select(page, "Alpha")
    page.evaluate("navigator.clipboard.writeText('- Beta\\n  - Gamma\\n- Delta')")
    page.keyboard.press("Insert")
    page.keyboard.press("Control+V")
    shows(page, lines("Alpha\nBeta\n  Gamma\nDelta\nOmega"))
    expect(tree(page)).to_be_focused()
    page.evaluate("navigator.clipboard.writeText('Epsilon')")
    page.keyboard.press("Control+Enter")
    page.keyboard.press("Control+V")
    expect(typed(page)).to_have_value("Epsilon")
    page.keyboard.press("Escape")
    saved(page)
    assert kinds(server, session_id, before) == ["Batch"]


def test_keys_move_rows_about(server: Server, open_page) -> None:
    """Given rows, when keys indent, outdent and move them, then each is one commit; or it says why not."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    before = version(server, session_id)
    head = "1966 Bronco\n  Body\n"
    tail = "  Engine\n    Block\n  Paint"
    select(page, "Seals")
    for keys, body in [
        ("Tab", "    Doors\n      Hinges\n        Seals\n    Hood\n"),
        ("Shift+Tab", "    Doors\n      Hinges\n      Seals\n    Hood\n"),
        ("Alt+ArrowUp", "    Doors\n      Seals\n      Hinges\n    Hood\n"),
        ("Alt+ArrowDown", "    Doors\n      Hinges\n      Seals\n    Hood\n"),
        ("Alt+ArrowDown", "    Doors\n      Hinges\n      Seals\n    Hood\n"),  # it is the last
        ("Alt+ArrowRight", "    Doors\n      Hinges\n        Seals\n    Hood\n"),
        ("Alt+ArrowLeft", "    Doors\n      Hinges\n      Seals\n    Hood\n"),
        ("Shift+Tab", "    Doors\n      Hinges\n    Seals\n    Hood\n"),
    ]:
        page.keyboard.press(keys)
        shows(page, lines(head + body + tail))
        on(page, "Seals")
    saved(page)
    assert names(server, session_id) == rows(page)
    assert kinds(server, session_id, before) == ["MoveNode"] * 7

    before = version(server, session_id)
    select(page, "Hood")
    page.keyboard.press("Tab")  # a job goes under no task
    expect(messages(page, "“Hood” cannot go to “Seals”")).to_be_visible()
    select(page, "Body")
    page.keyboard.press("Tab")
    expect(messages(page, "Nothing stands before it that it could go under")).to_be_visible()
    saved(page)
    assert version(server, session_id) == before


def test_what_is_deleted_comes_back_and_goes_again(server: Server, open_page) -> None:
    """Given a branch, when it is deleted, undone, redone and duplicated, then each is one step, exact."""
    session_id, ids = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Seals")).to_be_visible()
    whole, graph, before = rows(page), server.graph(session_id)["roots"], version(server, session_id)
    select(page, "Body")
    page.keyboard.press("Delete")
    without = lines("1966 Bronco\n  Engine\n    Block\n  Paint")
    shows(page, without)
    on(page, "Engine")
    expect(messages(page, "5 nodes in all. Ctrl+Z brings them back.")).to_be_visible()
    for keys, expected in [("Control+z", whole), ("Control+Shift+z", without)]:
        page.keyboard.press(keys)
        shows(page, expected)
    russian = {"key": "я", "code": "KeyZ", "ctrlKey": True, "bubbles": True, "cancelable": True}
    tree(page).dispatch_event("keydown", russian)
    shows(page, whole)
    saved(page)
    assert server.graph(session_id)["roots"] == graph

    select(page, "Paint")
    page.keyboard.press("Backspace")
    shows(page, whole[:-1])
    on(page, "Block")  # the last one is gone: the one above it
    page.keyboard.press("Control+z")
    shows(page, whole)
    select(page, "Doors")
    page.keyboard.press("Control+d")
    shows(page, [*whole[:5], *whole[2:5], *whole[5:]])
    saved(page)
    steps = "DeleteNode Undo Redo Undo DeleteNode Undo Batch"
    assert kinds(server, session_id, before) == steps.split()
    first, second = nodes(server, session_id)["Doors"]
    assert first["id"] == ids["Doors"], "the copy stands behind it"
    assert [each["name"] for each in second["children"]] == ["Hinges", "Seals"]
    assert second["blueprint_type_id"] == "job"
    assert second["properties"] == first["properties"]
    page.keyboard.press("Control+z")
    shows(page, whole)


def test_keys_lead_to_every_part_of_the_page(server: Server, open_page) -> None:
    """Given the tree, when ?, /, F6, or Escape and Tab are pressed, then help, search and the rest come."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    select(page, "Hood")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="All keys")
    for key in ["Shift+Insert", "Alt+↑", "Ctrl+Shift+Z", "F6", "Page up", "*", "Escape, then Tab"]:
        expect(keys.locator("kbd").get_by_text(key, exact=True)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(keys).to_have_count(0)
    expect(tree(page)).to_be_focused()

    search = page.get_by_role("searchbox")
    for slash in [{"key": "/"}, {"key": "/", "shiftKey": True}]:  # Shift+7 on a German keyboard
        tree(page).dispatch_event("keydown", {**slash, "bubbles": True, "cancelable": True})
        expect(search).to_be_focused()
        page.keyboard.type("seal")
        shows(page, lines("1966 Bronco\n  Body\n    Doors\n      Seals"))
        page.keyboard.press("Enter")
        on(page, "Seals")
        expect(tree(page)).to_be_focused()
        page.keyboard.press("/")
        page.keyboard.press("Escape")
        expect(row(page, "Paint")).to_be_visible()
        expect(tree(page)).to_be_focused()

    before = version(server, session_id)
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Close the panel")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(tree(page)).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Add", exact=True)).to_be_focused()
    assert version(server, session_id) == before
    tree(page).focus()
    for part in [page.get_by_role("complementary"), page.get_by_role("banner"), page.get_by_role("main")]:
        page.keyboard.press("F6")
        expect(part.locator(":focus")).to_have_count(1)


def test_the_mouse_puts_a_row_before_behind_or_inside_another(server: Server, open_page) -> None:
    """Given rows, when one is dragged before, behind or onto another, then it stands there, in one commit."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    before = version(server, session_id)
    tail = "  Engine\n    Block\n  Paint"
    for name, onto, part, body in [
        ("Seals", "Hinges", 0.1, "    Doors\n      Seals\n      Hinges\n    Hood\n"),
        ("Seals", "Hinges", 0.9, "    Doors\n      Hinges\n      Seals\n    Hood\n"),
        ("Hinges", "Hood", 0.5, "    Doors\n      Seals\n    Hood\n      Hinges\n"),
        ("Hinges", "Doors", 0.9, "    Doors\n      Hinges\n      Seals\n    Hood\n"),  # open: its first child
        ("Hood", "Doors", 0.1, "    Hood\n    Doors\n      Hinges\n      Seals\n"),
    ]:
        drag(page, name, onto, part)
        page.mouse.up()
        shows(page, lines(f"1966 Bronco\n  Body\n{body}{tail}"))
        expect(page.locator(".drop")).to_have_count(0)
        on(page, name)
    saved(page)
    assert names(server, session_id) == rows(page)
    assert kinds(server, session_id, before) == ["MoveNode"] * 5

    select(page, "Doors")
    page.keyboard.press("ArrowLeft")
    drag(page, "Hood", "Engine", 0.5)
    page.mouse.up()
    shows(page, lines("1966 Bronco\n  Body\n    Doors\n  Engine\n    Block\n    Hood\n  Paint"))


def test_several_rows_are_dragged_together(server: Server, open_page) -> None:
    """Given rows of several branches, when they are dragged, then they go in their order, in one commit."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    before = version(server, session_id)
    select(page, "Seals")
    row(page, "Hinges").click(modifiers=["Control"])
    row(page, "Block").click(modifiers=["Control"])
    drag(page, "Hinges", "Paint", 0.5)
    expect(page.locator(".drop-count")).to_have_text("3")
    expect(page.locator(".drop.refused")).to_have_count(0)
    page.mouse.up()
    expected = lines(
        "1966 Bronco\n  Body\n    Doors\n    Hood\n  Engine\n  Paint\n    Hinges\n    Seals\n    Block"
    )
    shows(page, expected)
    saved(page)
    assert names(server, session_id) == expected
    expect(page.locator(".row[aria-selected=true]")).to_have_count(3)
    page.keyboard.press("Control+z")
    expect(row(page, "Seals")).to_have_attribute("aria-level", "4")
    saved(page)
    assert kinds(server, session_id, before) == ["Batch", "Undo"]


def test_a_drag_that_leads_nowhere_changes_nothing(server: Server, open_page) -> None:
    """Given a drag, when it ends where it may not, on itself, outside, or by Escape, then nothing moves."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Seals")).to_be_visible()
    whole, before = rows(page), version(server, session_id)
    alert = page.get_by_role("log", name="Messages").locator(".message")

    drag(page, "Hood", "Seals", 0.5)
    expect(page.locator(".drop.refused")).to_be_visible()
    page.mouse.up()
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text("“Hood” cannot go to “Seals”")
    expect(alert).to_contain_text("The template does not allow that type there")
    drag(page, "Body", "Hinges", 0.5)
    expect(page.locator(".drop.refused")).to_be_visible()
    page.mouse.up()
    expect(alert).to_have_count(2)
    expect(alert.last).to_contain_text("Choose a place that is not inside what you move.")

    drag(page, "Hood", "Engine", 0.5)
    page.keyboard.press("Escape")
    expect(page.locator(".drop")).to_have_count(0)
    page.mouse.up()
    # Out of the tree, as one does who has changed his mind.
    drag(page, "Hood", "Engine", 0.5)
    for outside in [page.get_by_role("banner"), page.get_by_role("complementary")]:
        box = outside.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(page.locator(".drop")).to_have_count(0)
    page.mouse.up()
    # A hand that shakes: the row is where it was.
    page.mouse.move(*place(page, "Hood", 0.3))
    page.mouse.down()
    page.mouse.move(*place(page, "Hood", 0.7), steps=3)
    page.mouse.up()
    on(page, "Hood")
    expect(alert).to_have_count(2)
    assert rows(page) == whole
    saved(page)
    assert version(server, session_id) == before


def test_what_is_done_to_many_is_one_step(server: Server, open_page) -> None:
    """Given several rows, when they get a status, move or go together, then it is one commit, one undo."""
    session_id, _ = bronco(server)
    tasks = "\n".join(f"Task {n}" for n in range(1, 9))
    outline(server, session_id, nodes(server, session_id)["Hood"][0]["id"], tasks, "task")
    page = open_page(server, f"/s/{session_id}")
    bar = page.get_by_role("toolbar", name="Selected nodes")

    def one_step(kind: str, act, seen) -> None:
        """act: what is done; seen: whether the server has it."""
        graph, before = server.graph(session_id)["roots"], version(server, session_id)
        act()
        saved(page)
        assert seen(nodes(server, session_id))
        assert kinds(server, session_id, before) == [kind]
        page.keyboard.press("Control+z")
        expect(page.get_by_role("status").filter(has_text="saved")).to_be_visible()
        saved(page)
        assert server.graph(session_id)["roots"] == graph
        assert kinds(server, session_id, before) == [kind, "Undo"]

    def statuses(made) -> list[int]:
        """The numbers of the tasks that are done."""
        return [n for n in range(1, 9) if made[f"Task {n}"][0]["properties"]["status"] == TASK_DONE]

    def done_by_keys() -> None:
        page.keyboard.press("Control+.")
        page.keyboard.type("do")
        page.keyboard.press("Enter")

    select(page, "Task 2")
    row(page, "Task 5").click(modifiers=["Shift"])
    expect(bar).to_contain_text("4 selected")
    one_step("Batch", done_by_keys, lambda made: statuses(made) == [2, 3, 4, 5])
    expect(tree(page)).to_be_focused()

    select(page, "Task 1")
    row(page, "Task 3").click(modifiers=["Control"])
    row(page, "Task 7").click(modifiers=["Control"])
    row(page, "Task 3").click(modifiers=["Control"])
    expect(bar).to_contain_text("2 selected")

    def done_by_mouse() -> None:
        bar.get_by_role("button", name="Set status").click()
        page.get_by_role("menuitemradio", name="Done").click()

    one_step("Batch", done_by_mouse, lambda made: statuses(made) == [1, 7])

    tree(page).focus()
    select(page, "Task 8")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+ArrowDown")
    expect(bar).to_contain_text("3 selected")
    one_step(
        "Batch",
        lambda: page.keyboard.press("Tab"),
        lambda made: (
            [each["name"] for each in made["Task 5"][0]["children"]] == ["Task 6", "Task 7", "Task 8"]
        ),
    )
    one_step(
        "Batch", lambda: page.keyboard.press("Delete"), lambda made: "Task 6" not in made and "Task 5" in made
    )

    select(page, "Hood")
    page.keyboard.press("Control+a")
    expect(bar).to_contain_text("17 selected")
    one_step("DeleteNode", lambda: page.keyboard.press("Delete"), lambda made: not made)


def test_a_subtree_is_copied_with_all_that_it_has(server: Server, open_page) -> None:
    """Given a branch, when it is copied or cut and pasted elsewhere, then types and properties come along."""
    session_id, ids = bronco(server)
    outline(server, session_id, ids["Doors"], "Kit", "part")
    data = {"node_id": ids["Seals"], "property_id": "assigned_to", "value": "Ada"}
    server.execute(session_id, "UpdateProperty", data)
    data = {"node_id": ids["Seals"], "property_id": "status", "value": TASK_DONE}
    server.execute(session_id, "UpdateProperty", data)
    page = open_page(server, f"/s/{session_id}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    before = version(server, session_id)
    select(page, "Doors")
    page.keyboard.press("Enter")  # a name that had the focus takes the clipboard's keys from nobody
    page.keyboard.press("Enter")
    page.keyboard.press("Control+c")
    page.wait_for_function(
        "async () => await navigator.clipboard.readText() === 'Doors\\n\\tHinges\\n\\tSeals\\n\\tKit\\n'"
    )
    select(page, "Paint")
    page.keyboard.press("Control+v")
    expect(row(page, "Doors")).to_have_count(2)
    on_paint = row(page, "Doors").last
    expect(on_paint).to_have_attribute("aria-selected", "true")
    saved(page)
    assert kinds(server, session_id, before) == ["Batch"]
    made = nodes(server, session_id)
    assert made["Paint"][0]["children"] == [made["Doors"][1]]
    for name in ("Doors", "Hinges", "Seals", "Kit"):
        original, copy = made[name]
        assert original["id"] != copy["id"]
        assert original["properties"] == copy["properties"]
        assert original["blueprint_type_id"] == copy["blueprint_type_id"]
    assert made["Seals"][1]["properties"]["assigned_to"] == "Ada"
    page.keyboard.press("Control+z")
    expect(row(page, "Doors")).to_have_count(1)

    before = version(server, session_id)
    select(page, "Doors")
    page.keyboard.press("Control+x")
    expect(row(page, "Doors")).to_have_count(0)
    select(page, "Engine")
    page.keyboard.press("Control+v")
    doors = "    Doors\n      Hinges\n      Seals\n      Kit\n"
    expected = lines(f"1966 Bronco\n  Body\n    Hood\n  Engine\n    Block\n{doors}  Paint")
    shows(page, expected)
    saved(page)
    assert names(server, session_id) == expected
    assert kinds(server, session_id, before) == ["DeleteNode", "Batch"]
    assert nodes(server, session_id)["Seals"][0]["properties"]["assigned_to"] == "Ada"

    # Where the template does not take them as they are, it says what became of them.
    select(page, "Body")
    page.keyboard.press("Control+c")
    select(page, "Block")
    page.keyboard.press("Control+v")
    expect(messages(page, "Paste: 2 of them became another type")).to_be_visible()
    saved(page)
    made = nodes(server, session_id)
    assert [each["blueprint_type_id"] for each in made["Body"]] == ["phase", "job"]
    assert [each["blueprint_type_id"] for each in made["Hood"]] == ["job", "task"]


def test_an_outline_of_another_program_becomes_nodes(server: Server, open_page) -> None:
    """Given 50 indented lines, when they are pasted, then 50 nodes come in one commit, and one undo."""
    session_id, root = project(server)
    page = open_page(server, f"/s/{session_id}")
    select(page, "1966 Bronco")
    before = version(server, session_id)
    text, expected = [], ["1966 Bronco"]
    for phase in range(1, 6):
        text.append(f"- Phase {phase}")
        expected.append(f"  Phase {phase}")
        for job in range(1, 4):
            text.append(f"  * Job {phase}.{job}")
            expected.append(f"    Job {phase}.{job}")
            for task in range(1, 3):
                text.append(f"    {task}. [ ] Task {phase}.{job}.{task}")
                expected.append(f"      Task {phase}.{job}.{task}")
    assert len(text) == 50
    clipboard(page, "paste", {"text/plain": "\r\n".join(text) + "\r\n"})
    expect(row(page, "Phase 5")).to_be_visible()
    saved(page)
    assert names(server, session_id) == expected
    assert kinds(server, session_id, before) == ["Batch"]
    made = nodes(server, session_id)
    types = [made[name][0]["blueprint_type_id"] for name in ("Phase 1", "Job 1.1", "Task 1.1.1")]
    assert types == ["phase", "job", "task"]
    page.keyboard.press("Home")
    page.keyboard.press("*")
    assert clipboard(page, "copy")["text/plain"].splitlines() == [
        each.replace("  ", "\t") for each in expected
    ]
    page.keyboard.press("Control+z")
    shows(page, ["1966 Bronco"])
    saved(page)
    assert [each["id"] for each in server.graph(session_id)["roots"]] == [root]

    clipboard(page, "paste", {"text/plain": " \n\n"})
    expect(messages(page, "There is no text to paste")).to_be_visible()


def test_a_paste_past_what_the_socket_takes_is_one_step_all_the_same(server: Server, open_page) -> None:
    """Given 8,000 lines, when they are pasted, then they come in one commit all the same."""
    session_id = server.new_session(name="Long")
    server.create(session_id, blueprint_type_id="item", name="Top")
    page = open_page(server, f"/s/{session_id}")
    select(page, "Top")
    clipboard(page, "paste", {"text/plain": "\n".join(f"Line {at} of many" for at in range(8_000))})
    expect(row(page, "Line 0 of many")).to_be_visible()
    saved(page)
    assert len(server.graph(session_id)["roots"][0]["children"]) == 8_000
    assert version(server, session_id) == 2
    page.keyboard.press("Control+z")
    shows(page, ["Top"])
    saved(page)


def test_only_what_the_template_allows_is_offered(server: Server, open_page) -> None:
    """Given a template, when children, types and new parents are offered, then only those that it allows."""
    session_id, _ = bronco(server)
    outline(
        server,
        session_id,
        nodes(server, session_id)["Paint"][0]["id"],
        "Receipt holder\n  Receipt",
        {0: "part", 1: "record"},
    )
    page = open_page(server, f"/s/{session_id}")

    def inside(name: str) -> list[str]:
        row(page, name).click(button="right")
        menu = page.get_by_role("menu", name="Actions")
        expect(menu).to_be_visible()
        items = menu.get_by_role("menuitem").all_inner_texts()
        page.keyboard.press("Escape")
        expect(menu).to_have_count(0)
        known = {"Vehicle", "Phase", "Job", "Task", "Finding", "Part", "Record"}
        return [item for item in items if item in known]

    assert inside("1966 Bronco") == ["Phase", "Job", "Finding", "Part", "Record"]
    assert inside("Body") == ["Job", "Task", "Finding", "Part"]
    assert inside("Receipt holder") == ["Part", "Record"]
    assert inside("Receipt") == []
    before = version(server, session_id)
    select(page, "Receipt")
    page.keyboard.press("Shift+Insert")
    expect(messages(page, "Nothing can stand below: Record")).to_be_visible()
    expect(typed(page)).to_have_count(0)

    select(page, "Doors")
    page.keyboard.press("Insert")
    kind = page.get_by_label("Type of the new node")
    expect(kind.locator("option")).to_have_text(["Job", "Task", "Finding", "Part"])
    page.keyboard.type("Rust")
    page.keyboard.press("Tab")
    expect(kind).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(kind).to_have_value("finding")
    page.keyboard.press("Enter")
    expect(typed(page)).to_be_focused()
    expect(typed(page)).to_have_value("Rust")
    page.keyboard.press("Enter")
    kind.focus()
    kind.dispatch_event("pointerdown")
    kind.select_option("part")  # by mouse: one can go on typing
    expect(typed(page)).to_be_focused()
    page.keyboard.type("Handle")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    saved(page)
    made = nodes(server, session_id)
    assert made["Rust"][0]["blueprint_type_id"] == "finding"
    assert made["Handle"][0]["blueprint_type_id"] == "part"
    assert kinds(server, session_id, before) == ["CreateNode"] * 2

    row(page, "Receipt").click(button="right")
    page.get_by_role("menuitem", name="Move to").click()
    offered = page.get_by_role("dialog").get_by_role("option").locator("span:not(.type-icon)")
    expect(offered).to_have_count(7)
    found = [text.split("\n")[0] for text in offered.all_inner_texts()]
    # Records go to vehicles, jobs, findings and parts; to no phase and no task.
    assert set(found) == {"1966 Bronco", "Doors", "Hood", "Block", "Receipt holder", "Rust", "Handle"}


def test_menus_open_by_mouse_and_by_key(server: Server, open_page) -> None:
    """Given a row, when its menus are used by mouse and by key, then they do it, and give the focus back."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    before = version(server, session_id)
    status, menu = page.get_by_role("menu", name="Status"), page.get_by_role("menu", name="Actions")

    row(page, "Hinges").locator(".status").click()
    expect(status.get_by_role("menuitemradio", checked=True)).to_have_text("To do")
    expect(status.get_by_role("menuitemradio", checked=True)).to_be_focused()
    status.get_by_role("menuitemradio", name="In progress").click()
    expect(row(page, "Hinges").locator(".status")).to_have_text("In progress")
    expect(tree(page)).to_be_focused()
    page.keyboard.press("Control+.")
    expect(status.get_by_role("menuitemradio", checked=True)).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(row(page, "Hinges").locator(".status")).to_have_text("Done")
    expect(tree(page)).to_be_focused()
    saved(page)
    assert nodes(server, session_id)["Hinges"][0]["properties"]["status"] == TASK_DONE
    assert kinds(server, session_id, before) == ["UpdateProperty"] * 2

    row(page, "Hood").click(button="right")
    expect(row(page, "Hood")).to_have_attribute("aria-selected", "true")
    menu.get_by_role("menuitem", name="Rename").click()
    expect(renamed(page)).to_be_focused()
    page.keyboard.type("Bonnet")
    page.keyboard.press("Enter")
    on(page, "Bonnet")
    page.keyboard.press("Shift+F10")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(menu.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("m")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Move “Bonnet” to")
    dialog.get_by_role("combobox").press_sequentially("eng")
    expect(dialog.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(tree(page)).to_be_focused()
    body = "  Body\n    Doors\n      Hinges\n      Seals\n"
    shows(page, lines(f"1966 Bronco\n{body}  Engine\n    Block\n    Bonnet\n  Paint"))
    on(page, "Bonnet")
    page.keyboard.press("ContextMenu")
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    page.keyboard.type("done")
    page.keyboard.press("Enter")
    expect(row(page, "Bonnet").locator(".status")).to_have_text("Done")
    expect(tree(page)).to_be_focused()

    # Nothing to choose: it says so, and Escape puts it away.
    select(page, "Paint")
    row(page, "Bonnet").click(modifiers=["Control"])
    page.keyboard.press("Control+.")
    expect(page.get_by_role("menu")).to_contain_text("These have no status in common")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(tree(page)).to_be_focused()


def test_what_is_typed_survives_the_others(server: Server, open_page) -> None:
    """Given a name that is being typed, when others change what is around it, then it goes on as it was."""
    session_id, ids = plain(server, "Alpha\nBeta\n  Gamma\nDelta\nOmega")
    page = open_page(server, f"/s/{session_id}")

    def by_bob(command_type: str, **data: Any) -> None:
        server.execute(session_id, command_type, data, actor="Bob")

    def flood(word: str, **data: Any) -> None:
        """More than a screen of rows, at the top (index=0) or at the end."""
        made = [{"blueprint_type_id": "item", "name": f"{word} {n}", **data} for n in range(60)]
        by_bob("Batch", commands=[{"command_type": "CreateNode", "data": each} for each in made])

    def others(word: str) -> None:
        """Rows come above and below; some change sides, and one goes."""
        flood(f"{word} above", index=0)
        flood(f"{word} below")
        by_bob("MoveNode", node_id=ids["Alpha"], parent_id=None)
        by_bob("MoveNode", node_id=ids["Omega"], parent_id=None, index=0)
        by_bob("MoveNode", node_id=ids["Omega"], parent_id=ids["Alpha"])
        by_bob("MoveNode", node_id=ids["Alpha"], parent_id=None, index=0)
        by_bob("MoveNode", node_id=ids["Omega"], parent_id=None)

    at = tree(page).locator(".row:has(input)")
    select(page, "Beta")
    page.keyboard.press("Enter")
    page.keyboard.type("Beta an")
    others("Early")
    expect(at).to_have_attribute("aria-setsize", "124")
    expect(renamed(page)).to_be_in_viewport()  # before the next key, which would scroll there by itself
    page.keyboard.type("d more")
    by_bob("DeleteNode", node_id=ids["Delta"])
    by_bob("MoveNode", node_id=ids["Beta"], parent_id=None, index=3)  # the row itself
    expect(at).to_have_attribute("aria-setsize", "123")
    expect(at).to_have_attribute("aria-posinset", "4")
    page.keyboard.type("!")
    tree(page).evaluate("tree => { tree.scrollTop = 0 }")
    page.mouse.move(*place(page, "Early above 59", 0.5))
    page.mouse.wheel(0, 3000)  # and the person looks somewhere else
    expect(row(page, "Early below 59")).to_be_visible()
    expect(renamed(page)).to_be_focused()
    page.keyboard.type("!")
    expect(renamed(page)).to_have_value("Beta and more!!")
    page.keyboard.press("Enter")
    on(page, "Beta and more!!")
    saved(page)
    assert "Beta and more!!" in nodes(server, session_id)

    page.keyboard.press("Shift+Insert")
    page.keyboard.type("New o")
    others("Late")
    expect(row(page, "Beta and more!!")).to_have_attribute("aria-setsize", "243")
    by_bob("UpdateProperty", node_id=ids["Gamma"], property_id="name", value="Gamma ray")
    expect(row(page, "Gamma ray")).to_be_visible()
    expect(typed(page)).to_be_in_viewport()
    page.keyboard.type("ne")
    expect(typed(page)).to_be_focused()
    expect(typed(page)).to_have_value("New one")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    on(page, "New one")
    saved(page)
    below = nodes(server, session_id)["Beta and more!!"][0]["children"]
    assert [each["name"] for each in below] == ["Gamma ray", "New one"]


def test_what_is_read_stays_where_it_is(server: Server, open_page) -> None:
    """Given a list that is scrolled, when others add and take rows above, then what is seen does not jump."""
    session_id, ids = plain(server, "\n".join(f"Node {n}" for n in range(200)))
    page = open_page(server, f"/s/{session_id}")
    tree(page).evaluate("tree => { tree.scrollTop = 3205 }")
    expect(row(page, "Node 110")).to_be_in_viewport()
    seen = [place(page, f"Node {n}", 0.5) for n in (101, 110)]
    made = [{"blueprint_type_id": "item", "name": f"Early {n}", "index": 0} for n in range(30)]
    commands = [{"command_type": "CreateNode", "data": each} for each in made]
    server.execute(session_id, "Batch", {"commands": commands}, actor="Bob")
    expect(row(page, "Node 110")).to_have_attribute("aria-posinset", "141")
    assert [place(page, f"Node {n}", 0.5) for n in (101, 110)] == seen
    server.execute(session_id, "DeleteNode", {"node_id": ids["Node 5"]}, actor="Bob")
    expect(row(page, "Node 110")).to_have_attribute("aria-posinset", "140")
    # One of those that are seen goes far away: the others do not follow it.
    data = {"node_id": ids["Node 101"], "parent_id": None, "index": 0}
    server.execute(session_id, "MoveNode", data, actor="Bob")
    expect(row(page, "Node 110")).to_have_attribute("aria-setsize", "229")
    assert place(page, "Node 110", 0.5) == seen[1]


def test_a_name_left_as_it_was_takes_no_other_name_back(server: Server, open_page) -> None:
    """Given a row open for a new name, when another renames it and nothing is typed, then theirs stands."""
    session_id, ids = plain(server, "Alpha\nBeta")
    page = open_page(server, f"/s/{session_id}")
    select(page, "Beta")
    page.keyboard.press("Enter")
    data = {"node_id": ids["Beta"], "property_id": "name", "value": "Bob's"}
    at = server.execute(session_id, "UpdateProperty", data, actor="Bob")["version"]
    expect(page.get_by_role("complementary").get_by_label("Name", exact=True)).to_have_value("Bob's")
    page.keyboard.press("Enter")
    on(page, "Bob's")
    saved(page)
    assert version(server, session_id) == at


def test_what_is_typed_has_a_clear_end_where_its_row_is_deleted(server: Server, open_page) -> None:
    """Given a name that is being typed, when another deletes the row, then it is said, and the keys go on."""
    session_id, ids = plain(server, "Alpha\nBeta\n  Gamma\nDelta")
    page = open_page(server, f"/s/{session_id}")
    alert = page.get_by_role("log", name="Messages").locator(".message")
    select(page, "Beta")
    page.keyboard.press("Enter")
    page.keyboard.type("Better")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Beta"]}, actor="Bob")
    shows(page, ["Alpha", "Delta"])
    expect(alert).to_have_count(1)
    expect(alert).to_contain_text("The name “Better” was not saved")
    expect(alert).to_contain_text("Bob deleted the node meanwhile")
    expect(tree(page)).to_be_focused()
    on(page, "Delta")
    server.undo(session_id)
    expect(row(page, "Beta")).to_be_visible()
    expect(renamed(page)).to_have_count(0)

    page.keyboard.press("ArrowUp")
    on(page, "Gamma")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+Insert")
    page.keyboard.type("Child")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Beta"]}, actor="Bob")
    shows(page, ["Alpha", "Delta"])
    expect(alert).to_have_count(2)
    expect(alert.last).to_contain_text("“Child” was not added")
    expect(alert.last).to_contain_text("Bob deleted what it was to stand below meanwhile")
    expect(tree(page)).to_be_focused()
    before = version(server, session_id)
    server.undo(session_id)
    expect(row(page, "Gamma")).to_be_visible()
    expect(typed(page)).to_have_count(0)
    saved(page)
    assert version(server, session_id) == before + 1

    # Of several that are selected, one goes: the others can still be changed together.
    select(page, "Alpha")
    page.keyboard.press("Control+a")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Delta"]}, actor="Bob")
    expect(page.get_by_role("toolbar", name="Selected nodes")).to_contain_text("3 selected")


def test_a_new_row_stays_behind_the_row_it_was_begun_at(server, open_page) -> None:
    """Given a new row, when others work before it, then it is made behind the same sibling."""
    session_id, ids = plain(server, "Alpha\nBeta\nGamma\nDelta")
    page = open_page(server, f"/s/{session_id}")
    select(page, "Beta")
    page.keyboard.press("Insert")
    page.keyboard.type("One")
    for n in range(3):
        data = {"blueprint_type_id": "item", "name": f"Early {n}", "index": 0}
        server.execute(session_id, "CreateNode", data, actor="Bob")
    expect(row(page, "Early 2")).to_be_visible()
    page.keyboard.press("Enter")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Alpha"]}, actor="Bob")
    expect(row(page, "Alpha")).to_have_count(0)
    page.keyboard.type("Two")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    saved(page)
    found = [each["name"] for each in server.graph(session_id)["roots"]]
    assert found == ["Early 2", "Early 1", "Early 0", "Beta", "One", "Two", "Gamma", "Delta"]


def test_f6_goes_to_the_tree_and_a_dialog_to_its_field(server, open_page) -> None:
    """Given a keyboard, when F6 comes to the tree or Move to opens, then that has the focus."""
    session_id, _ = bronco(server)
    page = open_page(server, f"/s/{session_id}")
    select(page, "Hood")
    for _ in range(3):
        page.keyboard.press("F6")
    expect(tree(page)).to_be_focused()
    page.keyboard.press("Shift+F10")
    page.keyboard.press("m")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("combobox")).to_be_focused()
