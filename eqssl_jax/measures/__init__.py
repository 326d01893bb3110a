"""What did it learn? Measurements of frozen encoders."""

from eqssl_jax.measures.budget import PRESETS, settings
from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Number, Output, over_draws
from eqssl_jax.measures.catalogue import built_in, cards
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.classes.care_probe import care_probe
from eqssl_jax.measures.classes.knn import knn_accuracy
from eqssl_jax.measures.classes.lbfgs import LbfgsProbe, lbfgs_probe
from eqssl_jax.measures.classes.linear_probe import Probe, linear_probe
from eqssl_jax.measures.clouds.axis import axis_error, principal_axes, principal_axis_errors
from eqssl_jax.measures.clouds.trajectories import Regularity, regularity, trajectories
from eqssl_jax.measures.features import Encode, Features, Layers, extract, extract_views, subset
from eqssl_jax.measures.floors import coordinate_encoder, pixel_encoder, raw_pixels
from eqssl_jax.measures.order.accuracy import kendall_tau, order_accuracy
from eqssl_jax.measures.order.study import LadderStudy, ladder_study
from eqssl_jax.measures.order.turntable import TurnOrder, turn_order_accuracy
from eqssl_jax.measures.regression.change import Changes, change_r2
from eqssl_jax.measures.regression.factors import factor_r2, r2, r2_of_dimensions, ridge
from eqssl_jax.measures.regression.prediction_gain import DisplacementGain, displacement_gain
from eqssl_jax.measures.retrieval.colour import (
    Followed,
    hue_distance,
    hue_draw,
    hue_followed,
    mean_hues,
    trained_shift,
)
from eqssl_jax.measures.retrieval.neighbours import NeighbourChange, neighbour_change, neighbours
from eqssl_jax.measures.retrieval.predicted_views import (
    nearest_views,
    prediction_retrieval_error,
    view_ranks,
)
from eqssl_jax.measures.retrieval.ranking import (
    chance_reciprocal_rank,
    hits_at,
    reciprocal_rank,
    target_ranks,
)
from eqssl_jax.measures.rotation.augmented import RotationStudy
from eqssl_jax.measures.rotation.composition import composition_error, held_out_composition
from eqssl_jax.measures.rotation.effective_rank import effective_rank
from eqssl_jax.measures.rotation.forms import (
    FormChange,
    FormGramError,
    form_change,
    form_departure,
    form_gram_error,
    group_factor,
    linear_map,
)
from eqssl_jax.measures.rotation.gamma import relative_rotational_equivariance
from eqssl_jax.measures.rotation.gram import gram_error
from eqssl_jax.measures.rotation.invariance import invariance_error
from eqssl_jax.measures.rotation.wahba import held_out_wahba, rotation_residual, wahba
from eqssl_jax.measures.spread.alignment import sphere_alignment, sphere_uniformity
from eqssl_jax.measures.spread.lidar import lidar
from eqssl_jax.measures.spread.rankme import rankme
from eqssl_jax.measures.steering.map import (
    Drawn,
    Steering,
    fit_steering,
    steering_errors,
    steering_rotations,
)
from eqssl_jax.measures.steering.study import SteeringStudy, steering_study
from eqssl_jax.measures.subjects import Seen, Subject
from eqssl_jax.measures.suite import Arrays, evaluate

__all__ = [
    "HIGHER",
    "LOWER",
    "PRESETS",
    "Arrays",
    "Card",
    "Changes",
    "DisplacementGain",
    "Drawn",
    "Encode",
    "Features",
    "Followed",
    "FormChange",
    "FormGramError",
    "LadderStudy",
    "Layers",
    "LbfgsProbe",
    "Measured",
    "NeighbourChange",
    "Number",
    "Output",
    "Probe",
    "Regularity",
    "RotationStudy",
    "Seen",
    "Steering",
    "SteeringStudy",
    "Subject",
    "TooFew",
    "TurnOrder",
    "axis_error",
    "built_in",
    "cards",
    "care_probe",
    "chance_reciprocal_rank",
    "change_r2",
    "composition_error",
    "coordinate_encoder",
    "displacement_gain",
    "effective_rank",
    "evaluate",
    "extract",
    "extract_views",
    "factor_r2",
    "fit_steering",
    "form_change",
    "form_departure",
    "form_gram_error",
    "gram_error",
    "group_factor",
    "held_out_composition",
    "held_out_wahba",
    "hits_at",
    "hue_distance",
    "hue_draw",
    "hue_followed",
    "invariance_error",
    "kendall_tau",
    "knn_accuracy",
    "ladder_study",
    "lbfgs_probe",
    "lidar",
    "linear_map",
    "linear_probe",
    "mean_hues",
    "nearest_views",
    "neighbour_change",
    "neighbours",
    "order_accuracy",
    "over_draws",
    "pixel_encoder",
    "prediction_retrieval_error",
    "principal_axes",
    "principal_axis_errors",
    "r2",
    "r2_of_dimensions",
    "rankme",
    "raw_pixels",
    "reciprocal_rank",
    "regularity",
    "relative_rotational_equivariance",
    "ridge",
    "rotation_residual",
    "settings",
    "sphere_alignment",
    "sphere_uniformity",
    "steering_errors",
    "steering_rotations",
    "steering_study",
    "subset",
    "target_ranks",
    "trained_shift",
    "trajectories",
    "turn_order_accuracy",
    "view_ranks",
    "wahba",
]
