"""The command line: arguments in, exit code out."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields

import gevent
from gevent.event import Event

from . import config
from .app import App, StartError, versions

# While the commit thread works on a huge commit, the hub gets the GIL back after
# this long instead of Python's 5 ms.
SWITCH_INTERVAL_S = 0.001

GC_THRESHOLDS = (10_000, 20, 1_000)  # a full collection each 200 million allocations


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `talus`; the exit code is 0 when it did what it was asked."""
    parser = argparse.ArgumentParser(
        prog="talus", description="A server on which a team plans one project, live."
    )
    parser.add_argument("--version", action="version", version=versions())
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    serve = commands.add_parser(
        "serve", help="run the server", description="Run the server until SIGTERM or SIGINT."
    )
    for each in fields(config.Settings):
        flag = "--" + each.name.replace("_", "-")
        text = f"{each.metadata['help']} ({config.variable(each.name)})"
        if each.type == "bool":
            serve.add_argument(flag, nargs="?", const="1", metavar="1|0", help=text)
        else:
            serve.add_argument(flag, metavar=each.name.upper(), help=text)
    given = vars(parser.parse_args(arguments))
    return _serve(given)


def _keep_the_hub_free() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # A full collection walks every list and dict of every session: 50 ms and more
    # in which nobody is served. What a graph is made of forms no cycles, so full
    # ones may be rare, and what was imported never needs to be walked at all.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _serve(flags: dict[str, str | None]) -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("talus.engineio", "talus.socketio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    try:
        settings = config.read(os.environ, flags)
        app = App(settings)
        app.start()
    except (config.SettingError, StartError) as error:
        print(f"talus: {error}", file=sys.stderr)
        return 1
    _keep_the_hub_free()
    print(f"talus listening on {app.url}", flush=True)
    stop.wait()
    app.stop()
    return 0
