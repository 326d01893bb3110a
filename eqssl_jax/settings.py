"""What a setting may be: its default, what it means and its range, stated once and checked once.

A schema is a nested mapping of names to settings, to groups (mappings again) and to `free` groups,
whose keys the user chooses. `defaults` makes plain values of it, and `check` refuses whatever does
not fit with one paragraph: the setting, the value that was found, and what is allowed.

>>> rate, sizes = number(0.1, "of learning", above=0), wholes((8,), "of layers", low=1)
>>> schema = {"rate": rate, "sizes": sizes}
>>> defaults(schema)
{'rate': 0.1, 'sizes': (8,)}
>>> check({"rate": 1, "sizes": [4, 2]}, schema)
{'rate': 1.0, 'sizes': (4, 2)}
>>> check({"rate": float("nan"), "sizes": (8,)}, schema)
Traceback (most recent call last):
    ...
ValueError: config.rate is nan; it must be a finite float32 number above 0, e.g. 0.1.
"""

import difflib
import itertools
import numbers as kinds
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

LARGEST = 2**31 - 1  # whole numbers become int32 in compiled programs
SMALLEST, GREATEST = 1.18e-38, 3.4e38  # of the normal float32 numbers above 0
_SHOWN = 80  # characters of a value that a message repeats

Schema = Mapping[str, Any]  # of Setting, Free and Schema


class Setting(NamedTuple):
    """One leaf of a schema.

    Attributes:
      default: its value where the user gives none.
      doc: what it means, in a few words.
      allowed: the values it may have, in words that follow "it must be".
      wrong: `wrong(value)` says what is allowed if `value` is not, and is None if it is.
      convert: `convert(value)` is an allowed value in its own type (1 as 1.0, a list as a tuple).
    """

    default: Any
    doc: str
    allowed: str
    wrong: Callable[[Any], str | None]
    convert: Callable[[Any], Any]


class Free(NamedTuple):
    """A group whose keys the user chooses; each value fits `each`, any plain value if None."""

    doc: str
    each: Setting | Schema | None = None


def number(
    default: float | None,
    doc: str,
    *,
    low: float = -inf,
    high: float = inf,
    above: float | None = None,
    below: float | None = None,
    zero: str = "",
) -> Setting:
    """A float32 number in [low, high]; `above` and `below` are bounds that are not allowed.

    `zero` says what 0 means where it is allowed beside that range.
    """

    def fits(value: Any) -> bool:
        if not _is_number(value):
            return False
        inside = low <= value <= high
        inside &= (above is None or value > above) and (below is None or value < below)
        return inside or (bool(zero) and value == 0)

    allowed = f"a finite float32 number{_bounds(low, high, above, below)}" + (
        zero and f", or 0: {zero}"
    )
    return _setting(default, doc, allowed, fits, float)


def whole(
    default: int | None, doc: str, *, low: int = 0, high: int = LARGEST, zero: str = ""
) -> Setting:
    """A whole number in [low, high]; `zero` says what 0 means where it is allowed beside them."""

    def fits(value: Any) -> bool:
        return _is_whole(value) and (low <= value <= high or (bool(zero) and value == 0))

    allowed = f"a whole number from {low:,} to {high:,}" + (zero and f", or 0: {zero}")
    return _setting(default, doc, allowed, fits, int)


def choice(default: str | None, doc: str, options: Collection[str]) -> Setting:
    """One of a few words."""

    def fits(value: Any) -> bool:
        return isinstance(value, str) and value in options

    return _setting(default, doc, f"one of {', '.join(map(repr, options))}", fits, str)


def flag(default: bool | None, doc: str) -> Setting:
    """True or False, and no number in place of them."""
    return _setting(default, doc, "True or False", lambda value: isinstance(value, bool), bool)


def text(default: str | None, doc: str, *, longest: int = 4096, empty: bool = True) -> Setting:
    """Words of the user's, such as a path: printable characters on one line."""

    def fits(value: Any) -> bool:
        return _is_text(value, longest) and (empty or bool(value))

    allowed = f"a text of {'at most' if empty else '1 to'} {longest:,} printable characters"
    return _setting(default, doc, allowed, fits, str)


def numbers(
    default: Sequence[float] | None,
    doc: str,
    *,
    low: float = -inf,
    high: float = inf,
    above: float | None = None,
    least: int = 0,
    most: int = 64,
    ordered: bool = False,
) -> Setting:
    """From `least` to `most` finite numbers in a range; `ordered`: none below the one before."""
    item = number(0, "", low=low, high=high, above=above)
    return _several(default, doc, item, "numbers", least, most, ordered)


def wholes(
    default: Sequence[int] | None,
    doc: str,
    *,
    low: int = 0,
    high: int = LARGEST,
    least: int = 0,
    most: int = 64,
    ordered: bool = False,
) -> Setting:
    """From `least` to `most` whole numbers in a range; `ordered`: none below the one before."""
    item = whole(0, "", low=low, high=high)
    return _several(default, doc, item, "whole numbers", least, most, ordered)


def names(
    default: Sequence[str] | None,
    doc: str,
    options: Collection[str] = (),
    *,
    least: int = 0,
    most: int = 64,
) -> Setting:
    """Several different words, from `options` if any are given."""
    item = choice("", "", options) if options else text("", "", longest=200, empty=False)
    return _several(default, doc, item, "different names", least, most, False, repeated=False)


def either(first: Setting, second: Setting) -> Setting:
    """What one of two settings allows; default and meaning are those of the first."""

    def fits(value: Any) -> bool:
        return first.wrong(value) is None or second.wrong(value) is None

    def convert(value: Any) -> Any:
        return (second if first.wrong(value) else first).convert(value)

    allowed = f"{first.allowed}, or {second.allowed}"
    return _setting(first.default, first.doc, allowed, fits, convert)


def also(setting: Setting, value: Any, meaning: str) -> Setting:
    """The same setting, where one more value is allowed, such as None or a word."""

    def same(other: Any) -> bool:
        return type(other) is type(value) and other == value

    def fits(other: Any) -> bool:
        return same(other) or setting.wrong(other) is None

    def convert(other: Any) -> Any:
        return value if same(other) else setting.convert(other)

    allowed = f"{setting.allowed}, or {shown(value)}: {meaning}"
    return _setting(setting.default, setting.doc, allowed, fits, convert)


def where(setting: Setting, fits: Callable[[Any], bool], allowed: str) -> Setting:
    """The same setting with one more condition, which is asked only of what fits otherwise."""
    return _setting(
        setting.default,
        setting.doc,
        allowed,
        lambda value: setting.wrong(value) is None and fits(value),
        setting.convert,
    )


def free(doc: str, each: Setting | Schema | None = None) -> Free:
    """A group whose keys the user chooses, such as the parts of a recipe."""
    return Free(doc, each)


def defaults(schema: Schema) -> dict[str, Any]:
    """The default of every setting, nested as the schema is; free groups are empty."""
    return {
        name: entry.default
        if isinstance(entry, Setting)
        else {}
        if isinstance(entry, Free)
        else defaults(entry)
        for name, entry in schema.items()
    }


def accept(name: str, value: Any, setting: Setting) -> Any:
    """The value in the setting's type.

    >>> accept("probability", 1, number(0.5, "of a flip", low=0, high=1))
    1.0

    Raises:
      ValueError: if it is not allowed: the name, the value, and what is allowed.
    """
    if wrong := setting.wrong(value):
        raise ValueError(f"{name} is {shown(value)}; it must be {wrong}.")
    return setting.convert(value)


def check(
    values: Any, schema: Schema, prefix: str = "config", *, partial: bool = False
) -> dict[str, Any]:
    """The values in the types of the schema, nested alike; `partial`: settings may be missing.

    Raises:
      ValueError: for a setting that is not in the schema, is missing, or has a value that is not
        allowed there: its name, the value that was found, and what is allowed.
    """
    if not isinstance(values, Mapping):
        raise ValueError(
            f"{prefix} is {shown(values)}; it must be a group of settings: {_few(schema)}."
        )
    for name in values:
        if name not in schema:
            raise ValueError(f"{prefix} has no setting {shown(name)}: {_hint(name, schema)}")
    missing = [name for name in schema if name not in values]
    if missing and not partial:
        raise ValueError(
            f"{prefix}.{missing[0]} is missing: give it a value, as "
            f"{shown(defaults({missing[0]: schema[missing[0]]})[missing[0]])}."
        )
    return {
        name: _checked(values[name], entry, f"{prefix}.{name}", partial=partial)
        for name, entry in schema.items()
        if name in values
    }


def find(schema: Schema, path: Sequence[str], prefix: str = "config") -> Any:
    """The setting or group that a path of names leads to; None below a free group.

    Raises:
      ValueError: for a name that a group does not have.
    """
    entry: Any = schema
    for name in path:
        if isinstance(entry, Free):
            entry = entry.each if isinstance(entry.each, Setting) else None
        elif isinstance(entry, Mapping) and name in entry:
            entry = entry[name]
        elif isinstance(entry, Mapping):
            raise ValueError(f"{prefix} has no setting {shown(name)}: {_hint(name, entry)}")
        elif entry is None:
            return None
        else:
            raise ValueError(f"{prefix} has no settings below it, such as {shown(name)}.")
        prefix = f"{prefix}.{name}"
    return entry


def shown(value: Any) -> str:
    """A value as a message repeats it: on one line, without control characters, and short.

    >>> print(shown("a" * 100)[-10:], shown("\\x1b[31m"))
    aaaaaaa... '\\x1b[31m'
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return f"a whole number of {value.bit_length():,} bits"
    words = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in repr(value))
    return words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."


def _checked(value: Any, entry: Any, name: str, *, partial: bool) -> Any:
    if isinstance(entry, Setting):
        return accept(name, value, entry)
    if isinstance(entry, Free):
        return _freely(value, entry, name)
    return check(value, entry, name, partial=partial)


def _freely(values: Any, entry: Free, name: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is {shown(values)}; it must be a group: {entry.doc}.")
    for key in values:
        if not isinstance(key, str) or not key or not _is_text(key, 200) or "." in key:
            raise ValueError(
                f"{name} has an entry named {shown(key)}; a name is a word of printable "
                f"characters without dots."
            )
    each = entry.each
    if each is not None:
        return {k: _checked(v, each, f"{name}.{k}", partial=True) for k, v in values.items()}
    return {key: _plain(value, f"{name}.{key}") for key, value in values.items()}


def _plain(value: Any, name: str) -> Any:
    """Any value that JSON can hold and a program can use: finite numbers, words, lists, groups."""
    if isinstance(value, Mapping):
        return _freely(value, Free("of plain values"), name)
    if isinstance(value, list | tuple):
        return tuple(_plain(item, f"{name}[{i}]") for i, item in enumerate(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if _is_text(value, 4096):
            return value
    elif _is_whole(value):
        if -LARGEST <= value <= LARGEST:
            return int(value)
    elif _is_number(value):
        return float(value)
    raise ValueError(
        f"{name} is {shown(value)}; it must be a finite float32 number, a whole number of at most "
        f"{LARGEST:,}, a text of printable characters, True, False, None, or several of these."
    )


def _setting(
    default: Any, doc: str, allowed: str, fits: Callable[[Any], bool], convert: Callable[[Any], Any]
) -> Setting:
    example = "" if default is None or default in ((), "") else f", e.g. {shown(default)}"

    def wrong(value: Any) -> str | None:
        if fits(value) or (value is None and default is None):
            return None
        return allowed + example

    return Setting(default, doc, allowed, wrong, lambda v: None if v is None else convert(v))


def _several(
    default: Sequence[Any] | None,
    doc: str,
    item: Setting,
    what: str,
    least: int,
    most: int,
    ordered: bool,
    *,
    repeated: bool = True,
) -> Setting:
    def fits(value: Any) -> bool:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            return False
        if any(item.wrong(one) for one in value):
            return False
        rising = not ordered or all(a <= b for a, b in itertools.pairwise(value))
        return rising and (repeated or len(set(value)) == len(value))

    count = f"{least}" if least == most else f"{least} to {most}"
    each = item.allowed.removeprefix("a text of ")
    allowed = f"{count} {what}{' in rising order' if ordered else ''}, each {each}"
    start = default if default is None else tuple(default)

    def convert(value: Any) -> tuple[Any, ...]:
        return tuple(item.convert(one) for one in value)

    return _setting(start, doc, allowed, fits, convert)


def _is_whole(value: Any) -> bool:
    return isinstance(value, kinds.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if not isinstance(value, kinds.Real) or isinstance(value, bool):
        return False
    if value == 0:
        return True
    # Nothing that a compiled program would turn into 0 or infinity. NaN compares false.
    size: Any = abs(value)
    return bool(SMALLEST <= size <= GREATEST)


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and (value.isprintable() or not value)


def _bounds(low: float, high: float, above: float | None, below: float | None) -> str:
    words = []
    if above is not None:
        words.append(f"above {above:g}")
    elif low > -inf:
        words.append(f"of at least {low:g}")
    if below is not None:
        words.append(f"below {below:g}")
    elif high < inf:
        words.append(f"at most {high:g}")
    return "".join(f" {word}" for word in " and ".join(words).split())


def _few(schema: Schema) -> str:
    return ", ".join(schema)


def _hint(name: Any, schema: Schema) -> str:
    near = difflib.get_close_matches(name, list(schema), 1) if isinstance(name, str) else []
    return f"did you mean {near[0]!r}?" if near else f"choose from {_few(schema)}."
