"""Floors of a comparison are measured once, where they are the same."""

import numpy as np

from eqssl_jax.experiment import subjects as floors
from eqssl_jax.measures import Arrays


def test_floors_of_an_earlier_run_stand_beside_the_own_encoder():
    def given(names, value):
        result = {
            "encoders": {name: {"knn": {"value": value}} for name in names},
            "spectrum": dict.fromkeys(names, value),
            "chance": {"knn": 0.1, f"only_{value}": 0.5},
            "skipped": {},
            "settings": {"batch": value},
        }
        cosines = {name: np.full(2, value) for name in names}
        drawn = {"card": ("where", dict.fromkeys(names, value))}
        arrays = Arrays(cosines, "test", None, np.zeros(0, int), {}, {}, figures=drawn)
        return result, arrays

    measured, first = given(["trained"], 2), given(["trained", "random", "pixels"], 1)
    result, arrays = floors.merged(measured, first, ["random", "pixels"])
    assert list(result["encoders"]) == ["trained", "random", "pixels"]
    assert [cell["knn"]["value"] for cell in result["encoders"].values()] == [2, 1, 1]
    assert result["spectrum"] == {"trained": 2, "random": 1, "pixels": 1}
    assert result["settings"] == {"batch": 2} and set(result["chance"]) > {"only_1", "only_2"}
    assert arrays.cosines["pixels"][0] == 1 and arrays.cosines["trained"][0] == 2
    assert arrays.figures["card"][1] == {"trained": 2, "random": 1, "pixels": 1}
    assert measured[0]["encoders"].keys() == {"trained"}  # the inputs stay as they were
