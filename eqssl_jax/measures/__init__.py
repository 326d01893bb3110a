"""What did it learn? Measurements of frozen encoders."""

from eqssl_jax.measures.budget import PRESETS, budgets, settings
from eqssl_jax.measures.cards import (
    HIGHER,
    LOWER,
    Card,
    Measured,
    Number,
    Output,
    TooFew,
    built_in,
    cards,
    over_draws,
)
from eqssl_jax.measures.classes.care_probe import care_probe
from eqssl_jax.measures.classes.knn import knn_accuracy
from eqssl_jax.measures.classes.lbfgs import LbfgsProbe, lbfgs_probe
from eqssl_jax.measures.classes.linear_probe import Probe, linear_probe
from eqssl_jax.measures.clouds.axis import axis_error, principal_axes, principal_axis_errors
from eqssl_jax.measures.clouds.trajectories import Regularity, regularity, trajectories
from eqssl_jax.measures.features import Encode, Features, Layers, extract, extract_views, subset
from eqssl_jax.measures.floors import coordinate_encoder, pixel_encoder, raw_pixels
from eqssl_jax.measures.order.accuracy import kendall_tau, order_accuracy, sequence_orders
from eqssl_jax.measures.order.study import LadderStudy, ladder_study
from eqssl_jax.measures.regression.change import (
    Changes,
    DisplacementGain,
    change_r2,
    displacement_gain,
)
from eqssl_jax.measures.regression.factors import factor_r2, r2, ridge
from eqssl_jax.measures.results import Arrays
from eqssl_jax.measures.retrieval.colour import (
    Followed,
    hue_distance,
    hue_draw,
    hue_followed,
    mean_hues,
    trained_shift,
)
from eqssl_jax.measures.retrieval.neighbours import (
    NeighbourChange,
    chance_reciprocal_rank,
    hits_at,
    nearest_views,
    neighbour_change,
    neighbours,
    prediction_retrieval_error,
    reciprocal_rank,
    target_ranks,
    view_ranks,
)
from eqssl_jax.measures.rotation.augmented import RotationStudy
from eqssl_jax.measures.rotation.composition import composition_error, held_out_composition
from eqssl_jax.measures.rotation.distances import (
    effective_rank,
    gram_error,
    invariance_error,
    relative_rotational_equivariance,
)
from eqssl_jax.measures.rotation.forms import (
    FormChange,
    FormGramError,
    form_change,
    form_departure,
    form_gram_error,
    group_factor,
    linear_map,
)
from eqssl_jax.measures.rotation.wahba import held_out_wahba, rotation_residual, wahba
from eqssl_jax.measures.spread.directions import (
    lidar,
    rankme,
    sphere_alignment,
    sphere_uniformity,
)
from eqssl_jax.measures.steering.map import (
    Drawn,
    Steering,
    fit_steering,
    steering_errors,
    steering_rotations,
)
from eqssl_jax.measures.steering.study import SteeringStudy, steering_study
from eqssl_jax.measures.subjects import Seen, Subject
from eqssl_jax.measures.suite import evaluate, evaluate_each
