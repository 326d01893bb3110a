"""Sweeps: every combination once, resumed, chosen on validation, test looked at once."""

import csv
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from eqssl_jax import presets
from eqssl_jax.figures import value_sweep
from eqssl_jax.studies import sweep as sweeps
from eqssl_jax.studies.grid import label, parse
from eqssl_jax.tabular.seeds import Spread
from eqssl_jax.training.workdir import claim

TEMPERATURE = "objectives.info_nce.temperature"


def config(**data):
    made = presets.contrastive("shapes")
    for name, value in data.items():
        made.data[name] = value
    return made.lock()


@pytest.fixture
def quick(monkeypatch):
    """Trainings that leave only their numbers: best at 0.5, diverging above 1."""
    seen = SimpleNamespace(trained=[], tested=[])

    def train(run, place, *, name=""):
        claim(place, run.config)
        seen.trained.append(name.strip())
        temperature = run.config.objectives.info_nce.temperature
        if temperature > 1:
            raise FloatingPointError("info_nce became nan at step 3.")
        value = 0.9 - abs(temperature - 0.5) + 0.01 * run.config.seed
        rows = [{"step": 1, "validation_knn": 0.1}, {"step": 2, "validation_knn": value}]
        (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def assess(place, step, *, missing_only):
        assert (step, missing_only) == ("2", True)
        seen.tested.append(place.name)
        (place / "eval").mkdir(exist_ok=True)
        numbers = {"knn": {"value": 0.7, "sd": None, "n": 9}}
        (place / "eval" / "2.json").write_text(
            json.dumps({"step": 2, "dataset": "shapes", "encoders": {"trained": numbers}})
        )

    seen.train = train
    monkeypatch.setattr(sweeps, "train", train)
    monkeypatch.setattr(sweeps, "assess", assess)
    monkeypatch.setattr(
        sweeps, "setup", lambda run_config, workdir=None: SimpleNamespace(config=run_config)
    )
    return seen


def test_the_value_is_chosen_on_validation_and_test_is_of_it_alone(tmp_path, quick, capsys):
    grid = parse(config(), [f"{TEMPERATURE}=0.1,0.5,3", "seed=0,1"])
    written = sweeps.sweep(grid, tmp_path)
    assert len(quick.trained) == 6 and len(quick.tested) == 2
    assert all(name.startswith("temperature-0.5-seed") for name in quick.tested)
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [row["chosen"] for row in rows] == ["False", "True", "False"]
    assert [row["trainings"] for row in rows] == ["2", "2", "0"]
    assert float(rows[1]["validation_knn"]) == pytest.approx(0.905)
    assert float(rows[1]["validation_knn sd"]) == pytest.approx(0.01 / 2**0.5)
    text = (tmp_path / "sweep.txt").read_text()
    assert (
        f"Sweep over {TEMPERATURE}" in text
        and "90.5 ± 0.7%" in text
        and "diverged" in text
        and "no ranking" in " ".join(text.split())
    )
    assert {path.suffix for path in written} == {".txt", ".md", ".csv", ".png"}
    assert "became nan at step 3. The sweep goes on." in capsys.readouterr().out
    quick.trained.clear()
    sweeps.sweep(grid, tmp_path)
    assert quick.trained == []


def test_one_run_at_a_time_and_a_plan_of_commands(tmp_path, quick, capsys):
    grid = parse(config(), [f"--config.{TEMPERATURE}=0.1,0.5"])
    only = label(grid.runs[1])
    assert only == "temperature=0.5,seed=0"
    assert sweeps.sweep(grid, tmp_path, only=only) == [] and quick.tested == []
    sweeps.show_plan(grid, tmp_path, ["--config=a b.py", "--workdir=w"])
    printed = capsys.readouterr().out
    assert "1 runs to make, 1 finished." in printed
    line = "python -m eqssl_jax.sweep '--config=a b.py' --workdir=w --only=temperature=0.1,seed=0"
    assert line in printed
    with pytest.raises(ValueError, match="--only is 'x', which is none of the runs temperature"):
        sweeps.sweep(grid, tmp_path, only="x")


def test_a_loss_is_chosen_where_it_is_lowest_and_what_has_no_better_not_at_all(tmp_path, quick):
    grid = parse(config(), [f"{TEMPERATURE}=0.1,0.5"])
    sweeps.sweep(grid, tmp_path)  # looks at test of 0.5
    for swept in grid.runs:
        place = next(tmp_path.glob(f"temperature-{swept.values[0]}-*"))
        scores = {"loss": swept.values[0], "gradient_norm": 1.0, "monitor_gamma": 0.5}
        (place / sweeps.DONE).write_text(json.dumps({"scores": scores, "diverged": ""}))
    sweeps.sweep(grid, tmp_path, by="loss")
    text = " ".join((tmp_path / "sweep.txt").read_text().split())
    assert "Chosen by loss, which sees no test image," in text and "validation" not in text
    assert "Test was looked at earlier, too, of temperature=0.5,seed=0." in text
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [row["chosen"] for row in rows] == ["True", "False"]
    with pytest.raises(ValueError, match="'gradient_norm', of which neither more nor less is"):
        sweeps.sweep(grid, tmp_path, by="gradient_norm")


def test_a_value_whose_runs_all_ended_is_preferred_to_one_with_a_lucky_seed(tmp_path, quick):
    grid = parse(config(), [f"{TEMPERATURE}=0.1,0.5", "seed=0,1"])
    for swept in grid.runs:
        lucky = swept.values[0] == 0.5
        scores = {} if lucky and swept.run.seed else {"monitor_probe": 0.9 if lucky else 0.2}
        place = sweeps._place(swept, tmp_path)
        quick.train(SimpleNamespace(config=swept.run.config), place)
        (place / sweeps.DONE).write_text(json.dumps({"scores": scores, "diverged": "at step 3"}))
    sweeps.sweep(grid, tmp_path)
    text = " ".join((tmp_path / "sweep.txt").read_text().split())
    assert "1 of 2" in text and "A value of which a run diverged is chosen only where" in text
    assert all(name.startswith("temperature-0.1-seed") for name in quick.tested)


def test_rates_without_a_finite_loss_are_one_paragraph(tmp_path, quick):
    grid = parse(config(), [f"{TEMPERATURE}=2,3"])
    with pytest.raises(ValueError, match=r"None of the 2 runs over objectives\.info_nce\.temper"):
        sweeps.sweep(grid, tmp_path)
    with pytest.raises(ValueError, match=r"No run has a finite monitor_lidar: --by takes a"):
        sweeps.sweep(parse(config(), ["seed=0,1"]), tmp_path, by="monitor_lidar")


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ([], "--over is needed"),
        (["seed"], "--over takes NAME=VALUE,VALUE"),
        (["seed=0,0"], "every value once; found 'seed=0,0'"),
        (["sead=0"], "config has no setting 'sead'"),
        (["seed=x"], r"config\.seed is 'x'"),
        (
            ["optimizer.learning_rate=0.1,1e-1"],
            "the same run twice, as learning_rate=0.1,seed=0 and",
        ),
        (["optimizer.learning_rate=-1,1"], r"config\.optimizer\.learning_rate is -1"),
    ],
)
def test_what_cannot_be_swept_is_refused(over, message):
    with pytest.raises(ValueError, match=message):
        parse(config(), over)


def test_a_config_of_several_runs_is_refused_and_lists_are_values():
    made = ConfigDict(config().to_dict())
    made.runs = ConfigDict({"a": {}})
    with pytest.raises(ValueError, match="this config compares several"):
        parse(made, ["seed=0"])
    grid = parse(config(), ["model.projector=(8,4),(16,)"])
    assert [swept.run.config.model.projector for swept in grid.runs] == [(8, 4), (16,)]


def test_the_figure_takes_words_and_numbers(tmp_path):
    spread = Spread(0.5, 0.1, 3)
    value_sweep({"": {"adam": spread, "sgd": spread}}, tmp_path / "a.png", setting="s", score="kNN")
    value_sweep(
        {"x 1": {0.01: spread, 1.0: spread}, "x 2": {0.01: spread, 1.0: spread}},
        tmp_path / "b.png", setting="s", score="kNN", percent=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match="No value of s has a finite kNN"):
        value_sweep({"": {1: Spread(0.0, 0.0, 0)}}, tmp_path / "c.png", setting="s", score="kNN")


@pytest.mark.parametrize("binary", ["sweep", "transfer", "prepare"])
def test_a_binary_says_what_is_missing(binary):
    done = subprocess.run(
        [sys.executable, "-m", f"eqssl_jax.{binary}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--config is needed" in done.stdout + done.stderr or "--out" in done.stdout + done.stderr
