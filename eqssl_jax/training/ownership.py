"""Whose workdir it is: one run's, on the data it was started with, in all of its processes."""

import contextlib
import hashlib
import sys
import uuid
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eqssl_jax.config import plain
from eqssl_jax.training import processes
from eqssl_jax.training.environment import FILE, planned_steps
from eqssl_jax.training.provenance import (
    changes,
    kept_provenance,
    refuse_changes,
    seen_in_training,
    write_provenance,
)
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.workdir import (
    LOCK,
    claim,
    has_checkpoints,
    has_trained,
    locked,
    read_config,
)

MARK = ".processes"  # by which the others see that it is the same folder


def facts(run: Setup) -> dict[str, Any]:
    """What all processes of a run must have alike, as far as it is quickly seen."""
    splits = run.dataset.splits
    return {
        "config": plain(run.config),
        "code": processes.code_digest(),
        "jax": jax.__version__,
        "data": {
            "sizes": {name: split.size for name, split in splits.items()},
            "mean": run.dataset.mean,
            "std": run.dataset.std,
            "labels": {
                name: hashlib.sha256(np.asarray(split.labels).tobytes()).hexdigest()[:16]
                for name, split in splits.items()
                if split.labels is not None
            },
        },
    }


def take(run: Setup, workdir: Path, held: contextlib.ExitStack) -> None:
    """Make the workdir this run's; process 0 does, for all."""
    if not processes.first():
        return
    if not held.enter_context(locked(workdir, LOCK)):
        raise OSError(
            f"Another run is training in {workdir}: wait for its end, stop it, or use another "
            f"--workdir."
        )
    before = _goal(run, workdir) if has_checkpoints(workdir) else None
    claim(workdir, run.config, longer=before is not None and run.steps > before)
    pin(run, workdir)


def _goal(run: Setup, workdir: Path) -> int | None:
    """How many steps a run was to have; by its config.json if environment.json is of no use."""
    if (goal := planned_steps(workdir)) is not None or not (workdir / "config.json").exists():
        return goal
    if (workdir / FILE).exists():
        print(
            f"{workdir / FILE} is damaged: what versions, device and commit this run had before is "
            f"lost, and the file begins anew. The length of the run is read from config.json.",
            file=sys.stderr,
            flush=True,
        )
    train = read_config(workdir).train
    return train.steps or round(train.epochs * run.steps_per_epoch)


def pin(run: Setup, workdir: Path) -> None:
    """Keep what is trained on; a run that goes on keeps the statistics it was started with.

    Raises:
      ValueError: if the data are not those of before and this is not accepted, or if the network
        normalises otherwise than that of the checkpoints.
    """
    present, changed = run.provenance(), run.config.data.changed
    if not has_trained(workdir):
        kept = present
    else:
        kept = kept_provenance(workdir, present, changed)
        if (kept.mean, kept.std) != (present.mean, present.std):
            raise ValueError(
                f"{workdir} was trained with mean {kept.mean} and standard deviation {kept.std}, "
                f"and would go on with {present.mean} and {present.std}: build the run with "
                f"setup(config, workdir=...), which keeps the statistics of the model."
            )
        differing = changes(kept, present)
        refuse_changes(workdir, differing, changed)
        if differing:
            print(f"Going on with changed data: {differing}.", flush=True)
            kept = kept._replace(splits=present.splits, earlier=(*kept.earlier, kept.fingerprint))
    write_provenance(workdir, kept)
    if seen := seen_in_training(kept, present):
        print(seen, flush=True)


def check_shared(workdir: Path) -> None:
    """All processes of a run must see one workdir: orbax would wait for the others for ever.

    Raises:
      OSError: if one of them sees another folder, or none.
    """
    if jax.process_count() == 1:
        return
    mark = processes.gathered(uuid.uuid4().hex)[0]

    def see() -> None:
        path = workdir / MARK
        if not path.exists() or path.read_text() != mark:
            raise OSError(
                f"{workdir} is not the folder that process 0 writes to: all processes need one "
                f"--workdir on a disk that they share, at the same path."
            )

    processes.together(lambda: (workdir / MARK).write_text(mark) if processes.first() else None)
    processes.together(see)
