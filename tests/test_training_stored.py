"""A run is rebuilt from its workdir alone, and its statistics are its own."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from test_training_loop import equal

from eqssl_jax import presets
from eqssl_jax.training.loop import train
from eqssl_jax.training.provenance import read_provenance
from eqssl_jax.training.setup import setup
from eqssl_jax.training.stored import open_run


def arrays(path, seed=0, count=48, bright=255):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, bright, (count, 8, 8, 3)).astype(np.uint8)
    np.savez(path, images=images, labels=np.arange(count) % 3)
    return path


def config(directory, **changes) -> ConfigDict:
    """SimCLR on a few arrays of 8 pixels with the tiniest network."""
    made = presets.contrastive("arrays")
    made.data.directory, made.data.size, made.data.validation = str(directory), 0, 0.25
    made.recipe.name, made.recipe.options = "crop_flip", ConfigDict({"size": 8})
    made.roles, made.role_weights, made.sharing = ConfigDict(), ConfigDict(), ConfigDict()
    made.model.encoder, made.model.projector = "conv_tiny", (8, 4)
    made.train.batch_size, made.train.steps = 8, 2
    made.optimizer.warmup_epochs = 0.0
    made.knn.neighbours, made.knn.bank, made.knn.queries = 5, 30, 12
    made.lock()
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(workdir, its set-up, the state at its end, the file of its data)."""
    folder = tmp_path_factory.mktemp("trained")
    file = arrays(folder / "data.npz")
    run = setup(config(file))
    return folder / "run", run, train(run, folder / "run"), file


def test_the_network_is_rebuilt_without_the_data(trained):
    workdir, run, state, file = trained
    images = np.asarray(run.split.read(run.split.pool, np.arange(4)))
    before = run.encoder(state)(images)
    hidden = file.rename(file.with_suffix(".gone"))
    try:
        found = open_run(workdir)
    finally:
        hidden.rename(file)
    equal(found.state, state)
    equal(found.encoder()(images), before)
    assert set(found.layers()(images)) >= {"features", "embedding"}
    kept = found.trained_on
    assert (kept.name, kept.input_shape, kept.channels) == ("arrays", (8, 8, 3), 3)
    assert not kept.clouds
    assert kept.mean == pytest.approx(run.dataset.mean)
    assert int(open_run(workdir, "best").state.step) == int(open_run(workdir, 2).state.step) == 2
    with pytest.raises(ValueError, match=r"step 7 of .* is not kept; choose latest, best"):
        open_run(workdir, 7)


def test_statistics_stay_those_of_training_when_the_data_change(trained):
    workdir, run, state, file = trained
    images = np.asarray(run.split.read(run.split.pool, np.arange(4)))
    before = run.encoder(state)(images)
    darker = arrays(file.with_name("darker.npz"), count=64, bright=40)
    other = setup(config(darker), workdir=workdir)
    assert other.dataset.mean == run.dataset.mean
    equal(other.encoder(state)(images), before)
    untrained = setup(config(darker))
    assert np.abs(untrained.encoder(state)(images)[0] - before[0]).max() > 1e-3


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


def test_what_is_kept_is_what_was_read(trained):
    kept = read_provenance(trained[0])
    assert kept == trained[1].provenance()
    assert {name: split["count"] for name, split in kept.splits.items()} == {
        name: split.size for name, split in trained[1].dataset.splits.items()
    }
    assert jax.tree.leaves(kept.splits)
