"""The command line: arguments in, exit code out."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from . import config
from .app import App, StartError, versions
from .service.tokens import MAX_DAYS, KeyFileError, Tokens, is_user
from .store import backup as copies
from .store import mailbox
from .store.claim import Unusable
from .store.failures import STORAGE_ERRORS
from .store.verify import problem

# While the commit thread works on a huge commit, the hub gets the GIL back after
# this long instead of Python's 5 ms.
SWITCH_INTERVAL_S = 0.0001

TAKEN_S = 3.0  # in which a running server takes a revocation

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
    _add_settings(serve, [each.name for each in fields(config.Settings)])
    serve.set_defaults(run=_serve)
    token = commands.add_parser(
        "token",
        help="make a token, or end those of a user",
        description="Print a token; or, with --revoke, end all that a user was given until now.",
    )
    wish = token.add_mutually_exclusive_group(required=True)
    wish.add_argument("--user", metavar="NAME", help="whose token it is")
    wish.add_argument("--revoke", metavar="NAME", help="end all tokens that this user was given until now")
    token.add_argument("--days", type=int, default=30, metavar="N", help=f"1 to {MAX_DAYS}; 30 unless told")
    token.add_argument("--admin", action="store_true", help="one who may do everything")
    _add_settings(token, ["jwt_secret_file", "database"])
    token.set_defaults(run=_token)
    backup = commands.add_parser(
        "backup",
        help="copy the database",
        description="Put a whole copy of the database, as it is now, at FILE; a server may be at work on it.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="where to; what is there is replaced")
    _add_settings(backup, ["database"])
    backup.set_defaults(run=_backup)
    restore = commands.add_parser(
        "restore",
        help="put a copy in the place of the database",
        description="Check FILE, and put a copy of it in the place of the database, which is kept beside it.",
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="what to restore")
    _add_settings(restore, ["database"])
    restore.set_defaults(run=_restore)
    verify = commands.add_parser(
        "verify",
        help="check a database or a copy",
        description="Check that FILE, or the database, holds what was written to it.",
    )
    verify.add_argument("file", type=Path, nargs="?", metavar="FILE", help="what to check; else the database")
    _add_settings(verify, ["database"])
    verify.set_defaults(run=_verify)
    given = vars(parser.parse_args(arguments))
    try:
        return given.pop("run")(given)
    except (config.SettingError, StartError, KeyFileError, Unusable, _UsageError) as error:
        print(f"talus: {error}", file=sys.stderr)
        return 1


class _UsageError(Exception):
    """What was asked cannot be done; the message says why."""


def _add_settings(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """The flags of these settings."""
    known = {each.name: each for each in fields(config.Settings)}
    for name in names:
        each = known[name]
        flag = "--" + name.replace("_", "-")
        text = f"{each.metadata['help']} ({config.variable(name)})".replace("%", "%%")
        if each.type == "bool":
            parser.add_argument(flag, nargs="?", const="1", metavar="1|0", help=text)
        else:
            parser.add_argument(flag, metavar=name.upper(), help=text)


def _keep_the_hub_free() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # A full collection walks every list and dict of every session: 50 ms and more
    # in which nobody is served. What a graph is made of forms no cycles, so full
    # ones may be rare, and what was imported never needs to be walked at all.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _serve(flags: dict[str, Any]) -> int:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("talus.engineio", "talus.socketio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    gevent.config.track_greenlet_tree = False  # who started whom: 6 kB for each client, and nobody asks
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop.set)
    app = App(config.read(os.environ, flags))
    app.start()
    _keep_the_hub_free()
    print(f"talus listening on {app.url}", flush=True)
    stop.wait()
    app.stop()
    return 0


def _token(flags: dict[str, Any]) -> int:
    settings = config.read(os.environ, flags)
    name = flags["user"] or flags["revoke"]
    if not is_user(name):
        raise _UsageError("a user's name has 1 to 255 printable characters")
    if flags["revoke"] is not None:
        return _revoke(settings, name)
    if settings.jwt_secret_file is None:
        raise config.SettingError("TALUS_JWT_SECRET_FILE has to name the file with the key")
    if not 1 <= flags["days"] <= MAX_DAYS:
        raise _UsageError(f"--days: 1 to {MAX_DAYS}")
    tokens = Tokens.from_file(settings.jwt_secret_file)
    print(tokens.issue(name, flags["admin"], int(time.time()), flags["days"]))
    return 0


def _backup(flags: dict[str, Any]) -> int:
    database, target = config.read(os.environ, flags).database, flags["file"]
    if not database.is_file():
        raise _UsageError(f"{database}: there is no database")
    if target.exists() and target.samefile(database):
        raise _UsageError(f"{target} is the database itself")
    with _in_words(target):
        copies.copy(database.resolve(), target)
    print(f"{target} holds all that was acknowledged until now ({target.stat().st_size:,} bytes)")
    return 0


def _restore(flags: dict[str, Any]) -> int:
    database, source = config.read(os.environ, flags).database, flags["file"]
    with _in_words(database):
        aside = copies.restore(source.absolute(), database.resolve(), time.time())
    print(f"{database} holds what {source} did" + (f"; the one before is {aside}" if aside else ""))
    return 0


def _verify(flags: dict[str, Any]) -> int:
    path = flags["file"] or config.read(os.environ, flags).database
    if not path.is_file():
        raise _UsageError(f"{path}: there is no such file")
    wrong = problem(path.resolve())
    if wrong is not None:
        raise _UsageError(f"{path}: {wrong}")
    print(f"{path} is whole")
    return 0


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """What the disk says, as what the user reads."""
    try:
        yield
    except OSError as error:
        raise _UsageError(f"{error.filename or path}: {error.strerror}") from None
    except Unusable as error:
        raise _UsageError(str(error)) from None
    except STORAGE_ERRORS as error:
        raise _UsageError(f"{path}: {error}") from None


def _revoke(settings: config.Settings, user: str) -> int:
    until_s = int(time.time())
    try:
        path = mailbox.drop(settings.database, mailbox.Wish(user, until_s))
    except OSError as error:
        raise _UsageError(f"{settings.database}: {error.strerror}") from None
    # A token made in this very second would be void as well: nobody can make one before it is over.
    deadline = time.monotonic() + TAKEN_S
    while time.time() < until_s + 1 or (path.exists() and time.monotonic() < deadline):
        time.sleep(0.05)
    if path.exists():
        print(f"no server is running on {settings.database}: the tokens end when one starts")
    else:
        print(f"the tokens of {user} given out until now are void")
    return 0
