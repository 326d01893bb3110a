"""Numbers of runs as tables, beside their floors and published ones."""

from eqssl_jax.tabular.evidence import AdviceTable, advice_table
from eqssl_jax.tabular.metrics import FLOORS, HEADLINES, METRICS, Metric, describe
from eqssl_jax.tabular.printing import as_csv, as_markdown, as_text
from eqssl_jax.tabular.seeds import Spread, over_seeds
from eqssl_jax.tabular.tables import Cell, Table, comparison_table

__all__ = [
    "FLOORS",
    "HEADLINES",
    "METRICS",
    "AdviceTable",
    "Cell",
    "Metric",
    "Spread",
    "Table",
    "advice_table",
    "as_csv",
    "as_markdown",
    "as_text",
    "comparison_table",
    "describe",
    "over_seeds",
]
