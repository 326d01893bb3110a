"""What a steered embedding is worth: images and draws that the map was not fitted on."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Key

from eqssl_jax.data.base import Split
from eqssl_jax.measures.features import Encode, Layers
from eqssl_jax.measures.rotation.composition import compose
from eqssl_jax.measures.rotation.wahba import wahba
from eqssl_jax.measures.steering.basis import basis, magnitude, restricted
from eqssl_jax.measures.steering.map import (
    LEAST_DRAWS,
    Drawn,
    Steering,
    fit_steering,
    rotation_errors,
    steering_rotations,
)
from eqssl_jax.measures.steering.views import (
    ALL,
    Seen,
    among_images,
    among_views,
    check_parts,
    draw_part,
    embed_part,
)
from eqssl_jax.transforms.base import Params, Transform


class SteeringStudy(NamedTuple):
    """One encoder, one part. All errors are ‖F Rᵀ − F_a‖_F / √n on the held-out images.

    Attributes:
      measures: by name, a number for each held-out draw [T] or pair of them [P]:
        "error": R(p); "error_identity": no rotation; "error_mean": the one rotation that serves
        all training draws best; "error_wahba": fitted to this very draw on the training images;
        "error_wahba_test": fitted on the held-out images themselves, the least any rotation has.
        "mrr", "hit1", "hit5": the held-out images under the same draw ranked by R(p) f(x), with
        "_unsteered" by f(x) and "_wahba" by the rotation of "error_wahba"; "view_…": the views of
        x under all held-out draws ranked. "composition": R(p₂) R(p₁) against a₂(a₁(x)), with
        "_identity" and "_wahba" (one rotation fitted to the composed draw on training images) and
        "_on_data", the distance of R(p₂) R(p₁) from that rotation (`Composition`).
        "beyond": R fitted on the nearer half of the training draws, on draws farther than these,
        with "_identity", "_full" (fitted on all draws) and "_wahba" on the same draws.
      chance: of the retrieval measures.
      magnitude: of the held-out draws, see `steering_basis.magnitude`.
      steering: the map itself.
      skipped: name of each absent measure and the reason.
    """

    measures: Mapping[str, Float[np.ndarray, " t"]]
    chance: Mapping[str, float]
    magnitude: Float[np.ndarray, " t"]
    steering: Steering
    skipped: Mapping[str, str]


def steering_study(
    encoders: Mapping[str, Encode | Layers],
    splits: Mapping[str, Split],
    transform: Transform,
    key: Key[Array, ""],
    *,
    part: str = ALL,
    held_out: str = "test",
    draws: int = 64,
    images: int = 512,
    batch: int = 256,
) -> dict[str, SteeringStudy | str]:
    """Fit R(p) to draws of one part and measure it on other images under other draws.

    The map is fitted on `images` of "train" under `draws` draws, chosen on as many images of
    "validation" (or others of "train") under a quarter as many draws, and measured on as many of
    `held_out` under as many again; at least 8 of each. A draw is the same for all images. A part
    has the same draws alone and together with all others.

    Args:
      encoders: by name; all see the same views. Embeddings are L2-normalised.
      splits: "train", `held_out`, and "validation" if there is one.
      transform: the augmentation.
      part: one of its parts, all others at rest; or "all".

    Returns:
      A study for each encoder, or the reason why there is none: as many dimensions as images,
      discrete parameters only (`steering_basis.basis`), or embeddings that are 0.

    Raises:
      ValueError: for unknown parts, fewer than 8 draws, a missing split, or embeddings that are not
        finite.
    """
    check_parts(transform, [part])
    missing = {"train", held_out} - set(splits)
    if draws < LEAST_DRAWS or missing:
        raise ValueError(
            f"A steering study needs at least {LEAST_DRAWS} draws and the splits train and "
            f"{held_out}; found draws={draws} and splits {list(splits)}."
        )
    drawn = draw_part(transform, key, part, draws)
    try:
        basis(drawn.train, transform.identity)
    except ValueError as error:  # known before anything is encoded
        return dict.fromkeys(encoders, str(error))
    embedded = embed_part(encoders, splits, transform, drawn, held_out, images, batch)
    return {
        name: _why_not(seen) or _study(seen, transform.identity) for name, seen in embedded.items()
    }


def _why_not(seen: Seen) -> str:
    """Why embeddings cannot be steered; empty if they can."""
    least = min(len(seen.train.before), len(seen.test.before))
    d = seen.train.before.shape[1]
    if least <= d:
        return f"needs more than {d} images, the dimension of embeddings; found {least}"
    still = [not z.any(axis=-1).all() for part in seen[:3] for z in (part.before, part.after)]
    return "some embeddings are 0, which no rotation moves" if any(still) else ""


def _study(seen: Seen, identity: Params) -> SteeringStudy:
    steering = fit_steering(seen.train, seen.validation, identity)
    steered = steering_rotations(steering, seen.test.params)
    fitted = _wahbas(seen.train.before, seen.train_on_test)
    before, after = seen.test.before, seen.test.after
    measures = {
        "error": rotation_errors(steered, before, after),
        "error_identity": _still(before, after),
        "error_mean": rotation_errors(
            _mean_rotation(seen.train)[None].repeat(len(after), 0), before, after
        ),
        "error_wahba": rotation_errors(fitted, before, after),
        "error_wahba_test": rotation_errors(_wahbas(before, after), before, after),
    }
    queries = {
        "": before @ steered.mT,
        "_unsteered": np.broadcast_to(before, after.shape),
        "_wahba": before @ fitted.mT,
    }
    chance: dict[str, float] = {}
    for suffix, query in queries.items():
        for start, part in (
            ("", among_images(query, after)),
            ("view_", among_views(query, after)),
        ):
            measures |= {f"{start}{name}{suffix}": v for name, v in part.measures.items()}
            chance |= {f"{start}{name}{suffix}": v for name, v in part.chance.items()}
    measures |= _composed(seen, steered)
    size = magnitude(steering.basis, seen.test.params)
    beyond, skipped = _beyond(seen, identity, steering, measures)
    return SteeringStudy(measures | beyond, chance, size, steering, skipped)


def _composed(seen: Seen, steered: np.ndarray) -> dict[str, np.ndarray]:
    before, after = seen.test.before, seen.test_composed
    count = len(after)
    products = steered[1 : count + 1] @ steered[:count]  # first p, then p + 1
    fitted = _wahbas(seen.train.before, seen.train_composed)
    distances = [
        compose(before, steered[p], steered[p + 1], fitted[p]).on_data for p in range(len(after))
    ]
    return {
        "composition": rotation_errors(products, before, after),
        "composition_identity": _still(before, after),
        "composition_wahba": rotation_errors(fitted, before, after),
        "composition_on_data": np.asarray(distances),
    }


def _beyond(
    seen: Seen, identity: Params, steering: Steering, measures: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Fitted on the nearer half of the draws alone, measured on farther ones."""
    sizes = [magnitude(steering.basis, part.params) for part in seen[:3]]
    bound = float(np.median(sizes[0]))
    near, far = [size <= bound for size in sizes], sizes[2] > bound
    few = min(int(np.sum((sizes[0] > 0) & near[0])) - LEAST_DRAWS + 1, near[1].sum(), far.sum())
    if few < 1:
        why = f"needs {LEAST_DRAWS} draws in the nearer half that move, and some beyond them"
        return {}, {"beyond": why}
    train, validation = (_only(part, keep) for part, keep in zip(seen[:2], near[:2], strict=True))
    try:
        basis(train.params, identity)
    except ValueError as error:  # most draws are at rest, and so is all of the nearer half
        return {}, {"beyond": str(error)}
    fit = fit_steering(train, validation, identity)
    test = _only(seen.test, far)
    rotations = steering_rotations(fit, test.params)
    return {
        "beyond": rotation_errors(rotations, test.before, test.after),
        "beyond_identity": measures["error_identity"][far],
        "beyond_full": measures["error"][far],
        "beyond_wahba": measures["error_wahba"][far],
    }, {}


def _only(drawn: Drawn, keep: Bool[np.ndarray, " a"]) -> Drawn:
    return Drawn(drawn.before, drawn.after[keep], restricted(drawn.params, keep))


def _wahbas(before: np.ndarray, after: np.ndarray) -> Float[np.ndarray, "a d d"]:
    return np.stack([wahba(before, view).rotation for view in after])


def _mean_rotation(drawn: Drawn) -> np.ndarray:
    """The one rotation that serves all draws best: Wahba's of all pairs together."""
    count, _, d = drawn.after.shape
    return wahba(np.tile(drawn.before, (count, 1)), drawn.after.reshape(-1, d)).rotation


def _still(before: np.ndarray, after: np.ndarray) -> Float[np.ndarray, " a"]:
    return np.linalg.norm(after - before, axis=(1, 2)) / np.sqrt(len(before))
