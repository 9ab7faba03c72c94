"""Every setting: its unit, its default and its reason. Source: docs/protocol.md, "Settings".

A setting is an environment variable (`TALUS_PORT`) and a flag of `talus serve`
(`--port`), which wins. A new one is a field below; nothing else needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

JWT_COMMAND_RATE = 100


class SettingError(Exception):
    """A setting that cannot be used; the message names it."""


def _text(text: str) -> str:
    return text


def _names(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _lower_names(text: str) -> frozenset[str]:
    return frozenset(name.lower() for name in _names(text))


def _flag(text: str) -> bool:
    if text.lower() not in ("", "0", "1", "false", "true", "no", "yes"):
        raise ValueError("1 or 0 is expected")
    return text.lower() in ("1", "true", "yes")


def _between(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= number <= most:
            raise ValueError(f"an integer from {least} to {most} is expected")
        return number

    return parse


def _folder(text: str) -> Path | None:
    if not text:
        return None
    folder = Path(text)
    if not folder.is_dir():
        raise ValueError("there is no such folder")
    return folder


def _file(text: str) -> Path | None:
    return Path(text) if text else None


def _auth(text: str) -> str:
    # Refusing what it does not know keeps a misspelt `jwt` from opening the server to everybody.
    if text not in ("none", "jwt"):
        raise ValueError("none or jwt is expected")
    return text


def _setting(default: Any, parse: Callable[[str], Any], help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True)
class Settings:
    """What `talus serve` may be told."""

    host: str = _setting("localhost", _text, "address to listen on; localhost: 127.0.0.1 and ::1")
    port: int = _setting(5000, _between(0, 65535), "port to listen on; 0: any free one")
    database: Path = _setting(Path("data/talus.db"), Path, "the SQLite file that holds everything")
    network_disk: bool = _setting(
        False, _flag, "1: keep the database on a network share, where it may be lost"
    )
    snapshot_s: int = _setting(
        300,
        _between(0, 10_000_000),
        "seconds between two copies of the database in snapshots/ beside it, if it changed; 0: none",
    )
    templates: Path | None = _setting(
        None, _folder, "folder of your own templates, besides those that come along"
    )
    auth: str = _setting("none", _auth, "none: everybody may do everything; jwt: tokens say who is who")
    jwt_secret_file: Path | None = _setting(
        None, _file, "file with the key of the tokens, 32 bytes or more; white space around it does not count"
    )
    insecure_lan: bool = _setting(False, _flag, "1: listen beyond this machine without tokens")
    allowed_hosts: frozenset[str] = _setting(
        frozenset(), _lower_names, "further host names that clients may use, by commas"
    )
    cors_origins: frozenset[str] = _setting(
        frozenset(), _names, "origins whose pages may use the server from elsewhere, by commas"
    )
    tls_cert: Path | None = _setting(None, _file, "certificate chain (PEM); with its key: https and wss")
    tls_key: Path | None = _setting(None, _file, "private key of the certificate (PEM)")
    rate_commands: int | None = _setting(
        None,
        _between(0, 1_000_000),
        "commands a second for each client, twice that at once; 0: no limit; default 0, with jwt 100",
    )
    max_clients: int = _setting(5_000, _between(1, 1_000_000), "connections at most")
    outbox_bytes: int = _setting(
        8 * 1024 * 1024,
        _between(64 * 1024, 2**40),
        "bytes held unsent for one client; past that it is fed from the journal",
    )
    replay_limit: int = _setting(
        10_000,
        _between(0, 2**53),
        "versions replayed to a client that comes back; past that it fetches the graph",
    )

    @property
    def command_rate(self) -> int:
        """Commands a second for each client; 0: no limit."""
        if self.rate_commands is not None:
            return self.rate_commands
        return JWT_COMMAND_RATE if self.auth == "jwt" else 0


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "TALUS_" + name.upper()


def read(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """Settings from flags, else from the environment. Raises SettingError."""
    values: dict[str, Any] = {}
    for each in fields(Settings):
        given = flags.get(each.name)
        named = f"--{each.name.replace('_', '-')}"
        if given is None:
            given = environ.get(variable(each.name))
            named = variable(each.name)
        if given is None:
            continue
        try:
            values[each.name] = each.metadata["parse"](given)
        except ValueError as error:
            raise SettingError(f"{named}={given}: {error}") from None
    settings = Settings(**values)
    if settings.auth == "jwt" and settings.jwt_secret_file is None:
        raise SettingError("TALUS_AUTH=jwt: TALUS_JWT_SECRET_FILE has to name the file with the key")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingError("TALUS_TLS_CERT and TALUS_TLS_KEY: both, or neither")
    return settings
