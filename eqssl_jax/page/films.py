"""The spectrum over training as a film: a step at a time, by hand or by itself, without scripts.

Every step is a drawing behind a radio button, of which CSS shows the chosen one: arrow keys go from
step to step. "Play" shows one drawing whose colours change by themselves (SMIL).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from eqssl_jax.page.markup import tag
from eqssl_jax.page.runs import Run, evaluated
from eqssl_jax.tabular.metrics import FAMILIES

SHOWN = ("order_accuracy_amid", "order_accuracy")  # the first that a run has
MOST = 24  # steps of a film
SECONDS = 0.8  # of a step
LEFT, TOP, WIDE, HIGH = 74, 52, 44, 22  # room for layers and parts; a cell

Frame = Mapping[str, Any]  # layers, parts, and tables [L, P]


def films(runs: Sequence[Run]) -> list[Element]:
    """A film of each run that was evaluated at several steps, under a heading."""
    drawn = [made for index, run in enumerate(runs) if (made := _film(run, index))]
    if not drawn:
        return []
    text = (
        "How well each layer (from the stem at the top to the embedding) keeps the order of each "
        "transformation while all others change: 0.5 (pale) is chance, 1 (dark) is always. Choose "
        "a step, go on with the arrow keys, or let it play; step 0 is the untrained encoder."
    )
    panels = tag("div", drawn, class_="panels")
    return [tag("section", tag("h3", "The spectrum over training"), tag("p", text), panels)]


def frames(run: Run) -> tuple[str, dict[int, Frame]]:
    """The table that is shown, and the spectrum at each evaluated step; the first is untrained."""
    spectra = {step: _spectrum(result, "trained") for step, result in evaluated(run).items()}
    spectra = {step: frame for step, frame in spectra.items() if frame}
    if len(spectra) > 1:
        first = min(spectra)
        start = _spectrum(run.evaluations[first], "random")
        spectra = ({0: start} if first > 0 and start else {}) | spectra
    table = next((t for t in SHOWN if all(t in frame for frame in spectra.values())), "")
    same = {(tuple(f["layers"]), tuple(f["parts"])) for f in spectra.values()}
    return table, spectra if table and len(spectra) > 1 and len(same) == 1 else {}


def _spectrum(result: Mapping[str, Any], encoder: str) -> Frame:
    spectrum = (result.get("spectrum") or {}).get(encoder) or {}
    return spectrum if {"layers", "parts"} <= set(spectrum) else {}


def _film(run: Run, index: int) -> Element | None:
    table, spectra = frames(run)
    if not spectra:
        return None
    steps = sorted(spectra)
    if len(steps) > MOST:
        steps = [steps[round(n * (len(steps) - 1) / (MOST - 1))] for n in range(MOST)]
    parts: list[Element] = []
    for step in [*steps, None]:  # None: all of them, one after another
        chosen = steps if step is None else [step]
        key = f"film{index}-{'play' if step is None else step}"
        word = "play" if step is None else f"{step:,}"
        parts.append(tag("input", type="radio", name=f"film{index}", id=key,
                         checked=step == steps[-1]))  # fmt: skip
        parts.append(tag("label", word, for_=key))
        parts.append(_drawing(run.name, table, [spectra[s] for s in chosen], chosen))
    caption = f"{run.name}: {FAMILIES[table].title}"
    return tag("figure", tag("figcaption", caption), tag("div", parts, class_="film"),
               class_="panel")  # fmt: skip


def _drawing(run: str, table: str, shown: Sequence[Frame], steps: Sequence[int]) -> Element:
    layers, names = shown[0]["layers"], shown[0]["parts"]
    drawn = [
        tag("text", layer, x=LEFT - 6, y=TOP + (row + 0.65) * HIGH, text_anchor="end")
        for row, layer in enumerate(layers)
    ]
    for column, part in enumerate(names):
        x = LEFT + (column + 0.5) * WIDE
        drawn.append(tag("text", part, transform=f"translate({x:g} {TOP - 6}) rotate(-30)"))
    for row in range(len(layers)):
        for column in range(len(names)):
            values = [frame[table][row][column] for frame in shown]
            drawn += _cell(LEFT + column * WIDE, TOP + row * HIGH, values)
    high = TOP + len(layers) * HIGH
    for n, step in enumerate(steps):
        word = tag("text", _visible(n, len(steps)), f"step {step:,}", x=0, y=high + 18)
        drawn.append(word)
    wide = LEFT + len(names) * WIDE + 24
    label = f"Spectrum of {run}, step {', '.join(map(str, steps))}"
    return tag("svg", drawn, viewBox=f"0 0 {wide} {high + 24}", role="img", aria_label=label)


def _cell(x: float, y: float, values: Sequence[float | None]) -> list[Element]:
    """A square whose colour is the value, or goes through all of them; one value is also text."""
    colours = [_colour(value) for value in values]
    move = tag("animate", attributeName="fill", values=";".join(colours), calcMode="discrete",
               dur=f"{SECONDS * len(values):g}s", repeatCount="indefinite")  # fmt: skip
    square = tag("rect", move if len(values) > 1 else None, x=x, y=y, width=WIDE - 2,
                 height=HIGH - 2, fill=colours[-1])  # fmt: skip
    if len(values) > 1 or values[0] is None:
        return [square]
    ink = "#fff" if values[0] > 0.75 else "#222"
    place = {"x": x + WIDE / 2 - 1, "y": y + 0.62 * HIGH}
    return [square, tag("text", f"{values[0]:.2f}", **place, class_="in", style=f"fill:{ink}")]


def _visible(n: int, count: int) -> Element | None:
    """Shows the n-th of `count` texts in its turn."""
    if count == 1:
        return None
    turns = ";".join("visible" if turn == n else "hidden" for turn in range(count))
    return tag("animate", attributeName="visibility", values=turns, calcMode="discrete",
               dur=f"{SECONDS * count:g}s", repeatCount="indefinite")  # fmt: skip


def _colour(value: float | None) -> str:
    """From pale at 0.5 and below to dark at 1; grey where there is no value."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if value is None:
        return "#bbbbbb"
    return to_hex(colormaps["Blues"](0.08 + 0.87 * min(max(2 * value - 1, 0.0), 1.0)))
