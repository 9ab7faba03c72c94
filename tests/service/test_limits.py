"""Token buckets: how fast one client may be (section 6 of the contract, TALUS_RATE_COMMANDS)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talus.core.errors import RateLimited
from talus.service import limits
from talus.service.limits import MAX_KEYS, Bucket, Buckets
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    turned = Clock()
    monkeypatch.setattr(limits, "monotonic", turned)
    return turned


# Steps: seconds that pass, calls made then, and how many of these go ahead.
STEPS: dict[str, tuple[float, list[tuple[float, int, int]]]] = {
    "a burst of twice the rate": (5, [(0, 30, 10)]),
    "a full bucket holds no more": (5, [(0, 0, 0), (1_000, 30, 10)]),
    "it fills at the rate": (5, [(0, 30, 10), (1, 30, 5), (1, 30, 5), (2, 30, 10), (3, 30, 10)]),
    "the rate can be kept for ever": (10, [(0.1, 1, 1)] * 500),
    "twice the rate can not": (10, [(0, 20, 20), *[(0.1, 2, 1)] * 50]),
    "a refused call costs nothing": (1, [(0, 2, 2), *[(0.125, 1, 0)] * 7, (0.125, 1, 1)]),
    "less than one a second": (0.5, [(0, 3, 1), (1, 1, 0), (1, 1, 1), (100, 3, 1)]),
    "0 is no limit": (0, [(0, 10_000, 10_000)]),
    "a clock that stands still": (2, [(0, 4, 4), (0, 1, 0), (0, 1, 0)]),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_bucket_lets_through(clock: Clock, name: str) -> None:
    """Given a rate, when calls come, then as many go ahead as the bucket holds."""
    rate, steps = STEPS[name]
    bucket = Bucket(rate)
    for passed_s, calls, expected in steps:
        clock.now_s += passed_s
        assert [bucket.take() == 0 for _ in range(calls)] == [True] * expected + [False] * (calls - expected)


@pytest.mark.parametrize("rate, wait_s", [(1, 1.0), (5, 0.2), (100, 0.01), (0.5, 2.0)])
def test_a_bucket_says_when_the_next_may_go(clock: Clock, rate: float, wait_s: float) -> None:
    """Given an empty bucket, when a call is refused, then the time it tells is right to the moment."""
    bucket = Bucket(rate)
    for _ in range(int(2 * rate)):
        assert bucket.take() == 0
    assert bucket.take() == pytest.approx(wait_s)
    clock.now_s += wait_s / 2
    assert bucket.take() == pytest.approx(wait_s / 2)
    clock.now_s += wait_s / 2 + 1e-6
    assert bucket.take() == 0
    assert bucket.take() > 0


@pytest.mark.parametrize("rate, seconds", [(0.5, 2), (1, 1), (5, 1), (1_000, 1)])
def test_a_refusal_tells_whole_seconds(clock: Clock, rate: float, seconds: int) -> None:
    """Given an empty bucket, when it is checked, then RATE_LIMITED with whole seconds, at least 1, after
    which the next call goes ahead."""
    bucket = Bucket(rate)
    while bucket.take() == 0:
        pass
    with pytest.raises(RateLimited) as refused:
        bucket.check()
    assert refused.value.code == "RATE_LIMITED"
    assert refused.value.details == {"retry_after_s": seconds}
    assert isinstance(refused.value.details["retry_after_s"], int)
    clock.now_s += seconds
    bucket.check()


def test_who_queues_gets_his_turn_at_the_rate(clock: Clock) -> None:
    """Given an empty bucket, when calls queue, then each is told a turn of its own, one after the other, and
    in these seconds nobody else goes ahead."""
    bucket = Bucket(10)
    assert [bucket.queue() for _ in range(20)] == [0.0] * 20
    assert [bucket.queue() for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert bucket.take() == pytest.approx(0.4)
    clock.now_s += 0.2
    assert bucket.queue() == pytest.approx(0.2)
    clock.now_s += 1_000
    assert [bucket.queue() for _ in range(20)] == [0.0] * 20
    assert [Bucket(0).queue() for _ in range(100)] == [0.0] * 100


@given(
    rate=st.sampled_from([0.5, 1, 3, 100]),
    passing=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=200),
)
def test_no_window_holds_more_than_its_share(rate: float, passing: list[float]) -> None:
    """Given calls at any times, when those that went ahead are counted, then no span of them holds more than
    the burst and what refilled in it; and a call that waited as it was told goes ahead."""
    clock = Clock()
    went: list[float] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "monotonic", clock)
        bucket = Bucket(rate)
        for passed_s in passing:
            clock.now_s += passed_s
            wait_s = bucket.take()
            if wait_s:
                clock.now_s += wait_s + 1e-6
                assert bucket.take() == 0
            went.append(clock.now_s)
    for first in range(0, len(went), 7):
        for last in range(first, len(went), 5):
            assert last - first + 1 <= max(2 * rate, 1) + rate * (went[last] - went[first]) + 1e-3


def test_each_key_has_a_bucket_of_its_own(clock: Clock) -> None:
    """Given two keys, when one is emptied, then the other is full, and each keeps what it had."""
    buckets = Buckets(1)
    keys: list[Any] = ["10.0.0.1", "10.0.0.2", ("ann", 1)]
    assert [buckets.of(keys[0]).take() == 0 for _ in range(4)] == [True, True, False, False]
    for key in keys[1:]:
        assert buckets.of(key).take() == 0
    clock.now_s += 1
    assert [buckets.of(keys[0]).take() == 0 for _ in range(2)] == [True, False]
    assert [buckets.of(keys[1]).take() == 0 for _ in range(3)] == [True, True, False]


def test_the_buckets_longest_unused_are_forgotten(clock: Clock) -> None:
    """Given more keys than are kept, when the longest unused is asked for again, then it is full, while one
    that is in use is kept as it is, and memory stays bounded."""
    buckets = Buckets(1)
    for key in ("busy", "idle"):
        while buckets.of(key).take() == 0:
            pass
    kept = buckets.of("busy")
    for number in range(MAX_KEYS):
        buckets.of(number)
        assert buckets.of("busy") is kept
    assert kept.take() > 0
    assert buckets.of("idle").take() == 0
    assert len(buckets._buckets) <= MAX_KEYS
