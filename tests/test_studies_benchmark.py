"""The benchmark's table: its runs, Student intervals, Holm's correction, and what it writes."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from eqssl_jax import methods, studies
from eqssl_jax.data import solids
from eqssl_jax.presets.benchmark import METHODS, benchmark
from eqssl_jax.studies import benchmark as study
from eqssl_jax.studies.base import DataChoice, Outcome


def test_every_method_has_a_run_on_both_data_and_one_of_equal_compute_where_it_encodes_more():
    runs = studies.find("benchmark").runs("small", DataChoice())
    assert {f"{m}@{d}" for m in METHODS for d in ("solids", "cifar10")} <= set(runs)
    assert runs["care@solids:compute"].train.steps == 100 == runs["care@solids"].train.steps // 2
    assert "simclr@solids:compute" not in runs
    for config in runs.values():
        methods.resolved(config)
    one = studies.find("benchmark").runs("small", DataChoice("arrays", "some.npz"))
    assert one["sie@cifar10"].data.directory == "some.npz" and "sie@solids" not in one
    with pytest.raises(ValueError, match="the methods supervised, simclr"):
        benchmark("solids", "nothing")


def test_the_smallest_scale_asks_for_no_more_images_than_its_data_have():
    """A batch, a probe or a measure of more would stop it before the first step."""
    runs = studies.find("benchmark").runs("smoke", DataChoice())
    for name in ("care@solids", "order@solids", "stl@solids"):
        config = methods.resolved(runs[name])
        data = solids.load(**config.data.options.to_dict())
        assert config.train.batch_size <= data.splits["objects"].size, name
        assert config.evaluation.options.relative_objects <= data.splits["objects"].size
        methods.build(config)  # groups divide the batch


def outcome(seed, top1, r2):
    def number(value):
        return {"value": value, "sd": None, "n": 1}

    numbers = {"probe_top1": number(top1), "rotation_r2_mlp": number(r2)}
    floor = {"probe_top1": number(0.4)}
    result = {
        "encoders": {"trained": numbers, "pixels": floor},
        "chance": {"rotation_r2_mlp": 0.25},
    }
    return Outcome(ConfigDict({"seed": seed}), [], {400: result}, {})


def test_the_report_says_intervals_ties_floors_and_draws_a_picture(tmp_path):
    trainings = {
        "simclr@solids": [outcome(s, 0.7 + 0.01 * s, 0.3) for s in range(3)],
        "sie@solids": [outcome(s, 0.69 + 0.01 * s, 0.5 + 0.001 * s) for s in range(3)],
        "care@solids": [outcome(s, 0.7, 0.3 + 0.02 * (s - 1)) for s in range(3)],
    }
    table, picture = study.report(trainings, tmp_path / "benchmark-small")
    text = table.read_text()
    assert "| sie@solids | 3 | 0.700 ± 0.025 (p" in text and "0.501 ± 0.002 (p 0.00)" in text
    care = next(line for line in text.splitlines() if line.startswith("| care@solids"))
    assert "0.300 ± 0.050 (p 1.00)" in care  # a tie
    assert "0.400" in text.split("pixels")[-1] or "0.400" in text
    assert "0.250" in text.splitlines()[-1]
    assert picture.name == "benchmark-small-solids-pareto.png" and picture.stat().st_size > 5000


def test_holm_and_student_against_their_definitions():
    assert study.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": 0.03, "c": 0.06, "b": 0.06}
    mean, half = study.interval([1.0, 2.0, 3.0])
    assert (mean, half) == (2.0, pytest.approx(4.302653 / np.sqrt(3)))
    assert np.isnan(study.interval([1.0])[1])
