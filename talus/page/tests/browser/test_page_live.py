"""What the page shows while others work, the network goes, the server dies or the disk is full."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, WebSocket, expect
from steps import names, outline, row, rows, saved, select, tree

from tests.support.server import Server
from tests.support.tokens import as_user, jwt_settings, talus, token

SEED = int(os.environ.get("TALUS_SEED") or random.SystemRandom().randrange(1 << 32))
MARKED = re.compile(r"\bmarked\b")
BOAT = "Hull\n  Keel\n  Frames\nMast\nSails"

Start = Callable[..., Server]


def word(page: Page) -> Locator:
    """The one word about what is saved; its explanation, which is read aloud, stands behind it."""
    return page.locator(".status-word")


def messages(page: Page) -> Locator:
    return page.locator(".message")


def rename(page: Page, name: str, new: str) -> None:
    select(page, name)
    tree(page).press("Enter")
    page.get_by_label("Name", exact=True).and_(page.locator(".name-input")).fill(new)
    page.keyboard.press("Enter")
    expect(row(page, new)).to_be_visible()


def add(page: Page, after: str, name: str) -> None:
    """A sibling after the row `after`."""
    _add(page, after, name, "Insert")


def add_inside(page: Page, parent: str, name: str) -> None:
    _add(page, parent, name, "Shift+Insert")


def _add(page: Page, at: str, name: str, key: str) -> None:
    select(page, at)
    tree(page).press(key)
    draft = page.get_by_label("Name of the new node")
    draft.fill(name)
    draft.press("Enter")
    expect(row(page, name)).to_be_visible()
    draft.press("Escape")
    expect(draft).to_have_count(0)


def undo(page: Page) -> None:
    tree(page).press("Control+z")


def person(name: str) -> str:
    """The class that gives a person's things their colour, worked out apart from the page."""
    number = 7
    for character in name:
        number = (number * 31 + ord(character)) % 2**32
    return f"person-{number % 8}"


def plain(server: Server, lines: str = BOAT) -> tuple[str, dict[str, str]]:
    """A session without a template, with these nodes; the ids of these by name."""
    session_id = server.new_session(name="Boat")
    return session_id, outline(server, session_id, None, lines)


def boat(
    server: Server, open_page: Any, *people: str, lines: str = BOAT, **options: Any
) -> tuple[str, dict[str, str], list[Page]]:
    """The same, made before the eyes of these people; and the page of each."""
    session_id = server.new_session(name="Boat")
    pages = [open_page(server, f"/s/{session_id}", name=name, **options) for name in people]
    for page in pages:
        saved(page)
    ids = outline(server, session_id, None, lines)
    for page in pages:
        expect(row(page, list(ids)[-1])).to_be_visible()
    return session_id, ids, pages


def kept(server: Server, session_id: str) -> list[int]:
    """The versions of the history, oldest first."""
    return [commit["version"] for commit in reversed(server.history(session_id))]


@contextmanager
def held(server: Server) -> Iterator[None]:
    """The server hears and says nothing meanwhile; connections stay."""
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


@contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """No file of the server can grow meanwhile."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4_000, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


# -- at once ------------------------------------------------------------------


def test_an_edit_is_on_the_screen_before_the_server_has_it(server: Server, open_page) -> None:
    """Given a server that does not answer, when somebody edits, then the screen shows it and counts what is
    not saved; when it answers, then all is saved, and the others have it."""
    session_id, _, [ada, bob] = boat(server, open_page, "Ada", "Bob")
    with held(server):
        rename(ada, "Keel", "Long keel")
        expect(word(ada)).to_have_text("saving 1")
        add(ada, "Mast", "Boom")
        expect(word(ada)).to_have_text("saving 2")
        assert rows(ada) == ["Hull", "  Long keel", "  Frames", "Mast", "Boom", "Sails"]
        undo(ada)
        expect(row(ada, "Boom")).to_have_count(0)
        expect(word(ada)).to_have_text("saving 3")
        tree(ada).press("Control+y")
        expect(row(ada, "Boom")).to_be_visible()
        expect(word(ada)).to_have_text("saving 4")
        assert "Boom" not in rows(bob)
    saved(ada)
    expect(row(bob, "Boom")).to_be_visible()
    assert rows(ada) == rows(bob) == names(server, session_id)
    assert kept(server, session_id) == [1, 2, 3, 4, 5]


def test_of_two_moves_that_exclude_each_other_one_is_taken_back_and_says_why(
    server: Server, open_page
) -> None:
    """Given a server that does not answer, when one puts A below B and the other B below A, then each sees
    the own one at once; when it answers, then one is taken back with a word, and both see the same."""
    session_id, _, pages = boat(server, open_page, "Ada", "Bob", lines="A\nB")
    ada, bob = pages
    with held(server):
        select(ada, "B")
        tree(ada).press("Tab")
        expect(row(ada, "B")).to_have_attribute("aria-level", "2")
        select(bob, "A")
        tree(bob).press("Alt+ArrowDown")
        tree(bob).press("Tab")
        expect(row(bob, "A")).to_have_attribute("aria-level", "2")
        expect(word(bob)).to_have_text("saving 2")
    for page in pages:
        saved(page)
    told = [text for page in pages for text in messages(page).all_inner_texts()]
    assert len(told) == 1, told
    assert re.search(r"Not done: Move “[AB]” to “[BA]”.+Choose a place", told[0], re.DOTALL), told
    expect(row(ada, "A")).to_be_visible()
    assert rows(ada) == rows(bob) == names(server, session_id)
    assert kept(server, session_id) == [1, 2, 3]


def test_what_others_change_is_marked_in_their_colour_for_a_moment(server: Server, open_page) -> None:
    """Given two people, when one renames, adds and undoes, then the other sees it at once, marked in the
    first one's colour, and not for ever; one's own changes are not marked."""
    session_id, ids = plain(server)
    ada, bob = (open_page(server, f"/s/{session_id}", name=name) for name in ("Ada", "Bob"))
    saved(ada)
    saved(bob)
    theirs = re.compile(rf"\bmarked {person('Bob')}\b")

    rename(bob, "Mast", "Mizzen")
    expect(row(ada, "Mizzen")).to_have_class(theirs)
    add(bob, "Mizzen", "Boom")
    expect(row(ada, "Boom")).to_have_class(theirs)
    saved(bob)
    assert not bob.locator(".marked").count()
    expect(ada.locator(".marked")).to_have_count(0)  # after a while, by itself
    expect(row(ada, "Boom")).to_be_visible()

    undo(bob)
    undo(bob)
    expect(row(ada, "Mast")).to_have_class(theirs)
    saved(bob)
    assert not bob.locator(".marked").count()
    server.execute(
        session_id,
        "UpdateProperty",
        {"node_id": ids["Keel"], "property_id": "name", "value": "Fin"},
        actor="Eve",
    )
    for page in (ada, bob):
        expect(row(page, "Fin")).to_have_class(re.compile(rf"\bmarked {person('Eve')}\b"))


def test_a_page_that_gets_no_frames_still_hears(server: Server, open_page) -> None:
    """Given a page behind another window, for which no frame is drawn, when others change something and it
    has an edit under way, then it shows the change and knows that its edit is saved."""
    _, _, [ada, bob] = boat(server, open_page, "Ada", "Bob")
    ada.evaluate("window.requestAnimationFrame = () => 1")
    rename(bob, "Mast", "Mizzen")
    expect(row(ada, "Mizzen")).to_be_visible()
    rename(ada, "Sails", "Jib")
    saved(ada)


# -- who is here --------------------------------------------------------------


def test_one_sees_who_is_here_and_what_they_have_selected(server: Server, open_page) -> None:
    """Given two people, when one selects a node, then the other sees it there, and a click goes to it, also
    in a closed branch; in two tabs one is still one person, and leaves with the second."""
    session_id, _, [ada, bob] = boat(server, open_page, "Ada", "Bob")
    here = ada.get_by_role("list", name="Who is here")
    at = row(ada, "Keel").get_by_role("img", name="Bob")
    select(bob, "Keel")
    expect(at).to_have_class(re.compile(person("Bob")))
    assert not row(bob, "Keel").get_by_role("img").count(), "one's own place is not marked"

    select(ada, "Hull")
    tree(ada).press("ArrowLeft")
    expect(row(ada, "Keel")).to_have_count(0)
    here.get_by_role("button", name="Bob: go to what they have selected").click()
    expect(row(ada, "Keel")).to_have_attribute("aria-selected", "true")
    expect(row(bob, "Keel").get_by_role("img", name="Ada")).to_be_visible()

    second = bob.context.new_page()
    second.goto(f"{server.url}/s/{session_id}")
    saved(second)
    expect(second.get_by_role("list", name="Who is here").get_by_role("button")).to_have_count(2)
    expect(here.get_by_role("button")).to_have_count(1)
    second.close()
    bob.reload()
    expect(at).to_be_visible()  # its address says where it was
    expect(here.get_by_role("button")).to_have_count(1)
    bob.close()
    expect(here).to_have_count(0)
    expect(at).to_have_count(0)


# -- the server dies, the network goes -----------------------------------------


def test_the_word_is_honest_while_the_server_is_away(server: Server, open_page) -> None:
    """Given a server that is killed, when somebody edits three times and it is started again, then each step
    has its word, and everything is there once."""
    session_id, _, [ada] = boat(server, open_page, "Ada")
    server.kill()
    expect(word(ada)).to_have_text("reconnecting")
    rename(ada, "Keel", "Long keel")
    add_inside(ada, "Mast", "Boom")
    add(ada, "Sails", "Anchor")
    expect(word(ada)).to_contain_text("offline, 3 waiting. What you do is kept in this tab")
    shown = ["Hull", "  Long keel", "  Frames", "Mast", "  Boom", "Sails", "Anchor"]
    assert rows(ada) == shown
    server.start(server.port)
    saved(ada)
    assert rows(ada) == names(server, session_id) == shown
    assert kept(server, session_id) == [1, 2, 3, 4]
    assert server.stop() == 0  # it says goodbye: no reason not to come back
    expect(word(ada)).to_have_text("reconnecting")
    server.start(server.port)
    saved(ada)


def test_ten_deaths_in_the_middle_of_edits_lose_nothing_and_double_nothing(start_server, open_page) -> None:
    """Given two people who go on editing, when the server dies ten times before, after or between what it
    does for an edit, then everything that they did is there once, on both screens and in the history."""
    print(f"TALUS_SEED={SEED}")
    dice = random.Random(SEED)
    server: Server = start_server()
    tall = {"width": 1000, "height": 2000}  # all rows are in the page
    session_id, _, pages = boat(server, open_page, "Ada", "Bob", lines="Hull", viewport=tall)
    port = server.port
    server.stop()
    made = 0
    for _ in range(10):
        place = dice.choice(["before-commit", "after-commit", "after-emit"])
        server.env["TALUS_FAILPOINT"] = f"{place}:{dice.randint(1, 3)}"
        server.start(port)
        for page in dice.sample(pages * 2, 3):
            made += 1
            add(page, "Hull", f"Part {made}")
        assert server.wait_ended(30) == -signal.SIGKILL
    del server.env["TALUS_FAILPOINT"]
    server.start(port)
    for page in pages:
        saved(page)
    there = names(server, session_id)
    assert sorted(there) == sorted(["Hull", *(f"Part {number}" for number in range(1, made + 1))])
    for page in pages:
        expect(page.locator(".row[data-id]")).to_have_count(made + 1)
        assert rows(page) == there
    assert kept(server, session_id) == list(range(1, made + 2))
    assert [text for page in pages for text in messages(page).all_inner_texts()] == []


def test_a_tab_asks_before_it_is_closed_over_what_waits(server: Server, open_page) -> None:
    """Given a tab, when it is closed, then it asks while an edit of it waits, and only then."""
    _, _, (ada, bob) = boat(server, open_page, "Ada", "Bob", lines="Hull")
    select(ada, "Hull")  # a browser asks for nobody who has not touched the page
    ada.once("dialog", lambda dialog: pytest.fail("it asks though all is saved"))
    with ada.expect_event("close"):
        ada.close(run_before_unload=True)
    server.kill()
    add(bob, "Hull", "Keel")
    expect(word(bob)).to_contain_text("offline, 1 waiting")
    with bob.expect_event("dialog") as asked:
        bob.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.accept()


def test_without_a_network_one_goes_on_and_it_comes_together_later(server: Server, open_page) -> None:
    """Given a browser whose network is gone, when both sides edit and it comes back, then both have all."""
    session_id, _, [ada, bob] = boat(server, open_page, "Ada", "Bob")
    ada.context.set_offline(True)
    expect(word(ada)).to_have_text("offline")
    expect(bob.get_by_role("list", name="Who is here")).to_have_count(0)
    rename(ada, "Mast", "Mizzen")
    add(ada, "Mizzen", "Boom")
    undo(ada)
    expect(row(ada, "Boom")).to_have_count(0)
    expect(word(ada)).to_contain_text("offline, 3 waiting")
    add(bob, "Sails", "Anchor")
    saved(bob)
    ada.context.set_offline(False)
    saved(ada)
    expect(row(ada, "Anchor")).to_be_visible()
    expect(row(bob, "Mizzen")).to_be_visible()
    expect(row(bob, "Boom")).to_have_count(0)
    assert rows(ada) == rows(bob) == names(server, session_id)


def test_edits_that_wait_outlive_the_way_to_other_projects(server: Server, open_page) -> None:
    """Given edits that wait, when one goes to all projects and comes back, then they are still there; and
    when one has gone again, then they are saved all the same as soon as the server is back."""
    session_id, _, [ada] = boat(server, open_page, "Ada")
    server.kill()
    rename(ada, "Mast", "Mizzen")
    ada.get_by_role("link", name="All projects").click()
    expect(ada.get_by_role("heading", name="New project")).to_be_visible()
    ada.go_back()
    expect(word(ada)).to_have_text("connecting")
    server.start(server.port)
    expect(row(ada, "Mizzen")).to_be_visible()
    saved(ada)
    select(ada, "Sails")
    expect(ada.get_by_text("anonymous made it")).to_be_visible()
    server.kill()
    rename(ada, "Sails", "Jib")
    expect(word(ada)).to_contain_text("offline, 1 waiting")
    ada.get_by_role("link", name="All projects").click()
    expect(ada.get_by_role("heading", name="New project")).to_be_visible()
    server.start(server.port)
    bob = open_page(server, f"/s/{session_id}", name="Bob")
    expect(row(bob, "Jib")).to_be_visible()
    expect(bob.get_by_role("list", name="Who is here")).to_have_count(0)  # she is not there any more
    assert kept(server, session_id) == [1, 2, 3]


# -- catching up --------------------------------------------------------------


class Sent:
    """What a page asks for: its `join_session` calls, and whole graphs."""

    def __init__(self, page: Page) -> None:
        self.joins: list[dict[str, Any]] = []
        self.graphs = 0
        page.on("websocket", self._socket)
        page.on("request", self._request)

    def _socket(self, socket: WebSocket) -> None:
        socket.on("framesent", self._frame)

    def _frame(self, frame: str | bytes) -> None:
        found = re.fullmatch(r"42\d*(\[\"join_session\",.*\])", str(frame))
        if found:
            self.joins.append(json.loads(found[1])[1])

    def _request(self, request: Request) -> None:
        self.graphs += "/api/v1/graph?" in request.url


@pytest.mark.parametrize("limit, graphs", [("10000", 0), ("100", 1)])
def test_a_page_that_was_away_catches_up(start_server: Start, open_page, limit: str, graphs: int) -> None:
    """Given a page that is away while 300 changes are made and edits itself, when it is back, then it asks
    for what it does not know, and no whole graph unless more is missing than is replayed, and shows all."""
    server = start_server(env={"TALUS_REPLAY_LIMIT": limit})
    session_id, ids, [ada] = boat(server, open_page, "Ada")
    ada.context.set_offline(True)
    expect(word(ada)).to_have_text("offline")
    rename(ada, "Mast", "Mizzen")
    sent = Sent(ada)
    for number in range(300):
        node_id = ids["Keel" if number % 3 else "Frames"]
        server.execute(
            session_id,
            "UpdateProperty",
            {"node_id": node_id, "property_id": "name", "value": f"{number}"},
        )
    expect(ada.locator(".marked")).to_have_count(0)
    ada.context.set_offline(False)
    saved(ada)
    assert rows(ada) == names(server, session_id) == ["Hull", "  299", "  297", "Mizzen", "Sails"]
    epoch = server.graph(session_id)["epoch"]
    assert sent.joins == [{"session_id": session_id, "since": 1, "epoch": epoch}]
    assert sent.graphs == graphs
    assert not ada.locator(".marked").count(), "what is old is not new"
    assert kept(server, session_id) == list(range(1, 303))


def test_after_a_backup_was_put_back_the_page_shows_it_and_says_so(server: Server, open_page) -> None:
    """Given a backup, and edits since, when it is put back, others work on past the page's version, and the
    page is cut off before it has the new graph, then it shows that graph alone, and says so."""
    session_id, ids, [ada] = boat(server, open_page, "Ada")
    backup = server.folder / "backup.db"
    settings = {"TALUS_DATABASE": str(server.database)}
    assert talus("backup", str(backup), **settings).returncode == 0
    rename(ada, "Mast", "Mizzen")
    rename(ada, "Sails", "Jib")
    saved(ada)
    server.stop()
    restored = talus("restore", str(backup), **settings)
    assert restored.returncode == 0, restored.stderr
    rename(ada, "Keel", "Fin")
    ada.route("**/api/v1/graph?*", lambda route: route.abort())
    with ada.expect_event("requestfailed", lambda request: "/graph?" in request.url):
        server.start(server.port)
    server.kill()
    expect(word(ada)).to_contain_text("offline, 1 waiting")
    server.start(server.port)
    for name in ("Rope", "Rudder", "Tiller"):
        server.create(session_id, ids["Hull"], name=name)
    ada.unroute("**/api/v1/graph?*")
    saved(ada)
    expect(messages(ada)).to_have_count(1)
    expect(messages(ada)).to_contain_text("A backup was put back")
    expect(messages(ada)).to_contain_text("Look whether something has to be done again")
    expect(row(ada, "Fin")).to_be_visible()
    assert rows(ada) == names(server, session_id)
    assert {"Mast", "Sails", "  Fin", "  Tiller"} < set(rows(ada))


# -- what can no longer be done -------------------------------------------------


def test_edits_that_lost_their_ground_are_said_in_words(server: Server, open_page) -> None:
    """Given somebody offline who renames, adds and names what he added, when it was deleted meanwhile, then
    each is said once, with what to do about it, and the screen shows what is there."""
    session_id, ids, [ada] = boat(server, open_page, "Ada")
    ada.context.set_offline(True)
    expect(word(ada)).to_have_text("offline")
    rename(ada, "Keel", "Fin")
    rename(ada, "Frames", "Ribs")
    add_inside(ada, "Hull", "Deck")
    rename(ada, "Deck", "Main deck")
    rename(ada, "Sails", "Jib")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Hull"]})
    ada.context.set_offline(False)
    saved(ada)
    expect(row(ada, "Hull")).to_have_count(0)
    assert rows(ada) == names(server, session_id) == ["Mast", "Jib"]
    expect(messages(ada)).to_have_count(2)
    expect(messages(ada).nth(0)).to_contain_text("Not done: Rename “Keel” to “Fin”")
    expect(messages(ada).nth(0)).to_contain_text("Not done: Rename “Frames” to “Ribs”")
    expect(messages(ada).nth(0)).to_contain_text("Somebody deleted it meanwhile: undo that, or add it again.")
    expect(messages(ada).nth(1)).to_contain_text("Not done: Add “Deck”, and one edit that rests on it")
    expect(messages(ada).nth(1)).to_contain_text("Choose another place for it.")
    for _ in range(2):
        messages(ada).first.get_by_role("button", name="Dismiss").click()
    expect(messages(ada)).to_have_count(0)
    assert kept(server, session_id) == [1, 2, 3]


def test_the_undo_of_a_refused_edit_takes_nothing_else_back(server: Server, open_page) -> None:
    """Given a saved edit, and offline another that is undone at once, when that one turns out to be
    impossible, then its undo does not take back the saved one."""
    session_id, ids, [ada] = boat(server, open_page, "Ada")
    rename(ada, "Sails", "Jib")
    saved(ada)
    ada.context.set_offline(True)
    expect(word(ada)).to_have_text("offline")
    rename(ada, "Keel", "Fin")
    undo(ada)
    expect(row(ada, "Keel")).to_be_visible()
    expect(word(ada)).to_contain_text("offline, 2 waiting")
    server.execute(session_id, "DeleteNode", {"node_id": ids["Keel"]}, actor="Bob")
    ada.context.set_offline(False)
    saved(ada)
    expect(messages(ada)).to_contain_text("Not done: Rename “Keel” to “Fin”")
    expect(row(ada, "Keel")).to_have_count(0)
    assert rows(ada) == names(server, session_id) == ["Hull", "  Frames", "Mast", "Jib"]
    assert kept(server, session_id) == [1, 2, 3]


def test_a_full_disk_is_told_and_the_edits_go_through_when_there_is_room(server: Server, open_page) -> None:
    """Given a disk that is full, when somebody edits twice, then the word says that it is not saved and why;
    when there is room again, then both are saved by themselves."""
    session_id, _, [ada] = boat(server, open_page, "Ada")
    with full_disk(server):
        rename(ada, "Mast", "Mizzen")
        expect(word(ada)).to_contain_text("not saved, 1 waiting")
        add(ada, "Sails", "Anchor")
        expect(word(ada)).to_contain_text("not saved, 2 waiting")
        expect(word(ada)).to_contain_text("Make room on the server's disk; what you did is sent again")
        assert names(server, session_id) == ["Hull", "  Keel", "  Frames", "Mast", "Sails"]
    saved(ada)
    assert rows(ada) == names(server, session_id)
    assert rows(ada) == ["Hull", "  Keel", "  Frames", "Mizzen", "Sails", "Anchor"]
    assert kept(server, session_id) == [1, 2, 3]
    assert not messages(ada).count()


def test_a_project_that_somebody_deletes_closes_with_a_word(server: Server, open_page) -> None:
    """Given an open project and an edit that waits, when somebody else deletes the project, then the page
    says so and what was not saved, and leads to the other projects."""
    session_id, _, [ada, bob] = boat(server, open_page, "Ada", "Bob")
    bob.context.set_offline(True)
    rename(bob, "Mast", "Mizzen")
    assert server.delete(f"/sessions/{session_id}", force="true").status_code == 204
    expect(ada.get_by_role("main")).to_contain_text("This project was deleted. Check the link")
    bob.context.set_offline(False)
    expect(bob.get_by_role("main")).to_contain_text(
        "Session not found. Not saved: Rename “Mast” to “Mizzen”. Check the link"
    )
    bob.get_by_role("button", name="Try again").click()
    expect(bob.get_by_role("main")).to_contain_text("Session not found")
    for page in (ada, bob):
        page.get_by_role("link", name="All projects").click()
        expect(page.get_by_text("There is no project yet")).to_be_visible()


# -- tokens -------------------------------------------------------------------


@pytest.fixture
def guarded(start_server: Start, tmp_path: Path) -> Server:
    """A server that asks for tokens."""
    return start_server(env=jwt_settings(tmp_path))


def signed_in(server: Server, shown: str) -> dict[str, Any]:
    """Options of `open_page` for somebody who has signed in before, and stays so."""
    kept_there = [{"name": "talus.token", "value": shown}]
    return {
        "name": None,
        "storage_state": {"origins": [{"origin": server.url, "localStorage": kept_there}]},
    }


def sign_in(page: Page, shown: str) -> None:
    page.get_by_label("Token").fill(shown)
    page.get_by_role("button", name="Sign in").click()


def shared(server: Server, **roles: str) -> tuple[Server, str]:
    """The server as Ann meets it, and her session with a boat and these members."""
    ann = as_user(server, "ann")
    session_id, _ = plain(ann)
    for user, role in roles.items():
        assert ann.put(f"/sessions/{session_id}/members/{user}", {"role": role}).status_code < 300
    return ann, session_id


def test_one_signs_in_with_a_token_that_no_address_shows(guarded: Server, open_page) -> None:
    """Given a server that asks for tokens, when somebody comes, then it asks for one, says what is wrong with
    one that cannot be right, takes the right one, and shows the projects; the token is in no address."""
    shared(guarded)
    page = open_page(guarded, name=None)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    sign_in(page, "rubbish")
    expect(page.get_by_role("alert")).to_contain_text("This is not a token.")
    sign_in(page, token("ann", iat=int(time.time()) - 60, exp=int(time.time()) - 30))
    expect(page.get_by_role("alert")).to_contain_text("This token has expired.")
    right = token("ann")
    sign_in(page, right)
    page.get_by_role("link", name="Boat").click()
    rename(page, "Keel", "Fin")
    saved(page)
    assert len(addresses) > 3
    assert not [address for address in [page.url, *addresses] if right[:20] in address or "token" in address]
    page.reload()
    expect(row(page, "Fin")).to_be_visible()  # for this tab it is kept


def test_when_a_token_ends_on_the_open_page_nothing_that_waits_is_lost(guarded: Server, open_page) -> None:
    """Given an edit that cannot be saved yet, when the token expires, then the page asks for a new one, and
    with that the edit is there and saved."""
    ann, session_id = shared(guarded)
    page = open_page(guarded, f"/s/{session_id}", **signed_in(guarded, token("ann", lasts=5)))
    saved(page)
    with full_disk(guarded):
        rename(page, "Keel", "Fin")
        expect(word(page)).to_contain_text("not saved, 1 waiting")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        sign_in(page, token("ann"))
        expect(row(page, "Fin")).to_be_visible()
        expect(word(page)).to_contain_text("not saved, 1 waiting")
    saved(page)
    assert names(ann, session_id)[1] == "  Fin"
    assert kept(ann, session_id) == [1, 2]


def test_a_member_who_is_removed_is_told_and_sees_no_more(guarded: Server, open_page) -> None:
    """Given two people in a project, when the owner removes one, then that one's page closes with a word."""
    ann, session_id = shared(guarded, bob="editor")
    bob = open_page(guarded, f"/s/{session_id}", **signed_in(guarded, token("bob")))
    saved(bob)
    assert ann.delete(f"/sessions/{session_id}/members/bob").status_code < 300
    expect(bob.get_by_role("main")).to_contain_text("You are no member of this session any more.")
    assert not bob.get_by_text("Keel").count()
    bob.get_by_role("button", name="Try again").click()
    expect(bob.get_by_role("main")).to_contain_text("Session not found")


def test_revoked_tokens_lead_to_the_sign_in(guarded: Server, open_page) -> None:
    """Given an open page, when its user's tokens are revoked, then the page asks for another token."""
    _, session_id = shared(guarded)
    page = open_page(guarded, f"/s/{session_id}", **signed_in(guarded, token("ann")))
    saved(page)
    revoked = talus("token", "--revoke", "ann", TALUS_DATABASE=str(guarded.database), **_settings(guarded))
    assert revoked.returncode == 0, revoked.stderr
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def _settings(server: Server) -> dict[str, str]:
    return {name: value for name, value in server.env.items() if name.startswith("TALUS_")}


def test_a_viewer_sees_everything_and_is_offered_no_edit(guarded: Server, open_page) -> None:
    """Given a viewer, when others edit, then he sees it; no key, button or menu changes anything. Given an
    editor who becomes a viewer, when he edits, then that goes back with a word, and is offered no more."""
    ann, session_id = shared(guarded, bob="viewer", cleo="editor")
    bob = open_page(guarded, f"/s/{session_id}", **signed_in(guarded, token("bob")))
    saved(bob)
    select(bob, "Keel")
    for key in ("Enter", "Insert", "Tab", "Delete", "Alt+ArrowDown", "Control+d", "Control+z"):
        tree(bob).press(key)
    expect(bob.locator(".name-input")).to_have_count(0)
    for name in ("Undo", "Redo"):
        expect(bob.get_by_role("button", name=name, exact=True)).to_be_disabled()
    row(bob, "Keel").click(button="right")
    expect(bob.get_by_role("menuitem")).to_have_text(["Copy link"])
    bob.keyboard.press("Escape")
    fields = bob.get_by_role("complementary", name="Details").get_by_role("textbox")
    assert [field.is_editable() for field in fields.all()] == [False]

    cleo = open_page(guarded, f"/s/{session_id}", **signed_in(guarded, token("cleo")))
    saved(cleo)
    rename(cleo, "Keel", "Fin")
    expect(row(bob, "Fin")).to_have_class(MARKED)
    expect(row(bob, "Fin").get_by_role("img", name="cleo")).to_be_visible()
    assert ann.put(f"/sessions/{session_id}/members/cleo", {"role": "viewer"}).status_code < 300
    select(cleo, "Mast")
    tree(cleo).press("Enter")
    cleo.locator(".name-input").fill("Mizzen")
    cleo.keyboard.press("Enter")
    expect(messages(cleo)).to_contain_text("Not done: Rename “Mast” to “Mizzen”")
    expect(messages(cleo)).to_contain_text("Ask an owner of the project to make you an editor.")
    expect(row(cleo, "Mast")).to_be_visible()
    expect(cleo.get_by_role("button", name="Undo", exact=True)).to_be_disabled()
    saved(cleo)
    saved(bob)
    assert rows(bob) == rows(cleo) == names(ann, session_id) == ["Hull", "  Fin", "  Frames", "Mast", "Sails"]
    assert kept(ann, session_id) == [1, 2]
