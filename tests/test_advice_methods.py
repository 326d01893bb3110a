"""Methods as candidates: the base with one more card, trained as alone, measured as all others."""

import json

import agreement
import jax
import pytest
from ml_collections import ConfigDict
from tiny_advice import (
    equal,
    evidence,
    finished,
    prepare_file,
    run_file,
    stand_for,
    stand_in,
    tiny,
)

from eqssl_jax.advice import advise, show_plan, verdicts
from eqssl_jax.advice.bench import bench
from eqssl_jax.advice.candidates import Candidate, candidates
from eqssl_jax.advice.evidence import gather
from eqssl_jax.advice.fleet import entry_text, with_method
from eqssl_jax.data import batch_indices
from eqssl_jax.methods import assemble, resolve, scheduled
from eqssl_jax.methods.roles import lines
from eqssl_jax.tabular.advice import OBJECTIVES
from eqssl_jax.training import checkpoint
from eqssl_jax.training.step import make_step

NAME = "with BYOL"  # has a target network


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    stand_for(monkeypatch)


def config_of(**changes):
    usual = {"roles": ("off",), "parts": ("scale",), "methods": ("byol",)}
    return tiny(**{**{f"advice__{key}": names for key, names in usual.items()}, **changes}).config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("advice"), config_of())


def test_a_method_is_trained_measured_and_shown_beside_the_roles(whole):
    folder, advice = whole
    measured = json.loads((folder / "seed_1/round_1/evidence.json").read_text())
    assert {name: list(parts) for name, parts in measured.items()} == {
        "random": ["scale", OBJECTIVES], "base": ["scale", OBJECTIVES],
        "scale_off": ["scale"], NAME: [OBJECTIVES],
    }  # fmt: skip
    assert set(measured[NAME][OBJECTIVES]) == set(measured["scale_off"]["scale"])
    assert list(advice["transformations"]) == ["scale", OBJECTIVES]
    tried = advice["transformations"][OBJECTIVES]
    assert list(tried["roles"]) == ["base", NAME] and tried["own"] == "base"
    for file in ("advice.md", "advice.csv", "advice.json"):
        assert NAME in (folder / file).read_text()
    assert (folder / "advice.png").stat().st_size > 0


def test_its_evidence_is_that_of_a_plain_training_with_its_entry(whole):
    """From the base's weights, by the step of `train`, of the config that roles.py names."""
    run = stand_in(config_of())
    candidate = candidates(run.config, run.recipe)[-1]
    config = ConfigDict(run.config.to_dict())
    for line in entry_text(run.config, candidate):
        exec(line, {"config": config})
    method = assemble(config, run.recipe, lines(resolve(config, run.recipe)))
    assert list(method.objectives) == ["byol"]
    alone = run._replace(method=scheduled(method, config, run.steps))
    root = jax.random.fold_in(jax.random.key(0), 1)
    step = jax.jit(make_step(run.network, alone.method, run.optimizer, run.split.read, root))
    state = alone.init()
    for i in range(run.steps):
        state, _ = step(state, run.split.pool, batch_indices(0, i, run.split.size, 8))
    _, loaded = agreement.load_encoders(whole[0])
    assert set(loaded[0]) == {"base", "random", "scale_off", NAME}
    equal(loaded[0][NAME].args, run.encoder(state).args, rtol=1e-6, atol=1e-7)
    measured = json.loads((whole[0] / "seed_0/round_1/evidence.json").read_text())
    plain = gather({NAME: run.encoder(state)}, {NAME: [OBJECTIVES]}, bench(run))
    for metric, value in plain[NAME][OBJECTIVES].items():
        if isinstance(value, float):
            assert measured[NAME][OBJECTIVES][metric] == pytest.approx(value, rel=1e-5, abs=1e-6)


class Killed(Exception):
    pass


@pytest.mark.slow
def test_killed_within_a_method_and_started_again_gives_the_same_evidence(
    whole, tmp_path, monkeypatch
):
    save, saved, starts = checkpoint.save, [], []

    def save_and_die(manager, now, state, score):
        save(manager, now, state, score)
        saved.append(now)
        if len(saved) == 3:  # 2 and 4 of the roles, 2 of the method
            raise Killed

    def counted(*args, start=0):
        starts.append(start)
        return progress(*args, start=start)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save", save_and_die)
        advise(config_of(), tmp_path)
    assert saved == [2, 4, 2] and not evidence(tmp_path)
    progress = run_file.Progress
    monkeypatch.setattr(run_file, "Progress", counted)
    assert advise(config_of(), tmp_path) == whole[1]
    assert starts == [4, 2, 0, 0]
    assert evidence(tmp_path) == evidence(whole[0])


@pytest.mark.long
@pytest.mark.parametrize("kept", ["scale_off", NAME])
def test_halving_keeps_a_method_or_drops_it_and_goes_on_from_its_states(
    kept, whole, tmp_path, monkeypatch
):
    def survivors(seeds, tables, metric):
        return [candidate for candidate in tables if candidate.name in ("base", kept)]

    monkeypatch.setattr(run_file, "survivors", survivors)
    advice = advise(config_of(advice__most=2), tmp_path)
    assert list(advice["transformations"]) == ["scale", OBJECTIVES]
    dropped = {"scale_off": OBJECTIVES, NAME: "scale"}[kept]
    assert "Dropped at step 1" in advice["transformations"][dropped]["reason"]
    _, halved = agreement.load_encoders(tmp_path)
    _, alone = agreement.load_encoders(whole[0])
    assert set(halved[0]) == {"random", "base", kept}
    equal(halved[0][kept].args, alone[0][kept].args, rtol=1e-5, atol=1e-6)


def test_other_methods_are_another_config_as_other_roles_are(whole):
    with pytest.raises(ValueError, match=r"holds a run of another config.*advice\.methods"):
        advise(config_of(advice__methods=("byol", "vicreg")), whole[0])


def test_a_card_is_added_or_takes_the_place_of_what_compares_the_views():
    run = stand_in(config_of(advice__methods=("stl", "augself", "classify")))
    _, *_, stl, augself, classify = candidates(run.config, run.recipe)
    objectives = [list(with_method(run, c).method.objectives) for c in (stl, augself, classify)]
    assert objectives[0] == ["stl"] and objectives[2] == ["info_nce", "classify"]
    assert objectives[1][0] == "info_nce" and "augself" in " ".join(objectives[1])
    assert with_method(run, classify).method.labelled
    assert entry_text(run.config, augself) == ['config.objectives.augself = dict(method="augself")']
    assert [c.name for c in (stl, augself)] == ["with STL", "with AugSelf"]
    prepare_file.check_method(run, classify)  # reads labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advice__methods": ("sei",)}, r"methods is 'sei'.*no method of that name: choose from"),
        ({"advice__methods": ("byol", "byol")}, r"config\.advice\.methods is .*different names"),
        (
            {"advice__methods": ("byol", "eqssl_jax.methods.byol:CARD")},
            r"another card that is named BYOL",
        ),
        ({"advice__methods": ("simclr",)}, r"an entry of SimCLR or one of that name already"),
        ({"advice__methods": ("care",)}, r"trains parts that are rotational, .*advice\.roles"),
        (
            {"advice__methods": ("stl",), "train__batch_size": 9},
            r"'stl', which cannot be tried here: .* make it even",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_written(changes, message, tmp_path):
    for action in (show_plan, lambda config: advise(config, tmp_path / "none")):
        with pytest.raises(ValueError, match=message):
            action(config_of(**changes))
    assert not (tmp_path / "none").exists()


def test_a_method_that_needs_labels_is_refused_without_them(monkeypatch):
    def bare(config, **more):
        run = stand_in(config, **more)
        unlabelled = {key: x._replace(labels=None) for key, x in run.stored.splits.items()}
        return run._replace(stored=run.stored._replace(splits=unlabelled))

    monkeypatch.setattr(prepare_file, "setup", bare)
    with pytest.raises(ValueError, match=r"'classify', which cannot be tried here: .*has none"):
        show_plan(config_of(advice__methods=("classify",)))


def test_the_plan_names_methods_and_counts_them(capsys):
    show_plan(config_of(advice__methods=("byol", "stl")))
    shown = " ".join(capsys.readouterr().out.split())
    assert "with BYOL, with STL" in shown and "4 candidates × 2 seeds × 4 steps of 8" in shown


def judged(base, other, metric):
    """A verdict on two seeds, [base, with BYOL] in probe or R²; costs are equal."""
    run = stand_in(config_of(advice__roles=("invariant",)))
    tables = candidates(run.config, run.recipe)
    name = "magnitude_r2" if metric == "label_free" else metric
    seeds = [
        {
            key: {OBJECTIVES: {name: value + noise, "info_nce": 1.0 + noise, "natural": 0.0}}
            for key, value in (("base", base), (NAME, other))
        }
        for noise in (0.0, 0.01)
    ]
    return run, tables, verdicts(seeds, tables, metric=metric, resolution=0.001)


def test_a_better_method_is_advised_and_its_entry_written(tmp_path, monkeypatch):
    run, tables, advice = judged(0.5, 0.9, "probe_top1")
    assert [type(c) for c in tables] == [Candidate] * 2  # without any role
    better = advice["transformations"][OBJECTIVES]
    assert better["advice"] == NAME and "with BYOL beats base by 40.0" in better["reason"]
    monkeypatch.setattr(prepare_file.figures, "advice", lambda advice, path: None)
    prepare_file.write(advice, tables, run.config, tmp_path)
    pasted = (tmp_path / "roles.py").read_text()
    config = config_of()
    with config.unlocked():
        exec(pasted, {"ConfigDict": ConfigDict, "config": config})
    assert config.objectives.byol.method == "byol" and config.objectives.info_nce.weight == 0
    assert f"✓ {NAME}" in (tmp_path / "advice.md").read_text()


def test_without_labels_a_method_is_advised_that_keeps_more_of_the_magnitudes():
    *_, advice = judged(0.2, 0.6, "label_free")
    reason = advice["transformations"][OBJECTIVES]["reason"]
    assert reason.startswith("Without labels: with BYOL keeps more") and "by itself" not in reason
    *_, advice = judged(0.6, 0.6, "label_free")
    assert advice["transformations"][OBJECTIVES]["reason"] == (
        "Without labels: no method keeps clearly more of the magnitude at no clear cost. The base "
        "stays as it is."
    )
