"""How two views of an image differ in crop, jitter and blur, read off their features by an MLP."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Number, Output
from eqssl_jax.measures.features import extract, sampled, subset
from eqssl_jax.measures.regression import relative
from eqssl_jax.measures.regression.factors import r2
from eqssl_jax.measures.subjects import Seen
from eqssl_jax.objectives.equivariant.seqjepa import changes, scaled_over_views
from eqssl_jax.settings import whole

GROUPS = {
    "crop": ("top", "left", "height", "width"),
    "jitter": ("brightness", "contrast", "saturation", "hue"),
    "blur": ("sigma",),
}


def parameter_changes(
    draws: Mapping[str, Mapping[str, Float[Array | np.ndarray, "2 n"]]], *, scaled: bool = True
) -> dict[str, Float[np.ndarray, "n k"]]:
    """What changes from the first view to the second, by `GROUPS`, of parts that have it.

    `scaled`: of parameters divided by their norm over the image's two views, as seq-JEPA does, so
    that their unit does not matter; otherwise of fractions, ratios, turns and pixels as they are.

    >>> two = {"blur": {"sigma": np.array([[3.0], [4.0]])}}
    >>> parameter_changes(two)["blur"].round(2)
    array([[0.2]], dtype=float32)
    >>> parameter_changes(two, scaled=False)["blur"]
    array([[1.]], dtype=float32)
    """
    targets = {}
    for name, leaves in GROUPS.items():
        part = next((draw for draw in draws.values() if set(leaves) <= set(draw)), None)
        if part is not None:
            drawn = jnp.stack([jnp.asarray(part[leaf], jnp.float32).T for leaf in leaves], axis=-1)
            targets[name] = np.asarray(changes(scaled_over_views(drawn) if scaled else drawn))[:, 0]
    return targets


def _pairs(seen: Seen, split: str, count: int, key: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """Features of two views of some images, [n, h] each, and the draws, leaves [2, n]."""
    part, transform = seen.splits[split], seen.conditions.transform
    rows = subset(part.size, count)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(4), key), (2, len(rows)))
    draws = [jax.device_get(sampled(view, sample=transform.sample)) for view in keys]
    first, second = (
        extract(seen.subject.encode, part, batch=seen.settings.batch, indices=rows,
                transform=transform, params=draw).features
        for draw in draws
    )  # fmt: skip
    return first, second, jax.tree.map(lambda *leaves: np.stack(leaves), *draws)


def _measure(seen: Seen) -> Measured:
    count = seen.settings.parameter_images
    if not count:
        raise ValueError("left out: parameter_images is 0")
    few = max(count // 4, 2)
    sizes = {"train": count, "validation": few, seen.held_out: few}
    pairs = {name: _pairs(seen, name, size, i) for i, (name, size) in enumerate(sizes.items())}
    targets = {name: parameter_changes(draws) for name, (_, _, draws) in pairs.items()}
    if not targets["train"]:
        raise ValueError("the recipe has no crop, jitter or blur")
    plain = {n: parameter_changes(draws, scaled=False) for n, (_, _, draws) in pairs.items()}
    flat = relative.reduced({name: np.concatenate([a, b]) for name, (a, b, _) in pairs.items()})
    h = {name: np.concatenate(np.split(views, 2), axis=1) for name, views in flat.items()}
    numbers: dict[str, Number | float] = {}
    for kind, wanted in (("r2", targets), ("mse", plain)):
        y = {name: np.concatenate(list(part.values()), axis=1) for name, part in wanted.items()}
        scale = np.maximum(y["train"].std(axis=0), 1e-6)  # one parameter counts as any other
        layers = relative.fit_mlp(
            (h["train"], y["train"] / scale),
            (h["validation"], y["validation"] / scale),
            hidden=seen.settings.relative_hidden,
            steps=seen.settings.relative_steps,
        )
        ends = np.cumsum([part.shape[1] for part in wanted["train"].values()])[:-1]
        for split in ("validation", seen.held_out) if kind == "r2" else (seen.held_out,):
            read = np.asarray(relative.apply_mlp(layers, h[split])) * scale
            end = "" if split == seen.held_out else "_validation"
            for name, predicted in zip(wanted["train"], np.split(read, ends, axis=1), strict=True):
                true = wanted[split][name]
                value = (
                    r2(true, predicted, average="per_dimension")
                    if kind == "r2"
                    else float(np.mean((true - predicted) ** 2))
                )
                numbers[f"parameters_{kind}_{name}{end}"] = Number(value, n=len(true))
    return Measured(numbers)


CARD = Card(
    name="parameters",
    measure=_measure,
    outputs=tuple(
        Output(
            f"parameters_{kind}_{name}{end}",
            f"{title} of changes of {name}{end.replace('_', ', ')}",
            better,
            ".3f",
            "",
            floor,
        )
        for kind, title, better, floor, ends in (
            ("r2", "R²", HIGHER, 0.0, ("", "_validation")),
            ("mse", "MSE", LOWER, None, ("",)),
        )
        for name in GROUPS
        for end in ends
    ),
    title="Changes of crop, jitter and blur",
    needs=("test",),
    absent=("parameters_r2_crop",),
    settings={
        "parameter_images": whole(0, "of training, two views of each; 0 leaves it out", high=2**20),
        **{name: relative.CARD.settings[name] for name in ("relative_hidden", "relative_steps")},
    },
    source="R²: Ghaemi et al. 2025 (seq-JEPA), arXiv:2505.03176; MSE: Yu et al. 2024 (STL), "
    "arXiv:2501.08712",
)  # fmt: skip
