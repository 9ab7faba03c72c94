"""JSON from clients: read once, strictly, and in no way that a client could choose to make slow.

A text that is read in a few milliseconds is read at once. Any other is gone
through bracket by bracket first, so that the reader can be given it in pieces
of PIECE characters, and others run between those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from math import inf
from typing import Any

from ..core.errors import InvalidRequest
from ..service.pace import paced

PIECE = 8 * 1024  # characters that are read at once of a text that is read in pieces
MAX_CONTAINERS = 250_000  # objects and lists in one request: a Batch of 10,000 has 30,000, or a few more
MAX_ITEMS = 500_000  # in one list; a value of 256 KiB has 131,072 at most
MAX_MEMBERS = 100_000  # of one object; a node's properties are 66,000 at most
MAX_STRING = 2_000_000  # characters, of one string: a value of 256 KiB that is all escapes has less
_QUICK = 32 * 1024  # characters that are quick to read whatever they are
_QUICK_NS = 6_000_000  # what reading at once may take, as `_cost_ns` estimates it
TWICE = "An object has a key twice"
_DEEPEST = 100  # brackets; more than any rule allows, less than any parser minds

# To the next bracket outside strings, or past 32 strings: no step through a text is a long one.
_PLAIN, _STRING = r'[^"\[\]{}]{0,8192}+', r'"[^"\\]*+(?:\\.[^"\\]*+){0,300000}+"'
_STEP = re.compile(rf"{_PLAIN}(?:{_STRING}{_PLAIN}){{0,32}}+([\[\]{{}}])?", re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*+")


def decode(text: str | bytes) -> Any:
    """JSON from a client; may let others run meanwhile.

    Raises InvalidRequest for what is not JSON (a bare NaN included), and for an
    object that has a key twice: some readers would take the one, some the other.
    What is JSON but no value of ours (1e999, a lone surrogate, 1,000 brackets)
    passes, so that the rules for values can name it.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if len(text) > _QUICK and _cost_ns(text) > _QUICK_NS:
            return paced(_in_pieces(text), every=1)
        try:
            return _decoder.decode(text)
        except RecursionError:
            return paced(_in_pieces(text), every=1)
    except (ValueError, IndexError):
        raise InvalidRequest("The request is not JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InvalidRequest(TWICE)
    return made


def _integer(digits: str) -> int | float:
    # Python refuses to read 4,300 digits and more; as infinity it is refused as a value.
    return int(digits) if len(digits) < 1_000 else inf


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_refuse)


def _cost_ns(text: str) -> int:
    """About what it takes to read a text at once; most when all of it is structure."""
    count = text.count
    return 320 * count("{") + 160 * count("[") + 160 * count(",") + 60 * count("\\") + 2 * len(text)


def _in_pieces(text: str) -> Generator[None, None, Any]:
    """What the text says, read piece by piece. Raises ValueError, IndexError for what is not JSON."""
    large, deep = yield from _measured(text)
    if deep:
        text = _without(text, deep)
        large, _ = yield from _measured(text)
    value, end = yield from _value(text, _after_space(text, 0), large)
    if _after_space(text, end) != len(text):
        raise ValueError("more than one value")
    return value


def _measured(text: str) -> Generator[None, None, tuple[set[int], list[tuple[int, int]]]]:
    """Where containers of more than a piece begin; and from where to where it is too deep to be of use."""
    large: set[int] = set()
    deep: list[tuple[int, int]] = []
    begun: list[int] = []
    containers = at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        assert step is not None  # it matches nothing, too
        if step.end() == at:
            raise ValueError("a string is not closed")
        if step.end() - at > MAX_STRING:
            raise InvalidRequest("The request holds too long a text")
        at = step.end()
        bracket = step[1]
        if bracket is None:
            pass
        elif bracket in "[{":
            begun.append(at - 1)
            containers += 1
            if containers > MAX_CONTAINERS:
                raise InvalidRequest("The request holds too many objects and lists")
        elif not begun:
            raise ValueError("a bracket was never opened")
        else:
            start = begun.pop()
            if at - start > PIECE:
                large.add(start)
            if len(begun) == _DEEPEST:
                deep.append((start, at))
        yield
    if begun:
        raise ValueError("a bracket is left open")
    return large, deep


def _without(text: str, deep: list[tuple[int, int]]) -> str:
    """The text with an empty list for each container that is too deep for any reader's stack."""
    kept = []
    since = 0
    for start, end in deep:
        kept.append(text[since:start])
        since = end
    kept.append(text[since:])
    return "[]".join(kept)


def _value(text: str, at: int, large: set[int]) -> Generator[None, None, tuple[Any, int]]:
    """The value that begins at `at`, and where it ends."""
    if at not in large:
        return _decoder.raw_decode(text, at)
    opening = text[at]
    items: list[Any] = []
    members: dict[str, Any] = {}
    end = _after_space(text, at + 1)
    while True:
        if opening == "{":
            if text[end] != '"':
                raise ValueError("a key is expected")
            key, end = _decoder.raw_decode(text, end)
            end = _after(text, end, ":")
        yield
        if end in large:
            item, end = yield from _value(text, end, large)
        else:
            item, end = _decoder.raw_decode(text, end)
        yield
        if opening == "[":
            items.append(item)
        elif key in members:
            raise InvalidRequest(TWICE)
        else:
            members[key] = item
        if len(items) > MAX_ITEMS or len(members) > MAX_MEMBERS:
            raise InvalidRequest("A list or object of the request holds too many items")
        end = _after_space(text, end)
        if text[end] != ",":
            break
        end = _after(text, end, ",")
    if text[end] != ("]" if opening == "[" else "}"):
        raise ValueError("a comma is expected")
    return (items if opening == "[" else members), end + 1


def _after(text: str, at: int, mark: str) -> int:
    """The place of what follows a mark, with space around it."""
    at = _after_space(text, at)
    if text[at] != mark:
        raise ValueError(f"{mark} is expected")
    return _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None  # it matches nothing, too
    return space.end()
