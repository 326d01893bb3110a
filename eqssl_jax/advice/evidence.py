"""What speaks for a role: measurements of small encoders on images that they were not trained on.

Everything is measured on the validation split: the test split stays unseen for the runs that the
advice is for. (config.advice.held_out="test" is for checking afterwards whether the advice held.)

Beside each number stands what is needed to say how much of it is due to the images at hand: its
value for each image (or batch of images) of which it is the mean, or its variance over images.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from eqssl_jax import views
from eqssl_jax.advice.bench import Bench, resting
from eqssl_jax.measures import LadderStudy, extract, ladder_study, ridge
from eqssl_jax.measures.classes.knn import knn_classes
from eqssl_jax.measures.features import Features
from eqssl_jax.objectives import info_nce, unit
from eqssl_jax.settings import shown
from eqssl_jax.tabular.advice import OBJECTIVES

Numbers = dict[str, Any]  # metric: value; and the tables IMAGES and VARIANCE
IMAGES = "images"
"""By metric, the values that it is the mean of, one for each image, as text with spaces."""
VARIANCE = "variance"
"""By metric without these, the variance of the number over draws of its images."""


def gather(
    encoders: Mapping[str, Partial], wanted: Mapping[str, Sequence[str]], from_: Bench
) -> dict[str, dict[str, Numbers]]:
    """Evidence by encoder and part: "probe_top1", "knn", "order_accuracy_amid",
    "magnitude_r2", "info_nce" and "natural".

    Args:
      encoders: frozen, by name.
      wanted: for each encoder the parts it shall be measured for; `OBJECTIVES` stands for all of
        the recipe together, where order and R² are means over its ladders.
      from_: the images.
    """
    evidence: dict[str, dict[str, Numbers]] = {name: {} for name in encoders}
    features = {name: _features(encode, from_) for name, encode in encoders.items()}
    for name, parts in wanted.items():
        classes = _with_images(_classes(features[name], from_)) if from_.classes else {}
        evidence[name] = {part: _joined(classes) for part in parts}
    parts_of_all = dict.fromkeys(part for parts in wanted.values() for part in parts)
    for part in parts_of_all:
        chosen = {name: encoders[name] for name, parts in wanted.items() if part in parts}
        for name, numbers in _along(chosen, part, from_).items():
            evidence[name][part] = _joined(evidence[name][part], numbers)
        for name, encode in chosen.items():
            means = {
                "info_nce": _info_nce(encode, part, from_),
                "natural": _natural(encode, features[name], part, from_),
            }
            evidence[name][part] = _joined(evidence[name][part], _with_images(means))
    return evidence


_SHARES = ("probe_top1", "knn", "order_accuracy_amid", "natural")  # in [0, 1]
_ALWAYS = ("info_nce", "natural")  # those that need no labels and no ladder
_MEANS = ("probe_top1", "knn", *_ALWAYS)  # over images


def check_evidence(
    evidence: Any, wanted: Mapping[str, Sequence[str]], metrics: Sequence[str] = ()
) -> None:
    """Whether it is what `gather` gives for the encoders, parts and metrics that are wanted.

    Raises:
      ValueError: for the first number or table that is not.
    """
    if not isinstance(evidence, dict) or not evidence:
        raise ValueError("not a table of candidates")
    for name, parts in {**dict.fromkeys(evidence, ()), **wanted}.items():
        measured = evidence.get(name)
        if not isinstance(measured, dict) or not measured:
            raise ValueError(f"nothing is there of the candidate {name}")
        for part in dict.fromkeys((*measured, *parts)):
            _check_numbers(measured.get(part), f"{name}, {part}")
    for name, parts in wanted.items():
        if lacking := [m for m in metrics for part in parts if m not in evidence[name][part]]:
            raise ValueError(f"{lacking[0]} of {name} is missing")
    cells = [cell for parts in evidence.values() for cell in parts.values()]
    for metric in _MEANS:
        rows = [cell.get(IMAGES, {}).get(metric, "") for cell in cells]
        counts = {len(row.split()) for row in rows}
        if len(counts) > 1 or (metric in _ALWAYS and 0 in counts):
            raise ValueError(f"{metric} is there for {sorted(counts)} images of the candidates")


def _check_numbers(numbers: Any, where: str) -> None:
    if not isinstance(numbers, dict) or not numbers:
        raise ValueError(f"there are no numbers of {where}")
    tables = {kind: numbers.get(kind, {}) for kind in (IMAGES, VARIANCE)}
    if not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError(f"the tables of {where} are none")
    for metric, value in numbers.items():
        if metric in tables:
            continue
        if not _is_finite(value) or (metric in _SHARES and not 0 <= value <= 1):
            raise ValueError(f"{metric} of {where} is {shown(value)}")
        if metric in tables[IMAGES] and not _is_mean(value, tables[IMAGES][metric]):
            raise ValueError(f"{metric} of {where} is not the mean over its images")
        if metric in tables[VARIANCE] and not _is_finite(tables[VARIANCE][metric]):
            raise ValueError(f"the variance of {metric} of {where} is no number")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and bool(np.isfinite(value))


def _is_mean(value: float, listed: Any) -> bool:
    """Whether `value` is the mean of numbers that are written with six digits."""
    if not isinstance(listed, str):
        return False
    row = np.asarray(listed.split(), np.float64)
    return len(row) > 0 and bool(np.isclose(row.mean(), value, rtol=1e-4, atol=1e-6))


def _with_images(values: Mapping[str, np.ndarray]) -> Numbers:
    """Metrics that are means over images, with the values of the images."""
    images = {name: " ".join(f"{x:.6g}" for x in row) for name, row in values.items()}
    return {**{name: float(row.mean()) for name, row in values.items()}, IMAGES: images}


def _joined(*numbers: Numbers) -> Numbers:
    """All numbers, and their tables joined."""
    joined: Numbers = {}
    for numbers_of_seed in numbers:
        tables = {
            name: joined.get(name, {}) | numbers_of_seed[name]
            for name in (IMAGES, VARIANCE)
            if name in numbers_of_seed
        }
        joined |= {**numbers_of_seed, **tables}
    return joined


def _features(encode: Partial, from_: Bench) -> dict[str, Features]:
    splits = {"bank": from_.bank, "chooser": from_.chooser, "held_out": from_.held_out}
    return {name: extract(encode, split, batch=256) for name, split in splits.items()}


def _classes(features: Mapping[str, Features], from_: Bench) -> dict[str, Float[np.ndarray, " n"]]:
    """Which images a linear probe (least squares on one-hot classes) and kNN get right: 0 or 1."""

    def one_hot(labels: Int[np.ndarray, " n"] | None) -> Float[np.ndarray, "n c"]:
        return np.eye(from_.classes)[np.asarray(labels)]

    x, vx = features["bank"].features, features["chooser"].features
    fit = ridge(x, one_hot(from_.bank.labels), vx, one_hot(from_.chooser.labels))
    scores = features["held_out"].features.astype(np.float64) @ fit.weight + fit.bias
    truth = np.asarray(from_.held_out.labels)
    voted = knn_classes(
        x,
        np.asarray(from_.bank.labels),
        features["held_out"].features,
        truth,
        k=min(50, len(x)),
        temperature=0.1,
        classes=from_.classes,
    )
    right = {"probe_top1": scores.argmax(axis=1) == truth, "knn": voted == truth}
    return {name: hit.astype(np.float64) for name, hit in right.items()}


def _along(encoders: Mapping[str, Partial], part: str, from_: Bench) -> dict[str, Numbers]:
    """Order amid other changes and R² of the magnitude, of features, on ladders of one part.

    For `OBJECTIVES`, the means over all parts with a magnitude, and of their variances: too much
    again, since parts share their images.

    Their variance over images is that of n images without pairing candidates, which is too much
    rather than too little: of R², 4 R² (1 − R²)² / n (Olkin and Finn 1995, for large n); of the
    order, 0.3² / n (see `ladder_study`).
    """
    able = views.ladder_parts(from_.transform)
    parts = [name for name in able if part in (name, OBJECTIVES)]
    if not parts:
        return {}
    studies = ladder_study(
        encoders,
        {"train": from_.bank, "validation": from_.chooser, "held_out": from_.held_out},
        from_.transform,
        jax.random.key(3),
        parts=parts,
        held_out="held_out",
        rungs=from_.rungs,
        images=from_.images,
        batch=256,
    )
    return {name: _of_ladders(study) for name, study in studies.items() if study.parts}


def _of_ladders(study: LadderStudy) -> Numbers:
    """Order and R² of features, means over the parts that have them, with their variances."""
    row = study.layers.index("features")
    measured = {
        "order_accuracy_amid": study.order_accuracy_amid[row],
        "magnitude_r2": study.magnitude_r2[row],
    }
    r2, images = np.clip(measured["magnitude_r2"], 0, 1), np.maximum(1, study.images)
    variances = {
        "order_accuracy_amid": 0.3**2 / images,
        "magnitude_r2": 4 * r2 * (1 - r2) ** 2 / images,
    }
    finite = {metric: np.isfinite(x) for metric, x in measured.items() if np.isfinite(x).any()}
    numbers = {metric: float(measured[metric][kept].mean()) for metric, kept in finite.items()}
    variance = {metric: float(variances[metric][kept].mean()) for metric, kept in finite.items()}
    return {**numbers, VARIANCE: variance}


def _info_nce(encode: Partial, part: str, from_: Bench) -> Float[np.ndarray, " k"]:
    """InfoNCE of each batch under all other transformations, the part itself at its identity:
    comparable across roles.
    """
    count = from_.held_out.size // from_.batch * from_.batch
    z1, z2 = (
        extract(
            encode,
            from_.held_out,
            indices=np.arange(count),
            transform=from_.transform,
            params=resting(from_, [part], view, count),
            batch=256,
        ).embeddings.reshape(count // from_.batch, from_.batch, -1)
        for view in range(2)
    )
    return np.asarray(_contrast(z1, z2, temperature=from_.temperature), np.float64)


@partial(jax.jit, static_argnames="temperature")
def _contrast(
    z1: Float[Array, "k b d"], z2: Float[Array, "k b d"], *, temperature: float
) -> Float[Array, " k"]:
    return jax.vmap(lambda a, b: info_nce(unit(a), unit(b), temperature=temperature))(z1, z2)


def _natural(
    encode: Partial, features: Mapping[str, Features], part: str, from_: Bench
) -> Float[np.ndarray, " n"]:
    """Which changed images are as near to a natural image as natural images are to each other.

    1 or 0 for each; their mean, for t a full draw of the part, is the share of held-out x whose
    f(t(x)) has a neighbour among the bank no further than the median over held-out x' of the
    distance of f(x') to its nearest in the bank (features on the unit sphere). ½ where the data
    varies in t by itself, so that t(x) could be one of its images; 0 where t leaves the data.
    For `OBJECTIVES`, t is a draw of the whole recipe.
    """
    others = [name for name in from_.transform.identity if part not in (name, OBJECTIVES)]
    changed = extract(
        encode,
        from_.held_out,
        transform=from_.transform,
        params=resting(from_, others, 0, from_.held_out.size),
        batch=256,
    ).features
    bank = _rows(features["bank"].features)
    typical = float(np.median(_nearest(_rows(features["held_out"].features), bank)))
    return (_nearest(_rows(changed), bank) <= typical).astype(np.float64)


def _rows(x: Float[np.ndarray, "n h"]) -> Float[np.ndarray, "n h"]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _nearest(
    x: Float[np.ndarray, "n h"], bank: Float[np.ndarray, "m h"]
) -> Float[np.ndarray, " n"]:
    """Distance of each unit row to the nearest one of the bank."""
    return np.sqrt(np.maximum(2 - 2 * (x @ bank.T).max(axis=1), 0))
