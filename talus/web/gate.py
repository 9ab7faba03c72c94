"""What is refused by a request's head alone, before anything reads or parses its body.

A page of another origin must not reach a server on somebody's desktop, and a
name that resolves to it (DNS rebinding) must not either: the Host list and the
Origin rules hold for every path and for WebSocket upgrades, whatever the
frameworks behind think of them. Over REST a token is looked at here too, so that
a stranger's body is not even read. Source: docs/protocol.md, "Security".
"""

from __future__ import annotations

import binascii
import http
import ipaddress
from base64 import b64decode
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gevent

from ..core.errors import (
    Forbidden,
    HostNotAllowed,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    TalusError,
    Unauthenticated,
    UnsupportedMediaType,
)
from ..service.access import Access
from ..service.limits import Buckets
from . import wire
from .page import Page
from .refusals import Refusals
from .websocket import MAX_MESSAGE_BYTES

MAX_BODY_BYTES = 8 * 1024 * 1024
SOCKET_PATH = "/socket.io/"
OPEN_PATH = "/api/v1/health"  # that needs no token
# In the environ: the socket that a request came on, why it is refused, and who calls.
CONNECTION, REFUSAL, IDENTITY = "talus.connection", "talus.refusal", "talus.identity"
FAILED_LOGINS = 20.0  # a second and address; past that (and a burst of as many again) each waits
FAILED_LOGIN_S = 1.0  # so long for its answer
OPENINGS = 500.0  # Socket.IO connections a second and address, twice that at once; the next one waits
FROM_ONE_ADDRESS = 0.8  # of all connections; the rest is for others
JSON = "application/json"

_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
_HEADERS = "Content-Type, Authorization, Talus-Actor, If-None-Match"
_EXPOSED = "ETag, Retry-After"
_PREFLIGHT_S = 600  # a browser may remember a preflight's answer so long

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Query = dict[str, list[str]]


class Gate:
    """The outermost WSGI application."""

    def __init__(
        self,
        rest: Application,
        sockets: Application,
        page: Page,
        bound: str,
        allowed_hosts: frozenset[str],
        cors_origins: frozenset[str],
        access: Access,
        refusals: Refusals,
        knock: Callable[[Environ, Query], TalusError | None],
    ) -> None:
        """bound: the host that the server listens on, as the settings name it.

        knock: why a request for a Socket.IO connection is not let in, or None.
        """
        self._knock = knock
        self._access = access
        self._refusals = refusals
        self._failed_logins = Buckets(FAILED_LOGINS)
        self._openings = Buckets(OPENINGS)
        self._rest = rest
        self._sockets = sockets
        self._page = page
        self._hosts = allowed_hosts | {bound.lower(), "localhost"}
        self._any_address = bound in ("0.0.0.0", "::")
        self._local = is_loopback(bound)
        self._origins = cors_origins

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        refusal = environ[REFUSAL]
        if refusal is not None:
            return self._refuse(environ, refusal, start_response)
        if _is_preflight(environ):
            preflight = [
                ("Access-Control-Allow-Methods", _METHODS),
                ("Access-Control-Allow-Headers", _HEADERS),
                ("Access-Control-Max-Age", str(_PREFLIGHT_S)),
            ]
            start_response("204 No Content", _cors(origin) + preflight)
            return []
        answer = _with_headers(start_response, _cors(origin)) if origin else start_response
        if self._page.knows(environ["PATH_INFO"]):
            try:
                return self._page(environ, answer)
            except NotFound as error:
                return self._refuse(environ, error, start_response)
        if environ["PATH_INFO"] != SOCKET_PATH:
            return self._rest(environ, answer)
        if "sid" not in parse_qs(environ.get("QUERY_STRING", "")):
            wait_s = self._openings.of(address_of(environ)).queue()
            if wait_s:
                gevent.sleep(wait_s)
        return self._sockets(environ, answer)

    def examine(self, environ: Environ) -> bool:
        """Whether a request may go on, from its head alone; tells the environ why not, and who calls."""
        environ[REFUSAL] = self._refusal(environ)
        if environ[REFUSAL] is None and environ["PATH_INFO"] != SOCKET_PATH:
            try:
                self._identify(environ)
            except TalusError as error:
                environ[REFUSAL] = error
        return environ[REFUSAL] is None

    def _identify(self, environ: Environ) -> None:
        path = environ["PATH_INFO"]
        if path == OPEN_PATH or self._page.knows(path) or _is_preflight(environ):
            return
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        name = environ.get("HTTP_TALUS_ACTOR")
        if name is not None:
            with suppress(UnicodeError):  # WSGI hands the bytes of a header on as Latin-1
                name = name.encode("latin-1").decode()
        try:
            environ[IDENTITY] = self._access.identify(
                token.strip(" ") if scheme.lower() == "bearer" else None,
                name,
                f"{address_of(environ)} {environ.get('REMOTE_PORT')}",
            )
        except Unauthenticated:
            self.slow_down(environ)
            raise

    def slow_down(self, environ: Environ) -> None:
        """A login failed: an address that goes on trying waits for its answers."""
        if self._failed_logins.of(address_of(environ)).take():
            gevent.sleep(FAILED_LOGIN_S)

    def _refusal(self, environ: Environ) -> TalusError | None:
        if not self._knows(environ.get("HTTP_HOST", "")):
            return HostNotAllowed()
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not self._admits(origin, environ):
            return Forbidden("Pages of this origin are not answered")
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            return InvalidRequest("Content-Length: a number of bytes is expected")
        limit = self.body_limit(environ)
        if int(length) > limit:
            return PayloadTooLarge(f"A body here has at most {limit} bytes")
        try:
            environ["PATH_INFO"].encode("latin-1").decode()
        except UnicodeError:
            return NotFound()  # Bottle would leave out what is no UTF-8, and find another address
        if environ["PATH_INFO"] == SOCKET_PATH:
            return self._socket_refusal(environ)
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            return MethodNotAllowed()
        if (
            self._page.knows(environ["PATH_INFO"])
            and method not in ("GET", "HEAD")
            and not _is_preflight(environ)
        ):
            return MethodNotAllowed()
        media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        said = media_type or has_body(environ)
        if method in ("POST", "PUT") and said and media_type != JSON:
            return UnsupportedMediaType()  # of a form, which any page may post anywhere, too
        return None

    def _socket_refusal(self, environ: Environ) -> TalusError | None:
        if environ["REQUEST_METHOD"] not in ("GET", "POST") and not _is_preflight(environ):
            return MethodNotAllowed()
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if "j" in query:
            # Script tags send no Origin: JSONP would hand the connection to any page.
            return InvalidRequest("j: JSONP is not supported")
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket" and not _shakes_hands(environ):
            return InvalidRequest("A malformed WebSocket handshake")
        return self._knock(environ, query)

    def body_limit(self, environ: Environ) -> int:
        """How many bytes a request's body may have."""
        return MAX_MESSAGE_BYTES if environ["PATH_INFO"] == SOCKET_PATH else MAX_BODY_BYTES

    def answer_for(self, address: str) -> None:
        """An address that the server is bound to may be named as Host."""
        self._hosts |= {address}

    def upgrades(self, environ: Environ) -> bool:
        """Whether a WebSocket may be opened."""
        return environ["PATH_INFO"] == SOCKET_PATH and environ[REFUSAL] is None

    def _knows(self, host: str) -> bool:
        name = _hostname(host)
        if name is None:
            return False
        if name in self._hosts or is_loopback(name):
            return True
        return self._any_address and _address(name) is not None

    def _admits(self, origin: str, environ: Environ) -> bool:
        if origin in self._origins:
            return True
        if origin == f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}":
            return True
        scheme, _, host = origin.partition("://")
        return self._local and scheme in ("http", "https") and is_loopback(_hostname(host) or "")

    def _refuse(self, environ: Environ, error: TalusError, start_response: StartResponse) -> Iterable[bytes]:
        self._refusals.count(error, address_of(environ))
        body = wire.encode(wire.error_body(error))
        status = wire.status_of(error)
        headers = [
            ("Content-Type", JSON),
            ("Content-Length", str(len(body))),
            *wire.headers_of(error),
        ]
        if isinstance(error, MethodNotAllowed):
            headers.append(("Allow", self._allowed(environ["PATH_INFO"])))
        origin = environ.get("HTTP_ORIGIN")
        if origin and not isinstance(error, Forbidden | HostNotAllowed):
            headers += _cors(origin)
        start_response(f"{status} {http.HTTPStatus(status).phrase}", headers)
        return [body]

    def _allowed(self, path: str) -> str:
        if path == SOCKET_PATH:
            return "GET, POST"
        return "GET, HEAD" if self._page.knows(path) else _METHODS


def address_of(environ: Environ) -> str:
    """Where a request comes from, as the network says."""
    address: str = environ.get("REMOTE_ADDR", "")
    return address


def share(address: str, most: int) -> float:
    """How many of `most` connections one address may have: this machine all of them, another not quite."""
    return most if is_loopback(address) else most * FROM_ONE_ADDRESS


def has_body(environ: Environ) -> bool:
    """Whether a request's head announces a body."""
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


def _is_preflight(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def is_loopback(name: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    if name == "localhost":
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _hostname(host: str) -> str | None:
    """The name in a Host header or an origin, without port and brackets; None where it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return None
    if not host or parts.netloc != host or "@" in host:
        return None
    return parts.hostname


def _shakes_hands(environ: Environ) -> bool:
    """Whether a WebSocket handshake is one. Source: RFC 6455, section 4.2.1."""
    try:
        key = b64decode(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""), validate=True)
    except binascii.Error:
        return False
    return (
        len(key) == 16
        and environ.get("HTTP_SEC_WEBSOCKET_VERSION") == "13"
        and environ["REQUEST_METHOD"] == "GET"
        and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and "upgrade" in environ.get("HTTP_CONNECTION", "").lower()
    )


def _cors(origin: str | None) -> list[tuple[str, str]]:
    if not origin:
        return [("Vary", "Origin")]
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", _EXPOSED),
        ("Vary", "Origin"),
    ]


def _with_headers(start_response: StartResponse, more: list[tuple[str, str]]) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, *more], *rest)

    return start
