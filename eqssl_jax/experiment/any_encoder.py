"""The whole evaluation of any encoders on any data: numbers, tables, figures and one page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from eqssl_jax import data as sources
from eqssl_jax import figures, measures, page
from eqssl_jax.data.base import Dataset
from eqssl_jax.data.named import named
from eqssl_jax.encoders.frozen import Encoder
from eqssl_jax.experiment import pictures
from eqssl_jax.experiment.compare import compare
from eqssl_jax.experiment.load import load
from eqssl_jax.experiment.stored import stored, write_arrays
from eqssl_jax.methods import build_recipe
from eqssl_jax.training.workdir import write_json
from eqssl_jax.transforms import Transform

Result = dict[str, Any]
Source = str | Path | Callable[[np.ndarray], Any]


def measure(
    encoders: Source | Sequence[Source] | Mapping[str, Source],
    data: str | Path | Dataset,
    *,
    recipe: str | Transform = "factors",
    out: str | Path | None = None,
    directory: str = "",
    size: int = 0,
    preset: str = "quick",
    own: Sequence[str] = (),
    encoder_options: Mapping[str, Any] = {},
    data_options: Mapping[str, Any] = {},
    **options: Any,
) -> dict[str, Result]:
    """Measure one or several encoders; results by their names, as `eval` writes them.

    Args:
      encoders: whatever `load` opens, or functions of NumPy images, one or several, or by name.
      data: a source by name, a TFDS name, a folder, a .zip, an .npz; or a data set.
      recipe: whose effect is measured: a name, `module:attribute`, or a `Transform`.
      out: a folder for the numbers, tables, figures and the page; None: nothing is written.
      directory: of data that are named.
      size: images are brought to size × size; 0: as the encoder needs, or as they are.
      preset: "full", or "quick": budgets for a laptop.
      own: measures of your own, `module:attribute`.
      encoder_options, data_options: of `load` and of the source.
      **options: budgets of the evaluation.

    Raises:
      ValueError, OSError: as `load`, `data.load`, `build_recipe` and `measures.evaluate`.
    """
    opened = _opened(encoders, encoder_options)
    shapes = {encoder.image_shape for encoder in opened.values()} - {None}
    if len(shapes) > 1:
        raise ValueError(
            f"The encoders take images of different shapes, {sorted(map(str, shapes))}: measure "
            f"them apart, each on images of its own size."
        )
    side = size or next((shape[0] for shape in shapes if shape), 0)
    cards = measures.cards(own, setting="--measure")
    budget = measures.settings(preset, cards=cards, **options)
    transform = recipe if isinstance(recipe, Transform) else build_recipe(recipe, {}, "--recipe")
    dataset = data if isinstance(data, Dataset) else _read(str(data), directory, side, data_options)
    _check_size(transform, dataset)
    results = {}
    for name, encoder in opened.items():
        print(f"Measuring {name} ({encoder.origin}) on {dataset.name} ...", flush=True)
        measured: dict[str, Any] = {"trained": encoder, **floor(dataset)}
        result, arrays = measures.evaluate(
            measured,
            dataset,
            transform,
            jax.random.key(2),  # as in an evaluation of a run
            settings=budget,
            cards=cards,
        )
        results[name] = {"step": 0, "dataset": dataset.name, "origin": encoder.origin, **result}
        if out is not None:
            _write(Path(out) / name, results[name], arrays, dataset, transform)
    if out is not None:
        _write_together(Path(out), results)
    return results


def floor(dataset: Dataset) -> dict[str, measures.Encode]:
    """The inputs themselves as features, by the name of this floor."""
    shape = dataset.image_shape
    if dataset.clouds:
        return {"coordinates": measures.coordinate_encoder(shape[0], dimension=64)}
    return {"pixels": measures.pixel_encoder(shape, dimension=64)}


def _opened(encoders: Any, options: Mapping[str, Any]) -> dict[str, Encoder]:
    if isinstance(encoders, Mapping):
        return {name: load(source, name=name, **options) for name, source in encoders.items()}
    several = isinstance(encoders, list | tuple)
    opened: dict[str, Encoder] = {}
    for source in encoders if several else [encoders]:
        encoder = load(source, **options)
        name, again = encoder.name.replace("/", "_"), 2
        while name in opened:
            name, again = f"{encoder.name}_{again}", again + 1
        opened[name] = encoder
    if not opened:
        raise ValueError("There is no encoder to measure: give at least one.")
    return opened


def _read(name: str, directory: str, side: int, options: Mapping[str, Any]) -> Dataset:
    source, place = named(name, directory)
    return sources.load(name=source, directory=place, size=side or None, **options)


def _check_size(transform: Transform, dataset: Dataset) -> None:
    image = jax.ShapeDtypeStruct(dataset.image_shape, "float32")
    shape = jax.eval_shape(transform.apply, transform.identity, image).shape
    if shape != tuple(dataset.image_shape):
        raise ValueError(
            f"The recipe makes views of shape {shape} of images of shape {dataset.image_shape}: "
            f"give --size={shape[0]}, so that both are seen at one size, or another recipe."
        )


def _write(
    folder: Path, result: Result, arrays: measures.Arrays, dataset: Dataset, transform: Transform
) -> None:
    """Numbers first, then figures, as an evaluation of a run."""
    place = folder / "eval"
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "0.json", result)
    write_arrays(place / "0_arrays.npz", stored(arrays))
    if arrays.cosines:
        figures.cosine_histograms(arrays.cosines, place / "0_cosines.png")
    pictures.draw_spectra(arrays, place, 0)
    pictures.draw_cards(arrays, place, 0)
    seen: Any = SimpleNamespace(dataset=dataset, recipe=transform)
    if len(arrays.queries):
        pictures.draw_neighbours(seen, arrays, place / "0_neighbours.png")
    if found := arrays.steering.get("trained"):
        figures.steering(found, place / "0_steering.png")


def _write_together(out: Path, results: Mapping[str, Result]) -> None:
    """One comparison and one page."""
    configs = {name: {"encoder": name, "roles": {}} for name in results}
    compare(results, configs, out)
    runs = [
        page.Run(
            name,
            str(out / name),
            evaluations={0: result},
            figures={
                path.stem.removeprefix("0_"): path.read_bytes()
                for path in sorted((out / name / "eval").glob("0_*.png"))
            },
            notes=(f"{name} is {result['origin']}",),
        )
        for name, result in results.items()
    ]
    shared = {"comparison": (out / "comparison.png").read_bytes()}
    (out / "page.html").write_text(page.html_page(runs, shared=shared), encoding="utf-8")
    print(f"The page: {out / 'page.html'}", flush=True)
