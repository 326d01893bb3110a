"""Encoders of the user's: modules that know nothing of views, and what is refused."""

import sys
from functools import cache, partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import encoders

KEY, N, V = jax.random.key(0), 4, 3
IMAGES = jax.random.uniform(jax.random.key(1), (N * V, 4, 4, 3))


class Normed(nn.Module):
    """What a user writes who never heard of views: 14 lines of plain flax."""

    width: int = 8

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.Conv(self.width, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, use_fast_variance=False)(x)
        self.sow("intermediates", "layers", x)
        return nn.relu(x).mean(axis=(1, 2))


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(0.5, deterministic=not train)(x.reshape(x.shape[0], -1))
        return nn.Dense(6)(x)


class Maps(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Conv(4, (3, 3))(x)


class Deterministic(nn.Module):
    def __call__(self, x, deterministic):
        return x


class Undefined(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(3)(x) / jnp.sum(0 * x)


class Cached(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        self.variable("cache", "seen", jnp.zeros, (1,))
        return x.reshape(x.shape[0], -1)


sys.modules["my_encoders"] = SimpleNamespace(
    Normed=Normed,
    instance=Normed(width=5),
    factory=lambda: Plain(),
    Maps=Maps,
    Deterministic=Deterministic,
    Undefined=Undefined,
    Cached=Cached,
    needy=lambda width: Normed(width),
    number=7,
    broken=lambda: 1 // 0,
    text=lambda: "resnet",
)


def build(attribute):
    return encoders.build(
        encoder=f"my_encoders:{attribute}", projector=(), mean=(0.5,) * 3, std=(0.25,) * 3
    )


@cache
def normed():
    network = build("Normed")
    return network, network.init(KEY, (4, 4, 3))


@partial(jax.jit, static_argnums=0, static_argnames="views")
def train(network, variables, x, *, views=1, key=None):
    parts = variables["params"], variables["batch_stats"]
    return network.apply(*parts, x, views=views, train=True, key=key)


def test_each_view_has_its_own_statistics_in_order():
    network, variables = normed()
    (together, _), moved = train(network, variables, IMAGES, views=V)
    stats = variables["batch_stats"]
    for v in range(V):
        (alone, _), stats = train(network, variables | {"batch_stats": stats}, IMAGES[v::V])
        np.testing.assert_allclose(together[v::V], alone, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), moved, stats)
    (joint, _), _ = train(network, variables, IMAGES)
    assert np.abs(joint - together).max() > 1e-3


def test_frozen_encoders_use_running_averages_and_show_what_they_sow():
    network, variables = normed()
    parts = variables["params"], variables["batch_stats"]
    alone = network.encode(*parts, IMAGES[:1])[0]
    layers = network.layers(*parts, IMAGES)
    assert {name: x.shape for name, x in layers.items()} == {
        "stem": (12, 8),
        "features": (12, 8),
        "embedding": (12, 8),
    }
    np.testing.assert_allclose(layers["features"][:1], alone, atol=1e-5)


def test_instances_and_factories_and_dropout_by_an_explicit_key():
    assert jax.eval_shape(lambda key: build("instance").init(key, (4, 4, 3)), KEY)
    network = build("factory")
    variables = network.init(KEY, (4, 4, 3))
    drawn, again, other = (
        train(network, variables, IMAGES, key=key)[0][0] for key in (KEY, KEY, jax.random.key(9))
    )
    np.testing.assert_array_equal(drawn, again)
    assert not np.allclose(drawn, other)
    with pytest.raises(ValueError, match=r"my_encoders:factory draws.*without a target network"):
        train(network, variables, IMAGES)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("Nothing", "my_encoders.*has no 'Nothing'"),
        ("number", "my_encoders:number.*flax.linen module"),
        ("text", "my_encoders:text.*gives a str.*flax.linen module"),
        ("broken", "my_encoders:broken.*cannot be made: ZeroDivisionError"),
        ("needy", "my_encoders:needy.*width"),
        ("Deterministic", "my_encoders:Deterministic.*deterministic.*train"),
        ("Maps", r"my_encoders:Maps gives float32 of shape \(1, 4, 4, 4\).*\(1, F\)"),
        ("Undefined", "my_encoders:Undefined.*not finite"),
        ("Cached", r"my_encoders:Cached keeps variables under \['cache'\]"),
    ],
)
def test_what_no_encoder_is_gets_one_paragraph(attribute, words):
    with pytest.raises(ValueError, match=words):
        build(attribute).init(KEY, (4, 4, 3))


def test_a_module_that_is_gone_is_named():
    with pytest.raises(ValueError, match=r"gone_parts:Net.*gone_parts cannot be imported"):
        encoders.build(encoder="gone_parts:Net", mean=(0.5,), std=(0.2,))
