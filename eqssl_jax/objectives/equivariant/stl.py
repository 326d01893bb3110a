"""STL: the change that one pair of views shows, read off it, must carry another image's view over.

Rows 2k and 2k + 1 are different images whose views 1 share one draw and whose views 2 another.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.contrastive import check_pair
from eqssl_jax.objectives.equivariant.layers import Head, hypernetwork, nt_xent

Rows = Float[Array, "n d"]


def codes(y1: Rows, y2: Rows, head: Head) -> tuple[Rows, Rows]:
    """Codes of the change from view 1 to 2 and back, m([y1; y2]) and m([y2; y1]).

    Each is a batch of its own for the head's BatchNorm.

    Args:
      y1, y2: features of the two views.
      head: m, of two layers without bias in the authors' code (1024, 128, 128).
    """
    _check_pairs(y1, y2)
    return (
        head(jnp.concatenate([y1, y2], axis=1)),
        head(jnp.concatenate([y2, y1], axis=1)),
    )


def predictions(
    y1: Rows, y2: Rows, code_12: Rows, code_21: Rows, weight: Float[Array, "dd c"]
) -> tuple[Rows, Rows]:
    """Each view's features from the other's and the code of the partner row (`hypernetwork`).

    ŷ1 = M(c21 of the partner) y2 and ŷ2 = M(c12 of the partner) y1: a code that keeps the content
    of its own image is of no use.
    """
    _check_pairs(y1, y2)
    return (
        hypernetwork(weight, _partners(code_21), y2),
        hypernetwork(weight, _partners(code_12), y1),
    )


def invariance(p1: Rows, p2: Rows, *, temperature: float = 0.2) -> Float[Array, ""]:
    """NT-Xent of the two views' projections."""
    return nt_xent(p1, p2, temperature=temperature)


def equivariance(
    p1: Rows, p2: Rows, predicted_1: Rows, predicted_2: Rows, *, temperature: float = 0.2
) -> Float[Array, ""]:
    """NT-Xent of [p(y1); p(y2)] against [p(ŷ1); p(ŷ2)], 4N rows in one matrix.

    The four are projected by one head, each as its own batch for BatchNorm. No stop-gradient.
    """
    true, predicted = jnp.concatenate([p1, p2]), jnp.concatenate([predicted_1, predicted_2])
    return nt_xent(true, predicted, temperature=temperature)


def transformation(
    code_12: Rows, code_21: Rows, head: Head, *, temperature: float = 0.2
) -> Float[Array, ""]:
    """NT-Xent of projected codes, both directions, of even rows against those of odd rows.

    Even and odd rows are each their own batch for the projector's BatchNorm.
    """
    _check_pairs(code_12, code_21)
    even, odd = (head(jnp.concatenate([code_12[first::2], code_21[first::2]])) for first in (0, 1))
    return nt_xent(even, odd, temperature=temperature)


def loss(
    invariance: Float[Array, ""],
    equivariance: Float[Array, ""],
    transformation: Float[Array, ""],
    *,
    weight: float = 0.1,
) -> Float[Array, ""]:
    """invariance + equivariance + λ transformation.

    λ = .1 in the authors' code and README, .2 in their paper. What the pairs share is crop, jitter
    and grayscale; flip and blur are drawn for each image, so that no code can know them.

    Source: Yu et al. 2024 (NeurIPS), arXiv:2501.08712; jaemyung-u/stl at 2138162.
    """
    return invariance + equivariance + weight * transformation


def _partners(rows: Rows) -> Rows:
    """Rows 2k and 2k + 1 exchanged."""
    return rows.reshape(-1, 2, rows.shape[-1])[:, ::-1].reshape(rows.shape)


def _check_pairs(a: Rows, b: Rows) -> None:
    check_pair(a, b)
    if a.shape[0] % 2:
        raise ValueError(
            f"STL pairs rows 2k and 2k + 1, images that share their draws, so a batch must be "
            f"even, found {a.shape[0]} rows: make config.train.batch_size even."
        )
