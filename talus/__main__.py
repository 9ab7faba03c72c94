"""`python -m talus`: the standard library is made cooperative before anything else is imported."""

from gevent import monkey

monkey.patch_all()

import sys

from talus import cli


def main() -> int:
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
