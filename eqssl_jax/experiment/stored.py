"""The runs of a workdir, set up again; and of an evaluated step what figures over several need.

`eval/<step>_arrays.npz` holds, by encoder ("trained", "random", "pixels"):

- `<measure>/<encoder>` [A]: each measure of the rotation study, one number an augmentation;
- `cosines/<encoder>` [A, n] of f(x) and f(a(x)), `positive_cosines/<encoder>` [A // 2, n];
- `circle/<encoder>` [1 + A, n, 2]: embeddings of 2 dimensions, before and after;
- `queries` [Q] in the split of the evaluation, `before/<encoder>`, `after/<encoder>` [Q, k] in
  "train"; and of the first of them pictures, uint8: `query_images`, `changed_images` [S, h, w, c],
  `before_images/<encoder>`, `after_images/<encoder>` [S, k, h, w, c];
- of one image along one part: `walk_part`, `walk_value` [V], `walk_images` [V, h, w, c], uint8, and
  `walk/<encoder>` [V, 1 + S, D] (`experiment.embedded`), where ladders are measured;

- of at most 160 held-out images: `map` [n, 2], `map_share` [2], `map_images`, `map_label` and
  `map_factor/<name>` (`experiment.embedded`) of the trained encoder.

n is at most 1000 images, and their precision half: histograms show no more. Measures are of all
images, in full precision.
"""

import functools
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eqssl_jax import storage
from eqssl_jax.data.base import Split
from eqssl_jax.experiment.pictures import read
from eqssl_jax.measures import Arrays, subset
from eqssl_jax.training.provenance import (
    changes,
    kept_provenance,
    refuse_changes,
    seen_in_training,
)
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import has_checkpoints, read_config
from eqssl_jax.transforms.base import Transform

IMAGES = 1000  # whose cosines are stored
QUERIES = 6  # whose pictures are stored
LARGEST = 64  # pixels: larger pictures are reduced

Stored = dict[str, np.ndarray]


def stored_setup(workdir: Path, overrides: Mapping[str, Any] | None = None) -> Setup:
    """The set-up of a run from its workdir, with the statistics that its network has.

    Args:
      workdir: the folder of the run.
      overrides: settings by their dotted name that replace those of the run, e.g. the place of the
        data.

    Raises:
      FileNotFoundError: if the data are not there.
      ValueError: if they are not those of training and `data.changed` is not "accept".
    """
    config = read_config(workdir)
    with config.unlocked():
        config.update_from_flattened_dict(dict(overrides or {}))
    try:
        run = setup(config, training=False, workdir=workdir)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} If the data of this run lie elsewhere now: --config.data.directory=..."
        ) from None
    if has_checkpoints(workdir):
        present = run.provenance()
        kept = kept_provenance(workdir, present, run.config.data.changed)
        differing = changes(kept, present)
        refuse_changes(workdir, differing, run.config.data.changed)
        if differing:
            print(f"Evaluating on other data than {workdir} was trained on: {differing}.")
        if seen := seen_in_training(kept, present):
            print(seen, flush=True)
    return run


def run_folders(workdir: Path) -> list[Path]:
    """The folder itself if it is a run, else the runs inside it.

    Raises:
      FileNotFoundError: if there are none.
    """
    if (workdir / "config.json").exists():
        return [workdir]
    inside = sorted(path.parent for path in workdir.glob("*/config.json"))
    if not inside:
        raise FileNotFoundError(
            f"{workdir} is not the folder of a run, nor does it hold any: no config.json there or "
            f"one level below. Give the --workdir that training was started with."
        )
    return inside


def stored(arrays: Arrays) -> Stored:
    """The arrays of an evaluation under the names above, without pictures."""
    kept: Stored = {}
    for name, study in arrays.study.items():
        kept |= {f"{measure}/{name}": values for measure, values in study.measures.items()}
        some = subset(study.cosines.shape[1], IMAGES)
        parts = {"cosines": study.cosines, "positive_cosines": study.positive_cosines}
        if study.circle is not None:
            parts["circle"] = study.circle
        for part, values in parts.items():
            kept[f"{part}/{name}"] = values[:, some].astype(np.float16)
    if arrays.before:
        kept["queries"] = np.asarray(arrays.queries, np.int32)
        for name in arrays.before:
            kept[f"before/{name}"] = np.asarray(arrays.before[name], np.int32)
            kept[f"after/{name}"] = np.asarray(arrays.after[name], np.int32)
    return kept


def retrieved_pictures(
    arrays: Arrays, query_split: Split, bank: Split, recipe: Transform, encoder: str = "trained"
) -> Stored:
    """Pictures of the first queries, of their change, and of what they retrieved."""
    if encoder not in arrays.before or arrays.hue is None:
        return {}
    images = np.asarray(read(query_split, arrays.queries[:QUERIES]))
    changed = jax.jit(jax.vmap(functools.partial(recipe.apply, arrays.hue)))(images)
    images_by_name = {"query_images": images, "changed_images": np.asarray(changed)}
    for when, indices in (("before", arrays.before), ("after", arrays.after)):
        some = indices[encoder][:QUERIES]
        near = np.asarray(read(bank, some.reshape(-1)))
        images_by_name[f"{when}_images/{encoder}"] = near.reshape(*some.shape, *near.shape[1:])
    return {name: _bytes(pictures) for name, pictures in images_by_name.items()}


def halved(walk: Mapping[str, np.ndarray]) -> Stored:
    """A walk or a map as it is stored: pictures as uint8, embeddings in half precision."""
    halves = {
        name: z.astype(np.float16)
        for name, z in walk.items()
        if name.startswith(("walk/", "map_unit"))
    }
    images = {name: _bytes(z) for name, z in walk.items() if name.endswith("_images")}
    return {**walk, **halves, **images}


def write_arrays(path: Path, arrays: Stored) -> None:
    """Write compressed, so that a reader never sees half of it."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    storage.write(path, content.getvalue())


def read_arrays(path: Path) -> Stored:
    """All arrays of a file that `write_arrays` wrote.

    Raises:
      FileNotFoundError: if there is none: the step was evaluated by an older version, or not.
      ValueError: if it is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist: evaluate that step (python -m eqssl_jax.eval), again if an "
            f"older version did."
        )
    try:
        # Opened here: NumPy leaves a file open that it finds damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except Exception as error:  # zip's, zlib's and NumPy's errors have no common class
        raise ValueError(f"{path} is damaged ({error}): evaluate that step again.") from None


def same_queries(runs: Mapping[str, Stored]) -> dict[str, Any]:
    """Queries and what the trained encoder of each run retrieved, for `figures.neighbours`.

    Returns:
      Its arguments by name: "query", "changed", and "before" and "after" by run.

    Raises:
      ValueError: without runs, for one without pictures, or runs that were asked with other images.
    """
    names = ("query_images", "changed_images", "before_images/trained", "after_images/trained")
    lacking = [run for run, arrays in runs.items() if not set(names) <= set(arrays)]
    if not runs or lacking:
        raise ValueError(
            f"There are no retrieved pictures of {lacking or 'any run'}: the evaluation had "
            f"queries=0, or its recipe no hue."
        )
    first = next(iter(runs.values()))
    for run, arrays in runs.items():
        if any(not np.array_equal(arrays[name], first[name]) for name in names[:2]):
            raise ValueError(
                f"{run!r} was asked with other images than {next(iter(runs))!r}: evaluate both on "
                f"the same data, with equal queries and hue_shift."
            )
    return {
        "query": first[names[0]],
        "changed": first[names[1]],
        "before": {run: arrays[names[2]] for run, arrays in runs.items()},
        "after": {run: arrays[names[3]] for run, arrays in runs.items()},
    }


def _bytes(images: np.ndarray) -> np.ndarray:
    """uint8, averaged over blocks where an image is larger than LARGEST."""
    height, width = images.shape[-3:-1]
    step = -(-max(height, width) // LARGEST)
    kept = images[..., : height // step * step, : width // step * step, :]
    blocks = kept.reshape(*kept.shape[:-3], height // step, step, width // step, step, -1)
    return np.rint(np.clip(blocks.mean(axis=(-4, -2)), 0, 1) * 255).astype(np.uint8)


def read_result(path: Path) -> dict[str, Any]:
    """What an evaluation wrote.

    Raises:
      ValueError: naming the file, if it is damaged.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for numbers in result["encoders"].values() for cell in numbers.values()]
        numbers = [cell.get(key) for cell in cells for key in ("value", "sd")]
        if not all(number is None or isinstance(number, int | float) for number in numbers):
            raise ValueError("its encoders are no tables of numbers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove it, and the step is evaluated again."
        ) from None
    return result
