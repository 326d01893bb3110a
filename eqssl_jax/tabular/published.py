"""Numbers that papers report: `published.json`, each with where it stands, read and checked."""

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

_TABLE = {"metric": str, "unit": str, "setting": str, "spread": str, "source": dict}
_ENTRY = {"row": str, "column": str, "value": float | int | None, "sd": float | None}
_ENTRY |= {"n": int | None}
_OPTIONAL = {"origin": str, "reason": str}  # whose number it first was; why there is none
UNITS = {"%": 100.0, "": 1.0}  # how many of it make 1


class Entry(NamedTuple):
    """One cell of a published table.

    Attributes:
      value, sd: shares as fractions (0.9192, not 91.92); None where there is none.
      n: how many seeds `sd` is over; None where it is not said.
      origin: whose number it is, if the table quotes another paper; else "".
      reason: why `value` is None; else "".
    """

    row: str
    column: str
    value: float | None
    sd: float | None
    n: int | None
    origin: str = ""
    reason: str = ""


class Published(NamedTuple):
    """A published table: what was measured, how, where it is printed, and its cells."""

    metric: str
    setting: str
    spread: str  # what ± is over; "" where there is none
    source: Mapping[str, str]  # paper, arxiv (if any), where
    cells: Mapping[tuple[str, str], Entry]  # by (row, column)

    def cite(self) -> str:
        """Paper, arXiv number and place in one line."""
        arxiv = f", arXiv:{self.source['arxiv']}" if "arxiv" in self.source else ""
        return f"{self.source['paper']}{arxiv}, {self.source['where']}"


@functools.cache
def published() -> Mapping[str, Published]:
    """All tables of `published.json` by name.

    >>> published()["care_table1"].cells["CARE-SimCLR", "CIFAR-10"]
    Entry(row='CARE-SimCLR', column='CIFAR-10', value=0.9192, sd=0.0012, n=3, origin='', reason='')
    """
    file = resources.files("eqssl_jax.tabular").joinpath("published.json")
    return parse(json.loads(file.read_text(encoding="utf-8")))


def parse(tables: Mapping[str, Any]) -> Mapping[str, Published]:
    """Tables from JSON.

    Raises:
      ValueError: naming the table, and the entry, that does not follow the schema: a key too many
        or too few, a value of another type, a spread without its number of seeds, a missing number
        without a reason, two numbers for one cell.
    """
    return {name: _table(f"published.json, {name}", table) for name, table in tables.items()}


def _table(where: str, table: Mapping[str, Any]) -> Published:
    _check(where, table, {**_TABLE, "entries": list}, {})
    _check(f"{where}, source", table["source"], {"paper": str, "where": str}, {"arxiv": str})
    if table["unit"] not in UNITS:
        raise ValueError(f"{where}: the unit is {table['unit']!r}; choose one of {list(UNITS)}.")
    cells: dict[tuple[str, str], Entry] = {}
    for i, found in enumerate(table["entries"]):
        entry = _entry(f"{where}, entry {i}", found, table["unit"], table["spread"])
        if (entry.row, entry.column) in cells:
            raise ValueError(f"{where}, entry {i}: {entry.row} on {entry.column} stands twice.")
        cells[entry.row, entry.column] = entry
    return Published(table["metric"], table["setting"], table["spread"], table["source"], cells)


def _entry(where: str, found: Mapping[str, Any], unit: str, spread: str) -> Entry:
    _check(where, found, _ENTRY, _OPTIONAL)
    where = f"{where} ({found['row']} on {found['column']})"
    value, sd, n = found["value"], found["sd"], found["n"]
    if (value is None) != ("reason" in found):
        raise ValueError(f"{where}: a missing value needs a reason, and only it; found {found}.")
    if (sd is None) != (n is None) or (sd is not None and (value is None or not spread)):
        raise ValueError(f"{where}: sd needs a value, n, and the table's spread; found {found}.")
    if value is not None and not (0 <= value <= UNITS[unit] or not unit):
        raise ValueError(f"{where}: {value} is no share in {unit}.")

    def plain(number: float | None) -> float | None:
        # Rounded: 91.92 / 100 must be the 0.9192 that was printed.
        return None if number is None else round(number / UNITS[unit], 6)

    more = {key: found[key] for key in _OPTIONAL if key in found}
    return Entry(found["row"], found["column"], plain(value), plain(sd), n, **more)


def _check(where: str, found: Any, needed: Mapping[str, Any], optional: Mapping[str, Any]) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected an object, found {found!r}.")
    missing, unknown = set(needed) - set(found), set(found) - set(needed) - set(optional)
    if missing or unknown:
        raise ValueError(
            f"{where}: missing keys {sorted(missing)}, unknown keys {sorted(unknown)}."
        )
    for key, kind in {**needed, **optional}.items():
        if key in found and (not isinstance(found[key], kind) or isinstance(found[key], bool)):
            raise ValueError(f"{where}: {key} must be {kind}, found {found[key]!r}.")
