"""The way in: the start page, tokens, sharing, and links that lead to a project or into it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, Route, expect
from steps import names, outline, project, row, saved, select, tree

from tests.support.server import Server
from tests.support.tokens import OTHER_KEY, as_user, check_log, jwt_settings, talus, token

START = "/"
SIGNED_IN = ".who"


def listed(page: Page) -> list[str]:
    """The names of the projects that the start page lists, in order."""
    return page.locator(".project-name").all_inner_texts()


def look_again(page: Page) -> None:
    """What the window's manager does when somebody comes back to this window."""
    page.evaluate("dispatchEvent(new Event('focus'))")


def sign_in(page: Page, text: str, *, stay: bool = False) -> None:
    page.get_by_label("Token", exact=True).fill(text)
    page.get_by_label("Stay signed in on this device").set_checked(stay)
    page.get_by_role("button", name="Sign in").click()


def test_the_first_minute_leads_from_an_empty_server_to_a_first_node(server: Server, open_page) -> None:
    """Given an empty server, when a newcomer follows the start page, then each step says what to do next."""
    page = open_page(server, name=None)
    expect(page.get_by_role("heading", name="Plan one project together, live")).to_be_visible()
    expect(page.get_by_text("There is no project yet. Give the first one a name above")).to_be_visible()
    expect(page.get_by_role("radio")).to_have_count(4)
    expect(page.get_by_role("radio", name="Empty project")).to_be_checked()
    for words in ("A plain outline: anything may stand anywhere.", "Restore or restomod a car"):
        expect(page.get_by_text(words)).to_be_visible()

    title = page.get_by_label("Name", exact=True)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_have_text("Give the project a name first; it can be changed later.")
    expect(title).to_be_focused()
    expect(title).to_have_attribute("aria-invalid", "true")

    # Nobody who typed a name and went on without "Save" is asked for it again.
    page.get_by_label("Your name, as the others will see it").fill("Ada")
    title.fill("  1966 Bronco ")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_text("Vehicle restoration").click()
    page.get_by_role("button", name="Create").click()
    expect(page).to_have_title("1966 Bronco · talus")
    expect(page).to_have_url(re.compile(r"/s/[0-9a-f-]{36}"))
    expect(row(page, "1966 Bronco")).to_be_visible()
    assert page.evaluate("localStorage.getItem('talus.name')") == "Ada"

    # The keys work at once: nobody has to click into the tree first.
    expect(tree(page)).to_be_focused()
    page.keyboard.press("Shift+Insert")
    page.get_by_label("Name of the new node").fill("Teardown")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    saved(page)
    session_id = page.url.split("/s/")[1].split("?")[0]
    assert names(server, session_id) == ["1966 Bronco", "  Teardown"]
    assert server.history(session_id)[0]["actor"] == "Ada"


def test_an_empty_project_begins_with_a_button_or_with_what_is_pasted(server: Server, open_page) -> None:
    """Given an empty project, when a node is added or an outline pasted, then it stands in the tree."""
    page = open_page(server, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Name", exact=True).fill("Boat")
    page.keyboard.press("Enter")
    add = page.get_by_role("button", name="Add item")
    expect(add).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Name of the new node").fill("Hull")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(row(page, "Hull")).to_be_visible()
    saved(page)
    assert names(server, page.url.split("/s/")[1].split("?")[0]) == ["Hull"]

    session_id = server.new_session(name="Plan")
    page.goto(f"{server.url}/s/{session_id}")
    page.get_by_role("heading", name="Nothing here yet").click()  # so that nothing has the focus
    page.evaluate(
        "text => navigator.clipboard.writeText(text)", "- Hull\n  - Planks\n  - Caulk\n- [ ] Sails\n"
    )
    page.keyboard.press("Control+V")
    expect(row(page, "Sails")).to_be_visible()
    expect(tree(page)).to_be_focused()
    saved(page)
    assert names(server, session_id) == ["Hull", "  Planks", "  Caulk", "Sails"]
    assert len(server.history(session_id)) == 1


def test_the_list_tells_what_is_there_who_is_here_and_when(server: Server, open_page) -> None:
    """Given projects, when the start page is looked at, then each has a name, who is here and when."""
    nameless = server.new_session()
    server.create(nameless, name="x")
    boat, _ = project(server, "workshop-build", "Boat")
    page = open_page(server)
    expect(page.locator(".project-link")).to_have_count(2)
    assert listed(page) == ["Boat", nameless]
    # Who has projects sees them first; the templates come with the wish for a new one.
    expect(page.get_by_role("radio")).to_have_count(0)
    page.get_by_label("Name", exact=True).click()
    expect(page.get_by_role("radio")).to_have_count(4)
    expect(page.locator(".project-link .when")).to_have_text(["just now", "just now"])
    expect(page.locator(".here")).to_have_count(0)

    bob, cy = (open_page(server, f"/s/{boat}", name=name) for name in ("Bob", "Cy"))
    for each in (bob, cy):
        expect(row(each, "Boat")).to_be_visible()
    look_again(page)
    expect(page.locator(".here")).to_have_text(["2 here"])
    page.get_by_role("link", name="Boat").click()
    expect(bob.get_by_role("list", name="Who is here").get_by_role("button", name="Ada")).to_be_visible()
    page.go_back()
    expect(page.locator(".here")).to_have_text(["2 here"])
    expect(page).to_have_title("talus")


def test_more_than_a_page_of_projects_is_shown_on_demand(server: Server, open_page) -> None:
    """Given 53 projects, when more are asked for, then all are listed, the latest first, and stay so."""
    for number in range(53):
        server.new_session(name=f"Project {number:02}")
    page = open_page(server)
    expect(page.locator(".project-link")).to_have_count(50)
    first = listed(page)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".project-link")).to_have_count(53)
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    assert listed(page)[:50] == first
    assert sorted(listed(page)) == [f"Project {number:02}" for number in range(53)]

    server.new_session(name="Project 53")
    look_again(page)
    expect(page.get_by_role("link", name="Project 53")).to_be_visible()
    expect(page.locator(".project-link")).to_have_count(54)


def test_a_server_that_is_gone_is_told_with_a_way_on(server: Server, open_page) -> None:
    """Given a server that ends, when something is asked of it, then the page says what to do, and goes on."""
    gone = re.compile("The server cannot be reached. Check that the server runs")
    page = open_page("about:blank", "", name=None)
    page.route("**/api/v1/**", lambda route: route.abort())
    page.goto(server.url)
    expect(page.get_by_role("alert")).to_contain_text(gone)
    expect(page.get_by_role("radio")).to_have_count(1)
    expect(page.get_by_text("There is no project yet")).to_have_count(0)
    page.unroute("**/api/v1/**")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_role("radio")).to_have_count(4)
    expect(page.get_by_text("There is no project yet")).to_be_visible()

    port = server.port
    server.kill()
    page.get_by_label("Name", exact=True).fill("Boat")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#project-wrong")).to_contain_text(gone)
    server.start(port)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_label("Your name, as the others will see it").fill("Ada")
    page.keyboard.press("Enter")
    expect(page).to_have_title("Boat · talus")


def test_colours_follow_the_system_or_what_was_chosen_here(server: Server, open_page) -> None:
    """Given a dark system, when colours are chosen, then the page has them, also after a reload."""
    page = open_page(server, color_scheme="dark")

    def light() -> bool:
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/)[0]")
        return float(red) > 128 or red == "1"

    theme = page.locator("html")
    button = page.get_by_role("button", name=re.compile("^Colours: "))
    expect(theme).to_have_attribute("data-theme", "dark")
    assert not light()
    page.emulate_media(color_scheme="light")
    expect(theme).to_have_attribute("data-theme", "light")
    assert light()

    page.emulate_media(color_scheme="dark")
    expect(theme).to_have_attribute("data-theme", "dark")
    button.click()
    expect(button).to_have_accessible_name("Colours: light. Change to: dark")
    expect(theme).to_have_attribute("data-theme", "light")
    page.reload()
    expect(theme).to_have_attribute("data-theme", "light")
    assert light()
    button.click()
    page.emulate_media(color_scheme="light")
    page.reload()
    expect(theme).to_have_attribute("data-theme", "dark")
    button.click()
    expect(button).to_have_accessible_name("Colours: as the system. Change to: light")
    expect(theme).to_have_attribute("data-theme", "light")


def test_a_person_takes_another_name(server: Server, open_page) -> None:
    """Given a name, when it is changed on the start page, then the others see the new one."""
    session_id, _ = project(server)
    bob = open_page(server, f"/s/{session_id}", name="Bob")
    page = open_page(server, name="Ada")
    page.get_by_role("button", name="Ada").click()
    field = page.get_by_label("Your name, as the others will see it")
    expect(field).to_have_value("Ada")
    field.fill("   ")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Type at least one letter.")).to_be_visible()
    field.fill(" Ada Lovelace ")
    page.keyboard.press("Enter")
    expect(field).to_have_count(0)
    expect(page.get_by_role("button", name="Ada Lovelace")).to_be_visible()
    page.reload()
    page.get_by_role("link", name="1966 Bronco").click()
    expect(
        bob.get_by_role("list", name="Who is here").get_by_role("button", name="Ada Lovelace")
    ).to_be_visible()


def test_a_project_is_shared_by_its_link_and_deleted_after_a_question(server: Server, open_page) -> None:
    """Given a project, when its link is copied, then it opens; when deleted, then it is gone for both."""
    session_id, root = project(server)
    page = open_page(server, f"/s/{session_id}?q=bronco", permissions=["clipboard-read", "clipboard-write"])
    expect(row(page, "1966 Bronco")).to_be_visible()
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog", name="Share this project")
    expect(dialog.get_by_label("Whoever opens this link works in the project with you")).to_have_value(
        f"{server.url}/s/{session_id}"
    )
    expect(dialog.get_by_text("This link works on this computer.")).to_be_visible()
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    bob = open_page(link, "", name="Bob")
    expect(row(bob, "1966 Bronco")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.get_by_role("button", name="Share").click()
    dialog.get_by_role("button", name="Delete this project").click()
    expect(dialog.get_by_text("There is no undo.")).to_be_visible()
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog.get_by_text("There is no undo.")).to_have_count(0)
    assert server.ask(f"/sessions/{session_id}/info")["project_id"]
    dialog.get_by_role("button", name="Delete this project").click()
    dialog.get_by_role("button", name="Delete it for ever").click()
    expect(page.get_by_text("There is no project yet")).to_be_visible()
    expect(page).to_have_url(f"{server.url}/")
    expect(bob.get_by_text("This project was deleted.")).to_be_visible()
    bob.get_by_role("link", name="All projects").click()
    expect(bob.get_by_text("There is no project yet")).to_be_visible()
    assert root not in str(server.get("/sessions").json())


def test_a_link_leads_to_its_node_however_deep_it_is(server: Server, open_page) -> None:
    """Given a large project, when a link names a node, then it is selected, its parents open, and in view."""
    session_id, root = project(server)
    lines = [
        line
        for phase in range(30)
        for line in (f"Phase {phase}", *(f"  Job {phase}.{job}" for job in range(10)), f"    Task {phase}")
    ]
    ids = outline(server, session_id, root, "\n".join(lines), {0: "phase", 1: "job", 2: "task"})
    page = open_page(server, f"/s/{session_id}?node={ids['Task 25']}")
    expect(row(page, "Task 25")).to_be_in_viewport()
    expect(row(page, "Task 25")).to_have_attribute("aria-selected", "true")
    expect(row(page, "Job 25.9")).to_have_attribute("aria-expanded", "true")
    expect(page).to_have_url(f"{server.url}/s/{session_id}?node={ids['Task 25']}")

    # The address follows what is selected, so that it is a link to it at any time.
    select(page, "Job 25.8")
    expect(page).to_have_url(f"{server.url}/s/{session_id}?node={ids['Job 25.8']}")
    page.reload()
    expect(row(page, "Job 25.8")).to_have_attribute("aria-selected", "true")
    expect(row(page, "Job 25.8")).to_be_in_viewport()

    server.execute(session_id, "DeleteNode", {"node_id": ids["Task 25"]})
    page.goto(f"{server.url}/s/{session_id}?node={ids['Task 25']}")
    expect(page.get_by_text("The link leads to a node that is gone")).to_be_visible()
    expect(page.get_by_text("the history shows when, and can undo that")).to_be_visible()
    expect(row(page, "1966 Bronco")).to_have_attribute("aria-selected", "true")


def test_nothing_can_be_added_before_the_project_has_come(server: Server, open_page) -> None:
    """Given a slow network, when a project is on its way, then the page says so and offers no edits yet."""
    session_id, _ = project(server)
    held: list[Route] = []
    page = open_page("about:blank", "", name=None)
    page.route("**/api/v1/graph?*", lambda route: held.append(route))
    page.add_init_script("localStorage.setItem('talus.name', 'Ada')")
    with page.expect_request("**/api/v1/graph?*"):
        page.goto(f"{server.url}/s/{session_id}")
    expect(page.get_by_text("Opening the project")).to_be_visible()
    expect(page.locator(".status-word")).to_have_text("connecting")
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    expect(page.get_by_role("button", name="Add")).to_have_count(0)
    held[0].continue_()
    expect(row(page, "1966 Bronco")).to_be_visible()
    expect(page.get_by_role("button", name="Add")).to_be_visible()


def test_a_link_to_no_project_says_what_to_do(server: Server, open_page) -> None:
    """Given ids that name no project, when they are opened, then the page says so and leads on."""
    deleted = server.new_session(name="Old")
    server.delete(f"/sessions/{deleted}")
    page = open_page(server, f"/s/{deleted}")
    for path in (deleted, "no%20such%20project", "100%"):
        page.goto(f"{server.url}/s/{path}")
        expect(page.get_by_role("heading", name="This project cannot be shown")).to_be_visible()
        expect(page.get_by_text("Session not found. Check the link, or ask whoever sent it")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="This project cannot be shown")).to_be_visible()
    page.get_by_role("link", name="All projects").click()
    expect(page.get_by_role("heading", name="New project")).to_be_visible()

    # Without tokens any other id opens a new project: whoever expected one is told.
    page.goto(f"{server.url}/s/bronco-65")
    expect(
        page.get_by_text("This project is new. If you expected another one, check the link.")
    ).to_be_visible()
    page.goto(f"{server.url}/s/{server.new_session(name='Named')}")
    expect(page.get_by_role("heading", name="Nothing here yet")).to_be_visible()
    expect(page.get_by_text("check the link")).to_have_count(0)


def test_many_rows_passed_in_a_moment_are_few_changes_of_the_address(server: Server, open_page) -> None:
    """Given a long tree, when an arrow is held down, then the address is written seldom, and rightly.

    Safari takes 100 changes in 30 seconds, and throws at the next one.
    """
    session_id, root = project(server)
    ids = outline(server, session_id, root, "\n".join(f"Phase {number}" for number in range(150)), "phase")
    page = open_page(server, f"/s/{session_id}")
    expect(row(page, "Phase 0")).to_be_visible()
    page.evaluate(
        "() => { const real = history.replaceState.bind(history); window.written = 0;"
        "history.replaceState = (...all) => { window.written++; real(...all); } }"
    )
    page.evaluate(
        "() => { const tree = document.querySelector('[role=tree]');"
        "for (let at = 0; at < 120; at++) tree.dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true })) }"
    )
    expect(row(page, "Phase 119")).to_have_attribute("aria-selected", "true")
    expect(page).to_have_url(f"{server.url}/s/{session_id}?node={ids['Phase 119']}")
    assert 1 <= page.evaluate("window.written") <= 5


def test_a_token_is_asked_for_and_never_stands_in_an_address(
    start_server: Callable[..., Server], tmp_path: Path, open_page
) -> None:
    """Given a server with tokens, when one signs in, then a wrong token is explained, a right one taken."""
    server = start_server(env=jwt_settings(tmp_path))
    session_id, _ = project(as_user(server, "ann"))
    page = open_page(server, f"/s/{session_id}", name=None)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    page.on("framenavigated", lambda frame: addresses.append(frame.url))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_text("This server asks who you are.")).to_be_visible()
    expect(page.get_by_label("Token", exact=True)).to_be_focused()

    bad, old = token(key=OTHER_KEY), token(lasts=60, iat=1, exp=61)
    for shown, words in (
        ("rubbish", "This is not a token. Paste the whole of what you were given"),
        (bad, "The server does not take this token. Ask an administrator"),
        (old, "This token has expired. Ask an administrator for a new one"),
    ):
        sign_in(page, shown)
        expect(page.get_by_role("alert")).to_contain_text(words)
        expect(page.get_by_label("Token", exact=True)).to_have_value(shown)

    made = talus(
        "token",
        "--user",
        "ann",
        "--days",
        "1",
        TALUS_JWT_SECRET_FILE=str(tmp_path / "key"),
        TALUS_DATABASE=str(server.database),
    ).stdout.strip()
    sign_in(page, f'"{made[:40]}\n{made[40:]}"\n')  # as a terminal breaks it
    expect(row(page, "1966 Bronco")).to_be_visible()
    page.reload()
    expect(row(page, "1966 Bronco")).to_be_visible()
    stored = "[localStorage, sessionStorage].map(each => each.getItem('talus.token'))"
    assert page.evaluate(stored) == [None, made]

    page.get_by_role("link", name="All projects").click()
    expect(page.locator(SIGNED_IN)).to_contain_text("ann")
    expect(page.get_by_role("link", name="1966 Bronco")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate(stored) == [None, None]
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(row(page, "1966 Bronco")).to_have_count(0)

    sign_in(page, made, stay=True)
    expect(row(page, "1966 Bronco")).to_be_visible()
    assert page.evaluate(stored) == [made, None]
    other = page.context.new_page()
    other.goto(f"{server.url}/s/{session_id}")
    expect(row(other, "1966 Bronco")).to_be_visible()
    assert addresses
    for secret in (made, bad, old):
        assert not [address for address in addresses if secret[:30] in address or secret[-20:] in address]
    check_log(server.log())


def test_a_token_that_ended_makes_room_for_the_next(
    start_server: Callable[..., Server], tmp_path: Path, open_page
) -> None:
    """Given a kept token that ended, when somebody else signs in for this tab, then a reload finds theirs."""
    server = start_server(env=jwt_settings(tmp_path))
    page = open_page(server, name=None)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.evaluate("text => localStorage.setItem('talus.token', text)", token("ann", lasts=60, iat=1, exp=61))
    page.reload()
    expect(page.get_by_text("Your token has expired or was withdrawn.")).to_be_visible()
    sign_in(page, token("bob"))
    expect(page.locator(SIGNED_IN)).to_contain_text("bob")
    page.reload()
    expect(page.locator(SIGNED_IN)).to_contain_text("bob")


def test_owners_say_who_works_in_a_project(
    start_server: Callable[..., Server], tmp_path: Path, open_page
) -> None:
    """Given tokens, when an owner adds, changes and removes a member, then that one may do just that."""
    server = start_server(env=jwt_settings(tmp_path))
    session_id, _ = project(as_user(server, "ann"))
    ann, bob = (open_page(server, f"/s/{session_id}", name=None) for _ in range(2))
    sign_in(ann, token("ann"))
    sign_in(bob, token("bob"))
    expect(bob.get_by_text("Session not found.")).to_be_visible()

    ann.get_by_role("button", name="Share").click()
    dialog = ann.get_by_role("dialog", name="Share this project")
    expect(
        dialog.get_by_label("Whoever opens this link and is a member works in the project with you")
    ).to_be_visible()
    expect(dialog.locator(".member-name")).to_have_text(["ann (you)"])
    mine = dialog.get_by_label("Role of ann")
    mine.select_option("Viewer")
    expect(dialog.get_by_role("alert")).to_contain_text("Make somebody else an owner first.")
    expect(mine).to_have_value("owner")

    dialog.get_by_label("Name of a new member").fill("bob")
    dialog.get_by_label("Role of the new member").select_option("Viewer")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("alert")).to_have_count(0)
    his = dialog.get_by_label("Role of bob")
    expect(his).to_have_value("viewer")
    expect(dialog.get_by_label("Name of a new member")).to_have_value("")
    bob.get_by_role("button", name="Try again").click()
    expect(row(bob, "1966 Bronco")).to_be_visible()
    expect(bob.get_by_role("button", name="Add")).to_have_count(0)
    expect(bob.get_by_role("button", name="Undo")).to_be_disabled()
    bob.get_by_role("button", name="Share").click()
    read_only = bob.get_by_role("dialog", name="Share this project")
    expect(read_only.get_by_label("Role of ann")).to_be_disabled()
    expect(read_only.get_by_role("button", name="Delete this project")).to_have_count(0)
    expect(read_only.get_by_label("Name of a new member")).to_have_count(0)

    his.select_option("Editor")
    expect(his).to_have_value("editor")
    bob.reload()
    bob.get_by_role("button", name="Add").click()
    bob.get_by_label("Name of the new node").fill("Teardown")
    bob.keyboard.press("Enter")
    expect(row(ann, "Teardown")).to_have_count(1)
    members = as_user(server, "ann").ask(f"/sessions/{session_id}/members")["members"]
    assert sorted((each["user"], each["role"]) for each in members) == [("ann", "owner"), ("bob", "editor")]

    dialog.get_by_role("button", name="Remove bob").click()
    expect(dialog.locator(".member-name")).to_have_text(["ann (you)"])
    expect(bob.get_by_role("heading", name="This project cannot be shown")).to_be_visible()
    expect(row(bob, "1966 Bronco")).to_have_count(0)
