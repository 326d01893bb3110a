"""Pages of the site that are written from the code: methods, measures, the reference.

A Sphinx extension. Before Sphinx reads its sources, they are written to docs/generated/, which git
ignores; a card from a new file of the package has its page without an edit here.
"""

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eqssl_jax import measures, methods, shipped
from eqssl_jax.measures import built_in
from eqssl_jax.methods.entries import OF_ROLES
from eqssl_jax.settings import Free, shown
from eqssl_jax.tabular import published

HERE = Path(__file__).parent
# The names that stay, by the module that has them and what it answers.
REFERENCE = {
    "eqssl_jax.transforms": "What can happen to an input?",
    "eqssl_jax.transforms.recipes": "Lists of transformations",
    "eqssl_jax.views": "Who shares a draw?",
    "eqssl_jax.objectives": "What is asked of embeddings?",
    "eqssl_jax.methods": "What is being trained?",
    "eqssl_jax.measures": "What did it learn?",
    "eqssl_jax.encoders": "What computes features?",
    "eqssl_jax.data": "Where do inputs come from?",
    "eqssl_jax.settings": "What may a setting be?",
}


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [list(head), ["---"] * len(list(head)), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(value: Any) -> str:
    """A value as code; two single quotes of "" would look like one double quote."""
    return f"`{value if isinstance(value, str) else shown(value)}`" if value != "" else '`""`'


def settings_table(schema: Mapping[str, Any], quick: Mapping[str, Any] | None = None) -> str:
    """Every setting of a card: name, default, meaning, range."""
    rows = []
    for name, entry in schema.items():
        if isinstance(entry, Free):
            rows.append([code(name), "", "", entry.doc, "a group"])
            continue
        budget = code(quick[name]) if quick and name in quick else ""
        rows.append([code(name), code(entry.default), budget, entry.doc, entry.allowed])
    head = ["setting", "default", "quick", "meaning", "it must be"]
    if quick is None:
        head, rows = head[:2] + head[3:], [row[:2] + row[3:] for row in rows]
    return table(head, rows)


def functions(module: Any) -> str:
    """The public functions and classes that a module defines, for autodoc."""
    lines = []
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isfunction(value) and name != "build" and inspect.getdoc(value):
            lines.append(f".. autofunction:: {module.__name__}.{name}\n   :no-index:\n")
    body = "\n".join(lines)
    return f"\n## Functions\n\n```{{eval-rst}}\n{body}\n```\n" if lines else ""


def published_numbers(key: str) -> str:
    """The published numbers of a method, each with its source."""
    rows = [
        [cell.column, f"{cell.value:.2%}" + (f" ± {cell.sd:.2%}" if cell.sd else ""),
         f"{source.metric}; {source.setting}", source.cite()]
        for source in published.published().values()
        for (row, _), cell in source.cells.items()
        if row == key and cell.value is not None
    ]  # fmt: skip
    head = ["data", "value", "measured", "printed in"]
    text = "Numbers of papers, not of this library; ± as there."
    return f"\n## Published\n\n{text}\n\n{table(head, rows)}\n" if key and rows else ""


def method_page(name: str, card: methods.Card) -> str:
    module = importlib.import_module(f"eqssl_jax.methods.{name}")
    key = next((key for key, method in OF_ROLES.items() if method == name), name)
    facts = [
        ("source", card.source),
        ("compares the two contrast views", "yes" if card.compares else "no"),
        ("counts where a part has the role", f"`{card.role}`" if card.role else "always"),
        ("needs", ", ".join(card.needs) or "nothing more"),
        ("embeddings lie on", ", ".join(card.geometries)),
    ]
    flags = f"--config.objectives.{key}.weight={card.weight:g}"
    if card.role:
        flags += f" --config.roles.rotate={card.role}"
    config = name if name in shipped.configs() else "simclr"
    return f"""# {card.title}

{inspect.getdoc(module)}

{table(["", ""], facts)}

```python
config.objectives.{key} = dict(method="{name}", weight={card.weight})
```

```bash
eqssl train --config={config}:shapes --workdir=runs/{name} {flags}
```

## Settings

Of `config.objectives.{key}`, beside `weight` (default {card.weight:g}).

{settings_table(card.settings) if card.settings else "It has none."}
{published_numbers(card.published)}{functions(module)}"""


def measure_page(card: measures.Card) -> str:
    module = importlib.import_module(card.measure.__module__)
    outputs = [
        (
            code(output.name + ("_<part>" if output.family else "")),
            output.title,
            {"higher": "↑", "lower": "↓"}.get(output.better or "", ""),
            output.unit,
            "by data or names" if callable(output.chance) else output.chance
            if output.chance is not None else "",
        )
        for output in card.outputs
    ]  # fmt: skip
    facts = [("source", card.source or "ours"), ("needs", ", ".join(card.needs) or "images")]
    return f"""# {card.title or card.outputs[0].title}

{inspect.getdoc(module)}

{table(["", ""], facts)}

## Numbers

{table(["name", "title", "better", "unit", "chance"], outputs)}

## Settings

Of `config.evaluation.options`, or `--option=NAME=VALUE`; *quick* is what the preset `quick` makes
of them.

{settings_table(card.settings, card.quick) if card.settings else "It has none."}
{functions(module)}"""


def reference_page(name: str, title: str) -> str:
    module = importlib.import_module(name)
    lines = []
    for public in getattr(module, "__all__", None) or vars(module):
        value = getattr(module, public)
        home = getattr(value, "__module__", "")
        if public.startswith("_") or not inspect.getdoc(value) or not home.startswith(name):
            continue
        if inspect.isclass(value):
            lines.append(f".. autoclass:: {name}.{public}\n")
        elif inspect.isroutine(value):
            lines.append(f".. autofunction:: {name}.{public}\n")
    return f"# {title}\n\n`{name}`\n\n```{{eval-rst}}\n" + "\n".join(lines) + "\n```\n"


def index_page(title: str, text: str, pages: Mapping[str, str], head: list[str], rows: Any) -> str:
    listing = "\n".join(pages)
    return f"""# {title}

{text}

{table(head, rows)}

```{{toctree}}
:hidden:

{listing}
```
"""


def pages() -> dict[str, str]:
    """The text of every generated page, by its path below docs/generated/ without suffix."""
    of_methods = {name: method_page(name, card) for name, card in methods.cards().items()}
    of_measures = {card.name: measure_page(card) for card in built_in()}
    reference = {name.split(".", 1)[1]: reference_page(name, t) for name, t in REFERENCE.items()}
    made = {
        "methods/index": index_page(
            "Methods",
            "One page for each card of `eqssl_jax/methods/`, written from the card. "
            "Any number of them can be combined: their objectives are added.",
            of_methods,
            ["method", "what it is", "source"],
            [
                (f"[{card.title}]({name}.md)", summary(f"eqssl_jax.methods.{name}"), card.source)
                for name, card in methods.cards().items()
            ],
        ),
        "measures/index": index_page(
            "Measures",
            "One page for each card of `eqssl_jax/measures/`, written from the card, in the order "
            "of tables. Each number stands beside its floors: an untrained encoder, the raw input.",
            of_measures,
            ["measure", "what it is"],
            [
                (f"[{card.title or card.outputs[0].title}]({card.name}.md)",
                 summary(card.measure.__module__))
                for card in built_in()
            ],
        ),
        "reference/index": index_page(
            "Reference",
            "The names that stay, with their docstrings. `eqssl_jax.load` and "
            "`eqssl_jax.measure.measure` are on [the first page](entry.md).",
            {"entry": "", **reference},
            ["module", "answers"],
            [(f"[`{n}`]({n.split('.', 1)[1]}.md)", title) for n, title in REFERENCE.items()],
        ),
        "reference/entry": "# Load and measure\n\n```{eval-rst}\n"
        ".. autofunction:: eqssl_jax.experiment.load.load\n\n"
        ".. autofunction:: eqssl_jax.experiment.any_encoder.measure\n```\n",
    }  # fmt: skip
    groups = {"methods": of_methods, "measures": of_measures, "reference": reference}
    return made | {
        f"{g}/{name}": text for g, texts in groups.items() for name, text in texts.items()
    }


def summary(module: str) -> str:
    """The first paragraph of a module's docstring."""
    text = inspect.getdoc(importlib.import_module(module)) or ""
    return " ".join(text.split("\n\n")[0].split())


def write(folder: Path) -> None:
    """Write the pages that changed, and remove those of cards that are gone."""
    made = pages()
    for name, text in made.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
    for path in folder.rglob("*.md"):
        if str(path.relative_to(folder).with_suffix("")) not in made:
            path.unlink()


def as_rst(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText: `code` is code, and bars and stars are themselves."""
    made = []
    for line in lines:
        if line.lstrip().startswith((">>>", "...")):
            made.append(line)
            continue
        parts = re.split(r"(`[^`]+`)", line)
        made.append("".join(
            f"\\ ``{part.strip('`')}``\\ " if part.startswith("`") and len(part) > 2
            else re.sub(r"(?<=\w)_(?=\W|$)|[*|]", r"\\\g<0>", part)
            for part in parts
        ))  # fmt: skip
    return made


def _docstring(app: Any, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "generated"))
    app.connect("autodoc-process-docstring", _docstring, priority=100)  # before napoleon
    return {"parallel_read_safe": True}
