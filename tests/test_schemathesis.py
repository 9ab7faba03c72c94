"""REST against its description, tests/support/openapi.yaml, by schemathesis.

schemathesis draws requests that the description allows and requests that it
forbids, follows its links from answer to answer, and compares every answer with
it. It runs as a command of its own, away from the gevent of this process.

TALUS_SEED=7           the dice of another run; the seed is printed
TALUS_EXAMPLES=500     more requests for each call and phase; 25 unless told
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from talus import config
from talus.app import App
from talus.core import errors
from talus.web import wire
from tests.support.server import Server, new_id
from tests.support.tokens import as_user, guarded, token

SUPPORT = Path(__file__).parent / "support"
DESCRIPTION = SUPPORT / "openapi.yaml"
HOOKS = SUPPORT / "whole_numbers.py"
TIMEOUT_S = 240.0
RATE = {"TALUS_RATE_COMMANDS": "0"}  # else most answers to this many requests would be 429

CONFIG = """
hooks = "%s"

[generation]
database = "none"
# The token is the user's own in every request; that others are refused is `ignored_auth`'s to see.
with-security-parameters = false

[checks]
enabled = true

# It needs two identities; the ownership of sessions has tests of its own.
[checks.object_level_authorization]
enabled = false

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405"]

# 404: what a request names may not be there. 409: what it asks for may clash with what is. 403: with tokens
# a user may take away his own role.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "403", "404", "409"]

# A project ends with its session, which schemathesis does not see in the addresses.
[[operations]]
include-path = "/projects/{project_id}"
[operations.checks.ensure_resource_availability]
enabled = false

# What is no value of a property is refused by the graph.
[[operations]]
include-path = "/commands/execute"
[operations.checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409"]

# Which characters may stand in a user's name no pattern can say.
[[operations]]
include-path = "/sessions/{session_id}/members/{user}"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "403", "404", "409"]
"""
AUTH = """
[auth.openapi.bearer]
bearer = "${TALUS_TEST_TOKEN}"
"""

Json = dict[str, Any]


def read_description() -> Json:
    description = yaml.safe_load(DESCRIPTION.read_text())
    assert isinstance(description, dict)
    return description


def operations(description: Json) -> Iterator[tuple[str, str, Json]]:
    """(method, path, what is said about it) of each call."""
    for path, item in description["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, operation


def with_things(server: Server, description: Json) -> None:
    """Make sessions, a project, nodes and members, and have their ids drawn, besides others."""
    sessions = [server.new_session() for _ in range(3)]
    nodes = [new_id() for _ in range(4)]
    for session in sessions:  # the same ids in each: the run itself deletes nodes
        for parent, node in zip([None, *nodes], nodes, strict=False):
            server.create(session, parent, node_id=node)
    project = server.post("/projects", {"template_id": "restomod", "project_name": "given"}).json()
    # Apart from the others: a new command ends what can be done again, who is an owner may take that role
    # away from himself, and a session be gone.
    to_redo, to_share, to_delete = ([server.new_session() for _ in range(count)] for count in (5, 3, 20))
    for session in to_redo:
        for _ in range(3):
            server.create(session)
        for _ in range(3):
            server.undo(session)
    users = [f"user {number}" for number in range(5)]
    for session in to_share:
        for user in users:
            server.put(f"/sessions/{session}/members/{user}", {"role": "viewer"})
    given = {
        "GivenSession": [*sessions, project["session_id"]],
        "GivenSessionToRedo": to_redo,
        "GivenSessionToShare": to_share,
        "GivenSessionToDelete": to_delete,
        "GivenUser": users,
        "GivenProject": [project["project_id"]],
        "GivenNode": nodes,
    }
    schemas = description["components"]["schemas"]
    for name, ids in given.items():
        schemas[name] = {"anyOf": [{"enum": ids}, schemas[name]]}
    root, *_, leaf = nodes
    commands: Json = {
        "CreateNode": {"blueprint_type_id": "part", "parent_id": root, "properties": {"hours": 1.5}},
        "UpdateProperty": {"node_id": root, "property_id": "hours", "value": [12, None, "a"]},
        "MoveNode": {"node_id": leaf, "parent_id": None, "index": 0},
        "LinkNode": {"parent_id": root, "child_id": leaf},
        "UnlinkNode": {"parent_id": root, "child_id": leaf},
        "DeleteNode": {"node_id": leaf},
    }
    batch = [{"command_type": name, "data": commands[name]} for name in ("CreateNode", "UpdateProperty")]
    (body,) = description["paths"]["/commands/execute"]["post"]["requestBody"]["content"].values()
    body["examples"] = {
        name: {"value": {"session_id": session, "command_type": name, "data": data}}
        for session, (name, data) in zip(
            sessions * 3, (commands | {"Batch": {"commands": batch}}).items(), strict=False
        )
    }


def run(server: Server, description: Json, folder: Path, more: str = "", **env: str) -> None:
    """schemathesis on this server; raises with what it printed when it found anything."""
    seed = int(os.environ.get("TALUS_SEED") or random.SystemRandom().randrange(10**9))
    examples = int(os.environ.get("TALUS_EXAMPLES") or 25)
    print(f"\nschemathesis: TALUS_SEED={seed}")
    (folder / "openapi.json").write_text(json.dumps(description))
    (folder / "schemathesis.toml").write_text(CONFIG % HOOKS + more)
    report = folder / "report.json"
    ended = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            "--no-color",
            "--config-file", str(folder / "schemathesis.toml"),
            "run", str(folder / "openapi.json"),
            "--url", f"{server.url}/api/v1",
            "--workers", "1",
            "--seed", str(seed),
            "--max-examples", str(examples),
            "--continue-on-failure",
            "--report-json-path", str(report),
        ],
        cwd=folder,  # it leaves notes where it runs
        env=os.environ | {"NO_PROXY": "127.0.0.1"} | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"TALUS_SEED={seed}\n{ended.stdout}"
    found = json.loads(report.read_text())
    assert found["complete"], ended.stdout
    assert {name: phase["status"] for name, phase in found["phases"].items()} == {
        "examples": "success", "coverage": "success", "fuzzing": "success", "stateful": "success",
    }, ended.stdout  # fmt: skip
    # A run in which nothing succeeds compares nothing but refusals.
    for method, path, _ in operations(description):
        rates = found["valid_rates"][f"{method} {path}"]
        assert sum(phase["accepted"] for phase in rates.values()) > 0, f"{method} {path}: never accepted"
    (links,) = re.findall(r"API Links: +(\d+) covered", ended.stdout)
    assert int(links) >= 10, ended.stdout


def test_without_tokens_every_answer_is_as_described(server: Server, tmp_path: Path) -> None:
    """Given the description, when requests of all kinds are drawn from it, then every answer fits it."""
    description = read_description()
    del description["security"]
    with_things(server, description)
    run(server, description, tmp_path)


def test_with_tokens_every_answer_is_as_described(tmp_path: Path) -> None:
    """Given tokens, when a user sends requests of all kinds, then every answer fits; and none without one."""
    description = read_description()
    for item in description["paths"].values():
        item["parameters"] = [
            each for each in item.get("parameters", []) if each.get("$ref") != "#/components/parameters/Actor"
        ]
    with guarded(tmp_path, **RATE) as server:
        with_things(as_user(server, "ann"), description)
        # In the environment: a command line can be read by everybody on the machine.
        run(server, description, tmp_path, AUTH, TALUS_TEST_TOKEN=token("ann", admin=True))


def test_the_description_has_every_route(tmp_path: Path) -> None:
    """Given the routes of the application, when the description is read, then both have the same."""
    app = App(config.Settings(database=tmp_path / "talus.db"))
    try:
        routes = sorted(
            f"{route.method} " + re.sub(r"<(\w+)(:\w+)?>", r"{\1}", route.rule).removeprefix("/api/v1")
            for route in app.routes
        )
    finally:
        app.stop()
    assert sorted(f"{method} {path}" for method, path, _ in operations(read_description())) == routes


def test_the_description_has_every_code_under_its_status() -> None:
    """Given wire's statuses, when the description's errors are read, then each code stands under its own."""
    components = read_description()["components"]
    described: dict[str, set[int]] = {}
    for _, _, operation in operations(read_description()):
        for status, answer in operation["responses"].items():
            if "$ref" not in answer:
                continue
            response = components["responses"][answer["$ref"].rpartition("/")[2]]
            schema = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for code in components["schemas"][schema]["properties"]["error"]["properties"]["code"]["enum"]:
                described.setdefault(code, set()).add(int(status))
    codes = {
        kind.code: wire.status_of(kind())
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TalusError)
    }
    on_sockets_only = {"UNKNOWN_EVENT", "BINARY_NOT_SUPPORTED", "TOKEN_EXPIRED"}
    assert described == {code: {status} for code, status in codes.items() if code not in on_sockets_only}


@pytest.mark.parametrize(
    "method, path, operation",
    [pytest.param(*each, id=f"{each[0]} {each[1]}") for each in operations(read_description())],
)
def test_every_call_may_be_refused_as_the_contract_says(method: str, path: str, operation: Json) -> None:
    """Given a call, when its statuses are read, then those that any call of its kind may have are there."""
    expected = {"400", "403", "405", "413", "421", "500", "503"}
    if path != "/health":
        expected |= {"401"}
    if "{" in path:
        expected |= {"404"}
    if path == "/backup":  # it changes nothing, but makes a file
        expected |= {"507"}
    elif method != "GET":
        expected |= {"404", "409", "429", "507"}
    if "requestBody" in operation:
        expected |= {"415"}
    assert expected <= operation["responses"].keys()
