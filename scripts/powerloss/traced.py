"""A Python module run under strace: `python -m scripts.powerloss.traced TRACE MODULE [argument ...]`.

The program keeps this process's id, so that who started it can stop or kill it; strace
writes to the file TRACE, and ends after the program.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from powerloss.trace import STRACE

    trace, *words = sys.argv[1:]
    os.execvp(STRACE[0], [*STRACE, trace, sys.executable, "-m", *words])
