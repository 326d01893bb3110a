"""Settings on the command line, --config.GROUP.NAME=VALUE, and what is wrong with one.

ml_collections sets what a config file has, by the type it has there. Entries of free groups, such
as --config.recipe.options.flip=0.5, need not be in the file: they are taken out first and set here.
"""

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from eqssl_jax.config import SCHEMA
from eqssl_jax.settings import Free, Setting, accept, find, shown

_FLAG = "--config."


class Override(NamedTuple):
    """A setting's names from the top down, and the text that was given for it."""

    path: tuple[str, ...]
    text: str


def overrides(argv: Sequence[str]) -> list[Override]:
    """Those of the arguments that have the form --config.NAME=VALUE.

    >>> overrides(["main", "--config=a.py", "--config.data.size=8"])
    [Override(path=('data', 'size'), text='8')]
    """
    flags = [arg.removeprefix(_FLAG).partition("=") for arg in argv if arg.startswith(_FLAG)]
    return [Override(tuple(name.split(".")), text) for name, equals, text in flags if equals]


def is_entry(argument: str) -> bool:
    """Whether an argument sets an entry of a free group, or something in such an entry.

    >>> is_entry("--config.recipe.options.flip=0.5"), is_entry("--config.data.size=8")
    (True, False)
    """
    for path, _ in overrides([argument]):
        if all(path):
            try:
                above = [find(SCHEMA, path[:depth]) for depth in range(1, len(path))]
            except ValueError:
                return False
            return any(isinstance(group, Free) for group in above)
    return False


def add(config: ConfigDict, entries: Sequence[Override]) -> None:
    """Set entries of free groups in a config, whether its file has them or not.

    Raises:
      ValueError: for an entry below what is no group.
    """
    for path, text in entries:
        group: Any = config
        for depth, name in enumerate(path[:-1], 1):
            if name not in group:
                with group.unlocked():
                    group[name] = ConfigDict()
            group = group[name]
            if not isinstance(group, ConfigDict):
                raise ValueError(
                    f"config.{'.'.join(path[:depth])} is {shown(group)}, which has no settings "
                    f"below it, such as {shown(path[depth])}."
                )
        with group.unlocked():
            if path[-1] in group:  # of its type, to which True would become 1.0
                del group[path[-1]]
            group[path[-1]] = value_of(text)


def value_of(text: str) -> Any:
    """A number, a list or a truth value where the text is one, else the text itself.

    >>> value_of("(0.2, 1)"), value_of("off"), value_of("true")
    ((0.2, 1), 'off', True)
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


def no_list(argv: Sequence[str]) -> str | None:
    """What is wrong with the first list in `argv` that is given as a set, a mapping or bytes.

    ml_collections would make a tuple of any of them: the letters of bytes, the keys of a mapping.
    """
    for path, text in overrides(argv):
        try:
            entry = find(SCHEMA, path)
        except ValueError:
            continue  # said by whatever looks it up
        if isinstance(entry, Setting) and isinstance(entry.default, tuple):
            value = value_of(text)
            if isinstance(value, set | dict | bytes):
                return f"config.{'.'.join(path)} is {shown(value)}; it must be {entry.allowed}."
    return None


def mistake(argv: Sequence[str]) -> str | None:
    """What is wrong with the first of the settings in `argv` that does not exist or fit."""
    for path, text in overrides(argv):
        name = f"config.{'.'.join(path)}"
        try:
            entry = find(SCHEMA, path)
            if isinstance(entry, Setting):
                textual = isinstance(entry.default, str)
                accept(name, text if textual else value_of(text), entry)
            elif entry is not None and not isinstance(value_of(text), dict):
                raise ValueError(
                    f"{name} is {shown(text)}; it is a group: give its settings one by one, as "
                    f"--{name}.NAME=VALUE."
                )
        except ValueError as error:
            return str(error)
    return None


def parse_options(pairs: list[str], flag: str = "--option") -> dict[str, Any]:
    """["augmentations=5"] as {"augmentations": 5}; values as `value_of` reads them.

    Raises:
      ValueError: for an entry without "=".
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"{flag} takes NAME=VALUE, found {pair!r}.")
        options[name] = value_of(text)
    return options
