# ruff: noqa: E501 - one attack stands on one line, where it can be read at a glance
"""The attack catalogue, as data: what hostile and broken peers send, and what has to come of it.

An attack has a name, a transport, what is sent, and the expected outcome; tests/test_attacks.py
plays them. What is sent is the bytes of one connection (`tcp`: no well-formed request;
`rest`: one that is), a list of Engine.IO packets (`websocket`, `polling`), or a small function: one
that yields the bytes or packets where they would be large, or a play that takes several connections.

Some texts stand for what is known only when a server runs, and are as long as what takes
their place, so that a Content-Length stays true: SESSION and NODE are a session that attackers may have and a
node in it, OWN_SID a polling connection of the attacker's own, VICTIM_SID the WebSocket of a good client.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from tests.support.clients import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    RawPolling,
    RawWebSocket,
    UpgradeRefused,
    frame,
)

SESSION = "<session>".ljust(36, "~")
NODE = "<node>".ljust(36, "~")
OWN_SID = "<own-sid>".ljust(20, "~")
VICTIM_SID = "<victim-sid>".ljust(20, "~")
SECRET = "tell-nobody"  # in property values, names and tokens: no log may hold it
INJECTED = "INJECTED-LINE"  # what log injections would make a line begin with
MIB = 1024 * 1024
SOON_S = 5.0  # the contract: a malformed packet is answered, or ends the connection, within 5 s

API = "/api/v1"
EXECUTE = f"{API}/commands/execute"
POLLING = "/socket.io/?EIO=4&transport=polling"


# Outcomes


@dataclass(frozen=True)
class Answers:
    """HTTP answers on one connection, in order: `400 INVALID_REQUEST`, `200`; alternatives by ` | `.

    closed: the server then closes the connection; nothing else was answered.
    """

    statuses: tuple[str, ...]
    closed: bool = False
    within_s: float = SOON_S


@dataclass(frozen=True)
class Refused:
    """Each call that asks for it is acknowledged with this code, else `error` comes with it; the connection
    stays up."""

    code: str


@dataclass(frozen=True)
class Malformed:
    """`error` INVALID_REQUEST (or what is named), or the connection ends, within 5 s."""

    code: str = "INVALID_REQUEST"


@dataclass(frozen=True)
class Ends:
    """The connection ends; over WebSocket with one of these close codes, if any are named."""

    codes: tuple[int, ...] = ()
    within_s: float = SOON_S


@dataclass(frozen=True)
class Heard:
    """An event comes so many times, no `error`, and the connection stays up."""

    event: str
    times: int = 1


@dataclass(frozen=True)
class Ignored:
    """Nothing comes of it, and the connection stays up."""


@dataclass(frozen=True)
class Plays:
    """The function plays and checks by itself."""


Outcome = Answers | Refused | Malformed | Ends | Heard | Ignored | Plays


@dataclass(frozen=True)
class Target:
    """A server under attack, and what the placeholders stand for."""

    host: str
    port: int
    session_id: str
    node_id: str
    victim_sid: str

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def filled_in(self, text: str, own_sid: str = OWN_SID) -> str:
        for placeholder, value in (
            (SESSION, self.session_id),
            (NODE, self.node_id),
            (VICTIM_SID, self.victim_sid),
            (OWN_SID, own_sid),
        ):
            text = text.replace(placeholder, value)
        return text


Packets = tuple[str | bytes, ...]  # texts of Engine.IO packets; bytes are ready WebSocket frames


@dataclass(frozen=True, repr=False)  # what is sent may be megabytes
class Attack:
    name: str
    transport: Literal["websocket", "polling", "rest", "tcp"]
    sent: bytes | Packets | Callable[[], Iterable[bytes]] | Callable[[], Packets] | Callable[[Target], None]
    expected: Outcome
    connected: bool = True  # WebSocket and polling: Socket.IO's CONNECT was sent before
    drip_s: float = 0.0  # seconds between two pieces of what is sent

    def __str__(self) -> str:
        return f"{self.transport}: {self.name}"

    __repr__ = __str__


def refused(code: str) -> Answers:
    """One answer, with a code of section 4: `404 INVALID_SESSION`."""
    return Answers((code,))


BAD = Answers(("400 INVALID_REQUEST",))
BAD_AND_CLOSED = Answers(("400 INVALID_REQUEST",), closed=True)
FINE = Answers(("200",))


# Requests


def head(target: str, *lines: str, method: str = "GET", host: str = "localhost") -> bytes:
    """The head of a request with these very lines, in Latin-1 as HTTP has it."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def request(
    target: str,
    body: str | bytes = b"",
    *lines: str,
    method: str = "POST",
    media_type: str | None = "application/json",
) -> bytes:
    """A request with a body and its true length."""
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    typed = [f"Content-Type: {media_type}"] if media_type is not None else []
    return head(target, *typed, f"Content-Length: {len(data)}", *lines, method=method) + data


def command(command_type: str, data: str, **more: Any) -> str:
    """The JSON of an `execute`, with `data` as it is."""
    fields = "".join(f',"{name}":{json.dumps(value)}' for name, value in more.items())
    return f'{{"session_id":"{SESSION}","command_type":"{command_type}","data":{data}{fields}}}'


def update(value: str, property_id: str = "p") -> str:
    """The JSON of a command that sets a property to `value`, as it is."""
    return command(
        "UpdateProperty", f'{{"node_id":"{NODE}","property_id":{json.dumps(property_id)},"value":{value}}}'
    )


def call(event: str, payload: str, number: int | None = 1) -> str:
    """The packet of a call, its payload as it is."""
    return f'42{"" if number is None else number}["{event}",{payload}]'


def upgrade(
    query: str = "EIO=4&transport=websocket",
    *,
    path: str = "/socket.io/",
    host: str = "localhost",
    **changed: str,
) -> bytes:
    """The head that asks for a WebSocket, with some lines changed, or left out where they are empty."""
    lines = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    return head(f"{path}?{query}", *(f"{name}: {value}" for name, value in lines.items() if value), host=host)


def chunked(*pieces: bytes, target: str = f"{API}/sessions") -> bytes:
    """A request whose body comes in these chunks, written out by the caller."""
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    return head(target, *lines, method="POST") + b"".join(pieces)


HEALTH = head(f"{API}/health")
# What a server that takes a body for a request, or the other way round, would answer with 200.
SMUGGLED = HEALTH


def _heads() -> Iterator[Attack]:
    """What is no HTTP, or hardly."""
    ok_or_bad = Answers(("200 | 400 INVALID_REQUEST",))
    table: list[tuple[str, bytes, Outcome]] = [
        ("rubbish", b"rubbish\r\n\r\n", BAD_AND_CLOSED),
        ("nothing but line ends", b"\r\n\r\n\r\n\r\n", Ends()),
        ("a kilobyte of NUL", bytes(1024) + b"\r\n\r\n", BAD_AND_CLOSED),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", BAD_AND_CLOSED),
        ("SMTP", b"EHLO localhost\r\nMAIL FROM:<a@b>\r\n\r\n", BAD_AND_CLOSED),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_AND_CLOSED),
        ("a TLS hello that holds a line end", b"\x16\x03\x01\x00\x05\x01\x00\n\x01\x03", BAD_AND_CLOSED),
        ("HTTP/0.9", b"GET /api/v1/health\r\n\r\n", Answers(("400 INVALID_REQUEST | 421 HOST_NOT_ALLOWED",), closed=True)),
        ("HTTP/0.9 with a method of its own", b"POST /api/v1/health\r\n\r\n", BAD_AND_CLOSED),
        ("HTTP/3.0", HEALTH.replace(b"HTTP/1.1", b"HTTP/3.0"), BAD_AND_CLOSED),
        ("HTTP/1.x", HEALTH.replace(b"HTTP/1.1", b"HTTP/1.x"), BAD_AND_CLOSED),
        ("HTTP/-1.1", HEALTH.replace(b"HTTP/1.1", b"HTTP/-1.1"), BAD_AND_CLOSED),
        ("HTTP/1", HEALTH.replace(b"HTTP/1.1", b"HTTP/1"), BAD_AND_CLOSED),
        ("a version of 5,000 digits", HEALTH.replace(b"1.1", b"1." + b"9" * 5000), BAD_AND_CLOSED),
        ("four words in the first line", HEALTH.replace(b" HTTP", b" x HTTP"), BAD_AND_CLOSED),
        ("a first line of 70,000 bytes", head("/" + "x" * 70_000), Answers(("414 INVALID_REQUEST",), closed=True)),
        ("a first line that never ends", b"GET /" + b"x" * 20_000, Answers(("414 INVALID_REQUEST",), closed=True)),
        ("a header of 100,000 bytes", head(f"{API}/health", "X: " + "y" * 100_000), BAD_AND_CLOSED),
        ("10,000 headers", head(f"{API}/health", *["X: y"] * 10_000), BAD_AND_CLOSED),
        ("a header without a colon", head(f"{API}/health", "no colon", "X: y"), BAD_AND_CLOSED),
        ("a header without a name", head(f"{API}/health", ": x"), BAD_AND_CLOSED),
        ("a folded header", head(f"{API}/health", "X: y\r\n z"), ok_or_bad),
        ("a NUL in a header", head(f"{API}/health", "X: a\0b"), ok_or_bad),
        ("a NUL in a header's name", head(f"{API}/health", "X\0Y: a"), BAD_AND_CLOSED),
        ("bare LF", HEALTH.replace(b"\r\n", b"\n"), ok_or_bad),
        ("bare CR", HEALTH.replace(b"\r\n", b"\r") + b"\r\n\r\n", BAD_AND_CLOSED),
        ("no Host", b"GET /api/v1/health HTTP/1.1\r\n\r\n", Answers(("421 HOST_NOT_ALLOWED | 400 INVALID_REQUEST",))),
        ("two Hosts", head(f"{API}/health", "Host: example.org"), Answers(("421 HOST_NOT_ALLOWED | 400 INVALID_REQUEST",))),
        ("CONNECT", head("example.org:443", method="CONNECT"), Answers(("404 NOT_FOUND | 405 METHOD_NOT_ALLOWED | 400 INVALID_REQUEST",))),
        ("TRACE", head(f"{API}/health", f"Authorization: Bearer {SECRET}", method="TRACE"), refused("405 METHOD_NOT_ALLOWED")),
        ("PATCH", head(f"{API}/health", method="PATCH"), refused("405 METHOD_NOT_ALLOWED")),
        ("PROPFIND on the socket", head(POLLING, method="PROPFIND"), refused("405 METHOD_NOT_ALLOWED")),
        ("PUT on the socket", request(POLLING, "4", method="PUT"), refused("405 METHOD_NOT_ALLOWED")),
        ("a method of 5,000 letters", head(f"{API}/health", method="X" * 5000), refused("405 METHOD_NOT_ALLOWED")),
        ("a method in lower case", head(f"{API}/health", method="get"), Answers(("200 | 405 METHOD_NOT_ALLOWED | 400 INVALID_REQUEST",))),
        ("an absolute target elsewhere", head(f"http://evil.example{API}/health"), Answers(("421 HOST_NOT_ALLOWED | 404 NOT_FOUND | 400 INVALID_REQUEST",))),
        ("a target that is an authority", head("evil.example:80"), Answers(("404 NOT_FOUND | 400 INVALID_REQUEST",))),
        ("an asterisk", head("*", method="OPTIONS"), Answers(("404 NOT_FOUND | 400 INVALID_REQUEST | 405 METHOD_NOT_ALLOWED",))),
        ("HEAD with a length", head(f"{API}/health", "Content-Length: 5", method="HEAD") + b"12345", Answers(("400",), closed=True)),
    ]  # fmt: skip
    for name, sent, expected in table:
        yield Attack(name, "tcp", sent, expected)


def _smuggling() -> Iterator[Attack]:
    """Where two readers of one connection may disagree on where a request ends.

    One answer, and the connection is closed: what follows was never taken for a request.
    """
    post = f"{API}/sessions"

    def lines(*headers: str, body: bytes = b"") -> bytes:
        return head(post, "Content-Type: application/json", *headers, method="POST") + body + SMUGGLED

    once = Answers(("400 INVALID_REQUEST",), closed=True)
    empty = b"0\r\n\r\n"
    table: list[tuple[str, bytes, Outcome]] = [
        ("length, then chunks", lines("Content-Length: 5", "Transfer-Encoding: chunked", body=empty), once),
        ("chunks, then length", lines("Transfer-Encoding: chunked", "Content-Length: 5", body=empty), once),
        ("two lengths", lines("Content-Length: 2", "Content-Length: 55", body=b"{}"), once),
        ("two lengths in one", lines("Content-Length: 2, 55", body=b"{}"), once),
        ("chunks by another name", lines("Transfer-Encoding: xchunked", "Content-Length: 2", body=b"{}"), once),
        ("chunks and another coding", lines("Transfer-Encoding: gzip, chunked", "Content-Length: 2", body=b"{}"), once),
        ("chunks, then identity", lines("Transfer-Encoding: chunked, identity", body=empty), once),
        ("two codings", lines("Transfer-Encoding: chunked", "Transfer-Encoding: x", body=empty), once),
        ("chunks behind a tab", lines("Transfer-Encoding: \x0bchunked", "Content-Length: 2", body=b"{}"), once),
        ("chunks on a folded line", lines("Transfer-Encoding:\r\n chunked", "Content-Length: 5", body=empty), once),
        ("a space before the colon", lines("Content-Length : 2", body=b"{}"), once),
        ("a length behind a bare CR", lines("X: y\rContent-Length: 2", body=b"{}"), once),
        ("a length behind a line without a colon", lines("no colon", "Content-Length: 2", body=b"{}"), once),
        ("a length with an underscore", lines("Content-Length: 0_2", body=b"{}"), once),
        ("a length with a sign", lines("Content-Length: +2", body=b"{}"), once),
        ("a negative length", lines("Content-Length: -2", body=b"{}"), once),
        ("a hexadecimal length", lines("Content-Length: 0x2", body=b"{}"), once),
        ("an Arabic length", lines("Content-Length: \xb2", body=b"{}"), once),
        ("a length of 5,000 digits", lines("Content-Length: " + "9" * 5000, body=b"{}"), once),
        ("a chunk's size is no number", chunked(b"zz\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a chunk's size with a sign", chunked(b"+2\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a chunk's size with 0x", chunked(b"0x2\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a chunk's size of 17 digits", chunked(b"00000000000000002\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a chunk's size is missing", chunked(b"\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a chunk longer than it said", chunked(b"1\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a chunk's extension of 20,000 bytes", chunked(b"2;" + b"x" * 20_000 + b"\r\n{}\r\n", empty) + SMUGGLED, once),
        ("a trailer that is no header", chunked(b"2\r\n{}\r\n", b"0\r\n no trailer\r\n\r\n") + SMUGGLED, once),
        ("chunk rubbish for the socket", chunked(b"zz\r\n", target=f"{POLLING}&sid={OWN_SID}") + SMUGGLED, once),
        ("a chunk of 8 exbibytes", chunked(b"7fffffffffffffff\r\n", b"x" * 9 * MIB), Answers(("413 PAYLOAD_TOO_LARGE",), closed=True)),
        ("a request behind a refused body", request(post, "{}", media_type="text/plain") + SMUGGLED, refused("415 UNSUPPORTED_MEDIA_TYPE")),
        ("a request behind a body that nobody asked for", request(f"{API}/health", b"x", method="GET") + SMUGGLED, Answers(("200", "200"))),
        ("a request behind a refused host", head(post, "Content-Length: 2", method="POST", host="evil") + b"{}" + SMUGGLED, Answers(("421 HOST_NOT_ALLOWED",), closed=True)),
    ]  # fmt: skip
    for name, sent, expected in table:
        yield Attack(f"smuggling: {name}", "tcp", sent, expected)


def _origins() -> Iterator[Attack]:
    """Other people's pages and names."""
    wrong_host, wrong_origin = refused("421 HOST_NOT_ALLOWED"), refused("403 FORBIDDEN")
    for host in (
        "evil.example", "127.0.0.1.nip.io", "localhost@evil.example", "evil.example#localhost",
        "localhost.evil.example", "localhost:99999", "0x7f000001", "127.1", "[::ffff:1.2.3.4]", "x" * 8_000,
        f"a\x1b[31m\x85{INJECTED}",
    ):  # fmt: skip
        yield Attack(f"Host {host[:30]!r}", "rest", head(f"{API}/health", host=host), wrong_host)
    rebound = head(f"{API}/sessions", "Origin: http://evil.example:5000", host="evil.example:5000")
    yield Attack("DNS rebinding", "rest", rebound, wrong_host)
    yield Attack("DNS rebinding of a socket", "rest", upgrade(host="evil.example"), wrong_host)
    forwarded = ("X-Forwarded-Host: localhost", "Forwarded: host=localhost", "X-Host: localhost")
    yield Attack("forwarded", "rest", head(f"{API}/health", *forwarded, host="evil.example"), wrong_host)
    for origin in (
        "null", "http://evil.example", "http://localhost.evil.example", "http://localhost@evil.example",
        "file://", "http://[", "http://localhost http://evil.example", "chrome-extension://abc", f"http://\x1b[31m{INJECTED}",
    ):  # fmt: skip
        for place, sent in (
            ("a read", head(f"{API}/sessions", f"Origin: {origin}")),
            ("a poll", head(POLLING, f"Origin: {origin}")),
            ("a WebSocket", upgrade(Origin=origin)),
        ):
            yield Attack(f"Origin {origin[:30]!r} for {place}", "rest", sent, wrong_origin)
    crossing = ("Origin: http://evil.example", "Access-Control-Request-Method: DELETE")
    preflight = head(f"{API}/sessions/{SESSION}", *crossing, method="OPTIONS")
    yield Attack("a preflight of another origin", "rest", preflight, wrong_origin)


def _media() -> Iterator[Attack]:
    """What a page can send without being asked (simple requests), and other wrong bodies."""
    target = f"{API}/sessions"
    for media_type in (
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json-patch+json",
        "text/json", "application/xml", "*/*", "application/json, text/plain", "", None,
    ):  # fmt: skip
        sent = request(target, "{}", media_type=media_type)
        yield Attack(f"media type {media_type}", "rest", sent, refused("415 UNSUPPORTED_MEDIA_TYPE"))
    from_page = request(
        EXECUTE, update("1"), "Origin: http://evil.example", "Cookie: a=b", media_type="text/plain"
    )
    yield Attack("a simple request of another page", "rest", from_page, refused("403 FORBIDDEN"))
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        sent = head(f"{API}/sessions/{SESSION}/info", f"{name}: DELETE")
        yield Attack(f"{name} on a read", "rest", sent, FINE)
        sent = request(f"{API}/sessions/{SESSION}/info", '{"_method":"DELETE"}', f"{name}: DELETE")
        yield Attack(f"{name} on a POST", "rest", sent, refused("405 METHOD_NOT_ALLOWED"))
    cookies = head(f"{API}/health", "Cookie: " + "session=admin; " * 500)
    yield Attack("cookies", "rest", cookies, FINE)
    bomb = b'{"name":"' + b"x" * 20 * MIB + b'"}'
    not_json = Answers(("400 INVALID_REQUEST | 415 UNSUPPORTED_MEDIA_TYPE",))
    for coding, packed in (
        ("gzip", gzip.compress(bomb, 9)),
        ("deflate", zlib.compress(bomb, 9)),
        ("br", b"\x8b"),
    ):
        sent = request(target, packed, f"Content-Encoding: {coding}")
        yield Attack(f"a {coding} bomb", "rest", sent, not_json)
    utf16 = request(target, "{}".encode("utf-16"), media_type="application/json; charset=utf-16")
    yield Attack("a body in UTF-16", "rest", utf16, not_json)
    too_large = Answers(("413 PAYLOAD_TOO_LARGE",), closed=True)
    for name, place, most in (("REST", target, 8 * MIB), ("polling", f"{POLLING}&sid={OWN_SID}", 1_000_000)):
        said = head(place, "Content-Type: application/json", f"Content-Length: {most + 1}", method="POST")
        yield Attack(f"{name}: a body announced one byte too long", "rest", said, too_large)
        yield Attack(f"{name}: a body one byte too long", "rest", said + b" " * (most + 1), too_large)
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        sent = chunked(piece * (most // 65536 + 1), b"0\r\n\r\n", target=place)
        yield Attack(f"{name}: a body of chunks too long", "rest", sent, too_large)
    eager = head(
        target,
        "Content-Type: application/json",
        f"Content-Length: {2**40}",
        "Expect: 100-continue",
        method="POST",
    )
    yield Attack("a terabyte, if you please", "rest", eager, too_large)


def _addresses() -> Iterator[Attack]:
    """Paths and queries."""
    not_found = refused("404 NOT_FOUND")
    no_session = refused("404 INVALID_SESSION")
    paths: list[tuple[str, str, Outcome]] = [
        ("dots", "/../../../etc/passwd", not_found),
        ("encoded dots", "/%2e%2e/%2e%2e/etc/passwd", not_found),
        ("doubly encoded dots", "/%252e%252e/etc/passwd", not_found),
        ("dots inside", f"{API}/sessions/../health", not_found),
        ("backslashes", "/..\\..\\data\\talus.db", not_found),
        ("static dots", "/static/../../data/talus.db", not_found),
        ("the database", "/data/talus.db", not_found),
        ("dots for a session", f"{API}/sessions/../info", Answers(("404 INVALID_SESSION | 404 NOT_FOUND",))),
        ("encoded slashes for a session", f"{API}/sessions/..%2f..%2fetc/info", Answers(("404 INVALID_SESSION | 404 NOT_FOUND",))),
        ("NUL", f"{API}/sessions/%00/info", no_session),
        ("NUL behind a real one", f"{API}/sessions/{SESSION}%00/info", no_session),
        ("a line end", f"{API}/health%0d%0aSet-Cookie:%20a=b", not_found),
        ("invalid UTF-8", f"{API}/sessions/%ff%fe/info", Answers(("404 INVALID_SESSION | 404 NOT_FOUND",))),
        ("invalid UTF-8 that would be left out", f"{API}/hea%fflth", not_found),
        ("overlong UTF-8", f"{API}/sessions/%c0%ae%c0%ae/info", Answers(("404 INVALID_SESSION | 404 NOT_FOUND",))),
        ("raw bytes", "/api/v1/sessions/\xff\xfe/info", Answers(("404 INVALID_SESSION | 404 NOT_FOUND",))),
        ("8,000 letters", f"{API}/sessions/{'x' * 8_000}/info", no_session),
        ("1,000 slashes", "/" * 1_000, not_found),
        ("a slash too many", f"/{API}/health", not_found),
        ("a slash at the end", f"{API}/health/", not_found),
        ("capital letters", "/API/V1/HEALTH", not_found),
        ("a parameter of the path", f"{API}/health;x=y", not_found),
        ("half an escape", f"{API}/health%", not_found),
        ("format strings", f"{API}/sessions/%25s%25n%25x/info", no_session),
        ("ANSI and a new line for a session", f"{API}/sessions/%1b%5b31m%0a{INJECTED}/info", no_session),
        ("ANSI and a new line for a path", f"/%1b%5b31m%0a{INJECTED}", not_found),
        ("another socket path", "/socket.io/../api/v1/health", not_found),
        ("the socket path without a slash", "/socket.io?EIO=4&transport=polling", not_found),
        ("an unknown project", f"{API}/projects/..%00", refused("404 PROJECT_NOT_FOUND")),
    ]  # fmt: skip
    for name, target, expected in paths:
        yield Attack(f"path: {name}", "rest", head(target), expected)
    graph, sessions = f"{API}/graph?session_id={SESSION}", f"{API}/sessions"
    queries: list[tuple[str, str, Outcome]] = [
        ("no session", f"{API}/graph", BAD),
        ("a list", f"{API}/graph?session_id[]={SESSION}", BAD),
        ("NUL", f"{API}/graph?session_id=%00", no_session),
        ("invalid UTF-8", f"{API}/graph?session_id=%ff%fe", no_session),
        ("half an escape", f"{API}/graph?session_id=%", no_session),
        ("3,000 parameters", f"{API}/graph?" + "&".join(["a=b"] * 1_500), BAD),
        ("a huge version", f"{graph}&version={'9' * 100}", Answers(("400 INVALID_REQUEST | 404 VERSION_NOT_FOUND",))),
        ("a version ahead", f"{graph}&version={2**53 - 1}", refused("404 VERSION_NOT_FOUND")),
        ("a negative version", f"{graph}&version=-1", BAD),
        ("a version that is no number", f"{graph}&version=1e3", BAD),
        ("an Arabic version", f"{graph}&version={quote('٣')}", BAD),
        ("limit 0", f"{sessions}?limit=0", BAD),
        ("limit -1", f"{sessions}?limit=-1", BAD),
        ("limit 501", f"{sessions}?limit=501", BAD),
        ("limit 1e9", f"{sessions}?limit=1e9", BAD),
        ("a forged cursor", f"{sessions}?cursor=AAAA", BAD),
        ("a cursor of SQL", f"{sessions}?cursor={quote(SQL)}", BAD),
        ("a cursor that is no ASCII", f"{sessions}?cursor=%ff", BAD),
        ("since -1", f"{sessions}/{SESSION}/events?since=-1", BAD),
        ("since ahead", f"{sessions}/{SESSION}/events?since=999999", refused("404 VERSION_NOT_FOUND")),
        ("5,001 events", f"{sessions}/{SESSION}/events?limit=5001", BAD),
        ("before x", f"{sessions}/{SESSION}/history?before=x", BAD),
        ("force maybe", f"{sessions}/{SESSION}?force=maybe", BAD),
    ]  # fmt: skip
    for name, target, expected in queries:
        method = "DELETE" if "force" in target else "GET"
        yield Attack(f"query: {name}", "rest", head(target, method=method), expected)
    tags = head(graph, "If-None-Match: " + ",".join(['"x"'] * 1_500))
    yield Attack("1,500 tags", "rest", tags, FINE)
    yield Attack("a thousand ranges", "rest", head(f"{API}/health", "Range: bytes=" + "0-," * 1_000), FINE)


SQL = "'; DROP TABLE commits; --"


def _injection() -> Iterator[Attack]:
    """SQL, format strings and log lines, in every text that a client may give."""
    no_session = refused("404 INVALID_SESSION")
    sql, path = json.dumps(SQL), quote(SQL)
    node = f'"node_id":"{NODE}"'
    table: list[tuple[str, bytes, Outcome]] = [
        ("session in a path", head(f"{API}/sessions/{path}/info"), no_session),
        ("session in a query", head(f"{API}/graph?session_id={quote(chr(39) + ' OR 1=1 --')}"), no_session),
        ("session to delete", head(f"{API}/sessions/{path}", method="DELETE"), no_session),
        ("session of a command", request(EXECUTE, f'{{"session_id":{sql},"command_type":"DeleteNode","data":{{}}}}'), no_session),
        ("project", head(f"{API}/projects/{path}"), refused("404 PROJECT_NOT_FOUND")),
        ("template", head(f"{API}/templates/{path}/schema"), refused("404 TEMPLATE_NOT_FOUND")),
        ("template of a session", request(f"{API}/sessions", f'{{"template_id":{sql}}}'), refused("404 TEMPLATE_NOT_FOUND")),
        ("template of a project", request(f"{API}/projects", f'{{"template_id":{sql},"project_name":"x"}}'), refused("404 TEMPLATE_NOT_FOUND")),
        ("name of a session", request(f"{API}/sessions", f'{{"name":{sql}}}'), Answers(("201",))),
        ("actor", request(EXECUTE, update("1"), f"Talus-Actor: {SQL}"), FINE),
        ("value", request(EXECUTE, update(sql)), FINE),
        ("property", request(EXECUTE, update("1", SQL)), FINE),
        ("type", request(EXECUTE, command("CreateNode", f'{{"blueprint_type_id":{sql}}}')), FINE),
        ("name of a node", request(EXECUTE, command("CreateNode", f'{{"blueprint_type_id":"x","name":{sql}}}')), FINE),
        ("parent", request(EXECUTE, command("CreateNode", f'{{"blueprint_type_id":"x","parent_id":{sql}}}')), refused("409 INVALID_PARENT")),
        ("id of a new node", request(EXECUTE, command("CreateNode", f'{{"blueprint_type_id":"x","node_id":{sql}}}')), refused("400 INVALID_COMMAND")),
        ("node", request(EXECUTE, command("DeleteNode", f'{{"node_id":{sql}}}')), refused("404 NODE_NOT_FOUND")),
        ("child", request(EXECUTE, command("LinkNode", f'{{"parent_id":"{NODE}","child_id":{sql}}}')), refused("404 NODE_NOT_FOUND")),
        ("unlinked child", request(EXECUTE, command("UnlinkNode", f'{{"parent_id":"{NODE}","child_id":{sql}}}')), refused("404 NODE_NOT_FOUND")),
        ("new parent", request(EXECUTE, command("MoveNode", f'{{{node},"parent_id":{sql}}}')), refused("409 INVALID_PARENT")),
        ("command_type", request(EXECUTE, command(SQL, "{}")), refused("400 INVALID_COMMAND")),
        ("command_id", request(EXECUTE, command("DeleteNode", f"{{{node}}}", command_id=SQL)), BAD),
        ("scope", request(f"{API}/sessions/{SESSION}/undo", f'{{"scope":{sql}}}'), BAD),
    ]  # fmt: skip
    for name, sent, expected in table:
        yield Attack(f"SQL: {name}", "rest", sent, expected)
    line = f"\x1b[31m\n{INJECTED} %s%n"
    text = json.dumps(line)
    lines: list[tuple[str, bytes, Outcome]] = [
        ("actor with an escape", request(EXECUTE, update("1"), f"Talus-Actor: a\x1b[31m{INJECTED}"), BAD),
        ("actor with format characters", request(EXECUTE, update("1"), f"Talus-Actor: %s%n%d{{0}} {SECRET}"), FINE),
        ("actor that is no UTF-8", request(EXECUTE, update("1"), "Talus-Actor: \x80\xff"), BAD),
        ("actor of 65 letters", request(EXECUTE, update("1"), "Talus-Actor: " + "x" * 65), BAD),
        ("name of a session", request(f"{API}/sessions", f'{{"name":{text}}}'), BAD),
        ("command_type", request(EXECUTE, command(line.replace("\n", "\\n").replace("\x1b", "\\u001b"), "{}")), refused("400 INVALID_COMMAND")),
        ("property", request(EXECUTE, update("1", line)), refused("409 INVALID_PROPERTY")),
        ("type", request(EXECUTE, command("CreateNode", f'{{"blueprint_type_id":{text}}}')), refused("409 INVALID_BLUEPRINT")),
        ("value", request(EXECUTE, update(text)), FINE),
        ("user agent", head(f"{API}/health", f"User-Agent: \x1b[31m{INJECTED}"), Answers(("200 | 400 INVALID_REQUEST",))),
        ("sid of the socket", head(f"{POLLING}&sid=%1b%5b31m%0a{INJECTED}"), BAD),
        ("transport of the socket", head(f"/socket.io/?EIO=4&transport=%0a{INJECTED}"), BAD),
    ]  # fmt: skip
    for name, sent, expected in lines:
        yield Attack(f"log: {name}", "rest", sent, expected)
    yield Attack("log: a method", "tcp", f"\x1b[31m{INJECTED} /\r\n\r\n".encode(), BAD_AND_CLOSED)
    yield Attack("log: a method that is let through", "tcp", head("/", method=f"\x1b{INJECTED}"), Answers(("404 NOT_FOUND | 405 METHOD_NOT_ALLOWED | 400 INVALID_REQUEST",)))  # fmt: skip
    for event in (line, f"\r\n{INJECTED}", "%s" * 1_000, "\x85\u2028" + INJECTED):
        packet = f"421[{json.dumps(event)}]"
        yield Attack(f"log: the event {event[:12]!r}", "websocket", (packet,), Refused("UNKNOWN_EVENT"))
    yield Attack("log: a namespace", "websocket", (f"40/\x1b[31m\n{INJECTED},",), Malformed("connect_error"))
    joins = (call("join_session", f'{{"session_id":{text}}}'),)
    yield Attack("log: a session to join", "websocket", joins, Refused("INVALID_SESSION"))


# JSON, wherever it comes

DEEP = 100_000
# name: what stands as the value of a property, and the code of the refusal (empty: it is taken)
VALUES: dict[str, tuple[str, str]] = {
    "NaN": ("NaN", "INVALID_REQUEST"),
    "Infinity": ("Infinity", "INVALID_REQUEST"),
    "-Infinity": ("-Infinity", "INVALID_REQUEST"),
    "1e999": ("1e999", "INVALID_VALUE"),
    "-1e999 inside": ('[{"a":-1e999}]', "INVALID_VALUE"),
    "2^53": (str(2**53), "INVALID_VALUE"),
    "-2^53": (str(-(2**53)), "INVALID_VALUE"),
    "2^63": (str(2**63), "INVALID_VALUE"),
    "an integer of 5,000 digits": ("9" * 5_000, "INVALID_VALUE"),
    "an integer of 500,000 digits": ("9" * 500_000, "INVALID_VALUE"),
    "a fraction of 500,000 digits": ("0." + "9" * 500_000, ""),
    "a lone surrogate": (r'"\ud800"', "INVALID_VALUE"),
    "a lone surrogate as a key": (r'{"\udfff":1}', "INVALID_VALUE"),
    "surrogates the wrong way round": (r'"\udc00\ud800"', "INVALID_VALUE"),
    "NUL": (r'"a\u0000b"', "INVALID_VALUE"),
    "NUL as a key": (r'{"\u0000":1}', "INVALID_VALUE"),
    "__proto__ as a key": ('{"__proto__":{"admin":true}}', ""),
    "__proto__ as a key, escaped and deep": (r'[{"a":{"\u005f_proto__":1}}]', ""),
    "33 brackets": ("[" * 33 + "]" * 33, "INVALID_VALUE"),
    "100,000 brackets": ("[" * DEEP + "]" * DEEP, "INVALID_VALUE"),
    "100,000 braces": ('{"a":' * DEEP + "1" + "}" * DEEP, "INVALID_VALUE"),
    "brackets left open": ("[" * DEEP, "INVALID_REQUEST"),
    "a string too long": (f'"{SECRET}' + "x" * 300_000 + '"', "INVALID_VALUE"),
    "a string of escapes": ('"' + r"\u0041" * 150_000 + '"', ""),
    "300,000 elements": ("[" + ",".join("1" * 300_000) + "]", "INVALID_VALUE"),
    "duplicate keys": ('{"a":1,"a":2}', "INVALID_REQUEST"),
    "duplicate keys, one escaped": (r'{"a":1,"\u0061":2}', "INVALID_REQUEST"),
    "duplicate keys, deep": ('[{"b":[{"a":1,"a":1}]}]', "INVALID_REQUEST"),
    "100,000 keys of one letter": ("{" + ",".join(['"a":1'] * 100_000) + "}", "INVALID_REQUEST"),
    "single quotes": ("'a'", "INVALID_REQUEST"),
    "a comment": ("1/* */", "INVALID_REQUEST"),
    "a comma too many": ("[1,]", "INVALID_REQUEST"),
    "a leading zero": ("01", "INVALID_REQUEST"),
    "a plus sign": ("+1", "INVALID_REQUEST"),
    "a hexadecimal number": ("0x10", "INVALID_REQUEST"),
    "a point without digits": ("1.", "INVALID_REQUEST"),
    "a raw line end in a string": ('"a\nb"', "INVALID_REQUEST"),
    "a raw NUL": ('"a\0b"', "INVALID_REQUEST"),
    "an unknown escape": (r'"\x41"', "INVALID_REQUEST"),
    "an unfinished escape": (r'"\u12"', "INVALID_REQUEST"),
    "an unfinished string": ('"' + SECRET, "INVALID_REQUEST"),
    "undefined": ("undefined", "INVALID_REQUEST"),
    "nothing": ("", "INVALID_REQUEST"),
}
STATUS = {"INVALID_REQUEST": 400, "INVALID_COMMAND": 400, "NODE_NOT_FOUND": 404}


def _values() -> Iterator[Attack]:
    for name, (value, code) in VALUES.items():
        body = update(value)
        expected = refused(f"{STATUS.get(code, 409)} {code}") if code else FINE
        yield Attack(f"value: {name}", "rest", request(EXECUTE, body), expected)
        packet: Packets = (call("execute_command", body),)
        outcome: Outcome = Malformed() if code == "INVALID_REQUEST" else Refused(code) if code else Ignored()
        if len(packet[0]) < 1_000_000:
            yield Attack(f"value: {name}", "websocket", packet, outcome)
            yield Attack(f"value: {name}", "polling", packet, outcome)


def _bodies() -> Iterator[Attack]:
    """JSON as a whole body, up to the 8 MiB that REST takes."""
    small: list[tuple[str, str | bytes, str]] = [
        ("nothing", "", "400 INVALID_REQUEST"),
        ("null", "null", "400 INVALID_REQUEST"),
        ("a number", "5", "400 INVALID_REQUEST"),
        ("a text", '"x"', "400 INVALID_REQUEST"),
        ("a list", "[]", "400 INVALID_REQUEST"),
        ("a list of it", f"[{update('1')}]", "400 INVALID_REQUEST"),
        ("a BOM", b"\xef\xbb\xbf" + update("1").encode(), "400 INVALID_REQUEST"),
        ("UTF-16", update("1").encode("utf-16"), "400 INVALID_REQUEST"),
        ("UTF-32", update("1").encode("utf-32-be"), "400 INVALID_REQUEST"),
        ("invalid UTF-8", update('"??"').encode().replace(b"??", b"\xff\xfe"), "400 INVALID_REQUEST"),
        ("surrogates in UTF-8", update('"\ud800"').encode("utf-8", "surrogatepass"), "400 INVALID_REQUEST"),
        ("overlong UTF-8", update('"??"').encode().replace(b"??", b"\xc0\x80"), "400 INVALID_REQUEST"),
        ("rubbish behind it", update("1") + "x", "400 INVALID_REQUEST"),
        ("another one behind it", update("1") * 2, "400 INVALID_REQUEST"),
        ("cut off", update("1")[:-1], "400 INVALID_REQUEST"),
        ("NUL behind it", update("1") + "\0", "400 INVALID_REQUEST"),
        ("session_id twice", update("1")[:-1] + f',"session_id":"{SESSION}"}}', "400 INVALID_REQUEST"),
        ("no session", '{"command_type":"DeleteNode","data":{}}', "400 INVALID_REQUEST"),
    ]
    properties: list[tuple[str, str]] = [
        (name, "409 INVALID_PROPERTY")
        for name in ("__proto__", "constructor", "prototype", "", "x" * 129, "a\0")
    ]
    for name, expected in properties:
        small.append((f"property {name[:12]!r}", update("1", name), expected))
        data = f'{{"blueprint_type_id":"x","properties":{{{json.dumps(name)}:1}}}}'
        small.append((f"property {name[:12]!r} of a new node", command("CreateNode", data), expected))
        data = f'{{"blueprint_type_id":{json.dumps(name)}}}'
        small.append((f"type {name[:12]!r}", command("CreateNode", data), "409 INVALID_BLUEPRINT"))
    for text, body, status in small:
        yield Attack(f"body: {text}", "rest", request(EXECUTE, body), refused(status))
    one = '{"command_type":"DeleteNode","data":{"node_id":"x"}}'
    nested = one
    for _ in range(500):
        nested = f'{{"command_type":"Batch","data":{{"commands":[{nested}]}}}}'
    full = 8 * MIB
    # A value of more than 256 KiB, if it is read to its end at all: docs/protocol.md, "Limits".
    too_much = "409 INVALID_VALUE | 400 INVALID_REQUEST"

    def large(make: Callable[[], str]) -> Callable[[], Iterable[bytes]]:
        return lambda: [request(EXECUTE, make())]

    letters = "abcdefghijklmnopqrstuvwxyz"
    keys = "{" + ",".join(f'"{letter}":1' for letter in letters) + "},"
    huge: list[tuple[str, Callable[[], str], str]] = [
        ("8 MiB of [", lambda: "[" * full, "400 INVALID_REQUEST"),
        ("8 MiB of {", lambda: '{"":' * (full // 4), "400 INVALID_REQUEST"),
        ("4 MiB of [ and of ]", lambda: "[" * (full // 2) + "]" * (full // 2), "400 INVALID_REQUEST"),
        ("8 MiB of []", lambda: "[" + "[]," * (full // 3 - 1) + "[]]", "400 INVALID_REQUEST"),
        ("a value of 8 MiB of []", lambda: update("[" + "[]," * (full // 3 - 100) + "[]]"), too_much),
        ("8 MiB of one key", lambda: "{" + '"a":1,' * (full // 6 - 1) + '"a":1}', "400 INVALID_REQUEST"),
        ("8 MiB of keys of one letter", lambda: update("[" + keys * (full // len(keys) - 3) + "1]"), too_much),
        ("8 MiB of keys", lambda: update("{" + "".join(f'"{at:x}":1,' for at in range(700_000)) + '"_":1}'), too_much),
        ("8 MiB of text", lambda: update('"' + "x" * (full - 1_000) + '"'), too_much),
        ("8 MiB of escapes", lambda: update('"' + "\\n" * (full // 2 - 1_000) + '"'), too_much),
        ("8 MiB of digits", lambda: update("9" * (full - 1_000)), too_much),
        ("8 MiB of white space", lambda: " " * full, "400 INVALID_REQUEST"),
        ("8 MiB of quotes", lambda: '"' * full, "400 INVALID_REQUEST"),
        ("8 MiB of backslashes", lambda: '"' + "\\" * (full - 1), "400 INVALID_REQUEST"),
        ("8 MiB of numbers", lambda: "[" + "1e9," * (full // 4 - 1) + "1]", "400 INVALID_REQUEST"),
        ("a surrogate behind 7 MiB of []", lambda: update("[" + "[]," * (full // 3 - 200_000) + r'"\ud800"]'), too_much),
        ("a Batch in a Batch", lambda: command("Batch", '{"commands":[{"command_type":"Batch","data":{"commands":[]}}]}'), "400 INVALID_COMMAND"),
        ("500 Batches deep", lambda: command("Batch", f'{{"commands":[{nested}]}}'), "400 INVALID_COMMAND"),
        ("an empty Batch", lambda: command("Batch", '{"commands":[]}'), "400 INVALID_COMMAND"),
        ("a Batch of 10,001", lambda: command("Batch", f'{{"commands":[{",".join([one] * 10_001)}]}}'), "409 LIMIT_EXCEEDED"),
        ("a Batch of 1,100,000 nothings", lambda: command("Batch", f'{{"commands":[{"0," * 1_100_000}0]}}'), "409 LIMIT_EXCEEDED | 400 INVALID_REQUEST"),
        ("a Batch whose last is refused", lambda: command("Batch", f'{{"commands":[{(one + ",") * 9_999}{one}]}}'), "404 NODE_NOT_FOUND"),
    ]  # fmt: skip
    for text, make, status in huge:
        yield Attack(f"body: {text}", "rest", large(make), Answers((status,), within_s=4 * SOON_S))


# Engine.IO and Socket.IO


def _requests_for_the_socket() -> Iterator[Attack]:
    """Engine.IO by hand: sids, versions, transports."""
    own = f"{POLLING}&sid={OWN_SID}"
    too_many = "\x1e".join(['42["ping"]'] * 10_001)
    table: list[tuple[str, bytes, Outcome]] = [
        ("EIO 3", head("/socket.io/?EIO=3&transport=polling"), BAD),
        ("EIO of SQL", head(f"/socket.io/?EIO={quote(SQL)}&transport=polling"), BAD),
        ("no EIO", head("/socket.io/?transport=polling"), BAD),
        ("no query", head("/socket.io/"), BAD),
        ("an unknown transport", head("/socket.io/?EIO=4&transport=webtransport"), BAD),
        ("WebSocket without an upgrade", head("/socket.io/?EIO=4&transport=websocket"), BAD),
        ("JSONP", head(f"{POLLING}&j=0"), BAD),
        ("JSONP with a script", head(f"{POLLING}&j=</script><script>alert(1)//"), BAD),
        ("JSONP of a POST", request(f"{own}&j=0", 'd=42["ping"]', media_type="application/x-www-form-urlencoded"), BAD),
        ("base64 asked for", head(f"{own}&b64=1"), Answers(("200",))),
        ("an unknown sid", head(f"{POLLING}&sid=" + "A" * 20), BAD),
        ("a POST to an unknown sid", request(f"{POLLING}&sid=" + "A" * 20, '42["ping"]', media_type="text/plain"), BAD),
        ("a POST without a sid", request(POLLING, '42["ping"]', media_type="text/plain"), BAD),
        ("a sid of 7,000 letters", head(f"{POLLING}&sid=" + "A" * 7_000), BAD),
        ("an empty sid", head(f"{POLLING}&sid="), Answers(("200 | 400 INVALID_REQUEST",))),
        ("a WebSocket's sid polled", head(f"{POLLING}&sid={VICTIM_SID}"), BAD),
        ("a POST to a WebSocket's sid", request(f"{POLLING}&sid={VICTIM_SID}", '42["leave_session",{}]', media_type="text/plain"), BAD),
        ("DELETE of a sid", head(own, method="DELETE"), refused("405 METHOD_NOT_ALLOWED")),
        ("invalid UTF-8 posted", request(own, b"4\xff\xfe", media_type="text/plain"), BAD),
        ("nothing posted", request(own, b"", media_type="text/plain"), BAD),
        ("separators posted", request(own, b"\x1e\x1e\x1e", media_type="text/plain"), BAD),
        ("an open packet posted", request(own, '0{"sid":"x"}', media_type="text/plain"), BAD),
        ("a noop posted", request(own, "6", media_type="text/plain"), BAD),
        ("10,001 packets posted", request(own, too_many, media_type="text/plain"), BAD),
        ("base64 that is none", request(own, "b!!!!", media_type="text/plain"), BAD),
        ("a length with no body behind it, and gone", head(own, "Content-Length: 0", method="POST"), BAD),
    ]  # fmt: skip
    for name, sent, expected in table:
        yield Attack(name, "polling", sent, expected)
    handshakes: list[tuple[str, bytes, Outcome]] = [
        ("no key", upgrade(Sec_WebSocket_Key=""), BAD),
        ("a key of 3 bytes", upgrade(Sec_WebSocket_Key="AAAA"), BAD),
        ("a key that is no base64", upgrade(Sec_WebSocket_Key=f"\x1b[31m{INJECTED}"), BAD),
        ("version 8", upgrade(Sec_WebSocket_Version="8"), BAD),
        ("no version", upgrade(Sec_WebSocket_Version=""), BAD),
        ("not on a connection to upgrade", upgrade(Connection="keep-alive"), BAD),
        ("h2c", head(f"{API}/health", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"), FINE),
        ("on another address", upgrade(path=f"{API}/health"), FINE),
        ("EIO 3", upgrade("EIO=3&transport=websocket"), Answers(("101 | 400 INVALID_REQUEST",), closed=True)),
        ("an unknown sid", upgrade(f"EIO=4&transport=websocket&sid={'A' * 20}"), BAD),
        ("the sid of another WebSocket", upgrade(f"EIO=4&transport=websocket&sid={VICTIM_SID}"), BAD),
    ]  # fmt: skip
    for name, sent, expected in handshakes:
        yield Attack(f"handshake: {name}", "rest", sent, expected)
    old = upgrade().replace(b"HTTP/1.1", b"HTTP/1.0")
    yield Attack("handshake: HTTP/1.0", "rest", old, BAD)
    posted = upgrade().replace(b"GET", b"POST")
    yield Attack("handshake: POST", "rest", posted, BAD)


def _packets() -> Iterator[Attack]:
    """Packets that are none, or not now."""
    malformed: dict[str, str] = {
        "an empty message": "4", "an unknown packet type": "47[]", "a packet type in Arabic": "4\u0662[]",
        "no payload": "42", "no list": "42{}", "an empty list": "42[]", "a number for an event": "42[5]",
        "null for an event": "42[null]", "a list for an event": '42[["ping"]]', "an object for an event": "42[{}]",
        "a number of 300 digits": "42" + "1" * 300 + '["ping"]', "a negative number": '42-1["ping"]',
        "a number and no list": "4212", "rubbish behind it": '42["ping"]x', "two in one": '42["ping"]42["ping"]',
        "cut off": '42["ping"', "NaN": '42["ping",NaN]', "duplicate keys": '42["ping",{"a":1,"a":2}]',
        "100,000 brackets left open": '42["ping",' + "[" * DEEP, "a BOM": '42\ufeff["ping"]', "an acknowledgement of rubbish": "43[",
        "an acknowledgement that is no list": '431{"a":1}', "CONNECT twice": "40", "CONNECT twice with rubbish": "40{",
        "a connect error": '44{"message":"x"}', "a namespace for an event": '42/admin,["ping"]',
        "a namespace of dots": '42/../,["ping"]', "a namespace of 100,000 letters": "42/" + "a" * 100_000 + ',["ping"]',
        "attachments without a number": '45-["ping"]', "binary without attachments": '45["ping",{"_placeholder":true,"num":0}]',
    }  # fmt: skip
    for transport in ("websocket", "polling"):
        for name, packet in malformed.items():
            yield Attack(name, transport, (packet,), Malformed("INVALID_REQUEST | BINARY_NOT_SUPPORTED"))
    binary = Malformed("BINARY_NOT_SUPPORTED")
    attached = '451-["join_session",{"_placeholder":true,"num":0}]'
    yield Attack("a binary event", "websocket", (attached, frame(b"\x04abc", BINARY)), binary)
    yield Attack("a binary event", "polling", (attached, "bAAEC"), binary)
    yield Attack("999,999,999 attachments", "websocket", ('45999999999-["ping"]',), binary)
    yield Attack("a binary acknowledgement", "websocket", ('461-1[{"_placeholder":true,"num":0}]',), binary)
    yield Attack("a placeholder that points nowhere", "websocket", (call("ping", '{"_placeholder":true,"num":-1}'),), Heard("pong"))  # fmt: skip
    yield Attack("another namespace", "websocket", ('40/admin,{"token":"x"}',), Malformed("connect_error"))
    yield Attack("500 namespaces", "websocket", tuple(f"40/{at}," for at in range(500)), Malformed("connect_error | INVALID_REQUEST"))  # fmt: skip
    yield Attack(
        "acknowledgements of nothing", "websocket", ("43[]", '43999["x"]', "430[{}]") * 100, Ignored()
    )
    yield Attack(
        "a name of lone surrogates", "websocket", (r'421["\ud800\udfff"]',), Refused("UNKNOWN_EVENT")
    )
    yield Attack("three malformed packets", "websocket", ("42", "42{}", "42[]"), Ends())
    yield Attack("three malformed packets", "polling", ("42", "42{}", "42[]"), Ends())
    for event in (
        "connect", "disconnect", "connect_error", "error", "message", "*", "newListener", "removeListener", "joined", "left", "pong",
        "command:executed", "node-created", "session:deleted", "constructor", "__proto__", "__class__", "", "Join_Session",
        "ping\0", " ping", "join_session\n", "x" * 100_000,
    ):  # fmt: skip
        packet = f'421[{json.dumps(event)},{{"session_id":"{SESSION}"}}]'
        yield Attack(f"the event {event[:20]!r}", "websocket", (packet,), Refused("UNKNOWN_EVENT"))
    # Before CONNECT there is no client whom an error could be sent to.
    for name, packets in {
        "an event": ('42["ping"]',),
        "a join": (call("join_session", f'{{"session_id":"{SESSION}"}}'),),
        "an acknowledgement": ("431[]",),
        "a goodbye": ("41",),
        "binary": (frame(b"\x01", BINARY),),
        "CONNECT of rubbish": ("40{",),
        "rubbish": ("4x",),
    }.items():
        yield Attack(f"before CONNECT: {name}", "websocket", packets, Ends(), connected=False)
    yield Attack("before CONNECT: an event", "polling", ('42["ping"]',), Ends(), connected=False)
    for transport in ("websocket", "polling"):
        yield Attack(
            "before CONNECT: a goodbye, then CONNECT", transport, ("1", "40"), Ends(), connected=False
        )
    engine: list[tuple[str, Packets, Outcome]] = [
        ("an empty frame", (frame(b""),), Ends()),
        ("an unknown type", ("9",), Ends()),
        ("letters", ("hello",), Ends()),
        ("an open packet", ('0{"sid":"x","upgrades":[],"pingInterval":1,"pingTimeout":1}',), Ends()),
        ("a ping of the client's own", ("2",), Ends()),
        ("a flood of noops", ("6",) * 10_000, Ends()),
        ("a flood of pings", ("2",) * 10_000, Ends()),
        ("a flood of pongs", ("3",) * 20_000, Ignored()),
        ("a flood of upgrades", ("5",) * 5_000, Ignored()),
        ("an upgrade without a probe", ("5",), Ignored()),
        ("a probe on a WebSocket", ("2probe",), Ignored()),
        ("a goodbye, then a talk", ("1", call("join_session", f'{{"session_id":"{SESSION}"}}')), Ends()),
        ("a goodbye to the namespace, then a talk", ("41", call("ping", "{}")), Ends()),
    ]
    for name, packets, outcome in engine:
        yield Attack(f"engine: {name}", "websocket", packets, outcome)


def _calls() -> Iterator[Attack]:
    """Each field of each call, of a wrong type; and session ids of all kinds."""
    fields: list[tuple[str, str, str]] = []  # event, field, JSON that it is no place for
    numbers = ("-1", '"1"', "1.5", "true", "[]", "1e999")
    fields += [("join_session", "since", text) for text in numbers]
    fields += [("join_session", "epoch", text) for text in ("5", "[]", "true")]
    for event in ("join_session", "leave_session", "execute_command", "undo_command", "update_presence"):
        fields += [(event, "session_id", text) for text in ("5", "true", "[]", "{}", "1.5", "null", '""')]
    fields += [("execute_command", "command_type", text) for text in ("5", "null", "[]", "{}")]
    fields += [("execute_command", "data", text) for text in ("5", "null", "[]", '"x"')]
    for event in ("execute_command", "undo_command", "redo_command"):
        fields += [(event, "command_id", text) for text in ("5", '"x"', '"' + "A" * 36 + '"', "[]")]
        fields += [(event, "expected_version", text) for text in numbers]
    fields += [("undo_command", "scope", text) for text in ("5", '"all"', '["actor"]')]
    ahead = call("join_session", f'{{"session_id":"{SESSION}","since":{2**70}}}')
    yield Attack("join_session: since 2^70", "websocket", (ahead,), Heard("joined"))
    ahead = call("execute_command", command("DeleteNode", '{"node_id":"x"}', expected_version=2**70))
    yield Attack("execute_command: expected_version 2^70", "websocket", (ahead,), Refused("VERSION_CONFLICT"))
    rest = {
        "execute_command": f'"command_type":"UpdateProperty","data":{{"node_id":"{NODE}","property_id":"p","value":1}},',
        "update_presence": '"state":1,',
    }  # fmt: skip
    for event, field, text in fields:
        # The other fields first, those that are wrong themselves left out: a key may stand only once.
        others = rest.get(event, "") + f'"session_id":"{SESSION}",'
        if field == "session_id":
            others = rest.get(event, "")
        elif event == "execute_command" and field in ("command_type", "data"):
            kept = '"data":{}' if field == "command_type" else '"command_type":"DeleteNode"'
            others = f'"session_id":"{SESSION}",{kept},'
        packet = call(event, f'{{{others}"{field}":{text}}}')
        yield Attack(f"{event}: {field} {text[:12]}", "websocket", (packet,), Refused("INVALID_REQUEST"))
    for event in ("join_session", "leave_session", "execute_command", "undo_command", "update_presence"):
        for payload in ("null", "5", '"x"', "[]", "true", "{}"):
            yield Attack(f"{event} of {payload}", "websocket", (call(event, payload),), Refused("INVALID_REQUEST"))  # fmt: skip
    states = {
        "missing": "",
        "of 1,025 bytes": f',"state":"{"x" * 1_023}"',
        "of 33 brackets": f',"state":{"[" * 33}{"]" * 33}',
        "of infinity": ',"state":1e999',
        "of NUL": r',"state":"\u0000"',
        "of surrogates": r',"state":"\ud800"',
    }
    joined = call("join_session", f'{{"session_id":"{SESSION}"}}', None)
    for name, text in states.items():
        packet = call("update_presence", f'{{"session_id":"{SESSION}"{text}}}')
        yield Attack(f"presence {name}", "websocket", (joined, packet), Refused("INVALID_REQUEST"))
    outside = call("update_presence", f'{{"session_id":"{SESSION}","state":1}}')
    yield Attack("presence of a stranger", "websocket", (outside,), Refused("INVALID_REQUEST"))
    node = f'"node_id":"{NODE}"'
    data: list[tuple[str, str, str]] = [
        *(("CreateNode", f'{{"blueprint_type_id":"x",{text}}}', "INVALID_COMMAND") for text in (
            '"parent_id":5', '"parent_id":[]', '"properties":[]', '"properties":"x"', '"properties":null', '"index":-1',
            '"index":"0"', '"index":1.5', '"index":true', '"node_id":"x"', '"node_id":5', f'"node_id":"{"A" * 36}"',
            '"unknown":1', '"__proto__":{}',
        )),
        *(("CreateNode", text, "INVALID_COMMAND") for text in ("{}", '{"blueprint_type_id":5}', '{"blueprint_type_id":null}')),
        ("CreateNode", '{"blueprint_type_id":"x","name":5}', "INVALID_VALUE"),
        ("CreateNode", '{"blueprint_type_id":"x","properties":{"name":[]}}', "INVALID_VALUE"),
        ("CreateNode", '{"blueprint_type_id":"x","parent_id":"__proto__"}', "INVALID_PARENT"),
        *((kind, text, "INVALID_COMMAND") for kind in ("DeleteNode", "UpdateProperty", "LinkNode", "UnlinkNode", "MoveNode", "Batch") for text in (
            "{}", '{"node_id":5}', '{"child_id":[]}', '{"x":1}',
        )),
        ("DeleteNode", '{"node_id":"constructor"}', "NODE_NOT_FOUND"),
        ("UpdateProperty", f'{{{node},"property_id":5,"value":1}}', "INVALID_COMMAND"),
        ("UpdateProperty", f'{{{node},"property_id":"p","value":1,"new_value":2}}', "INVALID_COMMAND"),
        ("LinkNode", f'{{"parent_id":"{NODE}","child_id":"{NODE}"}}', "CYCLE"),
        ("MoveNode", f'{{{node},"parent_id":"{NODE}"}}', "CYCLE"),
        ("Batch", '{"commands":{}}', "INVALID_COMMAND"),
        ("Batch", '{"commands":[5]}', "INVALID_COMMAND"),
        ("Batch", '{"commands":[{"command_type":"DeleteNode"}]}', "INVALID_COMMAND"),
        ("Nonsense", "{}", "INVALID_COMMAND"),
        ("__init__", "{}", "INVALID_COMMAND"),
    ]  # fmt: skip
    for kind, text, code in data:
        packet = call("execute_command", command(kind, text))
        yield Attack(f"{kind} {text.replace(NODE, 'node')[:60]}", "websocket", (packet,), Refused(code))
    for name, session_id in {
        "129 letters": "x" * 129, "100,000 letters": "x" * 100_000, "a path": "../../etc/passwd", "SQL": SQL,
        "format strings": "%s%s%n", "Cyrillic": "сессия", "an emoji": "💥", "a dot before": ".hidden", "a dash before": "-rf",
        "a space": "a b", "a new line": "a\n", "NUL": "a\0", "markup": "<script>", "a lone surrogate": "\ud800", "full width": "\uff41\uff11",
    }.items():  # fmt: skip
        payload = json.dumps({"session_id": session_id})
        yield Attack(
            f"join of {name}", "websocket", (call("join_session", payload),), Refused("INVALID_SESSION")
        )
        yield Attack(f"leave of {name}", "websocket", (call("leave_session", payload),), Heard("left"))


def _frames() -> Iterator[Attack]:
    """A dozen of the worst frames."""
    worst: list[tuple[str, Packets, tuple[int, ...]]] = [
        ("unmasked", (frame(b'42["ping"]', masked=False),), (1002,)),
        ("a reserved bit", (frame(b'42["ping"]', rsv=4),), (1002,)),
        ("an unknown opcode", (frame(b"x", 0x3),), (1002,)),
        ("a ping of 126 bytes", (frame(bytes(126), PING),), (1002,)),
        ("a ping in fragments", (frame(b"x", PING, fin=False),), (1002,)),
        ("a continuation of nothing", (frame(b"x", 0),), (1002,)),
        ("a message inside another", (frame(b"4", fin=False), frame(b"4")), (1002,)),
        ("text that is no UTF-8", (frame(b'42["\xc0\x80"]'),), (1007,)),
        ("2 GB announced", (frame(b"42", announced=2 << 30),), (1009,)),
        ("2^63 bytes announced", (frame(b"42", announced=1 << 63),), (1002, 1009)),
        ("one byte too many", (frame(b"4" * 1_000_001),), (1009,)),
        (
            "too many bytes in fragments",
            (frame(b"4" * 600_000, fin=False), frame(b"4" * 600_000, 0)),
            (1009,),
        ),
        ("a length in a longer form than needed", (b"\x81\xfe\x00\x01\x00\x00\x00\x004",), (1002,)),
        ("a close of one byte", (frame(b"\x03", CLOSE),), (1002,)),
        ("a close with 1005", (frame(struct.pack("!H", 1005), CLOSE),), (1002,)),
        ("HTTP instead", (HEALTH,), (1002,)),
    ]
    for name, packets, codes in worst:
        yield Attack(f"frame: {name}", "websocket", packets, Ends(codes))
    pings = frame(b"x" * 125, PING) * 20_000
    yield Attack("20,000 pings", "websocket", (pings,), Heard("websocket pong", 20_000))
    yield Attack("20,000 pongs", "websocket", (frame(b"", PONG) * 20_000,), Ignored())
    empty = frame(b"", fin=False) + frame(b"", 0, fin=False) * 50_000 + frame(b'42["ping"]', 0)
    yield Attack("50,000 empty fragments", "websocket", (empty,), Ends((1009,)))


# Floods, and what takes more than one connection


def _floods() -> Iterator[Attack]:
    join = call("join_session", f'{{"session_id":"{SESSION}"}}', None)
    leave = call("leave_session", f'{{"session_id":"{SESSION}"}}', None)
    show = call("update_presence", f'{{"session_id":"{SESSION}","state":"{SECRET}"}}', None)
    undo = call("undo_command", f'{{"session_id":"{SESSION}","expected_version":0}}', None)
    table: list[tuple[str, Callable[[], Packets], Outcome]] = [
        ("20,000 calls in one go", lambda: ('42["ping"]',) * 20_000, Heard("pong", 20_000)),
        ("2,000 commands in one go", lambda: (join, *[call("execute_command", update(f'"{SECRET}"'), None)] * 2_000), Heard("command:executed", 2_000)),
        ("60 joins and leaves", lambda: (join, leave) * 60, Heard("left", 60)),
        ("20,000 presences", lambda: (join, *[show] * 20_000, '42["ping"]'), Heard("pong")),
        ("64 sessions, and one more", lambda: (*(call("join_session", f'{{"session_id":"flood-{at}"}}', None) for at in range(64)), call("join_session", '{"session_id":"flood-64"}')), Refused("LIMIT_EXCEEDED")),
        ("2,000 undos that come too late", lambda: (undo,) * 2_000, Refused("VERSION_CONFLICT")),
    ]  # fmt: skip
    for name, packets, outcome in table:
        yield Attack(f"flood: {name}", "websocket", packets, outcome)
    posted: list[tuple[str, Callable[[], Packets], Outcome]] = [
        ("5,000 calls in one POST", lambda: ('42["ping"]',) * 5_000, Heard("pong", 5_000)),
        ("500 commands in one POST", lambda: (join, *[call("execute_command", update("1"), None)] * 500), Heard("command:executed", 500)),
    ]  # fmt: skip
    for name, packets, outcome in posted:
        yield Attack(f"flood: {name}", "polling", packets, outcome)
    yield Attack(
        "flood: 2,000 requests in one go", "rest", lambda: [HEALTH * 2_000], Answers(("200",) * 2_000)
    )
    unknown = head(f"{API}/graph?session_id=nobody")
    yield Attack("flood: 1,000 refusals in one go", "rest", lambda: [unknown * 1_000], Answers(("404 INVALID_SESSION",) * 1_000))  # fmt: skip
    yield Attack("flood: 300 connections", "tcp", _connections, Plays())
    yield Attack("flood: 100 WebSockets that come and go", "websocket", _comings_and_goings, Plays())
    yield Attack("flood: 200 handshakes without a poll", "polling", _handshakes, Plays())
    yield Attack("a second poll at a time", "polling", _second_poll, Plays())
    yield Attack("two upgrades at a time", "websocket", _upgrade_race, Plays())
    yield Attack("an upgrade with rubbish for a probe", "websocket", _rubbish_for_a_probe, Plays())
    yield Attack("gone in the middle of everything", "tcp", _gone, Plays())


def _connections(target: Target) -> None:
    """Connections that say nothing, or half a word, and go."""
    for at in range(300):
        with socket.create_connection((target.host, target.port), timeout=SOON_S) as connection:
            connection.sendall(HEALTH[:at])


def _comings_and_goings(target: Target) -> None:
    for at in range(100):
        client = RawWebSocket(target.url, auth={"actor": f"flood {at}"})
        client.emit("join_session", {"session_id": target.session_id})
        client.cut()


def _handshakes(target: Target) -> None:
    with socket.create_connection((target.host, target.port), timeout=SOON_S) as connection:
        connection.sendall(head(POLLING) * 200)
        heard = b""
        while heard.count(b"HTTP/1.1 200") < 200:
            piece = connection.recv(65536)
            assert piece, "the connection was closed"
            heard += piece


def _second_poll(target: Target) -> None:
    """Engine.IO: a second poll at a time is answered 400, and that is the end of the connection."""
    client = RawPolling(target.url)  # it polls already
    poll = head(f"{POLLING}&sid={client.handshake['sid']}")
    with socket.create_connection((target.host, target.port), timeout=SOON_S) as connection:
        connection.sendall(poll)
        assert connection.recv(12) == b"HTTP/1.1 400"
    client.wait_ended(SOON_S)
    client.close()


def _upgrade_race(target: Target) -> None:
    """Of two WebSockets that upgrade one polling connection at most one gets it, and nothing is left behind."""
    client = RawPolling(target.url, connect=False, poll=False)
    query = f"EIO=4&transport=websocket&sid={client.handshake['sid']}"
    sockets: list[RawWebSocket] = []
    for _ in range(2):
        with suppress(UpgradeRefused):
            sockets.append(RawWebSocket(target.url, query=query, connect=False))
    for each in sockets:
        try:
            each.send_packets(["2probe", "5", "40", '42["ping"]'])
        except OSError:
            each.wait_ended(SOON_S)
    alive = [each for each in sockets if _hears(each, "pong")]
    assert len(alive) <= 1, "one connection has two WebSockets"
    for each in sockets:
        each.close()
    client.close()


def _hears(client: RawWebSocket, event: str) -> bool:
    heard = client.wait_until(lambda: client.heard(event) or client.ended.is_set(), SOON_S, event)
    return isinstance(heard, list)


def _rubbish_for_a_probe(target: Target) -> None:
    """The WebSocket ends within 5 s."""
    for rubbish in (b"rubbish", b"", b"\xff", b"5", b'42["ping"]'):
        client = RawPolling(target.url, connect=False, poll=False)
        query = f"EIO=4&transport=websocket&sid={client.handshake['sid']}"
        each = RawWebSocket(target.url, query=query, connect=False)
        each.send_bytes(frame(rubbish))
        each.wait_ended(SOON_S)
        client.close()


def _gone(target: Target) -> None:
    """Peers that reset the connection while their answer is on its way."""
    reset = struct.pack("ii", 1, 0)
    asked = [
        head(f"{API}/sessions?limit=500"),
        request(EXECUTE, target.filled_in(update("1"))),
        request(f"{API}/sessions", "{}")[:-1],
        upgrade(),
        upgrade() + frame(b"40") + frame(b'42["ping"]')[:5],
        head(POLLING),
    ]
    for sent in asked * 5:
        connection = socket.create_connection((target.host, target.port), timeout=SOON_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.sendall(sent)
        connection.close()


def _slow() -> Iterator[Attack]:
    """What takes its time: these are played beside all the others."""
    head_s, body_s, spare_s = 10.0, 20.0, 3.0
    no_head, no_body = Ends(within_s=head_s + spare_s), Ends(within_s=body_s + spare_s)
    post = head(f"{API}/sessions", "Content-Type: application/json", "Content-Length: 100", method="POST")
    poll = head(f"{POLLING}&sid={OWN_SID}", "Content-Length: 100", method="POST")
    yield Attack("slow: nothing at all", "tcp", b"", no_head)
    yield Attack("slow: a TLS hello without a line end", "tcp", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32, 64)), no_head)  # fmt: skip
    yield Attack("slow: a head that stops", "tcp", HEALTH[:30], no_head)
    yield Attack(
        "slow: a byte a second", "tcp", lambda: [bytes([byte]) for byte in HEALTH], no_head, drip_s=1.0
    )
    yield Attack("slow: a header a second", "tcp", lambda: [HEALTH[:-2], *[b"X: y\r\n"] * 60], no_head, drip_s=1.0)  # fmt: skip
    yield Attack("slow: a body that never comes", "tcp", post, no_body)
    yield Attack("slow: a body by the byte", "tcp", lambda: [post, *[b" "] * 60], no_body, drip_s=1.0)
    yield Attack("slow: a chunk that stops", "tcp", chunked(b"5\r\n{"), no_body)
    yield Attack(
        "slow: chunks by the byte", "tcp", lambda: [chunked(), *[b"1\r\n \r\n"] * 60], no_body, drip_s=1.0
    )
    yield Attack("slow: a chunk's size that never ends", "tcp", lambda: [chunked(b"0"), *[b"0"] * 60], no_body, drip_s=1.0)  # fmt: skip
    yield Attack("slow: a POST of a poll that never comes", "tcp", poll, no_body)
    yield Attack("slow: no CONNECT", "websocket", (), Ends(within_s=head_s + spare_s), connected=False)
    yield Attack("slow: no CONNECT", "polling", (), Ends(within_s=head_s + spare_s), connected=False)


def _stages() -> Iterator[Attack]:
    yield from _heads()
    yield from _smuggling()
    yield from _origins()
    yield from _media()
    yield from _addresses()
    yield from _injection()
    yield from _values()
    yield from _bodies()
    yield from _requests_for_the_socket()
    yield from _packets()
    yield from _calls()
    yield from _frames()
    yield from _floods()


CATALOGUE: list[Attack] = list(_stages())
SLOW: list[Attack] = list(_slow())
