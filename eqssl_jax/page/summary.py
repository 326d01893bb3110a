"""The head of a page: what was trained, on what, how far, and how well, in a few words."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from eqssl_jax.page.html_tables import html_table
from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import (
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
from eqssl_jax.page.training import named
from eqssl_jax.tabular.metrics import measured, show


def summary(runs: Sequence[Run]) -> list[Element]:
    """One run in a paragraph; several in a table under what they have in common."""
    if len(runs) == 1:
        run = runs[0]
        said = [tag("p", _sentence(run), class_="lead")]
        roles = roles_words(run.config)
        return said + ([tag("p", f"Roles: {roles}.", class_="note")] if roles else [])
    where = dict.fromkeys(f"{encoder_words(r.config)} on {data_words(r.config)}" for r in runs)
    sizes = {(r.config.get("train") or {}).get("batch_size") for r in runs} - {None}
    batch = f", {sizes.pop():,} inputs a step" if len(sizes) == 1 else ""
    lead = f"{len(runs)} runs of {', '.join(where)}{batch}."
    columns = ["Trained with", "Roles", "Steps", "Validation kNN", "Its best", "Evaluated"]
    if len(where) > 1:
        columns.insert(0, "Encoder and data")
    rows = [(named(run, i), _row(run, several=len(where) > 1)) for i, run in enumerate(runs)]
    table = html_table("The runs", columns, {"": rows}, stub="Run", class_="runs")
    return [tag("p", lead, class_="lead"), table]


def _sentence(run: Run) -> str:
    train = run.config.get("train") or {}
    batch = f", {train['batch_size']:,} inputs a step" if "batch_size" in train else ""
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
    cells += [latest or "–", best or "–", _evaluated(found)]
    where = f"{encoder_words(run.config)} on {data_words(run.config)}"
    return [where, *cells] if several else cells


def _evaluated(found: Mapping[int, Mapping[str, Any]]) -> str:
    """Where the latest evaluation stands, with its kNN accuracy if it has one."""
    if not found:
        return "not yet"
    step = max(found)
    accuracy = measured(found[step], "trained").get("knn", {}).get("value")
    split = (found[step].get("settings") or {}).get("split", "held-out")
    words = f"kNN {show('knn', accuracy)} on {split}, " if accuracy is not None else ""
    return f"{words}step {step:,}"


def remarks(runs: Sequence[Run]) -> list[Element]:
    """What went wrong, or could not be read."""
    found = [(run.name, text) for run in runs for text in (broken(run), *run.notes) if text]
    lines = [tag("li", tag("b", name), f": {text}") for name, text in found]
    return [tag("ul", lines, class_="remarks", aria_label="Remarks")] if lines else []
