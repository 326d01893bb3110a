"""Which group do augmentations act by? The measures of `measures.forms` on finished runs.

    python -m eqssl_jax.main --config=configs/groups_small.py --workdir=runs/groups_small
    python benchmarks/groups.py --workdir=runs/groups_small

Every run, and the untrained encoder, is measured in its own geometry under every form that belongs
there: means over the same random augmentations of the same test images. Prints Markdown; run by
hand.
"""

import argparse
import operator
from pathlib import Path

import jax
import numpy as np

from eqssl_jax import measures, objectives
from eqssl_jax.experiment.stored import run_folders
from eqssl_jax.training import checkpoint
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import read_config


def embeddings(run: Setup, folder: Path, draws: int, images: int) -> dict[str, np.ndarray]:
    """Points [1 + A, n, d] of the trained and the untrained encoder; first without augmentation."""
    like = run.init()
    manager = checkpoint.open_checkpoints(folder, read_only=True)
    steps = sorted(manager.all_steps())
    if not steps:
        print(f"{folder.name} has no checkpoint yet and is left out.")
        return {}
    state = checkpoint.restore(manager, like, steps[-1])
    manager.close()
    drawn = jax.vmap(run.recipe.sample)(jax.random.split(jax.random.key(2), draws))
    views = [(), *((jax.tree.map(operator.itemgetter(a), drawn),) for a in range(draws))]
    encoders = {"trained": run.encoder(state), "untrained": run.encoder(like)}
    embedded = measures.extract_views(
        encoders, run.dataset.splits["test"], run.recipe, views, batch=256, limit=images
    )
    place = objectives.GEOMETRIES[run.config.model.geometry].place
    return {name: np.asarray(place(z)) for name, z in embedded.items()}


def report(rows: dict[str, np.ndarray], geometry: str) -> None:
    """A table for every form of the geometry."""
    for name in objectives.GEOMETRIES[geometry].forms:
        form = objectives.FORMS[name](next(iter(rows.values())).shape[-1])
        print(f"\n**{geometry}, {name} form: {objectives.stabiliser(form)}**\n")
        print("| run | " + " | ".join(measures.FormChange._fields) + " | effective rank | moved |")
        print("|---" * (len(measures.FormChange._fields) + 3) + "|")
        for run, z in rows.items():
            changes = np.array([measures.form_change(z[0], after, form) for after in z[1:]])
            cells = [_spread(column) for column in changes.T]
            rank = measures.effective_rank(z[0] - z[0].mean(axis=0))
            moved = np.mean([measures.invariance_error(z[0], after) for after in z[1:]])
            print(f"| {run} | " + " | ".join(cells) + f" | {rank:.1f} | {moved:.3f} |")


def _spread(values: np.ndarray) -> str:
    """Mean ± sd over augmentations, with the number of those that have none."""
    defined = values[np.isfinite(values)]
    if len(defined) < 2:
        return f"{len(defined)} of {len(values)} have one"
    missing = f" ({len(defined)} of {len(values)})" if len(defined) < len(values) else ""
    return f"{defined.mean():.3f} ± {defined.std(ddof=1):.3f}{missing}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="of configs/groups_small.py")
    parser.add_argument("--draws", type=int, default=10, help="random augmentations")
    parser.add_argument("--images", type=int, default=512, help="test images")
    args = parser.parse_args()
    tables: dict[str, dict[str, np.ndarray]] = {}
    for folder in run_folders(args.workdir):
        run = setup(read_config(folder), training=False)
        embedded = embeddings(run, folder, args.draws, args.images)
        if embedded:
            rows = tables.setdefault(run.config.model.geometry, {})
            rows |= {folder.name: embedded["trained"], "untrained": embedded["untrained"]}
    for geometry, rows in tables.items():
        report(rows, geometry)


if __name__ == "__main__":
    main()
