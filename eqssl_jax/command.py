"""How a binary ends: one paragraph for a mistake of the user, a traceback for one of ours."""

import sys
import textwrap
from collections.abc import Callable

from absl import app, flags, logging

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; training resumes it.")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def start(main: Callable[[list[str]], None]) -> None:
    """`app.run`, with one paragraph instead of a traceback for a setting that does not exist."""

    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except (flags.Error, KeyError, AttributeError, TypeError, ValueError, OSError) as error:
            text = str(error.args[0] if error.args else error)
            if "Traceback" in text:  # an error in the config file: its last line says which
                text = text.strip().splitlines()[-1].strip().removeprefix("ValueError: ")
            if isinstance(error, KeyError | AttributeError):
                text = _unknown_setting(text, argv)
            _complain(text)
            if "--debug" in argv:
                raise
            raise SystemExit(2) from None

    app.run(main, flags_parser=parse)


def _unknown_setting(text: str, argv: list[str]) -> str:
    """ml_collections names only the last part of a key: find the flag that it came from.

    >>> _unknown_setting("'nme' Did you mean 'name'?", ["x", "--config.data.nme=a"])
    "The config has no setting for --config.data.nme=a. 'nme' Did you mean 'name'?"
    """
    text = " ".join(text.replace("\\n", " ").replace("\\'", "'").split())
    name = text.strip("\"'").split("'")[0].split()[0]
    flag = next((arg for arg in argv if arg.startswith("--config.") and name in arg), f"{name!r}")
    return f"The config has no setting for {flag}. {text}"


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
        _complain(str(error))
        if DEBUG.value:
            raise
        raise SystemExit(1) from None


def _complain(text: str) -> None:
    print("\n" + textwrap.fill(f"Error: {text}", width=100), file=sys.stderr)
