"""`python -m meshctl`."""

import sys

from meshctl.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
