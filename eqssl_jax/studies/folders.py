"""Which runs of a study are meant, and where they lie.

Data, `--only` and the seeds choose them; the folder DIR/<label>-<8 hex of the resolved config> is
the same for every study.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from eqssl_jax import methods, names
from eqssl_jax.config import copied, plain
from eqssl_jax.settings import differences
from eqssl_jax.studies import given
from eqssl_jax.studies.base import DataChoice, Study, parts_of
from eqssl_jax.training.model import with_dtype
from eqssl_jax.training.workdir import read_config


class Chosen(NamedTuple):
    """A run of a study with a seed."""

    name: str
    seed: int
    config: ConfigDict

    def title(self) -> str:
        return f"{self.name}, seed {self.seed}"


SMOKE = 2  # runs that are enough to see that a study works


class Choice(NamedTuple):
    """The runs to make, and all those of which the table may tell."""

    wanted: tuple[Chosen, ...]
    shown: tuple[Chosen, ...]


def choose(
    study: Study,
    scale: str,
    data: DataChoice,
    *,
    seeds: int = 1,
    only: Sequence[str] = (),
    settings: given.Settings = MappingProxyType({}),
) -> Choice:
    """The runs of a study.

    Args:
      study, scale, data: what `study.runs` takes. Where a table has a column for each data set,
        given (or rendered) data stands in for one column: the one in `only`, that of the runs in
        `only`, or the first.
      seeds: trainings of each run, with the seeds 0, 1, … (from `study.first_seed` on).
      only: titles of columns, titles of rows and names of runs: those columns, and in them those
        rows and runs; of runs method@data also the method, @data, and what the study can add; ()
        for all, at the scale "smoke" for the first two.
      settings: of single runs, in place of the study's own.

    Raises:
      ValueError: for an unknown name or scale, no seed, data for several columns, names that have
        no run in common, and as `given.apply`.
    """
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}; at least one training of each run is needed.")
    runs = dict(study.runs(scale, data))
    only = [_spelled(study, name) for name in only]
    if study.added is not None:
        for name in only:
            runs |= study.added(name, scale, data)
    runs = dict(given.apply(runs, settings))
    shown, wanted = _meant(study, [*runs], only, alone=bool(data.name) or scale == "smoke")
    if scale == "smoke" and not only:
        wanted = wanted[:SMOKE]
    trained = range(study.first_seed, study.first_seed + seeds)
    return Choice(
        tuple(_seeded(run, runs[run], seed) for run in wanted for seed in trained),
        tuple(_seeded(run, runs[run], seed) for run in shown for seed in trained),
    )


def _meant(
    study: Study, runs: Sequence[str], only: Sequence[str], *, alone: bool
) -> tuple[list[str], list[str]]:
    """The runs of which the table may tell, and those that `only` names.

    Where a table has columns, `alone` leaves a single one of them.
    """
    columns = list(dict.fromkeys(column for _, column in study.cells))
    rows = list(dict.fromkeys(row for row, _ in study.cells))
    named, names = _split(study, only, columns, [*rows, *runs])
    cells = {run: cell for cell, run in study.cells.items()}
    if columns and alone:
        of_runs = dict.fromkeys(cells[name][1] for name in names if name in cells)
        columns = named or list(of_runs) or columns[:1]
        if len(columns) > 1:
            raise ValueError(
                f"One data set cannot stand in for several columns ({', '.join(columns)}): name "
                f"one of them in --only, or leave out --data."
            )
    place = {run: cells.get(run, ("", "")) for run in runs}
    shown = [run for run in runs if place[run][1] in ("", *columns)]
    possible = [run for run in shown if place[run][1] in ("", *(named or columns))]
    wanted = [run for run in possible if not names or {run, place[run][0]} & {*names}]
    if not wanted:
        raise ValueError(
            f"No run of {study.name} is meant by --only={','.join(only)}: "
            f"{', '.join(named or columns)} has the runs {', '.join(possible)}."
        )
    return shown, wanted


def _seeded(name: str, config: ConfigDict, seed: int) -> Chosen:
    seeded = copied(config)
    seeded.seed = seed
    return Chosen(name, seed, methods.resolved(seeded))


def _spelled(study: Study, name: str) -> str:
    """A name of --only with its method as the study's runs have it."""
    method, at, rest = name.strip().partition("@")
    return f"{study.spelled(method)}{at}{rest}"


def _loose(name: str) -> str:
    """What all spellings of a name share; `module:attribute` has one alone."""
    method, at, rest = name.partition("@")
    return (method if names.is_outside(method) else names.loose(method)) + at + names.loose(rest)


def _split(
    study: Study, only: Sequence[str], columns: list[str], others: list[str]
) -> tuple[list[str], list[str]]:
    """`only` as (columns, rows and runs), spelled as the study does."""
    groups = _groups(others)
    means = {_loose(name): runs for name, runs in groups.items()}
    means |= {_loose(name): [name] for name in [*others, *columns]}
    for name in only:
        if _loose(name) not in means:
            raise ValueError(_unknown(study, name, [*groups, *others, *columns]))
    named = [meant for name in only for meant in means[_loose(name)]]
    return [n for n in named if n in columns], [n for n in named if n not in columns]


def _unknown(study: Study, name: str, possible: Sequence[str]) -> str:
    """What to say of a name in --only that is none of the possible ones."""
    more = methods.cards() if study.added else ()
    written = {_loose(other): other for other in (*more, *possible)}
    close = difflib.get_close_matches(_loose(name), written, 3)
    near = f" (nearest: {', '.join(written[key] for key in close)})" if close else ""
    shown = {_loose(other): other for other in possible if "@" not in other[1:]}
    outside = "; module:attribute, as Python imports it, is a method of your own" if more else ""
    return (
        f"{study.name} has no column, row or run {name!r}{near}; --only takes "
        f"{', '.join(shown.values())}, and names of runs{outside}."
    )


def _groups(runs: Sequence[str]) -> dict[str, list[str]]:
    """What means several runs method@data:suffix: method, @data and method@data."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        method, data, _ = parts_of(run)
        for name in dict.fromkeys((method, f"@{data}", f"{method}@{data}")) if data else ():
            groups.setdefault(name, []).append(run)
    return groups


_NAMED = re.compile(r".+-[0-9a-f]{8}")


def digest(config: ConfigDict) -> str:
    """8 hex digits of the resolved config: equal for equal configs, whatever a study calls them."""
    text = json.dumps(config.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder(directory: Path, name: str, config: ConfigDict) -> Path:
    """The folder of a run: the one that holds this config already, or a new one named after it.

    A folder of an earlier version, whose config lacks settings that are newer and have their
    defaults here, holds this config under another digest.

    Raises:
      ValueError: if the folder with this digest holds another config.
    """

    def changed(place: Path) -> dict[str, tuple[Any, Any]]:
        stored = read_config(place)  # a dtype that is left to the machine is that of the run
        return differences(plain(with_dtype(stored)), plain(with_dtype(config, stored)))

    mark = digest(config)
    label = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{name}-seed{config.seed}")
    existing = sorted(directory.glob(f"*-{mark}")) or [
        path.parent
        for path in sorted(directory.glob(f"{label}-*/config.json"))
        if not changed(path.parent)
    ]
    place = existing[0] if existing else directory / f"{label}-{mark}"
    if (place / "config.json").exists() and (changes := changed(place)):
        shown = "; ".join(f"{k}: {old!r} there, {new!r} now" for k, (old, new) in changes.items())
        raise ValueError(
            f"{place / 'config.json'} is not the config that the folder is named after "
            f"({shown}). It was changed after training began: move the folder away."
        )
    return place


def check(directory: Path, flag: str = "--runs") -> None:
    """Refuse a directory, which `flag` names, that belongs to something else.

    Raises:
      ValueError: if it is the folder of one run or of a comparison, no folder, or below a file.
    """
    for path in (directory, *directory.parents):
        if path.exists() and not path.is_dir():
            where = "is a file" if path == directory else f"cannot be made: {path} is a file"
            raise ValueError(f"{flag}={directory} {where}; give a folder for the runs of studies.")
    if (directory / "config.json").exists():
        raise ValueError(
            f"{flag}={directory} is the folder of a single run (it has a config.json); give a "
            f"folder above the runs, e.g. {flag}={directory.with_name(directory.name + '_all')}."
        )
    strange = [
        path.parent.name
        for path in sorted(directory.glob("*/config.json"))
        if not _NAMED.fullmatch(path.parent.name)
    ]
    if strange or (directory / "comparison.json").exists():
        raise ValueError(
            f"{flag}={directory} is the folder of a comparison or of other runs "
            f"({', '.join(strange[:5]) or 'comparison.json'}); the runs of studies are named "
            f"LABEL-DIGEST. Give another folder, e.g. {flag}={directory.parent / 'studies'}."
        )
