"""How well known factors (hue, angle, …) can be read off frozen features by a linear map."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.data.base import Split
from eqssl_jax.measures.cards import HIGHER, Card, Measured, Number, Output, TooFew, check_finite
from eqssl_jax.measures.features import Features
from eqssl_jax.measures.subjects import Seen

Rows = Float[Array | np.ndarray, "n h"]

FACTORS = ("hue", "angle", "tilt", "size")
RIDGES = tuple(float(10.0**e) for e in range(-5, 2))


class Ridge(NamedTuple):
    """Predictions are x @ weight + bias for features x as given; `l2` is the λ chosen."""

    weight: Float[np.ndarray, "h d"]
    bias: Float[np.ndarray, " d"]
    l2: float


def r2(target: Rows, prediction: Rows, *, average: str = "joint") -> float:
    """Explained share of the variance, 1 − Σ(t − p)² / Σ(t − t̄)²; at most 1.

    Three different numbers go by this name (`average`). With one scalar mean, knowing no more than
    the mean of each dimension already scores above 0 when these means differ.

    Args:
      target, prediction: [n] or [n, d].
      average: "joint": one ratio of sums, t̄ one scalar (Garrido et al. 2023, SIE,
        arXiv:2302.10283), never below the next; "variance_weighted": one ratio of sums, t̄ each
        dimension's own; "per_dimension": the mean of the dimensions' ratios (scikit-learn's default
        and seq-JEPA's).

    Raises:
      ValueError: for an unknown average, shapes that differ, values that are not finite, or a
        dimension without variance (`TooFew`).

    >>> r2([0.0, 1.0, 2.0], [0.0, 1.0, 1.0])
    0.5
    """
    averages = ("joint", "per_dimension", "variance_weighted")
    if average not in averages:
        raise ValueError(f"r2() takes an average of {averages}, found {average!r}.")
    t, p = _checked(target, prediction)
    axis = None if average == "joint" else 0
    missed, total = _sums(t, p, axis=axis)
    if average == "variance_weighted":
        return float(1 - missed.sum() / total.sum())
    return float(np.mean(1 - missed / total))


def _checked(target: Rows, prediction: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Target and prediction as [n, d] in float64."""
    t, p = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    if t.shape != p.shape or t.ndim not in (1, 2) or not t.size:
        raise ValueError(
            f"R² needs target and prediction of one shape [n] or [n, d], found {t.shape} and "
            f"{p.shape}."
        )
    check_finite(target=t, prediction=p)
    return t.reshape(len(t), -1), p.reshape(len(p), -1)


def _sums(t: np.ndarray, p: np.ndarray, *, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors and squared distances from the mean, summed."""
    # Asked of the values: a rounded mean leaves equal ones a variance of about 1e-31.
    if np.any(np.ptp(t, axis=axis) == 0):
        raise TooFew(
            f"R² is not defined for targets without variance: all {len(t)} values of a dimension "
            f"are equal. Take more examples, or leave this factor out."
        )
    total = np.sum((t - t.mean(axis=axis)) ** 2, axis=axis)
    return np.asarray(np.sum((t - p) ** 2, axis=axis)), np.asarray(total)


def factor_targets(split: Split, indices: np.ndarray) -> dict[str, Float[np.ndarray, "n k"]]:
    """Regression targets of the factors a split knows: cyclic ones as (cos, sin).

    "hue" (turns) → (cos 2πh, sin 2πh); "angle" (radians) → (cos a, sin a); all others as they are.
    """
    turns = {"hue": 2 * np.pi, "angle": 1.0}
    columns_of = {}
    for name, values in split.factors.items():
        value = np.asarray(values, np.float64)[indices]
        phase = turns.get(name, 0.0) * value
        columns_of[name] = np.column_stack(
            [np.cos(phase), np.sin(phase)] if name in turns else [value]
        )
    return columns_of


def ridge(
    x: Rows, y: Rows, validation_x: Rows, validation_y: Rows, *, l2: Sequence[float] = RIDGES
) -> Ridge:
    """Linear regression with the L2 weight chosen on validation, then refitted on both.

    Minimises mean ‖y − x W − b‖² + λ ‖W‖² over standardised x, in closed form and float64.

    Args:
      x, y: features [N, H] and targets [N, D].
      validation_x, validation_y: likewise; they choose λ.
      l2: candidates for λ > 0.

    Raises:
      ValueError: for shapes that do not match, values that are not finite, or candidates that are
        not positive.
    """
    return ridges(x, y, validation_x, validation_y, [np.shape(y)[-1]], l2)[0]


def factor_r2(
    features: Mapping[str, Features],
    splits: Mapping[str, Split],
    *,
    factors: Sequence[str] = FACTORS,
) -> dict[str, float]:
    """R² of linear regression from frozen features to known factors, in and out of range.

    Fitted on "train", λ chosen on "validation", refitted on both, tested on "test" (in range) and,
    where there is one, "out_of_range" (hues and angles never seen).

    Returns:
      "r2_<factor>" and "r2_<factor>_out_of_range" (joint), and the same with "_per_dimension"
      behind; only for factors that all splits know.

    Raises:
      ValueError: without features of train, validation and test, or as `r2`.
    """
    missing = {"train", "validation", "test"} - set(features)
    if missing:
        raise ValueError(f"factor_r2() needs features of train, validation and test: no {missing}.")
    targets = {name: factor_targets(splits[name], f.indices) for name, f in features.items()}
    shared = [name for name in factors if all(name in t for t in targets.values())]
    if not shared:
        return {}
    widths = [targets["train"][name].shape[1] for name in shared]
    y = {name: np.concatenate([t[k] for k in shared], axis=1) for name, t in targets.items()}
    explained = {}
    train, validation = features["train"].features, features["validation"].features
    fitted = ridges(train, y["train"], validation, y["validation"], widths, RIDGES)
    for split, suffix in (("test", ""), ("out_of_range", "_out_of_range")):
        if split not in features:
            continue
        x = np.asarray(features[split].features, np.float64)
        for name, fit in zip(shared, fitted, strict=True):
            predicted = x @ fit.weight + fit.bias
            target = targets[split][name]
            explained[f"r2_{name}{suffix}"] = r2(target, predicted)
            explained[f"r2_{name}{suffix}_per_dimension"] = r2(
                target, predicted, average="per_dimension"
            )
    return explained


def ridges(
    x: Rows, y: Rows, vx: Rows, vy: Rows, widths: Sequence[int], l2: Sequence[float]
) -> list[Ridge]:
    """`ridge` for each group of `widths` columns of y: the same features, its own λ."""
    x, y, vx, vy = (np.asarray(a, np.float64) for a in (x, y, vx, vy))
    if x.ndim != 2 or y.shape[:1] != x.shape[:1] or vy.shape != (len(vx), *y.shape[1:]):
        raise ValueError(
            f"Regression needs [N, H] features and [N, D] targets, found {x.shape} with {y.shape} "
            f"and, for validation, {vx.shape} with {vy.shape}."
        )
    check_finite(x=x, y=y, validation_x=vx, validation_y=vy)
    if not len(l2) or min(l2) <= 0:
        raise ValueError(f"The L2 candidates must be positive, found {tuple(l2)}.")
    groups = np.split(np.arange(y.shape[1]), np.cumsum(widths)[:-1])
    errors = [np.mean((vy - vx @ w - b) ** 2, axis=0) for w, b in _solve(x, y, l2)]
    chosen = [l2[int(np.argmin([np.sum(e[g]) for e in errors]))] for g in groups]
    distinct = sorted(set(chosen))
    refits = _solve(np.concatenate([x, vx]), np.concatenate([y, vy]), distinct)
    refit = dict(zip(distinct, refits, strict=True))
    return [
        Ridge(refit[c][0][:, g], refit[c][1][g], float(c))
        for g, c in zip(groups, chosen, strict=True)
    ]


def _solve(
    x: np.ndarray, y: np.ndarray, l2: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias in the coordinates of x, for each λ."""
    n, width = x.shape
    std = x.std(axis=0)
    std = np.where(std > 1e-6 * max(float(std.max()), 1e-12), std, np.inf)  # constant: left out
    mean, centre = x.mean(axis=0), y.mean(axis=0)
    s, t = (x - mean) / std, y - centre
    # The smaller of the two equal systems: (SᵀS + nλ)⁻¹ Sᵀ T = Sᵀ (S Sᵀ + nλ)⁻¹ T.
    dual = n < width
    gram = (s @ s.T if dual else s.T @ s) / n
    right = (t if dual else s.T @ t) / n
    # One decomposition serves all λ.
    values, vectors = np.linalg.eigh(gram)
    turned = vectors.T @ right
    solutions = []
    for penalty in l2:
        solved = vectors @ (turned / (np.maximum(values, 0) + penalty)[:, None])
        weight = (s.T @ solved if dual else solved) / std[:, None]
        solutions.append((weight, centre - mean @ weight))
    return solutions


def _measure(seen: Seen) -> Measured:
    splits = [n for n in ("train", "validation", "test", "out_of_range") if n in seen.splits]
    rows = {name: seen.rows(name) for name in splits}
    explained = factor_r2(rows, seen.splits)
    if not explained:
        raise ValueError(f"the data set knows none of the factors {', '.join(FACTORS)}")
    sizes = {name: len(part.indices) for name, part in rows.items()}
    numbers = {
        name: Number(value, n=sizes["out_of_range" if "out_of_range" in name else "test"])
        for name, value in explained.items()
    }
    # Jointly, the means of (cos, sin) alone already score above 0; out of range, below.
    centred = [n for n in numbers if n.endswith("_per_dimension") and "out_of_range" not in n]
    return Measured(numbers, chance=dict.fromkeys(centred, 0.0))


_NAMED = [
    Output(f"r2_{factor}{end}", f"R² of {factor}{words}", HIGHER, ".3f")
    for end, words in (("", ""), ("_out_of_range", ", out of range"))
    for factor in FACTORS
]
CARD = Card(
    name="factors",
    measure=_measure,
    outputs=(_NAMED[0]._replace(headline=True), *_NAMED[1:]),
    needs=("test",),
    absent=("r2",),
    source="Garrido et al. 2023 (SIE), arXiv:2302.10283",
)
