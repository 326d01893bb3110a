"""Every measurement of several encoders on one data set: numbers, floors and what was left out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from eqssl_jax.data.base import Dataset
from eqssl_jax.measures import values as measures
from eqssl_jax.measures.budget import Settings
from eqssl_jax.measures.clouds import clouds
from eqssl_jax.measures.features import Encode, Features, Layers, extract, subset
from eqssl_jax.measures.order import ordered
from eqssl_jax.measures.order.ordered import Spectrum
from eqssl_jax.measures.retrieval.colour import hue_draw, trained_shift
from eqssl_jax.measures.rotation.study import RotationStudy, rotation_study
from eqssl_jax.measures.steering import steered
from eqssl_jax.measures.values import Found, Retrieved
from eqssl_jax.transforms.base import Params, Transform

_KEPT = 4  # clouds whose trajectories are in the JSON


class Arrays(NamedTuple):
    """What figures need beside the numbers; the mappings are by encoder.

    Attributes:
      cosines: cos(f(x), f(a(x))) of images under each augmentation, [A, n].
      split: name of the split that images and queries were taken from.
      hue: the draw that shifted the hue of the queries; None when it was left out, and then
        `queries`, `before` and `after` are empty.
      queries: indices of the queries in `split`, [Q].
      before, after: indices in "train" of the neighbours before and after, [Q, k].
      spectrum: which layer keeps the order of which part: {"layers": L names, "parts": P names,
        "order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude_r2": [L, P]}; empty when
        it was left out.
      study: the whole rotation study, with one number for each augmentation.
      steering: what `steered.plain` says of each part; empty when it was left out.
      trajectories: of point clouds, see `trajectories.planar`: curves of N clouds around 3 axes in
        S steps, [N, 3, S, 2]; empty for images.
    """

    cosines: Mapping[str, Float[np.ndarray, "a n"]]
    split: str
    hue: Params | None
    queries: Int[np.ndarray, " q"]
    before: Mapping[str, Int[np.ndarray, "q k"]]
    after: Mapping[str, Int[np.ndarray, "q k"]]
    spectrum: Mapping[str, Spectrum] = {}
    study: Mapping[str, RotationStudy] = {}
    steering: Mapping[str, Mapping[str, Any]] = {}
    trajectories: Mapping[str, Float[np.ndarray, "n 3 s 2"]] = {}


def evaluate(
    encoders: Mapping[str, Encode],
    dataset: Dataset,
    transform: Transform,
    key: Key[Array, ""],
    *,
    settings: Settings = Settings(),  # noqa: B008  (immutable)
    layers: Mapping[str, Layers] = {},
    probe_transform: Transform | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """Measure encoders beside their floors on one data set; equal keys mean equal augmentations.

    Args:
      encoders: by name: "trained", and as floors "random" (untrained) and "pixels" (of
        point clouds "coordinates").
      dataset: read at "train", "validation", "test" (without one, "validation" stands in for all
        that needs no choice) and, if there, "out_of_range".
      transform: the augmentation whose effect on embeddings is measured.
      key: of its draws.
      settings: budgets, see `Settings`.
      layers: what gives all layers of an encoder of the same name, for its spectrum; those without
        have the layers "features" and "embedding".
      probe_transform: the augmentation of CARE's probe, where the views that InfoNCE compares are
        of another recipe than `transform`; `transform` by default.

    Returns:
      A dict fit for JSON, and the arrays for figures. The dict holds "encoders": {name: {metric:
      {"value", "sd", "n"}}} (sd over seeds, augmentations or turns, null without; n what the value
      is a mean over), "chance": {metric: value}, "skipped": {metric: why}, "settings",
      "spectrum" and "steering" (see `Arrays`; null where a number is not defined); of point clouds
      also "trajectories" (see `Arrays`) of the first four.

    Raises:
      ValueError: without encoders, without the splits, or as the measurements do.
    """
    split = _held_out(encoders, dataset)
    steered.check(transform, settings)
    # One program for each encoder: what gives all its layers gives its features, too.
    models = {name: layers.get(name, encode) for name, encode in encoders.items()}
    studies = _studies(models, dataset, split, transform, key, settings)
    ladders = ordered.studies(encoders, layers, dataset, split, transform, key, settings)
    steerings = steered.studies(models, dataset, split, transform, key, settings)
    if settings.queries and not settings.hue_shift:
        settings = settings._replace(hue_shift=trained_shift(transform))
    hue = hue_draw(transform, settings.hue_shift) if settings.queries else None
    hue = hue if settings.hue_shift else None
    too_small = (
        settings.neighbours > subset(dataset.splits["train"].size, settings.train_images).size
    )
    hue = None if too_small else hue
    hues = measures.hues(dataset.splits, split, settings) if hue is not None else {}
    found: dict[str, Found] = {}
    retrieved: dict[str, Retrieved] = {}
    curves: dict[str, np.ndarray] = {}
    for name, encode in models.items():
        features = _features(encode, dataset, settings)
        parts = [
            measures.classes(features, dataset, split, settings),
            measures.care(encode, dataset, probe_transform or transform, settings),
            measures.rotations(studies[name], settings),
            measures.factors(features, dataset.splits),
            ordered.ladders(ladders.get(name), settings),
            ordered.turntable(features[split], dataset.splits[split]),
            steered.steered(steerings, name),
        ]
        if hue is None:
            parts.append(_no_retrieval(settings, too_small))
        else:
            part, retrieved[name] = measures.retrieval(
                encode, dataset.splits, split, features, transform, hue, hues, settings
            )
            parts.append(part)
        if dataset.clouds:
            part, curves[name] = clouds.measured(
                encode, dataset, split, jax.random.fold_in(key, 2**20), settings
            )
            parts.append(part)
        found[name] = measures.merge(parts)
    result: dict[str, Any] = {
        "encoders": {name: dict(part.values) for name, part in found.items()},
        "chance": measures.chance(dataset, split)
        | ordered.chance(found)
        | steered.chance(steerings)
        | clouds.chance(found)
        | _hue_chance(retrieved),
        "skipped": _skipped(found),
        "settings": {**settings._asdict(), "seeds": list(settings.seeds), "split": split},
        "spectrum": {name: ordered.plain(study) for name, study in ladders.items()},
        "steering": {name: steered.plain(steerings, name) for name in encoders},
    }
    if curves:
        result["trajectories"] = {
            name: rows[:_KEPT].round(4).tolist() for name, rows in curves.items()
        }
    arrays = _arrays(studies, split, hue, retrieved)
    spectrum = {name: ordered.spectrum(study) for name, study in ladders.items()}
    arrays = arrays._replace(trajectories=curves, steering=result["steering"])
    return result, arrays._replace(spectrum=spectrum)


def _held_out(encoders: Mapping[str, Encode], dataset: Dataset) -> str:
    split = next((name for name in ("test", "validation") if name in dataset.splits), None)
    if not encoders or split is None or "train" not in dataset.splits:
        raise ValueError(
            f"evaluate() needs encoders, and the splits train and test (or validation); found "
            f"encoders {list(encoders)} and splits {list(dataset.splits)} of {dataset.name}."
        )
    return split


def _studies(
    encoders: Mapping[str, Encode | Layers],
    dataset: Dataset,
    split: str,
    transform: Transform,
    key: Key[Array, ""],
    settings: Settings,
) -> dict[str, RotationStudy]:
    return rotation_study(
        encoders,
        dataset.splits[split],
        transform,
        key,
        augmentations=settings.augmentations,
        pairs=min(settings.pairs, settings.augmentations - 1),
        images=settings.rotation_images,
        pair_images=settings.pair_images,
        floor=settings.gamma_floor,
        batch=settings.batch,
    )


def _features(encode: Encode | Layers, dataset: Dataset, settings: Settings) -> dict[str, Features]:
    """Each split encoded once, for all that needs it."""
    limits = {
        "train": settings.train_images,
        "validation": settings.validation_images,
        "test": settings.test_images,
        "out_of_range": settings.out_of_range_images,
    }
    return {
        name: extract(encode, dataset.splits[name], batch=settings.batch, limit=limit)
        for name, limit in limits.items()
        if name in dataset.splits
    }


def _no_retrieval(settings: Settings, too_small: bool) -> Found:
    why = (
        "the transformation never shifts the hue" if settings.queries else "left out: queries is 0"
    )
    few = f"fewer training images than neighbours={settings.neighbours}"
    return measures.no_retrieval(few if too_small and settings.queries else why)


def _hue_chance(retrieved: Mapping[str, Retrieved]) -> dict[str, float]:
    known = [one.chance for one in retrieved.values() if np.isfinite(one.chance)]
    return {"retrieved_hue_followed": known[0]} if known else {}


def _skipped(found: Mapping[str, Found]) -> dict[str, str]:
    """Reasons by metric; the encoder is named where not all of them lack it."""
    reasons: dict[str, dict[str, str]] = {}
    for name, part in found.items():
        for metric, why in part.skipped.items():
            reasons.setdefault(metric, {})[name] = why
    merged = {}
    for metric, by_name in reasons.items():
        if len(by_name) == len(found) and len(set(by_name.values())) == 1:
            merged[metric] = next(iter(by_name.values()))
        else:
            merged[metric] = "; ".join(f"{name}: {why}" for name, why in by_name.items())
    return merged


def _arrays(
    studies: Mapping[str, RotationStudy],
    split: str,
    hue: Params | None,
    retrieved: Mapping[str, Retrieved],
) -> Arrays:
    none = np.zeros(0, np.int64)
    return Arrays(
        {name: study.cosines for name, study in studies.items()},
        split,
        hue,
        next((r.queries for r in retrieved.values()), none),
        {name: r.before for name, r in retrieved.items()},
        {name: r.after for name, r in retrieved.items()},
        study=studies,
    )
