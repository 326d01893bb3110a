import colorsys
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.data import outlines, shapes


@functools.cache
def small() -> data.Dataset:
    return data.load(name="shapes", train_size=3000, test_size=600, out_of_range_size=600)


def read(split: data.Split, indices) -> np.ndarray:
    """Images, read 300 at a time: one program to compile, whatever is asked for."""
    indices = np.asarray(indices)
    parts = []
    for start in range(0, len(indices), 300):
        chunk = np.resize(indices[start : start + 300], 300)
        parts.append(split.read(split.pool, jnp.asarray(chunk, jnp.int32)))
    return np.concatenate(parts)[: len(indices)]


@functools.partial(jax.jit, static_argnames="side")
def inside(scene: dict[str, jax.Array], side: int) -> jax.Array:
    grid = (jnp.arange(side, dtype=jnp.float32) + 0.5) / side
    return jax.vmap(lambda drawn: shapes._distance(drawn, grid) < 0)(scene)


def cover(label, angle, *, size=0.8, x=0.5, y=0.5, side=64) -> np.ndarray:
    """Insides of shapes as masks [n, side, side]; numbers hold for all of them."""
    numbers = np.broadcast_arrays(np.atleast_1d(angle), size, x, y, label)
    scene = dict(zip(("angle", "size", "x", "y"), np.float32(numbers[:4]), strict=True))
    return np.asarray(inside(scene | {"label": np.int32(numbers[4])}, side))


def test_images_are_eight_bit_values_in_range():
    images = read(small().splits["train"], np.arange(64))
    assert images.shape == (64, 32, 32, 3) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_allclose(images * 255, np.round(images * 255), atol=1e-4)


def test_an_image_does_not_depend_on_its_batch():
    split = small().splits["test"]
    together = read(split, np.arange(300))
    np.testing.assert_array_equal(read(split, np.arange(300)[::-1]), together[::-1])
    for batch in ([5], [36, 5, 0]):
        alone = split.read(split.pool, jnp.asarray(batch, jnp.int32))
        np.testing.assert_array_equal(alone, together[np.asarray(batch)])


def test_the_reader_renders_what_the_definition_says():
    split = small().splits["out_of_range"]
    number = split.pool["index"][3]
    alone = jax.jit(functools.partial(shapes.render, size=32))(jax.random.key(0), number)
    # Compiled together, cosines may round differently: at most one step of 8 bits.
    np.testing.assert_allclose(read(split, [3])[0], alone, atol=1.01 / 255)


def test_another_seed_gives_other_images():
    sizes = {"train_size": 3000, "test_size": 600, "out_of_range_size": 600}
    other = data.load(name="shapes", seed=1, **sizes).splits["train"]
    assert np.abs(read(other, [3])[0] - read(small().splits["train"], [3])[0]).max() > 0.1


def test_the_same_function_reads_all_splits_of_a_size():
    readers = {split.read for split in small().splits.values()}
    assert len(readers) == 1


def test_sizes_and_indices_of_the_splits_do_not_meet():
    sizes = {name: split.size for name, split in small().splits.items()}
    assert sizes == {"train": 2700, "validation": 300, "test": 600, "out_of_range": 600}
    indices = np.concatenate([split.pool["index"] for split in small().splits.values()])
    assert len(np.unique(indices)) == sum(sizes.values())
    hues = np.concatenate([split.factors["hue"] for split in small().splits.values()])
    assert len(np.unique(hues)) > 0.99 * len(hues)


def test_more_training_images_leave_the_others_as_they_are():
    larger = data.load(name="shapes", train_size=4000, test_size=700).splits
    np.testing.assert_array_equal(
        larger["test"].factors["x"][:600], small().splits["test"].factors["x"]
    )


def test_factors_fill_their_ranges_and_only_those():
    ranges = {"size": (0.45, 0.8), "x": (0.4, 0.6), "y": (0.4, 0.6)}
    seen = ranges | {"hue": (0, 0.75), "angle": (0, 1.5 * math.pi)}
    unseen = ranges | {"hue": (0.75, 1), "angle": (1.5 * math.pi, 2 * math.pi)}
    for name, split in small().splits.items():
        for factor, (low, high) in (unseen if name == "out_of_range" else seen).items():
            values = split.factors[factor]
            assert values.shape == (split.size,) and values.dtype == np.float32
            margin = 0.03 * (high - low)
            assert low <= values.min() < low + margin, factor
            assert high - margin < values.max() <= high + 1e-6, factor
        assert np.bincount(split.labels, minlength=10).min() > 0.05 * split.size


def test_factors_are_independent_of_each_other_and_of_the_class():
    split = small().splits["train"]
    columns = [split.factors[name] for name in shapes.FACTORS]
    columns += [split.labels == label for label in range(10)]
    correlation = np.corrcoef(np.stack(columns))
    among = correlation[:5] - np.eye(5, 15)
    assert np.abs(among).max() < 5 / math.sqrt(split.size)


LABELS = np.arange(10)


@pytest.mark.parametrize("angle", [0.0, 0.7, 4.0])
def test_the_angle_turns_the_shape_counter_clockwise(angle):
    turned = cover(LABELS, angle + math.pi / 2)
    assert (np.rot90(cover(LABELS, angle), axes=(1, 2)) != turned).mean((1, 2)).max() < 0.003


def test_no_shape_looks_the_same_after_a_turn():
    still = cover(LABELS, 0.0)
    for degrees in range(20, 360, 20):
        turned = cover(LABELS, math.radians(degrees))
        assert overlap(still, turned).max() < 0.93, degrees


def test_shapes_differ_at_any_angle():
    still = cover(LABELS, 0.0, side=32)
    for degrees in range(0, 360, 15):
        turned = cover(LABELS, math.radians(degrees), side=32)
        others = overlap(still[:, None], turned[None])[~np.eye(10, dtype=bool)]
        assert others.max() < 0.85, degrees


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of masks."""
    return (first & second).sum((-1, -2)) / (first | second).sum((-1, -2))


def test_size_and_position_are_those_of_the_shape():
    side = 128
    for mask in cover(LABELS, 1.0, size=0.5, x=0.4, y=0.55, side=side):
        rows, columns = np.nonzero(mask)
        x, y = (columns + 0.5) / side, (rows + 0.5) / side
        np.testing.assert_allclose([x.mean(), y.mean()], [0.4, 0.55], atol=1 / side)
        np.testing.assert_allclose(np.hypot(x - 0.4, y - 0.55).max(), 0.25, atol=0.03)


@pytest.mark.parametrize("name", ["test", "out_of_range"])
def test_the_hue_can_be_read_off_the_shape(name):
    split, count = small().splits[name], 100
    factors = {factor: values[:count] for factor, values in split.factors.items()}
    factors.pop("hue")
    angle, size = factors.pop("angle"), factors.pop("size")
    labels = split.labels[:count]
    masks = cover(labels, angle, size=size, side=32, **factors)
    masks = masks & cover(labels, angle, size=0.7 * size, side=32, **factors)  # away from the edge
    for number, (image, mask) in enumerate(zip(read(split, np.arange(count)), masks, strict=True)):
        if mask.sum() >= 5:
            hue = colorsys.rgb_to_hsv(*np.median(image[mask], axis=0))[0]
            error = abs((hue - split.factors["hue"][number] + 0.5) % 1 - 0.5)
            assert error < 0.06, number


def test_signed_distance_is_that_of_a_plain_loop():
    signed_distance = jax.jit(outlines.signed_distance)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1.2, 1.2, 11), rng.uniform(-1.2, 1.2, 13)
    for vertices in outlines.outlines():
        distances = signed_distance(jnp.float32(x), jnp.float32(y), jnp.asarray(vertices))
        expected = [[_distance(np.array([a, b]), vertices) for a in x] for b in y]
        np.testing.assert_allclose(distances, expected, atol=1e-5)


def _distance(point: np.ndarray, vertices: np.ndarray) -> float:
    best, winding = np.inf, 0.0
    for a, b in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        along = np.linspace(0, 1, 2)
        edge = b - a
        if edge @ edge > 0:
            along = np.clip((point - a) @ edge / (edge @ edge), 0, 1)
            best = min(best, np.linalg.norm(point - a - along * edge))
        # Winding number by summed angles: another rule than the crossings of the code.
        p, q = a - point, b - point
        winding += math.atan2(p[0] * q[1] - p[1] * q[0], p @ q)
    return -best if abs(winding) > math.pi else best


def test_outlines_are_centred_and_fill_the_unit_circle():
    vertices = outlines.outlines()
    assert vertices.shape == (10, outlines.VERTICES, 2)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=2).max(1), 1, rtol=1e-5)


def test_a_larger_image_shows_the_same_scene():
    large = data.load(name="shapes", size=96, train_size=20, test_size=40).splits["test"]
    shrunk = read(large, np.arange(40)).reshape(40, 32, 3, 32, 3, 3).mean((2, 4))
    images = read(small().splits["test"], np.arange(40))
    assert np.abs(shrunk - images).mean() < 0.03  # grain, and the blending of edges


def test_stated_statistics_are_those_of_the_images():
    images = read(small().splits["train"], np.arange(2000))
    np.testing.assert_allclose(images.mean((0, 1, 2)), small().mean, atol=0.012)
    np.testing.assert_allclose(images.std((0, 1, 2)), small().std, atol=0.012)


def test_raw_pixels_say_little_about_the_class():
    train, test = small().splits["train"], small().splits["test"]
    bank = read(train, np.arange(train.size)).reshape(train.size, -1)
    queries = read(test, np.arange(test.size)).reshape(test.size, -1)
    distance = (bank**2).sum(1)[None, :] - 2 * queries @ bank.T
    nearest = train.labels[np.argpartition(distance, 20, axis=1)[:, :20]]
    votes = np.stack([(nearest == label).sum(1) for label in range(10)], axis=1)
    assert (votes.argmax(1) == test.labels).mean() < 0.3


@pytest.mark.parametrize("options", [{"size": 7}, {"train_size": 0}, {"test_size": 2**28 + 1}])
def test_sizes_that_cannot_be_rendered_are_refused(options):
    with pytest.raises(ValueError, match=r"size"):
        data.load(name="shapes", **options)
