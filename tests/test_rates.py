"""How fast one client may be, over the wire: commands and failed logins (sections 5, 6 of the contract)."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.clients import Ack, Client
from tests.support.server import Server, refusal
from tests.support.tokens import as_user, auth, bearer, guarded, token, why_no_start

Connect = Callable[..., Client]

RATE = 5
BURST = 2 * RATE
CREATE = {"blueprint_type_id": "part"}


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with tokens that takes 5 commands a second of each client; users are of their test."""
    with guarded(tmp_path_factory.mktemp("slow"), TALUS_RATE_COMMANDS=str(RATE)) as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with tokens and nothing else said."""
    with guarded(tmp_path_factory.mktemp("plain")) as running:
        yield running


def create(session_id: str) -> dict[str, Any]:
    return {"session_id": session_id, "command_type": "CreateNode", "data": CREATE}


def burst(client: Client, session_id: str, count: int) -> tuple[list[Any], float]:
    """The answers to so many commands sent at once, and the seconds until the last of them."""
    acks = [Ack("execute_command") for _ in range(count)]
    began = time.monotonic()
    client.burst(("execute_command", (create(session_id),), ack) for ack in acks)
    return [ack.get() for ack in acks], time.monotonic() - began


def check_share(passed: int, took_s: float, rate: int = RATE) -> None:
    """The burst passed, and no more besides than what refilled meanwhile."""
    assert 2 * rate <= passed <= 2 * rate + rate * took_s + 1


def wait_out(response_at: float, seconds: int, met: Server, session_id: str) -> None:
    """Until that many seconds have passed; reading is not limited meanwhile."""
    while time.monotonic() < response_at + seconds:
        assert met.get(f"/sessions/{session_id}/info").status_code == 200


# Commands


def test_a_burst_over_socket_io_passes_twice_the_rate(slow: Server, connect: Connect) -> None:
    """Given 5 commands a second, when 30 come at once, then 10 are done and the rest RATE_LIMITED, told to
    their sender alone; and after the time that the refusal names the next one is done."""
    met = as_user(slow, "socket")
    session_id = met.new_session()
    witness = connect(slow, "raw-websocket", auth=auth("socket"))
    client = connect(slow, "raw-websocket", auth=auth("socket"))
    witness.join(session_id)
    client.join(session_id)
    answers, took_s = burst(client, session_id, 30)
    refusals = [answer["error"] for answer in answers if "error" in answer]
    check_share(30 - len(refusals), took_s)
    for error in refusals:
        assert error["code"] == "RATE_LIMITED"
        assert isinstance(error["details"]["retry_after_s"], int) and error["details"]["retry_after_s"] >= 1
    refused_at = time.monotonic()
    done = met.graph(session_id)["version"]
    assert done == 30 - len(refusals)
    witness.wait_version(session_id, done)
    assert len(witness.heard("command:executing")) == done
    assert witness.heard("command:failed") == [] and client.heard("command:failed") == []
    wait_out(refused_at, refusals[-1]["details"]["retry_after_s"], met, session_id)
    assert client.execute(session_id, "CreateNode", CREATE)["success"]


def test_a_burst_over_rest_passes_twice_the_rate(slow: Server) -> None:
    """Given 5 commands a second, when 30 come one upon the other, then 10 are done, the rest 429 with
    Retry-After and the same in `details`; after that time the next one is done."""
    met = as_user(slow, "rest")
    session_id = met.new_session()
    began = time.monotonic()
    responses = [met.try_execute(session_id, "CreateNode", CREATE) for _ in range(30)]
    took_s = time.monotonic() - began
    refused = [response for response in responses if response.status_code != 200]
    check_share(30 - len(refused), took_s)
    for response in refused:
        assert refusal(response) == (429, "RATE_LIMITED")
        seconds = response.json()["error"]["details"]["retry_after_s"]
        assert response.headers["Retry-After"] == str(seconds)
        assert seconds >= 1
    assert met.graph(session_id)["version"] == 30 - len(refused)
    wait_out(time.monotonic(), int(refused[-1].headers["Retry-After"]), met, session_id)
    assert met.try_execute(session_id, "CreateNode", CREATE).status_code == 200


def test_undo_and_redo_count_as_commands(slow: Server, connect: Connect) -> None:
    """Given a client that has used its share up, when it undoes and redoes, then these are refused as well,
    over either way."""
    met = as_user(slow, "undoing")
    session_id = met.new_session()
    codes = []
    for turn in range(30):
        response = met.try_undo(session_id, call="undo" if turn % 2 else "redo")
        codes.append(refusal(response)[1])
    assert set(codes[:BURST]) == {"NOTHING_TO_UNDO", "NOTHING_TO_REDO"}
    assert "RATE_LIMITED" in codes
    assert refusal(met.try_execute(session_id, "CreateNode", CREATE)) == (429, "RATE_LIMITED")
    client = connect(slow, "raw-websocket", auth=auth("undoing"))
    acks = [client.begin("undo_command", {"session_id": session_id}) for _ in range(30)]
    codes = [ack.get()["error"]["code"] for ack in acks]
    assert codes[:BURST] == ["NOTHING_TO_UNDO"] * BURST
    assert "RATE_LIMITED" in codes
    assert client.call("redo_command", {"session_id": session_id})["error"]["code"] == "RATE_LIMITED"


def test_a_refusal_without_a_callback_comes_as_error(slow: Server, connect: Connect) -> None:
    """Given a client that asks for no acknowledgement, when it is too fast, then it hears `error` for each
    refused command, and may go on with all other calls."""
    session_id = as_user(slow, "silent").new_session()
    client = connect(slow, "raw-websocket", auth=auth("silent"))
    client.join(session_id)
    client.burst(("execute_command", (create(session_id),), None) for _ in range(30))
    client.settle()
    errors = client.heard("error")
    assert len(errors) + len(client.heard("command:executed")) == 30
    assert {error["code"] for error in errors} == {"RATE_LIMITED"}
    assert errors[0]["details"]["retry_after_s"] >= 1
    for _ in range(50):
        client.call("ping")
    assert client.join(session_id)["resume"] == "live"
    assert client.call("update_presence", {"session_id": session_id, "state": 1}) == {}


def test_another_client_is_not_limited(slow: Server, connect: Connect) -> None:
    """Given a client without end, when another user, or another connection, commands, then it is done."""
    greedy, modest = as_user(slow, "greedy"), as_user(slow, "modest")
    session_id = greedy.new_session()
    assert greedy.put(f"/sessions/{session_id}/members/modest", {"role": "editor"}).status_code == 200
    flood = connect(slow, "raw-websocket", auth=auth("greedy"))
    other = connect(slow, "raw-websocket", auth=auth("greedy"))
    friend = connect(slow, "raw-websocket", auth=auth("modest"))
    answers, _ = burst(flood, session_id, 100)
    assert sum("error" in answer for answer in answers) >= 80
    while greedy.try_execute(session_id, "CreateNode", CREATE).status_code == 200:
        pass
    for client in (other, friend):
        for _ in range(BURST):
            assert client.execute(session_id, "CreateNode", CREATE)["success"]
    for _ in range(BURST):
        assert modest.try_execute(session_id, "CreateNode", CREATE).status_code == 200


def test_a_repeat_that_was_refused_can_be_sent_again(slow: Server) -> None:
    """Given a command refused for its haste, when it is sent again in time, then it is done, and no
    duplicate."""
    met = as_user(slow, "again")
    session_id = met.new_session()
    chosen = "5b1c2f0e-5f0b-4d0e-9a60-3b6b3f1d2c4a"
    while met.try_execute(session_id, "CreateNode", CREATE).status_code == 200:
        pass
    refused = met.try_execute(session_id, "CreateNode", CREATE, command_id=chosen)
    assert refusal(refused) == (429, "RATE_LIMITED")
    wait_out(time.monotonic(), int(refused.headers["Retry-After"]), met, session_id)
    done = met.execute(session_id, "CreateNode", CREATE, command_id=chosen)
    assert "duplicate" not in done


def test_with_tokens_a_hundred_a_second_are_the_default(plain: Server, connect: Connect) -> None:
    """Given TALUS_AUTH=jwt and no rate, when 500 commands come at once, then 200 and what refills are done,
    over either way."""
    met = as_user(plain, "ann")
    session_id = met.new_session()
    answers, took_s = burst(connect(plain, "raw-websocket", auth=auth("ann")), session_id, 500)
    check_share(sum("success" in answer for answer in answers), took_s, 100)
    began = time.monotonic()
    codes = [met.try_execute(session_id, "CreateNode", CREATE).status_code for _ in range(500)]
    check_share(codes.count(200), time.monotonic() - began, 100)
    assert set(codes) == {200, 429}


def test_without_tokens_there_is_no_limit_by_default(shared_server: Server, connect: Connect) -> None:
    """Given TALUS_AUTH=none and no rate, when 1,000 commands come at once, then all are done."""
    session_id = shared_server.new_session()
    answers, _ = burst(connect(shared_server, "raw-websocket"), session_id, 1_000)
    assert all("success" in answer for answer in answers)
    for _ in range(300):
        shared_server.create(session_id)


def test_0_is_no_limit_with_tokens(tmp_path: Path, connect: Connect) -> None:
    """Given TALUS_AUTH=jwt and TALUS_RATE_COMMANDS=0, when 1,000 commands come at once, then all are done."""
    with guarded(tmp_path, TALUS_RATE_COMMANDS="0") as server:
        met = as_user(server, "ann")
        session_id = met.new_session()
        answers, _ = burst(connect(server, "raw-websocket", auth=auth("ann")), session_id, 1_000)
        assert all("success" in answer for answer in answers)
        for _ in range(300):
            met.create(session_id)


def test_without_tokens_the_address_is_the_client(
    start_server: Callable[..., Server], connect: Connect
) -> None:
    """Given a rate and no tokens, when one address is too fast over REST, then names that it gives itself do
    not help it, another address is not limited, and a socket is limited by itself."""
    server = start_server(env={"TALUS_RATE_COMMANDS": str(RATE)})
    session_id = server.new_session()
    while server.try_execute(session_id, "CreateNode", CREATE).status_code == 200:
        pass
    assert server.try_execute(session_id, "CreateNode", CREATE, actor="somebody else").status_code == 429
    for _ in range(BURST):
        assert execute_from("127.0.0.2", server, session_id) == 200
    answers, took_s = burst(connect(server, "raw-websocket"), session_id, 30)
    check_share(sum("success" in answer for answer in answers), took_s)


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "", "1e3", "9" * 30])
def test_a_rate_that_is_none_does_not_start(tmp_path: Path, value: str) -> None:
    """Given TALUS_RATE_COMMANDS of anything but a count, when the server starts, then one line names it."""
    assert "TALUS_RATE_COMMANDS" in why_no_start(tmp_path, TALUS_RATE_COMMANDS=value)


def execute_from(source: str, server: Server, session_id: str) -> int:
    with closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=15, source_address=(source, 0))
    ) as connection:
        body = json.dumps(create(session_id))
        connection.request("POST", "/api/v1/commands/execute", body, {"Content-Type": "application/json"})
        return connection.getresponse().status


# Failed logins


def ask_from(source: str, server: Server, headers: dict[str, str]) -> tuple[int, float]:
    """The status of a read from this address, and how long it took."""
    with closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=15, source_address=(source, 0))
    ) as connection:
        began = time.monotonic()
        connection.request("GET", "/api/v1/sessions", headers=headers)
        status = connection.getresponse().status
        return status, time.monotonic() - began


def test_failed_logins_slow_down_only_the_address_that_fails(plain: Server) -> None:
    """Given an address that tries token after token, when a good user asks from elsewhere, then the median
    of his calls is what it was, within a factor of two; the failing address waits for its answers."""
    good, bad = bearer(token("ann")), bearer(token("ann", key=b"guess" * 8))
    before = statistics.median(ask_from("127.0.0.2", plain, good)[1] for _ in range(100))
    stop = threading.Event()
    failed: list[tuple[int, float]] = []

    def guess() -> None:
        while not stop.is_set():
            failed.append(ask_from("127.0.0.3", plain, bad))

    guessing = [threading.Thread(target=guess) for _ in range(20)]
    for thread in guessing:
        thread.start()
    try:
        deadline = time.monotonic() + 15
        while sum(took_s > 0.5 for _, took_s in failed) < 20:
            assert time.monotonic() < deadline, "nobody had to wait"
            assert ask_from("127.0.0.2", plain, good)[0] == 200
        meanwhile = []
        deadline = time.monotonic() + 15
        while len(meanwhile) < 300 and time.monotonic() < deadline:
            meanwhile.append(ask_from("127.0.0.2", plain, good))
    finally:
        stop.set()
        for thread in guessing:
            thread.join(15)
    assert {status for status, _ in failed} == {401}
    assert {status for status, _ in meanwhile} == {200}
    during = statistics.median(took_s for _, took_s in meanwhile)
    assert during < 2 * before + 0.001, (before, during)
    assert max(took_s for _, took_s in failed) < 5, "a guesser waits, and is not held for ever"


def test_failed_logins_of_sockets_count_as_well(plain: Server, connect: Connect) -> None:
    """Given sockets that fail to log in, when many have failed, then the next ones, and REST from there, wait
    for their answer, while a good token is let in at once."""
    took_s: list[float] = []
    deadline = time.monotonic() + 20
    while not took_s or took_s[-1] < 0.5:
        assert time.monotonic() < deadline, f"{len(took_s)} failed and none had to wait"
        began = time.monotonic()
        with pytest.raises(AssertionError, match="UNAUTHENTICATED"):
            connect(plain, "raw-websocket", auth={"token": "rubbish"})
        took_s.append(time.monotonic() - began)
    assert len(took_s) > 10, "a few mistakes are free"
    began = time.monotonic()
    client = connect(plain, "raw-websocket", auth=auth("ann"))
    assert time.monotonic() - began < 0.5
    assert as_user(plain, "ann").get("/sessions").status_code == 200
    client.settle()


def test_creations_are_limited_too(slow: Server) -> None:
    """Given a user who makes session after session, when he is too fast, then RATE_LIMITED, and his commands
    are not limited by that."""
    met = as_user(slow, "founder")
    session_id = met.new_session()
    responses: list[requests.Response] = [met.post("/sessions") for _ in range(40)]
    assert {response.status_code for response in responses} == {201, 429}
    assert met.try_execute(session_id, "CreateNode", CREATE).status_code == 200
    assert as_user(slow, "another founder").post("/sessions").status_code == 201
