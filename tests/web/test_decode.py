"""The reader of JSON: what passes, what does not, the same for short texts and long ones."""

from __future__ import annotations

import gc
import json
from contextlib import suppress
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talus.core.errors import InvalidRequest
from talus.web import decode as module
from talus.web.decode import MAX_CONTAINERS, MAX_ITEMS, MAX_MEMBERS, MAX_STRING, PIECE, decode
from tests.support.hub import NAP_S, naps

BODY = 8 * 1024 * 1024
HELD_S = 0.05  # the hub, at the very worst, on a busy machine

GOOD = [
    "null",
    "0", "-0.5e-3", '""', '"\\u00e9\\n"', "[]", "{}", " [ 1 , 2 ] ", '{"a":{"b":[{}]}}', '"\U0001f697"',
    '{"":0}', "[[[[]]]]", '{"a":1,"b":{"a":1}}', "\t\r\n{}\n", '"\\ud83d\\ude97"', "1E5",
]  # fmt: skip
BAD = [
    "", " ", "NaN", "[NaN]", "Infinity", "-Infinity", "[1,]", "{,}", '{"a":1,}', '{"a"}', '{"a":}', "{1:2}",
    "[1 2]", "[", "]", "[}", "{]", '"', '"\\x"', '"\n"', "01", "+1", "1.", ".5", "nul", "[1]]", "[1] 2",
    "\ufeff{}", "'a'", '{"a":1 "b":2}', "/**/1", "[1,,2]", '"\\u12"', "tru", "undefined", '{"a":1}{}',
]  # fmt: skip
TWICE = ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '[{"x":1},{"":1,"":2}]', '{"\\u0061":1,"a":2}']


def long(text: str) -> str:
    """The same text as one item of a list that is read in pieces."""
    filling = '{"k":[1,"two",null]},' * 6_500
    return f"[{filling}{text},0]"


def test_a_long_text_is_read_in_pieces() -> None:
    """Given a text that `long` makes, when its cost is estimated, then it is not read at once."""
    assert module._cost_ns(long("0")) > module._QUICK_NS


@pytest.mark.parametrize("text", GOOD)
def test_json_is_read(text: str) -> None:
    """Given JSON, as text or bytes, alone or deep in a long text, when it is read, then it is that."""
    expected = json.loads(text)
    assert decode(text) == decode(text.encode()) == expected
    assert decode(long(text))[-2] == expected


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_json_is_refused(text: str) -> None:
    """Given what is no JSON, alone or in a long text, when it is read, then INVALID_REQUEST."""
    for each in (text, text.encode(), long(text)):
        with pytest.raises(InvalidRequest):
            decode(each)


@pytest.mark.parametrize("text", TWICE)
def test_a_key_that_stands_twice_is_refused(text: str) -> None:
    """Given an object with a key twice, alone or in a long text, when it is read, then refused for that."""
    for each in (text, long(text)):
        with pytest.raises(InvalidRequest, match="twice"):
            decode(each)
    keys = ",".join(f'"k{number}":0' for number in range(60_000))
    assert len(decode("{" + keys + "}")) == 60_000
    with pytest.raises(InvalidRequest, match="twice"):
        decode("{" + keys + ',"k7":1}')


@pytest.mark.parametrize("raw", [b"\xff", b'"\xc3"', b'"\xed\xa0\x80"', '{"a":1}'.encode("utf-16")])
def test_bytes_that_are_no_utf8_are_refused(raw: bytes) -> None:
    """Given bytes in another encoding, when they are read, then INVALID_REQUEST."""
    with pytest.raises(InvalidRequest):
        decode(raw)


def test_what_the_rules_for_values_judge_passes() -> None:
    """Given JSON that no value may be, when it is read, then it passes, for those rules to name it."""
    assert decode("1e999") == float("inf")
    assert decode("9" * 400) == int("9" * 400)
    assert decode("9" * 5_000) == float("inf")
    assert decode('"\\ud800"') == "\ud800"
    assert decode('"\\u0000"') == "\0"


@pytest.mark.parametrize("depth", [99, 100, 101, 990, 5_000, 100_000])
def test_depth_is_cut_and_never_a_danger(depth: int) -> None:
    """Given brackets of any depth, when they are read, then so many, or at least 100 of them, are there."""
    for opening, closing in ("[", "]"), ('{"a":', "}"):
        text = opening * depth + ("1" if opening != "[" else "") + closing * depth
        found = decode(text)
        levels = 0
        while isinstance(found, list | dict) and found:
            levels += 1
            found = found[0] if isinstance(found, list) else found["a"]
        assert levels >= min(depth - 1, 99)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=60,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_json_is_read_alike_in_one_piece_and_in_many(value: Any, indent: int | None, ascii: bool) -> None:
    """Given any value, when its text is read at once and in pieces, then both are the value."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    try:
        text.encode()
    except UnicodeError:
        return  # half a character, written as it is: no text that a client can send
    assert decode(text) == value
    assert decode(long(text))[-2] == value


def oracle(text: str) -> Any:
    """What the standard library reads, or that it is none of ours: no JSON, NaN, a key twice."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, object_pairs_hook=members, parse_constant=constant)
    except ValueError:
        return InvalidRequest


@given(st.text(alphabet='[]{},:"\\ 1anu-.e', max_size=40))
@settings(deadline=None, max_examples=60)
def test_rubbish_is_read_as_the_standard_library_reads_it(text: str) -> None:
    """Given rubbish, when it is read at once and in pieces, then it is what it says, or refused."""
    for each in (text, f"[{text}]", long(text)):
        try:
            found = decode(each)
        except InvalidRequest:
            found = InvalidRequest
        assert found == oracle(each)


def fill(unit: str, opening: str = "[", closing: str = "1]", size: int = BODY) -> str:
    return opening + unit * ((size - len(opening) - len(closing)) // len(unit)) + closing


HOSTILE = {
    "lists": fill("[],"),
    "objects": fill("{},"),
    "pairs": fill('{"a":1},'),
    "integers": fill("1,"),
    "strings": fill('"a",'),
    "one string": '"' + "x" * (BODY - 2) + '"',
    "escapes": '"' + "\\u0041" * (BODY // 6 - 1) + '"',
    "short escapes": '"' + "\\n" * (BODY // 2 - 1) + '"',
    "keys": "{" + ",".join(f'"{number}":1' for number in range(700_000)) + "}",
    "open brackets": "[" * BODY,
    "brackets": "[" * (BODY // 2) + "]" * (BODY // 2),
    "deep lists": "[" * 90 + fill("[],") + "]" * 90,
    "spaces": "[" + " " * (BODY - 2) + "]",
    "long numbers": fill("9" * 4_000 + ","),
    "one number": "1." + "0" * (BODY - 2),
    "quotes": '"' * BODY,
    "backslashes": "\\" * BODY,
    "a megabyte of lists": fill("[],", size=1_000_000),
    "a value of lists": fill("[],", size=262_144),
    "a value of pairs": fill('{"a":1},', size=262_144),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_holds_the_hub(name: str) -> None:
    """Given a hostile text of up to 8 MiB, when it is read, or refused, then others are served meanwhile."""
    text = HOSTILE[name]
    worst_s = 0.0

    def watch() -> None:
        nonlocal worst_s
        for _, gap_s, queued_s, _ in naps():
            worst_s = max(worst_s, gap_s - queued_s)

    gc.collect()
    gc.disable()  # what the tests before left behind is no part of the reading
    watching = gevent.spawn(watch)
    gevent.sleep(2 * NAP_S)
    try:
        with suppress(InvalidRequest):
            decode(text)
        gevent.sleep(2 * NAP_S)
    finally:
        gc.enable()
        watching.kill()
    assert worst_s < HELD_S


def test_the_limits() -> None:
    """Given texts at the limits and one past them, when they are read, then these pass, those do not."""
    within = "[" + "[]," * (MAX_CONTAINERS - 2) + "[]]"
    assert len(decode(within)) == MAX_CONTAINERS - 1
    for text in (
        "[" + "[]," * (MAX_CONTAINERS - 1) + "[]]",
        "[" + "1," * MAX_ITEMS + "1]",
        "{" + ",".join(f'"{number}":1' for number in range(MAX_MEMBERS + 1)) + "}",
        '["' + "x" * MAX_STRING + '",' + "1," * 100_000 + "1]",
    ):
        with pytest.raises(InvalidRequest, match="too"):
            decode(text)


def test_a_batch_of_ten_thousand_is_read_whole() -> None:
    """Given the largest honest request, when it is read, then every command is as it was written."""
    commands = [
        {"command_type": "CreateNode", "data": {"name": f'"{number}" [x]', "properties": {"a": [number]}}}
        for number in range(10_000)
    ]
    text = json.dumps({"session_id": "x", "data": {"commands": commands}})
    assert len(text) > 10 * PIECE
    assert decode(text)["data"]["commands"] == commands
