"""The course of training on a page: recorded metrics, and evaluations of several steps."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from eqssl_jax.figures.curves import series_of
from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import SCORE, Run, evaluated
from eqssl_jax.page.svg import LEVELS, line_class, panel, swatch
from eqssl_jax.tabular.headlines import headlines
from eqssl_jax.tabular.metrics import TITLES, describe, measured

FIRST, LAST = ("loss", SCORE), ("gradient_norm", "learning_rate")  # curves


def training(runs: Sequence[Run]) -> list[Element]:
    """Every recorded metric: the loss and the monitor first, what says how it went last."""
    recorded = dict.fromkeys(n for run in runs for row in run.records for n in row if n != "step")
    names = sorted(recorded, key=lambda n: (n not in FIRST, n in LAST))
    found = {name: {run.name: series_of(run.records, name) for run in runs} for name in names}
    return _panels(runs, {_title(name): (name, series, {}) for name, series in found.items()})


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
    courses = {run.name: found for run in runs if len(found := evaluated(run)) > 1}
    panels = {}
    results = [result for steps in courses.values() for result in steps.values()]
    names = {name for result in results for name in measured(result, "trained")}
    for name in headlines(names, [run.config.get("roles") or {} for run in runs]):
        series = {run: series_of(_rows(found, name), name) for run, found in courses.items()}
        levels = _floors(results, name)
        panels[describe(name).title] = (name, series, levels)
    return _panels(runs, panels)


def _rows(found: Mapping[int, Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    values = {step: measured(r, "trained").get(name, {}).get("value") for step, r in found.items()}
    return [{"step": step, name: value} for step, value in values.items()]


def _floors(results: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """The floors on which all results agree."""
    levels = {}
    for floor, title in TITLES.items():
        rows = [
            {"step": 0, name: (r.get("chance") or {}).get(name)}
            if floor == "chance"
            else {"step": 0, name: measured(r, floor).get(name, {}).get("value")}
            for r in results
        ]
        values = {float(v) for v in series_of(rows, name)[1]}
        if len(values) == 1:
            levels[title] = values.pop()
    return levels


def _panels(runs: Sequence[Run], wanted: Mapping[str, tuple[str, Any, Any]]) -> list[Element]:
    """Curves under one legend: title -> (metric, series by run, levels)."""
    drawn = {title: one for title, one in wanted.items() if any(len(x) for x, _ in one[1].values())}
    if not drawn:
        return []
    order = [run.name for run in runs]
    end = max(float(x[-1]) for _, of, _ in drawn.values() for x, _ in of.values() if len(x))
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
