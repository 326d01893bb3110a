"""Rotations of point clouds: rotations they are, uniform, and geodesic along a ladder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import drawn

from eqssl_jax import transforms as t
from eqssl_jax import views

POINTS = jax.random.normal(jax.random.key(0), (7, 3))
TURN = t.rotate3d()
APPLY = jax.jit(TURN.apply)


@jax.jit
def images_of_axes(vectors):
    return jax.vmap(lambda r: TURN.apply({"rotation": r}, jnp.eye(3)))(vectors)


def matrices(vectors):
    """[n, 3, 3] with R x for column vectors x, from the images of the axes."""
    return np.swapaxes(np.asarray(images_of_axes(vectors)), 1, 2)


def test_draws_are_proper_rotations_and_uniform():
    sample = jax.jit(lambda key: jax.vmap(TURN.sample)(jax.random.split(key, 4000)))
    vectors = np.asarray(sample(jax.random.key(1))["rotation"])
    rotations = matrices(vectors)
    eye = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ np.swapaxes(rotations, 1, 2), eye, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-5)
    # Haar measure: E R = 0, E tr(R)² = 1; 4 standard errors.
    assert np.abs(rotations.mean(axis=0)).max() < 4 * (1 / 3 / 4000) ** 0.5
    assert abs((np.trace(rotations, axis1=1, axis2=2) ** 2).mean() - 1) < 4 * (2 / 4000) ** 0.5
    assert np.linalg.norm(vectors, axis=1).max() <= np.pi + 1e-5


def test_a_quarter_turn_about_z_is_counter_clockwise():
    turned = APPLY({"rotation": jnp.array([0, 0, np.pi / 2])}, jnp.eye(3)[:1])
    np.testing.assert_allclose(turned, [[0, 1, 0]], atol=1e-6)


def test_ladders_walk_the_geodesic():
    params, _ = drawn(views.ViewSpec(TURN, views.ladder(5, spacing="even")), 1, seed=2)
    steps = matrices(params["rotation"][:, 0])
    np.testing.assert_allclose(steps[0], np.eye(3), atol=1e-6)
    for k in range(4):  # equal steps of one rotation
        np.testing.assert_allclose(steps[k + 1] @ steps[k].T, steps[1], atol=1e-5)


def test_identity_is_exact_and_gradients_there_finite():
    np.testing.assert_array_equal(APPLY(TURN.identity, POINTS), POINTS)
    slope = jax.jit(jax.grad(lambda r: TURN.apply({"rotation": r}, POINTS).sum()))(jnp.zeros(3))
    across = np.cross(np.eye(3)[:, None], np.asarray(POINTS)[None]).sum(axis=(1, 2))
    np.testing.assert_allclose(slope, across, atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="radians"):
        t.rotate3d(180)
    with pytest.raises(ValueError, match="point cloud"):
        t.rotate3d().apply(t.rotate3d().identity, jnp.ones((2, 4)))
