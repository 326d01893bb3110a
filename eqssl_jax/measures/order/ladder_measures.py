"""What one layer keeps of the ladders of one part: order, magnitude and what was done."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float

from eqssl_jax import views
from eqssl_jax.measures.order.accuracy import LadderOrders, ladder_orders
from eqssl_jax.measures.order.ladders import FITTED, moved
from eqssl_jax.measures.regression.change import Changes, change_r2, change_targets


def measure(
    part: str,
    draws: Mapping[str, views.Draws],
    embedded: Mapping[str, Float[np.ndarray, "v n d"]],
    amid: Float[np.ndarray, "v n d"],
    held_out: str,
) -> dict[str, float | str]:
    """One layer and part: numbers by name, or why there is none.

    `amid` is embedded on the same ladders as the held-out images, amid other changes.
    """
    z, magnitude = embedded[held_out], np.asarray(draws[held_out].magnitude)
    keep = {name: moved(d) for name, d in draws.items()}
    if not keep[held_out].any():
        return {"why": f"none of {z.shape[1]} draws of this part did anything"}
    orders = _orders(z, magnitude)
    found: dict[str, float | str] = {
        "order_accuracy": float(orders.accuracy.mean()),
        "order_accuracy_amid": float(_orders(amid, magnitude).accuracy.mean()),
        "kendall_tau": float(orders.tau.mean()),
    }
    few = [name for name in embedded if keep[name].sum() < 2]
    if len(embedded) == 1 or few:
        found["why_r2"] = (
            f"fewer than 2 draws of this part did anything in {few[0]}"
            if few
            else "R² is fitted on train, chosen on validation and tested on other images"
        )
        return found
    changes = {n: _changes(part, draws[n], z, keep[n]) for n, z in embedded.items()}
    # What does not vary (the hue of a jitter without hue) is not there to be read.
    fixed = {
        n for n, t in changes[held_out].targets.items() if not np.ptp(np.asarray(t), axis=0).all()
    }
    changes = {
        n: c._replace(targets={k: t for k, t in c.targets.items() if k not in fixed})
        for n, c in changes.items()
    }
    return {**found, **change_r2(*(changes[n] for n in (*FITTED, held_out)))}


def _orders(z: Float[np.ndarray, "v n d"], magnitude: Float[np.ndarray, "v n"]) -> LadderOrders:
    """Of rows of length 1."""
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    return ladder_orders(z / np.maximum(length, 1e-12), magnitude)


def _changes(
    part: str, draws: views.Draws, z: Float[np.ndarray, "v n d"], keep: np.ndarray
) -> Changes:
    """Every rung above the lowest beside the lowest, of the images that were moved."""
    params = jax.tree.map(
        lambda leaf: leaf[1:, keep].reshape(-1, *leaf.shape[2:]), {part: draws.params[part]}
    )
    magnitude = np.asarray(draws.magnitude)[1:, keep].reshape(-1)
    after = z[1:, keep]
    before = np.broadcast_to(z[:1, keep], after.shape)
    rows = (-1, z.shape[2])
    return Changes(before.reshape(rows), after.reshape(rows), change_targets(params, magnitude))
