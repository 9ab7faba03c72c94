"""One campaign: a server, a network, clients and a nemesis; then everything they wrote is checked."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos import checker, history
from chaos.calls import CALL_S
from chaos.clients import Process
from chaos.history import JsonObject
from chaos.nemesis import KINDS, Nemesis, Stage
from chaos.proxy import Proxy
from chaos.report import Tally
from chaos.server import Disk, Subject, talus
from tests.support.faults import Faults

CLIENTS = (
    "raw-websocket",
    "raw-polling",
    "python",
    "node",
    "raw-websocket",
    "raw-polling",
    "python-polling",
    "node-polling",
)
HELD = "held.json"  # in a campaign's folder: `Subject.held`
REST_S = 30.0  # for all clients to come to rest, and to hold the last version
LEAST = 0.2  # of the commands that were meant to be, below which the campaign proves nothing


@dataclass
class Plan:
    """What a campaign is to be.

    seconds:  of faults; more, until each kind has been.
    rate:     commands a second of all clients together, about.
    only:     kinds of faults; empty: all.
    guard:    of broken.py, that is switched off.
    program:  how a process of this program is begun.
    """

    seed: int
    seconds: float
    rate: float
    quick: bool
    only: list[str]
    guard: str | None
    program: list[str]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(plan: Plan, folder: Path, wrong: list[str]) -> None:
    """A whole campaign, whose records stay in `folder`. wrong: gets what was wrong besides what they tell."""
    dice = random.Random(plan.seed)
    disk = Disk(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(disk.close)
        faults = Faults(folder)
        server = Subject(folder, disk.folder / "talus.db", faults.env(), plan.guard)
        stack.callback(server.finish)
        server.begin()
        proxy = Proxy(plan.program, server.port, dice.getrandbits(32), folder / "proxy.log")
        stack.callback(proxy.close)
        # One session that is made, and others that come into being because clients agree on a name.
        sessions = [server.new_session(name="chaos")] + [f"chaos-{n}" for n in range(1 if plan.quick else 2)]
        clients = []
        for number, kind in enumerate(CLIENTS):
            name = f"c{number}-{kind}"
            session_id = sessions[number % len(sessions)]
            words = [
                str(folder),
                proxy.url,
                name,
                kind,
                session_id,
                dice.getrandbits(32),
                plan.rate / len(CLIENTS),
                number == 0,
            ]
            clients.append(Process(plan.program, folder, name, words))
            stack.callback(clients[-1].kill)
        stage = Stage(folder, server, proxy, clients, sessions, faults, disk, plan.quick)
        nemesis = Nemesis(stage, dice, wrong)
        _rage(plan, nemesis, dice)
        wrong += _come_to_rest(server, clients, sessions)
        ends = [_asked(server, session_id) for session_id in sessions]
        code = server.end(killed=False)
        if code != 0:
            wrong.append(f"SIGTERM at the end: exit code {code}")
        server.finish()
        book = history.Book(folder / "campaign.jsonl")
        for end in ends:
            book.write(_with_rows(end, server.database))
        (folder / HELD).write_text(json.dumps(server.held))
        verified = talus("verify", str(server.database))
        if verified.returncode != 0:
            wrong.append(f"talus verify at the end: {verified.stdout}{verified.stderr}")
        if "Traceback" in server.log():
            wrong.append(f"a traceback in the server's log: {_excerpt(server.log())}")
        left_out = set(plan.only or KINDS) - set(nemesis.done)
        if left_out:
            wrong.append(f"faults that did not take place: {', '.join(sorted(left_out))}")


def _rage(plan: Plan, nemesis: Nemesis, dice: random.Random) -> None:
    """Fault after fault, each kind once before any comes again, until the time is up and all have been."""
    nemesis.probe("the beginning", time.monotonic())
    until_s = time.monotonic() + plan.seconds
    kinds = plan.only or list(KINDS)
    for turn in itertools.count():
        for kind in dice.sample(kinds, len(kinds)):
            if turn and time.monotonic() > until_s:
                return
            time.sleep(dice.uniform(0.5, 1.0) if plan.quick else dice.uniform(2.0, 4.0))
            say(f"{until_s - time.monotonic():6.1f} s left: {kind}")
            nemesis.strike(kind)


def _come_to_rest(server: Subject, clients: list[Process], sessions: list[str]) -> list[str]:
    """Nobody commands any more, and everybody holds the last version; what was wrong with the clients."""
    wrong: list[str] = []

    def ask_all(*words: Any) -> Iterator[tuple[Process, JsonObject | None]]:
        until_s = time.monotonic() + REST_S
        for client in clients:
            client.order(*words)
        for client in clients:
            yield client, client.answer(until_s)

    for client, said in ask_all("rest"):
        if said is None:
            wrong.append(f"{client.name} does not come to rest; its exit code is {client.process.poll()}")
    versions = {session_id: server.graph(session_id)["version"] for session_id in sessions}
    for client, said in ask_all("hold", versions):
        if said is None:
            wrong.append(f"{client.name} does not say what it holds")
            continue
        wrong += [f"{client.name}: {fault}" for fault in said["faults"]]
    for client in clients:
        code = client.end()
        if code != 0:
            wrong.append(f"{client.name} ended with {code}: {_excerpt(client.log.read_text())}")
    return wrong


def _asked(server: Subject, session_id: str) -> history.Ends:
    """A session as the server tells it, over REST; the rows are still to come."""
    graph = server.graph(session_id)
    facts: dict[int, list[JsonObject]] = {}
    for fact in server.events(session_id):
        facts.setdefault(fact["version"], []).append(fact)
    journal = [
        {
            "version": commit["version"],
            "command_id": commit["command_id"],
            "command_type": commit["command_type"],
            "target": commit.get("target"),
            "actor": commit["actor"],
            "events": facts.pop(commit["version"], []),
        }
        for commit in reversed(server.history(session_id))
    ]
    return history.Ends(
        at_s=time.monotonic(),
        client="campaign",
        session_id=session_id,
        epoch=graph["epoch"],
        version=graph["version"],
        journal=journal,
        graph=graph["roots"],
        rows=[],
    )


def _with_rows(end: history.Ends, database: Path) -> history.Ends:
    """The same, with the tree as its rows in the file say it."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reading:
        rows = reading.execute(
            "SELECT n.id, n.type, n.parent_id, n.properties FROM node n JOIN session s ON s.no = n.session_no"
            " WHERE s.id = ? ORDER BY n.key",
            (end.session_id,),
        ).fetchall()
    nodes: dict[str, JsonObject] = {}
    for node_id, type_, parent_id, text in rows:
        properties = json.loads(text)
        nodes[node_id] = {
            "id": node_id,
            "blueprint_type_id": type_,
            "parent_id": parent_id,
            "name": properties.get("name", ""),
            "properties": properties,
            "children": [],
        }
    for node in nodes.values():
        parent = nodes.get(node["parent_id"])
        (end.rows if parent is None else parent["children"]).append(
            node
        )  # whose parent is lost shows at the top
    return end


def _excerpt(log: str) -> str:
    """The first traceback, or the end."""
    at = log.find("Traceback")
    return log[at : at + 1500] if at >= 0 else log[-500:]


def verdict(folder: Path, least_ok: float = 0.0) -> tuple[list[str], JsonObject]:
    """What the records in `folder` prove: violations, and figures.

    least_ok: commands that have to have succeeded, so that it proves anything.
    """
    tally = Tally()
    names = [path.stem for path in folder.glob("c*-*.jsonl")]
    found = checker.check(tally.through(history.read(folder)), clients=names)
    violations = list(found.violations)
    for at_s, until_s in tally.locked:
        if not any(at_s < busy_s < until_s + CALL_S for busy_s in tally.busy_s):
            violations.append(f"the database was locked for {until_s - at_s:.1f} s, and nobody heard BUSY")
    for name in names:
        if tally.ok[name] < least_ok / len(names):
            violations.append(
                f"{name}: {tally.ok[name]} commands succeeded, which is too few to prove anything"
            )
    held = json.loads((folder / HELD).read_text()) if (folder / HELD).exists() else []
    return violations, {**found.figures, **tally.figures(held), "rules broken": found.counts}
