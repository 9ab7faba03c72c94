"""What may stand in a property, and which ids may name things.

A value is any JSON that every client reads alike (docs/protocol.md, "Values").
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from .errors import InvalidBlueprint, InvalidProperty, InvalidValue

MAX_INTEGER = 2**53 - 1  # beyond it a JavaScript client reads another number
MAX_DEPTH = 32  # brackets
MAX_VALUE_BYTES = 256 * 1024  # of compact UTF-8 JSON
# Names that a careless JavaScript client would resolve to the machinery of its own objects.
FORBIDDEN_IDS = frozenset({"__proto__", "constructor", "prototype"})

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_encode = msgspec.json.Encoder().encode


def is_uuid(text: str) -> bool:
    """True for a UUID in lower-case text, the only form that names anything here."""
    return _UUID.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """True for what may name a node type or a property: 1-128 printable characters."""
    return 0 < len(text) <= 128 and text.isprintable() and text not in FORBIDDEN_IDS


def check_type_id(text: str) -> None:
    """Raises InvalidBlueprint unless `text` may name a node type."""
    if not is_id(text):
        raise InvalidBlueprint("A node type is named by 1-128 printable characters")


def check_property_id(text: str) -> None:
    """Raises InvalidProperty unless `text` may name a property."""
    if not is_id(text):
        raise InvalidProperty("A property is named by 1-128 printable characters")


def check(value: Any) -> int:
    """The bytes that `value` takes as compact JSON.

    Raises InvalidValue for infinities, integers beyond 2^53 - 1, lone
    surrogates, NUL, more than 32 brackets deep, and over 256 KiB.
    """
    # The size first: what is too large need not be walked through.
    try:
        size = len(_encode(value))
    except UnicodeError:
        raise InvalidValue("A text must not hold lone surrogates") from None
    except RecursionError:
        raise InvalidValue(f"A value is nested at most {MAX_DEPTH} brackets deep") from None
    if size > MAX_VALUE_BYTES:
        raise InvalidValue(f"A value takes at most {MAX_VALUE_BYTES} bytes of JSON")
    _check([value])
    return size


def _check(values: list[Any]) -> None:
    """Level by level, and not by recursion: a value may hold 90,000 others, and the hub waits."""
    depth = 0
    while values:
        containers = []
        for value in values:
            kind = type(value)
            if kind is str:
                if "\0" in value:
                    raise InvalidValue("A text must not hold the NUL character")
            elif kind is int:
                if not -MAX_INTEGER <= value <= MAX_INTEGER:
                    raise InvalidValue("An integer beyond 2^53 - 1 is not read alike by every client")
            elif kind is float:
                if not math.isfinite(value):
                    raise InvalidValue("A number must be finite")
            elif kind is dict or kind is list:
                containers.append(value)
        if containers and depth == MAX_DEPTH:
            raise InvalidValue(f"A value is nested at most {MAX_DEPTH} brackets deep")
        depth += 1
        values = []
        for container in containers:
            if type(container) is dict:
                values.extend(container)
                values.extend(container.values())
            else:
                values.extend(container)


def member_size(property_id: str, value_size: int) -> int:
    """What one property adds to the compact JSON of a node's properties, in bytes."""
    return len(_encode(property_id)) + value_size + 2
