"""What must not happen, whatever clients do: each of these was once seen to happen."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Client, RawPolling, RawWebSocket
from tests.support.follower import Follower
from tests.support.server import Server

Connect = Callable[..., Client]
Follow = Callable[..., Follower]

HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def exchange(server: Server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, dict(response.headers), response.read()


def head(path: str, headers: dict[str, str], version: str = "1.1") -> bytes:
    lines = [f"GET {path} HTTP/{version}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def test_those_who_come_at_once_open_one_session(shared_server: Server, connect: Connect) -> None:
    """Given eight clients, when all join the same new id at once, then one opened it, and all are in it."""
    clients = [connect(shared_server, "raw-websocket") for _ in range(8)]
    session_id = f"room-{uuid.uuid4()}"
    acks = [client.begin("join_session", {"session_id": session_id}) for client in clients]
    joined = [ack.get() for ack in acks]
    assert [answer["created"] for answer in joined].count(True) == 1
    assert sorted(answer["active_clients"] for answer in joined) == list(range(1, 9))
    assert shared_server.delete(f"/sessions/{session_id}").status_code == 409


@pytest.mark.parametrize(
    "event, payload, code",
    [
        (
            "execute_command",
            '{"session_id":"%s","command_type":"CreateNode","data":{"\\ud800":1}}',
            "INVALID_COMMAND",
        ),
        ("execute_command", '{"session_id":"%s","command_type":"CreateNode","data":{},"\\ud800":1}', None),
        ("undo_command", '{"session_id":"%s","scope":"\\ud800"}', "INVALID_REQUEST"),
        ("join_session", '{"session_id":"%s","\\ud800":1}', "INVALID_REQUEST"),
        (
            "execute_command",
            '{"session_id":"%s","command_type":"CreateNode","data":{"blueprint_type_id":"x","properties":{"p":'
            + "[" * 951
            + "]" * 951
            + "}}}",
            "INVALID_VALUE",
        ),
    ],
)
def test_a_call_that_cannot_be_read_is_answered_and_the_next_one_too(
    shared_server: Server, connect: Connect, session_id: str, event: str, payload: str, code: str | None
) -> None:
    """Given half characters and deep nesting in a call, then it is refused, and the client goes on."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.send_packet(f'421["{event}",{payload.replace("%s", session_id)}]')
    client.wait_until(lambda: any(packet.startswith("431") for packet in client.packets))
    answer = json.loads(next(packet for packet in client.packets if packet.startswith("431"))[3:])[0]
    assert code is None or answer["error"]["code"] == code
    client.settle()


def test_left_comes_for_half_a_character_too(shared_server: Server, connect: Connect) -> None:
    """Given an id that no UTF-8 text can hold, when it is left, then `left` comes, in ASCII."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.send_packet('42["leave_session",{"session_id":"\\ud800"}]')
    assert client.wait_for("left")["session_id"] == "\ud800"


@pytest.mark.parametrize("digits", [400, 5_000])
def test_a_huge_integer_is_an_invalid_value(shared_server: Server, session_id: str, digits: int) -> None:
    """Given an integer of thousands of digits, when it is set, then INVALID_VALUE."""
    node = shared_server.create(session_id)
    body = f'{{"session_id":"{session_id}","command_type":"UpdateProperty","data":' + (
        f'{{"node_id":"{node}","property_id":"p","value":{"9" * digits}}}}}'
    )
    response = shared_server.request(
        "POST", "/commands/execute", data=body, headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (409, "INVALID_VALUE")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_slow_but_steady_client_is_not_cut(server: Server, transport: str) -> None:
    """Given a client that takes a few kB each second, when 5 MB wait for it, then it is there 20 s later."""
    session_id = server.new_session()
    for _ in range(40):
        data = {"node_id": server.create(session_id), "property_id": "p", "value": "x" * 120_000}
        server.execute(session_id, "UpdateProperty", data)
    packets = ("40", f'42["join_session",{{"session_id":"{session_id}","since":0}}]')
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    connection.connect(("127.0.0.1", server.port))
    connection.settimeout(10)
    if transport == "polling":
        sid = _polling_sid(server)
        for packet in packets:
            _post(server, sid, packet)
            exchange(server, _poll(sid))  # what answers the packet; what comes next is long
        connection.sendall(_poll(sid))
    else:
        connection.sendall(head("/socket.io/?EIO=4&transport=websocket", HANDSHAKE))
        assert connection.recv(12) == b"HTTP/1.1 101"
        for packet in packets:
            connection.sendall(_masked(packet))
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert connection.recv(2_000), "the connection was cut"
        time.sleep(0.2)  # the pace that this test is about
    assert server.ask(f"/sessions/{session_id}/info")["active_clients"] == 1
    connection.close()


def _poll(sid: str) -> bytes:
    return head(f"/socket.io/?EIO=4&transport=polling&sid={sid}", {"Host": "localhost"})


def _polling_sid(server: Server) -> str:
    _, _, body = exchange(server, head("/socket.io/?EIO=4&transport=polling", {"Host": "localhost"}))
    return str(json.loads(body[1:])["sid"])


def _post(server: Server, sid: str, packet: str) -> None:
    request = (
        f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(packet)}\r\n\r\n{packet}"
    )
    assert exchange(server, request.encode())[0] == 200


def _masked(text: str) -> bytes:
    payload = text.encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + payload  # a mask of zeros changes nothing


def test_deleting_a_session_ends_the_reads_of_its_past(server: Server) -> None:
    """Given reads of past versions, when the session is deleted meanwhile, then each is answered, and the
    server rests afterwards."""
    session_id = server.new_session()
    node = server.create(session_id)
    for _ in range(3):
        commands = [
            {"command_type": "UpdateProperty", "data": {"node_id": node, "property_id": "p", "value": at}}
            for at in range(9_000)
        ]
        server.execute(session_id, "Batch", {"commands": commands})
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(server.get, "/graph", session_id=session_id, version=at % 4) for at in range(8)]
        assert server.delete(f"/sessions/{session_id}", force="true").status_code == 204
        statuses = {read.result(timeout=30).status_code for read in reads}
    assert statuses <= {200, 404}
    assert server.get("/graph", session_id=session_id).status_code == 404


def test_the_past_is_the_version_asked_for_while_others_write(server: Server) -> None:
    """Given a writer, when the newest version is asked for by number, then that one is answered."""
    session_id = server.new_session()
    node = server.create(session_id)
    stop = threading.Event()

    def write() -> None:
        with_own_connection = Server.execute
        value = 0
        while not stop.is_set():
            value += 1
            data = {"node_id": node, "property_id": "p", "value": value}
            with_own_connection(server, session_id, "UpdateProperty", data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            version = server.ask(f"/sessions/{session_id}/info")["version"]
            graph = server.ask("/graph", session_id=session_id, version=version)
            assert graph["version"] == version
            assert graph["roots"][0]["properties"].get("p", 0) == version - 1
    finally:
        stop.set()
        writer.join()


def test_refusals_do_not_put_off_the_checkpoint(server: Server, tmp_path: Path) -> None:
    """Given one commit, when refused commands keep coming, then 1 s later the file alone has the commit."""
    session_id = server.new_session()
    server.create(session_id)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        server.try_execute(session_id, "DeleteNode", {"node_id": "none"})
    copy = tmp_path / "copy.db"
    shutil.copy(server.database, copy)
    with sqlite3.connect(copy) as file:
        assert file.execute("SELECT max(version) FROM commits").fetchone() == (1,)


def test_it_stops_in_time_with_a_long_queue(server: Server) -> None:
    """Given a minute of work in the queue, when SIGTERM comes, then it ends within 10 s, and what was not
    carried out was refused or lost its connection."""
    session_id = server.new_session()

    def batch(_: int) -> Any:
        commands = [{"command_type": "CreateNode", "data": {"blueprint_type_id": "x"}} for _ in range(9_000)]
        try:
            return server.try_execute(session_id, "Batch", {"commands": commands}).status_code
        except OSError:
            return None

    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(batch, at) for at in range(40)]
        while not any(each.done() for each in asked):
            time.sleep(0.05)
        assert server.stop() == 0
        outcomes = [each.result() for each in asked]
    server.start()
    committed = server.ask(f"/sessions/{session_id}/info")["version"]
    assert outcomes.count(200) <= committed


@pytest.mark.parametrize("size", [9_000_000, 30_000_000])
def test_the_answer_to_a_body_that_is_too_large_arrives(shared_server: Server, size: int) -> None:
    """Given a client that sends all before it reads, when its body is too large, then it finds the 413."""
    connection = socket.create_connection(("127.0.0.1", shared_server.port), timeout=20)
    connection.sendall(
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % size
    )
    for _ in range(size // 100_000):
        connection.sendall(bytes(100_000))
    response = http.client.HTTPResponse(connection)
    response.begin()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "PAYLOAD_TOO_LARGE"
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Key": "!!!"},
        {"Sec-WebSocket-Key": "AAAA"},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Version": "99"},
        {"Sec-WebSocket-Version": ""},
        {"Connection": "close"},
    ],
)
def test_a_malformed_handshake_is_refused_in_the_envelope(
    shared_server: Server, change: dict[str, str]
) -> None:
    """Given a handshake that RFC 6455 does not know, when it comes, then 400 and the error envelope."""
    request = head("/socket.io/?EIO=4&transport=websocket", {**HANDSHAKE, **change})
    status, headers, body = exchange(shared_server, request)
    assert (status, headers["Content-Type"]) == (400, "application/json")
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_envelope(shared_server: Server, request_bytes: bytes) -> None:
    """Given a head that cannot be read, when it comes, then the error envelope, and nothing in the log."""
    status, headers, body = exchange(shared_server, request_bytes)
    assert status in (400, 414)
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a b", "://", "x"])
def test_a_malformed_origin_is_a_foreign_one(shared_server: Server, origin: str) -> None:
    """Given an Origin that is no URL, when it comes, then 403."""
    status, _, body = exchange(shared_server, head("/api/v1/health", {"Host": "localhost", "Origin": origin}))
    assert (status, json.loads(body)["error"]["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("cursor", ["OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk6MQ==", "LTE6MQ==", "eA==", "%ff"])
def test_a_forged_cursor_is_an_invalid_request(shared_server: Server, cursor: str) -> None:
    """Given a cursor that the server never gave, when it is sent, then INVALID_REQUEST."""
    response = shared_server.get("/sessions", cursor=cursor)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "INVALID_REQUEST")


def test_script_tags_get_no_connection(shared_server: Server) -> None:
    """Given JSONP, for which browsers send no Origin, when a connection is asked for, then it is refused."""
    path = "/socket.io/?EIO=4&transport=polling&j=0"
    assert exchange(shared_server, head(path, {"Host": "localhost"}))[0] == 400


def test_the_client_limit_is_not_talked_round(start_server: Callable[..., Server], connect: Connect) -> None:
    """Given a full server, when a query holds `sid=` somewhere, then it is full all the same."""
    server = start_server(env={"TALUS_MAX_CLIENTS": "1"})
    connect(server, "raw-websocket")
    path = "/socket.io/?EIO=4&transport=polling&x=sid="
    assert exchange(server, head(path, {"Host": "localhost"}))[0] == 503


@pytest.mark.parametrize("packet", ["43[", "431{bad", "0", "2", "6"])
@pytest.mark.parametrize("kind", ["raw-websocket", "raw-polling"])
def test_packets_that_nobody_may_send_are_answered(
    shared_server: Server, connect: Connect, kind: str, packet: str
) -> None:
    """Given an acknowledgement that is no JSON, or a packet that servers send, then error, or the end."""
    client = connect(shared_server, kind)
    assert isinstance(client, RawPolling | RawWebSocket)
    client.send_packet(packet)
    client.wait_heard(lambda heard: heard.name in ("error", "disconnect"), timeout=5)


def test_a_connection_that_the_server_ended_is_freed(shared_server: Server, connect: Connect) -> None:
    """Given a client that says goodbye and keeps its socket open, then the server closes its side soon."""
    client = connect(shared_server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    before = len(list(Path(f"/proc/{shared_server.pid}/fd").iterdir()))
    client.pause()
    client.send_packet("1")
    deadline = time.monotonic() + 10
    while len(list(Path(f"/proc/{shared_server.pid}/fd").iterdir())) >= before:
        assert time.monotonic() < deadline, "the descriptor is still held"
        time.sleep(0.1)


def test_the_deletion_is_heard_in_the_middle_of_a_feed(server: Server, connect: Connect) -> None:
    """Given a client that is told a large commit slowly, when the session is deleted, then it hears that, and
    stays connected for its other sessions."""
    session_id, other = server.new_session(), server.new_session()
    commands = [
        {"command_type": "CreateNode", "data": {"blueprint_type_id": "x", "name": "n" * 200}}
        for _ in range(9_000)
    ]
    server.execute(session_id, "Batch", {"commands": commands})
    client = connect(server, "raw-websocket")
    assert isinstance(client, RawWebSocket)
    client.join(other)
    client.pause()
    client.emit("join_session", {"session_id": session_id, "since": 0})
    while server.ask(f"/sessions/{session_id}/info")["active_clients"] == 0:
        time.sleep(0.05)
    assert server.delete(f"/sessions/{session_id}", force="true").status_code == 204
    client.resume()
    client.wait_for("session:deleted")
    client.settle()
    server.create(other)
    client.wait_version(other, 1)
