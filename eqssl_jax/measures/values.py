"""One encoder's measurements under their public names, and why one is missing."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from eqssl_jax.data.base import Dataset, Split
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.classes.care_probe import care_probe
from eqssl_jax.measures.classes.knn import knn_accuracy
from eqssl_jax.measures.classes.probe import Probe, linear_probe
from eqssl_jax.measures.features import Encode, Features, Layers, extract, subset
from eqssl_jax.measures.regression.factors import factor_r2
from eqssl_jax.measures.retrieval.colour import hue_distance, hue_followed, hues_of
from eqssl_jax.measures.retrieval.neighbours import neighbour_change
from eqssl_jax.measures.rotation.study import RotationStudy
from eqssl_jax.transforms.base import Params, Transform


class Found(NamedTuple):
    """Numbers by name, {"value", "sd", "n"} each, and the reason for each that is missing."""

    values: Mapping[str, Mapping[str, float | int | None]] = {}
    skipped: Mapping[str, str] = {}


def number(value: float, sd: float | None = None, n: int | None = None) -> dict:
    """A value with its standard deviation and what it is a mean over, fit for JSON.

    >>> number(0.5, sd=float("nan"), n=3)
    {'value': 0.5, 'sd': None, 'n': 3}
    """
    known = sd is not None and math.isfinite(sd)
    return {"value": float(value), "sd": float(sd) if known and sd is not None else None, "n": n}


def classes(
    features: Mapping[str, Features], dataset: Dataset, held_out: str, settings: Settings
) -> Found:
    """ "knn", "probe_top1", "probe_top5"."""
    names = ("knn", "probe_top1", "probe_top5")
    labels = _labels(features, dataset)
    if not {"train", held_out} <= set(labels):
        return Found(skipped=dict.fromkeys(names, f"{dataset.name} has no labels"))
    if len(np.unique(np.concatenate([labels["train"], labels[held_out]]))) < 2:
        return Found(skipped=dict.fromkeys(names, "all images are of one class"))
    count, bank, k = len(dataset.classes), features["train"].features, settings.knn_neighbours
    values, skipped = {}, {}
    if k > len(bank):
        skipped["knn"] = f"{len(bank)} training images, and knn_neighbours is {k}: set it lower"
    else:
        accuracy = knn_accuracy(
            bank,
            labels["train"],
            features[held_out].features,
            labels[held_out],
            k=k,
            temperature=settings.knn_temperature,
            classes=count,
        )
        values["knn"] = number(accuracy, n=len(labels[held_out]))
    if not {"validation", "test"} <= set(labels):
        why = "a probe is chosen on labelled validation images and tested on others: no test split"
        return Found(values, skipped | dict.fromkeys(names[1:], why))
    splits = ("train", "validation", "test")
    arrays = [part for name in splits for part in (features[name].features, labels[name])]
    probe = linear_probe(*arrays, classes=count, seeds=settings.seeds, steps=settings.probe_steps)
    return merge([Found(values, skipped), _probed({}, "probe", probe)])


def care(
    encode: Encode | Layers, dataset: Dataset, transform: Transform, settings: Settings
) -> Found:
    """ "care_probe_top1", "care_probe_top5"."""
    names = ("care_probe_top1", "care_probe_top5")
    if not settings.care_epochs:
        return Found(skipped=dict.fromkeys(names, "left out: care_epochs is 0"))
    if any(name not in dataset.splits or dataset.splits[name].labels is None
           for name in ("train", "test")):  # fmt: skip
        return Found(skipped=dict.fromkeys(names, f"{dataset.name} has no labelled test split"))
    probe = care_probe(
        encode,
        dataset,
        transform,
        optimizer=settings.care_optimizer,
        epochs=settings.care_epochs,
        batch=settings.care_batch,
        learning_rate=settings.care_rate,
        weight_decay=settings.care_decay,
        seeds=settings.seeds,
        limit=settings.train_images,
        test_limit=settings.test_images,
    )
    return _probed({}, "care_probe", probe)


def factors(features: Mapping[str, Features], splits: Mapping[str, Split]) -> Found:
    """ "r2_hue", …: see `factor_r2`."""
    if not {"train", "validation", "test"} <= set(features):
        return Found(skipped={"r2": "factors are chosen on validation and tested on test images"})
    try:
        found = factor_r2(features, splits)
    except TooFew as reason:
        return Found(skipped={"r2": str(reason)})
    if not found:
        return Found(skipped={"r2": "the data set knows neither hue, angle nor size"})
    sizes = {name: len(f.indices) for name, f in features.items()}
    values = {
        name: number(r2, n=sizes["out_of_range" if "out_of_range" in name else "test"])
        for name, r2 in found.items()
    }
    return Found(values)


def rotations(study: RotationStudy, settings: Settings) -> Found:
    """All measures of a `rotation_study`: means over augmentations; dropped pairs are summed."""
    images = study.cosines.shape[1]
    values, skipped = {}, dict(study.skipped)
    for name, found in study.measures.items():
        finite = found[np.isfinite(found)]
        if not len(finite):
            skipped[name] = "not defined for embeddings that no augmentation moves"
        elif name == "gamma_dropped":
            pairs = min(images, settings.pair_images)
            values[name] = number(finite.sum(), n=len(found) * pairs * (pairs - 1) // 2)
        else:
            sd = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
            values[name] = number(finite.mean(), sd, len(finite))
    return Found(values, skipped)


class Retrieved(NamedTuple):
    """Indices into "train" of the neighbours of each query, [Q, k], before and after.

    `chance` is that of "retrieved_hue_followed", NaN without hues.
    """

    queries: Int[np.ndarray, " q"]
    before: Int[np.ndarray, "q k"]
    after: Int[np.ndarray, "q k"]
    chance: float = float("nan")


RETRIEVAL = ("neighbour_overlap", "neighbour_rank", "retrieved_hue_followed",
             "retrieved_hue_distance", "retrieved_hue_distance_before")  # fmt: skip


def hues(splits: Mapping[str, Split], held_out: str, settings: Settings) -> dict[str, np.ndarray]:
    """Hues of the images that are searched and of those that ask, by split, NaN for all others."""
    limits = {"train": settings.train_images, held_out: None}
    chosen = {name: subset(splits[name].size, limit) for name, limit in limits.items()}
    measured = {name: np.full(splits[name].size, np.nan) for name in limits}
    for name, rows in chosen.items():
        measured[name][rows] = hues_of(splits[name], rows, batch=settings.batch)
    return measured


def retrieval(
    encode: Encode | Layers,
    splits: Mapping[str, Split],
    held_out: str,
    features: Mapping[str, Features],
    transform: Transform,
    hue: Params,
    hues: Mapping[str, np.ndarray],
    settings: Settings,
) -> tuple[Found, Retrieved]:
    """ "neighbour_overlap", "neighbour_rank", "retrieved_hue_followed" (see `hue_followed`), and
    mean distances of hues in turns: "retrieved_hue_distance" after the shift (from the shifted
    hue), and "…_before" it.
    """
    bank, known = features["train"], features[held_out]
    rows = subset(len(known.indices), settings.queries)
    queries = known.indices[rows]
    shifted = extract(
        encode, splits[held_out], batch=settings.batch, indices=queries, transform=transform,
        params=hue,
    )  # fmt: skip
    change = neighbour_change(
        unit(known.embeddings[rows]),
        unit(shifted.embeddings),
        unit(bank.embeddings),
        k=settings.neighbours,
    )
    before, after = bank.indices[change.before], bank.indices[change.after]
    values = {
        "neighbour_overlap": number(change.overlap, n=len(rows)),
        "neighbour_rank": number(change.rank, n=len(rows)),
    }
    asked, stored = (hues[name][rows] for name, rows in ((held_out, queries), ("train", after)))
    names = RETRIEVAL[2:]
    if not (np.isfinite(asked)[:, None] & np.isfinite(stored)).any():
        skipped = dict.fromkeys(names, "no image has a hue: none is known, and pixels show none")
        return Found(values, skipped), Retrieved(queries, before, after)
    followed = hue_followed(asked, settings.hue_shift, stored, hues["train"][bank.indices])
    there = hue_distance(asked + settings.hue_shift, stored)
    values |= {
        names[0]: number(followed.share, n=followed.queries),
        names[1]: number(there, n=followed.queries),
        names[2]: number(hue_distance(asked, hues["train"][before]), n=followed.queries),
    }
    return Found(values), Retrieved(queries, before, after, followed.chance)


def no_retrieval(why: str) -> Found:
    """The same names, all missing."""
    return Found(skipped=dict.fromkeys(RETRIEVAL, why))


def chance(dataset: Dataset, held_out: str) -> dict[str, float]:
    """What each metric is without knowing the image: the most frequent classes, the mean factor."""
    found = {"rotation_residual": 1.0, "composition_relative": 1.0}
    labels = dataset.splits[held_out].labels
    if labels is not None and dataset.classes:
        shares = np.sort(np.bincount(labels) / len(labels))[::-1]
        found |= {"knn": float(shares[0]), "probe_top1": float(shares[0])}
        found |= {"care_probe_top1": float(shares[0])}
        if len(dataset.classes) > 5:
            top5 = float(shares[:5].sum())
            found |= {"probe_top5": top5, "care_probe_top5": top5}
    for name in dataset.splits[held_out].factors:
        found[f"r2_{name}_per_dimension"] = 0.0
    return found


def unit(z: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def _labels(features: Mapping[str, Features], dataset: Dataset) -> dict[str, np.ndarray]:
    found = {}
    for name, part in features.items():
        labels = dataset.splits[name].labels
        if labels is not None and dataset.classes:
            found[name] = np.asarray(labels)[part.indices]
    return found


def _probed(values: Mapping, prefix: str, probe: Probe) -> Found:
    seeds = len(probe.per_seed)
    values = {**values, f"{prefix}_top1": number(probe.top1, probe.top1_sd, seeds)}
    if math.isnan(probe.top5):
        return Found(values, {f"{prefix}_top5": "all classes are among the first five"})
    return Found({**values, f"{prefix}_top5": number(probe.top5, probe.top5_sd, seeds)})


def merge(parts: Sequence[Found]) -> Found:
    """All numbers and all reasons together."""
    return Found(
        {name: value for part in parts for name, value in part.values.items()},
        {name: why for part in parts for name, why in part.skipped.items()},
    )
