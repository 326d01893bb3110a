"""The pictures of the concept pages, drawn by the library itself: each for light and for dark.

A Sphinx extension. It writes docs/generated/pictures/<name>-{light,dark}.svg where one is missing;
`python docs/pictures.py` draws all of them again.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from eqssl_jax import measures, views
from eqssl_jax.data import shapes
from eqssl_jax.transforms import chain, rotate
from eqssl_jax.transforms.color import hue

HERE = Path(__file__).parent
INK = {"light": "#1b1b1b", "dark": "#e8e8e8"}
BLUE, ORANGE, GREEN = "#3987e5", "#e07b39", "#3ba272"  # readable on white and on black


def roles() -> Any:
    """Where embeddings of three images go as each is turned, for each role: schematic."""
    turn = np.linspace(0, 1, 7)  # share of the largest turn
    start = np.array([0.3, 2.5, 4.5])  # of the three images, on the circle
    figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.7))
    way = {
        "invariant": 0 * turn,
        "rotational": 1.1 * turn,
        "ordered": 0.9 * turn**1.7,
        "predicted": 0.28 * np.sin(5 * turn),
    }
    notes = ("no change", "one rotation for all", "farther, the stronger",
             "its strength can be read off")  # fmt: skip
    for axis, (role, change), note in zip(axes, way.items(), notes, strict=True):
        axis.add_patch(plt.Circle((0, 0), 1, fill=False, lw=0.6, alpha=0.5))
        speeds = (1.0, 0.55, 1.45) if role == "ordered" else (1.0, 1.0, 1.0)
        for angle, speed, colour in zip(start, speeds, (BLUE, ORANGE, GREEN), strict=True):
            radius = 1 + (0.32 * turn if role == "predicted" else 0)
            x, y = radius * np.cos(angle + speed * change), radius * np.sin(angle + speed * change)
            axis.plot(x, y, "-", color=colour, lw=1)
            axis.scatter(x, y, s=8 + 34 * turn, color=colour)
        axis.set_title(role, fontweight="bold")
        axis.text(0, -1.75, note, ha="center")
        axis.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
        axis.axis("off")
    return figure


@functools.cache
def _images(count: int, side: int = 48) -> Any:
    keys = jax.vmap(jax.random.key)(jnp.arange(7, 7 + count))
    return jax.jit(jax.vmap(lambda key: shapes.draw(shapes.scene(key), side)))(keys)


@functools.cache
def _rows(pattern: views.Pattern) -> Any:
    """The views of three images by a pattern, an image a row."""
    recipe = chain(hue=hue(0.5), rotate=rotate(1.5))

    def seen(key: Any, images: Any) -> Any:
        drawn = pattern.draw(key, recipe, len(images))
        return views.render(recipe, drawn.params, images)

    rows = np.concatenate(jax.jit(seen)(jax.random.key(2), _images(3)), axis=2)  # [N, H, V W, C]
    return np.clip(np.concatenate(rows), 0, 1)


PATTERNS = {
    "independent(2)": views.independent(2),
    "grouped(1)": views.grouped(1),
    "paired(2)": views.paired(2),
    "ladder(5)\nof the angle": views.mix(views.fixed(5), rotate=views.ladder(5, spacing="even")),
    "hue paired,\nangle independent": views.mix(views.paired(2), rotate=views.independent(2)),
}


def sharing() -> Any:
    """Views of three images by five patterns: who shares a draw of hue and angle."""
    widths = [2, 2, 2, 5, 2]
    figure, axes = plt.subplots(
        1, 5, figsize=(10.5, 2.9), gridspec_kw={"width_ratios": widths, "wspace": 0.12}
    )
    for axis, (name, pattern) in zip(axes, PATTERNS.items(), strict=True):
        axis.imshow(_rows(pattern), interpolation="nearest")
        axis.set_title(name, fontsize=8, va="bottom")
        axis.axis("off")
    return figure


def draws() -> Any:
    """One image under four draws, with the parameters that made each view."""
    recipe = chain(hue=hue(0.5), rotate=rotate(1.5))
    sample, apply = jax.jit(recipe.sample), jax.jit(recipe.apply)
    figure, axes = plt.subplots(1, 5, figsize=(9, 2.3))
    drawn = [recipe.identity, *(sample(jax.random.key(seed)) for seed in range(4))]
    for axis, draw in zip(axes, drawn, strict=True):
        view = apply(draw, _images(3)[0])
        axis.imshow(np.clip(np.asarray(view), 0, 1), interpolation="nearest")
        angle, turns = float(draw["rotate"]["angle"]), float(draw["hue"]["hue"])
        axis.set_title("identity" if draw is recipe.identity else "a draw", fontsize=9)
        axis.text(0.5, -0.08, f"hue {turns:+.2f} turns\nangle {angle:+.2f} rad", ha="center",
                  va="top", transform=axis.transAxes, fontsize=8)  # fmt: skip
        axis.axis("off")
    return figure


def rotation() -> Any:
    """Embeddings before and after one draw, for three kinds of change, with the numbers."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, 40)
    before = np.stack([np.cos(angles), np.sin(angles)], 1)
    changes = {
        "a rotation": angles + 0.7,
        "no common rotation": angles + rng.choice([-0.7, 0.7], 40),
        "all to one side": angles + 0.7 * np.sin(angles),
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
    for axis, (name, moved) in zip(axes, changes.items(), strict=True):
        after = np.stack([np.cos(moved), np.sin(moved)], 1)
        gamma = measures.relative_rotational_equivariance(before, after).gamma
        error = measures.wahba(before, after).error / np.sqrt(len(before))
        for start, end in zip(before, 1.25 * after, strict=True):
            axis.plot(*zip(start, end, strict=True), color=BLUE, lw=0.5, alpha=0.6)
        axis.scatter(*before.T, s=9, color=BLUE, label="before")
        axis.scatter(*1.25 * after.T, s=9, color=ORANGE, label="after (drawn outside)")
        axis.set_title(name, fontweight="bold")
        axis.text(0, -1.65, f"γ {gamma:.2f}   W/√n {error:.2f}", ha="center")
        axis.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
        axis.axis("off")
    axes[1].legend(loc="center", fontsize=7, frameon=False)
    return figure


def order() -> Any:
    """Distances along a ladder and their order accuracy, for an ordered and a mixed one."""
    magnitude = np.linspace(0, 1, 6)
    paths = {
        "in order": magnitude**1.5,
        "partly": np.array([0, 0.3, 0.55, 0.45, 0.8, 0.7]),
        "blind": np.array([0.6, 0.1, 0.7, 0.3, 0.65, 0.2]),
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.4), sharey=True, layout="constrained")
    for axis, (name, far) in zip(axes, paths.items(), strict=True):
        points = jnp.asarray(far)[:, None, None]  # [rungs, images, dimensions]
        value = float(np.mean(measures.order_accuracy(points, jnp.asarray(magnitude)[:, None])))
        axis.plot(magnitude, far, "o-", color=BLUE)
        axis.set_title(f"{name}: {value:.2f}", fontweight="bold")
        axis.set_xlabel("magnitude of the rung")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("place in the embedding")
    return figure


PICTURES: dict[str, Callable[[], Any]] = {
    function.__name__: function for function in (roles, draws, sharing, rotation, order)
}


def write(folder: Path, *, again: bool = False) -> None:
    """Draw what is missing, or everything, in both schemes."""
    folder.mkdir(parents=True, exist_ok=True)
    for scheme, ink in INK.items():
        colours = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color",
                   "patch.edgecolor")  # fmt: skip
        style = {**dict.fromkeys(colours, ink), "axes.facecolor": "none", "font.size": 9,
                 "svg.hashsalt": "eqssl_jax"}  # fmt: skip
        for name, draw in PICTURES.items():
            path = folder / f"{name}-{scheme}.svg"
            if again or not path.is_file():
                with matplotlib.rc_context(style):
                    figure = draw()
                    figure.savefig(path, bbox_inches="tight", transparent=True,
                                   metadata={"Date": None})  # fmt: skip
                    plt.close(figure)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    matplotlib.use("agg")
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "generated" / "pictures"))
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    matplotlib.use("agg")
    write(HERE / "generated" / "pictures", again=True)
