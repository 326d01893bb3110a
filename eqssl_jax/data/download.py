"""A file from its publisher: resumed where it broke off, and kept only if its checksum is right."""

import errno
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

TIMEOUT = 60.0  # seconds without an answer
ATTEMPTS = 5  # in a row that bring nothing
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


def fetch(file: Published, folder: Path, *, mirror: str = "") -> Path:
    """The file in a folder, downloaded if it is not there yet.

    What has come lies in NAME.part until all of it is there, and the next call asks for the rest.

    Args:
      file: what is wanted.
      folder: where to.
      mirror: an address that has files of the same names, asked in place of the publisher.

    Raises:
      ValueError: if the content is not what was published.
      OSError: if the address cannot be reached, or the disk not written.
    """
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


def _advice(part: Path) -> str:
    return (
        f"check the network and start the same command again, which goes on from there, give a "
        f"--mirror, or put the file itself into {part.parent}."
    )


def _append(url: str, part: Path, have: int) -> None:
    """Read from byte `have` on; a server that begins anew is read from its beginning."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        mode = "ab" if answer.status == http.client.PARTIAL_CONTENT else "wb"
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
