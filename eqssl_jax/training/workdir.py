"""The run's folder: whose it is, and whether it can be written."""

import json
from pathlib import Path

from ml_collections import ConfigDict

from eqssl_jax import __version__
from eqssl_jax.config import differences, load, plain


def claim(workdir: Path, config: ConfigDict) -> None:
    """Make `workdir` the folder of this config, or check that it already is.

    Raises:
      ValueError: if another config wrote it, with every differing key.
      OSError: if it cannot be created or written.
    """
    path = workdir / "config.json"
    if path.exists():
        changed = differences(plain(read_config(workdir)), plain(config))
        if changed:
            shown = "; ".join(
                f"{key}: {old!r} there, {new!r} now" for key, (old, new) in changed.items()
            )
            raise ValueError(
                f"{workdir} holds a run of another config and will not be overwritten or "
                f"continued: {shown}. Use another --workdir, or the same settings."
            )
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        text = json.dumps(plain(config), indent=2, sort_keys=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(text + "\n")
        unfinished.replace(path)
        (workdir / "version.txt").write_text(f"eqssl_jax {__version__}\n")
    except OSError as error:
        raise OSError(
            f"The workdir {workdir} cannot be written ({error}): check the path, its permissions "
            f"and the free space of its disk, or use another --workdir."
        ) from None


def read_config(workdir: Path) -> ConfigDict:
    """The resolved config that a run wrote.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{workdir} is not the folder of a run: it has no config.json. Give the --workdir that "
            f"training was started with."
        )
    return load(json.loads(path.read_text()))
