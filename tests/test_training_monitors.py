"""Monitors, trackers and learning from labels: what is measured and written while a run goes on."""

import copy
import json
import sys
import time
import types
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import toys
from jax.tree_util import Partial
from tiny_loop import equal
from tiny_run import arrays, config, tiny_run

from eqssl_jax.data import from_arrays
from eqssl_jax.data.pipeline import labelled
from eqssl_jax.experiment.assess import subject
from eqssl_jax.measures import Card, Output, cards
from eqssl_jax.measures.spread.directions import own_draws
from eqssl_jax.measures.subjects import Conditions, Seen, Subject
from eqssl_jax.methods import entry
from eqssl_jax.methods.classify import cross_entropy
from eqssl_jax.objectives.base import Views
from eqssl_jax.training import loop, monitor, trackers
from eqssl_jax.training.alarms import Alarms
from eqssl_jax.training.loop import train
from eqssl_jax.training.records import Records, read_records
from eqssl_jax.training.setup import setup

SMALL = dict(monitor__images=8, monitor__views=2, monitor__draws=1)


@pytest.mark.slow
def test_all_monitors_on_labelled_and_unlabelled_data(tmp_path, capsys):
    """Without labels the ones that need none are there, and nothing is called the best."""
    run = setup(config(arrays(tmp_path / "a.npz"), train__monitors=("all",), **SMALL))
    scores = monitor.make_monitor(run)(run.init())
    free = {"rankme", "lidar", "alignment", "uniformity", "gamma", "rotation_residual"}
    names = {f"monitor_{name}" for name in free}
    assert set(scores.values) == names | {"validation_knn", "monitor_probe"}
    assert scores.score == scores.values["validation_knn"]
    images = np.load(tmp_path / "a.npz")["images"]
    np.savez(tmp_path / "b.npz", images=images)
    made = config(tmp_path / "b.npz", train__monitors=("all",), data__validation=0.0, **SMALL)
    run = setup(made)
    measure, state = monitor.make_monitor(run), run.init()
    for _ in range(2):
        assert set(measure(state).values) == names and measure(state).score is None
    assert "knn, probe (measured by labels, and arrays has none)" in run.notes[-1]


def test_monitors_see_validation_and_never_test_images(tmp_path, monkeypatch):
    """Every split has a brightness of its own, which the features are."""
    card_of_ones_own(
        tmp_path,
        monkeypatch,
        "{n: float(seen.features(s).max()) for n, s in "
        "(('bank', 'train'), ('held', seen.held_out))} | {'splits': len(seen.splits)}",
    )
    made = config(arrays(tmp_path / "a.npz"), train__monitors=("my_monitor:CARD",))
    splits = {
        name: from_arrays(
            np.full((40, 8, 8, 3), value, np.uint8), np.arange(40) % 2, validation=0.0
        ).splits["train"]
        for name, value in {"train": 51, "validation": 102, "test": 255}.items()
    }
    run = setup(made)
    pixels = Partial(lambda images: (images.reshape(len(images), -1),) * 2)
    run = SimpleNamespace(
        config=run.config,
        recipe=run.recipe,
        dataset=run.dataset._replace(splits=splits),
        encoder=lambda state: pixels,
        classifier=lambda state: None,
    )
    assert monitor.make_monitor(run)(None).values == pytest.approx(
        {"monitor_bank": 0.2, "monitor_held": 0.4, "monitor_splits": 2}
    )


def test_monitors_without_a_number_are_named_before_the_run(tmp_path, capsys):
    """Every card of the package gives a number, or its reason at the start or while it runs."""
    names = (*(card.name for card in cards()), "probe")
    run = setup(config(arrays(tmp_path / "a.npz"), train__monitors=names, **SMALL))
    assert (
        "classifier (of a classifier, and none is trained); linear_probe, care_probe, "
        in (run.notes[-1])
    )
    watched = monitor.watched(run.config, run.dataset, run.recipe)
    assert {card.name for card in watched.cards} | set(watched.left_out) == set(names)
    assert not {"steering", "factors", "trajectories"} - set(watched.left_out)
    assert {"composition", "gram", "ladders", "probe"} <= {card.name for card in watched.cards}
    assert watched.conditions.settings.pairs  # which composition needs
    empty = Card("empty", lambda seen: {}, (Output("a", "A"),))
    seen = Seen(
        "trained", Conditions({"trained": Subject(None)}, run.dataset, run.recipe, None, None)
    )
    assert monitor._numbers(empty, seen, print) == {}
    assert "The monitor empty has no number: it gave none." in capsys.readouterr().out
    run = setup(config(tmp_path / "a.npz", train__monitors=("knn",), data__validation=0.0))
    assert run.notes[-1].endswith("validation images: set config.data.validation above 0).")
    assert monitor.make_monitor(run) is None


def test_views_of_lidar_and_alignment_are_different_draws(tmp_path):
    data = from_arrays(np.zeros((9, 8, 8, 3), np.uint8), validation=0.4)
    settings = SimpleNamespace(own_images=3, own_views=4)
    _, drawn = own_draws(Conditions({}, data, toys.recipe(), jax.random.key(0), settings))
    assert [np.unique(leaf).size for leaf in jax.tree.leaves(drawn)] == [12, 12]


def test_the_loop_looks_at_what_monitors_take(capsys):
    """The first call compiles; the second takes all the time since."""
    alarms, quiet = Alarms(), SimpleNamespace(report=print, pause=lambda: None)
    records = SimpleNamespace(write=lambda step, values: None)
    due = loop._Due(score=True, save=False, stop=False)

    def measure(state):
        time.sleep(0.02)
        return monitor.Scores({"monitor_rankme": 1.0}, None)

    for step in (1, 2):
        loop._pause(None, step, due, measure, None, records, quiet, alarms)
    assert capsys.readouterr().err.count("Warning: Monitors took 0.0 s at step 2") == 1


def test_the_interval_keeps_monitors_within_two_percent(tmp_path):
    """Counted by hand: 30 + 12 images for kNN; a step trains 8 images in 2 views, 2 each."""
    run = setup(config(arrays(tmp_path / "a.npz"), train__monitors=("knn",), knn__bank=30))
    watched = monitor.watched(run.config, run.dataset, run.recipe)
    epochs = -(-(30 + 12) // (0.02 * 32 * 4))
    assert monitor.epochs_between(watched, run.method, run.config, 4) == epochs == 17
    assert run.knn_every == run.save_every == 4 * 17 and "every 17 epochs" in run.notes[-1]
    probed = setup(config(tmp_path / "a.npz", train__monitors=("knn", "probe"), knn__bank=30))
    assert probed.knn_every == 4 * -(-(30 + 30 + 12) // (0.02 * 32 * 4))
    assert setup(config(tmp_path / "a.npz", train__monitors=())).knn_every == 4
    with pytest.raises(ValueError, match=r"config\.train\.monitors is 'rank', and there is no mon"):
        setup(config(tmp_path / "a.npz", train__monitors=("rank",)))


def card_of_ones_own(folder, monkeypatch, measure):
    (folder / "my_monitor.py").write_text(
        "import sys\nfrom eqssl_jax.measures import Card, Output\n"
        f"CARD = Card('mine', lambda seen: {measure}, ())\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_monitor", raising=False)


@pytest.mark.parametrize("measure", ["int('no such')", "sys.exit('no such')", "sys.exit()"])
def test_a_failing_monitor_is_said_once_and_training_goes_on(
    measure, tmp_path, monkeypatch, capsys
):
    card_of_ones_own(tmp_path, monkeypatch, measure)
    made = config(arrays(tmp_path / "a.npz"), train__monitors=("my_monitor:CARD", "knn"))
    run = setup(made)
    measure, state = monitor.make_monitor(run), run.init()
    assert list(measure(state).values) == list(measure(state).values) == ["validation_knn"]
    assert capsys.readouterr().err.count("the monitor mine failed (") == 1


def test_labels_travel_with_their_images():
    images = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3)).astype(np.uint8)
    labels = np.array([0, 1, 2, 300] * 3)
    plain = np.arange(12) % 4
    for on_device in (True, False):
        data = from_arrays(
            images, plain, validation=0.0, on_device=on_device, classes=tuple("abcd")
        )
        split = labelled(data.splits["train"]._replace(labels=labels), 301)
        rows = np.array([3, 0, 7], np.int32)
        inputs = rows if split.load is None else split.load(rows)
        images_read, targets = jax.jit(split.read)(split.pool, inputs)
        np.testing.assert_allclose(images_read, images[rows] / np.float32(255), rtol=1e-6)
        np.testing.assert_array_equal(np.argmax(targets, 1), labels[rows])
        assert targets.shape == (3, 301)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """Bright and dark images with labels, with labels of one class, and without."""
    folder = tmp_path_factory.mktemp("classified")
    images = np.random.default_rng(0).integers(0, 60, (64, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(64) % 2
    images[labels == 1] += 150
    np.savez(folder / "a.npz", images=images, labels=labels)
    np.savez(folder / "one.npz", images=images, labels=0 * labels)
    np.savez(folder / "none.npz", images=images)
    return folder


def of_labels(file, **changes):
    made = config(file, train__steps=15, train__monitors=(), optimizer__learning_rate=1e-2)
    with made.unlocked():
        made.objectives = {"classify": entry("classify", smoothing=0.1)}
        for name, value in changes.items():
            made.train[name] = value
    return made


def test_cross_entropy_is_that_of_its_definition():
    x, y = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32), np.arange(5) % 3
    objective = cross_entropy(0.3, "classify")
    seen = Views(x, x, labels=np.eye(3, dtype=np.float32)[y])
    head = {"weight": x[0].T[:, :3], "bias": np.float32([0.1, 0.2, -0.3])}
    scores = np.asarray(x[0] @ head["weight"] + head["bias"], np.float64)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    target = 0.7 * np.eye(3)[y] + 0.1
    value, metrics = objective.loss(head, seen)
    assert float(value) == pytest.approx(-np.mean(np.sum(target * logs, 1)), rel=1e-5)
    assert float(metrics["train_accuracy"]) == pytest.approx(np.mean(scores.argmax(1) == y))
    start = objective.init(jax.random.key(0), seen)
    assert float(objective.loss(start, seen)[0]) == pytest.approx(np.log(3), rel=1e-5)
    with pytest.raises(ValueError, match="Classification needs labels"):
        objective.init(jax.random.key(0), seen._replace(labels=None))


@pytest.mark.slow
def test_fine_tuning_learns_classes_and_is_rebuilt_without_data(classified):
    folder = classified
    run = setup(of_labels(folder / "a.npz", init_from=str(tiny_run()[0])))
    state = train(run, folder / "tuned")
    rows = read_records(folder / "tuned")
    assert rows[-1]["monitor_classifier_top1"] == 1.0
    card = next(card for card in cards() if card.name == "classifier")
    assert card.needs[0] == "classifier" and subject(run, state).classifier is not None
    from eqssl_jax.training.stored import open_run

    kept = open_run(folder / "tuned", "best")
    assert kept.state.params["heads"]["classify"]["weight"].shape[1] == 2
    equal(kept.state.params, state.params)


def test_labels_of_one_class_or_none_are_refused(classified):
    folder = classified
    with pytest.raises(ValueError, match=r"all 48 labels of the train split of arrays are 0 \(0\)"):
        setup(of_labels(folder / "one.npz"))
    with pytest.raises(
        ValueError, match=r"classify learns from labels, and the train split .* none"
    ):
        setup(of_labels(folder / "none.npz"))


def test_tensorboard_events_can_be_read_and_hide_what_was_undone(tmp_path):
    for step in (0, 3):
        records = Records(tmp_path, resumed_at=step, log=("tensorboard",))
        records.write(step + 1, {"loss": 0.5 + step})
        records.close()
    assert "tensorflow" not in sys.modules and "torch" not in sys.modules
    events = [
        event for path in sorted((tmp_path / "tensorboard").iterdir()) for event in read(path)
    ]
    numbers = {(e.step, v.tag): v.simple_value for e in events for v in e.summary.value}
    assert numbers == {(1, "loss"): 0.5, (4, "loss"): 3.5}
    assert [e.step for e in events if e.HasField("session_log")] == [1, 4]


def read(path):
    """The events of a file: length, its checksum, the bytes, their checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content, place = path.read_bytes(), 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 8], "little")
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length


class Service(types.ModuleType):
    """Stands in for wandb and trackio, which are called alike."""

    def __init__(self, name, fails_at=None):
        super().__init__(name)
        self.begun, self.logged, self.finished, self.fails_at = [], [], 0, fails_at

    def init(self, **settings):
        if self.fails_at == "login":
            raise SystemExit("not logged in")
        self.begun.append(settings)
        return self

    def log(self, values, step):
        if self.fails_at == step:
            raise ConnectionError("no network")
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_services_get_every_number_and_the_same_run_again(name, tmp_path, monkeypatch):
    service = Service(name)
    monkeypatch.setitem(sys.modules, name, service)
    for step in (0, 2):
        records = Records(tmp_path / "", resumed_at=step, log=(name,), config={"seed": 1})
        records.write(step + 1, {"loss": 1.0})
        records.close()
    assert service.logged == [(1, {"loss": 1.0}), (3, {"loss": 1.0})] and service.finished == 2
    first, second = service.begun
    assert first == second and first["config"] == {"seed": 1} and first["resume"] == "allow"


@pytest.mark.parametrize("fails_at", ["login", 2])
def test_a_tracker_that_fails_is_said_once_and_the_others_go_on(
    fails_at, tmp_path, monkeypatch, capsys
):
    service, other = Service("wandb", fails_at), Service("trackio")
    monkeypatch.setitem(sys.modules, "wandb", service)
    monkeypatch.setitem(sys.modules, "trackio", other)
    records = Records(tmp_path, log=("wandb", "trackio"))
    for step in (1, 2, 3):
        records.write(step, {"loss": float(step)})
    records.close()
    printed = capsys.readouterr().err
    assert (
        printed.count("Warning: the tracker wandb failed (") == 1
        and "WANDB_MODE=offline" in printed
    )
    assert len(other.logged) == len(read_records(tmp_path)) == 3


def test_a_tracker_that_changes_what_it_gets_changes_no_others(tmp_path, monkeypatch):
    got = []

    def clears(workdir, config, step):
        got.append(copy.deepcopy(config))
        config["nested"].clear()
        return trackers.Tracker(
            lambda step, values: (got.append(dict(values)), values.clear()), int
        )

    monkeypatch.setattr(trackers, "TRACKERS", {"first": clears, "second": clears})
    values, config = {"loss": 1.0}, {"nested": {"seed": 1}}
    records = Records(tmp_path, log=("first", "second"), config=config)
    records.write(1, values)
    records.close()
    assert got == [config, config, values, values] and values == {"loss": 1.0}
    assert config == {"nested": {"seed": 1}}


def test_a_tracker_of_ones_own_that_is_none_is_left_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_tracker.py").write_text("def opens(workdir, config, step):\n    return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    records = Records(tmp_path, log=("my_tracker:opens",))
    records.write(1, {"loss": 1.0})
    records.close()
    assert "failed (TypeError: it returned int, which has no write" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_and_one_that_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    Records(tmp_path, log=("wandb",)).close()
    assert "pip install 'eqssl_jax[wandb]'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"config\.log is 'mlflow', and there is no tracker"):
        trackers.find(("mlflow",))


def test_scores_are_json():
    assert json.loads(json.dumps(monitor.Scores({"a": 1.0}, None))) == [{"a": 1.0}, None]
