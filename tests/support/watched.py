"""`talus serve` with a look at its hub: `python -m tests.support.watched FOLDER serve ...`.

Each time that the hub served nobody for 5 ms or more is a line of FOLDER/gaps:
seconds on the monotonic clock, the gap in seconds, and how much of it the
process stood in the scheduler's queue because other programs had the CPU, and
how much it had the CPU itself.
When FOLDER/count appears, the greenlets are counted into FOLDER/counted.
"""

from gevent import monkey

monkey.patch_all()

import gc
import os
import sys
from pathlib import Path

import gevent
from greenlet import greenlet

from talus import cli
from tests.support.hub import naps

WORTH_TELLING_S = 0.005
LOOK_EVERY = 50  # naps


def main() -> int:
    folder = Path(sys.argv[1])
    gevent.spawn(_watch, folder)
    return cli.main(sys.argv[2:])


def _watch(folder: Path) -> None:
    gaps = os.open(folder / "gaps", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count = folder / "count"
    for nap, (now, gap_s, queued_s, worked_s) in enumerate(naps()):
        if gap_s >= WORTH_TELLING_S:
            os.write(gaps, b"%.6f %.6f %.6f %.6f\n" % (now, gap_s, queued_s, worked_s))
        if nap % LOOK_EVERY == 0 and count.exists():
            count.unlink()  # first: who asks again is answered again
            _count(folder)


def _count(folder: Path) -> None:
    gc.collect()
    alive = [each for each in gc.get_objects() if isinstance(each, greenlet) and not each.dead]
    draft = folder / "counted.tmp"
    draft.write_text(str(len(alive)))
    draft.rename(folder / "counted")


if __name__ == "__main__":
    sys.exit(main())
