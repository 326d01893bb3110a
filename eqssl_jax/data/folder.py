"""An ImageFolder, one directory a class, as a directory or as a zip of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eqssl_jax.data import diebench, images, partition
from eqssl_jax.data import layout as layouts
from eqssl_jax.data import manifest as manifests
from eqssl_jax.data.base import Source
from eqssl_jax.data.encoded import Encoded, all_decoded
from eqssl_jax.data.images import EXACT, Decoding
from eqssl_jax.data.layout import Classes, Files
from eqssl_jax.data.listing import Listing, list_files, printable


def read_folder(
    root: Path,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    decoding: Decoding = EXACT,
    classes: Classes = None,
    manifest: str | None = None,
    factors: Sequence[str] = (),
) -> Source:
    """The splits of an ImageFolder.

    Either `root/train/<class>/*.jpg` with `root/test` beside it (also training, testing, val,
    valid, validation, in any case), or `root/<class>/*.jpg`; without a test directory, 10 % of each
    class is held out by a fixed rule (`partition.carve_test`). Files below a class may lie in
    subdirectories. Images outside class folders, with none in class folders, have no labels. Files
    are read whose ending Pillow knows (`images.suffixes`); all others are counted in `left_out`. A
    zip may hold everything in one outer folder. Classes are numbered in the order of their sorted
    names. Images become RGB and upright: transparent ones are laid on black.

    Args:
      root: the directory or the zip.
      size, corrupt, views, decoding: see `data.load`.
      classes: only these, by name, or the first so many in sorted order; None takes all.
      manifest: a CSV in the directory (or beside the zip) with one row for each image, its column
        "path" counting from the folder of train/ and test/ (or of the classes).
      factors: columns of the manifest with a number for each image, which become the `factors` of
        the splits. Evaluation measures the names "hue" (turns), "angle" (radians) and "size".

    Raises:
      FileNotFoundError: if `root` or the manifest does not exist.
      ValueError: for a file that is no zip, a directory without images or that can be read in two
        ways, classes that are not in both train and test, unknown classes, a manifest that does
        not fit the images, and a folder of 3DIEBench, whose views of one object belong together.
    """
    if diebench.holds_latents(root):
        raise ValueError(
            f"{printable(root)} holds objects of 3DIEBench, whose latents lie beside their images: "
            f"read as images by class, views of one object would be trained on and tested. Set "
            f"config.data.name to 3diebench (where --data names what is measured: "
            f"3diebench@{printable(root)}); that reads {' and '.join(diebench.INDEX.values())} in "
            f"this folder."
        )
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
    return read_described(
        root, described, size=size, corrupt=corrupt, views=views, classes=classes, decoding=decoding
    )


def read_described(
    root: Path,
    described: manifests.Manifest | None,
    *,
    size: int | None,
    corrupt: str,
    views: int | None,
    classes: Classes,
    decoding: Decoding = EXACT,
) -> Source:
    """As `read_folder`, with the numbers known of each image already read."""
    listing = list_files(root, images.suffixes(), "a directory with images, or a .zip of one")
    layout = layouts.layout(listing, root, classes)
    if described is not None:
        used = [layout.paths[name] for files in layout.parts.values() for name in files.values()]
        manifests.same_files(described, layout.paths.values(), used, root)
        layout.left_out.pop(f"files ending in {described.file.suffix.lower()}", None)
    names = _class_names(layout.parts, root)
    chosen = _chosen(names, classes)
    encoded = {
        split: _encoded(files, chosen, listing, root, layout.paths, described)
        for split, files in layout.parts.items()
    }
    splits, bad, sizes = all_decoded(
        encoded, size=size, views=views, corrupt=corrupt, decoding=decoding
    )
    layout.left_out.update(bad)
    if "test" not in splits and chosen:
        splits["train"], splits["test"] = partition.carve_test(splits["train"], names=chosen)
        layout.notes.append("test is 10 % of each class, held out by a fixed rule")
    return Source(
        splits, tuple(map(printable, chosen)), tuple(layout.notes), layout.left_out, sizes
    )


def _class_names(parts: dict[str, Files], root: Path) -> tuple[str, ...]:
    train, test = (
        {path[0] for path in parts.get(split, {}) if len(path) > 1} for split in ("train", "test")
    )
    problems = []
    if test - train:
        problems.append(f"test has the classes {sorted(test - train)[:10]}, which train lacks")
    if test and train - test:
        problems.append(f"train has the classes {sorted(train - test)[:10]}, which test lacks")
    if problems:
        raise ValueError(
            f"The classes of {printable(root)} do not match: {'; '.join(map(printable, problems))}."
            " Every class needs a folder with images in both."
        )
    return tuple(sorted(train))


def _chosen(names: tuple[str, ...], wanted: Classes) -> tuple[str, ...]:
    if wanted is None:
        return names
    if not names:
        raise ValueError(f"Images outside class folders have no classes to choose: {wanted!r}.")
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
    files: Files,
    classes: tuple[str, ...],
    listing: Listing,
    root: Path,
    paths: Mapping[str, str],
    described: manifests.Manifest | None,
) -> Encoded:
    number = {name: label for label, name in enumerate(classes)}
    chosen = {path: name for path, name in files.items() if not classes or path[0] in number}
    names = list(chosen.values())
    prefix, read = f"{root}:" if root.is_file() else "", listing.read
    labels = [number[path[0]] for path in chosen] if classes else None
    listed = [paths[name] for name in names]
    return Encoded(
        size=len(names),
        read=lambda index: read(names[index]),
        where=lambda index: f"{prefix}{names[index]}",
        name=lambda index: listed[index],
        labels=None if labels is None else np.array(labels, np.int32),
        factors={} if described is None else manifests.columns_for(described, listed),
    )
