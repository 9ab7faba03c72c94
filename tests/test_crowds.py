"""How many may come: all clients, those of one address, and as many as there are files for."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from talus.core.errors import Busy, TalusError
from talus.web.engine import Engine
from talus.web.http import Connections
from talus.web.outbox import Outbox, Pump
from talus.web.refusals import Refusals
from tests.support.clients import Client, RawPolling, RawWebSocket, frame
from tests.support.server import Server

Connect = Callable[..., Client]
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONNECT = b"\x81\x82\x00\x00\x00\x0040"  # a masked text frame; a mask of zeros is a mask


@pytest.fixture
def crowd() -> Iterator[Callable[[Server, int], list[socket.socket]]]:
    """Opens many WebSockets that say who they are, and nothing more; closed when the test ends."""
    opened: list[socket.socket] = []

    def open_many(server: Server, count: int) -> list[socket.socket]:
        new = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(count)]
        opened.extend(new)
        for each in new:
            each.sendall(UPGRADE + CONNECT)
        return new

    yield open_many
    for each in opened:
        each.close()


def heard(connection: socket.socket, mark: bytes) -> bytes:
    """What came, up to and with `mark` or the end."""
    data = b""
    while mark not in data:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    return data


def test_two_thousand_clients_of_one_address_are_served_by_default(
    start_server: Callable[..., Server], crowd: Callable[[Server, int], list[socket.socket]], connect: Connect
) -> None:
    """Given default settings and a low soft limit of files, when 2,000 clients connect from one address, then
    each is told its id, and one more works as ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2_500, hard), hard))
    try:
        server = start_server(wait=False)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, hard))
        server.wait_ready()
        for connection in crowd(server, 2_000):
            assert b"40{" in heard(connection, b"40{")
        client = connect(server, "raw-websocket")
        session_id = server.new_session()
        assert client.join(session_id)["active_clients"] == 1
        assert client.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})["version"] == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_past_the_most_clients_a_new_one_is_refused_and_later_let_in(
    start_server: Callable[..., Server], connect: Connect
) -> None:
    """Given a full server, when another client comes, by either transport, then 503 BUSY; once one has left
    it is let in."""
    server = start_server(env={"TALUS_MAX_CLIENTS": "3"})
    first, *_ = [connect(server, kind) for kind in ("raw-websocket", "raw-polling", "python")]
    for transport in ("polling", "websocket"):
        response = server.request("GET", f"~/socket.io/?EIO=4&transport={transport}")
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "BUSY"
    first.close()
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(AssertionError):
            connect(server, "raw-polling").settle()
            break
        assert time.monotonic() < deadline, "nobody is let in although a place is free"


@pytest.mark.parametrize(
    "address, held, let_in",
    [("10.0.0.1", 79, True), ("10.0.0.1", 80, False), ("127.0.0.1", 99, True), ("127.0.0.1", 100, False)],
)
def test_one_address_does_not_take_all_connections(address: str, held: int, let_in: bool) -> None:
    """Given a hundred connections in all, when one address has so many, then it gets another, or not; this
    machine itself may have all."""
    connections = Connections(100)
    for _ in range(held):
        assert connections.enter(address)
    assert connections.enter(address) is let_in
    connections.leave(address)
    assert connections.enter(address)
    assert Connections(100).enter(address)


@pytest.mark.parametrize(
    "address, held, let_in",
    [("10.0.0.1", 7, True), ("10.0.0.1", 8, False), ("10.0.0.2", 8, True), ("127.0.0.1", 8, True)],
)
def test_one_address_does_not_take_all_clients(address: str, held: int, let_in: bool) -> None:
    """Given ten clients at most, when 10.0.0.1 has so many, then another of that address, or of others, is
    let in or refused."""
    engine = Engine(outbox_bytes=100_000, max_clients=10, refusals=Refusals(), async_mode="gevent")

    class Open:
        def __init__(self) -> None:
            self.queue = Outbox(100_000, Pump())
            self.queue.address = "10.0.0.1"

    engine.sockets.update({str(number): Open() for number in range(held)})
    refusal: TalusError | None = engine.refusal({"REMOTE_ADDR": address}, {})
    assert (refusal is None) is let_in
    assert refusal is None or isinstance(refusal, Busy)


def test_who_does_not_say_his_name_is_cut(server: Server) -> None:
    """Given connections that never send CONNECT, by both transports, then they are ended within 12 s."""
    silent = RawWebSocket(server.url, connect=False)
    polling = RawPolling(server.url, connect=False)
    for client in (silent, polling):
        client.wait_ended(13)


def test_who_pings_and_does_not_listen_is_not_asked_on(server: Server, connect: Connect) -> None:
    """Given a client that sends pings without end and reads nothing, then the server stops to read them as
    soon as it holds a few thousand answers, and others are served."""
    client = connect(server, "raw-websocket", receive_buffer=4096)
    assert isinstance(client, RawWebSocket)
    client.pause()
    before = server.memory()
    ping = frame(b'42["ping","' + b"x" * 2_000 + b'"]')
    client.socket.settimeout(1)
    sent = 0
    stalled = False
    while sent < 60_000 and not stalled:
        try:
            client.socket.sendall(ping * 100)
            sent += 100
        except TimeoutError:
            stalled = True  # what the kernel holds between us is full
    assert stalled
    assert sent > 1_000
    assert server.memory() < before + 30_000_000
    connect(server, "raw-websocket").settle()


def test_a_second_poll_ends_the_connection(server: Server) -> None:
    """Given a poll under way, when another comes for the same client, then it is refused with 400, the first
    is answered with a goodbye, and the client is gone."""
    client = RawPolling(server.url)
    client.settle()  # from here on a poll of its reader is under way
    deadline = time.monotonic() + 10
    status, body = 200, b""
    while status == 200 and time.monotonic() < deadline:
        response = server.request("GET", f"~{client._address}")
        status, body = response.status_code, response.content
    assert status == 400
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"
    client.wait_ended(5)
    after = server.request("GET", f"~{client._address}")
    assert after.status_code == 400


def test_files_that_run_out_are_no_end(start_server: Callable[..., Server]) -> None:
    """Given room for few files, when far more connections come, then some are told 503 and closed, those
    there are served, and when others leave new ones are."""
    server = start_server(wait=False)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (300, 300))
    server.wait_ready()
    assert server.ask("/health")["status"] == "ok"  # on a connection that stays
    crowd: list[socket.socket] = []
    refused = 0
    for _ in range(600):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        crowd.append(connection)
    for connection in crowd:
        with contextlib.suppress(OSError):
            refused += connection.recv(12).endswith(b"503")
    assert refused > 50
    assert server.ask("/health")["status"] == "ok"
    for connection in crowd:
        connection.close()
    deadline = time.monotonic() + 10
    while True:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=5)) as connection,
        ):
            connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if connection.recv(12).endswith(b"200"):
                break
        assert time.monotonic() < deadline, "nobody is served although files are free"


def test_a_graph_is_read_by_many_without_a_copy_for_each(server: Server) -> None:
    """Given a large graph, when 30 clients ask for it and read nothing, then memory grows by less than 5 of
    it."""
    session_id = server.new_session()
    data: dict[str, Any] = {"blueprint_type_id": "x", "properties": {"p": "x" * 250_000}}
    for _ in range(20):
        server.execute(session_id, "CreateNode", data)
    size = len(server.get("/graph", session_id=session_id).content)
    assert size > 5_000_000
    before = server.memory()
    readers = []
    for _ in range(30):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", server.port))
        path = f"/api/v1/graph?session_id={session_id}"
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert reader.recv(12).endswith(b"200")
        readers.append(reader)
    assert server.memory() < before + 5 * size
    for reader in readers:
        reader.close()
