"""One call on a GPU: throughput beside PyTorch, then SimCLR and CARE until the time is over.

`benchmarks/gpu.sh` says how it is called. Every part is a process of its own, so that neither
framework holds the memory of the other; a part whose numbers lie in the folder is not run again,
and trainings go on from their last checkpoint. One that has ended is evaluated on test, where there
are anchors: at 100 epochs a kNN accuracy of .832 and a linear probe of .856 (SimCLR, ResNet-18,
CIFAR-10).
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
MARGIN = 45.0  # seconds that a run gets to save after it was asked to stop
FACTS = ("device", "versions", "commit")
SPEEDS = ("step, images/s", "forward+backward alone, images/s", "peak memory, MiB")


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
    """Run a command, asked to stop after `limit` seconds; its exit status."""
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            return process.wait(max(limit, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(MARGIN)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def everything(args: argparse.Namespace) -> None:
    """Measure in the first `share` of the time, then train in equal parts of the rest."""
    start, out = time.monotonic(), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    def left() -> float:
        return args.seconds - (time.monotonic() - start)

    for name, command in throughputs(args).items():
        path = out / f"{name}.json"
        limit = left() - (1 - args.share) * args.seconds
        if not path.exists() and limit > 0:
            status = run([*command, f"--json={path}"], out / f"{name}.log", limit)
            print(f"{name}: exit status {status}, {left():.0f} s are left", flush=True)
    todo, ended = trainings(args), set[str]()
    for number, (name, command) in enumerate(todo.items()):
        limit = (left() - MARGIN) / (len(todo) - number)
        status = run(command, out / f"{name}.log", limit) if limit > 0 else "not started"
        print(f"{name}: exit status {status} (75: saved, goes on), {left():.0f} s left", flush=True)
        ended = ended | {name} if status == 0 else ended
    for name, command in evaluations(args).items():
        limit = left() - MARGIN
        if name in ended and not evaluated(out / name) and limit > 0:
            status = run(command, out / f"{name}.log", limit)
            print(f"{name} on test: exit status {status}, {left():.0f} s left", flush=True)
    (out / "README.md").write_text(table(args))


def table(args: argparse.Namespace) -> str:
    """Markdown of all that lies in the folder."""
    out = Path(args.out)
    lines = [
        "# On a GPU", "", "```bash", f"benchmarks/gpu.sh {' '.join(sys.argv[1:])}", "```", "",
        "A step of CARE in images/s: four views of each image drawn, rendered and encoded, and the "
        "weights updated. PyTorch: channels-last, `torch.compile`, autocast for bfloat16.", "",
        "| | " + " | ".join((*SPEEDS, *FACTS)) + " |", "|---" * 7 + "|",
    ]  # fmt: skip
    for name in throughputs(args):
        path = out / f"{name}.json"
        record = json.loads(path.read_text()) if path.exists() else {}
        cells = [f"{record[key]:,.0f}" if key in record else "not measured" for key in SPEEDS]
        lines.append(
            f"| {name} | " + " | ".join([*cells, *(record.get(f, "") for f in FACTS)]) + " |"
        )
    lines += [
        "", f"Trainings of at most {args.epochs} epochs, one each, so nothing ranks them:", "",
        "| | steps | validation kNN | loss | test kNN | test, linear probe |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in trainings(args):
        path = out / name / "metrics.jsonl"
        last: dict[str, float] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            last |= json.loads(line)
        on_test = evaluated(out / name)
        values = [last.get(key) for key in ("step", "validation_knn", "loss")]
        values += [on_test.get(key) for key in ("knn", "probe_top1")]
        lines.append(
            f"| {name} | " + " | ".join("—" if x is None else f"{x:,.4g}" for x in values) + " |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="an .npz of CIFAR-10")
    parser.add_argument("out", help="the folder that is written, and gone on with")
    parser.add_argument("--seconds", type=float, default=530.0, help="of all of it")
    parser.add_argument("--share", type=float, default=0.6, help="of the time, for throughput")
    parser.add_argument("--encoders", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--splits", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--save_every", type=int, default=500, help="steps")
    everything(parser.parse_args())
