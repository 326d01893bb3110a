"""What a setting is, and what counts as a number and as text in it."""

import numbers
from collections.abc import Callable, Mapping
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
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    if value == 0:
        return True
    # Nothing that a compiled program would turn into 0 or infinity. NaN compares false.
    size: Any = abs(value)
    return bool(SMALLEST <= size <= GREATEST)


def is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and (value.isprintable() or not value)
