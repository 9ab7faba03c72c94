"""Long work in slices."""

from __future__ import annotations

import gevent
import pytest

from talus.service import pace


def test_a_long_list_goes_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a long list that nobody needs, when it is let go, then others run before it is empty."""
    monkeypatch.setattr(pace.Pace, "slice_s", 0.0)
    items: list[object] = [object() for _ in range(10 * pace.LET_GO)]
    left: list[int] = []

    def look() -> None:
        while items:
            left.append(len(items))
            gevent.sleep(0)

    looking = gevent.spawn(look)
    pace.let_go(items)
    looking.join(timeout=5)
    assert items == []
    assert len(set(left)) > 5
