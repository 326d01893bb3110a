"""InfoNCE block by block: plain value and gradient, a fraction of the memory, on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cost.collectives import collectives

from eqssl_jax.methods.simclr import contrast_loss
from eqssl_jax.objectives import (
    Views,
    blocked,
    hyperbolic,
    hyperboloid,
    info_nce,
    inner_product,
    uniformity,
    unit,
)
from eqssl_jax.training.mesh import batched, make_mesh, replicated

PLACES = {"sphere": (unit, inner_product), "hyperboloid": (hyperboloid, hyperbolic)}


def draw(seed: int, count: int, dimension: int = 5) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2, count, dimension))


def loss(function, place: str = "sphere", **options):
    """Value and gradient as a function of embeddings [2, N, D]."""
    lift, similarity = PLACES[place]

    def value(embeddings):
        return function(*lift(embeddings), similarity=similarity, **options)

    return jax.value_and_grad(value)


def assert_same(blocked, expected, tolerance: float = 1e-6) -> None:
    """Values, and gradients in norm, to a relative tolerance."""
    np.testing.assert_allclose(blocked[0], expected[0], rtol=tolerance)
    error = np.linalg.norm(blocked[1] - expected[1]) / np.linalg.norm(expected[1])
    assert error < tolerance


@pytest.mark.parametrize(
    ("count", "block", "blocks", "cases"),
    [
        (12, 4, 3, [(info_nce, "sphere"), (uniformity, "hyperboloid")]),
        (13, 5, 3, [(info_nce, "hyperboloid"), (uniformity, "sphere")]),
    ],
)
def test_equals_the_plain_form_in_value_and_gradient(count, block, blocks, cases):
    assert blocked.block_count(count, block) == blocks

    @jax.jit
    def pairs(x):
        return [
            [loss(*case, temperature=0.1, **options)(x) for options in ({"block": block}, {})]
            for case in cases
        ]

    for in_blocks, expected in pairs(2 * draw(0, count)):
        assert_same(in_blocks, expected)


def test_2_and_8_devices_give_the_gradient_of_one_and_all_work_on_every_block():
    x, count, block = draw(1, 64), 64, 16
    expected = jax.jit(loss(info_nce))(x)
    for devices in (2, 8):
        mesh = make_mesh(devices)
        cut = batched(mesh, 1)
        program = (
            jax.jit(loss(info_nce, block=block), out_shardings=(replicated(mesh), cut))
            .lower(jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=cut))
            .compile()
        )
        assert_same(program(jax.device_put(x, cut)), expected)
        # Of each block a device has its share of the rows, beside all columns.
        text = program.as_text()
        rows = {n for n in (1, 2, 8) if f"f32[{2 * block // n},{2 * count}]" in text}
        assert rows == {devices}
        # What is sent is sent outside of the loop over blocks.
        sent = collectives(text)
        assert sent and all(collective.times == 1 and collective.counted for collective in sent)


def working_memory(count: int, block: int | None = None) -> int:
    """Bytes that value and gradient need beside their argument and result; nothing is run."""
    shape = jax.ShapeDtypeStruct((2, count, 16), jnp.float32)
    program = jax.jit(loss(info_nce, block=block)).lower(shape).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_memory_is_no_matrix_of_all_pairs():
    def matrix(count: int) -> int:
        return 4 * (2 * count) ** 2

    assert working_memory(16_384, block=16_384) >= matrix(16_384)  # the plain form holds it
    assert working_memory(32_768) < matrix(32_768) / 15  # chosen automatically
    half, whole = working_memory(16_384, block=16), working_memory(32_768, block=16)
    assert whole < matrix(32_768) / 500
    assert 1.8 * half < whole < 2.2 * half


def test_the_objective_and_its_metric_do_not_depend_on_the_blocks(monkeypatch):
    objective = contrast_loss(info_nce, 0.2)
    seen = Views(features=jnp.zeros((2, 12, 1)), embeddings=draw(2, 12))
    value, metrics = jax.jit(objective.loss)((), seen)
    monkeypatch.setattr(blocked, "MATRIX_BYTES", 16 * 12 * 5)  # room for five images
    assert blocked.block_count(12) == 3
    again = jax.jit(lambda seen: objective.loss((), seen))
    assert "scan" in str(jax.make_jaxpr(again)(seen))
    in_blocks, same = again(seen)
    np.testing.assert_allclose(in_blocks, value, rtol=1e-6)
    np.testing.assert_allclose(same["positive_cosine"], metrics["positive_cosine"], rtol=1e-6)


def test_gradients_are_finite_at_coincident_points_and_at_a_low_temperature():
    find = jax.jit(loss(info_nce, "hyperboloid", temperature=0.01, block=2))
    value, gradient = find(jnp.ones((2, 6, 4)))
    np.testing.assert_allclose(value, np.log(11), rtol=1e-5)
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("function", [info_nce, uniformity])
def test_a_block_holds_at_least_one_image(function):
    with pytest.raises(ValueError, match="at least one image, found block = 0"):
        function(*unit(draw(3, 4)), block=0)


def test_when_a_batch_is_cut_without_being_asked_to(monkeypatch):
    """By what an accelerator has room for, or what stays in the caches of one CPU device."""
    sizes = (512, 513, 1024, 4096, 4097, 32_768)
    assert [blocked.block_count(n) for n in sizes] == [1, 1, 1, 1, 2, 64]
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert [blocked.block_count(n) for n in sizes] == [1, 3, 4, 32, 33, 256]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [blocked.block_count(n) for n in sizes] == [1, 1, 1, 1, 2, 64]
