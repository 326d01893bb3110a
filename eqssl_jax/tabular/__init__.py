"""Numbers of runs as tables, beside their floors and published ones."""

from eqssl_jax.tabular.advice import AdviceTable, advice_table
from eqssl_jax.tabular.metrics import (
    FLOORS,
    HEADLINES,
    METRICS,
    Metric,
    describe,
    headlines,
    measured,
)
from eqssl_jax.tabular.seeds import Spread, by_seed, merged, over_seeds
from eqssl_jax.tabular.tables import Cell, Table, cell_of, cell_text, comparison_table, title
from eqssl_jax.tabular.writers import Sheet, as_csv, as_markdown, as_text
