"""A named study as one comparison of `main`: its runs in one config.

    python -m eqssl_jax.main --config=configs/study.py:loss_ablation,small,cifar10.npz \\
        --workdir=runs/loss_ablation

The variant is STUDY,SCALE,DATA; DATA is what --data of `python -m eqssl_jax.tables` takes, which
also shares runs between studies, has published numbers beside ours, and figures. Without DATA: the
study's own data (at the scale smoke: rendered shapes).
Tables with a column for each data set do not fit into one comparison: they are for `tables` alone.
"""

from typing import Any

from ml_collections import ConfigDict

from eqssl_jax import methods, studies


def get_config(variant: str = "lambda_sweep,smoke") -> ConfigDict:
    name, _, rest = variant.partition(",")
    scale, _, data = rest.partition(",")
    study = studies.find(name)
    if study.cells:
        raise ValueError(
            f"{name} has a column for each data set: python -m eqssl_jax.tables --table={name}"
        )
    chosen = study.runs(scale or "small", studies.parse_data(data))
    runs = {run.replace(".", "_"): methods.resolved(config) for run, config in chosen.items()}
    config = ConfigDict(next(iter(runs.values())).to_dict())
    config.runs = ConfigDict({run: _changes(config, other) for run, other in runs.items()})
    return config.lock()


def _changes(first: ConfigDict, other: ConfigDict) -> dict[str, Any]:
    """What has to be set to come from the first run's config to another's, nested alike."""
    changes: dict[str, Any] = {}
    for key, value in other.items():
        if key == "objectives":
            changes[key] = _entries(first.objectives.to_dict(), value.to_dict())
        elif isinstance(value, ConfigDict) and key in first:
            changes[key] = _changes(first[key], value)
        elif key not in first or value != first[key]:
            changes[key] = value
    return {key: value for key, value in changes.items() if value != {}}


def _entries(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Entries of methods that are others, and weight 0 for those that a run has not."""
    changed = {key: entry for key, entry in other.items() if entry != first.get(key)}
    return changed | {key: {"weight": 0.0} for key in first if key not in other}
