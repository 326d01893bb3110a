"""Run what README and docs show, made small: `python docs/commands.py [PAGE …] [--list]`.

PAGE is the name of a page without its ending, e.g. README or take_away. The commands and the blocks
of Python of a page run in their order, in one folder that holds what they speak of: FOLDER (images
of two classes), my_model.py, cifar10.npz, vit.safetensors, the files that the page itself shows,
and runs/NAME, trained on FOLDER where no command of the page trains it. `SMALL` says how commands
are shortened, `LEFT_OUT` what is not run and why. The output gives the status and CPU seconds of
each; the exit status is 1 if one fails.
"""

import argparse
import os
import re
import runpy
import shlex
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *(page for folder in ("docs", "docs/concepts", "docs/howto")
                               for page in sorted((ROOT / folder).glob("*.md")))]  # fmt: skip
WORDS = ("eqssl", "python", "launch/")
FILE = re.compile(r"# (\w+\.py)\b")  # how a block of Python begins that is a file

_STEPS = (
    "--config.train.steps=2 --config.train.batch_size=16 --config.train.log_every=1 "
    "--config.train.knn_every=2 --config.train.save_every=2 --config.optimizer.warmup_epochs=0. "
    "--config.model.encoder=conv_tiny --config.model.projector=(8,4) --config.knn.bank=40 "
    "--config.knn.queries=16"
)
_BUDGET = (
    "train_images=48 validation_images=16 test_images=16 out_of_range_images=16 augmentations=2 "
    "pairs=1 rotation_images=16 pair_images=16 ladder_images=8 ladder_rungs=3 probe_steps=2 "
    "queries=4 knn_neighbours=3 batch=16 care_epochs=0 seeds=(0,)"
)
_OPTIONS = " ".join(f"--option={budget}" for budget in _BUDGET.split())
_TESTED = " ".join(f"--config.evaluation.options.{budget}" for budget in _BUDGET.split())
_DRAWN = "--config.data.options.train_size=256 --config.data.options.test_size=64"
_ADVICE = (
    "--config.advice.seeds=2 --config.advice.parts=('rotate',) --config.advice.train_images=64 "
    "--config.advice.held_out_images=24 --config.advice.ladder_images=8"
)
_GROUPS = "--config.objectives.equivariance.splits=4"
# What is appended to a command, by patterns that it is searched for; of two flags the later wins.
SMALL = {
    r"^train\b": _STEPS,
    r"--config=(configs/)?care\w*(\.py)?:": _GROUPS,
    r"^train .*:cifar10": "--config.data.name=arrays --config.data.directory=cifar10.npz",
    r"^train .*:cifar10,care": _GROUPS,
    r"^(eval|measure)\b": _OPTIONS,
    r"^(train|advise) .*order\w*:": "--config.objectives.order.images=8",
    r"=\w+:(shapes|digits)\b": _DRAWN,
    r"^advise\b": f"{_STEPS} {_ADVICE}",
    r"^sweep\b": f"{_STEPS} {_TESTED}",  # its three runs share what is compiled
    r"^transfer\b": "--weights=2 --draws=1 --shots=1",
    r"^tables .*--(scale=small|table=benchmark)|--over .*--over": "--plan",
    r"^tables .*--scale=paper": "--only=CIFAR-10,CARE-SimCLR",  # its FLOPs are counted
    "^train .*finetune": "--config.model.encoder=source",  # that of the run it starts from
    r"^launch local_processes": f"{_STEPS} {_GROUPS}",
}
LEFT_OUT = {
    r"^prepare\b": "it downloads",
    r"--config=(configs/)?quickstart": "minutes; `.ci/run` runs it",
    r"^launch (?!local_processes)|^python ": "a cluster, or a benchmark of many minutes",
    r"wandb": "a tracker with an account",
    r"=gs://": "a bucket",
    f"^{FILE.pattern}": "a file that commands read",
    r"\bimport torch\b": "it needs PyTorch",
    r"^class ": "a type of the package, shown",
}


class Command(NamedTuple):
    """A command of a page: its text there, and how it is run; `why` it is left out, or "".

    Of a block of Python: its first line, "python", and all blocks of the page up to its end.
    """

    page: str
    text: str
    words: tuple[str, ...]
    why: str


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language, bash or python, and the text of each such block of a page."""
    return re.findall(r"```(bash|python)\n(.*?)```", page.read_text(), re.S)


def lines(page: Path) -> list[str]:
    """The commands of this project in all blocks of a page."""
    return [line for kind, block in blocks(page) if kind == "bash" for line in started(block)]


def started(block: str) -> list[str]:
    """The lines of a block of bash that start a command of this project."""
    rows = re.sub(r"\\\n\s*", " ", block).splitlines()
    parts = (part.strip() for row in rows for part in row.split("&&"))
    return [part for part in parts if part.startswith(WORDS) and "…" not in part]


def commands(pages: Sequence[Path] = PAGES) -> Iterator[Command]:
    """Every command and block of Python of the pages, in their order."""
    for page in pages:
        program = ""
        for kind, block in blocks(page):
            if kind == "python":
                why = _why_not(block)
                program += "" if why else block
                yield Command(page.stem, block.splitlines()[0], ("python", program), why)
            else:
                yield from (small(page.stem, text) for text in started(block))


def small(page: str, text: str) -> Command:
    """A command in its small form, as words after `eqssl`."""
    from eqssl_jax.__main__ import COMMANDS

    names = {f"eqssl_jax.{module}": name for name, (module, _) in COMMANDS.items()}
    words = shlex.split(text, comments=True)
    if words[0] == "eqssl":
        words = words[1:]
    elif words[:2] == ["python", "-m"] and words[2] in names:
        words = [names[words[2]], *words[3:]]
    elif words[0].startswith("launch/"):
        words = ["launch", Path(words[0]).stem, *words[1:]]
    if "--" in words:  # `eqssl` may not be on the path of who tests a checkout
        at = words.index("--") + 1
        words[at : at + 1] = ["python", "-m", "eqssl_jax"]
    short = " ".join(words)
    for pattern, flags in SMALL.items():
        words += flags.split() if re.search(pattern, short) else []
    return Command(page, text, tuple(words), _why_not(short))


def _why_not(text: str) -> str:
    return next((why for pattern, why in LEFT_OUT.items() if re.search(pattern, text)), "")


def small_vit(width: int = 12) -> dict[str, tuple[int, ...]]:
    """Shapes of a vision transformer of one block for 32 pixels, patches of 8, named as timm's."""
    linear = {
        "attn.qkv": (3 * width, width), "attn.proj": (width, width),
        "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width),
    }  # fmt: skip
    weights = {f"blocks.0.{name}": shape for name, shape in linear.items()}
    weights |= dict.fromkeys(("blocks.0.norm1", "blocks.0.norm2", "norm"), (width,))
    weights["patch_embed.proj"] = (width, 3, 8, 8)
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, width), "pos_embed": (1, 17, width)}
    shapes |= {f"{name}.weight": shape for name, shape in weights.items()}
    return shapes | {f"{name}.bias": shape[:1] for name, shape in weights.items()}


def prepare(folder: Path, page: Path) -> None:
    """Write what commands speak of: FOLDER, my_model.py, cifar10.npz, vit.safetensors, files."""
    import numpy as np
    from PIL import Image
    from safetensors.numpy import save_file

    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.02, shape) for name, shape in small_vit().items()}
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, folder / "vit.safetensors")
    pixels = random.integers(0, 256, (240, 32, 32, 3), np.uint8)
    labels = np.arange(240) % 2  # FOLDER has the first 96; studies take batches of 128
    pixels[labels == 1, :16] //= 4
    for number, (image, label) in enumerate(zip(pixels[:96], labels[:96], strict=True)):
        path = folder / "FOLDER" / ("test" if number >= 72 else "train") / f"class{label}"
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / f"{number}.png")
    arrays = {"images": pixels[:216], "labels": labels[:216]}
    arrays |= {"test_images": pixels[216:], "test_labels": labels[216:]}
    (folder / "data").mkdir(exist_ok=True)  # as README has it prepared
    for path in ("cifar10.npz", "data/cifar10.npz"):
        np.savez(folder / path, **arrays)
    model = "def encode(images):\n    return images.mean((1, 2))\n"
    (folder / "my_model.py").write_text(model)
    for kind, block in blocks(page):
        named = FILE.match(block) if kind == "python" and "torch" not in block else None
        if named:
            (folder / named[1]).write_text(block)


def needed(command: Command, folder: Path) -> list[Command]:
    """Trainings of the runs that a command reads and that are not there."""
    words = " ".join(command.words)
    writes = re.match("train|sweep|tables|launch|advise", words)
    names = re.findall(rf"{'(?<!--workdir=)(?<!--runs=)' if writes else ''}runs/(\w+)", words)
    train = f"train --config=care:folder --config.data.directory=FOLDER {_STEPS} {_GROUPS}"
    return [
        Command(command.page, f"(needed: runs/{name})",
                (*train.split(), f"--workdir=runs/{name}"), "")
        for name in dict.fromkeys(names) if not (folder / "runs" / name).exists()
    ]  # fmt: skip


def run(command: Command, folder: Path) -> tuple[int, float, str]:
    """Exit status, CPU seconds, and output of the small form of a command.

    It runs in a fork of this process, which has imported the package: that takes seconds each time.
    """
    with tempfile.TemporaryFile("w+") as output:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(_alone(command, folder))
        _, status, used = os.wait4(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, output.read()


def _alone(command: Command, folder: Path) -> int:
    """Run `eqssl` with these words in the folder, as a process of its own does; its exit status."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv = ["eqssl", *command.words]
    try:
        if command.words[0] == "python":
            exec(compile(command.words[1], command.page, "exec"), spoken_of())
        else:
            runpy.run_module("eqssl_jax", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def spoken_of() -> dict[str, object]:
    """What blocks of Python speak of and do not make: images, and a config in the making."""
    import numpy as np

    from eqssl_jax import presets

    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    return {"images": images, "config": presets.factored("digits")}


def warm() -> None:
    """Import what commands need; the device is touched by them alone."""
    # Quick rather than good code, on one device: tests pretend to have eight.
    quick = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = quick
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    import eqssl_jax.experiment.run
    import eqssl_jax.studies.produce  # noqa: F401

    warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE")
    parser.add_argument("--list", action="store_true", help="print the small forms, run nothing")
    parser.add_argument("--only", nargs="*", default=(), help="how they begin, e.g. eval")
    chosen = parser.parse_args()
    failed = 0
    warm()
    for page in PAGES:
        if not chosen.pages or page.stem in chosen.pages:
            with tempfile.TemporaryDirectory() as name:
                failed += run_page(page, Path(name), listed=chosen.list, only=chosen.only)
    print(f"{failed} failed")
    return min(failed, 1)


def run_page(page: Path, folder: Path, *, listed: bool = False, only: Sequence[str] = ()) -> int:
    """Run or list commands of a page in a folder, all or those that begin so; how many failed."""
    prepare(folder, page)
    failed = 0
    for named in commands([page]):
        if only and not " ".join(named.words).startswith(tuple(only)):
            continue
        if named.why or listed:
            words = shlex.join(named.words)
            print(f"{named.page}: {named.why or words}\n    {named.text}", flush=True)
            continue
        for command in (*needed(named, folder), named):
            status, seconds, output = run(command, folder)
            failed += status != 0
            what = "ok" if not status else f"FAILED, status {status}"
            print(f"{page.stem}: {what}, {seconds:.0f} CPU s\n    {command.text}", flush=True)
            if status:
                print("\n".join(output.splitlines()[-12:]), flush=True)
    return failed


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
