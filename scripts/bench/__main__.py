"""Measure talus beside its peers on this machine: `make bench`, or

    .venv/bin/python scripts/bench [--only rooms,rates] [--seconds 5] [--repeat 3] [--servers talus,node]

What is measured, and how, is told in docs/performance.md, whose tables and
plots are made here. A fact that one watcher did not hear, heard twice or in
another order ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

# Run as a folder, Python would look for modules inside it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import limit, report, visitors, watchers, writers
from bench.client import BenchError
from bench.measure import MEASUREMENTS, Plan, quick
from bench.servers import ROOT

ROLES: dict[str, Callable[..., None]] = {
    "watch": watchers.watch,
    "write": writers.print_written,
    "stall": visitors.stall,
    "ping": visitors.ping,
    "crowd": visitors.crowd,
    "limit": limit.serve,
}


def names(text: str) -> list[str]:
    return text.split(",")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="scripts/bench"
    )
    parser.add_argument(
        "--only", type=names, default=list(MEASUREMENTS), help=f"some of: {', '.join(MEASUREMENTS)}"
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of writing in each measurement (default 5)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="times; the tables have medians (default 3)")
    parser.add_argument(
        "--servers",
        type=names,
        default=["talus", "plain", "node", "limit"],
        help="some of: talus, plain, node, limit",
    )
    parser.add_argument(
        "--talus",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="another checkout of talus, measured as well",
    )
    parser.add_argument(
        "--versions", type=int, default=100_000, help="commits of the long history in `reads`"
    )
    parser.add_argument("--processes", type=int, default=1, help="that watchers are spread over (default 1)")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="the JSON that is written")
    parser.add_argument("--quick", action="store_true", help="loss and order of talus alone; JSON on stdout")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="measure nothing: tables and plots of FILE"
    )
    options = parser.parse_args()
    for given, known in (
        (options.only, MEASUREMENTS),
        (options.servers, ("talus", "plain", "node", "limit")),
    ):
        for name in given:
            if name not in known:
                parser.error(f"{name}: one of {', '.join(known)} is expected")
    return options


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> None:
    servers = [(kind, ROOT) for kind in options.servers]
    servers += [("talus", checkout.resolve()) for checkout in options.talus]
    plan = Plan(servers, options.seconds, options.versions, options.processes)
    if options.quick:
        print(json.dumps(list(quick(plan)), indent=1))
        return
    about = report.about(options)
    for name in options.only:
        rows = []
        for repetition in range(options.repeat):
            for row in MEASUREMENTS[name](plan):
                say(f"{name} {repetition + 1}/{options.repeat} {report.line(row)}")
                rows.append({"repetition": repetition, **row})
        report.keep(options.results, name, about, rows)
    if options.results == report.RESULTS:
        report.write(report.RESULTS)


def main() -> int:
    # A thousand watchers, and the servers that they are connected to, are as many open files.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        if sys.argv[1:2] == ["--role"]:
            role, *words = json.loads(sys.argv[2])
            ROLES[role](*words)
            return 0
        options = arguments()
        if options.report:
            report.write(options.report)
        else:
            run(options)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    return 0


sys.exit(main())
