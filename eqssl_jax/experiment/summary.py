"""What a person reads of one evaluation: the measurements of the roles in use, on the terminal."""

from eqssl_jax import tabular
from eqssl_jax.config import plain
from eqssl_jax.experiment.assess import Assessment
from eqssl_jax.training.setup import Setup


def show_assessment(run: Setup, measured: Assessment) -> None:
    """Print the short table of one evaluated step beside its floors."""
    results = {"trained": measured.result}
    names = [row.metric for row in tabular.comparison_table(results).rows]
    short = tabular.headlines(names, [plain(run.config)["roles"]]) or None
    table = tabular.comparison_table(results, short)
    print(f"\n{tabular.as_text(table.sheet())}", flush=True)
