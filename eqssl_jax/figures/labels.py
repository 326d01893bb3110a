"""Names written beside the points of a picture, so that none lies on another."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eqssl_jax.figures.style import INK, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def name_points(axes: "Axes", points: Mapping[str, tuple[float, float]]) -> None:
    """Write the name of each point beside it, none over another, with a line where it is far."""
    from matplotlib.text import Text

    labels = {
        name: axes.annotate(name, at, xytext=(0, 0), textcoords="offset points", fontsize=SMALL,
                            verticalalignment="bottom", in_layout=False)
        for name, at in points.items()
    }  # fmt: skip
    figure: Any = axes.get_figure()
    figure.draw_without_rendering()  # which settles where the points lie
    scale = figure.dpi / 72  # pixels of a point
    boxes = {name: Text.get_window_extent(label) for name, label in labels.items()}
    sizes = {name: (box.width / scale, box.height / scale) for name, box in boxes.items()}
    pixels = {name: axes.transData.transform(at) for name, at in points.items()}
    where = {name: (float(x) / scale, float(y) / scale) for name, (x, y) in pixels.items()}
    area = [edge / scale for edge in axes.get_window_extent().extents]
    for name, (left, low) in beside(where, sizes, area).items():
        offset = left - where[name][0], low - where[name][1]
        labels[name].set_position(offset)
        width, height = sizes[name]
        if max(offset[0], -offset[0] - width, offset[1], -offset[1] - height) > 10:
            line = {"arrowstyle": "-", "lw": 0.4, "color": INK, "shrinkA": 0, "shrinkB": 2}
            middle = offset[0] + width / 2, offset[1] + height / 2
            axes.annotate("", points[name], xytext=middle, textcoords="offset points",
                          arrowprops=line, in_layout=False, zorder=1)  # fmt: skip


def beside(
    points: Mapping[str, tuple[float, float]],
    sizes: Mapping[str, tuple[float, float]],
    area: Sequence[float],
) -> dict[str, tuple[float, float]]:
    """Lower left corners of labels near their points, over no other label and over no point.

    Args:
      points: (x, y) by name; sizes: (width, height) of its label; area: (x0, y0, x1, y1), which
        labels stay in as long as there is room. All in one unit, about that of a marker's radius.

    >>> beside({"a": (9.0, 9.0), "b": (9.0, 9.0)}, dict.fromkeys("ab", (8.0, 4.0)), (-9, 0, 50, 50))
    {'a': (13.0, 7.0), 'b': (-3.0, 7.0)}
    """
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in points.values()]
    corners = {}
    for name, (x, y) in sorted(points.items(), key=lambda item: -item[1][1]):
        width, height = sizes[name]
        box = (x, y, x, y)
        for box in _around(x, y, width, height):
            inside = box[0] >= area[0] and box[1] >= area[1]
            inside = inside and box[2] <= area[2] and box[3] <= area[3]
            if inside and not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)
        corners[name] = box[:2]
    return corners


Box = tuple[float, float, float, float]  # x0, y0, x1, y1


def _around(x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """Boxes of a size about a point, the nearest first: right, left, then above and below."""
    for ring in range(60):
        for sixteenth in (0, 8, 1, 15, 7, 9, 2, 14, 6, 10, 3, 13, 5, 11, 4, 12):
            angle = math.pi * sixteenth / 8
            left = x + math.cos(angle) * (width / 2 + 4 + 4 * ring) - width / 2
            low = y + math.sin(angle) * (height / 2 + 4 + 4 * ring) - height / 2
            yield left, low, left + width, low + height


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
