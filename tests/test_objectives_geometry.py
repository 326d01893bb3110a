"""The hyperboloid and its contrastive losses: Lorentz invariance, loops, coincident points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.objectives import (
    GEOMETRIES,
    alignment,
    hyperbolic,
    hyperboloid,
    info_nce,
    inner_product,
    minkowski_form,
    uniformity,
    unit,
)

K, N = 3, 6
B = minkowski_form(K + 1)


def spread(seed: int, scale: float = 1.0) -> jax.Array:
    return scale * jax.random.normal(jax.random.key(seed), (N, K))


def lorentz() -> np.ndarray:
    """A boost between two rotations of space."""
    rng, boost = np.random.default_rng(0), np.eye(K + 1)
    boost[0, 0] = boost[1, 1] = np.cosh(0.9)
    boost[0, 1] = boost[1, 0] = np.sinh(0.9)
    first, second = np.eye(K + 1), np.eye(K + 1)
    first[1:, 1:], second[1:, 1:] = np.linalg.qr(rng.normal(size=(2, K, K)))[0]
    return (first @ boost @ second).astype(np.float32)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    """In float64, by the chord: ‖x − y‖² in the Minkowski form is 4 sinh²(d / 2)."""
    gap = np.asarray(x, np.float64) - np.asarray(y, np.float64)
    return float(2 * np.arcsinh(np.sqrt(max(gap @ B @ gap, 0)) / 2))


def lifted(seed: int, scale: float = 1.0) -> np.ndarray:
    v = np.asarray(spread(seed, scale), np.float64)
    return np.concatenate([np.sqrt(1 + np.sum(v**2, axis=1, keepdims=True)), v], axis=1)


def test_lifts_are_on_the_upper_sheet():
    z = np.asarray(hyperboloid(spread(0, 2.0)), np.float64)
    np.testing.assert_allclose(np.einsum("nd,de,ne->n", z, B, z), -1, atol=1e-4)
    assert (z[:, 0] >= 1).all()
    np.testing.assert_array_equal(z[:, 1:], spread(0, 2.0))


def test_a_lorentz_map_carries_lifts_to_lifts_and_keeps_distances():
    z, a = hyperboloid(spread(1)), lorentz()
    moved = z @ a.T
    np.testing.assert_allclose(hyperboloid(moved[:, 1:]), moved, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        hyperbolic.matrix(moved, moved), hyperbolic.matrix(z, z), rtol=1e-3, atol=3e-3
    )
    assert np.abs(moved - z).max() > 0.5


def test_the_distance_from_the_origin_is_arsinh():
    v = spread(2)
    origin = jnp.zeros_like(v)
    expected = -np.arcsinh(np.linalg.norm(v, axis=1))
    distances = hyperbolic.pairs(hyperboloid(v), hyperboloid(origin))
    np.testing.assert_allclose(distances, expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_hyperbolic_losses_equal_a_double_loop(scale):
    z1, z2 = lifted(3, scale), lifted(4, scale)
    z, temperature = np.concatenate([z1, z2]), 0.5
    nce, unif, inv = [], [], []
    for i in range(2 * N):
        partner = (i + N) % (2 * N)
        positive = -distance(z[i], z[partner]) / temperature
        others = [
            np.exp(-distance(z[i], z[j]) / temperature)
            for j in range(2 * N)
            if j not in (i, partner)
        ]
        nce.append(np.log(np.exp(positive) + sum(others)) - positive)
        unif.append(np.log(sum(others)))
        inv.append(-positive)
    points = jnp.asarray(z1, jnp.float32), jnp.asarray(z2, jnp.float32)
    losses = [
        jax.jit(lambda a, b, f=f: f(a, b, temperature=temperature, similarity=hyperbolic))(*points)
        for f in (info_nce, uniformity, alignment)
    ]
    np.testing.assert_allclose(losses, [np.mean(nce), np.mean(unif), np.mean(inv)], rtol=1e-4)


def test_info_nce_does_not_see_a_lorentz_map_of_all_points_but_sees_one_of_a_view():
    z1, z2, a = hyperboloid(spread(5)), hyperboloid(spread(6)), lorentz()
    value = info_nce(z1, z2, similarity=hyperbolic)
    np.testing.assert_allclose(
        info_nce(z1 @ a.T, z2 @ a.T, similarity=hyperbolic), value, rtol=1e-3
    )
    assert abs(float(info_nce(z1, z2 @ a.T, similarity=hyperbolic) - value)) > 0.05


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-3, 1.0, 30.0, 1e4])
def test_value_and_gradient_are_finite_at_coincident_and_at_far_points(scale):
    place = GEOMETRIES["hyperboloid"].place
    same = scale * jnp.ones((N, K))
    for v in (same, spread(7, scale)):
        value, slope = jax.jit(
            jax.value_and_grad(lambda v: info_nce(place(v), place(v), similarity=hyperbolic))
        )(v)
        assert jnp.isfinite(value)
        assert jnp.isfinite(slope).all()
        assert float(jnp.abs(slope).max()) < 1e3
    assert hyperbolic.pairs(hyperboloid(0.1 * same), hyperboloid(0.1 * same)).max() <= 0


def test_a_step_down_the_gradient_brings_positives_together():
    v = jnp.stack([spread(8), spread(9)])

    def loss(v):
        return info_nce(*hyperboloid(v), temperature=0.2, similarity=hyperbolic)

    slope, start = jax.jit(jax.grad(loss)), loss(v)
    for _ in range(100):
        v = v - 0.05 * slope(v)
    assert loss(v) < 0.5 * start


def test_the_sphere_is_the_default_bit_for_bit():
    z1, z2 = unit(spread(10)), unit(spread(11))
    for f in (info_nce, alignment, uniformity):
        assert f(z1, z2) == f(z1, z2, similarity=inner_product)
    logits = jnp.matmul(z1, z1.T, precision=jax.lax.Precision.HIGHEST)
    np.testing.assert_array_equal(inner_product.matrix(z1, z1), logits)


def test_projector_outputs_of_variance_one_start_near_the_origin_whatever_the_width():
    place = GEOMETRIES["hyperboloid"].place
    for width in (4, 400):
        z = place(jax.random.normal(jax.random.key(12), (1000, width)))
        assert z.shape == (1000, width + 1)
        assert abs(float(jnp.arccosh(z[:, 0]).mean()) - np.arcsinh(1)) < 0.1
