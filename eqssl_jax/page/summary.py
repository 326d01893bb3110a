"""The head of a page: what was trained, how far, and how well; its settings, and how to repeat it.

Of settings, what differs between runs stands first, and the whole in a fold.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from eqssl_jax.config import base, plain
from eqssl_jax.page.markup import html_table, tag
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
from eqssl_jax.tabular.metrics import show
from eqssl_jax.tabular.tables import cell_of


def summary(runs: Sequence[Run]) -> list[Element]:
    """One run in a paragraph; several in a table under what they have in common."""
    if len(runs) == 1:
        run = runs[0]
        paragraphs = [tag("p", _sentence(run), class_="lead")]
        roles = roles_words(run.config)
        return paragraphs + ([tag("p", f"Roles: {roles}.", class_="note")] if roles else [])
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
    sentences = [
        f"{encoder_words(run.config)} trained on {data_words(run.config)} with "
        f"{method_words(run.config)}{batch}: {steps_words(run)}."
    ]
    latest, best = _knn(run)
    sentences.append(f"Validation kNN accuracy {latest}; the best, {best}." if latest else "")
    by_step = evaluated(run)
    if not by_step:
        return " ".join([*filter(None, sentences), "Not evaluated yet."])
    step = max(by_step)
    measured_there = floors_words(by_step[step])
    sentences.append(
        f"Evaluated at step {step:,}{f': {measured_there}' if measured_there else ''}."
    )
    return " ".join(filter(None, sentences))


def _knn(run: Run) -> tuple[str, str]:
    """The latest and the best kNN accuracy on validation, with their steps; empty without."""
    scores = validation(run)
    if not scores:
        return "", ""
    latest, best = (f"{value:.1%} at step {step:,}" for step, value in scores)
    return latest, best


def _row(run: Run, *, several: bool) -> list[str]:
    by_step = evaluated(run)
    latest, best = _knn(run)
    cells = [method_words(run.config), roles_words(run.config) or "–", steps_words(run)]
    cells += [latest or "–", best or "–", _evaluated(by_step)]
    where = f"{encoder_words(run.config)} on {data_words(run.config)}"
    return [where, *cells] if several else cells


def _evaluated(by_step: Mapping[int, Mapping[str, Any]]) -> str:
    """Where the latest evaluation stands, with its kNN accuracy if it has one."""
    if not by_step:
        return "not yet"
    step = max(by_step)
    accuracy = cell_of(by_step[step], "knn").value
    split = (by_step[step].get("settings") or {}).get("split", "held-out")
    words = f"kNN {show('knn', accuracy)} on {split}, " if accuracy is not None else ""
    return f"{words}step {step:,}"


def remarks(runs: Sequence[Run]) -> list[Element]:
    """What went wrong, or could not be read."""
    remarks_of = [(run.name, text) for run in runs for text in (broken(run), *run.notes) if text]
    lines = [tag("li", tag("b", name), f": {text}") for name, text in remarks_of]
    return [tag("ul", lines, class_="remarks", aria_label="Remarks")] if lines else []


# Of a part of the recipe that is not named (see `eqssl_jax/config.py`).
IMPLIED = {"roles": "invariant", "role_weights": 1.0, "sharing": "auto"}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and their values; an empty group has none.

    >>> flat({"a": {"b": 1, "c": {}}, "d": [2]})
    {'a.b': 1, 'd': [2]}
    """
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flattened |= flat(value, f"{prefix}{key}.")
        else:
            flattened[prefix + key] = value
    return flattened


def settings(runs: Sequence[Run]) -> list[Element]:
    """Tables of what differs between runs and from the defaults, and each resolved config."""
    configs = {run.name: flat({**run.config, "runs": {}}) for run in runs}
    keys = sorted({key for config in configs.values() for key in config})
    differing = [key for key in keys if len({_text(c.get(key)) for c in configs.values()}) > 1]
    made = []
    if len(runs) > 1 and differing:
        rows = [(key, [_code(c.get(key)) for c in configs.values()]) for key in differing]
        caption = "What differs between the runs"
        made.append(html_table(caption, list(configs), {"": rows}, stub="Setting"))
    elif len(runs) > 1:
        made.append(tag("p", "All runs have the same settings."))
    defaults, common = flat(plain(base())), next(iter(configs.values()))
    of_task = [key for key in keys if key not in differing]
    defaults |= {key: IMPLIED[key.split(".")[0]] for key in of_task if key.split(".")[0] in IMPLIED}
    of_task = [key for key in of_task if key in common and common[key] != defaults.get(key)]
    if of_task:
        rows = [(key, [_code(common[key]), _code(defaults.get(key))]) for key in of_task]
        caption = "What differs from the defaults" + (" in all of them" if len(runs) > 1 else "")
        made.append(html_table(caption, ["value", "default"], {"": rows}, stub="Setting"))
    for run in runs:
        text = json.dumps(run.config, indent=2, sort_keys=True, ensure_ascii=False)
        title = "The whole config" + (f" of {run.name}" if len(runs) > 1 else "")
        block = tag("pre", text, tabindex=0)
        made.append(tag("details", tag("summary", title), block))
    return made


def _text(value: Any) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False)


def _code(value: Any) -> Element:
    return tag("code", _text(value))


def environments(runs: Sequence[Run]) -> list[Element]:
    """Versions and devices: a column for each distinct one, with the runs it is of."""
    by_facts: dict[str, tuple[dict[str, str], list[str]]] = {}
    for run in runs:
        for start in run.starts:
            recorded = facts(start)
            group = by_facts.setdefault(json.dumps(recorded), (recorded, []))
            since = start.get("from_step")
            group[1].append(run.name + (f" from step {since:,}" if since else ""))
    missing = [run.name for run in runs if not run.starts]
    made = []
    if by_facts:
        columns = [", ".join(dict.fromkeys(names)) for _, names in by_facts.values()]
        keys = dict.fromkeys(key for recorded, _ in by_facts.values() for key in recorded)
        rows = [(k, [rec.get(k, "–") for rec, _ in by_facts.values()]) for k in keys]
        made.append(html_table("Where it was trained", columns, {"": rows}, stub=""))
    if missing:
        text = f"Not recorded for {', '.join(missing)}: trained by an earlier version."
        made.append(tag("p", text, class_="note"))
    return made


def facts(start: Mapping[str, Any]) -> dict[str, str]:
    """Of an entry of environment.json, in words; what was not recorded is left out."""
    device, commit = start.get("device") or {}, start.get("commit") or {}
    changed = ", with uncommitted changes" if commit.get("changed") else ""
    count = device.get("count")
    recorded = {
        "eqssl_jax": start.get("eqssl_jax"),
        "commit": f"{commit['hash'][:12]}{changed}" if commit.get("hash") else None,
        "device": f"{count or 1} × {device['kind']}" if device.get("kind") else None,
        "CPU cores": device.get("cores"),
        "system": start.get("system"),
        "python": start.get("python"),
        **(start.get("packages") or {}),
    }
    return {key: str(value) for key, value in recorded.items() if value is not None}


def commands(runs: Sequence[Run]) -> list[Element]:
    """The command that was started, and one that needs nothing but the resolved config."""
    started: dict[str, list[str]] = {}
    for run in runs:
        for start in run.starts[:1]:
            if start.get("command"):
                started.setdefault(start["command"], []).append(run.name)
    made = []
    for command, names in started.items():
        made += [tag("p", f"Started with ({', '.join(names)}):"), _command(command)]
    first = runs[0]
    explanation = f"From the resolved config alone ({first.name}; likewise any other run's folder):"
    text = explanation if len(runs) > 1 else "From the resolved config alone:"
    return [*made, tag("p", text), _command(again(first.folder))]


def _command(text: str) -> Element:
    return tag("pre", text, tabindex=0, class_="command")


def again(folder: str) -> str:
    """A command that trains a run once more from its config.json."""
    program = (
        "import json, pathlib, sys; from eqssl_jax.config import load; "
        "from eqssl_jax.experiment.run import run; "
        "run(load(json.loads(pathlib.Path(sys.argv[1], 'config.json').read_text())), "
        "pathlib.Path(sys.argv[2]))"
    )
    source = folder or "RUN"
    return shlex.join(["python", "-c", program, source, f"{source.rstrip('/')}_again"])
