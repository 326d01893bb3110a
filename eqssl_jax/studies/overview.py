"""What there is to reproduce, and what it would take: nothing here trains."""

import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from eqssl_jax.studies import estimate, folders, scales
from eqssl_jax.studies.base import DataChoice, Study
from eqssl_jax.studies.folders import SMOKE, Choice
from eqssl_jax.studies.produce import done, place_of


def show_studies(studies: Mapping[str, Study]) -> None:
    """Print every study: what it shows, what of the paper it reproduces, and how many runs."""
    print("What can be reproduced: the names that --table takes\n")
    for study in studies.values():
        sizes = "; ".join(f"{scale}: {_size(study, scale)}" for scale in scales.SCALES)
        print(f"{study.name}  ({', '.join(study.reproduces) or 'beyond the paper'})")
        print(_filled(f"{study.title}. {sizes}.", indent="    "))
    print()
    print(
        _filled(
            "small and smoke: estimated minutes on two idle CPU cores, for training and one "
            "evaluation a run; --only makes one column of a table, or other runs than the first "
            "two of smoke. paper: --table=NAME --scale=paper --runs=DIR --plan counts FLOPs and "
            "hours."
        )
    )


def _filled(text: str, indent: str = "") -> str:
    """Text in lines that fit the terminal."""
    return textwrap.fill(
        text,
        min(shutil.get_terminal_size().columns, 100),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def show_plan(
    study: Study,
    scale: str,
    data: str,
    choice: Choice,
    directory: Path,
    *,
    seeds: int,
    settings: str = "",
) -> None:
    """Print, for each missing run, its command, FLOPs and hours by device; then the sums."""
    folders.check(directory)
    missing = [chosen for chosen in choice.wanted if not done(study, place_of(chosen, directory))]
    kept = len(choice.wanted) - len(missing)
    print(f"{study.name}, scale {scale}: {len(missing)} runs to make, {kept} finished.\n")
    total = dict[str, float | None]()
    flops = 0.0
    names = list(dict.fromkeys(chosen.name for chosen in missing))
    for number, name in enumerate(names, start=1):
        print(f"Counting FLOPs, {number} of {len(names)} ...", file=sys.stderr, flush=True)
        print(command(study, scale, data, name, directory, seeds=seeds, settings=settings))
        same = [chosen for chosen in missing if chosen.name == name]
        price = estimate.cost(same[0].config, directory / "flops.json")
        times = f"{len(same)} × " if len(same) > 1 else ""
        print(f"  {times}{price.steps:,} steps, {_flops(price.flops)}: {_hours(price.hours)}")
        flops += len(same) * (price.flops or 0.0)
        for device, value in price.hours.items():
            before = total.get(device, 0.0)
            # One part that is not known leaves the sum unknown.
            both = None not in (before, value)
            total[device] = (before or 0.0) + len(same) * (value or 0.0) if both else None
    if missing:
        print(f"\nIn all {_flops(flops)}: {_hours(total)}\n\n{estimate.assumptions()}")


def command(
    study: Study,
    scale: str,
    data: str,
    run: str,
    directory: Path,
    *,
    seeds: int = 1,
    settings: str = "",
) -> str:
    """The command line that makes one run of a study, with all of its seeds."""
    words = ["python", "-m", "eqssl_jax.tables", f"--table={study.name}", f"--scale={scale}"]
    words += [f"--runs={directory}", f"--only={run}"]
    words += [f"--data={data}"] if data else []
    words += [f"--seeds={seeds}"] if seeds > 1 else []
    words += [f"--settings={settings}"] if settings else []
    return shlex.join(words)


def _size(study: Study, scale: str) -> str:
    """Runs, and minutes on two cores where they are known without counting."""
    configs = list(study.runs(scale, DataChoice()).values())
    distinct = len({folders.digest(config) for config in configs})
    if scale == "smoke":
        distinct = min(distinct, SMOKE)
    text = f"{distinct} runs"
    if scale not in estimate.MINUTES:
        return text
    return f"{text}, {distinct * estimate.MINUTES[scale]:.0f} min"


def _flops(flops: float | None) -> str:
    return f"{flops:.2g} FLOPs" if flops else "FLOPs not counted by this backend"


def _hours(hours: Mapping[str, float | None]) -> str:
    return ", ".join(
        f"{device} not measured" if value is None else f"{device} {value:.2g} h"
        for device, value in hours.items()
    )
