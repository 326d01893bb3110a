"""What happens to a run from outside, and what it says of itself: folders, signals, warnings."""

import contextlib
import functools
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_loop import equal, small

from eqssl_jax.objectives import Objective, info_nce, unit
from eqssl_jax.training import checkpoint, kept, loop, ownership
from eqssl_jax.training.alarms import SPREAD, Alarms
from eqssl_jax.training.interruption import listening
from eqssl_jax.training.loop import silent_kinds, train
from eqssl_jax.training.mesh import make_mesh
from eqssl_jax.training.records import read_records
from eqssl_jax.training.step import embedding_spread
from eqssl_jax.training.workdir import LOCK, locked

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(workdir with the checkpoints 8 and 12, their states by step)."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train(small(), workdir)
    manager = checkpoint.open_checkpoints(workdir, read_only=True)
    states = {step: checkpoint.restore(manager, small().init(), step) for step in (8, 12)}
    manager.close()
    return workdir, states


@pytest.fixture
def workdir(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


def test_a_renamed_checkpoint_is_set_aside_and_the_one_before_goes_on(workdir, finished, capsys):
    (workdir / "checkpoints" / "12").rename(workdir / "checkpoints" / "20")
    manager = checkpoint.open_checkpoints(workdir, read_only=True)
    with pytest.raises(OSError, match=r"Choose another step, of \[8\]"):  # no other in its place
        kept.restore(manager, small().init(), "latest")
    manager.close()
    state = train(small(), workdir)
    equal(state, finished[1][12])
    printed = " ".join(capsys.readouterr().err.split())
    assert "checkpoint of step 20" in printed and "holds the state of step 12" in printed
    assert "goes on from step 8" in printed
    assert (workdir / "damaged" / "20-0").is_dir()


def test_exchanged_checkpoints_are_refused(workdir):
    folder = workdir / "checkpoints"
    (folder / "8").rename(folder / "x")
    (folder / "12").rename(folder / "8")
    (folder / "x").rename(folder / "12")
    with pytest.raises(OSError, match="exchanged with another"):
        train(small(steps=16), workdir)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_CHECKPOINT_METADATA", "null"),
        ("_CHECKPOINT_METADATA", '{"item_handlers": 7}'),
        ("_CHECKPOINT_METADATA", '{"commit_timestamp_nsecs": "x"}'),
        ("default/_METADATA", "[]"),
        ("default/_METADATA", ""),
        ("metrics/metrics", "7"),
    ],
)
def test_metadata_of_a_wrong_type_costs_no_more_than_its_checkpoint(
    workdir, finished, name, text, capsys
):
    (workdir / "checkpoints" / "12" / name).write_text(text)
    equal(train(small(), workdir).params, finished[1][12].params)
    shown = capsys.readouterr()
    assert "Going on from step 8 of 12" in shown.out
    assert "checkpoint of step 12" in shown.err and "is damaged" in shown.err


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"train": 3}', '{"seed": "x"}', None])
def test_a_config_that_is_none_is_named(workdir, text):
    path = workdir / "config.json"
    path.unlink()
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    with pytest.raises((ValueError, OSError), match=r"config\.json"):
        train(small(steps=16), workdir)


@pytest.mark.parametrize("how", [shutil.rmtree, lambda path: path.rename(path.with_name("moved"))])
def test_a_workdir_that_is_gone_stops_training(tmp_path, how, monkeypatch):
    pause, workdir = loop._pause, tmp_path / "run"

    def gone(state, done, *others):
        if done == 8:
            checkpoint.finish(others[2])
            how(workdir)
        pause(state, done, *others)

    monkeypatch.setattr(loop, "_pause", gone)
    with pytest.raises(OSError, match="was removed or moved while training"):
        train(small(), workdir)
    assert not list(tmp_path.glob("run/checkpoints/12"))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_closed_terminal_asks_to_stop_unless_it_is_ignored():
    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
    try:
        with listening(make_mesh(1)) as stop_asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop_asked()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with listening(make_mesh(1)) as stop_asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop_asked()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_shown_names_each_step_once_and_that_of_knn(tmp_path, capsys):
    train(small(steps=6, knn_every=4, save_every=6, log_every=2), tmp_path)
    shown = [text for text in capsys.readouterr().out.splitlines() if "info_nce" in text]
    assert [text.split("/")[0] for text in shown] == ["2", "4", "6"]
    assert "knn" not in shown[0]
    assert "knn (step 4)" in shown[1]
    assert "knn (step 6)" in shown[2] and "knn (step 4)" not in shown[2]


def collapsing():
    """A method that pulls all embeddings of a batch to one."""
    base = small().method

    def loss(_, seen):
        z1, z2 = unit(seen.embeddings)
        return jnp.sum((z1 - jnp.roll(z1, 1, axis=0)) ** 2) + 0 * info_nce(z1, z2), {}

    return base._replace(objectives={"pull": (1.0, Objective("contrast", loss))})


def test_a_collapse_is_warned_of_once(tmp_path, capsys):
    train(
        small(steps=240, method=collapsing(), log_every=20, knn_every=240, save_every=240), tmp_path
    )
    assert capsys.readouterr().err.count("embeddings have collapsed") == 1
    assert min(row["embedding_spread"] for row in read_records(tmp_path) if "loss" in row) < 1e-4


def test_the_spread_is_one_minus_the_squared_length_of_the_mean_direction():
    z = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    units = z / np.linalg.norm(z, axis=1, keepdims=True)
    expected = 1 - np.linalg.norm(units.mean(axis=0)) ** 2
    assert embedding_spread(jnp.asarray(z)) == pytest.approx(expected, abs=1e-6)
    assert abs(embedding_spread(jnp.ones((50, 8)) * 3)) < 1e-6
    assert embedding_spread(jnp.zeros((50, 8))) == 0


def test_a_loss_that_grew_is_warned_of_once():
    alarms = Alarms()
    warnings = [
        alarms.look(step, {"loss": loss}) for step, loss in enumerate([-2.0, 3.0, 250.0, 9e9])
    ]
    assert [len(text) for text in warnings] == [0, 0, 1, 0]
    assert "from 2 at step 0 to 250 at step 2" in warnings[2][0]


@pytest.mark.parametrize(
    ("losses", "warns"),
    [
        ([5.0, 0.01, 400.0], True),
        ([5.0, 0.01, 2.0], True),  # two orders above the least
        ([5.0, 0.01, 0.5], False),  # noise of a small batch
        ([5.0, 1e-6, 0.3], False),  # as good as 0 before
        ([3.0, 0.01, -2.0, 3.0], False),  # a loss that may be negative
        ([-2.0, -5.0, 3.0, 900.0], True),
    ],
)
def test_growth_is_seen_from_the_least_loss_so_far(losses, warns):
    alarms = Alarms()
    warnings = [alarms.look(step, {"loss": loss}) for step, loss in enumerate(losses)]
    assert any(warnings) == warns and not any(warnings[:-1])


@pytest.mark.parametrize(("method", "warns"), [("simclr", True), ("classify", False)])
def test_a_projector_that_no_loss_trains_may_collapse(method, warns):
    config = ConfigDict({"objectives": {"mine": {"method": method, "weight": 1.0}}})
    config.train = ConfigDict({"knn_every": 0})
    assert bool(Alarms(silent_kinds(config)).look(7, {"loss": 1.0, SPREAD: 1e-9})) == warns


def test_monitors_that_take_more_than_their_share_are_warned_of_once():
    alarms = Alarms()
    assert alarms.look_at_monitors(100, 0.0, 30.0) == []  # the first time they compile
    assert alarms.look_at_monitors(200, 40.0, 40.375) == []  # 3.75 % of 10 s of training
    (warning,) = alarms.look_at_monitors(300, 50.375, 51.375)
    assert "took 1.0 s at step 300, 10.0% of the training since step 200" in warning
    assert "of 500 steps" in warning
    assert alarms.look_at_monitors(400, 60.0, 70.0) == []


def test_a_finished_run_is_made_longer_and_says_what_follows(workdir, finished, capsys):
    longer = small(steps=16)
    with longer.config.unlocked():
        longer.config.train.epochs = 500.0
    assert int(train(longer, workdir).step) == 16
    shown = capsys.readouterr().out
    assert "extended from 12 to 16 steps" in shown and "at step 12 the learning rate" in shown
    shorter = small(steps=8)
    with pytest.raises(ValueError, match=r"train\.epochs: 500\.0 there, 400\.0 now"):
        train(shorter, workdir)


@pytest.mark.parametrize("text", ["{", "[]", '[{"steps": "x"}]', None])
def test_a_run_is_made_longer_also_when_its_environment_is_damaged(workdir, text, capsys):
    path = workdir / "environment.json"
    path.unlink() if text is None else path.write_text(text)
    values = json.loads((workdir / "config.json").read_text())
    values["train"]["steps"] = 12
    (workdir / "config.json").write_text(json.dumps(values))
    longer = small(steps=16)
    with longer.config.unlocked():
        longer.config.train.steps = 16
    with contextlib.ExitStack() as held:
        ownership.take(longer, workdir, held)
    assert ("environment.json is damaged" in capsys.readouterr().err) is (text is not None)


def test_checkpoints_are_listed_again_when_training_has_removed_one(workdir, monkeypatch, capsys):
    from eqssl_jax.experiment import assess

    find, folder, run = kept.find_step, workdir / "checkpoints", small()

    def removed_once_listed(manager, wanted):
        step = find(manager, wanted)
        if step == 12:
            shutil.rmtree(folder / "12")
        return step

    monkeypatch.setattr(kept, "find_step", removed_once_listed)
    assert int(assess.restored(run, workdir, "latest").step) == 8
    with pytest.raises(ValueError, match=r"step 12 .*is not kept"):  # a step that was named
        assess.restored(run, workdir, 12)
    assert assess.listed(run, workdir, 12) is None
    assert "Step 12 of" in (printed := capsys.readouterr().out) and "passed over" in printed
    monkeypatch.setattr(assess, "stored_setup", lambda *arguments: run)
    monkeypatch.setattr(kept, "kept_steps", lambda folder: [8, 12])
    monkeypatch.setattr(assess, "evaluate", Measured.evaluate)
    monkeypatch.setattr(assess, "embedding_map", lambda *arguments: {})
    monkeypatch.setattr(assess, "draw", lambda *arguments: None)
    assert [path.stem for path in assess.assess(workdir, "all")] == ["8"]
    assert "Step 12 of" in capsys.readouterr().out


def test_half_of_a_checkpoint_that_training_removes_is_not_damaged(workdir, monkeypatch):
    """A process that holds the lock has begun to remove step 12 and is gone with it soon."""
    (workdir / "checkpoints/12/default/_METADATA").unlink()
    monkeypatch.setattr(kept, "MOMENT", 0.0)
    with pytest.raises(OSError, match=r"step 12 .* is damaged"):
        kept.read(workdir, small().init(), "latest")  # nobody trains there
    gone = functools.partial(shutil.rmtree, workdir / "checkpoints/12", ignore_errors=True)
    monkeypatch.setattr(kept.time, "sleep", lambda _: gone())
    with locked(workdir, LOCK):
        assert int(kept.read(workdir, small().init(), "latest").step) == 8


RESULT = {
    "settings": {"ladder_images": 0, "batch": 12},
    "encoders": {"trained": {"knn": {"value": 0.5, "sd": None, "n": 3}}},
}


class Measured:
    """Stands in for the measurements of an evaluation, which take minutes."""

    @staticmethod
    def evaluate(*arguments):
        from eqssl_jax.measures import Arrays

        return dict(RESULT), Arrays({}, "test", None, np.zeros(0, int), {}, {})


def test_figures_that_fail_lose_no_numbers(workdir, monkeypatch):
    from eqssl_jax.experiment import assess

    def fails(*arguments, **options):
        raise RuntimeError("no font")

    monkeypatch.setattr(assess, "evaluate", Measured.evaluate)
    monkeypatch.setattr(assess, "embedding_map", lambda *arguments: {})
    monkeypatch.setattr(assess.pictures, "draw_all", fails)
    with pytest.raises(assess.FiguresError, match=r"no font.*numbers are written.*12\.json"):
        assess.assess_step(small(), workdir, 12, options={})
    assert (workdir / "eval" / "12.json").exists()


def watched(workdir: Path, monkeypatch, steps: int, **options) -> None:
    from eqssl_jax.experiment import assess, watch

    monkeypatch.setattr(assess, "evaluate", Measured.evaluate)
    monkeypatch.setattr(assess, "embedding_map", lambda *arguments: {})
    monkeypatch.setattr(watch, "draw", lambda *arguments: None)
    monkeypatch.setattr(watch, "stored_setup", lambda folder, overrides: small(steps=steps))
    watch.watch(workdir, poll=0.01, **options)


def test_watching_ends_with_the_run_and_says_what_it_waits_for(workdir, monkeypatch, capsys):
    watched(workdir, monkeypatch, steps=12)
    assert sorted(path.stem for path in workdir.glob("eval/*.json")) == ["12", "8"]
    assert "Waiting" not in capsys.readouterr().out
    watched(workdir, monkeypatch, steps=20, patience=0.05)  # stopped for good at 12
    shown = capsys.readouterr().out
    assert "Waiting for a checkpoint after that at step 12 of 20" in shown
    assert "Training has ended at step 12 of 20" in shown


def test_watching_passes_over_a_step_that_is_gone_and_takes_the_newest_first(
    workdir, monkeypatch, capsys
):
    from eqssl_jax.experiment import watch

    monkeypatch.setattr(watch.kept, "kept_steps", lambda folder: [4, 8, 12])
    order = []
    watched(
        workdir, monkeypatch, steps=12, show=lambda run, measured: order.append(measured.path.stem)
    )
    assert order == ["12", "8"]
    assert capsys.readouterr().out.count("Step 4 of") == 1
