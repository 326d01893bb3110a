"""The images that evidence is taken from, and what is done to them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from eqssl_jax import views
from eqssl_jax.data import partition
from eqssl_jax.data.base import Split
from eqssl_jax.measures import subset
from eqssl_jax.methods import find
from eqssl_jax.training.setup import Setup
from eqssl_jax.transforms.base import Params, Transform


class Bench(NamedTuple):
    """The images that evidence is taken from, chosen once.

    Attributes:
      bank: of the training split, to fit probes and as natural neighbours.
      chooser: other training images, which choose the probe's λ.
      held_out: of the split config.advice.held_out; every number is measured on them.
      transform: the recipe.
      draws: two of it for each held-out image, leaves [2, n, …] on the host.
      batch: images in an InfoNCE.
      temperature: of it.
      images, rungs: of the ladders.
      classes: how many, 0 without labels.
    """

    bank: Split
    chooser: Split
    held_out: Split
    transform: Transform
    draws: Params
    batch: int
    temperature: float
    images: int
    rungs: int
    classes: int


def bench(run: Setup) -> Bench:
    """The images for the advice of a run.

    Raises:
      ValueError: as `check_images`.
    """
    check_images(run)
    settings, splits = run.config.advice, run.dataset.splits
    chosen = subset(splits["train"].size, settings.train_images)
    cut = max(1, len(chosen) // 5)
    held_out = subset(splits[settings.held_out].size, settings.held_out_images)
    mixed = np.random.default_rng(0).permutation(chosen).astype(np.int32)
    measured = partition.subset(splits[settings.held_out], held_out.astype(np.int32))
    labelled = splits["train"].labels is not None and measured.labels is not None
    return Bench(
        bank=partition.subset(splits["train"], np.sort(mixed[cut:])),
        chooser=partition.subset(splits["train"], np.sort(mixed[:cut])),
        held_out=measured,
        transform=run.recipe,
        draws=_draws(run.recipe, measured.size),
        batch=min(run.config.train.batch_size, measured.size),
        temperature=_temperature(run),
        images=settings.ladder_images,
        rungs=settings.rungs,
        classes=len(run.dataset.classes) if labelled else 0,
    )


def _temperature(run: Setup) -> float:
    """That of the SimCLR the candidates train, or of SimCLR's card."""
    entries = run.config.objectives.values()
    trained = [values.temperature for values in entries if values.method == "simclr"]
    return float(trained[0] if trained else find("simclr").settings["temperature"].default)


def check_images(run: Setup) -> None:
    """There must be images that the advice can be measured on.

    Raises:
      ValueError: without a validation split, or with too few images.
    """
    settings, splits = run.config.advice, run.dataset.splits
    name = settings.held_out
    if name not in ("validation", "test") or name not in splits:
        raise ValueError(
            f"Advice is measured on the split config.advice.held_out = {name!r}, validation or "
            f"test, and the data has {sorted(splits)}: choose one of these, or make a validation "
            f"split with config.data.validation, e.g. 0.2."
        )
    train = min(splits["train"].size, settings.train_images)
    held_out = min(splits[name].size, settings.held_out_images)
    if train < 10 or held_out < 8:
        raise ValueError(
            f"Advice needs at least 10 training and 8 held-out images, found {train} and "
            f"{held_out}: raise config.data.validation or the two budgets of config.advice."
        )


def _draws(transform: Transform, count: int) -> Params:
    pattern = views.independent(2)
    draw = jax.jit(lambda key: pattern.draw(key, transform, count).params)
    return jax.device_get(draw(jax.random.key(4)))


def resting(from_: Bench, parts: Sequence[str], view: int, count: int) -> Params:
    """One view's draws with some parts at their identity; on the host, so nothing is compiled."""
    identity = from_.transform.identity

    def at_identity(leaf: np.ndarray) -> np.ndarray:
        return np.broadcast_to(leaf, (count, *np.shape(leaf)))

    return {
        part: jax.tree.map(at_identity, identity[part])
        if part in parts
        else jax.tree.map(lambda leaf: leaf[view, :count], drawn)
        for part, drawn in from_.draws.items()
    }
