"""Fingerprints say what differs, and nothing where nothing does."""

import json

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data
from eqssl_jax.data import base as description
from eqssl_jax.data import fingerprint
from eqssl_jax.training.provenance import (
    changes,
    provenance,
    refuse_changes,
    seen_in_training,
)


def folder(root, count=12):
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.random.default_rng([label, i]).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02}.png")
    return root


def taken(root, **options):
    whole = data.load(name="folder", directory=root, **options)
    return json.loads(json.dumps(fingerprint.fingerprint(whole)))


@pytest.mark.parametrize("on_device", [True, False])
def test_equal_data_is_equal_wherever_it_lies(tmp_path, on_device):
    first = taken(folder(tmp_path / "a"))
    assert fingerprint.differences(first, taken(folder(tmp_path / "b"), on_device=on_device)) == ""


def test_what_differs_is_counted(tmp_path):
    first = taken(folder(tmp_path / "a"))
    more = folder(tmp_path / "more", count=13)
    assert "2 images added" in fingerprint.differences(first, taken(more))
    assert "2 images removed" in fingerprint.differences(taken(more), first)
    (more / "cat" / "12.png").unlink()
    (more / "dog" / "12.png").unlink()
    (more / "cat" / "03.png").write_bytes((more / "dog" / "03.png").read_bytes())
    changed = fingerprint.differences(first, taken(more))
    assert changed == "1 image of the same name with other content"
    (more / "cat" / "05.png").rename(more / "dog" / "new.png")
    (more / "cat" / "04.png").rename(more / "cat" / "other.png")
    changed = fingerprint.differences(first, taken(more)).split("; ")
    assert changed[:2] == ["1 image relabelled", "1 image renamed"]


def test_a_class_more_relabels_nobody(tmp_path):
    root = folder(tmp_path)
    first = taken(root)
    (root / "ant").mkdir()
    for i in range(6):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(root / "ant" / f"{i}.png")
    changed = fingerprint.differences(first, taken(root))
    assert "the classes were cat, dog and are ant, cat, dog; 6 images added" in changed
    assert "relabelled" not in changed


def test_relabelled_images_and_splits_are_counted():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    labels = np.arange(20) % 2
    first = fingerprint.fingerprint(data.from_arrays(images, labels))
    labels[[3, 4]] = labels[[4, 3]]
    second = fingerprint.fingerprint(data.from_arrays(images, labels))
    assert fingerprint.differences(first, second) == "2 images relabelled"
    third = fingerprint.fingerprint(data.from_arrays(images, labels, validation=0.2))
    assert fingerprint.differences(second, third) == "2 images moved to another split"
    without = fingerprint.fingerprint(data.from_arrays(images))
    assert "20 images relabelled" in fingerprint.differences(first, without)


def test_large_sets_are_compared_as_a_whole(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    monkeypatch.setattr(fingerprint, "_LISTED", 10)
    first = fingerprint.fingerprint(data.from_arrays(images))
    second = fingerprint.fingerprint(data.from_arrays(images[:15]))
    assert "examples" not in first["splits"]["train"]
    assert "train had 18 images and has 13" in fingerprint.differences(first, second)
    third = fingerprint.fingerprint(data.from_arrays(images[::-1]))
    assert "has other contents" in fingerprint.differences(first, third)


def test_test_images_that_were_trained_on_are_counted():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    first = fingerprint.fingerprint(data.from_arrays(images, test_images=images[:7] // 2))
    assert fingerprint.trained_on(first, first) == 0
    other = data.from_arrays(images // 3, test_images=images[:7], validation=0.0)
    trained = np.asarray(data.from_arrays(images).splits["train"].pool)
    expected = sum(
        any(np.array_equal(image, known_image) for known_image in trained) for image in images[:7]
    )
    assert fingerprint.trained_on(first, fingerprint.fingerprint(other)) == expected > 4


def test_images_of_all_data_that_were_trained_on_count_and_unknown_ones_are_said():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
    a, b = pixels[:20], pixels[20:]
    test = np.concatenate([a[:10], b[:10], pixels[:3] // 2])
    kept, earlier, present = (
        provenance(data.from_arrays(*given, validation=0.0), (4, 4, 3))
        for given in ((b,), (a,), (b, None, test))
    )
    kept = kept._replace(earlier=(earlier.fingerprint,))
    assert "training images: 20." in seen_in_training(kept, present)
    assert seen_in_training(kept, kept) == ""
    unknown = {"train": {**earlier.splits["train"], "examples": None}}
    kept = kept._replace(earlier=({**earlier.fingerprint, "splits": unknown},))
    assert "at least 10; of 1 of the 2 data sets" in seen_in_training(kept, present)


def test_rendered_sets_and_clouds_have_fingerprints():
    sizes = dict(train_size=20, test_size=4, out_of_range_size=4)
    first, again, other = (
        fingerprint.fingerprint(data.load(name="shapes", seed=seed, **sizes)) for seed in (0, 0, 1)
    )
    assert fingerprint.differences(first, again) == ""
    assert "28 images added" in fingerprint.differences(first, other)
    assert fingerprint.trained_on(first, first) is None
    clouds = [fingerprint.fingerprint(data.load(name="proteins", chains=n)) for n in (12, 12, 13)]
    assert fingerprint.differences(*clouds[:2]) == ""
    assert "1 image added" in fingerprint.differences(*clouds[1:])


def objects(angles, factor="angle", **more):
    """Ten images with a factor of their own."""
    pixels = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3), np.uint8)
    whole = data.from_arrays(pixels, np.arange(10) % 2, validation=0.0)
    split = whole.splits["train"]._replace(factors={factor: np.asarray(angles), **more})
    return whole._replace(splits={"train": split})


def test_other_factors_of_the_same_images_are_other_data(tmp_path):
    """Poses and hues are what methods and measures of equivariance learn and are judged by."""
    angles = np.linspace(0, 1, 10, dtype=np.float32)
    first = fingerprint.fingerprint(objects(angles))
    assert fingerprint.differences(first, json.loads(json.dumps(first))) == ""
    other = angles.copy()
    other[3] += 1e-3
    for changed, differing in (
        (objects(other), "angle"),
        (objects(angles[::-1]), "angle"),
        (objects(angles[:, None].repeat(2, 1)), "angle"),
        (objects(angles, hue=angles), "hue"),
        (objects(angles, "hue"), "angle, hue"),
    ):
        second = fingerprint.fingerprint(changed)
        assert fingerprint.differences(first, second) == f"train has other factors: {differing}"
    same = objects(np.where(angles == 0, -0.0, angles))
    assert fingerprint.differences(first, fingerprint.fingerprint(same)) == ""
    kept, present = (provenance(whole, (4, 4, 3)) for whole in (objects(angles), objects(other)))
    with pytest.raises(ValueError, match=r"other factors: angle\. Restore them"):
        refuse_changes(tmp_path, changes(kept, present), "refuse")


def test_a_fingerprint_of_an_older_version_has_no_factors_and_still_fits():
    first = fingerprint.fingerprint(objects(np.zeros(10)))
    older = json.loads(json.dumps(first))
    del older["splits"]["train"]["factors"]
    second = fingerprint.fingerprint(objects(np.ones(10)))
    assert fingerprint.differences(older, second) == fingerprint.differences(second, older) == ""


def test_large_images_are_announced(tmp_path):
    small = data.from_arrays(np.zeros((20, 32, 32, 3), np.uint8))
    assert description.size_notice(small, (32, 32, 3)) == ""
    facts = description.describe(small, (32, 32, 3))
    assert facts["classes"].startswith("no labels") and facts["left out"] == "nothing"
