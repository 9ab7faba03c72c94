"""JSON from clients: read once, strictly, and in no way that a client could choose to make slow."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from math import inf
from typing import Any

import msgspec

from ..core.errors import InvalidRequest
from ..service.pace import paced

_decode = msgspec.json.Decoder().decode
MAX_CLASSIFIED = 2_000_000  # characters that are read again to say what is wrong with them
_DEEPEST = 100  # brackets; more than any rule allows, less than any parser minds
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def decode(text: str | bytes) -> Any:
    """JSON from a client. Raises InvalidRequest for what is not JSON, a bare NaN included.

    What is JSON but no value of ours (1e999, a lone surrogate, 1,000 brackets)
    passes, so that the rules for values can name it.
    """
    try:
        return _decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        pass
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if len(text) > MAX_CLASSIFIED:
            raise ValueError("too long to look for the reason")
        return json.loads(paced(_flattened(text)), parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise InvalidRequest("The request is not JSON") from None


def _integer(digits: str) -> int | float:
    # Python refuses to read 4,300 digits and more; as infinity it is refused as a value.
    return int(digits) if len(digits) < 1_000 else inf


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _flattened(text: str) -> Generator[None, None, str]:
    """The text without what is nested too deeply to be of use: no reader needs a deep stack for it."""
    depth = 0
    kept = []
    since = 0
    for token in _TOKENS.finditer(text):
        yield
        bracket = token.group()
        if bracket in "[{":
            depth += 1
            if depth == _DEEPEST + 1:
                kept.append(text[since : token.start()])
        elif bracket in "]}":
            depth -= 1
            if depth == _DEEPEST:
                kept.append("[]")
                since = token.end()
    if depth > _DEEPEST:
        raise ValueError("brackets are left open")
    kept.append(text[since:])
    return "".join(kept)
