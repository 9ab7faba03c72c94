"""The libraries of talus as they come, with nothing of talus around them: `python -m tests.support.stock`.

python-socketio with its default options behind gevent.pywsgi and
gevent-websocket's handler, and a Bottle application beside it, put together as
their documentation shows it. tests/test_stack.py asks it and talus the same
questions. It takes the arguments of `talus serve` and says the same words when
it is ready, so tests.support.server.Server can start it; no database is opened.

--fallback: without gevent-websocket; engineio then uses simple-websocket.
"""

from gevent import monkey

monkey.patch_all()

import argparse
import json
import os
import sys
import threading
from time import monotonic
from typing import Any

import bottle
import gevent
import socketio
from gevent.pywsgi import WSGIServer

FALLBACK = "--fallback" in sys.argv
NAP_S = 0.002
POSTPONED_S = 0.05  # that a handler yields before it queues

if FALLBACK:
    sys.modules["geventwebsocket"] = None  # type: ignore[assignment] # an import of it fails
    handling: dict[str, Any] = {}
else:
    from geventwebsocket.handler import WebSocketHandler

    handling = {"handler_class": WebSocketHandler}

sio = socketio.Server(async_mode="gevent")
rest = bottle.Bottle()
ran = {"connect": 0, "disconnect": 0}  # how often each handler ran
present: set[str] = set()
queued: list[Any] = []
longest_nap_s = 0.0


# What Socket.IO clients may say


@sio.event
def connect(sid: str, environ: Any, auth: Any = None) -> None:
    ran["connect"] += 1
    if auth == {"token": "forged"}:
        raise socketio.exceptions.ConnectionRefusedError("Who is that?", {"code": "UNAUTHENTICATED"})
    present.add(sid)


@sio.event
def disconnect(sid: str, reason: Any) -> None:
    ran["disconnect"] += 1
    present.discard(sid)


@sio.event
def echo(sid: str, payload: Any) -> Any:
    return payload


@sio.event
def say(sid: str, payload: Any) -> None:
    """To everybody, the sender included."""
    sio.emit("said", payload)


@sio.event
def look_up(sid: str, payload: Any) -> Any:
    """Raises for a payload that is none."""
    return payload["session_id"]


@sio.event
def queue(sid: str, number: int) -> int:
    """Queue a number and answer its place. The even ones yield before: they look something up."""
    if number % 2 == 0:
        gevent.sleep(POSTPONED_S)
    queued.append(number)
    return len(queued)


@sio.event
def flood(sid: str, whom: str, count: int, size: int) -> None:
    """That many events of that many characters to one client."""
    for number in range(count):
        sio.emit("item", str(number).ljust(size, "x"), to=whom)


@sio.event
def dismiss(sid: str, whom: str) -> None:
    """Disconnect a client, as python-socketio has it."""
    sio.disconnect(whom)


@sio.event
def hang_up(sid: str, whom: str) -> None:
    """End the connection of a client, as python-engineio has it."""
    sio.eio.disconnect(sio.manager.eio_sid_from_sid(whom, "/"))


# What REST clients may ask


@rest.get("/seen")
def seen() -> dict[str, Any]:
    """What ran, who is there, and the longest that the hub was held since this was last asked."""
    global longest_nap_s
    held_s, longest_nap_s = longest_nap_s, 0.0
    return ran | {"present": sorted(present), "held_s": held_s}


@rest.post("/json")
def take_json() -> dict[str, Any]:
    return {"took": len(json.dumps(bottle.request.json))}


@rest.post("/body")
def take_body() -> dict[str, Any]:
    return {"took": len(json.load(bottle.request.body))}


def _watch() -> None:
    """As tests/support/watched.py looks at talus (which importing it would bring along)."""
    global longest_nap_s
    schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    while True:
        before, others_s = monotonic(), int(os.pread(schedstat, 100, 0).split()[1]) / 1e9
        gevent.sleep(NAP_S)
        others_s = int(os.pread(schedstat, 100, 0).split()[1]) / 1e9 - others_s
        longest_nap_s = max(longest_nap_s, monotonic() - before - NAP_S - others_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--database")
    parser.add_argument("--fallback", action="store_true")
    application = socketio.WSGIApp(sio, rest)
    address = ("127.0.0.1", parser.parse_args().port)
    server = WSGIServer(address, application, log=None, error_log=sys.stderr, **handling)
    server.start()
    gevent.spawn(_watch)
    print(f"in place of talus listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
