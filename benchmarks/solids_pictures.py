"""What `solids` looks like: a contact sheet of its classes, and ladders of its transformations.

    python benchmarks/solids_pictures.py [--out=docs/results/benchmark]

Writes solids-objects.png (a test object of each class, upright and in five of its views) and
solids-ladders.png (two objects along the geodesic of a turn and along both hues), of 64 pixels.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqssl_jax import data, scene
from eqssl_jax.figures import sheets
from eqssl_jax.transforms import recipes

VIEWS, RUNGS = 5, 6
FARTHEST: dict[str, Any] = {  # the draw at the end of each ladder
    "turn": {"rotation": np.array([0.4, 1.2, 0.5], np.float32)},
    "floor": {"hue": np.float32(0.5)},
    "light": {"hue": np.float32(0.5)},
}


def upright(scenes: np.ndarray) -> np.ndarray:
    """The same objects as they are before any draw."""
    scenes = scenes.copy()
    scenes[..., scene.POSE] = (0, 0, 0, 1)
    scenes[..., [scene.FLOOR, scene.LIGHT]] = 0
    return scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/benchmark"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    dataset = data.load(name="solids", size=64, train_objects=48, test_objects=24, views_each=VIEWS)
    assert dataset.show is not None  # scenes are rendered
    show, classes = jax.jit(dataset.show), len(dataset.classes)
    stored = np.asarray(dataset.splits["test"].pool)[: VIEWS * classes]
    views = stored.reshape(classes, VIEWS, scene.SIZE)
    rows = np.concatenate([upright(views[:, :1]), views], axis=1)
    images = np.asarray(show(rows.reshape(-1, scene.SIZE))).clip(0, 1)
    columns = images.reshape(classes, 1 + VIEWS, *images.shape[1:]).swapaxes(0, 1)
    sheets.views_sheet(columns, ["upright"] + ["views"] * VIEWS, out / "solids-objects.png")

    recipe, magnitudes = recipes.solids(), np.linspace(0, 1, RUNGS)
    objects, ladders = jnp.asarray(rows[[1, 8], 0]), {}
    for part, farthest in FARTHEST.items():
        rungs = []
        for magnitude in magnitudes:
            draw = {**recipe.identity, part: jax.tree.map(lambda x, s=magnitude: s * x, farthest)}
            moved = [recipe.apply(jax.tree.map(jnp.float32, draw), each) for each in objects]
            rungs.append(np.asarray(show(jnp.stack(moved))).clip(0, 1))
        ladders[part] = np.stack(rungs)
    sheets.ladders(ladders, magnitudes, out / "solids-ladders.png")


if __name__ == "__main__":
    main()
