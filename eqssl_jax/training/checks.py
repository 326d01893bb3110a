"""What a config must satisfy before anything is compiled or read."""

from ml_collections import ConfigDict

from eqssl_jax.config import plain
from eqssl_jax.data.base import Dataset
from eqssl_jax.measures import cards, settings
from eqssl_jax.method import Method, build_recipe


def check_batch(config: ConfigDict, built: Method, devices: int) -> None:
    """The batch must divide over the devices and over CARE's groups.

    Raises:
      ValueError: with the batch size, what it must be a multiple of, and the nearest that is.
    """
    batch = config.train.batch_size
    if batch < 2:
        raise ValueError(f"config.train.batch_size is {batch}; at least two images are needed.")
    if batch % devices:
        raise ValueError(
            f"config.train.batch_size is {batch}, which {devices} devices cannot share equally: "
            f"use a multiple of {devices}, e.g. {_near(batch, devices)}."
        )
    if "equivariance" in built.objectives:
        splits = config.objectives.equivariance.splits
        compared = built.objectives["equivariance"][1].names()[0]
        images = built.views[compared].images or batch
        if splits < 1 or images > batch or images % splits or images // splits < 2:
            raise ValueError(
                f"CARE compares {images} of {batch} images in "
                f"config.objectives.equivariance.splits = {splits} equal groups of two or more: "
                f"use a batch (and equivariance.images, if set) that is a multiple of the splits, "
                f"e.g. {_near(batch, max(splits, 1))}."
            )
    if not 0 <= config.objectives.order.images <= batch:
        raise ValueError(
            f"config.objectives.order.images is {config.objectives.order.images}, but a batch has "
            f"{batch} images: use at most that, or 0 for all of them."
        )


def check_reading(config: ConfigDict) -> None:
    """How streamed data is read ahead; checked also where nothing is streamed.

    Raises:
      ValueError: naming the setting.
    """
    for name, least in dict(workers=0, buffered=1).items():
        if config.data[name] < least:
            raise ValueError(
                f"config.data.{name} is {config.data[name]}; it must be at least {least}."
            )


def check_inputs(config: ConfigDict, dataset: Dataset) -> None:
    """Point clouds and images each have their own encoder and recipe.

    Raises:
      ValueError: naming the setting that belongs to the other kind of input.
    """
    kind = "point clouds" if dataset.clouds else "images"
    of_clouds = {
        "config.model.encoder": (config.model.encoder, "deepset"),
        "config.recipe.name": (config.recipe.name, "rotation3d"),
    }
    for setting, (found, own) in of_clouds.items():
        if dataset.clouds and found != own:
            raise ValueError(
                f"{dataset.name} is of {kind} and {setting} is {found!r}, which takes images: use "
                f"{own!r}, as configs/proteins.py does."
            )
        if not dataset.clouds and found == own:
            raise ValueError(
                f"{dataset.name} is of {kind} and {setting} is {found!r}, which takes point "
                f"clouds: choose another, or config.data.name = 'proteins'."
            )


def check_measurements(config: ConfigDict) -> None:
    """What is measured during and after training must be possible, before hours are spent.

    Raises:
      ValueError: naming the setting.
    """
    for name in ("neighbours", "bank", "queries", "temperature"):
        if config.knn[name] <= 0:
            raise ValueError(f"config.knn.{name} is {config.knn[name]}; it must be positive.")
    if config.train.keep < 1:
        raise ValueError(f"config.train.keep is {config.train.keep}; keep at least 1 checkpoint.")
    if not 0 <= config.seed < 2**31:
        raise ValueError(f"config.seed is {config.seed}; it must lie in 0 … {2**31 - 1}.")
    evaluation = plain(config)["evaluation"]
    measured = cards(evaluation["measures"])
    chosen = settings(evaluation["preset"], cards=measured, **evaluation["options"])
    if chosen.care_recipe:
        build_recipe(chosen.care_recipe, {"size": 32})  # evaluation gives it that of the views


def check_budget(config: ConfigDict, steps: int) -> None:
    """Counts and intervals must be positive, or 0 where that means once an epoch.

    Raises:
      ValueError: naming the setting.
    """
    if steps < 1:
        raise ValueError(
            f"config.train.epochs = {config.train.epochs} and config.train.steps = "
            f"{config.train.steps} give {steps} steps of training; ask for at least one."
        )
    for name, least in dict(steps_per_dispatch=1, log_every=1, knn_every=0, save_every=0).items():
        if config.train[name] < least:
            raise ValueError(
                f"config.train.{name} is {config.train[name]}; it must be at least {least}."
            )


def _near(batch: int, of: int) -> int:
    return max(round(batch / of), 2) * of
