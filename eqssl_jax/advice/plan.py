"""What would be compared, before it is: `--dry_run`."""

from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from eqssl_jax.advice.prepare import decided_by, prepare


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
