import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.data import partition, pipeline


def numbered(size: int, side: int = 4) -> np.ndarray:
    """Images whose every pixel is their number."""
    return np.broadcast_to(
        np.arange(size, dtype=np.uint8)[:, None, None, None], (size, side, side, 3)
    ).copy()


def stream(size: int, *, labels: bool = True) -> data.Split:
    images = numbered(size)
    return data.streamed(
        lambda indices: images[indices],
        size=size,
        labels=np.arange(size, dtype=np.int32) % 3 if labels else None,
    )


def test_an_epoch_sees_every_example_at_most_once_and_epochs_differ():
    size, batch = 23, 5
    epochs = [
        np.concatenate([data.batch_indices(7, e * 4 + i, size, batch) for i in range(4)])
        for e in range(3)
    ]
    for epoch in epochs:
        assert len(np.unique(epoch)) == 20
        assert epoch.min() >= 0 and epoch.max() < size
        assert epoch.dtype == np.int32
    assert not np.array_equal(epochs[0], epochs[1])
    assert set(epochs[0]) != set(epochs[1])  # what is dropped changes


def test_a_batch_depends_on_seed_and_step_alone():
    forward = [data.batch_indices(0, step, 40, 8) for step in range(12)]
    backward = [data.batch_indices(0, step, 40, 8) for step in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert not np.array_equal(forward[0], data.batch_indices(1, 0, 40, 8))
    # The definition, written out: a change of it would reshuffle every running experiment.
    order = np.random.Generator(np.random.Philox(key=[0, 1])).permutation(40)
    np.testing.assert_array_equal(forward[6], order[8:16])


def test_changing_a_batch_in_place_does_not_change_the_next():
    first = data.batch_indices(0, 0, 10, 5)
    first[:] = -1
    assert data.batch_indices(0, 0, 10, 5).min() >= 0


@pytest.mark.parametrize("batch", [0, 11])
def test_a_batch_larger_than_the_split_is_refused(batch):
    with pytest.raises(ValueError, match="split of 10 examples"):
        data.batch_indices(0, 0, 10, batch)


def test_validation_is_disjoint_complete_and_fixed():
    kept, held = partition.held_out(1000, 0.1)
    assert len(held) == 100
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(1000))
    np.testing.assert_array_equal(partition.held_out(1000, 0.1)[1], held)
    # Recorded once: another choice would put old validation images into new training sets.
    assert partition.held_out(50, 0.1)[1].tolist() == [5, 17, 23, 41, 44]


def test_carved_splits_keep_images_and_labels_together():
    train, validation = partition.carve(stream(30), 0.2)
    assert (train.size, validation.size) == (24, 6)
    for part in (train, validation):
        images = part.load(np.arange(part.size))
        np.testing.assert_array_equal(images[:, 0, 0, 0] % 3, part.labels)
    together = [part.load(np.arange(part.size))[:, 0, 0, 0] for part in (train, validation)]
    np.testing.assert_array_equal(np.sort(np.concatenate(together)), np.arange(30))


@pytest.mark.parametrize("fraction", [0.1, 0.35])
def test_examples_that_belong_together_are_carved_together(fraction):
    values = np.float32([5, 3, 3, 8, 5, 1, 1, 1, 9, 3] * 4)
    split = stream(40)._replace(factors={"scene": values})
    train, validation = partition.carve(split, fraction, "scene")
    assert not set(train.factors["scene"]) & set(validation.factors["scene"])
    largest = np.unique(values, return_counts=True)[1].max()
    assert fraction * 40 <= validation.size < fraction * 40 + largest
    for part in (train, validation):
        numbers = part.load(np.arange(part.size))[:, 0, 0, 0]
        np.testing.assert_array_equal(values[numbers], part.factors["scene"])
    with pytest.raises(ValueError, match="leave 0 for training"):
        partition.carve(split._replace(factors={"scene": 0 * values}), fraction, "scene")


def test_factors_stay_when_a_split_moves_to_the_device():
    split = stream(6)._replace(factors={"scene": np.arange(6, dtype=np.float32)})
    np.testing.assert_array_equal(pipeline.to_device(split).factors["scene"], np.arange(6))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.01])
def test_a_validation_fraction_that_cannot_be_carved_is_refused(fraction):
    with pytest.raises(ValueError, match="validation"):
        partition.carve(stream(10), fraction)


@pytest.mark.parametrize(("name", "option"), [("shapes", "train_size"), ("proteins", "chains")])
def test_too_few_examples_name_the_option_that_gives_them(name, option):
    with pytest.raises(ValueError, match=rf"config\.data\.validation = .*data\.options\.{option}"):
        data.load(name=name, **{option: 3})


def test_a_carved_test_split_has_every_class():
    train, test = partition.carve_test(stream(12), 0.1)
    assert (train.size, test.size) == (9, 3)
    assert set(test.labels) == {0, 1, 2}
    with pytest.raises(ValueError, match="single image"):
        partition.carve_test(stream(4))
    with pytest.raises(ValueError, match="labels"):
        partition.carve_test(stream(4, labels=False))


def test_concatenated_splits_read_in_the_order_asked_for():
    joined = partition.concatenate(stream(5), partition.subset(stream(9), np.array([8, 7])))
    wanted = np.array([6, 0, 5, 4, 6])
    np.testing.assert_array_equal(joined.load(wanted)[:, 0, 0, 0], [7, 0, 8, 4, 7])
    assert joined.size == 7 and joined.labels is None
    with pytest.raises(ValueError, match="streamed"):
        partition.concatenate(stream(5), pipeline.to_device(stream(5)))


def test_resident_and_streamed_splits_read_the_same_images():
    split = stream(20)
    there = pipeline.to_device(split)
    indices = np.array([3, 19, 0])
    expected = split.load(indices) / np.float32(255)
    images = split.read(split.pool, jnp.asarray(split.load(indices)))
    np.testing.assert_allclose(images, expected, rtol=1e-6)
    read = jax.jit(there.read)
    np.testing.assert_allclose(read(there.pool, jnp.asarray(indices)), expected, rtol=1e-6)
    assert there.pool.dtype == jnp.uint8 and there.load is None
    assert there.read is pipeline.to_device(stream(5)).read  # so that compiled code is reused


def test_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3), np.uint8)
    mean, std = pipeline.statistics(data.resident(images))
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(std, images.std((0, 1, 2)) / 255, rtol=1e-5)
    assert pipeline.statistics(data.resident(np.zeros((3, 2, 2, 3), np.uint8)))[1][0] > 0
