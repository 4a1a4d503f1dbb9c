"""The program: the command `dispatcher`, and python -m reconciler."""

import gc
import sys

# What loading makes is no garbage: looking for it takes a seventh of the start, and each later look would pass it.
gc.disable()

from reconciler.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    sys.exit(main())
