"""Which files of a folder of images are of which split and class."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from eqssl_jax.data import images
from eqssl_jax.data.listing import Listing, Parts, printable

Classes = Sequence[str] | int | None
_TRAIN = ("train", "training")


_TEST = ("test", "testing", "val", "valid", "validation")  # the first that exists is taken


Files = dict[Parts, str]


class Layout(NamedTuple):
    """Which files belong to which split.

    Attributes:
      parts: by split, the files by their parts below the split's folder.
      paths: the path of every file, as manifests name it, by its name for reading.
      notes, left_out: as of a `Source`.
    """

    parts: dict[str, Files]
    paths: Mapping[str, str]
    notes: list[str]
    left_out: Counter[str]


def layout(listing: Listing, root: Path, classes: Classes) -> Layout:
    files, outer = _without_outer_folder(listing, root, classes)
    notes = [f"all lies in the folder {printable('/'.join(outer))}"] if outer else []
    left_out = Counter(listing.left_out)
    if not files:
        ignored = ", ".join(f"{count:,} {kind}" for kind, count in left_out.items())
        raise ValueError(
            f"There are no images in class folders below {printable(root)}, nor anywhere else: "
            f"expected <class>/<name> ending in {', '.join(images.suffixes()[:8])}, …; found "
            f"{ignored or 'nothing'}."
        )
    top, unused = _split_folders(files, root)
    notes += [f"{printable(name)}/ is not used" for name in unused]
    parts = {}
    if top["train"] and any(len(path) == 1 for path in files):
        beside = sum(len(path) == 1 for path in files)
        left_out["images outside the folders of the splits"] = beside
    for split, folder in top.items():
        inside = {p[1:]: n for p, n in files.items() if p[0] == folder} if folder else files
        within = {path: name for path, name in inside.items() if len(path) > 1}
        if within and len(within) < len(inside):
            left_out["images outside class folders"] += len(inside) - len(within)
        parts[split] = within or inside
    _same_kind(parts, root)
    empty = _empty_classes(listing, outer, top, parts)
    if empty:
        named = ", ".join(printable(name) for name in empty[:5])
        left_out[f"class folders without images ({named})"] = len(empty)
    return Layout(parts, {name: "/".join(path) for path, name in files.items()}, notes, left_out)


def _without_outer_folder(listing: Listing, root: Path, classes: Classes) -> tuple[Files, Parts]:
    """The files without the folder that all lie in, and that folder.

    A zip is often made of a folder. A directory with one folder of folders of images can be meant
    in two ways, and is refused unless the names of `classes` tell which.
    """
    files = listing.files
    outer: Parts = ()
    while files:
        tops = {path[0] for path in files}
        if len(tops) > 1 or min(map(len, files)) < 3 or _split_name(next(iter(tops))):
            break
        top = next(iter(tops))
        inside = sorted({path[1] for path in files})
        named = set() if classes is None or isinstance(classes, int | str) else set(classes)
        if named == {top}:
            break
        splits = any(_split_name(name) in _TRAIN for name in inside)
        if root.is_dir() and not splits and not named & set(inside):
            inner = ", ".join(map(printable, inside[:5]))
            raise ValueError(
                f"{printable(root)} holds only the folder {printable(top)} with the folders "
                f"{inner}, which can be read in two ways. For the classes {inner} give "
                f"{printable(root / top)} as config.data.directory; for the one class "
                f"{printable(top)} set config.data.options.classes to [{printable(top)!r}]."
            )
        files, outer = {path[1:]: name for path, name in files.items()}, (*outer, top)
    return files, outer


def _split_name(folder: str) -> str:
    """The lower-case name of a folder that is one of a split ("Test_set" is "test"), else ""."""
    name = re.sub(r"[\s_.-]*(set|data|images|split)$", "", folder.strip().lower())
    return name if name in (*_TRAIN, *_TEST) else ""


def _split_folders(files: Files, root: Path) -> tuple[dict[str, str], list[str]]:
    """The folder of each split ("": all is for training), and the folders that are not used."""
    tops = sorted({path[0] for path in files if len(path) > 1})
    named: dict[str, list[str]] = {}
    for folder in tops:
        if name := _split_name(folder):
            named.setdefault("train" if name in _TRAIN else name, []).append(folder)
    for folders in named.values():
        if len(folders) > 1:
            raise ValueError(
                f"{printable(root)} holds {' and '.join(map(printable, folders))}: keep one."
            )
    train = named.get("train", [])
    test = [named[name][0] for name in _TEST if name in named]
    if test and not train:
        raise ValueError(
            f"{printable(root)} holds {[printable(name) for name in tops[:10]]} but no train "
            "folder with images: add train/<class>/ with the training images."
        )
    if not train:
        return {"train": ""}, []
    chosen = {"train": train[0]} | ({"test": test[0]} if test else {})
    return chosen, [folder for folder in tops if folder not in chosen.values()]


def _same_kind(parts: dict[str, Files], root: Path) -> None:
    labelled = {split: min(map(len, files)) > 1 for split, files in parts.items()}
    if len(set(labelled.values())) > 1:
        without = next(split for split, kind in labelled.items() if not kind)
        raise ValueError(
            f"There are no images in class folders below the {without} folder of "
            f"{printable(root)}, found {len(parts[without])} images outside class folders: sort "
            "them into folders of classes as the others are, or take them out."
        )


def _empty_classes(
    listing: Listing, outer: Parts, top: Mapping[str, str], parts: Mapping[str, Files]
) -> list[str]:
    """Folders where a class would be, without an image in them."""
    empty = []
    for split, folder in top.items():
        within = (*outer, *((folder,) if folder else ()))
        depth = len(within)
        if min(map(len, parts[split])) > 1:
            here = {
                f[depth] for f in listing.folders if len(f) == depth + 1 and f[:depth] == within
            }
            used = {path[0] for path in parts[split]}
            prefix = f"{folder}/" if folder else ""
            empty += [prefix + name for name in sorted(here - used)]
    return empty
