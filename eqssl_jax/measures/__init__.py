"""What did it learn? Measurements of frozen encoders."""

from eqssl_jax.measures.budget import PRESETS, Settings, settings
from eqssl_jax.measures.checks import TooFew
from eqssl_jax.measures.classes.care_probe import care_probe
from eqssl_jax.measures.classes.knn import knn_accuracy
from eqssl_jax.measures.classes.probe import Probe, linear_probe
from eqssl_jax.measures.clouds.axis import axis_error, principal_axes, principal_axis_errors
from eqssl_jax.measures.clouds.trajectories import Regularity, regularity, trajectories
from eqssl_jax.measures.features import Encode, Features, Layers, extract, extract_views, subset
from eqssl_jax.measures.floors import coordinate_encoder, pixel_encoder, raw_pixels
from eqssl_jax.measures.order.accuracy import kendall_tau, order_accuracy
from eqssl_jax.measures.order.study import LadderStudy, ladder_study
from eqssl_jax.measures.order.turns import TurnOrder, turn_order_accuracy
from eqssl_jax.measures.regression.change import Changes, change_r2
from eqssl_jax.measures.regression.factors import factor_r2, r2, ridge
from eqssl_jax.measures.retrieval.colour import (
    Followed,
    hue_distance,
    hue_draw,
    hue_followed,
    mean_hues,
    trained_shift,
)
from eqssl_jax.measures.retrieval.neighbours import NeighbourChange, neighbour_change, neighbours
from eqssl_jax.measures.retrieval.ranking import (
    chance_reciprocal_rank,
    hits_at,
    parameter_retrieval_error,
    quaternion_retrieval_error,
    reciprocal_rank,
    target_ranks,
)
from eqssl_jax.measures.rotation.composition import composition_error, held_out_composition
from eqssl_jax.measures.rotation.displacement import DisplacementGain, displacement_gain
from eqssl_jax.measures.rotation.forms import (
    FormChange,
    FormGramError,
    form_change,
    form_departure,
    form_gram_error,
    group_factor,
    linear_map,
)
from eqssl_jax.measures.rotation.study import RotationStudy, rotation_study, wahba_study
from eqssl_jax.measures.rotation.wahba import (
    effective_rank,
    gram_error,
    held_out_wahba,
    invariance_error,
    relative_rotational_equivariance,
    rotation_residual,
    wahba,
)
from eqssl_jax.measures.steering.steering import (
    Drawn,
    Steering,
    fit_steering,
    steering_errors,
    steering_rotations,
)
from eqssl_jax.measures.steering.study import SteeringStudy, steering_study
from eqssl_jax.measures.suite import Arrays, evaluate

__all__ = [
    "PRESETS",
    "Arrays",
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
    "NeighbourChange",
    "Probe",
    "Regularity",
    "RotationStudy",
    "Settings",
    "Steering",
    "SteeringStudy",
    "TooFew",
    "TurnOrder",
    "axis_error",
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
    "linear_map",
    "linear_probe",
    "mean_hues",
    "neighbour_change",
    "neighbours",
    "order_accuracy",
    "parameter_retrieval_error",
    "pixel_encoder",
    "principal_axes",
    "principal_axis_errors",
    "quaternion_retrieval_error",
    "r2",
    "raw_pixels",
    "reciprocal_rank",
    "regularity",
    "relative_rotational_equivariance",
    "ridge",
    "rotation_residual",
    "rotation_study",
    "settings",
    "steering_errors",
    "steering_rotations",
    "steering_study",
    "subset",
    "target_ranks",
    "trained_shift",
    "trajectories",
    "turn_order_accuracy",
    "wahba",
    "wahba_study",
]
