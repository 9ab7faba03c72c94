"""The plain way on talus's own stack: `sio.emit` for each event, and a commit for each command in the hub.

    python plain.py PORT DATABASE

python-socketio on gevent, as its documentation shows it, with the standard
library's sqlite3 (WAL, synchronous=FULL) and Nagle's delay off. It does what
the benchmark asks for and no more: sessions, UpdateProperty, and Batches of
CreateNode.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import socket
import sqlite3
import sys
import time
import uuid
from typing import Any

import socketio
from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler

Json = dict[str, Any]

SCHEMA = """
CREATE TABLE commits (session_id TEXT, version INTEGER, command_id TEXT, command_type TEXT, actor TEXT,
                      time_ms INTEGER, data TEXT, PRIMARY KEY (session_id, version)) WITHOUT ROWID;
CREATE TABLE nodes (session_id TEXT, node_id TEXT, parent_id TEXT, type TEXT, properties TEXT,
                    PRIMARY KEY (session_id, node_id)) WITHOUT ROWID;
"""


class Refused(Exception):
    """A call that cannot be carried out; the code of the answer."""


class Session:
    def __init__(self) -> None:
        self.id = str(uuid.uuid4())
        self.version = 0
        self.clients: set[str] = set()
        self.nodes: dict[str, Json] = {}


class Plain:
    def __init__(self, database: str) -> None:
        self.epoch = str(uuid.uuid4())
        self.sessions: dict[str, Session] = {}
        self.disk = sqlite3.connect(database, isolation_level=None)
        self.disk.execute("PRAGMA journal_mode=WAL")
        self.disk.execute("PRAGMA synchronous=FULL")
        self.disk.executescript(SCHEMA)
        self.sio = socketio.Server(async_mode="gevent", cors_allowed_origins="*")
        self.sio.on("join_session", self.join)
        self.sio.on("execute_command", self.execute_command)
        self.app = socketio.WSGIApp(self.sio, self.rest)

    # Socket.IO

    def join(self, sid: str, call: Json) -> Json:
        session = self.session(call)
        self.sio.enter_room(sid, session.id)
        session.clients.add(sid)
        joined = {
            "session_id": session.id,
            "client_id": sid,
            "active_clients": len(session.clients),
            "version": session.version,
            "epoch": self.epoch,
            "resume": "live",
            "created": False,
            "clients": [],
        }
        self.sio.emit("joined", joined, to=sid)
        return joined

    def execute_command(self, sid: str, call: Json) -> Json:
        try:
            return self.execute(call)
        except Refused as error:
            return {"error": {"code": str(error), "message": "Refused"}}

    # REST

    def rest(self, environ: Json, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status = "200 OK"
        try:
            call = json.loads(body)
            match environ["REQUEST_METHOD"], environ["PATH_INFO"]:
                case "POST", "/api/v1/sessions":
                    session = Session()
                    self.sessions[session.id] = session
                    status = "201 Created"
                    answer = {
                        "session_id": session.id,
                        "version": 0,
                        "epoch": self.epoch,
                        "created_at": now(),
                    }
                case "POST", "/api/v1/commands/execute":
                    answer = self.execute(call)
                case _:
                    raise Refused("NOT_FOUND")
        except (Refused, ValueError) as error:
            status = "400 Bad Request"
            answer = {"error": {"code": str(error), "message": "Refused"}}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    # Commands

    def session(self, call: Json) -> Session:
        found = self.sessions.get(call.get("session_id", ""))
        if found is None:
            raise Refused("INVALID_SESSION")
        return found

    def execute(self, call: Json) -> Json:
        session = self.session(call)
        kind, data = str(call.get("command_type")), call.get("data", {})
        command_id = call.get("command_id") or str(uuid.uuid4())
        steps = data["commands"] if kind == "Batch" else [{"command_type": kind, "data": data}]
        facts = [self.decide(session, step["command_type"], step["data"]) for step in steps]
        self.commit(session, command_id, kind, data, [node for _, node, _ in facts])
        stated = {
            "session_id": session.id,
            "timestamp": now(),
            "version": session.version,
            "command_id": command_id,
            "actor": "anonymous",
        }
        self.emit("command:executing", {**stated, "command_type": kind})
        session.version += 1
        stated["version"] = session.version
        for name, node, more in facts:
            session.nodes[node["id"]] = node
            self.emit(name, {**stated, **more})
        self.emit("command:executed", {**stated, "command_type": kind, "result": {}})
        return {
            "success": True,
            "command_id": command_id,
            "command_type": kind,
            "version": session.version,
            "result": {},
            "undo_available": True,
            "redo_available": False,
        }

    def decide(self, session: Session, kind: str, data: Json) -> tuple[str, Json, Json]:
        """The event, the node as it will be, and what the event says."""
        if kind == "CreateNode":
            node: Json = {
                "id": data.get("node_id") or str(uuid.uuid4()),
                "blueprint_type_id": data["blueprint_type_id"],
                "parent_id": data.get("parent_id"),
                "name": data.get("name", ""),
                "properties": data.get("properties", {}),
                "children": [],
            }
            return "node-created", node, {"node": node}
        if kind != "UpdateProperty":
            raise Refused("INVALID_COMMAND")
        known = session.nodes.get(data["node_id"])
        if known is None:
            raise Refused("NODE_NOT_FOUND")
        name = data["property_id"]
        changed = {**known, "properties": {**known["properties"], name: data["value"]}}
        more = {
            "node_id": data["node_id"],
            "property_id": name,
            "old_value": known["properties"].get(name),
            "new_value": data["value"],
        }
        return "property-changed", changed, more

    def commit(self, session: Session, command_id: str, kind: str, data: Json, nodes: list[Json]) -> None:
        row = (session.id, session.version + 1, command_id, kind, "anonymous", time.time_ns() // 1_000_000)
        self.disk.execute("BEGIN IMMEDIATE")
        self.disk.execute("INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, json.dumps(data)))
        self.disk.executemany(
            "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?)",
            [
                (
                    session.id,
                    node["id"],
                    node["parent_id"],
                    node["blueprint_type_id"],
                    json.dumps(node["properties"]),
                )
                for node in nodes
            ],
        )
        self.disk.execute("COMMIT")

    def emit(self, name: str, payload: Json) -> None:
        self.sio.emit(name, {"event": name, **payload}, to=payload["session_id"])


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Handler(WebSocketHandler):
    def handle(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()


def main() -> None:
    port, database = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=1024)
    server = WSGIServer(listener, Plain(database).app, log=None, handler_class=Handler)
    print(f"plain listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
