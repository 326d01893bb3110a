"""What a config will do, before it does it: `--dry_run`."""

from typing import Any

import jax
from clu import parameter_overview
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eqssl_jax import views
from eqssl_jax.data.base import describe
from eqssl_jax.encoders import showing
from eqssl_jax.methods import Role, build_recipe, find, resolve
from eqssl_jax.training.checks import compared_groups
from eqssl_jax.training.model import build_network
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.step import compile_step, make_step

MIB = 2**20


def plan(run: Setup) -> dict[str, str]:
    """Every fact of the plan by name, as text. Compiles nothing; for that see `costs`."""
    state = jax.eval_shape(run.init)
    batch, config = run.config.train.batch_size, run.config
    sets = {name: _view_set(run, name) for name in run.method.views}
    encoded = sum(_encoded(run, name) * (s.images or batch) for name, s in run.method.views.items())
    roles = resolve(config, build_recipe(config.recipe.name, config.recipe.options))
    counts = {
        f"parameters of the {part}": f"{parameter_overview.count_parameters(tree):,}"
        for part, tree in state.params["network"].items()
    }
    return {
        **describe(run.stored, run.dataset.shown_shape),
        "input of the encoder": " × ".join(map(str, run.dataset.shown_shape))
        + (", on the device" if run.split.load is None else ", streamed from the host"),
        **_objects(run),
        **{f"role of {part}": _role(part, line, run) for part, line in roles.items()},
        **{f"view set {name}": text for name, text in sets.items()},
        **{
            f"objective {name}": f"weight {weight:g} on {' and '.join(objective.names())}"
            for name, (weight, objective) in run.method.objectives.items()
        },
        "encoder": f"{config.model.encoder}, {config.model.stem} stem, "
        f"{config.model.compute_dtype}"
        + (
            ", blocks computed again in the backward pass" if config.model.remat == "blocks" else ""
        ),
        **counts,
        "optimizer": f"{config.optimizer.name}, rate {config.optimizer.learning_rate:g} "
        f"({config.optimizer.schedule}), weight decay {config.optimizer.weight_decay:g}",
        "steps": f"{run.steps:,} of {batch} images, {run.steps_per_epoch:,} an epoch",
        "forwards per step": f"{encoded:,} images",
        "devices": f"{run.mesh.size} × {run.mesh.devices.flat[0].device_kind}; "
        f"each holds the whole state and a part of the batch",
        **_groups(run),
        "checkpoints": f"every {run.save_every:,} steps"
        + (f"; kNN every {run.knn_every:,}" if run.dataset.classes else ""),
        **{f"note {number}": note for number, note in enumerate(run.notes, start=1)},
    }


def _objects(run: Setup) -> dict[str, str]:
    """Where an example is an object with stored views."""
    if run.split.draw is None:
        return {}
    count = run.inputs_shape().shape[1] - run.method.labelled  # labels lie behind the views
    return {"objects": f"{run.split.size:,}, a step reads {count} stored views of each of its own"}


def _groups(run: Setup) -> dict[str, str]:
    """Whether groups that are compared lie whole on devices: if not, embeddings are exchanged."""
    facts = {}
    for name, groups, images in compared_groups(run.config, run.method):
        text = f"{groups} of {images // groups} images"
        if groups % run.mesh.size == 0 and images == run.config.train.batch_size:
            text += f", {groups // run.mesh.size} whole on each device"
        else:
            text += f"; not whole on {run.mesh.size} devices, which exchange their embeddings"
        facts[f"groups of {name}"] = text
    return facts


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


def _view_set(run: Setup, name: str) -> str:
    """How many views of how many images, and who shares a draw in them."""
    spec = run.method.views[name]
    images = spec.images or run.config.train.batch_size
    shared: dict[str, list[str]] = {}
    for part, words in views.describe(spec.pattern, spec.transform.identity, images).items():
        shared.setdefault(words, []).append(part)
    text = f"{spec.pattern.views} views of {images} images: "
    text += "; ".join(f"{', '.join(parts)} {words}" for words, parts in shared.items())
    return text + ("; also for the target network" if name in run.method.target_views else "")


def _role(part: str, line: Role, run: Setup) -> str:
    """What a part of the recipe is for, in one line."""
    texts = []
    for key, values in run.config.objectives.items():
        if find(values.method).role == line.role:
            weighted = run.method.objectives.get(key) or run.method.objectives.get(f"{key}_{part}")
            name = key if key in run.method.objectives else f"{key}_{part}"
            texts.append(f"{name} × {weighted[0]:g}" if weighted else f"{name} has weight 0")
    return "; ".join([line.role, *texts])


def _encoded(run: Setup, name: str) -> int:
    """How many views of a set are encoded, by the online and the target network together."""
    spec = run.method.views[name]
    all_views = tuple(range(spec.pattern.views))
    target = (spec.target or all_views) if name in run.method.target_views else ()
    return len(spec.online or all_views) + len(target)


def show(facts: dict[str, str], title: str) -> None:
    """Print the plan as a table."""
    table = Table(title=title, show_header=False)
    for name, text in facts.items():
        table.add_row(name, Text(text))  # no markup: class names and paths are the user's
    Console().print(table)


def _step(run: Setup, root: jax.Array) -> Any:
    step = make_step(run.network, run.method, run.optimizer, run.split.read, root)
    return compile_step(step, run.mesh)


def step_flops(run: Setup, state: object) -> float | None:
    """FLOPs of one training step over all devices, or None if unknown; lowers, does not compile.

    Counted with XLA's convolutions: the compiler counts the body of a loop once, and on CPU ours
    loop over images. Loops left over small filters (jitter, blur) make the count a lower bound.
    """
    network = build_network(run.config, run.dataset.mean, run.dataset.std, conv="xla")
    if run.dataset.show is not None:
        network = showing(network, run.dataset.show)
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
