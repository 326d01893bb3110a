"""Runs as one HTML file that needs nothing else: no network, no scripts, images inside."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from xml.etree.ElementTree import Element

from eqssl_jax.reporting.curves import series_of
from eqssl_jax.reporting.gallery import figures
from eqssl_jax.reporting.html_tables import html_table
from eqssl_jax.reporting.markup import markup, tag
from eqssl_jax.reporting.metrics import HEADLINES, TITLES, describe, measured
from eqssl_jax.reporting.numbers import number_tables
from eqssl_jax.reporting.runs import (
    SCORE,
    Run,
    broken,
    data_words,
    encoder_words,
    evaluated,
    floors_words,
    method_words,
    roles_words,
    steps_words,
    validation,
)
from eqssl_jax.reporting.settings import commands, environments, settings
from eqssl_jax.reporting.svg import line_class, panel

FEW = 3  # runs that are named in the title


def html_page(runs: Sequence[Run], *, shared: Mapping[str, bytes] | None = None) -> str:
    """The page of one or several runs; equal input gives an equal page.

    What a run lacks (evaluation, labels, records, environment) is said or left out. All text is
    escaped. Large figures are written smaller, so that the page stays below about 10 MB.

    Args:
      runs: in the order of their colours and columns.
      shared: figures of all runs together, by file name without ending.

    Raises:
      ValueError: without runs, or for two of the same name.
    """
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise ValueError(f"A page needs at least one run, each with its own name; found {names}.")
    title = ", ".join(names) if len(names) <= FEW else f"{len(names)} runs"
    sections = {
        "Training": _training(runs),
        "Numbers": _numbers(runs),
        "Over training": _over_training(runs),
        "Figures": figures(runs, shared or {}),
        "Settings": settings(runs),
        "To repeat it": [*environments(runs), *commands(runs)],
    }
    shown = {heading: parts for heading, parts in sections.items() if parts}
    anchors = {heading: heading.lower().replace(" ", "-") for heading in shown}
    links = [tag("a", heading, href=f"#{anchor}") for heading, anchor in anchors.items()]
    main = [
        tag("section", tag("h2", heading), parts, id=anchors[heading])
        for heading, parts in shown.items()
    ]
    body = tag(
        "body",
        tag("header", tag("h1", title), _summary(runs), _remarks(runs)),
        tag("nav", links, aria_label="Sections"),
        tag("main", main),
        tag("footer", "Written by eqssl_jax. Hover over a curve or a number for its value."),
    )
    return "<!DOCTYPE html>\n" + markup(tag("html", _head(title), body, lang="en")) + "\n"


def _head(title: str) -> Element:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · eqssl_jax"),
        tag("style", files("eqssl_jax.reporting").joinpath("page.css").read_text("utf-8")),
    )


def _summary(runs: Sequence[Run]) -> list[Element]:
    """One run in a paragraph; several in a table under what they have in common."""
    if len(runs) == 1:
        run = runs[0]
        said = [tag("p", _sentence(run), class_="lead")]
        roles = roles_words(run.config)
        return said + ([tag("p", f"Roles: {roles}.", class_="note")] if roles else [])
    where = dict.fromkeys(f"{encoder_words(r.config)} on {data_words(r.config)}" for r in runs)
    lead = f"{len(runs)} runs: {', '.join(where)}."
    columns = ["Trained with", "Roles", "Steps", "Validation kNN", "its best", "Evaluated"]
    if len(where) > 1:
        columns.insert(0, "Encoder and data")
    rows = [(_named(run, i), _row(run, several=len(where) > 1)) for i, run in enumerate(runs)]
    table = html_table("The runs", columns, {"": rows}, stub="Run", class_="runs")
    return [tag("p", lead, class_="lead"), table]


def _sentence(run: Run) -> str:
    train = run.config.get("train") or {}
    batch = f", {train['batch_size']} inputs a step" if "batch_size" in train else ""
    said = [
        f"{encoder_words(run.config)} trained on {data_words(run.config)} with "
        f"{method_words(run.config)}{batch}: {steps_words(run)}."
    ]
    latest, best = _knn(run)
    said.append(f"Validation kNN accuracy {latest}; the best, {best}." if latest else "")
    found = evaluated(run)
    if not found:
        return " ".join([*filter(None, said), "Not evaluated yet."])
    step = max(found)
    measured_there = floors_words(found[step])
    said.append(f"Evaluated at step {step:,}{f': {measured_there}' if measured_there else ''}.")
    return " ".join(filter(None, said))


def _knn(run: Run) -> tuple[str, str]:
    """The latest and the best kNN accuracy on validation, with their steps; empty without."""
    found = validation(run)
    if not found:
        return "", ""
    latest, best = (f"{value:.1%} at step {step:,}" for step, value in found)
    return latest, best


def _row(run: Run, *, several: bool) -> list[str]:
    found = evaluated(run)
    latest, best = _knn(run)
    cells = [method_words(run.config), roles_words(run.config) or "–", steps_words(run)]
    cells += [latest or "–", best or "–", f"step {max(found):,}" if found else "not yet"]
    where = f"{encoder_words(run.config)} on {data_words(run.config)}"
    return [where, *cells] if several else cells


def _named(run: Run, index: int) -> Element:
    """A run's name with the colour of its curves."""
    look = line_class(index)
    line = tag("line", x1=0, y1=5, x2=22, y2=5, stroke_dasharray=look["stroke_dasharray"])
    swatch = tag("svg", line, viewBox="0 0 22 10", class_=f"swatch {look['class_']}")
    swatch.set("aria-hidden", "true")
    return tag("span", swatch, " ", run.name)


def _remarks(runs: Sequence[Run]) -> list[Element]:
    """What went wrong, or could not be read."""
    found = [(run.name, text) for run in runs for text in (broken(run), *run.notes) if text]
    lines = [tag("li", tag("b", name), f": {text}") for name, text in found]
    return [tag("ul", lines, class_="remarks", aria_label="Remarks")] if lines else []


def _training(runs: Sequence[Run]) -> list[Element]:
    names = dict.fromkeys(n for run in runs for row in run.records for n in row if n != "step")
    found = {name: {run.name: series_of(run.records, name) for run in runs} for name in names}
    return _panels(runs, {_title(name): (name, series, {}) for name, series in found.items()})


def _title(name: str) -> str:
    return "Validation kNN accuracy" if name == SCORE else name.replace("_", " ")


def _numbers(runs: Sequence[Run]) -> list[Element]:
    """The table of each run's latest evaluation."""
    latest = {run.name: found[max(found)] for run in runs if (found := evaluated(run))}
    if not latest:
        text = "No run has been evaluated yet: python -m eqssl_jax.eval --workdir=…"
        return [tag("p", text, class_="note")]
    missing = [run.name for run in runs if run.name not in latest]
    note = [tag("p", f"Not evaluated yet: {', '.join(missing)}.", class_="note")] if missing else []
    return [*number_tables(latest), *note]


def _over_training(runs: Sequence[Run]) -> list[Element]:
    """The headlines of the runs that were evaluated at several steps; dotted lines are floors."""
    courses = {run.name: found for run in runs if len(found := evaluated(run)) > 1}
    panels = {}
    for name in HEADLINES:
        series = {run: series_of(_rows(found, name), name) for run, found in courses.items()}
        levels = _floors([result for found in courses.values() for result in found.values()], name)
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
    legend = [tag("li", _named(run, i)) for i, run in enumerate(runs)]
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
    key = [tag("ul", legend, class_="legend", aria_label="Runs")] if len(runs) > 1 else []
    return [*key, tag("div", panels, class_="panels")]
