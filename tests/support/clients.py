"""Clients of every kind behind one interface.

    python, python-websocket, python-polling   the python-socketio client
    node, node-websocket, node-polling         socket.io-client in Node (tests/clients/client.mjs)
    raw-websocket, raw-polling                 Engine.IO v4 by hand, for what a stock client would not send

`python` and `node` begin by polling and upgrade, as their libraries do by default.

Each client keeps `events`: everything it heard, in the order heard, with the
acknowledgements in their place among the events (under the name `ack`). Waiting
is always for a condition, with a deadline.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import http.client
import itertools
import json
import os
import socket
import struct
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
import socketio
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

TIMEOUT_S = 15.0
NODE_CLIENTS = Path(__file__).resolve().parents[1] / "clients"
KINDS = ("python", "python-websocket", "python-polling", "node", "node-websocket", "node-polling")
RAW_KINDS = ("raw-websocket", "raw-polling")

JsonObject = dict[str, Any]


class Heard(NamedTuple):
    """One thing that a client heard.

    name:    the event's name; `ack` for an acknowledgement.
    payload: its first argument, None where it had none.
    args:    all of its arguments.
    of:      for an acknowledgement, the event it answers.
    """

    name: str
    payload: Any
    args: tuple[Any, ...] = ()
    of: str = ""


class NotHeard(AssertionError):
    """What a test waited for did not come before the deadline."""


class ConnectRefused(AssertionError):
    """The server refused the connection; `payload` is the body of its connect error, if any."""

    def __init__(self, message: str, payload: Any = None) -> None:
        super().__init__(f"{message}: {payload!r}")
        self.payload = payload


class ErrorHeard(AssertionError):
    """`error` came where an answer was expected."""

    def __init__(self, payload: Any) -> None:
        super().__init__(repr(payload))
        self.payload = payload


class Ack:
    """An acknowledgement that may still be under way."""

    def __init__(self, event: str) -> None:
        self.event = event
        self.args: tuple[Any, ...] | None = None
        self._came = threading.Event()

    def _set(self, args: tuple[Any, ...]) -> None:
        self.args = args
        self._came.set()

    @property
    def came(self) -> bool:
        return self.args is not None

    def get(self, timeout: float = TIMEOUT_S) -> Any:
        """Its first argument."""
        if not self._came.wait(timeout):
            raise NotHeard(f"no acknowledgement of {self.event} within {timeout} s")
        assert self.args is not None
        return self.args[0] if self.args else None


class Client(ABC):
    """One connection and all that was heard on it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.id: str | None = None
        self.events: list[Heard] = []
        self.listeners: list[Callable[[Heard], None]] = []
        self._news = threading.Condition()

    # what each kind does in its own way

    @abstractmethod
    def burst(self, calls: Iterable[tuple[str, tuple[Any, ...], Ack | None]]) -> None:
        """Send many events at once: (event, args, its acknowledgement or None)."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye and end the connection."""

    @abstractmethod
    def cut(self) -> None:
        """End the TCP connection without a word."""

    # what all do alike

    def emit(self, event: str, *args: Any) -> None:
        """Send an event and ask for no acknowledgement."""
        self.burst([(event, args, None)])

    def begin(self, event: str, *args: Any) -> Ack:
        """Send an event; its acknowledgement can be awaited later."""
        ack = Ack(event)
        self.burst([(event, args, ack)])
        return ack

    def call(self, event: str, *args: Any, timeout: float = TIMEOUT_S) -> Any:
        """Send an event and wait for its acknowledgement; the first argument of that."""
        return self.begin(event, *args).get(timeout)

    def _heard(self, name: str, args: tuple[Any, ...], of: str = "") -> None:
        heard = Heard(name, args[0] if args else None, args, of)
        with self._news:
            if name == "connect":
                self.id = args[0]
            self.events.append(heard)
            for listener in self.listeners:
                listener(heard)
            self._news.notify_all()

    def _answered(self, ack: Ack, args: tuple[Any, ...]) -> None:
        self._heard("ack", args, ack.event)
        ack._set(args)

    def wait_until(
        self, condition: Callable[[], Any], timeout: float = TIMEOUT_S, what: str = "condition"
    ) -> Any:
        """Until `condition()`, asked anew after each event, is true; its value."""
        deadline = time.monotonic() + timeout
        with self._news:
            while not (value := condition()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotHeard(
                        f"{self} did not hear {what} within {timeout} s; the last it heard: "
                        f"{[(h.name, h.payload) for h in self.events[-8:]]}"
                    )
                self._news.wait(min(left, 0.25))  # some conditions look at more than this client's events
            return value

    def wait_heard(
        self, what: str | Callable[[Heard], Any], timeout: float = TIMEOUT_S, after: int = 0
    ) -> Heard:
        """The first thing heard that is called `what`, or for which `what` is true.

        after: the place in `events` to look from.
        """
        at = after

        def scan() -> Heard | None:
            nonlocal at
            while at < len(self.events):
                heard = self.events[at]
                at += 1
                if heard.name == what if isinstance(what, str) else what(heard):
                    return heard
            return None

        found = self.wait_until(scan, timeout, str(what))
        assert isinstance(found, Heard)
        return found

    def wait_for(self, what: str | Callable[[Heard], Any], timeout: float = TIMEOUT_S, after: int = 0) -> Any:
        """The payload of `wait_heard`."""
        return self.wait_heard(what, timeout, after).payload

    def wait_version(self, session_id: str, version: int, timeout: float = TIMEOUT_S) -> JsonObject:
        """The closing event of the commit that made `version`."""
        closing = ("command:executed", "command:undo", "command:redo")
        payload = self.wait_for(
            lambda h: (
                h.name in closing
                and h.payload["session_id"] == session_id
                and h.payload["version"] == version
            ),
            timeout,
        )
        assert isinstance(payload, dict)
        return payload

    def heard(self, name: str, session_id: str | None = None) -> list[Any]:
        """The payloads of all events of one name (and session) heard so far."""
        return [
            h.payload
            for h in list(self.events)
            if h.name == name and (session_id is None or h.payload["session_id"] == session_id)
        ]

    def names(self, after: int = 0) -> list[str]:
        return [heard.name for heard in self.events[after:]]

    def settle(self, timeout: float = TIMEOUT_S) -> None:
        """Until the server has answered everything sent before: a `ping` with acknowledgement."""
        self.call("ping", timeout=timeout)

    def join(
        self, session_id: str, since: int | None = None, epoch: str | None = None, timeout: float = TIMEOUT_S
    ) -> JsonObject:
        """`join_session`; the payload of `joined`. Raises ErrorHeard when it is refused."""
        payload: JsonObject = {"session_id": session_id}
        if since is not None:
            payload["since"] = since
        if epoch is not None:
            payload["epoch"] = epoch
        place = len(self.events)
        self.emit("join_session", payload)
        heard = self.wait_heard(
            lambda h: h.name == "error" or (h.name == "joined" and h.payload["session_id"] == session_id),
            timeout,
            place,
        )
        if heard.name == "error":
            raise ErrorHeard(heard.payload)
        assert isinstance(heard.payload, dict)
        return heard.payload

    def leave(self, session_id: str, timeout: float = TIMEOUT_S) -> JsonObject:
        """`leave_session`; the payload of `left`."""
        place = len(self.events)
        self.emit("leave_session", {"session_id": session_id})
        left = self.wait_for(
            lambda h: h.name == "left" and h.payload["session_id"] == session_id, timeout, place
        )
        assert isinstance(left, dict)
        return left

    def execute(self, session_id: str, command_type: str, data: JsonObject, **more: Any) -> JsonObject:
        """`execute_command`; the answer, which may be an error."""
        answer = self.call(
            "execute_command", {"session_id": session_id, "command_type": command_type, "data": data, **more}
        )
        assert isinstance(answer, dict)
        return answer

    @property
    def connected(self) -> bool:
        with self._news:
            ends = [h.name for h in self.events if h.name in ("connect", "disconnect")]
        return bool(ends) and ends[-1] == "connect"

    def _wait_connected(self, timeout: float = TIMEOUT_S) -> None:
        heard = self.wait_heard(lambda h: h.name in ("connect", "connect_error", "disconnect"), timeout)
        if heard.name != "connect":
            raise ConnectRefused(heard.name, heard.payload)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id}>"


def _transports(kind: str) -> list[str] | None:
    return {"websocket": ["websocket"], "polling": ["polling"]}.get(kind.partition("-")[2])


class _Connection(HTTPConnection):
    """A connection that its adapter can end from outside."""

    made: list[HTTPConnection]

    def connect(self) -> None:
        super().connect()
        self.made.append(self)


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self) -> None:
        self.made: list[HTTPConnection] = []
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        connection = type("_OwnConnection", (_Connection,), {"made": self.made})
        pool = type("_OwnPool", (HTTPConnectionPool,), {"ConnectionCls": connection})
        self.poolmanager.pool_classes_by_scheme = {"http": pool}


class PythonClient(Client):
    """The python-socketio client."""

    def __init__(
        self,
        url: str,
        kind: str = "python",
        *,
        auth: Any = None,
        headers: dict[str, str] | None = None,
        reconnection: bool = False,
        timeout: float = TIMEOUT_S,
    ) -> None:
        super().__init__(kind)
        self._adapter = _Adapter()
        session = requests.Session()
        session.trust_env = False
        session.mount("http://", self._adapter)
        self.sio = socketio.Client(
            reconnection=reconnection,
            reconnection_delay=0.2,
            reconnection_delay_max=0.5,
            handle_sigint=False,
            request_timeout=timeout,
            http_session=session,
            json=json,  # a setting of the whole process; a server built in a test may have left its own
        )
        self._muted = False
        self.sio.on("*", lambda event, *args: self._hear(event, args))
        self.sio.on("connect", lambda: self._hear("connect", (self.sio.get_sid(),)))
        self.sio.on("disconnect", lambda reason: self._hear("disconnect", (reason,)))
        self.sio.on("connect_error", lambda *args: self._hear("connect_error", args))
        try:
            self.sio.connect(
                url,
                auth=auth,
                headers=dict(headers or {}),
                transports=_transports(kind),
                wait_timeout=timeout,
            )
        except socketio.exceptions.ConnectionError as error:
            raise ConnectRefused(str(error), next(iter(self.heard("connect_error")), None)) from error
        self._wait_connected(timeout)

    def _hear(self, name: str, args: tuple[Any, ...]) -> None:
        if not self._muted:
            self._heard(name, args)

    @property
    def transport(self) -> str:
        return str(self.sio.transport())

    def burst(self, calls: Iterable[tuple[str, tuple[Any, ...], Ack | None]]) -> None:
        for event, args, ack in calls:
            callback = (lambda *answer, ack=ack: self._answered(ack, answer)) if ack else None
            self.sio.emit(event, args or None, callback=callback)

    def close(self) -> None:
        if self.sio.connected:
            self.sio.disconnect()

    def cut(self) -> None:
        self._muted = True
        eio = self.sio.eio
        if eio.current_transport == "websocket" and eio.ws is not None and eio.ws.sock is not None:
            ws, reading = eio.ws, eio.read_loop_task
            with contextlib.suppress(OSError):
                ws.sock.shutdown(socket.SHUT_RDWR)
            if reading is not None:
                reading.join(2)  # it must not find its file closed while it reads
            ws.shutdown()
            return
        eio.state = "disconnected"
        eio.queue.put(None)
        for connection in self._adapter.made:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)


class NodeHost:
    """One Node process that holds any number of socket.io clients."""

    def __init__(self) -> None:
        if not (NODE_CLIENTS / "node_modules").is_dir():
            raise AssertionError("the JavaScript clients are not installed: npm ci --prefix tests/clients")
        self.process = subprocess.Popen(
            ["node", "client.mjs"], cwd=NODE_CLIENTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self.end)
        self._names = itertools.count(1)
        self._clients: dict[int, NodeClient] = {}
        self._writing = threading.Lock()
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._ready.wait(TIMEOUT_S):
            raise AssertionError("node did not start")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "ready" in said:
                self._ready.set()
            elif client := self._clients.get(said["client"]):
                client._said(said)

    def add(self, client: NodeClient) -> int:
        name = next(self._names)
        self._clients[name] = client
        return name

    def order(self, order: JsonObject) -> None:
        line = (json.dumps(order) + "\n").encode()
        with self._writing:
            assert self.process.stdin is not None
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def end(self) -> None:
        """End the process, and with it every connection, without a goodbye."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


_shared_node: NodeHost | None = None


def shared_node() -> NodeHost:
    """The one Node process that all tests share."""
    global _shared_node
    if _shared_node is None or _shared_node.process.poll() is not None:
        _shared_node = NodeHost()
    return _shared_node


class NodeClient(Client):
    """socket.io-client in Node."""

    def __init__(
        self,
        url: str,
        kind: str = "node",
        *,
        auth: Any = None,
        headers: dict[str, str] | None = None,
        reconnection: bool = False,
        timeout: float = TIMEOUT_S,
        host: NodeHost | None = None,
    ) -> None:
        super().__init__(kind)
        self.transport = kind.partition("-")[2] or "polling"
        self._acks: dict[int, Ack] = {}
        self._ack_numbers = itertools.count(1)
        self._done: list[str] = []
        self._host = host or shared_node()
        self._name = self._host.add(self)
        options: JsonObject = {
            "reconnection": reconnection,
            "reconnectionDelay": 100,
            "reconnectionDelayMax": 300,
        }
        if (transports := _transports(kind)) is not None:
            options["transports"] = transports
        if auth is not None:
            options["auth"] = auth
        if headers:
            options["extraHeaders"] = headers
        self._order("open", url=url, options=options)
        self._wait_connected(timeout)

    def _order(self, op: str, **more: Any) -> None:
        self._host.order({"op": op, "client": self._name, **more})

    def _said(self, said: JsonObject) -> None:
        if "ack" in said:
            self._answered(self._acks.pop(said["ack"]), tuple(said["args"]))
        elif "heard" in said:
            if said["heard"] == "upgrade":
                self.transport = said["args"][0]
            self._heard(said["heard"], tuple(said["args"]))
        else:
            self._done.append(said["done"])
            with self._news:
                self._news.notify_all()

    def burst(self, calls: Iterable[tuple[str, tuple[Any, ...], Ack | None]]) -> None:
        listed = []
        for event, args, ack in calls:
            number = None
            if ack is not None:
                number = next(self._ack_numbers)
                self._acks[number] = ack
            listed.append({"event": event, "args": args, "ack": number})
        self._order("emit", calls=listed)

    def close(self) -> None:
        self._order("close")
        self.wait_until(lambda: "close" in self._done, what="its own close")

    def cut(self) -> None:
        self._order("cut")
        self.wait_until(lambda: "cut" in self._done, what="its own cut")


# Engine.IO and Socket.IO by hand


def event_packet(event: str, *args: Any, ack: int | None = None) -> str:
    """An event as the text of one Engine.IO packet: `42["ping"]`."""
    number = "" if ack is None else str(ack)
    return f"42{number}{json.dumps([event, *args], separators=(',', ':'), ensure_ascii=False)}"


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


class RawClient(Client):
    """What both raw clients share: packets in, packets out."""

    def __init__(self, url: str, kind: str) -> None:
        super().__init__(kind)
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.packets: list[str] = []  # every Engine.IO packet that arrived, as text
        self.ended = threading.Event()
        self.handshake: JsonObject = {}
        self._acks: dict[int, Ack] = {}
        self._ack_numbers = itertools.count(1)

    @abstractmethod
    def send_packets(self, packets: list[str]) -> None:
        """Send Engine.IO packets as they are, well formed or not."""

    def send_packet(self, packet: str) -> None:
        self.send_packets([packet])

    def burst(self, calls: Iterable[tuple[str, tuple[Any, ...], Ack | None]]) -> None:
        packets = []
        for event, args, ack in calls:
            number = None
            if ack is not None:
                number = next(self._ack_numbers)
                self._acks[number] = ack
            packets.append(event_packet(event, *args, ack=number))
        self.send_packets(packets)

    def _ended(self, reason: Any) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._heard("disconnect", (reason,))

    def _receive(self, packet: str) -> None:
        """One Engine.IO packet."""
        self.packets.append(packet)
        kind, body = packet[:1], packet[1:]
        if kind == "0":
            self.handshake = json.loads(body)
        elif kind == "1":
            self._ended("server closed")
        elif kind == "2":
            self.send_packet("3" + body)
        elif kind == "4":
            self._receive_message(body)
        with self._news:
            self._news.notify_all()

    def _receive_message(self, text: str) -> None:
        kind, rest = text[:1], text[1:]
        if rest.startswith("/"):
            _, _, rest = rest.partition(",")
        digits = len(rest) - len(rest.lstrip("0123456789"))
        number, body = rest[:digits], rest[digits:]
        data: Any = json.loads(body, parse_constant=_refuse_constant) if body else None
        if kind == "0":
            self._heard("connect", (data["sid"],))
        elif kind == "1":
            self._heard("disconnect", ("namespace",))
        elif kind == "2":
            self._heard(data[0], tuple(data[1:]))
        elif kind == "3":
            if int(number) in self._acks:  # else a test sent the packet by hand, and reads `packets`
                self._answered(self._acks.pop(int(number)), tuple(data))
        elif kind == "4":
            self._heard("connect_error", (data,))
        else:
            self._heard("unexpected packet", (text,))

    def wait_ended(self, timeout: float = TIMEOUT_S) -> None:
        if not self.ended.wait(timeout):
            raise NotHeard(f"{self} is still connected after {timeout} s")


class UpgradeRefused(AssertionError):
    """A WebSocket upgrade that was answered with something else than 101."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(f"{status} {body[:500]!r}")
        self.status, self.headers, self.body = status, headers, body


TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    masked: bool = True,
    rsv: int = 0,
    announced: int | None = None,
) -> bytes:
    """A client's WebSocket frame (RFC 6455, 5.2); `announced`: a length other than the true one."""
    length = len(payload) if announced is None else announced
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 1 << 16:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    if not payload:
        return head + key
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + key + mixed.to_bytes(len(payload), "big")


class RawWebSocket(RawClient):
    """A WebSocket whose every byte the test decides.

    connect:        send the Socket.IO CONNECT packet and wait for its answer.
    receive_buffer: bytes of SO_RCVBUF, small to make a slow reader felt soon.
    """

    def __init__(
        self,
        url: str,
        kind: str = "raw-websocket",
        *,
        auth: Any = None,
        headers: dict[str, str] | None = None,
        connect: bool = True,
        query: str = "EIO=4&transport=websocket",
        receive_buffer: int | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        super().__init__(url, kind)
        self.close_code: int | None = None
        self._reading = threading.Event()
        self._reading.set()
        self._sending = threading.Lock()
        self._fragments: list[bytes] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        self.socket.connect((self.host, self.port))
        self._upgrade(query, headers or {})
        self.socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()
        if connect:
            self.wait_until(lambda: self.handshake or self.ended.is_set(), timeout, "the handshake")
            self.send_packet("40" + (json.dumps(auth) if auth is not None else ""))
            self._wait_connected(timeout)

    def _upgrade(self, query: str, headers: dict[str, str]) -> None:
        shown = {
            "Host": f"{self.host}:{self.port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
        } | headers
        lines = [
            f"GET /socket.io/?{query} HTTP/1.1",
            *(f"{key}: {value}" for key, value in shown.items()),
            "",
            "",
        ]
        self.socket.sendall("\r\n".join(lines).encode())
        self._input = self.socket.makefile("rb")
        status_line = self._input.readline().decode()
        answered: dict[str, str] = {}
        while line := self._input.readline().decode().strip():
            name, _, value = line.partition(":")
            answered[name.strip().lower()] = value.strip()
        status = int(status_line.split()[1]) if status_line.split()[1:] else 0
        if status != 101:
            self.socket.settimeout(2)
            body = b""
            with contextlib.suppress(OSError):
                body = self._input.read(int(answered.get("content-length", "0")))
            self.socket.close()
            raise UpgradeRefused(status, answered, body)

    def pause(self) -> None:
        """Read no more from the socket (what the kernel's buffer holds still arrives there)."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    def _exactly(self, count: int) -> bytes:
        data = self._input.read(count)
        if data is None or len(data) < count:
            raise EOFError
        return data

    def _read(self) -> None:
        try:
            while True:
                self._reading.wait()
                first, second = self._exactly(2)
                length = second & 0x7F
                if length == 126:
                    (length,) = struct.unpack("!H", self._exactly(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", self._exactly(8))
                if second & 0x80:
                    raise AssertionError("a server never masks")
                self._frame(first & 0xF, bool(first & 0x80), self._exactly(length))
        except (EOFError, OSError, ValueError) as error:
            self._ended(self.close_code or repr(error))

    def _frame(self, opcode: int, fin: bool, payload: bytes) -> None:
        if opcode == CLOSE:
            self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            with contextlib.suppress(OSError):
                self.send_bytes(frame(payload[:2], CLOSE))
            raise EOFError
        if opcode == PING:
            self.send_bytes(frame(payload, PONG))
        elif opcode == PONG:
            self._heard("websocket pong", (payload,))
        else:
            self._fragments.append(payload)
            if fin:
                whole, self._fragments = b"".join(self._fragments), []
                self._receive(whole.decode())

    def send_bytes(self, data: bytes) -> None:
        """Bytes as they are, framed by the caller."""
        with self._sending:
            self.socket.sendall(data)

    def send_packets(self, packets: list[str]) -> None:
        self.send_bytes(b"".join(frame(packet.encode("utf-8", "surrogatepass")) for packet in packets))

    def close(self) -> None:
        self.resume()
        with contextlib.suppress(OSError):
            self.send_packets(["41", "1"])
            self.send_bytes(frame(struct.pack("!H", 1000), CLOSE))
        self.cut()

    def cut(self) -> None:
        self.resume()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class RawPolling(RawClient):
    """Long polling by hand: one connection that waits for packets, one that sends them."""

    def __init__(
        self,
        url: str,
        kind: str = "raw-polling",
        *,
        auth: Any = None,
        headers: dict[str, str] | None = None,
        connect: bool = True,
        poll: bool = True,
        timeout: float = TIMEOUT_S,
    ) -> None:
        super().__init__(url, kind)
        self.headers = headers or {}
        self.polls: list[int] = []  # packets in each answered poll
        self._sending = threading.Lock()
        self._polling = threading.Event()
        if poll:
            self._polling.set()
        self._receiver = http.client.HTTPConnection(self.host, self.port, timeout=90)
        self._sender = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        self._address = "/socket.io/?EIO=4&transport=polling"
        status, body = self._get()
        if status != 200:
            raise ConnectRefused(f"status {status}", body)
        self._receive_all(body)
        self._address += f"&sid={quote(self.handshake['sid'])}"
        threading.Thread(target=self._read, daemon=True).start()
        if connect:
            self.send_packet("40" + (json.dumps(auth) if auth is not None else ""))
            self._wait_connected(timeout)

    def _get(self) -> tuple[int, bytes]:
        self._receiver.request("GET", self._address, headers=self.headers)
        answer = self._receiver.getresponse()
        return answer.status, answer.read()

    def _receive_all(self, body: bytes) -> None:
        packets = body.decode().split("\x1e")
        self.polls.append(len(packets))
        for packet in packets:
            self._receive(packet)

    def pause(self) -> None:
        """Poll no more once the poll under way is answered."""
        self._polling.clear()

    def resume(self) -> None:
        self._polling.set()

    def _read(self) -> None:
        try:
            while not self.ended.is_set():
                self._polling.wait()
                if self.ended.is_set():
                    return
                status, body = self._get()
                if status != 200:
                    self._ended(f"status {status}: {body[:300]!r}")
                    return
                self._receive_all(body)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            self._ended(repr(error))
        finally:
            self._receiver.close()

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """A polling POST with this very body: its status and answer."""
        with self._sending:
            self._sender.request(
                "POST",
                self._address,
                body,
                {"Content-Type": "text/plain;charset=UTF-8"} | self.headers | (headers or {}),
            )
            answer = self._sender.getresponse()
            return answer.status, answer.read()

    def send_packets(self, packets: list[str]) -> None:
        status, body = self.post("\x1e".join(packets).encode("utf-8", "surrogatepass"))
        if status != 200:
            self._ended(f"status {status} to a POST: {body[:300]!r}")

    def close(self) -> None:
        if not self.ended.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.post(b"41\x1e1")
        self.cut()

    def cut(self) -> None:
        self._ended("cut")
        self.resume()
        for connection in (self._receiver, self._sender):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        with self._sending:
            self._sender.close()


_CLASSES: dict[str, Callable[..., Client]] = {"python": PythonClient, "node": NodeClient}


def open_client(
    url: str, kind: str = "python-websocket", *, actor: str | None = None, **options: Any
) -> Client:
    """A connected client of one of KINDS or RAW_KINDS; `actor` is the name it gives itself."""
    if actor is not None:
        options["auth"] = {"actor": actor}
    if kind == "raw-websocket":
        return RawWebSocket(url, **options)
    if kind == "raw-polling":
        return RawPolling(url, **options)
    if kind not in KINDS:
        raise ValueError(kind)
    return _CLASSES[kind.partition("-")[0]](url, kind, **options)
