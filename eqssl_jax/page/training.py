"""The course of training on a page: recorded metrics, and evaluations of several steps.

Curves are inline SVG: they follow the page's colours, stay sharp, and show values on hover. Colours
are classes (`c0` … `c6`, in `page.css`), so that one drawing serves light and dark.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from eqssl_jax.figures.curves import SMOOTH_ABOVE, running_mean, series_of
from eqssl_jax.figures.style import DASHES, PALETTE, spans_decades
from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import SCORE, Run, evaluated
from eqssl_jax.tabular.metrics import TITLES, describe, headlines, measured
from eqssl_jax.tabular.tables import cell_of

FIRST, LAST = ("loss", SCORE), ("gradient_norm", "learning_rate")  # curves


def training(runs: Sequence[Run]) -> list[Element]:
    """Every recorded metric: the loss and the monitor first, what says how it went last."""
    recorded = dict.fromkeys(n for run in runs for row in run.records for n in row if n != "step")
    names = sorted(recorded, key=lambda n: (n not in FIRST, n in LAST))
    curves = {name: {run.name: series_of(run.records, name) for run in runs} for name in names}
    return _panels(runs, {_title(name): (name, series, {}) for name, series in curves.items()})


def _title(name: str) -> str:
    """Of a curve.

    >>> _title("gradient_norm"), _title("info_nce"), _title("order/rotate")
    ('Gradient norm', 'InfoNCE', 'Order: rotate')
    """
    words = name.replace("_", " ").replace("/", ": ")
    return {SCORE: "Validation kNN accuracy", "info_nce": "InfoNCE"}.get(
        name, words[:1].upper() + words[1:]
    )


def over_training(runs: Sequence[Run]) -> list[Element]:
    """The headlines of the runs that were evaluated at several steps; dotted lines are floors."""
    courses = {run.name: by_step for run in runs if len(by_step := evaluated(run)) > 1}
    panels = {}
    results = [result for steps in courses.values() for result in steps.values()]
    names = {name for result in results for name in measured(result, "trained")}
    for name in headlines(names, [run.config.get("roles") or {} for run in runs]):
        series = {
            run: series_of([_row(step, name, r) for step, r in by_step.items()], name)
            for run, by_step in courses.items()
        }
        levels = _floors(results, name)
        panels[describe(name).title] = (name, series, levels)
    return _panels(runs, panels)


def _row(
    step: int, name: str, result: Mapping[str, Any], encoder: str = "trained"
) -> dict[str, Any]:
    """A number of an evaluation as a line of records has it."""
    return {"step": step, name: cell_of(result, name, encoder).value}


def _floors(results: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """The floors on which all results agree."""
    levels = {}
    for floor, title in TITLES.items():
        values = {float(v) for v in series_of([_row(0, name, r, floor) for r in results], name)[1]}
        if len(values) == 1:
            levels[title] = values.pop()
    return levels


def _panels(runs: Sequence[Run], wanted: Mapping[str, tuple[str, Any, Any]]) -> list[Element]:
    """Curves under one legend: title -> (metric, series by run, levels)."""
    drawn = {
        title: want for title, want in wanted.items() if any(len(x) for x, _ in want[1].values())
    }
    if not drawn:
        return []
    order = [run.name for run in runs]
    end = max(float(x[-1]) for _, by_run, _ in drawn.values() for x, _ in by_run.values() if len(x))
    legend = [tag("li", named(run, i)) for i, run in enumerate(runs)] if len(runs) > 1 else []
    seen = {level for _, _, levels in drawn.values() for level in levels}
    looks = {name: {"class_": "level", "stroke_dasharray": dash} for name, dash in LEVELS.items()}
    legend += [tag("li", swatch(look), " ", name) for name, look in looks.items() if name in seen]
    panels = [
        panel(
            title,
            series,
            order=order,
            last_step=end,
            percent=name == SCORE or describe(name).format.endswith("%"),
            levels=levels,
        )
        for title, (name, series, levels) in drawn.items()
    ]
    key = [tag("ul", legend, class_="legend", aria_label="Lines")] if legend else []
    return [*key, tag("div", panels, class_="panels")]


def named(run: Run, index: int) -> Element:
    """A run's name with the colour of its curves."""
    return tag("span", swatch(line_class(index)), " ", run.name)


WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 8, 24  # room around the plot, for ticks
MOST = 400  # points of one drawn line; more are thinned, keeping the extremes
HOVERS = 40  # places of one line that say their value
# Of the floors, as in the figures; other levels are dashed.
LEVELS = {
    "random encoder": "6 4",
    "raw pixels": "1.5 3",
    "raw coordinates": "1.5 3",
    "true poses and hues": "8 3 1.5 3",
    "chance": None,
}
STROKES = {"-": None, "--": "6 4", ":": "1.5 3", "-.": "6 3 1.5 3"}

Series = Mapping[str, tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]


class Scale(NamedTuple):
    """From numbers to pixels: linear, or linear in the logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: Float[np.ndarray, " n"] | float) -> np.ndarray:
        numbers = np.asarray(values, np.float64)
        low, high = self.low, self.high
        if self.log:
            numbers, low, high = np.log10(numbers), np.log10(low), np.log10(high)
        return self.start + (numbers - low) / (high - low) * (self.end - self.start)


def swatch(attributes: Mapping[str, str | None]) -> Element:
    """A short piece of a line, for a legend."""
    line = tag("line", x1=0, y1=5, x2=22, y2=5, stroke_dasharray=attributes["stroke_dasharray"])
    classes = f"swatch {attributes['class_']}"
    return tag("svg", line, viewBox="0 0 22 10", class_=classes, aria_hidden="true")


def line_class(index: int) -> dict[str, str | None]:
    """Attributes of a run's line: its colour, and dashes after seven runs."""
    dash = DASHES[index // len(PALETTE) % len(DASHES)]
    return {"class_": f"c{index % len(PALETTE)}", "stroke_dasharray": STROKES[dash]}


def panel(
    title: str,
    series: Series,
    *,
    order: Sequence[str],
    last_step: float,
    percent: bool = False,
    levels: Mapping[str, float] | None = None,
) -> Element:
    """One metric over steps, a line a run, under its title; logarithmic as in `training_curves`.

    Args:
      title: of the panel.
      series: run -> steps and finite values, [n] each; a run without values draws nothing.
      order: all runs of the page; the place in it is the colour.
      last_step: right end of the axis, the same in every panel.
      percent: values are shares.
      levels: name -> a horizontal line, e.g. chance.
    """
    levels = levels or {}
    heights = np.concatenate([*(y for _, y in series.values()), np.asarray(list(levels.values()))])
    log = spans_decades(heights)
    bottom, top = _range(heights, log)
    across = Scale(0.0, max(last_step, 1.0), LEFT, WIDTH - RIGHT)
    up = Scale(bottom, top, HEIGHT - BOTTOM, TOP, log)
    drawn = [grid(across, up, percent)]
    drawn += [_level(name, value, up, percent) for name, value in levels.items()]
    shown = [run for run in order if run in series and len(series[run][0])]
    drawn += [_line(run, *series[run], order.index(run), across, up, percent) for run in shown]
    ends = ", ".join(f"{run} {number(series[run][1][-1], percent)}" for run in shown)
    picture = tag(
        "svg",
        drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title} over steps{', logarithmic' if log else ''}; at the end: {ends}",
    )
    note = tag("small", " (logarithmic)") if log else None
    return tag("figure", tag("figcaption", title, note), picture, class_="panel")


def number(value: float, percent: bool) -> str:
    """Four digits, or a share in percent.

    >>> number(0.12345, True), number(5.50712, False)
    ('12.35%', '5.507')
    """
    return f"{100 * value:.4g}%" if percent else f"{value:.4g}"


def _range(values: Float[np.ndarray, " n"], log: bool) -> tuple[float, float]:
    """Ends of the vertical axis: the values with some air, never of no height."""
    low, high = float(values.min()), float(values.max())
    if log:
        air = (high / low) ** 0.04
        return low / air, high * air
    air = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - air, high + air


def _ticks(scale: Scale, most: int) -> list[float]:
    from matplotlib.ticker import LogLocator, MaxNLocator

    locator = LogLocator(numticks=most) if scale.log else MaxNLocator(most)
    return [float(t) for t in locator.tick_values(scale.low, scale.high) if _within(t, scale)]


def _within(value: float, scale: Scale) -> bool:
    return bool(scale.low <= value <= scale.high)


def grid(across: Scale, up: Scale, percent: bool, *, bottom: float = HEIGHT - 6) -> Element:
    """Horizontal rules with their numbers at the left, and steps below."""
    parts = []
    for tick in _ticks(up, 5):
        y = f"{up(tick):.1f}"
        text = f"{100 * tick:.6g}%" if percent else f"{tick:.6g}"
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        parts.append(tag("text", text, x=LEFT - 6, y=y, dy="0.32em", text_anchor="end"))
    for tick in _ticks(across, 4):
        x = f"{across(tick):.1f}"
        parts.append(tag("text", f"{tick:,.6g}", x=x, y=bottom, text_anchor="middle"))
    return tag("g", parts, class_="grid", aria_hidden="true")


def _level(name: str, value: float, up: Scale, percent: bool) -> Element:
    y = f"{up(value):.1f}"
    hint = tag("title", f"{name}: {number(value, percent)}")
    dash = LEVELS.get(name, "6 4")
    ends = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": y, "y2": y}
    return tag("line", hint, **ends, class_="level", stroke_dasharray=dash)


def _line(
    run: str,
    steps: Float[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    index: int,
    across: Scale,
    up: Scale,
    percent: bool,
) -> Element:
    """A run's curve with places that say their value; a long one faint, under its running mean."""
    parts = []
    if len(values) > SMOOTH_ABOVE:
        parts.append(tag("path", d=path(steps, values, across, up), class_="faint"))
        values = running_mean(values)
    if len(values) > 1:
        parts.append(tag("path", d=path(steps, values, across, up)))
    places = np.unique(np.linspace(0, len(values) - 1, HOVERS).round().astype(int))
    for i in places:
        hint = f"{run}, step {steps[i]:,.0f}: {number(values[i], percent)}"
        dot = {"cx": f"{across(steps[i]):.1f}", "cy": f"{up(values[i]):.1f}"}
        parts.append(tag("circle", tag("title", hint), r=4, **dot))
    look = line_class(index)
    alone = " alone" if len(values) == 1 else ""  # a single point has no line: its dot is seen
    return tag("g", parts, **{**look, "class_": f"line {look['class_']}{alone}"})


def path(
    steps: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], across: Scale, up: Scale
) -> str:
    """The `d` of a path; of a long curve, the least and the largest value of each bin."""
    kept = np.arange(len(values))
    if len(values) > MOST:
        bins = np.array_split(kept, MOST // 2)
        kept = np.unique([i for b in bins for i in (b[values[b].argmin()], b[values[b].argmax()])])
    points = zip(across(steps[kept]), up(values[kept]), strict=True)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
