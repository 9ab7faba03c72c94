"""What was measured, as JSON, as the tables of docs/performance.md, and as plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.client import Json
from bench.plots import bars, lines
from bench.servers import HERE, ROOT, node_binary
from talus import config

DOCUMENT = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "docs" / "performance" / "results.json"
OUTBOX_BYTES = config.read({}, {}).outbox_bytes  # the default

Rows = list[Json]


# What was measured, where


def about(options: argparse.Namespace) -> Json:
    """The machine, the versions, and how the benchmark was called."""
    models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    libraries = ("python-socketio", "python-engineio", "gevent")
    node = {}
    if "node" in options.servers:
        words = [str(node_binary()), "-p", "process.version.slice(1) + ' ' + process.versions.sqlite"]
        node["Node"], node["SQLite of Node"] = subprocess.check_output(words, text=True).split()
        package = HERE / "node" / "node_modules" / "socket.io" / "package.json"
        node["socket.io"] = json.loads(package.read_text())["version"]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}",
        "versions": {
            **{f"talus {folder.name}".strip(): _state(folder) for folder in options.talus},
            "talus": _state(ROOT),
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            **{library: version(library) for library in libraries},
            **node,
        },
        "seconds": options.seconds,
        "repeat": options.repeat,
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
    }


def _state(checkout: Path) -> str:
    """The version of a checkout; which commit it was, and whether something was changed since."""
    words = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    found = re.search(r'__version__ = "(.+)"', (checkout / "talus" / "__init__.py").read_text())
    return f"{found[1] if found else '?'} ({commit or 'no commit'})"


def line(row: Json) -> str:
    """A row, in short, for who watches the run."""
    said = ("server", "watchers", "clients", "nodes", "transport", "what", "rate", "stalled", "lost")
    told = [f"{key}={row[key]}" for key in said if key in row]
    told += [f"{key}={row[key]}" for key in row if key.endswith(("per_s", "_kb", "took_s"))]
    return " ".join(told)


def keep(path: Path, name: str, told: Json, rows: Rows) -> None:
    """Put one measurement in the place of what was known of it."""
    results = json.loads(path.read_text()) if path.exists() else {}
    results[name] = {"about": told, "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


# Figures


def figure(value: float | None) -> str:
    """Three digits, or the whole number."""
    if value is None:
        return "-"
    for least, digits in ((1_000, 0), (100, 0), (10, 1)):
        if value >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.2f}"


def values(rows: Rows, *path: str) -> list[float]:
    found = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value.get(key, {})
        if isinstance(value, int | float):
            found.append(value)
    return found


def median(rows: Rows, *path: str) -> float | None:
    found = values(rows, *path)
    return statistics.median(found) if found else None


def shown(rows: Rows, *path: str) -> str:
    return figure(median(rows, *path))


def spread(rows: Rows, *path: str) -> str:
    """The median, and what lay around it."""
    found = values(rows, *path)
    if not found:
        return next((f"lost: {row['lost']}" for row in rows if "lost" in row), "-")
    if len(found) == 1:
        return figure(found[0])
    return f"{figure(statistics.median(found))} ({figure(min(found))} to {figure(max(found))})"


def pair(rows: Rows, name: str) -> str:
    return f"{shown(rows, name, 'p50')} / {shown(rows, name, 'p99')}"


def cores(rows: Rows, who: str) -> str:
    """CPU seconds for each second, as a share of a core."""
    shares = [100 * row[who] / row["took_s"] for row in rows if row.get(who) is not None]
    return f"{statistics.median(shares):.0f} %" if shares else "-"


def ratio(above: float | None, below: float | None) -> str:
    return f"{above / below:.1f}" if above and below else "-"


def grouped(rows: Rows, *keys: str) -> dict[tuple[object, ...], Rows]:
    groups: dict[tuple[object, ...], Rows] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def table(head: Iterable[str], body: Iterable[Iterable[object]]) -> str:
    columns = list(head)
    rule = ["---"] + ["---:"] * (len(columns) - 1)
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in body]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rule, *rows))


# The tables


def _abouts(results: Json) -> str:
    """Where and when; measurements of the same run are told of together."""
    runs: dict[str, list[str]] = {}
    for name, measured in results.items():
        told = {key: value for key, value in measured["about"].items() if key != "command"}
        runs.setdefault(json.dumps(told), []).append(name)
    said = []
    for run, names in runs.items():
        told = json.loads(run)
        versions = ", ".join(f"{name} {each}" for name, each in told["versions"].items())
        said.append(
            f"{', '.join(f'`{name}`' for name in names)}: {told['date']}, {told['machine']}; {versions}. "
            f"{told['seconds']:g} s of writing in each measurement, {told['repeat']} repetitions."
        )
    return "\n\n".join(said)


def _rooms(rows: Rows) -> str:
    titles = list(dict.fromkeys(row["server"] for row in rows))
    groups = grouped(rows, "watchers", "server")
    peers = [title for title in ("plain", "node") if title in titles]
    body = []
    for watchers in dict.fromkeys(row["watchers"] for row in rows):
        speed = {title: groups.get((watchers, title), []) for title in titles}
        own = median(speed.get("talus", []), "commands_per_s")
        against = [ratio(own, median(speed[peer], "commands_per_s")) for peer in peers]
        most = median(speed.get("limit, all", []), "commands_per_s")
        share = f"{100 * own / most:.0f} %" if own and most else "-"
        body.append(
            [watchers, *(spread(speed[title], "commands_per_s") for title in titles), *against, share]
        )
    return table(["watchers", *titles, *(f"talus / {peer}" for peer in peers), "of the limit"], body)


def _loops(rows: Rows) -> str:
    return table(
        [
            "watchers",
            "server",
            "commands/s",
            "ack, ms",
            "event, ms",
            "server's CPU",
            "watchers' CPU",
            "writers' CPU",
            "facts heard",
        ],
        [
            [
                *key,
                spread(group, "commands_per_s"),
                pair(group, "ack_ms"),
                pair(group, "event_ms"),
                *(cores(group, f"{who}_cpu_s") for who in ("server", "watchers", "writers")),
                f"{sum(values(group, 'facts_heard')):,.0f}",
            ]
            for key, group in grouped(rows, "watchers", "server").items()
        ],
    )


def _rates(rows: Rows) -> str:
    return table(
        [
            "watchers",
            "commands/s",
            "server",
            "p50, ms",
            "p99, ms",
            "longest, ms",
            "server's CPU",
            "watchers' CPU",
        ],
        [
            [
                *key,
                shown(group, "event_ms", "p50"),
                spread(group, "event_ms", "p99"),
                shown(group, "event_ms", "max"),
                cores(group, "server_cpu_s"),
                cores(group, "watchers_cpu_s"),
            ]
            for key, group in grouped(rows, "watchers", "rate", "server").items()
        ],
    )


def _answers(rows: Rows) -> str:
    return table(
        ["server", "median, ms", "p99, ms", "commands/s"],
        [
            [
                *key,
                spread(group, "ack_ms", "p50"),
                spread(group, "ack_ms", "p99"),
                shown(group, "commands_per_s"),
            ]
            for key, group in grouped(rows, "server").items()
        ],
    )


def _stalled(rows: Rows) -> str:
    alone = {key[0]: group for key, group in grouped(rows, "server", "stalled").items() if key[1] == 0}
    return table(
        [
            "server",
            "never read",
            "p50, ms",
            "p99, ms",
            "against alone",
            "at full speed",
            "sent to each",
            "growth",
            "bound",
        ],
        [
            [
                server,
                stalled,
                shown(group, "event_ms", "p50"),
                spread(group, "event_ms", "p99"),
                ratio(median(group, "event_ms", "p99"), median(alone.get(server, []), "event_ms", "p99")),
                f"{shown(group, 'flood_commands_per_s')}/s",
                f"{(median(group, 'flood_bytes') or 0) / 2**20:.0f} MiB",
                f"{(median(group, 'flood_growth_kb') or 0) / 1024:.0f} MiB",
                f"{stalled * OUTBOX_BYTES // 2**20} MiB",
            ]
            for (server, stalled), group in grouped(rows, "server", "stalled").items()
            if isinstance(stalled, int)
        ],
    )


def _memory(rows: Rows) -> str:
    return table(
        ["transport", "server", "clients", "empty server, MB", "each client, kB"],
        [
            [
                *key,
                figure((median(group, "empty_kb") or 0) * 1024 / 1e6),
                figure((median(group, "client_kb") or 0) * 1.024),
            ]
            for key, group in grouped(rows, "transport", "server", "clients").items()
        ],
    )


def _graphs(rows: Rows) -> str:
    return table(
        [
            "nodes",
            "server",
            "JSON, kB",
            "first, ms",
            "again, ms",
            "304, ms",
            "commands/s",
            "start, s",
            "open, ms",
        ],
        [
            [
                *key,
                figure((median(group, "bytes") or 0) / 1e3),
                *(shown(group, name) for name in ("first_ms", "again_ms", "unchanged_ms", "commands_per_s")),
                *(shown(group, name) for name in ("start_s", "open_ms")),
            ]
            for key, group in grouped(rows, "nodes", "server").items()
        ],
    )


def _pings(rows: Rows, name: str) -> str:
    return f"pings p99 {shown(rows, name, 'p99')}, longest {shown(rows, name, 'max')} ms"


def _reads(rows: Rows) -> str:
    body = []
    for (what, server), group in grouped(rows, "what", "server").items():
        first = group[0]
        if what == "catch_up":
            body.append(
                [
                    f"{first['facts']:,} missed facts",
                    server,
                    f"{shown(group, 'took_s')} s",
                    _pings(group, "ping_ms"),
                ]
            )
        elif what == "rejoin":
            said = f"server up again after {shown(group, 'start_s')} s"
            body.append([f"{first['clients']:,} clients rejoin", server, f"{shown(group, 'took_s')} s", said])
        elif what == "subtree":
            for name in ("delete", "undo"):
                said = f"answered after {shown(group, f'{name}_s')} s; {_pings(group, f'{name}_ping_ms')}"
                took = f"{shown(group, f'{name}_heard_s')} s"
                body.append([f"{name} {first['nodes']:,} nodes, heard by all 10", server, took, said])
        else:
            commits = f"{first['commits']:,} commits on {first['nodes']:,} nodes"
            size = f"file of {(median(group, 'file_bytes') or 0) / 1e6:,.0f} MB"
            worst = max(values(group, "version_ms", "max"))
            body.append([f"start with {commits}", server, f"{shown(group, 'start_s')} s", size])
            body.append(["the graph after that start", server, f"{shown(group, 'open_ms')} ms", ""])
            took = f"{shown(group, 'version_ms', 'p50')} ms"
            body.append(["any version of it", server, took, f"worst {figure(worst)} ms"])
    return table(["read", "server", "time", "meanwhile"], body)


TABLES: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "rooms": ("rooms", _rooms),
    "loops": ("rooms", _loops),
    "polling": ("polling", _loops),
    "rates": ("rates", _rates),
    "answers": ("answers", _answers),
    "stalled": ("stalled", _stalled),
    "memory": ("memory", _memory),
    "graphs": ("graphs", _graphs),
    "reads": ("reads", _reads),
}


def tables(results: Json) -> dict[str, str]:
    """The generated parts of the document, by the name in their markers."""
    made = {name: make(results[of]["rows"]) for name, (of, make) in TABLES.items() if of in results}
    return {"about": _abouts(results), **made}


def plots(results: Json) -> dict[str, str]:
    """The plots, by file name."""
    made = {}
    if "rooms" in results:
        speed: dict[str, list[tuple[float, float]]] = {}
        for (title, watchers), group in grouped(results["rooms"]["rows"], "server", "watchers").items():
            point = float(str(watchers)), median(group, "commands_per_s") or 0.0
            speed.setdefault(str(title), []).append(point)
        made["bench-rooms.svg"] = lines("Durable commands/s", "watchers in the room", speed)
    if "rates" in results:
        latency: dict[str, list[tuple[str, float, float]]] = {}
        for key, group in grouped(results["rates"]["rows"], "watchers", "rate", "server").items():
            watchers, rate, title = key
            bar = str(title), median(group, "event_ms", "p50") or 0, median(group, "event_ms", "p99") or 0
            latency.setdefault(f"{watchers:,} watchers, {rate} commands/s", []).append(bar)
        made["bench-rates.svg"] = bars("From when a command was due to its event, ms", latency)
    if "graphs" in results:
        rows = [row for row in results["graphs"]["rows"] if row["server"] == "talus"]
        sizes = grouped(rows, "nodes")
        names = {
            "first_ms": "first GET",
            "again_ms": "again",
            "unchanged_ms": "304",
            "open_ms": "after a start",
        }
        took = {
            said: [(float(str(key[0])), median(group, name) or 0.0) for key, group in sizes.items()]
            for name, said in names.items()
        }
        made["bench-graphs.svg"] = lines("GET /graph, ms", "nodes in the graph", took)
    return made


def written(document: str, parts: dict[str, str]) -> str:
    """The document with its generated parts in their places."""
    for name, text in parts.items():
        begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        before, found, rest = document.partition(begin)
        if not found or end not in rest:
            raise SystemExit(f"bench: {DOCUMENT.name} has no place for {name}")
        document = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return document


def write(path: Path) -> None:
    """Make the document's tables and the plots of what was kept."""
    results = json.loads(path.read_text())
    DOCUMENT.write_text(written(DOCUMENT.read_text(), tables(results)))
    for name, image in plots(results).items():
        (IMAGES / name).write_text(image)
