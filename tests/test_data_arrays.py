import numpy as np
import pytest

from eqssl_jax import data
from eqssl_jax.data import partition


def arrays(count: int = 40, side: int = 8, **changes) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    content = {
        "images": rng.integers(0, 256, (count, side, side, 3), np.uint8),
        "labels": np.arange(count) % 4,
        "test_images": rng.integers(0, 256, (12, side, side, 3), np.uint8),
        "test_labels": np.arange(12) % 4,
    } | changes
    return {key: value for key, value in content.items() if value is not None}


def load(tmp_path, content, **options) -> data.Dataset:
    np.savez(tmp_path / "set.npz", **content)
    return data.load(name="arrays", directory=tmp_path / "set.npz", **options)


@pytest.mark.parametrize("on_device", [True, False])
def test_pixels_and_labels_arrive_unchanged(tmp_path, on_device):
    content = arrays(class_names=np.array(["a", "b", "c", "d"]))
    dataset = load(tmp_path, content, on_device=on_device)
    test = dataset.splits["test"]
    assert (test.load is None) is on_device
    inputs = np.arange(12) if on_device else test.load(np.arange(12))
    pixels = np.asarray(test.read(test.pool, inputs))
    np.testing.assert_allclose(pixels * 255, content["test_images"], atol=1e-3)
    np.testing.assert_array_equal(test.labels, content["test_labels"])
    assert dataset.image_shape == (8, 8, 3) and dataset.classes == ("a", "b", "c", "d")
    assert {name: split.size for name, split in dataset.splits.items()} == {
        "train": 36,
        "validation": 4,
        "test": 12,
    }


def test_other_names_of_the_training_arrays_are_known(tmp_path):
    content = arrays()
    content["train_images"], content["train_labels"] = (
        content.pop("images"),
        content.pop("labels"),
    )
    assert load(tmp_path, content).splits["train"].size == 36


def test_validation_does_not_depend_on_the_seed(tmp_path):
    parts = [load(tmp_path, arrays(), seed=seed).splits["validation"].pool for seed in (0, 1)]
    np.testing.assert_array_equal(*parts)


def test_unlabeled_holds_training_but_not_validation_images(tmp_path):
    images = np.arange(20, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    dataset = load(
        tmp_path,
        {"images": images, "labels": np.arange(20) % 2, "unlabeled_images": images[:5] + 100},
    )
    seen = {name: set(np.asarray(split.pool)[:, 0, 0, 0]) for name, split in dataset.splits.items()}
    assert seen["unlabeled"] == seen["train"] | set(range(100, 105))
    assert not seen["unlabeled"] & seen["validation"]
    assert dataset.splits["unlabeled"].labels is None


def test_grey_images_become_rgb(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (10, 6, 6), np.uint8)
    for images in (grey, grey[..., None]):
        pool = np.asarray(data.from_arrays(images, validation=0.0).splits["train"].pool)
        np.testing.assert_array_equal(pool, np.repeat(grey[..., None], 3, axis=3))


def test_size_scales_the_short_side_and_cuts_the_centre():
    image = np.zeros((1, 8, 24, 3), np.uint8)
    image[:, :, 8:16] = 200
    resized = data.from_arrays(image, size=4, validation=0.0)
    pool = np.asarray(resized.splits["train"].pool)
    assert resized.image_shape == (4, 4, 3)
    assert pool.min() > 150  # the dark sides were cut off, up to the width of the filter
    # Antialiased: each pixel averages its neighbourhood instead of picking one of them.
    stripes = np.zeros((1, 16, 16, 3), np.uint8)
    stripes[:, :, ::2] = 200
    pool = np.asarray(data.from_arrays(stripes, size=4, validation=0.0).splits["train"].pool)
    assert np.abs(pool.astype(int) - 100).max() < 15


def test_limit_keeps_a_fixed_choice(tmp_path):
    first, again = (load(tmp_path, arrays(), limit=12, seed=seed) for seed in (0, 5))
    assert first.splits["train"].size + first.splits["validation"].size == 12
    np.testing.assert_array_equal(first.splits["train"].pool, again.splits["train"].pool)


def test_known_sets_use_the_published_statistics():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    assert data.from_arrays(images, name="cifar10").mean == (0.4914, 0.4822, 0.4465)
    np.testing.assert_allclose(data.from_arrays(images).mean, 0.5, atol=0.05)


def test_auto_streams_what_is_too_large_for_the_device(monkeypatch):
    images = np.zeros((20, 8, 8, 3), np.uint8)
    assert data.from_arrays(images).splits["train"].load is None
    monkeypatch.setattr("eqssl_jax.data.pipeline.RESIDENT_BYTES", 20 * 8 * 8 * 3 - 1)
    assert data.from_arrays(images).splits["train"].load is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, r"labels for both .* found .*'images': \(40, 8, 8, 3\)"),
        ({"images": None}, "holds no training images"),
        ({"test_labels": None}, "needs both test_images and test_labels"),
        ({"images": np.zeros((40, 8, 8, 3))}, "must be uint8 .* found float64"),
        ({"images": np.zeros((40, 192), np.uint8)}, r"found \(40, 192\)"),
        ({"images": np.zeros((40, 8, 8, 2), np.uint8)}, r"found \(40, 8, 8, 2\)"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "is empty"),
        ({"labels": np.arange(39) % 4}, r"40 integers.*found shape \(39,\)"),
        ({"labels": np.arange(40) % 4 * 1.0}, "float64"),
        ({"labels": np.arange(40) % 4 - 1}, "count from 0"),
        ({"test_labels": np.arange(12) % 3}, "test split of arrays has no image of 1 of its 4"),
        ({"test_labels": np.arange(12) % 5}, r"test split of arrays has the labels \[4\]"),
        ({"labels": np.arange(40) % 4 + 1}, "train split of arrays has no image of 1"),
        ({"test_images": np.zeros((12, 9, 9, 3), np.uint8)}, "splits differ in image shape"),
    ],
)
def test_bad_arrays_are_refused_with_what_was_found(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, arrays(**changes))


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        data.load(name="arrays", directory=tmp_path / "nowhere.npz")
    (tmp_path / "set.npz").write_bytes(b"not a zip at all")
    with pytest.raises(ValueError, match=r"set\.npz cannot be read"):
        data.load(name="arrays", directory=tmp_path / "set.npz")
    np.savez(tmp_path / "whole.npz", **arrays())
    (tmp_path / "set.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"set\.npz cannot be read"):
        data.load(name="arrays", directory=tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "needs a name"),
        ({"name": "arrays"}, "needs directory"),
        ({"name": "folder"}, "needs directory"),
        ({"name": "shapes", "size": 0}, "size must be at least 1"),
        ({"name": "shapes", "on_device": "always"}, "on_device"),
        ({"name": "shapes", "corrupt": "ignore"}, "corrupt"),
        ({"name": "shapes", "limit": 0}, "limit"),
        ({"name": "shapes", "limit": 5}, "train_size"),
        ({"name": "shapes", "directory": "here"}, "take no directory"),
        ({"name": "shapes", "trian_size": 5}, r"no options \['trian_size'\]"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load(**arguments)


def test_a_class_needs_two_training_images_beside_validation():
    images = np.arange(40, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    labels = np.arange(40) % 2
    labels[partition.held_out(40, 0.1)[0][0]] = 2
    labels[partition.held_out(40, 0.1)[1]] = 2
    with pytest.raises(ValueError, match=r"1 of the 3 classes .* fewer than 2 .*: rare \(1\)"):
        data.from_arrays(images, labels, classes=("a", "b", "rare"))
    whole = data.from_arrays(images, labels, classes=("a", "b", "rare"), validation=0.0)
    assert np.bincount(whole.splits["train"].labels)[2] == 5


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_large_arrays_stay_on_disk(tmp_path, monkeypatch, save):
    content = arrays(test_images=np.asfortranarray(arrays()["test_images"][..., 0]))  # grey
    save(tmp_path / "set.npz", **content)
    monkeypatch.setattr(data.arrays, "MAPPED", 500)  # bytes
    read = data.arrays.plain_arrays(tmp_path / "set.npz", "images")
    mapped = {key for key, values in read.items() if isinstance(values, np.memmap)}
    assert mapped == {"images", "test_images"}
    for key, values in read.items():
        np.testing.assert_array_equal(values, content[key])
    test = data.arrays.read_npz(tmp_path / "set.npz").splits["test"]
    expected = np.repeat(content["test_images"][[3, 1], ..., None], 3, axis=-1)
    np.testing.assert_array_equal(test.load(np.array([3, 1])), expected)


def test_a_large_array_of_objects_is_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "set.npz", images=np.array([{}] * 200, object))
    monkeypatch.setattr(data.arrays, "MAPPED", 100)
    with pytest.raises(ValueError, match="Python objects"):
        data.load(name="arrays", directory=tmp_path / "set.npz")
