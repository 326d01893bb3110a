"""Public image sets from their publishers' files, written as the sources arrays and folder read."""

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eqssl_jax import storage
from eqssl_jax.data.download import Published, check_mirror, fetch

Files = Mapping[str, Path]


class Prepared(NamedTuple):
    """A set that can be prepared.

    Attributes:
      files: what is downloaded.
      write: `write(files by name, out)` makes the file or folder `out`.
      name: of what is made, which ends in ".npz" for arrays.
      images: in the folder that is made; of arrays 0.
    """

    files: tuple[Published, ...]
    write: Callable[[Files, Path], None]
    name: str
    images: int = 0


def prepare(name: str, out: Path, *, mirror: str = "", sets: Mapping[str, Prepared] = {}) -> Path:
    """Download a set into `out`/downloads and write what `config.data` reads; where that is.

    What is there already is kept: a second call does nothing.

    Args:
      name: a key of `SETS`.
      out: a folder.
      mirror: see `download.fetch`.
      sets: in place of `SETS`.

    Raises:
      ValueError: for an unknown set, a mirror that is no address, a file that is not what was
        published, or something else in the place of what is written.
      OSError: as `download.fetch`.
    """
    available = sets or SETS
    if name not in available:
        raise ValueError(
            f"{name!r} cannot be prepared: choose one of {', '.join(available)}. Other public "
            f"sets: hf:NAME of Hugging Face, or a name of TFDS."
        )
    wanted = available[name]
    place = out / wanted.name
    check_mirror(mirror)
    if _finished(place, wanted.images):
        return place
    storage.make_folder(out, "--out")
    files = {file.name: fetch(file, out / "downloads", mirror=mirror) for file in wanted.files}
    unfinished = place.with_name(f"unfinished-{place.name}")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    try:
        wanted.write(files, unfinished)
    except (KeyError, tarfile.TarError, EOFError, IndexError) as error:
        raise ValueError(f"The files of {name} do not hold what they should: {error}.") from error
    os.replace(unfinished, place)
    return place


def _finished(place: Path, count: int) -> bool:
    """Whether it is written already, with all its `count` images; what is empty is removed.

    Raises:
      ValueError: for anything else.
    """
    folder, arrays = place.is_dir(), place.suffix == ".npz"
    if folder and not any(place.iterdir()):
        place.rmdir()
    elif place.is_file() and not place.stat().st_size:
        place.unlink()
    if not place.exists():
        return False
    images = sum(path.is_file() for path in place.glob("*/*/*.jpg")) if folder else 0
    if not (zipfile.is_zipfile(place) if arrays and not folder else images == count > 0):
        kind = "an .npz file" if arrays else f"a folder of {count:,} images"
        raise ValueError(
            f"{place} is in the way: {kind} is written there, and it is something else or broken"
            f"{f' ({images:,} images)' if folder else ''}. Move it away, or give another --out."
        )
    return True


def _members(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The content of files in a .tar.gz, by their names without folders."""
    members: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name in names and (file := archive.extractfile(member)) is not None:
                members[name] = file.read()
    if missing := sorted(set(names) - set(members)):
        raise KeyError(f"{path.name} lacks {', '.join(missing)}")
    return members


def _planar(content: bytes, before: int) -> tuple[np.ndarray, np.ndarray]:
    """(images [N, 32, 32, 3], label bytes [N, before]) of records of labels and colour planes."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, before + 3072)
    return rows[:, before:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, :before]


def _cifar(train: tuple[str, ...], test: str, classes: str, before: int) -> Callable[..., None]:
    def write(files: Files, out: Path) -> None:
        (archive,) = files.values()
        contents = _members(archive, (*train, test, classes))
        images, labels = _planar(b"".join(contents[name] for name in train), before)
        test_images, test_labels = _planar(contents[test], before)
        _save(
            out, train_images=images, train_labels=labels[:, -1].astype(np.int64),
            test_images=test_images, test_labels=test_labels[:, -1].astype(np.int64),
            class_names=np.array(contents[classes].decode().split()),
        )  # fmt: skip

    return write


def _stl10(files: Files, out: Path) -> None:
    (archive,) = files.values()
    parts = ("train", "test", "unlabeled")
    members = [f"{part}_X.bin" for part in parts] + ["train_y.bin", "test_y.bin", "class_names.txt"]
    contents = _members(archive, tuple(members))
    # Column by column: [N, 3, width, height].
    arrays = {
        f"{part}_images": np.frombuffer(contents.pop(f"{part}_X.bin"), np.uint8)
        .reshape(-1, 3, 96, 96)
        .transpose(0, 3, 2, 1)
        for part in parts
    }
    labels = {
        f"{part}_labels": np.frombuffer(contents[f"{part}_y.bin"], np.uint8).astype(np.int64) - 1
        for part in ("train", "test")
    }
    _save(
        out, **arrays, **labels, class_names=np.array(contents["class_names.txt"].decode().split())
    )


def _flowers102(files: Files, out: Path) -> None:
    """Folders train (the publisher's trnid and valid, 20 of each class) and test (tstid)."""
    from scipy.io import loadmat

    labels = loadmat(files["imagelabels.mat"])["labels"].ravel()
    ids = loadmat(files["setid.mat"])
    split = {int(number): "test" for number in ids["tstid"].ravel()}
    split |= {int(n): "train" for key in ("trnid", "valid") for n in ids[key].ravel()}
    written = 0
    with tarfile.open(files["102flowers.tgz"]) as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if not name.endswith(".jpg") or (file := archive.extractfile(member)) is None:
                continue
            number = int(name.removeprefix("image_").removesuffix(".jpg"))
            place = out / split[number] / f"{labels[number - 1]:03d}" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read())
            written += 1
    if written != len(split):
        raise KeyError(f"102flowers.tgz holds {written} of {len(split)} images")


def _save(out: Path, **arrays: np.ndarray) -> None:
    with io.FileIO(out, "w") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
# Addresses, sizes and checksums as TensorFlow Datasets 4.9.10 has them.
SETS: Mapping[str, Prepared] = {
    "cifar10": Prepared(
        (
            Published(
                _CIFAR + "cifar-10-binary.tar.gz", 170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        _cifar(
            tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin",
            "batches.meta.txt", 1,
        ),
        "cifar10.npz",
    ),
    "cifar100": Prepared(
        (
            Published(
                _CIFAR + "cifar-100-binary.tar.gz", 168513733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        _cifar(("train.bin",), "test.bin", "fine_label_names.txt", 2),
        "cifar100.npz",
    ),
    "stl10": Prepared(
        (
            Published(
                "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", 2640397119,
                "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            ),
        ),
        _stl10,
        "stl10.npz",
    ),
    "flowers102": Prepared(
        (
            Published(
                _FLOWERS + "102flowers.tgz", 344862509,
                "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            ),
            Published(
                _FLOWERS + "imagelabels.mat", 502,
                "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
            ),
            Published(
                _FLOWERS + "setid.mat", 14989,
                "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
            ),
        ),
        _flowers102,
        "flowers102",
        8_189,
    ),
}  # fmt: skip
