"""Fruits-360: fruit filmed on a turntable, with the angle of every photograph."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from eqssl_jax.data import folder, manifest, partition
from eqssl_jax.data.base import Source, Split
from eqssl_jax.data.images import EXACT, Decoding

_COLUMNS = ("path", "split", "variety", "axis", "approx_angle_deg")
GUARD = 15.0  # degrees: no training frame of the same turn is nearer to a validation frame


def read_fruits(
    directory: Path,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    decoding: Decoding = EXACT,
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
    of the manifest: train shows the first three quarters of every turn, test the last. For
    "validation" see `hold_out_arcs`.

    Args:
      directory: see above.
      size, corrupt, views, decoding: see `data.load`.
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
        _images(directory),
        described,
        size=size,
        corrupt=corrupt,
        views=views,
        classes=varieties,
        decoding=decoding,
    )


def hold_out_arcs(splits: Mapping[str, Split], fraction: float) -> tuple[dict[str, Split], str]:
    """The splits with "validation", the last arc of each turn in train, and a note on what it cost.

    Neighbouring frames of a turn are nearly one picture (7° to 11° apart), so frames chosen at
    random would be known from training. Of each turn's n training frames the last
    max(1, round(fraction · n)) by angle go to validation, and those within 15° of one of them to
    neither. At 0.1 that is an arc of about 20° to 45°. Test frames may be nearer: they follow the
    arc. Without a "validation" at fraction 0.

    Raises:
      ValueError: if the fraction is not in [0, 1), or leaves a turn no frame to train on.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"validation must be a fraction in [0, 1), found {fraction}.")
    if fraction == 0:
        return dict(splits), ""
    train = splits["train"]
    angle = np.degrees(np.asarray(train.factors["turntable"], np.float64))
    turns = np.asarray(train.factors["sequence"])
    held, near = np.zeros(train.size, bool), np.zeros(train.size, bool)
    for turn in np.unique(turns):
        frames = np.flatnonzero(turns == turn)
        frames = frames[np.argsort(angle[frames], kind="stable")]
        count = max(1, round(fraction * len(frames)))
        arc = frames[-count:]
        held[arc] = True
        near[frames] = _within(angle[frames], angle[arc], GUARD)
        if near[frames].all():
            raise ValueError(
                f"validation={fraction} leaves turn {turn:.0f} no frame to train on: of its "
                f"{len(frames)} training frames, {count} are held out and the others lie within "
                f"{GUARD:.0f}° of them. Lower config.data.validation, or raise the limit."
            )
    kept = np.flatnonzero(~near).astype(np.int32)
    validation = partition.subset(train, np.flatnonzero(held).astype(np.int32))
    between = int(np.sum(near & ~held))
    note = (
        f"validation: the last arc of each turn; {between} training frames within {GUARD:.0f}° of "
        f"it are left out"
    )
    return {**splits, "train": partition.subset(train, kept), "validation": validation}, note


def _within(
    angles: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"], limit: float
) -> Bool[np.ndarray, " n"]:
    """Whether each angle lies less than `limit` from one of others, all in degrees."""
    gap = np.abs(angles[:, None] - others[None, :]) % 360.0
    return (np.minimum(gap, 360.0 - gap) < limit).any(axis=1)


def _images(directory: Path) -> Path:
    if (directory / "train").is_dir():
        return directory
    archive = directory / "fruits360.zip"
    if not archive.is_file():
        raise FileNotFoundError(
            f"{directory} holds neither train/ and test/ nor fruits360.zip with the images."
        )
    return archive
