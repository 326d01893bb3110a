"""Blocks computed again: the same parameters, values and gradients, from less that is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import encoders, presets
from eqssl_jax.encoders import resnet
from eqssl_jax.encoders.conv import Conv
from eqssl_jax.encoders.norm import BatchNorm
from eqssl_jax.encoders.remat import with_remat
from eqssl_jax.encoders.small import ConvNet
from eqssl_jax.encoders.vit import ViT, ViTSettings
from eqssl_jax.training.model import build_network

X = jax.random.uniform(jax.random.key(1), (8, 8, 8, 3))
MODULES = {
    "resnet": resnet.ResNet(resnet.BasicBlock, (1, 1), (4, 8), "cifar", Conv, BatchNorm),
    "conv": ConvNet((4, 8), Conv, BatchNorm),
    "vit": ViT(8, 2, 2, ViTSettings(drop_path=0.5)),
}


def kept_bytes(function, *inputs) -> int:
    """What the backward pass is handed, beside its code; nothing is computed."""
    backward = jax.eval_shape(lambda *inputs: jax.vjp(function, *inputs, has_aux=True)[1], *inputs)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))


@pytest.mark.parametrize("name", MODULES)
def test_the_same_numbers_from_less_that_is_kept(name):
    plain = MODULES[name]
    variables = jax.jit(lambda: plain.init(jax.random.key(0), X, train=False))()
    results, kept = [], []
    for module in (plain, with_remat(plain, name)):

        def loss(params, module=module):
            y, moved = module.apply(
                variables | {"params": params},
                X,
                views=2,
                train=True,
                mutable=["batch_stats"],
                rngs={"drop_path": jax.random.key(2)},
            )
            return jnp.sum(jnp.sin(3 * y)), moved

        results.append(jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"]))
        kept.append(kept_bytes(loss, variables["params"]))
    assert jax.tree.structure(results[0]) == jax.tree.structure(results[1])
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert kept[1] < 0.7 * kept[0]


def test_the_setting_of_a_run_reaches_its_encoder():
    kept = []
    for chosen in ("none", "blocks"):
        config = presets.contrastive("shapes")
        config.model.encoder, config.model.remat = "conv_tiny", chosen
        network = build_network(config, (0.5,) * 3, (0.2,) * 3)
        variables = jax.eval_shape(lambda net=network: net.init(jax.random.key(0), X.shape[1:]))

        def loss(params, stats, net=network):
            (features, _), moved = net.apply(params, stats, X, views=2, train=True)
            return jnp.sum(features), moved

        kept.append(kept_bytes(loss, variables["params"], variables["batch_stats"]))
    assert kept[1] < kept[0]  # parameters are most of it


def test_encoders_without_blocks_are_refused():
    with pytest.raises(ValueError, match=r"remat is 'blocks'.*deepset.*remat=none"):
        encoders.build(encoder="deepset", remat="blocks", mean=(0.0,) * 4, std=(1.0,) * 4)
    with pytest.raises(ValueError, match=r"remat is 'all'"):
        encoders.build(encoder="conv_tiny", remat="all", mean=(0.5,) * 3, std=(1.0,) * 3)
