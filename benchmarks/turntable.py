"""Order along a real turntable, for every candidate that advice trained on Fruits-360.

    python -m eqssl_jax.advise --config=configs/advise.py:fruits360 \\
        --config.data.directory=DIR --workdir=runs/fruits
    python benchmarks/turntable.py --workdir=runs/fruits

Frames of one turn are real views at known angles. Test holds the last quarter of each arc, frames
no encoder was trained on; train all the others. Prints Markdown; run by hand.
"""

import argparse
from pathlib import Path

import numpy as np
from agreement import load_encoders

from eqssl_jax.measures import extract, pixel_encoder, sequence_orders


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def _shown(values: np.ndarray) -> str:
    """Mean and sample standard deviation over trainings, and how many these are."""
    if len(values) < 2:
        return f"{values.mean():.3f} (n = 1)"
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f} (n = {len(values)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="workdir of the advice")
    run, by_seed = load_encoders(parser.parse_args().workdir)
    splits = run.dataset.splits
    if "turntable" not in splits["test"].factors:
        raise SystemExit(f"{run.dataset.name} knows no turntable angles: use fruits360.")
    pixels = {"pixels": pixel_encoder(run.dataset.image_shape, dimension=run.dimension())}
    print("| encoder | split | features | embedding |\n|---|---|---|---|")
    for name in [*pixels, *next(iter(by_seed.values()))]:
        seeds = [{**pixels, **numbers}[name] for numbers in by_seed.values()]
        for split in ("test", "train"):
            rows = []
            for encode in seeds[:1] if name in pixels else seeds:
                extracted = extract(encode, splits[split], batch=256)
                factors = splits[split].factors
                order = [
                    sequence_orders(
                        unit(z), factors["turntable"], factors["sequence"].astype(int)
                    ).mean()
                    for z in (extracted.features, extracted.embeddings)
                ]
                rows.append(order)
            shown = [_shown(np.array(column)) for column in zip(*rows, strict=True)]
            print(f"| {name} | {split} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
