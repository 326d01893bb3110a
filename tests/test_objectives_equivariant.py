"""What rival equivariant objectives refuse, and laws that their reference values do not show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import measures, transforms
from eqssl_jax.objectives.equivariant import augself, context, essl, ser, sie, stl
from eqssl_jax.objectives.equivariant.layers import Layer, dense, hypernetwork

ROWS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stl.transformation(ROWS[:3], ROWS[:3], lambda x: x), "even, found 3 rows"),
        (lambda: context.loss(ROWS[:5]), "pairs of rows"),
        (lambda: ser.loss(ROWS, ROWS, positions=4), "positions of two or more images, found 6"),
        (lambda: sie.terms(ROWS, ROWS, ROWS), "equivariant part only"),
        (lambda: hypernetwork(jnp.ones((16, 3)), jnp.ones((6, 2)), ROWS), "shape .16, 2."),
        (lambda: dense(ROWS, Layer(jnp.ones((2, 3)))), "takes rows"),
        (lambda: essl.cross_view(ROWS, ROWS, temperature=0.0), "temperature must be positive"),
        (lambda: augself.difference_loss(ROWS[:, :1], ROWS[:, 0]), "needs a last axis"),
        (lambda: augself.loss({"crop": jnp.zeros(())}, {"grey": 1.0}), "grey"),
        (lambda: measures.view_ranks(ROWS[None], ROWS), "one shape"),
        (lambda: measures.nearest_views(ROWS, ROWS[:, :2]), "must be"),
        (lambda: measures.nearest_views(ROWS, ROWS[:0]), "nothing to look for"),
        (lambda: measures.prediction_retrieval_error(np.eye(4), 2 * np.eye(4)), "length 2"),
        (lambda: measures.r2(ROWS, ROWS, average="mean"), "variance_weighted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_relative_poses_compose_and_have_one_sign():
    angles = jnp.asarray(np.random.default_rng(1).uniform(-3, 3, (2, 50, 3)), jnp.float32)
    first, second = np.asarray(jax.jit(transforms.quaternion_from_euler)(angles))
    relative_quaternion = jax.jit(transforms.relative_quaternion)
    change = np.asarray(relative_quaternion(first, second))
    assert change[:, 3].min() >= 0
    np.testing.assert_allclose(change, relative_quaternion(-first, second), atol=1e-6)
    matrix = jax.jit(transforms.matrix_from_quaternion)
    r1, r2, relative = (np.asarray(matrix(q)) for q in (first, second, change))
    np.testing.assert_allclose(r1 @ relative, r2, atol=2e-6)
    identity = relative_quaternion(first, first)
    np.testing.assert_allclose(identity, np.tile([0, 0, 0, 1], (50, 1)), atol=1e-6)


def test_a_collapsed_embedding_ranks_views_in_the_middle():
    same = np.ones((2, 5, 3))
    assert measures.view_ranks(same, same).tolist() == [[3.0] * 5] * 2


def test_contextssl_gives_no_gradient_to_what_points_apart():
    z = jnp.array([[1.0, 0.0], [-1.0, 0.1], [-0.1, -1.0], [-0.1, 1.0]])
    gradient = np.asarray(jax.jit(jax.grad(context.loss))(z))
    assert not gradient[0].any()  # it has a negative cosine with every other row
    assert gradient[1].any()
