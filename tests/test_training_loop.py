"""The loop: exact resumption, what is written, what stops it, and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import toys
from ml_collections import ConfigDict
from tiny_loop import BATCH, Killed, equal, killed_at, small
from tiny_tfds import prepare
from toys import recipe as toy_recipe

from eqssl_jax import data, methods, presets, views
from eqssl_jax.config import base, plain
from eqssl_jax.methods import Method
from eqssl_jax.methods.byol import byol_loss
from eqssl_jax.methods.moco import moco_loss
from eqssl_jax.objectives import Objective, info_nce, unit
from eqssl_jax.training import checkpoint
from eqssl_jax.training import inputs as training_inputs
from eqssl_jax.training.environment import read_environment
from eqssl_jax.training.inputs import batches
from eqssl_jax.training.kept import best_step
from eqssl_jax.training.loop import train
from eqssl_jax.training.optimizer import permissive
from eqssl_jax.training.records import Records, read_records
from eqssl_jax.training.workdir import claim, read_config


def poisoned(at: int, name: str = "info_nce") -> Method:
    """A method whose loss is NaN from step `at` on (the step is counted in its memory)."""

    def loss(_, seen):
        z1, z2 = unit(seen.embeddings)
        bad = jax.numpy.where(seen.memory >= at, jax.numpy.nan, 1.0)
        return info_nce(z1, z2) * bad, {}

    objective = Objective(
        "contrast",
        loss,
        init_memory=lambda key, seen: jax.numpy.zeros(()),
        remember=lambda memory, seen: memory + 1,
    )
    return Method(
        views={"contrast": views.ViewSpec(toy_recipe(), views.independent(2))},
        objectives={name: (1.0, objective)},
    )


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, monkeypatch):
    whole = train(small(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        killed_at(4, patch)
        with pytest.raises(Killed):
            train(small(), tmp_path / "parts")
    assert int(whole.step) == 12
    resumed = train(small(), tmp_path / "parts")
    equal(whole, resumed)
    # The same log too: no line missing, none twice.
    assert read_records(tmp_path / "parts") == read_records(tmp_path / "whole")


def moco_and_byol() -> Method:
    """A method whose state has everything: a queue, a target network that slows down, a head."""
    config = base()
    config.target.final = 1.0
    queue = ConfigDict({"queue": 20, "symmetric": False, "temperature": 0.2})
    objectives = {
        "moco": (1.0, moco_loss(queue)),
        "byol": (1.0, byol_loss(ConfigDict({"hidden": (8,)}))),
    }
    sets = {"contrast": views.ViewSpec(toy_recipe(), views.independent(2))}
    built = Method(sets, objectives, target_views=("contrast",))
    return methods.scheduled(built, config, steps=12)


@pytest.mark.slow
def test_queue_target_and_head_are_resumed_bit_for_bit(tmp_path, monkeypatch):
    whole = train(small(method=moco_and_byol()), tmp_path / "whole")
    with monkeypatch.context() as patch:
        killed_at(8, patch)
        with pytest.raises(Killed):
            train(small(method=moco_and_byol()), tmp_path / "parts")
    resumed = train(small(method=moco_and_byol()), tmp_path / "parts")
    equal(whole, resumed)
    assert resumed.memory["moco"].shape == (20, 4)
    moved = np.abs(resumed.target["network"]["encoder"] - resumed.params["network"]["encoder"])
    assert moved.max() > 0


def test_what_is_logged(tmp_path):
    train(small(), tmp_path)
    rows = read_records(tmp_path)
    losses = [row["step"] for row in rows if "loss" in row]
    knn = [row["step"] for row in rows if "validation_knn" in row]
    assert losses == [2, 4, 6, 8, 10, 12]
    assert knn == [4, 8, 12]
    named = {"step", "loss", "info_nce", "gradient_norm", "embedding_spread", "learning_rate"}
    assert named == set(rows[0])
    assert all(0 <= row["validation_knn"] <= 1 for row in rows if "validation_knn" in row)


def test_a_finished_run_does_nothing_more(tmp_path):
    done = train(small(), tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    equal(train(small(), tmp_path), done)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_latest_and_best_checkpoints_are_kept(tmp_path, monkeypatch):
    scores = iter([0.9, 0.1, 0.2])
    monkeypatch.setattr("eqssl_jax.measures.classes.knn.knn_accuracy", lambda *a, **k: next(scores))
    run = small()
    with run.config.unlocked():
        run.config.train.keep = 1
    train(run, tmp_path)
    manager = checkpoint.open_checkpoints(tmp_path, read_only=True)
    assert sorted(manager.all_steps()) == [4, 12]
    assert best_step(manager) == 4
    with pytest.raises(FileNotFoundError, match="step 8"):
        checkpoint.restore(manager, run.init(), 8)
    assert int(checkpoint.restore(manager, run.init(), 4).step) == 4
    manager.close()


@pytest.mark.parametrize("looped", [False, True])
def test_nan_stops_and_names_the_metric_and_spares_the_checkpoint(tmp_path, looped, monkeypatch):
    from eqssl_jax.training import step as step_module

    make = step_module.make_dispatch
    monkeypatch.setattr(
        "eqssl_jax.training.loop.make_dispatch", lambda step, mesh: make(step, mesh, looped=looped)
    )
    with pytest.raises(FloatingPointError, match="info_nce became nan at step 7") as error:
        train(small(method=poisoned(6)), tmp_path)
    assert "learning_rate" in str(error.value)
    manager = checkpoint.open_checkpoints(tmp_path, read_only=True)
    assert manager.latest_step() == 4
    state = checkpoint.restore(manager, small(method=poisoned(6)).init())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    manager.close()


def test_another_config_is_refused_with_the_differing_keys(tmp_path):
    train(small(steps=4), tmp_path)
    other = small(steps=4)
    with other.config.unlocked():
        other.config.optimizer.learning_rate = 0.5
    with pytest.raises(ValueError, match=r"optimizer\.learning_rate: 0\.001 there, 0\.5 now"):
        train(other, tmp_path)


def test_before_the_first_checkpoint_nothing_is_protected(tmp_path):
    run = small(steps=4)
    with run.config.unlocked():
        run.config.optimizer.learning_rate = 0.5
    claim(tmp_path, run.config)  # a run that failed before it saved anything
    train(small(steps=4), tmp_path)
    assert read_config(tmp_path).optimizer.learning_rate == 0.001


def test_settings_that_training_does_not_depend_on_may_change(tmp_path):
    train(small(steps=4), tmp_path)
    other = small(steps=8)
    with other.config.unlocked():
        other.config.evaluation.preset = "quick"
        other.config.data.workers, other.config.data.buffered = 2, 8
    assert int(train(other, tmp_path).step) == 8
    assert read_config(tmp_path).evaluation.preset == "quick"


def test_every_start_that_trains_records_its_environment(tmp_path):
    train(small(steps=4), tmp_path)
    config = (tmp_path / "config.json").read_text()
    train(small(steps=4), tmp_path)  # nothing left to do: no start
    train(small(steps=8), tmp_path)
    starts = read_environment(tmp_path)
    assert [(start["from_step"], start["steps"]) for start in starts] == [(0, 4), (4, 8)]
    assert starts[0]["packages"]["jax"] == jax.__version__
    assert (tmp_path / "config.json").read_text() == config


def test_a_config_of_an_older_version_gets_the_defaults(tmp_path):
    values = plain(base())
    del values["data"]["seed"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert read_config(tmp_path).data.seed == 0
    for text in ("{", "{}", '{"seed": 1}'):  # all of it is no older version
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match="is damaged"):
            read_config(tmp_path)


def test_parameters_that_overflow_are_not_saved(tmp_path):
    """The last update breaks the parameters; loss and gradient before it were finite."""
    explode = permissive(optax.sgd(lambda step: jax.numpy.where(step == 3, jax.numpy.inf, 0.0)))
    with pytest.raises(FloatingPointError, match="parameters became infinite or NaN at step 4"):
        train(small(steps=4, optimizer=explode), tmp_path)
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


FULL_DISK = """
import resource, sys
from pathlib import Path
from tiny_loop import small
from toys import linear_network
from eqssl_jax.training.loop import train

run, workdir = small(network=linear_network(features=400), log_every=100), Path(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))  # no file may grow beyond 8 kB
try:
    train(run, workdir)
except OSError as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print("then:", int(train(run, workdir).step))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process exist on Unix only")
def test_a_disk_that_fills_while_a_checkpoint_is_written(tmp_path):
    """A limit on the size of files stands in for the full disk, in a process of its own."""
    # Programs that others share must not be cut short by that limit.
    without = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True, text=True, cwd=Path(__file__).parent, check=False,
        env=without,
    )  # fmt: skip
    # One paragraph, whatever of tensorstore's answers came too late: of other writes as well.
    assert "OCDBT" not in ended.stderr and len(ended.stderr.splitlines()) < 10, ended.stderr
    lines = {line.split(":")[0]: line for line in ended.stdout.splitlines()}
    assert "a checkpoint could not be written" in lines["refused"], ended.stderr
    assert "free space" in lines["refused"]
    assert "goes on from step 0" in lines["refused"]
    assert lines["then"] == "then: 12"  # with space again, it goes through


def test_a_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        train(small(), tmp_path / "file" / "run")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full simulates the full disk")
def test_a_full_disk(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="free space"):
        train(small(), tmp_path)


def test_dispatches_never_cross_a_save_or_a_measurement():
    run = small(steps=11, knn_every=4, save_every=6, steps_per_dispatch=3)
    done, edges = 0, []
    for count, inputs in batches(run, 0):
        assert inputs.shape == (3, BATCH)
        for i in range(count):
            expected = data.batch_indices(run.config.seed, done + i, run.split.size, BATCH)
            np.testing.assert_array_equal(inputs[i], expected)
        done += count
        edges.append(done)
    assert {4, 6, 8, 11} <= set(edges)
    assert done == 11


@pytest.mark.parametrize("on_device", [True, False])
def test_the_rows_of_all_processes_are_the_batch(on_device, monkeypatch):
    images = np.arange(48, dtype=np.uint8)[:, None, None, None].repeat(3, 3)
    dataset = data.from_arrays(images, np.arange(48) % 3, on_device=on_device)
    run = small(
        dataset=dataset, split=dataset.splits["train"], steps_per_dispatch=3 if on_device else 1
    )
    whole = [inputs for _, inputs in batches(run, 5)]
    parts = []
    for mine in (slice(0, 4), slice(4, BATCH)):
        monkeypatch.setattr(training_inputs, "rows", lambda mesh, batch, mine=mine: mine)
        parts.append([inputs for _, inputs in batches(run, 5)])
    for inputs, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second], axis=1), inputs)


def test_streamed_and_resident_data_give_the_same_training(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (48, 4, 4, 3)).astype(np.uint8)
    labels = np.arange(48, dtype=np.int32) % 3
    states, read = [], []
    for where in (True, False):
        dataset = data.from_arrays(images, labels, validation=0.25, on_device=where)
        split = dataset.splits["train"]
        assert (split.load is None) == where
        if load := split.load:
            split = split._replace(load=lambda rows: (read.extend(rows), load(rows))[1])
        run = small(
            dataset=dataset,
            split=split,
            steps=4,
            steps_per_dispatch=3 if where else 1,
        )
        states.append(train(run, tmp_path / str(where)))
    equal(states[0].params, states[1].params)
    assert len(read) == 4 * BATCH  # each image is read once a step, though it has two views


def test_records_drop_lines_after_the_checkpoint_and_half_lines(tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": 0.5}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 4, "lo')
    assert read_records(tmp_path) == lines
    records = Records(tmp_path, resumed_at=2)
    records.write(3, {"loss": 0.25})
    records.close()
    assert read_records(tmp_path) == [*lines[:2], {"step": 3, "loss": 0.25}]


def test_roles_decide_what_the_views_share():
    """From the config's roles to the draws of both view sets."""
    config = base()
    config.roles = {"crop": "rotational", "jitter": "rotational", "blur": "off"}
    config.objectives = presets.objectives(simclr={})
    config.objectives.equivariance.splits = 4
    config.lock()
    built = methods.build(config)
    drawn = {name: jax.device_get(toys.drawn(spec, 8).params) for name, spec in built.views.items()}
    for name in ("contrast", "equivariance"):
        assert not np.any(drawn[name]["blur"]["sigma"])
    heights = np.asarray(drawn["equivariance"]["crop"]["height"])
    assert np.array_equal(heights[:, ::2], heights[:, 1::2])  # shared in pairs: 4 groups of 8
    assert len(np.unique(heights)) == 8  # 4 groups x 2 views
    assert not np.any(drawn["equivariance"]["flip"]["flip"])  # invariant: at its identity here
    assert len(np.unique(drawn["contrast"]["crop"]["height"])) == 16


def test_the_authors_variant_draws_once_and_compares_in_groups():
    config = base()
    config.roles = {"crop": "rotational"}
    config.objectives = presets.objectives(simclr={})
    config.objectives.equivariance.update({"weight": 0.1, "splits": 4, "variant": "code"})
    config.lock()
    spec = methods.build(config).views["equivariance"]
    heights = np.asarray(toys.drawn(spec, 8).params["crop"]["height"])
    assert len(np.unique(heights)) == 2  # one for each view


def test_training_from_a_genuine_tfds_data_set(tmp_path):
    """ArrayRecord files by TFDS's own writer, read without TensorFlow, trained from."""
    directory = prepare(tmp_path / "data", train=60, test=20)
    dataset = data.load(name="tiny_photos", directory=directory)
    run = small(dataset=dataset, split=dataset.splits["train"], steps=4)
    state = train(run, tmp_path / "run")
    assert int(state.step) == 4
    assert np.isfinite(
        [row["loss"] for row in read_records(tmp_path / "run") if "loss" in row]
    ).all()
    assert "tensorflow" not in sys.modules
