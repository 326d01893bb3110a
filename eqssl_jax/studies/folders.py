"""Where runs lie: DIR/<label>-<8 hex of the resolved config>, the same for every study."""

import hashlib
import json
import re
from pathlib import Path

from ml_collections import ConfigDict

from eqssl_jax.config import differences, plain
from eqssl_jax.training.workdir import read_config

_NAMED = re.compile(r".+-[0-9a-f]{8}")


def digest(config: ConfigDict) -> str:
    """8 hex digits of the resolved config: equal for equal configs, whatever a study calls them."""
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder(directory: Path, name: str, config: ConfigDict) -> Path:
    """The folder of a run: the one that holds this config already, or a new one named after it.

    Raises:
      ValueError: if the folder with this digest holds another config.
    """
    mark = digest(config)
    found = sorted(directory.glob(f"*-{mark}"))
    label = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{name}-seed{config.seed}")
    place = found[0] if found else directory / f"{label}-{mark}"
    if (place / "config.json").exists():
        changed = differences(plain(read_config(place)), plain(config))
        if changed:
            shown = "; ".join(
                f"{k}: {old!r} there, {new!r} now" for k, (old, new) in changed.items()
            )
            raise ValueError(
                f"{place / 'config.json'} is not the config that the folder is named after "
                f"({shown}). It was changed after training began: move the folder away."
            )
    return place


def check(directory: Path) -> None:
    """Refuse a directory that belongs to something else.

    Raises:
      ValueError: if it is the folder of one run or of a comparison, no folder, or below a file.
    """
    for path in (directory, *directory.parents):
        if path.exists() and not path.is_dir():
            where = "is a file" if path == directory else f"cannot be made: {path} is a file"
            raise ValueError(f"--runs={directory} {where}; give a folder for the runs of studies.")
    if (directory / "config.json").exists():
        raise ValueError(
            f"--runs={directory} is the folder of a single run (it has a config.json); give a "
            f"folder above the runs, e.g. --runs={directory.parent / 'studies'}."
        )
    strange = [
        path.parent.name
        for path in sorted(directory.glob("*/config.json"))
        if not _NAMED.fullmatch(path.parent.name)
    ]
    if strange or (directory / "comparison.json").exists():
        raise ValueError(
            f"--runs={directory} is the folder of a comparison or of other runs "
            f"({', '.join(strange[:5]) or 'comparison.json'}); the runs of studies are named "
            f"LABEL-DIGEST. Give another folder, e.g. --runs={directory.parent / 'studies'}."
        )
