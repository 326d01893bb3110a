"""Image sets of the Hugging Face Hub, or of a folder of theirs on this disk: parquet files."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqssl_jax.data import checks
from eqssl_jax.data.base import Source
from eqssl_jax.data.encoded import Encoded, all_decoded
from eqssl_jax.data.images import EXACT, Decoding
from eqssl_jax.names import user_path

PREFIX = "hf:"
_TRAIN, _UNLABELED = ("train",), ("unlabeled", "unsupervised")
_TEST = ("test", "validation", "valid", "val")  # the first that exists is taken
_LABELS = ("label", "fine_label", "labels")


def read_hugging_face(
    name: str,
    directory: str | Path | None,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    decoding: Decoding = EXACT,
    image: str = "",
    label: str = "",
) -> Source:
    """The splits of a set of the Hub, which is downloaded once, or of parquet files on this disk.

    The split of a file is the word before the first "-" or "." of its name, or its folder: "train",
    "test" (or else validation, valid, val) and "unlabeled". Images are encoded bytes (a struct with
    the field bytes, or binary). Encoded images lie in memory.

    Args:
      name: "hf:OWNER/NAME", of a set with several configurations "hf:OWNER/NAME/CONFIGURATION"
        (its folder), or "hf:PATH" of a folder or a file of parquet.
      directory: where the Hub's files are kept; None: the Hub's own cache.
      size, corrupt, views, decoding: see `data.load`.
      image, label: columns; "": the first column of images, and label, fine_label or labels, if
        there is one.

    Raises:
      FileNotFoundError: if there is no parquet file for training.
      ValueError: without a name or the packages, for several configurations, a column that is not
        there or not of images, or labels that are no integers.
      OSError: if the Hub cannot be reached.
    """
    place = name.removeprefix(PREFIX)
    if not place.strip(" /"):
        raise ValueError(
            f"{name!r} names no set: give {PREFIX}OWNER/NAME of the Hugging Face Hub, or "
            f"{PREFIX}PATH of a folder with parquet files."
        )
    root = user_path(place)
    files = _files(root if root.exists() else _download(place, directory), place)
    parts: dict[str, Encoded] = {}
    classes: tuple[str, ...] = ()
    for split, paths in files.items():
        parts[split], named = _encoded(place, split, paths, image, label)
        classes = classes or named
    splits, left_out, sizes = all_decoded(
        parts, size=size, views=views, corrupt=corrupt, decoding=decoding
    )
    return Source(splits, classes, (), left_out, sizes)


def _download(place: str, directory: str | Path | None) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError(
            f"{PREFIX}{place} is no folder of this disk, and to download it the package "
            f"huggingface_hub is needed: pip install 'eqssl_jax[hf]'."
        ) from error
    parts = place.split("/")
    repository, configuration = "/".join(parts[:2]), "/".join(parts[2:])
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            repo_type="dataset",
            allow_patterns=f"{configuration}/*.parquet" if configuration else "*.parquet",
            local_dir=directory,
        )
    except Exception as error:  # of the network, the login or the name: many kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise OSError(
            f"{PREFIX}{place} could not be downloaded ({reason}): check the name at "
            f"huggingface.co/datasets, the network, and for a private set the login (hf auth "
            f"login); or give the path of a folder with its parquet files, {PREFIX}PATH."
        ) from error
    return Path(folder) / configuration


def _files(root: Path, place: str) -> dict[str, list[Path]]:
    """The parquet files of each split."""
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    by_word: dict[str, list[Path]] = {}
    configurations: dict[str, set[str]] = {}  # of each split: the folders that its files lie in
    for path in files:
        word = re.split(r"[-.]", path.name)[0].lower()
        folder = path.parent
        if root.is_dir() and word not in (*_TRAIN, *_TEST, *_UNLABELED):
            word, folder = folder.name.lower(), folder.parent
        word = "train" if root.is_file() else word
        by_word.setdefault(word, []).append(path)
        configurations.setdefault(word, set()).add(os.path.relpath(folder, root))
    chosen = {}
    for split, words in {"train": _TRAIN, "test": _TEST, "unlabeled": _UNLABELED}.items():
        for word in words:
            if word in by_word and split not in chosen:
                chosen[split] = by_word[word]
                _check_one(place, split, configurations[word])
    if "train" not in chosen:
        raise FileNotFoundError(
            f"{PREFIX}{place} has no parquet file of a split train: found "
            f"{', '.join(path.name for path in files[:5]) or 'no parquet file'} in {root}. A set "
            f"in another format can be converted with datasets.load_dataset(...).to_parquet(...)."
        )
    return chosen


def _check_one(place: str, split: str, configurations: set[str]) -> None:
    """The files of a split lie in one folder; those of several may be the same images twice."""
    if len(configurations) > 1:
        names = sorted(configurations)
        raise ValueError(
            f"{PREFIX}{place} has several configurations with a split {split}: "
            f"{', '.join(names)}. Name one, such as {PREFIX}{place.rstrip('/')}/{names[-1]}."
        )


def _encoded(
    place: str, split: str, paths: Sequence[Path], image: str, label: str
) -> tuple[Encoded, tuple[str, ...]]:
    """The images of a split, and the names of its classes."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ValueError(
            f"{PREFIX}{place} is read by the package pyarrow: pip install 'eqssl_jax[hf]'."
        ) from error
    try:
        schema = parquet.read_schema(paths[0])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{paths[0]} cannot be read as parquet: {error}") from error
    column, of_labels = _columns(place, schema, image, label)
    try:
        table = parquet.read_table(paths, columns=[name for name in (column, of_labels) if name])
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"A file of {PREFIX}{place} cannot be read as parquet: {error}") from error
    if not len(table):
        raise ValueError(
            f"{PREFIX}{place} has no rows of the split {split}, only columns: export it again, "
            f"with its images."
        )
    cells = table.column(column)
    labels = None
    if of_labels:
        values = table.column(of_labels)
        if values.null_count or not pa.types.is_integer(values.type):
            kind = f"{values.null_count} empty cells" if values.null_count else f"{values.type}s"
            raise ValueError(
                f"{PREFIX}{place}: the labels of the split {split} (column {of_labels}) have "
                f"{kind} where integers are needed: name another column in "
                f"config.data.options.label, or encode them (class_encode_column of datasets)."
            )
        labels = checks.class_labels(values.to_numpy(), len(table), f"{PREFIX}{place}, {split}")

    def read(index: int) -> bytes:
        cell = cells[index].as_py()
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not content:
            raise ValueError("there are no bytes of an image")
        return content

    encoded = Encoded(
        size=len(table),
        read=read,
        where=lambda index: f"row {index} of {PREFIX}{place}, split {split},",
        name=lambda index: f"{split} row {index}",
        labels=labels,
    )
    return encoded, _names(schema, of_labels)


def _columns(place: str, schema: Any, image: str, label: str) -> tuple[str, str]:
    """The column of images, and that of labels or ""."""
    import pyarrow as pa

    def of_images(field: Any) -> bool:
        kind = field.type
        if pa.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    pictures = [field.name for field in schema if of_images(field)]
    if (image and image not in pictures) or not pictures:
        raise ValueError(
            f"{PREFIX}{place} has no column {f'{image!r} ' if image else ''}of encoded images: it "
            f"has {', '.join(f'{field.name} ({field.type})' for field in schema)}. Images are a "
            f"struct with the field bytes, or binary; config.data.options.image names the column."
        )
    if label and label not in schema.names:
        raise ValueError(f"{PREFIX}{place} has no column {label!r}, only {schema.names}.")
    return image or pictures[0], label or next((n for n in _LABELS if n in schema.names), "")


def _names(schema: Any, of_labels: str) -> tuple[str, ...]:
    """Names of classes, which the datasets package writes beside the schema; () without."""
    try:
        about: Mapping[str, Any] = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][of_labels]["names"]
    except (KeyError, ValueError, TypeError):
        return ()
    return checks.texts(np.array(names), f"the class names of {of_labels}")
