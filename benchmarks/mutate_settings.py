"""Wrong values for every setting of every config: how many are refused, and how.

    python benchmarks/mutate_settings.py [--most=N] [--real=30] [--only=NAME,NAME]

Each setting and group of each config is replaced by the nonsense of its type (tests/mutations.py),
in Python and as text on a command line, and all that `main` or `advise` does before a compilation
is done. `--real` of them are also given to the real commands. Printed: how many were refused with
one paragraph that names the setting, had a meaning after all, ended in a traceback, took more than
a minute, or were accepted although they are nonsense; the status is 1 if one went wrong.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import mutations  # noqa: E402

from eqssl_jax import data  # noqa: E402

CONFIGS = {
    "care_order.py:shapes": "main",
    "proteins.py:equivariance": "main",
    "advise.py:shapes": "advise",
    "simclr.py:shapes": "main",
    "care.py:folder": "main",
    "moco.py:arrays,care": "main",
    "byol.py:shapes,equimod": "main",
    "barlow_twins.py:shapes": "main",
    "vicreg.py:shapes": "main",
    "equimod.py:shapes": "main",
    "order.py:shapes": "main",
    "care_two_views.py:shapes": "main",
    "care.py:imagenet100": "main",
    "quickstart.py": "main",
    "groups_small.py": "main",
    "roles_small.py": "main",
    "steering_small.py": "main",
    "proteins_small.py": "main",
    "cifar10_small.py": "main",
    "study.py": "main",
    "vit.py:simclr,folder": "main",
    "finetune.py:arrays": "main",
    "benchmark.py:solids,equimod": "main",
    "any_encoder.py:imagenette,care": "main",
}
SMALL = (
    "--config.model.encoder=conv_tiny",
    "--config.model.projector=(16, 8)",
    "--config.train.batch_size=32",
    "--config.objectives.equivariance.splits=4",
    "--config.objectives.equivariance.images=0",
    "--config.objectives.order.images=8",
    "--config.train.steps=40",
    "--config.optimizer.warmup_epochs=0",
    "--config.data.on_device=auto",
)


def sources(folder: Path) -> dict[str, tuple[str, ...]]:
    """Settings that give a config of each source a little data."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype(np.uint8)
    np.savez(folder / "set.npz", images=pixels, labels=np.arange(60) % 3,
             test_images=pixels[:9], test_labels=np.arange(9) % 3)  # fmt: skip
    for i, image in enumerate(pixels):
        place = folder / "images" / f"class{i % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    sizes = [f"--config.data.options.{name}=96" for name in ("train_size", "test_size")]
    return {
        "shapes": (*sizes, "--config.data.options.out_of_range_size=16"),
        "arrays": (f"--config.data.directory={folder / 'set.npz'}",),
        "folder": (f"--config.data.directory={folder / 'images'}",),
        "proteins": ("--config.data.options.chains=80",),
    }


def standard(name: str, source_flags: dict[str, tuple[str, ...]]) -> list[str]:
    """The command line of a config at the size of this script."""
    config = f"--config={ROOT / 'configs' / name}"
    read = mutations.parsed(["main", config])
    present = {key for key, _ in mutations.leaves(read)}
    small = [line for line in SMALL if line.removeprefix("--config.").split("=")[0] in present]
    clouds = ["--config.model.encoder=deepset"] if read.data.name == "proteins" else []
    return ["main", config, *small, *clouds, *source_flags.get(read.data.name, ())]


def mutate(
    argv: list[str], binary: str, most: int, seed: int, tally: mutations.Tally
) -> list[list[str]]:
    """Try everything on one config; command lines worth trying for real."""
    config = mutations.parsed(argv)
    dataset = None
    if config.data.name == "imagenet100":
        pixels = np.random.default_rng(0).integers(0, 256, (60, 256, 256, 3)).astype(np.uint8)
        dataset = data.from_arrays(pixels, np.arange(60) % 3, pixels[:9], np.arange(9) % 3)
    mutations.before_a_run(config, binary, dataset=dataset)
    tries = [
        (name, value, textual)
        for name, before in mutations.leaves(config)
        for value in mutations.nonsense(before)
        for textual in (False, True)
        if dataset is None or not name.startswith("data.")
    ]
    tries += [
        (name, value, textual)
        for name, value in mutations.additions()
        for textual in (False, True)
        if dataset is None or not name.startswith("data.")
    ]
    random.Random(seed).shuffle(tries)
    lines = []
    for name, value, textual in tries[:most]:
        text = mutations.as_text(value)
        if textual and text is None:
            continue
        line = [*argv, f"--config.{name}={text}"]

        def action(name=name, value=value, line=line, textual=textual) -> None:
            made = mutations.parsed(line) if textual else mutations.mutated(config, name, value)
            mutations.before_a_run(made, binary, name, dataset)

        outcome = mutations.outcome(action, name)
        if outcome[0] == "accepted" and textual and _at(mutations.parsed(line), name) != value:
            continue  # the text means something else: "3" is a number, and "nan" may be a name
        tally.add(line[1], name, value, outcome, text if textual else None)
        lines.append(line)
    return lines


def _at(config, name: str):
    for part in name.split("."):
        config = config[part]
    return config


def really(line: list[str], tally: mutations.Tally, binary: str) -> None:
    """One command line as a user types it; only those that were refused are worth their time."""
    command = [sys.executable, "-m", f"eqssl_jax.{binary}", "--dry_run", *line[1:]]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    except subprocess.TimeoutExpired:
        tally.counts["real: hang"] += 1
        tally.faults.append(f"real hang: {line[-1]!r:.100}")
        return
    kind = "traceback" if "Traceback" in ended.stderr else f"status {ended.returncode}"
    tally.counts[f"real: {kind}"] += 1
    if kind == "traceback" or "\x1b" in ended.stderr:
        tally.faults.append(f"real {kind}: {line[-1]!r:.100} {ended.stderr[-300:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10**9, help="mutations of each config")
    parser.add_argument("--real", type=int, default=30, help="command lines given to processes")
    parser.add_argument("--only", default="", help="parts of names of configs, between commas")
    parser.add_argument("--seed", type=int, default=0, help="which are tried, where --most is few")
    chosen = parser.parse_args()
    total = mutations.Tally()
    lines: list[tuple[list[str], str]] = []
    with tempfile.TemporaryDirectory() as folder:
        source_flags = sources(Path(folder))
        for name, binary in CONFIGS.items():
            if not any(part in name for part in chosen.only.split(",")):
                continue
            start, tally = time.monotonic(), mutations.Tally()
            tried = mutate(standard(name, source_flags), binary, chosen.most, chosen.seed, tally)
            lines += [(line, binary) for line in tried]
            print(f"{name}: {dict(tally.counts)} in {time.monotonic() - start:.0f} s", flush=True)
            for fault in tally.faults[:200]:
                print("   ", fault, flush=True)
            total.counts += tally.counts
            total.faults += tally.faults
        for line, binary in random.Random(1).sample(lines, min(chosen.real, len(lines))):
            really(line, total, binary)
    print(f"\n{sum(total.counts.values()):,} in all: {dict(total.counts)}")
    return bool(total.faults)


if __name__ == "__main__":
    sys.exit(main())
