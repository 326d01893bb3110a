"""What is known of a run, and what can be said of it in words; any of it may be missing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from eqssl_jax.figures.curves import series_of
from eqssl_jax.methods import Card, find
from eqssl_jax.tabular.metrics import measured, show
from eqssl_jax.tabular.tables import cell_of

SCORE = "validation_knn"


class Run(NamedTuple):
    """A run as plain values.

    Attributes:
      name: unique on the page.
      folder: where it lies, as text.
      config: the resolved config.
      records: the lines of metrics.jsonl, dicts with "step" and numbers.
      evaluations: step -> evaluation result (see `eqssl_jax.tabular.tables`).
      figures: kind, e.g. "views" -> PNG, of the latest evaluated step.
      starts: the entries of environment.json, oldest first.
      notes: what could not be read.
      arrays: of the latest evaluated step, what maps and ladders need (`experiment.stored`).
    """

    name: str
    folder: str = ""
    config: Mapping[str, Any] = {}
    records: Sequence[Mapping[str, Any]] = ()
    evaluations: Mapping[int, Mapping[str, Any]] = {}
    figures: Mapping[str, bytes] = {}
    starts: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    arrays: Mapping[str, np.ndarray] = {}


def evaluated(run: Run) -> dict[int, Mapping[str, Any]]:
    """The evaluations that hold a number of the trained encoder, by step in order."""
    return {step: run.evaluations[step] for step in sorted(run.evaluations) if _has(run, step)}


def _has(run: Run, step: int) -> bool:
    return bool(measured(run.evaluations[step], "trained"))


def objectives(config: Mapping[str, Any]) -> list[tuple[str, Card | None, float]]:
    """(key, card, weight) of what is trained: weight above 0, and a part with the role it needs.

    The card is None if it is not to be found any more, as in a module that is gone.
    """
    roles = set((config.get("roles") or {}).values())
    trained = []
    for key, entry in (config.get("objectives") or {}).items():
        if isinstance(entry, Mapping) and entry.get("weight", 0) > 0:
            card = _card(str(entry.get("method", key)))
            if not card or not card.role or card.role in roles:
                trained.append((key, card, entry["weight"]))
    return trained


def _card(name: str) -> Card | None:
    try:
        return find(name)
    except ValueError:
        return None


def method_words(config: Mapping[str, Any]) -> str:
    """What is asked of the embedding.

    >>> objectives = {"info_nce": {"method": "simclr", "weight": 1.0}, "byol": {"weight": 0.3}}
    >>> method_words({"objectives": objectives})
    'SimCLR + 0.3 · BYOL'
    """
    terms = [
        (f"{weight:g} · " if weight != 1 else "") + (card.title if card else key.replace("_", " "))
        for key, card, weight in objectives(config)
    ]
    return " + ".join(terms) or "no objective"


def roles_words(config: Mapping[str, Any]) -> str:
    """Parts of the recipe by role; those whose objective weighs nothing say so.

    >>> roles_words({"roles": {"crop": "invariant", "flip": "off", "jitter": "invariant"}})
    'invariant: crop, jitter; off: flip'
    """
    by_role: dict[str, list[str]] = {}
    for part, role in (config.get("roles") or {}).items():
        by_role.setdefault(str(role), []).append(part)
    active = {card.role for _, card, _ in objectives(config) if card}
    idle = {"rotational", "ordered", "predicted"} - active
    return "; ".join(
        f"{role}{' (weight 0)' if role in idle else ''}: {', '.join(parts)}"
        for role, parts in by_role.items()
    )


def data_words(config: Mapping[str, Any]) -> str:
    """The data set and its split, where that is not "train"."""
    source = config.get("data") or {}
    split = source.get("split", "train")
    return f"{source.get('name', 'unknown data')}{'' if split == 'train' else f' ({split})'}"


def encoder_words(config: Mapping[str, Any]) -> str:
    return str((config.get("model") or {}).get("encoder", "unknown encoder"))


def last_step(run: Run) -> int | None:
    """The last step that was recorded, saved or evaluated; None before the first."""
    steps = [row["step"] for row in run.records] + list(run.evaluations)
    return int(max(steps)) if steps else None


def steps_words(run: Run) -> str:
    """Steps done of those planned.

    >>> steps_words(Run("a", config={"train": {"steps": 40}}, records=[{"step": 20, "loss": 1.0}]))
    '20 of 40 steps (unfinished)'
    """
    done, train = last_step(run), run.config.get("train") or {}
    planned = (run.starts[-1].get("steps") if run.starts else None) or train.get("steps")
    if not planned:  # a budget in epochs, of a run that did not record their length
        goal = f" of {train['epochs']:g} epochs" if "epochs" in train else ""
        return f"{done or 0:,} steps{goal and ' (budget:' + goal[3:] + ')'}"
    unfinished = " (unfinished)" if (done or 0) < planned else ""
    return f"{done or 0:,} of {planned:,} steps{unfinished}"


def validation(run: Run) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """(step, kNN accuracy) of the latest and of the best; None where there is none."""
    steps, values = series_of(run.records, SCORE)
    if not len(values):
        return None
    pairs = [(int(steps[i]), float(values[i])) for i in (-1, int(values.argmax()))]
    return pairs[0], pairs[1]


def broken(run: Run) -> str:
    """Which number first stopped being finite, and when; "" where all are."""
    for row in run.records:
        wrong = [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)]
        if wrong:
            return f"{', '.join(wrong)} not finite at step {row['step']:,}"
    return ""


def floors_words(result: Mapping[str, Any]) -> str:
    """kNN accuracy beside its floors; "" where it was not measured."""
    accuracy = cell_of(result, "knn").value
    if accuracy is None:
        return ""
    names = {"random": "untrained", "pixels": "raw pixels", "coordinates": "raw coordinates",
             "chance": "chance"}  # fmt: skip
    floors = {words: cell_of(result, "knn", encoder).value for encoder, words in names.items()}
    beside = [f"{words} {show('knn', v)}" for words, v in floors.items() if v is not None]
    split = (result.get("settings") or {}).get("split", "held-out")
    return f"kNN accuracy on {split} {show('knn', accuracy)}" + (
        f" ({', '.join(beside)})" if beside else ""
    )
