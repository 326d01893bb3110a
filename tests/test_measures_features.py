"""Features come out row by row, whatever the batch, the draw or the store they are read from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from eqssl_jax.data.base import Split
from eqssl_jax.measures.features import extract, extract_views, subset
from eqssl_jax.measures.floors import pixel_encoder, raw_pixels
from eqssl_jax.transforms.base import Transform

N = 23


def read(pool, inputs):
    return pool[inputs].astype(jnp.float32) / 255


def read_loaded(pool, inputs):
    del pool
    return inputs.astype(jnp.float32) / 255


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (N, 4, 5, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def split(pixels):
    return Split(N, jnp.asarray(pixels), read, np.arange(N, dtype=np.int32) % 3)


def darken():
    return Transform(
        lambda key: {"factor": jax.random.uniform(key)},
        lambda p, x: x * p["factor"],
        {"factor": jnp.ones(())},
    )


def encode(images):
    flat = images.reshape(images.shape[0], -1)
    return flat[:, :7], flat[:, 7:10]


@pytest.mark.parametrize("batch", [1, 4, 23, 64])
def test_rows_do_not_depend_on_the_batch_size(split, pixels, batch):
    extracted = extract(encode, split, batch=batch)
    flat = pixels.reshape(N, -1).astype(np.float32) / 255
    np.testing.assert_allclose(extracted.features, flat[:, :7], rtol=1e-6)
    np.testing.assert_allclose(extracted.embeddings, flat[:, 7:10], rtol=1e-6)
    assert extracted.indices.tolist() == list(range(N))
    assert extracted.features.dtype == np.float32


def test_streamed_split_equals_resident_split(split, pixels):
    streamed = Split(N, (), read_loaded, load=lambda indices: pixels[indices])
    resident, from_stream = extract(encode, split, batch=8), extract(encode, streamed, batch=8)
    np.testing.assert_array_equal(resident.features, from_stream.features)


def test_indices_and_limit_choose_rows(split):
    whole = extract(encode, split, batch=8)
    some = extract(encode, split, batch=8, indices=np.array([5, 2, 2]))
    np.testing.assert_array_equal(some.features, whole.features[[5, 2, 2]])
    limited = extract(encode, split, batch=8, limit=6)
    np.testing.assert_array_equal(limited.features, whole.features[limited.indices])
    assert len(limited.indices) == 6 == len(set(limited.indices.tolist()))


def test_subset_is_not_the_head_of_a_sorted_split():
    assert subset(1000, 50).max() > 500
    np.testing.assert_array_equal(subset(1000, 50), subset(1000, 50))


def test_one_draw_for_all_and_one_for_each(split):
    whole = extract(encode, split, batch=8).features
    shared = extract(
        encode, split, batch=8, transform=darken(), params={"factor": jnp.asarray(0.5)}
    )
    np.testing.assert_allclose(shared.features, whole * 0.5, rtol=1e-6)
    factors = np.linspace(0, 1, N, dtype=np.float32)
    own_draws = extract(encode, split, batch=8, transform=darken(), params={"factor": factors})
    np.testing.assert_allclose(own_draws.features, whole * factors[:, None], rtol=1e-6)


def test_views_are_the_draws_in_order(split):
    half, third = {"factor": jnp.asarray(0.5)}, {"factor": jnp.asarray(1 / 3)}
    views = extract_views(
        {"one": encode, "pixels": raw_pixels},
        split,
        darken(),
        [(), (half,), (half, third)],
        batch=8,
    )
    whole = extract(encode, split, batch=8).embeddings
    expected = np.stack([whole, whole / 2, whole / 6])
    np.testing.assert_allclose(views["one"], expected, rtol=1e-5)
    assert views["pixels"].shape == (3, N, 60)


def test_new_weights_need_no_new_compilation(split):
    traces = []

    def scaled(weights, images):
        traces.append(1)
        flat = images.reshape(images.shape[0], -1) * weights
        return flat, flat

    single = extract(Partial(scaled, jnp.asarray(1.0)), split, batch=8)
    two = extract(Partial(scaled, jnp.asarray(2.0)), split, batch=8)
    np.testing.assert_allclose(two.features, 2 * single.features, rtol=1e-6)
    assert len(traces) == 1


def test_sharded_batches_equal_whole_ones(split):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = extract(encode, split, batch=8)
    two = extract(encode, split, batch=8, sharding=sharding)
    np.testing.assert_array_equal(whole.features, two.features)


def test_half_precision_encoder_gives_float32(split):
    def half(images):
        return tuple(part.astype(jnp.bfloat16) for part in encode(images))

    extracted = extract(half, split, batch=8)
    assert extracted.features.dtype == extracted.embeddings.dtype == np.float32


def test_pixel_floors_are_pixels(split, pixels):
    flat = pixels.reshape(N, -1).astype(np.float32) / 255
    extracted = extract(raw_pixels, split, batch=8)
    np.testing.assert_allclose(extracted.features, flat, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(extracted.embeddings, axis=1), 1, rtol=1e-5)
    projected = extract(pixel_encoder((4, 5, 3), dimension=2048), split, batch=8).embeddings
    gram, true = projected @ projected.T, extracted.embeddings @ extracted.embeddings.T
    assert np.abs(gram - true).max() < 0.15  # about 4 / √2048
    assert projected.shape == (N, 2048)


def test_large_images_are_shrunk_to_their_means():
    large = np.random.default_rng(1).uniform(size=(3, 8, 8, 3)).astype(np.float32)
    blocks = np.repeat(np.repeat(large, 8, axis=1), 8, axis=2)
    flat, embedding = pixel_encoder((64, 64, 3), dimension=5, side=8)(jnp.asarray(blocks))
    assert flat.shape == (3, 192) and embedding.shape == (3, 5)
    # The antialiasing triangle reaches into the next block, so means are kept, not blocks.
    assert np.mean(flat) == pytest.approx(large.mean(), abs=0.01)
    assert np.corrcoef(flat.ravel(), large.ravel())[0, 1] > 0.9
    with pytest.raises(ValueError, match="dimension ≥ 1"):
        pixel_encoder((4, 4, 3), dimension=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 3, "indices": np.arange(2)}, "either limit or indices"),
        ({"indices": np.array([], int)}, "No example"),
        ({"indices": np.array([N])}, "must lie in 0 … 22"),
        ({"transform": darken()}, "together"),
        ({"params": {"factor": jnp.asarray(0.5)}}, "together"),
        ({"transform": darken(), "params": {"factor": np.ones(N - 1, np.float32)}}, "one draw"),
        ({"batch": 0}, "at least 1 image"),
    ],
)
def test_bad_input_is_named(split, options, message):
    with pytest.raises(ValueError, match=message):
        extract(encode, split, **options)


def test_views_need_an_encoder_and_a_draw(split):
    with pytest.raises(ValueError, match="at least one encoder"):
        extract_views({}, split, darken(), [()])
    with pytest.raises(ValueError, match="0 draws"):
        extract_views({"one": encode}, split, darken(), [])


def test_images_are_read_once_for_all_encoders_and_draws(split, pixels):
    loads = []

    def load(indices):
        loads.append(len(indices))
        return pixels[indices]

    streamed = Split(N, (), read_loaded, load=load)
    half = {"factor": jnp.asarray(0.5)}
    extract_views({"a": encode, "b": raw_pixels}, streamed, darken(), [(), (half,)], batch=8)
    assert loads == [8, 8, 8]
