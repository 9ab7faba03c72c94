"""All of it without a mouse."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect
from steps import names, row, saved, tree

from tests.support.server import Server

# Of the template restomod.
TASK_IN_PROGRESS = "d0632b9c-bc71-49ee-b7d4-f794f317fe95"
TASK_DONE = "32d0fcbb-c3bd-4e0a-9374-b746ae0d2028"


def focused(element: Locator) -> bool:
    return bool(element.evaluate("element => element === document.activeElement"))


def tab_to(page: Page, element: Locator, key: str = "Tab") -> None:
    """Presses Tab until the element has the focus, as somebody does who knows what he looks for."""
    expect(element).to_be_visible()
    for _ in range(40):
        if focused(element):
            return
        page.keyboard.press(key)
    raise AssertionError(f"Tab does not lead to {element}")


def part(page: Page, element: Locator) -> None:
    """Goes on by F6 to the part of the page that `element` is in, and there by Tab to it."""
    for _ in range(3):
        page.keyboard.press("F6")
        if element.evaluate("element => element.closest('[data-part]').contains(document.activeElement)"):
            return tab_to(page, element)
    raise AssertionError(f"F6 does not lead to {element}")


def test_a_project_is_planned_without_a_mouse(server: Server, open_page) -> None:
    """Given a keyboard alone, when a project is made, planned and looked back on, then all of it works."""
    page = open_page(server, name=None)
    page.evaluate(
        "() => ['pointerdown', 'mousedown', 'wheel'].forEach(each => addEventListener(each,"
        " () => { document.body.dataset.mouse = each }, true))"
    )
    press, write = page.keyboard.press, page.keyboard.type

    # A name, a project from a template.
    expect(page.get_by_label("Your name, as the others will see it")).to_be_focused()
    write("Ada")
    press("Enter")
    expect(page.get_by_role("button", name="Ada")).to_be_visible()
    tab_to(page, page.get_by_label("Name", exact=True))
    write("1966 Bronco")
    tab_to(page, page.get_by_role("radio", name="Empty project"))
    restomod = page.get_by_role("radio", name="Vehicle restoration")
    tab_to(page, restomod, "ArrowDown")
    expect(restomod).to_be_checked()
    press("Enter")
    expect(row(page, "1966 Bronco")).to_be_visible()
    expect(tree(page)).to_be_focused()

    # Three levels below it.
    press("Shift+Insert")
    for name in ["Teardown", "Body"]:
        write(name)
        press("Enter")
    press("Escape")
    press("Shift+Insert")
    write("Doors")
    press("Enter")
    press("Escape")
    press("Shift+Insert")
    for name in ["Hinges", "Seals", "Glass"]:
        write(name)
        press("Enter")
    press("Escape")
    press("Alt+ArrowUp")
    write("hi")
    press("Control+.")
    write("in p")
    press("Enter")
    expect(row(page, "Hinges").locator(".status")).to_have_text("In progress")

    # A property, and back.
    part(page, page.get_by_label("Assigned to"))
    write("Bob")
    press("Enter")
    part(page, tree(page))
    saved(page)

    # A slip, and undo.
    press("ArrowDown")
    press("Delete")
    expect(row(page, "Glass")).to_have_count(0)
    press("Control+z")
    expect(row(page, "Glass")).to_be_visible()

    # Search.
    press("/")
    write("seal")
    expect(page.get_by_text("1 found")).to_be_visible()
    press("Enter")
    expect(tree(page)).to_be_focused()
    press("Control+.")
    write("done")
    press("Enter")
    expect(row(page, "Seals").locator(".status")).to_have_text("Done")
    press("/")
    press("Escape")
    expect(row(page, "Teardown")).to_be_visible()
    expect(tree(page)).to_be_focused()
    saved(page)

    # What happened; how it was; and back to the present.
    part(page, page.get_by_role("button", name="History"))
    press("Enter")
    changes = page.get_by_role("list", name="Changes, newest first").get_by_role("button")
    expect(changes).to_have_count(13)
    expect(changes.nth(1)).to_contain_text("Undid: ")
    part(page, changes.nth(2))
    press("Enter")
    expect(page.get_by_text("This is how it was: nothing can be changed here.")).to_be_visible()
    expect(row(page, "Glass")).to_have_count(0)
    part(page, tree(page))
    tab_to(page, page.get_by_role("button", name="Back to the present"), "Shift+Tab")
    press("Enter")
    expect(row(page, "Glass")).to_be_visible()

    # Out of the project, and in again.
    part(page, page.get_by_role("link", name="All projects"))
    press("Enter")
    tab_to(page, page.get_by_role("link", name="1966 Bronco"))
    press("Enter")
    expect(row(page, "Seals")).to_be_visible()
    expect(tree(page)).to_be_focused()

    assert page.evaluate("() => document.body.dataset.mouse ?? 'none'") == "none"
    session_id = page.url.split("/s/")[1].split("?")[0]
    assert names(server, session_id) == [
        "1966 Bronco",
        "  Teardown",
        "  Body",
        "    Doors",
        "      Hinges",
        "      Glass",
        "      Seals",
    ]
    vehicle = server.graph(session_id)["roots"][0]
    body = vehicle["children"][1]
    doors = body["children"][0]
    hinges, glass, seals = doors["children"]
    types = [each["blueprint_type_id"] for each in (vehicle, body, doors, hinges, glass, seals)]
    assert types == ["vehicle", "phase", "job", "task", "task", "task"]
    assert hinges["properties"]["status"] == TASK_IN_PROGRESS
    assert hinges["properties"]["assigned_to"] == "Bob"
    assert seals["properties"]["status"] == TASK_DONE
    assert {each["actor"] for each in server.history(session_id) if each["version"] > 1} == {"Ada"}
