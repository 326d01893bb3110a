"""The network that a config names."""

import functools

import jax
from ml_collections import ConfigDict

from eqssl_jax import encoders
from eqssl_jax.config import copied
from eqssl_jax.encoders import Network

AUTO = "auto"


def build_network(
    config: ConfigDict,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    conv: str | None = None,
) -> Network:
    """The network of config.model, normalising by the statistics of the training images."""
    model = config.model
    return _network(
        encoder=model.encoder,
        stem=model.stem,
        projector=tuple(model.projector),
        projector_batch_norm=model.projector_batch_norm,
        projector_last_batch_norm=model.projector_last_batch_norm,
        mean=tuple(mean),
        std=tuple(std),
        compute_dtype=_dtype(model.compute_dtype),
        conv=conv or model.conv,
        remat=model.remat,
        vit=encoders.ViTSettings(**model.vit),
    )


def with_dtype(config: ConfigDict, stored: ConfigDict | None = None) -> ConfigDict:
    """The config with a dtype in place of config.model.compute_dtype=auto.

    It is that of the `stored` config of a run, wherever it was trained, or what suits this machine.
    Since runs store the dtype, they compute alike on every machine they are evaluated on.
    """
    if config.model.compute_dtype != AUTO:
        return config
    changed = copied(config)
    changed.model.compute_dtype = _dtype((stored or config).model.compute_dtype)
    return changed.lock()


def _dtype(name: str) -> str:
    if name != AUTO:
        return name
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


# Cached, so that equal networks are the same functions and compiled code is found again.
_network = functools.lru_cache(maxsize=8)(encoders.build)
