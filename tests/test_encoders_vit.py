"""Vision transformers: sizes, patches, pooling, registers, stochastic depth, training, decay."""

import runpy
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import encoders
from eqssl_jax.encoders import ViTSettings, vit
from eqssl_jax.encoders.network import assemble
from eqssl_jax.training.optimizer import kernels, optimizer

CONFIGS = Path(__file__).parent.parent / "configs"
KEY, MEAN, STD = jax.random.key(0), (0.5,) * 3, (0.25,) * 3


@cache
def small(**settings):
    """Two blocks of width 16 with patches of 4 px."""
    dtype = settings.pop("dtype", jnp.float32)
    module = vit.ViT(16, 2, 2, ViTSettings(**settings), dtype=dtype)
    return assemble(module, mean=MEAN, std=STD)


@cache
def started(**settings):
    network = small(**settings)
    return network, network.init(KEY, (8, 8, 3))


def images(count=4, size=(8, 8)):
    return jax.random.uniform(jax.random.key(1), (count, *size, 3))


@partial(jax.jit, static_argnums=0, static_argnames=("train", "views"))
def features(network, variables, x, *, train=False, **call):
    parts = variables["params"], variables["batch_stats"]
    return network.apply(*parts, x, train=train, **call)[0][0]


@partial(jax.jit, static_argnums=0)
def layers(network, variables, x):
    return network.layers(variables["params"], variables["batch_stats"], x)


@pytest.mark.parametrize(
    ("name", "count"),
    [("vit_tiny", 5_524_416), ("vit_small", 21_665_664), ("vit_base", 85_798_656)],
)
def test_parameter_counts_are_timms(name, count):
    network = encoders.build(
        encoder=name, projector=(8,), mean=MEAN, std=STD, vit=ViTSettings(patch=16)
    )
    params = jax.eval_shape(lambda key: network.init(key, (224, 224, 3)), KEY)["params"]
    width = params["encoder"]["cls"].shape[1]
    # timm's num_classes=0 less the position of the class token, which is part of the token here.
    assert sum(leaf.size for leaf in jax.tree.leaves(params["encoder"])) == count - width


def test_evaluation_sees_images_one_by_one_and_training_as_well():
    network, variables = started()
    together = features(network, variables, images())
    np.testing.assert_allclose(together[:1], features(network, variables, images()[:1]), atol=1e-5)
    # No statistics: views, joint or separate, change nothing.
    np.testing.assert_array_equal(
        features(network, variables, images(), train=True, views=2), together
    )


def test_the_class_token_sees_patches_and_where_they_are():
    network, variables = started()
    x = images(1)
    swapped = jnp.concatenate([x[:, 4:], x[:, :4]], axis=1)  # the same patches in other places
    before, after = (features(network, variables, y) for y in (x, swapped))
    assert np.abs(before - after).max() > 1e-3
    params = variables["params"]["encoder"] | {"positions": jnp.zeros((2, 2, 16))}
    blind = variables | {"params": variables["params"] | {"encoder": params}}
    before, after = (features(network, blind, y) for y in (x, swapped))
    np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 8), (12, 12)])
def test_images_of_another_size_get_resized_positions(size):
    network, variables = started()
    assert features(network, variables, images(2, size)).shape == (2, 16)


def test_registers_change_features_and_pooling_leaves_them_out():
    network, variables = started(registers=3, pool="mean")
    assert variables["params"]["encoder"]["registers"].shape == (3, 16)
    seen = layers(network, variables, images())
    assert list(seen) == ["stem", "layer1", "layer2", "features", "embedding"]
    plain = np.asarray(images()).reshape(4, 2, 4, 2, 4, 3).swapaxes(2, 3).reshape(4, 4, -1)
    weights = jax.device_get(variables["params"]["encoder"])
    tokens = ((plain - 0.5) / 0.25) @ weights["patch_embed"]["kernel"].reshape(-1, 16)
    tokens += weights["positions"].reshape(1, 4, 16)
    np.testing.assert_allclose(seen["stem"], tokens.mean(1), atol=1e-5)


def test_stochastic_depth_drops_by_image_and_only_with_a_key():
    network, variables = started(drop_path=0.5)
    assert network.stochastic and not started()[0].stochastic
    x = jnp.repeat(images(1), 64, axis=0)
    still = features(network, variables, x)
    for call in (dict(train=False), dict(train=True)):
        np.testing.assert_array_equal(features(network, variables, x, **call), still)
    drawn = features(network, variables, x, train=True, key=KEY)
    np.testing.assert_array_equal(drawn, features(network, variables, x, train=True, key=KEY))
    # The two branches of the last block are dropped or doubled, one draw an image each.
    assert len(np.unique(np.asarray(drawn).round(4), axis=0)) == 4
    other = features(network, variables, x, train=True, key=jax.random.key(5))
    assert not np.allclose(drawn, other)


def test_stochastic_depth_keeps_the_mean():
    y = jnp.ones((4096, 1, 1))
    assert float(vit._drop(KEY, y, 0.3).mean()) == pytest.approx(1, abs=0.05)


def test_layer_scale_is_a_factor_on_both_branches():
    network, variables = started(layer_scale=1e-5)
    plain = small()
    without = {
        name: {k: v for k, v in part.items() if not k.startswith("ls")}
        if name.startswith("blocks")
        else part
        for name, part in variables["params"]["encoder"].items()
    }
    scaled = layers(network, variables, images())
    full = layers(
        plain, variables | {"params": variables["params"] | {"encoder": without}}, images()
    )
    change, whole = (np.abs(x["layer2"] - x["stem"]).max() for x in (scaled, full))
    assert 0 < change < 1e-3 * whole


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_are_finite_and_reach_every_parameter(dtype):
    network = small(dtype=dtype, registers=2, layer_scale=0.1)
    variables = started(registers=2, layer_scale=0.1)[1]

    @jax.jit
    def gradient(params):
        def value(params):
            return jnp.mean(
                features(network, {"params": params, "batch_stats": {}}, images())[:, 0]
            )

        return jax.grad(value)(params)

    slopes = gradient(variables["params"])
    for path, leaf in jax.tree_util.tree_flatten_with_path(jax.device_get(slopes["encoder"]))[0]:
        assert leaf.dtype == np.float32
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


def test_bfloat16_is_close_and_really_used():
    variables = started()[1]
    exact, rounded = (
        features(small(dtype=dtype), variables, images()) for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rounded.dtype == jnp.float32
    assert 1e-5 < float(jnp.linalg.norm(exact - rounded) / jnp.linalg.norm(exact)) < 0.05


def test_decay_leaves_out_norms_biases_tokens_and_positions():
    mask = kernels(started(registers=2, layer_scale=0.1)[1]["params"]["encoder"])
    flat = jax.tree_util.tree_flatten_with_path(mask)[0]
    decayed = {path[-1].key for path, decays in flat if decays}
    kept = {path[-1].key for path, decays in flat if not decays}
    assert decayed == {"kernel"}
    assert kept == {"bias", "scale", "gamma", "cls", "registers", "positions"}


def test_the_recipe_is_adamw_that_decays_kernels_alone():
    """At zero gradients AdamW moves what decays by −rate · decay · θ, and nothing else."""
    recipe = runpy.run_path(str(CONFIGS / "vit.py"))["get_config"]("simclr,shapes").optimizer
    params = jax.device_get(started(registers=2, layer_scale=0.1)[1]["params"])
    rule = optimizer(recipe, lambda step: 0.5)
    still = jax.tree.map(np.zeros_like, params)
    updates = jax.jit(lambda params: rule.update(still, rule.init(params), params)[0])(params)
    moves = jax.tree_util.tree_flatten_with_path(updates)[0]
    for (path, move), theta in zip(moves, jax.tree.leaves(params), strict=True):
        decay = 0.1 if path[-1].key == "kernel" else 0.0
        np.testing.assert_allclose(move, -0.5 * decay * theta, rtol=1e-5, err_msg=str(path))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(pool="max"), "vit.pool is 'max'.*cls"),
        (dict(heads=5), "vit.heads is 5.*192"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ValueError, match=words):
        encoders.build(encoder="vit_tiny", mean=MEAN, std=STD, vit=ViTSettings(**settings))


def test_images_that_patches_do_not_cut():
    with pytest.raises(ValueError, match="patches of 4 px cannot cut images of 10 × 8"):
        jax.eval_shape(partial(small().init, shape=(10, 8, 3)), KEY)
