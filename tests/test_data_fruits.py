"""Folders with a manifest of numbers, and Fruits-360 as the set that has one."""

import csv
import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eqssl_jax import data
from eqssl_jax.data import fruits

REAL = Path(__file__).parents[2] / "shared" / "data" / "fruits360"
COLUMNS = ("path", "split", "variety", "axis", "approx_angle_deg")
FRAMES = 8  # of every turn: six train, two test


def make(root: Path) -> Path:
    """Two varieties, one turned about two axes; grey level 100 · variety + 20 · turn + frame."""
    rows = []
    for v, (variety, axes) in enumerate({"Pear 1": ("r", "r2"), "Fig 2": ("",)}.items()):
        for a, axis in enumerate(axes):
            for frame in range(FRAMES):
                split = "test" if frame >= 6 else "train"
                path = f"{split}/{variety}/{axis}_{frame}.png"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                grey = np.full((6, 6, 3), 100 * v + 20 * a + frame, np.uint8)
                Image.fromarray(grey).save(root / path)
                rows.append((path, split, variety, axis, f"{360 * frame / FRAMES}"))
    write(root, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    return root


def write(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def rows_of(root: Path) -> list[dict[str, str]]:
    with (root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def load(root: Path, **options) -> data.Dataset:
    return data.load(name="fruits360", directory=root, **{"validation": 0.0, "size": 6, **options})


def greys(split: data.Split) -> np.ndarray:
    pixels = split.load(np.arange(split.size)) if split.load else np.asarray(split.pool)
    return pixels[:, 0, 0, 0].astype(int)


def expected_angle(greys: np.ndarray) -> np.ndarray:
    return (greys % 20) * 2 * math.pi / FRAMES


@pytest.mark.parametrize("kind", ["folders", "zip"])
@pytest.mark.parametrize("on_device", [True, False])
def test_every_image_carries_its_own_angle_and_turn(tmp_path, kind, on_device):
    root = make(tmp_path)
    if kind == "zip":
        with zipfile.ZipFile(root / "fruits360.zip", "w") as archive:
            for path in sorted(root.rglob("*.png")):
                archive.write(path, path.relative_to(root))
        shutil.rmtree(root / "train")
        shutil.rmtree(root / "test")
    dataset = load(root, on_device=on_device, validation=0.25)
    assert dataset.classes == ("Fig 2", "Pear 1")
    assert {name: s.size for name, s in dataset.splits.items()} == {
        "train": 12, "validation": 6, "test": 6,
    }  # fmt: skip
    for split in dataset.splits.values():
        grey = greys(split)
        np.testing.assert_array_equal(split.labels, (grey < 100).astype(int))
        np.testing.assert_allclose(split.factors["turntable"], expected_angle(grey), rtol=1e-6)
        # Sorted (variety, axis): ("Fig 2", ""), ("Pear 1", "r"), ("Pear 1", "r2").
        turns = np.where(grey >= 100, 0, np.where(grey < 20, 1, 2))
        np.testing.assert_array_equal(split.factors["sequence"], turns)
        assert {values.dtype for values in split.factors.values()} == {np.dtype(np.float32)}


def test_test_angles_are_those_train_does_not_show(tmp_path):
    splits = load(make(tmp_path)).splits
    seen, unseen = (splits[name].factors["turntable"] for name in ("train", "test"))
    assert seen.max() < 1.5 * math.pi <= unseen.min()


def dense(frames=40, turns=3):
    """A split of turns with a frame every 9°, three quarters of them, in a mixed order."""
    angle = np.tile(np.arange(frames) * 2 * math.pi / frames, turns)
    turn = np.repeat(np.arange(turns), frames)
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(angle < 1.5 * math.pi))
    factors = {"turntable": angle[chosen].astype(np.float32), "sequence": turn[chosen]}
    return data.Split(len(chosen), np.arange(len(chosen)), lambda p, x: p[x], None, factors)


def apart(train, validation):
    """Degrees from each validation frame to the nearest training frame of its turn."""
    gaps = []
    for angle, turn in zip(
        *(validation.factors[k] for k in ("turntable", "sequence")), strict=True
    ):
        other = train.factors["turntable"][train.factors["sequence"] == turn]
        gap = np.abs(angle - other) % (2 * math.pi)
        gaps.append(math.degrees(np.min(np.minimum(gap, 2 * math.pi - gap))))
    return np.array(gaps)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3])
def test_validation_holds_out_arcs_away_from_training_frames(fraction):
    whole = dense()
    splits, note = fruits.hold_out_arcs({"train": whole}, fraction)
    train, validation = splits["train"], splits["validation"]
    count = max(1, round(fraction * 30))
    assert validation.size == 3 * count and train.size == 3 * (30 - count - 1)
    assert "3 training frames within 15°" in note  # the one at 9°; the next is at 18°
    assert apart(train, validation).min() >= 18 - 1e-3
    assert np.median(apart(train, validation)) == pytest.approx(9 * (1.5 + count / 2), abs=0.1)
    for turn in range(3):  # one arc: the last frames, and nothing of them in train
        seen, held = (s.factors["turntable"][s.factors["sequence"] == turn]
                      for s in (train, validation))  # fmt: skip
        assert seen.max() < held.min()


def test_arcs_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match=r"validation=0\.97 leaves turn 0 no frame .* 29 are held"):
        fruits.hold_out_arcs({"train": dense()}, 0.97)
    with pytest.raises(ValueError, match="fraction in"):
        fruits.hold_out_arcs({"train": dense()}, 1.0)
    assert fruits.hold_out_arcs({"train": dense()}, 0.0)[0].keys() == {"train"}


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the photographs of ../shared/data/fruits360")
def test_real_validation_frames_lie_away_from_training_frames():
    splits = data.load(name="fruits360", directory=REAL, size=16, on_device=False).splits
    gaps = apart(splits["train"], splits["validation"])
    assert gaps.min() >= 15 and np.median(gaps) > 25
    assert 0.08 < len(gaps) / (len(gaps) + splits["train"].size) < 0.13  # 548 of 5229


@pytest.mark.parametrize(
    ("varieties", "classes"),
    [(1, ("Fig 2",)), (["Pear 1"], ("Pear 1",)), (["Pear 1", "Fig 2"], ("Fig 2", "Pear 1"))],
)
def test_some_varieties_are_chosen_with_their_numbers(tmp_path, varieties, classes):
    dataset = load(make(tmp_path), varieties=varieties)
    assert dataset.classes == classes
    train = dataset.splits["train"]
    np.testing.assert_array_equal(np.unique(train.labels), np.arange(len(classes)))
    np.testing.assert_allclose(train.factors["turntable"], expected_angle(greys(train)), rtol=1e-6)
    if classes == ("Pear 1",):
        assert set(train.factors["sequence"]) == {1, 2}  # as in the whole set


def test_skipping_a_broken_image_keeps_the_numbers_of_the_others(tmp_path):
    root = make(tmp_path)
    (root / "train" / "Pear 1" / "r_2.png").write_bytes(b"")
    train = load(root, corrupt="skip").splits["train"]
    assert train.size == 17 and 2 not in greys(train)
    np.testing.assert_allclose(train.factors["turntable"], expected_angle(greys(train)), rtol=1e-6)


def test_limit_keeps_images_and_numbers_together(tmp_path):
    train = load(make(tmp_path), limit=6).splits["train"]
    assert train.size == 6
    np.testing.assert_allclose(train.factors["turntable"], expected_angle(greys(train)), rtol=1e-6)


def changed(rows, change):
    if change == "empty angle":
        rows[1]["approx_angle_deg"] = ""
    elif change == "words":
        rows = [row | {"approx_angle_deg": "north"} for row in rows]
    elif change == "infinite":
        rows[1]["approx_angle_deg"] = "inf"
    elif change == "row missing":
        del rows[3]
    elif change == "file missing":
        rows.append(rows[0] | {"path": "train/Pear 1/none.png"})
    elif change == "twice":
        rows.append(rows[0])
    elif change == "column":
        rows = [{k: v for k, v in row.items() if k != "axis"} for row in rows]
    elif change == "split":
        rows[0]["split"] = "test"
    return rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("empty angle", r"approx_angle_deg .* found '' for train/Pear 1/r_1\.png\."),
        ("words", r"'north' for train/Pear 1/r_0\.png, .*… \(24 in all\)"),
        ("infinite", r"finite number .* 'inf' for train/Pear 1/r_1\.png"),
        ("row missing", r"no row for train/Pear 1/r_3\.png"),
        ("file missing", r"names train/Pear 1/none\.png, which is not there"),
        ("twice", r"more than one row for train/Pear 1/r_0\.png"),
        ("column", r"lacks the columns \['axis'\]: it has \['path', 'split'"),
        ("split", r"found train/Pear 1/r_0\.png \(split 'test', variety 'Pear 1'\)"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_and_says_where(tmp_path, change, message):
    root = make(tmp_path)
    write(root, changed(rows_of(root), change))
    with pytest.raises(ValueError, match=message):
        load(root)


def test_missing_data_and_unknown_varieties_are_named(tmp_path):
    root = make(tmp_path)
    with pytest.raises(ValueError, match=r"\['Plum'\] unknown among the 2 from 'Fig 2'"):
        load(root, varieties=["Plum", "Fig 2"])
    with pytest.raises(ValueError, match="1 to 2 classes"):
        load(root, varieties=3)
    with pytest.raises(ValueError, match=r"no options \['split'\]; it knows \['varieties'\]"):
        load(root, split="variety")
    with pytest.raises(ValueError, match="needs directory, the path of the folder of manifest"):
        data.load(name="fruits360")
    shutil.rmtree(root / "train")
    with pytest.raises(FileNotFoundError, match=r"neither train/ and test/ nor fruits360\.zip"):
        load(root)
    (root / "manifest.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"manifest\.csv"):
        load(root)


@pytest.mark.parametrize("kind", ["folders", "zip in an outer folder"])
def test_any_folder_can_have_a_manifest(tmp_path, kind):
    root = make(tmp_path / "set")
    rows = [row | {"weight": str(5 * n)} for n, row in enumerate(rows_of(root))]
    write(root, rows)
    weight = {row["path"]: 5.0 * n for n, row in enumerate(rows)}
    if kind != "folders":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for path in sorted(root.rglob("*.png")):
                archive.write(path, f"outer/{path.relative_to(root)}")
        shutil.copy(root / "manifest.csv", tmp_path)
        root = tmp_path / "set.zip"
    dataset = data.load(
        name="folder", directory=root, validation=0.0, manifest="manifest.csv",
        factors=["weight", "approx_angle_deg"],
    )  # fmt: skip
    for name, split in dataset.splits.items():
        listed = sorted(path for path in weight if path.startswith(name))
        np.testing.assert_array_equal(split.factors["weight"], [weight[path] for path in listed])
        np.testing.assert_allclose(split.factors["approx_angle_deg"], 45 * (greys(split) % 20))


def test_a_manifest_without_factors_is_refused_and_so_is_the_reverse(tmp_path):
    for options in ({"manifest": "manifest.csv"}, {"factors": ["axis"]}):
        with pytest.raises(ValueError, match="belong together"):
            data.load(name="folder", directory=make(tmp_path), **options)


def test_a_held_out_test_split_keeps_its_numbers(tmp_path):
    root = make(tmp_path) / "train"
    rows = [row for row in rows_of(tmp_path) if row["split"] == "train"]
    write(root, [row | {"path": row["path"].removeprefix("train/")} for row in rows])
    dataset = data.load(
        name="folder", directory=root, validation=0.0, manifest="manifest.csv",
        factors="approx_angle_deg", classes=2,
    )  # fmt: skip
    assert "held out" in dataset.notes
    for split in dataset.splits.values():
        np.testing.assert_allclose(split.factors["approx_angle_deg"], 45 * (greys(split) % 20))


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the photographs of ../shared/data/fruits360")
def test_neighbouring_angles_of_a_real_turn_look_alike():
    dataset = data.load(name="fruits360", directory=REAL, size=16, varieties=3, validation=0.0)
    train = dataset.splits["train"]
    pixels = np.asarray(train.pool).astype(np.float32)
    angle, turn = train.factors["turntable"], train.factors["sequence"]
    for number in np.unique(turn):
        members = np.flatnonzero(turn == number)
        members = members[np.argsort(angle[members])]
        near = np.abs(np.diff(pixels[members], axis=0)).mean()
        half = len(members) // 2
        far = np.abs(pixels[members[half:]] - pixels[members[: len(members) - half]]).mean()
        assert near < 0.8 * far
