"""A file from its publisher: resumed where it broke off, and kept only if its checksum is right."""

import errno
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NamedTuple

TIMEOUT = 60.0  # seconds without an answer
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 1.0  # seconds between attempts
_PIECE = 2**20
_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EISDIR, errno.EFBIG}


class Published(NamedTuple):
    """A file as its publisher has it: address, bytes, and SHA-256 in hexadecimal digits."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """What it is called on disk."""
        return self.url.rpartition("/")[2]


def check_mirror(mirror: str) -> None:
    """An empty mirror, or an address of the web that names a server.

    Raises:
      ValueError: for any other.
    """
    try:
        address = urllib.parse.urlsplit(mirror)
        right = address.scheme in ("http", "https") and bool(address.hostname)
        right = right and (address.port or 1) > 0 and not re.search(r"[^!-~]", mirror)
    except ValueError:
        right = False
    if mirror and not right:
        raise ValueError(
            f"--mirror={mirror} is no address of files: give one that begins with http:// or "
            f"https:// and a server, such as https://mirror.example.org/files, or leave it out to "
            f"ask the publisher."
        )


def fetch(file: Published, folder: Path, *, mirror: str = "") -> Path:
    """The file in a folder, downloaded if it is not there yet.

    What has come lies in NAME.part until all of it is there, and the next call asks for the rest.

    Args:
      file: what is wanted.
      folder: where to.
      mirror: an address that has files of the same names, asked in place of the publisher.

    Raises:
      ValueError: if the content is not what was published, or the mirror is no address.
      OSError: if the address cannot be reached, or the disk not written.
    """
    check_mirror(mirror)
    url = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
    place, part = folder / file.name, folder / f"{file.name}.part"
    folder.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        _complete(url, part, file)
        os.replace(part, place)
    digest = _sha256(place)
    if digest != file.sha256:
        os.replace(place, folder / f"{file.name}.wrong")
        raise ValueError(
            f"{url} is not the file that was published: its SHA-256 is {digest[:16]}…, and must be "
            f"{file.sha256[:16]}…. It was kept as {file.name}.wrong and is not used. Try again, or "
            f"give another --mirror; if it stays so, the publisher has changed the file."
        )
    return place


def _complete(url: str, part: Path, file: Published) -> None:
    """Ask for what is missing until the file has its size; several attempts may bring nothing."""
    failures, why = 0, "it ended early"
    while (have := part.stat().st_size if part.exists() else 0) < file.size:
        try:
            _append(url, part, have)
        except urllib.error.HTTPError as error:
            raise OSError(f"{url} answers {error.code} {error.reason}: {_advice(part)}") from error
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in _OF_DISKS:
                raise OSError(
                    f"{part} cannot be written ({error}): make space or give another --out, and "
                    f"start the command again, which goes on from what is there."
                ) from error
            why = str(getattr(error, "reason", error)) or type(error).__name__
        now = part.stat().st_size if part.exists() else 0
        failures = 0 if now > have else failures + 1
        if failures == ATTEMPTS:
            raise OSError(
                f"{url} could not be downloaded ({why}); {now:,} of {file.size:,} bytes are there: "
                f"{_advice(part)}"
            )
        if now < file.size:
            time.sleep(PAUSE)


def _advice(part: Path) -> str:
    return (
        f"check the network and start the same command again, which goes on from there, give a "
        f"--mirror, or put the file itself into {part.parent}."
    )


def _append(url: str, part: Path, have: int) -> None:
    """Read from byte `have` on; who begins anew repeats what is there, and only more is new."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        goes_on = answer.status == http.client.PARTIAL_CONTENT or not have
        mode = "ab" if goes_on else "r+b"  # never shorter than it was
        with part.open(mode) as file:
            while piece := answer.read1(_PIECE):
                file.write(piece)
                file.flush()  # a process that is killed has lost nothing
                _show(file.tell(), url)


def _show(count: int, url: str) -> None:
    if sys.stderr.isatty():
        name = url.rpartition("/")[2]
        print(f"\r{name}  {count / 2**20:,.0f} MiB", end="", file=sys.stderr, flush=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
