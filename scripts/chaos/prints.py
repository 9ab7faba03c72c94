"""Hashes that stand for what was seen: 64 bits, salted anew in each process.

Numbers are compared as JavaScript has them: 2.0 is 2, and -0.0 is 0.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chaos.history import JsonObject

encode = msgspec.json.Encoder(order="sorted").encode
# A number that JavaScript writes in another way. It may be found in a text as well, which costs time alone.
_odd_number = re.compile(rb"[:,\[]-?(?:\d+\.0[,}\]]|[\d.]+e)").search


def print_of(value: Any) -> int:
    """Of what the value says, whatever the order of its members."""
    text = encode(value)
    return hash(encode(_plain(value)) if _odd_number(text) else text)


def _plain(value: Any) -> Any:
    """The value with fractions that are whole as integers."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def print_of_roots(roots: list[JsonObject]) -> int:
    """Of nested roots, order of siblings included."""
    nodes: list[JsonObject] = []  # each beside the next, for graphs are deep
    waiting = roots[::-1]
    while waiting:
        node = waiting.pop()
        children = node["children"]
        nodes.append({**node, "children": [child["id"] for child in children]})
        waiting.extend(reversed(children))
    return print_of(nodes)


def name_of(event: str, fact: JsonObject) -> int:
    """Of which event it is and what caused it."""
    return hash((event, fact.get("command_id"), fact.get("by")))


def without(value: JsonObject, *names: str) -> JsonObject:
    return {name: item for name, item in value.items() if name not in names}
