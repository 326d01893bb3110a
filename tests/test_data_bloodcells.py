"""Blood cells, cut out of photographs."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_cells import WHITE, make, write

from eqssl_jax import data

SHARED = Path(__file__).parents[2] / "shared" / "data" / "bloodcells"
with_cells = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/bloodcells")


def edit(file: Path, change) -> None:
    with file.open(newline="", encoding="utf-8") as opened:
        columns, *rows = csv.reader(opened)
    write(file, columns, change([dict(zip(columns, row, strict=True)) for row in rows]))


def set_value(column, value, *, at=0):
    def change(rows):
        rows[at][column] = value
        return [list(row.values()) for row in rows]

    return change


def load(root: Path, **options) -> data.Dataset:
    chosen = {"size": 10, "validation": 0.0, "margin": 0.0, **options}
    return data.load(name="bloodcells", directory=root, **chosen)


def photographs(split: data.Split) -> np.ndarray:
    return np.asarray(split.pool)[:, 0, 0, 2].astype(int)  # blue


def scenes(numbers: np.ndarray) -> np.ndarray:
    """Photographs 37 and 38 count as one."""
    return np.where(numbers == 38, 37, numbers) - 30


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_white_cells_have_the_label_of_their_photograph_and_its_split(tmp_path, kind):
    root = make(tmp_path)
    if kind == "zip":
        with zipfile.ZipFile(root / "bccd_originals_640x480.zip", "w") as archive:
            for path in (root / "images").iterdir():
                archive.write(path, f"images/{path.name}")
        (root / "images").rename(tmp_path / "elsewhere")
    dataset = load(root)
    assert dataset.classes == WHITE and dataset.image_shape == (10, 10, 3)
    assert (dataset.splits["train"].size, dataset.splits["test"].size) == (32, 8)
    for name, split in dataset.splits.items():
        numbers = photographs(split)
        np.testing.assert_array_equal(split.labels, numbers % 4)
        assert ((numbers >= 62) == (name == "test")).all()
        # Columns and rows 5 … 24, halved: means of two neighbours are 5.5 to 23.5.
        pixels = np.asarray(split.pool).astype(float)
        assert np.abs(pixels[:, 5, 1:-1, 0] - (5.5 + 2 * np.arange(1, 9))).max() <= 1
        assert np.abs(pixels[:, 1:-1, 5, 1] - (5.5 + 2 * np.arange(1, 9))).max() <= 1


def test_the_kind_task_takes_every_box(tmp_path):
    dataset = load(make(tmp_path), task="kind")
    assert dataset.classes == ("Platelets", "RBC", "WBC")
    assert np.bincount(dataset.splits["train"].labels).tolist() == [32, 64, 32]
    assert np.bincount(dataset.splits["test"].labels).tolist() == [8, 16, 8]


def test_only_photographs_with_one_of_the_four_labels_are_taken(tmp_path):
    root = make(tmp_path)
    edit(root / "bccd_images.csv", set_value("wbc_label", "BASOPHIL", at=0))
    edit(root / "bccd_images.csv", set_value("wbc_label", "NEUTROPHIL, MONOCYTE", at=1))
    assert set(photographs(load(root).splits["train"])) == set(range(32, 62))
    assert load(root, task="kind").splits["train"].size == 128


@pytest.mark.parametrize("task", ["white", "kind"])
def test_cells_of_one_photograph_are_in_one_split(tmp_path, task):
    root = make(tmp_path)
    for number, twin in (("37", 7), ("38", 8)):
        path = f"images/BloodImage_000{number}.jpg"
        edit(
            root / "bccd_images.csv", set_value("aug_test_photo", str(int(number == "37")), at=twin)
        )
        assert path in (root / "bccd_images.csv").read_text()
    splits = load(root, task=task, validation=0.2).splits
    seen = {name: set(photographs(split)) for name, split in splits.items()}
    assert set().union(*seen.values()) == set(range(30, 70))
    assert sum(map(len, seen.values())) == 40  # none is in two
    assert {37, 38} <= seen["test"]  # nearly the same picture
    cells = 1 if task == "white" else 4
    assert 0.2 * 30 * cells <= splits["validation"].size < 0.2 * 30 * cells + 2 * cells
    for split in splits.values():
        np.testing.assert_array_equal(split.factors["photograph"], scenes(photographs(split)))


def test_a_corrupt_photograph_is_named_or_skipped_with_its_cells(tmp_path):
    root = make(tmp_path)
    (root / "images" / "BloodImage_00045.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"BloodImage_00045\.jpg is corrupt"):
        load(root)
    dataset = load(root, task="kind", corrupt="skip")
    assert 45 not in photographs(dataset.splits["train"]) and dataset.splits["train"].size == 124
    assert dataset.left_out == {"cells in corrupt photographs": 4}
    train = dataset.splits["train"]
    np.testing.assert_array_equal(train.factors["photograph"], scenes(photographs(train)))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("boxes", set_value("xmax", "90"), r"00030\.jpg \(5, 5, 90, 25\) outside"),
        ("boxes", set_value("xmin", "-1"), r"\(-1, 5, 25, 25\) outside"),
        ("boxes", set_value("ymax", "5"), r"WBC of .*00030\.jpg \(5, 5, 25, 5\) without area"),
        ("boxes", set_value("ymax", ""), r"column ymax .* found '' for .*00030\.jpg \(line 2\)"),
        ("boxes", set_value("path", "images/x.jpg"), r"boxes of images/x\.jpg, which"),
        ("boxes", set_value("cell", "RBX"), r"found 'RBX' of images/BloodImage_00030\.jpg"),
        ("images", set_value("aug_test_photo", "yes"), r"is 0 or 1, found 'yes' for .*00030"),
        ("images", set_value("path", "images/y.jpg"), r"names images/y\.jpg, which is not in"),
        ("images", set_value("path", "images/BloodImage_00031.jpg"), "more than one row"),
        ("images", lambda rows: [], "no rows"),
    ],
)
def test_tables_that_do_not_fit_are_refused_and_say_where(tmp_path, file, change, message):
    root = make(tmp_path)
    edit(root / f"bccd_{file}.csv", change)
    with pytest.raises(ValueError, match=message):
        load(root)


def test_a_class_with_one_image_is_named(tmp_path):
    root = make(tmp_path, count=12)

    def rare(rows):
        # Photographs 34 … 41 are test; of 30 … 33, one is a monocyte.
        return [[r["path"], r["wbc_label"], int(n >= 4)] for n, r in enumerate(rows)]

    edit(root / "bccd_images.csv", rare)
    with pytest.raises(ValueError, match=r"fewer than 2 training images .*MONOCYTE \(1\)"):
        load(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": None}, "needs size"),
        ({"task": "red"}, "task is 'red'.*'white', 'kind'"),
        ({"margin": -0.1}, "margin is -0.1; .* at least 0"),
        ({"margin": "wide"}, "margin is 'wide'"),
        ({"cell": "WBC"}, r"no options \['cell'\]"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load(make(tmp_path), **options)


def test_missing_files_are_named(tmp_path):
    root = make(tmp_path)
    (root / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"neither images/ nor bccd_originals"):
        load(root)
    (root / "bccd_images.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"bccd_images\.csv"):
        load(root)


@with_cells
@pytest.mark.parametrize(
    ("task", "train", "test"),
    [("white", [73, 27, 16, 156], [11, 6, 4, 48]), ("kind", [283, 3366, 303], [78, 787, 69])],
)
def test_the_real_cells_are_those_of_the_tables(task, train, test):
    splits = load(SHARED, size=16, task=task, margin=0.2).splits
    assert np.bincount(splits["train"].labels).tolist() == train
    assert np.bincount(splits["test"].labels).tolist() == test
    pixels = np.concatenate([np.asarray(split.pool) for split in splits.values()])
    assert pixels.max(3).min() > 20  # nothing black, nothing filled in


@with_cells
def test_the_augmented_cells_are_a_folder_set():
    archive = SHARED / "bloodcells_aug_128x96.zip"
    dataset = data.load(name="folder", directory=archive, size=16, on_device=False)
    sizes = {name: split.size for name, split in dataset.splits.items()}
    assert sizes == {"train": 4680, "validation": 520, "test": 2487}
    assert dataset.classes == WHITE and dataset.notes == "test_simple/ is not used"
