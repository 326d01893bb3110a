"""Values against a schema: their defaults, and one paragraph for what does not fit."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from eqssl_jax.settings.ranges import (
    LARGEST,
    Free,
    Schema,
    Setting,
    is_number,
    is_text,
    is_whole,
    shown,
)


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

    >>> from eqssl_jax.settings import number
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


MOST = 100_000  # values in a config
_DEEPEST = 16  # lists and groups within one another, in a value of the user's
_COUNTED = 4 * _DEEPEST  # as deep as a value of the user's can lie in a config, and deeper
TOO_DEEP = (
    "has groups or lists within one another some hundred deep, or one that contains itself: "
    "nothing reads a value so deep; give a flat one"
)


def values_of(config: Any) -> dict[str, Any]:
    """The values of a ConfigDict, as dicts within one another.

    Raises:
      ValueError: for what is none, and for one that goes too deep or holds too much.
    """
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"The config is {shown(config)}, of type {type(config).__name__}; it must be a "
            f"ConfigDict, such as get_config() of a config file returns."
        )
    try:
        values = dict(config.to_dict())
    except RecursionError:
        raise ValueError(f"The config {TOO_DEEP}.") from None
    _check_count(values)
    return values


def _check_count(values: Mapping[str, Any]) -> None:
    """Refuse what grows without end when each list and group is looked at wherever it stands."""
    counts: dict[int, int] = {}
    if _count(values, counts) <= MOST:
        return
    name, group = "config", values
    while name.count(".") < 2 and isinstance(group, Mapping):  # down to the setting
        large = [key for key, value in group.items() if counts[id(value)] > MOST]
        if not large:
            break
        name, group = f"{name}.{large[0]}", group[large[0]]
    raise ValueError(
        f"{name} holds {counts[id(group)]:,} values, those of a list or group that stands in it "
        f"several times counted as often; at most {MOST:,} are read: give it fewer."
    )


def _count(value: Any, counts: dict[int, int], depth: int = 0) -> int:
    """How many values a value holds, itself among them; `counts` has those of all within it by id.

    Each list and group is looked at once. What contains itself counts as 0 there, and what lies
    too deep too: `_plain` refuses both.
    """
    if id(value) not in counts and depth < _COUNTED:
        counts[id(value)] = 0
        nested = isinstance(value, Mapping | list | tuple)
        items = value.values() if isinstance(value, Mapping) else value if nested else ()
        counts[id(value)] = 1 + sum(_count(item, counts, depth + 1) for item in items)
    return counts.get(id(value), 0)


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


def _checked(value: Any, entry: Any, name: str, *, partial: bool) -> Any:
    if isinstance(entry, Setting):
        return accept(name, value, entry)
    if isinstance(entry, Free):
        return _freely(value, entry, name)
    return check(value, entry, name, partial=partial)


def _freely(values: Any, entry: Free, name: str, depth: int = 0) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is {shown(values)}; it must be a group: {entry.doc}.")
    for key in values:
        if not isinstance(key, str) or not key or not is_text(key, 200) or "." in key:
            raise ValueError(
                f"{name} has an entry named {shown(key)}; a name is a word of printable "
                f"characters without dots."
            )
    value_kind = entry.each
    if value_kind is not None:
        return {k: _checked(v, value_kind, f"{name}.{k}", partial=True) for k, v in values.items()}
    return {key: _plain(value, f"{name}.{key}", depth) for key, value in values.items()}


def _plain(value: Any, name: str, depth: int) -> Any:
    """Any value that JSON can hold and a program can use: finite numbers, words, lists, groups."""
    if depth > _DEEPEST:
        raise ValueError(
            f"{name} is nested more than {_DEEPEST} deep in lists and groups: nothing reads a "
            f"value so deep; give a flat one."
        )
    if isinstance(value, Mapping):
        return _freely(value, Free("of plain values"), name, depth + 1)
    if isinstance(value, list | tuple):
        return tuple(_plain(item, f"{name}[{i}]", depth + 1) for i, item in enumerate(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if is_text(value, 4096):
            return value
    elif is_whole(value):
        if -LARGEST <= value <= LARGEST:
            return int(value)
    elif is_number(value):
        return float(value)
    raise ValueError(
        f"{name} is {shown(value)}; it must be a finite float32 number, a whole number of at most "
        f"{LARGEST:,}, a text of printable characters, True, False, None, or several of these."
    )


def _few(schema: Schema) -> str:
    return ", ".join(schema)


def _hint(name: Any, schema: Schema) -> str:
    near = difflib.get_close_matches(name, list(schema), 1) if isinstance(name, str) else []
    return f"did you mean {near[0]!r}?" if near else f"choose from {_few(schema)}."


def merged(default_values: dict[str, Any], values: Any, name: str = "config") -> dict[str, Any]:
    """Defaults under the values that are given, group by group; unknown names are kept.

    Raises:
      ValueError: for a value where a group of settings must be.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{name} is {shown(values)}; it must be a group of settings")
    joined = {**default_values, **values}
    if name == "config.objectives":
        for key, entry in values.items():
            merged({}, entry, f"{name}.{key}")
    for key, default in default_values.items():
        if isinstance(default, dict):
            joined[key] = merged(default, joined[key], f"{name}.{key}")
    return joined


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys whose values differ, with (old, new); a missing side is "absent".

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}})
    {'a.b': (1, 3)}
    """
    changed: dict[str, Any] = {}
    for key in sorted(set(old) | set(new)):
        left, right = old.get(key, "absent"), new.get(key, "absent")
        if isinstance(left, dict) and isinstance(right, dict):
            changed |= differences(left, right, f"{prefix}{key}.")
        elif left != right:
            changed[prefix + key] = (left, right)
    return changed
