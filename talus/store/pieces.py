"""Long lists in pieces, as rows hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from sys import maxsize


def arrays(bodies: Iterable[bytes], most_bytes: int, most: int = maxsize) -> Iterator[bytes]:
    """Encoded items as JSON arrays of about `most_bytes`, and of at most `most` items; one array at least."""
    kept: list[bytes] = []
    size = 0
    for body in bodies:
        if kept and (len(kept) == most or size + len(body) > most_bytes):
            yield b"[" + b",".join(kept) + b"]"
            kept, size = [], 0
        kept.append(body)
        size += len(body)
    yield b"[" + b",".join(kept) + b"]"
