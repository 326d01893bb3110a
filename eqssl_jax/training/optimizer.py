"""Optimisers and learning-rate schedules, with PyTorch's meaning of weight decay stated."""

import jax
import optax
from jaxtyping import PyTree
from ml_collections import ConfigDict


def learning_rate(config: ConfigDict, steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """The schedule of `config` (config.optimizer), as a function of the step.

    `constant`, `cosine` (half a period, to 0 at the end of training) or `step` (multiplied by
    `step_factor` at each of `step_epochs`), after a linear warm-up from 0 over `warmup_epochs`.

    Raises:
      ValueError: for an unknown schedule, a rate that is not positive, or a warm-up longer than
        the training.
    """
    peak, warmup = config.learning_rate, round(config.warmup_epochs * steps_per_epoch)
    if peak <= 0:
        raise ValueError(f"config.optimizer.learning_rate is {peak}; it must be positive.")
    if not 0 <= warmup < max(total_steps, 1):
        raise ValueError(
            f"config.optimizer.warmup_epochs is {config.warmup_epochs}, that is {warmup} of "
            f"{total_steps} steps in all; shorten it, or train for longer."
        )
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


def optimizer(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimiser of `config` (config.optimizer) at the given learning rate.

    - adam: L2 in the gradient, g + wd·θ before the moments (torch.optim.Adam with weight_decay)
    - adamw: decoupled decay (Loshchilov and Hutter 2019, arXiv:1711.05101)
    - sgd: heavy ball with L2 in the gradient (torch.optim.SGD)
    - lars: layer-wise rates (You et al. 2017, arXiv:1708.03888); biases and BatchNorm are neither
      decayed nor adapted

    `decay` says which parameters decay: "all", as in PyTorch, or "kernels" (rank two and more).

    Raises:
      ValueError: for an unknown name, unknown `decay`, or a negative weight decay.
    """
    if config.weight_decay < 0:
        raise ValueError(
            f"config.optimizer.weight_decay is {config.weight_decay}; it must not be negative."
        )
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
        return optax.lars(
            schedule,
            weight_decay=config.weight_decay,
            weight_decay_mask=kernels,
            trust_ratio_mask=kernels,
            momentum=config.momentum,
        )
    raise ValueError(f"config.optimizer.name is {config.name!r}; choose adam, adamw, sgd or lars.")


def kernels(params: PyTree) -> PyTree:
    """True for weights of rank two and more, False for biases and normalisation parameters."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
