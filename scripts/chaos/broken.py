"""`talus serve` with one of its guards switched off, so that a campaign can show that it would notice.

python -m scripts.chaos.broken GUARD FOLDER serve ...    watched as by tests/support/watched.py
"""

from __future__ import annotations

import sys
from typing import Any


def no_fsync() -> None:
    """An acknowledged commit is in the kernel, and not on the disk."""
    from talus.store.journal import Journal

    begin = Journal.__init__

    def patched(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self._sql.execute("PRAGMA synchronous = OFF")

    Journal.__init__ = patched  # type: ignore[method-assign]


def emit_first() -> None:
    """Rooms hear of commits before they are durable."""
    import gevent

    from talus.service.writer import Writer

    changes_of = Writer._changes

    def patched(self: Any, drafts: dict[int, Any]) -> list[Any]:
        changes = changes_of(self, drafts)
        for draft in drafts.values():
            if draft.announcements:
                self._publish(draft.session.id, draft.announcements)
                draft.announcements = []
        gevent.sleep(0.005)  # they leave
        return changes

    Writer._changes = patched  # type: ignore[method-assign]


def no_once() -> None:
    """A command that comes again is carried out again."""
    from talus.service.writer import Writer
    from talus.store.journal import Journal

    begin = Journal.__init__

    def patched(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        # Without this the index would refuse what the writer lets through.
        for (name,) in self._sql.execute(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'commits'"
            " AND sql LIKE 'CREATE UNIQUE%'"
        ).fetchall():
            self._sql.execute(f"DROP INDEX {name}")

    Journal.__init__ = patched  # type: ignore[method-assign]
    Writer._recorded = lambda self, batch: {}  # type: ignore[method-assign]


def drop_fact() -> None:
    """Now and then a fact is missing for one of those who listen."""
    from talus.web.outbox import Chunk, Outbox

    add = Outbox.add
    seen = 0

    def patched(self: Any, chunk: Any) -> bool:
        nonlocal seen
        facts = [at for at, text in enumerate(chunk.texts) if b'"property-changed"' in text]
        seen += bool(facts)
        if facts and seen % 100 == 0:
            chunk = Chunk([text for at, text in enumerate(chunk.texts) if at != facts[0]])
        return add(self, chunk)

    Outbox.add = patched  # type: ignore[method-assign]


GUARDS = {"no-fsync": no_fsync, "emit-first": emit_first, "no-once": no_once, "drop-fact": drop_fact}


def main() -> int:
    from tests.support import watched

    GUARDS[sys.argv.pop(1)]()
    return watched.main()


if __name__ == "__main__":
    # Before anything else is imported, as in talus/__main__.py.
    from gevent import monkey

    monkey.patch_all()
    sys.exit(main())
