"""CARE's Gram match: reference values, a NumPy loop, and the theory it rests on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax.objectives import orthogonal_equivariance, unit


def sphere(seed: int, *shape: int) -> jax.Array:
    return unit(jax.random.normal(jax.random.key(seed), shape))


def orthogonal(seed: int, dimension: int) -> jax.Array:
    return jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (dimension, dimension)))[0]


def by_loops(z1: np.ndarray, z2: np.ndarray, groups: int) -> float:
    per_group = []
    for a, b in zip(np.split(z1, groups), np.split(z2, groups), strict=True):
        sums = [
            sum((a[i] @ a[j] - b[i] @ b[j]) ** 2 for j in range(len(a)) if j != i)
            for i in range(len(a))
        ]
        per_group.append(2 * np.mean(sums))
    return float(np.mean(per_group))


@pytest.mark.parametrize("case", range(4))
def test_reference_values_and_gradients(golden, case):
    reference = {k[2:]: v for k, v in golden("care_losses").items() if k.startswith(f"{case}_")}
    z1, z2 = jnp.asarray(reference["z1"]), jnp.asarray(reference["z2"])
    groups = int(reference["chunks"])
    match = partial(orthogonal_equivariance, groups=groups)
    value, gradients = jax.jit(jax.value_and_grad(match, (0, 1)))(z1, z2)
    np.testing.assert_allclose(value, reference["equivariance"], rtol=1e-5)
    for gradient, name in zip(gradients, ("z1", "z2"), strict=True):
        expected = reference[f"equivariance_grad_{name}"]
        assert np.linalg.norm(gradient - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_equals_a_double_loop(groups):
    z1, z2 = sphere(0, 8, 3), sphere(1, 8, 3)
    expected = by_loops(np.asarray(z1, np.float64), np.asarray(z2, np.float64), groups)
    np.testing.assert_allclose(orthogonal_equivariance(z1, z2, groups=groups), expected, rtol=1e-5)


def test_zero_when_an_orthogonal_map_relates_the_views():
    z1 = sphere(2, 12, 4)
    for reflect in (False, True):
        rotation = orthogonal(3, 4)
        rotation = rotation.at[0].multiply(-1.0) if reflect else rotation
        assert orthogonal_equivariance(z1, z1 @ rotation) < 1e-11


def test_zero_loss_gives_the_orthogonal_map():
    """Minimise the loss over free points; the Procrustes map then carries z1 onto z2."""
    z1, start = sphere(4, 10, 3), sphere(5, 10, 3)

    def loss(z: jax.Array) -> jax.Array:
        return orthogonal_equivariance(z1, unit(z))

    def descend(z: jax.Array, _: None) -> tuple[jax.Array, None]:
        return z - 0.2 * jax.grad(loss)(z), None

    z2 = unit(jax.jit(lambda start: jax.lax.scan(descend, start, None, 2000)[0])(start))
    assert loss(start) > 0.5
    assert loss(z2) < 1e-9
    u, _, vt = np.linalg.svd(np.asarray(z2.T @ z1))
    residual = np.asarray(z2) - np.asarray(z1) @ (u @ vt).T
    assert np.abs(residual).max() < 1e-3


def test_each_group_may_turn_its_own_way_but_not_two_ways_at_once():
    z1 = sphere(6, 8, 4)
    z2 = jnp.concatenate([z1[:4] @ orthogonal(7, 4), z1[4:] @ orthogonal(8, 4)])
    assert orthogonal_equivariance(z1, z2, groups=2) < 1e-11
    assert orthogonal_equivariance(z1, z2, groups=1) > 1e-2


def test_positive_for_linear_maps_that_are_not_orthogonal():
    z1 = sphere(9, 12, 4)
    stretch = jnp.diag(jnp.array([2.0, 1.0, 1.0, 1.0]))
    assert orthogonal_equivariance(z1, unit(z1 @ stretch)) > 1e-2


def test_composition_of_fitted_rotations():
    """If the embeddings span R^d, R_{a'a} = R_{a'} R_a for exactly equivariant embeddings."""
    z, first, second = sphere(10, 9, 4), orthogonal(11, 4), orthogonal(12, 4)

    def fit(source: jax.Array, target: jax.Array) -> jax.Array:
        u, _, vt = jnp.linalg.svd(target.T @ source)
        return u @ vt

    once, twice = z @ first.T, z @ first.T @ second.T
    np.testing.assert_allclose(fit(z, twice), fit(z, z @ second.T) @ fit(z, once), atol=1e-5)


def test_low_loss_bound():
    """Gram differences of at most ε⁴ in sum put the views within (1 + √2)‖A⁺‖ε² of a rotation."""
    a = np.asarray(sphere(13, 20, 3), np.float64)
    for scale in (1e-2, 1e-3):
        noise = np.random.default_rng(0).normal(size=a.shape)
        b = a @ np.asarray(orthogonal(14, 3), np.float64) + scale * noise
        epsilon2 = np.linalg.norm(a @ a.T - b @ b.T)  # ε²
        inverse = np.linalg.norm(np.linalg.pinv(a), 2)
        assert inverse * np.sqrt(epsilon2) <= 1 / np.sqrt(2)
        u, _, vt = np.linalg.svd(b.T @ a)
        assert np.linalg.norm(b - a @ (u @ vt).T) <= (1 + np.sqrt(2)) * inverse * epsilon2


def test_rows_that_are_not_of_length_one_are_refused_where_values_are_known():
    z = sphere(16, 8, 3)
    for wrong, lengths in ((2 * z, "from 2 to 2"), (z.at[1].set(jnp.nan), "nan")):
        with pytest.raises(ValueError, match=rf"rows of z2 .*{lengths}.*objectives\.unit"):
            orthogonal_equivariance(z, wrong)
    assert orthogonal_equivariance(z.astype(jnp.bfloat16), z) < 1e-2  # rounding is no error
    assert jax.jit(orthogonal_equivariance)(z, 2 * z) > 1  # cannot be seen there


def test_float32_for_bfloat16_and_finite_gradient_at_coincident_points():
    z = jnp.broadcast_to(sphere(15, 1, 4), (6, 4))
    assert orthogonal_equivariance(z.astype(jnp.bfloat16), z).dtype == jnp.float32
    assert jnp.isfinite(jax.jit(jax.grad(lambda a: orthogonal_equivariance(a, z)))(z)).all()


@pytest.mark.parametrize("groups", [0, 3, 8])
def test_bad_groups(groups):
    with pytest.raises(ValueError, match="equal groups"):
        orthogonal_equivariance(jnp.ones((8, 2)), jnp.ones((8, 2)), groups=groups)


def test_bad_shapes():
    with pytest.raises(ValueError, match="same shape"):
        orthogonal_equivariance(jnp.ones((8, 2)), jnp.ones((8, 3)))
