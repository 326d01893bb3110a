"""The same images, classified by what does or does not change with hue and angle."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.data import outlines as shape_tasks

SIZES = {"train_size": 600, "test_size": 200, "out_of_range_size": 100}


@functools.cache
def load(task: str = "outline", outlines: int | None = None) -> data.Dataset:
    return data.load(name="shapes", task=task, outlines=outlines, **SIZES)


@pytest.mark.parametrize(("task", "stop"), [("hue", 0.75), ("angle", 1.5 * math.pi)])
def test_the_label_is_the_sixth_of_the_range_and_the_images_stay(task, stop):
    dataset = load(task)
    assert len(dataset.classes) == 6 and len(set(dataset.classes)) == 6
    for name in ("train", "validation", "test"):
        split = dataset.splits[name]
        edges = np.linspace(0, stop, 7)
        for label, value in zip(split.labels, split.factors[task], strict=True):
            assert edges[label] <= value < edges[label + 1]
        assert split.labels.dtype == np.int32
        usual = load().splits[name]
        np.testing.assert_array_equal(split.pool["index"], usual.pool["index"])
        np.testing.assert_array_equal(split.factors["x"], usual.factors["x"])
    assert np.bincount(dataset.splits["train"].labels, minlength=6).min() > 40


def test_unseen_hues_and_angles_have_no_class_but_their_factors():
    for task in ("hue", "angle"):
        outside = load(task).splits["out_of_range"]
        assert outside.labels is None
        np.testing.assert_array_equal(
            outside.factors[task], load().splits["out_of_range"].factors[task]
        )
    assert load().splits["out_of_range"].labels is not None


def test_the_hue_says_nothing_of_the_outline_and_the_angle_nothing_of_the_hue():
    table = np.zeros((10, 6, 6))
    by_hue, by_angle = (load(task).splits["train"].labels for task in ("hue", "angle"))
    np.add.at(table, (load().splits["train"].labels, by_hue, by_angle), 1)
    for axis in range(3):
        joint = table.sum(axis)
        expected = np.outer(joint.sum(1), joint.sum(0)) / joint.sum()
        degrees = (joint.shape[0] - 1) * (joint.shape[1] - 1)
        # Pearson's χ² of independent factors: its mean is `degrees`, its variance twice that.
        assert ((joint - expected) ** 2 / expected).sum() < degrees + 4 * math.sqrt(2 * degrees)


def test_fewer_outlines_leave_all_else_of_an_image_as_it_is():
    few, usual = load(outlines=2), load()
    assert few.classes == usual.classes[:2]
    train = few.splits["train"]
    assert np.bincount(train.labels).min() > 200 and train.labels.max() == 1
    for factor, values in usual.splits["train"].factors.items():
        np.testing.assert_array_equal(train.factors[factor], values)
    indices = jnp.arange(40)
    labels = np.stack([train.labels, usual.splits["train"].labels])[:, :40]
    images = [np.asarray(d.splits["train"].read(d.splits["train"].pool, indices))
              for d in (few, usual)]  # fmt: skip
    same = np.abs(images[0] - images[1]).mean((1, 2, 3)) < 1e-3
    np.testing.assert_array_equal(same, labels[0] == labels[1])


def test_one_outline_can_be_told_by_hue_or_angle_but_not_by_outline():
    assert set(load("angle", 1).splits["train"].labels) == set(range(6))
    with pytest.raises(ValueError, match="draws 2 to 10 outlines"):
        data.load(name="shapes", outlines=1, **SIZES)


def test_the_end_of_the_range_is_in_the_last_bin():
    assert shape_tasks.bins(np.float32([0.7499999, 0.75]), 0.75).tolist() == [5, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "colour"}, "task is 'colour'; .*'outline', 'hue'"),
        ({"outlines": 11}, "outlines is 11; .* from 1 to 10"),
        ({"outlines": 2.5}, "outlines is 2.5"),
        ({"task": "hue", "outlines": 0}, "outlines is 0"),
    ],
)
def test_unknown_tasks_and_numbers_of_outlines_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.load(name="shapes", **SIZES, **options)
