"""The one place where parts are chosen and joined."""

from __future__ import annotations

import logging
import resource
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import gevent

from . import __version__
from .config import Settings
from .service.access import Access
from .service.backups import Backups
from .service.calls import Calls
from .service.disk import Disk
from .service.presence import Rooms
from .service.replay import Replay
from .service.revocations import Revocations
from .service.sessions import Sessions
from .service.snapshots import Snapshots
from .service.tokens import KeyFileError, Tokens
from .service.writer import Writer
from .store import templates
from .store.files import made_folder
from .store.journal import SQLITE_VERSION, Journal
from .web.channel import Hall
from .web.gate import Gate, is_loopback
from .web.http import Connections, Server
from .web.page import Page
from .web.refusals import Refusals
from .web.rest import Rest
from .web.sockets import Sockets

SPARE_FILES = 200  # besides clients: half for connections that are none yet, half for the server itself
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
        if settings.auth == "none" and not is_loopback(settings.host) and not settings.insecure_lan:
            raise StartError(
                f"refusing to listen on {settings.host}: without tokens everybody on the network could change"
                " everything. TALUS_INSECURE_LAN=1 allows it"
            )
        self._settings = settings
        tokens = _tokens(settings)
        self._tls = _tls(settings)
        self._connections = Connections(_raise_file_limit(settings.max_clients) - SPARE_FILES // 2)
        self._disk = Disk(_journal(settings.database, settings.network_disk))
        folders = [templates.bundled(), *([settings.templates] if settings.templates else [])]
        known = templates.load(folders, log)
        hall = Hall()
        self._refusals = Refusals()
        self._sessions = Sessions(self._disk, known, now_ms, time.monotonic)
        access = Access(self._disk, self._sessions, tokens)
        self._writer = Writer(self._disk, self._sessions, access, hall.publish, now_ms)
        replay = Replay(self._disk, settings.replay_limit)
        rooms = Rooms(hall.publish, now_ms)
        calls = Calls(self._disk, self._sessions, access, self._writer, known, hall.follow)
        kept = settings.database.resolve().parent / "snapshots" / settings.database.name
        self._backups = Backups(self._disk, kept, settings.snapshot_s)
        self._rest = Rest(
            self._sessions,
            access,
            calls,
            replay,
            self._backups,
            self._refusals,
            settings.command_rate,
            lambda: self._writer.failing,
            __version__,
        )
        self._sockets = Sockets(
            hall,
            self._sessions,
            access,
            calls,
            rooms,
            replay,
            self._refusals,
            settings.command_rate,
            settings.max_clients,
            settings.outbox_bytes,
            lambda environ: self._gate.slow_down(environ),
        )
        self._gate = Gate(
            self._rest.app,
            self._sockets.handle_request,
            Page(Path(__file__).parent / "web" / "static"),
            settings.host,
            settings.allowed_hosts,
            settings.cors_origins,
            access,
            self._refusals,
            self._sockets.eio.refusal,
        )
        self._revocations = Revocations(settings.database, access, self._writer, self._disk, now_ms)
        self._servers: list[Server] = []
        self._snapshots = Snapshots(self._writer)
        self._sweeping = gevent.spawn(self._sweep)

    def start(self) -> None:
        """Listen. Raises StartError where the address cannot be had."""
        self._revocations.look()  # those that were left while no server ran
        for listener in _listeners(self._settings.host, self._settings.port):
            server = Server(listener, self._gate, self._connections, self._refusals, self._tls)
            server.start()
            self._gate.answer_for(listener.getsockname()[0])
            self._servers.append(server)
        self._disk.journal.claim.listens(self.url)

    @property
    def routes(self) -> list[Any]:
        """Bottle's routes: what REST answers."""
        routes: list[Any] = self._rest.app.routes
        return routes

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self._settings.host == "localhost" else self._settings.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{host}:{self._servers[0].server_port}"

    def stop(self) -> None:
        """Finish what is queued, answer and announce it, say goodbye, and leave one whole file."""
        until_s = time.monotonic() + STOP_S
        self._sweeping.kill()
        self._revocations.close()
        self._snapshots.close()
        self._backups.close()
        self._writer.close(DRAIN_S, WRITER_S)
        with gevent.Timeout(min(FLUSH_S, until_s - time.monotonic()), False):
            while not self._sockets.flushed():
                gevent.sleep(0.01)
        self._sockets.close()
        for server in self._servers:
            server.stop(timeout=max(0.1, min(LAST_S, until_s - time.monotonic())))
        self._disk.close()
        if self._refusals.counts:
            log.info("refused since the start: %s", self._refusals)

    def _sweep(self) -> None:
        while True:
            gevent.sleep(SWEEP_S)
            self._sessions.sweep()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _journal(path: Path, network: bool) -> Journal:
    try:
        path = path.resolve()
        made_folder(path.parent)
        return Journal(path, network)
    except Exception as error:
        raise StartError(f"{path}: {error}") from error


def _tokens(settings: Settings) -> Tokens | None:
    if settings.auth == "none":
        return None
    assert settings.jwt_secret_file is not None
    try:
        tokens = Tokens.from_file(settings.jwt_secret_file)
    except KeyFileError as error:
        raise StartError(str(error)) from None
    if settings.tls_cert is None and not is_loopback(settings.host):
        log.warning("tokens travel over the network in the clear: set TALUS_TLS_CERT and TALUS_TLS_KEY")
    return tokens


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key under a password would be asked for on the terminal, where nobody may sit.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartError(
            f"the certificate {settings.tls_cert} with its key cannot be used: {reason}"
        ) from None
    return context


def _raise_file_limit(clients: int) -> int:
    """Each client is an open file, and a polling one may be two. How many there may be, at most that."""
    wanted = 2 * clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("%d clients may need %d open files; the system allows %d", clients, wanted, allowed)
    return allowed


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
