import re
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import tensorflow_datasets
import tiny_tfds

from eqssl_jax import data


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny_tfds.prepare(tmp_path_factory.mktemp("tfds"))


def load(directory, name="tiny_photos", **options):
    return data.load(name=name, directory=directory, **{"validation": 0.0, **options})


@pytest.mark.parametrize("on_device", [True, False])
def test_pixels_and_labels_arrive_unchanged(directory, on_device):
    dataset = load(directory, on_device=on_device)
    for seed, (split, count) in enumerate({"train": 60, "test": 20}.items()):
        read = dataset.splits[split]
        pixels = np.asarray(read.pool) if on_device else read.load(np.arange(count))
        expected = tiny_tfds.photos(count, seed)
        np.testing.assert_array_equal(pixels, [image for image, _ in expected])
        np.testing.assert_array_equal(read.labels, [label for _, label in expected])
    assert dataset.classes == tiny_tfds.CLASSES and dataset.image_shape == (16, 16, 3)


def test_reading_imports_no_tensorflow(directory):
    program = (
        "import sys; from eqssl_jax import data; "
        "assert 'tensorflow_datasets' not in sys.modules; "
        f"found = data.load(name='tiny_photos', directory={str(directory)!r}, on_device=False); "
        "found.splits['train'].load([0, 1]); assert not {'tensorflow', 'grain'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_validation_is_carved_from_train(directory):
    dataset = load(directory, validation=0.1)
    assert [dataset.splits[name].size for name in ("train", "validation", "test")] == [54, 6, 20]


def test_jpegs_of_different_sizes_need_a_size(tmp_path):
    train = [
        (tiny_tfds.encode(pixels, "JPEG"), label)
        for side in (12, 20)
        for pixels, label in tiny_tfds.photos(4, 0, side)
    ]
    tiny_tfds.write(tmp_path, {"train": train, "test": train}, name="mixed")
    with pytest.raises(ValueError, match=r"record .* of mixed/1\.0\.0.*Give size"):
        load(tmp_path, "mixed")
    dataset = load(tmp_path, "mixed", size=10)
    assert dataset.image_shape == (10, 10, 3)
    red, blue = np.asarray(dataset.splits["train"].pool, np.float32).mean((1, 2))[:2, [0, 2]]
    assert red[0] > red[1] and blue[0] < blue[1]


def test_a_corrupt_record_is_named_or_skipped_and_counted(tmp_path):
    train = [(tiny_tfds.encode(pixels), label) for pixels, label in tiny_tfds.photos(6, 0)]
    broken = [*train, (train[0][0][:100], 0)]
    tiny_tfds.write(tmp_path, {"train": broken, "test": train}, name="broken")
    with pytest.raises(ValueError, match=r"record 6 of broken/1\.0\.0, split train, is corrupt"):
        load(tmp_path, "broken")
    dataset = load(tmp_path, "broken", corrupt="skip")
    assert dataset.splits["train"].size == 6
    assert dataset.left_out == {"corrupt images": 1}


def test_splits_can_be_named_and_test_falls_back(tmp_path):
    items = [(tiny_tfds.encode(pixels), label) for pixels, label in tiny_tfds.photos(20, 0)]
    tiny_tfds.write(tmp_path, {"train": items, "validation": items[:4]}, name="two")
    assert load(tmp_path, "two").splits["test"].size == 4
    tiny_tfds.write(tmp_path, {"train": items, "extra": items[:6]}, name="one")
    held = load(tmp_path, "one")
    assert held.splits["test"].size == 2 and "held out" in held.notes
    named = load(tmp_path, "one", train_split="extra", test_split="train")
    assert (named.splits["train"].size, named.splits["test"].size) == (6, 20)
    with pytest.raises(ValueError, match=r"no split 'odd', only \['extra', 'train'\]"):
        load(tmp_path, "one", test_split="odd")


def test_stl10_has_an_unlabeled_split_that_includes_train(tmp_path):
    builder = tensorflow_datasets.builder("stl10", data_dir=str(tmp_path))
    names = tuple(builder.info.features["label"].names)
    images = [tiny_tfds.encode(pixels) for pixels, _ in tiny_tfds.photos(30, 0, 12)]
    labeled = [(image, number % 10) for number, image in enumerate(images)]
    tiny_tfds.write(
        tmp_path,
        {"train": labeled, "test": labeled, "unlabelled": [(image, -1) for image in images[:7]]},
        name="stl10",
        classes=names,
        version=str(builder.version),
    )
    dataset = load(tmp_path, "stl10", size=8, validation=0.1)
    sizes = {name: split.size for name, split in dataset.splits.items()}
    assert sizes == {"train": 27, "validation": 3, "test": 30, "unlabeled": 34}
    assert dataset.splits["unlabeled"].labels is None
    assert dataset.mean == (0.4406, 0.4273, 0.3858) and dataset.image_shape == (8, 8, 3)


def test_imagenet100_keeps_its_classes_in_the_order_of_the_list(tmp_path):
    builder = tensorflow_datasets.builder("imagenet2012", data_dir=str(tmp_path))
    names = tuple(builder.info.features["label"].names)
    listed = resources.files("eqssl_jax.data").joinpath("imagenet100.txt").read_text().split()
    shade = {name: number for number, name in enumerate(listed)}
    wanted = [*listed[::-1], *[name for name in names if name not in shade][:20]]
    items = [
        (tiny_tfds.encode(np.full((4, 4, 3), shade.get(name, 255), np.uint8)), names.index(name))
        for name in wanted * 2
    ]
    tiny_tfds.write(
        tmp_path,
        {"train": items, "validation": items},
        name="imagenet2012",
        classes=names,
        version=str(builder.version),
        extra={"file_name": "x.JPEG"},
    )
    dataset = load(tmp_path, "imagenet100")
    assert dataset.classes == tuple(listed) and dataset.splits["test"].size == 200
    train = dataset.splits["train"]
    np.testing.assert_array_equal(np.asarray(train.pool)[:, 0, 0, 0], train.labels)
    assert train.labels.tolist() == list(range(100))[::-1] * 2


def birds(directory, count=6):
    """Images of 40 × 20 pixels: red is the column, green the row; a box wanders to the right."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(40), np.arange(20)[:, None]
    items = [(tiny_tfds.encode(pixels), number % 2) for number in range(count)]
    boxes = [(0.25, 0.1 * number, 0.75, 0.1 * number + 0.2) for number in range(count)]
    return tiny_tfds.write(
        directory, {"train": items, "test": items}, name="birds", boxes=boxes
    )  # rows 5 … 14, columns 4 number … 4 number + 7: the square has 10 pixels a side


@pytest.mark.parametrize("on_device", [True, False])
def test_images_can_be_cut_to_their_boxes(tmp_path, on_device):
    dataset = load(
        birds(tmp_path), "birds", size=10, crop_boxes=True, margin=0.0, on_device=on_device
    )
    assert dataset.image_shape == (10, 10, 3)
    test = dataset.splits["test"]
    pixels = np.asarray(test.pool) if on_device else test.load(np.arange(6))
    lefts = [0, 3, 7, 11, 15, 19]  # 4 number − 1, shifted inside for the first
    for left, image in zip(lefts, pixels, strict=True):
        np.testing.assert_array_equal(image[:, :, 0], np.tile(left + np.arange(10), (10, 1)))
        np.testing.assert_array_equal(image[:, :, 1], np.tile(5 + np.arange(10)[:, None], 10))
    np.testing.assert_array_equal(test.labels, np.arange(6) % 2)


def test_a_margin_shows_more_and_whole_images_are_the_default(tmp_path):
    birds(tmp_path)
    wide = load(tmp_path, "birds", size=16, crop_boxes=True, margin=0.6)
    image = np.asarray(wide.splits["train"].pool)[3]  # centre (16, 10), side 16
    np.testing.assert_array_equal(image[0, :, 0], 8 + np.arange(16))
    np.testing.assert_array_equal(image[:, 0, 1], 2 + np.arange(16))
    whole = load(tmp_path, "birds")
    assert whole.image_shape == (20, 40, 3)


def test_boxes_that_cannot_be_cut_out_are_refused(directory, tmp_path):
    with pytest.raises(ValueError, match=r"needs the feature bbox.* has \['image', 'label'\]"):
        load(directory, crop_boxes=True)
    birds(tmp_path)
    with pytest.raises(ValueError, match=r"options\.margin is -1"):
        load(tmp_path, "birds", size=10, crop_boxes=True, margin=-1)
    items = [(tiny_tfds.encode(pixels), label) for pixels, label in tiny_tfds.photos(5, 0)]
    flat = [(0.2, 0.2, 0.6, 0.6)] * 4 + [(0.5, 0.1, 0.5, 0.4)]
    tiny_tfds.write(tmp_path, {"train": items, "test": items[:4]}, name="flat", boxes=flat)
    with pytest.raises(
        ValueError, match=r"record 4 of flat/1\.0\.0, split train, has a box .*area"
    ):
        load(tmp_path, "flat", size=8, crop_boxes=True)
    assert load(tmp_path, "flat", size=8, crop_boxes=True, corrupt="skip").splits["train"].size == 4


def test_labels_of_large_splits_are_kept(directory, tmp_path, monkeypatch):
    monkeypatch.setattr("eqssl_jax.data.tfds._CACHED_FROM", 30)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = load(directory, on_device=False).splits["train"].labels
    (kept,) = tmp_path.rglob("*.npy")
    np.save(kept, 1 - first)  # to see that it is read
    np.testing.assert_array_equal(
        load(directory, on_device=False).splits["train"].labels, 1 - first
    )


def test_data_that_is_not_prepared_says_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load(tmp_path, "cifar10")
    assert "tfds build cifar10 --file_format=array_record" in str(error.value)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(FileNotFoundError, match="tfds build imagenet2012"):
        load(tmp_path, "imagenet100")


@pytest.mark.parametrize("name", ["3", "a.b", "/etc/passwd", "..", "a,b", "a/b/c", "cifar10:9.9.9"])
def test_what_is_no_name_is_refused_in_one_line(tmp_path, name):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(name)) as error:
        load(tmp_path, name)
    assert "\n" not in str(error.value)


def test_unknown_names_and_unfit_sets_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no data set 'cifar11'"):
        load(tmp_path, "cifar11")
    with pytest.raises(ValueError, match=r"no options \['colour'\]"):
        load(tmp_path, "cifar10", colour=True)
