"""How what was learned is shown: figures and tables from plain arrays, dicts and numbers.

Nothing here trains, encodes or reads a workdir.
"""

from eqssl_jax.reporting.curves import cosine_histograms, training_curves
from eqssl_jax.reporting.evidence import AdviceTable, advice_table
from eqssl_jax.reporting.floors import comparison
from eqssl_jax.reporting.metrics import HEADLINES, METRICS, Metric, describe
from eqssl_jax.reporting.page import html_page
from eqssl_jax.reporting.pictures import neighbours, views_sheet
from eqssl_jax.reporting.printing import as_csv, as_markdown, as_text
from eqssl_jax.reporting.roles import advice
from eqssl_jax.reporting.rungs import ladders
from eqssl_jax.reporting.runs import Run
from eqssl_jax.reporting.spectra import spectrum, spectrum_over_training
from eqssl_jax.reporting.tables import Table, comparison_table

__all__ = [
    "HEADLINES",
    "METRICS",
    "AdviceTable",
    "Metric",
    "Run",
    "Table",
    "advice",
    "advice_table",
    "as_csv",
    "as_markdown",
    "as_text",
    "comparison",
    "comparison_table",
    "cosine_histograms",
    "describe",
    "html_page",
    "ladders",
    "neighbours",
    "spectrum",
    "spectrum_over_training",
    "training_curves",
    "views_sheet",
]
