"""Inputs as people have them: each is read, counted as left out, or named in one paragraph."""

import gzip
import os
import resource
import socket
import time
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data
from eqssl_jax.data import arrays, images, listing, structures

CASES = Path(__file__).parents[2] / "shared" / "cases"
HOLDERS = ("arrays", "manifests", "odd", "proteins")  # folders of cases
ODD = ("bomb.png", "exif6.jpg", "long.png")
ATOM = "ATOM  {0:>5}  CA  {4} A{0:>4}    {1:>8}{2:>8}{3:>8}  1.00 20.00           C\n"
COLUMNS = """group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id
label_seq_id Cartn_x Cartn_y Cartn_z auth_seq_id auth_asym_id"""
CIF = "data_x\nloop_\n" + "".join(f"_atom_site.{name}\n" for name in COLUMNS.split())


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


@pytest.mark.parametrize(("bad", "count"), [("nan", 1), ("********", 1), ("inf", 1), ("", 1)])
@pytest.mark.parametrize("kind", ["pdb", "cif", "pdb.gz"])
def test_coordinates_that_are_no_numbers_are_named_or_skipped(tmp_path, bad, count, kind):
    pytest.importorskip("gemmi")
    import gzip

    def content(number, wrong=""):
        random = np.random.default_rng(number)
        rows = [[f"{x:.3f}" for x in random.normal(size=3)] for _ in range(12)]
        if wrong is not None:
            rows[4][1] = wrong
        name = ("ALA", "GLY", "SER", "VAL")[number]
        if kind == "cif":
            lines = [
                f"ATOM {i} C CA . {name} A {i} {' '.join(value or '?' for value in row)} {i} A\n"
                for i, row in enumerate(rows, 1)
            ]
            return CIF + "".join(lines)
        return "".join(ATOM.format(i, *row, name) for i, row in enumerate(rows, 1)) + "END\n"

    for number in range(4):
        text = content(number, bad if number == 2 else None).encode()
        packed = gzip.compress(text) if kind.endswith("gz") else text
        (tmp_path / f"{number}.{kind}").write_bytes(packed)
    (tmp_path / f"._1.{kind}").write_bytes(b"\0\5\26\7")
    with pytest.raises(ValueError, match=rf"2\.{kind} cannot be read .*not finite numbers"):
        load(tmp_path, "proteins", validation=0.4)
    dataset = load(tmp_path, "proteins", validation=0.4, corrupt="skip")
    assert dataset.left_out == {"hidden files and folders": 1, "unreadable structures": count}
    assert sum(split.size for split in dataset.splits.values()) == 3


def npz(tmp_path, **content):
    base = {
        "images": np.random.default_rng(0).integers(0, 256, (24, 6, 6, 3), np.uint8),
        "labels": np.arange(24) % 3,
    }
    np.savez(tmp_path / "set.npz", **{k: v for k, v in (base | content).items() if v is not None})
    return load(tmp_path / "set.npz", "arrays")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(24) % 3 + 2**32, "beyond 32 bits"),
        (np.full(24, 2**64 - 1, np.uint64), "beyond 32 bits"),
        (np.arange(24) % 3 - 2**40, "count from 0, found -"),
        (np.arange(24) % 3 + 0.5, "24 integers.*float64"),
        (np.where(np.arange(24), 0, 200_000_000), "no image of 199999999 of its 200000001"),
        (np.where(np.arange(24), 0, 2**31 - 1), "no image of 2147483646 of its 2147483648"),
        (np.array(["a", "b"] * 12), r"np\.unique"),
    ],
)
def test_labels_are_checked_before_they_are_cast(tmp_path, labels, message):
    start = time.monotonic()
    with pytest.raises(ValueError, match=message):
        npz(tmp_path, labels=labels)
    assert time.monotonic() - start < 2


def test_arrays_may_lack_labels_and_name_classes_in_bytes(tmp_path):
    names = np.array(["cat", "fox", "é"])
    encoded = np.array([name.encode() for name in names])
    assert npz(tmp_path, class_names=encoded).classes == tuple(names)
    for content in ({"labels": None}, {"images": None, "labels": None, "unlabeled_images": None}):
        if "unlabeled_images" in content:
            content["unlabeled_images"] = np.zeros((24, 6, 6, 3), np.uint8)
        dataset = npz(tmp_path, **content)
        assert list(dataset.splits) == ["train"] and dataset.splits["train"].labels is None
        assert dataset.classes == ()
    mixed = npz(tmp_path, unlabeled_images=np.zeros((5, 6, 6, 3), np.uint8), extra=np.zeros(3))
    assert mixed.splits["unlabeled"].size == 29 and mixed.splits["train"].labels is not None
    assert mixed.left_out == {"arrays called extra": 1}
    for wrong, message in (
        (np.array([b"\xff\xfe", b"a", b"b"]), "UTF-8"),
        (np.array(["a", "a", "b"]), "a more than once"),
        (np.zeros((2, 2), str), "list of names"),
    ):
        with pytest.raises(ValueError, match=message):
            npz(tmp_path, class_names=wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,angle\ncat/00.png,1e39\n", "finite number.*'1e39' for cat/00.png"),
        ("path,angle\ncat/00.png,1e-50\n", "finite number.*'1e-50' for cat/00.png"),
        ("path,angle\ncat/00.png,1_0\n", "'1_0' for cat/00.png"),
        ("path,angle,angle\ncat/00.png,1,2\n", r"more than one column called \['angle'\]"),
        ("path,path,angle\ncat/00.png,x,2\n", r"more than one column called \['path'\]"),
        ("path;angle\ncat/00.png;1\n", r"lacks the columns.*separated by commas"),
        ("path,angle\ncat/00.png,1,2,3\n", "Row 2 .* more values than the 2 columns"),
        ("path,angle\n./cat/00.png,1\ncat\\00.png,2\n", "more than one row for cat/00.png"),
        ("", "lacks the columns"),
        ("path,angle\n", "no rows"),
    ],
)
def test_manifests_that_do_not_fit_are_refused(tmp_path, text, message):
    pictures(tmp_path / "cat")
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(tmp_path, manifest="m.csv", factors=["angle"])


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_manifests_in_other_encodings_are_named(tmp_path, encoding):
    pictures(tmp_path / "cat")
    (tmp_path / "m.csv").write_bytes("path,angle\ncafé/00.png,1\n".encode(encoding))
    with pytest.raises(ValueError, match=r"m\.csv cannot be read .* as UTF-8"):
        load(tmp_path, manifest="m.csv", factors=["angle"])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("start", ["", "./", ".\\"])
def test_manifests_are_read_however_they_are_written(tmp_path, end, mark, start):
    pictures(tmp_path / "cat")
    rows = ["path,angle", *(f"{start}cat/{i:02}.png, {i}" for i in range(4))]
    (tmp_path / "m.csv").write_bytes((mark + end.join(rows)).encode())
    dataset = load(tmp_path, manifest="m.csv", factors=["angle"])
    angles = np.concatenate([split.factors["angle"] for split in dataset.splits.values()])
    assert sorted(angles) == [0, 1, 2, 3]


OUTSIDE = """
import numpy as np
def pixels(n): return np.random.default_rng(n).integers(0, 256, (n, 6, 6, 3), np.uint8)
def good(count=20, directory=None, seed=0):
    return {"train": (pixels(count), np.arange(count) % 2), "test": (pixels(6), np.arange(6) % 2),
            "classes": ["a", "b"]}
def images_only(): return {"train": pixels(20)}
def fails(): raise KeyError("x")
def lists(): return [1, 2]
def no_train(): return {"test": pixels(4)}
def floats(): return {"train": pixels(20) / 255}
def flat(): return {"train": pixels(20).reshape(20, -1)}
def other_split(): return {"train": pixels(20), "holdout": pixels(3)}
def short(): return {"train": (pixels(20), np.zeros(3, int))}
value = 3
"""


def test_a_function_from_outside_is_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources_outside.py").write_text(OUTSIDE)

    def load(name, **more):
        return data.load(name=f"sources_outside:{name}", validation=0.2, **more)

    dataset = load("good", count=30, size=4)
    assert dataset.splits["train"].size == 24 and dataset.image_shape == (4, 4, 3)
    assert dataset.classes == ("a", "b")
    assert load("images_only").splits["train"].labels is None
    for name, message in {
        "fails": "that function failed .KeyError",
        "lists": "returned list, but it must be a function",
        "no_train": r"returned \['test'\]",
        "floats": r"'train'\] must be uint8 .*found float64.*must be a function",
        "flat": r"found \(20, 108\)",
        "other_split": r"returned \['holdout'\], and splits are called",
        "short": "20 integers",
        "value": "is 3, but it must be a function",
        "absent": "has no 'absent'",
    }.items():
        with pytest.raises(ValueError, match=message):
            load(name)
    with pytest.raises(ValueError, match=r"takes \(count=20.*unexpected keyword"):
        load("good", cuont=3)


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


@pytest.mark.parametrize("line", [
    "ATOM 100002  CA  GLY A   2    ********   0.000   0.000  1.00 20.00           C",
    "Atom      2  CA  GLY A   2       1_0.00   0.000   0.000  1.00 20.00           C",
    "hetatm    2  CA  MSE A   2         nan    0.000   0.000  1.00 20.00           C",
    "ATOM      2  CA  GLY A   2       ١٢.000   0.000   0.000  1.00 20.00           C",
])  # fmt: skip
def test_whatever_gemmi_takes_for_an_atom_has_numbers(tmp_path, line):
    (tmp_path / "a").mkdir()
    first = ATOM.format(1, "0.000", "1.000", "2.000", "GLY")
    (tmp_path / "a" / "x.pdb").write_text(first + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2 has the coordinates .* not finite numbers"):
        data.load(name="proteins", directory=tmp_path)


def test_a_gz_that_unpacks_to_more_than_is_read_is_too_large(tmp_path, monkeypatch):
    (tmp_path / "x.pdb.gz").write_bytes(gzip.compress(b" " * 2000))
    monkeypatch.setattr(structures, "LARGEST", 1000)
    monkeypatch.setattr(listing, "LARGEST", 1000)
    with pytest.raises(ValueError, match=r"x\.pdb\.gz is too large"):
        data.load(name="proteins", directory=tmp_path)


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


def test_class_names_can_be_printed_and_are_not_empty(tmp_path):
    for name in ("\x1b[31mred", "a\nb"):
        pictures(tmp_path / "f" / name)
    assert load(tmp_path / "f").classes == ("\\x1b[31mred", "a\\nb")
    pixels = np.zeros((8, 8, 8, 3), np.uint8)
    names = {"class_names": ["\x1b[0m", "b"]}
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(8) % 2, **names)
    assert load(tmp_path / "a.npz", "arrays").classes == ("\\x1b[0m", "b")
    np.savez(tmp_path / "b.npz", images=pixels, labels=np.arange(8) % 2, class_names=["a", ""])
    with pytest.raises(ValueError, match="has an empty name at 1"):
        load(tmp_path / "b.npz", "arrays")


def test_a_single_array_and_a_disk_without_room_are_named(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a.npy is a single array \(.npy\)"):
        load(tmp_path / "a.npy", "arrays")
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((40, 8, 8, 3), np.uint8))
    monkeypatch.setattr(arrays, "MAPPED", 1000)
    monkeypatch.setattr(arrays.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(ValueError, match=r"GiB left: write it with np\.savez"):
        load(tmp_path / "a.npz", "arrays")
