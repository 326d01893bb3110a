"""Every study's figure from outcomes of two trainings: which files, and none without arrays."""

import numpy as np
import pytest

from eqssl_jax import studies
from eqssl_jax.config import base
from eqssl_jax.studies.base import DataChoice, Outcome

FILES = {
    "wahba": {"augmentations"},
    "circle": {"cosines", "points"},
    "lambda_sweep": {"sweep"},
    "gamma": {"over_training"},
    "loss_ablation": {"bars", "over_training", "positive_cosines"},
    "retrieval": {"neighbours"},
}
WITHOUT_ARRAYS = {"lambda_sweep": {"sweep"}, "gamma": {"over_training"}} | {
    "loss_ablation": {"bars", "over_training"}
}


def outcome(seed: int, *, arrays: bool = True) -> Outcome:
    """Two evaluated steps, with random numbers in the places that evaluation writes."""
    generator = np.random.default_rng(seed)
    names = ("probe_top1", "knn", "gram_error", "gamma", "invariance_error", "positive_cosine")
    evaluations = {
        step: {
            "step": step,
            "dataset": "shapes",
            "chance": {"knn": 0.1},
            "encoders": {
                encoder: {
                    name: {"value": float(generator.uniform(0.2, 0.8)), "sd": 0.1, "n": 9}
                    for name in names
                }
                for encoder in ("trained", "random", "pixels")
            },
        }
        for step in (3, 6)
    }
    if not arrays:
        return Outcome(base(), [], evaluations, {})
    images = generator.integers(0, 256, (2, 3, 8, 8, 3)).astype(np.uint8)
    found = {
        "cosines": generator.uniform(-1, 1, (4, 9)),
        "positive_cosines": generator.uniform(-1, 1, (2, 9)),
        "circle": generator.normal(size=(5, 9, 2)),
        "wahba": generator.uniform(size=4),
        "wahba_per_root_n": generator.uniform(size=4),
        "rotation_residual": generator.uniform(size=4),
        "before_images": images,
        "after_images": images,
    }
    stored = {f"{key}/{encoder}": value for key, value in found.items()
              for encoder in ("trained", "random", "pixels")}  # fmt: skip
    stored |= {"queries": np.arange(2), "query_images": images[:, 0],
               "changed_images": images[:, 1]}  # fmt: skip
    return Outcome(base(), [], evaluations, {6: stored})


def drawn(name: str, folder, *, arrays: bool) -> set[str]:
    study = studies.find(name)
    runs = study.runs("smoke", DataChoice())
    trainings = {run: [outcome(seed, arrays=arrays) for seed in range(2)] for run in runs}
    paths = study.figure(trainings, folder / f"{name}-smoke")
    assert {path.name for path in folder.iterdir()} == {path.name for path in paths}
    assert all(path.stat().st_size > 5_000 for path in paths)
    return {path.stem.removeprefix(f"{name}-smoke_") for path in paths}


@pytest.mark.parametrize("name", FILES)
def test_the_figures_of_a_study(name, tmp_path):
    assert drawn(name, tmp_path, arrays=True) == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_figures_whose_arrays_are_missing_are_left_out(name, tmp_path):
    assert drawn(name, tmp_path, arrays=False) == WITHOUT_ARRAYS.get(name, set())


def test_weight_0_alone_is_no_sweep(tmp_path):
    figure = studies.find("lambda_sweep").figure
    assert figure({"lambda_0": [outcome(0)]}, tmp_path / "x") == []
