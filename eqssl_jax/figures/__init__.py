"""Pictures from plain arrays and numbers: nothing here trains, encodes or reads a workdir."""

from eqssl_jax.figures.augmentations import augmentation_strips, steering
from eqssl_jax.figures.circles import (
    circle_histograms,
    circle_points,
    cosine_histograms,
    positive_histograms,
)
from eqssl_jax.figures.curves import measures_over_training, training_curves
from eqssl_jax.figures.floors import ablation_bars, comparison, pareto
from eqssl_jax.figures.roles import advice
from eqssl_jax.figures.sheets import ladders, neighbour_note, neighbours, views_sheet
from eqssl_jax.figures.spectra import spectrum, spectrum_over_training
from eqssl_jax.figures.sweeps import factor_sweeps, value_sweep, weight_sweep
from eqssl_jax.figures.walks import Way, lead, trajectories
