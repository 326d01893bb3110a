"""Runs as one HTML file that needs nothing else: no network, no scripts, images inside."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element

from eqssl_jax.page.embeddings import ladders, maps
from eqssl_jax.page.films import films
from eqssl_jax.page.gallery import figures
from eqssl_jax.page.markup import markup, tag
from eqssl_jax.page.numbers import number_tables
from eqssl_jax.page.runs import Run, evaluated
from eqssl_jax.page.summary import commands, environments, remarks, settings, summary
from eqssl_jax.page.training import over_training, training
from eqssl_jax.tabular import by_seed, merged

FEW = 3  # runs that are named in the title


def html_page(runs: Sequence[Run], *, shared: Mapping[str, bytes] | None = None) -> str:
    """The page of one or several runs; equal input gives an equal page.

    What a run lacks (evaluation, labels, records, environment) is said or left out. All text is
    escaped. Large figures are written smaller: a page of ten runs has about 3 MB, and
    none more than about 10.

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
    together, of_runs = figures(runs, shared or {})
    sections = {
        "At a glance": together,  # what shows without reading comes first
        "Training": training(runs),
        "Numbers": _numbers(runs),
        "Evaluated over training": [*over_training(runs), *films(runs)],
        "Figures": [
            *_figure_steps(runs),
            *of_runs,
            *ladders(runs),
            *maps(runs),
        ],
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
        tag("header", tag("h1", title), summary(runs), remarks(runs)),
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
        tag("style", files("eqssl_jax.page").joinpath("page.css").read_text("utf-8")),
    )


def _figure_steps(runs: Sequence[Run]) -> list[Element]:
    """A word on the figures of steps that are not shown."""
    if not any(run.figures and len(run.evaluations) > 1 for run in runs):
        return []
    text = "Of the latest evaluated step; those of earlier steps lie in the run's folder eval."
    return [tag("p", text, class_="note")]


def _numbers(runs: Sequence[Run]) -> list[Element]:
    """The latest evaluation of each run; runs that differ in their seed alone are one column."""
    latest = {run.name: by_step[max(by_step)] for run in runs if (by_step := evaluated(run))}
    if not latest:
        text = "No run has been evaluated yet: python -m eqssl_jax.eval --workdir=…"
        return [tag("p", text, class_="note")]
    missing = [run.name for run in runs if run.name not in latest]
    note = [tag("p", f"Not evaluated yet: {', '.join(missing)}.", class_="note")] if missing else []
    by_name = {run.name: run for run in runs if run.name in latest}
    groups = by_seed({name: run.config for name, run in by_name.items()})
    columns = {name: merged([latest[run] for run in members]) for name, members in groups.items()}
    roles = [run.config.get("roles") or {} for run in by_name.values()]
    return [*number_tables(columns, roles), *note]
