"""What files hold: labels, names, coordinates, manifests and functions; each checked, or named."""

import gzip
import time
from types import SimpleNamespace

import numpy as np
import pytest
from test_data_cases import load, pictures

from eqssl_jax import data
from eqssl_jax.data import arrays, listing, structures

ATOM = "ATOM  {0:>5}  CA  {4} A{0:>4}    {1:>8}{2:>8}{3:>8}  1.00 20.00           C\n"
COLUMNS = """group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id
label_seq_id Cartn_x Cartn_y Cartn_z auth_seq_id auth_asym_id"""
CIF = "data_x\nloop_\n" + "".join(f"_atom_site.{name}\n" for name in COLUMNS.split())


@pytest.mark.parametrize(("bad", "count"), [("nan", 1), ("********", 1), ("inf", 1), ("", 1)])
@pytest.mark.parametrize("kind", ["pdb", "cif", "pdb.gz"])
def test_coordinates_that_are_no_numbers_are_named_or_skipped(tmp_path, bad, count, kind):
    pytest.importorskip("gemmi")

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
