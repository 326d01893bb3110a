"""What finished runs gave, read from their folders."""

from pathlib import Path

from eqssl_jax.experiment.assess import read_result
from eqssl_jax.experiment.stored import read_arrays
from eqssl_jax.studies.base import Outcome
from eqssl_jax.training.records import read_records
from eqssl_jax.training.workdir import read_config


def read(place: Path) -> Outcome:
    """The outcome of an evaluated run.

    Raises:
      FileNotFoundError: if `place` is not the folder of a run.
      ValueError: if its config, or an evaluation, is damaged.
    """
    evaluations, arrays = {}, {}
    for path in sorted((place / "eval").glob("*.json")):
        if path.stem.isdigit():
            evaluations[int(path.stem)] = read_result(path)
            beside = path.with_name(f"{path.stem}_arrays.npz")
            if beside.exists():
                arrays[int(path.stem)] = read_arrays(beside)
    return Outcome(read_config(place), read_records(place), evaluations, arrays)
