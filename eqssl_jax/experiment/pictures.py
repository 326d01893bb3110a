"""The figures of an evaluation: what went in, how training went, and what the encoder does."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eqssl_jax import reporting
from eqssl_jax.evaluation import Arrays
from eqssl_jax.training.forward import draw_views
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import Setup

SHOWN = 8  # images on a sheet, queries in a strip


def draw_all(run: Setup, workdir: Path, folder: Path, step: int, arrays: Arrays) -> None:
    """Write the figures of one evaluated step to `folder`, named <step>_<figure>.png."""
    reporting.views_sheet(*views_sheet(run), folder / f"{step}_views.png")
    records = read_records(workdir)
    if records:
        name = workdir.name or "run"
        reporting.training_curves({name: records}, folder / f"{step}_curves.png")
    reporting.cosine_histograms(arrays.cosines, folder / f"{step}_cosines.png")
    if len(arrays.queries):
        draw_neighbours(run, arrays, folder / f"{step}_neighbours.png")


def views_sheet(run: Setup) -> tuple[np.ndarray, list[str]]:
    """[1 + V, N, H, W, C]: the first images of the validation split and every view of them."""
    split = run.dataset.splits.get("validation", run.split)
    groups = run.config.objectives.equivariance.splits
    count = max(SHOWN, groups * 2) if "equivariance" in run.method.views else SHOWN
    images = read(split, np.arange(count) % split.size)
    examples = jax.jit(lambda key, x: draw_views(run.method, key, x)[1])(
        jax.random.key(run.config.seed), images
    )
    shown = [_fit(np.asarray(images), next(iter(examples.values())).shape[2:])]
    titles = ["original"]
    for name, views in examples.items():
        shown += list(np.asarray(views))
        titles += [name] * views.shape[0]
    return np.clip(np.stack([one[:SHOWN] for one in shown]), 0, 1), titles


def draw_neighbours(run: Setup, arrays: Arrays, path: Path) -> None:
    """Queries with their nearest training images, before and after a change of hue."""
    queries = arrays.queries[:SHOWN]
    images = read(run.dataset.splits[arrays.split], queries)
    changed = jax.jit(jax.vmap(functools.partial(run.recipe.apply, arrays.hue or {})))(images)
    bank = run.dataset.splits["train"]

    def pictures(indices: Any) -> np.ndarray:
        found = np.asarray(read(bank, indices[:SHOWN].reshape(-1)))
        return found.reshape(*indices[:SHOWN].shape, *found.shape[1:])

    reporting.neighbours(
        np.asarray(images),
        np.clip(np.asarray(changed), 0, 1),
        pictures(arrays.before["trained"]),
        pictures(arrays.after["trained"]),
        path,
    )


def read(split: Any, indices: np.ndarray) -> jax.Array:
    """Float images of some examples, resident or streamed."""
    inputs = np.asarray(indices, np.int32)
    return split.read(split.pool, inputs if split.load is None else split.load(inputs))


def _fit(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Originals at the size of the views, for a sheet of equal tiles."""
    if images.shape[1:] == shape:
        return images
    return np.asarray(jax.image.resize(images, (len(images), *shape), "linear"))
