"""What turns images into features and embeddings; flax is imported in this room only."""

from eqssl_jax.models.heads import Head, mlp
from eqssl_jax.models.network import Network, build

__all__ = ["Head", "Network", "build", "mlp"]
