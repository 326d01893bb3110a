"""The primary claims, the choice of λ before them, and settings of single runs from a file."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from ml_collections import ConfigDict

from eqssl_jax import studies, tables
from eqssl_jax.studies import claims, folders, given, overview, produce, tabulate, weights
from eqssl_jax.studies.base import DataChoice, Outcome

FILE = DataChoice("arrays", "some.npz")
TABLE = studies.find("care_table1")


def outcome(seed, records=(), **numbers):
    trained = {name: {"value": value, "sd": None, "n": 1} for name, value in numbers.items()}
    config = ConfigDict({"seed": seed})
    return Outcome(config, list(records), {1: {"encoders": {"trained": trained}}}, {})


def trainings(care, simclr, two_views=()):
    """One training for each entry: the numbers of seed 0, 1, …"""
    runs = {"simclr": simclr, "simclr_care": care, "simclr_two_views": two_views}
    return {run: [outcome(s, **n) for s, n in enumerate(them)] for run, them in runs.items()}


def rows(table):
    return {(row.compared, row.claim.metric): row for row in claims.judge(table)}


def test_intervals_and_p_are_those_of_scipy_and_holm_is_over_ten():
    simclr, care = [0.9, 1.0, 1.2, 0.95, 1.05], [0.30, 0.33, 0.61, 0.37, 0.42]
    top1 = [0.60, 0.62, 0.61, 0.63, 0.60], [0.606, 0.622, 0.611, 0.629, 0.604]
    table = trainings(
        [{"gamma": g, "probe_top1": t} for g, t in zip(care, top1[1], strict=True)],
        [{"gamma": g, "probe_top1": t} for g, t in zip(simclr, top1[0], strict=True)],
        [{"gamma": 0.2 + 0.1 * seed} for seed in range(3)],  # three pairs beside five
    )
    judged = rows(table)
    assert len(judged) == 10
    gamma, accuracy = judged["CARE", "gamma"], judged["CARE", "probe_top1"]
    test = scipy.stats.ttest_rel(care, simclr)
    interval = test.confidence_interval(0.95)
    assert gamma.p == pytest.approx(test.pvalue) and gamma.pairs == 5
    assert (gamma.difference - gamma.half, gamma.difference + gamma.half) == pytest.approx(
        (interval.low, interval.high)
    )
    shifted = scipy.stats.ttest_rel(np.add(top1[1], 0.01), top1[0]).pvalue  # against −1 point
    assert accuracy.p == pytest.approx(shifted)
    assert judged["two-view CARE", "gamma"].pairs == 3
    third = scipy.stats.ttest_rel([0.2, 0.3, 0.4], simclr[:3]).pvalue
    ranked = sorted([(gamma.p, "a"), (accuracy.p, "b"), (third, "c")])
    expected = dict(zip((name for _, name in ranked), np.maximum.accumulate(
        [(10 - rank) * p for rank, (p, _) in enumerate(ranked)]), strict=True))  # fmt: skip
    adjusted = gamma.adjusted, accuracy.adjusted, judged["two-view CARE", "gamma"].adjusted
    assert adjusted == pytest.approx([min(expected[name], 1) for name in "abc"])
    assert (gamma.verdict, accuracy.verdict) == (claims.HOLDS, claims.HOLDS)


def test_a_claim_is_undecided_where_the_interval_crosses_its_bound_or_holm_forbids():
    def verdict(metric, gaps):
        table = trainings([{metric: 5.0 + gap} for gap in gaps], [{metric: 5.0} for _ in gaps])
        return rows(table)["CARE", metric].verdict

    tight = np.array([-0.01, 0.0, 0.01, 0.0])
    assert verdict("effective_rank", tight - 0.5) == claims.HOLDS  # a loss of less than 1
    assert verdict("effective_rank", tight - 2.0) == claims.FAILS
    assert verdict("effective_rank", tight - 1.0) == claims.UNDECIDED
    assert verdict("gamma", tight + 0.5) == claims.FAILS  # above SimCLR's
    assert verdict("gamma", 10 * tight) == claims.UNDECIDED
    assert verdict("gamma", [-0.5]) == claims.UNDECIDED  # one pair
    assert verdict("gamma", [-0.5, -0.5, -0.5]) == claims.UNDECIDED  # no spread, so no p
    lone = [-1.0, -2.0, -1.6]  # p .03 alone, .3 among ten
    assert scipy.stats.ttest_1samp(lone, 0).pvalue < 0.05
    assert verdict("gamma", lone) == claims.UNDECIDED


def test_the_table_has_every_claim_with_its_numbers_in_points(tmp_path, capsys):
    numbers = [{"probe_top1": 0.60 + 0.001 * seed, "gamma": 0.2} for seed in range(3)]
    base = [{"probe_top1": 0.58 + 0.002 * seed, "gamma": 0.9 - 0.01 * seed} for seed in range(3)]
    paths = TABLE.figure(trainings(numbers, base), tmp_path / "care_table1-reduced")
    assert [path.name for path in paths] == [
        "care_table1-reduced-claims.md", "care_table1-reduced-claims.csv",
    ]  # fmt: skip
    text = paths[0].read_text()
    assert "| 60.1 | 58.2 | 1.9 [1.65, 2.15] | above -1 |" in text, text
    with paths[1].open() as file:
        records = list(csv.DictReader(file))
    assert len(records) == 10
    assert float(records[4]["difference"]) == pytest.approx(0.019)
    assert "holds" in capsys.readouterr().out
    assert TABLE.figure({"simclr@cifar10": []}, tmp_path / "other") == []  # the paper's own scale


def test_five_seeds_of_some_rows_stand_beside_three_of_the_others():
    five = folders.choose(TABLE, "reduced", FILE, seeds=5, only=["simclr", "simclr_care"])
    three = folders.choose(TABLE, "reduced", FILE, seeds=3)
    assert len(five.wanted) == 10
    shown = {chosen.title() for chosen in five.shown}
    assert {chosen.title() for chosen in three.wanted} < shown  # all of them in its table
    finished = [*five.wanted, *(c for c in three.wanted if c.name not in ("simclr", "simclr_care"))]
    result = {"dataset": "some", "step": 1, "chance": {},
              "encoders": {"trained": {"knn": {"value": 0.5, "sd": None, "n": 9}}}}  # fmt: skip
    outcomes = [(chosen, Outcome(chosen.config, [], {1: result}, {})) for chosen in finished]
    text = " ".join(tabulate.tabulate(TABLE, "reduced", five.shown, outcomes)[0].split())
    assert "5 trainings of simclr, simclr_care; 3 trainings of simclr_two_views" in text


def test_the_weight_of_each_base_method_is_chosen_on_validation_and_set_by_its_file(tmp_path):
    study = studies.find("lambda_choice")
    choice = folders.choose(study, "reduced", FILE, seeds=2)
    assert {chosen.seed for chosen in choice.wanted} == {10, 11}  # of no row
    assert len(choice.wanted) == 5 * 4 * 2
    assert {chosen.config.train.epochs for chosen in choice.wanted} == {10.0}
    made = {}
    for chosen in choice.wanted:
        name, _, weight = chosen.name.rpartition("_")
        best = {"moco": 0.3, "byol": 1.0}.get(name, 0.03)
        line = {"step": 9, "validation_knn": 0.5 - abs(np.log(float(weight) / best)) / 10}
        made.setdefault(chosen.name, []).append(outcome(chosen.seed, [line]))
    del made["vicreg_1"]  # not finished: no choice
    *_, path = weights.report(made, tmp_path / "lambda_choice-reduced")
    settings = given.read(path)
    assert settings["moco_care"] == settings["moco_two_views"] == {weights.WEIGHT: 0.3}
    assert "vicreg_care" not in settings and settings["simclr_care"] == {weights.WEIGHT: 0.03}
    assert "50.0" in (tmp_path / "lambda_choice-reduced.md").read_text()
    made["moco_1"] = made["moco_1"][:1]  # one of its seeds is not finished: no choice, either
    assert set(weights.chosen(made)) == {"simclr", "byol", "barlow_twins"}
    rows = folders.choose(TABLE, "reduced", FILE, settings=settings).wanted
    used = {row.name: row.config.objectives.get("equivariance", {}).get("weight") for row in rows}
    assert (used["moco_care"], used["byol_two_views"], used["vicreg_care"]) == (0.3, 1.0, 0.1)
    assert used["moco"] is None
    default = folders.choose(TABLE, "reduced", FILE).wanted
    same = [a.name for a, b in zip(rows, default, strict=True) if a.config == b.config]
    assert set(same) == set(used) - set(settings)


WRONG = {
    "a run": ({"sinclr": {}}, "run 'sinclr', which this study does not have: name simclr"),
    "a loss it lacks": ({"simclr": {weights.WEIGHT: 0.1}}, "does not have or use"),
    "a setting": ({"simclr": {"optimizer.rate": 0.1}}, "'optimizer.rate', which its config"),
    "a value": ({"simclr": {"optimizer.learning_rate": "fast"}}, "learning_rate of simclr"),
    "a group": ({"simclr": {"optimizer": 1}}, "config.optimizer, which is a group"),
    "the seed": ({"simclr": {"seed": 7}}, "'seed'"),
    "a huge number": (
        {"simclr_care": {"objectives.equivariance.weight": 10**400}},
        "401 digits for config.objectives.equivariance.weight",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_do_not_fit_are_refused(case):
    with pytest.raises(ValueError, match="--settings") as error:
        folders.choose(TABLE, "reduced", FILE, settings=WRONG[case][0])
    assert WRONG[case][1] in str(error.value)


def test_a_file_of_settings_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        given.read(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no such file"):
        given.read(tmp_path)
    for content in ("{", "[1]", '{"simclr": 3}', "[" * 100_000):
        (tmp_path / "some.json").write_text(content)
        with pytest.raises(ValueError, match=r"some\.json"):
            given.read(tmp_path / "some.json")


def test_a_study_of_records_alone_evaluates_nothing(tmp_path, monkeypatch):
    study = studies.find("lambda_choice")
    choice = folders.choose(study, "smoke", DataChoice("shapes"), seeds=1)
    monkeypatch.setattr(produce, "_set_up", lambda chosen: type("Run", (), {"steps": 6}))
    monkeypatch.setattr(produce, "train", lambda run, place, name: _record(place, choice))
    monkeypatch.setattr(produce, "assess", lambda *_, **__: pytest.fail("test was looked at"))
    paths = produce.produce(study, "smoke", choice, tmp_path)
    assert {path.name for path in paths} == {
        f"lambda_choice-smoke{end}" for end in (".md", ".csv", "-settings.json")
    }
    assert json.loads(paths[-1].read_text()) == {}  # two of the twenty runs choose nothing
    monkeypatch.setattr(produce, "train", lambda *_, **__: pytest.fail("trained again"))
    produce.produce(study, "smoke", choice, tmp_path)


def test_the_flag_reaches_the_runs_the_notes_and_the_commands_of_a_plan(tmp_path, monkeypatch):
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"simclr_care": {weights.WEIGHT: 0.3}}))
    given_flags = {"TABLE": "care_table1", "SCALE": "reduced", "RUNS": str(tmp_path), "DATA": "",
                   "SEEDS": 1, "ONLY": [], "PLAN": False, "SETTINGS": str(path)}  # fmt: skip
    for name, value in given_flags.items():
        monkeypatch.setattr(tables, name, SimpleNamespace(value=value))
    made, planned = [], []
    monkeypatch.setattr(produce, "produce", lambda *arguments: made.extend(arguments) or [])
    monkeypatch.setattr(overview, "show_plan", lambda *_, **more: planned.append(more))
    tables.run()
    study, _, choice, _ = made
    used = {c.name: c.config.objectives.get("equivariance", {}).get("weight") for c in choice.shown}
    assert (used["simclr_care"], used["simclr_two_views"]) == (0.3, 0.1)
    assert study.notes[-1] == f"Set by {path}: simclr_care: {weights.WEIGHT} 0.3."
    monkeypatch.setattr(tables, "PLAN", SimpleNamespace(value=True))
    tables.run()
    assert planned == [{"seeds": 1, "settings": str(path)}]
    command = overview.command(study, "reduced", "", "byol", tmp_path, settings=str(path))
    assert command.endswith(f"--settings={path}")


def _record(place, choice):
    from eqssl_jax.training.workdir import claim

    [config] = [c.config for c in choice.wanted if produce.place_of(c, place.parent) == place]
    claim(place, config)
    line = json.dumps({"step": 6, "validation_knn": 0.4})
    (place / "metrics.jsonl").write_text(line + "\n")
