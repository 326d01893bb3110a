"""The figure of steering: a row for each part, and a word about what is missing."""

import numpy as np
from PIL import Image

from eqssl_jax.figures import steering
from eqssl_jax.figures.augmentations import BANKS, BARS, ERRORS


def part(draws=6):
    rng = np.random.default_rng(draws)
    names = [*ERRORS, *(bank + suffix for bank in BANKS for suffix in BARS)]
    measures = {name: rng.uniform(size=draws).tolist() for name in names}
    return {
        "magnitude": np.arange(draws),
        "measures": measures,
        "chance": dict.fromkeys(BANKS, 0.1),
    }


def test_a_row_for_each_part(tmp_path):
    sizes = []
    for count in (1, 2):
        steering({f"part {i}": part() for i in range(count)}, tmp_path / "steering.png")
        with Image.open(tmp_path / "steering.png") as picture:
            sizes.append(picture.size)
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] > sizes[0][1] + 300
