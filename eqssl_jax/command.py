"""How a binary ends: one paragraph for a mistake of the user, a traceback for one of ours."""

import sys
import textwrap
from collections.abc import Callable

from absl import logging


def run_command(action: Callable[[], None], argv: list[str]) -> None:
    """Run a binary's action; known kinds of failure end it with one paragraph and exit status 1.

    Raises:
      SystemExit: with status 1 after ValueError (a setting), OSError (files, disks) or
        FloatingPointError (diverged), with status 2 for a stray argument.
    """
    if len(argv) > 1:
        print(f"Unexpected argument {argv[1]!r}: flags look like --config=FILE.", file=sys.stderr)
        raise SystemExit(2)
    logging.set_verbosity(logging.WARNING)  # jax and orbax report their own set-up at INFO
    try:
        action()
    except (ValueError, OSError, FloatingPointError) as error:
        if "--debug" in sys.argv:
            raise
        print("\n" + textwrap.fill(f"Error: {error}", width=100), file=sys.stderr)
        raise SystemExit(1) from None
