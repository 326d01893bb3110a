"""The runs that lie in a workdir, set up again with the data of now and the statistics of then."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqssl_jax.training.provenance import (
    changes,
    kept_provenance,
    refuse_changes,
    seen_in_training,
)
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import has_checkpoints, read_config


def stored_setup(workdir: Path, overrides: Mapping[str, Any] | None = None) -> Setup:
    """The set-up of a run from its workdir, with the statistics that its network has.

    Args:
      workdir: the folder of the run.
      overrides: settings by their dotted name that replace those of the run, e.g. the place of the
        data.

    Raises:
      FileNotFoundError: if the data are not there.
      ValueError: if they are not those of training and `data.changed` is not "accept".
    """
    config = read_config(workdir)
    with config.unlocked():
        config.update_from_flattened_dict(dict(overrides or {}))
    try:
        run = setup(config, training=False, workdir=workdir)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} If the data of this run lie elsewhere now: --config.data.directory=..."
        ) from None
    if has_checkpoints(workdir):
        present = run.provenance()
        kept = kept_provenance(workdir, present, run.config.data.changed)
        differing = changes(kept, present)
        refuse_changes(workdir, differing, run.config.data.changed)
        if differing:
            print(f"Evaluating on other data than {workdir} was trained on: {differing}.")
        if seen := seen_in_training(kept, present):
            print(seen, flush=True)
    return run


def run_folders(workdir: Path) -> list[Path]:
    """The folder itself if it is a run, else the runs inside it.

    Raises:
      FileNotFoundError: if there are none.
    """
    if (workdir / "config.json").exists():
        return [workdir]
    inside = sorted(path.parent for path in workdir.glob("*/config.json"))
    if not inside:
        raise FileNotFoundError(
            f"{workdir} is not the folder of a run, nor does it hold any: no config.json there or "
            f"one level below. Give the --workdir that training was started with."
        )
    return inside
