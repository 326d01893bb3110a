"""From a config to a finished workdir: one run, or several that are compared."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from eqssl_jax import methods
from eqssl_jax.config import checked, plain
from eqssl_jax.data.base import describe, size_notice
from eqssl_jax.experiment.assess import assess_step
from eqssl_jax.experiment.compare import compare
from eqssl_jax.experiment.page import write_page
from eqssl_jax.experiment.stored import read_result
from eqssl_jax.training import processes
from eqssl_jax.training.loop import train
from eqssl_jax.training.notes import batch_note
from eqssl_jax.training.plan import costs, plan, show
from eqssl_jax.training.setup import Setup, setup
from eqssl_jax.training.workdir import write_json


def expand(config: ConfigDict) -> dict[str, ConfigDict]:
    """The runs of a config by name: its own settings with the overrides of each of config.runs.

    A config without `runs` is a single run with the name "".

    Raises:
      ValueError: if an override names a setting that does not exist, or of another type.
    """
    config = checked(config)
    if not config.runs:
        return {"": config}
    methods.resolved(config)  # refuses wrong entries, also those that every run replaces
    expanded = {}
    values = config.to_dict() | {"runs": {}}
    for name, overrides in config.to_dict()["runs"].items():
        try:
            # Of plain values: a ConfigDict would bring True to 1.0 before anything can refuse it.
            run_config = checked(ConfigDict(_merged(values, overrides)))
            expanded[name] = methods.resolved(run_config)
        except ValueError as error:
            raise ValueError(f"config.runs.{name} does not fit the config: {error}") from None
    return expanded


def _merged(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The values with overrides in place, group by group; another method has its own settings."""
    merged = dict(values)
    for name, value in overrides.items():
        group = merged.get(name)
        if isinstance(group, dict) and isinstance(value, dict) and "method" not in value:
            value = _merged(group, value)
        merged[name] = value
    return merged


def show_plans(config: ConfigDict, *, overridden: Collection[str] = ()) -> None:
    """Print what every run of the config would do; `overridden`: settings changed by flags."""
    for name, run_config in expand(config).items():
        built = setup(run_config)
        show(plan(built), f"Plan {name}".strip())
        _print_notice(built)
        _say_batch(built, overridden)
        print("Compiling one step, to count its FLOPs and memory ...", flush=True)
        show(costs(built), f"Costs {name}".strip())


def _say_batch(run: Setup, overridden: Collection[str]) -> None:
    if "train.batch_size" in overridden and processes.first():
        print(batch_note(run.config, run.method), flush=True)


def _show_data(runs: Mapping[str, Setup]) -> None:
    """Print what each run is trained on; runs on the same data share it."""
    shown: list[dict[str, str]] = []
    for name, built in runs.items():
        facts = describe(built.stored, built.dataset.shown_shape)
        if facts not in shown:
            shown.append(facts)
            show(facts, f"Data {name}".strip())
            _print_notice(built)


def _print_notice(built: Setup) -> None:
    if notice := size_notice(built.stored, built.dataset.shown_shape):
        print(notice, flush=True)


def run(config: ConfigDict, workdir: Path, *, overridden: Collection[str] = ()) -> None:
    """Train; with several runs, also evaluate each and compare them.

    A single run is trained only: `python -m eqssl_jax.eval` evaluates it, during training or after.
    Settings in `overridden` were changed by flags; where more follows from one, it is said.

    Raises:
      ValueError, OSError, FloatingPointError: as `training.setup.setup` and `training.loop.train`.
    """
    runs = expand(config)
    processes.check_equal({"config": plain(checked(config)), "code": processes.code_digest()})
    if list(runs) != [""] and jax.process_count() > 1:
        raise ValueError(
            f"This config compares several runs ({', '.join(runs)}), which one process does; here "
            f"are {jax.process_count()}. Start each run on its own, or use one process."
        )
    # All mistakes show before any work.
    built = processes.together(
        lambda: {
            name: setup(run_config, workdir=workdir / name) for name, run_config in runs.items()
        }
    )
    if processes.first():
        _show_data(built)
    _say_batch(next(iter(built.values())), overridden)
    print("Compiling the first step (half a minute and more on a CPU) ...", flush=True)
    if list(runs) == [""]:
        train(built[""], workdir)
        return
    if (workdir / "config.json").exists():
        raise ValueError(
            f"{workdir} holds a single run, and this config compares several: {sorted(runs)}. Use "
            f"another --workdir."
        )
    results: dict[str, Any] = {}
    first = None
    for name, run_setup in built.items():
        train(run_setup, workdir / name, name=f"{name}  ")
        path = workdir / name / "eval" / f"{run_setup.steps}.json"
        if not path.exists():
            print(f"{name}: evaluating (minutes) ...", flush=True)
            measured = assess_step(
                run_setup, workdir / name, run_setup.steps, options={}, first=first
            )
            first = first or (run_setup, measured)
        results[name] = read_result(path)
        print(f"{name}: evaluation in {path}", flush=True)
    write_json(workdir / "comparison.json", results)
    compare(results, {name: plain(run.config) for name, run in built.items()}, workdir)
    print(f"One page: {write_page([workdir], workdir / 'report.html')}", flush=True)
