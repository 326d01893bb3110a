"""Two-view CARE against four-view CARE, at equal images and at equal compute.

    python benchmarks/two_views.py --data=cifar10.npz --out=two_views.jsonl

`four` is the paper's form: two contrast views, and two more for the Gram match. `two` has the
groups of images share the draws of the contrast views themselves, which then serve both. A step of
`two` encodes half as many views: after S steps it has seen as many images as `four` after S, after
2S steps it has encoded as many views. The rate is constant, so one training to 2S gives both.
SimCLR (λ = 0, independent draws) stands beside them. λ, the seed and the initial weights are
arguments of one compiled step for each form and number of groups.

One line of JSON for each evaluated encoder; lines that are there are not computed again.
`--summary` prints means with 95 % intervals over seeds (Student's t), and paired differences.
"""

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eqssl_jax import measures, presets
from eqssl_jax.data import batch_indices
from eqssl_jax.studies.significance import interval
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.step import make_step

METRICS = ("knn", "probe_top1", "gram_error", "gamma", "rotation_residual", "invariance_error")


def config(form: str, groups: int, arguments: argparse.Namespace) -> Any:
    built = presets.with_care(presets.contrastive("arrays"))
    built.data.directory, built.data.size = arguments.data, 0
    built.model.encoder, built.model.projector = arguments.encoder, (256, 64)
    built.train.batch_size, built.train.steps = 128, 2 * arguments.steps
    built.optimizer.learning_rate = 1e-3
    built.objectives.equivariance.splits = groups
    built.objectives.equivariance.weight = 1.0  # times λ, an argument of the step
    if form == "two":
        built.objectives.equivariance.views = "contrast"
    elif form == "simclr":
        built.objectives.equivariance.weight = 0.0
    return built.lock()


def trainer(run: Setup) -> Any:
    """One compiled step whose λ and random key are arguments."""

    def step(state: Any, pool: Any, inputs: Any, root: Any, weight: Any) -> Any:
        weighted = {
            name: (weight if name == "equivariance" else weight_of_method, objective)
            for name, (weight_of_method, objective) in run.method.objectives.items()
        }
        method = run.method._replace(objectives=weighted)
        return make_step(run.network, method, run.optimizer, run.split.read, root)(
            state, pool, inputs
        )

    return jax.jit(step, donate_argnums=0)


def train(run: Setup, step: Any, seed: int, weight: float, marks: list[int], images: int) -> Any:
    """Yields (steps done, encoder, loss metrics) at each mark."""
    from eqssl_jax.training.state import init_state

    state = init_state(
        jax.random.key(seed), run.network, run.method, run.optimizer, run.dataset.image_shape, 128
    )
    root = jax.random.fold_in(jax.random.key(seed), 1)
    metrics: Any = {}
    for done in range(marks[-1]):
        chosen = batch_indices(seed, done, images, 128)
        state, metrics = step(state, run.split.pool, chosen, root, np.float32(weight))
        if done + 1 in marks:
            yield done + 1, run.encoder(state), {k: float(v) for k, v in metrics.items()}


def measure(run: Setup, encode: Any, arguments: argparse.Namespace) -> dict[str, float]:
    settings = measures.settings(
        "quick",
        train_images=arguments.images, validation_images=1024, test_images=4096,
        probe_steps=300, augmentations=10, pairs=1, rotation_images=768, pair_images=384,
        queries=0, ladder_images=0, seeds=(0,),
    )  # fmt: skip
    result, _ = measures.evaluate(
        {"trained": encode}, run.dataset, run.recipe, jax.random.key(2), settings=settings
    )
    return {name: result["encoders"]["trained"][name]["value"] for name in METRICS}


def sweep(arguments: argparse.Namespace) -> None:
    path = Path(arguments.out)
    lines = path.read_text().splitlines() if path.exists() else []
    finished = {_name(json.loads(line)) for line in lines}
    programs: dict[tuple[str, int], tuple[Setup, Any]] = {}
    steps = arguments.steps
    grid = list(itertools.product(arguments.groups, arguments.weights))
    for seed in arguments.seeds:
        cells = [("simclr", 1, 0.0), *((f, *cell) for cell in grid for f in ("four", "two"))]
        for form, groups, weight in cells:
            marks = [steps] if form == "four" else [steps, 2 * steps]
            line = dict(form=form, groups=groups, weight=weight, seed=seed)
            if all(_name({**line, "steps": mark}) in finished for mark in marks):
                continue
            if (form, groups) not in programs:
                run = setup(config(form, groups, arguments))
                programs[form, groups] = run, trainer(run)
            run, step = programs[form, groups]
            for mark, encode, last in train(run, step, seed, weight, marks, arguments.images):
                values = measure(run, encode, arguments)
                with path.open("a") as file:
                    file.write(json.dumps({**line, "steps": mark, **values, "last": last}) + "\n")
                print(line, mark, {k: round(v, 4) for k, v in values.items()}, flush=True)


def _name(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[key] for key in ("form", "groups", "weight", "seed", "steps"))


def summary(arguments: argparse.Namespace) -> None:
    """Markdown: each cell over seeds, then two views minus four views, paired by seed."""
    lines = [json.loads(line) for line in Path(arguments.out).read_text().splitlines()]
    half = min(line["steps"] for line in lines)
    by = {_name(line): line for line in lines}
    seeds = sorted({line["seed"] for line in lines})
    cells = sorted({(_name(x)[0], *_name(x)[1:3], _name(x)[4]) for x in lines}, key=str)
    print("| form | groups | λ | steps | " + " | ".join(METRICS) + " |")
    print("|" + "---|" * (4 + len(METRICS)))
    for form, groups, weight, steps in cells:
        seed_lines = [by[k] for s in seeds if (k := (form, groups, weight, s, steps)) in by]
        numbers = [_interval([x[m] for x in seed_lines]) for m in METRICS]
        print(f"| {form} | {groups} | {weight:g} | {steps} | " + " | ".join(numbers) + " |")
    print("\nTwo views minus four views, the same seed:\n")
    print("| compared at | groups | λ | seeds | " + " | ".join(METRICS) + " |")
    print("|" + "---|" * (4 + len(METRICS)))
    pairs = sorted({(g, w) for form, g, w, _ in cells if form == "two"})
    for title, steps in (("equal images", half), ("equal compute", 2 * half)):
        for groups, weight in pairs:
            gaps = [
                {m: a[m] - b[m] for m in METRICS}
                for s in seeds
                if (a := by.get(("two", groups, weight, s, steps)))
                and (b := by.get(("four", groups, weight, s, half)))
            ]
            numbers = [_interval([gap[m] for gap in gaps], sign=True) for m in METRICS]
            print(
                f"| {title} | {groups} | {weight:g} | {len(gaps)} | " + " | ".join(numbers) + " |"
            )


def _interval(values: list[float], *, sign: bool = False) -> str:
    (mean, half), plus = interval(values), "+" if sign else ""
    return f"{mean:{plus}.3f}" + (f" ± {half:.3f}" if math.isfinite(half) else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="cifar10.npz")
    parser.add_argument("--out", default="two_views.jsonl")
    parser.add_argument("--encoder", default="conv_tiny")
    parser.add_argument(
        "--images", type=int, default=10_240, help="the first of the training split"
    )
    parser.add_argument("--steps", type=int, default=300, help="S, of the four-view form")
    parser.add_argument("--groups", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--summary", action="store_true")
    given = parser.parse_args()
    summary(given) if given.summary else sweep(given)
