"""Do rotations compose, by what they move and by what they explain? Of runs that are finished.

    python benchmarks/composition.py runs/reduced/simclr-seed0-d1a20648 runs/reduced/…

`composition_held_out` divides by how far images move, of which a rotation may explain little; this
prints its parts: for 10 compositions b(a(x)) of the run's recipe, rotations fitted on half of the
held-out images and Z the embeddings of the other half, the means over compositions of

  gap       ‖(R_ba − R_b R_a) Z‖ / ‖Z_ba − Z‖
  moved     ‖(R_ba − 1) Z‖ / ‖Z_ba − Z‖
  by moved  ‖(R_ba − R_b R_a) Z‖ / ‖(R_ba − 1) Z‖
  direct    1 − ‖R_ba Z − Z_ba‖² / ‖Z_ba − Z‖², the share of the change that R_ba explains
  composed  1 − ‖R_b R_a Z − Z_ba‖² / ‖Z_ba − Z‖²

and beside them those of an untrained encoder and of the inputs.
"""

import sys
from pathlib import Path

import numpy as np

from eqssl_jax.experiment.any_encoder import measure
from eqssl_jax.experiment.stored import stored_setup
from eqssl_jax.measures.cards import HIGHER, LOWER, Card, Measured, Output, over_draws
from eqssl_jax.measures.rotation import augmented
from eqssl_jax.measures.rotation.wahba import wahba
from eqssl_jax.measures.subjects import Seen

TITLES = {  # and which direction is better
    "gap": ("gap", LOWER),
    "moved": ("what R_ba moves", None),
    "by_moved": ("gap by what R_ba moves", LOWER),
    "direct": ("change that R_ba explains", HIGHER),
    "composed": ("change that R_b R_a explains", HIGHER),
}


def parts(seen: Seen) -> Measured:
    """The numbers of the module's docstring, over compositions."""
    z, single, double, _ = seen.shared(augmented.augmented)
    order = np.random.default_rng(0).permutation(len(z))
    fit, test = order[: (len(z) + 1) // 2], order[(len(z) + 1) // 2 :]
    rotations = [wahba(z[fit], after[fit]).rotation for after in single]
    numbers: dict[str, list[float]] = {name: [] for name in TITLES}
    norm = np.linalg.norm
    for p, after in enumerate(double):
        r_ba = wahba(z[fit], after[fit]).rotation
        start, end = z[test], after[test]
        direct, composed = start @ r_ba.T, start @ (rotations[p + 1] @ rotations[p]).T
        change, turned = norm(end - start), norm(direct - start)
        numbers["gap"].append(float(norm(direct - composed) / change))
        numbers["moved"].append(float(turned / change))
        numbers["by_moved"].append(float(norm(direct - composed) / turned))
        numbers["direct"].append(float(1 - (norm(direct - end) / change) ** 2))
        numbers["composed"].append(float(1 - (norm(composed - end) / change) ** 2))
    return Measured({f"parts_{name}": over_draws(values) for name, values in numbers.items()})


CARD = Card(
    name="parts",
    measure=parts,
    outputs=tuple(
        Output(f"parts_{name}", title, better, ".3f") for name, (title, better) in TITLES.items()
    ),
    settings=augmented.SETTINGS,
    rank=999,
    source="ours; see the module",
)


def main(folders: list[str]) -> None:
    for folder in folders:
        run = stored_setup(Path(folder))
        results = measure(
            {"run": folder}, run.dataset, recipe=run.recipe, preset="full",
            own=["composition:CARD"], only=["parts"],
        )  # fmt: skip
        for encoder, numbers in results["run"]["encoders"].items():
            values = {name: round(numbers[f"parts_{name}"]["value"], 4) for name in TITLES}
            print(folder, encoder, values, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
