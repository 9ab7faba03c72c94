"""Everybody can use the page: axe finds nothing, nothing is cut, and the focus is always seen.

axe-core comes in by the debugger, because the page's policy lets no foreign script in.
Its rules here: WCAG 2.0 to 2.2, A and AA, and the best practices.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect
from steps import SAVED, outline, project, row, saved, select, tree

from tests.support.server import Server
from tests.support.tokens import jwt_settings, token

AXE = (Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
ZOOMED = {"width": 640, "height": 400}  # the desk's window at 200 %
LONG = (
    "A name that is longer than any window is wide, as it comes from a clipboard, " * 2
    + "and has no end: " * 3
)
NOTES = "**First** the hoses\n\n- [the manual](https://example.org/)\n- `12 Nm`\n\n> and wait"
CREW = ["Rosa", "Jim", "Mei Lin", "Tom", "Olga", "Pål", "Ruth", "Sam", "Tess", "Uwe", "Vera", "Willem"]

Look = Callable[[Page, str], None]


# -- what is looked at --


def show_beginnings(open_page: Any, server: Server, look: Look, **options: Any) -> None:
    """All projects, and the question before the first one."""
    page = open_page(server, name=None, **options)
    expect(page.get_by_text("There is no project yet")).to_be_visible()
    look(page, "a new server")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Give the project a name first")).to_be_visible()
    look(page, "a project without a name")
    session_id, _ = project(server)
    project(server, "workshop-build", LONG)
    page = open_page(server, **options)
    expect(page.get_by_role("link", name="1966 Bronco")).to_be_visible()
    page.get_by_role("button", name="Ada").click()
    expect(page.get_by_role("textbox", name="Your name")).to_be_visible()
    page.get_by_label("Name", exact=True).click()
    page.get_by_text("Workshop build").click()
    look(page, "all projects")
    page = open_page(server, f"/s/{session_id}", name=None, **options)
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_role("button", name="Open the project").click()
    expect(page.get_by_text("Type at least one letter")).to_be_visible()
    look(page, "the question for a name")
    page = open_page(server, "/s/~nobody", **options)
    expect(page.get_by_role("heading", name="This project cannot be shown")).to_be_visible()
    look(page, "no such project")


def show_signing_in(open_page: Any, guarded: Server, look: Look, **options: Any) -> None:
    """Where tokens are asked for."""
    page = open_page(guarded, **options)
    page.get_by_label("Token").fill("nonsense")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("This is not a token")).to_be_visible()
    look(page, "signing in")
    page.get_by_label("Token").fill(token("ann"))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name", exact=True).fill("Boat")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".status-word")).to_have_text(SAVED)
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_text("ann (you)")).to_be_visible()
    page.get_by_role("button", name="Delete this project").click()
    look(page, "the members")


def fill(server: Server) -> tuple[str, dict[str, str]]:
    """A project with something of everything: statuses, dates, notes, long and deep and foreign names."""
    session_id, root = project(server)
    deep = "\n".join(f"{'  ' * level}Level {level + 1}" for level in range(1, 20))
    lines = f"""
Work
  Brakes
  Engine
    Rebuild
      Hone
      Measure
    Paint
  {LONG}
  车身与油漆
    الباب الأيمن
{deep}
"""
    types = {level: "task" if level else "phase" for level in range(20)}
    ids = outline(server, session_id, root, lines, types)
    for name, prop, value in (
        ("Brakes", "due_date", "2026-05-29"),
        ("Brakes", "notes", NOTES),
        ("Brakes", "procedure", "https://example.org/brakes"),
        ("Brakes", "after_task", ids["Paint"]),
        ("Hone", "status", "32d0fcbb-c3bd-4e0a-9374-b746ae0d2028"),
        ("Measure", "status", "970cc753-c6a4-4b0f-8a1a-c9a66b284e21"),
        ("Rebuild", "status", "d0632b9c-bc71-49ee-b7d4-f794f317fe95"),
        (LONG, "due_date", "2026-05-29"),
        (LONG, "status", "e94ed3e2-2b72-47a6-8469-1915491e12a2"),
    ):
        data = {"node_id": ids[name.strip()], "property_id": prop, "value": value}
        server.execute(session_id, "UpdateProperty", data, actor="Rosa")
    server.undo(session_id)
    return session_id, {**ids, "1966 Bronco": root}


def show_project(page: Page, look: Look) -> None:
    """A project that `fill` made, and all that opens in it."""
    narrow = page.viewport_size is not None and page.viewport_size["width"] < 860
    select(page, "Brakes")
    saved(page)
    look(page, "a project")
    if narrow:
        page.get_by_role("button", name="Details").click()
    page.get_by_role("textbox", name="Manual page or video").fill("no address")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This is not an address")).to_be_visible()
    page.get_by_role("region", name="Notes").scroll_into_view_if_needed()
    look(page, "a property that is wrong")
    page.get_by_role("textbox", name="Manual page or video").press("Escape")
    page.locator(".reference").first.click()
    expect(page.get_by_role("listbox")).to_be_visible()
    look(page, "choosing a node to refer to")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Close the panel").click()

    tree(page).press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    look(page, "renaming")
    page.keyboard.press("Escape")
    tree(page).press("Insert")
    expect(page.get_by_label("Name of the new node")).to_be_focused()
    look(page, "a new row")
    page.keyboard.press("Escape")

    tree(page).press("Shift+F10")
    expect(page.get_by_role("menu", name="Actions")).to_be_visible()
    look(page, "the menu of a node")
    page.keyboard.press("Escape")
    tree(page).press("Control+.")
    expect(page.get_by_role("menu", name="Status")).to_be_visible()
    look(page, "the menu of a status")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("menu", name="Filter")).to_be_visible()
    look(page, "the menu of the filter")
    page.get_by_role("menuitem", name="Status").click()
    page.get_by_role("menu", name="Status").get_by_text("Waiting", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_label("Search names and properties").fill("m")
    expect(page.get_by_text("1 found")).to_be_visible()
    look(page, "a filter that finds something")
    page.get_by_label("Search names and properties").fill("nothing has this name")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    look(page, "a filter that finds nothing")
    page.get_by_role("button", name="Show everything").click()

    select(page, "Hone")
    tree(page).press("Shift+ArrowDown")
    expect(page.get_by_role("toolbar", name="Selected nodes")).to_be_visible()
    look(page, "several selected")
    page.get_by_role("toolbar", name="Selected nodes").get_by_role("button", name="Move to").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    look(page, "the dialog that moves")
    page.keyboard.press("Escape")
    tree(page).press("Escape")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("dialog", name="Share this project")).to_be_visible()
    look(page, "the dialog that shares")
    page.keyboard.press("Escape")
    tree(page).press("?")
    expect(page.get_by_role("dialog", name="All keys")).to_be_visible()
    look(page, "the dialog of the keys")
    page.keyboard.press("Escape")

    select(page, "Engine")
    tree(page).press("Delete")
    expect(page.get_by_text("nodes in all")).to_be_visible()
    tree(page).press("Control+z")
    expect(row(page, "Engine")).to_be_visible()
    select(page, "1966 Bronco")
    tree(page).press("Control+d")
    look(page, "messages")
    tree(page).press("Control+z")
    saved(page)
    for _ in range(page.get_by_role("button", name="Dismiss").count()):
        page.get_by_role("button", name="Dismiss").first.click()

    page.get_by_role("button", name="History").click()
    expect(page.locator(".commit").first).to_be_visible()
    look(page, "the history")
    page.locator(".commit").nth(5).click()
    if narrow:
        page.get_by_role("button", name="Close the panel").click()
    expect(page.get_by_role("button", name="Back to the present")).to_be_visible()
    look(page, "the past")
    page.get_by_role("button", name="Back to the present").click()


def show_offline(page: Page, server: Server, look: Look) -> None:
    """A project whose server is gone, with an edit that waits; then all projects."""
    saved(page)
    select(page, "Brakes")
    server.kill()
    expect(page.get_by_text("reconnecting")).to_be_visible()
    tree(page).press("Insert")
    expect(page.get_by_label("Name of the new node")).to_be_focused()
    page.keyboard.type("Meanwhile")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.get_by_text("1 waiting")).to_be_visible()
    look(page, "offline")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="All projects").click()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    look(page, "all projects, and no server")


# -- what has to be so --


def findings(page: Page, only: str | None = None) -> list[str]:
    """What axe has to say against the page as it is now; only: by this one of its rules."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE + ";undefined")
    options = {
        "runOnly": {"type": "rule", "values": [only]} if only else {"type": "tag", "values": TAGS},
        "resultTypes": ["violations"],
    }
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']}, {len(rule['nodes'])} times: {rule['nodes'][0]['html'][:200]}"
        f" {rule['nodes'][0]['any'][0]['message'] if rule['nodes'][0]['any'] else rule['help']}"
        for rule in found["violations"]
    ]


# What is too wide, cut off, covered, or too small to be hit. What is scrolled out of sight is not looked at.
MISFITS = """
() => {
  const found = [];
  const name = e => (e.ariaLabel || e.textContent || e.id || e.className).trim().slice(0, 60);
  const root = document.querySelector('dialog[open]') ?? document.querySelector('.menu') ?? document.body;
  const width = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth > innerWidth) found.push('the page is wider than its window');
  for (const e of document.querySelectorAll('body *')) {
    const style = getComputedStyle(e);
    const free = e.closest('pre, .hidden, input, textarea, select') || style.textOverflow === 'ellipsis';
    if (!free && style.overflowX !== 'visible' && e.clientWidth && e.scrollWidth > e.clientWidth + 1)
      found.push(`something sticks out sideways: ${e.className} ${e.scrollWidth} > ${e.clientWidth}`);
  }
  const controls = 'a[href], button, input, select, textarea, summary, label:has(input), [tabindex="0"]';
  for (const e of root.querySelectorAll(controls)) {
    if (e.disabled || !e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const target = e.matches('input[type=checkbox], input[type=radio]') ? (e.closest('label') ?? e) : e;
    const box = target.getBoundingClientRect();
    if (box.left < -0.5 || box.right > width + 0.5) found.push(`${name(e)} is cut at the side`);
    const inText = e.matches('a') && getComputedStyle(e).display === 'inline';
    if (!inText && (box.width < 24 || box.height < 24))
      found.push(`${name(e)} is ${Math.round(box.width)} by ${Math.round(box.height)}`);
    const x = (box.left + box.right) / 2;
    const y = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
    let seen = box.bottom > 0 && box.top < innerHeight;
    for (let up = target.parentElement; up && seen; up = up.parentElement) {
      const frame = up.getBoundingClientRect();
      if (getComputedStyle(up).overflowY !== 'visible' && (y < frame.top || y > frame.bottom)) seen = false;
    }
    if (!seen) continue;
    const there = document.elementFromPoint(x, y);
    const over = there?.closest('.selection-bar, .messages, .panel');
    if (over && !over.contains(e)) continue; // these lie over the tree, and can be put away
    if (there && there !== target && !target.contains(there) && !there.contains(target))
      found.push(`${name(e)} is covered by ${there.className || there.tagName}`);
  }
  return [...new Set(found)];
}
"""


class Judge:
    """Collects what is wrong, by what was looked at, so that one run tells all of it.

    rules: by which to judge; axe takes a third of a second for all of its own.
    """

    def __init__(self, *rules: Callable[[Page], list[str]]) -> None:
        self.rules = rules
        self.wrong: list[str] = []
        self.seen = 0

    def __call__(self, page: Page, what: str) -> None:
        self.seen += 1
        self.wrong += [f"{what}: {each}" for rule in self.rules for each in rule(page)]

    def check(self, at_least: int) -> None:
        assert not self.wrong, "\n".join(self.wrong)
        assert self.seen >= at_least


@pytest.fixture
def guarded(start_server: Callable[..., Server], tmp_path: Path) -> Server:
    """A server that asks for tokens."""
    return start_server(env=jwt_settings(tmp_path))


def contrast_in_the_dark(page: Page) -> list[str]:
    """As `findings`, of what differs between the themes; the page is light again afterwards."""
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    found = findings(page, "color-contrast")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    return [f"in the dark: {each}" for each in found]


def misfits(page: Page) -> list[str]:
    found: list[str] = page.evaluate(MISFITS)
    return found


def test_axe_finds_nothing_before_a_project(server: Server, guarded: Server, open_page) -> None:
    """Given a new server, when somebody is asked for a name or token and begins, then axe finds nothing."""
    judge = Judge(findings, contrast_in_the_dark, misfits)
    show_beginnings(open_page, server, judge, viewport=DESK, reduced_motion="reduce")
    show_signing_in(open_page, guarded, judge, viewport=DESK, reduced_motion="reduce")
    judge.check(at_least=7)


def test_axe_finds_nothing_in_a_project(server: Server, open_page) -> None:
    """Given a project, when all that opens in it is looked at, offline too, then axe finds nothing."""
    session_id, _ = fill(server)
    judge = Judge(findings, contrast_in_the_dark, misfits)
    options = {"viewport": DESK, "reduced_motion": "reduce"}
    page = open_page(server, f"/s/{session_id}", **options)
    show_project(page, judge)
    page.get_by_role("button", name="Close the panel").click()
    empty = open_page(server, f"/s/{server.new_session(name='Nothing')}", **options)
    begin = empty.get_by_text("Nothing here yet").or_(empty.get_by_label("Name of the new node"))
    expect(begin).to_be_visible()
    judge(empty, "an empty project")
    empty.close()
    show_offline(page, server, judge)
    judge.check(at_least=20)


def test_nothing_is_cut_on_a_phone(server: Server, guarded: Server, open_page) -> None:
    """Given a phone of 360 px, when everything is looked at, then nothing is cut, covered or too small."""
    judge = Judge(misfits)
    options = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}
    show_beginnings(open_page, server, judge, **options)
    session_id, ids = fill(server)
    show_signing_in(open_page, guarded, judge, **options)
    page = open_page(server, f"/s/{session_id}?node={ids['Level 20']}", **options)
    deepest = row(page, "Level 20").locator(".name")
    expect(deepest).to_be_in_viewport(ratio=1)
    assert deepest.evaluate("name => name.scrollWidth <= name.clientWidth"), "the deepest name is cut"
    assert not findings(page)
    show_project(page, judge)
    judge.check(at_least=24)


def test_nothing_is_cut_at_200_percent(server: Server, open_page) -> None:
    """Given a window at 200 %, when a project is looked at, then nothing is cut or covered."""
    session_id, _ = fill(server)
    judge = Judge(misfits)
    show_project(open_page(server, f"/s/{session_id}", viewport=ZOOMED, reduced_motion="reduce"), judge)
    judge.check(at_least=16)


def come(server: Server, session_id: str, actor: str) -> None:
    """Somebody joins by long polling, and says nothing more; the server waits 45 s for them."""
    address = "~/socket.io/?EIO=4&transport=polling"
    opened = server.request("GET", address).text
    address += f"&sid={json.loads(opened[1:])['sid']}"
    for packet in (
        "40" + json.dumps({"actor": actor}),
        "42" + json.dumps(["join_session", {"session_id": session_id}]),
    ):
        server.request(
            "POST", address, data=packet.encode(), headers={"Content-Type": "text/plain;charset=UTF-8"}
        )


def test_twelve_people_fit(server: Server, open_page) -> None:
    """Given twelve people in a project, when one looks, then four are shown and the others are counted."""
    session_id, _ = fill(server)
    for name in CREW[1:]:
        come(server, session_id, name)
    page = open_page(server, f"/s/{session_id}", name=CREW[0], viewport=DESK, reduced_motion="reduce")
    here = page.get_by_role("list", name="Who is here")
    expect(here).to_contain_text("+7")
    expect(here.get_by_role("button")).to_have_count(4)
    judge = Judge(findings, misfits)
    judge(page, "twelve people")
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="Close the panel").click()
    expect(here).to_be_visible()
    judge(page, "twelve people on a phone")
    judge.check(at_least=2)


# In the order of Tab: what has the focus, and whether it can be seen that it has.
FOCUS = """
() => {
  const e = document.activeElement;
  const shown = e.getAttribute('role') === 'tree' ? (e.querySelector('.row.active') ?? e) : e;
  const mark = e.matches('.segment input') ? e.closest('.segment') : shown;
  const style = getComputedStyle(mark);
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  const ringed = style.boxShadow.includes('inset') && style.boxShadow.includes('2px');
  const box = mark.getBoundingClientRect();
  const inside = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const [x, y] = [(box.left + box.right) / 2, (Math.max(0, box.top) + box.bottom) / 2];
  const there = document.elementFromPoint(x, y);
  const free = there && (mark.contains(there) || there.contains(mark));
  return {
    name: e === document.body ? null : (e.ariaLabel || e.labels?.[0]?.textContent || e.textContent).trim(),
    wrong: outlined || ringed ? (inside && free ? '' : 'is out of sight') : 'has no mark',
  };
}
"""


def walk(page: Page, start: Any) -> list[str]:
    """Tab from `start` until the browser has been through the page; the names of what had the focus."""
    start.focus()
    names: list[str] = []
    while True:
        if page.evaluate("document.activeElement.getAttribute('role')") == "tree":
            page.keyboard.press("Escape")  # Tab would indent
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUS)
        if found["name"] is None or (names and found["name"] == names[0]):
            return names
        assert not found["wrong"], f"{found['name']} {found['wrong']}"
        names.append(found["name"])
        assert len(names) < 100, names


def test_the_focus_is_always_seen(server: Server, open_page) -> None:
    """Given a page that is used by keys alone, when Tab goes through it, then the focus is always seen."""
    session_id, ids = fill(server)
    page = open_page(server, f"/s/{session_id}?node={ids['Brakes']}", viewport=DESK, reduced_motion="reduce")
    saved(page)
    names = walk(page, page.get_by_role("link", name="All projects"))
    for name in ("Undo", "History", "Share", "Filter", "Add", "Project", "Close the panel"):
        assert any(each.startswith(name) for each in names), f"{name} is never reached: {names}"
    page.get_by_role("button", name="History").click()
    expect(page.locator(".commit").first).to_be_visible()
    assert len(walk(page, page.get_by_role("button", name="Close the panel"))) > 6
    page.get_by_role("link", name="All projects").click()
    expect(page.get_by_role("link", name="1966 Bronco")).to_be_visible()
    assert len(walk(page, page.get_by_role("button", name="Colours"))) > 3


def test_forced_colours_hide_neither_selection_nor_focus(server: Server, open_page) -> None:
    """Given a system with forced colours, when a row is selected and has the focus, then both are seen."""
    session_id, _ = fill(server)
    page = open_page(
        server, f"/s/{session_id}", viewport=DESK, forced_colors="active", reduced_motion="reduce"
    )
    select(page, "Brakes")
    tree(page).press("Shift+ArrowDown")
    page.mouse.move(0, 0)

    def strip(name: str) -> bytes:
        """The upper left corner of a row, where it has neither text nor mark."""
        box = row(page, name).bounding_box()
        assert box is not None
        return page.screenshot(clip={"x": box["x"], "y": box["y"], "width": 16, "height": 8})

    expect(page.locator(".row.selected")).to_have_count(2)
    plain, selected, active = strip("Paint"), strip("Brakes"), strip("Engine")
    assert selected != plain, "the selection is not seen"
    assert active not in (plain, selected), "the focus is not seen"
    expect(page.get_by_role("button", name="Details")).to_have_css(
        "outline-style", "solid"
    )  # its panel is open
    expect(page.get_by_role("button", name="History")).to_have_css("outline-style", "none")


def test_nothing_moves_where_motion_is_not_wanted(server: Server, open_page) -> None:
    """Given a system that wants little motion, when rows change and messages come, then nothing moves."""
    session_id, ids = fill(server)
    moving = (
        "() => document.getAnimations().filter(each => each.effect.getComputedTiming().duration > 0).length"
    )
    lively = open_page(server, f"/s/{session_id}", viewport=DESK)
    still = open_page(server, f"/s/{session_id}", name="Bob", viewport=DESK, reduced_motion="reduce")
    for page in (lively, still):
        saved(page)
    server.execute(
        session_id, "UpdateProperty", {"node_id": ids["Paint"], "property_id": "name", "value": "Varnish"}
    )
    expect(lively.locator(".row.marked")).to_be_visible()
    assert lively.evaluate(moving) > 0
    expect(still.locator(".row.marked")).to_be_visible()
    assert still.evaluate(moving) == 0
    select(still, "Engine")
    tree(still).press("Delete")
    expect(still.get_by_text("nodes in all")).to_be_visible()
    assert still.evaluate(moving) == 0


def test_colours_follow_the_system_until_somebody_chooses(server: Server, open_page) -> None:
    """Given a dark system, when light is chosen, then the page stays light, and can follow again."""
    ground = "() => getComputedStyle(document.body).backgroundColor"
    page = open_page(server, color_scheme="dark")
    expect(page.get_by_role("button", name="Colours: as the system")).to_be_visible()
    theme = page.locator("html")
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    expect(theme).to_have_attribute("data-theme", "light")
    light = page.evaluate(ground)
    assert light != dark
    page.emulate_media(color_scheme="dark")
    expect(theme).to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate(ground) == light
    page.reload()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Colours: light").click()
    page.get_by_role("button", name="Colours: dark").click()
    expect(page.get_by_role("button", name="Colours: as the system")).to_be_visible()


def test_the_console_stays_empty(server: Server, open_page) -> None:
    """Given a project, when all of it is used, then no fault or warning gets into the browser's console."""
    fill(server)
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        said.append(f"{message.type}: {message.text}")

    page = open_page(server, viewport=DESK, reduced_motion="reduce")
    page.on("console", hear)
    page.reload()
    page.get_by_role("link", name="1966 Bronco").click()
    show_project(page, lambda *_: None)
    page.get_by_role("link", name="All projects").click()
    expect(page.get_by_role("link", name="1966 Bronco")).to_be_visible()
    assert not said, said
