"""https and wss: TALUS_TLS_CERT and TALUS_TLS_KEY, with a certificate authority of the tests' own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import socketio

from tests.support.clients import NODE_CLIENTS, RawWebSocket, UpgradeRefused
from tests.support.server import Server
from tests.support.tokens import (
    as_user,
    auth,
    bearer,
    guarded,
    jwt_settings,
    token,
    why_no_start,
)

CREATE = {"blueprint_type_id": "part"}
HEAD_S = 10.0  # the contract: a request's head must be there within 10 s
STALL_S = 10.0  # and: only one that takes nothing for 10 s while something waits for it is cut
LATE_S = 4.0  # of grace, for a machine that is busy
EC = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


class Certificate(NamedTuple):
    """Files in PEM: who signed it, itself, and its private key."""

    authority: Path
    cert: Path
    key: Path

    @property
    def settings(self) -> dict[str, str]:
        return {"TALUS_TLS_CERT": str(self.cert), "TALUS_TLS_KEY": str(self.key)}

    def context(self) -> ssl.SSLContext:
        """What a client needs that trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.authority))


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def new_key(folder: Path, name: str) -> None:
    openssl(folder, "genpkey", *EC, "-out", name)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 and localhost, signed by an authority made for this run."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "authority.ext").write_text(
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    )
    (folder / "server.ext").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\nbasicConstraints=CA:FALSE\n"
    )
    for name in ("authority", "server"):
        new_key(folder, f"{name}.key")
        openssl(
            folder,
            "req",
            "-new",
            "-key",
            f"{name}.key",
            "-subj",
            f"/CN=talus tests {name}",
            "-out",
            f"{name}.csr",
        )
    signing = {
        "authority": ("-signkey", "authority.key"),
        "server": ("-CA", "authority.pem", "-CAkey", "authority.key", "-set_serial", "2"),
    }
    for name, by in signing.items():
        openssl(
            folder, "x509", "-req", "-days", "2", "-in", f"{name}.csr", *by, "-extfile", f"{name}.ext",
            "-out", f"{name}.pem",
        )  # fmt: skip
    return Certificate(folder / "authority.pem", folder / "server.pem", folder / "server.key")


@pytest.fixture(scope="module")
def server(certificate: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with tokens and TLS for this module; nothing secret, and no traceback, in its log."""
    folder = tmp_path_factory.mktemp("guarded")
    with guarded(folder, TALUS_RATE_COMMANDS="0", **certificate.settings) as running:
        running.http.verify = str(certificate.authority)
        yield running


@pytest.fixture
def ann(server: Server, certificate: Certificate) -> Server:
    met = as_user(server, "ann")
    met.http.verify = str(certificate.authority)
    return met


class SecureWebSocket(RawWebSocket):
    """A WebSocket over TLS whose every byte the test decides."""

    def __init__(self, url: str, context: ssl.SSLContext, **options: Any) -> None:
        self._context = context
        super().__init__(url, **options)

    def _upgrade(self, query: str, headers: dict[str, str]) -> None:
        self.socket = self._context.wrap_socket(self.socket, server_hostname=self.host)
        super()._upgrade(query, headers)


OpenSocket = Callable[..., SecureWebSocket]


@pytest.fixture
def open_socket(server: Server, certificate: Certificate) -> Iterator[OpenSocket]:
    """Connects WebSockets of Ann's over TLS; they are cut when the test ends."""
    opened: list[SecureWebSocket] = []

    def open_one(**options: Any) -> SecureWebSocket:
        options.setdefault("auth", auth("ann"))
        client = SecureWebSocket(server.url, certificate.context(), **options)
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.cut()


def get(server: Server, context: ssl.SSLContext, **headers: str) -> http.client.HTTPResponse:
    """`GET /sessions` of Ann's over a connection of its own."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=15, context=context)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", "/api/v1/sessions", headers=bearer(token()) | headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


# What works


def test_the_ready_line_says_https(server: Server) -> None:
    """Given a certificate and its key, when the server is ready, then it says where, with https."""
    assert re.search(
        rf"^talus listening on https://127\.0\.0\.1:{server.port}$", server.printed, re.MULTILINE
    )


def test_rest_works_over_https(ann: Server, certificate: Certificate) -> None:
    """Given a client that trusts the authority, when it calls, then it is served; one that does not is
    not."""
    session_id = ann.new_session()
    node = ann.create(session_id)
    assert [root["id"] for root in ann.graph(session_id)["roots"]] == [node]
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{ann.url}/api/v1/health", timeout=10)
    assert get(ann, certificate.context()).status == 200


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="-".join)
def test_the_python_client_works_over_tls(
    ann: Server, certificate: Certificate, transports: list[str]
) -> None:
    """Given the stock Python client, when it connects over wss or polls over https, then it joins, commands
    and hears."""
    session_id = ann.new_session()
    session = requests.Session()
    session.trust_env = False
    session.verify = str(certificate.authority)
    with socketio.SimpleClient(http_session=session, handle_sigint=False, json=json) as client:
        client.connect(ann.url, auth=auth("ann"), transports=transports, wait_timeout=15)
        assert client.transport == transports[-1]
        answer = client.call("join_session", {"session_id": session_id}, timeout=15)
        assert answer["clients"][0]["actor"] == "ann"
        payload = {"session_id": session_id, "command_type": "CreateNode", "data": CREATE}
        assert client.call("execute_command", payload, timeout=15)["version"] == 1
        heard = []
        while "command:executed" not in heard:
            heard.append(client.receive(timeout=15)[0])
        assert heard.index("node-created") < heard.index("command:executed")


NODE_SCRIPT = """
import { io } from "socket.io-client";
const { url, token, session_id, transports } = JSON.parse(process.env.ASKED);
const socket = io(url, { transports, auth: { token }, reconnection: false });
const heard = [];
socket.onAny((name) => heard.push(name));
socket.on("connect_error", (error) => console.log(JSON.stringify({ error: error.message })));
socket.on("connect", async () => {
  const joined = await socket.emitWithAck("join_session", { session_id });
  const data = { blueprint_type_id: "part" };
  const done = await socket.emitWithAck("execute_command", { session_id, command_type: "CreateNode", data });
  console.log(JSON.stringify({ joined, done, heard, transport: socket.io.engine.transport.name }));
  socket.close();
});
"""


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids="-".join)
def test_the_javascript_client_works_over_tls(
    ann: Server, certificate: Certificate, transports: list[str]
) -> None:
    """Given the stock JavaScript client in Node, when it connects over wss or polls over https, then it
    joins, commands and hears; without the authority it does not connect."""
    session_id = ann.new_session()
    asked = {"url": ann.url, "token": token(), "session_id": session_id, "transports": transports}
    env = os.environ | {"ASKED": json.dumps(asked)}
    said = []
    for trust in ({"NODE_EXTRA_CA_CERTS": str(certificate.authority)}, {}):
        done = subprocess.run(
            ["node", "--input-type=module", "-e", NODE_SCRIPT],
            cwd=NODE_CLIENTS,
            env=env | trust,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        said.append(json.loads(done.stdout))
    trusting, doubting = said
    assert (trusting["joined"]["session_id"], trusting["done"]["version"]) == (session_id, 1)
    assert trusting["transport"] == transports[-1]
    assert {"joined", "session:connected", "node-created", "command:executed"} <= set(trusting["heard"])
    assert doubting.keys() == {"error"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_tls_1_2_and_1_3_are_spoken(
    server: Server, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    """Given a client of one version, when it asks, then it is served in that version."""
    context = certificate.context()
    context.minimum_version = context.maximum_version = version
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", server.port), timeout=15), server_hostname="localhost"
    ) as connection:
        assert connection.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
    assert get(server, context).status == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of setting an old version, which is the point
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda v: v.name)
def test_older_versions_are_refused(
    server: Server, certificate: Certificate, version: ssl.TLSVersion
) -> None:
    """Given a client that speaks TLS 1.0 or 1.1 alone, when it shakes hands, then the server says that the
    version is none that it speaks."""
    context = certificate.context()
    context.set_ciphers("ALL:@SECLEVEL=0")  # else this side would not even try
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection,
        pytest.raises(ssl.SSLError) as refused,
    ):
        context.wrap_socket(connection, server_hostname="localhost")
    assert "ALERT_PROTOCOL_VERSION" in str(refused.value.reason), refused.value


# Where it does not start


def test_a_certificate_without_its_key_does_not_start(tmp_path: Path, certificate: Certificate) -> None:
    """Given one of the two settings, when the server starts, then it ends with a line that names both."""
    for name, value in certificate.settings.items():
        line = why_no_start(tmp_path, **{name: value})
        assert "TALUS_TLS_CERT" in line and "TALUS_TLS_KEY" in line, line


def unusable(folder: Path, certificate: Certificate) -> dict[str, tuple[Path, Path]]:
    """Pairs of files that are no certificate with its key."""
    (folder / "rubbish.pem").write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
    (folder / "empty.pem").write_bytes(b"")
    (folder / "bytes.pem").write_bytes(bytes(range(256)))
    new_key(folder, "other.key")
    cert, key = certificate.cert, certificate.key
    return {
        "no certificate": (folder / "nowhere.pem", key),
        "no key": (cert, folder / "nowhere.key"),
        "a folder": (folder, key),
        "rubbish": (folder / "rubbish.pem", key),
        "empty": (folder / "empty.pem", key),
        "bytes": (folder / "bytes.pem", key),
        "an empty key": (cert, folder / "empty.pem"),
        "another's key": (cert, folder / "other.key"),
        "swapped": (key, cert),
    }


def test_a_bad_certificate_does_not_start(tmp_path: Path, certificate: Certificate) -> None:
    """Given files that are no certificate with its key, when the server starts, then it ends with one line
    that names one of the two and no other path."""
    for name, (cert, key) in unusable(tmp_path, certificate).items():
        line = why_no_start(tmp_path, TALUS_TLS_CERT=str(cert), TALUS_TLS_KEY=str(key))
        assert str(cert) in line or str(key) in line, (name, line)
        others = line.replace(str(cert), "").replace(str(key), "")
        assert re.findall(r"(?<!\w)/[^\s:,;'\"]+", others) == [], (name, line)


def test_a_locked_key_does_not_start(tmp_path: Path, certificate: Certificate) -> None:
    """Given a key under a password, when the server starts, then it ends with one line, and asks nobody for
    the password: there may be nobody, and a server that waits for one never answers."""
    openssl(tmp_path, "pkey", "-in", str(certificate.key), "-aes256", "-passout", "pass:x", "-out", "key")
    settings = certificate.settings | {"TALUS_TLS_KEY": str(tmp_path / "key")}
    line = why_no_start(tmp_path, **settings)
    assert str(certificate.cert) in line or str(tmp_path / "key") in line, line


# Peers that do not speak TLS as they should


def test_plain_http_is_turned_away_without_harm(ann: Server) -> None:
    """Given a client that speaks plain HTTP, or rubbish, when it sends, then the connection ends unserved,
    and others are served."""
    for said in (
        b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: x\r\n\r\n",
        bytes(2_000),
        b"\x16\x03\x01\xff\xff" + b"\xff" * 5_000,
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        os.urandom(3_000),
    ):
        with socket.create_connection(("127.0.0.1", ann.port), timeout=HEAD_S + LATE_S) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(said)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(4_096):
                    answer += piece
            assert b"HTTP/1.1 200" not in answer and b"HTTP/1.1 101" not in answer, answer
    assert ann.get("/sessions").status_code == 200


def client_hello() -> bytes:
    """The first flight of a handshake."""
    outgoing = ssl.MemoryBIO()
    engine = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        engine.do_handshake()
    return outgoing.read()


def until_closed(connection: socket.socket, drop: Callable[[], bytes]) -> float:
    """Seconds until the server closes, while half a second apart what `drop` gives is sent."""
    began = time.monotonic()
    connection.settimeout(0.5)
    while time.monotonic() < began + HEAD_S + LATE_S + 1:
        try:
            connection.sendall(drop())
            if not connection.recv(4_096):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_who_never_shakes_hands_is_closed(ann: Server, certificate: Certificate) -> None:
    """Given clients that say nothing, a byte, half a handshake, or a byte now and then, or shake hands and
    ask nothing, when 10 s have passed, then each connection was closed, and nobody else waited."""
    hello = client_hello()
    dribble = iter(hello)
    first_words: dict[str, bytes] = {"nothing": b"", "a byte": hello[:1], "half": hello[: len(hello) // 2]}
    first_words |= {"the whole first flight": hello, "a byte now and then": b"", "a handshake": b""}
    files = ann.files()
    opened = {name: socket.create_connection(("127.0.0.1", ann.port), timeout=15) for name in first_words}
    opened["a handshake"] = certificate.context().wrap_socket(
        opened["a handshake"], server_hostname="localhost"
    )
    took_s: dict[str, float] = {}

    def wait(name: str) -> None:
        if first_words[name]:
            opened[name].sendall(first_words[name])
        drips = name == "a byte now and then"
        took_s[name] = until_closed(opened[name], lambda: bytes([next(dribble)]) if drips else b"")

    waiting = [threading.Thread(target=wait, args=(name,)) for name in opened]
    for thread in waiting:
        thread.start()
    calls_s = []
    while any(thread.is_alive() for thread in waiting):
        began = time.monotonic()
        assert ann.get("/sessions").status_code == 200
        calls_s.append(time.monotonic() - began)
        waiting[0].join(0.2)
    for connection in opened.values():
        connection.close()
    assert all(HEAD_S - 2 < each < HEAD_S + LATE_S for each in took_s.values()), took_s
    assert max(calls_s) < 1, "somebody waited"
    freed(ann, files + 1)  # one for the connection that Ann keeps


def freed(server: Server, files: int, within_s: float = 10.0) -> None:
    """Until the server has at most so many files open."""
    deadline = time.monotonic() + within_s
    met = threading.Event()
    while server.files() > files:
        assert time.monotonic() < deadline, f"{server.files()} files are open, {files} were"
        met.wait(0.05)  # between two looks


def test_half_closed_connections_are_freed(
    ann: Server, certificate: Certificate, open_socket: OpenSocket
) -> None:
    """Given connections over TLS whose clients close their half, with or without saying so in TLS, in the
    handshake, after a request, or as an open socket, when the server has seen it, then their files are
    freed."""
    session_id = ann.new_session()
    witness = open_socket()
    witness.join(session_id)
    files = ann.files()
    kept: list[Any] = []  # held open on this side
    for _ in range(5):
        halved, cut = open_socket(), open_socket()
        for client in (halved, cut):
            client.join(session_id)
        socket.socket.shutdown(halved.socket, socket.SHUT_WR)  # half of TCP, and no word in TLS
        cut.cut()
        for says_so in (True, False):
            asked = secure(ann, certificate)
            asked.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert asked.recv(15) == b"HTTP/1.1 200 OK"
            kept.append(asked)
            if says_so:
                with contextlib.suppress(OSError):  # the answer in TLS need not come
                    kept.append(asked.unwrap())
            else:
                socket.socket.shutdown(asked, socket.SHUT_WR)
        shaking = socket.create_connection(("127.0.0.1", ann.port), timeout=15)
        shaking.sendall(client_hello())
        shaking.shutdown(socket.SHUT_WR)
        kept += [halved.socket, shaking]
    freed(ann, files)
    witness.wait_until(lambda: len(witness.heard("session:disconnected")) == 10, what="10 goodbyes")
    for each in kept:
        each.close()


def secure(server: Server, certificate: Certificate) -> ssl.SSLSocket:
    """A connection that has shaken hands."""
    return certificate.context().wrap_socket(
        socket.create_connection(("127.0.0.1", server.port), timeout=15), server_hostname="localhost"
    )


# Large and slow


def large(session_id: str, size: int) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "command_type": "CreateNode",
        "data": {"blueprint_type_id": "part", "properties": {"a": "ж" * (size // 4), "b": "x" * (size // 2)}},
    }


def test_large_events_reach_slow_and_fast_clients_whole(ann: Server, open_socket: OpenSocket) -> None:
    """Given a client that stops reading, when commands of nearly 400 kB each go round over wss, then a fast
    client hears each while the slow one is held, and that one has all of them whole once it reads."""
    session_id = ann.new_session()
    slow, fast = open_socket(receive_buffer=16 * 1024), open_socket()
    for client in (slow, fast):
        client.join(session_id)
    slow.settle()
    slow.pause()
    for version in range(1, 13):
        assert fast.call("execute_command", large(session_id, 390_000))["version"] == version
    slow.resume()
    for client in (fast, slow):
        client.wait_version(session_id, 12)
        nodes = [said["node"] for said in client.heard("node-created")]
        assert [len(node["properties"]["a"]) for node in nodes] == [390_000 // 4] * 12
        assert [said["version"] for said in client.heard("node-created")] == list(range(1, 13))
        client.settle()


def test_a_message_of_nearly_a_megabyte_goes_up_and_down(ann: Server, open_socket: OpenSocket) -> None:
    """Given a batch of nearly 1,000,000 bytes, when it is sent over wss, then it is done, others are served
    meanwhile, and its facts are heard whole."""
    session_id = ann.new_session()
    client, witness = open_socket(), open_socket()
    witness.join(session_id)
    commands = [
        {"command_type": "CreateNode", "data": CREATE | {"properties": {"p": "x" * 240_000}}}
        for _ in range(4)
    ]
    payload = {"session_id": session_id, "command_type": "Batch", "data": {"commands": commands}}
    assert 950_000 < len(json.dumps(payload)) < 990_000
    ack = client.begin("execute_command", payload)
    witness.settle()
    assert ack.get()["version"] == 1
    witness.wait_version(session_id, 1)
    assert [len(said["node"]["properties"]["p"]) for said in witness.heard("node-created")] == [240_000] * 4


def test_a_slow_but_steady_client_over_tls_is_not_cut(
    ann: Server, certificate: Certificate, open_socket: OpenSocket
) -> None:
    """Given a client over TLS that takes a few kB each second, when megabytes wait for it, then past the 10 s
    after which one that takes nothing is cut it is still there, and then gets the rest whole."""
    session_id = ann.new_session()
    for _ in range(6):
        response = ann.post("/commands/execute", large(session_id, 390_000))
        assert response.status_code == 200
    client = SlowWebSocket(ann.url, certificate.context(), auth=auth("ann"), receive_buffer=16 * 1024)
    client.slow = True
    client.emit("join_session", {"session_id": session_id, "since": 0})
    deadline = time.monotonic() + STALL_S + 3
    witness = open_socket()
    while time.monotonic() < deadline:
        assert not client.ended.is_set(), "it was cut"
        witness.settle()
        client.ended.wait(0.2)
    assert len(client.heard("command:executed")) < 6, "it was not slow enough for anything to wait"
    assert ann.get(f"/sessions/{session_id}/info").json()["active_clients"] == 1
    client.slow = False
    client.wait_version(session_id, 6)
    assert [len(said["node"]["properties"]["b"]) for said in client.heard("node-created")] == [195_000] * 6
    client.cut()


class SlowWebSocket(SecureWebSocket):
    """Takes 4 kB a time, ten times a second, while it is `slow`."""

    slow = False

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if self.slow:
                self.ended.wait(0.1)  # its pace
            data += super()._exactly(min(count - len(data), 4_096 if self.slow else count))
        return data


# Origins, and the network


def test_a_server_with_tokens_and_tls_listens_to_the_network(
    certificate: Certificate, tmp_path: Path
) -> None:
    """Given TALUS_HOST=0.0.0.0 with tokens and TLS, when it is asked, then it is served by https and wss; the
    server's own origin is the one with https, and others are refused."""
    with guarded(tmp_path, TALUS_HOST="0.0.0.0", **certificate.settings) as server:
        assert f"talus listening on https://0.0.0.0:{server.port}" in server.printed
        host = f"127.0.0.1:{server.port}"
        context = certificate.context()
        own, port = f"https://{host}", server.port
        answered = get(server, context, Host=host, Origin=own)
        assert answered.status == 200
        assert answered.headers["Access-Control-Allow-Origin"] == own
        url = f"https://127.0.0.1:{port}"
        for origin in (f"http://{host}", f"https://127.0.0.1:{port + 1}", "https://localhost", "null"):
            assert get(server, context, Host=host, Origin=origin).status == 403, origin
            with pytest.raises(UpgradeRefused) as refused:
                SecureWebSocket(url, context, auth=auth("ann"), headers={"Origin": origin})
            assert refused.value.status == 403
        client = SecureWebSocket(url, context, auth=auth("ann"), headers={"Origin": own})
        client.settle()
        client.cut()


def test_with_tokens_the_network_is_open_and_without_closed(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """Given TALUS_HOST=0.0.0.0, when there are tokens, then the server starts, and warns where they go in the
    clear; without tokens it does not start."""
    server = start_server(env=jwt_settings(tmp_path, TALUS_HOST="0.0.0.0"))
    assert f"talus listening on http://0.0.0.0:{server.port}" in server.printed
    address = f"http://127.0.0.1:{server.port}/api/v1/sessions"
    assert requests.get(address, headers=bearer(token()), timeout=10).status_code == 200
    assert requests.get(address, timeout=10).status_code == 401
    assert "TALUS_TLS_CERT" in server.log()
    assert "TALUS_INSECURE_LAN" in why_no_start(tmp_path, TALUS_HOST="0.0.0.0")


def test_tls_alone_does_not_open_the_network(certificate: Certificate, tmp_path: Path) -> None:
    """Given TLS and no tokens, when the server is to listen beyond loopback, then it does not start: TLS says
    nothing about who calls."""
    assert "TALUS_INSECURE_LAN" in why_no_start(tmp_path, TALUS_HOST="0.0.0.0", **certificate.settings)
