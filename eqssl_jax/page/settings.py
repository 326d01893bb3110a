"""The settings of runs on a page: what differs first, the whole in a fold; how to repeat them."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from eqssl_jax.config import base, plain
from eqssl_jax.page.html_tables import html_table
from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run

# Of a part of the recipe that is not named (see `eqssl_jax/config.py`).
IMPLIED = {"roles": "invariant", "role_weights": 1.0, "sharing": "auto"}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and their values; an empty group has none.

    >>> flat({"a": {"b": 1, "c": {}}, "d": [2]})
    {'a.b': 1, 'd': [2]}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


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
    own = [key for key in keys if key not in differing]
    defaults |= {key: IMPLIED[key.split(".")[0]] for key in own if key.split(".")[0] in IMPLIED}
    own = [key for key in own if key in common and common[key] != defaults.get(key)]
    if own:
        rows = [(key, [_code(common[key]), _code(defaults.get(key))]) for key in own]
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
            facts = _facts(start)
            known = by_facts.setdefault(json.dumps(facts), (facts, []))
            since = start.get("from_step")
            known[1].append(run.name + (f" from step {since:,}" if since else ""))
    missing = [run.name for run in runs if not run.starts]
    made = []
    if by_facts:
        columns = [", ".join(dict.fromkeys(names)) for _, names in by_facts.values()]
        keys = dict.fromkeys(key for facts, _ in by_facts.values() for key in facts)
        rows = [(k, [facts.get(k, "–") for facts, _ in by_facts.values()]) for k in keys]
        made.append(html_table("Where it was trained", columns, {"": rows}, stub=""))
    if missing:
        text = f"Not recorded for {', '.join(missing)}: trained by an earlier version."
        made.append(tag("p", text, class_="note"))
    return made


def _facts(start: Mapping[str, Any]) -> dict[str, str]:
    """Of one start, in words; what was not recorded is left out."""
    device, commit = start.get("device") or {}, start.get("commit") or {}
    changed = ", with uncommitted changes" if commit.get("changed") else ""
    count = device.get("count")
    facts = {
        "eqssl_jax": start.get("eqssl_jax"),
        "commit": f"{commit['hash'][:12]}{changed}" if commit.get("hash") else None,
        "device": f"{count or 1} × {device['kind']}" if device.get("kind") else None,
        "CPU cores": device.get("cores"),
        "system": start.get("system"),
        "python": start.get("python"),
        **(start.get("packages") or {}),
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


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
    what = f"From the resolved config alone ({first.name}; likewise any other run's folder):"
    text = what if len(runs) > 1 else "From the resolved config alone:"
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
