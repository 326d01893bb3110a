"""The run's folder: whose it is, and whether it can be written."""

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from ml_collections import ConfigDict

from eqssl_jax import __version__, storage
from eqssl_jax.config import load, plain
from eqssl_jax.methods.stored import converted
from eqssl_jax.settings import differences

# Settings that no trained number depends on: a run may go on with others.
FREE = (
    *("data.workers", "data.buffered", "data.directory", "data.changed"),
    *("train.log_every", "train.keep", "train.monitors", "monitor.", "log"),
    *("evaluation.", "advice.seeds", "advice.confidence"),
)


LOCK = ".training"  # held by the process that writes to a workdir


class WriteError(OSError):
    """What a run writes down could not be written."""


class GoneError(OSError):
    """What a run has written is no longer there."""


# Groups that every config.json has, with settings in them.
WHOLE = ("data", "model", "recipe", "objectives", "optimizer", "train", "knn", "evaluation")

# The length of a run, which may grow.
LENGTH = ("train.epochs", "train.steps")


def claim(workdir: Path, config: ConfigDict, *, longer: bool = False) -> None:
    """Make `workdir` the folder of this config, or check that it already is.

    Until a first checkpoint or evidence is written there is nothing to protect, and a changed
    config replaces the one there; so do settings that training does not depend on (`FREE`) and, of
    a run that is made `longer`, its length (`LENGTH`).

    Raises:
      ValueError: if another config has trained there, with every differing key; or if the
        config.json there cannot be read.
      OSError: if it cannot be created or written.
    """
    path = workdir / "config.json"
    trained = has_checkpoints(workdir)
    if trained and not path.exists():
        raise ValueError(
            f"{workdir} has checkpoints but no config.json, so nobody knows what was trained "
            f"there: restore the file from a copy, or use another --workdir."
        )
    before = read_config(workdir) if path.exists() else None  # what is no config is never replaced
    if before is not None and (trained or (workdir / "evidence.json").exists()):
        changed = differences(plain(before), plain(config))
        free = (*FREE, *LENGTH) if longer else FREE
        changed = {key: pair for key, pair in changed.items() if not key.startswith(free)}
        if changed:
            shown = "; ".join(
                f"{key}: {old!r} there, {new!r} now" for key, (old, new) in changed.items()
            )
            raise ValueError(
                f"{workdir} holds a run of another config and will not be overwritten or "
                f"continued: {shown}. Use another --workdir, or the same settings."
            )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        values = plain(config)
        values["data"]["changed"] = "refuse"  # accepted once is not accepted for ever
        storage.write(path, json.dumps(values, indent=2, sort_keys=True) + "\n")
        (workdir / "version.txt").write_text(f"eqssl_jax {__version__}\n")
    except OSError as error:
        raise _unwritable(workdir, error) from None


def has_checkpoints(workdir: Path) -> bool:
    """Whether something has been trained in `workdir`; also without its config."""
    return bool(storage.finished_checkpoints(workdir / "checkpoints"))


def has_trained(workdir: Path) -> bool:
    """Whether `workdir` is of a run with checkpoints, or of advice that has some."""
    return has_checkpoints(workdir) or any(map(has_checkpoints, workdir.glob("seed_*/round_*")))


def _unwritable(workdir: Path, error: OSError) -> OSError:
    return OSError(
        f"The workdir {workdir} cannot be written ({error}): check the path, its permissions and "
        f"the free space of its disk, or use another --workdir."
    )


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[bool]:
    """Whether this process alone holds the file `name` of a folder, until it ends, however it does.

    The folder is made if there is none. In a bucket, a lock whose holder was killed is taken over.

    Not on Windows, nor on network disks without locks: there, one process a folder.

    Raises:
      OSError: if the folder cannot be written.
    """
    if storage.is_remote(folder):
        from eqssl_jax.leases import leased

        with leased(folder / name) as mine:
            yield mine
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("w")
    except OSError as error:
        raise _unwritable(folder, error) from None
    with file:
        yield _lock(file)


def is_locked(folder: Path, name: str) -> bool:
    """Whether a process holds the file `name` of a folder; False where disks have no locks."""
    if storage.is_remote(folder):
        from eqssl_jax.leases import is_leased

        return is_leased(folder / name)
    try:
        with (folder / name).open("r") as file:
            return not _lock(file)
    except OSError:
        return False


def _lock(file: IO[str]) -> bool:
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    return True


def read_config(workdir: Path) -> ConfigDict:
    """The resolved config that a run wrote.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run.
      ValueError: if its config.json is damaged.
    """
    path = workdir / "config.json"
    if not path.exists():
        inside = sorted(str(found.parent) for found in workdir.glob("*/config.json"))
        raise FileNotFoundError(
            f"{workdir} is not the folder of a run: it has no config.json. "
            + (
                f"It holds runs: give one of {', '.join(inside)}."
                if inside
                else "Give the --workdir that training was started with."
            )
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        config = load(converted(values))
        # Single settings may be newer than a stored config; whole groups are lost.
        emptied = {key for key in WHOLE if key != "objectives" and not values.get(key)}
        if lacking := [key for key in WHOLE if key not in values or key in emptied]:
            raise ValueError(f"it lacks {', '.join(f'config.{key}' for key in lacking)}")
        return config
    except (ValueError, RecursionError) as error:  # no JSON, no text, or no config
        raise ValueError(
            f"{path} is damaged ({error}): restore it, or use another --workdir; if nothing was "
            f"trained there, remove it."
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader never sees half of it.

    Raises:
      OSError: naming the file, if it cannot be written.
    """
    text = json.dumps(value, indent=2, default=_number)
    try:
        storage.write(path, text + "\n")
    except OSError as error:
        raise OSError(
            f"{path} cannot be written ({error}): check the free space and permissions of its disk."
        ) from error


def _number(value: Any) -> Any:
    """NumPy's numbers and arrays, for json."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
