"""A run is rebuilt from its workdir alone, and its statistics are its own."""

import functools
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from tiny_loop import equal
from tiny_run import arrays, config, with_data

from eqssl_jax import methods, presets
from eqssl_jax.data import sources
from eqssl_jax.data.base import Dataset
from eqssl_jax.experiment.embed import dataset_for
from eqssl_jax.experiment.stored import stored_setup
from eqssl_jax.presets.benchmark import benchmark
from eqssl_jax.training import datasets, stored
from eqssl_jax.training.loop import train
from eqssl_jax.training.model import build_network
from eqssl_jax.training.notes import batch_note, notes
from eqssl_jax.training.provenance import (
    provenance,
    read_provenance,
    seen_in_training,
    write_provenance,
)
from eqssl_jax.training.setup import setup
from eqssl_jax.training.stored import open_run
from eqssl_jax.training.workdir import read_config

EMPTY = Dataset("arrays", (8, 8, 3), (), (0.5,) * 3, (0.2,) * 3, {})


encoded = jax.jit(lambda encode, images: encode(images))


@pytest.fixture(scope="module")
def trained():
    """(workdir, its set-up, the state at its end, the file of its data)."""
    return with_data()


def test_the_network_is_rebuilt_without_the_data(trained):
    workdir, run, state, file = trained
    images = np.asarray(run.split.read(run.split.pool, np.arange(4)))
    before = encoded(run.encoder(state), images)
    hidden = file.rename(file.with_suffix(".gone"))
    try:
        opened = open_run(workdir)
    finally:
        hidden.rename(file)
    equal(opened.state, state)
    equal(encoded(opened.encoder(), images), before)
    assert set(jax.eval_shape(opened.layers(), images)) >= {"features", "embedding"}
    kept = opened.trained_on
    assert (kept.name, kept.input_shape, kept.channels) == ("arrays", (8, 8, 3), 3)
    assert not kept.clouds
    assert kept.mean == pytest.approx(run.dataset.mean)
    assert int(open_run(workdir, "best").state.step) == int(open_run(workdir, 2).state.step) == 2
    with pytest.raises(ValueError, match=r"step 7 of .* is not kept; choose latest, best"):
        open_run(workdir, 7)


def test_statistics_stay_those_of_training_when_the_data_change(trained):
    workdir, run, state, file = trained
    images = np.asarray(run.split.read(run.split.pool, np.arange(4)))
    before = encoded(run.encoder(state), images)
    darker = arrays(file.with_name("darker.npz"), count=64, bright=40)
    other = setup(config(darker), workdir=workdir)
    assert other.dataset.mean == run.dataset.mean
    equal(encoded(other.encoder(state), images), before)
    untrained = setup(config(darker))
    assert np.abs(encoded(untrained.encoder(state), images)[0] - before[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda values: [], "no JSON object"),
        (lambda values: {**values, "mean": None}, "mean is None, not 3 finite numbers"),
        (lambda values: {**values, "mean": [0.1]}, "not 3 finite numbers"),
        (lambda values: {**values, "std": [0.1, 0.0, 0.1]}, "must be positive"),
        (lambda values: {**values, "std": [0.1, float("nan"), 0.1]}, "not 3 finite numbers"),
        (lambda values: {**values, "input_shape": "8x8"}, "input_shape is '8x8'"),
        (lambda values: {**values, "classes": {"a": 1}}, "classes is no list"),
        (lambda values: {**values, "splits": [1]}, "splits is no object"),
        (lambda values: {**values, "earlier": 3}, "earlier is no list"),
        (lambda values: {k: v for k, v in values.items() if k != "std"}, "lacks std"),
    ],
)
def test_a_damaged_description_of_the_data_is_named(trained, damage, message):
    path = trained[0] / "data.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps(damage(json.loads(text))))
        with pytest.raises(ValueError, match=message) as error:
            open_run(trained[0])
        assert str(path) in str(error.value)
    finally:
        path.write_text(text)


def test_truncated_or_missing_it_is_said(trained):
    path = trained[0] / "data.json"
    text = path.read_text()
    try:
        path.write_text(text[: len(text) // 2])
        with pytest.raises(ValueError, match=r"data\.json is damaged"):
            open_run(trained[0])
        path.unlink()
        with pytest.raises(FileNotFoundError, match=r"has no data\.json"):
            open_run(trained[0])
    finally:
        path.write_text(text)


def test_the_place_of_the_data_is_absolute(tmp_path, monkeypatch):
    arrays(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in ("data.npz", "~/data.npz"):
        assert setup(config(place)).config.data.directory == str(tmp_path / "data.npz")


def test_a_home_that_nobody_has_is_refused():
    with pytest.raises(ValueError, match=r"there is no user 'nobody-of-this-name' here"):
        setup(config("~nobody-of-this-name/set.npz"))


def test_what_is_kept_is_what_was_read(trained):
    kept = read_provenance(trained[0])
    assert kept == trained[1].provenance()
    assert {name: split["count"] for name, split in kept.splits.items()} == {
        name: split.size for name, split in trained[1].dataset.splits.items()
    }


def rewritten(file, name, change):
    """A copy of an .npz with other arrays."""
    with np.load(file) as arrays:
        whole = {key: arrays[key].copy() for key in arrays.files}
    np.savez(file.with_name(name), **(whole | change(whole)))
    return file.with_name(name)


def relabelled(whole):
    whole["labels"][:3] = (whole["labels"][:3] + 1) % 3
    return whole


def grown(whole):
    return {
        "images": np.concatenate([whole["images"], whole["images"][::-1][:6]]),
        "labels": np.concatenate([whole["labels"], whole["labels"][:6]]),
    }


@pytest.mark.parametrize(
    ("change", "difference"), [(relabelled, "3 images relabelled"), (grown, "6 images added")]
)
def test_changed_data_are_refused_with_what_differs_unless_accepted(
    trained, tmp_path, change, difference, capsys
):
    workdir, _, _, file = trained
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    other = rewritten(file, f"{change.__name__}.npz", change)
    further = config(other, train__steps=2)
    with pytest.raises(ValueError, match=difference) as error:
        train(setup(further, workdir=copy), copy)
    assert "--config.data.changed=accept" in str(error.value)
    with pytest.raises(ValueError, match=difference):
        stored_setup(copy, {"data.directory": str(other)})
    accepted = config(other, data__changed="accept")
    before = read_provenance(copy)
    train(setup(accepted, workdir=copy), copy)
    assert difference in capsys.readouterr().out
    after = read_provenance(copy)
    assert (after.mean, after.std) == (before.mean, before.std)
    assert after.splits != before.splits
    assert after.earlier == (before.fingerprint,)
    # What was accepted once is what is compared with from now on.
    train(setup(further, workdir=copy), copy)
    with pytest.raises(ValueError, match="are not those that"):
        train(setup(config(file), workdir=copy), copy)


def test_data_may_move(trained, tmp_path):
    workdir, _, state, file = trained
    copy, moved = tmp_path / "run", tmp_path / "moved.npz"
    shutil.copytree(workdir, copy)
    shutil.copy(file, moved)
    equal(train(setup(config(moved), workdir=copy), copy), state)
    assert read_config(copy).data.directory == str(moved)
    moved.unlink()
    datasets._dataset.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"moved\.npz.* --config\.data\.directory="):
        stored_setup(copy)
    assert stored_setup(copy, {"data.directory": str(file)}).split.size == 36


def test_test_images_that_were_trained_on_are_counted(tmp_path, capsys):
    file = arrays(tmp_path / "data.npz")
    twice = rewritten(
        file, "twice.npz", lambda w: {"test_images": w["images"], "test_labels": w["labels"]}
    )
    run = setup(config(twice))
    present = run.provenance()
    assert run.split.size == 36
    assert seen_in_training(present, present) == "Test images that were training images: 36."


def test_a_run_of_an_older_version_is_converted_if_that_is_accepted(trained, tmp_path):
    workdir, _, _, file = trained
    copy = tmp_path / "run"
    shutil.copytree(workdir, copy)
    (copy / "data.json").unlink()
    for refused in (
        lambda: stored_setup(copy),
        lambda: train(setup(config(file), workdir=copy), copy),
    ):
        with pytest.raises(ValueError, match=r"has no data\.json.* --config\.data\.changed=accept"):
            refused()
    stored_setup(copy, {"data.changed": "accept"})
    assert read_provenance(copy) == read_provenance(workdir)


def test_checkpoints_without_their_config_are_not_continued(trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained[0], copy)
    (copy / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has checkpoints but no config\.json"):
        train(setup(config(trained[3]), workdir=copy), copy)
    with pytest.raises(OSError, match=r"no config\.json"):
        open_run(copy)


def test_what_the_settings_come_to_is_said(trained):
    file = trained[3]
    short = setup(config(file, train__steps=20, optimizer__warmup_epochs=10.0))
    notes = " ".join(short.notes)
    fewer = setup(config(file, knn__neighbours=200, knn__bank=30))
    assert "by 30 neighbours (all there are; config.knn.neighbours is 200)" in " ".join(fewer.notes)
    assert "warm-up lasts 10 steps, half of this run, instead of the 40" in notes
    assert float(short.schedule(10)) == pytest.approx(short.config.optimizer.learning_rate)
    assert "temperature 0.5" in notes
    assert not any("warm-up" in note or "Warning" in note for note in setup(config(file)).notes)
    rate = f"{short.config.optimizer.learning_rate:g}"
    assert f"learning rate stays {rate}" in batch_note(short.config, short.method)


def test_small_groups_are_told_of_and_a_batch_size_says_what_follows():
    made = presets.with_care(presets.contrastive("arrays"))
    made.train.batch_size, made.objectives.equivariance.splits = 64, 16
    built = methods.build(made)
    small = [note for note in notes(made, built, EMPTY, 10, 1000) if "fewer than the 8" in note]
    assert len(small) == 1 and "have 4 images each" in small[0]
    assert "sum over the 3 others of a group" in batch_note(made, built)
    made.train.batch_size = 256
    assert not any("fewer" in note for note in notes(made, methods.build(made), EMPTY, 10, 1000))


@pytest.mark.parametrize("method", ["simclr", "prediction", "supervised"])
def test_a_run_on_scenes_is_rebuilt_without_rendering_them(method):
    """Heads are shaped by draws, which act on scenes [S], and by features of their images."""
    settings = benchmark("solids", method, small=True)
    settings.data.options = ConfigDict({"train_objects": 48, "test_objects": 24, "views_each": 2})
    settings.train.batch_size = 8
    run = setup(settings)
    kept = provenance(run.dataset, run.stored.image_shape)
    assert kept.shown and kept.stored_shape == (81,) and kept.input_shape == (32, 32, 3)
    network = build_network(run.config, kept.mean, kept.std)
    rebuilt = stored._abstract_state(run.config, network, kept)
    expected = jax.eval_shape(run.init)
    assert jax.tree.structure(rebuilt) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(rebuilt), jax.tree.leaves(expected), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)


def test_scenes_and_pictures_are_encoded_by_a_run_on_scenes(tmp_path, monkeypatch):
    """Its own scenes are rendered, and pictures of a folder take no recipe of scenes."""
    settings = benchmark("solids", "simclr", small=True)
    settings.data.options = ConfigDict({"train_objects": 48, "test_objects": 24, "views_each": 2})
    settings.train.batch_size = 8
    run = setup(settings)
    write_provenance(tmp_path, provenance(run.dataset, run.stored.image_shape))
    folder = tmp_path / "pictures"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for count in range(3):
            Image.new("RGB", (50, 40), (90 * count, 0, 0)).save(folder / name / f"{count}.png")
    encoder = SimpleNamespace(image_shape=(32, 32, 3))
    own = dataset_for(encoder, run.config, tmp_path, "", "", 0, "error")
    rows = np.arange(2, dtype=np.int32)
    test = own.splits["test"]
    scenes = run.dataset.splits["test"]
    expected = jax.jit(run.dataset.show)(scenes.read(scenes.pool, rows))
    np.testing.assert_allclose(jax.jit(test.read)(test.pool, rows), expected, atol=1e-6)
    few = functools.partial(sources.load, train_objects=24, test_objects=12, views_each=2)
    monkeypatch.setattr(sources, "load", few)  # of --data=solids
    for images in (str(folder), "solids"):
        given = dataset_for(encoder, run.config, tmp_path, images, "", 0, "error")
        assert given.image_shape == (32, 32, 3) and given.show is None
