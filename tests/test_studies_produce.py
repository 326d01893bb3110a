"""Runs of a study: their folders, going on, plans and costs, and what damages them."""

import csv
import json
from types import SimpleNamespace

import pytest

from eqssl_jax import studies
from eqssl_jax.studies import base, estimate, folders, overview, produce
from eqssl_jax.studies.base import DataChoice
from eqssl_jax.studies.folders import choose
from eqssl_jax.training.workdir import claim, locked, read_config

SHAPES = DataChoice("shapes")


def weight_of_care(config) -> float:
    """λ; a resolved config without a rotational part has no such entry."""
    return config.objectives.get("equivariance", {"weight": 0.0})["weight"]


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


def test_a_damaged_evaluation_is_named(tmp_path):
    [training, *_] = choose(studies.find("wahba"), "smoke", SHAPES).shown
    claim(tmp_path, training.config)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "6.json").write_text("{")
    with pytest.raises(ValueError, match=r"6\.json is damaged"):
        base.read(tmp_path)


def test_a_table_says_with_what_its_runs_were_trained_and_what_they_took(tmp_path):
    places = [tmp_path / name for name in "abc"]
    for place, commit in zip(places, ("0123456789abcdef", "fedcba9876543210"), strict=False):
        place.mkdir()
        device = {"kind": "H200", "count": 1, "cores": 16}
        start = {"device": device, "commit": {"hash": commit}, "packages": {"jax": "0.10.2"}}
        (place / "environment.json").write_text(json.dumps([start, {**start, "from_step": 3}]))
        (place / produce.DONE).write_text(json.dumps({"wall_s": 5400, "cpu_s": 7200}))
    [note] = produce.made_with(places)
    assert note == (
        "Trained with: commit 0123456789ab / fedcba987654; device 1 × H200; CPU cores 16; "
        "jax 0.10.2. 2 of 3 runs took 3 h of wall and 4 h of CPU time."
    )
    (places[0] / produce.DONE).write_text("[]")
    assert "1 of 1 runs took" not in produce.made_with(places[:1])[0]
    assert produce.made_with(places[2:]) == []


def test_a_table_that_a_figure_writes_says_it_too(tmp_path):
    study = studies.find("lambda_choice")
    choice = choose(study, "smoke", SHAPES)
    place = produce.place_of(choice.wanted[0], tmp_path)
    claim(place, choice.wanted[0].config)
    (place / "environment.json").write_text('[{"device": {"kind": "H200"}}]')
    outcome = base.Outcome(choice.wanted[0].config, [{"validation_knn": 0.5}], {}, {})
    paths = produce.write(study, "smoke", choice, [(choice.wanted[0], outcome)], tmp_path)
    assert paths[0].read_text().endswith("\nTrained with: device 1 × H200.\n")
    assert json.loads(paths[-1].read_text()) == {}  # the others are read by programs
