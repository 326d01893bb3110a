"""How a binary ends: one paragraph for a mistake of the user, a traceback for one of ours."""

import functools
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from eqssl_jax import overrides, shipped, storage
from eqssl_jax.compiled import keep_programs
from eqssl_jax.config import ADDITIONS, DATASETS, VALUES, checked
from eqssl_jax.names import user_path
from eqssl_jax.settings import TOO_DEEP

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; training resumes it.")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def workdir() -> str:
    """The folder of --workdir as `folder` reads it; "" without the flag."""
    return "" if WORKDIR.value is None else str(folder("--workdir", WORKDIR.value, bucket=True))


def folder(flag: str, given: str, *, bucket: bool = False) -> Path:
    """The folder that a flag names, with ~ for the user's own; if `bucket`, of runs, also in one.

    Raises:
      ValueError: if the flag is empty, an address (if `bucket`, one where no run can lie), or names
        the folder of an unknown user.
      OSError: as `storage.path`.
    """
    if not given.strip():
        raise ValueError(
            f"{flag} is {given!r}: name a folder, e.g. {flag}=runs/care ({flag}=. is the current "
            f"folder)."
        )
    if bucket:
        storage.check_run(given)
    return storage.path(given) if bucket else user_path(given)


@functools.cache
def planned() -> tuple[Any, Any]:
    """The flags --config and --dry_run, of every binary that asks for them; defined once."""
    defined = (
        config_flags.DEFINE_config_file(
            "config",
            None,
            "A config of the package, e.g. care:cifar10, or the path of a file of your own, e.g. "
            "my_configs/mine.py:cifar10. After a colon, configs of papers take "
            f"a data set ({', '.join(DATASETS)}), and after commas any of {', '.join(ADDITIONS)} "
            f"and one source of values ({', '.join(VALUES)}).",
        ),
        flags.DEFINE_bool("dry_run", False, "Print what would be done and stop."),
    )
    # ml_collections reads paths alone: short names become paths before it looks.
    parser = flags.FLAGS["config"].parser
    read = parser.parse
    vars(parser)["parse"] = lambda name: read(shipped.config_file(name))
    return defined


@functools.cache
def image_flags() -> dict[str, Any]:
    """The flags of every binary that encodes images, by their names; defined once."""
    return {
        "data": flags.DEFINE_string(
            "data", "", "A folder, .zip or .npz of images, or a data set's name."
        ),
        "directory": flags.DEFINE_string("directory", "", "Where a data set that is named lies."),
        "size": flags.DEFINE_integer(
            "size", 0, "Bring images to size x size; 0: as the encoder needs.", lower_bound=0
        ),
    }


def overridden() -> list[str]:
    """The settings of the config that flags have changed, by their dotted names."""
    return list(config_flags.get_override_values(flags.FLAGS["config"]))


def run_config(
    argv: list[str], run: Callable[[Any, str], None], plan: Callable[[Any], None]
) -> None:
    """`run(config, workdir)`, or `plan(config)` with --dry_run, of a checked config.

    It ends as `run_command` does.

    Raises:
      app.UsageError: without --config, or without a --workdir to run in.
    """
    config, dry_run = planned()
    if config.value is None:
        raise app.UsageError("--config is needed, e.g. --config=quickstart")
    if WORKDIR.value is None and not dry_run.value:
        raise app.UsageError("--workdir is needed: the folder that will hold the run.")

    def action() -> None:
        place, settings = workdir(), checked(config.value)
        if dry_run.value:
            plan(settings)
        else:
            run(settings, place)

    run_command(action, argv)


def start(main: Callable[[list[str]], None]) -> None:
    """`app.run`, with one paragraph instead of a traceback for what flags or the config have wrong.

    Raises:
      SystemExit: with status 2 for a flag, a setting or a config file that cannot be used.
    """

    def parse(argv: list[str]) -> list[str]:
        try:
            return parsed(argv)
        except (ValueError, flags.Error) as error:
            _complain(str(error))
            if "--debug" in argv:
                raise
            raise SystemExit(2) from None

    app.run(main, flags_parser=parse)


def parsed(argv: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parse flags, and the settings of a config among them; what is left of `argv`.

    Raises:
      ValueError: for a setting or a config file that cannot be used.
      flags.Error: for another flag.
    """
    entries = [argument for argument in argv if overrides.is_entry(argument)]
    argv = [argument for argument in argv if argument not in entries]
    if wrong := overrides.no_list(argv):
        raise ValueError(wrong)
    given, sys.argv = sys.argv, argv  # where ml_collections looks for settings
    try:
        left = values(argv)
    except Exception as error:  # whatever the code of a config file raises
        raise ValueError(overrides.mistake(argv) or _reason(error, argv)) from error
    finally:
        sys.argv = given
    if "config" in values and values["config"].present:
        config = values["config"].value
        if not isinstance(config, ConfigDict):  # ml_collections keeps an error of reading it
            raise ValueError(_unread(argv))
        overrides.add(config, overrides.overrides(entries))
    return left


def _unread(argv: list[str]) -> str:
    name = next((arg for arg in argv if arg.startswith("--config=")), "--config")
    path = Path(name.removeprefix("--config=").partition(":")[0])
    if not path.is_file():
        return f"{name}: there is no config file {str(path)!r} here; {shipped.advice(path)}."
    return f"{name}: the file gives no config; its get_config() must return a ConfigDict."


# What ml_collections raises where code of a config file sets a value of another type.
_CAST = re.compile(
    r"Could not override field '(?P<field>.+?)' \(reference\)\. (?P<value>.*) is of original type "
    r"<class '(?P<type>.+?)'> and cannot be casted to type <class '(?P<wanted>.+?)'>",
    re.DOTALL,
)


def _reason(error: Exception, argv: list[str]) -> str:
    """One line for an error while flags were read, naming the config file if its code raised it."""
    text = str(error.args[0] if error.args else error)
    name = next((arg for arg in argv if arg.startswith("--config=")), "--config")
    if "FrozenConfigDict is immutable" in text:
        return _unread(argv)
    if isinstance(error, RecursionError) or "RecursionError: " in text:
        return f"{name} cannot be read: it {TOO_DEEP}; or its code calls itself without end."
    if cast := _CAST.search(text):
        return (
            f"{name} sets {cast['field']!r} to {textwrap.shorten(cast['value'], 80)}, of type "
            f"{cast['type']}, where a value of type {cast['wanted'].split('.')[-1]} must be."
        )
    if isinstance(error, flags.Error) and "Traceback" not in text:
        return text
    if "Traceback" in text:  # ml_collections hands on the whole of it
        text = text.strip().splitlines()[-1].strip().removeprefix("ValueError: ")
    else:
        text = f"{type(error).__name__}: {error}"
    if "get_config() takes 0" in text:
        return f"{name}: this config has no variants: leave out the colon and what follows it."
    if isinstance(error, KeyError | AttributeError):
        missing = text.split("'")[1] if "'" in text else text
        for path, value in overrides.overrides(argv):
            if missing in path:
                return f"{name} has no {missing!r}, for --config.{'.'.join(path)}={value}."
    return f"{name} cannot be read: {text} (--debug shows where)."


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
    keep_programs()
    try:
        action()
    except (ValueError, OSError, FloatingPointError) as error:
        _complain(str(error))
        if DEBUG.value:
            raise
        raise SystemExit(1) from None


def _complain(text: str) -> None:
    """One paragraph, without what would steer the terminal: an escape in a name is spelled."""
    text = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
    print("\n" + textwrap.fill(f"Error: {text}", width=100), file=sys.stderr)
