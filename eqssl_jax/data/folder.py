"""An ImageFolder, one directory a class, as a directory or as a zip of one."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eqssl_jax.data import partition
from eqssl_jax.data.base import Split
from eqssl_jax.data.encoded import Encoded, decoded

_SUFFIXES = (".jpg", ".jpeg", ".png")
_TEST_NAMES = ("test", "val", "valid", "validation")  # the first that exists is the test split

Listing = dict[tuple[str, ...], str]  # parts of a path below the root: its name for reading


def read_folder(
    root: Path, *, size: int | None, corrupt: str
) -> tuple[dict[str, Split], tuple[str, ...], str]:
    """Streamed splits, class names and notes of an ImageFolder.

    Either `root/train/<class>/*.jpg` with `root/test` (or val, valid, validation) beside it, or
    `root/<class>/*.jpg`; without a test directory, 10 % of each class is held out by a fixed rule
    (`partition.carve_test`). Files below a class may lie in subdirectories; hidden files, and files
    that are not .jpg, .jpeg or .png, are ignored. A zip may hold everything in one outer folder.
    Classes are numbered in the order of their sorted names. Images become RGB: transparent ones are
    laid on black.

    Args:
      root: the directory or the zip.
      size: see `data.load`.
      corrupt: "error" or "skip", see `data.load`.

    Raises:
      FileNotFoundError: if `root` does not exist.
      ValueError: for a file that is no zip, a directory without images, and classes that are not in
        both train and test.
    """
    if not root.exists():
        raise FileNotFoundError(
            f"There is no {root}: the folder data set reads a directory (or .zip) of class folders."
        )
    listing, read = _list_zip(root) if root.is_file() else _list_directory(root)
    parts, unused = _by_split(_without_outer_folder(listing), root)
    classes = _class_names(parts, root)
    splits, notes = {}, []
    for split, files in parts.items():
        splits[split], skipped = decoded(
            _encoded(files, classes, read, root), size=size, corrupt=corrupt
        )
        if skipped:
            notes.append(f"{skipped} of {len(files)} {split} images are corrupt and left out")
    if "test" not in splits:
        splits["train"], splits["test"] = partition.carve_test(splits["train"])
        notes.append("test is 10 % of each class, held out by a fixed rule")
    notes += [f"{name}/ is not used" for name in unused]
    return splits, classes, "; ".join(notes)


def _list_directory(root: Path) -> tuple[Listing, Callable[[str], bytes]]:
    # os.walk rather than rglob: subsets are often made of links to class folders.
    every = (Path(at) / name for at, _, files in os.walk(root, followlinks=True) for name in files)
    names = sorted(path for path in every if path.suffix.lower() in _SUFFIXES)
    listing = {path.relative_to(root).parts: str(path) for path in names}
    return listing, lambda name: Path(name).read_bytes()


def _list_zip(root: Path) -> tuple[Listing, Callable[[str], bytes]]:
    try:
        archive = zipfile.ZipFile(root)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{root} is a file but not a readable zip ({error}): the folder data set takes a "
            "directory of class folders or a .zip of one."
        ) from error
    names = sorted(name for name in archive.namelist() if name.lower().endswith(_SUFFIXES))
    # ZipFile locks around reads, so threads may share it.
    return {tuple(name.split("/")): name for name in names}, archive.read


def _without_outer_folder(listing: Listing) -> Listing:
    visible = {
        path: name
        for path, name in listing.items()
        if not any(part.startswith((".", "__MACOSX")) for part in path)
    }
    while visible:
        outer = {path[0] for path in visible}
        if len(outer) > 1 or outer <= {"train", *_TEST_NAMES} or min(map(len, visible)) < 3:
            break
        visible = {path[1:]: name for path, name in visible.items()}
    return visible


def _by_split(listing: Listing, root: Path) -> tuple[dict[str, Listing], list[str]]:
    tops = {path[0] for path in listing if len(path) > 1}
    if "train" not in tops:
        if tops & set(_TEST_NAMES):
            raise ValueError(
                f"{root} holds {sorted(tops)[:10]} but no train folder with images: add "
                "train/<class>/ with the training images."
            )
        chosen, unused = {"train": ""}, []
    else:
        present = [name for name in _TEST_NAMES if name in tops]
        chosen = {"train": "train"} | ({"test": present[0]} if present else {})
        unused = sorted(tops - set(chosen.values()))
    parts: dict[str, Listing] = {}
    for split, top in chosen.items():
        inside = {p[1:]: n for p, n in listing.items() if p[0] == top} if top else listing
        parts[split] = {path: name for path, name in inside.items() if len(path) > 1}
        if not parts[split]:
            raise ValueError(
                f"There are no images in class folders below {root / top}: expected "
                f"<class>/<name> ending in {', '.join(_SUFFIXES)}, found {len(inside)} images "
                "outside class folders."
            )
    return parts, unused


def _class_names(parts: dict[str, Listing], root: Path) -> tuple[str, ...]:
    train, test = ({path[0] for path in parts.get(split, {})} for split in ("train", "test"))
    problems = []
    if test - train:
        problems.append(f"test has the classes {sorted(test - train)[:10]}, which train lacks")
    if test and train - test:
        problems.append(f"train has the classes {sorted(train - test)[:10]}, which test lacks")
    if problems:
        raise ValueError(
            f"The classes of {root} do not match: {'; '.join(problems)}. Every class needs a "
            "folder with images in both."
        )
    return tuple(sorted(train))


def _encoded(
    files: Listing, classes: tuple[str, ...], read: Callable[[str], bytes], root: Path
) -> Encoded:
    number = {name: label for label, name in enumerate(classes)}
    names = list(files.values())
    prefix = f"{root}:" if root.is_file() else ""
    return Encoded(
        size=len(names),
        read=lambda index: read(names[index]),
        where=lambda index: f"{prefix}{names[index]}",
        labels=np.array([number[path[0]] for path in files], np.int32),
    )
