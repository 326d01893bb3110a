"""The figures of an evaluation: what went in, how training went, and what the encoder does."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from eqssl_jax import figures, views
from eqssl_jax.measures import Arrays
from eqssl_jax.names import resolve
from eqssl_jax.training.forward import draw_views
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import Setup

SHOWN = 8  # images on a sheet, queries in a strip
TURNED = 3  # clouds in the figure of trajectories
RUNGS = 7  # of a ladder in its figure
SPECTRA = ("order_accuracy_amid", "magnitude_r2")


def draw_all(run: Setup, workdir: Path, folder: Path, step: int, arrays: Arrays) -> None:
    """Write the figures of one evaluated step to `folder`, named <step>_<figure>.png."""
    if not run.dataset.clouds:
        figures.views_sheet(*views_sheet(run), folder / f"{step}_views.png")
    records = read_records(workdir)
    if records:
        name = workdir.name or "run"
        figures.training_curves({name: records}, folder / f"{step}_curves.png")
    if arrays.cosines:
        figures.cosine_histograms(arrays.cosines, folder / f"{step}_cosines.png")
    if len(arrays.queries):
        draw_neighbours(run, arrays, folder / f"{step}_neighbours.png")
    if run.dataset.clouds:
        draw_trajectories(arrays, folder / f"{step}_trajectories.png")
    else:
        draw_ladders(run, folder / f"{step}_ladders.png")
    draw_spectra(arrays, folder, step)
    draw_cards(arrays, folder, step)
    for encoder, study in arrays.steering.items():
        if study and encoder in ("trained", "random"):
            name = "steering" if encoder == "trained" else f"steering_{encoder}"
            figures.steering(study, folder / f"{step}_{name}.png")


def draw_cards(arrays: Arrays, folder: Path, step: int) -> None:
    """The figures of cards that have a function for it, named <step>_<card>.png.

    Raises:
      ValueError: for a name that does not lead to a function.
    """
    for name, (figure, by_encoder) in arrays.figures.items():
        draw = resolve(figure, "figure", {}, setting=f"figure of the measure {name}")
        draw(by_encoder, folder / f"{step}_{name}.png")


def draw_ladders(run: Setup, path: Path) -> None:
    """Two images along the ladder of every part that has one; all else at the identity."""
    parts = () if run.split.draw is not None else views.ladder_parts(run.recipe)
    if not parts:
        return
    images = read(run.dataset.splits.get("validation", run.split), np.arange(2))
    walked, magnitudes = {}, np.linspace(0, 1, RUNGS)
    for i, part in enumerate(parts):
        ladder = views.ladder(RUNGS, spacing="even")
        pattern = views.mix(views.fixed(RUNGS), **{part: ladder})
        key = jax.random.fold_in(jax.random.key(run.config.seed), i)
        spec = views.ViewSpec(run.recipe, pattern)
        walked[part] = shown(run, _rendered(spec, key, len(images), images))
    figures.ladders(walked, magnitudes, path)


def draw_trajectories(arrays: Arrays, path: Path) -> None:
    """Embeddings of some clouds while they turn once around each axis: trained, and untrained."""
    rows = {
        f"{title} {i + 1}": curves
        for name, title, most in (("trained", "protein", TURNED), ("random", "untrained", 1))
        for i, curves in enumerate(arrays.trajectories.get(name, ())[:most])
    }
    figures.trajectories(rows, path)


def draw_spectra(arrays: Arrays, folder: Path, step: int) -> None:
    """Which layer keeps what of which part: now, and over the steps that were evaluated."""
    if not arrays.spectrum:
        return
    steps = {int(path.stem): path for path in folder.glob("*.json") if path.stem.isdigit()}
    earlier = {
        other: json.loads(path.read_text()).get("spectrum", {}).get("trained")
        for other, path in steps.items()
    }
    by_step = {**earlier, step: arrays.spectrum["trained"]}
    by_step = {other: spectrum for other, spectrum in sorted(by_step.items()) if spectrum}
    for metric in SPECTRA:
        figures.spectrum(arrays.spectrum, folder / f"{step}_spectrum_{metric}.png", metric=metric)
        if len(by_step) > 1:
            # Steps are evaluated in any order; the figure of all belongs to the last of them.
            path = folder / f"{max(by_step)}_spectrum_{metric}_over_training.png"
            figures.spectrum_over_training(by_step, path, metric=metric)


def views_sheet(run: Setup) -> tuple[np.ndarray, list[str]]:
    """[1 + V, N, H, W, C]: the first images of the validation split and every view of them.

    They are drawn as the first of a whole batch, so that they share draws as in training. Of
    objects whose views are stored, these, [V, N, H, W, C].
    """
    if run.split.draw is not None:
        return _stored_views(run)
    splits = run.dataset.splits  # at the size of the views
    split = splits.get("validation", splits[run.config.data.split])
    images = read(split, np.arange(min(SHOWN, split.size)))
    batch = run.config.train.batch_size
    seen: dict[str, np.ndarray] = {}
    for i, (name, spec) in enumerate(run.method.views.items()):
        key = jax.random.fold_in(jax.random.key(run.config.seed), i)
        seen[name] = shown(run, _rendered(spec, key, spec.images or batch, images))
    rows = [_fit(shown(run, images), next(iter(seen.values())).shape[2:])]
    titles = ["original"]
    for name, rendered in seen.items():
        rows += list(rendered)
        titles += [name] * len(rendered)
    least = min(len(row) for row in rows)  # a set may be of few images
    return np.stack([row[:least] for row in rows]), titles


def _stored_views(run: Setup) -> tuple[np.ndarray, list[str]]:
    """Stored views of the first objects, as each view set shows them."""
    objects = read(run.split, np.arange(min(SHOWN, run.split.size)))
    objects = objects[0] if run.method.labelled else objects
    seen = draw_views(run.method, jax.random.key(0), objects)[1]
    titled = [(name, np.asarray(view)) for name, rendered in seen.items() for view in rendered]
    least = min(len(view) for _, view in titled)
    return np.stack([view[:least] for _, view in titled]), [name for name, _ in titled]


def _rendered(
    spec: views.ViewSpec, key: Key[Array, ""], batch: int, images: Float[Array, "n ..."]
) -> Float[Array, "v m ..."]:
    """Views [V, min(N, batch), ...] of the images, drawn as the first of a batch: one program."""
    images = images[:batch]

    @jax.jit
    def render(key: Key[Array, ""], images: Array) -> Array:
        drawn = spec.pattern.draw(key, spec.transform, batch).params
        first = jax.tree.map(lambda leaf: leaf[:, : len(images)], drawn)
        return views.render(spec.transform, first, images)

    return render(key, images)


def draw_neighbours(run: Setup, arrays: Arrays, path: Path) -> None:
    """Queries with their nearest training images, before and after a change of hue."""
    queries = arrays.queries[:SHOWN]
    images = read(run.dataset.splits[arrays.split], queries)
    changed = jax.jit(jax.vmap(functools.partial(run.recipe.apply, arrays.hue or {})))(images)
    bank = run.dataset.splits["train"]

    def pictures(indices: Any) -> np.ndarray:
        retrieved = shown(run, read(bank, indices[:SHOWN].reshape(-1)))
        return retrieved.reshape(*indices[:SHOWN].shape, *retrieved.shape[1:])

    figures.neighbours(
        shown(run, images),
        shown(run, changed),
        {"": pictures(arrays.before["trained"])},
        {"": pictures(arrays.after["trained"])},
        path,
        change="hue changed",
    )


def read(split: Any, indices: np.ndarray) -> jax.Array:
    """Float images of some examples, resident or streamed."""
    inputs = np.asarray(indices, np.int32)
    return split.read(split.pool, inputs if split.load is None else split.load(inputs))


def shown(run: Setup, examples: Any) -> np.ndarray:
    """What examples [..., N, example] look like, in [0, 1]."""
    examples, rank = np.asarray(examples), len(run.dataset.image_shape)
    if run.dataset.show is not None:
        outer = examples.shape[:-rank]
        flat = run.dataset.show(jax.numpy.asarray(examples.reshape(-1, *examples.shape[-rank:])))
        examples = np.asarray(flat).reshape(*outer, *flat.shape[1:])
    return np.asarray(np.clip(examples, 0, 1))


def _fit(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Originals at the size of the views, for a sheet of equal tiles."""
    if images.shape[1:] == shape:
        return images
    return np.asarray(jax.image.resize(images, (len(images), *shape), "linear"))
