"""Objects with stored views: which a step shows, what their draws are, and what is refused."""

import itertools
import json

import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy.spatial.transform import Rotation
from test_data_diebench import write
from tiny_loop import equal

from eqssl_jax import data, methods, objectives, presets
from eqssl_jax.data import batch_indices
from eqssl_jax.data.views_of_objects import objects_of
from eqssl_jax.experiment.assess import assess
from eqssl_jax.presets.benchmark import benchmark
from eqssl_jax.training import plan
from eqssl_jax.training.checks import check_batch
from eqssl_jax.training.forward import draw_views
from eqssl_jax.training.inputs import batches
from eqssl_jax.training.loop import train
from eqssl_jax.training.setup import setup
from eqssl_jax.training.step import make_step
from eqssl_jax.transforms import Transform

SMALL = {
    "sie": {"projector": (8, 4)},
    "equimod": {"projector": (8, 6), "parameters": 5},
    "ser": {"images": 8},
    "seqjepa": {"code": 4, "layers": 1, "heads": 2, "hidden": (8,)},
}
EVERY = np.arange(8)  # training objects, all of them a batch


class Flat(nn.Module):
    """The smallest encoder."""

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(6)(x.reshape(len(x), -1))


def flat():
    """A recipe whose draws are not grouped by part."""
    identity = {"n": np.zeros((), np.float32)}
    return Transform(lambda key: {"n": jax.random.uniform(key)}, lambda _, x: x, identity)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write(root, 10, views=(0, 1, 3, 4))
    return root


def config(root, *names, **changes) -> ConfigDict:
    """Some methods on stored views of 8 pixels."""
    made = benchmark("3diebench", "simclr")
    made.data.directory, made.data.size, made.data.validation = str(root), 8, 0.0
    made.model.encoder, made.model.projector = "test_viewpoints:Flat", (8, 4)
    made.objectives = presets.objectives(**{name: SMALL.get(name, {}) for name in names})
    made.train.batch_size, made.train.steps, made.train.knn_every = len(EVERY), 5, 0
    made.train.save_every, made.recipe.options = 3, ConfigDict({"translation": True})
    made.lock()
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return made


def test_a_step_shows_views_of_its_own_objects_and_a_resumed_run_the_same_ones(tree):
    run = setup(config(tree, "simclr", "seqjepa", objectives__seqjepa__length=1))  # 2 and 2 views
    draw, owner = run.split.draw, run.stored.splits["train"].factors["object"]
    steps = [draw(0, step, EVERY) for step in range(40)]
    for rows in steps:
        np.testing.assert_array_equal(rows[:, 0], EVERY)
        np.testing.assert_array_equal(owner[rows[:, 1:]], np.repeat(EVERY[:, None], 4, axis=1))
        assert all(len(set(row)) == 4 for row in rows[:, 1:].tolist())  # never one view twice
    first = np.stack(steps)[:, :, 1] % 4  # each object has four
    assert np.bincount(first.ravel(), minlength=4).min() > 0.18 * first.size
    assert (draw(1, 0, EVERY) != steps[0]).any()
    # A process that holds some of the rows draws what one process would.
    np.testing.assert_array_equal(draw(0, 7, EVERY[[5, 2]]), steps[7][[5, 2]])
    whole, late = ([x for _, x in batches(run, start)] for start in (0, 3))
    for expected, there in zip(whole[3:], late, strict=True):
        np.testing.assert_array_equal(there, expected)
    for step, there in enumerate(whole):  # of each step its own objects, in views of its own
        expected = run.split.load(draw(0, step, batch_indices(0, step, len(EVERY), len(EVERY))))
        np.testing.assert_array_equal(there[0], expected)


def latents(run, rows):
    """What the files beside the images hold: rotations, and the other columns [n, 7]."""
    names = run.stored.splits["train"].names(rows)
    files = [name.replace("image_", "latent_").replace(".jpg", ".npy") for name in names]
    values = np.stack([np.load(f"{run.config.data.directory}/{file}") for file in files])
    return Rotation.from_euler("xyz", values[:, :3]), values[:, 3:]


def positive(rotations):
    q = rotations.as_quat()
    return np.where(q[:, 3:] < 0, -q, q)


def seen_views(run, examples):
    """The draws and the views of examples, by one program."""
    return jax.jit(lambda key, examples: draw_views(run.method, key, examples))(
        jax.random.key(0), examples
    )


def test_draws_are_the_latents_of_the_views_that_are_shown(tree):
    run = setup(config(tree, "sie", "classify", data__on_device="always"))
    assert plan.plan(run)["objects"] == "8, a step reads 3 stored views of each of its own"
    rows = run.split.draw(0, 1, EVERY)
    examples, labels = run.split.read((), run.split.load(rows))
    drawn, seen = seen_views(run, examples)
    train_split, first, second, third = run.stored.splits["train"], *rows[:, 1:].T
    np.testing.assert_array_equal(seen["contrast"][1], train_split.read(train_split.pool, second))
    np.testing.assert_array_equal(np.argmax(labels, axis=1), train_split.labels[third])
    (r1, x1), (r2, x2) = latents(run, first), latents(run, second)
    params = drawn["contrast"].params
    np.testing.assert_allclose(params["turn"]["rotation"][0], r1.as_rotvec(), atol=1e-5)
    np.testing.assert_allclose(params["floor"]["hue"][1], x2[:, 0], atol=1e-6)
    # As SIE, SEN, AugSelf, prediction and seq-JEPA read it: floor, light, shift, turn.
    code = np.asarray(jax.jit(objectives.parameter_differences)(params))
    turns = 2 * np.pi * (x2 - x1)[:, [0, 3]]
    hues = np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(-1, 4)
    np.testing.assert_allclose(code[:, :4], hues, atol=1e-5)
    np.testing.assert_allclose(code[:, 4:7], (x2 - x1)[:, 4:], atol=1e-5)
    np.testing.assert_allclose(code[:, 7:], positive(r2 * r1.inv()), atol=1e-5)


def test_draws_of_equimod_lead_from_the_stored_view_that_stands_for_the_object(tree):
    run = setup(config(tree, "simclr", "equimod", data__on_device="never"))
    rows = run.split.draw(0, 2, EVERY)
    examples = run.split.read((), run.split.load(rows))
    drawn, seen = seen_views(run, examples)
    assert {name: len(x) for name, x in seen.items()} == {"contrast": 2, "original": 1}
    original = run.stored.splits["train"].load(rows[:, 3]) / np.float32(255)
    np.testing.assert_allclose(seen["original"][0], original, atol=1e-6)
    (r0, x0), (r1, x1) = latents(run, rows[:, 3]), latents(run, rows[:, 1])
    vector = np.asarray(jax.jit(objectives.parameter_vector)(drawn["contrast"].params))[0]
    turns = 2 * np.pi * (x1 - x0)[:, [0, 3]]
    hues = np.stack([np.cos(turns), np.sin(turns)], axis=2).reshape(-1, 4)
    np.testing.assert_allclose(vector[:, :4], hues, atol=1e-5)
    np.testing.assert_allclose(vector[:, 7:], positive(r1 * r0.inv()), atol=1e-5)
    assert float(abs(drawn["contrast"].params["floor"]["hue"]).max()) <= 0.5  # the shorter way
    still = jax.tree.leaves(drawn["original"].params)
    assert max(float(abs(leaf).max()) for leaf in still) < 1e-6


def test_sie_and_equimod_train_and_go_on_alike_after_a_restart(tree):
    run = setup(config(tree, "sie", "equimod"))
    assert plan.plan(run)["objects"] == "8, a step reads 3 stored views of each of its own"
    step = make_step(run.network, run.method, run.optimizer, run.split.read, jax.random.key(1))
    compiled = jax.jit(step)

    def advance(state, start, stop):
        for _, inputs in itertools.islice(batches(run, start), stop - start):
            state, metrics = compiled(state, (), inputs[0])
        return state, {name: float(value) for name, value in metrics.items()}

    start = jax.device_put(run.init(), jax.devices()[0])
    whole, metrics = advance(start, 0, 5)
    resumed = advance(advance(start, 0, 3)[0], 3, 5)[0]
    assert {"sie", "equimod"} < set(metrics) and all(map(np.isfinite, metrics.values()))
    equal(whole, resumed)


@pytest.mark.slow  # compiles every measure
def test_such_a_run_is_evaluated_without_draws_of_other_views(tree, tmp_path):
    train(setup(config(tree, "sie", "equimod")), tmp_path)
    (path,) = assess(tmp_path, options={"preset": "quick", "batch": 16}, with_floors=False)
    result = json.loads(path.read_text())
    assert np.isfinite(result["encoders"]["trained"]["knn"]["value"])
    assert "views are stored" in result["skipped"]["gamma"]
    assert (path.parent / "5_views.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("names", "changes", "match"),
    [
        (("simclr",), {"roles": {"turn": "rotational"}}, "equivariance.* wants turn drawn for ev"),
        (("simclr",), {"roles": {"turn": "ordered"}}, "wants turn drawn for each image, shared"),
        (("simclr",), {"roles": {"floor": "off"}}, "contrast .*wants floor at its identity"),
        (("stl",), {}, "of config.objectives: stl.* wants turn drawn for every 2 images"),
        (("essl",), {}, r"\(of config\.objectives: essl\) makes .*view, turn\): .*'solids'"),
        (("ser", "simclr"), {}, r"of config\.objectives: ser\) makes .*look, move\): .*'solids'"),
    ],
)  # fmt: skip
def test_what_stored_views_cannot_show_is_refused_before_they_are_read(names, changes, match):
    made = config("nowhere", *names)
    made.unlock()
    made.roles = ConfigDict(changes.get("roles", {}))
    made.objectives.equivariance.splits = 4
    with pytest.raises(ValueError, match=match):
        methods.build(made)


def test_a_view_set_of_more_images_than_a_batch_names_its_entry():
    made = benchmark("shapes", "order")
    made.train.batch_size = 8
    with pytest.raises(ValueError, match=r"is 8, but .*ladder_\w+ \(of config.objectives: order\)"):
        check_batch(made, methods.build(methods.resolved(made)), 1)


def test_augself_wants_draws_by_part():
    made = benchmark("cifar10", "augself")
    made.recipe.name, made.recipe.options = "test_viewpoints:flat", ConfigDict({})
    with pytest.raises(ValueError, match=r"augself is AugSelf.*:flat', \['n'\], are not by part"):
        methods.build(methods.resolved(made))


def test_an_object_with_too_few_views_and_images_of_no_object_are_named(tree, tmp_path):
    with pytest.raises(ValueError, match=r"compares 6 stored views .*abc\d/image_0.jpg has 4 in"):
        setup(config(tree, "simclr", "seqjepa"))
    write(tmp_path, 7)
    for k in (1, 3):
        (tmp_path / "03001627/1abc1" / f"image_{k}.jpg").unlink()
        (tmp_path / "03001627/1abc1" / f"latent_{k}.npy").unlink()
    with pytest.raises(ValueError, match=r"2 stored views .*03001627/1abc1/image_0.jpg has 1 in"):
        setup(config(tmp_path, "sie", recipe__options=ConfigDict({})))
    with pytest.raises(ValueError, match=r"not known: translation.*3DIEBench-T"):
        setup(config(tmp_path, "sie"))
    arrays = data.from_arrays(np.zeros((20, 8, 8, 3), np.uint8), validation=0.0)
    with pytest.raises(ValueError, match=r"'stored_views'.* not known: floor_hue, obj"):
        objects_of(arrays, "train", ("turn", "floor"), (0, 1))


@pytest.mark.parametrize(
    ("factor", "values", "match"),
    [
        ("rotation", np.zeros((32, 3)), r"rotation of the train split of .* \(32, 4\), found"),
        ("rotation", np.zeros((32, 4)), "unit quaternions .* one has length 0:"),
        ("rotation", 2 * np.eye(4)[np.arange(32) % 4], "unit quaternions .* one has length 2:"),
        ("floor_hue", np.zeros(5), r"of shape \(32,\), found \(5,\)"),
        ("translation", np.zeros((32, 2)), r"of shape \(32, 3\)"),
    ],
)
def test_factors_that_can_be_no_draws_are_refused(tree, factor, values, match):
    made = data.load(name="3diebench", directory=tree, size=8, validation=0.0)
    split = made.splits["train"]
    changed = split._replace(factors={**split.factors, factor: values})
    with pytest.raises(ValueError, match=match):
        parts = ("turn", "floor", "light", "shift")
        objects_of(made._replace(splits={"train": changed}), "train", parts, (0, 1))
