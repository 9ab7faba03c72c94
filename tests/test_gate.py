"""Who is let in without tokens: actors, hosts, origins, and where the server agrees to listen (section 5)."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import KINDS, RAW_KINDS, Client, ErrorHeard, RawWebSocket, UpgradeRefused
from tests.support.server import REPOSITORY, Server, new_id

Connect = Callable[..., Client]


class Answer:
    """One HTTP answer, headers by lower-case name."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def code(self) -> str:
        assert self.headers["content-type"].startswith("application/json")
        return str(json.loads(self.body)["error"]["code"])

    def listed(self, header: str) -> set[str]:
        return {item.strip().lower() for item in self.headers.get(header, "").split(",")}


def ask(server: Server, path: str = "/api/v1/health", method: str = "GET", **headers: str) -> Answer:
    """A request with these very headers, `Host` and `Origin` as the test wants them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    headers = {"Host": f"127.0.0.1:{server.port}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        return Answer(connection.getresponse())
    finally:
        connection.close()


POLLING = "/socket.io/?EIO=4&transport=polling"


# Actors


@pytest.mark.parametrize("kind", KINDS + RAW_KINDS)
def test_a_client_may_say_who_it_is(
    shared_server: Server, connect: Connect, session_id: str, kind: str
) -> None:
    """Given `auth: {actor}`, when the client acts, then events and history carry that name."""
    client = connect(shared_server, kind, actor="Änne 🚗")
    client.join(session_id)
    client.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    for name in ("session:connected", "command:executing", "node-created", "command:executed"):
        assert client.wait_for(name)["actor"] == "Änne 🚗"
    assert shared_server.history(session_id)[0]["actor"] == "Änne 🚗"


def test_a_rest_caller_may_say_who_he_is(shared_server: Server, session_id: str) -> None:
    """Given the header Talus-Actor, when a command is sent, then history carries the name; else
    `anonymous`."""
    shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"}, actor="ann")
    shared_server.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    assert [commit["actor"] for commit in shared_server.history(session_id)] == ["anonymous", "ann"]


@pytest.mark.parametrize("auth", [None, {}, {"other": 1}], ids=repr)
def test_without_a_name_one_is_anonymous(
    shared_server: Server, connect: Connect, session_id: str, auth: Any
) -> None:
    """Given no name, when a client joins, then it is `anonymous`."""
    client = connect(shared_server, "raw-websocket", auth=auth)
    assert client.join(session_id)["clients"][0]["actor"] == "anonymous"


@pytest.mark.parametrize("actor", ["x" * 64, "a b", "名前", "."])
def test_actor_names_are_1_to_64_printable_characters(
    shared_server: Server, connect: Connect, session_id: str, actor: str
) -> None:
    """Given a name at the bounds, when a client gives it, then it is its actor."""
    client = connect(shared_server, "raw-websocket", actor=actor)
    assert client.join(session_id)["clients"][0]["actor"] == actor


@pytest.mark.parametrize("actor", ["", "x" * 65, "a\nb", "\0", 5, None, ["ann"], {"a": 1}, True], ids=repr)
def test_another_name_is_never_shown(
    shared_server: Server, connect: Connect, session_id: str, actor: Any
) -> None:
    """Given a name that does not fit, when a client gives it, then it is refused or anonymous."""
    try:
        client = connect(shared_server, "raw-websocket", auth={"actor": actor})
    except AssertionError:
        return  # refused
    assert client.join(session_id)["clients"][0]["actor"] == "anonymous"


@pytest.mark.parametrize("actor", ["x" * 65, "a\tb", "\x7f"], ids=repr)
def test_another_name_over_rest_is_never_shown(shared_server: Server, session_id: str, actor: str) -> None:
    """Given a header that does not fit, when a command is sent with it, then 400, or it is anonymous."""
    response = shared_server.try_execute(session_id, "CreateNode", {"blueprint_type_id": "x"}, actor=actor)
    if response.status_code == 200:
        assert shared_server.history(session_id)[0]["actor"] == "anonymous"
    else:
        assert response.status_code == 400
        assert shared_server.history(session_id) == []


# Hosts


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.8.9.10",
        "[::1]",
        "[::1]:9",
        "LOCALHOST",
    ],
)
def test_local_hosts_are_answered(shared_server: Server, host: str) -> None:
    """Given localhost or a loopback address as Host, when asked, then it is answered."""
    assert ask(shared_server, Host=host.format(port=shared_server.port)).status == 200


BAD_HOSTS = [
    "example.org", "localhost.example.org", "evil:{port}", "127.0.0.1.nip.io", "10.0.0.1", "0.0.0.0", "[::2]",
    "",
    "localhost:x", "local host", "127.0.0.1@example.org", "example.org#127.0.0.1", "2130706433.example",
]  # fmt: skip


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("path", ["/api/v1/health", POLLING, "/", "/no/such"])
def test_other_hosts_are_421(shared_server: Server, host: str, path: str) -> None:
    """Given a Host that the server does not answer for, when asked anything, then 421 HOST_NOT_ALLOWED."""
    answer = ask(shared_server, path, Host=host.format(port=shared_server.port))
    assert (answer.status, answer.code) == (421, "HOST_NOT_ALLOWED")


def test_a_forwarded_host_does_not_count(shared_server: Server) -> None:
    """Given a wrong Host and a right X-Forwarded-Host, when asked, then 421."""
    answer = ask(shared_server, Host="example.org", X_Forwarded_Host="localhost")
    assert answer.status == 421


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1:80"])
def test_other_hosts_are_421_for_a_websocket_upgrade(
    shared_server: Server, connect: Connect, host: str
) -> None:
    """Given a wrong Host, when a WebSocket upgrade is asked for, then 421 and no WebSocket."""
    with pytest.raises(UpgradeRefused) as refused:
        connect(shared_server, "raw-websocket", headers={"Host": host})
    assert refused.value.status == 421
    assert json.loads(refused.value.body)["error"]["code"] == "HOST_NOT_ALLOWED"


@pytest.fixture(scope="module")
def named_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with allowed hosts and origins of its own."""
    env = {
        "TALUS_ALLOWED_HOSTS": "plan.example.org, garage",
        "TALUS_CORS_ORIGINS": "https://app.example.org, http://garage:8080",
    }
    server = Server(tmp_path_factory.mktemp("named"), env=env).start()
    yield server
    server.stop()


@pytest.mark.parametrize("host", ["plan.example.org", "garage:99", "GARAGE", "localhost"])
def test_allowed_hosts_are_answered(named_server: Server, host: str) -> None:
    """Given TALUS_ALLOWED_HOSTS, when asked under one of them, then it is answered."""
    assert ask(named_server, Host=host).status == 200


def test_hosts_that_only_look_allowed_are_421(named_server: Server) -> None:
    """Given TALUS_ALLOWED_HOSTS, when asked under a name around one of them, then 421."""
    for host in ("x.plan.example.org", "garage.example.org", "example.org", "garag", ""):
        assert ask(named_server, Host=host).status == 421


# Origins


GOOD_ORIGINS = [
    "http://localhost", "http://localhost:3000", "https://localhost:8443", "http://127.0.0.1:5173",
    "http://[::1]:3000", "http://127.1.2.3",
]  # fmt: skip
BAD_ORIGINS = [
    "https://example.org", "http://localhost.example.org", "http://127.0.0.1.nip.io", "null", "http://evil:3000",
    "http://user@localhost", "localhost", "http://", "http://10.0.0.1", "file://", "http://localhost:x",
]  # fmt: skip


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
@pytest.mark.parametrize("path", ["/api/v1/health", POLLING])
def test_pages_of_this_machine_are_answered(shared_server: Server, origin: str, path: str) -> None:
    """Given a page on localhost or a loopback address, any port, when it asks, then CORS lets it read."""
    answer = ask(shared_server, path, Origin=origin)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] in (origin, "*")


@pytest.mark.parametrize("origin", BAD_ORIGINS)
@pytest.mark.parametrize("path", ["/api/v1/health", POLLING, "/"])
def test_pages_of_other_origins_are_403(shared_server: Server, origin: str, path: str) -> None:
    """Given a page of another origin, when it asks anything, then 403 FORBIDDEN without CORS headers."""
    answer = ask(shared_server, path, Origin=origin)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_pages_of_other_origins_cannot_upgrade(shared_server: Server, connect: Connect, origin: str) -> None:
    """Given a page of another origin, when it asks for a WebSocket, then 403 FORBIDDEN and no WebSocket."""
    with pytest.raises(UpgradeRefused) as refused:
        connect(shared_server, "raw-websocket", headers={"Origin": origin})
    assert refused.value.status == 403
    assert json.loads(refused.value.body)["error"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
def test_pages_of_this_machine_can_upgrade(shared_server: Server, connect: Connect, origin: str) -> None:
    """Given a page on this machine, when it asks for a WebSocket, then it gets one."""
    connect(shared_server, "raw-websocket", headers={"Origin": origin}).settle()


def test_an_upgrade_of_a_polling_connection_is_checked_too(shared_server: Server, connect: Connect) -> None:
    """Given a polling connection, when another origin asks to upgrade it, then 403, and polling goes on."""
    client = connect(shared_server, "raw-polling")
    sid = client.handshake["sid"]  # type: ignore[attr-defined]
    query = f"EIO=4&transport=websocket&sid={sid}"
    with pytest.raises(UpgradeRefused) as refused:
        RawWebSocket(shared_server.url, headers={"Origin": "http://evil"}, query=query, connect=False)
    assert refused.value.status == 403
    client.settle()


PREFLIGHT = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}


@pytest.mark.parametrize(
    "path", ["/api/v1/commands/execute", "/api/v1/sessions/x/info", "/api/v1/graph", "/api/v1/sessions/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_preflights_allow_all_methods_and_headers(shared_server: Server, path: str, method: str) -> None:
    """Given a page on this machine, when it asks beforehand, then methods and headers of section 4 are
    allowed."""
    asked = "content-type,authorization,talus-actor,if-none-match"
    answer = ask(
        shared_server,
        path,
        "OPTIONS",
        Origin="http://localhost:3000",
        Access_Control_Request_Method=method,
        Access_Control_Request_Headers=asked,
    )
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] in ("http://localhost:3000", "*")
    assert {"get", "post", "put", "delete"} <= answer.listed("access-control-allow-methods")
    assert set(asked.split(",")) <= answer.listed("access-control-allow-headers")


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_preflights_of_other_origins_are_403(shared_server: Server, origin: str) -> None:
    """Given a page of another origin, when it asks beforehand, then 403 and no CORS headers."""
    answer = ask(shared_server, "/api/v1/sessions", "OPTIONS", Origin=origin, **PREFLIGHT)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path, method, status",
    [
        ("/api/v1/no/such", "GET", 404),
        ("/api/v1/graph", "GET", 400),
        ("/api/v1/graph?session_id=none", "GET", 404),
        ("/api/v1/graph", "DELETE", 405),
        ("/api/v1/sessions", "POST", 415),
        ("/api/v1/health", "GET", 200),
    ],
)
def test_error_answers_can_be_read_by_pages(
    shared_server: Server, path: str, method: str, status: int
) -> None:
    """Given a page on this machine, when its call is refused, then CORS lets it read the error and ETag."""
    extra = {"Content_Type": "text/plain", "Content_Length": "0"} if method == "POST" else {}
    answer = ask(shared_server, path, method, Origin="http://localhost:3000", **extra)
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] in ("http://localhost:3000", "*")
    assert {"etag", "retry-after"} <= answer.listed("access-control-expose-headers")


def test_the_servers_own_origin_is_answered(named_server: Server) -> None:
    """Given a page that the server itself served under an allowed host, when it asks, then it is answered."""
    host = f"plan.example.org:{named_server.port}"
    assert ask(named_server, Host=host, Origin=f"http://{host}").status == 200
    assert ask(named_server, Host=host, Origin="http://other.example.org").status == 403


def test_allowed_origins_are_answered(named_server: Server, connect: Connect) -> None:
    """Given TALUS_CORS_ORIGINS, when a page of one asks, then it is answered; others around it are 403."""
    for origin in ("https://app.example.org", "http://garage:8080"):
        answer = ask(named_server, Origin=origin)
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == origin
        assert "origin" in answer.listed("vary")
        connect(named_server, "raw-websocket", headers={"Origin": origin}).settle()
    for origin in (
        "http://app.example.org",
        "https://app.example.org:444",
        "http://garage",
        "https://example.org",
    ):
        assert ask(named_server, Origin=origin).status == 403


# Where the server listens


def refusal_to_start(folder: Path, *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`talus serve` that is expected to end by itself."""
    server = Server(folder, env=env)
    command = [
        sys.executable,
        "-m",
        "talus",
        "serve",
        "--port",
        "0",
        "--database",
        str(server.database),
        *flags,
    ]
    return subprocess.run(
        command, cwd=REPOSITORY, env=server.env, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_without_tokens_the_server_does_not_listen_beyond_loopback(tmp_path: Path, host: str) -> None:
    """Given TALUS_AUTH=none and a host beyond loopback, when it starts, then it ends with a reason and not
    0."""
    ended = refusal_to_start(tmp_path, TALUS_HOST=host)
    assert ended.returncode != 0
    assert "TALUS_INSECURE_LAN" in ended.stderr + ended.stdout
    assert "listening" not in ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("value", ["0", "", "no"])
def test_only_1_opens_the_lan(tmp_path: Path, value: str) -> None:
    """Given TALUS_INSECURE_LAN of anything but 1, when it starts beyond loopback, then it ends with not 0."""
    ended = refusal_to_start(tmp_path, TALUS_HOST="0.0.0.0", TALUS_INSECURE_LAN=value)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr


def test_with_insecure_lan_it_listens_and_takes_any_ip_address_as_host(
    start_server: Callable[..., Server],
) -> None:
    """Given TALUS_INSECURE_LAN=1 and all addresses, when asked under an IP address, then 200; a name is
    421."""
    server = start_server(env={"TALUS_HOST": "0.0.0.0", "TALUS_INSECURE_LAN": "1"})
    assert "talus listening on http://0.0.0.0:" in server.printed
    for host in ("10.1.2.3:5000", "192.168.0.7", "127.0.0.1"):
        assert ask(server, Host=host).status == 200
    assert ask(server, Host="example.org").status == 421
    assert ask(server, Host="10.1.2.3", Origin="http://localhost:3000").status == 403
    assert ask(server, Host="10.1.2.3", Origin="http://10.1.2.3").status == 200


@pytest.mark.parametrize("value", ["None", "basic", "", "jwt,none"])
def test_any_other_value_of_talus_auth_does_not_start(tmp_path: Path, value: str) -> None:
    """Given TALUS_AUTH of another value, when the server starts, then it ends with a reason and not 0."""
    ended = refusal_to_start(tmp_path, TALUS_AUTH=value)
    assert ended.returncode != 0
    assert "TALUS_AUTH" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def test_localhost_is_127_0_0_1_and_ipv6_where_there_is_one(shared_server: Server) -> None:
    """Given the default host, when the server is ready, then it printed 127.0.0.1, and answers on ::1 as
    well."""
    assert f"talus listening on http://127.0.0.1:{shared_server.port}" in shared_server.printed
    try:
        connection = socket.create_connection(("::1", shared_server.port), timeout=5)
    except OSError as error:
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no ::1")
        raise AssertionError("::1 does not answer") from error
    with connection:
        connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
        assert connection.recv(15).startswith(b"HTTP/1.1 200")


def test_a_request_head_must_be_there_within_10_s(shared_server: Server) -> None:
    """Given half a request head, when 10 s have passed, then the connection ends; likewise body and 20 s."""
    head = socket.create_connection(("127.0.0.1", shared_server.port), timeout=30)
    body = socket.create_connection(("127.0.0.1", shared_server.port), timeout=30)
    began = time.monotonic()
    head.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: loc")
    body.sendall(
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    while head.recv(4096):
        pass
    assert 8 < time.monotonic() - began < 13
    while body.recv(4096):
        pass
    assert 15 < time.monotonic() - began < 25
    head.close()
    body.close()


def test_the_client_limit_holds(start_server: Callable[..., Server], connect: Connect) -> None:
    """Given TALUS_MAX_CLIENTS=5, when a sixth connects, then it is refused, until one has gone."""
    server = start_server(env={"TALUS_MAX_CLIENTS": "5"})
    clients = [connect(server, "raw-websocket") for _ in range(5)]
    with pytest.raises((AssertionError, OSError)):
        connect(server, "raw-websocket", timeout=5)
    for client in clients:
        client.settle()
    clients[0].close()
    deadline = time.monotonic() + 10
    while True:
        try:
            connect(server, "raw-websocket", timeout=5).settle()
            break
        except (AssertionError, OSError):
            assert time.monotonic() < deadline


def test_none_is_the_way_to_run_it_at_home(shared_server: Server, connect: Connect, session_id: str) -> None:
    """Given no tokens, when anyone does anything, then it is done: tokens sent along do not matter."""
    client = connect(shared_server, "raw-websocket", auth={"token": "rubbish", "actor": "ann"})
    assert client.join(session_id)["clients"][0]["actor"] == "ann"
    response = shared_server.get("/sessions", headers={"Authorization": "Bearer rubbish"})
    assert response.status_code == 200
    with pytest.raises(ErrorHeard):
        client.join("-" + new_id())
