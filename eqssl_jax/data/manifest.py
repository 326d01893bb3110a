"""What a table beside the images says of each: numbers by path, refused where they do not fit."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Rows = Mapping[str, Mapping[str, str]]  # path of an image → column → text

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)  # what is less would become 0
_NAMED = 3  # offenders named in an error


class Manifest(NamedTuple):
    """Numbers known of each image.

    Attributes:
      file: where they were read, for errors.
      paths: every path the file has a row for, as "train/<class>/<name>".
      factors: factor → path → value.
    """

    file: Path
    paths: frozenset[str]
    factors: Mapping[str, Mapping[str, float]]


def read_manifest(file: Path, columns: Sequence[str]) -> Manifest:
    """The numbers in `columns` of a CSV with one row for each image and its path in "path".

    Raises:
      FileNotFoundError: without such a file.
      ValueError: as `read_rows`, `by_path` and `numbers`.
    """
    rows = by_path(read_rows(file, ("path", *columns)), file)
    return Manifest(file, frozenset(rows), {name: numbers(rows, name, file) for name in columns})


def read_rows(file: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file (UTF-8, a line of column names first) that has at least `columns`.

    Raises:
      FileNotFoundError: without such a file.
      ValueError: for missing columns, no rows, or bytes that are not UTF-8 text.
    """
    if not file.is_file():
        raise FileNotFoundError(f"There is no {file}: a CSV with the columns {list(columns)}.")
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened, restval="", restkey="")
            present = list(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{file} cannot be read as a CSV of UTF-8 text: {error}. Store it again, as UTF-8."
        ) from error
    twice = sorted({column for column in columns if present.count(column) > 1})
    if twice:
        raise ValueError(f"{file} has more than one column called {twice}: it has {present}.")
    missing = [column for column in columns if column not in present]
    if missing:
        raise ValueError(
            f"{file} lacks the columns {missing}: it has {present}. Columns are named in the first "
            "line and separated by commas."
        )
    if not rows:
        raise ValueError(f"{file} has column names but no rows: it needs one for each image.")
    long = [line for line, row in enumerate(rows, start=2) if row.get("")]
    if long and "" not in present:
        raise ValueError(
            f"Row {long[0]} of {file} has more values than the {len(present)} columns: put texts "
            "with commas in quotes."
        )
    return rows


def by_path(rows: Iterable[Mapping[str, str]], file: Path) -> dict[str, Mapping[str, str]]:
    """The rows by their "path".

    Raises:
      ValueError: naming the paths with two rows.
    """
    rows_of: dict[str, Mapping[str, str]] = {}
    twice = []
    for row in rows:
        path = _plain(row["path"])
        if path in rows_of:
            twice.append(path)
        rows_of[path] = {**row, "path": path}
    if twice:
        raise ValueError(f"{file} has more than one row for {first_of(twice)}: keep one of each.")
    return rows_of


def _plain(path: str) -> str:
    """A path with the separators of this project, without "./".

    >>> _plain("./train\\\\cat/0.png")
    'train/cat/0.png'
    """
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def numbers(rows: Rows, column: str, file: Path) -> dict[str, float]:
    """The finite numbers of a column by path.

    Raises:
      ValueError: naming the first rows where the column is empty, no number, or not finite.
    """
    values, wrong = {}, []
    for path, row in rows.items():
        try:
            # Python would take 1_000 for a thousand.
            values[path] = math.nan if "_" in row[column] else float(row[column])
        except ValueError:
            values[path] = math.nan
        magnitude = abs(values[path])
        if magnitude and not _SMALLEST <= magnitude <= _LARGEST:
            wrong.append(f"{row[column]!r} for {path}")
    if wrong:
        raise ValueError(
            f"The column {column} of {file} must hold a finite number for each image (in float32), "
            f"found {first_of(wrong)}. Fill these in, or take the images and their rows out."
        )
    return values


def same_files(manifest: Manifest, images: Iterable[str], used: Iterable[str], root: Path) -> None:
    """Refuse a manifest with rows for none of the `images`, or without rows for `used` ones.

    Raises:
      ValueError: naming the first offenders of both kinds.
    """
    extra = sorted(manifest.paths - set(images))
    missing = sorted(set(used) - manifest.paths)
    problems = [f"it names {first_of(extra)}, which is not there"] if extra else []
    problems += [f"it has no row for {first_of(missing)}"] if missing else []
    if problems:
        raise ValueError(
            f"{manifest.file} does not match the images of {root}: {'; '.join(problems)}. Paths "
            "count from the folder of train/ and test/ (or of the classes), with one row an image."
        )


def columns_for(manifest: Manifest, paths: Sequence[str]) -> dict[str, Float[np.ndarray, " n"]]:
    """The factors of the images at `paths`, in that order."""
    return {
        name: np.array([values[path] for path in paths], np.float32)
        for name, values in manifest.factors.items()
    }


def first_of(items: Sequence[str]) -> str:
    """The first few items, and how many there are.

    >>> first_of(["a", "b", "c", "d"])
    'a, b, c, … (4 in all)'
    """
    shown = ", ".join(items[:_NAMED])
    return shown if len(items) <= _NAMED else f"{shown}, … ({len(items)} in all)"
