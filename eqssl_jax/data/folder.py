"""An ImageFolder, one directory a class, as a directory or as a zip of one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eqssl_jax.data import manifest as manifests
from eqssl_jax.data import partition
from eqssl_jax.data.base import Split
from eqssl_jax.data.encoded import Encoded, decoded
from eqssl_jax.data.listing import SUFFIXES, Listing, list_images, without_outer_folder

_TEST_NAMES = ("test", "val", "valid", "validation")  # the first that exists is the test split


def read_folder(
    root: Path,
    *,
    size: int | None,
    corrupt: str,
    classes: Sequence[str] | int | None = None,
    manifest: str | None = None,
    factors: Sequence[str] = (),
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
      classes: only these, by name, or the first so many in sorted order; None takes all.
      manifest: a CSV in the directory (or beside the zip) with one row for each image, its column
        "path" counting from the folder of train/ and test/ (or of the classes).
      factors: columns of the manifest with a number for each image, which become the `factors` of
        the splits. Evaluation measures the names "hue" (turns), "angle" (radians) and "size".

    Raises:
      FileNotFoundError: if `root` or the manifest does not exist.
      ValueError: for a file that is no zip, a directory without images, classes that are not in
        both train and test, unknown classes, and a manifest that does not fit the images.
    """
    if bool(manifest) != bool(factors):
        raise ValueError(
            "manifest (a CSV) and factors (its columns to read) belong together, found "
            f"manifest={manifest!r} and factors={factors!r}."
        )
    described = None
    if manifest:
        columns = (factors,) if isinstance(factors, str) else tuple(factors)
        beside = root.parent if root.is_file() else root
        described = manifests.read_manifest(beside / manifest, columns)
    return read_described(root, described, size=size, corrupt=corrupt, classes=classes)


def read_described(
    root: Path,
    described: manifests.Manifest | None,
    *,
    size: int | None,
    corrupt: str,
    classes: Sequence[str] | int | None,
) -> tuple[dict[str, Split], tuple[str, ...], str]:
    """As `read_folder`, with the numbers known of each image already read."""
    listing, read = list_images(root)
    listing = without_outer_folder(listing, {"train", *_TEST_NAMES})
    parts, unused = _by_split(listing, root)
    paths = {name: "/".join(path) for path, name in listing.items()}
    if described is not None:
        used = [paths[name] for files in parts.values() for name in files.values()]
        manifests.same_files(described, paths.values(), used, root)
    chosen = _chosen(_class_names(parts, root), classes)
    splits, notes = {}, []
    for split, every in parts.items():
        files = {path: name for path, name in every.items() if path[0] in chosen}
        encoded = _encoded(files, chosen, read, root, paths)
        if described is not None:
            known = manifests.columns_for(described, [paths[name] for name in files.values()])
            encoded = encoded._replace(factors=known)
        splits[split], skipped = decoded(encoded, size=size, corrupt=corrupt)
        if skipped:
            notes.append(f"{skipped} of {len(files)} {split} images are corrupt and left out")
    if "test" not in splits:
        splits["train"], splits["test"] = partition.carve_test(splits["train"])
        notes.append("test is 10 % of each class, held out by a fixed rule")
    notes += [f"{name}/ is not used" for name in unused]
    return splits, chosen, "; ".join(notes)


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
                f"<class>/<name> ending in {', '.join(SUFFIXES)}, found {len(inside)} images "
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


def _chosen(names: tuple[str, ...], wanted: Sequence[str] | int | None) -> tuple[str, ...]:
    if wanted is None:
        return names
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(names):
            raise ValueError(f"There are 1 to {len(names)} classes to choose, found {wanted}.")
        return names[:wanted]
    unknown = sorted(set(wanted) - set(names))
    if unknown or not wanted or isinstance(wanted, str):
        raise ValueError(
            f"Classes are chosen by a list of their names or by how many, found {wanted!r}: "
            f"{unknown[:10] or 'none'} unknown among the {len(names)} from {names[0]!r} to "
            f"{names[-1]!r}."
        )
    return tuple(name for name in names if name in set(wanted))


def _encoded(
    files: Listing,
    classes: tuple[str, ...],
    read: Callable[[str], bytes],
    root: Path,
    paths: Mapping[str, str],
) -> Encoded:
    number = {name: label for label, name in enumerate(classes)}
    names = list(files.values())
    prefix = f"{root}:" if root.is_file() else ""
    return Encoded(
        size=len(names),
        read=lambda index: read(names[index]),
        where=lambda index: f"{prefix}{names[index]}",
        name=lambda index: paths[names[index]],
        labels=np.array([number[path[0]] for path in files], np.int32),
    )
