"""A hook of schemathesis: integers are written as integers.

To JSON Schema 2.0 is an integer, and schemathesis writes it so in half of its
requests. talus reads it as a fraction, which no place for an integer takes, and
no JavaScript client can send it: there 2.0 is written 2.
"""

from __future__ import annotations

from typing import Any

import schemathesis

INTEGERS = ("index", "expected_version")


@schemathesis.hook
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    return _spelled(body)


def _spelled(value: Any) -> Any:
    if isinstance(value, list):
        return [_spelled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: int(item)
        if name in INTEGERS and isinstance(item, float) and item.is_integer()
        else _spelled(item)
        for name, item in value.items()
    }
