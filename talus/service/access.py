"""Who is there, and what he may do: the one way from a caller to a session.

Without tokens everybody may do everything, and says himself who he is. With
tokens a session is found only by way of a role in it: whoever has none gets the
answer of an unknown session, from the same look-up and in the same time.
What a user may is kept in memory once he came, and changed by the writer in
commit order. Source: docs/protocol.md, "Security"; docs/decisions/0011.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time

from ..core import roles
from ..core.errors import InvalidRequest, Unauthenticated
from ..core.roles import Role
from .disk import Disk
from .sessions import Session, Sessions
from .tokens import Identity, Tokens

ANONYMOUS = "anonymous"
MAX_ACTOR = 64  # characters of a name that nobody checks
MAX_USERS = 10_000  # whose roles are kept in memory; those longest unused go first


class Access:
    """Identities, roles and revocations."""

    def __init__(self, disk: Disk, sessions: Sessions, tokens: Tokens | None) -> None:
        """tokens: None where nobody has to prove who he is (TALUS_AUTH=none)."""
        self.tokens = tokens
        self._disk = disk
        self._sessions = sessions
        self._roles: OrderedDict[str, dict[str, Role]] = OrderedDict()  # by user, by session
        self._changes = 0
        self._revoked: dict[str, int] = disk.journal.revocations() if tokens else {}
        # Told what open connections must not outlive: web/sockets.py listens.
        self.on_removed: Callable[[Session, str], None] = lambda session, user: None
        self.on_revoked: Callable[[str], None] = lambda user: None

    # -- who is there --

    def identify(self, token: object, name: object, source: str) -> Identity:
        """Who calls: by his token, or, without tokens, by the name that he gives himself.

        source: the connection that he calls on.
        Raises Unauthenticated for a bad token, InvalidRequest for a name that is none.
        """
        if self.tokens is None:
            return Identity(_actor(name), admin=True, line=source)
        identity = self.tokens.read(token)
        self.recheck(identity)
        return identity

    def recheck(self, identity: Identity) -> None:
        """Raises Unauthenticated once the tokens of this user were revoked."""
        if identity.issued_s <= self._revoked.get(identity.user, -1):
            raise Unauthenticated()

    # -- what he may --

    def session(self, identity: Identity, session_id: str, needed: Role) -> Session:
        """The session. Raises InvalidSession, or Forbidden to a member whose role is too low."""
        self.check(identity, session_id, needed)
        return self._sessions.get(session_id)

    @contextmanager
    def pinned(self, identity: Identity, session_id: str, needed: Role) -> Iterator[Session]:
        """The session, kept in memory while a call on it is being read. Raises as `session` does."""
        self.check(identity, session_id, needed)
        with self._sessions.pinned(session_id) as session:
            yield session

    def joined(self, identity: Identity, session_id: str) -> tuple[Session, bool]:
        """The session for one who joins, and whether that opened it: only without tokens it can."""
        if self.tokens is None:
            return self._sessions.get_or_open(session_id)
        return self.session(identity, session_id, "viewer"), False

    def check(self, identity: Identity, session_id: str, needed: Role) -> None:
        """Raises InvalidSession to strangers, Forbidden to a member whose role is too low."""
        if not identity.admin:
            roles.check(self._roles_of(identity.user).get(session_id), needed)

    def owner(self, identity: Identity) -> str | None:
        """Who will own what this caller creates: without tokens nobody."""
        return identity.user if self.tokens else None

    def _roles_of(self, user: str) -> dict[str, Role]:
        """By session, those that do not exist any more included."""
        while user not in self._roles:
            before = self._changes
            found = self._disk.read(self._disk.journal.roles_of, user)
            if before == self._changes:  # else it may be old already
                self._roles[user] = found
                if len(self._roles) > MAX_USERS:
                    self._roles.popitem(last=False)
        self._roles.move_to_end(user)
        return self._roles[user]

    # -- what the writer says once it is durable --

    def appointed(self, session: Session, user: str, role: Role | None) -> None:
        """`user` has this role now, or none."""
        self._changes += 1
        known = self._roles.get(user)
        if known is not None:
            known.pop(session.id, None)
            if role is not None:
                known[session.id] = role
        if role is None:
            self.on_removed(session, user)

    def removed(self, session: Session) -> None:
        """The session was deleted, and all roles in it with it."""
        for known in self._roles.values():
            known.pop(session.id, None)

    def revoke(self, user: str, until_s: int) -> None:
        """All tokens of `user` given out until then are void, from now on."""
        if until_s > self._revoked.get(user, -1):
            self._revoked[user] = until_s
            self.on_revoked(user)


def expired(identity: Identity) -> bool:
    """Whether the token that proved this has run out meanwhile."""
    return time() >= identity.expires_s


def _actor(name: object) -> str:
    if name is None or name == "":
        return ANONYMOUS
    if not isinstance(name, str) or len(name) > MAX_ACTOR or not name.isprintable():
        raise InvalidRequest(f"actor: 1-{MAX_ACTOR} printable characters are expected")
    return name
