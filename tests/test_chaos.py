"""The fault campaign (scripts/chaos): its short form holds, and with a guard switched off it says so.

TALUS_SEED=7     the dice of another run; the seed is printed
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import faults

ROOT = Path(__file__).parent.parent
SEED = os.environ.get("TALUS_SEED", "20261125")
QUICK_S = 90.0  # that the short form may take: a promise of `make chaos-quick`
BROKEN_S = 60.0

pytestmark = pytest.mark.skipif(bool(faults.why_not()), reason=faults.why_not() or "")


def campaign(folder: Path, within_s: float, *words: str) -> subprocess.CompletedProcess[str]:
    """A short campaign, which keeps what it keeps in `folder`."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "chaos"), "--quick", "--seed", SEED, *words],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        pytest.fail(f"still running after {within_s} s:\n{said[-4000:]}")
    print(said)
    return subprocess.CompletedProcess(process.args, process.returncode, said)


def rules_broken(said: str) -> str:
    """The line that counts violations by rule."""
    return next(line for line in said.splitlines() if line.startswith("rules broken: "))


def test_a_quick_campaign_finds_nothing(tmp_path: Path) -> None:
    """Given clients of every kind, when all goes wrong that can, then each promise holds."""
    done = campaign(tmp_path, QUICK_S)

    assert done.returncode == 0
    assert rules_broken(done.stdout) == "rules broken: {}"


@pytest.mark.parametrize(
    "guard, fault, rule",
    [
        ("no-fsync", "power-cut", "lost"),
        ("emit-first", "before-commit", "phantom"),
        ("no-once", "cut", "twice"),
        ("drop-fact", "delay", "missing"),
    ],
)
def test_a_guard_that_is_switched_off_is_noticed(tmp_path: Path, guard: str, fault: str, rule: str) -> None:
    """Given a server that lacks one of its guards, when a campaign runs, then it names the broken rule."""
    done = campaign(tmp_path, BROKEN_S, "--seconds", "4", "--broken", guard, "--only", fault)

    assert done.returncode == 1
    assert f"'{rule}': " in rules_broken(done.stdout)
