"""Where files lie: in folders of this machine, or in buckets of object storage (gs://, s3://).

What is read and written by path alone need not know which: `path` gives either. What differs, a
file that is replaced as a whole, moved folders, finished checkpoints and data, is here.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeGuard, cast

from eqssl_jax.names import user_path

if TYPE_CHECKING:
    from eqssl_jax.buckets import Remote
    from eqssl_jax.leases import Pieces

SCHEMES = ("gs", "s3")
MARK = ".eqssl_jax"  # a file in folders that may be removed


def is_address(text: str | PurePath) -> bool:
    """Whether a place is written with a scheme, as gs://bucket/run is."""
    return "://" in str(text)


def is_remote(place: PurePath) -> "TypeGuard[Remote]":
    """Whether a path of `path` lies in a bucket."""
    return is_address(place)


def path(text: str | PurePath) -> Path:
    """The path of a folder or file, ~ for the user's own folder, or of an address in a bucket.

    >>> path("runs/care").name
    'care'

    Raises:
      ValueError: for an address of another kind, one without a bucket, or an unknown user.
      OSError: for a bucket that is not there, or cannot be reached or read.
    """
    if not is_address(text):
        return user_path(cast(Path, text))
    scheme, _, location = str(text).partition("://")
    if scheme not in SCHEMES or not location.strip("/"):
        raise ValueError(
            f"{str(text)!r} is no place that can be used: give a folder, or an address such as "
            f"{' or '.join(f'{kind}://bucket/run' for kind in SCHEMES)}."
        )
    from eqssl_jax import buckets  # its packages take a second to import

    return cast(Path, buckets.remote(str(text)))


def check_run(place: str | PurePath) -> None:
    """Refuse a place that no run can lie in.

    Raises:
      ValueError: for an address in S3.
    """
    if str(place).startswith("s3://"):
        raise ValueError(
            f"{place} can hold no run: checkpoints (orbax) are written to folders and to gs:// "
            f"alone. Data, weights and what is written to --out may lie in s3://; train in a "
            f"folder, and copy it there."
        )


def write(place: Path, content: str | bytes) -> None:
    """Write a file that no reader ever sees half of.

    Raises:
      OSError: if it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    if is_remote(place):  # an object is there whole, or not at all
        place.write_bytes(content)
        return
    unfinished = place.with_suffix(".tmp")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, place)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def make_folder(place: Path, flag: str) -> Path:
    """The folder to write to, made and tried before the work whose results it is for.

    Raises:
      OSError: naming the flag, where it cannot be made or written to.
    """
    if is_remote(place):
        (place / MARK).write_bytes(b"")
        (place / MARK).unlink()
        return place
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as error:
        raise OSError(
            f"{flag}={place} cannot be written to ({error.strerror}): give a folder of yours, "
            f"which need not exist."
        ) from None


@contextlib.contextmanager
def writing(out: Path, more: str = "") -> Iterator[None]:
    """Whatever hinders that `out` is written is one paragraph.

    Raises:
      OSError: that names the file; one of a bucket as it is.
    """
    try:
        yield
    except OSError as error:
        if is_remote(out) and error.errno is None:
            raise
        raise OSError(
            f"{out} cannot be written ({error}): check the path, its permissions and the free "
            f"space of its disk{more}."
        ) from None


def check_out(out: Path) -> None:
    """Refuse a place for a file or folder that cannot be written, before the work for it.

    Raises:
      ValueError, OSError: as `unfinished` and `make_folder`.
    """
    part = unfinished(out)
    start_unfinished(part)
    shutil.rmtree(part)
    if is_remote(out):
        make_folder(out.parent, "--out")


def unfinished(out: Path) -> Path:
    """The folder of this machine in which `out` is written until it is whole, beside it if it can.

    Raises:
      ValueError: if --out has no name, or there is such a folder that was not made here.
    """
    if out.name in ("", "..") or not list(out.parents):  # a bucket has no place around it
        raise ValueError(
            f"--out={out} names no folder or file of its own: give a new name in it, e.g. "
            f"--out={out / 'exported'}."
        )
    place = out
    if is_remote(out):
        from eqssl_jax import copies

        place = copies.unfinished(out)
    part = place.with_name(out.name + ".unfinished")
    if os.path.lexists(part) and (part.is_symlink() or not (part / MARK).is_file()):
        raise ValueError(
            f"--out={out} is written in {part} until it is whole, and something lies there that "
            f"was not made here: move it away, or give another --out."
        )
    return part


def start_unfinished(part: Path) -> None:
    """Make the folder `unfinished` anew, marked as made here."""
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / MARK).touch()


def deliver(made: Path, out: Path) -> None:
    """Put a file or folder of this machine that is whole in its place, here or in a bucket."""
    if is_remote(out):
        from eqssl_jax import copies

        copies.send(made, out)
    else:
        os.replace(made, out)


def move(source: Path, target: Path) -> None:
    """Move a folder with all that is in it."""
    if is_remote(source):
        source.replace(target)
    else:
        shutil.move(source, target)


def finished_checkpoints(folder: Path) -> list[int]:
    """The steps of which a folder of orbax holds a whole checkpoint, without opening any.

    In a folder an unfinished one has another name; in a bucket it lacks the file that ends it.
    """
    paths = [p.parent for p in folder.glob("[0-9]*/commit_success.txt")] if is_remote(
        folder
    ) else folder.glob("[0-9]*")  # fmt: skip
    return sorted(int(path.name) for path in paths if path.name.isdigit())


class _Growing:
    """A file that lines are appended to, unbuffered: each is on disk, or it failed."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place.open("ab", buffering=0)
        self.write, self.close = self.file.write, self.file.close

    def there(self) -> bool:
        """Whether the file is still in its folder."""
        return bool(os.fstat(self.file.fileno()).st_nlink) and self.place.exists()


def growing(log: Path, lines: Sequence[str] | None) -> "_Growing | Pieces":
    """A log to append to by `write(line)`, which first holds these lines; None: what it holds."""
    if is_remote(log):
        from eqssl_jax.leases import Pieces

        return Pieces(log, lines or ())
    if lines is not None:
        write(log, "".join(line + "\n" for line in lines))
    return _Growing(log)


def read_log(log: Path) -> bytes:
    """All that was written to a log of `growing`."""
    if is_remote(log):
        from eqssl_jax.leases import joined

        return joined(log)
    return log.read_bytes()


_CLIENTS = ("gcsfs", "aiohttp", "google", "botocore", "aiobotocore")
# As gcsfs and aiohttp, and as tensorstore say it.
_AWAY = re.compile(
    r"Forbidden|Cannot connect|UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAUTHENTICATED|"
    r"RESOURCE_EXHAUSTED|HTTP response code: (401|403|408|429|5\d\d)"
)


def does_not_answer(error: Exception) -> bool:
    """Whether an error is of the way to a bucket, and says nothing of what lies there.

    >>> does_not_answer(ValueError("UNAVAILABLE: HTTP response code: 503"))
    True
    >>> does_not_answer(ValueError("DATA_LOSS: wrong checksum")), does_not_answer(KeyError("a"))
    (False, False)
    """
    of_the_way = type(error).__module__.partition(".")[0] in _CLIENTS
    return of_the_way or isinstance(error, PermissionError) or bool(_AWAY.search(str(error)))


def fetched(place: Path) -> Path:
    """Data where they can be read as files: copied from a bucket into the user's cache, once."""
    if not is_remote(place):
        return place
    from eqssl_jax import copies

    return copies.fetched(place)
