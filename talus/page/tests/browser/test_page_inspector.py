"""The panel beside the tree: every type of property is shown, changed, refused and cleared at its field."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from steps import outline, row, saved, select, tree

from tests.support.server import JsonObject, Server

PLANNED = "0b1c3f0e-5a53-4c0f-9a0e-6f0e1c9b7d21"
UNDER_WAY = "7c9d0b52-3f0a-4f5b-8a55-2f9f6d8f1e02"
STUCK = "5d0c2f43-9a3f-4d0b-8f6e-2b7c1a9e8d70"

NINE_TYPES = f"""
template_id: nine
name: Nine types
description: A thing has a property of each type.
node_types:
  - id: thing
    name: Thing
    allowed_children: [thing]
    properties:
      - {{id: owner, name: Owner, type: text}}
      - {{id: count, name: Count, type: number}}
      - {{id: price, name: Price, type: currency, required: true}}
      - {{id: due, name: Due, type: date}}
      - {{id: fragile, name: Fragile, type: checkbox}}
      - id: status
        name: Status
        type: select
        options:
          - {{uuid: {PLANNED}, name: Planned, indicator_id: empty}}
          - {{uuid: {UNDER_WAY}, name: Under way, indicator_id: half}}
          - {{uuid: {STUCK}, name: Stuck, indicator_id: blocked}}
      - {{id: goes_to, name: Goes to, type: node_reference}}
      - {{id: page, name: Web page, type: url}}
      - {{id: notes, name: Notes, type: markdown}}
"""

VALUE_BYTES = 256 * 1024  # the contract: the most that one value takes


class House:
    """A project of the template with all nine types: a piano with a lid below it, and a stool."""

    def __init__(self, server: Server) -> None:
        self.server = server
        made = server.post("/projects", {"template_id": "nine", "project_name": "House"}).json()
        self.session_id = made["session_id"]
        self.root = made["graph"]["roots"][0]["id"]
        self.ids = outline(server, self.session_id, self.root, "Piano\n  Lid\nStool", "thing")
        self.piano = self.ids["Piano"]

    @property
    def path(self) -> str:
        return f"/s/{self.session_id}?node={self.piano}"

    @property
    def version(self) -> int:
        return int(self.server.graph(self.session_id)["version"])

    def properties(self, node_id: str | None = None) -> JsonObject:
        return _nodes(self.server.graph(self.session_id)["roots"])[node_id or self.piano]["properties"]

    def set(self, property_id: str, value: Any, actor: str = "Bob") -> None:
        """Somebody else changes the piano."""
        data = {"node_id": self.piano, "property_id": property_id, "value": value}
        self.server.execute(self.session_id, "UpdateProperty", data, actor=actor)


def _nodes(nodes: list[JsonObject]) -> dict[str, JsonObject]:
    found = {}
    for node in nodes:
        found[node["id"]] = node
        found.update(_nodes(node["children"]))
    return found


@pytest.fixture
def house(start_server: Callable[..., Server], tmp_path: Path) -> House:
    (tmp_path / "nine.yaml").write_text(NINE_TYPES)
    return House(start_server(env={"TALUS_TEMPLATES": str(tmp_path)}))


def details(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Details")


def field(page: Page, name: str) -> Locator:
    return details(page).get_by_label(_label(name))


def wrong(page: Page, name: str) -> Locator:
    """What is said below this field."""
    return details(page).locator(".property").filter(has=page.get_by_label(_label(name))).get_by_role("alert")


def _label(name: str) -> re.Pattern[str]:
    return re.compile(f"^{name}( · please fill in)?$")


def tab_to(page: Page, target: Locator) -> None:
    """Presses Tab until the focus is there, past the few parts and buttons of the field before it."""
    for _ in range(5):
        page.keyboard.press("Tab")
        if target.evaluate("target => target === document.activeElement"):
            return
    raise AssertionError("Tab does not lead there")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_every_type_is_filled_in_and_cleared_with_the_keyboard_alone(house: House, open_page) -> None:
    """Given all nine types, when somebody goes through them with Tab, then each is saved, and then unset."""
    page = open_page(house.server, house.path)
    expect(field(page, "Name")).to_have_value("Piano")
    expect(details(page).get_by_text("please fill in")).to_have_count(1)
    expect(field(page, "Status")).to_have_value(PLANNED)

    field(page, "Name").focus()
    press(page, "Control+A")
    page.keyboard.insert_text("Grand piano")
    for text in ["Ada", "1 200,5", "$1,250.75"]:
        press(page, "Tab")
        page.keyboard.type(text)
    press(page, "Enter")
    # Nothing is sent before the whole day stands there: year 2, 20 and 202 are not meant.
    press(page, "Tab")
    expect(field(page, "Due")).to_be_focused()
    saved(page)
    before = house.version
    page.keyboard.type("12242028")
    assert house.version == before
    tab_to(page, field(page, "Fragile"))  # past the parts of the day, and its calendar
    press(page, "Space")
    tab_to(page, field(page, "Status"))
    page.keyboard.type("Under")
    tab_to(page, field(page, "Goes to"))
    press(page, "Enter")
    page.keyboard.type("stoo")
    press(page, "Enter")
    expect(field(page, "Goes to")).to_be_focused()
    tab_to(page, field(page, "Web page"))
    page.keyboard.type("example.org:8080/piano?tuned=1")
    press(page, "Enter", "Tab")
    expect(details(page).get_by_role("link", name="Open Web page")).to_be_focused()
    press(page, "Tab")
    page.keyboard.type("Needs **two** people")
    press(page, "Control+Enter")
    expect(field(page, "Notes").locator("strong")).to_have_text("two")
    expect(details(page).get_by_role("button", name="Write: Notes")).to_be_focused()
    saved(page)
    filled = house.properties()
    assert filled == {
        "name": "Grand piano",
        "owner": "Ada",
        "count": 1200.5,
        "price": 1250.75,
        "due": "2028-12-24",
        "fragile": True,
        "status": UNDER_WAY,
        "goes_to": house.ids["Stool"],
        "page": "https://example.org:8080/piano?tuned=1",
        "notes": "Needs **two** people",
    }
    assert house.version == before + 6, "one commit for each change, and none for a day half typed"
    expect(details(page).locator(".select .tone")).to_have_class(re.compile(r"\btone-busy\b|\bbusy\b|half"))

    press(page, "Enter")
    expect(field(page, "Notes")).to_be_focused()
    press(page, "Control+A", "Delete", "Control+Enter")
    for name in ["Web page", "Count", "Price", "Owner"]:
        field(page, name).focus()
        press(page, "Control+A", "Delete", "Enter")
    for name in ["Goes to", "Fragile"]:
        details(page).get_by_role("button", name=f"Clear {name}").focus()
        press(page, "Enter")
        expect(field(page, name)).to_be_focused()
    field(page, "Status").select_option("None")
    field(page, "Due").focus()
    press(page, "Delete", "Tab", "Delete", "Tab", "Delete", "Enter")
    saved(page)
    assert house.properties() == {"name": "Grand piano"}
    expect(details(page).get_by_text("please fill in")).to_have_count(1)


def test_a_day_chosen_in_the_calendar_is_saved_at_once(house: House, open_page) -> None:
    """Given a date, when a day is picked (a value comes, and no key), then it is saved at once."""
    page = open_page(house.server, house.path)
    field(page, "Due").fill("2027-03-01")
    saved(page)
    assert house.properties()["due"] == "2027-03-01"
    due = date(2027, 3, 1).strftime("%b ") + "1, 2027"
    expect(row(page, "Piano").locator(".due")).to_have_text(due)


def test_what_is_no_number_address_or_day_is_said_at_its_field_and_not_sent(house: House, open_page) -> None:
    """Given a field, when nonsense is typed, then it says what is wanted and sends nothing."""
    page = open_page(house.server, house.path)
    before = house.version
    for name, text, words in [
        ("Count", "a dozen", "This is not a number. Type digits"),
        ("Price", "1,2,3", "This is not a number. Type digits"),
        ("Count", "0x10", "This is not a number. Type digits"),
        ("Web page", "ask Bob", "This is not an address. Paste it whole"),
        ("Web page", "javascript:alert(1)", "This is not an address. Paste it whole"),
    ]:
        field(page, name).fill(text)
        press(page, "Enter")
        expect(wrong(page, name)).to_contain_text(words)
        expect(field(page, name)).to_have_value(text)
        expect(field(page, name)).to_have_attribute("aria-invalid", "true")
        press(page, "Escape")
        expect(field(page, name)).to_have_value("")
        expect(wrong(page, name)).to_have_count(0)
    field(page, "Due").focus()
    page.keyboard.type("02302028")
    press(page, "Enter")
    expect(wrong(page, "Due")).to_contain_text(
        "This is not a day of the calendar. Type its day, month and year"
    )
    press(page, "Escape")
    expect(wrong(page, "Due")).to_have_count(0)
    saved(page)
    assert house.version == before

    # What is left behind so is told where it can be seen.
    field(page, "Count").fill("many")
    select(page, "Stool")
    expect(page.get_by_role("log")).to_contain_text("Not saved: Count of “Piano”")
    expect(page.get_by_role("log")).to_contain_text("You had typed: many")
    expect(page.get_by_role("log").locator(".message")).to_have_count(1)
    assert house.version == before


def test_numbers_are_read_as_people_write_them(house: House, open_page) -> None:
    """Given digits grouped in either way, when they are typed, then the number that was meant is saved."""
    page = open_page(house.server, house.path)
    for text, value in [
        ("1.234,56", 1234.56),
        ("1,234.56", 1234.56),
        ("12,000", 12000),
        ("1.234.567", 1234567),
        ("0,5", 0.5),
        ("−7", -7),
        (".5", 0.5),
    ]:
        field(page, "Count").fill(text)
        press(page, "Enter")
        expect(field(page, "Count")).to_have_value(str(value))
        saved(page)
        assert house.properties()["count"] == value, text


def test_what_only_the_server_can_refuse_is_said_at_the_field_and_not_lost(house: House, open_page) -> None:
    """Given values that the server refuses, when they are saved, then the field says so and keeps them."""
    page = open_page(house.server, house.path)
    before = house.version
    long = "x" * VALUE_BYTES
    field(page, "Owner").fill(long)
    press(page, "Enter")
    expect(wrong(page, "Owner")).to_contain_text("A value takes at most 262144 bytes")
    expect(wrong(page, "Owner")).to_contain_text("Correct the value, or clear the field.")
    expect(field(page, "Owner")).to_have_value(long)
    press(page, "Home", "Delete", "Delete", "Delete", "Enter")
    expect(wrong(page, "Owner")).to_have_count(0)
    saved(page)
    assert house.properties()["owner"] == long[3:]
    assert house.version == before + 1

    # Two that are well alone are too much for one node.
    field(page, "Notes").fill("y" * 200_000)
    press(page, "Control+Enter")
    expect(wrong(page, "Notes")).to_contain_text("Delete something first")
    expect(field(page, "Notes")).to_have_value("y" * 200_000)
    expect(field(page, "Notes")).to_be_focused()
    press(page, "Escape")
    expect(wrong(page, "Notes")).to_have_count(0)

    field(page, "Count").fill("9007199254740993")
    press(page, "Enter")
    expect(wrong(page, "Count")).to_contain_text("Correct the value, or clear the field.")
    expect(field(page, "Count")).to_have_value("9007199254740993")
    expect(page.get_by_role("log")).to_be_empty()
    assert house.version == before + 1


def test_what_is_too_large_for_the_socket_goes_another_way(house: House, open_page) -> None:
    """Given a text past what a socket takes, when it is saved, then it is refused, and nothing else waits."""
    page = open_page(house.server, house.path)
    field(page, "Owner").fill("x" * 1_100_000)
    press(page, "Enter")
    expect(wrong(page, "Owner")).to_contain_text("A value takes at most 262144 bytes")
    press(page, "Escape")
    field(page, "Count").fill("3")
    press(page, "Enter")
    saved(page)
    assert house.properties()["count"] == 3


def test_undo_is_a_key_where_nothing_is_typed(house: House, open_page) -> None:
    """Given a box that was just ticked, when Ctrl+Z is pressed, then it is not ticked any more."""
    page = open_page(house.server, house.path)
    field(page, "Fragile").check()
    saved(page)
    press(page, "Control+z")
    expect(field(page, "Fragile")).not_to_be_checked()
    saved(page)
    assert "fragile" not in house.properties()


def test_what_was_typed_into_a_node_that_somebody_deletes_is_handed_back(house: House, open_page) -> None:
    """Given an unfinished text, when Bob deletes its node, then a message says so and holds the text."""
    page = open_page(house.server, house.path)
    field(page, "Owner").fill("Ada, from May on")
    house.server.execute(house.session_id, "DeleteNode", {"node_id": house.piano}, actor="Bob")
    expect(row(page, "Piano")).to_have_count(0)
    log = page.get_by_role("log")
    expect(log.locator(".message")).to_have_count(1)
    expect(log).to_contain_text("Not saved: Owner of “Piano”")
    expect(log).to_contain_text("Somebody deleted it meanwhile: undo that, or add it again.")
    expect(log).to_contain_text("You had typed: Ada, from May on")
    saved(page)

    # What could not be saved anyway is handed back too, and once.
    log.get_by_role("button", name="Dismiss").click()
    select(page, "Stool")
    field(page, "Count").fill("three or four")
    house.server.execute(house.session_id, "DeleteNode", {"node_id": house.ids["Stool"]}, actor="Bob")
    expect(row(page, "Stool")).to_have_count(0)
    expect(log).to_contain_text("You had typed: three or four")
    expect(log.locator(".message")).to_have_count(1)


def test_a_reference_is_searched_visited_and_cleared(house: House, open_page) -> None:
    """Given several nodes, when one is searched for, then it is referred to, gone to, and let go of again."""
    page = open_page(house.server, house.path)
    field(page, "Goes to").click()
    search = details(page).get_by_role("combobox", name="Goes to")
    expect(search).to_be_focused()
    expect(details(page).locator(".picker").get_by_role("option")).to_have_text(
        [re.compile(name) for name in ("House", "Piano", "Stool", "Lid")]
    )
    search.fill("nowhere")
    expect(details(page).get_by_text("No node has that name. Try fewer letters.")).to_be_visible()
    press(page, "Escape")
    expect(field(page, "Goes to")).to_be_focused()
    expect(field(page, "Goes to")).to_have_text("Choose a node")

    press(page, "Enter")
    press(page, "ArrowDown", "ArrowDown", "ArrowDown", "Enter")
    expect(field(page, "Goes to")).to_have_text("Lid")
    saved(page)
    assert house.properties()["goes_to"] == house.ids["Lid"]
    page.get_by_role("treeitem", name="Piano").locator(".twisty").click()
    expect(row(page, "Lid")).to_have_count(0)
    details(page).get_by_role("button", name="Go to Lid").click()
    expect(row(page, "Lid")).to_have_attribute("aria-selected", "true")
    expect(tree(page)).to_be_focused()

    house.server.execute(house.session_id, "DeleteNode", {"node_id": house.ids["Lid"]}, actor="Bob")
    select(page, "Piano")
    expect(field(page, "Goes to")).to_have_text("a node that is gone")
    field(page, "Goes to").click()
    field(page, "Owner").click()
    expect(details(page).get_by_role("combobox", name="Goes to")).to_have_count(0)
    details(page).get_by_role("button", name="Clear Goes to").click()
    expect(field(page, "Goes to")).to_have_text("Choose a node")
    saved(page)
    assert "goes_to" not in house.properties()


def test_the_best_of_many_nodes_comes_first(house: House, open_page) -> None:
    """Given more nodes than the list shows, when a name is typed, then it leads, and the rest is told of."""
    lines = "\n".join([f"Old pedal {number}" for number in range(60)] + ["Pedal"])
    pedal = outline(house.server, house.session_id, house.root, lines, "thing")["Pedal"]
    page = open_page(house.server, house.path)
    field(page, "Goes to").click()
    expect(
        details(page).get_by_text("These are the first 50. Type more letters for the others.")
    ).to_be_visible()
    page.keyboard.type("pedal")
    expect(details(page).locator(".picker").get_by_role("option").first).to_contain_text(
        re.compile(r"^Pedal")
    )
    expect(details(page).locator(".picker").get_by_role("option")).to_have_count(50)
    press(page, "Enter")
    saved(page)
    assert house.properties()["goes_to"] == pedal


def test_the_parents_lead_upwards(house: House, open_page) -> None:
    """Given a node two levels down, when one of its parents is pressed, then that one is selected."""
    page = open_page(house.server, f"/s/{house.session_id}?node={house.ids['Lid']}")
    parents = page.get_by_role("navigation", name="Parents").get_by_role("button")
    expect(parents).to_have_text(["House", "Piano"])
    parents.last.press("Enter")
    expect(row(page, "Piano")).to_have_attribute("aria-selected", "true")
    expect(field(page, "Name")).to_have_value("Piano")
    expect(parents).to_have_text(["House"])
    expect(tree(page)).to_be_focused()


def test_others_changes_appear_unless_one_is_typing(house: House, open_page) -> None:
    """Given a shown node, when Bob changes it, then it shows at once, but never over what is being typed."""
    page = open_page(house.server, house.path)
    field(page, "Owner").focus()
    house.set("owner", "Bob")
    house.set("notes", "*his*")
    house.set("due", "2027-01-31")
    house.set("fragile", True)
    house.set("status", STUCK)
    expect(field(page, "Owner")).to_have_value("Bob")
    expect(field(page, "Notes").locator("em")).to_have_text("his")
    expect(field(page, "Due")).to_have_value("2027-01-31")
    expect(field(page, "Fragile")).to_be_checked()
    expect(field(page, "Status")).to_have_value(STUCK)

    page.keyboard.type(" and Ada")
    house.set("owner", "Carol")
    expect(
        details(page).get_by_text("Somebody set it to “Carol” meanwhile. Escape takes that.")
    ).to_be_visible()
    expect(field(page, "Owner")).to_have_value("Bob and Ada")
    press(page, "Escape")
    expect(field(page, "Owner")).to_have_value("Carol")

    page.keyboard.type("!")
    house.set("owner", "Dan")
    expect(details(page).get_by_text("“Dan”")).to_be_visible()
    press(page, "Backspace", "Tab")  # typed nothing in the end: Dan stands
    expect(field(page, "Owner")).to_have_value("Dan")
    saved(page)
    assert house.properties()["owner"] == "Dan"

    details(page).get_by_role("button", name="Write: Notes").click()
    expect(field(page, "Notes")).to_be_focused()
    press(page, "Control+End")
    page.keyboard.type(" and mine")
    house.set("notes", "his alone")
    expect(details(page).get_by_text("“his alone” meanwhile")).to_be_visible()
    press(page, "Control+Enter")
    saved(page)
    assert house.properties()["notes"] == "*his* and mine"

    field(page, "Due").focus()
    page.keyboard.type("03")
    house.set("due", "2027-07-07")
    expect(details(page).get_by_text("“2027-07-07” meanwhile")).to_be_visible()
    expect(field(page, "Due")).to_have_value("2027-03-31")
    press(page, "Escape")
    expect(field(page, "Due")).to_have_value("2027-07-07")


def test_markdown_runs_nothing_and_fetches_nothing(house: House, open_page) -> None:
    """Given HTML, scripts and pictures in a text, when it is shown, then they are text or a link."""
    asked: list[str] = []
    text = (
        "<b>bold</b> <script>window.ran = 1</script> <img src=x onerror='window.ran = 2'>\n\n"
        "[press](javascript:window.ran=3) [data](data:text/html,x) ![plan](https://example.org/plan.png)\n\n"
        "<https://example.org/a> [site](https://example.org/b)\n"
    )
    house.set("notes", text)
    page = open_page(house.server)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(house.server.url + house.path)
    notes = field(page, "Notes")
    expect(notes.get_by_role("link")).to_have_text(["plan", "https://example.org/a", "site"])
    expect(notes).to_contain_text(
        "<b>bold</b> <script>window.ran = 1</script> <img src=x onerror='window.ran = 2'>"
    )
    expect(notes).to_contain_text("[press](javascript:window.ran=3) [data](data:text/html,x)")
    expect(notes.locator("b, script, img")).to_have_count(0)
    for link in notes.get_by_role("link").all():
        expect(link).to_have_attribute("href", re.compile(r"^https://example\.org/"))
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", "noopener noreferrer")
    notes.get_by_text("[press]").click()
    assert page.evaluate("window.ran") is None
    assert not [url for url in asked if not url.startswith((house.server.url, "ws:"))]


def test_an_address_opens_beside_the_page(house: House, open_page) -> None:
    """Given an address, when its link is looked at, then it opens by itself and tells nothing of here."""
    house.set("page", "https://example.org/")
    page = open_page(house.server, house.path)
    link = details(page).get_by_role("link", name="Open Web page")
    expect(link).to_have_attribute("href", "https://example.org/")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_who_changed_it_last_is_told_live_and_after_a_reload(house: House, open_page) -> None:
    """Given a node, when it is changed or moved, then the panel says who did that; after a reload too."""
    page = open_page(house.server, house.path)
    last = details(page).locator(".last-change")
    expect(last).to_have_text("anonymous made it just now")
    house.set("price", 5)
    expect(last).to_contain_text("Bob changed Price just now")
    page.reload()
    expect(last).to_contain_text("Bob changed Price just now")
    house.server.execute(
        house.session_id,
        "MoveNode",
        {"node_id": house.piano, "parent_id": house.ids["Stool"]},
        actor="Carol",
    )
    expect(last).to_contain_text("Carol moved it just now")
    field(page, "Owner").fill("me")
    press(page, "Enter")
    expect(last).to_contain_text("Ada changed Owner just now")


def test_who_changed_it_long_ago_is_looked_up_step_by_step(server: Server, open_page) -> None:
    """Given a node that 2,100 versions have passed by, when one looks further back, then it is found."""
    session_id = server.new_session(name="Long")
    old = server.execute(session_id, "CreateNode", {"blueprint_type_id": "item", "name": "Old"}, actor="Zoe")
    busy = server.create(session_id, name="Busy")

    def set_count(count: int) -> None:
        data = {"node_id": busy, "property_id": "count", "value": count}
        server.execute(session_id, "UpdateProperty", data)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(set_count, range(2_100)))
    page = open_page(server, f"/s/{session_id}?node={old['node_id']}")
    last = details(page).locator(".last-change")
    expect(last).to_contain_text("Not changed since version 102.")
    last.get_by_role("button", name="Look further back").press("Enter")
    expect(last).to_contain_text("Zoe made it")
    select(page, "Busy")
    expect(last).to_contain_text("anonymous changed Count")


def test_the_past_can_be_read_and_not_changed(house: House, open_page) -> None:
    """Given values of then and now, when the past is shown, then its fields show then and take nothing."""
    for name, value in {
        "owner": "Bob",
        "goes_to": house.ids["Lid"],
        "notes": "of *then*",
        "fragile": True,
    }.items():
        house.set(name, value)
    house.set("owner", "Carol")
    page = open_page(house.server, house.path)
    expect(field(page, "Owner")).to_have_value("Carol")
    page.get_by_role("button", name="History").click()
    page.get_by_role("button", name=re.compile("Set “Fragile” of")).click()
    page.get_by_role("button", name="Details").click()
    expect(field(page, "Owner")).to_have_value("Bob")
    for name in ("Name", "Owner", "Count", "Price", "Web page"):
        expect(field(page, name)).not_to_be_editable()
    for name in ("Due", "Fragile", "Status", "Goes to"):
        expect(field(page, name)).to_be_disabled()
    expect(field(page, "Notes").locator("em")).to_have_text("then")
    expect(details(page).get_by_role("button", name=re.compile("Clear|Write|Add"))).to_have_count(0)
    expect(details(page).locator(".last-change")).to_have_count(0)
    before = house.version
    field(page, "Owner").focus()
    page.keyboard.type("x")
    press(page, "Enter")
    details(page).get_by_role("button", name="Go to Lid").click()
    expect(row(page, "Lid")).to_have_attribute("aria-selected", "true")
    select(page, "Piano")
    page.get_by_role("button", name="Back to the present").click()
    expect(field(page, "Owner")).to_have_value("Carol")
    expect(field(page, "Owner")).to_be_editable()
    assert house.version == before


def test_without_a_template_a_node_takes_any_property(server: Server, open_page) -> None:
    """Given a project of no template, when properties are added, then they can be filled in and removed."""
    session_id = server.new_session(name="Free")
    node = server.create(session_id, name="Stone", blueprint_type_id="item")
    page = open_page(server, f"/s/{session_id}?node={node}")

    def properties() -> JsonObject:
        saved(page)
        return server.graph(session_id)["roots"][0]["properties"]

    def add(name: str, kind: str) -> None:
        details(page).get_by_label("Another property").fill(name)
        details(page).get_by_label("Its kind").select_option(kind)
        details(page).get_by_label("Another property").press("Enter")

    add("Owner", "Text")
    expect(field(page, "Owner")).to_be_focused()
    page.keyboard.type("Ada")
    press(page, "Enter")
    add("weight", "Number")
    expect(field(page, "Weight")).to_be_focused()
    press(page, "Control+A")
    page.keyboard.type("12,5")
    press(page, "Enter")
    add("toString", "Yes or no")
    expect(field(page, "ToString")).to_be_focused()
    press(page, "Space")
    assert properties() == {"name": "Stone", "Owner": "Ada", "weight": 12.5, "toString": True}

    add("weight", "Text")
    expect(details(page).get_by_text("It has that property already: change it above.")).to_be_visible()
    add(" ", "Text")
    expect(details(page).get_by_text("Name the property first.")).to_be_visible()
    data = {"node_id": node, "property_id": "log", "value": "first\nsecond"}
    server.execute(session_id, "UpdateProperty", data, actor="Bob")
    expect(field(page, "Log")).to_contain_text("second")
    assert properties()["weight"] == 12.5

    field(page, "Weight").fill("")
    press(page, "Enter")
    expect(field(page, "Weight")).to_have_count(0)
    details(page).get_by_role("button", name="Clear ToString").click()
    expect(field(page, "ToString")).to_have_count(0)
    assert properties() == {"name": "Stone", "Owner": "Ada", "log": "first\nsecond"}
