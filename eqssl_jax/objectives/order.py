"""Preserve the order of a transformation's magnitude along a ladder of views."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

FORMS = ("hinge", "listwise")
_FLOOR = 1e-12  # of a distance: its derivative at 0 is then 0, not infinite

Anchor = Callable[[Float[Array, " v"], Float[Array, " v"], Bool[Array, "v v"]], Array]


def order_preservation(
    z: Float[Array, "v n d"],
    magnitude: Float[Array, "v n"],
    *,
    margin: float = 0.1,
    temperature: float = 0.1,
    form: str = "hinge",
) -> Float[Array, ""]:
    """Of two views on the same side of an anchor, the one of nearer magnitude shall be nearer.

    For each image, d_ij is the distance of the embeddings of rungs i and j of its ladder, and a
    same-side triplet is an anchor i with s_i < s_j < s_k or s_k < s_j < s_i::

      hinge:     mean over all triplets of max(0, d_ij − d_ik + margin · |s_j − s_k|)
      listwise:  mean over all anchors i and rungs j with further ones on their side of
                 −log( exp(−d_ij/τ) / Σ_k exp(−d_ik/τ) ),  k = j and all further ones on the side,
                 the Plackett-Luce likelihood of the true order of the rungs around each anchor

    The hinge is zero exactly when every triplet is ordered with its margin. Both are invariant to
    relabelling the images and to rotating all embeddings, and have finite gradients where
    embeddings coincide. Memory is O(V² + V·D) for each image: anchors are taken one after another,
    and again in the backward pass.

    Args:
      z: embeddings of V rungs of N images, usually on the unit sphere.
      magnitude: of the rungs, in [0, 1], increasing along V; an image whose magnitudes are all
        0 has nothing to order and does not count.
      margin: distance asked for each unit of magnitude between two rungs; hinge only.
      temperature: τ > 0, in units of distance; listwise only.
      form: "hinge" or "listwise".

    Raises:
      ValueError: for fewer than 3 rungs, shapes that do not fit, an unknown form, a negative
        margin, τ ≤ 0, or magnitudes that are not increasing. Inside compiled code values cannot be
        looked at: there, triplets are chosen by their magnitudes, and equal ones do not count.

    Source: the idea is that of Xie et al. 2022 (What Should Be Equivariant in Self-Supervised
    Learning, CVPRW, pp. 4111-4120); the form of the loss is ours. Plackett-Luce: Plackett 1975.

    >>> import jax.numpy as jnp
    >>> line = jnp.array([0.0, 1.0, 2.0])[:, None, None]  # three rungs of one image, in R¹
    >>> s = jnp.array([0.0, 0.5, 1.0])[:, None]
    >>> swapped = line[jnp.array([0, 2, 1])]
    >>> float(order_preservation(line, s)), round(float(order_preservation(swapped, s)), 3)
    (0.0, 0.55)
    """
    check_ladder(z, magnitude)
    if form not in FORMS:
        raise ValueError(f"order_preservation() takes form 'hinge' or 'listwise', found {form!r}.")
    if not (margin >= 0 and temperature > 0):
        raise ValueError(
            f"order_preservation() needs margin >= 0 and temperature > 0, found {margin} and "
            f"{temperature}."
        )
    anchor = _hinge(margin) if form == "hinge" else _listwise(temperature)
    along = jnp.swapaxes(z.astype(jnp.float32), 0, 1)  # [N, V, D]
    total, count = jax.vmap(_over_anchors, in_axes=(None, 0, 0))(anchor, along, magnitude.T)
    return jnp.sum(total) / jnp.maximum(jnp.sum(count), 1.0)


def check_ladder(z: Array, magnitude: Array) -> None:
    """Refuse what is no ladder.

    Raises:
      ValueError: as `order_preservation`, as far as values are known.
    """
    if z.ndim != 3 or z.shape[:2] != magnitude.shape:
        raise ValueError(
            f"A ladder is embeddings [V, N, D] with magnitudes [V, N], found {z.shape} and "
            f"{magnitude.shape}."
        )
    if z.shape[0] < 3:
        raise ValueError(f"Order needs at least 3 rungs on a ladder, found {z.shape[0]}.")
    if isinstance(magnitude, jax.core.Tracer):
        return
    s = np.asarray(magnitude)
    wrong = ~((np.diff(s, axis=0) > 0).all(axis=0) | (s == 0).all(axis=0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"Magnitudes must increase along the ladder: those of image {first} are "
            f"{s[:, first].tolist()} ({int(wrong.sum())} of {len(wrong)} images are like that). "
            f"Sort the rungs, and leave out equal ones."
        )


def _over_anchors(
    anchor: Anchor, z: Float[Array, "v d"], s: Float[Array, " v"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum of one image's terms, and their number."""

    # Recomputed in the backward pass: kept, the [V, V] of all anchors would be O(V³).
    @jax.checkpoint
    def add(
        carry: tuple[Array, Array], view: tuple[Float[Array, " d"], Float[Array, ""]]
    ) -> tuple[tuple[Array, Array], None]:
        point, at = view
        square = jnp.sum((z - point[None]) ** 2, axis=1)
        apart = square > _FLOOR**2
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)
        signed = s - at
        nearer, further = signed[:, None], signed[None, :]  # rows j, columns k
        beyond = (nearer * further > 0) & (jnp.abs(further) > jnp.abs(nearer))
        total, count = anchor(distance, s, beyond)
        return (carry[0] + total, carry[1] + count), None

    zero = jnp.zeros((), jnp.float32)
    return jax.lax.scan(add, (zero, zero), (z, s))[0]


def _hinge(margin: float) -> Anchor:
    def terms(d: Float[Array, " v"], s: Float[Array, " v"], beyond: Bool[Array, "v v"]) -> Array:
        gap = jnp.abs(s[:, None] - s[None, :])
        short = jnp.maximum(d[:, None] - d[None, :] + margin * gap, 0.0)
        return jnp.stack([jnp.sum(jnp.where(beyond, short, 0.0)), jnp.sum(beyond, dtype=d.dtype)])

    return terms


def _listwise(temperature: float) -> Anchor:
    def terms(d: Float[Array, " v"], s: Float[Array, " v"], beyond: Bool[Array, "v v"]) -> Array:
        logits = -d / temperature
        rivals = beyond | jnp.eye(d.shape[0], dtype=bool)  # itself and all further ones
        below = jnp.where(rivals, logits[None, :], -jnp.inf)
        surprise = jax.nn.logsumexp(below, axis=1) - logits
        chosen = beyond.any(axis=1)
        total = jnp.sum(jnp.where(chosen, surprise, 0.0))
        return jnp.stack([total, jnp.sum(chosen, dtype=d.dtype)])

    return terms
