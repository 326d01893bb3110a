"""Evaluate the checkpoints of a run from its workdir alone: numbers, then figures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from eqssl_jax import measures, methods
from eqssl_jax.config import plain
from eqssl_jax.data.base import Split
from eqssl_jax.experiment import pictures
from eqssl_jax.experiment.embedded import embedding_map, walk
from eqssl_jax.experiment.stored import (
    halved,
    retrieved_pictures,
    run_folders,
    stored,
    stored_setup,
    write_arrays,
)
from eqssl_jax.experiment.subjects import ceiling, common, input_floor, merged, subject
from eqssl_jax.training import checkpoint, kept
from eqssl_jax.training.setup import Setup
from eqssl_jax.training.state import TrainState
from eqssl_jax.training.workdir import write_json
from eqssl_jax.transforms.base import Transform

Result = dict[str, Any]


def assess(
    workdir: Path,
    step: str = "latest",
    *,
    options: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    missing_only: bool = False,
    with_floors: bool = True,
    show: Callable[[Setup, "Assessment"], None] = lambda run, measured: None,
) -> list[Path]:
    """Evaluate one step, or all, of a run (or of every run of a comparison); the files written.

    Args:
      workdir: a run's folder, or one that holds several runs.
      step: "latest", "best" (on validation), "all", or a number.
      options: budgets of the evaluation that replace those of the config.
      overrides: settings that replace those of the run, see `stored_setup`.
      missing_only: pass over steps that are evaluated already.
      with_floors: measure the untrained encoder and the inputs beside the trained encoder.
      show: called with each evaluation when its numbers are written, before its figures are.

    Raises:
      FileNotFoundError: if there is no run or no such checkpoint.
      ValueError: for an unknown `step` or option.
      FiguresError: if figures cannot be drawn, when the numbers are written.
    """
    written = []
    for folder in run_folders(workdir):
        wanted = _wanted(folder, step)
        run = stored_setup(folder, overrides)
        if missing_only:
            wanted = [name for name in wanted if not (folder / "eval" / f"{name}.json").exists()]
        for name in wanted:
            state = listed(run, folder, name) if step == "all" else restored(run, folder, name)
            if state is None:
                continue
            measured = measure_state(
                run, folder, state, options=options or {}, with_floors=with_floors
            )
            show(run, measured)
            draw(run, folder, measured)
            written.append(measured.path)
    return written


def _wanted(workdir: Path, step: str) -> list[int | str]:
    """The steps to evaluate; "latest" and "best" are looked up when they are read."""
    steps = kept.kept_steps(workdir)
    if step == "all" and steps:
        return list(reversed(steps))  # training removes the oldest first
    manager = checkpoint.open_checkpoints(workdir, read_only=True)
    try:
        number = kept.find_step(manager, step)  # a mistake shows before the data are read
    finally:
        manager.close()
    return [number if step.isdigit() else step]


class Assessment(NamedTuple):
    """One evaluated step.

    Attributes:
      path: the file of its numbers.
      result: what it holds.
      arrays: what its figures need.
      walk: one image along one part (`embedded.walk`), and the map of the embeddings.
    """

    path: Path
    result: Result
    arrays: measures.Arrays
    walk: Mapping[str, np.ndarray] = {}


class FiguresError(ValueError):
    """The figures of a step could not be drawn; its numbers are written."""


def assess_step(
    run: Setup,
    workdir: Path,
    step: int,
    *,
    options: Mapping[str, Any],
    first: tuple[Setup, Assessment] | None = None,
) -> Assessment:
    """Evaluate the checkpoint of one step beside its floors: numbers, then figures.

    Floors that it has in common with the `first` run of a comparison are those measured there.

    Raises:
      FiguresError: if the figures cannot be drawn, when the numbers are written.
    """
    state = restored(run, workdir, step)
    measured = measure_state(run, workdir, state, options=options, first=first)
    draw(run, workdir, measured)
    return measured


def restored(run: Setup, workdir: Path, wanted: int | str) -> TrainState:
    """The state of a step: a number, "latest" or "best". See `kept.read`."""
    return kept.read(workdir, run.init(), wanted)


def listed(run: Setup, workdir: Path, step: int | str) -> TrainState | None:
    """The state of a step that nobody named, only a list of those kept; None, with a line that
    says so, if training has removed it since.
    """
    try:
        return restored(run, workdir, step)
    except (FileNotFoundError, kept.NotKeptError):
        print(f"Step {step} of {workdir} is passed over: training has removed it.", flush=True)
        return None


def measure_state(
    run: Setup,
    workdir: Path,
    state: TrainState,
    *,
    options: Mapping[str, Any],
    first: tuple[Setup, Assessment] | None = None,
    with_floors: bool = True,
) -> Assessment:
    """Measure one state beside its floors, and write eval/<step>.json."""
    step, untrained = int(state.step), run.init()
    encoders: dict[str, Any] = {"trained": subject(run, state)}
    layers = {}
    if with_floors:
        encoders |= {"random": run.encoder(untrained), **input_floor(run), **ceiling(run)}
        layers["random"] = run.layers(untrained)
    names = common(first[0], run, (first[0].init(), untrained)) if first else ()
    encoders = {name: encoder for name, encoder in encoders.items() if name not in names}
    result, arrays = evaluate(run, encoders, options, layers)
    if first:
        earlier = first[1].result, first[1].arrays
        result, arrays = merged((result, arrays), earlier, names)
    result = {"step": step, "dataset": run.dataset.name, **result}
    path = workdir / "eval" / f"{step}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, result)
    walked: Mapping[str, np.ndarray] = {}
    if result["settings"]["ladder_images"]:
        seen = {"trained": run.layers(state), **layers}
        walked = walk(run, seen, arrays.split, result["settings"]["batch"])
    mapped = embedding_map(run, run.encoder(state), arrays.split, result["settings"]["batch"])
    return Assessment(path, result, arrays, {**walked, **mapped})


def draw(run: Setup, workdir: Path, measured: Assessment) -> None:
    """Write the figures of an evaluation, and eval/<step>_arrays.npz (see `experiment.stored`).

    Raises:
      FiguresError: if they cannot be drawn.
    """
    folder, step, arrays = measured.path.parent, measured.result["step"], measured.arrays
    try:
        splits = run.dataset.splits
        arguments = (arrays, splits[arrays.split], splits["train"], run.recipe)
        shown = {} if run.dataset.show else retrieved_pictures(*arguments)
        write_arrays(folder / f"{step}_arrays.npz", stored(arrays) | shown | halved(measured.walk))
        batch = measured.result["settings"]["batch"]
        pictures.draw_all(run, workdir, folder, step, arrays, batch=batch)
    except Exception as error:  # of matplotlib, NumPy or the disk
        raise FiguresError(
            f"The figures of step {step} could not be drawn ({type(error).__name__}: {error}). Its "
            f"numbers are written: {measured.path}."
        ) from error


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
    settings = measures.budgets(budgets, preset, cards=cards)
    # CARE's own recipe, where it has one, is of what is measured; a probe sees the views of all,
    # or a recipe of its own.
    views = methods.build_recipe(config.recipe.name, config.recipe.options)
    if settings.care_recipe:
        size = {"size": run.dataset.image_shape[0]}
        views = methods.build_recipe(settings.care_recipe, size, "--option=care_recipe")
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
        probe_split=_whole_images(run, views),
    )


def _whole_images(run: Setup, views: Transform) -> Split | None:
    """The training images as they are stored, if `views` crops from them what encoders take."""
    stored = tuple(run.stored.image_shape)
    if stored == tuple(run.dataset.image_shape) or next(iter(views.identity), "") != "crop":
        return None
    return run.stored.splits.get("train")
