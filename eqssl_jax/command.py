"""How a binary ends: one paragraph for a mistake of the user, a traceback for one of ours."""

import functools
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from eqssl_jax.config import ADDITIONS, DATASETS, VALUES

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; training resumes it.")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


@functools.cache
def planned() -> tuple[Any, Any]:
    """The flags --config and --dry_run, of every binary that asks for them; defined once."""
    return (
        config_flags.DEFINE_config_file(
            "config",
            None,
            "The config file, e.g. configs/care.py:cifar10. After a colon, configs of papers take "
            f"a data set ({', '.join(DATASETS)}), and after commas any of {', '.join(ADDITIONS)} "
            f"and one source of values ({', '.join(VALUES)}).",
        ),
        flags.DEFINE_bool("dry_run", False, "Print what would be done and stop."),
    )


def run_config(
    argv: list[str], run: Callable[[Any, str], None], plan: Callable[[Any], None]
) -> None:
    """`run(config, workdir)`, or `plan(config)` with --dry_run, as `run_command`.

    Raises:
      app.UsageError: without --config, or without a --workdir to run in.
    """
    config, dry_run = planned()
    if config.value is None:
        raise app.UsageError("--config is needed, e.g. --config=configs/quickstart.py")
    if WORKDIR.value is None and not dry_run.value:
        raise app.UsageError("--workdir is needed: the folder that will hold the run.")

    def action() -> None:
        if dry_run.value:
            plan(config.value)
        else:
            run(config.value, WORKDIR.value or "")

    run_command(action, argv)


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
    "The config has no setting for --config.data.nme=a. 'nme': did you mean 'name'?"
    >>> _unknown_setting("'flip'", ["x", "--config.roles.flip=ordered"])[-39:]
    'this config: --dry_run lists its parts.'
    """
    text = " ".join(text.replace("\\n", " ").replace("\\'", "'").split()).strip("\"'")
    name = text.split("'")[0].split()[0]
    flag = next((arg for arg in argv if arg.startswith("--config.") and name in arg), f"{name!r}")
    known = text.replace(" Did you mean", ": did you mean").strip()
    hint = f" '{known}" if "did you mean" in known else ""
    if flag.startswith(("--config.roles.", "--config.role_weights.", "--config.sharing.")):
        hint += (
            f" There is no part {name!r} in the recipe of this config: --dry_run lists its parts."
        )
    if flag.startswith("--config.objectives."):
        hint += (
            " A command line changes the objectives that the config file holds: those of its "
            "method and of the roles. For another method take its own config, e.g. "
            "configs/byol.py, or write the entry into a config file: config.objectives.byol = "
            "ConfigDict(methods.entry('byol', weight=1.0))."
        )
    return f"The config has no setting for {flag}.{hint}"


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
