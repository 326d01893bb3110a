"""One call on a GPU: throughput beside PyTorch, then SimCLR and CARE until the time is over.

`benchmarks/gpu.sh` says how it is called. Every part is a process of its own, so that neither
framework holds the memory of the other; a part whose numbers lie in the folder is not run again,
and trainings go on from their last checkpoint. One that has ended is evaluated on test, where there
are anchors: at 100 epochs a kNN accuracy of .832 and a linear probe of .856 (SimCLR, ResNet-18,
CIFAR-10).
"""

import argparse
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from commit import described

HERE = Path(__file__).parent
MARGIN = 45.0  # seconds that a run gets to save after it was asked to stop
FACTS = ("device", "versions", "commit")
SPEEDS = ("step, images/s", "forward+backward alone, images/s", "peak memory, MiB")
NEEDED = {  # modules, and the packages that have them
    "jax": "jax", "flax": "flax", "optax": "optax", "orbax.checkpoint": "orbax-checkpoint",
    "torch": "torch", "ml_collections": "ml-collections", "dm_pix": "dm-pix", "clu": "clu",
    "absl": "absl-py", "etils": "etils", "jaxtyping": "jaxtyping", "scipy": "scipy",
    "sklearn": "scikit-learn", "rich": "rich", "PIL": "pillow", "safetensors": "safetensors",
    "tensorboardX": "tensorboardX", "matplotlib": "matplotlib",
}  # fmt: skip
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
# In minutes of a CPU: to see that it runs.
TOY = {
    "encoders": ["conv_tiny"], "batch": 32, "splits": 4, "repeats": 1, "epochs": 2,
    "save_every": 5, "seconds": 3600.0, "eager": True,
}  # fmt: skip


def check(args: argparse.Namespace) -> None:
    """Refuse what would fail in the middle.

    Raises:
      SystemExit: naming the packages that are missing and how they come, or what is wrong with the
        data.
    """
    missing = [package for module, package in NEEDED.items() if not _is_there(module)]
    if missing:
        names = " ".join(missing)
        raise SystemExit(
            f"{sys.executable} lacks {', '.join(missing)}: pip install {names}. Without network "
            f"they come in a folder of wheels, made where there is one (pip download --no-deps "
            f"--only-binary=:all: --python-version {sys.version_info[0]}.{sys.version_info[1]} "
            f"-d wheels {names}), by WHEELS=wheels before benchmarks/gpu.sh. JAX, PyTorch and what "
            f"is compiled must fit the device; TFDS and grain are not needed."
        )
    try:
        with np.load(args.data) as arrays:
            lacking = sorted(set(ARRAYS) - set(arrays.files))
    except (OSError, ValueError) as error:
        lacking = [f"a readable file ({error})"]
    if lacking:
        raise SystemExit(
            f"{args.data} lacks {', '.join(lacking)}: give an .npz of {', '.join(ARRAYS)} (uint8, "
            f"N×32×32×3, and whole numbers)."
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of orbax.checkpoint without orbax
        return False


def throughputs(args: argparse.Namespace) -> dict[str, list[str]]:
    """The command of each measurement of throughput, by its name."""
    scripts = {"jax": HERE / "step.py", "torch": HERE / "reference/throughput.py"}
    commands = {}
    for encoder in args.encoders:
        for dtype in ("bfloat16", "float32"):
            for framework, script in scripts.items():
                flags = {
                    "encoder": encoder, "dtype": dtype, "batch": args.batch, "size": args.size,
                    "splits": args.splits, "repeats": args.repeats,
                }  # fmt: skip
                words = [f"--{name}={value}" for name, value in flags.items()]
                words += ["--eager"] if args.eager else []
                commands[f"{encoder}_{dtype}_{framework}"] = [sys.executable, str(script), *words]
    return commands


def trainings(args: argparse.Namespace) -> dict[str, list[str]]:
    """The command of each training, by its name: 100 epochs, for which there are anchors."""
    settings = {
        "data.directory": args.data, "model.encoder": args.encoders[0],
        "model.compute_dtype": "bfloat16", "train.batch_size": args.batch,
        "train.epochs": args.epochs, "train.save_every": args.save_every,
        "train.knn_every": args.save_every, "train.log_every": max(args.save_every // 5, 1),
    }  # fmt: skip
    words = [f"--config.{name}={value}" for name, value in settings.items()]
    splits = f"--config.objectives.equivariance.splits={args.splits}"
    main = [sys.executable, "-m", "eqssl_jax.main"]
    return {
        name: [*main, f"--config={HERE.parent / 'configs' / name}.py:arrays", *words,
               *([splits] if name == "care" else []), f"--workdir={Path(args.out) / name}"]
        for name in ("simclr", "care")
    }  # fmt: skip


def evaluations(args: argparse.Namespace) -> dict[str, list[str]]:
    """The command that evaluates the last checkpoint of each training on all images of test."""
    budget = ("preset=quick", "train_images=None", "test_images=None", "queries=0")
    words = [f"--option={option}" for option in (*budget, "ladder_images=0")]
    main = [sys.executable, "-m", "eqssl_jax.eval", *words]
    return {name: [*main, f"--workdir={Path(args.out) / name}"] for name in trainings(args)}


def evaluated(place: Path) -> dict[str, float]:
    """kNN accuracy and linear probe of the latest evaluation; nothing without one."""
    files = sorted((f for f in (place / "eval").glob("*.json") if f.stem.isdigit()),
                   key=lambda file: int(file.stem))  # fmt: skip
    if not files:
        return {}
    numbers = json.loads(files[-1].read_text())["encoders"]["trained"]
    return {name: numbers[name]["value"] for name in ("knn", "probe_top1") if name in numbers}


def run(command: list[str], log: Path, limit: float) -> int:
    """Run a command, asked to stop after `limit` seconds; its exit status.

    It is asked, too, where this process is stopped, and what it took is added to parts.jsonl.
    """
    start, spent = time.monotonic(), _children()
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            process.wait(max(limit, 1.0))
        except subprocess.TimeoutExpired:
            pass
        finally:
            status = _stop(process)
            seconds = {"wall_s": time.monotonic() - start, "cpu_s": _children() - spent}
            with log.with_name("parts.jsonl").open("a") as parts:
                parts.write(json.dumps({"part": log.stem, "status": status, **seconds}) + "\n")
    return status


def _stop(process: subprocess.Popen) -> int:
    """Its status; it has MARGIN to save what it has."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(MARGIN)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _children() -> float:
    """CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def everything(args: argparse.Namespace) -> None:
    """Measure in the first `share` of the time, then train in equal parts of the rest."""
    start, out = time.monotonic(), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    def left() -> float:
        return args.seconds - (time.monotonic() - start)

    def part(name: str, command: list[str], limit: float) -> int | None:
        """Its exit status; None where no time is left. The tables are written after each."""
        status = run(command, out / f"{name}.log", limit) if limit > 0 else None
        words = "no time" if status is None else f"exit status {status}"
        print(f"{name}: {words}, {left():.0f} s left", flush=True)
        (out / "README.md").write_text(table(args))
        return status

    for name, command in throughputs(args).items():
        path = out / f"{name}.json"
        if not path.exists():
            part(name, [*command, f"--json={path}"], left() - (1 - args.share) * args.seconds)
    todo, ended = trainings(args), list[str]()
    for number, (name, command) in enumerate(todo.items()):
        # 75: it saved, and goes on in the next call.
        if part(name, command, (left() - MARGIN) / (len(todo) - number)) == 0:
            ended.append(name)
    for name, command in evaluations(args).items():
        if name in ended and not evaluated(out / name):
            part(f"{name}_test", command, left() - MARGIN)


def table(args: argparse.Namespace) -> str:
    """Markdown of all that lies in the folder."""
    out = Path(args.out)
    taken, compiled = _taken(out), "not compiled" if args.eager else "`torch.compile`"
    lines = [
        "# Throughput beside PyTorch, and two trainings", "",
        "```bash", f"benchmarks/gpu.sh {' '.join(sys.argv[1:])}", "```", "",
        "A step of CARE in images/s: four views of each image drawn, rendered and encoded, and the "
        f"weights updated. PyTorch: channels-last, {compiled}, autocast for bfloat16. Seconds "
        "are of all calls, with starting and compiling.", "",
        _row(["", *SPEEDS, *FACTS, "wall s", "CPU s"]), "|---" * 9 + "|",
    ]  # fmt: skip
    for name in throughputs(args):
        path = out / f"{name}.json"
        record = json.loads(path.read_text()) if path.exists() else {}
        cells = [f"{record[key]:,.0f}" if key in record else "not measured" for key in SPEEDS]
        facts = [record.get(fact, "") for fact in FACTS]
        lines.append(_row([name, *cells, *facts, *taken.get(name, ("", ""))]))
    lines += [
        "", f"Trainings of at most {args.epochs} epochs, one each (seed 0), so nothing ranks them; "
        "test is looked at when one has ended:", "",
        _row(["", "steps", "validation kNN", "loss", "test kNN", "test, linear probe", *FACTS,
              "wall s", "CPU s"]),
        "|---" * 11 + "|",
    ]  # fmt: skip
    for name in trainings(args):
        path = out / name / "metrics.jsonl"
        last: dict[str, float] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            last |= json.loads(line)
        on_test = evaluated(out / name)
        values = [last.get(key) for key in ("step", "validation_knn", "loss")]
        values += [on_test.get(key) for key in ("knn", "probe_top1")]
        cells = ["—" if x is None else f"{x:,.4g}" for x in values]
        lines.append(_row([name, *cells, *_trained_on(out / name), *taken.get(name, ("", ""))]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _taken(out: Path) -> dict[str, tuple[str, str]]:
    """Wall and CPU seconds of each part, over all calls; of a training with its evaluation."""
    sums: dict[str, np.ndarray] = {}
    path = out / "parts.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        record = json.loads(line)
        seconds = np.array([record["wall_s"], record["cpu_s"]])
        part = record["part"].removesuffix("_test")
        sums[part] = sums.get(part, 0) + seconds
    return {part: (f"{wall:,.0f}", f"{cpu:,.0f}") for part, (wall, cpu) in sums.items()}


def _trained_on(place: Path) -> list[str]:
    """Device, versions and commit of the latest start of a run; empty before it started."""
    path = place / "environment.json"
    if not path.exists():
        return [""] * len(FACTS)
    latest = json.loads(path.read_text())[-1]
    device, packages = latest["device"], latest["packages"]
    versions = {name: packages[name] for name in ("jax", "flax", "optax", "orbax-checkpoint")}
    versions["eqssl_jax"] = latest["eqssl_jax"]
    of_checkout = latest["commit"]
    dirty = "-dirty" if of_checkout and of_checkout["changed"] else ""
    return [
        f"{device['count']} × {device['kind']} ({device['platform']})",
        ", ".join(f"{name} {number}" for name, number in versions.items()),
        f"{of_checkout['hash'][:7]}{dirty}" if of_checkout else described(),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="an .npz of CIFAR-10")
    parser.add_argument("out", help="the folder that is written, and gone on with")
    parser.add_argument("--toy", action="store_true", help="a little of each, on a CPU")
    parser.add_argument("--seconds", type=float, default=530.0, help="of all of it")
    parser.add_argument("--share", type=float, default=0.6, help="of the time, for throughput")
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--splits", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--save_every", type=int, default=500, help="steps")
    parser.add_argument("--eager", action="store_true", help="PyTorch without torch.compile")
    if parser.parse_known_args()[0].toy:
        parser.set_defaults(**TOY)  # a flag beside it counts
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the part that runs is stopped, too
    check(given)
    if given.toy:  # nearly all of it is compiling: quickly rather than well
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    everything(given)
