"""From an empty server to a tree that two people share."""

from __future__ import annotations

from playwright.sync_api import expect
from steps import names, row, saved, tree

from tests.support.server import Server


def test_a_newcomer_comes_to_a_tree_that_two_people_share(server: Server, open_page) -> None:
    """Given a new server, when somebody names a project and sends its link, then two see one tree."""
    ada = open_page(server, name=None)
    ada.get_by_label("Your name, as the others will see it").fill("Ada")
    ada.get_by_role("button", name="Save").click()
    ada.get_by_label("Name", exact=True).fill("Boat")
    ada.get_by_text("Workshop build").click()
    ada.get_by_role("button", name="Create").click()
    expect(row(ada, "Boat")).to_be_visible()
    saved(ada)

    bob = open_page(ada.url, "", name=None)
    bob.get_by_label("Your name, as the others will see it").fill("Bob")
    bob.get_by_role("button", name="Open the project").click()
    expect(row(bob, "Boat")).to_be_visible()
    expect(ada.get_by_role("list", name="Who is here").get_by_role("button", name="Bob")).to_be_visible()

    tree(bob).press("Shift+Insert")
    bob.get_by_label("Name of the new node").fill("Hull")
    bob.keyboard.press("Enter")
    expect(row(ada, "Hull")).to_be_visible()
    bob.keyboard.press("Escape")
    saved(bob)
    session_id = ada.url.split("/s/")[1].split("?")[0]
    assert names(server, session_id) == ["Boat", "  Hull"]
