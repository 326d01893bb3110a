"""Which image files lie in a directory or a zip, and how to read them."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png")

Listing = dict[tuple[str, ...], str]  # parts of a path below the root: its name for reading


def list_images(root: Path) -> tuple[Listing, Callable[[str], bytes]]:
    """The image files of a directory or zip, and how to read them.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: for a file that is no zip.
    """
    if not root.exists():
        raise FileNotFoundError(
            f"There is no {root}: expected a directory with images, or a .zip of one."
        )
    return _list_zip(root) if root.is_file() else _list_directory(root)


def without_outer_folder(listing: Listing, splits: set[str]) -> Listing:
    """The visible files, without the folder that all lie in (unless it is one of `splits`)."""
    visible = {
        path: name
        for path, name in listing.items()
        if not any(part.startswith((".", "__MACOSX")) for part in path)
    }
    while visible:
        outer = {path[0] for path in visible}
        if len(outer) > 1 or outer <= splits or min(map(len, visible)) < 3:
            break
        visible = {path[1:]: name for path, name in visible.items()}
    return visible


def _list_directory(root: Path) -> tuple[Listing, Callable[[str], bytes]]:
    # os.walk rather than rglob: subsets are often made of links to class folders.
    every = (Path(at) / name for at, _, files in os.walk(root, followlinks=True) for name in files)
    names = sorted(path for path in every if path.suffix.lower() in SUFFIXES)
    listing = {path.relative_to(root).parts: str(path) for path in names}
    return listing, lambda name: Path(name).read_bytes()


class _Archive(zipfile.ZipFile):
    """A zip that travels to another process by its path, and is opened again there."""

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return _Archive, (self.filename,)


def _list_zip(root: Path) -> tuple[Listing, Callable[[str], bytes]]:
    try:
        archive = _Archive(root)
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{root} is a file but not a readable zip ({error}): expected a directory with "
            "images, or a .zip of one."
        ) from error
    names = sorted(name for name in archive.namelist() if name.lower().endswith(SUFFIXES))
    # ZipFile locks around reads, so threads may share it.
    return {tuple(name.split("/")): name for name in names}, archive.read
