"""Files of features, written row by row as they are computed, that appear only when complete."""

import contextlib
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from eqssl_jax import storage

SUFFIXES = (".npz", ".parquet")
TWICE = " (an .npz needs twice its size while it is written)"


class Rows(NamedTuple):
    """Some examples in order: what they are called, and what an encoder gives for them."""

    names: Sequence[str]
    split: str
    labels: Int[np.ndarray, " n"]  # −1: unlabeled
    features: Float[np.ndarray, "n f"]
    embeddings: Float[np.ndarray, "n d"]


Write = Callable[[Rows], None]


def check_path(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
      ValueError: for another ending than .npz or .parquet, for .parquet without pyarrow, and as
        `storage.unfinished`.
      OSError: if its folder cannot be made or written.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--out is {path}, but features are written to .npz or .parquet files.")
    if path.is_dir():
        raise ValueError(f"--out is {path}, which is a folder: give a file in it.")
    if path.suffix == ".parquet":
        _pyarrow()
    with storage.writing(path, TWICE):
        storage.check_out(path)


@contextlib.contextmanager
def feature_file(
    path: Path, count: int, classes: Sequence[str], encoder: str, data: str
) -> Iterator[Write]:
    """`write(rows)` for `count` rows in all; the file is there, whole, when the context ends well.

    | .npz          | .parquet                | content                                        |
    |---------------|-------------------------|------------------------------------------------|
    | `names`       | `name`                  | file, or number, of each example               |
    | `split`       | `split`                 | "train", "validation", "test", …               |
    | `labels`      | `label` (null: none)    | class of each, −1 for unlabeled                |
    | `class_names` | `class` (null: none)    | names in label order; in .parquet of each row  |
    | `features`    | `features`              | float32 [N, F], before the projector           |
    | `embeddings`  | `embeddings`            | float32 [N, D], after it                       |
    | `encoder`     | metadata                | where the encoder came from                    |
    | `data`        | metadata                | what was encoded                               |

    Memory is that of one call of `write`, and of the names. Rows lie in <path>.unfinished until all
    are there; an error removes it, and a killed process leaves it for the next one to replace. Of a
    file in a bucket they lie on this machine, in the cache of the user.

    Raises:
      OSError: if the disk is full or cannot be written.
    """
    part = storage.unfinished(path)
    make = _npz if path.suffix == ".npz" else _parquet
    try:
        with storage.writing(path, TWICE):
            storage.start_unfinished(part)
        with make(part, count, classes, {"encoder": encoder, "data": data}) as write:

            def checked(rows: Rows) -> None:
                with storage.writing(path, TWICE):
                    write(rows)

            yield checked
        with storage.writing(path, TWICE):
            storage.deliver(part / "whole", path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _npz(part: Path, count: int, classes: Sequence[str], about: dict[str, str]) -> Iterator[Write]:
    names: list[str] = []
    splits: list[str] = []
    labels: list[np.ndarray] = []
    files: dict[str, IO[bytes]] = {}

    def write(rows: Rows) -> None:
        for key in ("features", "embeddings"):
            values = np.ascontiguousarray(getattr(rows, key), np.float32)
            if key not in files:
                files[key] = (part / f"{key}.npy").open("wb")
                _header(files[key], (count, values.shape[1]))
            files[key].write(values.data)
        names.extend(rows.names)
        splits.extend([rows.split] * len(rows.names))
        labels.append(rows.labels)

    try:
        yield write
    finally:
        for file in files.values():
            file.close()
    small = {
        "names": np.array(names, str),
        "split": np.array(splits, str),
        "labels": np.concatenate(labels).astype(np.int32),
        "class_names": np.array(list(classes), str),
        **{key: np.array(value) for key, value in about.items()},
    }
    with zipfile.ZipFile(part / "whole", "w") as archive:
        for key in files:
            archive.write(part / f"{key}.npy", f"{key}.npy")
        for key, value in small.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)


def _header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)


@contextlib.contextmanager
def _parquet(
    part: Path, count: int, classes: Sequence[str], about: dict[str, str]
) -> Iterator[Write]:
    arrow, parquet = _pyarrow()
    writer: list[Any] = []

    def vectors(values: np.ndarray) -> Any:
        flat = arrow.array(np.ascontiguousarray(values, np.float32).reshape(-1))
        return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    def write(rows: Rows) -> None:
        labels = [int(label) if label >= 0 else None for label in rows.labels]
        texts = [None if i is None or not classes else classes[i] for i in labels]
        table = arrow.table(
            {
                "name": arrow.array(list(rows.names), arrow.string()),
                "split": arrow.array([rows.split] * len(rows.names), arrow.string()),
                "label": arrow.array(labels, arrow.int32()),
                "class": arrow.array(texts, arrow.string()),
                "features": vectors(rows.features),
                "embeddings": vectors(rows.embeddings),
            }
        ).replace_schema_metadata(about)
        if not writer:
            writer.append(parquet.ParquetWriter(str(part / "whole"), table.schema))
        writer[0].write_table(table)  # one row group

    try:
        yield write
    finally:
        for opened in writer:
            opened.close()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"--out ends in .parquet, which is written by pyarrow, and that cannot be imported "
            f"({error}): pip install eqssl_jax[parquet], or write an .npz."
        ) from None
    return pyarrow, pyarrow.parquet
