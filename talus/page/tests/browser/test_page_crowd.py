"""Ten people at once on one tree, each with a browser and a network that comes and goes."""

from __future__ import annotations

import os
import random
from typing import Any

from playwright.sync_api import Page, expect
from steps import outline, project, row, saved

from tests.support.server import Server

SEED = int(os.environ.get("TALUS_SEED") or random.SystemRandom().randrange(1 << 32))
PEOPLE = 10
EDITS = 12  # of each
TALL = {"width": 900, "height": 6_000}  # all rows are in the page

# One person at work: keys on the tree and in its fields, each as the browser would send it.
WORK = """([seed, name, edits]) => {
  let state = seed >>> 0;
  const dice = (sides) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
  const turn = () => new Promise((next) => setTimeout(next, dice(40)));
  const press = (element, key, held = {}) =>
    element.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...held }));
  const tree = () => document.querySelector('[role=tree]');
  const type = async (text) => {
    for (let wait = 0; wait < 50; wait++) {
      const input = document.querySelector('.name-input');
      if (input) {
        input.value = text;
        press(input, 'Enter');
        await turn();
        const next = document.querySelector('.draft .name-input');
        if (next) press(next, 'Escape');
        return;
      }
      await turn();
    }
  };
  const done = {};
  const work = async () => {
    for (let edit = 1; edit <= edits; edit++) {
      document.body.dataset.edits = `${document.body.dataset.edits ?? ''} ${edit}`;
      const what = ['add', 'add', 'inside', 'rename', 'rename', 'indent', 'outdent', 'up', 'down',
        'status', 'undo', 'undo', 'redo', 'delete'][dice(14)];
      done[what] = (done[what] ?? 0) + 1;
      // What has branches stays: a tree that somebody has emptied is no test for the others.
      const leaves = what === 'delete' ? ':not([aria-expanded])' : '';
      const rows = [...document.querySelectorAll(`.row[data-id]${leaves}`)];
      rows[dice(rows.length)]?.querySelector('.name')?.click();
      await turn();
      const key = {
        add: ['Insert'], inside: ['Insert', { shiftKey: true }], rename: ['Enter'], delete: ['Delete'],
        indent: ['Tab'], outdent: ['Tab', { shiftKey: true }],
        up: ['ArrowUp', { altKey: true }], down: ['ArrowDown', { altKey: true }],
        undo: ['z', { ctrlKey: true }], redo: ['z', { ctrlKey: true, shiftKey: true }],
        status: ['.', { ctrlKey: true }],
      }[what];
      // Somebody may have deleted it in this very moment: then nobody would press a key for it.
      if (!document.getElementById(tree().getAttribute('aria-activedescendant'))) continue;
      press(tree(), ...key);
      await turn();
      if (['add', 'inside', 'rename'].includes(what)) await type(`${name}, edit ${edit}`);
      if (what === 'status') {
        const options = [...document.querySelectorAll('[role=menuitemradio]')];
        const menu = document.querySelector('[role=menu]');
        if (options.length) options[dice(options.length)].click();
        else if (menu) press(menu, 'Escape');
      }
      await turn();
    }
    document.body.dataset.work = JSON.stringify(done);
  };
  void work();
}"""

SHOWN = """rows => rows
  .map(row => [row.getBoundingClientRect().top, Number(row.getAttribute('aria-level')), row.dataset.id,
    row.querySelector('.name')?.textContent, row.querySelector('.status-name')?.textContent ?? ''])
  .sort((a, b) => a[0] - b[0])
  .map(([, level, id, name, status]) => ['  '.repeat(level - 1), id, name, status].join(' '))"""


def shown(page: Page) -> list[str]:
    """Every row: its level, its node, its name and its status."""
    return page.locator(".row[data-id]").evaluate_all(SHOWN)


def expected(server: Server, session_id: str) -> list[str]:
    """What the server has, in the form of `shown`."""
    template = server.ask(f"/sessions/{session_id}/info")["template_id"]
    options = {
        option["uuid"]: option["name"]
        for node_type in server.ask(f"/templates/{template}/schema")["node_types"]
        for prop in node_type["properties"]
        if prop["id"] == "status"
        for option in prop["options"]
    }
    lines: list[str] = []

    def walk(nodes: list[dict[str, Any]], level: int) -> None:
        for node in nodes:
            status = options.get(node["properties"].get("status"), "")
            lines.append(f"{'  ' * level} {node['id']} {node['name'] or 'No name'} {status}")
            walk(node["children"], level + 1)

    walk(server.graph(session_id)["roots"], 0)
    return lines


def test_ten_people_who_come_and_go_end_with_the_same_tree(server: Server, open_page) -> None:
    """Given ten browsers on one tree, when all add, rename, move, delete, set and undo at the same time, some
    of them offline for a while, then all show in the end what the server has, and all of it is saved."""
    print(f"TALUS_SEED={SEED}")
    dice = random.Random(SEED)
    session_id, root = project(server)
    outline(
        server,
        session_id,
        root,
        "\n".join(f"Phase {number}\n  Job {number}a\n  Job {number}b" for number in range(5)),
        {0: "phase", 1: "job"},
    )
    pages = [
        open_page(server, f"/s/{session_id}", name=f"P{number}", viewport=TALL) for number in range(PEOPLE)
    ]
    disagreed: list[str] = []
    for page in pages:
        page.on(
            "console", lambda message: disagreed.append(message.text) if "Misfit" in message.text else None
        )
        saved(page)
        page.get_by_role("button", name="Details").click()  # the tree alone is enough
    for number, page in enumerate(pages):
        page.evaluate(WORK, [SEED + number, f"P{number}", EDITS])
    away = dice.sample(pages, 4)
    for page in away:
        page.context.set_offline(True)
        expect(page.locator(".status-word")).to_contain_text("offline")
    for page in away:
        edits = dice.randint(1, EDITS)
        page.locator(f'body[data-edits~="{edits}"]').wait_for()
        page.context.set_offline(False)
    for page in pages:
        expect(page.locator("body[data-work]")).to_have_count(1)
        saved(page)
    server.create(session_id, root, blueprint_type_id="phase", name="The end")
    there = expected(server, session_id)
    for page in pages:
        page.get_by_role("tree").press("*")  # every branch
        expect(row(page, "The end")).to_be_visible()
        saved(page)
        assert shown(page) == there
    assert not disagreed, "a fact did not fit: the page had to fetch the graph anew"
    history = server.history(session_id)
    assert [commit["version"] for commit in history] == list(range(len(history), 0, -1))
    assert len(history) > PEOPLE * EDITS // 3, "hardly anything was done"
    assert len({commit["actor"] for commit in history}) > PEOPLE // 2
    graph = server.check_converged(session_id)
    assert graph["version"] == len(history)
