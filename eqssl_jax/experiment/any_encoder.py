"""The whole evaluation of any encoders on any data: numbers, tables, figures and one page."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from eqssl_jax import data as sources
from eqssl_jax import encoders as networks
from eqssl_jax import figures, measures, page, storage, transforms
from eqssl_jax.data.base import Dataset
from eqssl_jax.data.named import in_memory, named
from eqssl_jax.encoders.frozen import Encoder
from eqssl_jax.experiment import pictures
from eqssl_jax.experiment.compare import compare
from eqssl_jax.experiment.embed import at_shape
from eqssl_jax.experiment.load import check_options, given_to, load
from eqssl_jax.experiment.stored import stored, write_arrays
from eqssl_jax.methods import build_recipe
from eqssl_jax.names import check_folder_name, check_free
from eqssl_jax.training.workdir import write_json
from eqssl_jax.transforms import Transform

Result = dict[str, Any]
Source = str | Path | Callable[[np.ndarray], Any]
DIMENSION = 64  # of the embeddings of the floors


def measure(
    encoders: Source | Sequence[Source] | Mapping[str, Source],
    data: str | Path | Dataset | np.ndarray | tuple[np.ndarray, np.ndarray],
    *,
    recipe: str | Transform = "factors",
    out: str | Path | None = None,
    directory: str = "",
    size: int = 0,
    preset: str = "quick",
    own: Sequence[str] = (),
    only: Sequence[str] = (),
    encoder_options: Mapping[str, Any] = {},
    data_options: Mapping[str, Any] = {},
    **options: Any,
) -> dict[str, Result]:
    """Measure one or several encoders; results by their names, as `eval` writes them.

    Each stands beside its floors: the inputs themselves, and an untrained encoder of the same
    architecture, or, where that is not known, a small one of ours (`untrained` says which).
    Encoders of different sizes see the same images and the same draws, each at its own size.

    Args:
      encoders: whatever `load` opens, or functions of NumPy images, one or several, or by name.
      data: a source by name, a TFDS name, a folder, a .zip, an .npz; a data set; or images
        [N, H, W, C], uint8 or in [0, 1] (kept in steps of 1/255), or a pair (images, labels).
      recipe: whose effect is measured: a name, `module:attribute`, or a `Transform`; of point
        clouds "rotation3d" stands in for "factors".
      out: a folder for the numbers, tables, figures and the page, of which earlier ones of the same
        names are replaced; None: nothing is written.
      directory: of data that are named.
      size: images are brought to size × size for encoders that take any; 0: as they are. Encoders
        of one size get theirs.
      preset: "full", or "quick": budgets for a laptop.
      own: measures of your own, `module:attribute`.
      only: cards by name, e.g. "knn" and "ladders", and no other; (): all.
      encoder_options: of `load`; of several encoders each is given those of its kind.
      data_options: of the source.
      **options: budgets of the evaluation.

    Raises:
      ValueError, OSError: as `load`, `data.load`, `build_recipe` and `measures.evaluate`.
    """
    data = in_memory(data)
    out = None if out is None else storage.make_folder(storage.path(out), "--out")
    opened = _opened(encoders, encoder_options)
    cards = _chosen(measures.cards(own, setting="--measure"), only)
    budget = measures.budgets(options, preset, cards=cards)
    if isinstance(recipe, str):
        build_recipe(recipe, {}, "--recipe")  # a mistake shows before the data are read
    results: dict[str, Result] = {}

    def read(shape: tuple[int, ...] | None) -> Dataset:
        whole = data if isinstance(data, Dataset) else _read(data, directory, shape, data_options)
        return at_shape(whole, shape and (*shape, whole.image_shape[-1]))

    for dataset, group in _by_shape(opened, size, read):
        transform = recipe if isinstance(recipe, Transform) else _recipe(recipe, dataset)
        _check_size(transform, dataset)
        subjects, columns, notes = _beside_floors(group, dataset)
        print(f"Measuring {', '.join(group)} on {dataset.name} ...", flush=True)
        key = jax.random.key(2)  # as in an evaluation of a run
        arguments = subjects, columns, dataset, transform, key
        measured = measures.evaluate_each(*arguments, settings=budget, cards=cards)
        for name, (result, arrays) in measured.items():
            about: Result = {"step": 0, "dataset": dataset.name, "origin": group[name].origin}
            about |= {"untrained": notes[name], "image_shape": list(dataset.image_shape)}
            results[name] = about | result
            if out is not None:
                _write(out / name, results[name], arrays, dataset, transform)
    results = {name: results[name] for name in opened}
    if out is not None:
        _write_together(out, results)
    return results


def _chosen(cards: Sequence[measures.Card], only: Sequence[str]) -> tuple[measures.Card, ...]:
    names = [card.name for card in cards]
    if unknown := sorted(set(only) - set(names)):
        raise ValueError(f"--only names no measure {unknown}: choose from {', '.join(names)}.")
    return tuple(card for card in cards if not only or card.name in only)


def floor(dataset: Dataset) -> dict[str, measures.Encode]:
    """The inputs themselves as features, by the name of this floor."""
    shape = dataset.image_shape
    if dataset.clouds:
        return {"coordinates": measures.coordinate_encoder(shape[0], dimension=DIMENSION)}
    return {"pixels": measures.pixel_encoder(shape, dimension=DIMENSION)}


def untrained(encoder: Encoder, dataset: Dataset) -> tuple[Partial, str]:
    """All layers of an encoder before training, and what it is.

    It is the encoder's own architecture where that is known, else a small network of ours.
    """
    if encoder.untrained is not None:
        layers = encoder.untrained()
        layers = layers if isinstance(layers, Partial) else Partial(layers)
        return layers, "its own architecture before training"
    return _small(tuple(dataset.image_shape), dataset.clouds)


@functools.cache  # one floor for all encoders whose architecture is not known
def _small(shape: tuple[int, ...], clouds: bool) -> tuple[Partial, str]:
    name = "deepset" if clouds else "conv_tiny"
    network = networks.build(
        encoder=name,
        projector=(DIMENSION, DIMENSION),
        mean=(0.0 if clouds else 0.5,) * shape[-1],
        std=(1.0 if clouds else 0.25,) * shape[-1],
    )
    start = network.init(jax.random.key(0), shape)
    layers = Partial(network.layers, start["params"], start["batch_stats"])
    return layers, f"{name} before training, since the architecture of the encoder is not known"


def _beside_floors(
    group: Mapping[str, Encoder], dataset: Dataset
) -> tuple[dict[str, Any], dict[str, dict[str, str]], dict[str, str]]:
    """Encoders and floors by name, which of them each result has, and what is untrained in it."""
    shared = floor(dataset)
    subjects: dict[str, Any] = {f"the floor {name}": encode for name, encode in shared.items()}
    columns, notes = {}, {}
    for name, encoder in group.items():
        layers, notes[name] = untrained(encoder, dataset)
        key = next((k for k, other in subjects.items() if _equal(layers, other)), "")
        key = key or f"the untrained floor of {name}"
        subjects |= {name: encoder, key: layers}
        columns[name] = {"trained": name, "random": key, **{k: f"the floor {k}" for k in shared}}
    return subjects, columns, notes


def _equal(a: Any, b: Any) -> bool:
    """Whether both are the same function with the same weights."""
    if not (isinstance(a, Partial) and isinstance(b, Partial) and a.func == b.func):
        return False
    leaves, others = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(leaves) == len(others) and all(map(np.array_equal, leaves, others))


def _by_shape(
    opened: Mapping[str, Encoder], size: int, read: Callable[[tuple[int, ...] | None], Dataset]
) -> Iterator[tuple[Dataset, dict[str, Encoder]]]:
    """The data at each size that some encoders need, and these; for those of any size, `size`.

    `read` gives the data at a height and width, or, for None, as they are.
    """
    shapes = {name: encoder.image_shape for name, encoder in opened.items()}
    wanted = {
        name: shape[:2] if shape and len(shape) == 3 else (size, size) if size else None
        for name, shape in shapes.items()
    }
    plain = read(None) if None in wanted.values() else None
    native = plain and plain.image_shape[:2]
    for shape in dict.fromkeys(shape or native for shape in wanted.values()):
        group = {name: opened[name] for name in opened if (wanted[name] or native) == shape}
        yield plain if plain is not None and shape == native else read(shape), group


def _opened(encoders: Any, options: Mapping[str, Any]) -> dict[str, Encoder]:
    """By name; of several encoders each is given the options of its kind."""
    check_options(options, start="--encoder_option=")
    titles: Sequence[str] = list(encoders) if isinstance(encoders, Mapping) else ()
    for title in titles:
        check_folder_name(title)
    sources = list(encoders.values()) if titles else encoders
    sources = list(sources) if isinstance(sources, list | tuple) else [sources]
    chosen = [dict(options)] if len(sources) == 1 else [given_to(s, options) for s in sources]
    if not sources:
        raise ValueError("There is no encoder to measure: give at least one.")
    if unused := sorted(set(options).difference(*chosen)):
        raise ValueError(f"--encoder_option {unused} is of none of the encoders {sources}.")
    opened: dict[str, Encoder] = {}
    for number, (source, given) in enumerate(zip(sources, chosen, strict=True)):
        encoder = load(source, name=titles[number] if titles else None, **given)
        name, again = encoder.name if titles else encoder.name.replace("/", "_"), 2
        while name in opened:
            name, again = f"{encoder.name}_{again}", again + 1
        check_folder_name(name)
        opened[name] = encoder
    return opened


def _read(
    name: str | Path, directory: str, shape: tuple[int, ...] | None, options: Mapping[str, Any]
) -> Dataset:
    source, place = named(name, directory)
    advice = "the data set, its directory and its size are arguments of their own"
    check_free(options, sources.load, start="data_options: ", advice=advice)
    side = shape[0] if shape and shape[0] == shape[1] else None
    return sources.load(name=source, directory=place, size=side, **options)


def _recipe(name: str, dataset: Dataset) -> Transform:
    """The recipe at the size of the images, if it has one."""
    if dataset.clouds and name == "factors":
        name = "rotation3d"
    function = transforms.recipes.RECIPES.get(name)
    height, width = dataset.image_shape[:2]
    sized = function is not None and "size" in inspect.signature(function).parameters
    return build_recipe(name, {"size": height} if sized and height == width else {}, "--recipe")


def _check_size(transform: Transform, dataset: Dataset) -> None:
    image = jax.ShapeDtypeStruct(dataset.image_shape, "float32")
    shape = jax.eval_shape(functools.partial(transform.apply, transform.identity), image).shape
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
    if study := arrays.steering.get("trained"):
        figures.steering(study, place / "0_steering.png")


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
            notes=(
                f"{name} is {result['origin']}, on images of {result['image_shape'][:2]}",
                f"the random encoder is {result['untrained']}",
            ),
        )
        for name, result in results.items()
    ]
    shared = {"comparison": (out / "comparison.png").read_bytes()}
    spectra = {name: result["spectrum"].get("trained") for name, result in results.items()}
    if spectra := {name: spectrum for name, spectrum in spectra.items() if spectrum}:
        for metric in pictures.SPECTRA:
            path = out / f"spectrum_{metric}.png"
            figures.spectrum(spectra, path, metric=metric)
            shared[path.stem] = path.read_bytes()
    (out / "page.html").write_text(page.html_page(runs, shared=shared), encoding="utf-8")
    print(f"The page: {out / 'page.html'}", flush=True)
