"""How what was learned is shown: figures and tables from plain arrays, dicts and numbers.

Nothing here trains, encodes or reads a workdir.
"""

from eqssl_jax.reporting.ablation import ablation_bars, positive_histograms
from eqssl_jax.reporting.augmentations import augmentation_strips
from eqssl_jax.reporting.circles import circle_histograms, circle_points
from eqssl_jax.reporting.course import BEST_PUBLISHED, measures_over_training, weight_sweep
from eqssl_jax.reporting.curves import cosine_histograms, training_curves
from eqssl_jax.reporting.evidence import AdviceTable, advice_table
from eqssl_jax.reporting.floors import comparison
from eqssl_jax.reporting.metrics import FLOORS, HEADLINES, METRICS, Metric, describe
from eqssl_jax.reporting.page import html_page
from eqssl_jax.reporting.pictures import neighbours, views_sheet
from eqssl_jax.reporting.printing import as_csv, as_markdown, as_text
from eqssl_jax.reporting.retrieved import neighbour_note, retrieval_blocks
from eqssl_jax.reporting.roles import advice
from eqssl_jax.reporting.rungs import ladders
from eqssl_jax.reporting.runs import Run
from eqssl_jax.reporting.seeds import Spread, over_seeds
from eqssl_jax.reporting.spectra import spectrum, spectrum_over_training
from eqssl_jax.reporting.steering import steering
from eqssl_jax.reporting.tables import Cell, Table, comparison_table
from eqssl_jax.reporting.turning import trajectories

__all__ = [
    "BEST_PUBLISHED",
    "FLOORS",
    "HEADLINES",
    "METRICS",
    "AdviceTable",
    "Cell",
    "Metric",
    "Run",
    "Spread",
    "Table",
    "ablation_bars",
    "advice",
    "advice_table",
    "as_csv",
    "as_markdown",
    "as_text",
    "augmentation_strips",
    "circle_histograms",
    "circle_points",
    "comparison",
    "comparison_table",
    "cosine_histograms",
    "describe",
    "html_page",
    "ladders",
    "measures_over_training",
    "neighbour_note",
    "neighbours",
    "over_seeds",
    "positive_histograms",
    "retrieval_blocks",
    "spectrum",
    "spectrum_over_training",
    "steering",
    "training_curves",
    "trajectories",
    "views_sheet",
    "weight_sweep",
]
