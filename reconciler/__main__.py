"""The program: the command `dispatcher`, and python -m reconciler."""

import gc
import sys

# Loading makes no garbage, and looking for some takes a seventh of the start. What is loaded stays, so that no later
# collection need look at it.
gc.disable()

from reconciler.cli import main  # noqa: E402

gc.freeze()
gc.enable()

if __name__ == "__main__":
    sys.exit(main())
