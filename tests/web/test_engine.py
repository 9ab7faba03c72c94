"""Engine.IO's side of a request, without a server around it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from talus.web.engine import Engine
from talus.web.gate import CONNECTION
from talus.web.refusals import Refusals


class Asked:
    """A request and what was answered."""

    def __init__(self, engine: Engine, method: str, query: str, body: bytes = b"") -> None:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "QUERY_STRING": f"EIO=4&transport=polling{query}",
            "PATH_INFO": "/socket.io/",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            CONNECTION: None,
        }
        self.status = ""
        self.body = b"".join(engine.handle_request(environ, self._start))

    def _start(self, status: str, headers: Any) -> None:
        self.status = status


@pytest.mark.parametrize("method, body", [("GET", b""), ("POST", b"2")])
def test_whoever_asks_for_a_connection_that_has_just_ended_is_refused(method: str, body: bytes) -> None:
    """Given a connection that is closed and not yet forgotten, when its client asks again, then 400 as for
    one that nobody knows, and it is forgotten."""
    engine = Engine(outbox_bytes=65_536, max_clients=10, refusals=Refusals(), async_mode="gevent")
    opened = Asked(engine, "GET", "")
    sid = json.loads(opened.body[1:].partition(b"\x1e")[0])["sid"]
    unknown = Asked(engine, method, "&sid=nobody", body)
    engine.sockets[sid].closed = True
    closed = Asked(engine, method, f"&sid={sid}", body)
    assert closed.status == unknown.status == "400 Bad Request"
    assert closed.body.replace(sid.encode(), b"nobody") == unknown.body
    assert sid not in engine.sockets
