"""Handwritten digits, drawn: who shows what where, and what is kept apart."""

import colorsys
import functools

import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.data import digits


@functools.cache
def load(**options):
    return data.load(name="digits", train_size=2000, test_size=400, on_device=False, **options)


def shown(split):
    """The originals of a split's images, read off its examples' numbers."""
    numbers = [int(name.rsplit(" ", 1)[1]) for name in split.names(np.arange(split.size))]
    return {number % (1797 - digits.TEST) for number in numbers}


def test_images_are_a_function_of_seed_and_index_at_every_size_of_the_set():
    train = load().splits["train"]
    wanted = np.array([3, 700, 3])
    images = train.load(wanted)
    assert images.shape == (3, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[0], images[2])
    fewer = data.load(name="digits", train_size=1900, test_size=40, on_device=False)
    position = {name: i for i, name in enumerate(fewer.splits["train"].names(np.arange(1500)))}
    common = np.array([i for i in range(40) if train.names(np.array([i]))[0] in position])
    rows = np.array([position[name] for name in train.names(common)])
    np.testing.assert_array_equal(fewer.splits["train"].load(rows), train.load(common))
    other = load(seed=1).splits["train"]
    assert (other.load(wanted[:1]) != images[0]).mean() > 0.5
    assert np.abs(other.factors["hue"][:100] - train.factors["hue"][:100]).max() > 0.3


def test_no_original_is_in_two_splits_and_their_factor_is_not_measured():
    splits = load().splits
    kept, held = shown(splits["train"]), shown(splits["validation"])
    assert not kept & held
    assert 150 < splits["validation"].size < 250
    assert set(splits["train"].factors) == set(digits.FACTORS) == set(splits["test"].factors)
    _, labels = digits.originals()
    np.testing.assert_array_equal(splits["test"].labels, labels[-360:][np.arange(400) % 360])


def test_the_ink_has_the_hue_and_the_turn_that_the_factors_say():
    ink = np.zeros((8, 8))
    ink[1:7, 3:5] = 1.0  # an upright stroke
    for number in range(8):
        drawn, _ = digits.scene((0, 0, number))
        image = digits.draw(ink, (0, 0, number), 64) / 255.0
        column, row = int(drawn["x"] * 64), int(drawn["y"] * 64)
        hue = colorsys.rgb_to_hsv(*image[row - 1 : row + 2, column - 1 : column + 2].mean((0, 1)))[
            0
        ]
        assert min(abs(hue - drawn["hue"]), 1 - abs(hue - drawn["hue"])) < 0.03
        cover = digits._cover(ink, drawn, *_place(drawn, 64))
        rows, columns = np.nonzero(cover > 0.5)
        slope = np.polyfit(rows, columns, 1)[0]  # a counter-clockwise turn takes the top left
        assert np.arctan(slope) == pytest.approx(drawn["tilt"], abs=0.06)


def _place(drawn, side):
    grid = (np.arange(side) + 0.5) / side
    return grid[None, :] - drawn["x"], drawn["y"] - grid[:, None]


def test_what_cannot_be_drawn_is_refused():
    for options, message in (
        ({"directory": "/tmp"}, "no directory"),
        ({"size": 4}, "below 8 pixels"),
        ({"train_size": 5}, "class"),
        ({"outlines": 4}, "outlines"),
    ):
        with pytest.raises(ValueError, match=message):
            data.load(name="digits", **options)


def test_originals_are_those_that_scikit_learn_loads():
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    ink, classes = digits.originals()
    np.testing.assert_array_equal(ink.reshape(len(levels), 64) * 16, levels)
    np.testing.assert_array_equal(classes, labels)
