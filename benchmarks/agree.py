"""Do the package and an independent implementation in PyTorch end at the same place?

    python benchmarks/agree.py --data=cifar10.npz --lockstep=50
    python benchmarks/agree.py --data=cifar10.npz --work=agree --train jax torch
    python benchmarks/agree.py --data=cifar10.npz --work=agree --measure
    python benchmarks/agree.py --work=agree --summary

SimCLR and CARE, both trained by the package and by `benchmarks/reference` (plain PyTorch, which
imports nothing of the package) with the same recipe on the same images. They share no random
number: each draws initial weights, order of images and augmentations for itself, from the same
laws. The weights of all trainings, PyTorch's renamed, are then measured by the same code of the
package, under the same augmentations of the same test images.

--lockstep is the sharper question: both start from the same weights and are given the same draws;
how far are their losses and weights apart after as many steps?

A training that has left its weights in the folder is not done again, nor is a measurement: all
parts can be stopped and called again. One line of JSON for each training in runs.jsonl.
"""

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from commit import described
from scipy import stats

METHODS = ("simclr", "care")
METRICS = {
    "knn": "kNN", "probe_top1": "linear probe", "gamma": "γ", "wahba_per_root_n": "W_f/√n",
    "rotation_residual": "unexplained share", "gram_error": "Gram error",
    "invariance_error": "invariance error", "effective_rank": "effective rank",
}  # fmt: skip
CARDS = ("knn", "linear_probe", "gamma", "wahba", "gram", "invariance", "effective_rank")
BATCH, GROUPS, RATE, DECAY, TEMPERATURE, WEIGHT = 128, 16, 2e-3, 1e-6, 0.5, 0.1
PROJECTOR, SIZE = (256, 64), 16  # pixels of a view


def setup(arguments: argparse.Namespace, method: str = "care") -> Any:
    """The package's run: conv_tiny, views as in the CARE paper, at half their size, Adam, λ 0.1."""
    from eqssl_jax import presets
    from eqssl_jax.training.setup import setup

    config = presets.contrastive("arrays")
    config = presets.with_care(config) if method == "care" else config
    config.data.directory, config.data.size = arguments.data, 0
    config.recipe.options.size = SIZE
    config.model.encoder, config.model.projector = "conv_tiny", PROJECTOR
    config.objectives.info_nce.temperature = TEMPERATURE
    config.objectives.equivariance.weight = WEIGHT
    config.objectives.equivariance.splits = GROUPS
    config.train.batch_size, config.train.steps = BATCH, steps(arguments)
    config.optimizer.learning_rate, config.optimizer.weight_decay = RATE, DECAY
    config.optimizer.schedule = "cosine"
    return setup(config.lock())


def recipe(run: Any, arguments: argparse.Namespace, method: str = "care") -> Any:
    """The same for the reference, which normalises by the same statistics."""
    from reference.train import Recipe

    return Recipe(
        batch=BATCH, steps=steps(arguments), rate=RATE, decay=DECAY, temperature=TEMPERATURE,
        weight=WEIGHT if method == "care" else 0.0, groups=GROUPS, projector=PROJECTOR, size=SIZE,
        mean=run.dataset.mean, std=run.dataset.std,
    )  # fmt: skip


def lockstep(arguments: argparse.Namespace, count: int) -> Iterator[dict[str, Any]]:
    """CARE by both, from equal weights and draws; after each step the largest differences.

    "views": of any pixel; "losses": (name: ours, theirs); "gradients" (Adam's first moments) and
    "weights": of any array, its largest difference as a share of its root mean square.
    """
    import jax
    import optax
    import torch
    from flax.traverse_util import flatten_dict
    from reference import augment, train
    from reference.models import Network, flax_layout

    from eqssl_jax.data import batch_indices
    from eqssl_jax.training.forward import draw_views
    from eqssl_jax.training.step import make_step

    run, root = setup(arguments), jax.random.key(3)
    same, state = recipe(run, arguments), run.init()
    theirs = Network(same.mean, same.std, projector=PROJECTOR).train()
    theirs.from_flax(_named(_tree(state)))
    adam = train.optimizer(theirs, same)
    step = jax.jit(make_step(run.network, run.method, run.optimizer, run.split.read, root))
    draw = jax.jit(lambda key, x: draw_views(run.method, key, x))
    for done in range(count):
        chosen = batch_indices(0, done, arguments.images, BATCH)
        images = run.split.read(run.split.pool, chosen)
        pixels = torch.tensor(np.asarray(images)).movedim(-1, 1)
        drawn, examples = draw(jax.random.fold_in(root, done), images)
        views, apart = [], []
        for name, v in itertools.product(("contrast", "equivariance"), range(2)):
            parts = flatten_dict(jax.tree.map(lambda x, v=v: np.array(x[v]), drawn[name].params))
            params = {path[-1]: torch.tensor(x) for path, x in parts.items()}
            views.append(augment.apply(params, pixels, SIZE))
            gap = views[-1].movedim(1, -1).numpy() - np.asarray(examples[name][v])
            apart.append(float(np.abs(gap).max()))
        state, metrics = step(state, run.split.pool, chosen)
        losses = train.update(theirs, adam, views, same, done)
        moments = optax.tree_utils.tree_get(state.opt_state, "mu")["network"]
        averages = {name: adam.state[x]["exp_avg"] for name, x in theirs.named_weights().items()}
        yield {
            "step": done + 1, "views": max(apart),
            "losses": {name: (float(metrics[name]), value) for name, value in losses.items()},
            "gradients": _apart(_named({"params": moments}), flax_layout(averages)),
            "weights": _apart(_named(_tree(state)), theirs.to_flax()),
        }  # fmt: skip


def _apart(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference of each array, as a share of its root mean square."""
    return {
        name: float(np.abs(theirs[name] - x).max() / max(np.sqrt(np.mean(x**2)), 1e-12))
        for name, x in ours.items()
    }


def _tree(state: Any) -> dict[str, Any]:
    """Weights and running averages of the network of a state."""
    return {"params": state.params["network"], "batch_stats": state.batch_stats}


def _named(tree: Any) -> dict[str, np.ndarray]:
    """Arrays by the path to them."""
    from flax.traverse_util import flatten_dict

    return {name: np.array(leaf) for name, leaf in flatten_dict(tree, sep="/").items()}


def steps(arguments: argparse.Namespace) -> int:
    return arguments.epochs * (arguments.images // BATCH)


def train_jax(arguments: argparse.Namespace, method: str, seed: int) -> tuple[dict, list[dict]]:
    """Weights by name, and the metrics of every 20th step, of one training by the package."""
    import jax

    from eqssl_jax.data import batch_indices
    from eqssl_jax.training.state import init_state
    from eqssl_jax.training.step import compile_step, make_step

    run = setup(arguments, method)
    state = init_state(
        jax.random.key(seed), run.network, run.method, run.optimizer, run.dataset.image_shape, BATCH
    )
    root = jax.random.fold_in(jax.random.key(seed), 1)
    step = compile_step(
        make_step(run.network, run.method, run.optimizer, run.split.read, root), run.mesh
    )
    history = []
    for done in range(steps(arguments)):
        chosen = batch_indices(seed, done, arguments.images, BATCH)
        state, metrics = step(state, run.split.pool, chosen)
        if done % 20 == 19:
            history.append({"step": done + 1, **{k: float(v) for k, v in metrics.items()}})
            print(done + 1, history[-1]["loss"], round(time.process_time(), 1), flush=True)
    return _named(_tree(state)), history


def train_torch(arguments: argparse.Namespace, method: str, seed: int) -> tuple[dict, list[dict]]:
    """The same by the reference, on the same images normalised by the same statistics."""
    from reference.train import train

    run = setup(arguments)
    images = np.asarray(run.split.pool[: arguments.images])
    network, history = train(images, recipe(run, arguments, method), seed)
    return network.to_flax(), history


def train_all(arguments: argparse.Namespace) -> None:
    """All trainings that are not in the folder yet: method by method, seed by seed."""
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)
    train = {"jax": train_jax, "torch": train_torch}
    cells = itertools.product(arguments.methods, arguments.seeds, arguments.train)
    for method, seed, implementation in cells:
        path = work / f"{implementation}_{method}_{seed}.npz"
        if not path.exists():
            wall, cpu = time.perf_counter(), time.process_time()
            weights, history = train[implementation](arguments, method, seed)
            spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            facts = {**spent, **where(implementation), "steps": steps(arguments)}
            path.with_suffix(".json").write_text(json.dumps({**facts, "history": history}))
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, **weights)
            os.replace(partial, path)
            print(path.name, {k: round(v, 4) for k, v in history[-1].items()}, spent, flush=True)


def where(implementation: str) -> dict[str, str]:
    """Commit and versions, without which a number means nothing."""
    names = ("jax", "flax") if implementation == "jax" else ("torch",)
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return {"commit": described(), "versions": versions}


def measure_all(arguments: argparse.Namespace) -> None:
    """One line for each training whose weights are there and whose measures are not."""
    work = Path(arguments.work)
    path = work / "runs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    there = {json.loads(line)["name"] for line in lines}
    files = sorted(file for file in work.glob("*_*_*.npz") if ".partial" not in file.name)
    run = setup(arguments) if any(file.stem not in there for file in files) else None
    for file in files:
        if file.stem in there:
            continue
        implementation, method, seed = file.stem.split("_")
        facts = json.loads(file.with_suffix(".json").read_text())
        last = facts.pop("history")[-5:]
        line = {
            "name": file.stem, "implementation": implementation, "method": method,
            "seed": int(seed), "epochs": arguments.epochs, "images": arguments.images,
            **measure(run, np.load(file), arguments),
            "loss": float(np.mean([entry["loss"] for entry in last])), **facts,
        }  # fmt: skip
        with path.open("a") as out:
            out.write(json.dumps(line) + "\n")
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}, flush=True)


def measure(run: Any, weights: Any, arguments: argparse.Namespace) -> dict[str, float]:
    """All measures of one encoder, by the package, whoever trained it."""
    import jax
    from flax.traverse_util import unflatten_dict
    from jax.tree_util import Partial

    from eqssl_jax import measures

    tree = unflatten_dict({name: weights[name] for name in weights}, sep="/")
    cards = [card for card in measures.cards() if card.name in CARDS]
    budget = measures.settings(
        "quick", cards=cards, batch=256, train_images=arguments.images, validation_images=2048,
        test_images=10_000, probe_steps=600, augmentations=20, pairs=0, rotation_images=2048,
        pair_images=1024, seeds=(0,),
    )  # fmt: skip
    encode = Partial(run.network.encode, tree["params"], tree["batch_stats"])
    key = jax.random.key(2)
    measured, _ = measures.evaluate(
        {"trained": encode}, run.dataset, run.recipe, key, settings=budget, cards=cards
    )
    return {name: measured["encoders"]["trained"][name]["value"] for name in METRICS}


def summary(arguments: argparse.Namespace) -> str:
    """Markdown: each metric of both implementations, and what is between them, with intervals."""
    text = (Path(arguments.work) / "runs.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    rows = [
        "| method | metric | package (JAX) | reference (PyTorch) | difference | within |",
        "|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        for metric, title in {**METRICS, "loss": "loss of the last 100 steps"}.items():
            ours, theirs = (
                [x[metric] for x in lines if (x["implementation"], x["method"]) == (name, method)]
                for name in ("jax", "torch")
            )
            if min(len(ours), len(theirs)) < 2:
                continue
            gap, half = difference(ours, theirs)
            rows.append(
                f"| {method} | {title} | {interval(ours)} | {interval(theirs)} | "
                f"{gap:+.4f} ± {half:.4f} | {'yes' if abs(gap) <= half else 'no'} |"
            )
    return "\n".join(rows)


def interval(values: list[float]) -> str:
    """Mean ± half of its 95 % interval (Student)."""
    from eqssl_jax.studies import significance

    mean, half = significance.interval(values)
    return f"{mean:.4f} ± {half:.4f} ({len(values)})"


def difference(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """Difference of two means, and half of its 95 % interval (Welch: variances may differ)."""
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return (interval.low + interval.high) / 2, (interval.high - interval.low) / 2


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="cifar10.npz")
    parser.add_argument("--work", default="agree")
    parser.add_argument("--train", nargs="+", choices=("jax", "torch"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--lockstep", type=int, default=0, help="steps")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--images", type=int, default=10_240)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    if given.lockstep:
        for line in lockstep(given, given.lockstep):
            for part in ("gradients", "weights"):  # the worst array of each
                line[part] = max((value, name) for name, value in line[part].items())
            print(json.dumps(line), flush=True)
    if given.train:
        train_all(given)
    if given.measure:
        measure_all(given)
    if given.summary:
        print(summary(given))
