from gevent import monkey

monkey.patch_all()

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engineio.payload import Payload

from tests.support.clients import Client, open_client
from tests.support.follower import Follower
from tests.support.server import TEMPLATES, Server


def _check_log(log: str) -> None:
    """A traceback in the log is a fault, whatever the answers were."""
    at = log.find("Traceback")
    assert at < 0, f"the server logged a traceback:\n{log[max(0, at - 500) : at + 6000]}"


@pytest.fixture(autouse=True)
def _stock_client() -> None:
    """talus.web.engine sets this for its whole process; the stock client in ours is to be as it comes."""
    Payload.max_decode_packets = 16


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers with settings of their own: `start_server(env={...}, flags=[...], port=0)`."""
    servers: list[Server] = []

    def start(*, port: int = 0, wait: bool = True, **options: Any) -> Server:
        server = Server(tmp_path_factory.mktemp("server"), **options)
        servers.append(server)
        return server.start(port, wait=wait)

    yield start
    try:
        for server in servers:
            if server.running:
                server.stop()
    finally:
        for server in servers:
            server.kill()
    for server in servers:
        _check_log(server.log())


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A running server on a new database, for this test alone."""
    return start_server()


@pytest.fixture(scope="session")
def _standing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    server = Server(folder, env={"TALUS_TEMPLATES": str(TEMPLATES)}).start()
    yield server
    code = server.stop()
    assert code == 0, f"the shared server ended with {code}"


@pytest.fixture
def shared_server(_standing_server: Server) -> Iterator[Server]:
    """A server that many tests share, each in sessions of its own; it knows the template `workshop`."""
    before = len(_standing_server.log())
    assert _standing_server.running, f"the shared server is gone: {_standing_server.log()[-4000:]}"
    yield _standing_server
    _check_log(_standing_server.log()[before:])


@pytest.fixture
def session_id(shared_server: Server) -> str:
    """A new session of the shared server."""
    return shared_server.new_session()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Connects clients: `connect(server, kind, actor=..., ...)`; they are closed when the test ends."""
    clients: list[Client] = []

    def connect_one(server: Server | str, kind: str = "python-websocket", **options: Any) -> Client:
        client = open_client(server if isinstance(server, str) else server.url, kind, **options)
        clients.append(client)
        return client

    yield connect_one
    for client in clients:
        client.cut()


@pytest.fixture
def follow(connect: Callable[..., Client]) -> Callable[..., Follower]:
    """Followers that have joined: `follow(server, session_id, kind, actor=..., ...)`."""

    def follow_one(
        server: Server, session_id: str, kind: str = "python-websocket", *, join: bool = True, **options: Any
    ) -> Follower:
        follower = Follower(
            session_id, lambda: connect(server, kind, **options), lambda: server.graph(session_id)
        )
        if join:
            follower.join()
        return follower

    return follow_one


def pytest_unconfigure() -> None:
    from tests.support import clients

    if clients._shared_node is not None:
        clients._shared_node.end()
