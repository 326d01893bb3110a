"""Buckets of object storage as paths, through etils.epath and fsspec; see `storage`."""

import contextlib
import functools
import io
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import IO, Any

import fsspec
from etils.epath.gpath import PosixGPath
from fsspec.config import conf

from eqssl_jax.names import user_path

EXTRAS = {"gs": "gcsfs", "s3": "s3fs"}
BUSY = (408, 429, *range(500, 505))  # statuses that gcsfs asks again after, six times with pauses


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
        fix = (
            "pip install 'eqssl_jax[cloud]'" if scheme == "gs" else f"pip install {EXTRAS[scheme]}"
        )
        raise ValueError(
            f"An address {scheme}://… needs {EXTRAS[scheme]} ({error}): {fix}"
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
                    f"There is no bucket {address}: make it (gcloud storage buckets create "
                    f"{address}), or correct the address."
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
    if isinstance(error, PermissionError) or "Forbidden" in reason or code in ("401", "403"):
        return PermissionError(
            f"{address} may not be read or written with the credentials of this machine "
            f"({reason}): log in (gcloud auth application-default login), or let its service "
            f"account use the objects of {bucket} (the role roles/storage.objectUser)."
        )
    if code in map(str, BUSY):
        return OSError(
            f"{bucket} answered {code} again and again, for half a minute and more ({address}; "
            f"{reason}): the storage is overloaded or away. Start the same command again later; a "
            f"run goes on from its last checkpoint."
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
        names = self.ask("glob", f"{self}/{pattern}")
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
        content = io.BytesIO(self.read_bytes())
        return content if mode == "rb" else io.TextIOWrapper(content, encoding="utf-8", **options)

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


def fetched(place: Remote) -> Path:
    """The copy of an object, or of all below a place, in the user's cache, brought up to date.

    Raises:
      FileNotFoundError: if nothing is there.
      OSError: as `answered`, and where the disk has no room.
    """
    cache = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "eqssl_jax" / "buckets"
    there = place.ask("find", str(place), detail=True)
    if not there:
        raise FileNotFoundError(f"There is nothing in {place}: correct the address.")
    local = {cache / place.scheme / name: info for name, info in there.items()}
    target = cache.joinpath(*place.parts[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    listing = target.with_name(f".{target.name}.json")  # which versions were copied
    with alone(listing):
        versions = {str(path): _version(info) for path, info in local.items()}
        before = json.loads(listing.read_text()) if listing.exists() else {}
        new = [p for p in local if before.get(str(p)) != versions[str(p)] or not p.exists()]
        for path in set(before) - set(versions):
            Path(path).unlink(missing_ok=True)
        if new:
            _fetch(place, new, {path: local[path]["size"] for path in new}, cache / place.scheme)
            unfinished = listing.with_suffix(".tmp")
            unfinished.write_text(json.dumps(versions))
            unfinished.replace(listing)
    return target


def _version(info: Mapping[str, Any]) -> list[Any]:
    return [info["size"], str(info.get("generation") or info.get("ETag") or info.get("mtime"))]


def _fetch(place: Remote, new: Sequence[Path], sizes: Mapping[Path, int], root: Path) -> None:
    size, free = sum(sizes.values()), shutil.disk_usage(root.parent).free
    if size > free:
        raise OSError(
            f"{place} has {size / 2**30:.1f} GiB to be copied to {root}, and that disk has "
            f"{free / 2**30:.1f} GiB left: choose another (XDG_CACHE_HOME), or mount the bucket."
        )
    print(f"Copying {len(new):,} files ({size / 2**20:,.0f} MiB) from {place} to {root} ...")
    for path in new:
        path.parent.mkdir(parents=True, exist_ok=True)
    names = [path.relative_to(root).as_posix() for path in new]
    place.ask("get", names, [str(path) for path in new])


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Processes of one machine one after the other; where disks have no locks, all at once."""
    with path.with_suffix(".lock").open("w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
