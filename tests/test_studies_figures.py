"""Every study's figure from outcomes of two trainings: which files, and none without arrays.

Each run has numbers of its own, and what is drawn under its title must be those.
"""

import zlib
from collections.abc import Mapping

import numpy as np
import pytest

from eqssl_jax import figures, studies
from eqssl_jax.config import base
from eqssl_jax.studies.base import DataChoice, Outcome

FILES = {
    "wahba": {"augmentations"},
    "circle": {"cosines", "points"},
    "lambda_sweep": {"sweep"},
    "gamma": {"over_training"},
    "loss_ablation": {"bars", "over_training", "positive_cosines"},
    "retrieval": {"neighbours"},
    "proteins": {"axis", "trajectories"},
    "order_factors": {"factors"},
}
WITHOUT_ARRAYS = {
    "lambda_sweep": {"sweep"},
    "gamma": {"over_training"},
    "loss_ablation": {"bars", "over_training"},
    "proteins": {"axis"},
    "order_factors": {"factors"},
}
TITLES = {
    "loss_ablation": {
        "inv": "L_inv",
        "unif": "L_unif",
        "equi": "L_equi",
        "inv_unif": "L_inv + L_unif",
        "inv_equi": "L_inv + L_equi",
        "unif_equi": "L_unif + L_equi",
        "inv_unif_equi": "L_inv + L_unif + L_equi",
    },
    "proteins": {
        "care": "InfoNCE + L_equi",
        "simclr": "InfoNCE",
        "uniformity": "L_unif",
        "invariance": "L_inv",
        "equivariance": "L_unif + L_equi",
    },
}


def outcome(run: str, seed: int, *, arrays: bool = True) -> Outcome:
    """Two evaluated steps, with numbers of this run and seed in the places of an evaluation."""
    generator = np.random.default_rng([zlib.crc32(run.encode()), seed])
    names = ("probe_top1", "knn", "gram_error", "gamma", "invariance_error", "positive_cosine",
             "principal_axis_error")  # fmt: skip
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
    if arrays:
        turned = generator.normal(size=(1, 3, 6, 2)).tolist()
        evaluations[6]["trajectories"] = {"trained": turned}
    if not arrays:
        return Outcome(base(), [], evaluations, {})
    images = generator.integers(0, 256, (2, 3, 8, 8, 3)).astype(np.uint8)
    arrays_of = {
        "cosines": generator.uniform(-1, 1, (4, 9)),
        "positive_cosines": generator.uniform(-1, 1, (2, 9)),
        "circle": generator.normal(size=(5, 9, 2)),
        "wahba": generator.uniform(size=4),
        "wahba_per_root_n": generator.uniform(size=4),
        "rotation_residual": generator.uniform(size=4),
        "before_images": images,
        "after_images": images,
    }
    stored = {f"{key}/{encoder}": value for key, value in arrays_of.items()
              for encoder in ("trained", "random", "pixels")}  # fmt: skip
    queries = np.random.default_rng(seed).integers(0, 256, (2, 2, 8, 8, 3)).astype(np.uint8)
    stored |= {"queries": np.arange(2), "query_images": queries[0], "changed_images": queries[1]}
    return Outcome(base(), [], evaluations, {6: stored})


def made(name: str, *, arrays: bool) -> dict[str, list[Outcome]]:
    runs = studies.find(name).runs("smoke", DataChoice())
    return {run: [outcome(run, seed, arrays=arrays) for seed in range(2)] for run in runs}


def drawn(name: str, folder, *, arrays: bool) -> set[str]:
    study, trainings = studies.find(name), made(name, arrays=arrays)
    paths = study.figure(trainings, folder / f"{name}-smoke")
    assert {path.name for path in folder.iterdir()} == {path.name for path in paths}
    pictures = [path for path in paths if path.suffix == ".png"]
    assert all(path.stat().st_size > 5_000 for path in pictures)
    return {path.stem.removeprefix(f"{name}-smoke_") for path in pictures}


@pytest.mark.parametrize("name", FILES)
def test_the_figures_of_a_study(name, tmp_path):
    assert drawn(name, tmp_path, arrays=True) == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_figures_whose_arrays_are_missing_are_left_out(name, tmp_path):
    assert drawn(name, tmp_path, arrays=False) == WITHOUT_ARRAYS.get(name, set())


def test_weight_0_alone_is_no_sweep(tmp_path):
    figure = studies.find("lambda_sweep").figure
    assert figure({"lambda_0": [outcome("lambda_0", 0)]}, tmp_path / "x") == []


def evaluations_of(outcomes: list[Outcome]) -> list[Mapping]:
    return [trained.last() for trained in outcomes]


def steps_of(outcomes: list[Outcome]) -> dict[int, list[Mapping]]:
    return {step: [trained.evaluations[step] for trained in outcomes] for step in (3, 6)}


def array(key: str):
    return lambda outcomes: outcomes[0].arrays[6][f"{key}/trained"]


# By study and function of `figures`: what it must be given of one run, by position.
GIVEN = {
    ("wahba", "augmentation_strips"): {0: lambda outcomes: {
        key: array(key)(outcomes) for key in ("wahba", "wahba_per_root_n", "rotation_residual")
    }},
    ("circle", "circle_histograms"): {0: array("cosines")},
    ("circle", "circle_points"): {0: array("circle")},
    ("lambda_sweep", "weight_sweep"): {0: evaluations_of},
    ("gamma", "measures_over_training"): {0: steps_of},
    ("loss_ablation", "ablation_bars"): {0: evaluations_of},
    ("loss_ablation", "measures_over_training"): {0: steps_of},
    ("loss_ablation", "positive_histograms"): {0: array("positive_cosines")},
    ("retrieval", "neighbours"): {2: array("before_images"), 3: array("after_images")},
    ("proteins", "ablation_bars"): {0: evaluations_of},
    ("proteins", "trajectories"): {
        0: lambda outcomes: np.asarray(outcomes[0].last()["trajectories"]["trained"][0])
    },
}  # fmt: skip


def titles(name: str, function: str, runs) -> dict:
    """Under what each run is drawn."""
    if name == "lambda_sweep":
        return {run: float(run.split("_")[1]) for run in runs}
    named = TITLES.get(name, {}) if function != "trajectories" else {}
    return {run: named.get(run, run) for run in runs}


@pytest.mark.parametrize(("name", "function"), GIVEN)
def test_every_run_is_drawn_under_its_own_title(name, function, tmp_path, monkeypatch):
    called = []
    for function_name in {key for _, key in GIVEN}:
        monkeypatch.setattr(
            figures,
            function_name,
            lambda *args, one=function_name, **more: called.append((one, args, more)),
        )
    trainings = made(name, arrays=True)
    studies.find(name).figure(trainings, tmp_path / name)
    [(args, more)] = [(args, more) for one, args, more in called if one == function]
    title = titles(name, function, trainings)
    for place, wanted in GIVEN[name, function].items():
        assert list(args[place]) == list(title.values())
        for run, outcomes in trainings.items():
            np.testing.assert_equal(args[place][title[run]], wanted(outcomes))
    if function == "augmentation_strips":  # floors: of the first run
        first = next(iter(trainings.values()))[0].arrays[6]
        assert set(more["floors"]) == {"random", "pixels"}
        np.testing.assert_equal(more["floors"]["random"]["wahba"], first["wahba/random"])
    if function == "neighbours":
        assert more["results"] == {run: outcomes[0].last() for run, outcomes in trainings.items()}


def test_the_bars_of_the_axis_have_their_numbers_and_floors(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    pictures, kept = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: pictures.append(self) or kept(self, *a, **k)
    )
    trainings = made("proteins", arrays=False)
    studies.find("proteins").figure(trainings, tmp_path / "proteins")
    axes = pictures[0].axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    means = [
        np.mean(
            [o.last()["encoders"]["trained"]["principal_axis_error"]["value"] for o in outcomes]
        )
        for outcomes in trainings.values()
    ]
    assert heights == pytest.approx(means)
    floors = [
        np.mean([o.last()["encoders"][floor]["principal_axis_error"]["value"]
                 for outcomes in trainings.values() for o in outcomes])
        for floor in ("random", "pixels")
    ]  # fmt: skip
    levels = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
    for level in floors:
        assert any(level == pytest.approx(wanted) for wanted in levels)
