"""From a config to what advice trains, checked before; and what advice prints and writes.

A plan (`--dry_run`) is printed before anything is compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from eqssl_jax import figures, tabular
from eqssl_jax.advice.bench import check_images
from eqssl_jax.advice.candidates import Candidate, candidates, gated_method, gates
from eqssl_jax.advice.fleet import CONTRASTS, check_method, entry_text
from eqssl_jax.methods import ROLES
from eqssl_jax.methods.entries import OF_ROLES
from eqssl_jax.settings import LARGEST
from eqssl_jax.tabular.advice import BASE, OBJECTIVES
from eqssl_jax.training.checks import check_batch
from eqssl_jax.training.initial import source_of
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import write_json


def prepare(config: ConfigDict, workdir: Path | None = None) -> tuple[Setup, list[Candidate]]:
    """What is trained, and the candidates; everything that can be refused early is.

    Advice that goes on in `workdir` keeps the statistics of its networks.

    Raises:
      ValueError: for settings or data that cannot work.
    """
    run = setup(config, roles=config.advice.roles, workdir=workdir)
    config = run.config  # checked, in the types of its settings
    check(run)
    check_images(run)
    tables = candidates(config, run.recipe)
    used = {(part, line.role) for candidate in tables for part, line in candidate.table.items()}
    first = jax.tree.map(lambda leaf: leaf[0], gates([tables[0].table]))
    # Roles that are tried may need what the config's own do not, such as a batch of equal groups.
    check_batch(run.config, gated_method(run.config, run.recipe, first, used), run.mesh.size)
    for candidate in tables:
        if candidate.method:
            check_method(run, candidate)
    return run, tables


def check(run: Setup) -> None:
    """Settings of config.advice must be possible, and every candidate trained as they say.

    Raises:
      ValueError: naming the setting.
    """
    seed, seeds = run.config.seed, run.config.advice.seeds
    if seed + seeds > LARGEST:
        raise ValueError(
            f"config.seed is {seed} and config.advice.seeds {seeds}: the last seed must be below "
            f"{LARGEST}."
        )
    if run.split.draw is not None:
        raise ValueError(
            f"Advice compares roles that share or leave out draws, and config.recipe.name is "
            f"{run.config.recipe.name!r}: stored views of objects each have draws of their own. "
            f"Take the recipe of images that is to be advised on."
        )
    if run.split.load is not None:
        raise ValueError(
            "Advice trains many encoders on data that lives on the device, and this data is "
            "streamed: set --config.data.on_device=always, or make images smaller (data.size)."
        )
    if source := source_of(run.config):
        raise ValueError(
            f"Advice trains every candidate from weights that it draws, and {source}: leave it "
            f"empty."
        )
    entries = run.config.objectives
    others = [f"{key} ({values.method})" for key, values in entries.items() if _other(values)]
    if others:
        raise ValueError(
            f"Advice compares roles under {', '.join(CONTRASTS)}, with the usual objectives of "
            f"roles; this config trains {', '.join(others)}: set their weights to 0, and name what "
            f"is to be tried beside the base in config.advice.methods."
        )
    if recipes := [key for key, values in entries.items() if values.get("recipe")]:
        raise ValueError(
            f"Advice gives each part of one recipe its role, and config.objectives.{recipes[0]}"
            f".recipe = {entries[recipes[0]].recipe!r} is a second one: set it to ''."
        )
    forms = {values.form for values in entries.values() if values.method == "care"}
    if run.config.model.geometry != "sphere" or forms - {"euclidean"}:
        raise ValueError(
            f"Advice compares encoders on the unit sphere, and config.model.geometry is "
            f"{run.config.model.geometry!r}, config.objectives.equivariance.form "
            f"{', '.join(map(repr, forms)) or 'not set'}: set them to 'sphere' and 'euclidean'."
        )


def _other(values: ConfigDict) -> bool:
    return values.weight > 0 and values.method not in (*CONTRASTS, *OF_ROLES.values())


def decided_by(run: Setup) -> str:
    """The metric that decides: the probe where there are labels."""
    labelled = run.dataset.splits["train"].labels is not None
    return "probe_top1" if labelled and len(run.dataset.classes) > 1 else "label_free"


def show_plan(config: ConfigDict) -> None:
    """Print the candidates and the budget.

    Raises:
      ValueError: as `advise`.
    """
    run, tables = prepare(config)
    table = Table(title="Roles to compare", show_lines=False)
    for heading in ("transformation", "role now", "tried beside it"):
        table.add_column(heading)
    for part, line in tables[0].table.items():
        tried = [c.changed[1] for c in tables if c.changed and c.changed[0] == part]
        table.add_row(part, line.role, ", ".join(tried) or "nothing")
    if methods := [candidate.name for candidate in tables if candidate.method]:
        table.add_row(OBJECTIVES, BASE, ", ".join(methods))
    console = Console(markup=False, emoji=False)
    console.print(table)
    seeds, images = config.advice.seeds, config.train.batch_size * run.steps
    halved = len(tables) > config.advice.most
    console.print(
        f"{len(tables)} candidates × {seeds} seeds × {run.steps} steps of "
        f"{config.train.batch_size} images ({images * seeds * len(tables):,} images in all"
        + (", less what is dropped on the way" if halved else "")
        + f"), {config.model.encoder}; decided by {decided_by(run)}."
    )


def write(
    advice: Mapping[str, Any], tables: Sequence[Candidate], config: ConfigDict, workdir: Path
) -> None:
    """advice.json, .md, .csv and .png, and roles.py; the table is printed too."""
    pasted = roles_text(advice, tables[0])
    advised = advice["transformations"].get(OBJECTIVES, {}).get("advice")
    for candidate in tables:
        if candidate.method and candidate.name == advised:
            pasted += "\n".join(entry_text(config, candidate)) + "\n"
    table = tabular.advice_table(advice)
    warning = advice.get("warning", "")
    (workdir / "advice.md").write_text(
        tabular.as_markdown(table.sheet()) + (f"\n{warning}\n" if warning else "")
    )
    (workdir / "advice.csv").write_text(tabular.as_csv(table.sheet()))
    figures.advice(advice, workdir / "advice.png")
    (workdir / "roles.py").write_text(pasted)
    write_json(workdir / "advice.json", advice)
    print("\n" + tabular.as_text(table.sheet()) + "\n\n" + pasted)
    if warning:
        print(f"Mind: {warning}\n")
    print(f"All of it: {workdir / 'advice.md'}. The figure: {workdir / 'advice.png'}")


def roles_text(advice: Mapping[str, Any], base: Candidate) -> str:
    """The advised roles as lines of a config; parts without clear difference keep theirs.

    A weight or a sharing that was set for a role that changes is set back.
    """
    lines, back = [], []
    for part, line in base.table.items():
        advised = advice["transformations"].get(part, {}).get("advice")
        why = "" if advised else "  # not tried, or no clear difference"
        lines.append(f'        "{part}": "{advised or line.role}",{why}')
        if advised not in (None, line.role):
            back += [f"config.role_weights.{part} = 1.0"] * (line.weight != 1)
            back += [f'config.sharing.{part} = "auto"'] * (line.sharing != ROLES[line.role][0])
    return "\n".join(["config.roles = ConfigDict(", "    {", *lines, "    }", ")", *back]) + "\n"
