import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data
from eqssl_jax.data import assemble, images


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def flat(value: int, width: int = 8, height: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def make(root, *, train=4, test=2, classes=("cat", "dog"), test_name="test"):
    """Class k has images of grey 100 k + i; test images lie 50 higher."""
    for k, name in enumerate(classes):
        for i in range(train):
            save(root / "train" / name / f"{i}.png", flat(100 * k + i))
        for i in range(test):
            save(root / test_name / name / f"{i}.png", flat(100 * k + 50 + i))
    return root


def load(root, **options) -> data.Dataset:
    return data.load(name="folder", directory=root, **{"validation": 0.0, **options})


def zipped(root, path, outer=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, outer + str(file.relative_to(root)))
    return path


def greys(split: data.Split) -> list[int]:
    return np.asarray(split.pool)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("test_name", ["test", "val"])
@pytest.mark.parametrize("kind", ["directory", "zip", "zip in a folder"])
def test_pixels_labels_and_class_names(tmp_path, test_name, kind):
    root = make(tmp_path / "set", test_name=test_name)
    if kind != "directory":
        root = zipped(root, tmp_path / "set.zip", "outer/" if "folder" in kind else "")
    dataset = load(root)
    assert dataset.classes == ("cat", "dog")
    assert greys(dataset.splits["train"]) == [0, 1, 2, 3, 100, 101, 102, 103]
    assert dataset.splits["train"].labels.tolist() == [0] * 4 + [1] * 4
    assert greys(dataset.splits["test"]) == [50, 51, 150, 151]
    assert dataset.splits["test"].labels.tolist() == [0, 0, 1, 1]


def test_streamed_folders_read_on_the_host(tmp_path):
    dataset = load(make(tmp_path), on_device=False)
    images_read = dataset.splits["test"].load(np.array([3, 0]))
    assert images_read.shape == (2, 8, 8, 3) and images_read[:, 0, 0, 0].tolist() == [151, 50]


def test_without_split_folders_a_test_split_is_held_out_of_every_class(tmp_path):
    root = make(tmp_path, train=10, test=0) / "train"
    first, again = load(root), load(root)
    assert greys(first.splits["test"]) == greys(again.splits["test"])
    assert first.splits["test"].labels.tolist() == [0, 1]
    values = greys(first.splits["train"]) + greys(first.splits["test"])
    assert sorted(values) == [*range(10), *range(100, 110)]
    assert "held out" in first.notes


def test_a_second_test_folder_and_other_files_are_ignored_aloud(tmp_path):
    root = make(make(tmp_path), train=0, test_name="val")
    (root / "README.txt").write_text("about")
    (root / "train" / "cat" / ".hidden.png").write_bytes(b"")
    dataset = load(root)
    assert "val/ is not used" in dataset.notes
    assert dataset.splits["train"].size == 8


def test_every_kind_of_image_becomes_rgb(tmp_path):
    colour = np.dstack([np.full((8, 8), value, np.uint8) for value in (200, 100, 50)])
    image = Image.fromarray(colour)
    half = np.dstack([colour, np.full((8, 8), 128, np.uint8)])
    kinds = {
        "rgb.png": (image, (200, 100, 50)),
        "palette.png": (image.convert("P", palette=Image.Palette.ADAPTIVE), (200, 100, 50)),
        "alpha.png": (Image.fromarray(half), (100, 50, 25)),
        "cmyk.jpg": (image.convert("CMYK"), (200, 100, 50)),
        "grey.jpg": (Image.fromarray(colour[..., 0]), (200, 200, 200)),
        "grey_alpha.png": (Image.fromarray(half).convert("LA"), None),
        "bits.png": (Image.fromarray(colour[..., 0]).convert("1"), None),
        "deep.png": (Image.fromarray(np.full((8, 8), 200 * 257, np.uint16)), (200, 200, 200)),
    }
    for name, (kind, expected) in kinds.items():
        kind.save(tmp_path / name)
        pixels = images.decode((tmp_path / name).read_bytes, name)
        assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
        if expected:
            np.testing.assert_allclose(pixels[4, 4], expected, atol=3, err_msg=name)


@pytest.mark.parametrize(("height", "width"), [(30, 20), (9, 31), (16, 16), (5, 7)])
def test_an_image_is_brought_to_its_size_while_it_is_decoded(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    decoded = images.decode(content.getvalue, "x", 16)
    assert decoded.shape == (16, 16, 3)
    np.testing.assert_array_equal(decoded, images.fit(pixels, 16))
    # The short side is scaled to 16, and the centre of the long one kept.
    short = 16 / min(height, width)
    whole = Image.fromarray(pixels).resize(
        (max(16, round(width * short)), max(16, round(height * short))), Image.Resampling.BILINEAR
    )
    left, top = ((side - 16) // 2 for side in whole.size)
    np.testing.assert_array_equal(decoded, np.asarray(whole)[top : top + 16, left : left + 16])


def test_images_of_different_sizes_need_a_size(tmp_path):
    root = make(tmp_path)
    save(root / "train" / "cat" / "wide.png", flat(7, width=20))
    with pytest.raises(ValueError, match=r"8 × 8 pixels.*wide\.png has 20 × 8.*Give size"):
        load(root)
    dataset = load(root, size=8)
    assert dataset.image_shape == (8, 8, 3) and greys(dataset.splits["train"])[4] == 7


@pytest.mark.parametrize("where", ["directory", "zip"])
@pytest.mark.parametrize("damage", ["truncated", "not an image", "empty"])
def test_a_broken_image_is_named_or_skipped_and_counted(tmp_path, damage, where):
    root = make(tmp_path / "set")
    broken = root / "train" / "dog" / "broken.jpg"
    save(broken, np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    whole = broken.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "not an image": b"<html>", "empty": b""}
    broken.write_bytes(content[damage])
    if where == "zip":
        root = zipped(root, tmp_path / "set.zip")
    with pytest.raises(ValueError, match=r"dog/broken\.jpg is corrupt") as error:
        load(root)
    assert " at 0x" not in str(error.value)
    for on_device in (True, False):
        dataset = load(root, corrupt="skip", on_device=on_device)
        assert dataset.splits["train"].size == 8
        assert dataset.splits["train"].labels.tolist() == [0] * 4 + [1] * 4
        assert dataset.left_out["corrupt images"] == 1


def test_a_broken_image_of_a_streamed_set_is_named_when_it_is_read(tmp_path, monkeypatch):
    root = make(tmp_path, train=40)
    (root / "train" / "cat" / "7.png").write_bytes(b"")
    # Measuring a small set reads all of it, and would find the image at once.
    monkeypatch.setitem(assemble._STATISTICS, "folder", ((0.5,) * 3, (0.2,) * 3))
    dataset = load(root, on_device=False)
    wanted = [np.array([0, 1]), np.arange(38)]
    batches = data.stream(dataset.splits["train"], wanted.__getitem__, start=0, stop=2)
    next(batches)
    with pytest.raises(ValueError, match=r"cat/7\.png is corrupt"):
        next(batches)


def test_a_damaged_zip_member_is_named(tmp_path):
    archive = zipped(make(tmp_path / "set"), tmp_path / "set.zip")
    content = bytearray(archive.read_bytes())
    at = content.find(b"IDAT", content.find(b"train/dog/2.png"))
    content[at + 6] ^= 255
    archive.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"set\.zip:train/dog/2\.png is corrupt"):
        load(archive)


def test_only_broken_images_are_refused_even_when_skipping(tmp_path):
    root = make(tmp_path)
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="None of the 8 images"):
        load(root, corrupt="skip")


def test_a_class_lost_to_skipping_is_named(tmp_path):
    root = make(tmp_path)
    for path in (root / "test" / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"test split of folder has no image of 1 .*: dog"):
        load(root, corrupt="skip")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("test/owl/1.png", r"test has the classes \['owl'\], which train lacks"),
        ("train/owl/1.png", r"train has the classes \['owl'\], which test lacks"),
    ],
)
def test_classes_missing_in_a_split_are_named(tmp_path, extra, message):
    root = make(tmp_path)
    save(root / extra, flat(0))
    with pytest.raises(ValueError, match=message):
        load(root)


def test_missing_empty_or_misplaced_data_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no images in class folders"):
        load(tmp_path)
    save(tmp_path / "1.png", flat(0))
    with pytest.raises(ValueError, match="not a readable zip"):
        load(tmp_path / "1.png")
    (tmp_path / "only_test").mkdir()
    with pytest.raises(ValueError, match="no train folder"):
        load(make(tmp_path / "only_test", train=0))
    with pytest.raises(ValueError, match="no images in class folders"):
        load(zipped(tmp_path / "nowhere", tmp_path / "empty.zip"))


def test_a_class_with_one_image_cannot_be_split(tmp_path):
    root = make(tmp_path, train=1, test=0) / "train"
    with pytest.raises(ValueError, match="single image"):
        load(root)


def test_png_and_jpeg_bytes_decode_to_what_pil_reads():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    np.testing.assert_array_equal(images.decode(content.getvalue, "x"), pixels)
