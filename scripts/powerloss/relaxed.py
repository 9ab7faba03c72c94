"""talus as it must not be, with `synchronous=NORMAL`: `python -m scripts.powerloss.relaxed serve ...`."""

from gevent import monkey

monkey.patch_all()

import sys

from talus import cli

from .pragmas import synchronous

if __name__ == "__main__":
    synchronous("normal")
    sys.exit(cli.main())
