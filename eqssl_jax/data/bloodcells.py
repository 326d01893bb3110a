"""Single blood cells, cut out of the photographs of BCCD."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from eqssl_jax.data import arrays, boxes, manifest, partition
from eqssl_jax.data.base import Source, Split
from eqssl_jax.data.boxes import Box, Boxed
from eqssl_jax.data.images import suffixes
from eqssl_jax.data.listing import list_files

WHITE = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
KINDS = ("Platelets", "RBC", "WBC")
_ARCHIVE = "bccd_originals_640x480.zip"
# Nearly the same picture: what is true of one photograph is true of the other.
_SAME = {"images/BloodImage_00038.jpg": "images/BloodImage_00037.jpg"}
# The only boxes of BCCD without area: single points.
_POINTS = (
    Boxed("images/BloodImage_00338.jpg", "RBC", Box(504, 337, 504, 337)),
    Boxed("images/BloodImage_00343.jpg", "RBC", Box(181, 329, 181, 329)),
)

Photographs = Mapping[str, Mapping[str, str]]  # path → column of bccd_images.csv → text


def read_bloodcells(
    directory: Path,
    *,
    size: int | None,
    corrupt: str,
    views: int | None = None,
    task: str = "white",
    margin: float = 0.2,
) -> Source:
    """The splits of the cells of BCCD.

    The directory holds `bccd_images.csv` (path, wbc_label, aug_test_photo), `bccd_boxes.csv`
    (path, cell, xmin, ymin, xmax, ymax in pixels) and the photographs `images/*.jpg`, or these in
    `bccd_originals_640x480.zip`. A cell is the square around its box (`boxes.square`: shifted
    inside at the border, so that nothing black gives a rotation away), scaled to size × size.

    | task    | images                                                   | classes              |
    |---------|----------------------------------------------------------|----------------------|
    | "white" | WBC boxes of photographs with exactly one of the classes | `WHITE`, four kinds  |
    | "kind"  | all boxes of all photographs                             | `KINDS`              |

    Test are the photographs with aug_test_photo = 1, those behind the test images of the augmented
    set of the same cells. All cells of a photograph are in one split, validation included, and so
    are those of photographs 37 and 38, which are nearly the same; "photograph" in `factors` numbers
    them. Classes are far from even: compare accuracies with that of the most frequent one.

    Args:
      directory: see above.
      size: side of the crops, that of the views if not given; each cell is scaled to fill it.
      corrupt, views: see `data.load`; corrupt is for photographs.
      task: "white" or "kind".
      margin: added to the longer side of a box, as a fraction of it.

    Source: Shenggan, BCCD data set (2018), MIT licence.

    Raises:
      FileNotFoundError: without the tables or the photographs.
      ValueError: for tables that lack columns or do not match the photographs, and boxes without
        area or outside their photograph. Two boxes of BCCD that are points are left out.
    """
    if task not in ("white", "kind"):
        raise ValueError(f'The task of bloodcells is "white" or "kind", found {task!r}.')
    size = size or views
    if size is None:
        raise ValueError("Cells differ in size: bloodcells needs size (e.g. size=48).")
    photographs, read = _photographs(directory)
    checked = _checked(boxes.read_boxes(directory / "bccd_boxes.csv", kind="cell"), photographs)
    cells = [cell for cell in checked if cell not in _POINTS]
    left_out = {}
    if task == "kind" and len(cells) < len(checked):
        left_out["boxes without area"] = len(checked) - len(cells)
    if task == "white":
        cells = [o for o in cells if o.kind == "WBC" and photographs[o.path]["wbc_label"] in WHITE]
    if not cells:
        raise ValueError(f"No box of {directory / 'bccd_boxes.csv'} belongs to the task {task!r}.")
    pixels, kept = boxes.crops(cells, read, size=size, margin=margin, corrupt=corrupt)
    if len(kept) < len(cells):
        left_out["cells in corrupt photographs"] = len(cells) - len(kept)
    splits = _splits(pixels, [cells[number] for number in kept], photographs, task)
    return Source(splits, WHITE if task == "white" else KINDS, left_out=left_out)


def _splits(
    pixels: np.ndarray, cells: Sequence[Boxed], photographs: Photographs, task: str
) -> dict[str, Split]:
    if task == "white":
        labels = [WHITE.index(photographs[cell.path]["wbc_label"]) for cell in cells]
    else:
        labels = [KINDS.index(cell.kind) for cell in cells]
    same = {path: first for path, first in _SAME.items() if first in photographs}
    scenes = [same.get(cell.path, cell.path) for cell in cells]
    number = {path: count for count, path in enumerate(sorted(photographs))}
    photograph = np.array([number[path] for path in scenes], np.float32)
    held = np.array([photographs[path]["aug_test_photo"] == "1" for path in scenes])
    whole = arrays.make_split(pixels, np.array(labels, np.int32), "bloodcells")
    whole = whole._replace(factors={"photograph": photograph})
    parts = {"train": np.flatnonzero(~held), "test": np.flatnonzero(held)}
    for name, members in parts.items():
        if not len(members):
            value = int(name == "test")
            raise ValueError(f"No cell is in {name}: no photograph has aug_test_photo = {value}.")
    return {name: partition.subset(whole, members) for name, members in parts.items()}


def _photographs(directory: Path) -> tuple[Photographs, Mapping[str, Callable[[], bytes]]]:
    table = directory / "bccd_images.csv"
    columns = ("path", "wbc_label", "aug_test_photo")
    rows = manifest.by_path(manifest.read_rows(table, columns), table)
    wrong = [
        f"{row['aug_test_photo']!r} for {path}"
        for path, row in rows.items()
        if row["aug_test_photo"] not in ("0", "1")
    ]
    if wrong:
        raise ValueError(f"aug_test_photo in {table} is 0 or 1, found {manifest.first_of(wrong)}.")
    unpacked = (directory / "images").is_dir()
    root = directory if unpacked else directory / _ARCHIVE
    if not root.exists():
        raise FileNotFoundError(f"{directory} holds neither images/ nor {_ARCHIVE}.")
    listing = list_files(root, suffixes(), "the photographs of BCCD")
    content = listing.read
    names = {"/".join(path): name for path, name in listing.files.items()}
    missing = [path for path in rows if path not in names]
    if missing:
        raise ValueError(f"{table} names {manifest.first_of(missing)}, which is not in {root}.")

    def reader(name: str) -> Callable[[], bytes]:
        return lambda: content(name)

    return rows, {path: reader(names[path]) for path in rows}


def _checked(boxed: list[Boxed], photographs: Photographs) -> list[Boxed]:
    unknown = [box.path for box in boxed if box.path not in photographs]
    if unknown:
        raise ValueError(
            f"bccd_boxes.csv has boxes of {manifest.first_of(list(dict.fromkeys(unknown)))}, which "
            "bccd_images.csv does not name."
        )
    strange = [f"{box.kind!r} of {box.path}" for box in boxed if box.kind not in KINDS]
    if strange:
        raise ValueError(
            f"The column cell of bccd_boxes.csv is one of {KINDS}, found "
            f"{manifest.first_of(strange)}."
        )
    return boxed
