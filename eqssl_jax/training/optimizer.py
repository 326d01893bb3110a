"""Optimisers and learning-rate schedules, with PyTorch's meaning of weight decay stated."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

# Parameters that are added to tokens or are tokens, under our names and others' usual ones.
TOKENS = (
    *("cls", "registers", "positions"),
    *("cls_token", "reg_token", "mask_token", "pos_embed", "pos_embedding"),
)


def learning_rate(config: ConfigDict, steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """The schedule of `config` (config.optimizer), as a function of the step.

    `constant`, `cosine` (half a period, to 0 at the end of training) or `step` (multiplied by
    `step_factor` at each of `step_epochs`), after a linear warm-up from 0 over `warmup_epochs`, at
    most half of the training.

    Raises:
      ValueError: for an unknown schedule, a rate that is not positive, or a negative warm-up.
    """
    peak, warmup = config.learning_rate, warmup_steps(config, steps_per_epoch, total_steps)
    if peak <= 0:
        raise ValueError(f"config.optimizer.learning_rate is {peak}; it must be positive.")
    if config.schedule == "constant":
        main = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, max(total_steps - warmup, 1))
    elif config.schedule == "step":
        edges = [round(epoch * steps_per_epoch) - warmup for epoch in config.step_epochs]
        main = optax.piecewise_constant_schedule(peak, dict.fromkeys(edges, config.step_factor))
    else:
        raise ValueError(
            f"config.optimizer.schedule is {config.schedule!r}; choose constant, cosine or step."
        )
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def warmup_steps(config: ConfigDict, steps_per_epoch: int, total_steps: int) -> int:
    """Steps over which the rate rises; a short run warms up for half of its steps at most.

    Raises:
      ValueError: if `warmup_epochs` is negative.
    """
    if not config.warmup_epochs >= 0:
        raise ValueError(
            f"config.optimizer.warmup_epochs is {config.warmup_epochs}; it must not be negative."
        )
    return min(round(config.warmup_epochs * steps_per_epoch), total_steps // 2)


def optimizer(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimiser of `config` (config.optimizer) at the given learning rate.

    - adam: L2 in the gradient, g + wd·θ before the moments (torch.optim.Adam with weight_decay)
    - adamw: decoupled decay (Loshchilov and Hutter 2019, arXiv:1711.05101)
    - sgd: heavy ball with L2 in the gradient (torch.optim.SGD)
    - lars: layer-wise rates (You et al. 2017, arXiv:1708.03888); biases and BatchNorm are neither
      decayed nor adapted. Each kernel moves by rate · η‖θ‖ / ‖g + wd·θ‖ times that gradient, η
      being `trust`; with `clip`, by min(η‖θ‖ / ‖g + wd·θ‖, rate) times it, so that the rate is a
      bound, as solo-learn has it

    `decay` says which parameters decay: "all", as in PyTorch, or "kernels": those of rank two and
    more, but not position embeddings, class tokens and registers.

    Raises:
      ValueError: for an unknown name, unknown `decay`, a negative weight decay, or a trust
        coefficient that is not positive.
    """
    if config.weight_decay < 0:
        raise ValueError(
            f"config.optimizer.weight_decay is {config.weight_decay}; it must not be negative."
        )
    if not config.trust > 0:
        raise ValueError(f"config.optimizer.trust is {config.trust}; it must be positive.")
    if config.decay not in ("all", "kernels"):
        raise ValueError(f"config.optimizer.decay is {config.decay!r}; choose all or kernels.")
    return permissive(_named(config, schedule))


def permissive(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimiser, also for a caller with strict promotion: optax mixes dtypes and ranks."""

    def update(
        updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)


def _named(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    mask = kernels if config.decay == "kernels" else None
    l2 = optax.add_decayed_weights(config.weight_decay, mask)
    if config.name == "adam":
        return optax.chain(l2, optax.adam(schedule))
    if config.name == "adamw":
        return optax.adamw(schedule, weight_decay=config.weight_decay, mask=mask)
    if config.name == "sgd":
        return optax.chain(l2, optax.sgd(schedule, momentum=config.momentum))
    if config.name == "lars":
        adapt = _clipped(config.trust, schedule) if config.clip else _ratio(config.trust)
        return optax.chain(
            optax.add_decayed_weights(config.weight_decay, kernels),
            optax.masked(adapt, kernels),
            optax.scale_by_learning_rate(schedule),
            optax.trace(decay=config.momentum),
        )
    raise ValueError(f"config.optimizer.name is {config.name!r}; choose adam, adamw, sgd or lars.")


def _ratio(trust: float) -> optax.GradientTransformation:
    return optax.scale_by_trust_ratio(trust_coefficient=trust)


def _clipped(trust: float, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Scale each leaf so that, after the rate, it moves by min(η‖θ‖/‖u‖, rate) · u."""

    def init(params: PyTree) -> Array:
        del params
        return jnp.zeros((), jnp.int32)

    def update(updates: PyTree, step: Array, params: PyTree | None = None) -> tuple[PyTree, Array]:
        rate = jnp.maximum(jnp.asarray(schedule(step), jnp.float32), 1e-12)  # 0 in a warm-up

        def scaled(u: Array, theta: Array) -> Array:
            size, length = jnp.linalg.norm(u), jnp.linalg.norm(theta)
            defined = (size > 0) & (length > 0)
            ratio = trust * length / jnp.where(defined, size, 1.0)
            return u * jnp.where(defined, jnp.minimum(ratio / rate, 1.0), 1.0)

        return jax.tree.map(scaled, updates, params), step + 1

    return optax.GradientTransformation(init, update)


def kernels(params: PyTree) -> PyTree:
    """True for weights of rank two and more; False for biases, normalisations and `TOKENS`."""

    def is_kernel(path: tuple[Any, ...], leaf: Array) -> bool:
        name = str(getattr(path[-1], "key", "")) if path else ""
        return leaf.ndim > 1 and name not in TOKENS

    return jax.tree_util.tree_map_with_path(is_kernel, params)
