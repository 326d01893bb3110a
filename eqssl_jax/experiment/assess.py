"""Evaluate the checkpoints of a run from its workdir alone: numbers, then figures."""

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqssl_jax import measures, methods
from eqssl_jax.config import plain
from eqssl_jax.experiment import pictures
from eqssl_jax.experiment.stored import retrieved_pictures, stored, write_arrays
from eqssl_jax.objectives.base import Views
from eqssl_jax.training import checkpoint
from eqssl_jax.training.mesh import local
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.workdir import read_config, write_json

Result = dict[str, Any]


def assess(
    workdir: Path,
    step: str = "latest",
    *,
    options: Mapping[str, Any] | None = None,
    missing_only: bool = False,
) -> list[Path]:
    """Evaluate one step, or all, of a run (or of every run of a comparison); the files written.

    Args:
      workdir: a run's folder, or one that holds several runs.
      step: "latest", "best" (on validation), "all", or a number.
      options: budgets of the evaluation that replace those of the config.
      missing_only: pass over steps that are evaluated already.

    Raises:
      FileNotFoundError: if there is no run or no such checkpoint.
      ValueError: for an unknown `step` or option.
    """
    written = []
    for folder in run_folders(workdir):
        run, steps = stored_setup(folder), _steps(folder, step)
        if missing_only:
            steps = [one for one in steps if not (folder / "eval" / f"{one}.json").exists()]
        for one in steps:
            written.append(assess_step(run, folder, one, options=options or {})[0])
    return written


def stored_setup(workdir: Path) -> Setup:
    """The set-up of a run from its workdir, with the statistics that its network has."""
    return setup(read_config(workdir), training=False, workdir=workdir)


def assess_step(
    run: Setup, workdir: Path, step: int, *, options: Mapping[str, Any]
) -> tuple[Path, Result]:
    """Evaluate the checkpoint of one step beside its floors.

    Writes figures, eval/<step>_arrays.npz (see `experiment.stored`), and last eval/<step>.json.
    """
    like = run.init()
    manager = checkpoint.open_checkpoints(workdir, keep=run.config.train.keep, read_only=True)
    try:
        state = checkpoint.restore(manager, like, step)
    finally:
        manager.close()
    encoders: dict[str, Any] = {
        "trained": run.encoder(state),
        "random": run.encoder(like),
        **input_floor(run),
    }
    layers = {"random": run.layers(like)}
    encoders["trained"] = measures.Subject(run.layers(state), prediction_heads(run, state))
    result, arrays = evaluate(run, encoders, options, layers)
    folder = workdir / "eval"
    folder.mkdir(exist_ok=True)
    result = {"step": step, "dataset": run.dataset.name, **result}
    path = folder / f"{step}.json"
    pictures.draw_all(run, workdir, folder, step, arrays)
    splits = run.dataset.splits
    shown = retrieved_pictures(arrays, splits[arrays.split], splits["train"], run.recipe)
    write_arrays(folder / f"{step}_arrays.npz", stored(arrays) | shown)
    write_json(path, result)  # last: where it stands, the step is done
    return path, result


def prediction_heads(run: Setup, state: TrainState) -> dict[str, Any]:
    """The heads of a state that predict embeddings, by the name of their objective."""
    heads = {}
    for name, (_, objective) in run.method.objectives.items():
        if objective.predict is not None:
            weights = local(state.params["heads"][name])
            heads[name] = functools.partial(_predicted, objective.predict, weights)
    return heads


def _predicted(predict: Any, weights: Any, before: Any, after: Any, draws: Any) -> Any:
    """Embeddings after, predicted and before, [n, D], as one view of a batch of all images."""
    seen, original = (Views(jnp.asarray(rows)[None], jnp.asarray(rows)[None])
                      for rows in (after, before))  # fmt: skip
    seen = seen._replace(params=jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], draws))
    return tuple(np.asarray(rows)[0] for rows in jax.jit(predict)(weights, seen, original))


def input_floor(run: Setup) -> dict[str, measures.Encode]:
    """The inputs as features, by the name of this floor."""
    shape, dimension = run.dataset.image_shape, run.dimension()
    if run.dataset.clouds:
        return {"coordinates": measures.coordinate_encoder(shape[0], dimension=dimension)}
    return {"pixels": measures.pixel_encoder(shape, dimension=dimension)}


def evaluate(
    run: Setup,
    encoders: Mapping[str, Any],
    options: Mapping[str, Any],
    layers: Mapping[str, Any],
) -> tuple[Result, measures.Arrays]:
    """All metrics of several encoders on the data and recipe of one run."""
    config = run.config
    evaluation = plain(config)["evaluation"]
    budgets = {**evaluation["options"], **options}
    preset = budgets.pop("preset", evaluation["preset"])
    cards = measures.cards(evaluation["measures"])
    settings = measures.settings(preset, cards=cards, **budgets)
    # CARE's own recipe, where it has one, is of what is measured; a probe sees the views of all,
    # or a recipe of its own.
    views = methods.build_recipe(config.recipe.name, config.recipe.options)
    if settings.care_recipe:
        views = methods.build_recipe(settings.care_recipe, {"size": run.dataset.image_shape[0]})
    # A key of its own, the same for every run: all encoders meet the same augmentations.
    return measures.evaluate(
        encoders,
        run.dataset,
        run.recipe,
        jax.random.key(2),
        settings=settings,
        cards=cards,
        layers=layers,
        probe_transform=views,
    )


def watch(
    workdir: Path,
    *,
    options: Mapping[str, Any] | None = None,
    poll: float = 10.0,
) -> None:
    """Evaluate every checkpoint as it appears, until the last step of training is evaluated.

    Steps that training removes before their turn are passed over. If training was stopped for
    good, end this with Ctrl-C.

    Raises:
      FileNotFoundError: if `workdir` is not the folder of a run.
    """
    runs = {folder: stored_setup(folder) for folder in run_folders(workdir)}
    while runs:
        for folder, run in list(runs.items()):
            found = _steps(folder, "all", missing_ok=True)
            waiting = [s for s in found if not (folder / "eval" / f"{s}.json").exists()]
            if waiting:
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    path, _ = assess_step(run, folder, waiting[0], options=options or {})
                    print(f"Evaluated step {waiting[0]}: {path}", flush=True)
            elif run.steps in found:
                del runs[folder]
            else:
                time.sleep(poll)


def run_folders(workdir: Path) -> list[Path]:
    """The folder itself if it is a run, else the runs inside it.

    Raises:
      FileNotFoundError: if there are none.
    """
    if (workdir / "config.json").exists():
        return [workdir]
    inside = sorted(path.parent for path in workdir.glob("*/config.json"))
    if not inside:
        raise FileNotFoundError(
            f"{workdir} is not the folder of a run, nor does it hold any: no config.json there or "
            f"one level below. Give the --workdir that training was started with."
        )
    return inside


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """["augmentations=5"] as {"augmentations": 5}; values are JSON, or text.

    Raises:
      ValueError: for an entry without "=".
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"--option takes NAME=VALUE, found {pair!r}.")
        try:
            found[name] = json.loads(text)
        except json.JSONDecodeError:
            found[name] = text
    return found


def _steps(workdir: Path, wanted: str, *, missing_ok: bool = False) -> list[int]:
    manager = checkpoint.open_checkpoints(workdir, read_only=True)
    try:
        steps = sorted(manager.all_steps())
        if wanted == "all" and (steps or missing_ok):
            return steps
        return [checkpoint.find_step(manager, wanted)]
    finally:
        manager.close()
