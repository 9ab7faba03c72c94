"""What is refused is counted, and told to the log without filling it."""

from __future__ import annotations

import logging

import pytest

from talus.core.errors import Forbidden, NodeNotFound, RateLimited, Unauthenticated
from talus.web import refusals as module
from talus.web.refusals import LINE_EVERY_S, MAX_KEPT, Refusals
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def test_all_are_counted_by_code() -> None:
    """Given refusals, when they are counted, then each code has its number, told to the log or not."""
    refusals = Refusals()
    for error in (Forbidden(), Forbidden("other words"), NodeNotFound(), Unauthenticated()):
        refusals.count(error, "10.0.0.1")
    assert refusals.counts == {"FORBIDDEN": 2, "NODE_NOT_FOUND": 1, "UNAUTHENTICATED": 1}
    assert str(refusals) == "FORBIDDEN 2, NODE_NOT_FOUND 1, UNAUTHENTICATED 1"


def test_one_line_a_minute_for_each_code_and_address(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Given a flood of refusals, when a minute passes, then there is one line for each pair, and the next
    says how many there were; what one says was refused is not in it."""
    caplog.set_level(logging.INFO, module.__name__)
    refusals = Refusals()
    for number in range(500):
        refusals.count(RateLimited(f"secret {number}"), "10.0.0.1")
    refusals.count(RateLimited(), "10.0.0.2")
    refusals.count(Unauthenticated(), "10.0.0.1")
    clock.now_s += LINE_EVERY_S - 0.1
    refusals.count(RateLimited(), "10.0.0.1")
    clock.now_s += 0.2
    refusals.count(RateLimited(), "10.0.0.1")
    assert [record.getMessage() for record in caplog.records] == [
        "refused 10.0.0.1: RATE_LIMITED",
        "refused 10.0.0.2: RATE_LIMITED",
        "refused 10.0.0.1: UNAUTHENTICATED",
        "refused 10.0.0.1: RATE_LIMITED, and 500 times before",
    ]


def test_everyday_refusals_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Given a refusal that says nothing about its caller, when it is counted, then the log has no line."""
    caplog.set_level(logging.INFO, module.__name__)
    Refusals().count(NodeNotFound(), "10.0.0.1")
    assert caplog.records == []


def test_many_addresses_do_not_fill_the_memory(clock: Clock) -> None:
    """Given refusals of more addresses than are kept, when they are counted, then the latest are kept."""
    refusals = Refusals()
    for number in range(MAX_KEPT + 500):
        refusals.count(Forbidden(), f"10.0.{number // 256}.{number % 256}")
    assert len(refusals._told) == MAX_KEPT
    assert refusals.counts["FORBIDDEN"] == MAX_KEPT + 500
