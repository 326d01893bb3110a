"""What a setting is, and settings by what they may be: numbers, words, lists, combinations."""

import itertools
import numbers as kinds_of_numbers
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


def shown(value: Any) -> str:
    """A value as a message repeats it: on one line, without control characters, and short.

    >>> print(shown("a" * 100)[-10:], shown("\\x1b[31m"))
    aaaaaaa... '\\x1b[31m'
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return f"a whole number of {value.bit_length():,} bits"
    try:
        written = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} that is nested a thousand deep or more"
    except ValueError:  # Python writes out no number of more than 4,300 digits, in a list neither
        return f"a {type(value).__name__} of very long numbers"
    words = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in written)
    return words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."


def is_whole(value: Any) -> bool:
    return isinstance(value, kinds_of_numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    if not isinstance(value, kinds_of_numbers.Real) or isinstance(value, bool):
        return False
    if value == 0:
        return True
    # Nothing that a compiled program would turn into 0 or infinity. NaN compares false.
    size: Any = abs(value)
    return bool(SMALLEST <= size <= GREATEST)


def is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and (value.isprintable() or not value)


def number(
    default: float | None,
    doc: str,
    *,
    low: float = -inf,
    high: float = inf,
    above: float | None = None,
    below: float | None = None,
) -> Setting:
    """A float32 number in [low, high]; `above` and `below` are bounds that are not allowed."""

    def fits(value: Any) -> bool:
        if not is_number(value):
            return False
        inside = low <= value <= high
        return inside and (above is None or value > above) and (below is None or value < below)

    allowed = f"a finite float32 number{_bounds(low, high, above, below)}"
    return _setting(default, doc, allowed, fits, float)


def whole(
    default: int | None, doc: str, *, low: int = 0, high: int = LARGEST, zero: str = ""
) -> Setting:
    """A whole number in [low, high]; `zero` says what 0 means where it is allowed beside them."""

    def fits(value: Any) -> bool:
        return is_whole(value) and (low <= value <= high or (bool(zero) and value == 0))

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
        return is_text(value, longest) and (empty or bool(value))

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
) -> Setting:
    """From `least` to `most` whole numbers in a range."""
    item = whole(0, "", low=low, high=high)
    return _several(default, doc, item, "whole numbers", least, most, False)


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
    items: str,
    least: int,
    most: int,
    ordered: bool,
    *,
    repeated: bool = True,
) -> Setting:
    def fits(value: Any) -> bool:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            return False
        if any(item.wrong(element) for element in value):
            return False
        rising = not ordered or all(a <= b for a, b in itertools.pairwise(value))
        return rising and (repeated or len(set(value)) == len(value))

    count = f"{least}" if least == most else f"{least} to {most}"
    allowed_item = item.allowed.removeprefix("a text of ")
    allowed = f"{count} {items}{' in rising order' if ordered else ''}, each {allowed_item}"
    start = default if default is None else tuple(default)

    def convert(value: Any) -> tuple[Any, ...]:
        return tuple(item.convert(element) for element in value)

    return _setting(start, doc, allowed, fits, convert)


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
