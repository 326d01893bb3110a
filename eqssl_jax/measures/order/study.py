"""Which layer keeps the order of which transformation: ladders of images through all encoders."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from eqssl_jax import views
from eqssl_jax.data.base import Split
from eqssl_jax.measures.features import Encode, Layers, subset
from eqssl_jax.measures.order.accuracy import LadderOrders, ladder_orders
from eqssl_jax.measures.order.ladders import FITTED, draw_ladders, embed_views, moved, with_numbers
from eqssl_jax.measures.regression.change import Changes, change_r2, change_targets
from eqssl_jax.transforms.base import Transform


class LadderStudy(NamedTuple):
    """The equivariance spectrum of one encoder, [L layers, P parts]; NaN where not defined.

    Attributes:
      layers: from the first to the last, among them "features" and "embedding".
      parts: of the transformation.
      order_accuracy, kendall_tau: see `order.order_accuracy`; of rows of length 1, along ladders
        on which all other parts rest.
      order_accuracy_amid: the same, on ladders amid other changes.
      magnitude_r2: see `change.change_r2`; of rows as they come.
      change_r2: R² of a cyclic leaf of a part as (cos, sin), by "<part>_<leaf>" and
        "<part>_<leaf>_per_dimension", [L].
      images: how many held-out images were moved by their draw, [P]; the others have no order.
      skipped: why a number is NaN or missing, by "<part>" or "<measure>_<part>".
    """

    layers: tuple[str, ...]
    parts: tuple[str, ...]
    order_accuracy: Float[np.ndarray, "l p"]
    order_accuracy_amid: Float[np.ndarray, "l p"]
    kendall_tau: Float[np.ndarray, "l p"]
    magnitude_r2: Float[np.ndarray, "l p"]
    change_r2: Mapping[str, Float[np.ndarray, " l"]]
    images: Int[np.ndarray, " p"]
    skipped: Mapping[str, str]


def ladder_study(
    encoders: Mapping[str, Encode | Layers],
    splits: Mapping[str, Split],
    transform: Transform,
    key: Key[Array, ""],
    *,
    parts: Sequence[str] | None = None,
    held_out: str = "test",
    rungs: int = 8,
    images: int = 1000,
    batch: int = 256,
) -> dict[str, LadderStudy]:
    """Walk images from the identity to a draw of one part at a time, and measure every encoder.

    Order is measured twice. Clean: all other parts rest at their identity, so that each part is
    measured alone and on the plain image. Distances are then compared without any noise, however
    small they are, and almost every map keeps the order of a continuous change, untrained or not:
    it tells kinds of change, hardly encoders. Amid other changes (decisive, and ours): the part
    walks the same ladder while every other part is drawn anew for each rung and image,
    `views.mix(views.independent(V), part=views.ladder(V, spacing="even"))`. The order of an encoder
    that is blind to the part is then that of the other changes, ½ on average; one that holds the
    magnitude against them stays near 1. Without any other part both are the same. The standard
    error near ½ is up to 0.3 / √n for n images that are moved.

    Rungs are even in [0, 1]. Draws are made once and views rendered once, the same for all
    encoders. R² is fitted on one clean rung (above the lowest, all equally often) of each of
    2 · `images` training images, λ chosen on `images` of validation, and tested on all clean rungs
    of the held-out images.

    Args:
      encoders: by name; of those that give all their layers each is measured.
      splits: `held_out` for order; R² also needs "train" and "validation" beside it.
      transform: a chain whose parts are measured.
      key: of the draws.
      parts: which to measure; None takes all that draw a number which moves some image, as
        `views.ladder_parts` does.
      held_out: the split that is measured.
      rungs: V ≥ 3.
      images: a fixed random subset of so many.

    Raises:
      ValueError: without encoders, fewer than 3 rungs, a missing
        split, or parts that the transformation does not have.
    """
    wanted = with_numbers(transform) if parts is None else tuple(parts)
    _check(encoders, splits, held_out, rungs, set(wanted) - set(transform.identity))
    fitted = FITTED if held_out not in FITTED and set(FITTED) <= set(splits) else ()
    limits = {"train": 2 * images, "validation": images, held_out: images}
    chosen = {name: subset(splits[name].size, limits[name]) for name in (*fitted, held_out)}
    counts = {name: len(rows) for name, rows in chosen.items()}
    walks = draw_ladders(transform, key, wanted, rungs, counts)
    draws = walks.clean
    if parts is None:
        draws = {part: d for part, d in draws.items() if moved(d[held_out]).any()}
    still: dict[str, dict] = {name: {} for name in chosen}
    columns: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in encoders}
    for part in draws:
        embedded = {
            name: embed_views(
                encoders,
                splits[name],
                transform,
                draws[part][name].params,
                chosen[name],
                batch=batch,
                plain=still[name],
            )
            for name in chosen
        }
        amid = embed_views(
            encoders,
            splits[held_out],
            transform,
            walks.amid[part].params,
            chosen[held_out],
            batch=batch,
            plain=still[held_out],
        )
        for encoder in encoders:
            columns[encoder][part] = {
                layer: measured(
                    part,
                    draws[part],
                    {name: by_encoder[encoder][layer] for name, by_encoder in embedded.items()},
                    noisy,
                    held_out,
                )
                for layer, noisy in amid[encoder].items()
            }
    walked = np.array([moved(d[held_out]).sum() for d in draws.values()], int)
    return {name: _study(by_part, tuple(draws), walked) for name, by_part in columns.items()}


# Numbers of a layer and part, and reasons; the others are R² of cyclic leaves.
_SINGLE = ("order_accuracy", "order_accuracy_amid", "kendall_tau", "magnitude", "why", "why_r2")


def _check(
    encoders: Mapping[str, Encode | Layers],
    splits: Mapping[str, Split],
    held_out: str,
    rungs: int,
    unknown: set[str],
) -> None:
    if not encoders or held_out not in splits or rungs < 3:
        raise ValueError(
            f"ladder_study() needs encoders, the split {held_out!r} and at least 3 rungs; found "
            f"encoders {list(encoders)}, splits {list(splits)} and rungs={rungs}."
        )
    if unknown:
        raise ValueError(f"ladder_study() found no parts {sorted(unknown)} in the transformation.")


def _study(
    by_part: Mapping[str, Mapping[str, Mapping[str, Any]]],
    parts: Sequence[str],
    images: np.ndarray,
) -> LadderStudy:
    names = list(next(iter(by_part.values()), ()))

    def table(measure: str) -> np.ndarray:
        rows = [[by_part[p][layer].get(measure, np.nan) for p in parts] for layer in names]
        return np.asarray(rows, float).reshape(len(names), len(parts))

    cyclic = {
        f"{part}_{target}": np.array([by_part[part][layer][target] for layer in names])
        for part in parts
        for target in by_part[part][names[0]]
        if target not in _SINGLE
    }
    skipped = {}
    for part in parts:
        numbers = by_part[part][names[0]]
        if "why" in numbers:
            skipped[part] = numbers["why"]
        elif "why_r2" in numbers:
            skipped[f"magnitude_r2_{part}"] = numbers["why_r2"]
    return LadderStudy(
        tuple(names),
        tuple(parts),
        table("order_accuracy"),
        table("order_accuracy_amid"),
        table("kendall_tau"),
        table("magnitude"),
        cyclic,
        images,
        skipped,
    )


def measured(
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
    numbers: dict[str, float | str] = {
        "order_accuracy": float(orders.accuracy.mean()),
        "order_accuracy_amid": float(_orders(amid, magnitude).accuracy.mean()),
        "kendall_tau": float(orders.tau.mean()),
    }
    few = [name for name in embedded if keep[name].sum() < 2]
    if len(embedded) == 1 or few:
        numbers["why_r2"] = (
            f"fewer than 2 draws of this part did anything in {few[0]}"
            if few
            else "R² is fitted on train, chosen on validation and tested on other images"
        )
        return numbers
    changes = {n: _changes(part, draws[n], z, keep[n]) for n, z in embedded.items()}
    # What does not vary (the hue of a jitter without hue) is not there to be read.
    fixed = {
        n for n, t in changes[held_out].targets.items() if not np.ptp(np.asarray(t), axis=0).all()
    }
    changes = {
        n: c._replace(targets={k: t for k, t in c.targets.items() if k not in fixed})
        for n, c in changes.items()
    }
    return {**numbers, **change_r2(*(changes[n] for n in (*FITTED, held_out)))}


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
