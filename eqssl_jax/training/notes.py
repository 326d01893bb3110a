"""What the settings of a run have come to, where a reader of the config would not expect it."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from eqssl_jax.data.base import Dataset
from eqssl_jax.methods import Method
from eqssl_jax.training import monitor
from eqssl_jax.training.checks import compared_groups
from eqssl_jax.training.initial import ARCHITECTURE, source_of
from eqssl_jax.training.optimizer import warmup_steps

SMALL_GROUP = 8  # images; the paper and the authors' script compare groups of 8 and more


def notes(
    config: ConfigDict,
    built: Method,
    dataset: Dataset,
    steps_per_epoch: int,
    steps: int,
    apart: int = 1,
    left_out: Mapping[str, str] = {},
) -> tuple[str, ...]:
    """One sentence each, shown by --dry_run and at the start of a run."""
    sentences = (
        _source(config),
        _warmup(config, steps_per_epoch, steps),
        _groups(config, built),
        _monitor(config, dataset),
        _seldom(config, apart, left_out),
        _left_out(left_out),
    )
    return tuple(note for note in sentences if note)


def _source(config: ConfigDict) -> str:
    source = source_of(config)
    if source is None:
        return ""
    parts = config.train.init_parts.replace("_", " ")
    begin = f"Training starts from the {parts} of {source.place}."
    if config.train.init_parts == ARCHITECTURE:
        begin = f"Training starts from weights that are drawn; all else is as in {source.place}."
    return (
        f"{begin} The mean and standard "
        f"deviation that images are normalised by come with those of a run; of a file of weights, "
        f"which has none, they are those of the data."
    )


def _warmup(config: ConfigDict, steps_per_epoch: int, steps: int) -> str:
    wanted = round(config.optimizer.warmup_epochs * steps_per_epoch)
    used = warmup_steps(config.optimizer, steps_per_epoch, steps)
    if used == wanted:
        return ""
    return (
        f"The warm-up lasts {used:,} steps, half of this run, instead of the {wanted:,} of "
        f"config.optimizer.warmup_epochs."
    )


def _groups(config: ConfigDict, built: Method) -> str:
    small = {
        name: images // groups
        for name, groups, images in compared_groups(config, built)
        if images // groups < SMALL_GROUP
    }
    return " ".join(
        f"The groups of config.objectives.{name} have {size} images each, fewer than the "
        f"{SMALL_GROUP} of the paper: each compares fewer distances, and a batch has more draws. "
        f"A larger config.train.batch_size or fewer config.objectives.{name}.splits make them "
        f"larger."
        for name, size in small.items()
    )


def _monitor(config: ConfigDict, dataset: Dataset) -> str:
    if not {"knn", "all"} & set(config.train.monitors):
        return ""
    bank, queries = dataset.splits.get("train"), dataset.splits.get("validation")
    if bank is None or queries is None or bank.labels is None or queries.labels is None:
        return ""
    wanted, there = config.knn.neighbours, min(config.knn.bank, bank.size)
    fewer = f" (all there are; config.knn.neighbours is {wanted})" if there < wanted else ""
    return (
        f"The kNN accuracy in the log is of validation images, by {min(wanted, there)} "
        f"neighbours{fewer} with the temperature {config.knn.temperature:g}."
    )


def _left_out(left_out: Mapping[str, str]) -> str:
    """Monitors that give no number in this run, in one line."""
    names: dict[str, list[str]] = {}
    for name, why in left_out.items():
        names.setdefault(why, []).append(name)
    reasons = "; ".join(f"{', '.join(cards)} ({why})" for why, cards in names.items())
    return f"Monitors without a number in this run: {reasons}." if reasons else ""


def _seldom(config: ConfigDict, apart: int, left_out: Mapping[str, str]) -> str:
    if apart == 1 or config.train.knn_every:
        return ""
    names = ", ".join(card.name for card in monitor.chosen(config) if card.name not in left_out)
    return (
        f"The monitors ({names}) measure every {apart} epochs, so that they cost at most 2 % of "
        f"training by our count; config.train.knn_every sets the steps."
    )


def batch_note(config: ConfigDict, built: Method) -> str:
    """What follows from a batch size that is not that of the recipe."""
    text = (
        f"config.train.batch_size is changed to {config.train.batch_size}; the learning rate stays "
        f"{config.optimizer.learning_rate:g} (a common rule changes it in proportion)."
    )
    for name, groups, images in compared_groups(config, built):
        size, weight = images // groups, config.objectives[name].weight
        text += (
            f" The {groups} groups of config.objectives.{name} have {size} images each. Its loss "
            f"is a sum over the {size - 1} others of a group, so the same weight {weight:g} weighs "
            f"more in larger groups and less in smaller ones."
        )
    return text
