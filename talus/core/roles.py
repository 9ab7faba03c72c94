"""What the members of a session may do. Source: docs/protocol.md, "Roles".

Each role may do what those before it may: a viewer joins, reads and shows
presence; an editor commands; an owner deletes and manages members. To everybody
else the session does not exist.
"""

from __future__ import annotations

from typing import Literal

from .errors import Forbidden, InvalidSession

Role = Literal["viewer", "editor", "owner"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "owner")


def check(role: Role | None, needed: Role) -> None:
    """Raises InvalidSession for one who is no member, Forbidden for one whose role is too low."""
    if role is None:
        raise InvalidSession()
    if ROLES.index(role) < ROLES.index(needed):
        raise Forbidden(f"This takes the role {needed}")
