"""The one place where parts are chosen and joined."""

from __future__ import annotations

import logging
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.pywsgi import LoggingLogAdapter, WSGIServer

from . import __version__
from .config import Settings
from .service.calls import Calls
from .service.disk import Disk
from .service.presence import Rooms
from .service.replay import Replay
from .service.sessions import Sessions
from .service.writer import Writer
from .store import templates
from .store.journal import SQLITE_VERSION, Journal
from .web.channel import Hall
from .web.gate import Gate, is_loopback
from .web.http import Handler
from .web.rest import Rest
from .web.sockets import Sockets

SPARE_FILES = 200  # for the database, listeners and connections that are no clients yet
SWEEP_S = 5.0  # between two looks at sessions that nobody uses
STOP_S = 9.0  # from the signal to the end, at most; of that:
DRAIN_S = 3.0  # for commands that are queued; those left then hear SHUTTING_DOWN
WRITER_S = 6.0  # with a disk that makes us wait
FLUSH_S = 2.0  # for clients to take the last events
LAST_S = 0.5  # for requests under way, after that, on each address
BACKLOG = 1024  # connections that wait to be accepted: a thousand clients come back at once

log = logging.getLogger("talus")


class StartError(Exception):
    """The server cannot start; the message says why."""


class App:
    """A server: `start`, `url`, `stop`."""

    def __init__(self, settings: Settings) -> None:
        if not is_loopback(settings.host) and not settings.insecure_lan:
            raise StartError(
                f"refusing to listen on {settings.host}: without tokens everybody on the network could change"
                " everything. TALUS_INSECURE_LAN=1 allows it"
            )
        self._settings = settings
        _raise_file_limit(settings.max_clients)
        self._disk = Disk(_journal(settings.database))
        folders = [templates.bundled(), *([settings.templates] if settings.templates else [])]
        known = templates.load(folders, log)
        hall = Hall()
        self._sessions = Sessions(self._disk, known, now_ms, time.monotonic)
        self._writer = Writer(self._disk, self._sessions, hall.publish, now_ms)
        replay = Replay(self._disk, settings.replay_limit)
        rooms = Rooms(hall.publish, now_ms)
        calls = Calls(self._disk, self._sessions, self._writer, known)
        self._rest = Rest(self._sessions, calls, replay, lambda: self._writer.failing, __version__)
        self._sockets = Sockets(hall, self._sessions, calls, rooms, replay, settings.outbox_bytes)
        self._gate = Gate(
            self._rest.app,
            self._sockets.handle_request,
            settings.host,
            settings.allowed_hosts,
            settings.cors_origins,
            lambda: len(self._sockets.eio.sockets) >= settings.max_clients,
        )
        self._servers: list[WSGIServer] = []
        self._sweeping = gevent.spawn(self._sweep)

    def start(self) -> None:
        """Listen. Raises StartError where the address cannot be had."""
        for listener in _listeners(self._settings.host, self._settings.port):
            server = WSGIServer(
                listener, self._gate, log=None, error_log=LoggingLogAdapter(log), handler_class=Handler
            )
            server.start()
            self._gate.answer_for(listener.getsockname()[0])
            self._servers.append(server)

    @property
    def routes(self) -> list[Any]:
        """Bottle's routes: what REST answers."""
        routes: list[Any] = self._rest.app.routes
        return routes

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self._settings.host == "localhost" else self._settings.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._servers[0].server_port}"

    def stop(self) -> None:
        """Finish what is queued, answer and announce it, say goodbye, and leave one whole file."""
        until_s = time.monotonic() + STOP_S
        self._sweeping.kill()
        self._writer.close(DRAIN_S, WRITER_S)
        with gevent.Timeout(min(FLUSH_S, until_s - time.monotonic()), False):
            while not self._sockets.flushed():
                gevent.sleep(0.01)
        self._sockets.close()
        for server in self._servers:
            server.stop(timeout=max(0.1, min(LAST_S, until_s - time.monotonic())))
        self._disk.close()

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP_S)
            self._sessions.sweep()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _journal(path: Path) -> Journal:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Journal(path)
    except Exception as error:
        raise StartError(f"{path}: {error}") from error


def _raise_file_limit(clients: int) -> None:
    """Each client is an open file, and a polling one may be two."""
    wanted = 2 * clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("%d clients may need %d open files; the system allows %d", clients, wanted, allowed)


def _listeners(host: str, port: int) -> list[socket.socket]:
    addresses = [host]
    if host == "localhost":
        addresses = ["127.0.0.1"] + (["::1"] if _has_ipv6_loopback() else [])
    bound: list[socket.socket] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, bound[0].getsockname()[1] if bound else port))
        except OSError as error:
            listener.close()
            if bound and port == 0:
                continue  # somebody else has the port that was free on the other address
            raise StartError(f"cannot listen on {address}, port {port}: {error.strerror}") from None
        listener.listen(BACKLOG)
        listener.setblocking(False)
        bound.append(listener)
    return bound


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def versions() -> str:
    """talus, Python and SQLite, for `talus --version`."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"talus {__version__} (Python {python}, SQLite {SQLITE_VERSION})"
