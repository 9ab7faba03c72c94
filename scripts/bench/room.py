"""One session on a server, with watchers in it: what is written there, how fast, and whether all heard it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

from bench.client import BenchError, Json, node_id, rest
from bench.servers import HERE, Server, cpu_s, pipe, status_kb

NODES = 20  # that the writers change in turn
WIDTH = 10  # children of each node in a larger tree
BATCH = 5_000  # nodes in one command, well below 8 MiB
WARM_S = 0.5  # with one command in flight for each writer: Node compiles what is used often


class Lost(BenchError):
    """Somebody did not hear everything, once, in order."""


class Role:
    """A process of this program: a watcher of rooms, a writer."""

    def __init__(self, *role: Any) -> None:
        self._task = role[0]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE), "--role", json.dumps(role)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line that it prints."""
        line = pipe(self.process.stdout).readline()
        if not line:
            raise BenchError(f"a process failed that is to {self._task}")
        return line

    def ask(self, words: object) -> Any:
        """Tell it something; its answer."""
        with suppress(BrokenPipeError):
            pipe(self.process.stdin).write(f"{json.dumps(words)}\n")
            pipe(self.process.stdin).flush()
        return json.loads(self.line())

    def end(self) -> None:
        with suppress(BrokenPipeError):
            pipe(self.process.stdin).close()
        pipe(self.process.stdout).close()
        self.process.wait(30)


def percentiles(values_us: list[int]) -> Json:
    """In milliseconds; None of nothing."""
    if not values_us:
        return {"p50": None, "p99": None, "max": None}
    values = sorted(values_us)
    p99 = values[min(len(values) - 1, int(len(values) * 0.99))]
    return {
        "p50": round(statistics.median(values) / 1e3, 2),
        "p99": round(p99 / 1e3, 2),
        "max": round(values[-1] / 1e3, 2),
    }


def tree(url: str, session_id: str, nodes: int) -> int:
    """Build a tree of so many nodes below node 1; the session's version after that."""
    version = 0
    for first in range(1, nodes + 1, BATCH):
        entries = [
            {
                "command_type": "CreateNode",
                "data": {
                    "blueprint_type_id": "part",
                    "node_id": node_id(number),
                    "name": f"Part {number}",
                    "parent_id": None if number == 1 else node_id((number - 2) // WIDTH + 1),
                },
            }
            for number in range(first, min(first + BATCH, nodes + 1))
        ]
        batch = {"session_id": session_id, "command_type": "Batch", "data": {"commands": entries}}
        version = rest(url, "POST", "/commands/execute", batch)["version"]
    return version


class Room:
    """A new session of a server, and its watchers, until the block ends."""

    def __init__(
        self,
        server: Server,
        watchers: int,
        *,
        polling: bool = False,
        all_measure: bool = False,
        nodes: int = NODES,
        single: bool = True,
        processes: int = 1,
    ) -> None:
        """all_measure: how old events are, at each watcher; else at one. single: a command is one fact."""
        self.server = server
        self.watchers = watchers
        self.nodes = nodes
        self.session_id, self.version = "", 0
        self._bytes = 0  # that each watcher has heard
        if server.kind != "limit":
            self.session_id = rest(server.url, "POST", "/sessions", {"name": "bench"})["session_id"]
            self.version = tree(server.url, self.session_id, nodes)
        order = {
            "url": server.url,
            "join": {"session_id": self.session_id},
            "version": self.version,
            "polling": polling,
            "single": single,
        }
        self._roles = []
        for number in range(min(processes, watchers)):
            share = watchers // processes + (number < watchers % processes)
            measured = share if all_measure else int(number == 0)
            self._roles.append(Role("watch", order | {"clients": share, "measured": measured}))
        for role in self._roles:
            role.line()
        server.quiet()

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        for role in self._roles:
            role.end()

    def write(self, **order: Any) -> Json:
        """Let writers write, as `writers.write` takes it, wait until all have heard it, and tell.

        Raises Lost, and BenchError where a command was refused.
        """
        server, watching = self.server, [role.process.pid for role in self._roles]
        before = cpu_s(server.pid), sum(map(cpu_s, watching))
        if server.kind == "limit":
            told = server.ask([order["seconds"], order["together"]])
            commands, latencies, writers_cpu_s = told["commands"], [], None
        else:
            words = {"writers": 8, "in_flight": 8, "transport": "socket"} | order
            target = {"url": server.url, "session_id": self.session_id, "nodes": self.nodes}
            role = Role("write", words | target)
            told = json.loads(role.line())
            role.end()
            if told["errors"]:
                raise BenchError(
                    f"{server.title} refused {len(told['errors'])} commands: {told['errors'][0][:300]}"
                )
            latencies, writers_cpu_s = told["latencies_us"], round(told["cpu_s"], 2)
            commands = len(latencies)
        heard = self.hear(self.version + commands)
        facts = heard["events"]["property-changed"] + heard["events"]["command:executed"]
        losses = 3 * commands * self.watchers - facts - heard["events"]["command:executing"]
        if losses:
            raise Lost(
                f"{server.title}: {heard['events']} at {self.watchers} watchers of {commands} commands"
            )
        # until the last watcher has heard the last command
        took_s = (max(told["ended_us"], heard["heard_us"]) - told["began_us"]) / 1e6
        return {
            "watchers": self.watchers,
            "commands": commands,
            "took_s": round(took_s, 3),
            "commands_per_s": round(commands / took_s, 1),
            "facts_heard": facts,
            "losses": losses,
            "ack_ms": percentiles(latencies),
            # the limit sends what it had prepared before
            "event_ms": percentiles(heard["ages_us"] if latencies else []),
            "bytes_per_command": round(heard["bytes"] / max(1, commands)),
            "server_cpu_s": round(cpu_s(server.pid) - before[0], 2),
            "watchers_cpu_s": round(sum(map(cpu_s, watching)) - before[1], 2),
            "writers_cpu_s": writers_cpu_s,
            "rss_kb": status_kb(server.pid, "VmRSS"),
        }

    def warm_up(self) -> None:
        if self.server.kind != "limit":
            self.write(seconds=WARM_S, in_flight=1)

    def hear(self, version: int) -> Json:
        """Wait until all watchers have heard everything up to a version; what they tell. Raises Lost."""
        told = [role.ask(version) for role in self._roles]
        for number, each in enumerate(told):
            where = f"{self.server.title}, {self.watchers} watchers, process {number}"
            if each["faults"]:
                more = f" (and {len(each['faults']) - 1} more)" if len(each["faults"]) > 1 else ""
                raise Lost(f"{where}: {each['faults'][0]}{more}")
            if each["version"] != version:
                raise Lost(f"{where}: version {each['version']} of {version} was heard")
            if each["crc"] != told[0]["crc"]:
                raise Lost(f"{where} heard something else than process 0")
        self.version = version
        before, self._bytes = self._bytes, told[0]["bytes"] if told else 0
        events: Counter[str] = Counter()
        for each in told:
            events.update({name: count * each["whole"] for name, count in each["counts"].items()})
        return {
            "events": events,  # heard by all watchers together
            "bytes": self._bytes - before,
            "heard_us": max((each["heard_us"] for each in told), default=0),
            "ages_us": [age for each in told for age in each["ages_us"]],
        }

    def join(self, **more: Any) -> Json:
        """The payload of `join_session` for one more client."""
        return {"session_id": self.session_id, **more}
