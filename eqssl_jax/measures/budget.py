"""How much of everything an evaluation looks at."""

from typing import Any, NamedTuple


class Settings(NamedTuple):
    """Budgets of `evaluate`; the defaults are the full evaluation.

    Attributes:
      batch: images per compiled forward.
      train_images, validation_images, test_images, out_of_range_images: a fixed random subset of
        so many of each split (None: all) is encoded once and serves kNN, probes, factors and
        retrieval.
      knn_neighbours, knn_temperature: see `knn_accuracy`; k is lowered to the size of a small bank.
      probe_steps, seeds: see `linear_probe`; seeds serve both probes.
      care_optimizer, care_epochs, care_batch, care_rate, care_decay: see `care_probe`; 0 epochs
        leave it out, since it encodes the training images anew every epoch (the authors' number
        is 100).
      care_recipe: the recipe that augments its training images, at the size of the views; "" is
        that of the views that are compared.
      augmentations, pairs, rotation_images, pair_images, gamma_floor: see `rotation_study`.
      neighbours, queries, hue_shift: nearest neighbours of so many test images before and after
        their hue is shifted by so many turns; 0 queries leave it out. A shift of 0 takes the
        largest that the recipe itself draws, up to a third of a turn (`colour.trained_shift`).
      axis_turns: rotations of each point cloud for `axis.turned`; only for data sets of clouds.
      trajectory_clouds, trajectory_steps: see `trajectories.trajectories`; likewise.
      ladder_rungs, ladder_images: see `ladder_study`; 0 images leave it out.
      steering_draws, steering_images, steering_parts: see `steering_study`; 0 draws leave it out,
        since a fit costs minutes on a CPU (d³ for each of its evaluations); 64 are a good number.
        A part is steered alone; "all" is the whole transformation.
    """

    batch: int = 256
    train_images: int | None = 50_000
    validation_images: int | None = 10_000
    test_images: int | None = 10_000
    out_of_range_images: int | None = 10_000
    knn_neighbours: int = 200
    knn_temperature: float = 0.5
    probe_steps: int = 2000
    seeds: tuple[int, ...] = (0, 1, 2)
    care_optimizer: str = "adam"
    care_epochs: int = 100
    care_batch: int = 512
    care_rate: float = 1e-3
    care_decay: float = 1e-6
    care_recipe: str = ""
    augmentations: int = 20
    pairs: int = 10
    rotation_images: int | None = 5000
    pair_images: int = 1000
    gamma_floor: float = 1e-8
    neighbours: int = 5
    queries: int = 1000
    hue_shift: float = 0.0
    ladder_rungs: int = 8
    ladder_images: int = 1000
    steering_draws: int = 0
    steering_images: int = 512
    steering_parts: tuple[str, ...] = ("all",)
    axis_turns: int = 8
    trajectory_clouds: int = 32
    trajectory_steps: int = 100


PRESETS = {
    "full": Settings(),
    "quick": Settings(  # multiples of the batch: no padded images
        care_epochs=0,
        batch=128,
        train_images=1536,
        validation_images=256,
        test_images=512,
        out_of_range_images=256,
        probe_steps=200,
        augmentations=6,
        pairs=2,
        rotation_images=384,
        pair_images=256,
        queries=128,
        ladder_rungs=5,
        ladder_images=128,
        axis_turns=2,
        trajectory_clouds=4,
    ),
}


def settings(preset: str = "full", **options: Any) -> Settings:
    """A preset ("full" or "quick") with some of its budgets replaced.

    >>> settings("quick", augmentations=5).augmentations
    5

    Raises:
      ValueError: for an unknown preset or budget, or a value of another kind.
    """
    if preset not in PRESETS:
        raise ValueError(
            f"There is no evaluation preset {preset!r}: choose one of {list(PRESETS)}."
        )
    unknown = sorted(set(options) - set(Settings._fields))
    if unknown:
        raise ValueError(
            f"The evaluation has no budget named {unknown}: choose from {list(Settings._fields)}."
        )
    for name in ("seeds", "steering_parts"):
        if isinstance(options.get(name), list):
            options[name] = tuple(options[name])
    for name, value in options.items():
        default = getattr(PRESETS["full"], name)
        optional = value is None and name.endswith("_images") and name != "pair_images"
        number = isinstance(default, float) and isinstance(value, int)
        if not (optional or number or isinstance(value, type(default))) or isinstance(value, bool):
            raise ValueError(
                f"The evaluation's {name} takes a {type(default).__name__} such as {default}, "
                f"found {value!r}."
            )
        if isinstance(value, int | float) and value < 0:
            raise ValueError(f"The evaluation's {name} must not be negative, found {value}.")
    if options.get("care_optimizer", "adam") not in ("adam", "sgd"):
        raise ValueError(
            f"The evaluation's care_optimizer is {options['care_optimizer']!r}: choose adam or sgd."
        )
    if options.get("ladder_rungs", 3) < 3:
        raise ValueError(
            f"The evaluation's ladder_rungs is {options['ladder_rungs']}, but an order needs at "
            f"least 3 rungs; ladder_images=0 leaves ladders out."
        )
    if 0 < options.get("steering_draws", 0) < 8:
        raise ValueError(
            f"The evaluation's steering_draws is {options['steering_draws']}, but a map from draws "
            f"to rotations needs at least 8 of them; 0 leaves it out."
        )
    if not (options.get("axis_turns", 1) >= 1 and options.get("trajectory_clouds", 1) >= 1):
        raise ValueError(
            f"The evaluation's axis_turns and trajectory_clouds must be at least 1, found "
            f"{options}."
        )
    if options.get("trajectory_steps", 3) < 3:
        raise ValueError(
            f"The evaluation's trajectory_steps is {options['trajectory_steps']}, but a closed "
            f"curve needs at least 3."
        )
    return PRESETS[preset]._replace(**options)
