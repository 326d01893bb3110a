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

from eqssl_jax import studies
from eqssl_jax.config import plain


def get_config(variant: str = "lambda_sweep,smoke") -> ConfigDict:
    name, _, rest = variant.partition(",")
    scale, _, data = rest.partition(",")
    study = studies.find(name)
    if study.cells:
        raise ValueError(
            f"{name} has a column for each data set: python -m eqssl_jax.tables --table={name}"
        )
    runs = study.runs(scale or "small", studies.parse_data(data))
    config = ConfigDict(next(iter(runs.values())).to_dict())
    config.runs = ConfigDict(
        {
            run.replace(".", "_"): _changes(plain(config), plain(own), own)
            for run, own in runs.items()
        }
    )
    return config.lock()


def _changes(old: dict[str, Any], new: dict[str, Any], own: Any) -> dict[str, Any]:
    """What has to be set to come from the first run's config to another's, nested alike."""
    found: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict):
            if inside := _changes(old[key], value, own[key]):
                found[key] = inside
        elif value != old[key]:
            found[key] = own[key]
    return found
