"""Whether the first principal axis of a point cloud can be read off frozen features."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax.data.base import Split
from eqssl_jax.measures.cards import LOWER, Card, Number, Output, check_finite
from eqssl_jax.measures.features import Encode, Layers, extract, read_batches, subset
from eqssl_jax.measures.regression.factors import RIDGES, Rows, ridge
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import whole
from eqssl_jax.transforms import rotate_cloud

CHANCE = 2 / 3  # E[1 − (v·u)²] of any u against a uniform v: (v·u)² has the mean 1/3
CHANCE_DEGREES = float(np.degrees(1.0))  # |v·u| is uniform in [0, 1], and arccos of it 1 on average

_ROWS, _COLUMNS = np.triu_indices(3)
_WEIGHTS = np.where(_ROWS == _COLUMNS, 1.0, np.sqrt(2))  # entries off the diagonal stand for two


class Turned(NamedTuple):
    """Rows of a split under random rotations, T rotations of each of n clouds, turn by turn.

    Attributes:
      features, embeddings: [T·n, H] and [T·n, D]; embeddings of length 1.
      axes: unit first principal axes of the rotated clouds, [T·n, 3]; the sign means nothing.
    """

    features: Float[np.ndarray, "m h"]
    embeddings: Float[np.ndarray, "m d"]
    axes: Float[np.ndarray, "m 3"]


class AxisError(NamedTuple):
    """1 − (v·v̂)² in [0, 1], and the angle between the lines in degrees, in [0, 90]; [N] each."""

    error: Float[np.ndarray, " n"]
    degrees: Float[np.ndarray, " n"]


def principal_axes(clouds: Float[Array | np.ndarray, "n p 4"]) -> Float[np.ndarray, "n 3"]:
    """Unit eigenvectors of the largest eigenvalue of each cloud's covariance; padding is left out.

    >>> principal_axes(np.array([[[0.0, 0, -2, 1], [0, 1, 0, 1], [0, 0, 2, 1]]]))[0].round(3) ** 2
    array([0., 0., 1.])
    """
    x = np.asarray(clouds, np.float64)
    mask = x[..., 3:]
    points = x[..., :3]
    mean = (points * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    centred = (points - mean) * mask
    return np.linalg.eigh(np.einsum("npi,npj->nij", centred, centred))[1][..., -1]


def axis_error(axes: Float[np.ndarray, "n 3"], predicted: Float[np.ndarray, "n 3"]) -> AxisError:
    """How far unit axes are from predicted ones, whatever the signs.

    >>> axis_error(np.array([[0.0, 0, 1]]), np.array([[0.0, 0, -1]]))
    AxisError(error=array([0.]), degrees=array([0.]))

    Raises:
      ValueError: for values that are not finite.
    """
    check_finite(axes=axes, predicted=predicted)
    cosine = np.clip(np.abs(np.sum(axes * predicted, axis=1)), 0, 1)
    return AxisError(1 - cosine**2, np.degrees(np.arccos(cosine)))


def turned(
    encode: Encode | Layers,
    split: Split,
    key: Key[Array, ""],
    *,
    turns: int,
    images: int | None,
    batch: int,
) -> Turned:
    """Encode clouds under uniform rotations of their own, so that no axis is likelier than others.

    Raises:
      ValueError: for turns < 1.
    """
    if turns < 1:
        raise ValueError(f"The principal axis needs at least one rotation, found turns={turns}.")
    rotation = rotate_cloud()
    chosen = subset(split.size, images)
    keys = jax.random.split(key, (turns, len(chosen)))
    draws = jax.jit(jax.vmap(jax.vmap(rotation.sample)))(keys)["rotation"]  # [T, n, 3]
    still = _axes_of(split, chosen, batch)
    parts = []
    for draw in draws:
        rows = extract(
            encode, split, batch=batch, indices=chosen, transform=rotation,
            params={"rotation": draw},
        )  # fmt: skip
        # An axis turns with its cloud: as a cloud of one point.
        points = jnp.concatenate([still, jnp.ones((len(still), 1))], axis=1)[:, None]
        axes = np.asarray(jax.vmap(rotation.apply)({"rotation": draw}, points))[:, 0, :3]
        length = np.linalg.norm(rows.embeddings, axis=1, keepdims=True)
        parts.append(Turned(rows.features, rows.embeddings / np.maximum(length, 1e-12), axes))
    return Turned(*map(np.concatenate, zip(*parts, strict=True)))


def read_axes(
    train: tuple[Rows, Float[np.ndarray, "n 3"]],
    validation: tuple[Rows, Float[np.ndarray, "m 3"]],
    rows: Rows,
) -> Float[np.ndarray, "q 3"]:
    """Axes predicted for `rows` by linear regression; fitted on train, λ chosen on validation.

    v and −v are one axis, so the target is the projector v vᵀ, of which the six distinct entries
    are regressed (those off the diagonal times √2: distances are then those of matrices). The
    prediction is the first eigenvector of the matrix that they make.
    """
    (x, v), (validation_x, validation_v) = train, validation
    fit = ridge(x, _projectors(v), validation_x, _projectors(validation_v), l2=RIDGES)
    entries = (np.asarray(rows, np.float64) @ fit.weight + fit.bias) / _WEIGHTS
    matrices = np.zeros((len(entries), 3, 3))
    matrices[:, _ROWS, _COLUMNS] = matrices[:, _COLUMNS, _ROWS] = entries
    return np.linalg.eigh(matrices)[1][..., -1]


def principal_axis_errors(seen: Mapping[str, Turned]) -> dict[str, AxisError]:
    """Errors on "test" of axes read off by name: "" (features), "embedding", "embedding_products".

    "embedding_products" reads the embedding together with all products z_i z_j of its entries: what
    turns as a vector, as axes in R³ do, holds v vᵀ only there. Fitted on "train", λ chosen on
    "validation" (then refitted on both), as `read_axes`.

    Raises:
      ValueError: without one of the three splits.
    """
    missing = {"train", "validation", "test"} - set(seen)
    if missing:
        raise ValueError(f"The principal axis is fitted, chosen and tested: no {sorted(missing)}.")
    readings = {
        "": lambda rows: rows.features,
        "embedding": lambda rows: rows.embeddings,
        "embedding_products": lambda rows: _with_products(rows.embeddings),
    }
    train, validation, test = (seen[name] for name in ("train", "validation", "test"))
    return {
        name: axis_error(
            test.axes,
            read_axes(
                (read(train), train.axes), (read(validation), validation.axes), read(test)
            ),
        )
        for name, read in readings.items()
    }  # fmt: skip


def _projectors(v: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 6"]:
    v = np.asarray(v, np.float64)
    return v[:, _ROWS] * v[:, _COLUMNS] * _WEIGHTS


def _with_products(z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n e"]:
    rows, columns = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, rows] * z[:, columns]], axis=1)


def _axes_of(split: Split, chosen: np.ndarray, batch: int) -> Float[Array, "n 3"]:
    axes = np.empty((len(chosen), 3), np.float32)
    for rows, clouds in read_batches(split, chosen, batch):
        axes[rows] = principal_axes(clouds)
    return jnp.asarray(axes)


def _measure(seen: Seen) -> dict[str, Number]:
    """Of features; of embeddings with "_embedding" behind, of embeddings and their products with
    "_embedding_products": means over all test clouds and turns, sd over turns.

    Equal keys mean equal rotations, so that encoders are compared on the same clouds.
    """
    turns, key = seen.settings.axis_turns, jax.random.fold_in(seen.conditions.key, 2**20)
    rows = {
        name: turned(
            seen.subject.encode,
            seen.splits[name],
            jax.random.fold_in(key, i),
            turns=turns,
            images=seen.conditions.limit(name),
            batch=seen.settings.batch,
        )
        for i, name in enumerate(("train", "validation", "test"))
    }
    numbers = {}
    for reading, errors in principal_axis_errors(rows).items():
        suffix = f"_{reading}" if reading else ""
        for name, values in (("error", errors.error), ("degrees", errors.degrees)):
            by_turn = values.reshape(turns, -1).mean(axis=1)
            sd = float(by_turn.std(ddof=1)) if turns > 1 else None
            numbers[f"principal_axis_{name}{suffix}"] = Number(values.mean(), sd, turns)
    return numbers


# Any fixed guess has this error: rotations make the true axis uniform.
_READINGS = (
    ("", ""),
    ("_embedding", ", embedding"),
    ("_embedding_products", ", embedding and its products"),
)
CARD = Card(
    name="principal_axis",
    measure=_measure,
    outputs=tuple(
        Output(f"principal_axis_error{suffix}", f"Principal axis error{words}", LOWER, ".3f",
               chance=CHANCE, headline=not suffix.endswith("products"))
        for suffix, words in _READINGS
    )
    + tuple(
        Output(f"principal_axis_degrees{suffix}", f"Principal axis, degrees off{words}", LOWER,
               ".1f", unit="degrees", chance=CHANCE_DEGREES)
        for suffix, words in _READINGS
    ),
    needs=("clouds", "test"),
    settings={"axis_turns": whole(8, "random rotations of each cloud", low=1, high=10_000)},
    quick={"axis_turns": 2},
    absent=("principal_axis_error", "principal_axis_degrees"),
    rank=10,
)  # fmt: skip
