"""One study at four scales: as in the paper, in hours, in an hour on two cores, and in minutes.

"paper": the recipe of `presets`, ResNet-50 (or 18) and hundreds of epochs. "small": the same views,
objectives and CARE at the weight of `presets.OWN_WEIGHT`, but a tiny encoder, 400 steps and one
optimiser for all. "reduced": the same with 60 epochs of all images (docs/results/protocol.md).
"smoke": 6 steps on rendered shapes; shows that everything runs, and no more.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ml_collections import ConfigDict

from eqssl_jax import presets, storage
from eqssl_jax.data import diebench
from eqssl_jax.studies.base import DataChoice

SCALES = ("paper", "reduced", "small", "smoke")
DRAWN = ("shapes", "digits")  # data without files
Change: TypeAlias = Callable[[ConfigDict], ConfigDict]


class Budget(NamedTuple):
    """What a small scale trains with."""

    encoder: str
    projector: tuple[int, ...]
    batch: int
    groups: int
    steps: int  # 0: `epochs`
    saves: int  # checkpoints in all, every one kept
    warmup: float  # epochs
    epochs: float = 0.0


REDUCED = Budget("conv_tiny", (256, 64), 128, 16, 0, saves=4, warmup=1.0, epochs=60.0)
SMALL = Budget("resnet_tiny", (256, 64), 128, 16, 400, saves=4, warmup=0.5)
SMOKE = Budget("conv_tiny", (32, 16), 32, 4, 6, saves=2, warmup=0.0)
_BUDGETS = {"reduced": REDUCED, "small": SMALL, "smoke": SMOKE}

# The same for the runs of a scale, so that studies share them. Ladders (order) are not CARE's.
EVALUATION: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "paper": (  # all images: W_f is of the whole test set, the probe of all that is labelled
        "full",
        {
            "train_images": None,
            "test_images": None,
            "rotation_images": None,
            "ladder_images": 0,
        },
    ),
    "reduced": (
        "quick",
        {
            "train_images": None,
            "validation_images": None,
            "test_images": None,
            "augmentations": 20,
            "pairs": 10,
            "rotation_images": 2_048,
            "pair_images": 1_024,
            "probe_steps": 2_000,
            "care_epochs": 10,
            "ladder_images": 0,
            "queries": 0,
        },
    ),
    "small": (
        "quick",
        {
            "train_images": 5_120,
            "validation_images": 1_024,
            "test_images": 2_048,
            "augmentations": 20,
            "pairs": 4,
            "rotation_images": 512,
            "ladder_images": 0,
        },
    ),
    "smoke": (
        "quick",
        {
            "batch": 32,
            "train_images": 96,
            "validation_images": 32,
            "test_images": 64,
            "out_of_range_images": 32,
            "probe_steps": 20,
            "augmentations": 3,
            "pairs": 2,
            "rotation_images": 64,
            "pair_images": 32,
            "queries": 8,
            "ladder_images": 0,
        },
    ),
}


def check(scale: str) -> None:
    """Refuse a scale that does not exist.

    Raises:
      ValueError: naming the scales.
    """
    if scale not in SCALES:
        raise ValueError(f"There is no scale {scale!r}: choose one of {', '.join(SCALES)}.")


def parse_data(text: str) -> DataChoice:
    """What `--data` says: digits, shapes, an .npz file, a folder or .zip of images, or a TFDS name.

    >>> parse_data("shapes"), parse_data("cifar10").name, parse_data("").name
    (DataChoice(name='shapes', directory=''), 'cifar10', '')

    Raises:
      FileNotFoundError: for a path that is not there, with what it may be.
    """
    if text in ("", *DRAWN):
        return DataChoice(text)
    path = storage.path(text)
    if path.suffix in (".npz", ".zip") or path.is_dir() or len(path.parts) > 1:
        if not path.exists():
            raise FileNotFoundError(
                f"--data={text}: there is no such file or folder. Give an .npz file with "
                f"train_images, train_labels, test_images and test_labels (uint8, N×H×W×3), a "
                f"folder or .zip of images by class, the name of a prepared TFDS set, shapes or "
                f"digits; for proteins an .npz of chains or a folder of PDB files."
            )
        return DataChoice("arrays" if path.suffix == ".npz" else "folder", text)
    return DataChoice(text)


def recognised(data: DataChoice, names: Sequence[str]) -> DataChoice:
    """A folder by the name of what it holds, where that is one of the names.

    Raises:
      FileNotFoundError: for a folder of 3DIEBench without its lists of objects.
    """
    folder = storage.path(data.directory)
    marks = {
        "fruits360": lambda: _shows_turns(folder / "manifest.csv"),
        "bloodcells": (folder / "bccd_boxes.csv").is_file,
        "3diebench": lambda: diebench.is_tree(folder),
    }
    if data.name != "folder":
        return data
    name = next((name for name, shows in marks.items() if name in names and shows()), data.name)
    if name == "3diebench":
        diebench.check_index(folder)
    return DataChoice(name, data.directory)


def _shows_turns(manifest: Path) -> bool:
    if not manifest.is_file():
        return False
    with manifest.open(encoding="utf-8", errors="replace") as lines:
        return "approx_angle_deg" in lines.readline()


def config(
    dataset: str,
    method: Change,
    scale: str,
    data: DataChoice,
    *,
    encoder: str = "resnet50",
    size: int = 0,
) -> ConfigDict:
    """The complete config of one run, unlocked, so that a study can change what it is about.

    Args:
      dataset: of the paper; what `presets.contrastive` or TFDS knows.
      method: from the SimCLR config to the method's.
      scale: one of `SCALES`.
      data: in place of `dataset`.
      encoder: at the scale "paper".
      size: of the images and views at the scale "paper", for sets without a preset.

    Raises:
      ValueError: for an unknown scale.
    """
    check(scale)
    if scale == "smoke" and not data.name:
        data = DataChoice("shapes")
    preset_of = dataset if dataset in presets.DATASETS else "folder"
    start = preset_of if scale == "paper" else data.name if data.name in DRAWN else "arrays"
    made = method(presets.contrastive(start))
    made.data.name = dataset
    if scale == "paper":
        made.model.encoder = encoder
        if size:
            made.data.size = made.recipe.options.size = size
    else:
        _shrink(made, _BUDGETS[scale], scale, start)
    if data.name:
        made.data.name, made.data.directory, made.data.split = *data, "train"
        made.data.fit = made.data.fit if data.name == "folder" else "center"
    preset, options = EVALUATION[scale]
    if scale == "paper" and dataset == "imagenet100":
        options = {**options, **presets.IMAGENET_PROBE}
    made.evaluation.preset, made.evaluation.options = preset, ConfigDict(dict(options))
    return made


def keep_course(config: ConfigDict) -> None:
    """At the scale "paper": checkpoints over all of training, for studies of every step."""
    config.train.save_every = 3_500  # 20 epochs of CIFAR-10 in batches of 256
    config.train.keep = 100
    # Of every checkpoint, the probe on augmented images would take the longest by far.
    config.evaluation.options.care_epochs = 0


def _shrink(config: ConfigDict, budget: Budget, scale: str, start: str) -> None:
    config.model.encoder, config.model.projector = budget.encoder, budget.projector
    config.model.stem = "imagenet"  # stride 4 from the start: five times faster than "cifar"
    config.model.projector_batch_norm = True
    config.data.size = 32
    config.objectives.equivariance.splits = budget.groups
    train, optimizer = config.train, config.optimizer
    train.batch_size, train.steps, train.epochs = budget.batch, budget.steps, budget.epochs
    # An epoch is 45,000 of the 50,000 images of CIFAR-10; other data take other numbers of steps.
    steps = budget.steps or round(budget.epochs * 45_000 / budget.batch)
    train.save_every = train.knn_every = max(steps // budget.saves, 1)
    train.keep, train.log_every = budget.saves, min(max(steps // 20, 1), 100)
    config.knn.bank, config.knn.queries = 2_000, 500  # scored at every checkpoint
    optimizer.name, optimizer.learning_rate, optimizer.weight_decay = "adam", 2e-3, 1e-6
    optimizer.schedule, optimizer.warmup_epochs = "cosine", budget.warmup
    if start == "shapes":  # any hue and any angle must be forgotten
        config.recipe.options.jitter = (0.4, 0.4, 0.4, 0.5)
        config.recipe.options.max_angle = math.pi
    if scale == "smoke" and start in DRAWN:
        config.data.validation = 0.25
        sizes = {"train_size": 256, "test_size": 64}
        sizes |= {"out_of_range_size": 32} if start == "shapes" else {}
        config.data.options = ConfigDict(sizes)
