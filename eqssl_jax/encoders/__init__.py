"""What turns images into features and embeddings; flax is imported in this room only."""

from eqssl_jax.encoders.heads import Head, mlp
from eqssl_jax.encoders.network import Network, build

__all__ = ["Head", "Network", "build", "mlp"]
