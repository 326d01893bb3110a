"""seq-JEPA: from a sequence of views and what changed between them, predict the next one's."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from eqssl_jax.objectives.base import unit
from eqssl_jax.objectives.equivariant.layers import Layer, batch_norm, dense
from eqssl_jax.objectives.momentum import negative_cosine

_FLOOR = 1e-12  # of the norms that parameters are divided by


def loss(predicted: Float[Array, "n d"], target: Float[Array, "n d"]) -> Float[Array, ""]:
    """1 − mean cos(prediction, target), in [0, 2].

    Args:
      predicted: the predictor's output.
      target: features of the last view by the moving average of the encoder. Stop its gradient:
        this function does not.

    Source: Ghaemi et al. 2025 (seq-JEPA, NeurIPS); hafezgh/seq-jepa at 73e0550. The authors' moving
    average copies parameters only, not the statistics of BatchNorm; its decay follows a cosine from
    .996 to 1 by epochs; without --ema the target is the online encoder.
    """
    return 1 + negative_cosine(unit(predicted), unit(target))


def action_codes(
    relative: Float[Array, "n l k"], weight: Float[Array, "c k"]
) -> Float[Array, "n l c"]:
    """Codes of the changes along a sequence, BN(V r) over all N·L rows, the last step's set to 0.

    The last observed view's change leads to the view that is to be predicted, which the encoder of
    the sequence must not be told. It is erased behind the BatchNorm, whose statistics still hold it
    (so in the authors' code). The predictor's own code of that change is `predictor_code`.

    Args:
      relative: change from view i to view i + 1.
      weight: V, without bias; the BatchNorm has no scale and shift.
    """
    count, steps, width = relative.shape
    codes = predictor_code(relative.reshape(-1, width), weight).reshape(count, steps, -1)
    return codes.at[:, -1].set(0.0)


def predictor_code(
    relative: Float[Array, "n k"], weight: Float[Array, "c k"]
) -> Float[Array, "n c"]:
    """The code that the predictor gets: BN(V r) of the change to the target, its own batch."""
    return batch_norm(dense(relative, Layer(weight)))


def scaled_over_views(params: Float[Array, "n v k"]) -> Float[Array, "n v k"]:
    """Each parameter of each image divided by its norm over the image's views.

    So the authors scale crops (pixels), jitter and blur, 9 numbers of each view. What a change of
    the same size comes to thus depends on the other views and on their number, and so do the
    targets of an R² on such changes.
    """
    square = jnp.sum(params**2, axis=1, keepdims=True)
    # The floor is inside the root: the derivative of sqrt at 0 is infinite.
    return params / jnp.sqrt(jnp.maximum(square, _FLOOR**2))


def changes(scaled: Float[Array, "n v k"]) -> Float[Array, "n v-1 k"]:
    """Differences of scaled parameters from each view to the next."""
    return scaled[:, 1:] - scaled[:, :-1]
