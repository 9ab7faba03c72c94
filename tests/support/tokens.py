"""Servers that ask for tokens, and the tokens, good and bad, that tests show them.

Tokens are made here by hand, never by the code under test.
"""

from __future__ import annotations

import base64
import copy
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support.server import REPOSITORY, Server

KEY = b"a-key-that-only-these-tests-know-0123456789"
OTHER_KEY = b"another-key-of-the-same-length-as-theirs-0123"
DAY_S = 24 * 60 * 60
ABSENT = object()  # a claim that is left out

_BEGINNING = "eyJ"  # of every token: its header is a JSON object


def good_claims(lasts: int = 3600) -> dict[str, Any]:
    """What a good token of `ann` states, for so many seconds from now on."""
    now = int(time.time())
    return {"sub": "ann", "iat": now, "exp": now + lasts, "aud": "talus"}


def token(
    user: Any = "ann",
    *,
    admin: bool = False,
    key: bytes = KEY,
    lasts: int = 3600,
    header: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A good token for `lasts` seconds, but for the claims and header fields that are named."""
    stated = good_claims(lasts) | {"sub": user} | ({"role": "admin"} if admin else {}) | claims
    shown = {"typ": "JWT", "alg": "HS256"} | (header or {})
    return signed(json.dumps(_present(shown)), json.dumps(_present(stated)), key)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ABSENT}


def signed(header: str, payload: str, key: bytes = KEY, digest: str = "sha256") -> str:
    """A token of these very texts."""
    head = f"{encoded(header.encode())}.{encoded(payload.encode())}"
    return f"{head}.{encoded(hmac.new(key, head.encode(), digest).digest())}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bearer(shown: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {shown}"}


def auth(user: str, *, admin: bool = False) -> dict[str, str]:
    """What a Socket.IO client of this user says when it connects."""
    return {"token": token(user, admin=admin)}


def key_file(folder: Path, content: bytes = KEY) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    return path


def jwt_settings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a server that asks for tokens."""
    return {"TALUS_AUTH": "jwt", "TALUS_JWT_SECRET_FILE": str(key_file(folder)), **more}


@contextmanager
def guarded(folder: Path, **more: str) -> Iterator[Server]:
    """A running server that asks for tokens; in the end nothing secret may be in its log."""
    server = Server(folder, env=jwt_settings(folder, **more)).start()
    try:
        yield server
        if server.running:
            code = server.stop()
            assert code == 0, f"the server ended with {code}:\n{server.log()[-4000:]}"
    finally:
        server.kill()
    check_log(server.log())


def check_log(log: str) -> None:
    """A traceback in the log is a fault, and so is a token or the key."""
    assert "Traceback" not in log, log[:8000]
    assert KEY.decode() not in log
    assert _BEGINNING not in log, f"a token is in the log: {log[log.find(_BEGINNING) - 300 :][:600]}"


def as_user(server: Server, user: str, *, admin: bool = False) -> Server:
    """The server as this user meets it: each REST call carries his token."""
    return with_token(server, token(user, admin=admin))


def with_token(server: Server, shown: str) -> Server:
    met = copy.copy(server)
    met.http = requests.Session()
    met.http.trust_env = False
    met.http.headers.update(bearer(shown))
    met.http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    return met


def talus(*arguments: str, timeout: float = 20, **settings: str) -> subprocess.CompletedProcess[str]:
    """`talus` with these arguments, with no settings but these, until it ends by itself."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TALUS_")}
    return subprocess.run(
        [sys.executable, "-m", "talus", *arguments],
        cwd=REPOSITORY,
        env=env | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def why_no_start(folder: Path, **settings: str) -> str:
    """The one line with which `talus serve` ends when it cannot start."""
    ended = talus("serve", "--port", "0", "--database", str(folder / "talus.db"), **settings)
    assert ended.returncode not in (0, None), ended
    assert "listening" not in ended.stdout, ended
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert KEY.decode() not in ended.stderr + ended.stdout
    return lines[0]


# Bad tokens: a name, and how to make one now. What only a holder of the key could
# have made is refused as well: then the key makes tokens that talus never made.

GOOD_HEADER = '{"typ":"JWT","alg":"HS256"}'


def _claims(**claims: Any) -> Callable[[], Any]:
    return lambda: token(**claims)


def _header(**fields: Any) -> Callable[[], Any]:
    return lambda: token(header=fields)


def _payload(text: str) -> Callable[[], Any]:
    """A signed payload of this text, in which %s stands for what a good one states."""
    return lambda: signed(GOOD_HEADER, text.replace("%s", json.dumps(good_claims())[1:-1]))


def _algorithm(name: Any, digest: str = "sha256") -> Callable[[], Any]:
    """Rightly signed with the key, under the name of another algorithm."""
    return lambda: signed(json.dumps({"typ": "JWT", "alg": name}), json.dumps(good_claims()), digest=digest)


def _lasting(lasts: int, begins: int = 0) -> Callable[[], Any]:
    def make() -> str:
        now = int(time.time())
        return token(iat=now + begins, exp=now + begins + lasts)

    return make


def _time(name: str, change: Callable[[int], Any]) -> Callable[[], Any]:
    """A good token but for the type of one of its times."""
    return lambda: token(**{name: change(good_claims()[name])})


def _unsigned(name: str) -> Callable[[], Any]:
    return lambda: (
        signed(json.dumps({"typ": "JWT", "alg": name}), json.dumps(good_claims())).rpartition(".")[0] + "."
    )


def _loose_end() -> str:
    """The signature's last character carries four bits of it; here one of the two others is set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = token()
    return good[:-1] + alphabet[alphabet.index(good[-1]) + 1]


def _other_alphabet() -> str:
    """Rightly signed, and the signature written in the alphabet of plain base64."""
    number = 0
    while not {"-", "_"} & set(token(number=number).rpartition(".")[2]):
        number += 1
    head, _, signature = token(number=number).rpartition(".")
    return f"{head}.{signature.replace('-', '+').replace('_', '/')}"


def _own_jwk() -> str:
    """Signed with a key that comes along in the header."""
    jwk = {"kty": "oct", "alg": "HS256", "k": encoded(OTHER_KEY)}
    return token(key=OTHER_KEY, header={"jwk": jwk, "kid": "1", "jku": "http://127.0.0.1:9/keys"})


BAD_TEXTS: dict[str, Callable[[], Any]] = {
    "empty": lambda: "",
    "no token": lambda: "rubbish",
    "two parts": lambda: token().rpartition(".")[0],
    "four parts": lambda: token() + ".e30",
    "five parts": lambda: token() + ".e30.e30",
    "empty parts": lambda: "..",
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "another signature": lambda: token().rpartition(".")[0] + token("bob")[token("bob").rindex(".") :],
    "another payload": lambda: ".".join(
        [token().split(".")[0], token(admin=True).split(".")[1], token().split(".")[2]]
    ),
    "a wrong key": lambda: token(key=OTHER_KEY),
    "an empty key": lambda: token(key=b""),
    "a key of its own": _own_jwk,
    "alg none": _unsigned("none"),
    "alg None": _unsigned("None"),
    "alg none, signed": _algorithm("none"),
    "alg HS384": _algorithm("HS384", "sha384"),
    "alg HS512": _algorithm("HS512", "sha512"),
    "alg RS256": _algorithm("RS256"),
    "alg ES256": _algorithm("ES256"),
    "alg hs256": _algorithm("hs256"),
    "alg a list": _algorithm(["HS256"]),
    "alg a number": _algorithm(256),
    "alg null": _algorithm(None),
    "no alg": _header(alg=ABSENT),
    "the alg of another": _algorithm("HS256", "sha512"),
    "crit": _header(crit=["exp"]),
    "crit, empty": _header(crit=[]),
    "crit of an extension": _header(crit=["b64"], b64=True),
    "b64 false": _header(b64=False),
    "b64 false, crit": _header(crit=["b64"], b64=False),
    "typ other": _header(typ="at+jwt"),
    "typ JWE": _header(typ="JWE"),
    "typ a number": _header(typ=5),
    "typ a list": _header(typ=["JWT"]),
    "header a list": lambda: signed("[]", json.dumps(good_claims())),
    "header no JSON": lambda: signed("{", json.dumps(good_claims())),
    "header of bottomless nesting": lambda: signed("[" * 4000, "{}"),
    "payload a list": _payload("[]"),
    "payload a text": _payload('"ann"'),
    "payload null": _payload("null"),
    "payload no JSON": _payload("{%s"),
    "payload of bottomless nesting": lambda: signed(GOOD_HEADER, '{"sub":' + "[" * 4000),
    "no sub": _claims(user=ABSENT),
    "no iat": _claims(iat=ABSENT),
    "no exp": _claims(exp=ABSENT),
    "no aud": _claims(aud=ABSENT),
    "sub a number": _claims(user=5),
    "sub empty": _claims(user=""),
    "sub null": _claims(user=None),
    "sub a list": _claims(user=["ann"]),
    "sub an object": _claims(user={"name": "ann"}),
    "sub true": _claims(user=True),
    "sub half a character": _claims(user="ann\ud800"),
    "iat a text": _time("iat", str),
    "exp a text": _time("exp", str),
    "iat a fraction": _time("iat", float),
    "exp a fraction": _time("exp", float),
    "iat true": _claims(iat=True),
    "exp true": _claims(exp=True),
    "iat null": _claims(iat=None),
    "exp null": _claims(exp=None),
    "iat a list": _time("iat", lambda at: [at]),
    "exp a list": _time("exp", lambda at: [at]),
    "iat negative": _claims(iat=-1),
    "exp negative": _claims(exp=-1),
    "iat huge": _claims(iat=10**30),
    "exp huge": _claims(exp=10**30),
    "both huge": _claims(iat=10**30, exp=10**30 + 60),
    "exp of thousands of digits": _payload('{%s,"exp":' + "9" * 5000 + "}"),
    "exp infinite": _payload('{%s,"exp":1e999}'),
    "exp NaN": _payload('{%s,"exp":NaN}'),
    "91 days": _lasting(91 * DAY_S),
    "a second over 90 days": _lasting(90 * DAY_S + 1),
    "ends before it begins": _lasting(-60, begins=3600),
    "expired": _lasting(60, begins=-3600),
    "expires now": _lasting(60, begins=-60),
    "nbf to come": lambda: token(nbf=int(time.time()) + 600),
    "nbf a text": lambda: token(nbf=str(int(time.time()) - 60)),
    "aud other": _claims(aud="other"),
    "aud in capitals": _claims(aud="TALUS"),
    "aud empty": _claims(aud=""),
    "aud a list": _claims(aud=["talus"]),
    "aud a list of two": _claims(aud=["other", "talus"]),
    "aud null": _claims(aud=None),
    "role other": _claims(role="owner"),
    "role in capitals": _claims(role="Admin"),
    "role empty": _claims(role=""),
    "role a list": _claims(role=["admin"]),
    "role true": _claims(role=True),
    "role a number": _claims(role=1),
    "sub twice": _payload('{%s,"sub":"bob"}'),
    "role twice": _payload('{"role":"editor",%s,"role":"admin"}'),
    "exp twice": _payload('{"exp":1,%s}'),
    "a loose end": _loose_end,
    "plain base64": _other_alphabet,
    "padding": lambda: token() + "=",
    "a space inside": lambda: token().replace(".", " .", 1),
    "a tab inside": lambda: token().replace(".", "\t.", 1),
    "unicode": lambda: "ключ.ключ.ключ",
    "9 kB": lambda: ".".join(["eyJ" + "A" * 3000] * 3),
}

# What only a Socket.IO client can say: JSON, and white space at the ends.
BAD_VALUES: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "a number": lambda: 5,
    "true": lambda: True,
    "a list": lambda: [token()],
    "an object": lambda: {"token": token()},
    "a line": lambda: token() + "\n",
    "a space before": lambda: " " + token(),
    "half a character": lambda: token() + "\ud800",
    "900 kB": lambda: ".".join(["eyJ" + "A" * 300_000] * 3),
}
