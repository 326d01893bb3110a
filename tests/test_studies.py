"""Named studies: every cell has a run, every run builds, folders, going on, and what is refused."""

import csv
import functools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import warm

from eqssl_jax import methods, studies
from eqssl_jax.config import load, plain
from eqssl_jax.studies import base, estimate, folders, overview, produce, scales, tabulate
from eqssl_jax.studies.base import DataChoice, Outcome
from eqssl_jax.studies.folders import choose
from eqssl_jax.tabular.published import published
from eqssl_jax.training.checks import check_measurements
from eqssl_jax.training.datasets import measured_recipe
from eqssl_jax.training.workdir import claim, locked, read_config

ROOT = Path(__file__).parent.parent
SHAPES = DataChoice("shapes")
ALL = list(studies.STUDIES.values())


@functools.cache
def objectives_of(text: str) -> dict[str, float]:
    built = methods.build(load(json.loads(text)))
    return {name: weight for name, (weight, _) in built.objectives.items()}


def objectives(config) -> dict[str, float]:
    """Weights by objective of what is built from a config; built once for each distinct method."""
    parts = ("recipe", "roles", "role_weights", "sharing", "objectives", "target", "model")
    plain_values = plain(config)
    return objectives_of(json.dumps({part: plain_values[part] for part in parts}, sort_keys=True))


def weight_of_care(config) -> float:
    """λ; a resolved config without a rotational part has no such entry."""
    return config.objectives.get("equivariance", {"weight": 0.0})["weight"]


@pytest.mark.parametrize("scale", studies.SCALES)
# The trials are the benchmark's methods with other weights: tests/test_studies_benchmark.py.
@pytest.mark.parametrize(
    "study", [s for s in ALL if s.name != "benchmark_trials"], ids=lambda s: s.name
)
def test_every_run_of_every_study_is_a_method(study, scale):
    # The benchmark's objectives at small and reduced scale are those of smoke; those of λ are
    # CARE's, and those of roles are built in tests/test_studies_roles.py.
    built = study.name != "benchmark" or scale in ("paper", "smoke")
    built &= study.name not in ("lambda_choice", "roles", "order_factors")
    for name, config in study.runs(scale, DataChoice()).items():
        assert not built or objectives(config), name
        if scale in ("small", "smoke"):
            assert 0 < config.train.steps <= (2_000 if study.name == "benchmark" else 400)
            assert config.train.keep * config.train.save_every >= config.train.steps
    for data in (SHAPES, DataChoice("arrays", "some.npz")):
        for config in study.runs(scale, data).values():
            name = "proteins" if study.name == "proteins" else data.name
            assert (config.data.name, config.data.directory) == (name, data.directory)


@pytest.mark.parametrize("study", [s for s in ALL if s.published], ids=lambda s: s.name)
def test_every_published_cell_has_its_run(study):
    assert set(study.cells) == set(published()[study.published].cells)
    assert set(study.cells.values()) == set(study.runs("paper", DataChoice()))


def test_runs_of_table_1_are_the_methods_of_their_rows():
    runs = studies.find("care_table1").runs("paper", DataChoice())
    cells = studies.find("care_table1").cells
    care = runs[cells["CARE-MoCo-v2", "ImageNet-100"]]
    assert set(objectives(care)) == {"moco", "equivariance"}
    assert (care.data.name, care.model.encoder, care.train.epochs) == (
        "imagenet100", "resnet50", 200.0,
    )  # fmt: skip
    equimod = runs[cells["EquiMod-BYOL", "CIFAR-10"]]
    assert set(objectives(equimod)) == {"byol", "equimod"}
    assert runs[cells["BYOL", "CIFAR-100"]].data.name == "cifar100"
    assert runs[cells["SimCLR", "STL-10"]].data.split == "unlabeled"


def test_table_1_on_imagenet_measures_all_rows_alike_and_on_all_images():
    study = studies.find("care_table1")
    runs = study.runs("paper", DataChoice())
    simclr, care = (runs[study.cells[row, "ImageNet-100"]] for row in ("SimCLR", "CARE-SimCLR"))
    assert set(objectives(simclr)) == {"info_nce"}  # CARE's recipe is not trained with there
    assert measured_recipe(simclr) is measured_recipe(care)
    for config in runs.values():
        options = config.evaluation.options
        assert (options.train_images, options.test_images, options.rotation_images) == (None,) * 3
    options = runs[study.cells["SimCLR", "ImageNet-100"]].evaluation.options
    protocol = {"care_optimizer": "sgd", "care_epochs": 60, "care_batch": 128, "care_rate": 30.0}
    assert protocol.items() <= options.to_dict().items()
    assert "care_rate" not in runs[study.cells["SimCLR", "CIFAR-10"]].evaluation.options
    check_measurements(simclr)


def test_reduced_table_1_has_every_row_on_one_data_set_and_all_of_its_images():
    study = studies.find("care_table1")
    choice = choose(study, "reduced", DataChoice("arrays", "some.npz"), seeds=3)
    runs = study.runs("reduced", DataChoice("arrays", "some.npz"))
    assert [chosen.title() for chosen in choice.wanted[:3]] == [
        f"simclr, seed {i}" for i in range(3)
    ]
    assert len(choice.wanted) == 3 * 18 and list(runs)[:4] == [
        "simclr", "simclr_care", "simclr_two_views", "supervised",
    ]  # fmt: skip
    assert set(objectives(runs["supervised"])) == {"classify"}
    assert set(objectives(runs["byol_equimod"])) == {"byol", "equimod"}
    assert set(objectives(runs["vicreg_care"])) == {"vicreg", "equivariance"}
    assert runs["simclr_two_views"].objectives.equivariance.method == "two_view_care"
    for config in runs.values():
        assert (config.data.directory, config.train.epochs, config.train.steps) == (
            "some.npz",
            60,
            0,
        )
        assert config.evaluation.options.train_images is None
        check_measurements(config)
    trained = {"knn": {"value": 0.5, "sd": None, "n": 9}}
    result = {
        "dataset": "some",
        "step": 1,
        "chance": {"knn": 0.1},
        "encoders": {"trained": trained},
    }
    outcomes = [(run, Outcome(run.config, [], {1: result}, {})) for run in choice.shown[:6]]
    text, *_ = tabulate.tabulate(study, "reduced", choice.shown, outcomes)
    assert "simclr_care" in text and "60 epochs of batch 128" in " ".join(text.split())


def test_each_base_method_with_and_without_care():
    runs = studies.find("base_methods_care").runs("small", SHAPES)
    bases = {"simclr": "info_nce", "moco": "moco", "byol": "byol",
             "barlow_twins": "barlow_twins", "vicreg": "vicreg"}  # fmt: skip
    assert {name: set(objectives(config)) for name, config in runs.items()} == {
        **{name: {base} for name, base in bases.items()},
        **{f"{name}_care": {base, "equivariance"} for name, base in bases.items()},
    }


def test_figures_5_and_8_share_their_runs_at_every_scale():
    for scale in studies.SCALES:
        wahba, gamma = (studies.find(n).runs(scale, DataChoice()) for n in ("wahba", "gamma"))
        assert {n: folders.digest(c) for n, c in wahba.items()} == {
            n: folders.digest(c) for n, c in gamma.items()
        }


def test_what_of_equimod_is_measured_is_said():
    for name in ("wahba", "gamma", "retrieval"):
        assert "not by EquiMod's own projection" in " ".join(studies.find(name).notes)


def test_the_ablation_has_each_combination_once():
    runs = studies.find("loss_ablation").runs("small", SHAPES)
    combinations = {frozenset(objectives(config)) for config in runs.values()}
    assert len(runs) == len(combinations) == 7
    assert set().union(*combinations) == {"alignment", "uniformity", "equivariance"}


def test_the_circle_has_two_dimensions_and_the_sweep_its_weights():
    assert {c.model.projector[-1] for c in studies.find("circle").runs("small", SHAPES).values()} \
        == {2}  # fmt: skip
    sweep = studies.find("lambda_sweep").runs("small", SHAPES)
    weights = {name: objectives(config).get("equivariance", 0.0) for name, config in sweep.items()}
    assert weights == {f"lambda_{w:g}": w for w in weights.values()}
    assert len(weights) >= 5


def test_equal_runs_share_a_folder_and_changed_ones_do_not(tmp_path):
    sweep = choose(studies.find("lambda_sweep"), "small", SHAPES).shown
    wahba = choose(studies.find("wahba"), "small", SHAPES).shown
    simclr = produce.place_of(sweep[0], tmp_path)
    claim(simclr, sweep[0].config)
    assert wahba[0].name == "simclr"
    assert produce.place_of(wahba[0], tmp_path) == simclr  # whatever a study calls it
    [other] = choose(studies.find("wahba"), "small", SHAPES, only=["care"]).wanted
    assert produce.place_of(other, tmp_path) != simclr
    # An earlier version had another digest, of a config without a setting that is newer.
    stored = json.loads((simclr / "config.json").read_text())
    del stored["advice"]["methods"]
    assert stored["model"]["compute_dtype"] == "auto"  # which setup makes that of the machine
    stored["model"]["compute_dtype"] = "bfloat16"
    earlier = simclr.rename(tmp_path / f"{simclr.name[:-8]}0123abcd")
    (earlier / "config.json").write_text(json.dumps(stored))
    assert produce.place_of(sweep[0], tmp_path) == earlier
    seeds = choose(studies.find("wahba"), "small", SHAPES, seeds=2).shown
    assert len({produce.place_of(training, tmp_path) for training in seeds}) == len(seeds)


def test_data_stands_in_for_one_column():
    study = studies.find("care_table1")
    first = choose(study, "small", SHAPES)
    assert {study.cells[cell] for cell in study.cells if cell[1] == "CIFAR-10"} == {
        training.name for training in first.shown
    }
    third = choose(study, "small", SHAPES, only=["stl-10", "SimCLR"])
    assert [training.name for training in third.wanted] == ["simclr@stl10"]
    everything = choose(study, "small", DataChoice(), only=["CARE-SimCLR"])
    assert len(everything.wanted) == 4
    assert len(everything.shown) == len(study.cells)
    by_run = choose(study, "small", SHAPES, only=["simclr@stl10"])  # as --plan writes it
    assert [training.name for training in by_run.wanted] == ["simclr@stl10"]
    assert all(training.name.endswith("@stl10") for training in by_run.shown)
    for several in (["STL-10", "CIFAR-10"], ["simclr@stl10", "simclr@cifar10"]):
        with pytest.raises(ValueError, match="several columns"):
            choose(study, "small", SHAPES, only=several)
    for data in (SHAPES, DataChoice()):
        with pytest.raises(ValueError, match=r"No run .* STL-10 has the runs simclr@stl10"):
            choose(study, "small", data, only=["STL-10", "simclr@cifar10"])


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (lambda: studies.find("table_1"), ValueError, "care_table1"),
        (lambda: scales.config("cifar10", lambda c: c, "tiny", SHAPES), ValueError, "smoke"),
        (lambda: choose(ALL[0], "large", SHAPES), ValueError, "no scale 'large'"),
        (lambda: choose(ALL[0], "smoke", SHAPES, only=["MNIST"]), ValueError, "CIFAR-100"),
        (lambda: choose(ALL[0], "smoke", SHAPES, seeds=0), ValueError, "--seeds is 0"),
        (
            lambda: studies.find("proteins").runs("smoke", DataChoice("cifar10")),
            ValueError,
            "no set of proteins",
        ),
        (lambda: studies.parse_data("nowhere.npz"), FileNotFoundError, "train_images"),
        (lambda: studies.parse_data("no/where"), FileNotFoundError, "no/where"),
        (lambda: studies.parse_data("no/where"), FileNotFoundError, "PDB"),
        (
            lambda: folders.check(ROOT / "README.md" / "x" / "y"),
            ValueError,
            r"README\.md is a file",
        ),
    ],
)
def test_what_does_not_exist_is_refused(action, error, message):
    with pytest.raises(error, match=message):
        action()


def test_a_directory_of_something_else_is_refused(tmp_path):
    [training, *_] = choose(studies.find("wahba"), "smoke", SHAPES).shown
    run, comparison = tmp_path / "run", tmp_path / "comparison"
    claim(run, training.config)
    claim(comparison / "simclr", training.config)
    with pytest.raises(ValueError, match="single run"):
        folders.check(run)
    with pytest.raises(ValueError, match=r"comparison.*simclr"):
        folders.check(comparison)
    folder = tmp_path / "own"
    claim(produce.place_of(training, folder), training.config)
    folders.check(folder)
    changed = produce.place_of(training, folder) / "config.json"
    changed.write_text(changed.read_text().replace('"seed": 0', '"seed": 5'))
    with pytest.raises(ValueError, match="seed: 5 there, 0 now"):
        produce.place_of(training, folder)


def test_a_run_is_claimed_by_one_process(tmp_path):
    place = tmp_path / "run"
    with locked(place, produce.LOCK) as first, locked(place, produce.LOCK) as second:
        assert first
        assert not second
    with locked(place, produce.LOCK) as again:
        assert again


@pytest.fixture
def quick(monkeypatch):
    """Training and evaluation that only leave their files; the runs that were trained, in order."""
    trained: list[str] = []

    def train(run, place, *, name):
        claim(place, run.config)
        trained.append(name.strip())
        if trained[-1].startswith("stop"):
            raise KeyboardInterrupt

    def assess(place, step, *, missing_only, with_floors):
        assert missing_only and with_floors
        config = read_config(place)
        value = 0.5 + 0.1 * config.seed + weight_of_care(config)
        number = {"value": value, "sd": 0.01, "n": 3}
        numbers = {"trained": {"probe_top1": number, "gamma": number}, "random": {}, "pixels": {}}
        numbers["random"]["probe_top1"] = {"value": 0.25, "sd": None, "n": 3}
        steps = [3, 6] if step == "all" else [int(step)]
        (place / "eval").mkdir(exist_ok=True)
        for evaluated in steps:
            text = {"step": evaluated, "dataset": "shapes", "encoders": numbers, "chance": {}}
            (place / "eval" / f"{evaluated}.json").write_text(json.dumps(text))
        return []

    monkeypatch.setattr(produce, "setup", lambda config: SimpleNamespace(config=config, steps=6))
    monkeypatch.setattr(produce, "train", train)
    monkeypatch.setattr(produce, "assess", assess)
    return trained


def test_stopped_it_goes_on_with_the_rest(tmp_path, quick, monkeypatch):
    study = studies.find("wahba")
    choice = choose(study, "smoke", SHAPES)
    names = [training.title() for training in choice.wanted]
    kept = produce.assess

    def stopped(place, step, **options):
        if len(quick) == 2:
            raise KeyboardInterrupt
        return kept(place, step, **options)

    monkeypatch.setattr(produce, "assess", stopped)
    with pytest.raises(KeyboardInterrupt):
        produce.produce(study, "smoke", choice, tmp_path)
    monkeypatch.setattr(produce, "assess", kept)
    assert quick == names[:2]
    quick.clear()
    produce.produce(study, "smoke", choice, tmp_path)
    assert quick == names[1:]  # the second was not evaluated yet, so it is entered again
    quick.clear()
    monkeypatch.setattr(produce, "setup", None)  # nothing is missing: no data is read
    written = produce.produce(study, "smoke", choice, tmp_path)
    assert quick == []
    assert {path.name for path in written} >= {f"wahba-smoke.{end}" for end in ("txt", "md", "csv")}


def test_a_study_of_all_steps_evaluates_a_finished_run_again(tmp_path, quick):
    wahba, gamma = studies.find("wahba"), studies.find("gamma")
    produce.produce(wahba, "smoke", choose(wahba, "smoke", SHAPES), tmp_path)
    produce.produce(gamma, "smoke", choose(gamma, "smoke", SHAPES), tmp_path)
    runs = produce.finished(gamma, choose(gamma, "smoke", SHAPES).shown, tmp_path)
    assert len(runs) == 2
    assert all(set(outcome.evaluations) == {3, 6} for _, outcome in runs)
    assert len(list(tmp_path.glob("*/config.json"))) == 2  # the same runs


def test_the_table_has_ours_the_published_number_and_the_difference(tmp_path, quick, capsys):
    study = studies.find("care_table1")
    choice = choose(study, "smoke", SHAPES, seeds=2, only=["SimCLR", "CARE-SimCLR"])
    produce.produce(study, "smoke", choice, tmp_path)
    lines = (tmp_path / "care_table1-smoke.csv").read_text().splitlines()
    rows = {row["row"]: row for row in csv.DictReader(lines)}
    config = choice.wanted[0].config
    ours = 0.55 + weight_of_care(config)  # the mean of two seeds
    assert float(rows["SimCLR"]["ours"]) == pytest.approx(ours)
    assert float(rows["SimCLR"]["ours sd"]) == pytest.approx(0.1 / 2**0.5)
    assert float(rows["SimCLR"]["difference"]) == pytest.approx(ours - 0.9098)
    assert rows["BYOL"]["ours"] == rows["BYOL"]["difference"] == ""  # not asked for: empty
    assert rows["BYOL"]["published"] == "0.9044"
    text = " ".join(capsys.readouterr().out.split())
    for words in ("NOT comparable", "conv_tiny", "6 steps", "on shapes", "2 trainings of each",
                  "random encoder 25.00", "arXiv:2306.13924, Table 1"):  # fmt: skip
        assert words in text


def test_without_its_data_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(produce, "train", lambda *_, **__: pytest.fail("trained"))
    study = studies.find("care_table1")
    choice = choose(study, "small", DataChoice(), only=["CIFAR-10", "SimCLR"])
    with pytest.raises(FileNotFoundError) as error:
        produce.produce(study, "small", choice, tmp_path / "runs")
    for words in ("tfds build cifar10", "--data=FILE", "--data=shapes"):
        assert words in str(error.value)


def test_missing_proteins_are_asked_for_as_proteins(tmp_path):
    study = studies.find("proteins")
    choice = choose(study, "smoke", DataChoice("folder", str(tmp_path / "none")))
    with pytest.raises(FileNotFoundError, match="PDB or mmCIF") as error:
        produce.produce(study, "smoke", choice, tmp_path / "runs")
    assert "train_images" not in str(error.value)


def test_a_setup_is_held_for_one_run_alone_and_data_is_read_in_turn(tmp_path, quick, monkeypatch):
    class Held:
        alive = 0

        def __init__(self, config):
            self.config, self.steps = config, 6
            Held.alive += 1

        def __del__(self):
            Held.alive -= 1

    kept, alive = produce.train, []

    def train(run, place, *, name):
        alive.append(Held.alive)
        kept(run, place, name=name)

    monkeypatch.setattr(produce, "setup", Held)
    monkeypatch.setattr(produce, "train", train)
    study = studies.find("care_table1")
    choice = choose(study, "small", DataChoice(), only=["SimCLR", "CARE-SimCLR"])
    produce.produce(study, "small", choice, tmp_path)
    assert alive == [1] * 8
    sets = [name.split(",")[0].split("@")[1] for name in quick]
    assert sets[::2] == sets[1::2]
    assert len(set(sets)) == 4


def test_done_needs_every_evaluated_step_and_an_undamaged_file(tmp_path, quick):
    wahba, gamma = studies.find("wahba"), studies.find("gamma")
    choice = choose(gamma, "smoke", SHAPES, only=["care"])
    place = produce.place_of(choice.wanted[0], tmp_path)
    produce.produce(gamma, "smoke", choice, tmp_path)
    assert produce.done(gamma, place)
    (place / "eval" / "3.json").unlink()
    assert not produce.done(gamma, place)
    assert produce.done(wahba, place)  # it asks for the last step alone
    quick.clear()
    produce.produce(gamma, "smoke", choice, tmp_path)
    assert produce.done(gamma, place)
    for damaged in (b"{", b"[]", b"\xff", b"{}", b'{"step": "x"}', b'{"step": 6}'):
        (place / produce.DONE).write_bytes(damaged)
        assert not produce.done(gamma, place), damaged
        assert produce.finished(gamma, choice.shown, tmp_path) == []
    quick.clear()
    produce.produce(gamma, "smoke", choice, tmp_path)
    assert len(quick) == 1
    assert produce.done(gamma, place)


def test_the_other_process_is_named_only_if_there_is_one(tmp_path, quick, monkeypatch):
    study = studies.find("wahba")
    choice = choose(study, "smoke", SHAPES, only=["care"])
    with (
        locked(produce.place_of(choice.wanted[0], tmp_path), produce.LOCK),
        pytest.raises(ValueError, match="wait for the other process"),
    ):
        produce.produce(study, "smoke", choice, tmp_path)
    monkeypatch.setattr(produce, "assess", lambda *_, **__: [])
    with pytest.raises(ValueError, match="no table yet: start this again"):
        produce.produce(study, "smoke", choice, tmp_path)


def outcomes_of(study, scale, data, seeds):
    """Made-up outcomes of all runs, of so many seeds each."""
    numbers = {"trained": {"probe_top1": {"value": 0.5, "sd": 0.01, "n": 3}}}
    result = {"step": 6, "dataset": "any", "encoders": numbers, "chance": {}}
    shown = choose(study, scale, data, seeds=max(seeds.values())).shown
    return shown, [
        (training, Outcome(training.config, [], {6: result}, {}))
        for training in shown
        if training.seed < seeds.get(training.name, 1)
    ]


def notes_of(study, scale, data, seeds=None):
    shown, outcomes = outcomes_of(study, scale, data, seeds or {"": 1})
    return " ".join(tabulate.tabulate(study, scale, shown, outcomes)[0].split())


def test_notes_name_data_that_stands_in():
    table, proteins = studies.find("care_table1"), studies.find("proteins")
    notes = notes_of(table, "paper", DataChoice())
    assert "NOT comparable" not in notes
    assert "60 epochs of SGD" in notes
    given = notes_of(table, "paper", DataChoice("arrays", "x.npz"))
    assert "NOT comparable with the published numbers: arrays (x.npz) in place of cifar10." in given
    generated = notes_of(proteins, "paper", DataChoice())
    assert "generated chains in place of proteins" in generated
    assert "on generated chains" in generated
    assert "generated" not in notes_of(proteins, "paper", DataChoice("folder", "x"))


def test_notes_count_the_trainings_of_each_run():
    study = studies.find("wahba")
    trainings = {"simclr": 2, "care": 2, "equimod": 2}
    assert "one standard deviation over 2 trainings" in notes_of(study, "small", SHAPES, trainings)
    assert "Trainings: 2 trainings of simclr; 1 training of care, " in (
        notes_of(study, "small", SHAPES, {"simclr": 2})
    )


@pytest.mark.parametrize("content", [b"{", b"[1]", b"3", b"\xff\xfe"])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        read_config(tmp_path)


def test_what_another_process_works_on_is_left_to_it(tmp_path, quick, capsys):
    study = studies.find("wahba")
    choice = choose(study, "smoke", SHAPES)
    with locked(produce.place_of(choice.wanted[0], tmp_path), produce.LOCK):
        produce.produce(study, "smoke", choice, tmp_path)
    assert quick == [training.title() for training in choice.wanted[1:]]
    assert "Left to another process" in capsys.readouterr().out


def test_the_plan_has_a_command_for_each_missing_run_and_trains_nothing(
    tmp_path, quick, capsys, monkeypatch
):
    study = studies.find("wahba")
    produce.produce(study, "smoke", choose(study, "smoke", SHAPES, only=["care"]), tmp_path)
    quick.clear()
    capsys.readouterr()
    fixed = estimate.Cost(6, 3.6e15, {"A100": 2.0})
    monkeypatch.setattr(estimate, "cost", lambda config, cache: fixed)
    choice = choose(study, "smoke", SHAPES, seeds=2, only=["simclr", "care", "equimod"])
    overview.show_plan(study, "smoke", "shapes", choice, tmp_path, seeds=2)
    shown = capsys.readouterr().out
    command = f"python -m eqssl_jax.tables --table=wahba --scale=smoke --runs={tmp_path}"
    for name in ("simclr", "care", "equimod"):
        assert f"{command} --only={name} --data=shapes --seeds=2" in shown
    assert "5 runs to make, 1 finished" in shown
    assert "In all 1.8e+16 FLOPs: A100 10 h" in shown
    assert quick == []


@pytest.mark.slow
def test_costs_are_counted_once_for_each_shape_of_a_step(tmp_path, monkeypatch):
    [simclr, *_] = choose(studies.find("wahba"), "smoke", SHAPES).shown
    cache = tmp_path / "flops.json"
    counted = estimate.cost(simclr.config, cache)
    assert counted.steps == 6
    # 2 views of 32 images through conv_tiny, forward and backward: at least a MFLOP an image.
    assert counted.flops > 6 * 64 * 1e6
    monkeypatch.setattr(estimate, "step_flops", lambda *_: pytest.fail("counted again"))
    other = choose(studies.find("wahba"), "smoke", SHAPES, seeds=2).shown[1]
    assert estimate.cost(other.config, cache) == counted
    cache.write_text("{")  # damaged: counted again
    monkeypatch.setattr(estimate, "step_flops", lambda *_: 7.0)
    assert estimate.cost(simclr.config, cache).flops == 6 * 7.0


def test_hours_are_told_only_where_they_were_measured(capsys):
    [simclr, *_] = choose(studies.find("wahba"), "smoke", SHAPES).shown
    hours = estimate.hours(1e18, simclr.config)
    assert hours["A100"] == pytest.approx(1e18 / (0.25 * 312e12) / 3600)  # bfloat16
    assert hours["2 CPU cores"] == pytest.approx(1e18 / 21e9 / 3600)
    large = choose(studies.find("lambda_sweep"), "paper", DataChoice()).shown[0].config
    hours = estimate.hours(1e18, large)
    assert (large.model.encoder, hours["2 CPU cores"]) == ("resnet50", None)
    assert hours["A100"] > 0


def test_the_plan_sums_no_hours_that_it_does_not_know(tmp_path, capsys, monkeypatch):
    study, costs = studies.find("wahba"), iter([2.0, None, 3.0])
    monkeypatch.setattr(
        estimate, "cost", lambda config, cache: estimate.Cost(6, 1e15, {"x": next(costs)})
    )
    overview.show_plan(study, "small", "shapes", choose(study, "small", SHAPES), tmp_path, seeds=1)
    shown = capsys.readouterr().out
    assert [line.count("x not measured") for line in shown.splitlines()].count(1) == 2
    assert "In all 3e+15 FLOPs: x not measured" in shown


def test_flops_of_clouds_are_kept_by_their_points():
    [training, *_] = choose(studies.find("proteins"), "smoke", DataChoice()).shown
    more = training.config.copy_and_resolve_references().unlock()
    more.data.options.points *= 2
    assert estimate._shape(training.config) != estimate._shape(more)


def test_steps_of_the_paper_need_no_data():
    config = studies.find("care_table1").runs("paper", DataChoice())
    assert estimate.steps(config["simclr@cifar10"]) == 400 * (45_000 // 256)
    assert estimate.steps(config["simclr@stl10"]) == 400 * (104_500 // 256)
    assert estimate.steps(config["simclr@imagenet100"]) == 200 * (114_020 // 512)


def test_a_damaged_evaluation_is_named(tmp_path):
    [training, *_] = choose(studies.find("wahba"), "smoke", SHAPES).shown
    claim(tmp_path, training.config)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "6.json").write_text("{")
    with pytest.raises(ValueError, match=r"6\.json is damaged"):
        base.read(tmp_path)


def test_the_config_of_a_study_expands_to_its_runs():
    from eqssl_jax.experiment.run import expand

    namespace: dict = {}
    exec((ROOT / "configs" / "study.py").read_text(), namespace)
    for name in ("lambda_sweep", "loss_ablation", "circle"):
        expanded = expand(namespace["get_config"](f"{name},smoke"))
        runs = studies.find(name).runs("smoke", DataChoice())
        assert {
            run.replace(".", "_"): plain(methods.resolved(config)) for run, config in runs.items()
        } == {run: plain(config) for run, config in expanded.items()}
    with pytest.raises(ValueError, match=r"eqssl_jax\.tables"):
        namespace["get_config"]("care_table1,smoke")


def test_the_documented_config_of_a_study_has_its_data(tmp_path, monkeypatch):
    namespace: dict = {}
    exec((ROOT / "configs" / "study.py").read_text(), namespace)
    [variant] = re.findall(r"--config=configs/study\.py:(\S+)", namespace["__doc__"])
    monkeypatch.chdir(tmp_path)
    np.savez("cifar10.npz", images=np.zeros(1))
    config = namespace["get_config"](variant)
    assert (config.data.name, config.data.directory) == ("arrays", "cifar10.npz")
    assert config.data.split == "train"
    assert len(config.runs) == 7
    assert not any("data" in run for run in config.runs.values())  # all of the same data
    assert "--config.data" not in namespace["__doc__"]


def test_smoke_is_of_two_runs_unless_others_are_named():
    table = studies.find("care_table1")
    assert len(choose(table, "smoke", DataChoice()).wanted) == 2
    assert len(choose(table, "small", SHAPES).wanted) > 2
    choice = choose(table, "smoke", DataChoice(), only=["CIFAR-10"])
    assert len(choice.wanted) == len(choice.shown) > 2


MISTAKES = [
    (["--table=circle"], "--runs is needed"),
    (["--table=square", "--runs=x"], "no table 'square'"),
    (["--table=circle", "--scale=huge", "--runs=x"], "no scale 'huge'"),
    (["--table=circle", "--data=no.npz", "--runs=x"], "no such file"),
    (["--table=circle", "--runs=README.md"], "is a file"),
    (["--table=circle", "--runs=x", "--settings=no.json"], "--settings=no.json"),
]


@pytest.fixture(scope="module")
def ended():
    """Each mistake, and last no arguments at all."""
    return warm.ended("eqssl_jax.tables", *(arguments for arguments, _ in MISTAKES), [])


@pytest.mark.parametrize("case", range(len(MISTAKES)))
def test_mistakes_end_with_their_name_and_without_a_traceback(ended, case):
    status, output = ended[case]
    assert status == 1
    assert MISTAKES[case][1] in " ".join(output.split())
    assert "Traceback" not in output


def test_without_a_table_all_are_listed(ended):
    status, output = ended[-1]
    assert status == 0, output
    assert "Table1" in "".join(output.split())
    assert all(f"\n{name}  (" in output for name in studies.STUDIES)  # none is cut or folded
    assert "beyond" in output


def test_the_list_names_figures_and_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    overview.show_studies(studies.STUDIES)
    lines = capsys.readouterr().out.splitlines()
    assert "retrieval  (Figures 9, 21)" in lines
    beyond = [study for study in studies.STUDIES.values() if not study.reproduces]
    assert sum("(beyond the paper)" in line for line in lines) == len(beyond) > 0
    assert max(map(len, lines)) <= 60
    assert len(lines) < 6 * len(studies.STUDIES)
