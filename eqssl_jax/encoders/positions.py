"""Position embeddings of one grid of patches, brought to another grid."""

import math
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

RULES = ("timm", "dinov2")


def resize(
    positions: Float[Array, "h w d"], grid: tuple[int, int], rule: str = "timm"
) -> Float[Array, "h2 w2 d"]:
    """Position embeddings for a grid of another size: bicubic along each axis.

    y[i, j] = Σ_hw A[i, h] · B[j, w] · x[h, w], where the rows of A and B are kernels of Keys:

    - `timm`, which is also the rule of DINOv2 with registers: a = −0.5, antialiased (the kernel is
      as wide as the larger of the two steps), renormalised at the border
    - `dinov2`, of DINOv2 without registers: a = −0.75, not antialiased, the border repeated, and
      new position i of n lies at (i + 0.5) · m / (n + 0.1) − 0.5 of m old ones

    The same grid gives the same embeddings under both.

    Raises:
      ValueError: for another rule.

    Source: Keys 1981; timm's `resample_abs_pos_embed` and DINOv2's `interpolate_pos_encoding`
    (Oquab et al. 2023, arXiv:2304.07193; with registers Darcet et al. 2023, arXiv:2309.16588).
    """
    if rule not in RULES:
        raise ValueError(f"position is {rule!r}; choose the rule of resizing from {RULES}.")
    height, width, _ = positions.shape
    if (height, width) == tuple(grid):
        return positions
    rows, columns = (
        jnp.asarray(matrix(m, n, rule)) for m, n in zip((height, width), grid, strict=True)
    )
    return jnp.einsum("ih,jw,hwd->ijd", rows, columns, positions, precision=lax.Precision.HIGHEST)


@lru_cache(maxsize=64)
def matrix(old: int, new: int, rule: str) -> np.ndarray:
    """Weights [new, old] of the old positions in each new one, float32."""
    if rule == "dinov2":
        scale, width, a = old / (new + 0.1), 1.0, -0.75
    else:
        scale, a = old / new, -0.5
        width = max(scale, 1.0)  # antialiased: a kernel as wide as the new grid's step
    centre = (np.arange(new) + 0.5) * scale - 0.5  # [new], in units of the old grid
    reach = math.ceil(2 * width) + 1
    # Positions beyond the border are kept for now: one of the rules repeats the border.
    place = np.arange(-reach, old + reach)
    weights = _keys((place[None] - centre[:, None]) / width, a)  # [new, old + 2·reach]
    inside = weights[:, reach : reach + old].copy()
    if rule == "dinov2":
        inside[:, 0] += weights[:, :reach].sum(1)
        inside[:, -1] += weights[:, reach + old :].sum(1)
    else:
        inside /= inside.sum(1, keepdims=True)
    return inside.astype(np.float32)


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    """Keys's cubic kernel: 1 at 0, 0 at the other integers, support [−2, 2]."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
