"""Which files lie in a directory or a zip, how to read them, and what is passed over."""

import os
import stat
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

Parts = tuple[str, ...]

LARGEST = 2**30  # bytes of one file: an image or a table is never so large, a bomb is
_CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories: escape, newline, …
_JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
_SPECIAL = "links to nothing, pipes, sockets or devices"


class Listing(NamedTuple):
    """The files of a root.

    Attributes:
      files: parts of each path below the root, sorted: the file's name for reading.
      read: the bytes of a file by that name.
      left_out: how many files were passed over, by reason.
      folders: the parts of every folder below the root.
    """

    files: dict[Parts, str]
    read: Callable[[str], bytes]
    left_out: Counter[str]
    folders: frozenset[Parts]


def list_files(root: Path, suffixes: tuple[str, ...], expected: str) -> Listing:
    """The files below a directory, or in a zip, whose names end in one of `suffixes`.

    Hidden files and folders and those that systems leave (`__MACOSX`, `Thumbs.db`) are passed over
    everywhere. Links are followed, but no folder is read twice, and pipes, sockets and devices are
    never opened.

    Raises:
      FileNotFoundError: if there is no such root.
      OSError: for a folder that cannot be read.
      ValueError: for a file that is no zip, and for a file of more than 1 GiB when it is read.
    """
    if not root.exists():
        raise FileNotFoundError(f"There is no {printable(root)}: expected {expected}.")
    if root.is_dir():
        walked = _walk(root)
        read = read_file
    elif root.is_file():
        archive = open_zip(root, expected)
        walked = _members(archive)
        read = archive.read_member
    else:
        raise ValueError(f"{printable(root)} is no folder or file of data: expected {expected}.")
    files, left_out, folders = {}, Counter[str](), set()
    for parts, name, kind in walked:
        if _hidden(parts):
            left_out["hidden files and folders"] += 1
            continue
        if ".." in parts:
            left_out["members outside of the zip's own folders"] += 1
            continue
        folders |= {parts[:depth] for depth in range(1, len(parts))}
        if kind == "folder":
            folders.add(parts)
        elif kind != "file":
            left_out[kind] += 1
        elif parts in files:
            left_out["members that have the name of another"] += 1
        elif parts[-1].lower().endswith(suffixes):
            files[parts] = name
        else:
            ending = os.path.splitext(parts[-1])[1].lower()
            left_out[f"files ending in {ending}" if ending else "files without an ending"] += 1
    return Listing(dict(sorted(files.items())), read, left_out, frozenset(folders))


def printable(text: object) -> str:
    """Text that can be printed, whatever a file's name is made of: controls become escapes."""
    decodable = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(
        letter.encode("unicode_escape").decode()
        if unicodedata.category(letter) in _CONTROLS
        else letter
        for letter in decodable
    )


def read_file(name: str) -> bytes:
    """The bytes of a file, unless it is larger than any that is read here."""
    check_length(name, os.stat(name).st_size)
    return Path(name).read_bytes()


_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}


class Archive(zipfile.ZipFile):
    """A zip that travels to another process by its path, and is opened again there."""

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return Archive, (self.filename,)

    def read_member(self, name: str) -> bytes:
        """The bytes of a member; ZipFile locks around reads, so threads may share it."""
        check_length(f"{self.filename}:{name}", self.getinfo(name).file_size)
        return self.read(name)


def open_zip(root: Path, expected: str) -> Archive:
    """A zip file.

    Raises:
      ValueError: if the file is none, with what was expected; if its content is encrypted, or
        compressed in a way that Python does not read.
    """
    try:
        archive = Archive(root)
    except Exception as error:  # damaged directories raise struct.error, UnicodeDecodeError, …
        raise ValueError(
            f"{printable(root)} is a file but not a readable zip ({error}): expected {expected}."
        ) from error
    _check_readable(archive, root)
    return archive


def _check_readable(archive: Archive, root: Path) -> None:
    """Single members that cannot be read are damaged files among others; here all are meant."""
    members = [info for info in archive.infolist() if not info.is_dir()]
    if members and all(info.flag_bits & 1 for info in members):
        raise ValueError(
            f"{printable(root)} is encrypted: unpack it with its password, and give the folder, or "
            f"a zip without a password."
        )
    methods = {info.compress_type for info in members}
    if members and not methods & _METHODS:
        raise ValueError(
            f"{printable(root)} is compressed by method {min(methods)}, which Python does not "
            f"read: unpack it and give the folder, or pack it by deflate."
        )


def check_length(name: str, length: int) -> None:
    """Refuses a file of more bytes than are read here.

    Raises:
      ValueError: for such a file, naming it and its length.
    """
    if length > LARGEST:
        raise ValueError(
            f"{printable(name)} is too large: it has {length / 2**30:.1f} GiB, and files of at "
            f"most {LARGEST // 2**30} GiB are read. Take it out, or cut it into parts."
        )


def _hidden(parts: Parts) -> bool:
    return parts[-1].lower() in _JUNK or any(
        (part.startswith(".") and part != "..") or part.upper() == "__MACOSX" for part in parts
    )


def _walk(root: Path) -> Iterator[tuple[Parts, str, str]]:
    """(parts, name, kind) of all below a directory; what is behind links comes last."""
    read_already: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, Parts]] = [(root, ())]
    behind_links: list[tuple[Path, Parts]] = []
    while waiting or behind_links:
        folder, parts = (waiting or behind_links).pop(0)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in read_already:
            yield parts, str(folder), "links to folders that are read already"
            continue
        read_already.add((status.st_dev, status.st_ino))
        if parts:
            yield parts, str(folder), "folder"
        for entry in _entries(folder):
            inside = (*parts, entry.name)
            kind = _kind(entry)
            if kind == "folder" and not _hidden(inside):
                queue = behind_links if entry.is_symlink() else waiting
                queue.append((Path(entry.path), inside))
            else:
                yield inside, entry.path, kind


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise OSError(
            f"The folder {printable(folder)} cannot be read ({error.strerror}): change its "
            "permissions, or take it out."
        ) from error


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        mode = os.stat(entry.path).st_mode
    except OSError:  # links to nothing, and loops of links
        return _SPECIAL
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else _SPECIAL


def _members(archive: Archive) -> Iterator[tuple[Parts, str, str]]:
    for info in archive.infolist():
        # Some programs write the separators of Windows, or begin with "./".
        path = info.filename.replace("\\", "/")
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        if not parts:
            continue
        if path.endswith("/"):
            yield parts, info.filename, "folder"
        elif stat.S_ISLNK(info.external_attr >> 16):
            yield parts, info.filename, _SPECIAL
        else:
            yield parts, info.filename, "file"
