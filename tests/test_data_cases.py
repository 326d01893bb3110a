"""Inputs as people have them: each is read, counted as left out, or named in one paragraph."""

import os
import resource
import socket
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data
from eqssl_jax.data import images, listing

CASES = Path(__file__).parents[2] / "shared" / "cases"
HOLDERS = ("arrays", "manifests", "odd", "proteins")  # folders of cases
ODD = ("bomb.png", "exif6.jpg", "long.png")


def pictures(folder, count=4, ending=".png", side=8, first=0, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        pixels = np.random.default_rng([i, len(folder.name)]).integers(0, 256, (side, side, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}{ending}", **options)
    return folder


def load(root, name="folder", **options):
    return data.load(name=name, directory=root, **{"validation": 0.0, **options})


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Test"), ("TRAIN", "VALID"), ("train", "Testing"), ("Train", "Validation")],
)
def test_splits_are_known_in_any_case(tmp_path, train, test):
    for split in (train, test):
        for name in ("Apple", "Pear"):
            pictures(tmp_path / split / name)
    dataset = load(tmp_path)
    assert dataset.classes == ("Apple", "Pear")
    assert {name: split.size for name, split in dataset.splits.items()} == {"train": 8, "test": 8}


def test_two_folders_of_one_split_are_refused(tmp_path):
    for split in ("train", "Training"):
        pictures(tmp_path / split / "a")
    with pytest.raises(ValueError, match="Training and train: keep one"):
        load(tmp_path)


@pytest.mark.parametrize("ending", [".webp", ".bmp", ".tif", ".TIFF", ".gif", ".ppm", ".JPEG"])
def test_what_pillow_reads_is_read(tmp_path, ending):
    pictures(tmp_path / "cat")
    pictures(tmp_path / "cat", ending=ending, first=4)
    pictures(tmp_path / "dog", ending=ending)
    dataset = load(tmp_path)
    assert sum(split.size for split in dataset.splits.values()) == 12
    assert dataset.left_out == {}


def test_what_is_passed_over_is_counted_by_reason(tmp_path):
    for name in ("cat", "dog"):
        pictures(tmp_path / name)
    (tmp_path / "owl").mkdir()
    (tmp_path / "fox").mkdir()
    for name in ("fox/1.heic", "cat/notes.txt", "dog/notes.txt", "README", "cat/Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    pictures(tmp_path / "__MACOSX" / "cat")
    pictures(tmp_path / ".cache" / "cat")
    pictures(tmp_path, count=1)
    dataset = load(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.left_out == {
        "class folders without images (fox, owl)": 2,
        "files ending in .heic": 1,
        "files ending in .txt": 2,
        "files without an ending": 1,
        "hidden files and folders": 3,
        "images outside class folders": 1,
    }


def test_one_folder_of_folders_is_refused_with_both_readings(tmp_path):
    for name in ("mon", "tue"):
        pictures(tmp_path / "cat" / name)
    with pytest.raises(ValueError, match=r"two ways.*mon, tue give .*/cat as config.*'cat'"):
        load(tmp_path)
    assert load(tmp_path / "cat").classes == ("mon", "tue")
    assert load(tmp_path, classes=["cat"]).classes == ("cat",)


@pytest.mark.parametrize("splits", [False, True])
def test_images_without_class_folders_have_no_labels(tmp_path, splits):
    for folder in ("train", "test") if splits else (".",):
        pictures(tmp_path / folder, count=10)
    dataset = load(tmp_path, validation=0.2)
    assert dataset.classes == () and all(s.labels is None for s in dataset.splits.values())
    assert dataset.splits["train"].size == 8 and ("test" in dataset.splits) is splits


def test_labels_in_one_split_only_are_refused(tmp_path):
    pictures(tmp_path / "train" / "cat")
    pictures(tmp_path / "test")
    with pytest.raises(ValueError, match="no images in class folders below the test folder"):
        load(tmp_path)


@pytest.mark.parametrize("separator", ["\\", "/", "/./", "//"])
@pytest.mark.parametrize("start", ["", "./", "stuff/"])
def test_zips_are_read_however_members_are_written(tmp_path, separator, start):
    pictures(tmp_path / "one")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("cat", "dog"):
            for i in range(4):
                path = (tmp_path / "one" / f"{i:02}.png").read_bytes()
                info = zipfile.ZipInfo("x")
                info.filename = f"{start}{name}{separator}{i}.png".replace("/", separator[0])
                archive.writestr(info, path)
        archive.writestr("__MACOSX/._x.png", b"x")
        archive.writestr("../outside.png", b"x")
    dataset = load(tmp_path / "set.zip")
    assert dataset.classes == ("cat", "dog")
    assert dataset.left_out == {
        "hidden files and folders": 1,
        "members outside of the zip's own folders": 1,
    }


@pytest.mark.parametrize(
    ("flag", "method", "message"),
    [(1, 8, "is encrypted: unpack it"), (1, 99, "is encrypted"), (0, 93, "by method 93.*unpack")],
)
def test_a_zip_that_python_cannot_open_is_named(tmp_path, flag, method, message):
    pictures(tmp_path / "cat")
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "cat").iterdir():
            archive.write(path, f"cat/{path.name}")
        for info in archive.infolist():  # as the central directory will have it
            info.flag_bits |= flag
            info.compress_type = method
    with pytest.raises(ValueError, match=rf"set\.zip.*{message}"):
        load(tmp_path / "set.zip")


@pytest.mark.parametrize("name", ["arrays", "proteins"])
def test_a_zip_of_another_kind_is_named(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("my data/cat/0.png", b"x")
    with pytest.raises(ValueError, match=r"set\.zip is a zip of other files \(my data/cat/0\.png"):
        load(tmp_path / "set.zip", name)
    np.savez(tmp_path / "set.npz", images=np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"1 files ending in \.npy"):
        load(tmp_path / "set.npz")


def test_pictures_are_upright(tmp_path):
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:, :20] = 255  # the camera lay on its side: left is up
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "b.png", "c.webp", "d.tif"):
        Image.fromarray(pixels).save(tmp_path / name, exif=exif)
        decoded = images.decode((tmp_path / name).read_bytes, name)
        assert decoded.shape == (40, 24, 3)
        assert decoded[:18].min() > 200 and decoded[22:].max() < 50, name
    assert images.upright_size((tmp_path / "a.jpg").read_bytes()) == (40, 24)


def bomb(path, width=20000, height=10000):
    Image.new("1", (width, height)).save(path)


def test_a_bomb_is_too_large_and_says_how_to_raise_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    for side in (101, 190):  # Pillow warns of the first and refuses the second
        bomb(tmp_path / "bomb.png", side, side)
        with pytest.raises(images.TooLarge, match=r"too large.*limit.*EQSSL_JAX_MAX_PIXELS"):
            images.decode((tmp_path / "bomb.png").read_bytes, "bomb.png")
    monkeypatch.setenv("EQSSL_JAX_MAX_PIXELS", "50000")
    assert images.decode((tmp_path / "bomb.png").read_bytes, "x", 4).shape == (4, 4, 3)
    monkeypatch.delenv("EQSSL_JAX_MAX_PIXELS")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    root = tmp_path / "set"
    for name in ("cat", "dog"):
        pictures(root / name)
    bomb(root / "cat" / "bomb.png", 190, 190)
    dataset = load(root, corrupt="skip")
    assert dataset.left_out == {"images too large to decode": 1}


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    pictures(tmp_path / "cat")
    with (tmp_path / "cat" / "huge.png").open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no space
    with pytest.raises(ValueError, match=r"huge\.png is too large: it has 1024"):
        listing.read_file(str(tmp_path / "cat" / "huge.png"))


@pytest.mark.parametrize(("width", "height"), [(2, 8000), (8000, 2), (1, 60000)])
def test_a_very_long_image_is_resized_in_bounded_memory(width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 2 - 20 : height // 2 + 20, width // 2 - 20 :][:, :41] = 200
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    fitted = images.fit(pixels, 224)
    assert fitted.shape == (224, 224, 3) and fitted.mean() > 190  # the middle is kept
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_floating_point_pixels_are_refused_instead_of_black(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="floating-point"):
        images.decode((tmp_path / "a.tif").read_bytes, "a.tif")


def test_loops_pipes_and_devices_are_not_followed(tmp_path):
    for name in ("cat", "dog"):
        pictures(tmp_path / name)
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    (tmp_path / "a_link").symlink_to(tmp_path / "dog")
    (tmp_path / "cat" / "self.png").symlink_to(tmp_path / "cat" / "self.png")
    (tmp_path / "cat" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket has few letters
        try:
            bound.bind("cat/socket.png")
        finally:
            os.chdir(here)
    dataset = load(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert sum(split.size for split in dataset.splits.values()) == 8
    assert dataset.left_out == {
        "links to folders that are read already": 2,
        "links to nothing, pipes, sockets or devices": 4,
    }
    outside = pictures(tmp_path.parent / f"{tmp_path.name}_outside")
    (tmp_path / "fox").symlink_to(outside)
    assert load(tmp_path).classes == ("cat", "dog", "fox")
    for root in (tmp_path / "cat" / "pipe.png", Path("/dev/null")):
        for name in ("folder", "proteins"):
            with pytest.raises(ValueError, match="no folder or file of data"):
                load(root, name)


def test_names_that_are_no_text_are_printed(tmp_path):
    root = os.fsencode(tmp_path)
    for name in (b"caf\xe9", b"dog"):
        os.mkdir(root + b"/" + name)
        for i in range(4):
            pictures(tmp_path / "one", count=1)
            content = (tmp_path / "one" / "00.png").read_bytes()
            with open(root + b"/" + name + b"/%d.png" % i, "wb") as file:
                file.write(content)
    (tmp_path / "one" / "00.png").unlink()
    assert load(tmp_path).classes[0] == "caf\\udce9"


def test_files_of_different_or_large_sizes_are_brought_to_that_of_the_views(tmp_path):
    pictures(tmp_path / "a")
    pictures(tmp_path / "b", side=12)
    dataset = load(tmp_path, views=10)
    assert dataset.image_shape == (10, 10, 3)
    assert dataset.sizes == ((8, 8), (12, 12), (12, 12), 8)
    pictures(tmp_path / "c" / "x")
    pictures(tmp_path / "c" / "y")
    assert load(tmp_path / "c", views=10).image_shape == (8, 8, 3)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.parametrize(
    ("case", "name", "options", "right"),
    [
        ("kaggle_layout", "folder", {}, ("Apple, Pear", 24, 12)),
        ("webp_class", "folder", {}, ("cat, dog, fox", 33, 3)),
        ("mixed_ext", "folder", {}, ("cat, dog", 44, 4)),
        ("empty_class", "folder", {}, ("cat, dog", 22, 2)),
        ("single_sub", "folder", {}, "read in two ways"),
        ("flat", "folder", {}, ("", 12)),
        ("backslash.zip", "folder", {}, ("cat, dog", 22, 2)),
        ("dotslash.zip", "folder", {}, ("cat, dog", 22, 2)),
        ("outer.zip", "folder", {}, ("cat, dog", 22, 2)),
        ("outer.zip", "arrays", {}, "is a zip of other files"),
        ("outer.zip", "proteins", {}, "is a zip of other files"),
        ("proteins/nan", "proteins", {}, "not finite numbers"),
        ("proteins/star", "proteins", {}, "not finite numbers"),
        ("proteins/mac", "proteins", {}, "has 1 chains of"),  # and not two: ._2.cif is hidden
        ("arrays/over32.npz", "arrays", {}, "beyond 32 bits"),
        ("arrays/bytes_names.npz", "arrays", {}, ("cat, dog, fox, owl", 40, 20)),
        ("arrays/unlabeled_only_labels_mix.npz", "arrays", {}, ("0, 1, 2, 3", 40, 20, 80)),
        ("manifests/man_f32", "folder", {"manifest": "m.csv", "factors": ["angle"]}, "1e39"),
        (
            "manifests/man_dc",
            "folder",
            {"manifest": "m.csv", "factors": ["angle"]},
            "more than one",
        ),
    ],
)
def test_the_shared_cases(case, name, options, right):
    """What is right: the classes and the images of each split, or a text of the refusal."""
    if isinstance(right, str):
        with pytest.raises(ValueError, match=right) as error:
            load(CASES / case, name, views=32, **options)
        assert "\n" not in str(error.value)
    else:
        dataset = load(CASES / case, name, views=32, **options)
        sizes = tuple(split.size for split in dataset.splits.values())
        assert (", ".join(dataset.classes), *sizes) == right


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_every_shared_case_is_tried():
    (tried,) = (mark for mark in test_the_shared_cases.pytestmark if mark.name == "parametrize")
    names = {case[0] for case in tried.args[1]} | {f"odd/{name}" for name in ODD}
    inputs = {path for path in CASES.iterdir() if path.name in HOLDERS for path in path.iterdir()}
    inputs |= {path for path in CASES.iterdir() if path.name not in (*HOLDERS, "README.md")}
    assert {str(path.relative_to(CASES)) for path in inputs} == names


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_shared_odd_images():
    odd = CASES / "odd"
    assert images.decode((odd / "exif6.jpg").read_bytes, "x").shape == (40, 24, 3)
    assert images.decode((odd / "long.png").read_bytes, "x", 32).shape == (32, 32, 3)
    with pytest.raises(images.TooLarge):
        images.decode((odd / "bomb.png").read_bytes, "x", 32)


def test_members_of_a_zip_with_one_name_are_counted(tmp_path):
    folder = pictures(tmp_path / "cat", 4)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is tried here
        for path in sorted(folder.iterdir()) * 2:
            archive.write(path, f"cat/{path.name}")
            archive.write(path, f"dog/{path.name}")
    assert load(tmp_path / "z.zip").left_out["members that have the name of another"] == 8


@pytest.mark.parametrize(
    ("train", "test"), [("training_set", "test_set"), ("Train-Data", "testset")]
)
def test_folders_called_sets_are_splits(tmp_path, train, test):
    for split in (train, test):
        pictures(tmp_path / split / "cat")
        pictures(tmp_path / split / "dog")
    dataset = load(tmp_path)
    assert dataset.classes == ("cat", "dog") and set(dataset.splits) == {"train", "test"}
