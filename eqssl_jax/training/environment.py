"""In what a run was trained: versions, device, commit and command, for whoever repeats it."""

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from eqssl_jax import __version__, storage

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
FILE = "environment.json"


def record_environment(workdir: Path, *, step: int, steps: int) -> None:
    """Append to environment.json what trains from `step` on, with `steps` as the goal.

    The file is a list with an entry for every start that trained, since a run may go on elsewhere.
    It stands apart from config.json: a run goes on with another version or device, but not with
    another config. Starts after `step` that saved nothing are dropped, as their metrics are.

    Raises:
      OSError: if it cannot be written.
    """
    path = workdir / FILE
    earlier = [start for start in read_environment(workdir) if start["from_step"] < step]
    starts = [*earlier, {"from_step": step, "steps": steps, **environment()}]
    storage.write(path, json.dumps(starts, indent=2) + "\n")


def read_environment(workdir: Path) -> list[dict[str, Any]]:
    """The starts of a run; empty where none was recorded or the file is damaged."""
    try:
        stored = json.loads((workdir / FILE).read_text())
    except (OSError, ValueError):
        return []
    starts = (
        [entry for entry in stored if isinstance(entry, dict)] if isinstance(stored, list) else []
    )
    return [entry for entry in starts if type(entry.setdefault("from_step", 0)) is int]


def planned_steps(workdir: Path) -> int | None:
    """The goal of the latest start of a run; None where none was recorded."""
    goals = [entry.get("steps") for entry in read_environment(workdir)]
    return next((goal for goal in reversed(goals) if type(goal) is int), None)


def environment() -> dict[str, Any]:
    """Versions, device, commit (None outside a checkout of the package), command and time (UTC).

    The command is None where training was not started by one of the package's binaries.
    """
    device = jax.devices()[0]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "eqssl_jax": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}".strip(),
        "device": {
            "kind": device.device_kind,
            "platform": device.platform,
            "count": jax.device_count(),
            "cores": os.cpu_count(),
        },
        "commit": commit(),
        "command": _command(),
    }


def commit(folder: Path = Path(__file__).parent) -> dict[str, Any] | None:
    """{"hash", "changed"} of the checkout that `folder` is tracked in; None without one.

    "changed" says whether tracked files differ from the commit. A folder inside a repository that
    does not track it (an environment in somebody's project) has no commit.
    """
    # Tracked files of the folder: none in site-packages, although git finds a repository above.
    tracked = _git(folder, "ls-files", "--", ".")
    revision = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if not tracked or not revision or status is None:
        return None
    return {"hash": revision, "changed": bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; None without git, outside a repository, or after five seconds."""
    # GIT_DIR of a hook would name another repository than the folder's.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        process = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env=variables,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _command() -> str | None:
    """`python -m eqssl_jax.main --config=…`, as it was started."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or not spec.name.startswith("eqssl_jax."):
        return None
    return shlex.join(["python", "-m", spec.name, *sys.argv[1:]])
