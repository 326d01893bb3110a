"""Linear classification of frozen features by L-BFGS, the weight of L2 chosen on validation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from eqssl_jax.measures.cards import HIGHER, Card, Number, Output, TooFew, check_finite
from eqssl_jax.measures.classes.knn import most_frequent
from eqssl_jax.measures.classes.linear_probe import Labels, Linear, Rows, standard, top_k
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.settings import number

WEIGHTS = 45  # from 1e-6 to 1e5, as Kornblith et al. 2019 have it
ITERATIONS = 100  # of each weight; the next one goes on from there
MONITORED = (
    50  # of the probe in training, which costs as much as 10,000 forwards of a small encoder
)


class LbfgsProbe(NamedTuple):
    """A probe on the test split, looked at once.

    Attributes:
      top1: share of test images whose class is named, in [0, 1].
      weight: the λ that was best on validation; of equals the largest, which is the simplest
        model (the published protocol leaves ties open).
      validation: top-1 on validation by λ.
    """

    top1: float
    weight: float
    validation: dict[float, float]


def grid(count: int = WEIGHTS) -> tuple[float, ...]:
    """So many weights, evenly spaced in their logarithm from 1e-6 to 1e5.

    >>> grid(2)
    (1e-06, 100000.0)
    """
    return tuple(float(weight) for weight in np.logspace(-6, 5, count))


def fit(
    x: Rows,
    y: Labels,
    *,
    classes: int,
    weights: Sequence[float],
    iterations: int = ITERATIONS,
    begin: Linear | None = None,
) -> list[Linear]:
    """Softmax regressions that minimise mean cross-entropy + λ/2 ‖W‖², one for each λ.

    Each starts from the one with the next larger λ, whose minimum is near; the first from `begin`,
    or 0.

    Raises:
      ValueError: for features that are not [N, H] and finite, or labels out of range; `TooFew` if
        all are of one class.
    """
    x32, labels = np.asarray(x, np.float32), np.asarray(y)
    if x32.ndim != 2 or labels.shape != x32.shape[:1]:
        raise ValueError(
            f"A probe takes features [N, H] with one label a row, found {x32.shape} and labels "
            f"{labels.shape}."
        )
    check_finite(x=x32)
    if not len(labels) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"Labels must lie in 0 … {classes - 1}, found {np.unique(labels)[:10]}.")
    if len(np.unique(labels)) < 2:
        raise TooFew(
            f"All {len(labels)} labels are {labels[0]}: one class leaves a probe nothing to tell "
            f"apart. Take images of two classes or more."
        )
    target = np.eye(classes, dtype=np.float32)[labels]
    start = np.zeros((x32.shape[1] + 1, classes))
    if begin is not None:
        start = np.vstack([begin.weight, begin.bias]).astype(np.float64)
    models: dict[float, Linear] = {}
    for weight in sorted(set(weights), reverse=True):
        result = scipy.optimize.minimize(
            _loss, start.ravel(), (x32, target, weight), jac=True, method="L-BFGS-B",
            options={"maxiter": iterations},
        )  # fmt: skip
        start = result.x.reshape(start.shape)
        models[weight] = Linear(start[:-1].astype(np.float32), start[-1].astype(np.float32))
    return [models[weight] for weight in weights]


def _loss(
    flat: np.ndarray, x: np.ndarray, target: np.ndarray, weight: float
) -> tuple[float, np.ndarray]:
    """The value and its gradient, in float64 but for the products with the features."""
    matrix = flat.reshape(-1, target.shape[1])
    scores = (x @ matrix[:-1].astype(np.float32)).astype(np.float64) + matrix[-1]
    scores -= scores.max(axis=1, keepdims=True)
    total = np.log(np.exp(scores).sum(axis=1, keepdims=True))
    value = float(np.mean(total[:, 0] - (scores * target).sum(axis=1)))
    change = (np.exp(scores - total) - target) / len(x)
    gradient = np.vstack([x.T @ change.astype(np.float32), change.sum(axis=0)])
    gradient[:-1] += weight * matrix[:-1]
    return value + weight / 2 * float(np.sum(matrix[:-1] ** 2)), gradient.ravel()


def lbfgs_probe(
    train: tuple[Rows, Labels],
    validation: tuple[Rows, Labels],
    test: tuple[Rows, Labels],
    *,
    classes: int,
    weights: Sequence[float] = grid(),
) -> LbfgsProbe:
    """Standardised features; λ chosen on validation, refitted on both, tested once.

    The refit goes on from the model that validation chose: its iterations are counted along the
    whole path of λ, and as many from 0 alone may be too few for a small λ.

    Args:
      train, validation, test: features [N, H] and labels [N].
      classes: how many there are.
      weights: candidates for λ > 0.

    Raises:
      ValueError: as `fit`, and without a positive weight.

    Source: Kornblith, Shlens and Le 2019, arXiv:1805.08974 (45 weights from 1e-6 to 1e5); features
    are standardised here and λ is relative to the mean loss.
    """
    if not len(weights) or min(weights) <= 0:
        raise ValueError(f"A probe needs positive weights to choose from, found {weights}.")
    mean, std = standard(np.asarray(train[0]))
    models = fit((train[0] - mean) / std, train[1], classes=classes, weights=weights)
    held = (np.asarray(validation[0]) - mean) / std
    scores = [top_k(model, held, validation[1], 1) for model in models]
    _, chosen, best = max(zip(scores, weights, models, strict=True), key=lambda entry: entry[:2])
    features = np.concatenate([train[0], validation[0]])
    before, (mean, std) = (mean, std), standard(features)
    labels = np.concatenate([train[1], validation[1]])
    begin = _moved(best, before, (mean, std))
    (model,) = fit((features - mean) / std, labels, classes=classes, weights=[chosen], begin=begin)
    top1 = top_k(model, (np.asarray(test[0]) - mean) / std, test[1], 1)
    return LbfgsProbe(top1, chosen, dict(zip(map(float, weights), scores, strict=True)))


def _moved(model: Linear, before: tuple[Rows, Rows], after: tuple[Rows, Rows]) -> Linear:
    """The same model of features that are standardised by another mean and deviation."""
    raw = np.asarray(model.weight) / np.asarray(before[1])[:, None]
    moves = np.isfinite(after[1])  # ∞: see `standard`
    weight = raw * np.where(moves, after[1], 0)[:, None]
    shift = np.where(moves, np.asarray(after[0]) - np.asarray(before[0]), 0)
    return Linear(weight, model.bias + shift @ raw)


def _measure(seen: Seen) -> dict[str, Number]:
    train, held = seen.features("train"), seen.features(seen.held_out)
    mean, std = standard(train)
    (model,) = fit(
        (train - mean) / std,
        seen.labels("train"),
        classes=len(seen.dataset.classes),
        weights=[seen.settings.monitor_weight],
        iterations=MONITORED,
    )
    labels = seen.labels(seen.held_out)
    return {"probe": Number(top_k(model, (held - mean) / std, labels, 1), n=len(labels))}


# No card of every evaluation, which has a probe: of training (config.train.monitors = ("probe",)).
PROBE = Card(
    name="probe",
    measure=_measure,
    outputs=(Output("probe", "Linear probe of one weight", HIGHER, ".1%", chance=most_frequent),),
    needs=("labels",),
    settings={"monitor_weight": number(1e-2, "of L2 of the probe in training", above=0)},
    source="after Kornblith et al. 2019, arXiv:1805.08974",
)
