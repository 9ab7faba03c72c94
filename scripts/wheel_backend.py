"""What pip asks to build talus: setuptools, which is not asked before the web page is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the other hooks are setuptools' own

PAGE = Path(__file__).resolve().parent.parent / "talus" / "web" / "static" / "index.html"


def build_wheel(*arguments: Any, **named: Any) -> str:
    """As setuptools, but no wheel leaves without the page: whoever installs it could not make one."""
    if not PAGE.exists():
        raise SystemExit("the web page is not built, and a wheel carries it: run `make page` first")
    name: str = build_meta.build_wheel(*arguments, **named)
    return name
