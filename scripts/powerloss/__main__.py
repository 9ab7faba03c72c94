"""Cut the power of a talus at work, at thousands of instants, and look for what it had promised.

    make powerloss, or .venv/bin/python scripts/powerloss [--seed N] [--states 2000] [--quick] [--keep]

A server is recorded at work, through starts, stops and a kill (record.py); the disk is
made again as it may be after a power cut at some instant (disk.py); and what the next
start finds there is held against what clients had heard until then (check.py). A second
recording with synchronous=NORMAL has to show losses, or the first one proves nothing.

The exit code is 0 when nothing was lost and nothing damaged. After a failure, and with
--keep, the recordings stay, and `--again FOLDER --seed N` looks at the same states again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

# Run as a folder, Python would look for modules inside it. The clients are those of the tests.
sys.path[:1] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from powerloss import check, cuts, record, report, trace
from powerloss.disk import NotModelled

MODULES = {"FULL": "talus", "NORMAL": "scripts.powerloss.relaxed"}
KINDS = {"FULL": cuts.KINDS, "NORMAL": cuts.WRITING}
STATES = {"FULL": 2000, "NORMAL": 500}
QUICK_STATES = {"FULL": 150, "NORMAL": 60}
COMMANDS = 500  # in each stretch of work, at least
QUICK_COMMANDS = 60
SHOWN = 10  # lines of what is wrong


def say(text: str) -> None:
    print(text, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="scripts/powerloss"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--states", type=int, help="to look at with FULL (default 2000)")
    parser.add_argument("--quick", action="store_true", help="short recordings and few states")
    parser.add_argument("--keep", action="store_true", help="leave the recordings")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="recordings that were left")
    return parser.parse_args()


def look(level: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """Record, unless it was, and judge: what is wrong."""
    seed = f"{options.seed} {level}"
    began_s = time.monotonic()
    if options.again is None:
        folder.mkdir()
        commands = QUICK_COMMANDS if options.quick else COMMANDS
        record.record(folder, MODULES[level], commands, random.Random(seed))
    recording = record.read(folder)
    recorded_s = time.monotonic()
    say(f"{level}, recorded in {recorded_s - began_s:.1f} s: {report.about(recording)}")
    count = (QUICK_STATES if options.quick else STATES)[level]
    if level == "FULL" and options.states:
        count = options.states
    chosen = cuts.choose(recording, KINDS[level], count, random.Random(f"{seed} cuts"))
    states = check.judge(recording, chosen, seed, folder / "states")
    first, *more = report.figures(states)
    say(f"{level}, in {time.monotonic() - recorded_s:.1f} s: {first}")
    for line in more:
        say(line)
    return report.wrong(level, states)


def main() -> int:
    options = arguments()
    if obstacle := trace.obstacle():
        say(f"powerloss: {obstacle}")
        return 1
    folder = options.again or Path(tempfile.mkdtemp(prefix="talus-powerloss-"))
    say(f"powerloss: seed {options.seed}, in {folder}")
    found: list[str] = []
    ended = False
    try:
        for level in MODULES:
            found += look(level, folder / level.lower(), options)
        ended = True
    except NotModelled as error:
        found.append(f"powerloss: the recording cannot be followed: {error}")
    finally:
        if ended and not (found or options.keep or options.again):
            shutil.rmtree(folder)
        for line in found[:SHOWN]:
            say(line)
    say(f"powerloss: failed; see {folder}" if found else "powerloss: nothing lost, nothing damaged")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
