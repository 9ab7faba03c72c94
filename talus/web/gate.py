"""What is refused before anything parses it: hosts, origins, sizes, methods of a preflight.

A page of another origin must not reach a server on somebody's desktop, and a
name that resolves to it (DNS rebinding) must not either: the Host list and the
Origin rules hold for every path and for WebSocket upgrades, whatever the
frameworks behind think of them. Source: docs/protocol.md, "Hosts and origins".
"""

from __future__ import annotations

import binascii
import ipaddress
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..core.errors import Busy, Forbidden, HostNotAllowed, InvalidRequest, PayloadTooLarge, TalusError
from . import wire
from .websocket import MAX_MESSAGE_BYTES

MAX_BODY_BYTES = 8 * 1024 * 1024
SOCKET_PATH = "/socket.io/"
CONNECTION = "talus.connection"  # the environ's name for the socket that a request came on

_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
_HEADERS = "Content-Type, Authorization, Talus-Actor, If-None-Match"
_EXPOSED = "ETag, Retry-After"
_PREFLIGHT_S = 600  # a browser may remember a preflight's answer so long

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    413: "Content Too Large",
    421: "Misdirected Request",
    503: "Service Unavailable",
}


class Gate:
    """The outermost WSGI application."""

    def __init__(
        self,
        rest: Application,
        sockets: Application,
        bound: str,
        allowed_hosts: frozenset[str],
        cors_origins: frozenset[str],
        full: Callable[[], bool],
    ) -> None:
        """bound: the host that the server listens on, as the settings name it. full: no more clients."""
        self._full = full
        self._rest = rest
        self._sockets = sockets
        self._hosts = allowed_hosts | {bound.lower(), "localhost"}
        self._any_address = bound in ("0.0.0.0", "::")
        self._local = is_loopback(bound)
        self._origins = cors_origins

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN")
        refusal = self.refusal(environ)
        if refusal is not None:
            return self._refuse(environ, refusal, start_response)
        if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            preflight = [
                ("Access-Control-Allow-Methods", _METHODS),
                ("Access-Control-Allow-Headers", _HEADERS),
                ("Access-Control-Max-Age", str(_PREFLIGHT_S)),
            ]
            start_response("204 No Content", _cors(origin) + preflight)
            return []
        answer = _with_headers(start_response, _cors(origin)) if origin else start_response
        application = self._sockets if environ["PATH_INFO"] == SOCKET_PATH else self._rest
        return application(environ, answer)

    def refusal(self, environ: Environ) -> TalusError | None:
        """Why a request is turned away, from its head alone."""
        if not self._knows(environ.get("HTTP_HOST", "")):
            return HostNotAllowed()
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not self._admits(origin, environ):
            return Forbidden("Pages of this origin are not answered")
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdigit():
            return InvalidRequest("Content-Length: a number of bytes is expected")
        limit = self.body_limit(environ)
        if int(length) > limit:
            return PayloadTooLarge(f"A body here has at most {limit} bytes")
        return self._socket_refusal(environ) if environ["PATH_INFO"] == SOCKET_PATH else None

    def _socket_refusal(self, environ: Environ) -> TalusError | None:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if "j" in query:
            # Script tags send no Origin: JSONP would hand the connection to any page.
            return InvalidRequest("j: JSONP is not supported")
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket" and not _shakes_hands(environ):
            return InvalidRequest("A malformed WebSocket handshake")
        if "sid" not in query and self._full():
            return Busy("The server has as many clients as it takes")
        return None

    def body_limit(self, environ: Environ) -> int:
        """How many bytes a request's body may have."""
        return MAX_MESSAGE_BYTES if environ["PATH_INFO"] == SOCKET_PATH else MAX_BODY_BYTES

    def answer_for(self, address: str) -> None:
        """An address that the server is bound to may be named as Host."""
        self._hosts |= {address}

    def upgrades(self, environ: Environ) -> bool:
        """Whether a WebSocket may be opened: `refusal` and the path say so."""
        return environ["PATH_INFO"] == SOCKET_PATH and self.refusal(environ) is None

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
        body = wire.encode(wire.error_body(error))
        status = wire.status_of(error)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        origin = environ.get("HTTP_ORIGIN")
        if origin and not isinstance(error, Forbidden | HostNotAllowed):
            headers += _cors(origin)
        start_response(f"{status} {_REASONS[status]}", headers)
        return [body]


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
