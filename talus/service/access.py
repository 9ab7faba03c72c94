"""Who may do what. Without tokens everybody may do everything, and says himself who he is."""

from __future__ import annotations

from ..core.errors import InvalidRequest

ANONYMOUS = "anonymous"
MAX_ACTOR = 64  # characters


def actor_of(name: object) -> str:
    """The name that a client gave itself; nobody checks it. Raises InvalidRequest for one that is none."""
    if name is None or name == "":
        return ANONYMOUS
    if not isinstance(name, str) or len(name) > MAX_ACTOR or not name.isprintable():
        raise InvalidRequest(f"actor: 1-{MAX_ACTOR} printable characters are expected")
    return name
