"""Who is in a session's room, and what each of them shows of himself.

Presence lives in memory: it is gone with its client. Joining and leaving are
announced at once; of several states shown in 100 ms the last stands for all.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

import gevent

from ..core import values
from ..core.errors import InvalidRequest, InvalidValue
from .announce import Connected, Disconnected, Presence, Publish

if TYPE_CHECKING:
    from .sessions import Session

MAX_STATE_BYTES = 1024  # of compact JSON
SHOW_EVERY_S = 0.1  # a pointer that moves need not be told more often
MAX_LISTED = 100  # clients in `joined`


class Member:
    """One client in one room."""

    __slots__ = ("actor", "client_id", "showing", "state")

    def __init__(self, client_id: str, actor: str) -> None:
        self.client_id = client_id
        self.actor = actor
        self.state: Any = None
        self.showing = False  # a state was shown less than SHOW_EVERY_S ago


class Rooms:
    """The members of all sessions; what they hear leaves through `publish`."""

    def __init__(self, publish: Publish, now_ms: Callable[[], int]) -> None:
        self._publish = publish
        self._now_ms = now_ms

    def enter(self, session: Session, client_id: str, actor: str) -> bool:
        """Count the client in; False when it was there already. `announce` tells the others."""
        if client_id in session.members:
            return False
        session.members[client_id] = Member(client_id, actor)
        return True

    def announce(self, session: Session, client_id: str) -> None:
        """`session:connected`, to the newcomer too."""
        member = session.members[client_id]
        self._publish(
            session.id,
            [Connected(client_id, member.actor, len(session.members), session.version, self._now_ms())],
        )

    def leave(self, session: Session, client_id: str) -> bool:
        """`session:disconnected` to those who stay; False, and nothing is told, when it was not there."""
        member = session.members.pop(client_id, None)
        if member is None:
            return False
        self._publish(
            session.id,
            [Disconnected(client_id, member.actor, len(session.members), session.version, self._now_ms())],
        )
        return True

    def show(self, session: Session, client_id: str, state: Any) -> None:
        """Keep the client's state and show it to the others.

        Raises InvalidRequest for a client that is not in the room, and for a
        state that is over 1 KiB or that not every client reads alike.
        """
        member = session.members.get(client_id)
        if member is None:
            raise InvalidRequest("session_id: join the session before you show presence in it")
        try:
            size = values.check(state)
        except InvalidValue as error:
            raise InvalidRequest(f"state: {error.message}") from None
        if size > MAX_STATE_BYTES:
            raise InvalidRequest(f"state: at most {MAX_STATE_BYTES} bytes of JSON")
        member.state = state
        if not member.showing:
            self._show(session, member)

    def _show(self, session: Session, member: Member) -> None:
        shown = member.state
        self._publish(
            session.id, [Presence(member.client_id, member.actor, shown, session.version, self._now_ms())]
        )
        member.showing = True
        gevent.spawn_later(SHOW_EVERY_S, self._shown, session, member, shown)

    def _shown(self, session: Session, member: Member, shown: Any) -> None:
        member.showing = False
        if member.state is not shown and session.members.get(member.client_id) is member:
            self._show(session, member)

    @staticmethod
    def listed(session: Session) -> list[dict[str, Any]]:
        """`{client_id, actor, state}` of the first 100 in the room."""
        return [
            {"client_id": member.client_id, "actor": member.actor, "state": member.state}
            for member in islice(session.members.values(), MAX_LISTED)
        ]
