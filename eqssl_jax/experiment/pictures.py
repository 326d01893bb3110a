"""The figures of an evaluation: what went in, how training went, and what the encoder does."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from eqssl_jax import figures, views
from eqssl_jax.compiled import quick
from eqssl_jax.data.base import Split
from eqssl_jax.measures import Arrays
from eqssl_jax.measures.features import read_batches, transformed
from eqssl_jax.measures.order import ladders
from eqssl_jax.names import resolve
from eqssl_jax.training.forward import draw_views
from eqssl_jax.training.records import read_records
from eqssl_jax.training.setup import Setup
from eqssl_jax.transforms.base import Params, Transform

SHOWN = 8  # images on a sheet, queries in a strip
TURNED = 3  # clouds in the figure of trajectories
RUNGS = 7  # of a ladder in its figure
SPECTRA = ("order_accuracy_amid", "magnitude_r2")


def draw_all(
    run: Setup, workdir: Path, folder: Path, step: int, arrays: Arrays, *, batch: int
) -> None:
    """Write the figures of one evaluated step to `folder`, named <step>_<figure>.png.

    `batch` is that of the evaluation, whose programs render views here, too.
    """
    if not run.dataset.clouds:
        figures.views_sheet(*views_sheet(run, batch), folder / f"{step}_views.png")
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
        draw_ladders(run, folder / f"{step}_ladders.png", batch)
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


def draw_ladders(run: Setup, path: Path, batch: int) -> None:
    """Two images along the ladder of every part that has one; all else at the identity."""
    parts = () if run.split.draw is not None else views.ladder_parts(run.recipe)
    if not parts:
        return
    split = run.dataset.splits.get("validation", run.split)
    examples, key = np.arange(min(2, split.size)), jax.random.key(run.config.seed)
    walks = ladders.draw_ladders(run.recipe, key, parts, RUNGS, {"": len(examples)}).clean
    each = [walks[part][""].params for part in parts]
    params = jax.tree.map(lambda *leaves: np.concatenate(leaves), *each)  # [P V, N, …]
    seen = shown(run, rendered(split, examples, run.recipe, params, batch))
    walked = dict(zip(parts, np.split(seen, len(parts)), strict=True))
    figures.ladders(walked, np.linspace(0, 1, RUNGS), path)


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


def views_sheet(run: Setup, batch: int) -> tuple[np.ndarray, list[str]]:
    """[1 + V, N, H, W, C]: the first images of the validation split and every view of them.

    They are drawn as the first of a whole batch, so that they share draws as in training. Of
    objects whose views are stored, these, [V, N, H, W, C].
    """
    if run.split.draw is not None:
        return _stored_views(run)
    splits = run.dataset.splits  # at the size of the views
    split = splits.get("validation", splits[run.config.data.split])
    examples = np.arange(min(SHOWN, split.size))
    seen: dict[str, np.ndarray] = {}
    for i, (name, spec) in enumerate(run.method.views.items()):
        key = jax.random.fold_in(jax.random.key(run.config.seed), i)
        params = _first_draws(spec, key, spec.images or run.config.train.batch_size, len(examples))
        seen[name] = shown(run, rendered(split, examples, spec.transform, params, batch))
    rows = [_fit(shown(run, read(split, examples)), next(iter(seen.values())).shape[2:])]
    titles = ["original"]
    for name, views_of in seen.items():
        rows += list(views_of)
        titles += [name] * len(views_of)
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


def _first_draws(spec: views.ViewSpec, key: Key[Array, ""], count: int, shown: int) -> Params:
    """The first of the draws that `count` images of a step get, leaves [V, shown, …]."""
    draw = jax.jit(
        lambda key: spec.pattern.draw(key, spec.transform, count).params, compiler_options=quick()
    )
    return jax.tree.map(lambda leaf: leaf[:, :shown], jax.device_get(draw(key)))


def rendered(
    split: Split, examples: Int[np.ndarray, " n"], transform: Transform, params: Params, batch: int
) -> Float[np.ndarray, "v n ..."]:
    """Views [V, N, …] of examples of a split under draws with leaves [V, N, …].

    What reads and renders is compiled for `batch` images; an evaluation has these programs.
    """
    count, most = jax.tree.leaves(params)[0].shape[:2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(count * most, *leaf.shape[2:]), params)
    seen = []
    for rows, images in read_batches(split, np.tile(examples[:most], count), batch):
        drawn = jax.tree.map(lambda leaf, r=rows: leaf[r], flat)
        seen.append(transformed(drawn, images, apply=transform.apply, per_image=True))
    whole = np.concatenate(seen)[: count * most]
    return whole.reshape(count, most, *whole.shape[1:])


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
