"""The web page: the built files of talus/page, as they lie in `static/`, from memory.

`/` and `/s/<session_id>` are the page itself, which then asks like any other client;
the rest are its parts. Files whose name holds the hash of their content may be kept
for ever, the page is asked for anew each time. Each text was compressed when it was
built; a client that takes that gets it, and one that has the file gets a 304.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..core.errors import NotFound

INDEX = "/index.html"
_SESSION = "/s/"
_HASHED = "/assets/"  # where the build puts what it names by content
_ENCODINGS = {"br": ".br", "gzip": ".gz"}  # the better one first

# No script, style or connection but the server's own, nothing inline, and in nobody's frame.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = [
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str
    lasting: bool
    encoded: dict[str, bytes]  # by content coding


class Page:
    """A WSGI application for the addresses that it `knows`."""

    def __init__(self, folder: Path) -> None:
        """folder: what the build made. Without an index.html in it the page's addresses are NOT_FOUND."""
        self._files = {
            "/" + path.relative_to(folder).as_posix(): _read(path, folder)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in _ENCODINGS.values()
        }

    def knows(self, path: str) -> bool:
        """Whether this address is the page's: anybody may ask for it, with or without a token."""
        return _file_of(path) in self._files or _file_of(path) == INDEX

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Raises NotFound where the page was not built."""
        file = self._files.get(_file_of(environ["PATH_INFO"]))
        if file is None:
            raise NotFound("The page is not built here: `make page` does that, or use the API under /api/v1")
        headers = [
            *_HEADERS,
            ("ETag", file.etag),
            ("Vary", "Accept-Encoding"),
            ("Cache-Control", "public, max-age=31536000, immutable" if file.lasting else "no-cache"),
        ]
        if environ.get("HTTP_IF_NONE_MATCH") == file.etag:
            start_response("304 Not Modified", headers)
            return []
        coding = next((each for each in file.encoded if _takes(environ, each)), None)
        content = file.content
        if coding is not None:
            content = file.encoded[coding]
            headers.append(("Content-Encoding", coding))
        headers += [("Content-Type", file.media_type), ("Content-Length", str(len(content)))]
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]


def _file_of(path: str) -> str:
    # An id that is malformed is the page's too, which then says so in words.
    is_session = path.startswith(_SESSION) and len(path) > len(_SESSION) and "/" not in path[len(_SESSION) :]
    return INDEX if path == "/" or is_session else path


def _read(path: Path, folder: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".js":
        media_type = "text/javascript"  # whatever the machine's own table says
    beside = {coding: path.with_name(path.name + suffix) for coding, suffix in _ENCODINGS.items()}
    return _File(
        content=content,
        media_type=f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type,
        etag=f'"{sha256(content).hexdigest()[:32]}"',
        lasting=("/" + path.relative_to(folder).as_posix()).startswith(_HASHED),
        encoded={coding: each.read_bytes() for coding, each in beside.items() if each.exists()},
    )


def _takes(environ: dict[str, Any], coding: str) -> bool:
    """Whether the client takes this content coding. Source: RFC 9110, section 12.5.3."""
    for each in environ.get("HTTP_ACCEPT_ENCODING", "").lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() == coding:
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
