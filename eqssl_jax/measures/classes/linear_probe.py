"""Linear classification of frozen features, regularised by what a validation split says."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from eqssl_jax.measures.cards import HIGHER, Card, Measured, Number, Output, TooFew, check_finite
from eqssl_jax.measures.classes.knn import most_frequent
from eqssl_jax.measures.promotion import lenient
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import whole

Rows = Float[Array | np.ndarray, "n h"]
Labels = Int[Array | np.ndarray, " n"]

REGULARISATIONS = tuple(float(10.0**e) for e in range(-5, 2))


class Linear(NamedTuple):
    """A softmax classifier: logits x @ weight + bias."""

    weight: Float[Array, "h c"]
    bias: Float[Array, " c"]


class Probe(NamedTuple):
    """Accuracy of a linear probe on the test split, mean and sample sd over seeds, in [0, 1].

    Attributes:
      top1, top1_sd: the right class is the first.
      top5, top5_sd: it is among the first five; NaN with five classes or fewer.
      regularisation: the L2 weight used.
      validation: top-1 on the validation split of each candidate; empty when nothing was chosen.
      per_seed: top-1 of each seed.
    """

    top1: float
    top1_sd: float
    top5: float
    top5_sd: float
    regularisation: float
    validation: dict[float, float]
    per_seed: tuple[float, ...]


def linear_probe(
    train_x: Rows,
    train_y: Labels,
    validation_x: Rows,
    validation_y: Labels,
    test_x: Rows,
    test_y: Labels,
    *,
    classes: int,
    seeds: Sequence[int] = (0, 1, 2),
    regularisation: Sequence[float] = REGULARISATIONS,
    steps: int = 2000,
    batch: int = 512,
    learning_rate: float = 1e-2,
) -> Probe:
    """Softmax regression on standardised features: L2 chosen on validation, then refitted on both.

    Minimises mean cross-entropy + ½ λ ‖W‖² by minibatch Adam, its rate falling to 0 as a cosine.
    The first seed chooses λ among all candidates at once (they share their minibatches); all seeds
    then refit on train + validation. Seeds vary initialisation and minibatch order. The test split
    is looked at once, at the end.

    Args:
      train_x, …: frozen features [N, H] and labels [N] of each split.
      classes: number of classes.
      seeds: at least one; the sd is NaN for a single one.
      regularisation: candidates for λ > 0.
      steps: minibatches of each fit, whatever the size of the data.
      batch: rows of a minibatch (all rows when there are fewer).
      learning_rate: at the start, for standardised features.

    Raises:
      ValueError: for empty seeds or candidates, steps < 1, shapes that do not match, labels outside
        0 … classes − 1, features that are not finite, or labels of a single class (`TooFew`).

    Source: the protocol of Kornblith et al. 2019 (arXiv:1805.08974), with a minibatch solver.
    """
    splits = {
        "train": (np.asarray(train_x), np.asarray(train_y)),
        "validation": (np.asarray(validation_x), np.asarray(validation_y)),
        "test": (np.asarray(test_x), np.asarray(test_y)),
    }
    _check(splits, classes, seeds, regularisation, steps)
    (x, y), (vx, vy), (tx, ty) = (splits[k] for k in ("train", "validation", "test"))
    fit = partial(_fit, classes=classes, steps=steps, rate=learning_rate, batch=batch)

    mean, std = standard(x)
    models = fit((x - mean) / std, y, seeds[:1], regularisation)
    scores = [top_k(m, (vx - mean) / std, vy, 1) for m in models]
    # Equal scores: the stronger regularisation, the simpler classifier.
    chosen = max(zip(scores, regularisation, strict=True))[1]

    joined_x, joined_y = np.concatenate([x, vx]), np.concatenate([y, vy])
    mean, std = standard(joined_x)
    models = fit((joined_x - mean) / std, joined_y, seeds, [chosen])
    return summary(
        models,
        [((tx - mean) / std, ty)],
        regularisation=float(chosen),
        validation=dict(zip(map(float, regularisation), scores, strict=True)),
    )


def top_k(model: Linear, x: Rows, y: Labels, k: int) -> float:
    """Share of rows whose label is among the k highest logits, in [0, 1]."""
    logits = np.asarray(x, np.float32) @ np.asarray(model.weight) + np.asarray(model.bias)
    if k == 1:
        return float(np.mean(np.argmax(logits, axis=1) == np.asarray(y)))
    of_label = np.take_along_axis(logits, np.asarray(y)[:, None], axis=1)
    return float(np.mean(np.sum(logits > of_label, axis=1) < k))


def summary(
    models: Sequence[Linear],
    parts: Sequence[tuple[Rows, Labels]],
    *,
    regularisation: float,
    validation: dict[float, float],
) -> Probe:
    """Test every model on all `parts` together and summarise over models."""
    x = np.concatenate([np.asarray(part) for part, _ in parts])
    y = np.concatenate([np.asarray(labels) for _, labels in parts])
    classes = models[0].bias.shape[0]
    top1 = np.array([top_k(m, x, y, 1) for m in models])
    top5 = np.array([top_k(m, x, y, 5) if classes > 5 else np.nan for m in models])
    sd = [float(np.std(t, ddof=1)) if len(t) > 1 else float("nan") for t in (top1, top5)]
    return Probe(
        float(top1.mean()),
        sd[0],
        float(top5.mean()),
        sd[1],
        regularisation,
        validation,
        tuple(float(t) for t in top1),
    )


def cross_entropy(model: Linear, x: Float[Array, "b h"], y: Int[Array, " b"]) -> Float[Array, ""]:
    """Mean negative log-likelihood of the labels."""
    logits = x @ model.weight + model.bias[None, :]
    of_label = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - of_label)


def _fit(
    x: np.ndarray,
    y: np.ndarray,
    seeds: Sequence[int],
    l2: Sequence[float],
    *,
    classes: int,
    steps: int,
    rate: float,
    batch: int,
) -> list[Linear]:
    """One classifier for each pair of a seed and an L2 weight, in that order."""
    drawn = [_draw(seed, x.shape, classes, steps, min(batch, len(x))) for seed in seeds]
    weights, rows = (jnp.asarray(np.stack(part)) for part in zip(*drawn, strict=True))
    args = (jnp.asarray(x), jnp.asarray(y, jnp.int32), weights, rows)
    models = jax.device_get(_solve(*args, jnp.asarray(l2, jnp.float32), jnp.float32(rate)))
    pairs = [(s, c) for s in range(len(seeds)) for c in range(len(l2))]
    return [Linear(models.weight[pair], models.bias[pair]) for pair in pairs]


def _draw(
    seed: int, shape: tuple[int, ...], classes: int, steps: int, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Initial weights, and the rows of every minibatch: epoch after epoch, each a permutation.

    On the host: sorting and random numbers would take most of the time of compiling the fit.
    """
    rng = np.random.default_rng(seed)
    weight = 0.01 * rng.normal(size=(shape[1], classes)).astype(np.float32)
    per_epoch = shape[0] // batch  # the incomplete minibatch of an epoch is left out
    epochs = [
        rng.permutation(shape[0])[: per_epoch * batch].reshape(-1, batch)
        for _ in range(-(-steps // per_epoch))
    ]
    return weight, np.concatenate(epochs)[:steps].astype(np.int32)


@jax.jit
def _solve(x: Array, y: Array, weights: Array, rows: Array, l2: Array, rate: Array) -> Linear:
    """Leaves [S, G, …] for S initial weights [S, H, C] with rows [S, T, B], and G L2 weights."""
    steps = rows.shape[1]

    rule = optax.adam(lambda step: rate * (0.5 + 0.5 * jnp.cos(jnp.pi * step / steps)))

    def fit(weight: Array, rows: Array, l2: Float[Array, ""]) -> Linear:
        def loss(model: Linear, rows: Int[Array, " b"]) -> Array:
            return cross_entropy(model, x[rows], y[rows]) + l2 / 2 * jnp.sum(model.weight**2)

        def move(state: PyTree, rows: Int[Array, " b"]) -> tuple[PyTree, None]:
            model, memory = state
            gradient = jax.grad(loss)(model, rows)
            with lenient():
                updates, memory = rule.update(gradient, memory)
                return (optax.apply_updates(model, updates), memory), None

        start = Linear(weight, jnp.zeros(weight.shape[1]))
        return jax.lax.scan(move, (start, rule.init(start)), rows)[0][0]

    # Candidates of one seed see the same minibatches: rows are gathered once for all of them.
    return jax.vmap(jax.vmap(fit, in_axes=(None, None, 0)), in_axes=(0, 0, None))(weights, rows, l2)


def probed(probe: Probe, prefix: str) -> Measured:
    """The accuracies of a probe as numbers of a card."""
    seeds = len(probe.per_seed)
    numbers = {f"{prefix}_top1": Number(probe.top1, probe.top1_sd, seeds)}
    if np.isnan(probe.top5):
        return Measured(numbers, {f"{prefix}_top5": "all classes are among the first five"})
    return Measured({**numbers, f"{prefix}_top5": Number(probe.top5, probe.top5_sd, seeds)})


def accuracies(prefix: str, title: str) -> tuple[Output, Output]:
    """Top-1 and top-5 of a probe."""
    return (
        Output(f"{prefix}_top1", f"{title}, top-1", HIGHER, ".1%", chance=most_frequent),
        Output(
            f"{prefix}_top5", f"{title}, top-5", HIGHER, ".1%",
            chance=partial(most_frequent, most=5),
        ),
    )  # fmt: skip


def _measure(seen: Seen) -> Measured:
    splits = ("train", "validation", "test")
    arrays = [part for name in splits for part in (seen.features(name), seen.labels(name))]
    probe = linear_probe(
        *arrays,
        classes=len(seen.dataset.classes),
        seeds=seen.settings.seeds,
        steps=seen.settings.probe_steps,
    )
    return probed(probe, "probe")


_TOP1, _TOP5 = accuracies("probe", "Linear probe")
CARD = Card(
    name="linear_probe",
    measure=_measure,
    outputs=(_TOP1._replace(headline=True), _TOP5),
    needs=("labels", "labels to choose by"),
    settings={"probe_steps": whole(2000, "minibatches of each fit of the linear probe", low=1)},
    quick={"probe_steps": 200},
    rank=20,
    source="Kornblith et al. 2019, arXiv:1805.08974",
)


def standard(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, ∞ for one that never moves."""
    std = x.std(axis=0, dtype=np.float64)
    # A feature that never moves carries nothing: leave it at 0 instead of dividing by 0.
    std = np.where(std > 1e-6 * max(float(std.max()), 1e-12), std, np.inf)
    return x.mean(axis=0, dtype=np.float64).astype(np.float32), std.astype(np.float32)


def _check(
    splits: dict[str, tuple[np.ndarray, np.ndarray]],
    classes: int,
    seeds: Sequence[int],
    regularisation: Sequence[float],
    steps: int,
) -> None:
    if not len(seeds) or not len(regularisation) or min(regularisation) <= 0 or steps < 1:
        raise ValueError(
            f"A probe needs seeds, positive regularisation candidates and steps ≥ 1, found seeds="
            f"{tuple(seeds)}, regularisation={tuple(regularisation)}, steps={steps}."
        )
    for name, (x, y) in splits.items():
        if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[1] != splits["train"][0].shape[1]:
            raise ValueError(
                f"Features must be [N, H] with one label a row and the same H in all splits; "
                f"{name} has {x.shape} and labels {y.shape}."
            )
        if not len(y) or y.min() < 0 or y.max() >= classes:
            extent = f"{y.min()} … {y.max()}" if len(y) else "no example"
            raise ValueError(f"Labels of {name} must lie in 0 … {classes - 1}, found {extent}.")
        check_finite(**{f"{name}_x": x})
    present = np.unique(np.concatenate([y for _, y in splits.values()]))
    if len(present) < 2:
        raise TooFew(
            f"All labels of train, validation and test are {present[0]}: one class leaves a probe "
            f"nothing to tell apart. Take examples of two classes or more."
        )
