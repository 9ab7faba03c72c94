"""Order keys (docs/decisions/0004): between two there is always room, and runs stay short."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talus.core.order import _encode, _parse, _text, between

RUN = 10_000
SHORT = 8  # characters; what RUN inserts in one direction may cost

# Places as clients choose them: anywhere, with runs at the front, at the end and at one spot.
PLACES = st.lists(
    st.one_of(st.just(0.0), st.just(1.0), st.just(0.5), st.floats(0, 1)), min_size=1, max_size=120
)


def insert(keys: list[str], at: int) -> str:
    lower = keys[at - 1] if at > 0 else None
    upper = keys[at] if at < len(keys) else None
    key = between(lower, upper)
    keys.insert(at, key)
    return key


def assert_in_order(keys: list[str]) -> None:
    assert all(one < other for one, other in pairwise(keys)), keys


@settings(deadline=None, derandomize=True, max_examples=300)
@given(PLACES)
def test_keys_stay_sorted_and_unique_wherever_they_are_inserted(places: list[float]) -> None:
    keys: list[str] = []
    for place in places:
        insert(keys, round(place * len(keys)))
        assert_in_order(keys)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(PLACES, st.data())
def test_there_is_room_again_between_any_two_keys_left_after_deletions(
    places: list[float], data: st.DataObject
) -> None:
    """Neighbours of today need not have been neighbours when their keys were made."""
    keys: list[str] = []
    for place in places:
        insert(keys, round(place * len(keys)))
    kept = data.draw(st.lists(st.sampled_from(keys), unique=True).map(sorted))
    for at in range(len(kept), -1, -1):
        insert(kept, at)
    assert_in_order(kept)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(lambda n: n, id="at the end"),
        pytest.param(lambda n: 0, id="at the front"),
        pytest.param(lambda n: 1, id="after the first"),
        pytest.param(lambda n: n - 1, id="before the last"),
        pytest.param(lambda n: 5, id="at index 5, each before the one before"),
        pytest.param(lambda n: n - 5, id="five before the end, each after the one before"),
    ],
)
def test_a_run_of_inserts_at_one_place_keeps_keys_short(at: Callable[[int], int]) -> None:
    keys: list[str] = []
    for _ in range(10):
        insert(keys, len(keys))
    longest = 0
    for _ in range(RUN):
        longest = max(longest, len(insert(keys, at(len(keys)))))
    assert_in_order(keys)
    assert longest <= SHORT


def test_keys_grow_with_the_turns_of_a_run_and_not_with_its_length() -> None:
    """Given runs in changing directions at one place, then each turn costs a few characters at most."""
    keys: list[str] = []
    for _ in range(3):
        insert(keys, len(keys))
    at, turns = 1, 20
    for number in range(RUN):
        insert(keys, at)
        at += number // (RUN // turns) % 2  # each after the one before, or before it
    assert_in_order(keys)
    assert max(map(len, keys)) <= 4 * turns


@pytest.mark.parametrize(
    "lower, upper",
    [("a1", "a0"), ("a0", "a0"), ("a0a0", "a0"), ("a0", "Zz"), ("b10", "az")],
)
def test_keys_out_of_order_are_refused(lower: str, upper: str) -> None:
    with pytest.raises(ValueError, match="out of order"):
        between(lower, upper)


NUMBERS = st.one_of(
    st.integers(-130, 130),
    st.integers(-(62**4) - 5, 62**4 + 5),
    st.sampled_from(
        [sign * (62**power) + off for sign in (1, -1) for power in range(5) for off in (-1, 0, 1)]
    ),
)


@settings(deadline=None, derandomize=True, max_examples=1_000)
@given(st.lists(NUMBERS, min_size=1, max_size=4), st.lists(NUMBERS, min_size=1, max_size=4))
def test_text_order_is_number_order(one: list[int], other: list[int]) -> None:
    assert (_text(one) < _text(other)) == (one < other)
    assert (_text(one) == _text(other)) == (one == other)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.lists(NUMBERS, min_size=1, max_size=4))
def test_a_key_is_read_as_it_was_written(numbers: list[int]) -> None:
    assert _parse(_text(numbers)) == numbers


def test_no_number_begins_another() -> None:
    texts = [_encode(number) for number in range(-5_000, 5_000)]
    assert texts == sorted(texts)
    assert len(set(texts)) == len(texts)
    known = set(texts)
    assert not [text for text in texts for end in range(1, len(text)) if text[:end] in known]
