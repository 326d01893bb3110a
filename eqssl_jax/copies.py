"""Copies on this machine of what lies in buckets, and the way of finished files into one."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eqssl_jax.buckets import Remote
from eqssl_jax.names import user_path


def _cache() -> Path:
    cache = user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return cache / "eqssl_jax" / "buckets"


def unfinished(out: Remote) -> Path:
    """Where on this machine a file or folder is made that is sent to a bucket when it is whole."""
    return (_cache() / "unfinished").joinpath(*out.parts[1:])


def send(made: Path, out: Remote) -> None:
    """Write a file, or all files of a folder, to a bucket; each is there whole, or not at all."""
    if made.is_dir():
        for path in sorted(made.rglob("*")):
            if path.is_file():
                send(path, out / path.relative_to(made).as_posix())
    else:
        out.ask("put_file", str(made), str(out))


def fetched(place: Remote) -> Path:
    """The copy of an object, or of all below a place, in the user's cache, brought up to date.

    Raises:
      FileNotFoundError: if nothing is there.
      OSError: as `answered`, and where the disk has no room.
    """
    cache = _cache()
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
