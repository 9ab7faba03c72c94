"""Tokens: who is let in, with which words others are not, and until when (section 5 of the contract)."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.clients import (
    KINDS,
    RAW_KINDS,
    Client,
    ConnectRefused,
    NotHeard,
    RawPolling,
    RawWebSocket,
    UpgradeRefused,
)
from tests.support.server import Server, refusal
from tests.support.tokens import (
    BAD_TEXTS,
    BAD_VALUES,
    DAY_S,
    GOOD_HEADER,
    KEY,
    as_user,
    auth,
    bearer,
    good_claims,
    guarded,
    jwt_settings,
    key_file,
    signed,
    talus,
    token,
    why_no_start,
    with_token,
)

Connect = Callable[..., Client]
Answer = tuple[int, list[tuple[str, str]], bytes]

NO_TOKEN = {"code": "UNAUTHENTICATED", "message": "A valid token is required"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with tokens for this module; in the end its log holds no token and no key."""
    with guarded(tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture(scope="module")
def no_token(server: Server) -> str:
    """The packet that answers a socket without a token."""
    return refused_socket(server, None)


_addresses = (f"{high}.{low}" for high in range(1, 256) for low in range(1, 255))


def ask(server: Server, path: str = "/api/v1/sessions", method: str = "GET", **headers: Any) -> Answer:
    """A request with these very headers: its status, headers but the date, and body."""
    return ask_from(server, path, method, **headers)[0]


def ask_from(
    server: Server, path: str = "/api/v1/sessions", method: str = "GET", **headers: Any
) -> tuple[Answer, str]:
    """A request from an address of its own: who fails often waits, and that is another test's business."""
    address = f"127.0.{next(_addresses)}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15, source_address=(address, 0))
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    try:
        response = connection.getresponse()
        shown = [(name, value) for name, value in response.getheaders() if name != "Date"]
        return (response.status, shown, response.read()), address
    finally:
        connection.close()


def refused_socket(server: Server, said: Any, transport: str = "websocket") -> str:
    """The packet that answers a connection which says this as its `auth`; it must not be let in."""
    opened = RawWebSocket if transport == "websocket" else RawPolling
    client = opened(server.url, connect=False)
    try:
        client.wait_until(lambda: client.handshake, what="the handshake")
        client.send_packet("40" + ("" if said is None else json.dumps(said)))
        client.wait_heard(lambda h: h.name in ("connect", "connect_error"))
        assert client.names() == ["connect_error"], client.packets
        return client.packets[-1]
    finally:
        client.cut()


# One answer


def test_without_a_token_nobody_is_let_in(server: Server) -> None:
    """Given no token, when somebody asks or connects, then UNAUTHENTICATED, over REST with 401."""
    response = server.get("/sessions")
    assert refusal(response) == (401, "UNAUTHENTICATED")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    for transport in ("websocket", "polling"):
        packet = refused_socket(server, None, transport)
        assert packet.startswith("44"), packet
        assert json.loads(packet[2:])["data"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_every_bad_token_gets_the_answer_of_none_over_rest(server: Server, name: str) -> None:
    """Given a token that is not good, when it is shown over REST, then status, headers and body are those of
    no token."""
    shown = BAD_TEXTS[name]().encode()
    assert ask(server, Authorization=b"Bearer " + shown) == ask(server)


@pytest.mark.parametrize("name", BAD_TEXTS | BAD_VALUES)
def test_every_bad_token_gets_the_answer_of_none_over_socket_io(
    server: Server, no_token: str, name: str
) -> None:
    """Given a token that is not good, when a socket shows it, then its connect error is that of no token."""
    shown = (BAD_TEXTS | BAD_VALUES)[name]()
    assert refused_socket(server, {"token": shown}) == no_token


@pytest.mark.parametrize("name", ["empty", "a wrong key", "expired", "alg none, signed", "null", "900 kB"])
def test_a_polling_client_gets_the_same_answer(server: Server, no_token: str, name: str) -> None:
    """Given a token that is not good, when a polling client shows it, then its connect error is the same."""
    shown = (BAD_TEXTS | BAD_VALUES)[name]()
    assert refused_socket(server, {"token": shown}, "polling") == no_token


@pytest.mark.parametrize("said", ["token", 5, True, [], ["token"], {}, {"Token": "x"}, {"actor": "ann"}])
def test_an_auth_that_holds_no_token_gets_the_same_answer(server: Server, no_token: str, said: Any) -> None:
    """Given an `auth` of any shape without a token, when a socket connects, then the same connect error."""
    assert refused_socket(server, said) == no_token


@pytest.mark.parametrize("kind", KINDS)
def test_stock_clients_hear_the_same_of_each(server: Server, connect: Connect, kind: str) -> None:
    """Given a stock client and bad tokens, when it connects, then one `connect_error` with `data.code`."""
    said = []
    for shown in (None, token(lasts=-5), token("x", key=b"y" * 40), "rubbish"):
        with pytest.raises(ConnectRefused) as refused:
            connect(server, kind, auth=None if shown is None else {"token": shown})
        said.append(refused.value.payload)
    assert said[0]["data"]["code"] == "UNAUTHENTICATED", said[0]
    assert said == [said[0]] * 4


@pytest.mark.parametrize("value", [b"", b"Bearer", b"Bearer ", b"Basic YW5uOmFubg==", b"Token ", b"Digest "])
def test_other_schemes_are_no_token(server: Server, value: bytes) -> None:
    """Given an Authorization header that is no Bearer, or holds nothing, when it is sent, then the same
    401."""
    good = b"" if value.rstrip() in (b"", b"Bearer") or b"Basic" in value else token().encode()
    assert ask(server, Authorization=value + good) == ask(server)


def test_a_token_alone_is_no_bearer(server: Server) -> None:
    """Given a good token without its scheme, when it is sent, then the same 401."""
    assert ask(server, Authorization=token()) == ask(server)


def test_a_token_of_a_megabyte_is_refused_and_nothing_is_kept(server: Server) -> None:
    """Given a head of a megabyte, when it is sent, then it is refused or the connection ends, and the server
    goes on."""
    before = server.memory()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
            head = b"GET /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            try:
                connection.sendall(head + b"x" * 1_000_000 + b"\r\n\r\n")
                status = connection.recv(12)
            except OSError:  # it was not even read to its end
                continue
            assert status in (b"", b"HTTP/1.1 400", b"HTTP/1.1 401", b"HTTP/1.1 431"), status
    assert as_user(server, "ann").get("/sessions").status_code == 200
    assert server.memory() - before < 20_000_000


def test_a_refusal_is_logged_with_its_address_alone(server: Server) -> None:
    """Given a bad token from some address, when it is refused, then the log has a line with the address and
    the code; that no token is in it, the end of this module looks at."""
    before = len(server.log())
    address = ask_from(server, Authorization="Bearer " + token(key=b"guess" * 8))[1]
    lines = [line for line in server.log()[before:].splitlines() if address in line]
    assert len(lines) == 1 and "UNAUTHENTICATED" in lines[0], server.log()[before:]


@pytest.mark.parametrize("body", [b"{}", b"x" * 100_000], ids=["small", "large"])
def test_a_refused_body_does_not_spoil_the_connection(server: Server, body: bytes) -> None:
    """Given a connection that is kept, when a body on it is refused, then the answer says that the connection
    ends, or the next request on it is answered."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)) as connection:
        connection.request("POST", "/api/v1/sessions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        assert response.status == 401
        if not response.will_close:
            connection.request("GET", "/api/v1/health")
            assert connection.getresponse().status == 200


# Good ones


@pytest.mark.parametrize("admin", [False, True], ids=["user", "admin"])
@pytest.mark.parametrize("kind", KINDS + RAW_KINDS)
def test_a_good_token_is_let_in(server: Server, connect: Connect, kind: str, admin: bool) -> None:
    """Given a good token, with and without the role, when it is shown on either way, then its user acts."""
    session_id = as_user(server, "ann", admin=admin).new_session()
    client = connect(server, kind, auth=auth("ann", admin=admin))
    assert client.join(session_id)["clients"][0]["actor"] == "ann"


GOOD: dict[str, Callable[[], str]] = {
    "90 days": lambda: token(lasts=90 * DAY_S),
    "a second": lambda: token(iat=int(time.time()) - 60, exp=int(time.time()) + 3),
    "by PyJWT": lambda: jwt.encode(good_claims(), KEY, algorithm="HS256"),
    "kid": lambda: token(header={"kid": "../../../dev/null"}),
    "jku": lambda: token(header={"jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/chain"}),
    "jwk": lambda: token(header={"jwk": {"kty": "oct", "k": "AAAA"}, "x5c": ["AAAA"], "x5t": "AAAA"}),
    "cty": lambda: token(header={"cty": "JWT", "zip": "DEF", "enc": "A256GCM"}),
    "more claims": lambda: token(iss="somebody", jti="1", scope="admin", admin=False, roles=["admin"]),
    "nbf": lambda: token(nbf=int(time.time()) - 5),
    "other names": lambda: token('Änne 🚗 & "co" <x>\'; --'),
    "white space in the JSON": lambda: signed(GOOD_HEADER, json.dumps(good_claims(), indent=4)),
}


@pytest.mark.parametrize("name", GOOD)
def test_only_the_claims_and_typ_and_alg_count(server: Server, connect: Connect, name: str) -> None:
    """Given a good token with this or that besides, when it is shown, then it is good, and of no more
    weight."""
    shown = GOOD[name]()
    user = jwt.decode(shown, options={"verify_signature": False})["sub"]
    session_id = with_token(server, shown).new_session()
    client = connect(server, "raw-websocket", auth={"token": shown})
    assert client.join(session_id)["clients"][0]["actor"] == user
    others = as_user(server, "somebody else").new_session()
    assert with_token(server, shown).get(f"/sessions/{others}/info").status_code == 404


# Where it may stand


@pytest.mark.parametrize("name", ["token", "access_token", "auth", "authorization", "Authorization", "jwt"])
def test_a_token_in_the_url_does_not_count(server: Server, name: str) -> None:
    """Given a good token in the query, when REST, a WebSocket or a poll is asked so, then it is as if there
    were none."""
    query = f"{name}={token()}"
    assert ask(server, f"/api/v1/sessions?{query}") == ask(server)
    client = RawWebSocket(server.url, query=f"EIO=4&transport=websocket&{query}", connect=False)
    client.wait_until(lambda: client.handshake)
    client.send_packet("40")
    assert client.wait_for("connect_error")["data"]["code"] == "UNAUTHENTICATED"
    client.cut()


@pytest.mark.parametrize("header", ["Cookie", "Talus-Token", "X-Auth-Token", "Proxy-Authorization"])
def test_a_token_in_another_header_does_not_count(server: Server, header: str) -> None:
    """Given a good token in another header, when it is sent, then it is as if there were none."""
    prefix = "token=" if header == "Cookie" else "Bearer "
    assert ask(server, **{header: prefix + token()}) == ask(server)


def test_a_sockets_header_is_no_auth(server: Server) -> None:
    """Given a good Bearer header on the upgrade, when the socket's `auth` has no token, then it is
    refused."""
    client = RawWebSocket(server.url, headers=bearer(token()), connect=False)
    client.wait_until(lambda: client.handshake)
    client.send_packet("40")
    assert client.wait_for("connect_error")["data"]["code"] == "UNAUTHENTICATED"
    client.cut()


def test_before_its_token_a_socket_hears_and_does_nothing(server: Server, connect: Connect) -> None:
    """Given sockets that say no token, or a bad one, when they call, then nothing happens and nothing is
    heard."""
    ann = as_user(server, "ann")
    session_id = ann.new_session()
    witness = connect(server, "raw-websocket", auth=auth("ann"))
    witness.join(session_id)
    calls = [
        f'42["join_session",{{"session_id":"{session_id}"}}]',
        f'421["execute_command",{{"session_id":"{session_id}","command_type":"CreateNode",'
        '"data":{"blueprint_type_id":"x"}}]',
    ]
    for packets in (calls, ['40{"token":"rubbish"}', *calls]):
        stranger = RawWebSocket(server.url, connect=False)
        stranger.wait_until(lambda who=stranger: who.handshake)
        stranger.send_packets(packets)
        stranger.send_packet("2probe")  # no stranger pings: whatever comes of it, it comes after the calls
        stranger.wait_until(lambda who=stranger: who.ended.is_set() or "3probe" in who.packets)
        assert set(stranger.names()) <= {"connect_error", "disconnect"}, stranger.packets
        stranger.cut()
    witness.settle()
    assert ann.graph(session_id)["version"] == 0
    assert witness.heard("session:connected", session_id)[0]["client_id"] == witness.id
    assert len(witness.heard("session:connected", session_id)) == 1


@pytest.mark.parametrize("name", ["bob", "x" * 65, "\x07", "ä"])
def test_nobody_says_himself_who_he_is(server: Server, connect: Connect, name: str) -> None:
    """Given tokens, when Talus-Actor or `auth.actor` names another, or nobody, then the token's user acts."""
    ann = as_user(server, "ann")
    session_id = ann.new_session()
    headers = {} if name == "\x07" else {"Talus-Actor": name.encode()}
    body = {"session_id": session_id, "command_type": "CreateNode", "data": {"blueprint_type_id": "x"}}
    response = ann.request("POST", "/commands/execute", json=body, headers=headers)
    assert response.status_code == 200, response.text
    client = connect(server, "raw-websocket", auth=auth("ann") | {"actor": name})
    client.join(session_id)
    client.execute(session_id, "CreateNode", {"blueprint_type_id": "x"})
    assert {client.wait_for(said)["actor"] for said in ("session:connected", "node-created")} == {"ann"}
    assert {line["actor"] for line in ann.history(session_id)} == {"ann"}
    assert {event["actor"] for event in ann.events(session_id)} == {"ann"}


def test_anybody_may_ask_whether_the_server_is_well(server: Server) -> None:
    """Given no token or a bad one, when GET /health is asked, then 200 as ever."""
    for headers in ({}, bearer("rubbish"), bearer(token())):
        response = server.get("/health", headers=headers)
        assert response.status_code == 200
        assert response.json()["status"] == "ok"
        assert response.json()["protocol"] == "1.0"


# The key, and how the server starts


@pytest.mark.parametrize("around", [b"\n", b"\r\n", b" \t\n"], ids=repr)
def test_white_space_around_the_key_does_not_count(
    start_server: Callable[..., Server], tmp_path: Path, around: bytes
) -> None:
    """Given white space around a key of 32 bytes, when the server runs, then tokens of the bare key are
    good."""
    key = bytes(range(64, 96))
    settings = {"TALUS_AUTH": "jwt", "TALUS_JWT_SECRET_FILE": str(key_file(tmp_path, around + key + around))}
    server = start_server(env=settings)
    assert server.get("/sessions", headers=bearer(token(key=key))).status_code == 200
    assert server.get("/sessions", headers=bearer(token(key=key + around))).status_code == 401


@pytest.mark.parametrize(
    "content", [b"", b"\n" * 40, b"0123456789abcdef0123456789abcde", b"sesame" + b" " * 40]
)
def test_a_short_key_does_not_start(tmp_path: Path, content: bytes) -> None:
    """Given a key of fewer than 32 bytes, when the server starts, then it ends with one line that names the
    file and not the key."""
    settings = jwt_settings(tmp_path)
    path = key_file(tmp_path, content)
    line = why_no_start(tmp_path, **settings)
    assert str(path) in line and "32" in line, line
    assert not content.strip() or content.strip().decode() not in line


def test_a_missing_key_file_does_not_start(tmp_path: Path) -> None:
    """Given a key file that is not there, or a folder, when the server starts, then one line names it."""
    for path in (tmp_path / "nowhere", tmp_path):
        line = why_no_start(tmp_path, TALUS_AUTH="jwt", TALUS_JWT_SECRET_FILE=str(path))
        assert str(path) in line, line


@pytest.mark.parametrize("settings", [{}, {"TALUS_JWT_SECRET_FILE": ""}], ids=["none", "empty"])
def test_jwt_without_a_key_file_does_not_start(tmp_path: Path, settings: dict[str, str]) -> None:
    """Given TALUS_AUTH=jwt alone, when the server starts, then one line names the setting that is missing."""
    assert "TALUS_JWT_SECRET_FILE" in why_no_start(tmp_path, TALUS_AUTH="jwt", **settings)


@pytest.mark.parametrize("value", ["", "JWT", "jwt "])
def test_any_other_value_of_talus_auth_does_not_start(tmp_path: Path, value: str) -> None:
    """Given TALUS_AUTH of another value, even beside a good key, when the server starts, then one line names
    it."""
    line = why_no_start(tmp_path, **jwt_settings(tmp_path, TALUS_AUTH=value))
    assert "TALUS_AUTH" in line, line


def test_the_key_never_shows_in_the_process(server: Server) -> None:
    """Given a running server, when its arguments and environment are looked at, then the key is in none."""
    for name in ("cmdline", "environ"):
        assert KEY not in Path(f"/proc/{server.pid}/{name}").read_bytes()


# talus token


def made(folder: Path, *arguments: str) -> str:
    """The token that `talus token` prints, alone on one line."""
    ended = talus("token", *arguments, TALUS_JWT_SECRET_FILE=str(key_file(folder)))
    assert ended.returncode == 0, ended.stderr
    assert KEY.decode() not in ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 1, ended.stdout
    return lines[0]


@pytest.mark.parametrize(
    "arguments, days, role",
    [
        (["--user", "ann", "--days", "5"], 5, None),
        (["--user", "Änne 🚗", "--days", "90", "--admin"], 90, "admin"),
        (["--days", "1", "--user", "bob smith"], 1, None),
    ],
)
def test_talus_token_makes_a_good_one(
    server: Server, tmp_path: Path, arguments: list[str], days: int, role: str | None
) -> None:
    """Given a name and days, when `talus token` makes a token, then it states just that, and is let in."""
    before = int(time.time())
    shown = made(tmp_path, *arguments)
    claims = jwt.decode(shown, KEY, algorithms=["HS256"], audience="talus")
    user = arguments[arguments.index("--user") + 1]
    assert jwt.get_unverified_header(shown) == {"alg": "HS256", "typ": "JWT"}
    assert before <= claims["iat"] <= int(time.time())
    expected = {"sub": user, "aud": "talus", "iat": claims["iat"], "exp": claims["iat"] + days * DAY_S}
    assert claims == expected | ({"role": role} if role else {})
    assert with_token(server, shown).get("/sessions").status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--days", "5"],
        ["--user"],
        ["--user", "", "--days", "5"],
        ["--user", "ann", "--days", "0"],
        ["--user", "ann", "--days", "-1"],
        ["--user", "ann", "--days", "91"],
        ["--user", "ann", "--days", "x"],
        ["--user", "ann", "--revoke", "bob"],
        ["--user", "a\nb", "--days", "5"],
        ["--revoke", ""],
        ["--key", "secret", "--user", "ann", "--days", "5"],
    ],
    ids=" ".join,
)
def test_talus_token_refuses_bad_arguments(tmp_path: Path, arguments: list[str]) -> None:
    """Given arguments that make no token, when `talus token` runs, then not 0, a reason, and no token."""
    settings = {"TALUS_JWT_SECRET_FILE": str(key_file(tmp_path)), "TALUS_DATABASE": str(tmp_path / "t.db")}
    ended = talus("token", *arguments, **settings)
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr
    assert KEY.decode() not in ended.stderr
    assert os.listdir(tmp_path) == ["key"]


def test_talus_token_needs_a_key(tmp_path: Path) -> None:
    """Given no key file, a missing or a short one, when `talus token` runs, then not 0 and a reason."""
    short = tmp_path / "short"
    short.write_text("0123456789")
    for settings in (
        {},
        {"TALUS_JWT_SECRET_FILE": str(tmp_path / "no")},
        {"TALUS_JWT_SECRET_FILE": str(short)},
    ):
        ended = talus("token", "--user", "ann", "--days", "5", **settings)
        assert ended.returncode != 0
        assert (ended.stdout, "Traceback" in ended.stderr) == ("", False)
        assert "0123456789" not in ended.stderr and len(ended.stderr.splitlines()) == 1


# Revocation


def revoke(server: Server, user: str) -> None:
    ended = talus("token", "--revoke", user, TALUS_DATABASE=str(server.database))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_revocation_ends_a_users_tokens_and_sockets(
    server: Server, connect: Connect, tmp_path: Path
) -> None:
    """Given sockets of a user of every kind, when `talus token --revoke` has returned, then within a second
    each was told and disconnected, his tokens get the answer of bad ones, the room heard it, others stay, and
    a token given out afterwards is good at once."""
    ann, bob = as_user(server, "ann"), as_user(server, "bob")
    session_id = ann.new_session()
    assert ann.put(f"/sessions/{session_id}/members/bob", {"role": "editor"}).status_code == 200
    witness = connect(server, "raw-websocket", auth=auth("ann"))
    witness.join(session_id)
    clients = [connect(server, kind, auth=auth("bob")) for kind in KINDS + RAW_KINDS]
    idle = connect(server, "raw-websocket", auth=auth("bob"))  # in no session
    for client in clients:
        client.join(session_id)
    revoke(server, "bob")
    deadline = time.monotonic() + 1
    for client in [*clients, idle]:
        client.wait_for("disconnect", timeout=max(0.05, deadline - time.monotonic()))
        told = client.heard("error")
        assert [said["code"] for said in told] == ["FORBIDDEN"], (client, told)
    for client in clients:
        assert [said["session_id"] for said in client.heard("left")] == [session_id], client
        witness.wait_heard(
            lambda h, who=client: h.name == "session:disconnected" and h.payload["client_id"] == who.id,
            timeout=max(0.05, deadline - time.monotonic()),
        )
    assert bob.get("/sessions").content == server.get("/sessions").content
    assert bob.get("/sessions").status_code == 401
    with pytest.raises(ConnectRefused):
        connect(server, "raw-websocket", auth=auth("bob") | {"token": token("bob", iat=int(time.time()) - 9)})
    witness.settle()
    assert ann.get(f"/sessions/{session_id}/info").json()["active_clients"] == 1
    anew = made(tmp_path, "--user", "bob", "--days", "3")
    assert with_token(server, anew).get(f"/sessions/{session_id}/info").status_code == 200
    again = connect(server, "raw-websocket", auth={"token": anew})
    assert again.join(session_id)["active_clients"] == 2


def test_a_revocation_holds_for_administrators_and_over_a_crash(tmp_path: Path) -> None:
    """Given a revoked administrator, when the server was killed and runs again, then his old tokens are void
    and a new one is good; and other users' are as they were."""
    with guarded(tmp_path) as server:
        old, other = token("root", admin=True), token("rooting")
        assert with_token(server, old).get("/sessions").status_code == 200
        revoke(server, "root")
        assert with_token(server, old).get("/sessions").status_code == 401
        server.kill()
        server.start()
        assert with_token(server, old).get("/sessions").status_code == 401
        assert with_token(server, other).get("/sessions").status_code == 200
        assert as_user(server, "root", admin=True).get("/sessions").status_code == 200


def test_a_revocation_without_a_server_takes_effect_at_the_next_start(tmp_path: Path) -> None:
    """Given no server on the database, when tokens are revoked, then the next start knows before it answers,
    and the one after it as well."""
    with guarded(tmp_path) as server:
        old = token("ann")
        assert with_token(server, old).get("/sessions").status_code == 200
        server.stop()
        revoke(server, "ann")
        for _ in range(2):
            server.start()
            assert with_token(server, old).get("/sessions").status_code == 401
            assert as_user(server, "ann").get("/sessions").status_code == 200
            server.stop()
        assert sorted(os.listdir(tmp_path)) == [".talus.db-mark", "key", "server.log", "talus.db"]
        server.start()


def test_revoking_nobody_in_particular_is_no_fault(server: Server) -> None:
    """Given a user that nobody knows, when his tokens are revoked, then it is done, and others go on."""
    revoke(server, "no such user")
    assert as_user(server, "ann").get("/sessions").status_code == 200


def test_a_revocation_where_no_database_can_be_is_told(tmp_path: Path) -> None:
    """Given a folder that is not there, when tokens are revoked for its database, then not 0 and a reason."""
    ended = talus("token", "--revoke", "ann", TALUS_DATABASE=str(tmp_path / "nowhere" / "talus.db"))
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr and len(ended.stderr.splitlines()) == 1


# Expiry


def test_a_socket_whose_token_expires_is_told_and_disconnected(server: Server, connect: Connect) -> None:
    """Given sockets of every kind whose tokens end, when 5 s have passed, then each heard `error`
    TOKEN_EXPIRED, was disconnected then and not before, the room heard it, and REST refuses the token."""
    ann = as_user(server, "ann")
    session_id = ann.new_session()
    witness = connect(server, "raw-websocket", auth=auth("ann"))
    witness.join(session_id)
    expires_s = int(time.time()) + 3
    shown = token("ann", iat=expires_s - 60, exp=expires_s)
    clients = [connect(server, kind, auth={"token": shown}) for kind in KINDS + RAW_KINDS]
    for client in clients:
        client.join(session_id)
    assert time.time() < expires_s
    heard_s = {}
    for client in clients:
        client.listeners.append(lambda h, who=client: heard_s.setdefault((who.kind, h.name), time.time()))
    for client in clients:
        left = expires_s + 5 - time.time()
        client.wait_for("disconnect", timeout=left)
        assert [said["code"] for said in client.heard("error")] == ["TOKEN_EXPIRED"], client
        assert expires_s - 0.05 <= heard_s[client.kind, "error"] <= expires_s + 5
    for client in clients:
        witness.wait_heard(
            lambda h, who=client: h.name == "session:disconnected" and h.payload["client_id"] == who.id
        )
    assert with_token(server, shown).get("/sessions").content == server.get("/sessions").content
    assert witness.connected


def test_after_its_expiry_a_token_commits_nothing(server: Server, connect: Connect) -> None:
    """Given a socket that commands without end, when it was told that its token expired, then no command
    that it sent later was carried out."""
    ann = as_user(server, "ann")
    session_id = ann.new_session()
    expires_s = int(time.time()) + 2
    client = connect(server, "raw-websocket", auth={"token": token(iat=expires_s - 60, exp=expires_s)})
    client.join(session_id)
    create = {"session_id": session_id, "command_type": "CreateNode", "data": {"blueprint_type_id": "x"}}
    deadline = time.monotonic() + 10
    while not client.heard("error"):
        assert time.monotonic() < deadline
        with suppress(NotHeard):  # once it expired, nothing is answered any more
            client.call("execute_command", create, timeout=0.5)
    version = ann.graph(session_id)["version"]
    with suppress(OSError):  # it may be disconnected already
        for _ in range(5):
            client.emit("execute_command", create)
    client.wait_ended(5)
    assert ann.graph(session_id)["version"] == version
    with pytest.raises((ConnectRefused, UpgradeRefused)):
        connect(server, "raw-websocket", auth={"token": token(iat=expires_s - 60, exp=expires_s)})
