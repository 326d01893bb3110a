"""Advice as files and on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqssl_jax import figures, tabular
from eqssl_jax.advice.candidates import Candidate
from eqssl_jax.methods import ROLES
from eqssl_jax.training.workdir import write_json


def write(advice: Mapping[str, Any], base: Candidate, workdir: Path) -> None:
    """advice.json, .md, .csv and .png, and roles.py; the table is printed too."""
    table = tabular.advice_table(advice)
    warning = advice.get("warning", "")
    (workdir / "advice.md").write_text(
        tabular.as_markdown(table.sheet()) + (f"\n{warning}\n" if warning else "")
    )
    (workdir / "advice.csv").write_text(tabular.as_csv(table.sheet()))
    figures.advice(advice, workdir / "advice.png")
    (workdir / "roles.py").write_text(roles_text(advice, base))
    write_json(workdir / "advice.json", advice)
    print("\n" + tabular.as_text(table.sheet()) + "\n\n" + roles_text(advice, base))
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
