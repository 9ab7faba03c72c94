"""Let go wrong all that can, under load, and check what every client saw: `make chaos`, or

    .venv/bin/python scripts/chaos [--seed 7] [--seconds 60] [--quick] [--only kill,cut] [--keep]

Clients of four kinds command and listen through a network that is cut, while the
server is killed, stopped, and given a disk that fails. What each of them saw is
written down and checked against the contract (checker.py). The seed is printed;
a run that fails keeps its folder, which `--check FOLDER` checks again. Exit code 0:
all is as promised.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

# The python-socketio client runs a thread for each event, in any order; gevent's keep theirs.
if sys.argv[1:3] == ["--role", "client"]:
    from gevent import monkey

    monkey.patch_all()

# Run as a folder, Python would look for modules inside it.
SCRIPTS = Path(__file__).resolve().parents[1]
sys.path[0] = str(SCRIPTS)
sys.path.insert(1, str(SCRIPTS.parent))

from chaos import campaign, clients, proxy
from chaos.broken import GUARDS
from chaos.nemesis import KINDS

SECONDS, QUICK_SECONDS = 410.0, 40.0
RATE = 150.0
SHOWN, WIDTH = 4, 1_000  # violations of one kind, and characters of one


def names(text: str) -> list[str]:
    return text.split(",")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="scripts/chaos"
    )
    parser.add_argument("--seed", type=int, help="the dice of another run; by default new ones, printed")
    parser.add_argument("--seconds", type=float, help=f"of faults (default {SECONDS:.0f})")
    parser.add_argument(
        "--quick", action="store_true", help=f"short faults, one of each kind (default {QUICK_SECONDS:.0f} s)"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="commands a second (default %(default).0f)")
    parser.add_argument("--keep", action="store_true", help="keep the folder though all was well")
    parser.add_argument("--only", type=names, default=[], metavar="KINDS", help="these faults, with commas")
    parser.add_argument(
        "--broken", choices=GUARDS, metavar="GUARD", help=f"switch a guard off: {', '.join(GUARDS)}"
    )
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="check the records of an earlier run")
    options = parser.parse_args()
    for kind in options.only:
        if kind not in KINDS:
            parser.error(f"{kind}: one of {', '.join(KINDS)} is expected")
    return options


def conclude(folder: Path, wrong: list[str], least_ok: float) -> int:
    """Print what was found; the exit code."""
    began_s = time.monotonic()
    violations, figures = campaign.verdict(folder, least_ok)
    for key, value in figures.items():
        print(f"{key}: {value}")
    print(f"checked in {time.monotonic() - began_s:.1f} s")
    show(violations + wrong)
    return 1 if wrong + violations else 0


def show(wrong: list[str]) -> None:
    shown: Counter[str] = Counter()
    for each in wrong:
        shown[each.split()[0]] += 1  # the rule, or the client
        if shown[each.split()[0]] <= SHOWN:
            print(f"VIOLATION {each[:WIDTH]}")
    if len(wrong) > (told := sum(min(count, SHOWN) for count in shown.values())):
        print(f"... and {len(wrong) - told} more")


def main() -> int:
    if sys.argv[1:2] == ["--role"]:
        _, _, role, words = sys.argv
        {"client": clients.take_part, "proxy": proxy.serve}[role](*json.loads(words))
        return 0
    options = arguments()
    if options.check:
        return conclude(options.check, [], 0)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="talus-chaos-"))
    plan = campaign.Plan(
        seed=seed,
        seconds=options.seconds or (QUICK_SECONDS if options.quick else SECONDS),
        rate=options.rate,
        quick=options.quick,
        only=options.only,
        guard=options.broken,
        program=[sys.executable, str(SCRIPTS / "chaos"), "--role"],
    )
    wrong: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended then, too
    try:
        campaign.run(plan, folder, wrong)
    except Exception as error:
        traceback.print_exc()
        wrong.append(f"the campaign broke off: {error!r}")
    code = conclude(folder, wrong, campaign.LEAST * plan.rate * plan.seconds)
    if code or options.keep:
        print(f"seed {seed}; all that was seen is in {folder}")
    else:
        shutil.rmtree(folder)
    return code


sys.exit(main())
