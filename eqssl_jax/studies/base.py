"""What a study is: runs that belong together, what their folders hold, what it reproduces."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from ml_collections import ConfigDict

from eqssl_jax.experiment.stored import read_arrays, read_result
from eqssl_jax.training.records import read_records
from eqssl_jax.training.workdir import read_config

# By name; where a study compares methods on several data, method@data or method@data:suffix.
Runs: TypeAlias = Mapping[str, ConfigDict]


def parts_of(run: str) -> tuple[str, str, str]:
    """Method, data and suffix of a run; a method may be `module:attribute`, which has a colon too.

    >>> parts_of("my_parts:spread@solids:compute"), parts_of("sie@solids"), parts_of("simclr")
    (('my_parts:spread', 'solids', 'compute'), ('sie', 'solids', ''), ('simclr', '', ''))
    """
    method, _, rest = run.partition("@")
    data, _, suffix = rest.partition(":")
    return method, data, suffix


class DataChoice(NamedTuple):
    """Data given in place of what a study names: `config.data.name` and `config.data.directory`.

    An empty name keeps the study's own (on the scale "smoke": rendered shapes).
    """

    name: str = ""
    directory: str = ""


class Outcome(NamedTuple):
    """What a finished run gives.

    Attributes:
      config: its resolved config.
      records: the lines of metrics.jsonl.
      evaluations: by step, eval/<step>.json.
      arrays: by step, eval/<step>_arrays.npz, such as "cosines/trained" [A, n]; without the file,
        no entry.
    """

    config: ConfigDict
    records: list[dict[str, Any]]
    evaluations: Mapping[int, Mapping[str, Any]]
    arrays: Mapping[int, Mapping[str, np.ndarray]]

    def last(self) -> Mapping[str, Any]:
        """The evaluation of the latest evaluated step."""
        return self.evaluations[max(self.evaluations)]

    def last_arrays(self) -> Mapping[str, np.ndarray]:
        """Its arrays; empty if an older version evaluated it."""
        return self.arrays.get(max(self.evaluations), {})


Trainings: TypeAlias = Mapping[str, Sequence[Outcome]]  # by run, one for each seed
Figure: TypeAlias = Callable[[Trainings, Path], list[Path]]


def as_it_is(outcome: Outcome) -> Outcome:
    """The `Study.valid` of a study all of whose numbers mean something."""
    return outcome


class Study(NamedTuple):
    """A named study.

    Attributes:
      name: what `--table` takes.
      title: what it shows, in a line.
      reproduces: tables and figures of the CARE paper; empty for what goes beyond it.
      runs: from a scale (`scales.SCALES`) and the data, the complete config of each run.
      metrics: of eval/<step>.json, what its table shows, where measured.
      steps: "latest"; "all": every kept checkpoint is evaluated; "none": none is, and the figure
        makes the table from the records of training.
      published: the name of a table of `published.json` whose cells it fills; "" for none.
      cells: (row, column) of that table -> the run that fills it.
      notes: what a reader of its table must know, in paragraphs.
      floors: the runs beside which the untrained encoder and the inputs are measured, where they
        are those of all runs; None: every run.
      added: from a name that `--only` gives, module:attribute or with @data behind it, a scale and
        data, the runs that it adds; empty for what is no method; None: nothing can be added.
      spelled: the method of a name in `--only`, however it is spelled, as runs have it.
      valid: an outcome with the numbers that mean something alone: table and figure see no other.
      figure: draws the finished trainings into files whose paths begin with the one given, and
        returns them; None: no figure.
      first_seed: of its trainings.
    """

    name: str
    title: str
    reproduces: tuple[str, ...]
    runs: Callable[[str, DataChoice], Runs]
    metrics: tuple[str, ...]
    steps: str = "latest"
    published: str = ""
    cells: Mapping[tuple[str, str], str] = {}
    notes: tuple[str, ...] = ()
    floors: tuple[str, ...] | None = None
    added: Callable[[str, str, DataChoice], Runs] | None = None
    spelled: Callable[[str], str] = str
    valid: Callable[[Outcome], Outcome] = as_it_is
    figure: Figure | None = None
    first_seed: int = 0


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
