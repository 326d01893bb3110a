"""3DIEBench by folder: layout, index strings, labels, splits, variants, and what is missing."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from eqssl_jax import data
from eqssl_jax.studies.base import DataChoice
from eqssl_jax.studies.scales import recognised

SYNSETS = ("02691156", "03001627")


def write(root, columns=7, views=(0, 1, 3), labels=True):
    """Two synsets of four objects in three views each; index entries with slashes, shuffled."""
    rng = np.random.default_rng(0)
    entries = [f"{synset}/{i}abc{i}" for synset in SYNSETS for i in range(6)]
    for entry in entries:
        (root / entry).mkdir(parents=True)
        for k in views:
            latent = rng.uniform(-1, 1, columns)
            latent[3:7] = np.abs(latent[3:7])
            np.save(root / entry / f"latent_{k}.npy", latent)
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(buffer, "jpeg")
            (root / entry / f"image_{k}.jpg").write_bytes(buffer.getvalue())
    for name, chosen in (("train", [7, 0, 8, 1, 2, 9, 3, 6]), ("val", [10, 4, 5, 11])):
        named = [entries[i] for i in chosen]
        np.save(root / f"{name}_images.npy", np.array([f"/{entry}/" for entry in named]))
        if labels:
            ranks = np.array([SYNSETS.index(entry.split("/")[0]) for entry in named])
            np.save(root / f"{name}_labels.npy", ranks.astype(np.int64))
    return entries


def load(root, **options):
    return data.load(name="3diebench", directory=root, size=8, validation=0.25, **options)


@pytest.mark.parametrize("columns", [7, 10])
def test_the_tree_is_read_as_its_files_say(tmp_path, columns):
    write(tmp_path / "main", columns)
    outside = tmp_path / "ood"
    for entry in ("02691156/4abc4", "03001627/5abc5"):
        (outside / entry).mkdir(parents=True)
        for k in (2, 5):
            np.save(outside / entry / f"latent_{k}.npy", np.full(columns, 1.0))
            (outside / entry / f"image_{k}.jpg").write_bytes(
                (tmp_path / "main" / entry / "image_0.jpg").read_bytes()
            )
    dataset = load(tmp_path / "main", out_of_range=str(outside))
    splits = dataset.splits
    assert dataset.classes == SYNSETS and dataset.image_shape == (8, 8, 3)
    sizes = {name: splits[name].size for name in ("train", "validation", "test", "out_of_range")}
    assert sizes == {"train": 18, "validation": 6, "test": 12, "out_of_range": 4}
    objects = {
        name: set(splits[name].factors["object"].tolist()) for name in ("train", "validation")
    }
    assert not objects["train"] & objects["validation"]
    name = splits["test"].names(np.array([0, 2]))
    assert name == ["03001627/4abc4/image_0.jpg", "03001627/4abc4/image_3.jpg"]
    assert splits["test"].labels[:4].tolist() == [1, 1, 1, 0]
    latent = np.load(tmp_path / "main" / "03001627/4abc4/latent_3.npy")
    q = splits["test"].factors["rotation"][2]
    a, b, c = latent[:3]
    matrix = Rotation.from_rotvec([0, 0, c]) * Rotation.from_rotvec([0, b, 0])
    matrix = (matrix * Rotation.from_rotvec([a, 0, 0])).as_matrix()
    np.testing.assert_allclose(Rotation.from_quat(q).as_matrix(), matrix, atol=1e-5)
    assert q[3] >= 0
    np.testing.assert_allclose(splits["test"].factors["floor_hue"][2], latent[3], rtol=1e-6)
    np.testing.assert_allclose(splits["test"].factors["light_hue"][2], latent[6], rtol=1e-6)
    assert ("translation" in splits["test"].factors) == (columns == 10)


def remove(path):
    return lambda root: (root / path).unlink()


def save(path, values):
    return lambda root: np.save(root / path, values)


def archive(path):
    def write_it(root):
        with (root / path).open("wb") as file:
            np.savez(file, labels=np.zeros(8, int))

    return write_it


@pytest.mark.parametrize(
    ("break_it", "match"),
    [
        (remove("val_images.npy"), "/val_images.npy is missing: .* put them beside"),
        (remove("02691156/0abc0/latent_1.npy"), "lacks 02691156/0abc0/latent_1.npy"),
        (remove("02691156/5abc5/image_3.jpg"), "lacks 02691156/5abc5/image_3.jpg"),
        (save("02691156/0abc0/latent_1.npy", np.zeros(9)), r"shape \(9,\).* has 7 numbers"),
        (
            save("02691156/0abc0/latent_1.npy", np.zeros(10)),
            "latent_0.npy has 7 numbers and .*/0abc0/latent_1.npy has 10: .* Take them from one",
        ),
        (save("02691156/0abc0/latent_1.npy", np.full(7, np.nan)), "finite"),
        (
            save("02691156/0abc0/latent_1.npy", np.array([90, 45, 0, 0.5, 0, 0, 1])),
            "are in radians",
        ),
        (
            save("02691156/0abc0/latent_1.npy", np.array([1, 1, 0, 180, 0, 0, 1])),
            "in turns, from 0",
        ),
        (save("train_labels.npy", np.zeros(8, int)), "do not belong together"),
        (save("val_images.npy", np.arange(4)), "must be a list of texts"),
        (
            save("val_images.npy", np.array(["/02691156/0abc0/"])),
            "/train_images.npy and .*/val_images.npy have 1 of their objects in common.*: take",
        ),
        (save("train_images.npy", np.array(["/02691156/none/"])), "lacks 02691156/none/"),
        (save("val_images.npy", np.array(["/a/b/", "/c/d/", "a/b"])), "found 'a/b' 2 times"),
        (save("val_images.npy", np.array(["/a//"])), "each object once as .* found 'a' 1 times"),
        (lambda root: (root / "val_images.npy").write_bytes(b""), "val_images.npy is no array"),
        (save("train_labels.npy", np.array([{}])), "train_labels.npy is no array"),
        (archive("train_labels.npy"), "train_labels.npy is an archive"),
    ],
)
def test_what_is_missing_or_wrong_is_named(tmp_path, break_it, match):
    write(tmp_path, labels="labels" in match or "together" in match)
    break_it(tmp_path)
    with pytest.raises((OSError, ValueError), match=match):
        load(tmp_path)


def test_what_lies_out_of_range_has_the_columns_of_training(tmp_path):
    write(tmp_path / "main", 7)
    write(tmp_path / "ood", 10)
    with pytest.raises(ValueError, match=r"main/.*\.npy has 7 numbers and .*ood/.* has 10: .* cut"):
        load(tmp_path / "main", out_of_range=str(tmp_path / "ood"))
    with pytest.raises(
        FileNotFoundError, match=r"no folder .*none of 3DIEBench: let config\.data\.d"
    ):
        load(tmp_path / "none")


@pytest.mark.parametrize("lacking", [["train"], ["val"], ["train", "val"]])
def test_a_tree_without_its_lists_is_no_folder_of_images(tmp_path, lacking):
    write(tmp_path, labels=False)
    assert recognised(DataChoice("folder", str(tmp_path)), ("3diebench",)).name == "3diebench"
    for name in lacking:
        (tmp_path / f"{name}_images.npy").unlink()
    named = " and ".join(f"{tmp_path}/{name}_images.npy" for name in lacking)
    with pytest.raises(FileNotFoundError, match=f"{named} (is|are) missing"):
        recognised(DataChoice("folder", str(tmp_path)), ("3diebench",))
    with pytest.raises(ValueError, match=r"Set config.data.name to 3diebench"):
        data.load(name="folder", directory=tmp_path, size=8, validation=0.25)


def test_a_list_without_objects_is_not_taken_for_images(tmp_path):
    np.save(tmp_path / "val_images.npy", np.array(["/02691156/0abc0/"]))
    with pytest.raises(FileNotFoundError, match=r"train_images.npy is missing"):
        recognised(DataChoice("folder", str(tmp_path)), ("3diebench",))
