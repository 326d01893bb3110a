"""Poses and hues of rendered objects: how two views of one object differ, read off their features.

For data whose splits know the factors object and rotation (solids, 3DIEBench): pairs i ≠ j of an
object's views, features [h_i, h_j], targets the unit quaternions of R_i⁻¹R_j (the object's frame)
and R_jR_i⁻¹ (the world's), both of the sign with w ≥ 0. An MLP reads them, and ridge regression,
which cannot even from perfect poses (relative rotations are not linear in them).
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from eqssl_jax.data.base import Split
from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Number, Output
from eqssl_jax.measures.features import EncoderFault, extract
from eqssl_jax.measures.promotion import lenient
from eqssl_jax.measures.regression.factors import RIDGES, r2, ridges
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.rotations import angle_between, conjugate, relative_quaternion
from eqssl_jax.settings import whole

Rows = Float[np.ndarray, "n k"]
FRAMES = {"": "object's frame", "_world": "world's frame"}
_WIDTH = 128  # wider features are projected onto so many principal axes of the training features
_SHIFTS = 3  # pairs of each view: with those that follow it among the object's views, in a ring
_OPTIMIZER = optax.adam(1e-3)
_CHECKS = 10  # of the MLP on validation, whose best moment is kept
_BATCH = 256


class ObjectViews(NamedTuple):
    """Views of some objects: features [n, h], embeddings [n, d], and rows of pairs [p, 2]."""

    features: Rows
    embeddings: Rows
    indices: Int[np.ndarray, " n"]
    pairs: Int[np.ndarray, "p 2"]


def view_pairs(objects: Float[np.ndarray, " n"], shifts: int = _SHIFTS) -> Int[np.ndarray, "p 2"]:
    """Rows (i, j) of two different views of one object, nothing assumed of how many there are.

    >>> view_pairs(np.array([5.0, 5.0, 7.0]), shifts=3).tolist()
    [[0, 1], [1, 0]]
    """
    pairs = []
    for name in np.unique(objects):
        rows = np.flatnonzero(objects == name)
        for shift in range(1, min(shifts, len(rows) - 1) + 1):
            pairs.append(np.stack([rows, np.roll(rows, -shift)], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), int)


def relative_targets(rotations: Rows, pairs: Int[np.ndarray, "p 2"]) -> dict[str, Rows]:
    """Quaternions of R_i⁻¹R_j and R_jR_i⁻¹ with w ≥ 0, by the ends of names in `FRAMES`."""
    i, j = (jnp.asarray(rotations[pairs[:, side]]) for side in (0, 1))
    frames = {"": (i, j), "_world": (conjugate(j), conjugate(i))}
    return {name: np.asarray(relative_quaternion(*pair)) for name, pair in frames.items()}


def object_views(seen: Seen, split: str, most: int) -> ObjectViews:
    """Features of all views of the first so many objects of a split.

    Raises:
      ValueError: for data that do not know objects and rotations, or quaternions not of length 1.
    """
    part = seen.splits.get(split)
    if part is None or not {"object", "rotation"} <= set(part.factors):
        raise ValueError("the data set knows no rotations of objects")
    lengths = np.linalg.norm(np.asarray(part.factors["rotation"]), axis=1)
    if not np.abs(lengths - 1).max() < 1e-3:
        raise ValueError(
            f"the rotations of the {split} split are no unit quaternions: one has length "
            f"{lengths[np.argmax(np.abs(lengths - 1))]:.4g}"
        )
    objects = np.asarray(part.factors["object"])
    chosen = np.flatnonzero(np.isin(objects, np.unique(objects)[:most]))
    extracted = extract(seen.subject.encode, part, batch=seen.settings.batch, indices=chosen)
    if not np.isfinite(extracted.features).all():
        raise EncoderFault(f"The encoder {seen.name!r} gives NaN or infinite values.")
    pairs = view_pairs(objects[chosen])
    return ObjectViews(extracted.features, extracted.embeddings, chosen, pairs)


def fit_mlp(
    train: tuple[Rows, Rows], validation: tuple[Rows, Rows], *, hidden: int, steps: int
) -> PyTree:
    """Two hidden layers with ReLU, squared error, Adam at 1e-3; the best of ten moments.

    It starts as the mean of the training targets, which is a moment too: on validation it is never
    worse than the constant.
    """
    (x, y), (vx, vy) = ((jnp.asarray(a), jnp.asarray(b)) for a, b in (train, validation))
    keys = jax.random.split(jax.random.key(0))
    widths = (x.shape[1], hidden, hidden)
    layers = [
        (jax.random.normal(key, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b))
        for key, a, b in zip(keys, widths, widths[1:], strict=False)
    ]
    layers.append((jnp.zeros((hidden, y.shape[1])), jnp.mean(y, axis=0)))
    with lenient():
        return _fitted(layers, x, y, vx, vy, max(steps // _CHECKS, 1))


@jax.jit
def apply_mlp(layers: PyTree, x: Array) -> Array:
    """What the MLP of `fit_mlp` gives, [n, k]."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias[None])
    return x @ layers[-1][0] + layers[-1][1][None]


def _error(layers: PyTree, x: Array, y: Array) -> Array:
    return jnp.mean((apply_mlp(layers, x) - y) ** 2)


@functools.partial(jax.jit, static_argnames="steps")
def _trained(carry: PyTree, key: Array, x: Array, y: Array, *, steps: int) -> PyTree:
    """Layers and optimiser after so many steps more."""

    def step(carry: PyTree, step_key: Array) -> tuple[PyTree, None]:
        layers, state = carry
        rows = jax.random.randint(step_key, (_BATCH,), 0, len(x))
        updates, state = _OPTIMIZER.update(jax.grad(_error)(layers, x[rows], y[rows]), state)
        return (optax.apply_updates(layers, updates), state), None

    return jax.lax.scan(step, carry, jax.random.split(key, steps))[0]


def _fitted(layers: PyTree, x: Array, y: Array, vx: Array, vy: Array, steps: int) -> PyTree:
    carry, best = (layers, _OPTIMIZER.init(layers)), layers
    least = float(_error(layers, vx, vy))
    for key in jax.random.split(jax.random.key(1), _CHECKS):
        carry = _trained(carry, key, x, y, steps=steps)
        missed = float(_error(carry[0], vx, vy))
        if missed < least:
            best, least = carry[0], missed
    return best


def reduced(features: Mapping[str, Rows]) -> dict[str, Rows]:
    """Features of each split, standardised, in at most `_WIDTH` principal axes of train."""
    train = features["train"].astype(np.float64)
    mean = train.mean(axis=0)
    basis = np.eye(train.shape[1])
    if train.shape[1] > _WIDTH:
        from sklearn.utils.extmath import randomized_svd  # a second to import

        basis = randomized_svd(train[:2048] - mean, _WIDTH, random_state=0)[2].T
    std = np.maximum(((train - mean) @ basis).std(axis=0), 1e-6)
    return {name: ((h - mean) @ basis / std).astype(np.float32) for name, h in features.items()}


def _measure(seen: Seen) -> Measured:
    few = max(seen.settings.relative_objects // 4, 2)
    sizes = {"train": seen.settings.relative_objects, "validation": few, "test": few}
    if "out_of_range" in seen.splits:
        sizes["out_of_range"] = few
    views = {name: object_views(seen, name, most) for name, most in sizes.items()}
    if any(len(part.pairs) < 2 for part in views.values()):
        raise ValueError("no object has two views in every split")
    targets = {
        name: relative_targets(_rotations(seen.splits[name], part), part.pairs)
        for name, part in views.items()
    }
    h = reduced({name: part.features for name, part in views.items()})
    x = {
        name: np.concatenate([h[name][part.pairs[:, side]] for side in (0, 1)], axis=1)
        for name, part in views.items()
    }
    y = {
        name: np.concatenate([quaternions[frame] for frame in FRAMES], 1)
        for name, quaternions in targets.items()
    }
    fits = ridges(x["train"], y["train"], x["validation"], y["validation"], [4, 4], RIDGES)
    layers = fit_mlp(
        (x["train"], y["train"]),
        (x["validation"], y["validation"]),
        hidden=seen.settings.relative_hidden,
        steps=seen.settings.relative_steps,
    )
    numbers: dict[str, Number | float] = {}
    chance: dict[str, float] = {}
    read = np.asarray(apply_mlp(layers, x["validation"]))
    numbers["rotation_r2_mlp_validation"] = r2(targets["validation"][""], read[:, :4])
    for split in (name for name in sizes if name in ("test", "out_of_range")):
        read = np.asarray(apply_mlp(layers, x[split]))
        linear = np.concatenate([x[split] @ fit.weight + fit.bias for fit in fits], axis=1)
        end = "" if split == "test" else "_out_of_range"
        for k, frame in enumerate(FRAMES):
            rows, true = slice(4 * k, 4 * k + 4), targets[split][frame]
            constant = np.broadcast_to(targets["train"][frame].mean(axis=0), true.shape)
            for probe, predicted in (("mlp", read[:, rows]), ("ridge", linear[:, rows])):
                name = f"rotation_r2_{probe}{frame}{end}"
                numbers[name] = Number(r2(true, predicted), n=len(true))
                numbers[f"{name}_per_dimension"] = r2(true, predicted, average="per_dimension")
                chance[name] = r2(true, constant)
        true, mean = targets[split][""], targets["train"][""].mean(axis=0)
        numbers[f"rotation_error{end}"] = median_angle(read[:, :4], true)
        chance[f"rotation_error{end}"] = median_angle(np.broadcast_to(mean, true.shape), true)
    return Measured(numbers | _hues(seen, views, h), chance=chance)


def median_angle(predicted: Rows, true: Rows) -> float:
    """Median geodesic error in degrees of predicted quaternions, brought to length 1."""
    unit = predicted / np.maximum(np.linalg.norm(predicted, axis=1, keepdims=True), 1e-9)
    return float(np.degrees(np.median(angle_between(jnp.asarray(unit), jnp.asarray(true)))))


def _rotations(split: Split, part: ObjectViews) -> Rows:
    return np.asarray(split.factors["rotation"], np.float32)[part.indices]


def _hues(seen: Seen, views: Mapping[str, ObjectViews], h: Mapping[str, Rows]) -> dict[str, float]:
    """R² of ridge from one view to (cos, sin) of the floor's and the light's hue."""
    scores = {}
    for name in ("floor_hue", "light_hue"):
        if name not in seen.splits["test"].factors:
            continue
        y = {}
        for split in ("train", "validation", "test"):
            hue = np.asarray(seen.splits[split].factors[name], np.float64)[views[split].indices]
            y[split] = np.stack([np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)], axis=1)
        fit = ridges(h["train"], y["train"], h["validation"], y["validation"], [2], RIDGES)[0]
        scores[f"r2_{name}"] = r2(y["test"], h["test"] @ fit.weight + fit.bias)
    return scores


def _outputs() -> list[Output]:
    outputs = []
    for end, words in (("", ""), ("_out_of_range", ", out of range")):
        for frame, title in FRAMES.items():
            for probe, reader in (("mlp", "MLP"), ("ridge", "ridge")):
                name = f"rotation_r2_{probe}{frame}{end}"
                text = f"R² of relative rotation ({title}, {reader}{words})"
                outputs.append(Output(name, text, HIGHER, ".3f"))
                outputs.append(
                    Output(
                        f"{name}_per_dimension", f"{text}, per dimension", HIGHER, ".3f", "", 0.0
                    )
                )
        outputs.append(
            Output(
                f"rotation_error{end}",
                f"Median error of relative rotation{words}",
                LOWER,
                ".1f",
                "degrees",
            )
        )
    text = f"R² of relative rotation ({FRAMES['']}, MLP, validation)"
    outputs.append(Output("rotation_r2_mlp_validation", text, HIGHER, ".3f"))
    hues = [
        Output(f"r2_{n}_hue", f"R² of the {n}'s hue", None, ".3f", "", 0.0)
        for n in ("floor", "light")
    ]
    return [*outputs, *hues]


CARD = Card(
    name="relative",
    measure=_measure,
    outputs=tuple(_outputs()),
    title="Relative rotation of objects",
    needs=("test",),
    absent=("rotation_r2_mlp",),
    settings={
        "relative_objects": whole(4096, "training objects of which all views are read", low=8),
        "relative_hidden": whole(1024, "width of the MLP's two hidden layers", low=1, high=65_536),
        "relative_steps": whole(20_000, "of the MLP, in batches of 256 pairs", low=10),
    },
    quick={"relative_objects": 512, "relative_hidden": 256, "relative_steps": 600},
    source="after Garrido et al. 2023 (SIE), arXiv:2302.10283",
)
