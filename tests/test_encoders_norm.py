"""BatchNorm: equal to NumPy, and V views in one batch equal V batches one after another."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cost.collectives import collectives
from jax.sharding import PartitionSpec

from eqssl_jax.encoders.conv import xla
from eqssl_jax.encoders.norm import BatchNorm, normalised
from eqssl_jax.training.mesh import AXIS, make_mesh

N, V, SIZE, C = 5, 3, 4, 6


@pytest.fixture(scope="module")
def batch():
    scale = np.linspace(1, 20, V)[None, :, None, None, None]  # views that differ
    x = np.random.default_rng(0).normal(3, scale, (N, V, SIZE, SIZE, C))
    return jnp.asarray(x, jnp.float32)


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(1)

    def draw(low):
        return jnp.asarray(rng.uniform(low, 2, C), jnp.float32)

    return {
        "params": {"scale": draw(0.5), "bias": draw(-1)},
        "batch_stats": {"mean": draw(-1), "var": draw(0.5)},
    }


@partial(jax.jit, static_argnames="views")
def forward(variables, x, views=1):
    return BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"], views=views)


def flat(batch):
    return batch.reshape(-1, *batch.shape[2:])


def test_training_equals_numpy(batch, variables):
    x = flat(batch)
    y, moved = forward(variables, x)
    x = np.asarray(x, np.float64)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    scale, bias = (np.asarray(variables["params"][name]) for name in ("scale", "bias"))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5) * scale + bias, atol=1e-5)
    unbiased = x.reshape(-1, C).var(0, ddof=1)
    for name, statistic in {"mean": mean, "var": unbiased}.items():
        old = np.asarray(variables["batch_stats"][name])
        np.testing.assert_allclose(
            moved["batch_stats"][name], 0.9 * old + 0.1 * statistic, rtol=1e-5
        )


def test_evaluation_uses_running_averages(batch, variables):
    x = flat(batch)
    y = BatchNorm().apply(variables, x, train=False)
    stats, params = variables["batch_stats"], variables["params"]
    mean, var, scale, bias = (
        np.asarray(leaf) for leaf in (stats["mean"], stats["var"], params["scale"], params["bias"])
    )
    expected = (np.asarray(x) - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_views_equal_one_forward_after_another(batch, variables):
    together, moved = forward(variables, flat(batch), views=V)
    stats = variables["batch_stats"]
    for v in range(V):
        y, updated = forward(variables | {"batch_stats": stats}, batch[:, v])
        stats = updated["batch_stats"]
        np.testing.assert_allclose(together.reshape(batch.shape)[:, v], y, atol=1e-5)
    for name in stats:
        np.testing.assert_allclose(moved["batch_stats"][name], stats[name], rtol=1e-6)


def test_order_of_views_matters_to_running_averages(batch, variables):
    _, forth = forward(variables, flat(batch), views=V)
    _, back = forward(variables, flat(batch[:, ::-1]), views=V)
    assert not np.allclose(forth["batch_stats"]["mean"], back["batch_stats"]["mean"], atol=1e-3)


def test_gradients_of_views_equal_those_of_forwards(batch, variables):
    weight = jax.random.normal(jax.random.key(0), batch.shape)

    def joint(params, x):
        y, _ = forward(variables | {"params": params}, flat(x), views=V)
        return jnp.sum(y.reshape(x.shape) * weight)

    def separate(params, x):
        outputs = [forward(variables | {"params": params}, x[:, v])[0] for v in range(V)]
        return jnp.sum(jnp.stack(outputs, axis=1) * weight)

    gradients, expected = (
        jax.jit(jax.grad(function, argnums=(0, 1)))(variables["params"], batch)
        for function in (joint, separate)
    )
    for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def plain(x, scale, bias):
    """What autodiff is given: [N, V, S, C] by its mean and variance, each a sum over the batch."""
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, axis=(0, 2), keepdims=True)
    var = jnp.mean(jnp.square(wide - mean), axis=(0, 2), keepdims=True)
    y = (wide - mean) * jax.lax.rsqrt(var + 1e-5) * scale[None, None, None] + bias[None, None, None]
    return y.astype(x.dtype)


def value_and_gradients(function, weight):
    def value(x, scale, bias):
        return jnp.sum((function(x, scale, bias) * weight.astype(x.dtype)).astype(jnp.float32))

    return jax.value_and_grad(value, argnums=(0, 1, 2))


def near_zero(x, scale, bias):
    return normalised(x, scale, bias, jnp.zeros_like(bias), 1e-5)[0]


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_the_backward_pass_of_one_sweep_is_that_of_autodiff(batch, variables, dtype, error):
    x = batch.reshape(N, V, SIZE * SIZE, C).astype(dtype)
    parts = (x, variables["params"]["scale"], variables["params"]["bias"])
    weight = jax.random.normal(jax.random.key(0), x.shape)
    _, gradients = jax.jit(value_and_gradients(near_zero, weight))(*parts)
    _, expected = jax.jit(value_and_gradients(plain, weight))(*parts)
    assert [g.dtype for g in gradients] == [part.dtype for part in parts]
    for a, b in zip(gradients, expected, strict=True):
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, atol=error * np.abs(b).max())


def test_the_backward_pass_keeps_the_input_and_the_result_of_a_layer_alone():
    """XLA finds nothing else to compute in the forward pass and keep, such as x − μ."""
    layers, x = 5, jax.ShapeDtypeStruct((32, 16, 16, 16), jnp.float32)
    kernel, one = jax.ShapeDtypeStruct((3, 3, 16, 16), jnp.float32), jnp.ones((16,))

    def loss(kernels, x):
        for kernel in kernels:
            y = near_zero(xla(x, kernel).reshape(16, 2, -1, 16), one, 0 * one)
            x = jax.nn.relu(y).reshape(x.shape)
        return jnp.sum(jnp.sin(x))

    program = jax.jit(jax.grad(loss)).lower([kernel] * layers, x).compile()
    kept = program.memory_analysis().temp_size_in_bytes / (4 * x.size)
    assert kept < 2.9 * layers  # 2.6, as by autodiff; 3.4 with x − μ


def test_devices_that_take_their_part_send_one_array_each_way(variables):
    """Also where the mean is 1000 standard deviations, as soon as the running average is near."""
    x = 1000 + jax.random.normal(jax.random.key(0), (16, 2, 3, C))
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]
    weight = jax.random.normal(jax.random.key(1), x.shape)
    near = jnp.full((C,), 999.0)
    whole, part = PartitionSpec(), PartitionSpec(AXIS)
    shared = jax.shard_map(
        lambda x, scale, bias: normalised(x, scale, bias, near, 1e-5),
        mesh=make_mesh(8),
        in_specs=(part, whole, whole),
        out_specs=(part, whole, whole),
        check_vma=False,
    )

    def of_both(x, scale, bias):
        y, _, var = shared(x, scale, bias)
        return jnp.sum(y * weight), var

    program = jax.jit(jax.value_and_grad(of_both, argnums=(0, 1, 2), has_aux=True))
    compiled = program.lower(x, scale, bias).compile()
    (_, var), gradients = compiled(x, scale, bias)
    np.testing.assert_allclose(var, np.var(np.asarray(x, np.float64), axis=(0, 2)), rtol=1e-4)
    _, expected = jax.jit(value_and_gradients(plain, weight))(x, scale, bias)
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * float(jnp.abs(b).max()))
    sizes = [c.size for c in collectives(compiled.as_text()) if c.kind == "all-reduce"]
    two_means = 2 * 2 * C * 4  # of two views; on the way back beside scale, bias and the sum
    assert sorted(sizes) == [two_means, two_means + 2 * C * 4 + 4]


def test_variance_survives_a_large_mean(variables):
    x = 1000 + jax.random.normal(jax.random.key(0), (512, C))
    _, moved = forward(variables, x)
    kept = 0.9 * variables["batch_stats"]["var"]
    np.testing.assert_allclose(
        (moved["batch_stats"]["var"] - kept) / 0.1, np.var(np.asarray(x), 0, ddof=1), rtol=1e-3
    )


def test_statistics_are_float32_under_bfloat16(batch, variables):
    y, moved = forward(variables, flat(batch).astype(jnp.bfloat16), views=V)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("shape", "views", "words"), [((5, C), 2, "cut a batch of 5"), ((2, 1, 1, C), 2, "two values")]
)
def test_batches_that_cannot_work(variables, shape, views, words):
    with pytest.raises(ValueError, match=words):
        forward(variables, jnp.zeros(shape), views=views)
