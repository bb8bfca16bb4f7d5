"""`python -m plt_nn` is `plt-nn`."""

import sys

from plt_nn.cli.main import main

if __name__ == "__main__":  # a spawned worker imports this module without running it
    sys.exit(main())
