"""Squares around boxes."""

import itertools

import numpy as np
import pytest
from tiny_cells import photograph
from tiny_tfds import encode

from eqssl_jax.data import boxes
from eqssl_jax.data.boxes import Box, Boxed


def test_a_square_contains_its_box_lies_inside_and_is_as_central_as_can_be():
    rng = np.random.default_rng(0)
    for margin, (width, height) in itertools.product((0.0, 0.3), ((60, 40), (40, 60))):
        for _ in range(100):
            left, right = np.sort(rng.choice(width + 1, 2, replace=False))
            top, bottom = np.sort(rng.choice(height + 1, 2, replace=False))
            x, y, side = boxes.square(
                Box(left, top, right, bottom), width=width, height=height, margin=margin
            )
            assert 0 <= x <= width - side and 0 <= y <= height - side
            longest = max(right - left, bottom - top)
            assert side == min(round(longest * (1 + margin)), 40)
            if longest <= 40:
                assert x <= left and right <= x + side and y <= top and bottom <= y + side
            # No other position inside is nearer to the middle of the box by a pixel.
            best = np.abs(np.arange(width - side + 1) + side / 2 - (left + right) / 2).min()
            assert abs(x + side / 2 - (left + right) / 2) <= best + 0.5


def test_crops_hold_the_pixels_of_the_photograph_in_the_order_of_the_boxes():
    boxed = [
        Boxed("b", "RBC", Box(10, 12, 18, 20)),
        Boxed("a", "RBC", Box(0, 0, 8, 8)),
        Boxed("b", "RBC", Box(56, 40, 64, 48)),
    ]
    reads = []

    def reader(name):
        return lambda: reads.append(name) or encode(photograph(7 if name == "a" else 9))

    pixels, kept = boxes.crops(
        boxed, {name: reader(name) for name in "ab"}, size=8, margin=0.0, corrupt="error"
    )
    assert pixels.shape == (3, 8, 8, 3) and pixels.dtype == np.uint8 and kept.tolist() == [0, 1, 2]
    for crop, box in zip(pixels, boxed, strict=True):
        left, top, *_ = (int(edge) for edge in box.box)
        whole = photograph(7 if box.path == "a" else 9)
        np.testing.assert_array_equal(crop, whole[top : top + 8, left : left + 8])
    assert sorted(reads) == ["a", "b"]  # every photograph once


def test_crops_at_the_border_are_shifted_inside_and_nothing_is_invented():
    read = {"a": lambda: encode(photograph(7))}
    pixels, _ = boxes.crops(
        [Boxed("a", "RBC", Box(60, 44, 64, 48))], read, size=8, margin=1.0, corrupt="error"
    )
    np.testing.assert_array_equal(pixels[0], photograph(7)[40:, 56:])


def test_wrong_boxes_are_named_together():
    read = {"a": lambda: encode(photograph(7))}
    boxed = [
        Boxed("a", "RBC", Box(0, 0, 8, 8)),
        Boxed("a", "WBC", Box(5, 5, 5, 9)),
        Boxed("a", "RBC", Box(60, 0, 65, 8)),
    ]
    with pytest.raises(ValueError) as error:
        boxes.crops(boxed, read, size=8, margin=0.0, corrupt="error")
    assert "WBC of a (5, 5, 5, 9) without area" in str(error.value)
    assert "RBC of a (60, 0, 65, 8) outside the photograph of 64 × 48" in str(error.value)
