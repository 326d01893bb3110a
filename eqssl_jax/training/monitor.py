"""What is measured of the encoder while it trains: cards of measures on a fixed small set.

A monitor never sees test images. Without a validation split those that need no labels see training
images in its place.
"""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
from ml_collections import ConfigDict

from eqssl_jax.config import MONITORS
from eqssl_jax.data.base import Dataset
from eqssl_jax.measures import budget, suite
from eqssl_jax.measures.cards import Card, Number, built_in
from eqssl_jax.measures.classes.lbfgs import PROBE
from eqssl_jax.measures.subjects import KINDS, Conditions, Seen, Subject
from eqssl_jax.methods import Method, learns_from_labels
from eqssl_jax.names import resolve
from eqssl_jax.training.checkpoint import SCORE
from eqssl_jax.training.state import TrainState
from eqssl_jax.transforms import Transform

if TYPE_CHECKING:
    from eqssl_jax.training.setup import Setup

# What tells which checkpoint is best: the first that there is. None of them goes without labels.
SCORES = ("classifier_top1", "knn", "probe")
SHARE = 0.02  # of training that monitors may cost where no interval is set
TESTED = {"test", "labels to test", "labels to choose by"}  # needs that no monitor can have
# Training an image in one view costs so many forwards of monitors, with all else that these
# compute: 2.2 was measured on two CPU cores (docs/results/transfer).
TRAINED = 2


class Scores(NamedTuple):
    """What monitors found: numbers as they are logged, and the score on validation, if any."""

    values: dict[str, float]
    score: float | None


Monitor = Callable[[TrainState], Scores]


class Watched(NamedTuple):
    """Monitors on their data, without an encoder yet.

    Attributes:
      cards: those that can give a number.
      conditions: what they see.
      left_out: why the others cannot, by name.
    """

    cards: tuple[Card, ...]
    conditions: Conditions
    left_out: dict[str, str]


def chosen(config: ConfigDict) -> tuple[Card, ...]:
    """The cards that config.train.monitors names, and the classifier's where one is trained.

    Raises:
      ValueError: for a name that is no card.
    """
    by_name = {card.name: card for card in (*built_in(), PROBE)}
    names = [n for name in config.train.monitors for n in (MONITORS if name == "all" else (name,))]
    cards = {}
    for name in dict.fromkeys(names):
        card = resolve(name, "monitor", by_name, setting="config.train.monitors")
        if not isinstance(card, Card):
            raise ValueError(
                f"config.train.monitors names {name!r}, which is {type(card).__name__}: it must be "
                f"an eqssl_jax.measures.Card, one of {sorted(by_name)}, or all."
            )
        cards[card.name] = card
    if learns_from_labels(config):
        cards = {"classifier": by_name["classifier"]} | cards
    return tuple(cards.values())


def _why_not(card: Card, config: ConfigDict, dataset: Dataset) -> str:
    """Why a card gives no number in a run, as far as that is known before it; "" if it may."""
    needs = set(card.needs)
    if needs & TESTED:
        return "measured on test images, which no monitor sees"
    if "clouds" in needs and not dataset.clouds:
        return "of point clouds, and these are images"
    if "images" in needs and dataset.clouds:
        return "of images, and these are point clouds"
    if "classifier" in needs and not learns_from_labels(config):
        return "of a classifier, and none is trained"
    if card.name == "steering":
        return "fitted for minutes, which only an evaluation does"
    if "labels" not in needs:
        return ""
    train, validation = (dataset.splits.get(name) for name in ("train", "validation"))
    if not dataset.classes or train is None or train.labels is None:
        return f"measured by labels, and {dataset.name} has none"
    if validation is None:
        return "measured by labels of validation images: set config.data.validation above 0"
    return "" if validation.labels is not None else "measured by labels, and validation has none"


def watched(config: ConfigDict, dataset: Dataset, transform: Transform) -> Watched | None:
    """The monitors of a run on the images that they see; None without any.

    Raises:
      ValueError: as `chosen`.
    """
    cards = chosen(config)
    train = dataset.splits.get("train")
    if not cards or train is None:
        return None
    left_out = {card.name: why for card in cards if (why := _why_not(card, config, dataset))}
    held = dataset.splits.get("validation", train._replace(labels=None))
    knn, fixed, bank = config.knn, config.monitor, min(config.knn.bank, train.size)
    wanted = dict(
        batch=128, seeds=(0,), train_images=bank, validation_images=knn.queries,
        knn_neighbours=min(knn.neighbours, bank), knn_temperature=knn.temperature,
        rotation_images=fixed.images, pair_images=fixed.images, augmentations=fixed.draws,
        own_images=fixed.images, own_views=fixed.views,
    )  # fmt: skip
    if "composition" not in {card.name for card in cards}:
        wanted["pairs"] = 0
    schema = budget.schema(cards)
    settings = budget.settings(
        "quick", cards=cards, **{name: value for name, value in wanted.items() if name in schema}
    )
    seen = dataset._replace(splits={"train": train, "validation": held})
    conditions = Conditions({}, seen, transform, jax.random.key(2), settings)
    cards = tuple(card for card in cards if card.name not in left_out)
    return Watched(cards, conditions, left_out)


def epochs_between(monitors: Watched | None, method: Method, config: ConfigDict, steps: int) -> int:
    """How many epochs of `steps` lie between monitors, so that they cost 2 % of training or less.

    Counted in forwards of an image: of the bank, of the queries, and of what the settings of cards
    say they augment. Fitting the probe counts as the bank again.
    """
    if monitors is None or not monitors.cards or config.train.knn_every:
        return 1
    splits, settings = monitors.conditions.splits, monitors.conditions.settings
    held = splits["validation"].size
    cost = min(settings.validation_images, held)
    names = {card.name for card in monitors.cards}
    if names != {"classifier"}:
        fits = PROBE.name in names and splits["validation"].labels is not None
        cost += (1 + fits) * min(settings.train_images, splits["train"].size)
    budgets = {name for card in monitors.cards for name in card.settings}
    if "own_views" in budgets:
        cost += settings.own_views * min(settings.own_images, held)
    if "augmentations" in budgets:
        cost += (1 + settings.augmentations) * min(settings.rotation_images, held)
    trained = 0
    for name, spec in method.views.items():
        all_views = range(spec.pattern.views)
        views = TRAINED * len(spec.online or all_views)
        views += len(spec.target or all_views) if name in method.target_views else 0
        trained += views * (spec.images or config.train.batch_size)
    return max(1, math.ceil(cost / (SHARE * trained * steps)))


def make_monitor(run: "Setup") -> Monitor | None:
    """Every monitor of a run; a failing one is reported once and never ends the run."""
    monitors = watched(run.config, run.dataset, run.recipe)
    if monitors is None or not monitors.cards:
        return None
    printed: set[str] = set()

    def tell(text: str) -> None:
        if text not in printed:
            print(text, file=sys.stderr, flush=True)
        printed.add(text)

    def monitor(state: TrainState) -> Scores:
        fixed = monitors.conditions
        encoder = Subject(run.encoder(state), {}, run.classifier(state))
        conditions = Conditions(
            {"trained": encoder}, fixed.dataset, fixed.transform, fixed.key, fixed.settings
        )
        seen = Seen("trained", conditions)
        numbers: dict[str, float] = {}
        for card in monitors.cards:
            if all(KINDS[need](seen) for need in card.needs if need in KINDS):
                numbers |= _numbers(card, seen, tell)
        score = next((numbers[name] for name in SCORES if name in numbers), None)
        return Scores({_logged(name): value for name, value in numbers.items()}, score)

    return monitor


def _numbers(card: Card, seen: Seen, tell: Callable[[str], None]) -> dict[str, float]:
    """The headlines of a card, or all its numbers where it has none."""
    try:
        measured = suite.measure(card, seen)
    except (Exception, SystemExit) as error:  # whatever a card of one's own raises
        tell(f"Warning: the monitor {card.name} failed ({type(error).__name__}: {error}); training "
             f"goes on without its numbers.")  # fmt: skip
        return {}
    shown = {output.name for output in card.outputs if output.headline}
    shown = shown or {output.name for output in card.outputs} | set(measured.numbers)
    values = {name: _value(number) for name, number in measured.numbers.items() if name in shown}
    missing = {name: why for name, why in measured.missing.items() if name in shown or not values}
    for why in dict.fromkeys(missing.values()) if missing or values else ("it gave none",):
        tell(f"The monitor {card.name} has no number: {why}.")
    return values


def _value(number: Number | float) -> float:
    return float(number.value if isinstance(number, Number) else number)


def _logged(name: str) -> str:
    """What a number is called in metrics.jsonl.

    >>> _logged("knn"), _logged("gamma")
    ('validation_knn', 'monitor_gamma')
    """
    return SCORE if name == "knn" else f"monitor_{name}"
