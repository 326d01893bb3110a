"""What a config will do, before it does it: `--dry_run`."""

from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eqssl_jax.data.description import describe
from eqssl_jax.method import Role, build_recipe, resolve
from eqssl_jax.training.setup import Setup, build_network
from eqssl_jax.training.step import compile_step, make_step

MIB = 2**20


def plan(run: Setup) -> dict[str, str]:
    """Every fact of the plan by name, as text. Compiles nothing; for that see `costs`."""
    state = jax.eval_shape(run.init)
    batch, config = run.config.train.batch_size, run.config
    sets = {
        name: f"{spec.pattern.views} views of {spec.images or batch} images"
        + (", also for the target network" if name in run.method.target_views else "")
        for name, spec in run.method.views.items()
    }
    views = sum(_encoded(run, name) * (s.images or batch) for name, s in run.method.views.items())
    roles = resolve(config, build_recipe(config.recipe.name, config.recipe.options))
    counts = {
        f"parameters of the {part}": f"{size(tree):,}"
        for part, tree in state.params["network"].items()
    }
    return {
        **describe(run.dataset._replace(image_shape=run.stored_shape), run.dataset.image_shape),
        "images": " × ".join(map(str, run.dataset.image_shape))
        + (", on the device" if run.split.load is None else ", streamed from the host"),
        **{f"role of {part}": _role(part, line, run) for part, line in roles.items()},
        **{f"view set {name}": text for name, text in sets.items()},
        **{
            f"objective {name}": f"weight {weight:g} on {' and '.join(objective.names())}"
            for name, (weight, objective) in run.method.objectives.items()
        },
        "encoder": f"{config.model.encoder}, {config.model.stem} stem, "
        f"{config.model.compute_dtype}",
        **counts,
        "optimizer": f"{config.optimizer.name}, rate {config.optimizer.learning_rate:g} "
        f"({config.optimizer.schedule}), weight decay {config.optimizer.weight_decay:g}",
        "steps": f"{run.steps:,} of {batch} images, {run.steps_per_epoch:,} an epoch",
        "forwards per step": f"{views:,} images",
        "devices": f"{run.mesh.size} × {run.mesh.devices.flat[0].device_kind}; "
        f"each holds the whole state and a part of the batch",
        **_groups(run),
        "checkpoints": f"every {run.save_every:,} steps"
        + (f"; kNN every {run.knn_every:,}" if run.dataset.classes else ""),
    }


def _groups(run: Setup) -> dict[str, str]:
    """Whether the groups of CARE lie whole on devices: if not, their embeddings are exchanged."""
    if "equivariance" not in run.method.objectives:
        return {}
    config, devices = run.config, run.mesh.size
    groups = config.objectives.equivariance.splits
    compared = run.method.views[run.method.objectives["equivariance"][1].names()[0]]
    images = compared.images or config.train.batch_size
    text = f"{groups} of {images // groups} images"
    if groups % devices == 0 and images == config.train.batch_size:
        return {"groups of CARE": f"{text}, {groups // devices} whole on each device"}
    return {
        "groups of CARE": f"{text}; not whole on {devices} devices, which exchange their embeddings"
    }


def costs(run: Setup) -> dict[str, str]:
    """What a step takes, by name, as text. Compiles the step, runs none.

    FLOPs are those the compiler counts in one training step; memory is that of the compiled step
    on this backend, for each device.
    """
    cost, memory = _compiled(run, jax.eval_shape(run.init))
    return {
        "FLOPs per step": f"{cost:.3g}" if cost else "not counted by this backend",
        "FLOPs in all": f"{cost * run.steps:.3g}" if cost else "not counted by this backend",
        "device memory": memory,
    }


def _role(part: str, line: Role, run: Setup) -> str:
    """What a part of the recipe is for, in one line."""
    shared = {"independent": "independent in", "shared": "shared by", "rest": "not in"}
    names = {
        "rotational": "equivariance",
        "ordered": f"order_{part}",
        "predicted": f"prediction_{part}",
    }
    text = f"{line.role}: {shared[line.sharing]} the contrast views"
    name = names.get(line.role)
    if name is None:
        return text
    weighted = run.method.objectives.get(name)
    return f"{text}; " + (f"{name} × {weighted[0]:g}" if weighted else f"{name} has weight 0")


def _encoded(run: Setup, name: str) -> int:
    """How many views of a set are encoded, by the online and the target network together."""
    spec = run.method.views[name]
    every = tuple(range(spec.pattern.views))
    target = (spec.target or every) if name in run.method.target_views else ()
    return len(spec.online or every) + len(target)


def show(facts: dict[str, str], title: str) -> None:
    """Print the plan as a table."""
    table = Table(title=title, show_header=False)
    for name, text in facts.items():
        table.add_row(name, Text(text))  # no markup: class names and paths are the user's
    Console().print(table)


def size(tree: object) -> int:
    """Number of elements in all leaves."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _step(run: Setup, root: jax.Array) -> Any:
    step = make_step(run.network, run.method, run.optimizer, run.split.read, root)
    return compile_step(step, run.mesh)


def step_flops(run: Setup, state: object) -> float | None:
    """FLOPs of one training step over all devices, or None if unknown; lowers, does not compile.

    Counted with XLA's convolutions: the compiler counts the body of a loop once, and on CPU ours
    loop over images. Loops left over small filters (jitter, blur) make the count a lower bound.
    """
    network = build_network(run.config, run.dataset.mean, run.dataset.std, conv="xla")
    counted = run._replace(network=network)
    lowered = _step(counted, jax.random.key(run.config.seed)).lower(
        state, run.split.pool, run.inputs_shape()
    )
    return (lowered.cost_analysis() or {}).get("flops")


def _compiled(run: Setup, state: object) -> tuple[float | None, str]:
    """FLOPs of one step over all devices (None if unknown) and a line about memory of each."""
    cost = step_flops(run, state)
    root = jax.random.key(run.config.seed)
    compiled = _step(run, root).lower(state, run.split.pool, run.inputs_shape()).compile()
    used = compiled.memory_analysis()
    if used is None:
        return cost, "not counted by this backend"
    held, work = used.argument_size_in_bytes, used.temp_size_in_bytes
    return cost, f"{held / MIB:,.0f} MiB state and data, {work / MIB:,.0f} MiB working"
