"""Fruits-360: fruit filmed on a turntable, with the angle of every photograph."""

import math
from collections.abc import Sequence
from pathlib import Path

from eqssl_jax.data import folder, manifest
from eqssl_jax.data.base import Source

_COLUMNS = ("path", "split", "variety", "axis", "approx_angle_deg")


def read_fruits(
    directory: Path,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    varieties: Sequence[str] | int | None = None,
) -> Source:
    """The splits of Fruits-360 with a manifest of its turns.

    The directory holds `manifest.csv` (path, split, variety, axis, approx_angle_deg; one row for
    each image) and the images `train/<variety>/*.jpg` and `test/<variety>/*.jpg`, or these in
    `fruits360.zip`. Each fruit was filmed turning about one to three axes. The classes are the
    varieties, and every split has the factors

    | factor    | meaning                                                              |
    |-----------|----------------------------------------------------------------------|
    | turntable | angle of the photograph within its turn, `approx_angle_deg` in rad   |
    | sequence  | number of the turn, 0, 1, …: the photographs of one (variety, axis)  |

    Angles compare within a sequence only: each begins anywhere. Numbers of sequences follow the
    sorted (variety, axis) of the whole manifest, whatever `varieties` are taken. The split is that
    of the manifest: train shows the first three quarters of every turn, test the last. "validation"
    is carved from train at random: its angles lie between those of train, unlike those of test.

    Args:
      directory: see above.
      size, corrupt, views: see `data.load`.
      varieties: only these, by name, or the first so many in sorted order; None takes all.

    Source: Oltean, Fruits-360 data set (2017-), CC BY-SA 4.0.

    Raises:
      FileNotFoundError: without the manifest or the images.
      ValueError: for a manifest that lacks columns or angles, or does not match the images.
    """
    table = directory / "manifest.csv"
    rows = manifest.by_path(manifest.read_rows(table, _COLUMNS), table)
    wrong = [
        f"{path} (split {row['split']!r}, variety {row['variety']!r})"
        for path, row in rows.items()
        if path.split("/")[:-1] != [row["split"], row["variety"]]
    ]
    if wrong:
        raise ValueError(
            f"Paths in {table} must be <split>/<variety>/<name> of their own row, found "
            f"{manifest.first_of(wrong)}."
        )
    degrees = manifest.numbers(rows, "approx_angle_deg", table)
    turns = {path: (row["variety"], row["axis"]) for path, row in rows.items()}
    number = {turn: float(count) for count, turn in enumerate(sorted(set(turns.values())))}
    factors = {
        "turntable": {path: math.radians(angle) for path, angle in degrees.items()},
        "sequence": {path: number[turn] for path, turn in turns.items()},
    }
    described = manifest.Manifest(table, frozenset(rows), factors)
    return folder.read_described(
        _images(directory), described, size=size, corrupt=corrupt, views=views, classes=varieties
    )


def _images(directory: Path) -> Path:
    if (directory / "train").is_dir():
        return directory
    archive = directory / "fruits360.zip"
    if not archive.is_file():
        raise FileNotFoundError(
            f"{directory} holds neither train/ and test/ nor fruits360.zip with the images."
        )
    return archive
