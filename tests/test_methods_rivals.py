"""Rival equivariant methods as cards: they train, share draws as they say, and refuse bad input."""

import jax
import numpy as np
import pytest
import tiny_methods
from ml_collections import ConfigDict
from toys import drawn

from eqssl_jax import methods, transforms


@pytest.mark.parametrize("name", ["stl", "essl"])
def test_twenty_steps_are_finite_and_lower_the_loss(name):
    found = tiny_methods.train((name,), devices=1)
    assert all(np.isfinite(value).all() for value in found.values())
    losses = found["metrics.loss"]
    assert losses[-5:].mean() < losses[:5].mean()


def test_pairs_of_stl_share_all_but_flip_and_blur():
    built = tiny_methods.build("stl")
    spec = built.views["contrast"]
    params = drawn(spec, 8).params
    top, flip = np.asarray(params["crop"]["top"]), np.asarray(params["flip"]["flip"])
    np.testing.assert_array_equal(top[:, ::2], top[:, 1::2])
    assert len(np.unique(top)) > 4  # both views, and every pair, draw anew
    assert (flip[:, ::2] != flip[:, 1::2]).any()


def test_stl_needs_an_even_batch():
    config = tiny_methods.settings_of("stl")
    config.train.batch_size = 7
    with pytest.raises(ValueError, match=r"config\.train.batch_size is 7: make it even"):
        methods.build(config)


def test_the_rotated_view_of_essl_may_be_smaller():
    config = tiny_methods.settings_of("essl")
    config.objectives.essl.recipe_options = ConfigDict({"size": 4})
    spec = methods.build(config).views["essl_turns"]
    params = drawn(spec, 3).params
    image = np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32)
    apply = jax.jit(spec.transform.apply)
    views = [
        np.asarray(apply(jax.tree.map(lambda leaf, k=k: leaf[k, 1], params), image))
        for k in range(4)
    ]
    assert views[0].shape == (4, 4, 3)
    for k, view in enumerate(views):
        np.testing.assert_array_equal(view, np.rot90(views[0], k))


def test_quarter_turns_need_a_square():
    with pytest.raises(ValueError, match="square"):
        transforms.quarter_turn().apply({"turns": 1}, np.zeros((4, 5, 3), np.float32))
