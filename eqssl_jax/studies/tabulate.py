"""The table of a study, with what must be said about its numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from eqssl_jax import tabular
from eqssl_jax.studies.base import DataChoice, Outcome, Study
from eqssl_jax.studies.folders import Chosen
from eqssl_jax.tabular import Cell, cell_of, published

_SMALL = (
    "Ours are NOT comparable with the published numbers: another encoder, other data or far fewer "
    "steps. Compare ours with ours."
)

Results = Mapping[str, Mapping[str, Any]]
Outcomes: TypeAlias = list[tuple[Chosen, Outcome]]


def tabulate(
    study: Study,
    scale: str,
    shown: Sequence[Chosen],
    outcomes: Outcomes,
) -> tuple[str, str, str]:
    """The table as text, Markdown and CSV.

    A study with published numbers has them beside ours; any other, and one whose runs are not its
    cells, has its metrics as rows, its runs as columns, and the floors.
    """
    by_run: dict[str, list[Any]] = {}
    for chosen, outcome in outcomes:
        by_run.setdefault(chosen.name, []).append(outcome.last())
    results = {name: tabular.merged(outcome) for name, outcome in by_run.items()}
    notes = _notes(study, scale, outcomes)
    if cells := _cells(study, shown):
        compared = compare(study, results, cells, notes)
        return _written(compared.sheet())
    measured = {metric for result in results.values() for metric in result["encoders"]["trained"]}
    metrics = [metric for metric in study.metrics if metric in measured]
    table = tabular.comparison_table(results, metrics=metrics)
    table = table._replace(notes=(f"{study.title}", *table.notes, *notes))
    return _written(table.sheet())


def _written(sheet: tabular.Sheet) -> tuple[str, str, str]:
    return tabular.as_text(sheet), tabular.as_markdown(sheet), tabular.as_csv(sheet)


def compare(
    study: Study, results: Results, cells: Mapping[tuple[str, str], str], notes: Sequence[str]
) -> published.Beside:
    """Ours beside the published table: of the study's metrics, the first that all runs measured."""
    metric = next(
        (
            name
            for name in study.metrics
            if all(cell_of(result, name).value is not None for result in results.values())
        ),
        study.metrics[-1],
    )
    ours = {
        cell: cell_of(results[run], metric) if run in results else Cell()
        for cell, run in cells.items()
    }
    floors = [
        _floors(column, metric, [results[run] for (_, c), run in cells.items()
                                 if c == column and run in results])
        for column in dict.fromkeys(column for _, column in cells)
    ]  # fmt: skip
    remarks = [*notes, *(text for text in floors if text)]
    return published.beside(metric, ours, published.published()[study.published], notes=remarks)


def _cells(study: Study, shown: Sequence[Chosen]) -> dict[tuple[str, str], str]:
    names = {chosen.name for chosen in shown}
    return {cell: run for cell, run in study.cells.items() if run in names}


def _floors(column: str, metric: str, results: Sequence[Mapping[str, Any]]) -> str:
    """What an untrained encoder, the pixels and guessing reach, in a line."""
    levels: dict[str, dict[str, None]] = {}
    for result in results:
        floors = {
            title: cell_of(result, metric, encoder).value
            for encoder, title in tabular.FLOORS.items()
        }
        for title, value in {**floors, "chance": result["chance"].get(metric)}.items():
            if value is not None:
                levels.setdefault(title, {})[f"{100 * value:.2f}"] = None
    words = ", ".join(f"{title} {' / '.join(values)}" for title, values in levels.items())
    return f"Floors of ours on {column}: {words}." if words else ""


def _notes(study: Study, scale: str, outcomes: Outcomes) -> list[str]:
    """Scale, data and seeds of ours, in words; and what they may not be compared with."""
    ours = "; ".join(dict.fromkeys(_setting(outcome) for _, outcome in outcomes))
    notes = [f"Ours, scale {scale}: {ours}."]
    others = _other_data(study, outcomes) if scale == "paper" else ""
    if scale != "paper":
        notes.insert(0, _SMALL)
    elif others:
        notes.insert(0, f"Ours are NOT comparable with the published numbers: {others}.")
    trainings = Counter(chosen.name for chosen, _ in outcomes)
    if study.published:
        notes.append(
            f"Ours: ± one standard deviation over trainings, (in brackets) over probe seeds of one "
            f"training; {_counted(trainings)}."
        )
    elif len(set(trainings.values())) > 1:
        notes.append(f"Trainings: {_counted(trainings)}.")
    weights = _weights(outcomes)
    return [*notes, *([f"λ of CARE: {weights}."] if weights else []), *study.notes]


def _weights(outcomes: Outcomes) -> str:
    """λ of the runs that compare Gram matrices; "" if none does."""
    runs: dict[str, dict[str, None]] = {}
    for chosen, outcome in outcomes:
        entry = outcome.config.objectives.get("equivariance")
        if entry is not None:
            runs.setdefault(f"{entry.weight:g}", {})[chosen.name] = None
    return "; ".join(f"{weight} in {', '.join(names)}" for weight, names in runs.items())


def _counted(trainings: Mapping[str, int]) -> str:
    """How many trainings each run has.

    >>> _counted({"simclr": 3, "care": 1})
    '3 trainings of simclr; 1 training of care'
    """
    counts = sorted(set(trainings.values()), reverse=True)
    parts = []
    for count in counts:
        runs = ", ".join(name for name, n in trainings.items() if n == count)
        many = f"{count} training{'s' * (count > 1)}"
        parts.append(f"{many} of {runs}" if len(counts) > 1 else f"{many} of each")
    return "; ".join(parts)


def _other_data(study: Study, outcomes: Outcomes) -> str:
    """Which data stands in for which set of the paper; "" where all have their own.

    An .npz or a folder counts as other data, whatever it holds: its name does not say.
    """
    of_paper = study.runs("paper", DataChoice())
    replaced = dict.fromkeys(
        f"{_data(outcome.config)} in place of {of_paper[chosen.name].data.name}"
        for chosen, outcome in outcomes
        if outcome.config.data.name != of_paper[chosen.name].data.name or _generated(outcome.config)
    )
    return "; ".join(replaced)


def _generated(config: ConfigDict) -> bool:
    return config.data.name == "proteins" and not config.data.directory


def _data(config: ConfigDict) -> str:
    if _generated(config):
        return "generated chains"
    where = f" ({config.data.directory})" if config.data.directory else ""
    return f"{config.data.name}{where}"


def _setting(outcome: Outcome) -> str:
    config = outcome.config
    train = config.train
    budget = f"{train.steps} steps" if train.steps else f"{train.epochs:g} epochs"
    return (
        f"{config.model.encoder} ({config.model.stem} stem), {budget} of batch {train.batch_size} "
        f"on {_data(config)}, {config.data.validation:.0%} of the training images held "
        f"out for validation"
    )
