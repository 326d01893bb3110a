"""Photographs whose pixels say where they are, and a small set of cells in them."""

import csv
from pathlib import Path

import numpy as np
import tiny_tfds

WHITE = ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL")
SIDE = {"WBC": 20, "RBC": 10, "Platelets": 6}


def photograph(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Red holds the column, green the row, blue the number of the photograph."""
    pixels = np.full((height, width, 3), number, np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width), np.arange(height)[:, None]
    return pixels


def make(root: Path, count: int = 40) -> Path:
    """Photograph n has one white cell, of class n mod 4, two red ones and a platelet."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "images").mkdir()
    images, cells = [], []
    for number in range(30, 30 + count):
        path = f"images/BloodImage_{number:05d}.jpg"
        (root / path).write_bytes(tiny_tfds.encode(photograph(number)))
        images.append((path, WHITE[number % 4], str(int(number >= 22 + count))))
        for kind, left, top in (
            ("WBC", 5, 5),
            ("RBC", 30, 5),
            ("RBC", 45, 30),
            ("Platelets", 5, 35),
        ):
            cells.append((path, kind, left, top, left + SIDE[kind], top + SIDE[kind]))  # fmt: skip
    write(root / "bccd_images.csv", ("path", "wbc_label", "aug_test_photo"), images)
    write(root / "bccd_boxes.csv", ("path", "cell", "xmin", "ymin", "xmax", "ymax"), cells)
    return root


def write(file: Path, columns, rows) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([columns, *rows])
