"""Heads: a pair of pure functions, equal to NumPy, with statistics of each view."""

import jax
import numpy as np
import pytest

from eqssl_jax.encoders import mlp


def test_equals_numpy_view_by_view():
    head = mlp((7, 4))
    params = head.init(jax.random.key(0), 5)
    x = np.asarray(jax.random.normal(jax.random.key(1), (3, 6, 5)), np.float32)
    outputs = jax.jit(head.apply)(params, x)
    for v in range(3):
        hidden = x[v] @ np.asarray(params["dense1"]["kernel"])
        hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
        expected = np.maximum(hidden, 0) @ np.asarray(params["dense2"]["kernel"])
        np.testing.assert_allclose(
            outputs[v], expected + np.asarray(params["dense2"]["bias"]), atol=1e-5
        )


def test_without_batch_norm_hidden_layers_have_a_bias():
    params = mlp((7, 4), batch_norm=False, bias=False).init(jax.random.key(0), 5)
    shapes = jax.tree.map(lambda leaf: leaf.shape, params)
    assert shapes == {"dense1": {"kernel": (5, 7), "bias": (7,)}, "dense2": {"kernel": (7, 4)}}


def test_no_layers_is_the_identity():
    head = mlp(())
    x = np.ones((2, 3), np.float32)
    assert (head.apply(head.init(jax.random.key(0), 3), x) == x).all()


def test_bad_widths():
    with pytest.raises(ValueError, match=r"mlp takes widths.*\(3, -1\)"):
        mlp((3, -1))
