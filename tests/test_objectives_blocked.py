"""InfoNCE block by block: plain value and gradient, a fraction of the memory, on any mesh."""

import jax
import numpy as np
import pytest

from eqssl_jax.objectives import (
    blocked,
    hyperbolic,
    hyperboloid,
    info_nce,
    inner_product,
    uniformity,
    unit,
)

PLACES = {"sphere": (unit, inner_product), "hyperboloid": (hyperboloid, hyperbolic)}


def draw(seed: int, count: int, dimension: int = 5) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2, count, dimension))


def loss(function, place: str = "sphere", **options):
    lift, similarity = PLACES[place]

    def value(embeddings):
        return function(*lift(embeddings), similarity=similarity, **options)

    return jax.value_and_grad(value)


def assert_same(found, expected, tolerance: float = 1e-6) -> None:
    """Values, and gradients in norm, to a relative tolerance."""
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance)
    error = np.linalg.norm(found[1] - expected[1]) / np.linalg.norm(expected[1])
    assert error < tolerance


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", [info_nce, uniformity])
@pytest.mark.parametrize(("count", "block", "blocks"), [(12, 4, 3), (13, 5, 3), (12, 1, 12)])
def test_equals_the_plain_form_in_value_and_gradient(function, place, count, block, blocks):
    assert blocked.block_count(count, block) == blocks
    x = 2 * draw(0, count)
    expected = loss(function, place, temperature=0.1)(x)
    assert_same(loss(function, place, temperature=0.1, block=block)(x), expected)
