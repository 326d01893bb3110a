"""Features of every image of a data set, streamed from the data into a file."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eqssl_jax.config import copied
from eqssl_jax.data import named, partition, sources
from eqssl_jax.data.base import Dataset, Split, shown
from eqssl_jax.encoders.frozen import BATCH, Encoder
from eqssl_jax.experiment.feature_files import Rows, Write, check_path, feature_file
from eqssl_jax.experiment.load import load, run_folder
from eqssl_jax.frame import is_frame
from eqssl_jax.measures.features import read_batches
from eqssl_jax.training.datasets import at_view_size, load_dataset
from eqssl_jax.training.provenance import read_provenance
from eqssl_jax.training.workdir import read_config


def embed(
    source: str | Path,
    out: Path,
    *,
    step: int | str = "latest",
    data: str = "",
    directory: str = "",
    size: int = 0,
    batch: int = BATCH,
    corrupt: str = "error",
    **options: Any,
) -> int:
    """Write features and embeddings of all images, split by split and in order; how many.

    Args:
      source, step, **options: see `load`.
      out: an .npz or .parquet file (`feature_files.feature_file`); replaced when all is done.
      data, directory: see `data.named.named`; "" for the data of the run itself.
      size: images are brought to size × size; 0: to the size that the encoder was made for, in the
        way of evaluation.
      batch: images that are read and encoded at a time.
      corrupt: "error" stops at an image that cannot be decoded, "skip" leaves it out.

    Raises:
      ValueError, OSError: as `load`, `data.load` and `feature_files.feature_file`.
    """
    named.check_text(data)
    check_path(out)
    encoder = load(source, step, batch=batch, **options)
    folder, _ = run_folder(source, step)
    config = read_config(folder) if (folder / "checkpoints").is_dir() else None
    dataset = dataset_for(encoder, config, folder, data, directory, size, corrupt)
    for reason, count in dataset.left_out.items():
        print(f"{dataset.name}: {count:,} {reason} left out.", flush=True)
    if dataset.notes:
        print(f"{dataset.name}: {dataset.notes}.", flush=True)
    total = sum(split.size for split in dataset.splits.values())
    about = encoder.origin, f"{data or 'the data of the run'} {directory}".strip()
    with _progress() as progress, feature_file(out, total, dataset.classes, *about) as write:
        for name, split in dataset.splits.items():
            task = progress.add_task(name, total=split.size)
            _encode(encoder, name, split, write, functools.partial(progress.advance, task))
    return total


def dataset_for(
    encoder: Encoder,
    config: ConfigDict | None,
    workdir: Path,
    images: str,
    directory: str,
    size: int,
    corrupt: str,
) -> Dataset:
    """The images to encode, read batch by batch, at the size of the encoder.

    Images of a run go the way of its evaluation: to the size at which its own were stored, then
    through the identity of its recipe. Others are scaled by their short side, and the centre is cut
    out.
    """
    if config is None and not images:
        raise ValueError("--data is needed: a folder, a .zip, an .npz, or a data set's name.")
    if config is not None and not images:
        streamed = copied(config)
        streamed.data.on_device = "never"
        return shown(at_view_size(load_dataset(streamed), streamed))
    trained_on = None if config is None else read_provenance(workdir)
    if trained_on is not None and trained_on.shown:
        trained_on = config = None  # its recipe is for scenes, and says nothing of images
    stored = encoder.image_shape if trained_on is None else trained_on.stored_shape
    # The central square of an image has all that the crop of an evaluation takes out of a frame.
    square = stored is not None and len(stored) == 3 and stored[0] == stored[1]
    framed = stored is not None and is_frame(stored)
    side = size or (stored[0] if stored and (square or framed) else 0)
    dataset = _dataset(*named.named(images, directory), side, corrupt)
    if config is not None and not size:
        dataset = at_view_size(dataset, config)
    return at_shape(dataset, encoder.image_shape)


def _dataset(name: str, directory: str | None, side: int, corrupt: str) -> Dataset:
    """A data set as its reader gives it: nothing that only training needs is asked of it."""
    if name in sources.RENDERED:
        return shown(sources.load(name=name, directory=directory, size=side or None))
    place = directory and sources.local(name, directory)
    source = sources.read(name, place, size=side or None, corrupt=corrupt)
    first = next(iter(source.splits.values()))
    shape = jax.eval_shape(first.read, first.pool, _inputs(first, np.arange(1))).shape[1:]
    notes = "; ".join(source.notes)
    return Dataset(name, shape, source.classes, (), (), source.splits, notes, source.left_out)


def at_shape(dataset: Dataset, shape: tuple[int, ...] | None) -> Dataset:
    """The data set with its images scaled to `shape`; None, and clouds, leave it as it is."""
    if shape is None or len(shape) != 3 or tuple(dataset.image_shape) == tuple(shape):
        return dataset

    def resized(read: Callable[..., Array], pool: Any, inputs: Array) -> Array:
        images = read(pool, inputs)
        return jax.image.resize(images, (len(images), *shape[:2], images.shape[3]), "linear")

    splits = {
        name: split._replace(read=functools.partial(resized, split.read))
        for name, split in dataset.splits.items()
    }
    return dataset._replace(image_shape=shape, splits=splits)


def _inputs(split: Split, indices: np.ndarray) -> np.ndarray:
    indices = indices.astype(np.int32)
    return indices if split.load is None else split.load(indices)


def _encode(
    encoder: Encoder, name: str, split: Split, write: Write, done: Callable[[int], None]
) -> None:
    labels = np.full(split.size, -1, np.int32) if split.labels is None else split.labels
    for rows, images in read_batches(split, np.arange(split.size), min(encoder.batch, split.size)):
        indices = np.unique(rows)  # without the rows that fill the last batch
        outputs = encoder.layers(images)
        features, embeddings = (
            np.asarray(outputs[layer])[: len(indices)] for layer in ("features", "embedding")
        )
        bad = ~np.isfinite(features).all(1) | ~np.isfinite(embeddings).all(1)
        names = partition.names_of(split, indices)
        if bad.any():
            raise ValueError(
                f"The encoder {encoder.name!r} gave NaN or infinite values for {bad.sum()} of "
                f"{len(bad)} images, the first {names[int(bad.argmax())]}: its weights are damaged "
                f"or overflow."
            )
        write(Rows(names, name, labels[indices], features, embeddings))
        done(len(indices))


def _progress() -> Progress:
    """A line for each split on a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    return Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
