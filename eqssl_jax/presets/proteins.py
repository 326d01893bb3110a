"""What the configs of proteins share: the four methods of the CARE paper, and one of ours.

Source: Gupta, Robinson, Lim, Villar, Jegelka 2024, arXiv:2306.13924, section 5.1: DeepSet to R^16,
random rotations. Widths, temperature, λ, optimiser and budget are not known to us and are ours.
"""

import math

from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import base

# Weights of the objectives, and the role of the rotation.
PROTEIN_METHODS = {
    "care": {"info_nce": 1.0, "equivariance": 1.0},
    "simclr": {"info_nce": 1.0},
    "uniformity": {"uniformity": 1.0},
    "invariance": {"alignment": 1.0},
    "equivariance": {"uniformity": 1.0, "equivariance": 1.0},
}


def protein_overrides(method: str) -> dict:
    """What a method sets, nested like a config: weights of all objectives, role of the rotation.

    Raises:
      ValueError: for an unknown method.
    """
    if method not in PROTEIN_METHODS:
        raise ValueError(
            f"The config variant {method!r} is unknown: choose one of {', '.join(PROTEIN_METHODS)}."
        )
    weights = {
        name: {"weight": PROTEIN_METHODS[method].get(name, 0.0)}
        for name in ("info_nce", "alignment", "uniformity", "equivariance")
    }
    role = "rotational" if "equivariance" in PROTEIN_METHODS[method] else "invariant"
    return {"objectives": weights, "roles": {"rotate": role}}


def proteins(method: str) -> ConfigDict:
    """One method on protein chains, with a DeepSet; without a data directory on generated chains.

    Raises:
      ValueError: for an unknown method.
    """
    config = base()
    config.data.name = "proteins"
    config.data.options = ConfigDict(
        {"points": 128, "scale": 10.0, "shortest": 10, "test": 0.2, "chains": 320}
    )
    config.recipe.name = "rotation3d"
    config.recipe.options = ConfigDict({"max_angle": math.pi})
    config.roles = ConfigDict({"rotate": "invariant"})
    config.role_weights = ConfigDict({"rotate": 1.0})
    config.sharing = ConfigDict({"rotate": "auto"})
    config.model.encoder = "deepset"
    config.model.projector, config.model.projector_batch_norm = (64, 16), False
    config.objectives = ConfigDict(
        {
            "info_nce": methods.entry("simclr"),
            "alignment": methods.entry("alignment"),
            "uniformity": methods.entry("uniformity"),
            "equivariance": methods.entry("care", splits=4),
        }
    )
    config.train.batch_size = 64
    config.train.epochs = 400.0
    config.train.save_every, config.train.log_every = 1000, 100
    optimizer = config.optimizer
    optimizer.learning_rate, optimizer.schedule, optimizer.warmup_epochs = 1e-3, "cosine", 1.0
    config.update(protein_overrides(method))
    return config
