"""The whole comparison: what it writes, going on after a kill, halving, and what it refuses."""

import json
import math
import shutil
from types import SimpleNamespace

import agreement
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_advice import equal, evidence, finished, prepare_file, run_file, stand_for, tiny

from eqssl_jax.advice import advise, show_plan
from eqssl_jax.advice.candidates import candidates
from eqssl_jax.advice.fleet import survivors
from eqssl_jax.advice.prepare import decided_by, roles_text
from eqssl_jax.methods import resolve
from eqssl_jax.training import checkpoint
from eqssl_jax.training.workdir import LOCK, locked

FILES = {
    "config.json",
    "data.json",
    "advice.json",
    "advice.md",
    "advice.csv",
    "advice.png",
    "roles.py",
}


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    stand_for(monkeypatch)


def config_of(**changes):
    return tiny(advice__roles=("off",), **changes).config


def start(workdir, **changes):
    return advise(config_of(**changes), workdir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("advice"), config_of())


def test_what_is_written(whole):
    folder, advice = whole
    assert {path.name for path in folder.iterdir() if path.is_file()} >= FILES
    assert list(evidence(folder)) == [f"seed_{s}/round_1/evidence.json" for s in (0, 1)]
    assert json.loads((folder / "advice.json").read_text()) == advice
    measured = json.loads((folder / "seed_0/round_1/evidence.json").read_text())
    assert {name: list(parts) for name, parts in measured.items()} == {
        "random": ["shift", "scale"], "base": ["shift", "scale"],
        "shift_off": ["shift"], "scale_off": ["scale"],
    }  # fmt: skip
    assert advice["metric"] == "probe_top1"
    for part in ("shift", "scale"):
        roles = advice["transformations"][part]["roles"]
        for role, name in (("invariant", "base"), ("off", f"{part}_off")):
            files = [json.loads(text) for text in evidence(folder).values()]
            mean = np.mean([seed[name][part]["probe_top1"] for seed in files])
            assert roles[role]["probe_top1"]["value"] == pytest.approx(mean)


def test_started_again_it_trains_nothing_and_says_the_same(whole, monkeypatch):
    folder, advice = whole
    written = (folder / "advice.json").read_bytes()
    for name in ("_train", "_measure"):
        monkeypatch.setattr(run_file, name, None)
    assert start(folder) == advice
    assert (folder / "advice.json").read_bytes() == written


def test_other_data_are_refused_by_advice_that_goes_on(whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    kept = json.loads((folder / "data.json").read_text())
    kept["splits"]["train"] |= {"count": 71, "labels": "0", "names": "0", "contents": "0"}
    del kept["splits"]["train"]["examples"]
    (folder / "data.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"not those that .* trained on: train had 71 images"):
        start(folder)
    assert start(folder, data__changed="accept") == whole[1]
    assert json.loads((folder / "data.json").read_text())["splits"]["train"]["count"] == 72


def test_advice_draws_its_own_weights(tmp_path):
    for setting in ("train__init_from", "model__init_from"):
        with pytest.raises(ValueError, match=r"draws, and config\..*\.init_from = runs/care"):
            start(tmp_path / "none", **{setting: "runs/care"})


def test_a_damaged_file_is_named_and_measured_anew_once_it_is_removed(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "copy")
    path = folder / "seed_1/round_1/evidence.json"
    text = path.read_text()
    lacking, wrong = json.loads(text), json.loads(text)
    del lacking["shift_off"]["shift"]["probe_top1"]
    wrong["random"]["shift"] = 3
    for damaged in (text[:-40], "[1]", '{"base": 3}', "{}", '{"a": {"b": "x"}}', lacking, wrong):
        damaged = damaged if isinstance(damaged, str) else json.dumps(damaged)
        path.write_text(damaged)
        with pytest.raises(ValueError, match=rf"{path} is damaged .*remove it"):
            start(folder)
    path.unlink()
    assert start(folder) == whole[1] and path.read_text() == text


@pytest.mark.parametrize("text", ["", '{"data": {', "[]", '{"model_type": "vit"}'])
def test_a_damaged_config_is_named_and_stays_whether_or_not_rounds_are_there(text, whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "copy")
    for place in (folder, tmp_path / "new"):
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text(text)
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match=rf"{place / 'config.json'} is damaged .*remove it"):
            start(place)
        assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def damaged_evidence(good):
    """Ways in which a file of evidence may be wrong."""
    cell = good["base"]["shift"]
    short = {"images": {**cell["images"], "knn": cell["images"]["knn"][2:]}}
    yield from ({}, None, "text", [], {"base": {}}, {**good, "base": {}}, {**good, "base": None})
    yield {name: parts for name, parts in good.items() if name != "shift_off"}
    yield {**good, "base": {"shift": cell}}
    for change in ({"knn": math.nan}, {"knn": 7.0}, {"knn": "0.5"}, {"info_nce": None}, short,
                   {"images": []}, {"images": {}}, {"images": {**cell["images"], "knn": "a b"}},
                   {"magnitude_r2": math.inf}):  # fmt: skip
        yield {**good, "base": {**good["base"], "shift": {**cell, **change}}}


def test_every_damage_of_evidence_is_named_with_its_file(whole, tmp_path):
    path = tmp_path / "evidence.json"
    good = json.loads((whole[0] / "seed_0/round_1/evidence.json").read_text())
    changes = {"base": None, "shift_off": ("shift", "off"), "scale_off": ("scale", "off")}
    wanted = [SimpleNamespace(name=name, changed=changed) for name, changed in changes.items()]
    path.write_text(json.dumps(good))
    assert run_file.read_evidence(path, wanted, "knn") == good
    for damaged in damaged_evidence(good):
        path.write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match=rf"{path} is damaged .*remove it") as raised:
            run_file.read_evidence(path, wanted, "knn")
        assert "\n" not in str(raised.value)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is damaged"):
        run_file.read_evidence(path)


def test_a_second_process_in_the_workdir_is_refused(tmp_path):
    with locked(tmp_path, LOCK), pytest.raises(OSError, match="Another process is at work on"):
        start(tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_has_another_before_it(whole, tmp_path, capsys):
    folder = shutil.copytree(whole[0], tmp_path / "copy")
    place = folder / "seed_0/round_1"
    assert sorted(path.name for path in (place / "checkpoints").iterdir()) == ["2", "4"]
    for path in (place / "checkpoints/4").rglob("*"):
        if path.is_file() and path.stat().st_size > 200:
            path.write_bytes(path.read_bytes()[:-50] + bytes(50))
    expected = (place / "evidence.json").read_text()
    (place / "evidence.json").unlink()
    assert start(folder) == whole[1]
    assert "checkpoint of step 4" in capsys.readouterr().err and (place / "damaged").is_dir()
    assert (place / "evidence.json").read_text() == expected


class Killed(Exception):
    pass


@pytest.mark.slow
def test_killed_and_started_again_gives_the_same_evidence_bit_for_bit(whole, tmp_path, monkeypatch):
    save, measure, calls = checkpoint.save, run_file._measure, []

    def save_and_die(manager, now, state, score):
        save(manager, now, state, score)
        raise Killed

    def die_at_the_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise Killed
        return measure(*args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save", save_and_die)  # after step 2 of 4
        start(tmp_path)
    assert not evidence(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(run_file, "_measure", die_at_the_second)  # seed 1 is trained, not measured
        start(tmp_path)
    assert len(evidence(tmp_path)) == 1
    trained = []
    monkeypatch.setattr(run_file, "Progress", _counting(run_file.Progress, trained))
    advice = start(tmp_path)
    assert trained == [4]  # seed 1 goes on from its last step: nothing was left to train
    assert evidence(tmp_path) == evidence(whole[0])
    assert advice == whole[1]


def _counting(progress, starts):
    def counted(*args, start=0):
        starts.append(start)
        return progress(*args, start=start)

    return counted


@pytest.mark.slow
def test_halving_keeps_the_base_and_half_and_trains_them_as_if_all_had_stayed(whole, tmp_path):
    """Survivors go on from their own states; a part that lost all its candidates keeps round 1."""
    advice = start(tmp_path, advice__most=2)
    first, second = (
        json.loads((tmp_path / f"seed_0/round_{r}/evidence.json").read_text()) for r in (1, 2)
    )
    assert set(first) == {"random", "base", "shift_off", "scale_off"}
    (kept,) = set(second) - {"random", "base"}
    (lost,) = {"shift_off", "scale_off"} - {kept}
    assert second["random"] == {part: first["random"][part] for part in second["random"]}
    assert list(advice["transformations"]) == ["shift", "scale"]
    reasons = {f"{part}_off": entry["reason"] for part, entry in advice["transformations"].items()}
    assert "Dropped at step 1, in the worse half: off." in reasons[lost]
    assert "Dropped" not in reasons[kept]
    _, halved = agreement.load_encoders(tmp_path)
    _, alone = agreement.load_encoders(whole[0])
    for seed in (0, 1):
        assert set(halved[seed]) == {kept, "base", "random"}
        for name, encode in halved[seed].items():
            equal(encode.args, alone[seed][name].args, rtol=1e-5, atol=1e-6)


def test_halving_without_labels_compares_with_the_base_of_the_same_part():
    """R² of one part is far higher than that of another: only gains are compared."""
    run = tiny(advice__roles=("ordered", "off"))
    tables = candidates(run.config, run.recipe)
    level = {"shift": 1.0, "scale": 3.0}
    gain = {"shift_ordered": -0.1, "shift_off": 0.1, "scale_ordered": 0.2, "scale_off": -0.2}
    seed = {"base": {part: {"magnitude_r2": x, "knn": 0.5} for part, x in level.items()}}
    for name, more in gain.items():
        part = name.split("_")[0]
        seed[name] = {part: {"magnitude_r2": level[part] + more, "knn": 0.5 - more}}
    kept = survivors([seed, seed], tables, "label_free")
    assert [candidate.name for candidate in kept] == ["base", "shift_off", "scale_ordered"]
    kept = survivors([seed, seed], tables, "knn")
    assert [candidate.name for candidate in kept] == ["base", "shift_ordered", "scale_off"]


def test_another_config_is_refused_and_overwrites_nothing(whole):
    folder, _ = whole
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for changes in ({"objectives__info_nce__temperature": 0.1}, {"seed": 7}):
        with pytest.raises(ValueError, match=r"holds a run of another config.*"):
            start(folder, **changes)
    assert {path: path.read_bytes() for path in before} == before
    start(folder, train__log_every=1)  # no number depends on it


@pytest.mark.slow
def test_another_config_is_refused_also_when_the_checkpoints_were_deleted(tmp_path):
    start(tmp_path)
    for checkpoints in tmp_path.glob("seed_*/round_*/checkpoints"):
        shutil.rmtree(checkpoints)
    with pytest.raises(ValueError, match="holds a run of another config"):
        start(tmp_path, objectives__info_nce__temperature=0.1)


def test_what_is_pasted_sets_back_weights_and_sharing_of_roles_that_change():
    run = tiny()
    with run.config.unlocked():
        run.config.roles = ConfigDict({"shift": "ordered"})
        run.config.role_weights = ConfigDict({"shift": 0.5})
        run.config.sharing = ConfigDict({"shift": "fixed"})
    base = candidates(run.config, run.recipe)[0]
    advice = {"transformations": {"shift": {"advice": "invariant"}, "scale": {"advice": None}}}
    with run.config.unlocked():
        exec(roles_text(advice, base), {"ConfigDict": ConfigDict, "config": run.config})
    assert [line.role for line in resolve(run.config, run.recipe).values()] == ["invariant"] * 2


def test_the_advised_roles_are_a_config_that_can_be_pasted():
    run = tiny()
    base = candidates(run.config, run.recipe)[0]
    advice = {"transformations": {"shift": {"advice": "ordered"}, "scale": {"advice": None}}}
    config = tiny().config
    text = roles_text(advice, base)
    with config.unlocked():
        exec(text, {"ConfigDict": ConfigDict, "config": config})
    assert config.roles.to_dict() == {"shift": "ordered", "scale": "invariant"}
    table = resolve(config, run.recipe)
    assert [line.role for line in table.values()] == ["ordered", "invariant"]
    lines = {line.split('"')[1]: line for line in text.splitlines() if '"' in line}
    assert "no clear difference" in lines["scale"] and "#" not in lines["shift"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advice__seeds": 1}, r"config\.advice\.seeds is 1; it must be a whole number from 2"),
        ({"advice__rungs": 2}, r"config\.advice\.rungs is 2"),
        ({"advice__most": 1}, r"config\.advice\.most is 1"),
        ({"advice__confidence": 1.0}, r"config\.advice\.confidence is 1\.0"),
        ({"advice__held_out": "train"}, r"config\.advice\.held_out is 'train'"),
        ({"advice__held_out_images": 4}, r"config\.advice\.held_out_images is 4"),
        ({"advice__roles": ("rotate",)}, r"config\.advice\.roles is .*rotate"),
        (
            {"advice__roles": ("rotational",), "objectives__equivariance__recipe": "factors"},
            r"equivariance\.recipe = 'factors'",
        ),
        (
            {"advice__roles": ("rotational",), "objectives__equivariance__splits": 3},
            r"equivariance\.splits = 3 equal groups",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    changes, message, tmp_path
):
    config = tiny(**changes).config
    for action in (lambda: show_plan(config), lambda: advise(config, tmp_path / "none")):
        with pytest.raises(ValueError, match=message):
            action()
    assert not (tmp_path / "none").exists()


def test_streamed_data_is_refused(tmp_path, monkeypatch):
    run = tiny()
    streamed = run._replace(split=run.split._replace(load=lambda indices: None))
    monkeypatch.setattr(prepare_file, "setup", lambda config, **more: streamed)
    with pytest.raises(ValueError, match=r"data is streamed: set --config\.data\.on_device=always"):
        advise(run.config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_labels_info_nce_and_ladders_decide():
    run = tiny()
    assert decided_by(run) == "probe_top1"
    splits = {n: s._replace(labels=None) for n, s in run.dataset.splits.items()}
    bare = run._replace(dataset=run.dataset._replace(splits=splits))
    assert decided_by(bare) == "label_free"
    one_class = run._replace(dataset=run.dataset._replace(classes=("all",)))
    assert decided_by(one_class) == "label_free"


def test_the_plan_names_every_candidate_and_the_budget(capsys):
    config = tiny(advice__roles=("ordered", "off"), advice__parts=("scale",)).config
    show_plan(config)
    shown = " ".join(capsys.readouterr().out.split())
    assert "ordered, off" in shown and "nothing" in shown  # scale, and shift
    assert "3 candidates × 2 seeds × 4 steps of 8 images (192 images in all)" in shown
    assert "decided by probe_top1" in shown
    show_plan(tiny(advice__roles=("ordered", "off"), advice__most=2).config)
    assert "less what is dropped on the way" in " ".join(capsys.readouterr().out.split())
