"""What is measured. Each function is one repetition of a measurement, and yields its rows.

Servers take turns within a repetition, each freshly started, so that whatever
slows the machine for a while slows them all.
"""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import (
    BenchError,
    Json,
    address_of,
    asked,
    handshake,
    new_socket,
    node_id,
    now_us,
    opened,
    received,
    rest,
)
from bench.room import Lost, Role, Room
from bench.servers import Server, status_kb

PEERS = ("talus", "plain", "node")
ROOMS = (1, 10, 100, 1_000)  # watchers
POLLING = (10, 100)
POLLING_S = 2.0  # at most: talus acknowledges far more than its polling clients take meanwhile
RATES = ((1_000, 50), (100, 200))  # watchers, commands/s
STALLED = (0, 1, 0, 20)  # clients that never read, among 100 watchers at 200 commands/s
FLOOD_S = 5.0  # at most: after 10 s of stillness they are cut
IDLE = {"websocket": 1_000, "polling": 500}  # clients whose memory is measured
GRAPHS = (10, 100, 1_000, 10_000, 100_000)  # nodes
REPEATED = 5  # times that the same graph is asked for
ALONE_S = 0.5  # of pings alone
MISSED = 5_000  # commits of two facts each
RETURNING = 1_000  # clients
SUBTREE = 50_000  # nodes
OLD_NODES = 10_000
OLD_VERSIONS = 20  # that are asked for
QUICK = 40_000  # commands times watchers


@dataclass(frozen=True)
class Plan:
    servers: list[tuple[str, Path]]  # kind and checkout
    seconds: float  # of writing in each measurement
    versions: int  # of the long history in `reads`
    processes: int  # that watchers are spread over

    def each(self, *kinds: str) -> Iterator[Server]:
        """Those of the servers, started in turn."""
        for kind, checkout in self.servers:
            if kind in kinds:
                with Server(kind, checkout) as server:
                    yield server


def in_flight(watchers: int) -> int:
    """Commands of each of the 8 writers that are not answered: 64 together, in a large room 256."""
    return 32 if watchers >= 1_000 else 8


@contextmanager
def role(*words: Any) -> Iterator[Role]:
    """A process of its own that is ready, until the block ends."""
    process = Role(*words)
    try:
        process.line()
        yield process
    finally:
        process.end()


def rooms(plan: Plan) -> Iterator[Json]:
    for watchers in ROOMS:
        for server in plan.each(*PEERS, "limit"):
            with Room(server, watchers, processes=plan.processes) as room:
                room.warm_up()
                if server.kind == "limit":
                    for name, together in {"1": 1, "10": 10, "all": 8 * in_flight(watchers)}.items():
                        told = room.write(seconds=plan.seconds, together=together)
                        yield {"server": f"limit, {name}", **told}
                else:
                    told = room.write(seconds=plan.seconds, in_flight=in_flight(watchers))
                    yield {"server": server.title, **told}


def polling(plan: Plan) -> Iterator[Json]:
    for watchers in POLLING:
        for server in plan.each(*PEERS):
            try:
                with Room(server, watchers, polling=True, processes=plan.processes) as room:
                    room.warm_up()
                    yield {"server": server.title, **room.write(seconds=min(plan.seconds, POLLING_S))}
            except BenchError as error:
                if server.kind == "talus":
                    raise
                yield {"server": server.title, "watchers": watchers, "lost": str(error)}


def rates(plan: Plan) -> Iterator[Json]:
    for watchers, rate in RATES:
        for server in plan.each(*PEERS):
            with Room(server, watchers, all_measure=True, processes=plan.processes) as room:
                room.warm_up()
                yield {"server": server.title, "rate": rate, **room.write(seconds=plan.seconds, rate=rate)}


def answers(plan: Plan) -> Iterator[Json]:
    """REST, with four writers that each wait for their answer."""
    for server in plan.each(*PEERS):
        with Room(server, 10) as room:
            room.warm_up()
            told = room.write(seconds=plan.seconds, transport="rest", writers=4, in_flight=1)
            yield {"server": server.title, **told}


def stalled(plan: Plan) -> Iterator[Json]:
    for clients in STALLED:
        for server in plan.each("talus"):
            with (
                Room(server, 100, all_measure=True, processes=plan.processes) as room,
                role("stall", server.url, room.join(), clients),
            ):
                room.warm_up()
                told = room.write(seconds=plan.seconds, rate=200)
            with (
                Room(server, 100, processes=plan.processes) as room,
                role("stall", server.url, room.join(), clients),
            ):
                server.quiet()
                before_kb = status_kb(server.pid, "VmRSS")
                flood = room.write(seconds=min(plan.seconds, FLOOD_S))
                yield {
                    "server": server.title,
                    "stalled": clients,
                    **told,
                    "flood_commands_per_s": flood["commands_per_s"],
                    "flood_bytes": flood["bytes_per_command"] * flood["commands"],
                    "flood_growth_kb": status_kb(server.pid, "VmHWM") - before_kb,
                }


def memory(plan: Plan) -> Iterator[Json]:
    for transport, clients in IDLE.items():
        for server in plan.each(*PEERS):
            server.quiet()
            empty_kb = status_kb(server.pid, "VmRSS")
            with Room(server, clients, polling=transport == "polling"):
                full_kb = status_kb(server.pid, "VmRSS")
            yield {
                "server": server.title,
                "transport": transport,
                "clients": clients,
                "empty_kb": empty_kb,
                "client_kb": round((full_kb - empty_kb) / clients, 1),
            }


def graphs(plan: Plan) -> Iterator[Json]:
    for nodes in GRAPHS:
        for server in plan.each("talus"):
            with Room(server, 10, nodes=nodes, processes=plan.processes) as room:
                path = f"/graph?session_id={room.session_id}"
                first_ms, (_, head, body) = timed(server, path)
                known = {"If-None-Match": next(head[name] for name in head if name.lower() == "etag")}
                again_ms = statistics.median(timed(server, path)[0] for _ in range(REPEATED))
                unchanged = [timed(server, path, known) for _ in range(REPEATED)]
                if any(answer[0] != 304 for _, answer in unchanged):
                    raise BenchError("GET /graph with its ETag was not answered 304")
                told = room.write(seconds=plan.seconds)
            server.stop()
            start_s = server.start()
            yield {
                "server": server.title,
                "nodes": nodes,
                "bytes": len(body),
                "first_ms": first_ms,
                "again_ms": again_ms,
                "unchanged_ms": statistics.median(took for took, _ in unchanged),
                "commands_per_s": told["commands_per_s"],
                "start_s": round(start_s, 3),
                "open_ms": timed(server, path)[0],
            }


def timed(
    server: Server, path: str, headers: dict[str, str] | None = None
) -> tuple[float, tuple[int, dict[str, str], bytes]]:
    """How many milliseconds a GET took, and its answer."""
    began = time.monotonic()
    answer = asked(server.url, "GET", path, headers=headers)
    return round((time.monotonic() - began) * 1e3, 2), answer


def reads(plan: Plan) -> Iterator[Json]:
    for measure in (_catch_up, _rejoin, _subtree, _versions):
        for server in plan.each("talus"):
            yield {"server": server.title, "what": measure.__name__.strip("_"), **measure(server, plan)}


def _catch_up(server: Server, plan: Plan) -> Json:
    """A client that missed 10,000 facts, while another one pings."""
    with Room(server, 0) as room:
        since = room.version
        room.write(commands=MISSED)
        server.quiet()
        with role("ping", server.url) as pinging:
            return _replay(room, since, pinging)


def _replay(room: Room, since: int, pinging: Role) -> Json:
    server, alone = room.server, _pings_alone(pinging)
    began = time.monotonic()
    with new_socket(server.url) as connection:
        _, frames, packets = opened(connection, handshake(server.url, room.join(since=since)))
        facts = list(packets)
        while len(facts) < 2 * MISSED:
            facts += frames.feed(received(connection))
        took_s = round(time.monotonic() - began, 3)
    for number, fact in enumerate(facts[: 2 * MISSED]):
        name = b"command:executed" if number % 2 else b"property-changed"
        version = b'"version":%d,' % (since + 1 + number // 2)
        if name not in fact or version not in fact or not fact.endswith(b'"replayed":true}]'):
            raise Lost(f"{server.title}: {fact!r} was replayed as fact {number} after version {since}")
    return {"facts": 2 * MISSED, "took_s": took_s, "ping_ms": pinging.ask(None), "ping_alone_ms": alone}


def _pings_alone(pinging: Role) -> Json:
    """What pings take when there is nothing else to do."""
    pinging.ask(None)
    time.sleep(ALONE_S)
    told: Json = pinging.ask(None)
    return told


def _rejoin(server: Server, plan: Plan) -> Json:
    """A thousand clients that come back after the server was killed."""
    with Room(server, 0) as room, role("crowd", server.url, room.join(), RETURNING) as returning:
        room.write(commands=100)
        with new_socket(server.url) as connection:
            epoch = opened(connection, handshake(server.url, room.join()))[0]["epoch"]
        server.stop(signal.SIGKILL)
        start_s = server.start(address_of(server.url)[1])
        told = returning.ask(room.join(since=room.version, epoch=epoch))
        if told["resume"] != ["current"] or told["versions"] != [room.version]:
            raise Lost(f"{server.title}: clients that came back were told {told}")
        return {"clients": RETURNING, "start_s": round(start_s, 3), "took_s": told["took_s"]}


def _subtree(server: Server, plan: Plan) -> Json:
    """50,000 nodes that go and come back, in a room of ten."""
    told: Json = {"nodes": SUBTREE}
    with (
        Room(server, 10, nodes=SUBTREE, single=False) as room,
        role("ping", server.url) as pinging,
    ):
        delete = {"command_type": "DeleteNode", "data": {"node_id": node_id(1)}}
        for name, path, call, counted in (
            ("delete", "/commands/execute", room.join(**delete), "node-deleted"),
            ("undo", f"/sessions/{room.session_id}/undo", {}, "node-created"),
        ):
            told["ping_alone_ms"] = _pings_alone(pinging)
            began_us = now_us()
            rest(server.url, "POST", path, call)
            answered_us = now_us()
            heard = room.hear(room.version + 1)
            if heard["events"][counted] != SUBTREE * room.watchers:
                raise Lost(f"{server.title}: {heard['events']} of {SUBTREE} {counted} at {room.watchers}")
            told[f"{name}_s"] = round((answered_us - began_us) / 1e6, 3)
            told[f"{name}_heard_s"] = round((heard["heard_us"] - began_us) / 1e6, 3)
            told[f"{name}_ping_ms"] = pinging.ask(None)
    return told


def _versions(server: Server, plan: Plan) -> Json:
    """A long history: start-up, and any state of it."""
    with Room(server, 0, nodes=OLD_NODES) as room:
        made = room.write(commands=plan.versions, in_flight=64)
        server.stop()
        start_s = server.start()
        path = f"/graph?session_id={room.session_id}"
        open_ms = timed(server, path)[0]
        asked_for = [room.version * number // OLD_VERSIONS for number in range(1, OLD_VERSIONS + 1)]
        took_ms = [timed(server, f"{path}&version={version}")[0] for version in asked_for]
        return {
            "commits": plan.versions,
            "nodes": OLD_NODES,
            "made_per_s": made["commands_per_s"],
            "file_bytes": server.database.stat().st_size,
            "start_s": round(start_s, 3),
            "open_ms": open_ms,
            "version_ms": {"p50": statistics.median(took_ms), "max": max(took_ms)},
        }


def quick(plan: Plan) -> Iterator[Json]:
    """Loss and order only: as many events for each room."""
    for server in plan.each("talus"):
        for watchers in (10, 100):
            for transport in ("websocket", "polling"):
                with Room(server, watchers, polling=transport == "polling") as room:
                    told = room.write(commands=QUICK // watchers)
                    yield {"server": server.title, "transport": transport, **told}


MEASUREMENTS = {
    each.__name__: each for each in (rooms, polling, rates, answers, stalled, memory, graphs, reads)
}
