"""Buckets of object storage as paths, through etils.epath and fsspec; see `storage`."""

import contextlib
import errno
import functools
import glob
import io
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import IO, Any, NamedTuple

import fsspec
from etils.epath.gpath import PosixGPath
from fsspec.config import conf

BUSY = (408, 429, *range(500, 505))  # statuses that gcsfs asks again after, six times with pauses
OF_S3 = (errno.EBUSY, errno.EREMOTEIO)  # what s3fs makes of 429 and 5xx, tried several times


class Kind(NamedTuple):
    """What a user of one kind of storage installs, and does."""

    extra: str
    package: str
    make: str  # a bucket
    login: str


KINDS = {
    "gs": Kind(
        "cloud",
        "gcsfs",
        "gcloud storage buckets create",
        "log in (gcloud auth application-default login), or let its service account use the "
        "objects of {bucket} (the role roles/storage.objectUser)",
    ),
    "s3": Kind(
        "s3",
        "s3fs",
        "aws s3 mb",
        "log in (aws configure, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and let the "
        "account get, put, list and delete the objects of {bucket}",
    ),
}


@functools.cache
def files(scheme: str) -> Any:
    """The file system of a scheme.

    Raises:
      ValueError: without the package that speaks to it.
    """
    # What another process has written is seen at once; also through orbax, which asks fsspec.
    settings: dict[str, Any] = {"use_listings_cache": False}
    if scheme == "gs" and os.environ.get("STORAGE_EMULATOR_HOST"):
        settings["token"] = "anon"
    conf.setdefault(scheme, {}).update(settings)
    try:
        if scheme == "gs":
            _choose_class()
        return fsspec.filesystem(scheme)
    except ImportError as error:
        kind = KINDS[scheme]
        raise ValueError(
            f"An address {scheme}://… is read and written by {kind.package}, which cannot be "
            f"imported ({error}): pip install 'eqssl_jax[{kind.extra}]', or give a folder."
        ) from None


def _choose_class() -> None:
    """The plain class of gcsfs: the other asks about every bucket in another protocol first."""
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    from gcsfs.core import GCSFileSystem

    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # what it raises is said here
    for name in ("gs", "gcs"):
        fsspec.register_implementation(name, GCSFileSystem, clobber=True)


def remote(address: str) -> "Remote":
    """The path of an address, when its bucket has answered.

    Raises:
      ValueError: as `files`.
      OSError: if there is no such bucket, or it cannot be reached or read.
    """
    place = Remote(address)
    _check_bucket(place.scheme, place.bucket)
    return place


@functools.cache
def _check_bucket(scheme: str, bucket: str) -> None:
    address = f"{scheme}://{bucket}"
    with answered(address):
        try:
            files(scheme).info(address)
        except FileNotFoundError:  # also where only the objects of an empty bucket may be seen
            try:
                files(scheme).ls(address)
            except FileNotFoundError:
                raise FileNotFoundError(
                    f"There is no bucket {address}: make it ({KINDS[scheme].make} {address}), or "
                    f"correct the address."
                ) from None


@contextlib.contextmanager
def answered(address: object) -> Iterator[None]:
    """Whatever a storage answers instead of what it was asked for is an OSError, in one paragraph.

    Raises:
      FileNotFoundError, FileExistsError: as they are.
      PermissionError: without the rights.
      OSError: if it is busy or cannot be reached, after several tries.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError):
        raise
    except Exception as error:  # of gcsfs, aiohttp, google.auth, botocore
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            raise
        raise _in_words(error, str(address)) from error


def _in_words(error: Exception, address: str) -> OSError:
    scheme, _, location = address.partition("://")
    bucket = f"{scheme}://{location.partition('/')[0]}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    code = str(getattr(error, "code", ""))
    refused = isinstance(error, PermissionError) or code in ("401", "403")
    if refused or "Forbidden" in reason or "Credentials" in type(error).__name__:
        return PermissionError(
            f"{address} may not be read or written with the credentials of this machine "
            f"({reason}): {KINDS[scheme].login.format(bucket=bucket)}."
        )
    number = getattr(error, "errno", None)
    if code in map(str, BUSY) or (scheme == "s3" and number in OF_S3):
        return OSError(
            f"{bucket} answered {code or 'that it is busy'} again and again, for half a minute and "
            f"more ({address}; {reason}): the storage is overloaded or away. Start the same "
            f"command again later; a run goes on from its last checkpoint."
        )
    return OSError(f"{address} cannot be reached ({reason}): check the network and the address.")


class _Upload(io.BytesIO):
    """A file that becomes an object when it is closed, unless an error closes it."""

    def __init__(self, place: "Remote") -> None:
        super().__init__()
        self.place = place

    def __exit__(self, kind: Any, *exception: Any) -> None:
        if kind is None:
            self.place.write_bytes(self.getvalue())
        super().__exit__(kind, *exception)


class Remote(PosixGPath):
    """A place in a bucket with the methods of `pathlib.Path`; no reader sees half of an object."""

    @property
    def scheme(self) -> str:
        return self.parts[1]

    @property
    def bucket(self) -> str:
        return self.parts[2]

    @property
    def parents(self) -> Sequence["Remote"]:
        """The places that this one lies in, up to the bucket."""
        return [place for place in super().parents if len(place.parts) > 2]

    @property
    def store(self) -> Any:
        return files(self.scheme)

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the file system answers; see `answered`."""
        with answered(self):
            return getattr(self.store, method)(*arguments, **options)

    def exists(self) -> bool:
        return self.ask("exists", str(self))

    def is_dir(self) -> bool:
        return self.ask("isdir", str(self))

    def is_file(self) -> bool:
        return self.ask("isfile", str(self))

    def is_symlink(self) -> bool:
        return False

    def iterdir(self) -> Iterator["Remote"]:
        names = (PurePosixPath(name).name for name in self.ask("ls", str(self), detail=False))
        return (self / name for name in names if name != self.name)

    def glob(self, pattern: str) -> Iterator["Remote"]:
        names = self.ask("glob", f"{glob.escape(str(self))}/{pattern}")
        return (type(self)(f"{self.scheme}://{name}") for name in names)

    def stat(self) -> Any:
        info = self.ask("info", str(self))
        moment = info.get("mtime") or info.get("LastModified")
        seconds = moment.timestamp() if isinstance(moment, datetime) else 0.0
        return SimpleNamespace(st_size=info["size"], st_mtime=seconds)

    def read_bytes(self) -> bytes:
        return self.ask("cat_file", str(self))

    def read_text(self, encoding: str | None = None, errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors)

    def write_bytes(self, data: bytes) -> int:
        self.ask("pipe_file", str(self), bytes(data))
        return len(data)

    def write_text(self, data: str, encoding: str | None = None, errors: str | None = None) -> int:
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def create(self, data: bytes) -> bool:
        """Whether there was no such object, so that it is written (if-generation-match: 0)."""
        try:
            self.ask("pipe_file", str(self), data, mode="create")
        except FileExistsError:
            return False
        return True

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        if mode == "wb":
            return _Upload(self)
        if mode not in ("r", "rb"):
            raise ValueError(f"{self} cannot be opened as {mode!r}; objects are written whole.")
        content, text = io.BytesIO(self.read_bytes()), {"encoding": "utf-8"} | options
        return content if mode == "rb" else io.TextIOWrapper(content, **text)

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        self.create(b"")

    def mkdir(self, mode: Any = None, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a bucket has no folders, only names with slashes."""

    def unlink(self, missing_ok: bool = False) -> None:
        with contextlib.suppress(*([FileNotFoundError] if missing_ok else [])):
            self.ask("rm_file", str(self))

    def rmtree(self, missing_ok: bool = False) -> None:
        with contextlib.suppress(*([FileNotFoundError] if missing_ok else [])):
            self.ask("rm", str(self), recursive=True)

    def replace(self, target: Any) -> "Remote":
        """Move an object, or all below a place, one by one."""
        start = len(str(self).partition("://")[2])
        sources = self.ask("find", str(self))
        self.ask("mv", sources, [f"{target}{name[start:]}" for name in sources])
        return type(self)(target)

    def resolve(self, strict: bool = False) -> "Remote":
        return self

    absolute = resolve
