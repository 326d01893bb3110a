"""Does advice hold? Its regret over several tasks, beside longer trainings with other seeds.

    python benchmarks/roles.py --out=runs/advice
    python benchmarks/roles.py --out=runs/advice --fruits=DIR --cells=DIR --only=fruits,cells

Advice on the rotation and the hue with small encoders, then larger ones under the same roles from
other seeds, judged on the test split, for every task of TASKS (those of Fruits-360 and of BCCD's
cells where their folders are given). Started again, it goes on; the table is of all tasks that are
finished in --out: README.md there, and printed. --toy is a few steps of each, to see that it runs;
--plan prints what each would train, and refuses what cannot be.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from agreement import agreement, regrets

from eqssl_jax.studies.significance import interval

PARTS = "('rotate','hue')"
TASKS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "hue": ("shapes", {"data.options.task": "hue", "data.options.outlines": 4}),
    "outline": ("shapes", {"data.options.outlines": 4}),
    "ten outlines": ("shapes", {"data.options.outlines": 10}),
    "angle": ("shapes", {"data.options.task": "angle", "data.options.outlines": 1}),
    "digits": ("digits", {}),
    "fruits": ("fruits360", {}),
    "cells": ("bloodcells", {"data.options.task": "kind"}),
}
LARGE = {
    "seed": 100, "train.steps": 1000, "model.encoder": "resnet_tiny", "model.stem": "imagenet",
    "advice.held_out": "test", "advice.held_out_images": 2048, "advice.train_images": 4096,
}  # fmt: skip
TOY = {
    "train.steps": 4, "train.save_every": 2, "train.batch_size": 16, "model.encoder": "conv_tiny",
    "model.stem": "imagenet", "advice.seeds": 2, "advice.train_images": 64,
    "advice.held_out_images": 32, "advice.ladder_images": 8, "objectives.order.images": 4,
}  # fmt: skip
DRAWN = {"data.options.train_size": 256, "data.options.test_size": 64}  # of data without files
# Nearly all of a toy is compiling: quickly rather than well.
QUICK = "--xla_backend_optimization_level=0"


def evidence(workdir: Path) -> list[dict]:
    """The last round's evidence of every seed."""
    folders = sorted(workdir.glob("seed_*"))
    if not folders:
        raise SystemExit(f"{workdir} holds no advice: no seed_* folder.")
    return [json.loads(sorted(f.glob("round_*/evidence.json"))[-1].read_text()) for f in folders]


def commands(task: str, out: Path, directory: str, toy: bool) -> dict[Path, list[str]]:
    """The command that makes each of the two workdirs of a task."""
    variant, of_task = TASKS[task]
    made = {}
    for size, more in (("small", {}), ("large", LARGE)):
        workdir = out / task.replace(" ", "_") / size
        settings = {**of_task, "advice.parts": PARTS, **more, **(TOY if toy else {})}
        settings |= DRAWN if toy and not directory else {}
        if directory:
            settings["data.directory"] = directory
        words = [f"--config.{name}={value}" for name, value in settings.items()]
        config = Path(__file__).parent.parent / f"configs/advise.py:{variant}"
        made[workdir] = [sys.executable, "-m", "eqssl_jax.advise", f"--config={config}",
                         f"--workdir={workdir}", *words]  # fmt: skip
    return made


def table(out: Path) -> str:
    """Markdown of the tasks that are finished: each part's regret, and the means over tasks."""
    lines = [
        "Regret in points of accuracy on test: the role that is best in the larger trainings less "
        "the advised one (or the base's, invariant, without a clear one), mean ± half of Student's "
        "95 % interval over their seeds (none where all have the same); at the right the same for "
        "always keeping the base's. The "
        "best is the best of these same trainings, so that chance alone makes a regret above 0.",
        "",
        "| task | part | advised | best | regret | regret of invariant | ρ of candidates |",
        "|---|---|---|---|---|---|---|",
    ]
    by_task: dict[str, tuple[float, float]] = {}
    for task in TASKS:
        small, large = (out / task.replace(" ", "_") / size for size in ("small", "large"))
        if not all((workdir / "advice.json").exists() for workdir in (small, large)):
            continue
        rho = agreement(evidence(small), evidence(large)).correlation
        parts = regrets(json.loads((small / "advice.json").read_text()), evidence(large))
        for part, regret in parts.items():
            shown = (_shown(seeds) for seeds in (regret.by_seed, regret.unadvised_by_seed))
            lines.append(
                f"| {task} | {part} | {regret.advised} | {regret.best} | "
                f"{' | '.join(shown)} | {rho:.2f} |"
            )
        by_task[task] = (
            float(np.mean([regret.regret for regret in parts.values()])),
            float(np.mean([regret.unadvised for regret in parts.values()])),
        )
    return "\n".join([*lines, "", *_over_tasks(by_task)]) + "\n"


def _over_tasks(by_task: Mapping[str, tuple[float, float]]) -> list[str]:
    if not by_task:
        return ["No task is finished."]
    advised, invariant = zip(*by_task.values(), strict=True)
    saved = [b - a for a, b in by_task.values()]
    named = {"advice": advised, "always invariant": invariant, "saved by the advice": saved}
    few = "" if len(by_task) >= 5 else " Fewer than five tasks: the interval is hardly known."
    return [
        f"Over {len(by_task)} tasks (each the mean of its parts), mean ± half of Student's 95 % "
        f"interval over tasks: "
        + "; ".join(f"{name} {_shown(values)}" for name, values in named.items())
        + f".{few}"
    ]


def _shown(values: tuple[float, ...] | list[float]) -> str:
    """Points; without an interval where all are equal, as the best role's own regret is: 0."""
    mean, half = interval([100 * value for value in values])
    return f"{mean:.1f}" + (
        f" ± {half:.1f}" if math.isfinite(half) and np.ptp(values) > 1e-12 else ""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all workdirs")
    parser.add_argument("--fruits", default="", help="folder of Fruits-360")
    parser.add_argument("--cells", default="", help="folder of BCCD")
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, between commas")
    parser.add_argument("--toy", action="store_true", help="a few steps of each")
    parser.add_argument("--plan", action="store_true", help="say what is trained; train nothing")
    args = parser.parse_args()
    directories = {"fruits": args.fruits, "cells": args.cells}
    flags = f"{os.environ.get('XLA_FLAGS', '')} {QUICK if args.toy else ''}".strip()
    environment = {**os.environ, "XLA_FLAGS": flags}
    chosen = args.only.split(",")
    if unknown := [task for task in chosen if task not in TASKS]:
        parser.error(f"there is no task {', '.join(unknown)}: choose from {', '.join(TASKS)}")
    for task in chosen:
        if task in directories and not directories[task]:
            print(f"{task}: left out, for want of --{task}=DIR", flush=True)
            continue
        for workdir, command in commands(
            task, args.out, directories.get(task, ""), args.toy
        ).items():
            if args.plan:
                subprocess.run([*command, "--dry_run"], check=True, env=environment)
            elif not (workdir / "advice.json").exists():
                subprocess.run(command, check=True, env=environment)
    if args.plan:
        return
    text = table(args.out)
    (args.out / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
