"""What turns images into features and embeddings; flax is imported in this room only."""

from eqssl_jax.encoders.heads import Head, aggregator, mlp
from eqssl_jax.encoders.naming import to_torch_names
from eqssl_jax.encoders.network import Network, build, showing
from eqssl_jax.encoders.pretrained import from_weights, start_from
from eqssl_jax.encoders.vit import ViTSettings
from eqssl_jax.encoders.weight_files import read_weights

__all__ = [
    "Head",
    "Network",
    "ViTSettings",
    "aggregator",
    "build",
    "from_weights",
    "mlp",
    "read_weights",
    "showing",
    "start_from",
    "to_torch_names",
]
