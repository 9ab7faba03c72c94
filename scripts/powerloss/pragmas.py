"""Another `PRAGMA synchronous` for whatever talus opens in this process to write to."""

from __future__ import annotations

from typing import Any

import peewee


def synchronous(level: str) -> None:
    """From now on, `level` stands wherever a connection asks for one."""
    initialize = peewee.SqliteDatabase.__init__

    def relaxed(self: Any, database: Any, pragmas: Any = None, **options: Any) -> None:
        asked = dict(pragmas or {})
        if "synchronous" in asked:
            asked["synchronous"] = level
        initialize(self, database, pragmas=asked, **options)

    peewee.SqliteDatabase.__init__ = relaxed
