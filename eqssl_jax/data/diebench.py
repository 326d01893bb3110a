"""3DIEBench and its variants from their folders: rendered objects with known poses and hues.

    ROOT/<synset, 8 digits>/<object>/image_<k>.jpg and latent_<k>.npy
    ROOT/train_images.npy, val_images.npy     text, entries /<synset>/<object>/
    ROOT/train_labels.npy, val_labels.npy     rank of the synset in sorted order (where they are)

The views of an object are those its folder holds, of any number. Latents are 7 numbers: rotations
about the fixed axes x, y, z in radians (R = R_z R_y R_x), the floor's hue, the light's θ and φ, and
its hue; 3DIEBench-T has 10, with a translation behind. Its published README says 9 of the 7.

The data of Garrido et al. 2023 (arXiv:2302.10283), 17 GB, CC BY-NC, cannot be had here: this reader
is tested on a small tree of the same layout.
"""

import io
import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import scipy
from jaxtyping import Float

from eqssl_jax.data import checks, encoded
from eqssl_jax.data.base import Source, Split

INDEX = {"train": "train_images.npy", "val": "val_images.npy"}  # lists of objects
_VIEW = re.compile(r"(image|latent)_(\d+)\.(jpg|npy)")
_OBJECT = re.compile(r"[^/]+/[^/]+")
_COLUMNS = (7, 10)
_CIRCLE = 2 * np.pi + 1e-3  # radians, with room for rounding
_NAMED = 5  # missing files named in an error


def read_diebench(
    directory: Path,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    out_of_range: str | None = None,
) -> Source:
    """Splits train and test (its validation objects), and out_of_range where its folder is given.

    Factors: object (number), rotation (unit quaternion x, y, z, w with w ≥ 0), floor_hue and
    light_hue in turns, light_theta and light_phi; of 3DIEBench-T also translation [n, 3].

    Args:
      directory: ROOT above.
      size, corrupt: see `data.load`; images are 256 × 256, seq-JEPA resizes to 128.
      views: not used: all images have one size.
      out_of_range: the root of 3DIEBench-OOD, which has objects of the test split and numbers of
        views of its own.

    Raises:
      FileNotFoundError: naming the index files, folders, images or latents that are missing.
      ValueError: for latents of another length or in other units, labels that are not those of the
        synsets, or an object that is in both splits.
    """
    del views
    check_index(directory)
    lists = {name: _index(directory / file) for name, file in INDEX.items()}
    if repeated := sorted(set(lists["train"]) & set(lists["val"])):
        raise ValueError(
            f"{directory / INDEX['train']} and {directory / INDEX['val']} have {len(repeated)} "
            f"of their objects in common, e.g. {repeated[0]}, which would be trained on and "
            f"tested: take them out of either list, or restore both lists from the repository of "
            f"SIE (data/)."
        )
    synsets = sorted({entry.split("/")[0] for entry in (*lists["train"], *lists["val"])})
    splits = {}
    columns: dict[int, Path] = {}
    for name, key in (("train", "train"), ("val", "test")):
        _check_labels(directory, name, lists[name], synsets)
        splits[key] = _split(directory, lists[name], synsets, columns, size, corrupt)
    if out_of_range:
        root = Path(out_of_range)
        here = [entry for entry in lists["val"] if (root / entry).is_dir()]
        if not here:
            raise FileNotFoundError(
                f"{root} (config.data.options.out_of_range) holds no folder of an object of "
                f"{directory / INDEX['val']}, such as {lists['val'][0]}: give the folder that "
                f"holds the synsets of 3DIEBench-OOD."
            )
        splits["out_of_range"] = _split(root, here, synsets, columns, size, corrupt)
    return Source(splits, tuple(synsets))


def holds_latents(directory: Path) -> bool:
    """Whether the first folders <synset>/<object>/ of a folder hold latents, index or not."""
    objects = (inner for outer in _first_folders(directory) for inner in _first_folders(outer))
    return any(
        (match := _VIEW.fullmatch(file.name)) and match[1] == "latent"
        for each in objects
        for file in each.iterdir()
    )


def _first_folders(directory: Path) -> list[Path]:
    """At most a few: folders of other data may hold millions of files."""
    folders = (path for path in directory.iterdir() if path.is_dir())
    return list(itertools.islice(folders, 3)) if directory.is_dir() else []


def is_tree(directory: Path) -> bool:
    """Whether a folder is one of 3DIEBench, be it that something of it is missing."""
    return any((directory / file).is_file() for file in INDEX.values()) or holds_latents(directory)


def check_index(directory: Path) -> None:
    """Refuse a folder of 3DIEBench without one of its two lists of objects.

    Raises:
      FileNotFoundError: naming the files that are missing.
    """
    if not directory.is_dir():
        raise FileNotFoundError(
            f"There is no folder {directory} of 3DIEBench: let config.data.directory (or --data) "
            f"name the one that holds {' and '.join(INDEX.values())}."
        )
    if missing := [str(directory / f) for f in INDEX.values() if not (directory / f).is_file()]:
        raise FileNotFoundError(
            f"{directory} is a folder of 3DIEBench, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: the lists of training and validation "
            f"objects, entries /<synset>/<object>/, are in the repository of SIE (data/); put them "
            f"beside the folders of the synsets."
        )


def _index(file: Path) -> list[str]:
    entries = _read(file)
    if entries.dtype.kind != "U" or entries.ndim != 1 or not len(entries):
        raise ValueError(
            f"{file} must be a list of texts /<synset>/<object>/, found shape {entries.shape} of "
            f"{entries.dtype}: restore it."
        )
    objects = [str(entry).strip("/") for entry in entries]
    wrong = [entry for entry in objects if not _OBJECT.fullmatch(entry)]
    wrong += [entry for entry, times in Counter(objects).items() if times > 1]
    if wrong:
        raise ValueError(
            f"{file} must name each object once as /<synset>/<object>/, found {wrong[0]!r} "
            f"{objects.count(wrong[0])} times: restore it."
        )
    return objects


def _check_labels(directory: Path, name: str, entries: list[str], synsets: list[str]) -> None:
    file = directory / f"{name}_labels.npy"
    if not file.exists():
        return
    labels = checks.class_labels(_read(file), len(entries), str(file))
    rank = {synset: i for i, synset in enumerate(synsets)}
    expected = np.array([rank[entry.split("/")[0]] for entry in entries])
    if (labels != expected).any():
        row = int(np.argmax(labels != expected))
        raise ValueError(
            f"{file} gives {entries[row]} the label {labels[row]}, but its synset is number "
            f"{expected[row]} in sorted order: index and labels do not belong together. Restore "
            f"both, or delete {file.name}, without which the order counts."
        )


def _split(
    root: Path,
    entries: list[str],
    synsets: list[str],
    columns: dict[int, Path],
    size: int | None,
    corrupt: str,
) -> Split:
    paths: list[str] = []
    number: list[int] = []
    missing: list[str] = []
    for i, entry in enumerate(entries):
        files: dict[str, set[int]] = {"image": set(), "latent": set()}
        if (root / entry).is_dir():
            for file in (root / entry).iterdir():
                if match := _VIEW.fullmatch(file.name):
                    files[match[1]].add(int(match[2]))
        numbers = sorted(files["image"] | files["latent"])
        missing += [f"{entry}/image_{k}.jpg" for k in numbers if k not in files["image"]]
        missing += [f"{entry}/latent_{k}.npy" for k in numbers if k not in files["latent"]]
        missing += [] if numbers else [f"{entry}/"]
        paths += [f"{entry}/{{}}_{k}" for k in numbers]
        number += [i] * len(numbers)
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise FileNotFoundError(
            f"{root} lacks {', '.join(missing[:_NAMED])}{more}: every object of the index needs "
            f"its images and a latent for each. Restore them, or take the object out of the index."
        )
    latents = _latents([root / f"{path.format('latent')}.npy" for path in paths], columns)
    rank = {synset: i for i, synset in enumerate(synsets)}
    labels = np.array([rank[entries[i].split("/")[0]] for i in number], np.int32)
    images = [f"{path.format('image')}.jpg" for path in paths]
    part = encoded.Encoded(
        len(paths),
        lambda i: (root / images[i]).read_bytes(),
        lambda i: str(root / images[i]),
        lambda i: images[i],
        labels,
        factors(latents) | {"object": np.array(number, np.float32)},
    )
    return encoded.decoded(part, size=size, corrupt=corrupt)[0]


def _latents(files: list[Path], columns: dict[int, Path]) -> Float[np.ndarray, "n k"]:
    """Rows of latents; `columns` holds the first file of all splits with so many numbers."""
    rows = []
    for file in files:
        rows.append(_latent(file))
        columns.setdefault(len(rows[-1]), file)
        if len(columns) > 1:
            (usual, first), (other, second) = columns.items()
            raise ValueError(
                f"{first} has {usual} numbers and {second} has {other}: a latent has "
                f"{_COLUMNS[0]} in 3DIEBench and its OOD variant and {_COLUMNS[1]} in 3DIEBench-T "
                f"(a translation behind), and all of training, validation and out of range must be "
                f"of one kind. Take them from one data set, or cut those of {_COLUMNS[1]} after "
                f"the first {_COLUMNS[0]}."
            )
    return np.stack(rows)


def _latent(file: Path) -> Float[np.ndarray, " k"]:
    latent = _read(file)
    if latent.ndim != 1 or len(latent) not in _COLUMNS:
        raise ValueError(
            f"{file} has the shape {latent.shape}; a latent of 3DIEBench has 7 numbers (three "
            f"angles, floor hue, light θ, φ and hue), one of 3DIEBench-T 10 (a translation "
            f"behind): restore it."
        )
    latent = np.asarray(checks.finite(latent, str(file)), np.float64)
    angles, hues = latent[[0, 1, 2, 4, 5]], latent[[3, 6]]
    if np.abs(angles).max() > _CIRCLE or hues.min() < 0 or hues.max() > 1:
        raise ValueError(
            f"{file} has the angles {_short(angles)} and the hues {_short(hues)}; angles are in "
            f"radians, within ±2π, and hues in turns, from 0 to 1: bring them to these units."
        )
    return latent


def _short(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)


def _read(file: Path) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is no array ({error}): restore it.") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{file} is an archive of arrays, and must be one array: restore it.")
    return array


def factors(latents: Float[np.ndarray, "n k"]) -> dict[str, Float[np.ndarray, "n ..."]]:
    """The columns of latents by name, as factors."""
    q = scipy.spatial.transform.Rotation.from_euler("xyz", latents[:, :3]).as_quat()
    columns = {
        "rotation": np.where(q[:, 3:] < 0, -q, q),
        "floor_hue": latents[:, 3],
        "light_theta": latents[:, 4],
        "light_phi": latents[:, 5],
        "light_hue": latents[:, 6],
    }
    if latents.shape[1] == 10:
        columns["translation"] = latents[:, 7:]
    return {name: np.asarray(values, np.float32) for name, values in columns.items()}
