"""Tokens: who somebody is, signed with a key that only the server has.

Everything about a token is fixed but its claims: HS256, one key, an audience.
No header field besides `typ` and `alg` has any effect, and a `crit` one refuses
the token. Source: docs/protocol.md, "Tokens"; docs/decisions/0011.
"""

from __future__ import annotations

import json
import re
from math import inf
from pathlib import Path
from typing import Any

import jwt
import msgspec
from jwt.utils import base64url_decode

from ..core.errors import Unauthenticated

AUDIENCE = "talus"
MIN_KEY_BYTES = 32
DAY_S = 24 * 60 * 60
MAX_DAYS = 90
MAX_USER = 255  # characters
MAX_TOKEN = 8_192  # characters; what an HTTP head can carry

# jwt decodes base64 leniently: what is no token by its characters must not come so far.
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class KeyFileError(Exception):
    """The key cannot be used; the message says why, and never shows it."""


class Identity(msgspec.Struct, frozen=True):
    """Who calls. Times are whole seconds since 1970.

    line: in which his jobs wait; one for each user, without tokens for each connection.
    """

    user: str
    admin: bool  # may do everything
    issued_s: int = 0
    expires_s: float = inf
    line: str = ""


def is_user(name: object) -> bool:
    """Whether this may name a user: 1-255 printable characters."""
    return isinstance(name, str) and 0 < len(name) <= MAX_USER and name.isprintable()


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_file(cls, path: Path) -> Tokens:
        """With the key in a file; white space around it does not count. Raises KeyFileError."""
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise KeyFileError(f"{path}: {error.strerror}") from None
        if len(key) < MIN_KEY_BYTES:
            raise KeyFileError(f"{path}: a key of at least {MIN_KEY_BYTES} bytes is expected")
        return cls(key)

    def issue(self, user: str, admin: bool, now_s: int, days: int) -> str:
        """A token of `user` for `days` days from now on."""
        claims: dict[str, Any] = {
            "sub": user,
            "aud": AUDIENCE,
            "iat": now_s,
            "exp": now_s + days * DAY_S,
        }
        if admin:
            claims["role"] = "admin"
        return jwt.encode(claims, self._key, algorithm="HS256")

    def read(self, token: object) -> Identity:
        """Whose token it is. Raises Unauthenticated, in the same words whatever is wrong with it."""
        if not isinstance(token, str) or len(token) > MAX_TOKEN or not _FORM.fullmatch(token):
            raise Unauthenticated()
        try:
            signed = jwt.decode_complete(
                token,
                self._key,
                algorithms=["HS256"],
                audience=AUDIENCE,
                options={"require": ["sub", "iat", "exp", "aud"], "strict_aud": True},
            )
            for part in token.split(".")[:2]:
                json.loads(base64url_decode(part), object_pairs_hook=_once)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Unauthenticated() from None
        identity = _identity(signed["header"], signed["payload"])
        if identity is None:
            raise Unauthenticated()
        return identity


def _once(members: list[tuple[str, Any]]) -> None:
    """jwt takes the last of two equal claims; a reader that takes the first would see another user."""
    if len(dict(members)) != len(members):
        raise ValueError("a claim stands twice")


def _identity(header: dict[str, Any], claims: dict[str, Any]) -> Identity | None:
    """Who it is, where all that jwt leaves open is as it has to be."""
    user, issued, expires, role = claims["sub"], claims["iat"], claims["exp"], claims.get("role")
    typed = header.get("typ", "JWT")
    if "crit" in header or not isinstance(typed, str) or typed.upper() != "JWT":
        return None
    # jwt reads "1700000000", 1.7e9 and True as times.
    if any(type(claims[name]) is not int for name in ("iat", "exp", "nbf") if name in claims):
        return None
    if not is_user(user) or role not in (None, "admin") or not 0 < expires - issued <= MAX_DAYS * DAY_S:
        return None
    return Identity(user, role == "admin", issued, expires, user)
